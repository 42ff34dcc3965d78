"""Arms over the items of environments, and their figures (paper, section 5.3; Tables 6 and 8).

An environment has few items on a small scale: below `FEWEST` a bootstrap has too little to draw
from (of two items that both gain it knows no other mean), so that intervals are then Wilson's, as
if each score in [0, 1] were right or wrong. No such score spreads further, so they are too wide
rather than too narrow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from stages import stats
from stages.reporting import compare
from stages.reporting.compare import Arm, put
from stages.reporting.config import ReportSection
from stages.reporting.environments import Environment
from stages.reporting.load import BASELINE
from stages.stats import Array, Interval

FEWEST = 10
NOT_RUN = "not run: no sandbox"
PLAYERS = ("constant", "random")


@dataclass(frozen=True)
class Games:
    """All that the report reads of a suite of environments; see `load` for the columns.

    Attributes:
        items: the test items.
        environments: by slug, in the order of the items.
        scores: of `respond` and `revise`.
        taught: of `answer`: the teachers' own answers. A model can be student and teacher.
        trained: of `evaluate`.
        forgot: of `forget`: what students that were trained on questions do here.
        judgements: what the teacher judged of the answers of `respond`.
        leaks: what the feedback gives away.
        floors: what blind players score.
    """

    items: pd.DataFrame
    environments: Mapping[str, Environment]
    scores: pd.DataFrame
    taught: pd.DataFrame
    trained: pd.DataFrame
    forgot: pd.DataFrame
    judgements: pd.DataFrame
    leaks: pd.DataFrame
    floors: pd.DataFrame

    def index(self, environment: str) -> pd.Index:
        """Return the items of an environment."""
        return self.items.index[self.items["task"] == environment]

    def of_teacher(self, teacher: str) -> pd.DataFrame:
        """Return the scores of a teacher's own answers."""
        return self.taught[self.taught["student"] == teacher]

    def of_student(self, student: str, condition: str = BASELINE) -> pd.DataFrame:
        """Return the scores of a student's first answers, or of its retries."""
        rows = self.scores[self.scores["student"] == student]
        return rows[rows["condition"] == condition]

    def of_trained(self, learner: str, method: str) -> pd.DataFrame:
        """Return the scores of the answers after training on these environments."""
        return _of(self.trained, learner, method)

    def of_others(self, learner: str, method: str) -> pd.DataFrame:
        """Return the scores of the answers after training on questions."""
        return _of(self.forgot, learner, method)

    def arm(self, rows: pd.DataFrame, environment: str) -> Arm | None:
        """Return the arm of these scores, None where a program of it was not run."""
        index = self.index(environment)
        own = rows[rows["item"].isin(index)]
        return None if own["not_run"].any() else compare.arm(own, index)

    def judged(self, student: str, environment: str, column: str) -> Array:
        """Return (items, seeds) of a column of `judgements`."""
        rows = self.judgements[self.judgements["student"] == student]
        wide = rows.pivot(index="item", columns="seed", values=column)
        return wide.reindex(self.index(environment)).sort_index(axis=1).to_numpy(dtype=float)

    def floor(self, player: str, environment: str) -> Arm | None:
        """Return what a blind player scores, None where it does not play."""
        rows = self.floors[self.floors["player"] == player].set_index("item")
        rows = rows.reindex(self.index(environment))
        if not len(rows) or rows["score"].isna().any():
            return None
        values = {name: rows[[name]].to_numpy(dtype=float) for name in ("score", "solved")}
        return Arm(values, seeds=1)


def _of(frame: pd.DataFrame, learner: str, method: str) -> pd.DataFrame:
    return frame[(frame["student"] == learner) & (frame["method"] == method)]


def rate(values: Array, best: float, graded: bool, config: ReportSection) -> tuple[float, Interval]:
    """Return a mean score with its interval.

    Args:
        values: (items, seeds), from 0 to `best`.
        best: the highest score.
        graded: whether there are scores between.
        config: resamples and seed.

    Returns:
        The mean, and the interval: Wilson's where an item has one score, 0 or `best`, or where
        a bootstrap has nothing to vary, else by bootstrap over items of their means; see `FEWEST`.
    """
    unit = values / best
    means = unit.mean(axis=1)
    n, mean = len(means), float(means.mean())
    if n < FEWEST or (unit.shape[1] == 1 and not graded) or (means == means[0]).all():
        interval = _bounded(mean, n)
    else:
        drawn = stats.stratified_means(means[:, None], [""] * n, config.bootstrap, config.seed)
        interval = stats.percentile(drawn.means[:, 0], drawn.freedom)
    return mean * best, Interval(*(end * best for end in interval))


def _bounded(mean: float, n: int) -> Interval:
    """Return Wilson's interval of a mean of scores in [0, 1]; too wide unless all are 0 or 1."""
    low, high = proportion_confint(mean * n, n, alpha=stats.ALPHA, method="wilson")
    return Interval(float(low), float(high))


def figures(arm: Arm, environment: Environment, config: ReportSection) -> dict[str, Any]:
    """Return `n`, `seeds`, score and share solved with intervals, and the counts of an arm."""
    n, trajectories = arm.score.shape
    row: dict[str, Any] = {"n": n, "seeds": arm.seeds, "trajectories": n * trajectories}
    put(row, "score", *rate(arm.score, environment.best, environment.graded, config))
    # A blind player's share of solved episodes is no single 0 or 1.
    single = bool(np.isin(arm.solved, (0, 1)).all())
    put(row, "solved", *rate(arm.solved, 1.0, not single, config))
    by_seed = arm.score.reshape(n, arm.seeds, -1).mean(axis=(0, 2))
    row["score_by_seed"] = [float(mean) for mean in by_seed]
    if "unparsed" in arm.values:
        row |= arm.counts
    return row


def difference(
    arm: Arm, base: Arm, environment: Environment, config: ReportSection
) -> dict[str, Any]:
    """Return how an arm's score differs from another's over the same items and seeds.

    Returns:
        `difference` with its interval (paired bootstrap over items; see `FEWEST`), by seed,
        `discordant` items, the p-value of `test` (McNemar's exact one where an item has one score,
        right or wrong, else the paired permutation test), not adjusted here, and
        `smallest_detectable`.
    """
    best = environment.best
    every = (arm.score - base.score) / best
    means = every.mean(axis=1)
    n, mean = len(means), float(means.mean())
    row: dict[str, Any] = {}
    if n < FEWEST:
        interval = Interval(*(2 * end - 1 for end in _bounded((mean + 1) / 2, n)))
    else:
        drawn = stats.stratified_means(means[:, None], [""] * n, config.bootstrap, config.seed)
        interval = stats.percentile(drawn.means[:, 0], drawn.freedom)
    put(row, "difference", mean * best, Interval(*(end * best for end in interval)))
    by_seed = every.reshape(n, arm.seeds, -1).mean(axis=(0, 2)) * best
    row["difference_by_seed"] = [float(value) for value in by_seed]
    row["discordant"] = int((np.abs(means) > 1e-12).sum())
    row |= _test(means, exact=every.shape[1] == 1 and not environment.graded, config=config)
    row["smallest_detectable"] = stats.smallest_detectable(means) * best
    return row


def _test(means: Array, exact: bool, config: ReportSection) -> dict[str, Any]:
    if exact:
        return {"test": "McNemar", "p": stats.mcnemar(means)}
    p = stats.sign_flip(means, config.bootstrap, config.seed)
    return {"test": "permutation", "p": p}


def mean_over(
    arms: Mapping[str, Arm], environments: Mapping[str, Environment], config: ReportSection
) -> tuple[float, Interval]:
    """Return the mean over environments of the share of the best score, with its interval.

    Args:
        arms: by environment.
        environments: by slug.
        config: resamples and seed.

    Returns:
        Each environment counts alike. The interval is by bootstrap over items within environments;
        NaN without an environment.
    """
    means, tasks = _units(arms, environments)
    if not tasks:
        return nan, Interval(nan, nan)
    weighted = means * _weights(tasks)
    value, n = float(weighted.mean()), len(tasks)
    if n < FEWEST or (means == means[0]).all():
        return value, _bounded(value, n)
    drawn = stats.stratified_means(weighted[:, None], tasks, config.bootstrap, config.seed)
    return value, stats.percentile(drawn.means[:, 0], drawn.freedom)


def by_seed(arms: Mapping[str, Arm], environments: Mapping[str, Environment]) -> list[float]:
    """Return the mean over environments as `mean_over` takes it, seed by seed; none without one."""
    shares = [
        arm.score.reshape(len(arm.score), arm.seeds, -1).mean(axis=(0, 2)) / environments[slug].best
        for slug, arm in arms.items()
    ]
    return [float(mean) for mean in np.mean(shares, axis=0)] if shares else []


def difference_over(
    pairs: Mapping[str, tuple[Arm, Arm]],
    environments: Mapping[str, Environment],
    config: ReportSection,
) -> dict[str, Any]:
    """Return the difference of two means as `mean_over` takes them, as `difference` does."""
    first, tasks = _units({slug: one for slug, (one, _) in pairs.items()}, environments)
    second, _ = _units({slug: base for slug, (_, base) in pairs.items()}, environments)
    row: dict[str, Any] = {}
    if not tasks:
        return row
    gain = (first - second) * _weights(tasks)
    value, n = float(gain.mean()), len(tasks)
    if n < FEWEST:
        interval = Interval(*(2 * end - 1 for end in _bounded((value + 1) / 2, n)))
    else:
        drawn = stats.stratified_means(gain[:, None], tasks, config.bootstrap, config.seed)
        interval = stats.percentile(drawn.means[:, 0], drawn.freedom)
    put(row, "difference", value, interval)
    row["discordant"] = int((np.abs(gain) > 1e-12).sum())
    row |= _test(gain, exact=False, config=config)
    row["smallest_detectable"] = stats.smallest_detectable(gain)
    return row


def _units(
    arms: Mapping[str, Arm], environments: Mapping[str, Environment]
) -> tuple[Array, list[str]]:
    """Return the share of the best score of each item, and its environment."""
    means = [arm.score.mean(axis=1) / environments[slug].best for slug, arm in arms.items()]
    tasks = [slug for slug, of in zip(arms, means, strict=True) for _ in of]
    return np.concatenate(means) if means else np.zeros(0), tasks


def _weights(tasks: Sequence[str]) -> Array:
    """Return the weight of each item, of mean 1, under which all environments count alike."""
    sizes = pd.Series(tasks).value_counts()
    return np.array([len(tasks) / (len(sizes) * sizes[task]) for task in tasks])


def adjust(rows: Iterable[dict[str, Any]]) -> None:
    """Put Holm's adjusted p-values beside those of all rows, which are one family."""
    tests = [row for row in rows if "p" in row]
    for row, p in zip(tests, stats.holm([row["p"] for row in tests]), strict=True):
        row["p_holm"] = p
