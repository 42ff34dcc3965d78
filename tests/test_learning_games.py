"""Learning from episodes of several turns: pairs, following, clean and fidelity on games and code.

Covers: SFT's rows, one a learnable exchange, at the states of a student without feedback; cut,
empty and failed turns; cleaned texts, also in later states, and refused ones; DPO's first action
that differs, other states, nothing to prefer; Taboo's guess, a conversation of its own; programs
that could not be run; feedback-following over two suites; who cleans what and what is reported of
it; mistakes; as properties, that no example shows feedback and that no turn is lost.
Does not cover: questions (test_pairs.py, test_following.py, test_cleaning.py), training itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import games_house as house
import pytest
import yaml
from games_house import Player, Say, Script, Talker, cut, failed, hilo, parsed, played, seated
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import clean, fidelity, following, pairs
from stages.cleaning import Taken
from stages.conversation import neutralise
from stages.errors import UserError
from stages.examples import Material, examples
from stages.records import (
    Cleaning,
    Completion,
    Demonstration,
    Dropped,
    Exchange,
    Fidelity,
    Item,
    Judgement,
    Message,
    Preference,
    Trajectory,
    read_jsonl,
    write_jsonl,
)
from stages.targets import Example
from stages.tasks.environments import grading
from stages.tasks.environments.grading import open_episodes
from stages.tasks.environments.registry import environment
from stages.tasks.sandbox import NoSandbox
from stages.training.config import Lessons, Method

METHODS: dict[str, dict[str, Any]] = {
    "imitative_dpo": {"objective": "dpo", "target": "teacher"},
    "feedback_dpo": {"objective": "dpo", "target": "retry", "negative_sampling": True},
    "imitative_sft": {"objective": "sft", "target": "teacher"},
    "feedback_sft": {"objective": "sft", "target": "retry", "negative_sampling": True},
    "feedback_sft_cleaned": {"objective": "sft", "target": "cleaned", "negative_sampling": True},
    "solved_only": {"objective": "sft", "target": "teacher", "only_solved_targets": True},
    "keep_right": {
        "objective": "sft",
        "target": "retry",
        "negative_sampling": True,
        "keep_correct_originals": True,
    },
}
LESSONS: dict[str, Any] = {
    "condition": "unconstrained",
    "negative_sampling": "ground_truth",
    "models": "joint",
    "match_n": False,
    "following_per_task": 5,
}
STUDENT, TEACHER = "You are a student.", "You are a teacher."
FEEDBACK = "Halve what is left of the range: a secret hint."
LOST = [f"Answer: {n}" for n in (50, 1, 2, 3, 4, 5, 6)]


def system(content: str) -> Message:
    return Message(role="system", content=content)


def says(text: str) -> tuple[Message]:
    return (Message(role="assistant", content=text),)


class Case:
    """What became of one item: what each said, turn by turn; the retry is None without feedback."""

    def __init__(
        self,
        item: Item,
        original: Sequence[Say],
        retry: Sequence[Say] | None = None,
        answer: Sequence[Say] = ("What?",) * 7,
        cleaned: Sequence[Say] = (),
        verdict: str = '{"correct": false}',
    ) -> None:
        self.item = item
        [self.original] = played([item], Script({item.id: original}), system=STUDENT)
        turns = environment(item.task).turns if item.task == "taboo" else 7
        [self.answer] = played([item], Script({item.id: answer[:turns]}), system=TEACHER)
        if retry is None or self.original.failed:
            update = {"condition": "unconstrained", "kept_original": "refusal"}
            self.retry = self.original.model_copy(update=update)
        else:
            self.retry = house.retried(item, self.original, Script({item.id: retry}), FEEDBACK)
        self.cleaned = list(cleaned)
        self.judgement = Judgement(
            item=item.id,
            suite=item.suite,
            task=item.task,
            split=item.split,
            verdict="explicit",
            student="tiny",
            teacher="scripted",
            seed=0,
            exchange=Exchange(messages=(), reply=Completion(text=verdict, finish_reason="stop")),
        )


class Folder:
    """The files of a cell, cleaned by the stage itself, and its commands."""

    def __init__(self, root: Path, *cases: Case, **lessons: Any) -> None:
        self.root = root
        params = yaml.safe_load(house.TINY.read_text(encoding="utf-8"))
        params |= {"lessons": {"games": LESSONS | lessons}, "methods": METHODS}
        params["grid"] |= {"learners": ["tiny"], "seeds": [0]}
        (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        write_jsonl(root / "items.jsonl", [case.item for case in cases])
        write_jsonl(root / "trajectories.jsonl", [case.original for case in cases])
        write_jsonl(root / "answers.jsonl", [case.answer for case in cases])
        write_jsonl(root / "retries.jsonl", [case.retry for case in cases])
        write_jsonl(root / "judgements.jsonl", [case.judgement for case in cases])
        self.cleaner = Script({case.item.id: case.cleaned for case in cases})
        echo = Player(lambda c: c.messages[-1].content.rpartition("[Student's answer]\n")[2])
        with seated(self.cleaner if any(case.cleaned for case in cases) else echo):
            clean.main(parsed(clean, self.clean()))
        assert self.cleaner.done()

    def clean(self) -> str:
        return (
            f"--params {self.root}/params.yaml --student tiny --seed 0 --teacher scripted"
            f" --trajectories {self.root}/retries.jsonl"
            f" --template {house.PROMPTS}/clean/clean.jinja"
            + house.ends(self.root, "cleanings.jsonl")
        )

    def run(self, method: str) -> tuple[list[Example], list[str]]:
        """Return the examples of a method, and the reasons of what was dropped."""
        files = ("items", "trajectories", "answers", "retries", "cleanings", "judgements")
        words = (
            f"--params {self.root}/params.yaml --suite games --method {method} --learner tiny"
            f" --seed 0 --verdict explicit --rules {house.ENVIRONMENTS}"
            f" --out {self.root}/out.jsonl --dropped {self.root}/dropped.jsonl"
        )
        words += "".join(f" --{name} {self.root}/{name}.jsonl" for name in files)
        pairs.main(parsed(pairs, words))
        kind = Preference if METHODS[method]["objective"] == "dpo" else Demonstration
        kept: list[Example] = list(read_jsonl(self.root / "out.jsonl", kind))
        return kept, [d.reason for d in read_jsonl(self.root / "dropped.jsonl", Dropped)]

    def fidelity(self) -> list[Fidelity]:
        words = (
            f"--params {self.root}/params.yaml --items {self.root}/items.jsonl"
            f" --rules {house.ENVIRONMENTS} --out {self.root}/fidelity.jsonl"
            f" --trajectories {self.root}/retries.jsonl --cleanings {self.root}/cleanings.jsonl"
        )
        fidelity.main(parsed(fidelity, words))
        return read_jsonl(self.root / "fidelity.jsonl", Fidelity)


def sft(folder: Folder, method: str = "feedback_sft") -> list[tuple[tuple[Message, ...], str]]:
    """Return the state and the action of each row; nothing is dropped."""
    kept, dropped = folder.run(method)
    assert dropped == []
    rows = []
    for example in kept:
        assert isinstance(example, Demonstration)
        [action] = example.completion
        assert action.role == "assistant"
        rows.append((example.prompt, action.content))
    return rows


def dpo(folder: Folder, method: str = "feedback_dpo") -> tuple[tuple[Message, ...], str, str]:
    """Return the state, the chosen and the rejected action of the only pair."""
    [pair], dropped = folder.run(method)
    assert dropped == []
    assert isinstance(pair, Preference)
    [chosen], [rejected] = pair.chosen, pair.rejected
    return pair.prompt, chosen.content, rejected.content


# SFT: one row for each exchange.


def test_rows_of_a_game(tmp_path: Path) -> None:
    """The states are those that the student would see: its own opening, then what followed."""
    item = hilo(70, 30)
    case = Case(item, LOST, ["Answer: 50", "I go down.\nAnswer: 25", "Answer: 30"])
    rows = sft(Folder(tmp_path, case))
    opening = case.original.exchanges[0].messages
    assert opening[0] == system(STUDENT)
    assert [message.role for message in opening] == ["system", "user"]
    assert [action for _, action in rows] == ["Answer: 50", "I go down.\nAnswer: 25", "Answer: 30"]
    begin = len(case.retry.exchanges[0].messages)
    assert begin == 16  # the lost game, with the feedback
    for (state, _), turn in zip(rows, case.retry.exchanges, strict=True):
        assert state == (*opening, *turn.messages[begin:])
    third = [message.content for message in rows[2][0][2:]]
    assert third[0::2] == ["Answer: 50", "I go down.\nAnswer: 25"]
    assert third[1].startswith("My number is lower than 50.")
    assert third[3].startswith("My number is higher than 25.")


def test_rows_of_the_teacher(tmp_path: Path) -> None:
    """Its system prompt does not reach the student, nor does a control token."""
    item = hilo(70, 30)
    case = Case(item, LOST, None, ["Answer: <|50|>", "Answer: 60", "Answer: 70"])
    rows = sft(Folder(tmp_path, case), "imitative_sft")
    assert [action for _, action in rows] == ["Answer: < |50| >", "Answer: 60", "Answer: 70"]
    for (state, _), turn in zip(rows, case.answer.exchanges, strict=True):
        assert state[0] == system(STUDENT)
        assert state[1:] == turn.messages[1:]
        assert turn.messages[0] == system(TEACHER)


def test_turns_that_cannot_be_learnt_are_left_out(tmp_path: Path) -> None:
    """One by one, while later states still show what was said."""
    item = hilo(70, 30)
    retry = ["Answer: 50", cut("Answer: 4"), " ", "Answer: 31", failed()]
    folder = Folder(tmp_path, Case(item, LOST, [*retry[:4], "Answer: 30"]))
    rows = sft(folder)
    assert [action for _, action in rows] == ["Answer: 50", "Answer: 31", "Answer: 30"]
    said = [m.content for m in rows[1][0] if m.role == "assistant"]
    assert said == ["Answer: 50", "Answer: 4", " "]
    # A retry that failed is no target, whatever came before.
    assert Folder(tmp_path, Case(item, LOST, retry)).run("feedback_sft") == ([], ["target_failed"])


def test_where_no_turn_can_be_learnt(tmp_path: Path) -> None:
    """The reason is that of the first turn; cut ones are learnt where they are wanted."""
    item = hilo(70, 30)
    case = Case(item, LOST, [cut("Ans"), " ", *[cut("Answer: 1")] * 5])
    assert Folder(tmp_path, case).run("feedback_sft") == ([], ["target_truncated"])
    rows = sft(Folder(tmp_path, case, keep_truncated=True))
    assert [action for _, action in rows] == ["Ans", *["Answer: 1"] * 5]
    case = Case(item, LOST, [" "] * 7)
    assert Folder(tmp_path, case, keep_truncated=True).run("feedback_sft") == ([], ["target_empty"])


@pytest.mark.parametrize("method", list(METHODS))
def test_what_gives_no_rows(method: str, tmp_path: Path) -> None:
    fed = method.startswith("feedback") or method == "keep_right"
    compared = METHODS[method]["objective"] == "dpo"
    item = hilo(70, 30)
    won = Case(item, ["Answer: 70"], ["Answer: 50", "Answer: 30"], ["Answer: 7", "Answer: 70"])
    kept, dropped = Folder(tmp_path, won).run(method)
    if method == "keep_right":
        assert [example.completion for example in kept] == [says("Answer: 70")]  # type: ignore[union-attr]
    else:
        assert dropped == (["already_right"] if fed else [])
    none = Case(item, LOST, None, ["Answer: 7", "Answer: 70"])
    assert Folder(tmp_path, none).run(method)[1] == (["kept_original"] if fed else [])
    broken = Case(item, ["Answer: 50", failed()], None, ["Answer: 7", "Answer: 70"])
    wanted = ["original_failed"] if fed or compared else []
    assert Folder(tmp_path, broken).run(method)[1] == wanted


def test_solved_targets_only(tmp_path: Path) -> None:
    item = hilo(70, 30)
    lost = Case(item, LOST, None, LOST)
    assert Folder(tmp_path, lost).run("solved_only") == ([], ["target_wrong"])
    won = Case(item, LOST, None, ["Answer: 50", "Answer: 70"])
    assert len(sft(Folder(tmp_path, won), "solved_only")) == 2


def test_a_verdict_on_an_episode(tmp_path: Path) -> None:
    item = hilo(70, 30)
    case = Case(item, LOST, ["Answer: 30"], verdict='{"correct": true}')
    folder = Folder(tmp_path, case, negative_sampling="error_identification")
    assert folder.run("feedback_sft") == ([], ["judged_right"])
    # The teacher's word stands, though the game was won.
    case = Case(item, ["Answer: 70"], ["Answer: 30"])
    folder = Folder(tmp_path, case, negative_sampling="error_identification")
    assert len(sft(folder)) == 1


def test_one_model_an_environment(tmp_path: Path) -> None:
    case = Case(hilo(70, 30), LOST, ["Answer: 51", "Answer: 30"])
    for method in ("feedback_sft", "feedback_dpo"):
        kept, _ = Folder(tmp_path, case, models="per_environment").run(method)
        assert {example.environment for example in kept} == {"hilo"}


# Cleaning.

RETRY = ["Sorry for the mistake.\nAnswer: 50", "Thanks!\nAnswer: 25", "Answer: 30"]


def test_cleaned_texts_stand_in_later_states(tmp_path: Path) -> None:
    case = Case(
        hilo(70, 30),
        LOST,
        RETRY,
        cleaned=["Answer: 50", "I go on. <|x|>\nAnswer: 25", "Answer: 30"],
    )
    rows = sft(Folder(tmp_path, case), "feedback_sft_cleaned")
    actions = ["Answer: 50", "I go on. < |x| >\nAnswer: 25", "Answer: 30"]
    assert [action for _, action in rows] == actions
    for number, (state, _) in enumerate(rows):
        assert [m.content for m in state if m.role == "assistant"] == actions[:number]
    # What the environment said is as it was.
    own = sft(Folder(tmp_path, case), "feedback_sft")
    for (state, _), (other, _) in zip(rows, own, strict=True):
        told, heard = ([m.content for m in s if m.role != "assistant"] for s in (state, other))
        assert told == heard


def test_a_refused_turn_is_left_out(tmp_path: Path) -> None:
    """Its own text stands in later states, as it was said."""
    for refused in ("Answer: 26", cut("Answer: 25"), " ", failed()):
        cleaned = ["Answer: 50", refused, "Answer: 30"]
        folder = Folder(tmp_path, Case(hilo(70, 30), LOST, RETRY, cleaned=cleaned))
        rows = sft(folder, "feedback_sft_cleaned")
        assert [action for _, action in rows] == ["Answer: 50", "Answer: 30"]
        said = [m.content for m in rows[1][0] if m.role == "assistant"]
        assert said == ["Answer: 50", RETRY[1]]
        assert [row.status for row in folder.fidelity()] == ["cleaned"]


@pytest.mark.parametrize(
    ("cleaned", "reason", "status"),
    [
        (["Answer: 51", "Answer: 26", "Answer: 31"], "answer_changed", "answer_changed"),
        ([cut("Answer: 50"), " ", failed()], "not_cleaned", "truncated"),
        ([" ", failed(), " "], "not_cleaned", "empty"),
        ([failed()] * 3, "not_cleaned", "failed"),
        ([" ", cut("A"), "Answer: 31"], "answer_changed", "answer_changed"),
    ],
)
def test_where_all_is_refused(cleaned: list[Say], reason: str, status: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path, Case(hilo(70, 30), LOST, RETRY, cleaned=cleaned))
    assert folder.run("feedback_sft_cleaned") == ([], [reason])
    [row] = folder.fidelity()
    assert (row.status, row.artefact, row.artefact_after) == (status, True, False)
    assert (row.words, row.words_after) == (11, 0)


def test_who_is_asked_to_clean(tmp_path: Path) -> None:
    """Each reply with text, by itself; nothing where nothing was tried, or where it failed."""
    items = [hilo(70, 30).model_copy(update={"id": f"games/hilo/train/{n}"}) for n in range(3)]
    cases = [
        Case(items[0], LOST, ["Sorry.\nAnswer: 50", " ", "Answer: 30"], cleaned=["A", "B"]),
        Case(items[1], LOST, None),
        Case(items[2], LOST, ["Answer: 50", failed()]),
    ]
    folder = Folder(tmp_path, *cases)
    names = [one.id for one in folder.cleaner.asked]
    assert names == ["clean/tiny/0/games/hilo/train/0", "clean/tiny/0/games/hilo/train/0/2"]
    assert len({one.seed for one in folder.cleaner.asked}) == 2
    for asked, own, other in zip(
        folder.cleaner.asked, ("Sorry.\nAnswer: 50", "Answer: 30"), ("30", "50"), strict=True
    ):
        text = "".join(message.content for message in asked.messages)
        assert text.endswith(own)
        assert f"Answer: {other}" not in text
        assert FEEDBACK not in text
        assert items[0].question not in text
    records = read_jsonl(tmp_path / "cleanings.jsonl", Cleaning)
    said = [[one and one.reply.text for one in record.exchanges] for record in records]
    assert said == [["A", None, "B"], [], []]
    statuses = [row.status for row in folder.fidelity()]
    assert statuses == ["answer_changed", "nothing", "nothing"]


def test_fidelity_by_hand(tmp_path: Path) -> None:
    """Words and artefacts over all turns; of the cleaned text, those that are taken."""
    cleaned = ["Answer: 50", "Sorry for the mistake.\nAnswer: 25", "Answer: 31"]
    [row] = Folder(tmp_path, Case(hilo(70, 30), LOST, RETRY, cleaned=cleaned)).fidelity()
    assert (row.status, row.kinds, row.kinds_after) == ("cleaned", ("apology",), ("apology",))
    assert (row.words, row.words_after) == (6 + 3 + 2, 2 + 6)
    assert (row.item, row.task, row.student) == ("games/hilo/train/0", "hilo", "tiny")
    [row] = Folder(tmp_path, Case(hilo(70, 30), LOST, RETRY)).fidelity()
    assert (row.status, row.artefact_after) == ("same", True)
    assert row.words == row.words_after


def test_a_description_may_only_lose_words(tmp_path: Path) -> None:
    """The description is the answer: what is kept of it, and of the guess, which is one too."""
    item = house.taboo()
    original = ["It is what it is.", "Answer: thing"]
    retry = ["Sorry. It rises when it blows.", "Thanks.\nAnswer: kite"]
    for described, taken in (
        ("It rises when it blows.", True),
        ("It rises high when it blows.", False),
        ("...", False),
    ):
        cleaned = [described, "Answer: a kite"]
        rows = sft(
            Folder(tmp_path, Case(item, original, retry, cleaned=cleaned)), "feedback_sft_cleaned"
        )
        actions = [action for _, action in rows]
        assert actions == ([described] if taken else []) + ["Answer: a kite"]


# Taboo.


def test_rows_of_taboo(tmp_path: Path) -> None:
    """The guess is learnt in a conversation of its own, with the student's system prompt."""
    item = house.taboo()
    case = Case(
        item,
        ["It is what it is.", "Answer: thing"],
        ["It rises when it blows.", "Answer: kite"],
        ["It is held up there.", "Answer: kites"],
    )
    folder = Folder(tmp_path, case)
    opening = case.original.exchanges[0].messages
    for method, played_by in (("feedback_sft", case.retry), ("imitative_sft", case.answer)):
        rows = sft(folder, method)
        described, guessed = (turn.reply.text for turn in played_by.exchanges)
        assert rows[0] == (opening, described)
        state, action = rows[1]
        assert action == guessed
        assert [message.role for message in state] == ["system", "user"]
        assert state[0] == system(STUDENT)
        assert described in state[1].content
        assert FEEDBACK not in state[1].content
        assert "kite" not in state[1].content


def test_without_system_prompts(tmp_path: Path) -> None:
    """Neither side has one: the guess is the user's question alone."""
    item = house.taboo()
    script = Script({item.id: ["It is what it is.", "Answer: thing"]})
    [original] = played([item], script, system=None)
    [target] = played([item], Script({item.id: ["It rises.", "Answer: kite"]}), system=TEACHER)
    rows = examples(
        Method(objective="sft", target="teacher"),
        material(item, original, answer=target),
        EPISODES,
        Lessons(**LESSONS),
    )
    assert not isinstance(rows, str)
    assert [[m.role for m in row.prompt] for row in rows] == [["user"], ["user"]]


def test_preferences_of_taboo(tmp_path: Path) -> None:
    item = house.taboo()
    original = ["It is what it is.", "Answer: thing"]
    case = Case(item, original, ["It rises when it blows.", "Answer: kite"])
    state, chosen, rejected = dpo(Folder(tmp_path, case))
    assert state == case.original.exchanges[0].messages
    assert (chosen, rejected) == ("It rises when it blows.", "It is what it is.")
    # The same description: it is the guess that differs.
    case = Case(item, original, ["It is what it is.\n", "Answer: kite"])
    state, chosen, rejected = dpo(Folder(tmp_path, case))
    assert state == case.original.exchanges[1].messages
    assert (chosen, rejected) == ("Answer: kite", "Answer: thing")


# DPO: the first action that differs.


@pytest.mark.parametrize("method", ["feedback_dpo", "imitative_dpo"])
def test_the_first_action_that_differs(method: str, tmp_path: Path) -> None:
    item = hilo(70, 90, "hilo" if method == "feedback_dpo" else "hilo_same_secret")
    other = ["Answer: 50", "Answer: 60", "Answer: 90", "Answer: 80", *["Answer: 1"] * 3]
    original = ["Answer: 50", "Answer: 60", "Answer: 65", *["Answer: 1"] * 4]
    retry = other[:3] if method == "feedback_dpo" else None
    case = Case(item, original, retry, other)
    state, chosen, rejected = dpo(Folder(tmp_path, case), method)
    # Both numbers are higher than 50 and 60, so that the states are the same until there.
    assert state == case.original.exchanges[2].messages
    assert (chosen, rejected) == ("Answer: 90", "Answer: 65")


def test_another_game_cannot_be_compared(tmp_path: Path) -> None:
    """The same first guess, and the other number is on the other side of it."""
    case = Case(hilo(70, 30), LOST, ["Answer: 50", "Answer: 30"])
    assert Folder(tmp_path, case).run("feedback_dpo") == ([], ["states_differ"])
    case = Case(hilo(70, 30), LOST, ["Answer: 51", "Answer: 30"])
    assert dpo(Folder(tmp_path, case))[1:] == ("Answer: 51", "Answer: 50")


def test_nothing_to_prefer(tmp_path: Path) -> None:
    case = Case(hilo(70, 90), ["Answer: 50"] * 7, ["Answer: 50"] * 7)
    assert Folder(tmp_path, case).run("feedback_dpo") == ([], ["identical"])
    # One game was over when the other went on.
    case = Case(hilo(50, 90), ["Answer: 50"], ["Answer: 50", "Answer: 90"])
    folder = Folder(tmp_path, case, negative_sampling=None)
    assert folder.run("feedback_dpo") == ([], ["identical"])


@pytest.mark.parametrize(
    ("original", "retry", "reason"),
    [
        (["Answer: 50", cut("Answer: 6")], ["Answer: 50", "Answer: 90"], "original_truncated"),
        (["Answer: 50", "Answer: 60"], ["Answer: 50", cut("Answer: 9")], "target_truncated"),
        (["Answer: 50", "Answer: 60"], ["Answer: 50", " "], "target_empty"),
        # What differs first is what counts, not what is cut later, or was cut alike before.
        (["Answer: 50", cut("Answer: 6")], ["Answer: 51", "Answer: 90"], None),
        ([cut("Answer: 50"), "Answer: 60"], [cut("Answer: 50"), "Answer: 90"], None),
    ],
)
def test_reasons_go_by_the_turn(
    original: list[Say], retry: list[Say], reason: str | None, tmp_path: Path
) -> None:
    whole = [*original, *["Answer: 1"] * 5]
    again = retry if retry[1] == "Answer: 90" else [*retry, *["Answer: 1"] * 5]
    kept, dropped = Folder(tmp_path, Case(hilo(70, 90), whole, again)).run("feedback_dpo")
    assert dropped == ([] if reason is None else [reason])
    assert len(kept) == (reason is None)


# Code.


@pytest.fixture
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NoSandbox("none here")

    monkeypatch.setattr(grading, "open_sandbox", refuse)


def program(tmp_path: Path) -> Item:
    raw = house.write_raw(tmp_path / "raw")
    return house.items_of(raw, "mbpp", split="train")[0]


CODE, BETTER = "```python\ndef add(n):\n    return n\n```", "```python\ndef add(n):\n    pass\n```"


@pytest.mark.usefixtures("no_sandbox")
def test_without_a_sandbox_nobody_can_tell(tmp_path: Path) -> None:
    """Negative sampling drops the item, as rejection sampling does; the others do not ask."""
    case = Case(program(tmp_path), [CODE], [BETTER], [BETTER])
    folder = Folder(tmp_path, case)
    for method in METHODS:
        fed = METHODS[method].get("negative_sampling", False)
        kept, dropped = folder.run(method)
        if method == "keep_right":
            # An answer of which nobody can tell whether it is right is no answer to keep.
            assert (dropped, kept) == (["not_run"], []), dropped
            continue
        assert dropped == (["not_run"] if fed or method == "solved_only" else [])
    folder = Folder(tmp_path, case, negative_sampling="error_identification")
    assert folder.run("feedback_sft")[1] == []


def test_programs_are_cleaned_by_their_code(tmp_path: Path) -> None:
    retry = "Thanks for your feedback!\n```python\ndef add(n):  # better\n    return n\n```"
    for cleaned, taken in ((CODE, True), (BETTER, False), ("return n", False)):
        case = Case(program(tmp_path), ["No."], [retry], ["No."], cleaned=[cleaned])
        folder = Folder(tmp_path, case)
        kept, dropped = folder.run("feedback_sft_cleaned")
        assert dropped == ([] if taken else ["answer_changed"])
        assert [example.completion for example in kept] == [says(CODE)] * taken  # type: ignore[union-attr]


# Properties.


class NoGrader:
    """Nothing is graded where nothing is filtered."""


EPISODES: Any = NoGrader()


def material(
    item: Item,
    original: Trajectory,
    answer: Trajectory | None = None,
    retry: Trajectory | None = None,
    texts: tuple[str | None, ...] = (),
) -> Material:
    return Material(
        item=item,
        original=original,
        answer=answer or original,
        retry=retry or original,
        cleaned=Taken("cleaned", texts),
        right=None,
    )


REPLIES = st.one_of(
    st.sampled_from(["Answer: 50", "Answer: 75", "Answer: 60\n", "It rises.", " "]),
    st.text(),
    st.sampled_from(["Answer: 4", "Answer: 50"]).map(cut),
)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.tuples(st.lists(REPLIES, min_size=1), st.lists(REPLIES, min_size=1)),
    other=st.sampled_from([30, 71, 90]),
    task=st.sampled_from(["hilo", "hilo_same_secret", "taboo"]),
    keep=st.booleans(),
    cleaned=st.lists(st.sampled_from([None, "Well.", "Answer: 50"]), min_size=7, max_size=7),
)
def test_no_turn_is_lost_and_no_feedback_learnt(
    texts: tuple[list[Say], list[Say]],
    other: int,
    task: str,
    keep: bool,
    cleaned: list[str | None],
) -> None:
    item = house.taboo() if task == "taboo" else hilo(70, other, task)
    [original] = played([item], Talker(texts[0]), system=STUDENT)
    retry = house.retried(item, original, Talker(texts[1]), FEEDBACK)
    # Nobody is asked to clean a reply without text.
    taken = tuple(
        text if turn.reply.text.strip() else None
        for text, turn in zip(cleaned, retry.exchanges, strict=False)
    )
    of = material(item, original, retry=retry, texts=taken)
    lessons = Lessons(**LESSONS | {"keep_truncated": keep})
    opening = original.exchanges[0].messages
    fit = [
        bool(turn.reply.text.strip()) and (keep or turn.reply.finish_reason == "stop")
        for turn in retry.exchanges
    ]
    rows = examples(Method(objective="sft", target="retry"), of, EPISODES, lessons)
    assert isinstance(rows, str) == (not any(fit))
    if not isinstance(rows, str):
        own = [turn for turn, good in zip(retry.exchanges, fit, strict=True) if good]
        assert [row.completion for row in rows] == [  # type: ignore[union-attr]
            says(neutralise(turn.reply.text)) for turn in own
        ]
    stars = examples(Method(objective="sft", target="cleaned"), of, EPISODES, lessons)
    both = [good and text is not None for good, text in zip(fit, taken, strict=True)]
    assert isinstance(stars, str) == (not any(both))
    for found, count in ((rows, sum(fit)), (stars, sum(both))):
        if isinstance(found, str):
            continue
        assert len(found) == count
        for row in found:
            assert FEEDBACK not in "".join(message.content for message in row.prompt)
            guess = task == "taboo" and len(row.prompt) == 2
            assert row.prompt[: len(opening)] == opening or guess
            assert row.prompt[-1].role == "user"
    pair = examples(Method(objective="dpo", target="retry"), of, EPISODES, lessons)
    if not isinstance(pair, str):
        [one] = pair
        assert isinstance(one, Preference)
        # Two actions at one and the same state, which both really saw.
        assert one.prompt in [turn.messages for turn in original.exchanges]
        assert one.chosen != one.rejected
        assert one.rejected in [says(neutralise(turn.reply.text)) for turn in original.exchanges]


# Feedback-following, over two suites.


def followed(
    root: Path,
    method: str,
    *suites: tuple[list[Trajectory], list[Trajectory]],
    per_task: int = 5,
    teachers: int | None = None,
) -> tuple[list[Any], list[str]]:
    params = yaml.safe_load(house.TINY.read_text(encoding="utf-8"))
    params["lessons"]["bbh"] |= {"following_per_task": per_task, "keep_truncated": False}
    params["following"] = {
        "following_sft": {"objective": "sft", "target": "teacher"},
        "following_dpo": {"objective": "dpo", "target": "teacher"},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    words = f"--params {root}/params.yaml --suite bbh --method {method} --student tiny --seed 0"
    words += f" --out {root}/out.jsonl --dropped {root}/dropped.jsonl"
    for number, (retries, by_teacher) in enumerate(suites):
        write_jsonl(root / f"retries-{number}.jsonl", retries)
        write_jsonl(root / f"teachers-{number}.jsonl", by_teacher)
        words += f" --retries {root}/retries-{number}.jsonl"
        if teachers is None or number < teachers:
            words += f" --teacher-retries {root}/teachers-{number}.jsonl"
    following.main(parsed(following, words))
    kind: Any = Preference if method == "following_dpo" else Demonstration
    kept = list(read_jsonl(root / "out.jsonl", kind))
    return kept, [d.reason for d in read_jsonl(root / "dropped.jsonl", Dropped)]


def retries_of(
    item: Item, student: Sequence[Say], teacher: Sequence[Say]
) -> tuple[Trajectory, Trajectory]:
    """Return the student's and the teacher's retry of a lost game."""
    lost = LOST if item.task.startswith("hilo") else ["It is what it is.", "Answer: thing"]
    [original] = played([item], Script({item.id: lost}), system=STUDENT)
    own, by_teacher = (
        house.retried(item, original, Script({item.id: lines}), FEEDBACK)
        for lines in (student, teacher)
    )
    return own, by_teacher.model_copy(update={"model": "scripted"})


@pytest.fixture
def question(tau: Trajectory) -> tuple[Trajectory, Trajectory]:
    """The student's and the teacher's retry of a question."""
    update = {"split": "train", "condition": "unconstrained", "feedback": FEEDBACK}
    own = tau.model_copy(update=update)
    reply = Completion(text="Corks!\nAnswer: (B)", finish_reason="stop")
    exchange = own.exchanges[0].model_copy(update={"reply": reply})
    return own, own.model_copy(update={"exchanges": (exchange,)})


def test_following_of_questions_and_games(
    question: tuple[Trajectory, Trajectory], tmp_path: Path
) -> None:
    """At the refinement prompts: here the feedback is what is to be followed."""
    game = retries_of(
        hilo(70, 90),
        ["Answer: 50", "Answer: 60", *["Answer: 1"] * 5],
        ["Answer: 50", "Answer: 75", cut("Answer: 9"), "Answer: 90"],
    )
    word = retries_of(house.taboo(), ["It is it.", "Answer: thing"], ["It rises.", "Answer: kite"])
    first = ([question[0]], [question[1]])
    second = ([game[0], word[0]], [word[1], game[1]])
    rows, dropped = followed(tmp_path, "following_sft", first, second)
    assert dropped == []
    assert [row.item for row in rows] == [question[0].item, *["games/hilo/train/0"] * 3] + [
        "games/taboo/train/0"
    ] * 2
    assert {row.environment for row in rows} == {None}
    own = [turn for _, teacher in (question, game, word) for turn in teacher.exchanges]
    learnt = [turn for turn in own if turn.reply.finish_reason == "stop"]
    assert [(row.prompt, row.completion) for row in rows] == [
        (turn.messages, says(turn.reply.text)) for turn in learnt
    ]
    assert [FEEDBACK in row.prompt[-1].content for row in rows[1:]] == [
        *(True, False, False),
        *(True, False),
    ]
    pairs_, dropped = followed(tmp_path, "following_dpo", first, second)
    assert dropped == []
    assert [(p.chosen, p.rejected) for p in pairs_] == [
        (says("Corks!\nAnswer: (B)"), says("Bricks are light.\nAnswer: (A)")),
        (says("Answer: 75"), says("Answer: 60")),
        (says("It rises."), says("It is it.")),
    ]
    # The state of the second guess, which both saw.
    assert pairs_[1].prompt == game[0].exchanges[1].messages == game[1].exchanges[1].messages


def test_so_many_of_each_environment_of_each_suite(
    question: tuple[Trajectory, Trajectory], tmp_path: Path
) -> None:
    games = [
        retries_of(
            hilo(70, 90).model_copy(update={"id": f"games/hilo/train/{n}"}),
            ["Answer: 90"],
            ["Answer: 50", "Answer: 90"],
        )
        for n in range(3)
    ]
    second = ([own for own, _ in games], [teacher for _, teacher in games])
    first = ([question[0]], [question[1]])
    rows, _ = followed(tmp_path, "following_sft", first, second, per_task=2)
    assert [row.item for row in rows] == [question[0].item] + [
        f"games/hilo/train/{n}" for n in (0, 0, 1, 1)
    ]


@pytest.mark.parametrize(
    ("student", "teacher", "sft_reason", "dpo_reason"),
    [
        (["Answer: 90"], [cut("Answer: 5"), *[" "] * 6], "target_truncated", "target_truncated"),
        (["Answer: 90"], ["Answer: 50", failed()], "teacher_failed", "teacher_failed"),
        (["Answer: 50", failed()], ["Answer: 90"], None, "retry_failed"),
        ([cut("Answer: 5"), "Answer: 90"], ["Answer: 90"], None, "retry_truncated"),
        (["Answer: 90"], ["Answer: 90\n"], None, "identical"),
    ],
)
def test_reasons_of_following(
    student: list[Say],
    teacher: list[Say],
    sft_reason: str | None,
    dpo_reason: str,
    tmp_path: Path,
) -> None:
    own, by_teacher = retries_of(hilo(70, 90), student, teacher)
    for method, reason in (("following_sft", sft_reason), ("following_dpo", dpo_reason)):
        kept, dropped = followed(tmp_path, method, ([own], [by_teacher]))
        assert dropped == ([] if reason is None else [reason])
        assert bool(kept) == (reason is None)


# Mistakes.


def test_mistakes_of_following(question: tuple[Trajectory, Trajectory], tmp_path: Path) -> None:
    own, teacher = retries_of(hilo(70, 90), ["Answer: 90"], ["Answer: 90"])
    first, second = ([question[0]], [question[1]]), ([own], [teacher])
    with pytest.raises(UserError, match="as many --retries as --teacher-retries are needed"):
        followed(tmp_path, "following_sft", first, second, teachers=1)
    test = own.model_copy(update={"split": "test"})
    with pytest.raises(UserError, match=r"retries-1.jsonl: games/hilo/train/0 is not a train item"):
        followed(tmp_path, "following_sft", first, ([test], [teacher]))
    other, _ = retries_of(hilo(70, 90), ["Answer: 90"], ["Answer: 90"])
    shown = other.exchanges[0].messages[:-1]
    moved = other.exchanges[0].model_copy(
        update={"messages": (*shown, Message(role="user", content="Well done."))}
    )
    teacher = teacher.model_copy(update={"exchanges": (moved,)})
    with pytest.raises(UserError, match=r"teachers-1.jsonl: games/hilo/train/0: the teacher was"):
        followed(tmp_path, "following_sft", first, ([own], [teacher]))
    assert not (tmp_path / "out.jsonl").exists()


def test_mistakes_of_pairs(tmp_path: Path) -> None:
    case = Case(hilo(70, 30), LOST, ["Answer: 50", "Answer: 30"])
    whole = case.retry
    # Another game was tried again than the one that was lost.
    case.retry = Case(hilo(70, 30), ["Answer: 51", *LOST[1:]], ["Answer: 30"]).retry
    with pytest.raises(UserError, match="another answer was tried again than that in"):
        Folder(tmp_path, case).run("feedback_sft")
    # A turn that neither goes on nor begins anew.
    first, second = whole.exchanges
    strange = second.model_copy(
        update={"messages": (Message(role="user", content="x"), *second.messages)}
    )
    case.retry = whole.model_copy(update={"exchanges": (first, strange)})
    with pytest.raises(UserError, match="exchange 2 does not go on from the first one"):
        Folder(tmp_path, case).run("feedback_sft")
    case.retry = whole
    case.item = case.item.model_copy(update={"state": None})
    with pytest.raises(UserError, match="a question, not an instance of an environment"):
        Folder(tmp_path, case).run("feedback_sft")
    with open_episodes() as grader:
        assert grader.grades([]) == []
