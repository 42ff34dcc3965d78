"""Intervals and tests of the report: all 95 %, all two-sided, all seeded.

The estimand is this set of subtasks: items are resampled within their subtask. Resampling follows
Rao and Wu (1988): of a stratum of n items, n - 1 are drawn with replacement. Drawing n would give
the mean a variance too small by (n - 1) / n, which halves it where a subtask has two items.
Bootstrap intervals are percentile intervals, expanded as Student's t expands the normal interval
(Hesterberg 2015): of 54 items in 27 subtasks, plain ones cover less than 93 %.

Not the paper's: it prints no interval and no test.
"""

from collections.abc import Sequence
from math import nan, sqrt
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

LEVEL = 0.95
ALPHA = 1 - LEVEL
POWER = 0.8

Array: TypeAlias = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A 95 % interval; both ends are NaN where the data do not determine one."""

    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


class Equivalence(NamedTuple):
    """Whether a difference is small: its 90 % interval, and the p-value of "it is not"."""

    low: float
    high: float
    p: float


class Resampled(NamedTuple):
    """Bootstrap means.

    Attributes:
        means: (draws, columns).
        freedom: degrees of freedom left to estimate their spread.
    """

    means: Array
    freedom: int


def wilson(successes: int, n: int) -> Interval:
    """Return Wilson's interval of a rate (NaN for n = 0)."""
    if n == 0:
        return Interval(nan, nan)
    low, high = proportion_confint(successes, n, alpha=ALPHA, method="wilson")
    return Interval(float(low), float(high))


def stratified_means(values: Array, strata: Sequence[str], draws: int, seed: int) -> Resampled:
    """Bootstrap means of several columns over the same items, resampled within strata.

    All columns see the same resamples, so that differences and ratios of columns are paired. A
    stratum of one item has no spread of its own: such strata are pooled, and a single one joins the
    smallest of the others.

    Args:
        values: (items, columns).
        strata: the subtask of each item.
        draws: number of resamples.
        seed: seeds the resampling; equal seeds and strata give equal resamples.

    Returns:
        Means over the items, NaN where there are fewer than two items.
    """
    items, columns = values.shape
    if items < 2:
        return Resampled(np.full((draws, columns), nan), 1)
    rng = np.random.default_rng(seed)
    codes = np.array(_pooled(strata))
    means = np.zeros((draws, columns))
    names = np.unique(codes)
    for name in names:
        rows = values[codes == name]
        size = len(rows)
        means += _counts(rng, size, draws) @ rows * (size / (size - 1) / items)
    return Resampled(means, items - len(names))


def cluster_means(values: Array, clusters: Sequence[str], draws: int, seed: int) -> Resampled:
    """Bootstrap means of several columns with whole subtasks resampled ("new subtasks").

    Args:
        values: (items, columns).
        clusters: the subtask of each item.
        draws: number of resamples, of one subtask less than there are.
        seed: seeds the resampling.

    Returns:
        Means over the items drawn, NaN where there are fewer than two subtasks.
    """
    names, codes = np.unique(np.array(clusters), return_inverse=True)
    if len(names) < 2:
        return Resampled(np.full((draws, values.shape[1]), nan), 1)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    sizes = np.bincount(codes).astype(float)
    counts = _counts(np.random.default_rng(seed), len(names), draws)
    return Resampled((counts @ sums) / (counts @ sizes)[:, None], len(names) - 1)


def percentile(replicates: Array, freedom: int, alpha: float = ALPHA) -> Interval:
    """Return the expanded percentile interval of bootstrap replicates, NaN ones left out.

    Replicates are rounded first: noise in the last bits must not make an interval exclude 0.

    Args:
        replicates: (draws,) of a mean, or of a function of means.
        freedom: degrees of freedom of the resampling; few of them put the ends further out.
        alpha: one minus the level.
    """
    kept = np.round(replicates[~np.isnan(replicates)], 12) + 0.0
    if not len(kept):
        return Interval(nan, nan)
    tail = stats.norm.sf(stats.t.isf(alpha / 2, freedom))
    low, high = np.quantile(kept, [tail, 1 - tail])
    return Interval(float(low), float(high))


def of_mean(values: Array, replicates: Array, freedom: int) -> Interval:
    """Return the interval of a mean of scores in [0, 1].

    It is the expanded percentile interval, but where all items score 0, or all 1, a bootstrap has
    nothing to vary, and Wilson's interval for so many items stands in.

    Args:
        values: (items,) whose mean it is.
        replicates: (draws,) bootstrap means of them.
        freedom: degrees of freedom of the resampling.
    """
    if len(values) and (values == values[0]).all() and values[0] in (0.0, 1.0):
        return wilson(int(values.sum()), len(values))
    return percentile(replicates, freedom)


def quotient(numerators: Array, denominators: Array) -> Array:
    """Return the replicates of a ratio, NaN where the denominator is 0.

    `percentile` drops those; `dropped` counts them, to be shown beside the interval.
    """
    result = np.full(len(numerators), nan)
    np.divide(numerators, denominators, out=result, where=np.abs(denominators) > 1e-12)
    return result


def dropped(replicates: Array) -> int:
    """Return how many replicates are NaN."""
    return int(np.isnan(replicates).sum())


def mcnemar(differences: Array) -> float:
    """Return the p-value of McNemar's exact test of two binary arms.

    Args:
        differences: (items,) of -1, 0 and 1.
    """
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def sign_flip(differences: Array, draws: int, seed: int) -> float:
    """Return the p-value of the paired permutation test of graded arms.

    Exact where all sign patterns number no more than `draws`, sampled otherwise. Items without a
    difference are left out, since no flip changes them.

    Args:
        differences: (items,).
        draws: number of sampled sign patterns.
        seed: seeds the sampling.
    """
    moved = differences[np.abs(differences) > 1e-12]
    if len(moved) < 2:
        return 1.0
    test = stats.permutation_test(
        (moved,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=draws,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def equivalence(
    differences: Array, strata: Sequence[str], margin: float, draws: int, seed: int
) -> Equivalence:
    """Test by two one-sided tests at 5 % (TOST) whether a paired difference is within a margin.

    The interval is the 90 % one of the bootstrap or Tango's score interval for paired proportions
    (1998), whichever reaches further out at each end; p is the larger of all their one-sided
    p-values, so that it is below 5 % where the interval is inside the margin. The bootstrap alone
    will not do: where few items differ, all of them likely in one direction, it finds a difference
    of exactly the margin equivalent in up to 25 % of the samples of 54 items.

    Tango's is extended to means of several trajectories by their design effect: an item whose
    difference is d counts as sum(d^2) / sum(|d|) of an observation.

    Args:
        differences: (items,) in [-1, 1].
        strata: the subtask of each item.
        margin: the largest difference that counts as none, in (0, 1).
        draws: number of resamples.
        seed: seeds the resampling.

    Returns:
        Interval and p-value; NaN where there are fewer than two items.
    """
    if len(differences) < 2:
        return Equivalence(nan, nan, nan)
    alpha = 1 - LEVEL
    means, freedom = stratified_means(differences[:, None], strata, draws, seed)
    low, high = percentile(means[:, 0], freedom, 2 * alpha)
    replicates = np.round(means[:, 0], 12)
    gained = float(differences[differences > 0].sum())
    lost = -float(differences[differences < 0].sum())
    total = gained + lost
    effect = float((differences**2).sum()) / total if total else 1.0
    cells = (gained / effect, lost / effect, len(differences) / effect)
    at = float(stats.norm.isf(alpha))
    centre = (gained - lost) / len(differences)
    p = 0.0
    for sign, (one, other, n) in ((1, cells), (-1, (cells[1], cells[0], cells[2]))):
        # How often the bootstrap leaves the margin, made a p-value as `percentile` expands.
        out = (1 + int((sign * replicates <= -margin).sum())) / (draws + 1)
        p = max(p, float(stats.t.sf(stats.norm.isf(out), freedom)))
        p = max(p, float(stats.norm.sf(_tango(one, other, n, -margin))))
        end = -1.0
        if sign * centre > -1 + 1e-6:
            end = float(optimize.brentq(_beyond, -1 + 1e-9, sign * centre, (one, other, n, at)))
        low, high = (min(low, end), high) if sign > 0 else (low, max(high, -end))
    return Equivalence(low, high, p)


def _tango(gained: float, lost: float, n: float, difference: float) -> float:
    """Return Tango's score statistic of gained - lost out of n against a true difference."""
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    fewest = (sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * fewest + difference * (1 - difference))
    return (gained - lost - n * difference) / sqrt(variance) if variance > 1e-12 else 0.0


def _beyond(difference: float, gained: float, lost: float, n: float, at: float) -> float:
    return _tango(gained, lost, n, difference) - at


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given."""
    # Not `statsmodels.stats.multitest`, which collects all garbage of the process at each call.
    values = np.array(p_values, dtype=float)
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1)
    return [float(p) for p in adjusted]


def smallest_detectable(differences: Array) -> float:
    """Return the paired difference that this n shows with 80 % power at the 5 % level (MDE).

    Solves d sqrt(n) = z_a sqrt(q) + z_b sqrt(q - d^2) for d (Connor 1987), q being the observed
    mean squared difference: for binary arms, the share of discordant items. Where d would exceed
    what q discordant items allow, q grows with d. The strata are ignored: d is slightly too large.

    Args:
        differences: (items,).

    Returns:
        The difference; NaN where n is too small to show any.
    """
    n = len(differences)
    at, power = stats.norm.isf(ALPHA / 2), stats.norm.isf(1 - POWER)
    if n <= at**2:
        return nan
    spread = float(np.mean(differences**2))
    centre = at * sqrt(spread * n)
    root = centre**2 - (n + power**2) * (at**2 - power**2) * spread
    found = (centre + sqrt(max(root, 0.0))) / (n + power**2)
    if not np.isin(differences, (-1, 0, 1)).all():
        return float(found)
    if 0 < found <= spread:
        return float(found)
    return float(
        optimize.brentq(lambda d: sqrt(n * d) - at - power * sqrt(1 - d), at**2 / n / 2, 1.0)
    )


def _counts(rng: np.random.Generator, size: int, draws: int) -> Array:
    """Return (draws, size): how often each of `size` is among size - 1 draws with replacement."""
    chosen = rng.integers(size, size=(draws, size - 1)) + size * np.arange(draws)[:, None]
    counts = np.bincount(chosen.ravel(), minlength=draws * size)
    return counts.reshape(draws, size).astype(float)


def _pooled(strata: Sequence[str]) -> list[str]:
    """Return the stratum of each item, strata of one item pooled (see `stratified_means`)."""
    names, sizes = np.unique(np.array(strata), return_counts=True)
    single = {str(name) for name, size in zip(names, sizes, strict=True) if size == 1}
    if not single:
        return list(strata)
    others = [(int(size), str(name)) for name, size in zip(names, sizes, strict=True) if size > 1]
    pool = min(others)[1] if len(single) == 1 and others else "\N{NULL}pool"
    return [pool if name in single else name for name in strata]
