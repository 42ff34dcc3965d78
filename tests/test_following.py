"""Feedback-following finetuning: pairs at the retry prompt (paper, section 5.2).

Covered: the examples of SFT and DPO, each reason for dropping, so many items of each environment,
every item in or out, mistakes. Not covered: how retries are made (test_prompts.py).
"""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from stages import following
from stages.conversation import combine
from stages.errors import UserError
from stages.records import (
    Completion,
    Demonstration,
    Dropped,
    Exchange,
    FinishReason,
    Message,
    Preference,
    Trajectory,
    read_jsonl,
    write_jsonl,
)

METHODS: dict[str, dict[str, Any]] = {
    "following_sft": {"objective": "sft", "target": "teacher"},
    "following_dpo": {"objective": "dpo", "target": "teacher"},
}
Reply = tuple[str, FinishReason]
STUDENT, TEACHER = ("A brick.\nAnswer: (A)", "stop"), ("A cork.\nAnswer: (B)", "stop")


@pytest.fixture
def tau(tau: Trajectory) -> Trajectory:
    return tau.model_copy(update={"split": "train"})


def tried(
    tau: Trajectory, reply: Reply | None, number: int = 0, task: str = "one", **more: Any
) -> Trajectory:
    """Return a retry of the answer of `tau`; the original where there was no feedback."""
    update: dict[str, Any] = {"item": f"own/{number}", "task": task, "condition": "unconstrained"}
    if reply is None:
        return tau.model_copy(update=update | {"kept_original": "refusal"} | more)
    text, reason = reply
    exchange = Exchange(
        messages=combine(tau.exchanges, "Count again."),
        reply=Completion(text=text, finish_reason=reason),
    )
    update |= {"exchanges": (exchange,), "feedback": "Count again."}
    return tau.model_copy(update=update | more)


class Folder:
    """The files of a cell, and its command."""

    def __init__(
        self, root: Path, retries: list[Trajectory], teachers: list[Trajectory], **lessons: Any
    ) -> None:
        self.root = root
        params = yaml.safe_load((ROOT / "scales" / "tiny.yaml").read_text())
        params["lessons"]["bbh"] |= {"keep_truncated": False} | lessons
        params["following"] = METHODS | {
            "own": {"objective": "sft", "target": "retry"},
            "filtered": {"objective": "sft", "target": "teacher", "only_solved_targets": True},
        }
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        write_jsonl(root / "retries.jsonl", retries)
        write_jsonl(root / "teachers.jsonl", teachers)

    def run(
        self, method: str, student: str = "tiny"
    ) -> tuple[list[Demonstration] | list[Preference], list[Dropped]]:
        words = [
            *("--params", f"{self.root}/params.yaml", "--suite", "bbh", "--method", method),
            *("--student", student, "--seed", "0", "--retries", f"{self.root}/retries.jsonl"),
            *("--teacher-retries", f"{self.root}/teachers.jsonl"),
            *("--out", f"{self.root}/out.jsonl", "--dropped", f"{self.root}/dropped.jsonl"),
        ]
        following.main(following.parser().parse_args(words))
        out, dropped = self.root / "out.jsonl", self.root / "dropped.jsonl"
        if method == "following_dpo":
            return read_jsonl(out, Preference), read_jsonl(dropped, Dropped)
        return read_jsonl(out, Demonstration), read_jsonl(dropped, Dropped)


def says(text: str) -> tuple[Message]:
    return (Message(role="assistant", content=text),)


def test_what_is_learnt(tau: Trajectory, tmp_path: Path) -> None:
    teacher = tried(tau, ("A cork.<|im_end|>", "stop"))
    folder = Folder(tmp_path, [tried(tau, STUDENT)], [teacher], models="per_environment")
    shown = combine(tau.exchanges, "Count again.")
    [example], dropped = folder.run("following_sft")
    assert isinstance(example, Demonstration)
    assert (example.prompt, example.completion) == (shown, says("A cork.< |im_end| >"))
    # "a single model": whatever the other methods do.
    assert (example.environment, dropped) == (None, [])
    [pair], dropped = folder.run("following_dpo")
    assert isinstance(pair, Preference)
    assert (pair.prompt, pair.chosen) == (shown, says("A cork.< |im_end| >"))
    assert (pair.rejected, pair.environment, dropped) == (says(STUDENT[0]), None, [])


@pytest.mark.parametrize(
    ("student", "teacher", "sft", "dpo"),
    [
        (STUDENT, TEACHER, None, None),
        (None, None, "kept_original", "kept_original"),
        (("", "error"), TEACHER, None, "retry_failed"),
        (("A br", "length"), TEACHER, None, "retry_truncated"),
        (("", "stop"), TEACHER, None, None),
        (STUDENT, ("", "error"), "teacher_failed", "teacher_failed"),
        (STUDENT, ("A co", "length"), "target_truncated", "target_truncated"),
        (STUDENT, (" ", "stop"), "target_empty", "target_empty"),
        (STUDENT, (STUDENT[0] + "\n", "stop"), None, "identical"),
    ],
)
def test_reasons(
    student: Reply | None,
    teacher: Reply | None,
    sft: str | None,
    dpo: str | None,
    tau: Trajectory,
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path, [tried(tau, student)], [tried(tau, teacher)])
    for method, reason in (("following_sft", sft), ("following_dpo", dpo)):
        kept, dropped = folder.run(method)
        assert [d.reason for d in dropped] == ([] if reason is None else [reason])
        assert len(kept) + len(dropped) == 1


def test_replies_that_were_cut_can_be_kept(tau: Trajectory, tmp_path: Path) -> None:
    cut: Reply = ("A br", "length")
    retries, teachers = [tried(tau, cut)], [tried(tau, ("A co", "length"))]
    folder = Folder(tmp_path, retries, teachers, keep_truncated=True)
    for method in METHODS:
        kept, dropped = folder.run(method)
        assert (len(kept), dropped) == (1, [])


def test_so_many_of_each_environment(tau: Trajectory, tmp_path: Path) -> None:
    """The first items of each, in and out; the rest is not asked for."""
    outcomes: list[Reply | None] = [STUDENT, None, ("", "error"), TEACHER, ("A br", "length")]
    cells = list(product(outcomes, ("one", "two", "three")))
    retries = [tried(tau, reply, n, task) for n, (reply, task) in enumerate(cells)]
    teachers = [tried(tau, reply and TEACHER, n, task) for n, (reply, task) in enumerate(cells)]
    for limit in (1, 3, 9):
        folder = Folder(tmp_path, retries, teachers[::-1], following_per_task=limit)
        asked = [one.item for n, one in enumerate(retries) if n // 3 < limit]
        for method in METHODS:
            kept, dropped = folder.run(method)
            given = [example.item for example in kept]
            assert sorted(given + [d.item for d in dropped]) == sorted(asked)
            assert given == [item for item in asked if item in given]


def test_mistakes(tau: Trajectory, tmp_path: Path) -> None:
    good, teacher = tried(tau, STUDENT), tried(tau, TEACHER)
    other = tau.model_copy(update={"exchanges": teacher.exchanges})
    for retry, own, message in (
        (good, tried(tau, TEACHER, 1), "teachers.jsonl: not the items of"),
        (tried(tau, STUDENT, split="test"), teacher, "own/0 is not a train item"),
        (tried(tau, STUDENT, seed=1), teacher, "own/0: of tiny-1, not tiny-0"),
        (tried(tau, STUDENT, model="big"), teacher, "own/0: of big-0, not tiny-0"),
        (good, tried(other, TEACHER), "own/0: the teacher was shown something else than"),
    ):
        with pytest.raises(UserError, match=message):
            Folder(tmp_path, [retry], [own]).run("following_sft")
    folder = Folder(tmp_path, [good], [teacher])
    for method in ("own", "filtered"):
        with pytest.raises(UserError, match=f"following.{method}: the target is teacher"):
            folder.run(method)
    assert not (tmp_path / "out.jsonl").exists()
    # A student that was trained goes by the name of its folder.
    assert folder.run("following_sft", "tiny-bbh-feedback_dpo-0")[1] == []
