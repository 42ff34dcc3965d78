"""Root-Finding: stages/tasks/environments/root_finding.py.

Covers: roots against scipy, that there is one in each interval, the tolerance at its borders, how
functions are written (against a reader of its own), the floors, and what every game owes. The
reading of numbers is tested with Optimization. Does not cover: whether a model finds the question
clear.
"""

import json
import math
import re
import time
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from stages.tasks.environments import root_finding
from stages.tasks.environments.base import Instance, Result
from stages.tasks.environments.root_finding import RootFinding, root, value

GAME = RootFinding()
NOWHERE = Path("nowhere")
SEEDS = st.integers(min_value=0, max_value=10**9)


def some(seed: int, count: int) -> list[Instance]:
    return list(islice(GAME.instances(NOWHERE, seed), count))


def shown(instance: Instance, x: float) -> float:
    """Return f(x) as the question writes it, by Python's own evaluation."""
    turn = GAME.turn(instance.state, [])
    assert turn is not None
    found = re.search(r"f\(x\) = (.*x.*)\n", turn.question.split("\n", 1)[1])
    assert found is not None
    text = found[1].replace("e^x", "exp(x)").replace("^", "**")
    text = re.sub(r"(\d)([a-z])", r"\1*\2", text)
    names = {"x": x, "exp": math.exp, "ln": math.log, "sin": math.sin}
    return float(eval(text, {"__builtins__": {}}, names))


def score(instance: Instance, x: object) -> float:
    result = GAME.grade(instance.state, [f"So:\nAnswer: {x}"])
    assert result.parsed
    return result.score


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_scipy_finds_the_same_root(seed: int) -> None:
    for instance in some(seed, 3):
        low, high = instance.state["low"], instance.state["high"]
        assert shown(instance, low) < 0 < shown(instance, high)
        found = brentq(lambda x, instance=instance: shown(instance, x), low, high, xtol=1e-12)
        assert root(instance.state) == pytest.approx(found, abs=1e-9)
        assert score(instance, f"{found:.10f}") == 1.0
        assert score(instance, instance.target) == 1.0


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_there_is_one_root_in_the_interval(seed: int) -> None:
    (instance,) = some(seed, 1)
    grid = np.linspace(instance.state["low"], instance.state["high"], 2001)
    values = [value(instance.state, x) for x in grid]
    assert np.all(np.diff(values) > 0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_the_tolerance(seed: int) -> None:
    for instance in some(seed, 3):
        exact = root(instance.state)
        for near in (exact - 0.01, exact + 0.01):
            assert score(instance, f"{near:.12f}") == 1.0
        for off in (exact - 0.0101, exact + 0.0101, exact - 1, exact + 1):
            assert score(instance, f"{off:.12f}") == 0.0


def test_a_small_value_far_from_the_root_is_wrong() -> None:
    flat = {"curve": "cube", "a": 1, "b": 0, "c": -1, "low": 0, "high": 3}
    assert root(flat) == 1.0
    assert abs(value(flat, 0.97)) < 0.1
    assert GAME.grade(flat, ["Answer: 0.97"]) == Result(score=0.0, parsed=True)
    assert GAME.grade(flat, ["Answer: 1.01"]) == Result(score=1.0, parsed=True)


def test_all_curves_occur() -> None:
    curves = [instance.state["curve"] for instance in some(0, 1000)]
    assert {curve: curves.count(curve) > 50 for curve in curves} == dict.fromkeys(
        ("square", "cube", "exponential", "logarithm", "sine"), True
    )


def test_one_turn_that_shows_the_function() -> None:
    state = {"curve": "sine", "a": 1, "b": 3, "c": -7, "low": 1, "high": 4}
    turn = GAME.turn(state, [])
    assert turn is not None
    assert "f(x) = sin(x) + 3x - 7\n" in turn.question
    assert "radians" in turn.question
    assert "between 1 and 4" in turn.question
    assert turn.answer_format is not None
    assert GAME.turn(state, ["Answer: 3"]) is None
    assert GAME.grade(state, []) == Result(score=0.0, parsed=False)
    square = GAME.turn({**state, "curve": "square", "a": 2, "b": 0, "c": 1}, [])
    assert square is not None
    assert "f(x) = 2x^2 + 1\n" in square.question
    assert "radians" not in square.question


def test_the_floors() -> None:
    instances = some(1, 3000)
    random = Random(0)
    constant = [GAME.grade(i.state, [GAME.constant(i.state, 0)]).score for i in instances]
    blind = [GAME.grade(i.state, [GAME.blind(i.state, 0, random)]) for i in instances]
    assert sum(constant) / 3000 < 0.01
    assert all(result.parsed for result in blind)
    assert 0.002 < sum(result.score for result in blind) / 3000 < 0.03
    for instance in instances[:100]:
        drawn = float(GAME.blind(instance.state, 0, random).removeprefix("Answer: "))
        assert instance.state["low"] <= drawn <= instance.state["high"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(seed=SEEDS, text=st.text(), cued=st.booleans())
def test_any_text_is_graded(seed: int, text: str, cued: bool) -> None:
    (instance,) = some(seed, 1)
    reply = f"Answer: {text}" if cued else text
    result = GAME.grade(instance.state, [reply])
    assert result.score in (0.0, 1.0)
    assert result.parsed == (GAME.read(instance.state, 0, reply) is not None)


@pytest.mark.parametrize("answer", ["1e308", "-1e308", "1e999", "nan"])
def test_huge_numbers_are_wrong(answer: str) -> None:
    assert GAME.grade(some(0, 1)[0].state, [f"Answer: {answer}"]).score == 0.0


def test_an_empty_reply_scores_nothing() -> None:
    assert GAME.grade(some(0, 1)[0].state, [""]) == Result(score=0.0, parsed=False)


def test_instances_are_distinct_seeded_and_plain() -> None:
    instances = some(7, 3000)
    assert len({instance.key for instance in instances}) == 3000
    assert instances == some(7, 3000)
    assert instances[:20] != some(8, 20)
    assert all(json.loads(json.dumps(i.state)) == i.state for i in instances)
    assert not any(math.gcd(i.state["a"], i.state["b"], i.state["c"]) > 1 for i in instances)


def test_the_instances_end_when_hardly_a_new_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"square": root_finding._CURVES["square"]._replace(starts=range(1))}
    monkeypatch.setattr(root_finding, "_CURVES", few)
    instances = list(GAME.instances(NOWHERE, 0))
    assert len({instance.key for instance in instances}) == len(instances) > 100


@pytest.mark.parametrize("piece", ["9", " ", "-", "x = ", "1/", "\\frac{", "Answer: "])
def test_long_text_takes_little_time(piece: str) -> None:
    state = some(0, 1)[0].state
    began = time.perf_counter()
    GAME.grade(state, [f"Answer: {piece * (50_000 // len(piece))}!"])
    assert time.perf_counter() - began < 1.0
