"""Error identification: can the teacher tell wrong answers (paper, section 5.1.1, Table 2)?

A positive is a student's answer that is not solved; it is predicted where the teacher flags the
answer as incorrect. The paper prints recall, precision, F1 and accuracy. The last three move with
the share of wrong answers, and recall rises where more is flagged, right or wrong; specificity,
balanced accuracy and Matthews' correlation (MCC) stand beside them.

Also what flagging does to the score (section 5.2, Error Identification): answers that are not
flagged keep the original, so the score follows from which retries gain, lose and were flagged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from stages import stats
from stages.stats import Array, Interval, Resampled

METRICS = (
    "recall",
    "precision",
    "f1",
    "accuracy",
    "specificity",
    "balanced_accuracy",
    "mcc",
    "prevalence",
)
CELLS = ("tp", "fp", "fn", "tn")
# Those of the paper, which also stand seed by seed.
BY_SEED = ("recall", "precision", "f1", "accuracy")
FEWEST = 10
# Metrics that are the share of some trajectories among others: cells counted, cells counted among.
_PROPORTIONS = {
    "recall": (("tp",), ("tp", "fn")),
    "precision": (("tp",), ("tp", "fp")),
    "accuracy": (("tp", "tn"), CELLS),
    "specificity": (("tn",), ("tn", "fp")),
    "prevalence": (("tp", "fn"), CELLS),
}


@dataclass(frozen=True)
class Detection:
    """Verdicts on the trajectories of one cell; every array is (items, seeds), of 0 and 1.

    Attributes:
        wrong: 1 where the answer is not solved.
        flagged: 1 where the teacher flags it as incorrect, or the verdict could not be parsed.
        unparsable: 1 where the verdict could not be parsed.
        matched: 1 where an answer could be extracted (Regex Match Rate).

    Raises:
        ValueError: shapes differ, a value is neither 0 nor 1, or an unparsable verdict is not
            flagged.
    """

    wrong: Array
    flagged: Array
    unparsable: Array
    matched: Array

    def __post_init__(self) -> None:
        _check_binary(self.wrong, self.flagged, self.unparsable, self.matched)
        if (self.unparsable > self.flagged).any():
            raise ValueError("an unparsable verdict counts as flagged")

    def cells(self) -> dict[str, Array]:
        """Return (items, seeds) of 0 and 1 for each of `CELLS`."""
        right, unflagged = 1 - self.wrong, 1 - self.flagged
        return {
            "tp": self.wrong * self.flagged,
            "fp": right * self.flagged,
            "fn": self.wrong * unflagged,
            "tn": right * unflagged,
        }


def metrics(
    tp: float | Array, fp: float | Array, fn: float | Array, tn: float | Array
) -> dict[str, Any]:
    """Return `METRICS` of confusion cells, given as counts or as shares.

    F1 is 2 tp / (2 tp + fp + fn): 0 where wrong answers were all missed, even if nothing was
    flagged and there is no precision.

    Args:
        tp: wrong answers that were flagged; number or array.
        fp: right answers that were flagged; of the same shape.
        fn: wrong answers that were not.
        tn: right answers that were not.

    Returns:
        Numbers, or arrays of the shape given; NaN where the denominator is 0. Balanced accuracy is
        NaN where recall or specificity is.
    """
    shape = np.shape(tp)
    hit, alarm, miss, quiet = (np.asarray(cell, dtype=float).ravel() for cell in (tp, fp, fn, tn))
    wrong, right, flagged, kept = hit + miss, alarm + quiet, hit + alarm, miss + quiet
    recall, specificity = stats.quotient(hit, wrong), stats.quotient(quiet, right)
    found = {
        "recall": recall,
        "precision": stats.quotient(hit, flagged),
        "f1": stats.quotient(2 * hit, 2 * hit + alarm + miss),
        "accuracy": stats.quotient(hit + quiet, wrong + right),
        "specificity": specificity,
        "balanced_accuracy": (recall + specificity) / 2,
        "mcc": stats.quotient(
            hit * quiet - alarm * miss, np.sqrt(wrong * right) * np.sqrt(flagged * kept)
        ),
        "prevalence": stats.quotient(wrong, wrong + right),
    }
    return {
        name: found[name].reshape(shape) if shape else float(found[name][0]) for name in METRICS
    }


def figures(d: Detection, tasks: Sequence[str], draws: int, seed: int) -> dict[str, Any]:
    """Return the figures of one row of Table 2, with 95 % intervals.

    Metrics are those of the cells pooled over items and seeds. With one seed, those that are a
    share of trajectories have Wilson intervals, and balanced accuracy the one that recovers its
    spread from those of recall and specificity (MOVER, Zou and Donner 2008); the others, and all
    with several seeds, have bootstrap intervals over items, on the means of the seeds. Resamples in
    which a metric is undefined are dropped and counted. Where all others give the same value
    (nothing is unflagged, say: MCC is always undefined), a bootstrap knows nothing of the spread:
    both ends are NaN, which is not an interval of no width.

    Where only a handful of answers is right, or wrong, bootstrap intervals of balanced accuracy and
    MCC are far too narrow (with 4 right among 54 they cover some 76 %), so below `FEWEST` items of
    either kind both ends are NaN.

    Args:
        d: the verdicts.
        tasks: the subtask of each item.
        draws: bootstrap resamples.
        seed: seeds them.

    Returns:
        `n` (items), `seeds`, `trajectories`, the counts `CELLS` and `unparsable`, and by metric `x`
        of `METRICS`: `x`, `x_low`, `x_high`, and `x_dropped`, the resamples dropped (0 where the
        interval is Wilson's). The same of each metric under the prefixes `matched_` (trajectories
        with an extracted answer) and `parsed_` (without unparsable verdicts), whose trajectories
        are `matched_n` and `parsed_n`. `macro_x` is the mean over the subtasks in which x is
        defined, which are `macro_x_subtasks`. `x_by_seed` of the metrics `BY_SEED` are the values
        of the seeds, in their order, NaN where undefined.

    Raises:
        ValueError: there is not one task an item.
    """
    n, seeds = d.wrong.shape
    if len(tasks) != n:
        raise ValueError(f"{len(tasks)} tasks for {n} items")
    cells = d.cells()
    kept = {"": np.ones_like(d.wrong), "matched_": d.matched, "parsed_": 1 - d.unparsable}
    columns = [(cells[cell] * mask).mean(axis=1) for mask in kept.values() for cell in CELLS]
    resampled = stats.stratified_means(np.column_stack(columns), tasks, draws, seed)
    row: dict[str, Any] = {"n": n, "seeds": seeds, "trajectories": n * seeds}
    row |= {cell: int(of.sum()) for cell, of in cells.items()}
    row["unparsable"] = int(d.unparsable.sum())
    of_seeds = metrics(*(cells[cell].sum(axis=0) for cell in CELLS))
    row |= {f"{metric}_by_seed": of_seeds[metric].tolist() for metric in BY_SEED}
    for place, (prefix, mask) in enumerate(kept.items()):
        if prefix:
            row[f"{prefix}n"] = int(mask.sum())
        counts = {cell: int((of * mask).sum()) for cell, of in cells.items()}
        own = resampled.means[:, place * len(CELLS) : (place + 1) * len(CELLS)]
        replicates = metrics(*own.T)
        for metric, value in metrics(**counts).items():
            drawn = Resampled(replicates[metric], resampled.freedom)
            dropped = stats.dropped(drawn.means)
            if seeds == 1 and metric in _PROPORTIONS:
                interval, dropped = _wilson(metric, counts), 0
            elif seeds == 1 and metric == "balanced_accuracy":
                interval, dropped = _mover(counts), 0
            elif metric in ("balanced_accuracy", "mcc") and _few(d.wrong, mask):
                interval = Interval(nan, nan)
            else:
                interval = _bootstrapped(drawn)
            row[f"{prefix}{metric}"] = value
            row[f"{prefix}{metric}_low"], row[f"{prefix}{metric}_high"] = interval
            row[f"{prefix}{metric}_dropped"] = dropped
    return row | _macro(cells, tasks)


def transitions(
    before: Array, after: Array, tasks: Sequence[str], draws: int, seed: int
) -> dict[str, float]:
    """Return how many trajectories went from wrong to right and so on, as shares that sum to 1.

    Args:
        before: (items, seeds) of 0 and 1, whether the original answer is solved.
        after: the same of the retry.
        tasks: the subtask of each item.
        draws: bootstrap resamples.
        seed: seeds them.

    Returns:
        `wrong_right`, `right_right`, `right_wrong`, `wrong_wrong`, each with `_low` and `_high`:
        Wilson's interval with one seed, else one of the bootstrap over items, NaN where that has
        nothing to vary.

    Raises:
        ValueError: shapes differ, or a value is neither 0 nor 1.
    """
    _check_binary(before, after)
    moves = {
        "wrong_right": (1 - before) * after,
        "right_right": before * after,
        "right_wrong": before * (1 - after),
        "wrong_wrong": (1 - before) * (1 - after),
    }
    return _shares(moves, tasks, draws, seed)


def better_same_worse(
    before: Array, after: Array, tasks: Sequence[str], draws: int, seed: int
) -> dict[str, float]:
    """Return the shares of trajectories whose graded score rose, stayed and fell.

    Args and intervals are those of `transitions`, for scores of any size.

    Returns:
        `better`, `same`, `worse`, each with `_low` and `_high`.

    Raises:
        ValueError: shapes differ, or a score is NaN.
    """
    if before.shape != after.shape or np.isnan(before).any() or np.isnan(after).any():
        raise ValueError("each trajectory needs a score before and after")
    gain = np.where(np.abs(after - before) > 1e-12, np.sign(after - before), 0.0)
    moves = {"better": gain > 0, "same": gain == 0, "worse": gain < 0}
    return _shares({name: of.astype(float) for name, of in moves.items()}, tasks, draws, seed)


def identified_score(before: Array, after: Array, flagged: Array) -> float:
    """Return the score where flagged answers are retried and all others keep the original."""
    return float(np.where(flagged == 1, after, before).mean())


def identity(before: Array, after: Array, flagged: Array) -> float:
    """Return the same score from the flagged gains and losses; exact where scores are 0 and 1.

    base + P(wrong -> right and flagged) - P(right -> wrong and flagged).
    """
    gained = ((1 - before) * after * flagged).mean()
    lost = (before * (1 - after) * flagged).mean()
    return float(before.mean() + gained - lost)


def product_form(
    base: float, wrong_right: float, right_wrong: float, recall: float, false_positive_rate: float
) -> float:
    """Return the same score from rates alone.

    Right where a wrong answer's being flagged does not hang together with its retry's being right,
    nor a right answer's with its retry's being wrong.
    """
    return base + wrong_right * recall - right_wrong * false_positive_rate


def from_rates(recall: float, precision: float, prevalence: float) -> dict[str, float]:
    """Return the confusion cells, as shares of all answers, that three rates imply, and `METRICS`.

    Raises:
        ValueError: precision is 0, which leaves the false alarms open, or no cells have such rates.
    """
    if precision <= 0:
        raise ValueError("a precision of 0 does not say how many right answers were flagged")
    hit = recall * prevalence
    alarm = hit * (1 - precision) / precision
    shares = {"tp": hit, "fp": alarm, "fn": prevalence - hit, "tn": 1 - prevalence - alarm}
    if min(shares.values()) < -1e-12:
        raise ValueError(f"no answers have {recall=}, {precision=}, {prevalence=}")
    shares = {name: max(share, 0.0) for name, share in shares.items()}
    # The last bits of a share that is 0 would make a rate of it.
    shares = {name: share if share > 1e-12 else 0.0 for name, share in shares.items()}
    return shares | metrics(**shares)


def _macro(cells: Mapping[str, Array], tasks: Sequence[str]) -> dict[str, Any]:
    """Return each metric's mean over the subtasks in which it is defined, and how many they are."""
    names, codes = np.unique(np.array(tasks), return_inverse=True)
    sums = {cell: np.zeros(len(names)) for cell in CELLS}
    for cell, total in sums.items():
        np.add.at(total, codes, cells[cell].sum(axis=1))
    row: dict[str, Any] = {}
    for metric, values in metrics(**sums).items():
        defined = values[~np.isnan(values)]
        row[f"macro_{metric}"] = float(defined.mean()) if len(defined) else nan
        row[f"macro_{metric}_subtasks"] = len(defined)
    return row


def _shares(
    moves: Mapping[str, Array], tasks: Sequence[str], draws: int, seed: int
) -> dict[str, float]:
    """Return the mean of each 0/1 array (items, seeds), with its interval."""
    columns = np.column_stack([of.mean(axis=1) for of in moves.values()])
    resampled = stats.stratified_means(columns, tasks, draws, seed)
    row = {}
    for place, (name, of) in enumerate(moves.items()):
        items, seeds = of.shape
        interval = (
            stats.wilson(int(of.sum()), items)
            if seeds == 1
            else _bootstrapped(Resampled(resampled.means[:, place], resampled.freedom))
        )
        row[name] = float(of.mean())
        row[f"{name}_low"], row[f"{name}_high"] = interval
    return row


def _wilson(metric: str, counts: Mapping[str, int]) -> Interval:
    """Return Wilson's interval of a metric that is a share of trajectories."""
    of, among = (sum(counts[cell] for cell in some) for some in _PROPORTIONS[metric])
    return stats.wilson(of, among)


def _mover(counts: Mapping[str, int]) -> Interval:
    """Return the interval of balanced accuracy out of Wilson's of recall and specificity."""
    found = metrics(**counts)
    centre = found["balanced_accuracy"]
    ends = {name: _wilson(name, counts) for name in ("recall", "specificity")}
    below = np.hypot(*(found[name] - end.low for name, end in ends.items())) / 2
    above = np.hypot(*(end.high - found[name] for name, end in ends.items())) / 2
    return Interval(float(centre - below), float(centre + above))


def _few(wrong: Array, mask: Array) -> bool:
    """Tell whether fewer than `FEWEST` items have a wrong answer, or a right one."""
    kinds = (wrong * mask, (1 - wrong) * mask)
    return min(int(kind.any(axis=1).sum()) for kind in kinds) < FEWEST


def _bootstrapped(drawn: Resampled) -> Interval:
    """Return the percentile interval of one statistic, NaN where its replicates do not vary."""
    defined = drawn.means[~np.isnan(drawn.means)]
    if not len(defined) or np.ptp(defined) < 1e-12:
        return Interval(nan, nan)
    return stats.percentile(defined, drawn.freedom)


def _check_binary(*arrays: Array) -> None:
    """Refuse arrays of different shapes, or of anything but 0 and 1."""
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"shapes differ: {[array.shape for array in arrays]}")
    if not all(np.isin(array, (0, 1)).all() for array in arrays):
        raise ValueError("values must be 0 or 1")
