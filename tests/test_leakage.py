"""Promise 3: no condition without access to the ground truth puts it before teacher or student.

The test is metamorphic: every target is replaced, all that came before is held fixed, and each
prompt of a condition without ground truth must stay byte-identical while those with it change.
(Most targets occur literally in their own question, so searching for them would prove nothing.)
Covered: respond, answer, all feedback conditions and verdicts of all scales, the feedback on
another item, revise, the candidates of best-of-k and who chooses among them. Where a stage takes no
file with targets in it, that is what is tested. Not covered: splits (test_bbh.py); what a teacher
gives away out of its own knowledge (the leak meter's work).
"""

import argparse
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from stages import answer, borrow, feedback, judge, respond, revise, sample, select
from stages.errors import UserError
from stages.models.chat import Conversation
from stages.records import Completion, Feedback, Item, Trajectory, write_jsonl

# The only conditions of the paper that see the ground truth (section 5.1.2).
GROUND_TRUTH = {"ground_truth", "lazy"}
SCALES = sorted((ROOT / "scales").glob("*.yaml"))
PROMPTS = ROOT / "prompts"
RULES = ROOT / "stages" / "tasks" / "extraction.yaml"


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
        per_task=None,
        answers=inputs["trajectories"],
        **inputs,
    )
    [(_, text)] = feedback.prompts(args)
    return text


def on(tau: Trajectory, text: str | None) -> Feedback:
    """Return a teacher's feedback on an answer."""
    return Feedback(
        item=tau.item,
        suite=tau.suite,
        task=tau.task,
        split=tau.split,
        condition="unconstrained",
        student="tiny",
        teacher="scripted",
        seed=0,
        status="refusal" if text is None else "ok",
        text=text,
        exchange=None,
    )


def params(scale: Path, section: str) -> dict[str, dict[str, object]]:
    return yaml.safe_load(scale.read_text())[section]


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_feedback_prompts(scale: Path, item: Item, tau: Trajectory, tmp_path: Path) -> None:
    before = files(tmp_path / "before", item, tau)
    after = files(tmp_path / "after", item.model_copy(update={"target": "(A)"}), tau)
    for condition, values in params(scale, "conditions").items():
        if "other_feedback" in values["sees"]:
            continue  # the feedback stage cannot render it: see test_borrowed_feedback
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
        per_task=None,
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
            per_task=None,
            environments=None,
            **{role: "smollm2_135m"},
        )
        shown.append(module.conversations(args))
    assert shown[0] == shown[1]


def test_retry_prompt_sees_no_items(item: Item, tau: Trajectory, tmp_path: Path) -> None:
    """Of questions; the items of environments give their opening turn alone (below)."""
    inputs = files(tmp_path / "inputs", item, tau)
    write_jsonl(tmp_path / "feedback.jsonl", [on(tau, "Think of <|im_end|> corks.")])
    args = argparse.Namespace(
        condition="unconstrained",
        student="tiny",
        seed=0,
        items=None,
        environments=None,
        trajectories=inputs["trajectories"],
        feedback=tmp_path / "feedback.jsonl",
        per_task=None,
        template=PROMPTS / "revise" / "retry.jinja",
    )
    [shown] = revise.conversations(args)
    assert [message.role for message in shown.messages] == ["user", "assistant", "user"]
    assert "<|im_end|>" not in shown.messages[-1].content


def asked(module: object, words: str) -> list[Conversation]:
    """Return what a stage would ask, by its command line."""
    return module.conversations(module.parser().parse_args(words.split()))


ENDS = "--model model --out out --calls calls --facts facts"


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_own_feedback(scale: Path, item: Item, tau: Trajectory, tmp_path: Path) -> None:
    [student, *_] = params(scale, "students")
    for condition in yaml.safe_load(scale.read_text())["grid"]["own"]:
        shown = []
        for name, target in (("before", "(B)"), ("after", "(A)")):
            folder = tmp_path / f"{condition}-{name}"
            inputs = files(folder, item.model_copy(update={"target": target}), tau)
            shown += asked(
                feedback,
                f"--own --params {scale} --condition {condition} --student {student} --seed 0"
                f" --items {inputs['items']} --trajectories {inputs['trajectories']}"
                f" --template {PROMPTS}/feedback/{condition}.jinja {ENDS}",
            )
        assert shown[0] == shown[1]


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_a_judge_sees_no_items(scale: Path, tau: Trajectory, tmp_path: Path) -> None:
    """What it is shown is a function of files that no target is in."""
    flags = {action.dest for action in judge.parser()._actions}
    assert not flags & {"items", "answers", "feedback", "rules"}
    write_jsonl(tmp_path / "tau.jsonl", [tau])
    [teacher, *_] = params(scale, "teachers")
    leak = tmp_path / "leak.jinja"
    leak.write_text("The answer is {{ target }}.")
    for verdict in params(scale, "verdicts"):
        command = (
            f"--params {scale} --verdict {verdict} --student tiny --seed 0 --teacher {teacher}"
            f" --trajectories {tmp_path}/tau.jsonl {ENDS} --template "
        )
        [shown] = asked(judge, f"{command}{PROMPTS}/judge/{verdict}.jinja")
        [*_, message] = shown.messages
        assert tau.last.text in message.content
        assert tau.exchanges[0].messages[-1].content in message.content
        with pytest.raises(UserError, match="'target' is undefined"):
            asked(judge, f"{command}{leak}")


def sampled(pool: str, folder: Path) -> list[Conversation]:
    sources = {
        "alone": f"--items {folder}/items.jsonl --template {PROMPTS}/respond/task.jinja",
        "conditioned": f"--condition unconstrained --trajectories {folder}/tau.jsonl --feedback"
        f" {folder}/feedback.jsonl --template {PROMPTS}/revise/retry.jinja",
    }
    return asked(
        sample,
        f"--params {ROOT}/scales/tiny.yaml --student tiny --seed 0 --draw 1 {sources[pool]} {ENDS}",
    )


@pytest.mark.parametrize("pool", ["alone", "conditioned"])
def test_candidates(pool: str, item: Item, tau: Trajectory, tmp_path: Path) -> None:
    shown = []
    for name, target in (("before", "(B)"), ("after", "(A)")):
        files(tmp_path / name, item.model_copy(update={"target": target}), tau)
        write_jsonl(tmp_path / name / "feedback.jsonl", [on(tau, "Think of corks.")])
        shown += sampled(pool, tmp_path / name)
    assert len(shown) == 2
    assert shown[0] == shown[1]


@pytest.mark.parametrize("pool", ["alone", "conditioned"])
@pytest.mark.parametrize("by", ["logits", "student", "teacher"])
def test_a_selector_sees_no_items(
    by: str, pool: str, item: Item, tau: Trajectory, tmp_path: Path
) -> None:
    flags = {action.dest for action in select.parser()._actions}
    assert not flags & {"items", "answers", "rules"}
    folder = tmp_path / "inputs"
    files(folder, item, tau)
    write_jsonl(folder / "feedback.jsonl", [on(tau, "Think of corks.")])
    [question] = sampled(pool, folder)
    conditioned = {"condition": "unconstrained", "feedback": "Think of corks."}
    for draw, text in enumerate(("Cork. Answer: (B)", "Brick. Answer: (A)")):
        reply = Completion(text=text, finish_reason="stop")
        exchange = tau.exchanges[0].model_copy(
            update={"messages": question.messages, "reply": reply}
        )
        update = {"exchanges": (exchange,), "draw": draw}
        update |= conditioned if pool == "conditioned" else {}
        write_jsonl(tmp_path / f"{draw}.jsonl", [tau.model_copy(update=update)])
    slug = {"logits": "student_logits"}.get(by, f"{by}_choice")
    command = (
        f"--by {by} --selector {slug} --params {ROOT}/scales/tiny.yaml --student tiny --seed 0"
        f" --teacher scripted --candidates {tmp_path}/{{draw}}.jsonl {ENDS} --template "
    )
    shown = asked(select, f"{command}{PROMPTS}/select/choice.jinja")
    text = "".join(message.content for one in shown for message in one.messages)
    assert ("Think of corks." in text) == (pool == "conditioned" and by != "logits")
    if by == "logits":
        # Two replies to what the task alone shows.
        assert [one.messages for one in shown] == [shown[0].messages] * 2
        assert [message.role for message in shown[0].messages] == ["user"]
        return
    assert "Cork. Answer: (B)" in text
    assert "Brick. Answer: (A)" in text
    leak = tmp_path / "leak.jinja"
    leak.write_text("The answer is {{ target }}.")
    with pytest.raises(UserError, match="'target' is undefined"):
        asked(select, f"{command}{leak}")


def borrowed(folder: Path, template: Path) -> list[Feedback]:
    words = (
        f"--params {ROOT}/scales/tiny.yaml --condition another_item --student tiny --seed 0"
        f" --items {folder}/items.jsonl --rules {RULES} --trajectories {folder}/tau.jsonl"
        f" --feedback {folder}/feedback.jsonl --template {template} --out out"
    )
    return borrow.borrowed(borrow.parser().parse_args(words.split()))


def test_borrowed_feedback(item: Item, tau: Trajectory, tmp_path: Path) -> None:
    """Who is paired depends on which answers are right; each stays wrong, whatever the target."""
    options = {"(A)": "a brick", "(B)": "a cork", "(C)": "a leaf"}
    items = [
        item.model_copy(update={"id": f"bbh/{task}/{n}", "task": task, "options": options})
        for task, count in (("own", 5), ("lone", 1))
        for n in range(count)
    ]
    taus = [tau.model_copy(update={"item": one.id, "task": one.task}) for one in items]
    texts: list[str | None] = [f"On item {n}." for n in range(len(items))]
    texts[2] = None
    template = PROMPTS / "feedback" / "another_item.jinja"
    given = []
    for name, target in (("before", "(B)"), ("after", "(C)")):
        folder = tmp_path / name
        folder.mkdir()
        changed = [one.model_copy(update={"target": target}) for one in items]
        write_jsonl(folder / "items.jsonl", changed)
        write_jsonl(folder / "tau.jsonl", taus)
        pairs = zip(taus, texts, strict=True)
        write_jsonl(folder / "feedback.jsonl", [on(one, text) for one, text in pairs])
        given.append(borrowed(folder, template))
    assert given[0] == given[1]
    on_item = dict(zip((one.id for one in items), texts, strict=True))
    for record in given[0]:
        if record.item == items[2].id:
            assert (record.source, record.text, record.status) == (None, None, "error")
            continue
        assert record.source is not None
        assert record.text == on_item[record.source]
        assert record.text != on_item[record.item]
    # The test can see a leak.
    leak = tmp_path / "leak.jinja"
    leak.write_text("The answer is {{ target }}.")
    with pytest.raises(UserError, match="'target' is undefined"):
        borrowed(tmp_path / "before", leak)
    # A right answer borrows of right ones only; here there is no other.
    solved = [items[0].model_copy(update={"target": "(A)"}), *items[1:]]
    write_jsonl(tmp_path / "before" / "items.jsonl", solved)
    [first, *others] = borrowed(tmp_path / "before", template)
    assert (first.source, first.text) == (None, None)
    assert all(record.source != items[0].id for record in others)


def test_the_feedback_stage_cannot_lend(item: Item, tau: Trajectory, tmp_path: Path) -> None:
    inputs = files(tmp_path / "inputs", item, tau)
    with pytest.raises(UserError, match="'other_feedback' is undefined"):
        feedback_prompt(ROOT / "scales" / "tiny.yaml", "another_item", inputs)
