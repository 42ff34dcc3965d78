"""Training pairs: what each method learns from, and what is dropped for which reason.

Covered: the content of every method's examples, each reason by hand, negative sampling by the
ground truth and by error identification, keeping right originals, rejection sampling, replies that
were cut, one model or many, several exchanges; on the product of all outcomes of the steps before:
every item is in or out, once, and matched arms have the same items; no target reaches a prompt;
mistakes. Not covered: what extraction and verdicts read (test_extraction.py, test_verdicts.py), and
feedback-following (test_following.py).
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from stages import pairs
from stages.cleaning import take
from stages.conversation import combine
from stages.errors import UserError
from stages.examples import ARMS, Material, examples
from stages.grading import Questions
from stages.pairs import teaches
from stages.records import (
    Cleaning,
    Completion,
    Demonstration,
    Dropped,
    Exchange,
    FinishReason,
    Item,
    Judgement,
    Message,
    Preference,
    Trajectory,
    read_jsonl,
    write_jsonl,
)
from stages.targets import Example
from stages.tasks.extraction import load_rules
from stages.training.config import Lessons, Method

RULES = Questions(load_rules(ROOT / "stages" / "tasks" / "extraction.yaml"))
METHODS = {
    "imitative_dpo": Method(objective="dpo", target="teacher"),
    "feedback_dpo": Method(objective="dpo", target="retry", negative_sampling=True),
    "imitative_sft": Method(objective="sft", target="teacher"),
    "feedback_sft": Method(objective="sft", target="retry", negative_sampling=True),
    "feedback_sft_cleaned": Method(objective="sft", target="cleaned", negative_sampling=True),
}
LESSONS = Lessons(
    condition="ground_truth",
    negative_sampling="ground_truth",
    models="joint",
    match_n=False,
    following_per_task=5,
)
FEEDBACK = "Corks are light: it is (B)."
WRONG, RIGHT = "Bricks are light.\nAnswer: (A)", "Corks are light.\nAnswer: (B)"
TEACHER = "Cork is lighter than water.\nAnswer: (B)"
RETRY, CLEANED = "Here's my new answer.\nCorks float.\nAnswer: (B)", "Corks float.\nAnswer: (B)"
STUDENT = (
    Message(role="system", content="You are a student."),
    Message(role="user", content="Which floats?"),
)
ASKED_TEACHER = (
    Message(role="system", content="You are a teacher."),
    Message(role="user", content="Which floats?"),
)

Reply = tuple[str, FinishReason]


def exchange(messages: tuple[Message, ...], text: str, reason: FinishReason = "stop") -> Exchange:
    return Exchange(messages=messages, reply=Completion(text=text, finish_reason=reason))


def trajectory(item: Item, *exchanges: Exchange, **more: Any) -> Trajectory:
    return Trajectory(
        item=item.id,
        suite=item.suite,
        task=item.task,
        split=item.split,
        model="tiny",
        seed=0,
        exchanges=exchanges,
        **more,
    )


class Case:
    """What became of one item on its way: each step's reply and how it ended."""

    def __init__(
        self,
        item: Item,
        original: Reply = (WRONG, "stop"),
        answer: Reply = (TEACHER, "stop"),
        retry: Reply | None = (RETRY, "stop"),
        cleaned: Reply = (CLEANED, "stop"),
        verdict: str = '{"correct": false}',
    ) -> None:
        self.item = item
        self.original = trajectory(item, exchange(STUDENT, *original))
        self.answer = trajectory(item, exchange(ASKED_TEACHER, *answer))
        if retry is None or self.original.failed:
            update = {"condition": "ground_truth", "kept_original": "refusal"}
            self.retry = self.original.model_copy(update=update)
        else:
            shown = combine(self.original.exchanges, f"Your teacher says: {FEEDBACK}")
            self.retry = trajectory(
                item, exchange(shown, *retry), condition="ground_truth", feedback=FEEDBACK
            )
        nothing = self.retry.kept_original or self.retry.failed or not self.retry.last.text.strip()
        common = {"item": item.id, "suite": item.suite, "task": item.task, "split": item.split}
        self.cleaning = Cleaning(
            **common,  # type: ignore[arg-type]
            condition="ground_truth",
            student="tiny",
            teacher="scripted",
            seed=0,
            exchanges=() if nothing else (exchange(ASKED_TEACHER, *cleaned),),
        )
        self.judgement = Judgement(
            **common,  # type: ignore[arg-type]
            verdict="explicit",
            student="tiny",
            teacher="scripted",
            seed=0,
            exchange=None if self.original.failed else exchange(ASKED_TEACHER, verdict),
        )


@pytest.fixture
def lesson(item: Item) -> Item:
    return item.model_copy(update={"id": "bbh/own_example/1", "split": "train"})


class Folder:
    """The files of a cell, and its command."""

    def __init__(self, root: Path, cases: list[Case], **lessons: object) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        params = {
            "lessons": {"bbh": LESSONS.model_dump() | lessons},
            "methods": {slug: method.model_dump() for slug, method in METHODS.items()},
            "verdicts": {
                "explicit": {"reads": "json", "sentences": None, "max_new_tokens": 32},
            },
        }
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        write_jsonl(root / "items.jsonl", [case.item for case in cases])
        write_jsonl(root / "trajectories.jsonl", [case.original for case in cases])
        write_jsonl(root / "answers.jsonl", [case.answer for case in cases])
        write_jsonl(root / "retries.jsonl", [case.retry for case in cases])
        write_jsonl(root / "cleanings.jsonl", [case.cleaning for case in cases])
        write_jsonl(root / "judgements.jsonl", [case.judgement for case in cases])

    def words(self, method: str) -> list[str]:
        names = ("items", "trajectories", "answers", "retries", "cleanings", "judgements")
        return [
            *("--params", f"{self.root}/params.yaml", "--suite", "bbh", "--method", method),
            *("--learner", "tiny", "--seed", "0", "--verdict", "explicit"),
            *("--rules", str(ROOT / "stages" / "tasks" / "extraction.yaml")),
            *(word for name in names for word in (f"--{name}", f"{self.root}/{name}.jsonl")),
            *("--out", f"{self.root}/out.jsonl", "--dropped", f"{self.root}/dropped.jsonl"),
        ]

    def run(self, method: str) -> tuple[list[Example], list[Dropped]]:
        pairs.main(pairs.parser().parse_args(self.words(method)))
        kind = Preference if METHODS[method].objective == "dpo" else Demonstration
        kept: list[Example] = list(read_jsonl(self.root / "out.jsonl", kind))
        return kept, read_jsonl(self.root / "dropped.jsonl", Dropped)


def says(text: str) -> tuple[Message]:
    return (Message(role="assistant", content=text),)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("imitative_dpo", TEACHER),
        ("feedback_dpo", RETRY),
        ("imitative_sft", TEACHER),
        ("feedback_sft", RETRY),
        ("feedback_sft_cleaned", CLEANED),
    ],
)
def test_what_each_method_learns(method: str, target: str, lesson: Item, tmp_path: Path) -> None:
    [example], dropped = Folder(tmp_path, [Case(lesson)]).run(method)
    assert dropped == []
    assert (example.item, example.task, example.environment) == (lesson.id, lesson.task, None)
    # The prompt is the student's own: no feedback, no earlier answer, not the teacher's system.
    assert example.prompt == STUDENT
    if isinstance(example, Preference):
        assert (example.chosen, example.rejected) == (says(target), says(WRONG))
    else:
        assert example.completion == says(target)


def test_one_model_an_environment(lesson: Item, tmp_path: Path) -> None:
    for method in METHODS:
        [example], _ = Folder(tmp_path, [Case(lesson)], models="per_environment").run(method)
        assert example.environment == lesson.task


def test_control_tokens_do_not_enter(lesson: Item, tmp_path: Path) -> None:
    case = Case(lesson, original=("No.<|im_end|>", "stop"), retry=("Yes.<|im_end|>", "stop"))
    folder = Folder(tmp_path, [case])
    [example], _ = folder.run("feedback_dpo")
    assert isinstance(example, Preference)
    assert (example.chosen, example.rejected) == (
        says("Yes.< |im_end| >"),
        says("No.< |im_end| >"),
    )


FAILED: Reply = ("", "error")
CUT: Reply = ("I weigh both and", "length")
EMPTY: Reply = (" \n", "stop")
ALL = set(METHODS)
FED = {"feedback_dpo", "feedback_sft", "feedback_sft_cleaned"}
DPO = {"imitative_dpo", "feedback_dpo"}
IMITATIVE = {"imitative_dpo", "imitative_sft"}
STAR = {"feedback_sft_cleaned"}


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({}, {}),
        ({"original": FAILED}, dict.fromkeys(FED | DPO, "original_failed")),
        ({"original": CUT}, dict.fromkeys(DPO, "original_truncated")),
        ({"original": EMPTY}, {}),
        ({"original": (RIGHT, "stop")}, dict.fromkeys(FED, "already_right")),
        ({"answer": FAILED}, dict.fromkeys(IMITATIVE, "teacher_failed")),
        ({"answer": CUT}, dict.fromkeys(IMITATIVE, "target_truncated")),
        ({"answer": EMPTY}, dict.fromkeys(IMITATIVE, "target_empty")),
        ({"answer": (f"{WRONG}\n", "stop")}, {"imitative_dpo": "identical"}),
        ({"retry": None}, dict.fromkeys(FED, "kept_original")),
        ({"retry": FAILED}, dict.fromkeys(FED, "target_failed")),
        ({"retry": CUT}, dict.fromkeys(FED, "target_truncated")),
        ({"retry": EMPTY}, dict.fromkeys(FED, "target_empty")),
        (
            {"retry": (WRONG, "stop"), "cleaned": (WRONG, "stop")},
            {"feedback_dpo": "identical"},
        ),
        ({"cleaned": (WRONG, "stop")}, dict.fromkeys(STAR, "answer_changed")),
        ({"cleaned": ("Corks", "length")}, dict.fromkeys(STAR, "not_cleaned")),
        ({"cleaned": EMPTY}, dict.fromkeys(STAR, "not_cleaned")),
        ({"cleaned": FAILED}, dict.fromkeys(STAR, "not_cleaned")),
        ({"cleaned": (RETRY, "stop")}, {}),
    ],
)
def test_reasons(
    changed: dict[str, Any], reasons: dict[str, str], lesson: Item, tmp_path: Path
) -> None:
    folder = Folder(tmp_path, [Case(lesson, **changed)])
    for method in METHODS:
        kept, dropped = folder.run(method)
        assert len(kept) + len(dropped) == 1
        assert [d.reason for d in dropped] == [reasons[method] for _ in dropped]
        assert bool(dropped) == (method in reasons), method


@pytest.mark.parametrize(
    ("original", "verdict", "right"),
    [
        (WRONG, '{"correct": true}', True),
        (RIGHT, '{"correct": false}', False),
        (RIGHT, "I cannot say.", False),
    ],
)
def test_the_teachers_verdict(
    original: str, verdict: str, right: bool, lesson: Item, tmp_path: Path
) -> None:
    """Error identification: what cannot be read says that there is an error."""
    case = Case(lesson, original=(original, "stop"), verdict=verdict)
    folder = Folder(tmp_path, [case], negative_sampling="error_identification")
    for method in METHODS:
        _, dropped = folder.run(method)
        expected = ["judged_right"] if right and method in FED else []
        assert [d.reason for d in dropped] == expected
    folder = Folder(tmp_path, [case], negative_sampling=None)
    assert all(folder.run(method)[1] == [] for method in METHODS)


def material(case: Case, right: bool = False) -> Material:
    return Material(
        item=case.item,
        original=case.original,
        answer=case.answer,
        retry=case.retry,
        cleaned=take(case.cleaning, case.retry, case.item, RULES),
        right="already_right" if right else None,
    )


def test_right_originals_can_be_kept(lesson: Item) -> None:
    keep = METHODS["feedback_sft"].model_copy(update={"keep_correct_originals": True})
    case = Case(lesson, original=(RIGHT, "stop"))
    [example] = examples(keep, material(case, right=True), RULES, LESSONS)
    assert isinstance(example, Demonstration)
    assert (example.prompt, example.completion) == (STUDENT, says(RIGHT))
    [example] = examples(keep, material(case), RULES, LESSONS)
    assert isinstance(example, Demonstration)
    assert example.completion == says(RETRY)
    cut = Case(lesson, original=(RIGHT, "length"))
    assert examples(keep, material(cut, right=True), RULES, LESSONS) == "target_truncated"


def test_only_solved_targets(lesson: Item) -> None:
    for target, changed in (
        ("teacher", {"answer": ("It is (A).", "stop")}),
        ("retry", {"retry": ("Bricks!\nAnswer: (A)", "stop")}),
        ("cleaned", {"retry": ("Sorry.\nAnswer: (A)", "stop"), "cleaned": ("Answer: (A)", "stop")}),
    ):
        method = Method(objective="sft", target=target, only_solved_targets=True)  # type: ignore[arg-type]
        assert examples(method, material(Case(lesson, **changed)), RULES, LESSONS) == "target_wrong"  # type: ignore[arg-type]
        assert len(examples(method, material(Case(lesson)), RULES, LESSONS)) == 1


def test_replies_that_were_cut_can_be_kept(lesson: Item) -> None:
    lessons = LESSONS.model_copy(update={"keep_truncated": True})
    case = Case(lesson, original=CUT, answer=("Cork is", "length"), retry=("Corks fl", "length"))
    for method in (METHODS["imitative_dpo"], METHODS["feedback_dpo"]):
        [example] = examples(method, material(case), RULES, lessons)
        assert isinstance(example, Preference)
        assert example.rejected == says("I weigh both and")
    empty = Case(lesson, answer=(" ", "length"))
    found = examples(METHODS["imitative_sft"], material(empty), RULES, lessons)
    assert found == "target_empty"


def game(item: Item, *actions: str, begin: tuple[Message, ...] = STUDENT) -> Trajectory:
    """Return a game of several turns in one conversation; each action is answered with its echo."""
    messages, turns = begin, []
    for action in actions:
        turns.append(exchange(messages, action))
        echo = Message(role="user", content=f"You said {action}.")
        messages = (*messages, *says(action), echo)
    return trajectory(item, *turns)


def test_several_exchanges(lesson: Item) -> None:
    """SFT learns each action, DPO the first that differs; always at the student's states."""
    case = material(Case(lesson))
    original = game(lesson, "50", "25", "12")
    answer = game(lesson, "50", "30", "20", "10", begin=ASKED_TEACHER)
    case = Material(lesson, original, answer, case.retry, case.cleaned, None)
    found = examples(METHODS["imitative_sft"], case, RULES, LESSONS)
    assert not isinstance(found, str)
    expected = game(lesson, "50", "30", "20", "10")
    assert [(e.prompt, e.completion) for e in found if isinstance(e, Demonstration)] == [
        (turn.messages, says(turn.reply.text)) for turn in expected.exchanges
    ]
    [pair] = examples(METHODS["imitative_dpo"], case, RULES, LESSONS)
    assert isinstance(pair, Preference)
    assert pair.prompt == original.exchanges[1].messages
    assert (pair.chosen, pair.rejected) == (says("30"), says("25"))
    # Where the world answers differently to the same action, the states are not equal.
    turn = answer.exchanges[1]
    other = turn.model_copy(
        update={"messages": (*turn.messages[:-1], Message(role="user", content="Too high."))}
    )
    moved = answer.model_copy(update={"exchanges": (answer.exchanges[0], other)})
    case = Material(lesson, original, moved, case.retry, case.cleaned, None)
    assert examples(METHODS["imitative_dpo"], case, RULES, LESSONS) == "states_differ"
    elsewhere = (Message(role="user", content="Guess."), *says("50"), STUDENT[-1])
    fresh = other.model_copy(update={"messages": elsewhere})
    broken = answer.model_copy(update={"exchanges": (answer.exchanges[0], fresh)})
    case = Material(lesson, original, broken, case.retry, case.cleaned, None)
    with pytest.raises(UserError, match="exchange 2 does not go on from the first one"):
        examples(METHODS["imitative_sft"], case, RULES, LESSONS)


def everything(lesson: Item) -> Iterator[Case]:
    """Yield an item for every combination of what can come out of the steps before."""
    outcomes = product(
        [(WRONG, "stop"), (RIGHT, "stop"), ("Hm.", "stop"), CUT, EMPTY, FAILED],
        [(TEACHER, "stop"), (WRONG, "stop"), CUT, EMPTY, FAILED],
        [(RETRY, "stop"), (WRONG, "stop"), CUT, FAILED, None],
        [(CLEANED, "stop"), ("Answer: (A)", "stop"), CUT, FAILED],
    )
    for number, (original, answer, retry, cleaned) in enumerate(outcomes):
        item = lesson.model_copy(update={"id": f"bbh/own/{number}"})
        # Seven is in step with none of the outcomes' numbers.
        verdict = '{"correct": true}' if number % 7 < 3 else "Hm."
        yield Case(item, original, answer, retry, cleaned, verdict)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    item = Item(
        id="bbh/own/0",
        suite="bbh",
        task="one",
        split="train",
        index=0,
        question="Which floats?",
        answer_format="a letter",
        family="letter",
        options={"(A)": "a brick", "(B)": "a cork"},
        target="(B)",
    )
    return list(everything(item))


@pytest.mark.parametrize("match_n", [False, True])
@pytest.mark.parametrize("judge", ["ground_truth", "error_identification", None])
def test_every_item_is_in_or_out(
    judge: str | None, match_n: bool, cases: list[Case], tmp_path: Path
) -> None:
    folder = Folder(tmp_path, cases, negative_sampling=judge, match_n=match_n)
    ids = [case.item.id for case in cases]
    kept_by: dict[str, list[str]] = {}
    for method in METHODS:
        kept, dropped = folder.run(method)
        kept_by[method] = [example.item for example in kept]
        assert len(kept) + len(dropped) == len(cases)
        assert sorted(kept_by[method] + [d.item for d in dropped]) == sorted(ids)
        assert kept_by[method] == [i for i in ids if i in set(kept_by[method])]
        assert all(example.prompt == STUDENT for example in kept)
        for example in kept:
            if isinstance(example, Preference):
                assert example.chosen != example.rejected
            targets = example.chosen if isinstance(example, Preference) else example.completion
            assert all(message.content.strip() for message in targets)
    assert all(kept_by.values())
    if match_n:
        assert len({tuple(kept) for kept in kept_by.values()}) == 1
    else:
        assert len({tuple(kept) for kept in kept_by.values()}) > 3


def test_matched_items_are_those_that_every_arm_can_use(cases: list[Case]) -> None:
    matched = LESSONS.model_copy(update={"match_n": True})
    for case in cases:
        one = material(case, right=RULES.grades([(case.item, case.original)])[0].solved)
        usable = all(not isinstance(examples(arm, one, RULES, LESSONS), str) for arm in ARMS)
        for method in METHODS.values():
            assert isinstance(teaches(method, matched, one, RULES), list) == usable


def test_the_arms_are_those_of_table_5() -> None:
    key = {(arm.objective, arm.target) for arm in ARMS}
    assert key == {(method.objective, method.target) for method in METHODS.values()}
    for scale in ("laptop", "paper", "open"):
        methods = yaml.safe_load((ROOT / "scales" / f"{scale}.yaml").read_text())["methods"]
        assert key == {(m["objective"], m["target"]) for m in methods.values()}
    assert all(arm.negative_sampling for arm in ARMS)


def test_no_target_reaches_a_prompt(cases: list[Case], tmp_path: Path) -> None:
    """Another gold answer: prompts stay, Imitative stays whole, who is dropped may change."""
    written = []
    for target in ("(B)", "(A)"):
        changed = [case.item.model_copy(update={"target": target}) for case in cases]
        folder = Folder(tmp_path, cases)
        write_jsonl(tmp_path / "items.jsonl", changed)
        runs = {}
        for method in METHODS:
            kept, dropped = folder.run(method)
            runs[method] = (tmp_path / "out.jsonl").read_bytes(), kept, dropped
        written.append(runs)
    for method in METHODS:
        (before, kept, dropped), (after, kept_after, dropped_after) = (
            runs[method] for runs in written
        )
        assert (before == after) == (method in IMITATIVE)
        same_item = {example.item: example for example in kept}
        shared = [e for e in kept_after if e.item in same_item]
        assert shared
        assert all(same_item[e.item] == e for e in shared)
        assert (dropped == dropped_after) == (method in IMITATIVE)


def test_the_same_bytes(cases: list[Case], tmp_path: Path) -> None:
    one, two = Folder(tmp_path / "one", cases[:200]), Folder(tmp_path / "two", cases[:200])
    for method in METHODS:
        one.run(method)
        two.run(method)
        for name in ("out.jsonl", "dropped.jsonl"):
            assert (one.root / name).read_bytes() == (two.root / name).read_bytes()


def refused(folder: Folder, message: str, method: str = "feedback_sft") -> None:
    before = sorted(path.name for path in folder.root.iterdir())
    with pytest.raises(UserError) as error:
        pairs.main(pairs.parser().parse_args(folder.words(method)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in folder.root.iterdir()) == before


@pytest.mark.parametrize("name", ["trajectories", "answers", "retries", "cleanings", "judgements"])
def test_files_of_other_items(name: str, lesson: Item, tmp_path: Path) -> None:
    folder = Folder(tmp_path, [Case(lesson)])
    write_jsonl(tmp_path / f"{name}.jsonl", [])
    refused(folder, f"{name}.jsonl: not the items of {tmp_path}/items.jsonl: {lesson.id}")


def test_files_that_do_not_belong_together(lesson: Item, tmp_path: Path) -> None:
    case = Case(lesson)
    for name, record, message in (
        (
            "items",
            lesson.model_copy(update={"split": "test"}),
            f"items.jsonl: {lesson.id} is not a train item",
        ),
        (
            "retries",
            case.retry.model_copy(update={"condition": "lazy"}),
            "the feedback is lazy, lessons.bbh.condition is ground_truth",
        ),
        (
            "retries",
            Case(lesson, original=("Another.", "stop")).retry,
            "another answer was tried again than that in",
        ),
        (
            "retries",
            Case(lesson, original=("Another.", "stop"), retry=None).retry,
            "another answer was tried again than that in",
        ),
        (
            "judgements",
            case.judgement.model_copy(update={"verdict": "implicit"}),
            "the verdict is implicit, not explicit",
        ),
        (
            "cleanings",
            case.cleaning.model_copy(update={"student": "big"}),
            "of big-0, not tiny-0",
        ),
        ("cleanings", case.cleaning.model_copy(update={"seed": 1}), "of tiny-1, not tiny-0"),
    ):
        folder = Folder(tmp_path, [case])
        write_jsonl(tmp_path / f"{name}.jsonl", [record])
        refused(folder, message)
    refused(Folder(tmp_path, [case]), "methods.own: not there", "own")
