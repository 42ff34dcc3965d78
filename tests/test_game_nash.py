"""Nash Equilibria: stages/tasks/environments/nash.py.

Covers: the equilibria against nashpy, that half of the games have none, the reading of answers, the
floors, and what every game owes. Does not cover: mixed equilibria, which are not asked for, nor
whether a model finds the question clear.
"""

import json
import time
from itertools import islice
from pathlib import Path
from random import Random

import nashpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.tasks.environments.base import Instance, Result
from stages.tasks.environments.nash import CELLS, Nash, equilibria

GAME = Nash()
NOWHERE = Path("nowhere")
SEEDS = st.integers(min_value=0, max_value=10**9)
# Both cells on the diagonal are equilibria; then a game of matching pennies; then one equilibrium.
TWO = {"row": [5, 0, 1, 3], "column": [4, 2, 0, 6]}
NO = {"row": [1, 0, 0, 1], "column": [0, 1, 1, 0]}
ONE = {"row": [3, 0, 5, 1], "column": [3, 5, 0, 1]}


def some(seed: int, count: int) -> list[Instance]:
    return list(islice(GAME.instances(NOWHERE, seed), count))


def by_nashpy(state: dict[str, list[int]]) -> set[str]:
    """Return the cells in which each pure strategy is a best response, as nashpy says."""
    game = nashpy.Game(
        np.array(state["row"]).reshape(2, 2), np.array(state["column"]).reshape(2, 2)
    )
    pure = np.eye(2)
    return {
        CELLS[2 * row + column]
        for row in (0, 1)
        for column in (0, 1)
        if all(game.is_best_response(pure[row], pure[column]))
    }


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_nashpy_finds_the_same_equilibria(seed: int) -> None:
    for instance in some(seed, 4):
        found = by_nashpy(dict(instance.state))
        assert set(equilibria(instance.state["row"], instance.state["column"])) == found
        assert instance.target == (" or ".join(c for c in CELLS if c in found) or "none")
        for cell in CELLS:
            result = GAME.grade(instance.state, [f"Answer: {cell}"])
            assert result == Result(score=float(cell in found), parsed=True)
        result = GAME.grade(instance.state, ["Answer: none"])
        assert result == Result(score=float(not found), parsed=True)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("count", [2, 100, 1000])
def test_half_of_the_games_have_none(seed: int, count: int) -> None:
    instances = some(seed, count)
    none = sum(instance.target == "none" for instance in instances)
    assert none == count // 2
    constant = [GAME.grade(i.state, [GAME.constant(i.state, 0)]).score for i in instances]
    assert sum(constant) == none


def test_the_order_of_a_pair_tells_nothing() -> None:
    first = [instance.target == "none" for instance in some(0, 2000)[::2]]
    assert 400 < sum(first) < 600


def test_games_have_one_or_two_equilibria_and_no_ties() -> None:
    counts = {0: 0, 1: 0, 2: 0}
    for instance in some(0, 2000):
        row, column = instance.state["row"], instance.state["column"]
        counts[len(equilibria(row, column))] += 1
        assert row[0] != row[2]
        assert row[1] != row[3]
        assert column[0] != column[1]
        assert column[2] != column[3]
    assert counts[0] == 1000
    assert counts[1] > 500
    assert counts[2] > 50


def test_blind_play() -> None:
    random = Random(0)
    state = some(0, 1)[0].state
    replies = [GAME.blind(state, 0, random) for _ in range(1000)]
    assert set(replies) == {f"Answer: {answer}" for answer in (*CELLS, "none")}
    assert all(replies.count(reply) > 150 for reply in set(replies))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("(Top, Left)", "(Top, Left)"),
        ("**(top, left)**.", "(Top, Left)"),
        ("Top, Right", "(Top, Right)"),
        ("Top/Right", "(Top, Right)"),
        ("Top and Right", "(Top, Right)"),
        ("Bottom-Left", "(Bottom, Left)"),
        ("(B, R)", "(Bottom, Right)"),
        ("(Right, Bottom)", "(Bottom, Right)"),
        ("the equilibrium (Bottom, Left) with payoffs 3, 4", "(Bottom, Left)"),
        ("(Top, Left) and (Bottom, Right)", "(Top, Left) and (Bottom, Right)"),
        ("(Bottom, Right) or (Top, Left)", "(Top, Left) and (Bottom, Right)"),
        ("(Top, Left), that is (Top, Left)", "(Top, Left)"),
        ("(Top, Left); there is no other equilibrium", "(Top, Left)"),
        ("none", "none"),
        ("None.", "none"),
        ("There is no pure-strategy Nash equilibrium", "none"),
        ("it does not exist", "none"),
        ("none, or (Top, Left)", None),
        ("(Top, Left) is no equilibrium", None),
        ("Top", None),
        ("Left", None),
        ("yes", None),
        ("no", None),
        ("", None),
    ],
)
def test_reading_an_answer(answer: str, expected: str | None) -> None:
    assert GAME.read(TWO, 0, f"I think.\nAnswer: {answer}\n") == expected


def test_naming_several_cells_does_not_pay() -> None:
    assert GAME.grade(TWO, ["Answer: (Top, Left) and (Bottom, Right)"]).score == 1.0
    assert GAME.grade(TWO, ["Answer: (Top, Left) and (Top, Right)"]).score == 0.0
    assert GAME.grade(ONE, ["Answer: (Bottom, Right) and (Top, Left)"]).score == 0.0
    assert GAME.grade(ONE, ["Answer: (Bottom, Right)"]).score == 1.0
    assert GAME.grade(NO, ["Answer: (Bottom, Right)"]).score == 0.0


def test_one_turn_that_shows_the_payoffs() -> None:
    turn = GAME.turn(ONE, [])
    assert turn is not None
    assert "(Bottom, Left): Row gets 5, Column gets 0\n" in turn.question
    assert turn.answer_format is not None
    assert all(cell in turn.answer_format for cell in CELLS)
    assert GAME.turn(ONE, ["Answer: none"]) is None
    assert GAME.grade(ONE, []) == Result(score=0.0, parsed=False)
    assert GAME.grade(ONE, [""]) == Result(score=0.0, parsed=False)


WORDS = [
    "top",
    "left",
    "bottom",
    "right",
    "none",
    "no",
    "equilibrium",
    "(",
    ",",
    " ",
    "\n",
    "Answer:",
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    text=st.one_of(st.text(), st.lists(st.sampled_from(WORDS)).map(" ".join)), cued=st.booleans()
)
def test_any_text_is_graded(text: str, cued: bool) -> None:
    reply = f"Answer: {text}" if cued else text
    for state in (TWO, NO, ONE):
        result = GAME.grade(state, [reply])
        assert result.score in (0.0, 1.0)
        assert result.parsed == (GAME.read(state, 0, reply) is not None)


def test_instances_are_distinct_seeded_and_plain() -> None:
    instances = some(7, 3000)
    assert len({instance.key for instance in instances}) == 3000
    assert instances == some(7, 3000)
    assert instances[:20] != some(8, 20)
    assert all(json.loads(json.dumps(i.state)) == i.state for i in instances)


@pytest.mark.parametrize("piece", ["top ", "top,", "no ", " ", "left\t", "Answer: ", "b"])
def test_long_text_takes_little_time(piece: str) -> None:
    began = time.perf_counter()
    GAME.grade(TWO, [f"Answer: {piece * (50_000 // len(piece))}!"])
    assert time.perf_counter() - began < 1.0
