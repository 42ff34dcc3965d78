"""Promise 3 in environments: nobody is shown a target or a secret who may not know it.

Metamorphic, as in test_leakage.py: every target and every secret in the items is replaced, all that
came before is held fixed, and the prompts of all conditions without ground truth stay
byte-identical while those with it change. What a player is shown while playing may depend on the
state, by the environment's own replies alone: so for one-turn environments the whole play is the
same, for Hi-Lo as long as the answers are, and for Taboo's guesser whatever concept and feedback
are. Of code, no hidden test is in any prompt.
Covered: respond, answer, evaluate, all feedback conditions of all scales, judge, revise (student
and teacher), clean. Not covered: what a teacher knows of itself (the leak meter's work), splits
(test_prepare_games.py).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import games_house as house
import pytest
import yaml
from conftest import ROOT
from games_house import Player, Talker, hilo, parsed, played
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages import answer, clean, evaluate, feedback, judge, respond, revise
from stages.conversation import combine
from stages.models.chat import Conversation
from stages.records import Completion, Exchange, Feedback, Item, Trajectory, write_jsonl
from stages.tasks.environments.registry import environment, names

GROUND_TRUTH = {"ground_truth", "lazy"}
SCALES = sorted((ROOT / "scales").glob("*.yaml"))
SEVERAL_TURNS = {"hilo", "hilo_same_secret", "taboo"}
FEEDBACK = "Use what you are told."
OTHER = "zq-other-answer"
# What of a state the player does not see, and another value of it: the same for all else.
SECRETS: dict[str, dict[str, Any]] = {
    "hilo": {"secret": 99, "pool": [98, 99]},
    "hilo_same_secret": {"secret": 99, "pool": [98, 99]},
    "nash": {"row": [1, 2, 3, 4], "column": [4, 3, 2, 1]},
    "optimization": {"weights": [1], "centres": [17]},
    "root_finding": {"a": 1, "b": 0, "c": -4, "curve": "square", "low": 1, "high": 3},
    "taboo": {"concept": "zebra", "taboos": ["stripes"]},
    "list_functions": {"outputs": ["[91]"] * 5, "function": "give 91 alone"},
    "spelling": {"words": ["zzzz"]},
    "humaneval": {"checks": ["assert candidate(9) == 'zq'"]},
    "mbpp": {"checks": ["assert add(9) == 'zq'"]},
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_raw(tmp_path_factory.mktemp("raw"))


def changed(item: Item) -> Item:
    """Return the item with another target and another secret; what was shown of it stands."""
    assert item.state is not None
    assert SECRETS[item.task].keys() <= item.state.keys()
    state = {**item.state, **SECRETS[item.task]}
    assert state != item.state
    return item.model_copy(update={"target": OTHER, "state": state})


def items_of(raw: Path) -> list[Item]:
    """Return an item of each environment, programs with one test shown and the others hidden."""
    found = [house.items_of(raw, name)[0] for name in names() if name != "mbpp"]
    return [*found, house.items_of(raw, "mbpp", visible_tests=1)[0]]


def params(scale: Path, section: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(scale.read_text(encoding="utf-8"))[section]
    return content


def write_all(folder: Path, items: Sequence[Item], taus: Sequence[Trajectory]) -> Path:
    """Write what stages read; the trajectories are those of the items as they were."""
    folder.mkdir()
    write_jsonl(folder / "items.jsonl", items)
    write_jsonl(folder / "taus.jsonl", taus)
    write_jsonl(folder / "feedback.jsonl", [on(tau) for tau in taus])
    tried = [
        tau.model_copy(
            update={
                "condition": "unconstrained",
                "feedback": FEEDBACK,
                "exchanges": (
                    Exchange(
                        messages=combine(tau.exchanges, FEEDBACK),
                        reply=Completion(text="Sorry.\nAnswer: 5", finish_reason="stop"),
                    ),
                ),
            }
        )
        for tau in taus
    ]
    write_jsonl(folder / "tried.jsonl", tried)
    return folder


def on(tau: Trajectory) -> Feedback:
    return Feedback(
        item=tau.item,
        suite=tau.suite,
        task=tau.task,
        split=tau.split,
        condition="unconstrained",
        student="tiny",
        teacher="scripted",
        seed=0,
        status="ok",
        text=FEEDBACK,
        exchange=None,
    )


@pytest.fixture(scope="module")
def pair(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders before and after all targets and secrets are replaced."""
    items = items_of(raw)
    taus = played(items, Talker(["It rises.", "Answer: 5", "Answer: none", "Answer: 50"]))
    root = tmp_path_factory.mktemp("pair")
    before = write_all(root / "before", items, taus)
    return before, write_all(root / "after", [changed(item) for item in items], taus)


def both(stage: Any, pair: tuple[Path, Path], words: str) -> list[list[Conversation]]:
    """Return what a stage asks before and after, by its command line with {here}."""
    shown = []
    for here in pair:
        command = words.format(here=here) + house.ends(here, "out.jsonl")
        shown.append(stage.conversations(parsed(stage, command)))
    assert shown[0]
    return shown


def text_of(asked: Sequence[Conversation]) -> str:
    return "\n".join(message.content for one in asked for message in one.messages)


# Prompts that the stages can tell beforehand.


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_prompts_of_play(scale: Path, pair: tuple[Path, Path]) -> None:
    [student, *_], [teacher, *_] = params(scale, "students"), params(scale, "teachers")
    play = f"--params {scale} --items {{here}}/items.jsonl --template {house.GAME}"
    play += f" --environments {house.ENVIRONMENTS}"
    again = (
        f" --seed 0 --condition unconstrained --trajectories {{here}}/taus.jsonl --feedback"
        f" {{here}}/feedback.jsonl --turns {house.GAME} --environments {house.ENVIRONMENTS}"
        f" --params {scale} --items {{here}}/items.jsonl --template {house.RETRY}"
    )
    for stage, words in (
        (respond, f"{play} --student {student} --seed 0"),
        (answer, f"{play} --teacher {teacher}"),
        (evaluate, f"{play} --learner {student} --method feedback_sft --seed 0"),
        (revise, f"--student {student}{again}"),
        (revise, f"--teacher {teacher}{again}"),
    ):
        before, after = both(stage, pair, words)
        assert len(before) == len(names())
        assert before == after


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_prompts_of_feedback(scale: Path, pair: tuple[Path, Path]) -> None:
    """All conditions, on trajectories of several turns as well."""
    seen = set()
    for condition, values in params(scale, "conditions").items():
        if "other_feedback" in values["sees"]:
            continue  # not rendered here: see test_leakage.py
        shown = []
        for here in pair:
            words = (
                f"--params {scale} --condition {condition} --student tiny --seed 0"
                f" --items {here}/items.jsonl --trajectories {here}/taus.jsonl"
                f" --template {house.PROMPTS}/feedback/{condition}.jinja --out {here}/out.jsonl"
                f" --answers {here}/taus.jsonl"
            )
            shown.append([text for _, text in feedback.prompts(parsed(feedback, words))])
        assert len(shown[0]) == len(names())
        if condition in GROUND_TRUTH:
            assert all(one != other for one, other in zip(*shown, strict=True))
            assert all(OTHER in (text or "") for text in shown[1])
        else:
            assert shown[0] == shown[1], condition
            assert None not in shown[0]
        seen.add(condition in GROUND_TRUTH)
    assert seen == {True, False}


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_prompts_of_judge_and_cleaner(scale: Path, pair: tuple[Path, Path]) -> None:
    """They take no file that a target or a state is in."""
    [teacher, *_] = params(scale, "teachers")
    for stage in (judge, clean):
        flags = {action.dest for action in stage.parser()._actions}
        assert not flags & {"items", "answers", "rules", "feedback", "environments"}
    common = f"--params {scale} --student tiny --seed 0 --teacher {teacher}"
    for verdict in params(scale, "verdicts"):
        words = f"{common} --verdict {verdict} --trajectories {{here}}/taus.jsonl --template "
        before, after = both(judge, pair, f"{words}{house.PROMPTS}/judge/{verdict}.jinja")
        assert before == after
    words = f"{common} --trajectories {{here}}/tried.jsonl --template "
    before, after = both(clean, pair, f"{words}{house.PROMPTS}/clean/clean.jinja")
    assert before == after
    assert FEEDBACK not in text_of(before)


# Whole plays.


def asked_in_play(items: Sequence[Item], texts: Sequence[str], again: bool) -> list[Conversation]:
    player = Talker(texts)
    played(items, player, again)
    return player.asked


@pytest.mark.parametrize("again", [False, True])
def test_one_turn_environments(raw: Path, again: bool) -> None:
    """All that is ever asked, to the end of the episodes."""
    items = [item for item in items_of(raw) if item.task not in SEVERAL_TURNS]
    assert {item.task for item in items} == {*names()} - SEVERAL_TURNS
    texts = ["Answer: 5", "Answer: none", "```python\ndef add(n): ...\n```"]
    before = asked_in_play(items, texts, again)
    assert before == asked_in_play([changed(item) for item in items], texts, again)
    assert len(before) == len(items)


GUESSES = st.lists(st.one_of(st.integers(1, 100), st.none()), min_size=1, max_size=7)


def answers(secret: int, guesses: Sequence[int | None]) -> Iterator[str | None]:
    """Yield what the environment says to each guess, as it is told to the player."""
    for guess in guesses:
        if guess == secret:
            return
        yield None if guess is None else "higher" if guess < secret else "lower"


@settings(max_examples=60, deadline=None)
@given(
    guesses=GUESSES,
    secrets=st.lists(st.integers(1, 100), min_size=2, max_size=2, unique=True),
    again=st.booleans(),
    task=st.sampled_from(["hilo", "hilo_same_secret"]),
)
def test_hilo_tells_by_its_answers_alone(
    guesses: list[int | None], secrets: list[int], again: bool, task: str
) -> None:
    """Up to where the answers differ, not a byte of what is asked depends on the number."""
    shown = []
    for secret in secrets:
        # What is played, on a retry with a fresh number too.
        fresh = again and task == "hilo"
        item = hilo(101 if fresh else secret, secret if fresh else 101, task)
        item = item.model_copy(update={"target": str(secret)})
        shown.append(guessing(item, guesses, again))
    told = [list(answers(secret, guesses)) for secret in secrets]
    alike = next(
        (n for n, (one, other) in enumerate(zip(*told, strict=False)) if one != other),
        min(map(len, told)),
    )
    assert shown[0][: alike + 1] == shown[1][: alike + 1]


def guessing(item: Item, guesses: Sequence[int | None], again: bool) -> list[Conversation]:
    """Return what is asked of who makes these guesses, and then none at all."""

    def say(conversation: Conversation) -> str:
        turn = sum(message.role == "assistant" for message in conversation.messages)
        guess = guesses[turn] if turn < len(guesses) else None
        return "Let me think." if guess is None else f"Answer: {guess}"

    player = Player(say)
    played([item], player, again)
    return player.asked


@settings(max_examples=60, deadline=None)
@given(guesses=GUESSES, secret=st.integers(1, 100))
def test_hilo_never_says_the_number_first(guesses: list[int | None], secret: int) -> None:
    """In what the environment writes, only the player's own guesses and the range are numbers."""
    assume(secret not in guesses and secret not in range(1, 8) and secret != 100)
    item = hilo(secret, 1)
    for conversation in guessing(item, guesses, False):
        text = text_of([conversation])
        for guess in guesses:
            text = text.replace(f"Answer: {guess}", "").replace(f"than {guess}.", "")
        assert not re.search(rf"\b{secret}\b", text)


def describing(concept: str, text: str, description: str) -> list[Conversation]:
    """Return the requests of a retry of Taboo with this feedback."""
    item = house.taboo(concept)
    [original] = played([item], Talker(["It is what it is."]))
    player = Talker([description])
    house.retried(item, original, player, text)
    return player.asked


@settings(max_examples=30, deadline=None)
@given(
    concepts=st.lists(st.sampled_from(sorted(house.TABOOS)), min_size=2, max_size=2, unique=True),
    texts=st.lists(st.text(), min_size=2, max_size=2),
)
def test_taboos_guesser_knows_neither_concept_nor_feedback(
    concepts: list[str], texts: list[str]
) -> None:
    description = "Whoever hears this will nod."
    told = [f"{text} It is a {concept}." for text, concept in zip(texts, concepts, strict=True)]
    shown = [
        describing(concept, text, description) for concept, text in zip(concepts, told, strict=True)
    ]
    (describe, guess), (other_describe, other_guess) = shown
    assert describe.messages != other_describe.messages
    # Names and seeds are those of the items; what is read is the same to the last byte.
    assert guess.messages == other_guess.messages
    assert [message.role for message in guess.messages] == ["system", "user"]
    for concept, text in zip(concepts, told, strict=True):
        assert text not in text_of([guess])
        assert concept not in text_of([guess])


# Code.


def test_hidden_tests_are_in_no_prompt(raw: Path, tmp_path: Path) -> None:
    """With visible_tests 1 the first assert is shown, and the others to nobody at all."""
    [item, _] = house.items_of(raw, "mbpp", visible_tests=1)
    assert item.state is not None
    shown, hidden = item.state["shown"], item.state["checks"]
    assert (len(shown), len(hidden)) == (1, 2)
    player = Talker(["```python\ndef add(n):\n    return n\n```"])
    taus = played([item], player)
    here = write_all(tmp_path / "here", [item], taus)
    texts = [text_of(player.asked)]
    scale = house.TINY
    common = f"--params {scale} --student tiny --seed 0"
    for condition, values in params(SCALES[0], "conditions").items():
        if "other_feedback" in values["sees"]:
            continue
        words = (
            f"--params {SCALES[0]} --student tiny --seed 0 --condition {condition}"
            f" --items {here}/items.jsonl --trajectories {here}/taus.jsonl"
            f" --template {house.PROMPTS}/feedback/{condition}.jinja --out {here}/out.jsonl"
            f" --answers {here}/taus.jsonl"
        )
        texts += [text or "" for _, text in feedback.prompts(parsed(feedback, words))]
    for stage, more in (
        (
            revise,
            f"{common} --condition unconstrained --items {here}/items.jsonl --environments"
            f" {house.ENVIRONMENTS} --trajectories {here}/taus.jsonl --feedback"
            f" {here}/feedback.jsonl --template {house.RETRY} --turns {house.GAME}",
        ),
        (
            judge,
            f"{common} --verdict explicit --teacher scripted --trajectories {here}/taus.jsonl"
            f" --template {house.PROMPTS}/judge/explicit.jinja",
        ),
    ):
        command = more + house.ends(here, "out.jsonl")
        texts.append(text_of(stage.conversations(parsed(stage, command))))
    assert shown[0] in texts[0]
    assert len(texts) > 6
    for text in texts:
        assert not any(test in text for test in hidden)
    # By default, as in the paper, all are shown.
    [item, _] = house.items_of(raw, "mbpp")
    assert item.state is not None
    assert all(test in item.question for test in item.state["checks"])


def test_humaneval_shows_no_test(raw: Path) -> None:
    for item in house.items_of(raw, "humaneval"):
        assert item.state is not None
        player = Talker(["```python\npass\n```"])
        played([item], player)
        text = text_of(player.asked)
        for test in item.state["checks"]:
            assert test not in text
            # Nor its input: those of the asserts are in no docstring here.
            assert not any(str(number) in text for number in (11, 13, 17))


def test_the_opening_turn_has_no_secret(raw: Path) -> None:
    """Hi-Lo begins with the same words for all numbers, Spelling with the letters alone."""
    assert len({item.question for item in house.items_of(raw, "hilo", many=5)}) == 1
    for item in house.items_of(raw, "spelling"):
        opening = environment("spelling").turn(changed(item).state or {}, ())
        assert opening is not None
        assert opening.question == item.question


def test_in_one_conversation_the_guesser_would_know() -> None:
    """The tests above would see a leak: what the describer reads names the concept."""
    [tau] = played([house.taboo()], Talker(["It rises when it blows."]))
    described, guessed = (turn.messages for turn in tau.exchanges)
    assert "kite" in "".join(message.content for message in (*described, guessed[-1]))
    assert "kite" not in "".join(message.content for message in guessed)
