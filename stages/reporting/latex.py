r"""LaTeX out of Jinja templates that stay readable: \VAR{...}, \BLOCK{...}, \#{...}.

Numbers are siunitx's `\num`, a fraction with two decimals, as the paper does. Text is made literal
whoever wrote it: what comes out is ASCII, names no file and no macro of its own, and prints in any
encoding; a character that has no LaTeX form prints as its code point.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

MISSING = "--"
_SPECIAL = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **dict.fromkeys("\n\r\t\v\f", " "),
}
# Forms that need no package and no font encoding but the default one.
_KNOWN = {
    "\u00a0": "~",
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
    "\u2018": r"\textquoteleft{}",
    "\u2019": r"\textquoteright{}",
    "\u201c": r"\textquotedblleft{}",
    "\u201d": r"\textquotedblright{}",
    "\u2026": r"\ldots{}",
    "\u2020": r"$\dagger$",
    "\u2021": r"$\ddagger$",
    "\u2022": r"$\bullet$",
    "\u2212": "$-$",
    "\u00b1": r"$\pm$",
    "\u00b7": r"$\cdot$",
    "\u00d7": r"$\times$",
    "\u00f7": r"$\div$",
    "\u00b0": r"$^\circ$",
    "\u2190": r"$\leftarrow$",
    "\u2192": r"$\rightarrow$",
    "\u2248": r"$\approx$",
    "\u2260": r"$\neq$",
    "\u2264": r"$\leq$",
    "\u2265": r"$\geq$",
    "\u0394": r"$\Delta$",
    "\u00df": r"\ss{}",
    "\u00e6": r"\ae{}",
    "\u00c6": r"\AE{}",
    "\u00f8": r"\o{}",
    "\u00d8": r"\O{}",
    "\u0153": r"\oe{}",
    "\u0152": r"\OE{}",
    "\u0142": r"\l{}",
    "\u0141": r"\L{}",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
# Two of these in a row are one glyph in some font: a dash, a quotation mark, an inverted mark.
_LIGATURES = frozenset("-'`,?!")
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?")
_CODE_POINT = r"$\langle$"
# Letters after which a word without a space may go on in the next line.
_CHUNK = 14


def escape(text: object) -> str:
    """Return text as LaTeX that prints it literally, on one line."""
    found: list[str] = []
    before = ""
    for char in unicodedata.normalize("NFC", str(text)):
        if before in _LIGATURES and char in _LIGATURES:
            found.append("{}")
        found.append(_SPECIAL.get(char) or _other(char))
        before = char
    # At the start of a table's row, a bracket or star would be taken for an option of the last one.
    if found and found[0] in ("[", "*"):
        found[0] = f"{{{found[0]}}}"
    return "".join(found)


def _other(char: str) -> str:
    """Return a character that is not special: its form, an accented letter, or its code point."""
    if " " <= char <= "~":
        return char
    if char in _KNOWN:
        return _KNOWN[char]
    parts = unicodedata.normalize("NFD", char)
    base, mark = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and mark in _ACCENTS:
        letter = rf"\{base}" if base in "ij" else base
        return rf"\{_ACCENTS[mark]}{{{letter}}}"
    return rf"{_CODE_POINT}U+{ord(char):04X}$\rangle$"


def code(text: str) -> str:
    r"""Return one line as LaTeX that prints it literally in typewriter type, spaces as they are.

    To stand inside of a group with `\ttfamily`: special characters are taken by their position,
    which is the same in all encodings of typewriter fonts. The line can be broken at spaces and in
    long words.
    """
    found: list[str] = []
    before, run = "", 0
    for char in unicodedata.normalize("NFC", text):
        run += _width(char)
        if char == " ":
            run = 0
        elif run > _CHUNK:
            found.append(r"\allowbreak{}")
            run = _width(char)
        if char == " ":
            found.append(r"\ " if before in ("", " ") else " ")
        elif char in _SPECIAL or char in _LIGATURES or char in '"[]*':
            found.append(rf"\char{ord(char)}{{}}")
        else:
            found.append(_other(char))
        before = char
    return "".join(found)


def pieces(word: str) -> list[str]:
    """Return a word as LaTeX, in pieces short enough to stand unbroken."""
    found, width = [""], 0
    for char in unicodedata.normalize("NFC", word):
        if width + _width(char) > _CHUNK:
            found, width = [*found, ""], 0
        found[-1] += char
        width += _width(char)
    return [escape(piece) for piece in found if piece]


def _width(char: str) -> int:
    """Return how many letters a character is about as wide as."""
    return _CHUNK if _other(char).startswith(_CODE_POINT) and char not in _SPECIAL else 1


def decimal(value: float, decimals: int = 2) -> str:
    """Return a number as text, never `-0.00`; `--` for NaN."""
    if isnan(value):
        return MISSING
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def number(value: float, decimals: int = 2) -> str:
    """Return a number as siunitx prints it, `--` for NaN."""
    return MISSING if isnan(value) else rf"\num{{{decimal(value, decimals)}}}"


def interval(row: Mapping[Any, Any], column: str, suffix: str = "", decimals: int = 2) -> str:
    """Return the interval of a row's column as [low, high], nothing where there is none."""
    return ends(row, f"{column}_low{suffix}", f"{column}_high{suffix}", decimals)


def ends(row: Mapping[Any, Any], low: str, high: str, decimals: int = 2) -> str:
    """Return the interval between two columns of a row, nothing where there is none."""
    if isnan(row[low]):
        return ""
    return rf"[{number(row[low], decimals)},\,{number(row[high], decimals)}]"


def p_text(value: float) -> str:
    """Return a p-value with three decimals as text, `--` for NaN."""
    return "<0.001" if value < 0.0005 else decimal(value, 3)


def p_value(value: float) -> str:
    """Return a p-value with three decimals, `--` for NaN."""
    return MISSING if isnan(value) else rf"\num{{{p_text(value)}}}"


def count(value: float) -> str:
    """Return a whole number, `--` where there is none."""
    return MISSING if isnan(value) else rf"\num{{{round(value)}}}"


def printed(text: str | None) -> str:
    """Return a figure with the digits that it is printed with elsewhere, `--` where there is none.

    What is no number is text.
    """
    if not text or text == "-":
        return MISSING
    return rf"\num{{{text}}}" if _PLAIN.fullmatch(text) else escape(text)


def seeds(values: object) -> str:
    """Return the values of the seeds beside each other, of more than three the two outermost.

    `--` for what is no list, and for an undefined value.
    """
    if not isinstance(values, list) or not values:
        return MISSING
    if len(values) <= 3:
        return r"\,/\,".join(map(number, values))
    known = [value for value in values if not isnan(value)]
    return f"{number(min(known))}--{number(max(known))}" if known else MISSING


def bold(number: str, when: bool = True) -> str:
    """Return what the filters of numbers return, bold where that is so."""
    # siunitx prints in the weight around it only where it is told to.
    return rf"\textbf{{{number.replace('num{', 'num[detect-weight]{')}}}" if when else number


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=False,
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\#{",
        comment_end_string="}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        tex=escape,
        code=code,
        num=number,
        interval=interval,
        ends=ends,
        p=p_value,
        count=count,
        printed=printed,
        seeds=seeds,
        bold=bold,
    )
    return environment


def render(template: Path, **values: object) -> str:
    """Render a LaTeX template; an unknown name in it raises."""
    return _environment(template.parent).get_template(template.name).render(values)
