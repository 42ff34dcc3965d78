"""Arms over the same items: their rates and how each differs from the baseline arm.

Serves every table whose rows are arms over Big-Bench Hard (Tables 3, 4 and 5 of the paper).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stages import stats
from stages.stats import Array, Interval

COUNTS = ("unparsed", "truncated", "errored", "kept")


@dataclass(frozen=True)
class Arm:
    """The trajectories of one arm.

    Attributes:
        score: (items, seeds), strict score of each trajectory.
        tolerant: (items, seeds), score under the tolerant extractor.
        matched: (items, seeds), 1 where an answer could be extracted (Regex Match Rate).
        counts: how many trajectories were unparsed, truncated (cut before an answer), errored, and
            kept their original answer.
    """

    score: Array
    tolerant: Array
    matched: Array
    counts: Mapping[str, int]


def arm(scores: pd.DataFrame, items: pd.Index) -> Arm:
    """Return the arm of these rows of `load.read_scores`, restricted to `items`, in their order."""
    rows = scores[scores["item"].isin(items)]

    def grid(column: str) -> Array:
        wide = rows.pivot(index="item", columns="seed", values=column).reindex(items)
        return wide.to_numpy(dtype=float)

    counts = {name: int(rows[name].sum()) for name in COUNTS}
    return Arm(grid("score"), grid("tolerant"), grid("matched"), counts)


def compare(
    arms: Mapping[str, Arm], baseline: str, tasks: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return the figures of each arm, with 95 % intervals, and its difference from the baseline.

    Rates have Wilson intervals where there is one seed and answers are right or wrong, else
    bootstrap intervals of the item means; everything else is bootstrapped. Correct-if-matched is a
    ratio: resamples without a match are dropped and counted. Where no matched answer is right, or
    all are, a bootstrap has nothing to vary, and Wilson's interval stands in.

    The p-value is McNemar's exact one for one seed and binary scores, else that of the paired
    permutation test; it is not adjusted here, since the family is the whole table.

    Args:
        arms: all over the same items and seeds.
        baseline: name of the arm that the others are compared with.
        tasks: the subtask of each item.
        draws: bootstrap resamples.
        seed: seeds them.

    Returns:
        By arm: column name to value; `x_low` and `x_high` are the ends of x's interval. Columns of
        the difference are absent from the baseline.
    """
    base = arms[baseline]
    sizes = pd.Series(tasks).value_counts()
    macro = np.array([len(tasks) / (len(sizes) * sizes[task]) for task in tasks])
    columns: dict[tuple[str, str], Array] = {}
    for name, one in arms.items():
        columns[name, "match_rate"] = one.matched.mean(axis=1)
        columns[name, "score"] = one.score.mean(axis=1)
        columns[name, "right"] = (one.score * one.matched).mean(axis=1)
        columns[name, "tolerant"] = one.tolerant.mean(axis=1)
        columns[name, "macro"] = macro * one.score.mean(axis=1)
        if name != baseline:
            both = one.matched * base.matched
            gain = one.score - base.score
            columns[name, "difference"] = gain.mean(axis=1)
            columns[name, "both"] = both.mean(axis=1)
            columns[name, "gain_in_both"] = (both * gain).mean(axis=1)
    values = np.column_stack(list(columns.values()))
    within = stats.stratified_means(values, tasks, draws, seed)
    across = stats.cluster_means(values, tasks, draws, seed)
    index = {key: position for position, key in enumerate(columns)}

    def boot(name: str, column: str) -> Array:
        replicates: Array = within.means[:, index[name, column]]
        return replicates

    figures: dict[str, dict[str, Any]] = {}
    for name, one in arms.items():
        n, seeds = one.score.shape
        row: dict[str, Any] = {"n": n, "seeds": seeds, "trajectories": n * seeds}
        for column, of in (
            ("match_rate", one.matched),
            ("score", one.score),
            ("tolerant", one.tolerant),
        ):
            interval = (
                stats.wilson(int(of.sum()), n)
                if _binary(of)
                else stats.percentile(boot(name, column), within.freedom)
            )
            _put(row, column, float(of.mean()), interval)
        row["score_by_seed"] = [float(mean) for mean in one.score.mean(axis=0)]
        _put(
            row,
            "macro",
            float(columns[name, "macro"].mean()),
            stats.percentile(boot(name, "macro"), within.freedom),
        )
        _put_ratio(row, one, boot(name, "right"), boot(name, "match_rate"), within.freedom)
        row.update(one.counts)
        if name != baseline:
            difference = columns[name, "difference"]
            interval = stats.percentile(boot(name, "difference"), within.freedom)
            _put(row, "difference", float(difference.mean()), interval)
            row["difference_by_seed"] = [
                float(mean) for mean in (one.score - base.score).mean(axis=0)
            ]
            new = stats.percentile(across.means[:, index[name, "difference"]], across.freedom)
            row["new_subtasks_low"], row["new_subtasks_high"] = new
            exact = _binary(one.score) and _binary(base.score)
            row["discordant"] = int((np.abs(difference) > 1e-12).sum())
            row["test"] = "McNemar" if exact else "permutation"
            row["p"] = (
                stats.mcnemar(difference) if exact else stats.sign_flip(difference, draws, seed)
            )
            row["smallest_detectable"] = stats.smallest_detectable(difference)
            gains = stats.quotient(boot(name, "gain_in_both"), boot(name, "both"))
            matched = columns[name, "both"].sum()
            _put(
                row,
                "difference_matched",
                float(columns[name, "gain_in_both"].sum() / matched) if matched else np.nan,
                stats.percentile(gains, within.freedom) if matched else Interval(np.nan, np.nan),
            )
            row["matched_in_both"] = round(matched * seeds)
            row["difference_matched_dropped"] = stats.dropped(gains)
        figures[name] = row
    return figures


def _binary(values: Array) -> bool:
    """Whether each item has one trajectory, scored 0 or 1."""
    return values.shape[1] == 1 and bool(np.isin(values, (0, 1)).all())


def _put(row: dict[str, Any], column: str, value: float, interval: Interval) -> None:
    row[column] = value
    row[f"{column}_low"], row[f"{column}_high"] = interval


def _put_ratio(row: dict[str, Any], one: Arm, right: Array, matched: Array, freedom: int) -> None:
    """Put correct-if-matched and how many resamples had no match."""
    hits, matches = float((one.score * one.matched).sum()), float(one.matched.sum())
    ratios = stats.quotient(right, matched)
    interval = stats.percentile(ratios, freedom) if matches else Interval(np.nan, np.nan)
    if matches and _binary(one.score) and hits in (0, matches):
        interval = stats.wilson(int(hits), int(matches))
    _put(row, "correct_if_matched", hits / matches if matches else np.nan, interval)
    row["matched"] = int(matches)
    row["correct_if_matched_dropped"] = stats.dropped(ratios)
