"""Error identification: metrics, their intervals, and what flagging does to the score.

Covers: metrics against scikit-learn and by hand; every rule for what is undefined; intervals
against `stages.stats`, where they are NaN, and by simulation their coverage (27 subtasks of 20 and
of 2 items, with rates of their own); the three views (all, matched, parsed) and the macro average;
transitions; the exact identity of the score, and when its product form holds.
Does not cover: the paper's rows (test_paper_figures.py); coverage where hardly an answer is
unflagged, with several seeds, or over new subtasks.
"""

import warnings
from dataclasses import replace
from math import isnan, nan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from stages import stats
from stages.reporting.detection import (
    BY_SEED,
    METRICS,
    Detection,
    better_same_worse,
    figures,
    from_rates,
    identified_score,
    identity,
    metrics,
    product_form,
    transitions,
)
from stages.stats import Array

SUBTASKS = 27
BITS = st.integers(0, 1)


def labels(per_subtask: int) -> list[str]:
    return [f"task{t:02d}" for t in range(SUBTASKS) for _ in range(per_subtask)]


def column(*values: float) -> Array:
    """One seed's (items, 1)."""
    return np.array(values, dtype=float)[:, None]


def detection(wrong: Array, flagged: Array, **more: Array) -> Detection:
    plain = {"unparsable": np.zeros_like(wrong), "matched": np.ones_like(wrong)}
    return Detection(wrong, flagged, **(plain | more))


def repeated(tp: int, fp: int, fn: int, tn: int) -> Detection:
    """So many items in each cell, one seed."""
    wrong = [1] * tp + [0] * fp + [1] * fn + [0] * tn
    return detection(column(*wrong), column(*[1] * (tp + fp), *[0] * (fn + tn)))


@st.composite
def binary(draw: st.DrawFn, arrays: int) -> list[Array]:
    """Arrays of 0 and 1, all (items, seeds)."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 3)))
    size = shape[0] * shape[1]
    bits = st.lists(BITS, min_size=size, max_size=size)
    return [np.array(draw(bits), dtype=float).reshape(shape) for _ in range(arrays)]


# Metrics


@settings(deadline=None)
@given(st.lists(st.tuples(BITS, BITS), min_size=1, max_size=60))
def test_metrics_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    wrong, flagged = (np.array(values) for values in zip(*pairs, strict=True))
    tn, fp, fn, tp = reference.confusion_matrix(wrong, flagged, labels=[0, 1]).ravel()
    found = metrics(float(tp), float(fp), float(fn), float(tn))
    assert tuple(found) == METRICS
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        wrong, flagged, average="binary", zero_division=np.nan
    )
    expected = {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "accuracy": reference.accuracy_score(wrong, flagged),
        "specificity": reference.recall_score(wrong, flagged, pos_label=0, zero_division=np.nan),
        "prevalence": wrong.mean(),
    }
    if 0 < wrong.mean() < 1:  # else scikit-learn averages over the one class there is
        expected["balanced_accuracy"] = reference.balanced_accuracy_score(wrong, flagged)
        if 0 < flagged.mean() < 1:  # else scikit-learn has 0
            expected["mcc"] = reference.matthews_corrcoef(wrong, flagged)
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    undefined = set(METRICS) - set(expected)
    assert all(isnan(found[name]) for name in undefined)


def test_metrics_by_hand() -> None:
    found = metrics(6, 2, 4, 8)
    assert found == pytest.approx(
        {
            "recall": 6 / 10,
            "precision": 6 / 8,
            "f1": 12 / 18,
            "accuracy": 14 / 20,
            "specificity": 8 / 10,
            "balanced_accuracy": 0.7,
            "mcc": (48 - 8) / (10 * 8 * 12 * 10) ** 0.5,
            "prevalence": 0.5,
        }
    )


@pytest.mark.parametrize(
    ("cells", "undefined"),
    [
        ((0, 0, 0, 0), set(METRICS)),
        ((3, 2, 0, 0), {"mcc"}),  # all flagged
        ((0, 0, 3, 2), {"precision", "mcc"}),  # none flagged
        ((3, 0, 2, 0), {"specificity", "balanced_accuracy", "mcc"}),  # all wrong
        ((0, 3, 0, 2), {"recall", "balanced_accuracy", "mcc"}),  # all right
        ((0, 0, 0, 2), {"recall", "precision", "f1", "balanced_accuracy", "mcc"}),
        ((0, 3, 2, 0), set()),
    ],
)
def test_what_is_undefined_is_nan_without_a_warning(
    cells: tuple[int, int, int, int], undefined: set[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics(*cells)
    assert {name for name, value in found.items() if isnan(value)} == undefined


def test_f1_is_0_where_all_wrong_answers_were_missed() -> None:
    assert metrics(0, 0, 3, 2)["f1"] == 0  # as scikit-learn has it, although there is no precision


@given(st.lists(st.tuples(*[st.integers(0, 20)] * 4), min_size=1, max_size=6))
def test_arrays_give_what_numbers_give(rows: list[tuple[int, int, int, int]]) -> None:
    cells = np.array(rows, dtype=float).T
    for shape in ((len(rows),), (1, len(rows))):
        found = metrics(*(cell.reshape(shape) for cell in cells))
        assert all(values.shape == shape for values in found.values())
        for place, row in enumerate(rows):
            one = {name: values.ravel()[place] for name, values in found.items()}
            assert one == pytest.approx(metrics(*row), nan_ok=True)


@given(st.tuples(*[st.integers(0, 20)] * 4).filter(lambda cells: cells[0] > 0))
def test_rates_give_the_cells_back(cells: tuple[int, int, int, int]) -> None:
    shares = np.array(cells) / sum(cells)
    expected = metrics(*cells)
    found = from_rates(expected["recall"], expected["precision"], expected["prevalence"])
    assert [found[name] for name in ("tp", "fp", "fn", "tn")] == pytest.approx(shares, abs=1e-9)
    assert {name: found[name] for name in METRICS} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("rates", [(1.0, 0.5, 0.8), (1.2, 0.5, 0.2), (0.5, 0.0, 0.5)])
def test_rates_that_no_cells_have_are_refused(rates: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"no answers have|a precision of 0"):
        from_rates(*rates)


# The row of the table


def test_counts_by_hand() -> None:
    # Cells, seed by seed: tp tp / fp tn / fn tp (unparsable).
    d = Detection(
        wrong=np.array([[1.0, 1], [0, 0], [1, 1]]),
        flagged=np.array([[1.0, 1], [1, 0], [0, 1]]),
        unparsable=np.array([[0.0, 0], [0, 0], [0, 1]]),
        matched=np.array([[1.0, 1], [1, 1], [0, 0]]),
    )
    row = figures(d, ["a", "a", "b"], 200, seed=0)
    counts = ("n", "seeds", "trajectories", "tp", "fp", "fn", "tn", "unparsable")
    assert [row[name] for name in counts] == [3, 2, 6, 3, 1, 1, 1, 1]
    assert [row["recall"], row["precision"], row["specificity"]] == [3 / 4, 3 / 4, 1 / 2]
    assert row["matched_n"] == 4
    assert [row["matched_recall"], row["matched_precision"]] == [1, 2 / 3]
    assert row["parsed_n"] == 5
    assert [row["parsed_recall"], row["parsed_precision"]] == [2 / 3, 2 / 3]
    # Subtask a: 2 tp, fp, tn; b: tp, fn, so that it has no specificity.
    assert row["macro_recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert row["macro_precision"] == pytest.approx((2 / 3 + 1) / 2)
    assert (row["macro_recall_subtasks"], row["macro_specificity_subtasks"]) == (2, 1)
    assert row["macro_specificity"] == row["macro_balanced_accuracy"] - row["macro_specificity"] / 2


def everything(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name: row[f"{prefix}{name}{end}"] for name in METRICS for end in ("", "_low", "_high")}


@settings(deadline=None)
@given(binary(2))
def test_nothing_left_out_is_everything(arrays: list[Array]) -> None:
    tasks = ["a"] * len(arrays[0])
    row = figures(detection(*arrays), tasks, 50, seed=0)
    for prefix in ("matched_", "parsed_"):
        assert everything(row, prefix) == pytest.approx(everything(row, ""), nan_ok=True)
        assert row[f"{prefix}n"] == row["trajectories"]
    macro = [row[f"macro_{name}"] for name in METRICS]
    assert macro == pytest.approx([row[name] for name in METRICS], nan_ok=True)


def test_one_seed_has_wilson_intervals_for_proportions() -> None:
    row = figures(repeated(30, 10, 12, 8), ["a"] * 60, 500, seed=0)
    for name, of, among in (
        ("recall", 30, 42),
        ("precision", 30, 40),
        ("specificity", 8, 18),
        ("accuracy", 38, 60),
        ("prevalence", 42, 60),
    ):
        assert (row[f"{name}_low"], row[f"{name}_high"]) == stats.wilson(of, among)
        assert row[f"{name}_dropped"] == 0


def test_equal_seeds_tell_no_more_than_one() -> None:
    """The bootstrap is over items: repeating the seeds must not narrow an interval."""
    one = repeated(30, 10, 12, 8)
    three = detection(np.tile(one.wrong, 3), np.tile(one.flagged, 3))
    alone, row = (figures(d, ["a"] * 60, 2000, seed=0) for d in (one, three))
    for name in ("f1", "mcc"):
        ends = [row[f"{name}_low"], row[f"{name}_high"]]
        assert ends == pytest.approx([alone[f"{name}_low"], alone[f"{name}_high"]])
    # Proportions are bootstrapped now, near what Wilson has.
    assert row["recall_low"] == pytest.approx(alone["recall_low"], abs=0.03)
    assert row["recall_low"] != alone["recall_low"]


@settings(deadline=None)
@given(binary(2))
def test_values_of_the_seeds_are_those_of_each_alone(arrays: list[Array]) -> None:
    tasks = ["a"] * len(arrays[0])
    row = figures(detection(*arrays), tasks, 20, seed=0)
    for seed in range(row["seeds"]):
        alone = figures(detection(*(of[:, [seed]] for of in arrays)), tasks, 20, seed=0)
        for name in BY_SEED:
            assert len(row[f"{name}_by_seed"]) == row["seeds"]
            assert row[f"{name}_by_seed"][seed] == pytest.approx(alone[name], nan_ok=True)


def test_values_of_the_seeds_by_hand() -> None:
    """The second seed flags nothing, which leaves it without a precision."""
    wrong = np.array([[1, 1], [1, 1], [0, 1], [0, 0]], dtype=float)
    flagged = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], dtype=float)
    row = figures(detection(wrong, flagged), ["a"] * 4, 20, seed=0)
    assert row["recall_by_seed"] == [1 / 2, 0]
    assert row["precision_by_seed"] == pytest.approx([1 / 2, nan], nan_ok=True)
    assert row["f1_by_seed"] == [1 / 2, 0]
    assert row["accuracy_by_seed"] == [1 / 2, 1 / 4]
    # Pooled, hence not the mean of the seeds: one of five wrong answers is flagged.
    assert row["recall"] == 1 / 5


def test_interval_is_nan_where_a_bootstrap_has_nothing_to_vary() -> None:
    """Nothing unflagged: MCC is undefined, balanced accuracy one half in every resample."""
    row = figures(repeated(30, 10, 0, 0), ["a"] * 40, 300, seed=0)
    assert row["balanced_accuracy"] == 0.5
    assert row["balanced_accuracy_low"] < 0.5 < row["balanced_accuracy_high"]  # out of Wilson's
    assert isnan(row["mcc"])
    assert isnan(row["mcc_low"])
    assert row["mcc_dropped"] == 300
    assert row["f1_low"] < row["f1"] < row["f1_high"]
    assert (row["recall_low"], row["recall_high"]) == stats.wilson(30, 30)
    seeds = repeated(30, 10, 0, 0)
    twice = figures(
        detection(np.tile(seeds.wrong, 2), np.tile(seeds.flagged, 2)), ["a"] * 40, 300, seed=0
    )
    assert twice["recall"] == 1
    assert isnan(twice["recall_low"])  # no Wilson interval of correlated seeds
    assert isnan(twice["balanced_accuracy_low"])


def test_undefined_resamples_are_dropped_and_counted() -> None:
    # One answer of six is unflagged: (5/6)^5 of the resamples miss it, and some have no right one.
    row = figures(repeated(3, 2, 1, 0), ["a"] * 6, 2000, seed=0)
    assert row["mcc_dropped"] / 2000 > (5 / 6) ** 5 - 0.04
    assert row["f1_dropped"] == 0


def test_too_few_of_a_kind_have_no_interval_of_mcc() -> None:
    for right, known in ((9, False), (10, True)):
        row = figures(repeated(20, right - 4, 10, 4), ["a"] * (30 + right), 300, seed=0)
        assert isnan(row["mcc_low"]) is not known
        assert not isnan(row["balanced_accuracy_low"])
    # Two seeds of the same nine items are nine items.
    nine = repeated(20, 5, 10, 4)
    twice = detection(np.tile(nine.wrong, 2), np.tile(nine.flagged, 2))
    row = figures(twice, ["a"] * 39, 300, seed=0)
    assert isnan(row["mcc_low"])
    assert isnan(row["balanced_accuracy_low"])


def test_mover_by_hand() -> None:
    row = figures(repeated(30, 10, 12, 8), ["a"] * 60, 300, seed=0)
    recall, specificity = stats.wilson(30, 42), stats.wilson(8, 18)
    below = sqrt((30 / 42 - recall.low) ** 2 + (8 / 18 - specificity.low) ** 2) / 2
    assert row["balanced_accuracy_low"] == pytest.approx((30 / 42 + 8 / 18) / 2 - below)


def test_nothing_matched() -> None:
    d = replace(repeated(3, 1, 2, 4), matched=np.zeros((10, 1)))
    row = figures(d, ["a"] * 10, 100, seed=0)
    assert row["matched_n"] == 0
    assert all(isnan(value) for value in everything(row, "matched_").values())


def test_equal_seed_equal_figures() -> None:
    d = repeated(30, 10, 12, 8)
    tasks = ["a"] * 30 + ["b"] * 30
    assert figures(d, tasks, 300, seed=1) == figures(d, tasks, 300, seed=1)
    assert figures(d, tasks, 300, seed=1) != figures(d, tasks, 300, seed=2)


def test_what_is_no_detection_is_refused() -> None:
    good = repeated(1, 1, 1, 1)
    for name, values, message in (
        ("wrong", np.full((4, 1), 0.5), "0 or 1"),
        ("flagged", np.full((4, 1), nan), "0 or 1"),
        ("matched", np.ones((4, 2)), "shapes differ"),
        ("unparsable", np.ones((4, 1)), "counts as flagged"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(good, **{name: values})
    with pytest.raises(ValueError, match="3 tasks for 4 items"):
        figures(good, ["a"] * 3, 10, seed=0)


# Transitions


MOVES = ("wrong_right", "right_right", "right_wrong", "wrong_wrong")


def test_transitions_by_hand() -> None:
    before, after = column(0, 0, 1, 1, 1, 0, 0, 0), column(1, 1, 1, 0, 0, 0, 0, 0)
    row = transitions(before, after, ["a"] * 8, 100, seed=0)
    assert [row[move] for move in MOVES] == [2 / 8, 1 / 8, 2 / 8, 3 / 8]
    assert (row["wrong_right_low"], row["wrong_right_high"]) == stats.wilson(2, 8)
    seeds = transitions(np.tile(before, 2), np.tile(after, 2), ["a"] * 8, 500, seed=0)
    assert [seeds[move] for move in MOVES] == [row[move] for move in MOVES]
    boot = stats.stratified_means((1 - before) * after, ["a"] * 8, 500, seed=0)
    assert seeds["wrong_right_low"] == stats.percentile(boot.means[:, 0], boot.freedom).low
    still = transitions(np.ones((8, 2)), np.ones((8, 2)), ["a"] * 8, 100, seed=0)
    assert still["wrong_wrong"] == 0
    assert isnan(still["wrong_wrong_high"])


@settings(deadline=None)
@given(binary(2))
def test_transitions_sum_to_1_and_give_both_scores(arrays: list[Array]) -> None:
    before, after = arrays
    row = transitions(before, after, ["a"] * len(before), 20, seed=0)
    assert sum(row[move] for move in MOVES) == pytest.approx(1, abs=1e-12)
    assert row["right_right"] + row["right_wrong"] == pytest.approx(before.mean())
    assert row["right_right"] + row["wrong_right"] == pytest.approx(after.mean())
    graded = better_same_worse(before, after, ["a"] * len(before), 20, seed=0)
    for name, moves in (
        ("better", ("wrong_right",)),
        ("same", ("right_right", "wrong_wrong")),
        ("worse", ("right_wrong",)),
    ):
        assert graded[name] == pytest.approx(sum(row[move] for move in moves))


def test_better_same_worse_by_hand() -> None:
    before, after = column(0.1, 0.5, 0.3, 0.7), column(0.4, 0.2, 0.1 + 0.2, 2.0)
    row = better_same_worse(before, after, ["a"] * 4, 100, seed=0)
    assert [row[name] for name in ("better", "same", "worse")] == [0.5, 0.25, 0.25]
    assert (row["better_low"], row["better_high"]) == stats.wilson(2, 4)


def test_unlike_arms_are_refused() -> None:
    for function, after in (
        (transitions, np.ones((2, 1))),
        (transitions, column(0.5, 1, 1)),
        (better_same_worse, np.ones((2, 1))),
        (better_same_worse, column(nan, 1, 1)),
    ):
        with pytest.raises(ValueError, match=r"shapes differ|0 or 1|before and after"):
            function(np.ones((3, 1)), after, ["a"] * 3, 10, seed=0)


# What flagging does to the score


@given(binary(3))
def test_identity_is_exact(arrays: list[Array]) -> None:
    before, after, flagged = arrays
    assert identity(before, after, flagged) == pytest.approx(
        identified_score(before, after, flagged), abs=1e-12
    )


def product(before: Array, after: Array, flagged: Array) -> float:
    row = transitions(before, after, ["a"] * len(before), 2, seed=0)
    rates = metrics(
        ((1 - before) * flagged).sum(),
        (before * flagged).sum(),
        ((1 - before) * (1 - flagged)).sum(),
        (before * (1 - flagged)).sum(),
    )
    return product_form(
        float(before.mean()),
        row["wrong_right"],
        row["right_wrong"],
        rates["recall"],
        1 - rates["specificity"],
    )


def test_product_form_misses_what_hangs_together() -> None:
    # Of two wrong answers the teacher flags the one that the retry does not mend.
    before, after, flagged = column(0, 0, 1), column(1, 0, 1), column(0, 1, 0)
    assert identified_score(before, after, flagged) == pytest.approx(1 / 3)
    assert identity(before, after, flagged) == pytest.approx(1 / 3)
    assert product(before, after, flagged) == pytest.approx(1 / 3 + 1 / 3 * 1 / 2)


@given(st.lists(st.integers(1, 3), min_size=8, max_size=8))
def test_product_form_is_exact_under_independence(sizes: list[int]) -> None:
    """Among the wrong, and among the right, every outcome is flagged at the same rate."""
    before: list[int] = []
    after: list[int] = []
    flagged: list[int] = []
    for right, (a, b, c, d) in enumerate((sizes[:4], sizes[4:])):
        for solved, n in ((0, a), (1, b)):
            for flag, m in ((0, c), (1, d)):
                before += [right] * n * m
                after += [solved] * n * m
                flagged += [flag] * n * m
    arrays = column(*before), column(*after), column(*flagged)
    assert product(*arrays) == pytest.approx(identified_score(*arrays), abs=1e-12)


# Coverage, by simulation


def coverage(per_subtask: int, runs: int, wrong: tuple[float, float]) -> dict[str, float]:
    """Share of runs whose interval holds the truth, of those that have one.

    Each run has new items of the same subtasks. What hangs together within a subtask are its rates:
    of wrong answers (drawn from `wrong`), of recall, of false alarms.
    """
    rng = np.random.default_rng(1)
    wrong_rate = rng.uniform(*wrong, (SUBTASKS, 1))
    recall = rng.uniform(0.45, 0.95, (SUBTASKS, 1))
    alarms = rng.uniform(0.1, 0.7, (SUBTASKS, 1))
    right_rate = 1 - wrong_rate
    truth = metrics(
        (wrong_rate * recall).mean(),
        (right_rate * alarms).mean(),
        (wrong_rate * (1 - recall)).mean(),
        (right_rate * (1 - alarms)).mean(),
    )
    size = (SUBTASKS, per_subtask)
    covered: dict[str, list[bool]] = {"f1": [], "balanced_accuracy": [], "mcc": []}
    for run in range(runs):
        is_wrong = (rng.uniform(size=size) < wrong_rate).astype(float)
        flagged = (rng.uniform(size=size) < np.where(is_wrong == 1, recall, alarms)).astype(float)
        d = detection(is_wrong.reshape(-1, 1), flagged.reshape(-1, 1))
        row = figures(d, labels(per_subtask), 400, seed=run)
        for name, hits in covered.items():
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            if not isnan(low):
                hits.append(low <= truth[name] <= high)
    return {name: sum(hits) / len(hits) for name, hits in covered.items() if len(hits) > runs / 2}


@pytest.mark.parametrize(("per_subtask", "runs"), [(20, 500), (2, 1000)])
def test_coverage(per_subtask: int, runs: int) -> None:
    """Nominal within two points, with half to nearly all answers wrong, as for the larger students.

    With two items a subtask, 5,000 runs over two sets of rates covered F1 .941 and MCC .947.
    """
    found = coverage(per_subtask, runs, (0.5, 0.95))
    assert found.keys() == {"f1", "balanced_accuracy", "mcc"}
    for share in found.values():
        assert share == pytest.approx(0.95, abs=0.02)


def test_coverage_where_hardly_an_answer_is_right() -> None:
    """With some 4 right answers among 54, as for the smallest student, specificity is anyone's.

    A bootstrap of balanced accuracy or MCC covered the truth in .76 of 1,000 runs: hence MOVER for
    the first, and no interval for the second.
    """
    found = coverage(2, 500, (0.85, 0.99))
    assert found.keys() == {"f1", "balanced_accuracy"}
    assert found["f1"] == pytest.approx(0.95, abs=0.03)
    assert found["balanced_accuracy"] >= 0.93
