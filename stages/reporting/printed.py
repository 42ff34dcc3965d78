"""What a printed figure can stand for: exact arithmetic with rounding intervals.

Serves every check of the paper's figures against each other (all tables). Printed figures are text
as in data/paper/, since the digits say how far they were rounded. A figure contradicts others only
where no rounding can reconcile them: intervals are closed, and a figure printed with fewer digits
than its column (0.5 for 0.50) gets the wider interval.
"""

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import NamedTuple


class Range(NamedTuple):
    """A closed interval of exact numbers."""

    low: Fraction
    high: Fraction

    def meets(self, other: "Range") -> bool:
        """Whether the two have a number in common."""
        return self.low <= other.high and other.low <= self.high


def rounding(printed: str) -> Range:
    """Return the numbers that round to a printed one: .27 stands for .265 to .275.

    Raises:
        ValueError: `printed` is not a plain decimal number.
    """
    text = printed.strip()
    whole, _, decimals = text.removeprefix("-").partition(".")
    if not f"{whole}{decimals}".isdecimal():
        raise ValueError(f"{printed!r} is not a printed number")
    half = Fraction(1, 2 * 10 ** len(decimals))
    return Range(Fraction(text) - half, Fraction(text) + half)


def implied(function: Callable[..., Fraction | float], *printed: str) -> Range:
    """Return the values that a function takes where its arguments round to the printed numbers.

    Exact for a function that rises or falls in each argument while the others stay (the direction
    may depend on the others): its extremes are then at the corners of the box.
    """
    corners = product(*(rounding(number) for number in printed))
    values = [Fraction(function(*corner)) for corner in corners]
    return Range(min(values), max(values))


def consistent_ratio(numerator: str, denominator: str, printed: str) -> bool:
    """Whether a printed ratio can be that of two printed numbers, under some rounding of the three.

    Raises:
        ValueError: the denominator can be 0.
    """
    if rounding(denominator).meets(Range(Fraction(0), Fraction(0))):
        raise ValueError(f"{denominator} can stand for 0")
    return implied(lambda a, b: a / b, numerator, denominator).meets(rounding(printed))
