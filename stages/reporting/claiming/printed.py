"""Evidence of the paper's own printed figures, at its own number of items.

What the paper prints is a rate to two digits. Its items are not published, so that arms cannot be
paired: rates are taken for independent, which is too wide rather than too narrow where the answers
to one item go together. A printed figure stands for an interval (see `reporting.printed`), and an
interval here reaches as far as any of these numbers would take it. Rates have Wilson's intervals,
contrasts are made of them by recovering their spreads (MOVER, Zou and Donner 2008; of two rates
that is Newcombe's hybrid score interval), ratios likewise on the logarithms.

Seeds are not stated. The intervals speak of items alone, so that what they say of a training method
is not what several seeds would.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from math import exp, hypot, log, nan
from typing import NamedTuple

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from stages.reporting.claiming.evidence import (
    BASELINE,
    Cell,
    Estimate,
    Missing,
    Row,
    Setting,
    Teacher,
    Term,
)
from stages.reporting.printed import rounding
from stages.stats import ALPHA, Interval

ITEMS = 3811
"""Test items of the release of Big-Bench Hard less the first 100 of each subtask (section 4.1)."""
PLAYED = 100
"""Test items of an environment, which the paper does not state; 4.3 has as many to train on."""
BEST = {"TAB": 2.0}
"""The highest score of an environment, where it is not 1 (Table 7)."""
_TOLD = ("Ground Truth", "Lazy")


class _Bounds(NamedTuple):
    """A rate, and the two of its possible values from which sampling takes it furthest.

    Attributes:
        value: at the digits as printed.
        low: the value whose interval reaches furthest down.
        below: how far that is.
        high: the value whose interval reaches furthest up.
        above: how far that is.
        n: how many items the rate is of.
    """

    value: float
    low: float
    below: float
    high: float
    above: float
    n: float

    def logarithm(self) -> "_Bounds":
        """Return the logarithm of the rate; reaching down to 0, it has no lower end."""
        least = self.low - self.below
        return _Bounds(
            log(self.value),
            log(self.low) if self.low > 0 else nan,
            log(self.low / least) if least > 0 else nan,
            log(self.high),
            log((self.high + self.above) / self.high),
            self.n,
        )


# A rate with its interval, out of printed figures: (alpha, figures) -> value, below, above.
_Spread = Callable[..., tuple[float, float, float]]


class PrintedEvidence:
    """See `evidence.Evidence`; students are named by their sizes."""

    def __init__(
        self, paper: Mapping[int, pd.DataFrame], margin: float, *, rounded: bool = True
    ) -> None:
        """Take the paper's figures.

        Args:
            paper: its tables 2 to 6 and 8 as text, by number.
            margin: the largest difference of scores that counts as none.
            rounded: whether a printed figure stands for all that round to it, or for itself alone.
        """
        self._rounded = rounded
        self._scores: dict[tuple[str, Row], tuple[str, str, str]] = {}
        for size, row, *figures in paper[3].itertuples(index=False):
            self._scores[size, (row,)] = tuple(figures)
        for block, row, *figures in paper[4].itertuples(index=False):
            self._scores["7B", (block, row)] = tuple(figures)
        for student, row, *figures in paper[5].itertuples(index=False):
            self._scores[student.removeprefix("Qwen2 "), (row,)] = tuple(figures)
        self._verdicts = {
            (size, (kind,)): (recall, precision)
            for kind, size, recall, precision, *_ in paper[2].itertuples(index=False)
        }
        self._games = {row["Method"]: dict(row) for _, row in paper[6].iterrows()}
        self._teachers = paper[8]
        sizes = tuple(dict.fromkeys(paper[3].iloc[:, 0]))
        conditions = tuple(dict.fromkeys(paper[3].iloc[1:, 1]))
        self.setting = Setting(
            students=sizes,
            sizes=sizes,
            focus="7B",
            conditions=tuple(row for row in conditions if (row,) != BASELINE),
            told=_TOLD,
            base="Unconstrained",
            environments=tuple(paper[6].columns[2:]),
            seeds=None,
            margin=margin,
            teacher=str(self._teachers.iloc[0, 0]),
            unparsable="",
        )

    def contrast(self, *terms: Term) -> Estimate:
        """Return the weighted sum of some rates."""
        bounds = [(weight, self._bounds(cell)) for weight, cell in terms]
        return _combined(bounds)

    def ratio(self, cell: Cell, other: Cell) -> Estimate:
        """Return one rate over another."""
        logs = [(w, self._bounds(of).logarithm()) for w, of in ((1.0, cell), (-1.0, other))]
        value, low, high, n, _ = _combined(logs)
        return Estimate(exp(value), exp(low), exp(high), n)

    def narrow(self, *terms: Term) -> Interval:
        """Return the 90 % interval of a contrast."""
        bounds = [(weight, self._bounds(cell, 2 * ALPHA)) for weight, cell in terms]
        return _combined(bounds).interval

    def played(self, one: Row, other: Row, environment: str) -> Estimate:
        """Return what an arm of Table 6 scores above another, in an environment's own points.

        No score spreads further than one that is nothing or the best one: as such it is taken.
        """
        best = BEST.get(environment, 1.0)
        pair = ((best, one), (-best, other))
        return _combined([(w, self._play(row, environment)) for w, row in pair])

    def played_over(self, one: Row, other: Row) -> Estimate:
        """Return the same of the mean over all environments, as shares of their best scores."""
        names = self.setting.environments
        share = 1 / len(names)
        bounds = [
            (weight * share, self._play(row, name))
            for weight, row in ((1.0, one), (-1.0, other))
            for name in names
        ]
        return _combined(bounds)._replace(n=PLAYED * len(names))

    def artefacts(self) -> tuple[Estimate, Estimate]:
        """Raise `Missing`: the paper gives no figure."""
        raise Missing("the paper gives no figure")

    def code_gap(self) -> Estimate:
        """Raise `Missing`: the paper does not print the share of programs that pass all tests."""
        raise Missing("the paper gives no figure")

    def teachers(self) -> list[Teacher]:
        """Return the teachers that were tried, the chosen one first."""
        sizes = {"BBH": ITEMS, "BBSR": PLAYED * (len(self.setting.environments) - 1)}
        return [
            Teacher(
                str(row["Model"]),
                float(row["Cost per Million Tokens ($)"]),
                {
                    name: _combined([(1.0, self._single(row[name], n))])
                    for name, n in (*sizes.items(), ("MBPP", PLAYED))
                },
            )
            for _, row in self._teachers.iterrows()
        ]

    def _play(self, row: Row, environment: str) -> _Bounds:
        if row[0] not in self._games:
            raise Missing(f"no {row[0]} in Table 6")
        best = BEST.get(environment, 1.0)
        return self._single(self._games[row[0]][environment], PLAYED, best=best)

    def _bounds(self, cell: Cell, alpha: float = ALPHA) -> _Bounds:
        """Return a rate of the tables of Big-Bench Hard.

        Raises:
            Missing: the paper prints no such figure.
        """
        key = cell.student, cell.row
        absent = Missing(f"the paper has no {', '.join(cell.row)} ({cell.student})")
        if cell.measure in ("lost", "lost_match"):
            raise Missing("the paper gives no figure")
        if cell.measure in ("score", "match_rate", "correct_if_matched"):
            if key not in self._scores:
                raise absent
            matched, score, ratio = self._scores[key]
            if cell.measure == "correct_if_matched":
                return self._single(ratio, float(matched) * ITEMS, alpha)
            return self._single(score if cell.measure == "score" else matched, ITEMS, alpha)
        if key not in self._verdicts:
            raise absent
        # The implicit verdict flags all wrong answers: its precision is their share.
        wrong = self._verdicts[cell.student, ("Implicit",)][1]
        recall, precision = self._verdicts[key]
        if cell.measure == "recall":
            return self._single(recall, float(wrong) * ITEMS, alpha)
        if cell.measure == "precision":
            flagged = float(recall) * float(wrong) / float(precision)
            return self._single(precision, flagged * ITEMS, alpha)
        spread = {"balanced_accuracy": _balanced, "unflagged": _unflagged}[cell.measure]
        return self._at_corners(spread, (recall, precision, wrong), ITEMS, alpha)

    def _single(self, figure: str, n: float, alpha: float = ALPHA, best: float = 1.0) -> _Bounds:
        """Return the share of the best score that a printed figure is."""

        def spread(alpha: float, rate: float) -> tuple[float, float, float]:
            return _wilson(rate / best, n, alpha)

        return self._at_corners(spread, (figure,), n, alpha)

    def _at_corners(
        self, spread: _Spread, figures: Sequence[str], n: float, alpha: float
    ) -> _Bounds:
        """Return a rate out of printed figures, whatever they are rounded from."""
        found = spread(alpha, *map(float, figures))
        corners = [found]
        if self._rounded:
            boxes = product(*map(rounding, figures))
            corners = [spread(alpha, *map(float, corner)) for corner in boxes]
        low, below, _ = min(corners, key=lambda corner: corner[0] - corner[1])
        high, _, above = max(corners, key=lambda corner: corner[0] + corner[2])
        return _Bounds(found[0], low, below, high, above, n)


@cache
def _wilson(rate: float, n: float, alpha: float) -> tuple[float, float, float]:
    """Return a rate in [0, 1] with how far Wilson's interval reaches down and up from it."""
    rate = min(max(rate, 0.0), 1.0)
    low, high = proportion_confint(rate * n, n, alpha=alpha, method="wilson")
    return rate, rate - float(low), float(high) - rate


def _specificity(recall: float, precision: float, wrong: float) -> float:
    """Return the specificity that a precision implies, none below 0."""
    return max(1 - recall * wrong * (1 / precision - 1) / (1 - wrong), 0.0)


def _balanced(
    alpha: float, recall: float, precision: float, wrong: float
) -> tuple[float, float, float]:
    found, below, above = _wilson(recall, wrong * ITEMS, alpha)
    quiet, less, more = _wilson(_specificity(recall, precision, wrong), (1 - wrong) * ITEMS, alpha)
    return (found + quiet) / 2, hypot(below, less) / 2, hypot(above, more) / 2


def _unflagged(
    alpha: float, recall: float, precision: float, wrong: float
) -> tuple[float, float, float]:
    return _wilson(1 - recall * wrong / precision, ITEMS, alpha)


def _combined(terms: Sequence[tuple[float, _Bounds]]) -> Estimate:
    """Return the weighted sum of independent rates."""
    value = sum(weight * rate.value for weight, rate in terms)
    ends = []
    for sign in (-1, 1):
        # The end of each rate that takes the sum to this one.
        far = [
            (weight, rate.high, rate.above) if weight * sign > 0 else (weight, rate.low, rate.below)
            for weight, rate in terms
        ]
        centre = sum(weight * at for weight, at, _ in far)
        ends.append(centre + sign * hypot(*(weight * reach for weight, _, reach in far)))
    return Estimate(value, ends[0], ends[1], round(min(rate.n for _, rate in terms)))
