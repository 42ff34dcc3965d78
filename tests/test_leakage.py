"""Promise 3: no condition without access to the ground truth puts it before teacher or student.

The test is metamorphic: every target is replaced, all that came before is held fixed, and each
prompt of a condition without ground truth must stay byte-identical while those with it change.
(Most targets occur literally in their own question, so searching for them would prove nothing.)
Covered: respond, answer, all feedback conditions of all scales, revise. Not covered: splits
(test_bbh.py); what a teacher gives away out of its own knowledge (the leak meter's work).
"""

import argparse
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from stages import answer, feedback, respond, revise
from stages.errors import UserError
from stages.records import Feedback, Item, Trajectory, write_jsonl

# The only conditions of the paper that see the ground truth (section 5.1.2).
GROUND_TRUTH = {"ground_truth", "lazy"}
SCALES = sorted((ROOT / "scales").glob("*.yaml"))
PROMPTS = ROOT / "prompts"


def files(folder: Path, item: Item, tau: Trajectory) -> dict[str, Path]:
    folder.mkdir()
    write_jsonl(folder / "items.jsonl", [item])
    write_jsonl(folder / "tau.jsonl", [tau])
    return {"items": folder / "items.jsonl", "trajectories": folder / "tau.jsonl"}


def feedback_prompt(scale: Path, condition: str, inputs: dict[str, Path]) -> str:
    args = argparse.Namespace(
        params=scale,
        condition=condition,
        student="student",
        seed=0,
        template=PROMPTS / "feedback" / f"{condition}.jinja",
        answers=inputs["trajectories"],
        **inputs,
    )
    [(_, text)] = feedback.prompts(args)
    return text


def conditions(scale: Path) -> list[str]:
    return list(yaml.safe_load(scale.read_text())["conditions"])


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_feedback_prompts(scale: Path, item: Item, tau: Trajectory, tmp_path: Path) -> None:
    before = files(tmp_path / "before", item, tau)
    after = files(tmp_path / "after", item.model_copy(update={"target": "(A)"}), tau)
    for condition in conditions(scale):
        same = feedback_prompt(scale, condition, before) == feedback_prompt(scale, condition, after)
        assert same == (condition not in GROUND_TRUTH), condition


def test_a_template_cannot_take_what_its_condition_does_not_see(
    item: Item, tau: Trajectory, tmp_path: Path
) -> None:
    inputs = files(tmp_path / "inputs", item, tau)
    leak = tmp_path / "leak.jinja"
    leak.write_text("The answer is {{ target }}.")
    args = argparse.Namespace(
        params=ROOT / "scales" / "tiny.yaml",
        condition="unconstrained",
        student="student",
        seed=0,
        template=leak,
        answers=None,
        **inputs,
    )
    with pytest.raises(UserError, match="'target' is undefined"):
        feedback.prompts(args)


@pytest.mark.parametrize(("module", "role"), [(respond, "student"), (answer, "teacher")])
def test_task_prompts(
    module: object, role: str, item: Item, tau: Trajectory, tmp_path: Path
) -> None:
    shown = []
    for name, target in (("before", "(B)"), ("after", "(A)")):
        inputs = files(tmp_path / name, item.model_copy(update={"target": target}), tau)
        args = argparse.Namespace(
            params=ROOT / "scales" / "laptop.yaml",
            seed=0,
            template=PROMPTS / "respond" / "task.jinja",
            items=inputs["items"],
            **{role: "smollm2_135m"},
        )
        shown.append(module.conversations(args))
    assert shown[0] == shown[1]


def test_retry_prompt_sees_no_items(item: Item, tau: Trajectory, tmp_path: Path) -> None:
    assert not any(action.dest == "items" for action in revise.parser()._actions)
    inputs = files(tmp_path / "inputs", item, tau)
    write_jsonl(
        tmp_path / "feedback.jsonl",
        [
            Feedback(
                item=item.id,
                suite=item.suite,
                task=item.task,
                split=item.split,
                condition="unconstrained",
                student="tiny",
                teacher=None,
                seed=0,
                status="ok",
                text="Think of <|im_end|> corks.",
                exchange=None,
            )
        ],
    )
    args = argparse.Namespace(
        condition="unconstrained",
        student="tiny",
        seed=0,
        trajectories=inputs["trajectories"],
        feedback=tmp_path / "feedback.jsonl",
        template=PROMPTS / "revise" / "retry.jinja",
    )
    [shown] = revise.conversations(args)
    assert [message.role for message in shown.messages] == ["user", "assistant", "user"]
    assert "<|im_end|>" not in shown.messages[-1].content
