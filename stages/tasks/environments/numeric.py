"""Numbers as actions: reading one from a reply, and how near is right."""

import math
import re

from stages.tasks.environments.reading import answer_line

TOLERANCE = 1e-2
"""How far from a right number an answer may be."""

ROUNDING = 1e-9
"""What is added to a tolerance: 1.01 - 1 is more than 0.01 in floating point."""

_LONGEST = 200
_TO_ASCII = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2248": "~", "\u2243": "~", "$": None})
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_LATEX = (
    (re.compile(r"\\boxed\s*\{(.*)\}"), r"\1"),
    (_FRACTION, r"\1/\2"),
    (re.compile(r"\\approx\b"), "~"),
    (re.compile(r"\\[()\[\],!]"), ""),
)
_DECIMAL = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(
    r"\s*(?:(?:(?:the|a)\s+)?(?:x[\w^*{}]*|root|zero|solution|minimi[sz]er)\s*(?:=|:|is\b|(?=~)))?"
    r"\s*(?:~|(?:about|approximately)\b)?\s*"
    rf"(?P<sign>[+-]?)\s*(?P<top>{_DECIMAL})(?:\s*/\s*(?P<bottom>{_DECIMAL}))?"
    r"(?:[\s.,;:!*_`'\")\]}]*$|\s*[=~]|[.,;:]?\s+(?:[(\[]|[A-Za-z]{2}))"
)


def read_number(reply: str) -> float | None:
    """Return the number that a reply's answer line gives, None where it gives none.

    Decimals, fractions ("3/2"), powers of ten, "x = 2.5", LaTeX and typographic minus signs are
    read. Words may follow the number; sums, lists and other expressions are not read, and neither
    is what is not finite.
    """
    line = answer_line(reply)
    if line is None:
        return None
    # No number that was asked for is longer, and the patterns need no bound of their own.
    line = line[:_LONGEST].translate(_TO_ASCII)
    for pattern, plain in _LATEX:
        line = pattern.sub(plain, line)
    match = _NUMBER.match(line)
    if match is None:
        return None
    bottom = float(match["bottom"] or 1)
    if bottom == 0:
        return None
    value = float(match["top"]) / bottom
    if not math.isfinite(value):
        return None
    return -value if match["sign"] == "-" else value


def normal_number(reply: str) -> str | None:
    """Return the number of a reply to ten digits, so that "1.50" and "3/2" are one action."""
    value = read_number(reply)
    # The sum makes -0.0 a plain 0.
    return None if value is None else f"{value + 0.0:.10g}"
