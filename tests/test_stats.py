"""Intervals and tests: agreement with libraries, hand examples, coverage and type-I error.

Covers: every function of `stages.stats`, and by simulation the coverage of the intervals and the
level of the tests on data with the structure of the report (27 subtasks, correlated binary arms).
Does not cover: coverage where only a handful of items differ; no interval from so few is exact.
"""

from math import isnan, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from stages import stats

SUBTASKS = 27


def labels(per_subtask: int) -> list[str]:
    return [f"task{t:02d}" for t in range(SUBTASKS) for _ in range(per_subtask)]


def arms(
    rng: np.random.Generator, before: stats.Array, after: stats.Array, per_subtask: int
) -> tuple[stats.Array, stats.Array]:
    """Two binary arms over the same items, correlated within an item through a Gaussian copula."""
    shared = rng.normal(size=(len(before), per_subtask))
    draws = []
    for rate in (before, after):
        latent = sqrt(0.5) * shared + sqrt(0.5) * rng.normal(size=shared.shape)
        draws.append((reference.norm.cdf(latent) < rate[:, None]).astype(float).ravel())
    return draws[0], draws[1]


# Hand examples and agreement with libraries


@pytest.mark.parametrize(("successes", "n"), [(0, 54), (2, 54), (27, 54), (54, 54), (1100, 3811)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    expected = reference.binomtest(successes, n).proportion_ci(method="wilson")
    assert stats.wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_nothing() -> None:
    assert all(isnan(end) for end in stats.wilson(0, 0))


@pytest.mark.parametrize(("gained", "lost"), [(6, 0), (5, 0), (12, 4), (3, 3), (70, 40)])
def test_mcnemar_is_statsmodels(gained: int, lost: int) -> None:
    differences = np.array([1.0] * gained + [-1.0] * lost + [0.0] * 30)
    expected = reference_mcnemar([[15, gained], [lost, 15]], exact=True).pvalue
    assert stats.mcnemar(differences) == pytest.approx(expected)


def test_mcnemar_by_hand() -> None:
    assert stats.mcnemar(np.array([1.0] * 5 + [0.0] * 9)) == pytest.approx(2 / 2**5)
    assert stats.mcnemar(np.zeros(9)) == 1.0


def test_sign_flip_by_hand() -> None:
    # 2 of the 8 sign patterns of (1, 2, 3) are as far out as all plus or all minus.
    assert stats.sign_flip(np.array([1.0, 2.0, 3.0, 0.0]), 1000, seed=0) == pytest.approx(2 / 8)
    assert stats.sign_flip(np.zeros(4), 1000, seed=0) == 1.0


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=12))
def test_sign_flip_of_binary_arms_is_mcnemar(differences: list[float]) -> None:
    values = np.array(differences)
    assert stats.sign_flip(values, 2**13, seed=0) == pytest.approx(stats.mcnemar(values))


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.6, 0.02, 0.7]) == pytest.approx([0.04, 1, 0.06, 1])
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert stats.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert stats.holm(p_values) == list(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_equivalence_is_statsmodels_where_there_is_much_to_see(shift: float) -> None:
    rng = np.random.default_rng(0)
    for values in ([-1.0, 0.0, 1.0], [-1 / 3, 0.0, 1 / 3]):
        differences = rng.choice(values, 1000, p=[0.2 - shift, 0.6, 0.2 + shift])
        expected, *_ = ttost_paired(differences, np.zeros(1000), -0.04, 0.04)
        found = stats.equivalence(differences, ["a"] * 1000, 0.04, 4000, seed=0)
        assert found.p == pytest.approx(expected, rel=0.2, abs=2e-3)
        sides = DescrStatsW(differences).tconfint_mean(alpha=0.1)
        assert (found.low, found.high) == pytest.approx(sides, abs=3e-3)


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=40),
    st.sampled_from([0.05, 0.2, 0.5]),
)
def test_equivalence_by_interval_and_by_p_agree(values: list[float], margin: float) -> None:
    """But for ties and the last resamples of the bootstrap, which move p by less than .01."""
    differences = np.array(values)
    tasks = ["a"] * len(values)
    found = stats.equivalence(differences, tasks, margin, 500, seed=0)
    assert found.low <= differences.mean() <= found.high
    inside = -margin < found.low and found.high < margin
    assert found.p < 0.06 if inside else found.p > 0.04
    other = stats.equivalence(-differences, tasks, margin, 500, seed=0)
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low), abs=0.1)


def test_equivalence_without_a_difference() -> None:
    """None of 54 differs: P(none | 5 % do) = .95^54 = .06; Tango's score says .046."""
    none = stats.equivalence(np.zeros(54), labels(2), 0.05, 500, seed=0)
    assert none.p == pytest.approx(reference.norm.sf(sqrt(54 * 0.05 / 0.95)))
    assert none.high == -none.low < 0.05
    assert stats.equivalence(np.zeros(50), labels(2)[:50], 0.05, 500, seed=0).p > 0.05
    assert all(isnan(end) for end in stats.equivalence(np.zeros(1), ["a"], 0.05, 500, seed=0))


def test_equivalence_of_all_or_nothing() -> None:
    for sign in (1.0, -1.0):
        found = stats.equivalence(np.full(10, sign), ["a"] * 10, 0.05, 500, seed=0)
        assert found.p == 1
        assert max(found.low * sign, found.high * sign) == 1
        assert 0 < min(found.low * sign, found.high * sign) < 1


@pytest.mark.parametrize("per_subtask", [2, 20])
def test_bootstrap_has_the_textbook_variance(per_subtask: int) -> None:
    """Variance of a stratified mean: the sum of (n_h / N)^2 s_h^2 / n_h; drawing n_h misses it."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(SUBTASKS, per_subtask)) * np.arange(1, SUBTASKS + 1)[:, None]
    means = stats.stratified_means(values.reshape(-1, 1), labels(per_subtask), 20_000, seed=0).means
    expected = values.var(axis=1, ddof=1).sum() / per_subtask / SUBTASKS**2
    assert means.mean() == pytest.approx(values.mean(), abs=4 * sqrt(expected / 20_000))
    assert means.var() == pytest.approx(expected, rel=0.04)


def test_bootstrap_keeps_differences_between_subtasks_out() -> None:
    values = np.repeat(np.arange(SUBTASKS, dtype=float), 2)[:, None]
    means = stats.stratified_means(values, labels(2), 100, seed=0).means
    assert np.ptp(means) == pytest.approx(0)
    assert np.ptp(stats.cluster_means(values, labels(2), 100, seed=0).means) > 1


def test_unequal_subtasks_are_weighted_by_their_items() -> None:
    values = np.array([1.0] * 8 + [0.0] * 2)[:, None]
    tasks = ["a"] * 8 + ["b"] * 2
    assert stats.stratified_means(values, tasks, 10, seed=0).means == pytest.approx(0.8)
    # One of the two subtasks is drawn each time.
    assert set(stats.cluster_means(values, tasks, 100, seed=0).means.ravel()) == {0.0, 1.0}


def test_columns_share_their_resamples() -> None:
    values = np.random.default_rng(0).normal(size=(54, 2))
    both = np.column_stack([values, values[:, 0] - values[:, 1]])
    means = stats.stratified_means(both, labels(2), 200, seed=3).means
    assert means[:, 2] == pytest.approx(means[:, 0] - means[:, 1])
    assert np.array_equal(means, stats.stratified_means(both, labels(2), 200, seed=3).means)
    assert not np.array_equal(means, stats.stratified_means(both, labels(2), 200, seed=4).means)


def test_subtasks_of_one_item_are_pooled() -> None:
    values = np.array([[0.0], [1.0], [5.0], [5.0]])
    means = stats.stratified_means(values, ["a", "b", "c", "c"], 500, seed=0).means
    assert set(np.round(means.ravel(), 9)) == {2.5, 3.0}  # a and b form a stratum of two
    alone = stats.stratified_means(values, ["a", "b", "b", "b"], 500, seed=0).means
    assert alone.min() == 0.0  # a joins b, so all three draws can be a
    assert np.isnan(stats.stratified_means(values[:1], ["a"], 10, seed=0).means).all()
    assert np.isnan(stats.cluster_means(values, ["a"] * 4, 10, seed=0).means).all()


def test_percentile() -> None:
    values = np.arange(1001, dtype=float)
    many = 10**9
    assert stats.percentile(values, many) == pytest.approx((25, 975))
    assert stats.percentile(np.append(values, [nan] * 500), many) == pytest.approx((25, 975))
    assert isnan(stats.percentile(np.array([nan]), many).low)


def test_percentile_is_expanded_to_students_t() -> None:
    """For a normal mean with 27 degrees of freedom the half-width is t's, not the normal's."""
    values = np.random.default_rng(0).normal(size=1_000_000)
    assert stats.percentile(values, 27).high == pytest.approx(reference.t.ppf(0.975, 27), abs=0.01)


def test_noise_in_the_last_bits_does_not_exclude_zero() -> None:
    assert not stats.percentile(np.full(100, 1e-17), 27).excludes_zero()
    assert stats.Interval(0.01, 0.2).excludes_zero()
    assert stats.Interval(-0.2, -0.01).excludes_zero()
    assert not stats.Interval(-0.2, 0.0).excludes_zero()
    assert not stats.Interval(nan, nan).excludes_zero()


def test_ratio_drops_empty_resamples_and_counts_them() -> None:
    ratios = stats.quotient(np.array([1.0, 0.0, 2.0]), np.array([2.0, 0.0, 4.0]))
    assert ratios[[0, 2]].tolist() == [0.5, 0.5]
    assert stats.dropped(ratios) == 1
    assert stats.percentile(ratios, 27) == (0.5, 0.5)


def test_five_gains_show_nothing_and_six_do() -> None:
    """With two items a subtask the bootstrap agrees with McNemar on one-sided gains."""
    for gained, shown in ((5, False), (6, True)):
        differences = np.zeros((2 * SUBTASKS, 1))
        differences[: 2 * gained : 2] = 1
        boot = stats.stratified_means(differences, labels(2), 10_000, seed=0)
        assert stats.percentile(boot.means[:, 0], boot.freedom).excludes_zero() is shown
        assert (stats.mcnemar(differences[:, 0]) < 0.05) is shown


# The smallest detectable difference


def test_smallest_detectable_difference_has_its_power() -> None:
    n, discordant = 400, 0.2
    differences = np.zeros(n)
    differences[: int(n * discordant)] = np.where(np.arange(n * discordant) % 2, 1, -1)
    d = stats.smallest_detectable(differences)
    assert 0 < d < discordant
    rng = np.random.default_rng(0)
    rates = [(discordant + d) / 2, (discordant - d) / 2, 1 - discordant]
    gained, lost, _ = rng.multinomial(n, rates, size=20_000).T
    found = np.abs(gained - lost) > 1.959964 * np.sqrt(gained + lost)
    assert found.mean() == pytest.approx(stats.POWER, abs=0.02)


def test_smallest_detectable_difference_shrinks_with_n() -> None:
    differences = np.tile([1.0, -1.0, 0.0, 0.0, 0.0], 20)
    small, large = (stats.smallest_detectable(np.tile(differences, k)) for k in (1, 16))
    assert large == pytest.approx(small / 4, rel=0.1)


def test_smallest_detectable_difference_without_discordance() -> None:
    d = stats.smallest_detectable(np.zeros(54))
    assert 0.1 < d < 0.2  # all discordant items in one direction
    assert sqrt(54 * d) == pytest.approx(1.959964 + 0.841621 * sqrt(1 - d), abs=1e-5)
    assert isnan(stats.smallest_detectable(np.zeros(3)))


def test_smallest_detectable_difference_of_graded_arms() -> None:
    differences = np.random.default_rng(0).normal(scale=0.3, size=500)
    expected = (1.959964 + 0.841621) * sqrt(np.mean(differences**2) / 500)
    assert stats.smallest_detectable(differences) == pytest.approx(expected, rel=0.02)


# Coverage and type-I error, by simulation


@pytest.mark.parametrize(("per_subtask", "runs"), [(2, 1500), (20, 700)])
def test_coverage_of_difference_and_ratio(per_subtask: int, runs: int) -> None:
    """Nominal within two points, over runs with new items of the same subtasks."""
    rng = np.random.default_rng(11)
    before = rng.uniform(0.1, 0.5, SUBTASKS)
    after = np.clip(before + rng.uniform(-0.1, 0.3, SUBTASKS), 0, 1)
    tasks = labels(per_subtask)
    difference = ratio = naive = 0
    for run in range(runs):
        first, second = arms(rng, before, after, per_subtask)
        matched = np.maximum(first, second)
        columns = np.column_stack([second - first, first, matched])
        means, freedom = stats.stratified_means(columns, tasks, 800, seed=run)
        low, high = stats.percentile(means[:, 0], freedom)
        difference += low <= (after - before).mean() <= high
        low, high = stats.percentile(stats.quotient(means[:, 1], means[:, 2]), freedom)
        ratio += low <= before.mean() / _either(before, after) <= high
        if per_subtask == 2:  # what drawing all n_h would give: half the variance
            centre = columns[:, 0].mean()
            spread = means[:, 0].std() / sqrt(2)
            naive += abs(centre - (after - before).mean()) <= 1.96 * spread
    assert difference / runs == pytest.approx(0.95, abs=0.02)
    assert ratio / runs == pytest.approx(0.95, abs=0.02)
    if per_subtask == 2:
        assert naive / runs < 0.88


def _either(before: stats.Array, after: stats.Array) -> float:
    """The true rate of max(first, second) under the copula of `arms`."""
    normal = reference.multivariate_normal(cov=[[1, 0.5], [0.5, 1]])
    both = [normal.cdf(reference.norm.ppf([p, q])) for p, q in zip(before, after, strict=True)]
    return float((before + after - both).mean())


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("discordant", [0.05, 0.08, 0.15, 0.3])
@pytest.mark.parametrize("per_subtask", [2, 20])
def test_type_one_error_of_equivalence(per_subtask: int, discordant: float, seeds: int) -> None:
    """A difference of just the margin passes in at most 5 %; where n admits a yes, in about 5 %.

    Subtasks differ in how often answers change. At .05 all changes go one way, and the test is
    conservative, since Tango's part knows no subtasks.
    """
    margin, runs = 0.05, 600
    rng = np.random.default_rng(9)
    tasks = labels(per_subtask)
    passed = 0
    for run in range(runs):
        scale = rng.uniform(0, 2, SUBTASKS)
        up, both = (
            np.repeat(scale / scale.mean() * rate, per_subtask)[:, None]
            for rate in ((discordant + margin) / 2, discordant)
        )
        drawn = rng.random((len(tasks), seeds))
        differences = ((drawn < up) * 1.0 - ((up <= drawn) & (drawn < both))).mean(axis=1)
        passed += stats.equivalence(differences, tasks, margin, 300, seed=run).p < 0.05
    assert passed / runs <= 0.05 + 0.02
    if per_subtask == 20 and discordant > margin:
        assert passed / runs >= 0.05 - 0.02


def test_coverage_of_new_subtasks() -> None:
    rng = np.random.default_rng(5)
    tasks = labels(4)
    covered = 0
    for run in range(1500):
        effects = rng.normal(0.1, 0.15, SUBTASKS)
        values = np.repeat(effects, 4) + rng.normal(scale=0.3, size=4 * SUBTASKS)
        means, freedom = stats.cluster_means(values[:, None], tasks, 800, seed=run)
        low, high = stats.percentile(means[:, 0], freedom)
        covered += low <= 0.1 <= high
    assert covered / 1500 == pytest.approx(0.95, abs=0.02)


def test_coverage_of_wilson() -> None:
    rng = np.random.default_rng(6)
    rates = rng.uniform(0.05, 0.6, 4000)  # the mean coverage over rates is what is nominal
    hits = rng.binomial(54, rates)
    intervals = {k: stats.wilson(int(k), 54) for k in np.unique(hits)}
    covered = [intervals[k].low <= p <= intervals[k].high for k, p in zip(hits, rates, strict=True)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_type_one_error() -> None:
    """Under no difference the tests reject in at most 5 % (McNemar is conservative)."""
    rng = np.random.default_rng(7)
    rate = rng.uniform(0.1, 0.5, SUBTASKS)
    runs = 1000
    exact = interval = 0
    for run in range(runs):
        first, second = arms(rng, rate, rate, 8)
        differences = second - first
        exact += stats.mcnemar(differences) < 0.05
        means, freedom = stats.stratified_means(differences[:, None], labels(8), 400, seed=run)
        interval += stats.percentile(means[:, 0], freedom).excludes_zero()
    assert 0.01 < exact / runs <= 0.06
    assert interval / runs == pytest.approx(0.05, abs=0.02)


def test_type_one_error_of_sign_flip() -> None:
    rng = np.random.default_rng(8)
    rejected = [
        stats.sign_flip(rng.normal(size=60) * rng.exponential(size=60), 499, seed=run) < 0.05
        for run in range(800)
    ]
    assert np.mean(rejected) == pytest.approx(0.05, abs=0.02)
