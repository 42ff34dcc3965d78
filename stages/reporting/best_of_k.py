"""Curves over k: the score of the best of k candidates, by chooser (paper, section 5.2, Table 4).

Of an item's K candidates, every subset of k is equally likely to be the one that a chooser sees.
Each function returns the expected score under that, exactly, so that a curve over k costs no
further sample. Choosers that are asked (student's and teacher's choice) have no such curve.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np

from stages.stats import Array


def no_selection(scores: Array, k: int) -> Array:
    """Return the expected score without a chooser: the mean, whatever k.

    Args:
        scores: (items, candidates).
        k: size of the subsets.

    Returns:
        (items,).

    Raises:
        ValueError: k is not between 1 and the number of candidates.
    """
    _check(scores, k)
    means: Array = scores.mean(axis=1)
    return means


def oracle(scores: Array, k: int) -> Array:
    """Return the expected best score: for scores of 0 and 1, the pass@k estimator.

    Args, result and errors are those of `no_selection`.
    """
    _check(scores, k)
    best: Array = np.sort(scores, axis=1) @ _chances(scores.shape[1], k)
    return best


def by_value(scores: Array, values: Array, k: int) -> Array:
    """Return the expected score of the candidate with the largest value.

    Candidates of equal value are equally likely to be chosen.

    Args:
        scores: (items, candidates).
        values: (items, candidates), such as the student's mean log-probs.
        k: size of the subsets.

    Returns:
        (items,).

    Raises:
        ValueError: shapes differ, a value is NaN, or k is not between 1 and the number of
            candidates.
    """
    _check(scores, k)
    if values.shape != scores.shape or np.isnan(values).any():
        raise ValueError("each candidate needs a value")
    # Candidates of equal value stand in for each other, so each may carry their mean score.
    equal = (values[:, :, None] == values[:, None, :]).astype(float)
    shared = (equal @ scores[:, :, None])[:, :, 0] / equal.sum(axis=2)
    chosen: Array = np.take_along_axis(shared, np.argsort(values, axis=1), axis=1) @ _chances(
        scores.shape[1], k
    )
    return chosen


def majority(scores: Array, answers: Sequence[Sequence[str | None]], k: int) -> Array:
    """Return the expected score of the most frequent answer.

    Answers of equally many votes are equally likely to win. The score of an answer is the mean over
    the candidates of the subset that gave it: texts with one answer can differ in score. Candidates
    without an answer have no vote; where none of a subset has one, the score is the subset's mean.
    All subsets are enumerated.

    Args:
        scores: (items, candidates).
        answers: of each item's candidates; None where none could be extracted.
        k: size of the subsets.

    Returns:
        (items,).

    Raises:
        ValueError: scores and answers do not match, or k is not between 1 and the number of
            candidates.
    """
    _check(scores, k)
    candidates = scores.shape[1]
    if [len(row) for row in answers] != [candidates] * len(scores):
        raise ValueError("each candidate needs an answer, or None")
    subsets = list(combinations(range(candidates), k))
    return np.array(
        [
            sum(_voted(row, given, subset) for subset in subsets) / len(subsets)
            for row, given in zip(scores.tolist(), answers, strict=True)
        ],
        dtype=float,
    )


def _voted(scores: Sequence[float], answers: Sequence[str | None], subset: Sequence[int]) -> float:
    """Return the expected score of the majority answer of one subset."""
    votes = Counter(answer for i in subset if (answer := answers[i]) is not None)
    if not votes:
        return sum(scores[i] for i in subset) / len(subset)
    most = max(votes.values())
    winners = {answer for answer, count in votes.items() if count == most}
    # The winners have equally many candidates: the mean of their means is the mean over all.
    return sum(scores[i] for i in subset if answers[i] in winners) / (most * len(winners))


def _chances(candidates: int, k: int) -> Array:
    """Return (candidates,): how likely the candidate of each rank, lowest first, is a subset's top.

    The one of rank r is where the other k - 1 come from the r below it.
    """
    counts = [comb(rank, k - 1) for rank in range(candidates)]
    return np.array(counts, dtype=float) / comb(candidates, k)


def _check(scores: Array, k: int) -> None:
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k = {k}, with {scores.shape[1]} candidates an item")
