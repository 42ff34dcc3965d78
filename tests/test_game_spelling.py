"""Spelling: stages/tasks/environments/spelling.py, and the reading of words in _words.py.

Covers: the perfect, the empty and the hostile player; keys, seeds and states over many seeds; what
counts as a word; the required letter; the bar of `solved`; mistakes in the data file; linear time;
and, where BIGBENCH_RAW names BIG-bench's task files, its games.
Does not cover: whether BIG-bench's word lists are good English, and how models do.
"""

import json
import os
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.errors import UserError
from stages.tasks.environments.base import Instance
from stages.tasks.environments.spelling import Spelling

GAME = Spelling()
# Our own lists, with nonsense among the words: the game asks only what the file says.
LISTS = {
    "g a r d e n s": ["garden", "gardens", "danger", "grades", "sand", "near"],
    "p l a n e t s": ["planet", "planets", "plates", "seal", "tales"],
    "c u r l i n g": ["curling", "ruling", "cling"],
    "w o r k i n g": ["working", "wing", "grow", "king"],
}


def write(raw: Path, games: object) -> Path:
    file = raw / "spelling_bee" / "games.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(games), encoding="utf-8")
    return raw


def game(letters: str, words: list[str]) -> dict[str, object]:
    return {"letter_set": letters.split(), "word_list": words, "pangrams": [], "max_score": 1}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    games: dict[str, object] = {letters: game(letters, words) for letters, words in LISTS.items()}
    # The same letters in another order are the same game, and the canary is none.
    again = "s n e d r a g"
    games |= {again: game(again, LISTS["g a r d e n s"]), "canary": "of our own"}
    return write(tmp_path_factory.mktemp("raw"), games)


def perfect(instance: Instance) -> str:
    return "Answer: " + ", ".join(instance.state["words"])


@settings(max_examples=30)
@given(seed=st.integers(), centre=st.booleans())
def test_over_seeds(raw: Path, seed: int, centre: bool) -> None:
    options = Spelling(centre=centre)
    instances = list(options.instances(raw, seed))
    assert instances == list(options.instances(raw, seed))
    assert len({instance.key for instance in instances}) == len(instances) == len(LISTS)
    for instance in instances:
        state = json.loads(json.dumps(instance.state))
        assert state == instance.state
        assert GAME.grade(state, [perfect(instance)]).score == GAME.best
        assert GAME.grade(state, [f"Answer: {instance.target}"]).score == GAME.best
        assert GAME.grade(state, [""]) == GAME.grade(state, []) == (GAME.grade(state, ["x"]))
        assert GAME.grade(state, [""]).score == 0
        assert not GAME.grade(state, [""]).parsed
        assert GAME.turn(state, [""]) is None
        if centre:
            assert all(state["centre"] in word for word in state["words"])


def test_other_seeds_other_orders(raw: Path) -> None:
    orders = {tuple(one.key for one in GAME.instances(raw, seed)) for seed in range(20)}
    assert len(orders) > 5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.text().map("Answer: {}".format))
def test_any_text(raw: Path, text: str) -> None:
    state = next(GAME.instances(raw, 0)).state
    result = GAME.grade(state, [text])
    assert 0 <= result.score <= GAME.best
    assert result.parsed == (GAME.read(state, 0, text) is not None)
    assert GAME.same(state, 0, text, text)


@pytest.mark.parametrize(
    ("reply", "action", "score"),
    [
        ("Answer: garden, sand", "garden, sand", 2 / 6),
        ("Answer: **Garden**; SAND sand / sand", "garden, sand", 2 / 6),
        ("Answer: gardén, sand, draft", "draft, garden, sand", 2 / 6),
        ("Answer: gard en", "en, gard", 0),
        ("Answer: gar\u200bden", "garden", 1 / 6),
        ("Answer: sand\nAnswer: near", "near", 1 / 6),
        ("I choose garden and sand.", None, 0),
        ("Answer: ...", None, 0),
    ],
)
def test_words(raw: Path, reply: str, action: str | None, score: float) -> None:
    state = next(one for one in GAME.instances(raw, 0) if one.key == "adegnrs").state
    assert GAME.read(state, 0, reply) == action
    assert GAME.grade(state, [reply]).score == pytest.approx(score)


def test_the_required_letter_is_asked_for(raw: Path) -> None:
    for instance in Spelling(centre=True).instances(raw, 1):
        turn = GAME.turn(instance.state, [])
        assert turn is not None
        letter = instance.state["centre"].upper()
        assert f"must contain the letter {letter}" in turn.question
    assert "must contain" not in str(GAME.turn(next(GAME.instances(raw, 1)).state, []))


def test_solved_is_a_share() -> None:
    assert not GAME.solved(0)
    assert not GAME.solved(Spelling.solid - 1e-9)
    assert GAME.solved(Spelling.solid)
    assert GAME.solved(1)


def test_floors_are_legal(raw: Path) -> None:
    for instance in Spelling(centre=True).instances(raw, 3):
        said = GAME.read(instance.state, 0, GAME.blind(instance.state, 0, Random(3)))
        assert said is not None
        for word in said.split(", "):
            assert len(word) >= 4
            assert set(word) <= set(instance.state["letters"])
            assert instance.state["centre"] in word
        assert GAME.read(instance.state, 0, GAME.constant(instance.state, 0)) is not None


@pytest.mark.parametrize(
    ("games", "message"),
    [
        ({}, "no games"),
        ({"x": game("a b c d e f f", ["abcd"])}, "x: letter_set: not 7 different letters"),
        ({"x": game("a b c d e f g", [])}, "x: word_list: empty"),
        ({"x": game("a b c d e f g", ["abc"])}, "x: word_list: abc cannot"),
        ({"x": game("a b c d e f g", ["abcz"])}, "x: word_list: abcz cannot"),
        ({"x": {"letter_set": ["a"]}}, "word_list: Field required"),
        ([], "valid dict|object"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, games: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        list(GAME.instances(write(tmp_path, games), 0))
    assert "games.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"games\.json: no such file"):
        list(GAME.instances(tmp_path, 0))


@pytest.mark.parametrize(
    "text", ["a " * 25_000, "\u0301\u0316" * 25_000, "Answer: " * 6_250, "s" * 50_000, "," * 50_000]
)
def test_linear_time(raw: Path, text: str) -> None:
    state = next(GAME.instances(raw, 0)).state
    start = time.process_time()
    GAME.grade(state, [text])
    GAME.grade(state, ["Answer: " + text])
    assert time.process_time() - start < 1


def test_big_bench() -> None:
    if "BIGBENCH_RAW" not in os.environ:
        pytest.skip("BIG-bench's files are not here: set BIGBENCH_RAW to benchmark_tasks")
    raw = Path(os.environ["BIGBENCH_RAW"])
    released = json.loads((raw / "spelling_bee" / "games.json").read_text(encoding="utf-8"))
    instances = list(GAME.instances(raw, 0))
    assert len(instances) == len({one.key for one in instances}) >= 200
    by_letters = {
        "".join(sorted(of["letter_set"])): of["word_list"]
        for of in released.values()
        if isinstance(of, dict)
    }
    assert by_letters.keys() == {one.key for one in instances}
    for one in instances:
        words = by_letters[one.key]
        assert GAME.grade(one.state, ["Answer: " + " ".join(words)]).score == 1
        half = words[: len(words) // 2]
        share = GAME.grade(one.state, ["Answer: " + ", ".join(half)]).score
        assert share == pytest.approx(len(half) / len(words))
