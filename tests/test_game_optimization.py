"""Optimization: stages/tasks/environments/optimization.py.

Covers: the minimisers against a search over all centres and against scipy, the tolerance at its
borders, the floors, the reading of numbers (also for Root-Finding), and what every game owes:
distinct keys, seeds, JSON states, no exception on any text, linear time. Does not cover: whether a
model finds the question clear.
"""

import json
import time
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from stages.tasks.environments.base import Instance, Result
from stages.tasks.environments.numeric import normal_number, read_number
from stages.tasks.environments.optimization import LIMIT, Optimization, minimisers

GAME = Optimization()
NOWHERE = Path("nowhere")
SEEDS = st.integers(min_value=0, max_value=10**9)


def some(seed: int, count: int) -> list[Instance]:
    return list(islice(GAME.instances(NOWHERE, seed), count))


def value(instance: Instance, x: float) -> float:
    terms = zip(instance.state["weights"], instance.state["centres"], strict=True)
    return sum(weight * abs(x - centre) for weight, centre in terms)


def score(instance: Instance, x: object) -> float:
    result = GAME.grade(instance.state, [f"So:\nAnswer: {x}"])
    assert result.parsed
    return result.score


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_the_minimisers_are_where_no_centre_is_lower(seed: int) -> None:
    for instance in some(seed, 3):
        low, high = minimisers(instance.state["weights"], instance.state["centres"])
        # The least value of a piecewise linear function is found at one of its corners.
        least = min(value(instance, centre) for centre in instance.state["centres"])
        assert value(instance, low) == value(instance, high) == least
        assert value(instance, low - 0.5) > least < value(instance, high + 0.5)
        assert -LIMIT <= low <= high <= LIMIT
        expected = str(low) if low == high else f"any number from {low} to {high}"
        assert instance.target == expected


def test_scipy_finds_a_right_answer() -> None:
    for instance in some(3, 100):

        def function(x: float, instance: Instance = instance) -> float:
            return value(instance, x)

        found = minimize_scalar(function, bounds=(-LIMIT, LIMIT), options={"xatol": 1e-5})
        assert score(instance, f"{found.x:.5f}") == 1.0


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=SEEDS, share=st.floats(min_value=0, max_value=1))
def test_a_right_answer_and_its_tolerance(seed: int, share: float) -> None:
    for instance in some(seed, 3):
        low, high = minimisers(instance.state["weights"], instance.state["centres"])
        assert score(instance, low + share * (high - low)) == 1.0
        for near in (f"{low - 0.01:.2f}", f"{high + 0.01:.2f}"):
            assert score(instance, near) == 1.0
        for off in (f"{low - 0.0101:.4f}", f"{high + 0.0101:.4f}", low - 1, high + 1):
            assert score(instance, off) == 0.0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=SEEDS, x=st.floats(min_value=-LIMIT, max_value=LIMIT))
def test_near_the_least_value_is_near_a_minimiser(seed: int, x: float) -> None:
    (instance,) = some(seed, 1)
    least = min(value(instance, centre) for centre in instance.state["centres"])
    if value(instance, x) <= least + 0.01:
        assert score(instance, f"{x:.12f}") == 1.0


def test_an_interval_and_a_single_minimiser_both_occur() -> None:
    intervals = sum("any number" in instance.target for instance in some(0, 1000))
    assert 100 < intervals < 500


def test_the_floors() -> None:
    instances = some(1, 2000)
    random = Random(0)
    constant = [GAME.grade(i.state, [GAME.constant(i.state, 0)]).score for i in instances]
    blind = [GAME.grade(i.state, [GAME.blind(i.state, 0, random)]) for i in instances]
    assert 0.05 < sum(constant) / 2000 < 0.15
    assert all(result.parsed for result in blind)
    assert 0 < sum(result.score for result in blind) / 2000 < 0.06


def test_one_turn_that_shows_the_function() -> None:
    state = {"weights": [2, 1, 1], "centres": [3, 0, -4]}
    turn = GAME.turn(state, [])
    assert turn is not None
    assert "f(x) = 2|x - 3| + |x| + |x + 4|\n" in turn.question
    assert turn.answer_format is not None
    assert GAME.turn(state, ["Answer: 3"]) is None
    assert GAME.grade(state, []) == Result(score=0.0, parsed=False)


def test_a_multiple_of_a_function_is_no_other_instance() -> None:
    assert all(set(i.state["weights"]) != {2} for i in some(5, 3000))
    assert not any(all(w % 2 == 0 for w in i.state["weights"]) for i in some(5, 3000))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("2.5", "2.5"),
        ("2.50.", "2.5"),
        ("**2.5**", "2.5"),
        ("x = 2.5", "2.5"),
        ("x* = -2", "-2"),
        ("x ≈ 1.41", "1.41"),
        ("≈ 1.41", "1.41"),
        ("about 1.41", "1.41"),
        ("the minimiser is 3", "3"),
        ("the root is about 3.20", "3.2"),
        ("\u22124", "-4"),
        ("\u20134", "-4"),
        ("+4", "4"),
        ("-0", "0"),
        ("- 4", "-4"),
        (".5", "0.5"),
        ("3.", "3"),
        ("3/2", "1.5"),
        ("-3 / 2", "-1.5"),
        ("1.5e1", "15"),
        ("$\\frac{3}{2}$", "1.5"),
        ("-\\dfrac{3}{2}", "-1.5"),
        ("\\boxed{2.5}", "2.5"),
        ("$\\boxed{x = \\frac{1}{4}}$.", "0.25"),
        ("\\(x \\approx 2.5\\)", "2.5"),
        ("3/2 = 1.5", "1.5"),
        ("2.5, where f is 7", "2.5"),
        ("2 (any x in [2, 3] will do)", "2"),
        ("2, 3", None),
        ("2 + 3", None),
        ("2*3", None),
        ("2x", None),
        ("2-3", None),
        ("3+2i", None),
        ("1/0", None),
        ("1e999", None),
        ("-1e999", None),
        ("1e999/1e999", None),
        ("nan", None),
        ("inf", None),
        ("infinity", None),
        ("f(2) = 3", None),
        ("between 2 and 3", None),
        ("0x10", None),
        ("\u0663", None),
        ("", None),
        ("none", None),
    ],
)
def test_reading_a_number(answer: str, expected: str | None) -> None:
    assert normal_number(f"I think.\nAnswer: {answer}\n") == expected


def test_only_the_answer_line_is_read() -> None:
    assert read_number("It is 2.5") is None
    assert read_number("Answer: 1\nNo.\nAnswer: 2") == 2.0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(seed=SEEDS, text=st.text(), cued=st.booleans())
def test_any_text_is_graded(seed: int, text: str, cued: bool) -> None:
    (instance,) = some(seed, 1)
    reply = f"Answer: {text}" if cued else text
    result = GAME.grade(instance.state, [reply])
    assert result.score in (0.0, 1.0)
    assert result.parsed == (GAME.read(instance.state, 0, reply) is not None)


def test_an_empty_reply_scores_nothing() -> None:
    assert GAME.grade(some(0, 1)[0].state, [""]) == Result(score=0.0, parsed=False)


def test_instances_are_distinct_seeded_and_plain() -> None:
    instances = some(7, 3000)
    assert len({instance.key for instance in instances}) == 3000
    assert instances == some(7, 3000)
    assert instances[:20] != some(8, 20)
    assert all(json.loads(json.dumps(i.state)) == i.state for i in instances)


HOSTILE = ["9", " ", "-", "x = ", "1/", "\\frac{", "\\boxed{", "Answer: ", "1e", ". ", "~", "$"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_text_takes_little_time(piece: str) -> None:
    state = some(0, 1)[0].state
    text = piece * (50_000 // len(piece))
    began = time.perf_counter()
    GAME.grade(state, [f"Answer: {text}"])
    GAME.grade(state, [f"Answer: 1 {text}!"])
    assert time.perf_counter() - began < 1.0
