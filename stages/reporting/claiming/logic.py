"""Three-valued logic of claims (Kleene 1952): what holds whatever becomes of the undecided parts.

What has not been tested is no fourth value: a claim with a part that no data bear on has no verdict
at all (see `evidence.Missing`).
"""

from collections.abc import Sequence
from enum import StrEnum
from math import inf

from stages.stats import Interval


class Verdict(StrEnum):
    """What the data say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


SUPPORTED, CONTRADICTED, UNDECIDED = Verdict


def at_least(needed: int, verdicts: Sequence[Verdict]) -> Verdict:
    """Return whether at least so many of some claims hold.

    Raises:
        ValueError: `needed` is not between 1 and their number.
    """
    if not 1 <= needed <= len(verdicts):
        raise ValueError(f"{needed} of {len(verdicts)} claims")
    if verdicts.count(SUPPORTED) >= needed:
        return SUPPORTED
    return CONTRADICTED if len(verdicts) - verdicts.count(CONTRADICTED) < needed else UNDECIDED


def every(verdicts: Sequence[Verdict]) -> Verdict:
    """Return whether all claims hold: contradicted as soon as one of them is.

    Raises:
        ValueError: there is none.
    """
    return at_least(len(verdicts), verdicts)


def some(verdicts: Sequence[Verdict]) -> Verdict:
    """Return whether a claim holds at all.

    Raises:
        ValueError: there is none.
    """
    return at_least(1, verdicts)


def inside(interval: Interval, low: float = -inf, high: float = inf) -> Verdict:
    """Return whether a value lies between two others, given its interval.

    Supported where all of the interval does, contradicted where none of it does; undecided where an
    end of the interval is not known.
    """
    if low < interval.low and interval.high < high:
        return SUPPORTED
    return CONTRADICTED if interval.high < low or interval.low > high else UNDECIDED


def above(interval: Interval) -> Verdict:
    """Return whether a value is above 0: contradicted where it is shown to be below."""
    return inside(interval, low=0.0)


def below(interval: Interval) -> Verdict:
    """Return whether a value is below 0: contradicted where it is shown to be above."""
    return inside(interval, high=0.0)


def similar(interval: Interval, narrow: Interval, margin: float) -> Verdict:
    """Return whether a difference counts as none.

    Supported where it is shown to be within the margin, for which not differing from 0 is not
    enough; else contradicted where it is shown to differ from 0.

    Args:
        interval: the 95 % interval of the difference.
        narrow: its 90 % interval, for two one-sided tests at 5 % (TOST).
        margin: the largest difference that counts as none.
    """
    if -margin < narrow.low and narrow.high < margin:
        return SUPPORTED
    return CONTRADICTED if interval.excludes_zero() else UNDECIDED


def undecided_size(interval: Interval, margin: float) -> bool:
    """Return whether a difference that is not 0 may still be within the margin."""
    return interval.excludes_zero() and interval.low < margin and interval.high > -margin


def no_better(interval: Interval, narrow: Interval, margin: float) -> Verdict:
    """Return whether a difference is no gain: as `similar`, but losses of any size are none."""
    if narrow.high < margin:
        return SUPPORTED
    return CONTRADICTED if interval.low > 0 else UNDECIDED


def no_worse(interval: Interval, narrow: Interval, margin: float) -> Verdict:
    """Return whether a difference is no loss: the mirror of `no_better`."""
    turned, turned_narrow = (Interval(-own.high, -own.low) for own in (interval, narrow))
    return no_better(turned, turned_narrow, margin)
