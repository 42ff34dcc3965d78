"""Taboo: stages/tasks/environments/taboo.py, and the bases of words in _words.py.

Covers: both turns and all three scores; that the guesser is shown the description and nothing that
depends on the concept; forms, compounds and spelling of taboo words, and words that are innocent;
what cleaning may do to a description; keys, seeds and states over many seeds; mistakes in the data
file; linear time; and, where BIGBENCH_RAW names BIG-bench's task files, its examples.
Does not cover: irregular forms, synonyms and translations, which the rule does not find, and
whether a valid description is a good one.
"""

import json
import os
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.errors import UserError
from stages.tasks.environments.base import Instance
from stages.tasks.environments.taboo import Taboo, violation

GAME = Taboo()
EXAMPLES = [
    {"target": "kite", "taboos": ["kite", "kites", "string", "wind", "fly", "tail", "sky"]},
    {"target": "harvest", "taboos": ["harvest", "crop", "reap", "farm_hand", "autumn", "grain"]},
    {"target": "whisper", "taboos": ["whisper", "quiet", "voice", "murmur", "low-key", "hush"]},
    {"target": "Kite", "taboos": ["bird"]},
    {"target": "ladder", "taboos": ["ladder", "climb", "rung"]},
    {"target": "swimming", "taboos": ["swim", "pool"]},
]
CONCEPTS = {"kite", "harvest", "whisper", "ladder", "swimming"}
HARMLESS = "Whoever hears this will nod."
STATE = {"concept": "kite", "taboos": ["string", "wind", "fly"]}


def write(raw: Path, data: object) -> Path:
    file = raw / "taboo" / "taboo_data.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data), encoding="utf-8")
    return raw


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("raw"), {"canary": "ours", "examples": EXAMPLES})


@settings(max_examples=30)
@given(seed=st.integers(), forbidden=st.integers(1, 10))
def test_over_seeds(raw: Path, seed: int, forbidden: int) -> None:
    options = Taboo(forbidden=forbidden)
    instances = list(options.instances(raw, seed))
    assert instances == list(options.instances(raw, seed))
    assert {one.key for one in instances} == CONCEPTS
    assert len(instances) == len(CONCEPTS)
    for one in instances:
        state = json.loads(json.dumps(one.state))
        assert state == one.state
        assert GAME.grade(state, [HARMLESS, f"Answer: {one.target}"]).score == GAME.best == 2
        assert GAME.grade(state, ["", ""]).score == GAME.grade(state, []).score == 0
        assert not GAME.grade(state, ["", ""]).parsed
        assert GAME.secret(state) == one.key


def test_other_seeds_other_orders(raw: Path) -> None:
    orders = {tuple(one.key for one in GAME.instances(raw, seed)) for seed in range(20)}
    assert len(orders) > 5


def test_forbidden_counts_the_taboo_words(raw: Path) -> None:
    one = next(one for one in Taboo(forbidden=2).instances(raw, 0) if one.key == "kite")
    assert one.state["taboos"] == ["kites"]
    for count in (0, 11):
        with pytest.raises(ValidationError, match="forbidden"):
            Taboo(forbidden=count)


def test_the_describer_is_told_all_that_is_taboo() -> None:
    turn = GAME.turn(STATE, [])
    assert turn is not None
    assert turn.answer_format is None
    assert not turn.fresh
    for word in ("kite", "string", "wind", "fly"):
        assert f'"{word}"' in turn.question


@given(concept=st.sampled_from(sorted(CONCEPTS)), description=st.text(min_size=1))
def test_the_guesser_sees_the_description_alone(concept: str, description: str) -> None:
    state = {"concept": concept, "taboos": ["zzz", concept + "s"]}
    other = {"concept": "qqqqqqqq", "taboos": []}
    turns = [GAME.turn(each, [description]) for each in (state, other)]
    if GAME.grade(state, [description]).score == GAME.grade(other, [description]).score == 1:
        assert turns[0] == turns[1]
        assert turns[0] is not None
        assert turns[0].fresh
        frame = GAME.turn(other, [HARMLESS])
        assert frame is not None
        # Nothing but the description differs from one question to another.
        shown = turns[0].question
        assert frame.question.replace(HARMLESS, "") == shown.removesuffix(description.strip())


@pytest.mark.parametrize(
    ("description", "guess", "score"),
    [
        (HARMLESS, "Answer: kite", 2),
        (HARMLESS, "I see.\nAnswer: A Kite.", 2),
        (HARMLESS, "Answer: **kites**", 2),
        (HARMLESS, "Answer: kite or balloon", 1),
        (HARMLESS, "Answer: balloon", 1),
        (HARMLESS, "kite", 1),
        (HARMLESS, "", 1),
        ("A toy on a string.", "Answer: kite", 0),
        ("Kite!", "Answer: kite", 0),
        ("...", "Answer: kite", 0),
        ("", "Answer: kite", 0),
    ],
)
def test_scores(description: str, guess: str, score: float) -> None:
    assert GAME.grade(STATE, [description, guess]).score == score
    assert GAME.solved(score) == (score == 2)
    # An invalid description ends the game before anybody guesses.
    assert (GAME.turn(STATE, [description]) is None) == (score == 0)
    assert GAME.turn(STATE, [description, guess]) is None
    assert GAME.grade(STATE, [description]).score == min(score, 1)


@pytest.mark.parametrize(
    ("description", "taboo"),
    [
        ("Many KITES rise.", "kite"),
        ("It is kite's.", "kite"),
        ("She was kiting along.", "kite"),
        ("k-i-t-e", "kite"),
        ("It is spelled K I T E, friends.", "kite"),
        ("k_i_t_e", "kite"),
        ("ki\u200bte", "kite"),
        ("kíte", "kite"),
        ("ｋｉｔｅ", "kite"),
        ("a kiteboard", "kite"),
        ("a stuntkite", "kite"),
        ("They studied it.", "study"),
        ("two hobbies", "hobby"),
        ("the runner", "running"),
        ("It ran, runs.", "running"),
        ("organizing", "organization"),
        ("darkness falls", "dark"),
        ("He was sunniest", "sunny"),
        ("a well-known one", "well known"),
        ("It is wellknown", "well known"),
        ("as well knots", "well knot"),
    ],
)
def test_uses_of_a_taboo_word(description: str, taboo: str) -> None:
    assert violation(description, ["xylophone", taboo]) == taboo


@pytest.mark.parametrize(
    ("description", "taboo"),
    [
        ("We start to stand.", "star"),
        ("a train of thought", "rain"),
        ("It washes off.", "ash"),
        ("many of them", "man"),
        ("the metal thing", "met"),
        ("nice music", "ice"),
        ("both of us", "using"),
        ("known well", "well known"),
        ("a bee, a tea, I see", "beta"),
        ("the mice", "mouse"),
    ],
)
def test_innocent_words(description: str, taboo: str) -> None:
    assert violation(description, [taboo]) is None


@given(
    word=st.text("bcdfglmnprt", min_size=3, max_size=6).map(lambda word: f"a{word}o"),
    ending=st.sampled_from(("", "s", "ing", "ed", "er", "ness", "ly", "'s", " ", "-like", ".")),
    upper=st.booleans(),
)
def test_every_regular_form_is_found(word: str, ending: str, upper: bool) -> None:
    form = word + ending
    assert violation(f"So {form.upper() if upper else form} it is", [word]) == word


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("Here you are: a toy that soars.", "A toy that soars.", True),
        ("A toy that soars.", "A toy that soars.", True),
        ("A toy that soars.", "A toy that glides.", False),
        ("A toy that soars.", "A toy that soars high.", False),
        ("A toy that soars.", "", False),
        ("A toy that soars.", "That soars, a toy.", False),
        ("A toy on a string.", "A toy.", False),
        ("Thanks! A toy on a string.", "A toy on a string.", True),
        ("A string.", "", False),
        ("", "...", True),
    ],
)
def test_cleaning_a_description_only_deletes(before: str, after: str, same: bool) -> None:
    assert GAME.same(STATE, 0, before, after) is same


def test_cleaning_a_guess_keeps_it() -> None:
    assert GAME.same(STATE, 1, "Thank you.\nAnswer: the kite", "Answer: kite")
    assert not GAME.same(STATE, 1, "Answer: kite", "Answer: balloon")


@given(replies=st.lists(st.text() | st.text().map("Answer: {}".format), max_size=3))
def test_any_text(replies: list[str]) -> None:
    result = GAME.grade(STATE, replies)
    assert result.score in (0, 1, 2)
    assert GAME.turn(STATE, replies) is None or len(replies) < 2
    for number, reply in enumerate(replies):
        assert GAME.same(STATE, number, reply, reply)
    if replies:
        assert result.parsed == (GAME.read(STATE, 0, replies[0]) is not None)


@given(seed=st.integers())
def test_floors_are_legal(raw: Path, seed: int) -> None:
    for one in GAME.instances(raw, seed):
        blind = [GAME.blind(one.state, number, Random(seed)) for number in range(2)]
        assert GAME.grade(one.state, blind).score >= 1
        assert GAME.read(one.state, 1, blind[1]) is not None
        assert GAME.read(one.state, 1, GAME.constant(one.state, 1)) is not None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"examples": []}, "examples: List should have at least 1"),
        ({"examples": [{"target": "-", "taboos": []}]}, r"examples\.0\.target: no word"),
        ({"examples": [{"target": "kite"}]}, r"examples\.0\.taboos: Field required"),
        ({}, "examples: Field required"),
        ([], "valid dictionary|object"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        list(GAME.instances(write(tmp_path, data), 0))
    assert "taboo_data.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"taboo_data\.json: no such file"):
        list(GAME.instances(tmp_path, 0))


@pytest.mark.parametrize(
    "text",
    [
        "k " * 25_000,
        "ki " * 16_600,
        "kiting " * 7_000,
        "kit" + "s" * 50_000,
        "\u0301\u0316" * 25_000,
        "Answer: " * 6_250,
    ],
)
def test_linear_time(text: str) -> None:
    def seconds(said: str) -> float:
        start = time.process_time()
        GAME.grade(STATE, [said, "Answer: " + said])
        GAME.same(STATE, 0, said, said)
        return time.process_time() - start

    assert seconds(text) < 4


def big_bench() -> list[Instance]:
    if "BIGBENCH_RAW" not in os.environ:
        pytest.skip("BIG-bench's files are not here: set BIGBENCH_RAW to benchmark_tasks")
    return list(Taboo(forbidden=10).instances(Path(os.environ["BIGBENCH_RAW"]), 0))


def test_big_bench() -> None:
    instances = big_bench()
    assert len(instances) == len({one.key for one in instances}) == 99
    for one in instances:
        # In a few examples even the most common words are taboo.
        harmless = GAME.blind(one.state, 0, Random(0))
        assert GAME.grade(one.state, [harmless, f"Answer: {one.target}"]).score == 2
        question = GAME.turn(one.state, [harmless])
        assert question is not None
        assert one.key not in question.question
        taboos = [one.key, *one.state["taboos"]]
        for word in taboos:
            assert violation(f"It is {word.upper()}, no less", [word]) == word
            assert GAME.grade(one.state, [f"The {word}", f"Answer: {one.key}"]).score == 0
