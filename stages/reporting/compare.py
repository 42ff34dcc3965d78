"""Arms over the same items: their rates, and how one differs from another.

Serves every table whose rows are arms over Big-Bench Hard (Tables 3, 4 and 5 of the paper).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from stages import stats
from stages.stats import Array, Interval

COUNTS = ("unparsed", "truncated", "errored", "kept")
_COLUMNS = ("score", "tolerant", "matched", "solved", *COUNTS, "prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Arm:
    """The trajectories of one arm.

    Attributes:
        values: by column, (items, seeds * draws), the draws of a seed beside each other. `score` is
            strict, `tolerant` the score under the tolerant extractor, `matched` 1 where an answer
            could be extracted (Regex Match Rate), `solved` 1 where the item counts as solved; then
            whether it was unparsed, truncated (cut before an answer), errored, kept its original
            answer; then the tokens that the student read and wrote (NaN where not known).
        seeds: how many there are.
    """

    values: Mapping[str, Array]
    seeds: int

    @property
    def score(self) -> Array:
        """Strict scores."""
        return self.values["score"]

    @property
    def matched(self) -> Array:
        """Where an answer could be extracted."""
        return self.values["matched"]

    @property
    def tolerant(self) -> Array:
        """Scores under the tolerant extractor."""
        return self.values["tolerant"]

    @property
    def solved(self) -> Array:
        """Where the item counts as solved."""
        return self.values["solved"]

    @property
    def counts(self) -> dict[str, int]:
        """How many trajectories were unparsed, truncated, errored or kept."""
        return {name: round(float(self.values[name].sum())) for name in COUNTS}

    @property
    def draws(self) -> int:
        """How many trajectories an item has in a seed."""
        return int(self.score.shape[1]) // self.seeds

    def repeated(self, draws: int) -> "Arm":
        """Return the arm with each trajectory `draws` times, to stand beside one of many draws."""
        values = {name: np.repeat(array, draws, axis=1) for name, array in self.values.items()}
        return Arm(values, self.seeds)

    def where(self, mask: Array, other: "Arm") -> "Arm":
        """Return the arm that has this one's trajectories where `mask` is 1, else the other's.

        Args:
            mask: (items, seeds).
            other: over the same items and seeds.
        """
        one, two = alike(self, other)
        wide = np.repeat(mask, one.draws, axis=1) > 0
        values = {name: np.where(wide, one.values[name], two.values[name]) for name in one.values}
        return Arm(values, self.seeds)


def arm(scores: pd.DataFrame, items: pd.Index) -> Arm:
    """Return the arm of these rows of `load.read_scores`, restricted to `items`, in their order.

    Raises:
        ValueError: two rows are of the same item, seed and draw.
    """
    # By hand and not by `DataFrame.pivot`: the report does this some hundred times.
    places = items.get_indexer(pd.Index(scores["item"]))
    rows, places = scores[places >= 0], places[places >= 0]
    draws = rows["draw"].fillna(0).to_numpy(dtype=int)
    keys = list(zip(rows["seed"].tolist(), draws.tolist(), strict=True))
    runs = {key: place for place, key in enumerate(sorted(set(keys)))}
    of = np.array([runs[key] for key in keys], dtype=int)
    if len(np.unique(places * len(runs) + of)) < len(rows):
        raise ValueError("two trajectories of the same item, seed and draw")
    values = {}
    for column in _COLUMNS:
        values[column] = np.full((len(items), len(runs)), np.nan)
        values[column][places, of] = rows[column].to_numpy(dtype=float)
    return Arm(values, len({seed for seed, _ in keys}))


def alike(one: Arm, other: Arm) -> tuple[Arm, Arm]:
    """Return two arms with as many draws each, one of them having a single one, or as many."""
    if one.draws == other.draws:
        return one, other
    return (
        (one, other.repeated(one.draws)) if other.draws == 1 else (one.repeated(other.draws), other)
    )


def compare(
    arms: Mapping[str, Arm], baseline: str, tasks: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return the figures of each arm, with 95 % intervals, and its difference from the baseline.

    Args:
        arms: all over the same items and seeds.
        baseline: name of the arm that the others are compared with.
        tasks: the subtask of each item.
        draws: bootstrap resamples.
        seed: seeds them.

    Returns:
        By arm: what `rates` gives, and for all but the baseline what `differences` gives.
    """
    figures = rates(arms, tasks, draws, seed)
    pairs = {name: (one, arms[baseline]) for name, one in arms.items() if name != baseline}
    for name, row in differences(pairs, tasks, draws, seed).items():
        figures[name] |= row
    return figures


def rates(
    arms: Mapping[str, Arm], tasks: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return the rates of each arm, with 95 % intervals.

    Rates have Wilson intervals where an item has one trajectory, which is right or wrong, else
    bootstrap intervals of the item means; everything else is bootstrapped. Correct-if-matched is a
    ratio: resamples without a match are dropped and counted. Where no matched answer is right, or
    all are, a bootstrap has nothing to vary, and Wilson's interval over the items with a match
    stands in.

    Args:
        arms: all over the same items.
        tasks: the subtask of each item.
        draws: bootstrap resamples.
        seed: seeds them.

    Returns:
        By arm: column name to value; `x_low` and `x_high` are the ends of x's interval.
    """
    sizes = pd.Series(tasks).value_counts()
    macro = np.array([len(tasks) / (len(sizes) * sizes[task]) for task in tasks])
    columns: dict[tuple[str, str], Array] = {}
    for name, one in arms.items():
        columns[name, "match_rate"] = one.matched.mean(axis=1)
        columns[name, "score"] = one.score.mean(axis=1)
        columns[name, "tolerant"] = one.tolerant.mean(axis=1)
        columns[name, "macro"] = macro * one.score.mean(axis=1)
    boot = _Bootstrap(columns, stats.stratified_means, tasks, draws, seed)
    figures: dict[str, dict[str, Any]] = {}
    for name, one in arms.items():
        n, trajectories = one.score.shape
        row: dict[str, Any] = {"n": n, "seeds": one.seeds, "trajectories": n * trajectories}
        for column, of in (
            ("match_rate", one.matched),
            ("score", one.score),
            ("tolerant", one.tolerant),
        ):
            interval = (
                stats.wilson(int(of.sum()), n)
                if _binary(of)
                else stats.of_mean(of.mean(axis=1), boot.means(name, column), boot.freedom)
            )
            put(row, column, float(of.mean()), interval)
        row["score_by_seed"] = _by_seed(one.score, one.seeds)
        put(row, "macro", float(columns[name, "macro"].mean()), boot.interval(name, "macro"))
        _put_ratio(
            row, one, boot.means(name, "score"), boot.means(name, "match_rate"), boot.freedom
        )
        row.update(one.counts)
        figures[name] = row
    return figures


def differences(
    pairs: Mapping[str, tuple[Arm, Arm]], tasks: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return how the first arm of each pair differs from the second, with 95 % intervals.

    The p-value is McNemar's exact one where an item has one trajectory, which is right or wrong, in
    both arms, else that of the paired permutation test; it is not adjusted here, since the family
    is the whole table.

    Args:
        pairs: two arms over the same items and seeds each; one of many draws is compared with each
            trajectory of the other.
        tasks: the subtask of each item.
        draws: bootstrap resamples.
        seed: seeds them.
    """
    columns: dict[tuple[str, str], Array] = {}
    matched: dict[str, Array] = {}
    for name, (one, base) in pairs.items():
        wide, narrow = alike(one, base)
        gain = wide.score - narrow.score
        matched[name] = wide.matched * narrow.matched
        columns[name, "difference"] = gain.mean(axis=1)
        columns[name, "both"] = matched[name].mean(axis=1)
        columns[name, "gain_in_both"] = (matched[name] * gain).mean(axis=1)
    within = _Bootstrap(columns, stats.stratified_means, tasks, draws, seed)
    across = _Bootstrap(columns, stats.cluster_means, tasks, draws, seed)
    figures: dict[str, dict[str, Any]] = {}
    for name, (one, base) in pairs.items():
        row: dict[str, Any] = {}
        difference = columns[name, "difference"]
        put(row, "difference", float(difference.mean()), within.interval(name, "difference"))
        row["difference_by_seed"] = [
            after - before
            for after, before in zip(
                _by_seed(one.score, one.seeds), _by_seed(base.score, base.seeds), strict=True
            )
        ]
        row["new_subtasks_low"], row["new_subtasks_high"] = across.interval(name, "difference")
        exact = _binary(one.score) and _binary(base.score)
        row["discordant"] = int((np.abs(difference) > 1e-12).sum())
        row["test"] = "McNemar" if exact else "permutation"
        row["p"] = stats.mcnemar(difference) if exact else stats.sign_flip(difference, draws, seed)
        row["smallest_detectable"] = stats.smallest_detectable(difference)
        gains = stats.quotient(within.means(name, "gain_in_both"), within.means(name, "both"))
        both = columns[name, "both"].sum()
        put(
            row,
            "difference_matched",
            float(columns[name, "gain_in_both"].sum() / both) if both else np.nan,
            stats.percentile(gains, within.freedom) if both else Interval(np.nan, np.nan),
        )
        row["matched_in_both"] = round(float(matched[name].sum()))
        row["difference_matched_dropped"] = stats.dropped(gains)
        figures[name] = row
    return figures


class _Bootstrap:
    """Resampled means of named columns, all over the same resamples."""

    def __init__(
        self,
        columns: Mapping[tuple[str, str], Array],
        resample: Any,
        tasks: Sequence[str],
        draws: int,
        seed: int,
    ) -> None:
        resampled: stats.Resampled = resample(
            np.column_stack(list(columns.values())) if columns else np.zeros((len(tasks), 0)),
            tasks,
            draws,
            seed,
        )
        self._means = resampled.means
        self._index = {key: position for position, key in enumerate(columns)}
        self.freedom = resampled.freedom

    def means(self, name: str, column: str) -> Array:
        replicates: Array = self._means[:, self._index[name, column]]
        return replicates

    def interval(self, name: str, column: str) -> Interval:
        return stats.percentile(self.means(name, column), self.freedom)


def put(row: dict[str, Any], column: str, value: float, interval: Interval) -> None:
    """Put a value and the ends of its interval into a row."""
    row[column] = value
    row[f"{column}_low"], row[f"{column}_high"] = interval


def joined(values: object) -> str:
    """Return a list of the seeds' values as text in a CSV file; what is no list is empty."""
    if not isinstance(values, list):
        return ""
    return ";".join("" if isnan(value) else f"{value:.6f}" for value in values)


def _binary(values: Array) -> bool:
    """Whether each item has one trajectory, scored 0 or 1."""
    return values.shape[1] == 1 and bool(np.isin(values, (0, 1)).all())


def _by_seed(values: Array, seeds: int) -> list[float]:
    return [float(mean) for mean in values.reshape(len(values), seeds, -1).mean(axis=(0, 2))]


def _put_ratio(row: dict[str, Any], one: Arm, right: Array, matched: Array, freedom: int) -> None:
    """Put correct-if-matched and how many resamples had no match."""
    # "a strict subset of the set of answers ... that can be extracted" (Table 3).
    hits, matches = float(one.score.sum()), float(one.matched.sum())
    items = int((one.matched > 0).any(axis=1).sum())
    ratios = stats.quotient(right, matched)
    interval = stats.percentile(ratios, freedom) if matches else Interval(np.nan, np.nan)
    if matches and min(hits, abs(matches - hits)) < 1e-9:
        interval = stats.wilson(0 if hits < 1e-9 else items, items)
    put(row, "correct_if_matched", hits / matches if matches else np.nan, interval)
    row["matched"] = round(matches)
    row["correct_if_matched_dropped"] = stats.dropped(ratios)
