"""Curves over k: exact expectations over all subsets of the candidates.

Covers: every function of `stages.reporting.best_of_k` against enumeration of the subsets, by hand,
and at both ends of the curve; the oracle against the pass@k estimator; what is refused.
Does not cover: choosers that a model is asked for; they have no curve.
"""

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.reporting.best_of_k import by_value, majority, no_selection, oracle
from stages.stats import Array

SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
ANSWERS = st.sampled_from(["A", "B", "C", None])


@st.composite
def candidates(draw: st.DrawFn) -> tuple[Array, Array, list[list[str | None]], int]:
    """Scores, values and answers of a few items' candidates, and k."""
    items, size = draw(st.integers(1, 3)), draw(st.integers(1, 6))

    def grid(cell: st.SearchStrategy[object]) -> list[list[object]]:
        row = st.lists(cell, min_size=size, max_size=size)
        return draw(st.lists(row, min_size=items, max_size=items))

    scores, values = np.array(grid(SCORES)), np.array(grid(st.sampled_from([-3.0, -1.5, -0.5])))
    return scores, values, grid(ANSWERS), draw(st.integers(1, size))  # type: ignore[return-value]


def enumerated(items: int, size: int, k: int, chosen: Callable[[int, list[int]], float]) -> Array:
    """The mean of what is chosen over all subsets, item by item."""
    subsets = [list(subset) for subset in combinations(range(size), k)]
    return np.array([np.mean([chosen(i, subset) for subset in subsets]) for i in range(items)])


@given(candidates())
def test_expectations_are_those_of_enumeration(
    given_: tuple[Array, Array, list[list[str | None]], int],
) -> None:
    scores, values, answers, k = given_

    def top(item: int, subset: list[int]) -> float:
        own = values[item, subset]
        return float(scores[item, subset][own == own.max()].mean())

    def voted(item: int, subset: list[int]) -> float:
        votes = [answers[item][i] for i in subset]
        names = set(votes) - {None}
        if not names:
            return float(scores[item, subset].mean())
        most = max(votes.count(name) for name in names)
        means = [
            np.mean([scores[item, i] for i in subset if answers[item][i] == name])
            for name in names
            if votes.count(name) == most
        ]
        return float(np.mean(means))

    for found, chosen in (
        (no_selection(scores, k), lambda i, subset: scores[i, subset].mean()),
        (oracle(scores, k), lambda i, subset: scores[i, subset].max()),
        (by_value(scores, values, k), top),
        (majority(scores, answers, k), voted),
    ):
        assert found == pytest.approx(enumerated(*scores.shape, k, chosen), abs=1e-12)


@given(candidates())
def test_both_ends_of_the_curve(
    given_: tuple[Array, Array, list[list[str | None]], int],
) -> None:
    scores, values, answers, _ = given_
    size = scores.shape[1]
    for curve in (
        lambda k: no_selection(scores, k),
        lambda k: oracle(scores, k),
        lambda k: by_value(scores, values, k),
        lambda k: majority(scores, answers, k),
    ):
        assert curve(1) == pytest.approx(scores.mean(axis=1))
    assert oracle(scores, size) == pytest.approx(scores.max(axis=1))
    assert no_selection(scores, size) == pytest.approx(scores.mean(axis=1))
    ordered = np.tile(np.arange(size, dtype=float), (len(scores), 1))
    assert by_value(scores, ordered, size) == pytest.approx(scores[:, -1])


@given(candidates())
def test_oracle_rises_with_k_and_no_chooser_passes_it(
    given_: tuple[Array, Array, list[list[str | None]], int],
) -> None:
    scores, values, answers, _ = given_
    ks = range(1, scores.shape[1] + 1)
    curve = np.array([oracle(scores, k) for k in ks])
    assert (np.diff(curve, axis=0) >= -1e-12).all()
    for k in ks:
        assert (by_value(scores, values, k) <= curve[k - 1] + 1e-12).all()
        assert (majority(scores, answers, k) <= curve[k - 1] + 1e-12).all()


@pytest.mark.parametrize("right", range(9))
def test_oracle_of_right_and_wrong_is_pass_at_k(right: int) -> None:
    scores = np.array([[1.0] * right + [0.0] * (8 - right)])
    for k in range(1, 9):
        expected = 1 - comb(8 - right, k) / comb(8, k)
        assert oracle(scores, k) == pytest.approx([expected], abs=1e-12)


def test_graded_oracle_by_hand() -> None:
    # Of the subsets {0, .5}, {0, 1}, {.5, 1}, the best are .5, 1, 1.
    assert oracle(np.array([[0.0, 1.0, 0.5]]), 2) == pytest.approx([2.5 / 3])


def test_by_value_by_hand() -> None:
    scores = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    values = np.array([[-1.0, -2.0, -3.0], [-1.0, -1.0, -3.0]])
    # Item 1: the first is chosen from {0,1} and {0,2}. Item 2: it ties in {0,1}, wins in {0,2}.
    assert by_value(scores, values, 2) == pytest.approx([2 / 3, 1.5 / 3])


def test_values_of_minus_infinity_tie() -> None:
    values = np.full((1, 2), -np.inf)
    assert by_value(np.array([[1.0, 0.0]]), values, 2) == pytest.approx([0.5])


def test_majority_by_hand() -> None:
    scores = np.array([[1.0, 0.0, 0.0, 1.0]])
    assert majority(scores, [["A", "B", "B", "A"]], 4) == pytest.approx([0.5])  # a tie
    assert majority(scores, [["A", "B", "B", None]], 4) == pytest.approx([0.0])
    assert majority(scores, [[None, None, "B", None]], 4) == pytest.approx([0.0])  # one vote
    assert majority(scores, [[None] * 4], 4) == pytest.approx([0.5])  # nothing to vote on
    # Texts with one answer need not have one score.
    assert majority(np.array([[1.0, 0.0, 0.5]]), [["A", "A", "B"]], 3) == pytest.approx([0.5])


def test_no_items() -> None:
    none = np.zeros((0, 3))
    for found in (
        no_selection(none, 2),
        oracle(none, 2),
        by_value(none, none, 2),
        majority(none, [], 2),
    ):
        assert found.shape == (0,)


@pytest.mark.parametrize("k", [-1, 0, 4])
def test_k_out_of_range(k: int) -> None:
    scores = np.ones((2, 3))
    for chooser in (
        lambda: no_selection(scores, k),
        lambda: oracle(scores, k),
        lambda: by_value(scores, scores, k),
        lambda: majority(scores, [["A"] * 3] * 2, k),
    ):
        with pytest.raises(ValueError, match=f"k = {k}"):
            chooser()


def test_what_does_not_match_the_scores_is_refused() -> None:
    scores = np.ones((2, 3))
    for values in (np.ones((2, 2)), np.full((2, 3), np.nan)):
        with pytest.raises(ValueError, match="value"):
            by_value(scores, values, 1)
    for answers in ([["A"] * 3], [["A"] * 3, ["A"] * 2]):
        with pytest.raises(ValueError, match="answer"):
            majority(scores, answers, 1)
