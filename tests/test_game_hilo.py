"""Hi-Lo and its variant: stages/tasks/environments/hilo.py and hilo_same_secret.py.

Covers: binary search on all hundred numbers; the empty and the hostile player; what counts as a
guess; the course of a game turn by turn; the split, the retry's number and the variant's; seeds and
states; linear time.
Does not cover: who makes items of the instances, and how models do.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.tasks.environments.base import Game, State
from stages.tasks.environments.hilo import GUESSES, HiLo
from stages.tasks.environments.hilo_same_secret import HiLoSameSecret

GAME = HiLo()
NOWHERE = Path("no files are read")


def state(secret: int) -> State:
    return {"secret": secret, "pool": list(range(1, 101)), "tokens": None}


def play(game: Game, of: State, player: Callable[[list[str]], str]) -> list[str]:
    """Play by the questions alone, to the end."""
    questions: list[str] = []
    replies: list[str] = []
    while turn := game.turn(of, replies):
        questions.append(turn.question)
        replies.append(player(questions))
    return replies


def bisect(questions: list[str]) -> str:
    low, high = 1, 100
    for question in questions[1:]:
        told = re.search(r"(higher|lower) than (\d+)", question)
        assert told is not None
        if told[1] == "higher":
            low = int(told[2]) + 1
        else:
            high = int(told[2]) - 1
    return f"Answer: {(low + high) // 2}"


@pytest.mark.parametrize("secret", range(1, 101))
def test_binary_search_always_wins(secret: int) -> None:
    replies = play(GAME, state(secret), bisect)
    assert len(replies) <= GUESSES
    assert GAME.grade(state(secret), replies).score == GAME.best
    assert GAME.solved(GAME.grade(state(secret), replies).score)
    # Without the last guess the game is not won, and not over.
    assert GAME.grade(state(secret), replies[:-1]).score == 0
    assert GAME.turn(state(secret), replies[:-1]) is not None


@given(seed=st.integers())
def test_over_seeds(seed: int) -> None:
    instances = list(GAME.instances(NOWHERE, seed))
    assert instances == list(GAME.instances(NOWHERE, seed))
    assert sorted(int(one.key) for one in instances) == list(range(1, 101))
    splits = [one.split for one in instances]
    assert splits.count("train") == splits.count("test") == 50
    keys = {split: {one.key for one in instances if one.split == split} for split in splits}
    for one in instances:
        assert json.loads(json.dumps(one.state)) == one.state
        assert one.key == one.target == GAME.secret(one.state)
        again = GAME.again(one.state, Random(seed))
        # The retry is another game of the same split, and begins with the same words.
        assert GAME.secret(again) != one.key
        assert GAME.secret(again) in keys[one.split]
        assert GAME.turn(again, []) == GAME.turn(one.state, [])
        assert again == GAME.again(one.state, Random(seed))
        assert GAME.grade(one.state, []).score == 0


def test_other_seeds_other_orders() -> None:
    orders = {tuple(one.key for one in GAME.instances(NOWHERE, seed)) for seed in range(10)}
    assert len(orders) == 10


def test_retries_reach_all_numbers_of_the_split() -> None:
    one = next(GAME.instances(NOWHERE, 0))
    drawn = {GAME.again(one.state, Random(seed))["secret"] for seed in range(2_000)}
    assert drawn == set(one.state["pool"]) - {one.state["secret"]}


def test_the_variant_plays_the_same_number_again() -> None:
    variant = HiLoSameSecret()
    assert list(variant.instances(NOWHERE, 3)) == list(GAME.instances(NOWHERE, 3))
    for one in variant.instances(NOWHERE, 3):
        assert variant.again(one.state, Random(0)) == one.state
    assert "same secret" in variant.title
    assert variant.column != GAME.column


@pytest.mark.parametrize(
    ("reply", "guess"),
    [
        ("Answer: 50", "50"),
        ("I halve.\n\n**Answer:** 50.", "50"),
        ("My next guess is 50", "50"),
        ("Answer: 007", "7"),
        ("Answer: $100$", "100"),
        ("Answer: 1", "1"),
        ("Answer: is it 50?", "50"),
        ("Answer: 50, so 50", "50"),
        ("Answer: 0", None),
        ("Answer: 101", None),
        ("Answer: 1000", None),
        ("Answer: -5", None),
        ("Answer: 1-100", None),
        ("Answer: 50.5", None),
        ("Answer: 5,0", None),
        ("Answer: 1e2", None),
        ("Answer: 25 or 75", None),
        ("Answer: fifty", None),
        ("50", None),
        ("", None),
    ],
)
def test_guesses(reply: str, guess: str | None) -> None:
    assert GAME.read(state(1), 0, reply) == guess
    assert GAME.grade(state(1), [reply]).parsed == (guess is not None)


def test_a_game_turn_by_turn() -> None:
    said = ["Answer: 50", "hm", "Answer: 75", "Answer: 200", "Answer: 60"]
    questions = [GAME.turn(state(60), said[:count]) for count in range(len(said) + 1)]
    assert questions.pop() is None
    shown = [turn.question for turn in questions if turn is not None]
    assert len(shown) == 5
    assert "1 to 100" in shown[0]
    assert "higher than 50" in shown[1]
    assert "used up a guess" in shown[2]
    assert "lower than 75" in shown[3]
    assert "used up a guess" in shown[4]
    assert "3 guesses left" in shown[4]
    assert not any(turn is not None and turn.fresh for turn in questions)
    assert GAME.grade(state(60), said).score == 1


def test_invalid_guesses_use_up_the_game() -> None:
    said = ["hm"] * (GUESSES - 1)
    last = GAME.turn(state(60), said)
    assert last is not None
    assert "1 guess left" in last.question
    assert GAME.turn(state(60), [*said, "hm"]) is None
    assert GAME.grade(state(60), [*said, "Answer: 60"]).score == 1
    # An eighth guess comes too late.
    assert GAME.grade(state(60), [*said, "hm", "Answer: 60"]).score == 0


@given(secret=st.integers(1, 100), guesses=st.lists(st.integers(-5, 105), max_size=9))
def test_questions_tell_the_last_comparison_and_no_more(secret: int, guesses: list[int]) -> None:
    turn = GAME.turn(state(secret), [f"Answer: {guess}" for guess in guesses])
    over = secret in guesses[:GUESSES] or len(guesses) >= GUESSES
    assert (turn is None) == over
    if turn is not None and guesses and 1 <= guesses[-1] <= 100:
        word = "higher" if secret > guesses[-1] else "lower"
        assert f"My number is {word} than {guesses[-1]}." in turn.question
        # All numbers on that side are told the same.
        others = [n for n in range(1, 101) if (n > guesses[-1]) == (secret > guesses[-1])]
        free = [n for n in others if n not in guesses]
        said = [f"Answer: {guess}" for guess in guesses]
        assert {GAME.turn(state(n), said) for n in free} == {turn}


def test_guess_tokens_go_with_the_instance() -> None:
    one = next(HiLo(guess_tokens=64).instances(NOWHERE, 0))
    for replies in ([], ["hm"]):
        turn = GAME.turn(one.state, replies)
        assert turn is not None
        assert turn.tokens == 64
    first = GAME.turn(next(GAME.instances(NOWHERE, 0)).state, [])
    assert first is not None
    assert first.tokens is None
    with pytest.raises(ValidationError, match="guess_tokens"):
        HiLo(guess_tokens=0)


@given(replies=st.lists(st.text() | st.text().map("Answer: {}".format), max_size=9))
def test_any_text(replies: list[str]) -> None:
    assert GAME.grade(state(7), replies).score in (0, 1)
    GAME.turn(state(7), replies)
    for number, reply in enumerate(replies):
        assert GAME.same(state(7), number, reply, reply)


@given(seed=st.integers(), number=st.integers(0, 6))
def test_floors_are_legal(seed: int, number: int) -> None:
    assert GAME.read(state(7), number, GAME.blind(state(7), number, Random(seed))) is not None
    assert GAME.read(state(7), number, GAME.constant(state(7), number)) == "50"


def test_the_constant_player_wins_one_game_in_a_hundred() -> None:
    won = [
        secret
        for secret in range(1, 101)
        if GAME.grade(
            state(secret),
            play(GAME, state(secret), lambda shown: GAME.constant(state(1), len(shown) - 1)),
        ).score
    ]
    assert won == [50]


@pytest.mark.parametrize(
    "text", ["1 " * 25_000, "0" * 50_000, "9" * 50_000, "-" * 50_000, "Answer: " * 6_250]
)
def test_linear_time(text: str) -> None:
    start = time.process_time()
    GAME.grade(state(7), [text, "Answer: " + text] * 3)
    GAME.turn(state(7), [text, "Answer: " + text])
    assert time.process_time() - start < 2
