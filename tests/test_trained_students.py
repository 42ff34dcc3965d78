"""Who learns and who is asked: train items, a model for each environment, the trained student.

Covered: feedback and retries on a few items of each task, feedback that nobody is asked for where
params say so, the teacher in the place of the student, a folder of models that answer as one, the
answers of a trained student with the prompts and random numbers of the baseline, the scores of
trained students and of train items. Not covered: training (test_train.py), what is trained on
(test_pairs.py).
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from stages import evaluate, feedback, respond, revise, score
from stages.errors import UserError
from stages.fetching import make_folder
from stages.few import add_per_task, first_of_tasks
from stages.model_specs import LocalSpec, TinySource
from stages.models.card import EnvironmentsCard, write_card
from stages.models.chat import Conversation, Sampling
from stages.models.environments import EnvironmentsModel
from stages.models.open import open_model
from stages.records import (
    Completion,
    Exchange,
    Feedback,
    Item,
    Message,
    Score,
    Trajectory,
    read_jsonl,
    write_jsonl,
)

GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_new_tokens=6)


def item(task: str, index: int, target: str = "Yes") -> Item:
    return Item(
        id=f"bbh/{task}/{index}",
        suite="bbh",
        task=task,
        split="train",
        index=index,
        question=f"Is {index} a number?",
        answer_format="Yes or No",
        family="yes_no",
        options={},
        target=target,
    )


ITEMS = [item(task, index) for task in ("apples", "pears") for index in range(3)]


def tau(of: Item, text: str = "Answer: No", **more: Any) -> Trajectory:
    messages = (Message(role="user", content=of.question),)
    reply = Completion(text=text, finish_reason="stop")
    return Trajectory(
        item=of.id, suite="bbh", task=of.task, split="train", model="tiny", seed=0,
        exchanges=(Exchange(messages=messages, reply=reply),), **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two model folders with different random weights."""
    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("models") / str(seed)
        folder.mkdir()
        spec = LocalSpec(engine="transformers", source=TinySource(kind="tiny", seed=seed))
        make_folder("tiny", spec, folder)
        folders.append(folder)
    return folders


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "items.jsonl", ITEMS)
    write_jsonl(tmp_path / "taus.jsonl", [tau(of) for of in ITEMS])
    return tmp_path


def outputs(folder: Path, name: str) -> list[str]:
    return [
        *("--out", str(folder / f"{name}.jsonl"), "--calls", str(folder / f"{name}.calls.jsonl")),
        *("--facts", str(folder / f"{name}.facts.json")),
    ]


def feedback_args(folder: Path, condition: str, *more: str) -> list[str]:
    return [
        *("--params", str(ROOT / "scales" / "tiny.yaml"), "--condition", condition),
        *("--student", "tiny", "--seed", "0", "--items", str(folder / "items.jsonl")),
        *("--trajectories", str(folder / "taus.jsonl")),
        *("--template", str(ROOT / "prompts" / "feedback" / f"{condition}.jinja")),
        *("--teacher", "scripted", "--model", str(folder / "no-such-model"), "--unless-told"),
        *outputs(folder, "feedback"),
        *more,
    ]


def test_few_of_each_task_in_their_order() -> None:
    taus = [tau(of) for of in ITEMS]
    assert [t.item for t in first_of_tasks(taus, 2)] == [of.id for of in ITEMS if of.index < 2]
    assert first_of_tasks(taus, None) == taus
    assert first_of_tasks([], 2) == []


def test_how_many_of_each_task(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_per_task(parser)
    assert parser.parse_args([]).per_task is None
    assert parser.parse_args(["--per-task", "all"]).per_task is None
    assert parser.parse_args(["--per-task", "2"]).per_task == 2
    for wrong in ("0", "-1", "1.5", "some"):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--per-task={wrong}"])
        assert "invalid per_task value" in capsys.readouterr().err


def test_told_feedback_asks_nobody_and_writes_all_its_outputs(files: Path) -> None:
    args = feedback.parser().parse_args(feedback_args(files, "lazy", "--per-task", "2"))
    assert feedback.conversations(args) == []
    feedback.main(args)  # the model folder is not there: it is not opened
    records = read_jsonl(files / "feedback.jsonl", Feedback)
    assert [record.item for record in records] == [of.id for of in ITEMS if of.index < 2]
    assert {record.teacher for record in records} == {None}
    assert all("Yes" in str(record.text) for record in records)
    assert (files / "feedback.calls.jsonl").read_text() == ""
    assert "cell" in json.loads((files / "feedback.facts.json").read_text())


def test_feedback_that_is_asked_for_asks_about_a_few(files: Path) -> None:
    args = feedback.parser().parse_args(feedback_args(files, "unconstrained", "--per-task", "1"))
    asked = feedback.conversations(args)
    assert [c.id.rsplit("/", 2)[1:] for c in asked] == [["apples", "0"], ["pears", "0"]]
    with pytest.raises(UserError, match="no-such-model"):
        feedback.main(args)


def test_the_teacher_tries_in_the_students_place(files: Path, tiny: list[Path]) -> None:
    feedback.main(feedback.parser().parse_args(feedback_args(files, "lazy", "--per-task", "1")))
    common = [
        *("--params", str(files / "params.yaml"), "--seed", "0", "--condition", "lazy"),
        *("--trajectories", str(files / "taus.jsonl"), "--per-task", "1"),
        *("--feedback", str(files / "feedback.jsonl")),
        *("--template", str(ROOT / "prompts" / "revise" / "retry.jinja")),
    ]
    text = (ROOT / "scales" / "tiny.yaml").read_text()
    (files / "params.yaml").write_text(text)
    retries: dict[str, list[Trajectory]] = {}
    for role, slug, model in (("student", "tiny", tiny[0]), ("teacher", "scripted", tiny[1])):
        own = [f"--{role}", slug, "--model", str(model), *outputs(files, role)]
        args = revise.parser().parse_args([*common, *own])
        revise.main(args)
        retries[role] = read_jsonl(files / f"{role}.jsonl", Trajectory)
    student, teacher = retries["student"], retries["teacher"]
    assert [t.item for t in student] == [t.item for t in teacher]
    assert len(student) == 2
    assert {t.model for t in student} == {"tiny"}
    assert {t.model for t in teacher} == {"scripted"}
    # Both are given the same conversation, COMBINE's, and answer differently.
    for ours, theirs in zip(student, teacher, strict=True):
        assert ours.exchanges[0].messages == theirs.exchanges[0].messages
        assert ours.last.text != theirs.last.text
    both = ["--student", "tiny", "--teacher", "scripted", "--model", "x", *outputs(files, "x")]
    with pytest.raises(SystemExit):
        revise.parser().parse_args([*common, *both])


def conversation(environment: str | None, content: str) -> Conversation:
    return Conversation(
        id=content, messages=(Message(role="user", content=content),), seed=0,
        environment=environment,
    )  # fmt: skip


def test_models_of_several_environments_answer_as_one(tmp_path: Path, tiny: list[Path]) -> None:
    for name, folder in zip(("apples", "pears"), tiny, strict=True):
        shutil.copytree(folder, tmp_path / "m" / name)
    write_card(tmp_path / "m", EnvironmentsCard(environments=("apples", "pears")))
    model = open_model(tmp_path / "m")
    assert isinstance(model, EnvironmentsModel)
    asked = [
        conversation(environment, content)
        for content in ("one", "two") for environment in ("apples", "pears")
    ]  # fmt: skip
    replies = model.generate(asked, GREEDY)
    scores = model.score(asked, [reply.text for reply in replies])
    for own, folder in zip(("apples", "pears"), tiny, strict=True):
        alone = open_model(folder)
        places = [place for place, c in enumerate(asked) if c.environment == own]
        mine = [asked[place] for place in places]
        expected = alone.generate(mine, GREEDY)
        assert [replies[place].text for place in places] == [reply.text for reply in expected]
        found = alone.score(mine, [reply.text for reply in expected])
        assert [scores[place] for place in places] == found
    assert len({reply.text for reply in replies}) > 1
    assert model.facts()["models"] == "2"
    assert model.render(asked[1]) == open_model(tiny[1]).render(asked[1])
    assert model.answers(asked, GREEDY) == []
    for missing in ("plums", None):
        with pytest.raises(UserError, match=f"no model of the environment {missing}"):
            model.generate([conversation(missing, "three")], GREEDY)


def test_a_trained_student_is_asked_as_before(files: Path, tiny: list[Path]) -> None:
    """With the same weights the answers are the baseline's, so what differs is the training."""
    common = [
        *("--params", str(ROOT / "scales" / "tiny.yaml"), "--seed", "0"),
        *("--items", str(files / "items.jsonl")),
        *("--template", str(ROOT / "prompts" / "respond" / "task.jinja")),
    ]
    first = ["--student", "tiny", "--model", str(tiny[0]), *outputs(files, "respond")]
    respond.main(respond.parser().parse_args([*common, *first]))
    baseline = read_jsonl(files / "respond.jsonl", Trajectory)
    found = []
    for name, model in (("same", tiny[0]), ("other", tiny[1])):
        own = ["--learner", "tiny", "--method", "feedback_sft", "--model", str(model)]
        args = evaluate.parser().parse_args([*common, *own, *outputs(files, name)])
        evaluate.main(args)
        found.append(read_jsonl(files / f"{name}.jsonl", Trajectory))
    same, other = found
    assert {t.method for t in same} == {"feedback_sft"}
    assert [t.exchanges for t in same] == [t.exchanges for t in baseline]
    assert [t.exchanges for t in other] != [t.exchanges for t in baseline]


def test_scores_of_every_trained_student(files: Path) -> None:
    args = [
        *("--params", str(ROOT / "scales" / "tiny.yaml"), "--items", str(files / "items.jsonl")),
        *("--rules", str(ROOT / "stages" / "tasks" / "extraction.yaml")),
        *("--trajectories", str(files / "e" / "{learner}-{method}-{seed}.jsonl")),
        *("--out", str(files / "scores.jsonl")),
    ]
    second = "tiny-bbh-feedback_sft_cleaned-0"
    cells = [
        ("tiny", "feedback_dpo"), ("tiny", "feedback_sft_cleaned"), (second, "feedback_dpo"),
        (second, "feedback_sft_cleaned"), ("tiny", "following_sft"),
    ]  # fmt: skip
    for learner, method in cells:
        taus = [
            tau(of, "Answer: Yes", method=method).model_copy(update={"model": learner})
            for of in ITEMS
        ]
        write_jsonl(files / "e" / f"{learner}-{method}-0.jsonl", taus)
    score.main(score.parser().parse_args(["--step", "evaluate", *args]))
    rows = read_jsonl(files / "scores.jsonl", Score)
    assert sorted({(row.model, row.method) for row in rows}) == sorted(cells)
    assert len(rows) == len(cells) * len(ITEMS)
    assert {row.step for row in rows} == {"evaluate"}
    score.main(score.parser().parse_args(["--step", "revise_tuned", *args]))
    rows = read_jsonl(files / "scores.jsonl", Score)
    assert {(row.model, row.method) for row in rows} == {("tiny", "following_sft")}
    (files / "e" / f"{second}-feedback_dpo-0.jsonl").unlink()
    with pytest.raises(UserError, match=rf"{second}-feedback_dpo-0.jsonl: no such file"):
        score.main(score.parser().parse_args(["--step", "evaluate", *args]))


def test_scores_of_what_is_learnt_from(files: Path) -> None:
    args = [
        *("--params", str(ROOT / "scales" / "tiny.yaml"), "--step", "lessons"),
        *("--items", str(files / "items.jsonl")),
        *("--rules", str(ROOT / "stages" / "tasks" / "extraction.yaml")),
        *("--trajectories", str(files / "{step}" / "{cell}.jsonl")),
        *("--out", str(files / "scores.jsonl")),
    ]
    second = "tiny-bbh-feedback_sft_cleaned-0"
    cells = [
        *(("respond_train", who, None, "No") for who in ("tiny", second)),
        *(("revise_train", who, "lazy", "Yes") for who in ("tiny", second)),
        ("answer_train", "scripted", None, "Yes"),
    ]
    for step, who, condition, answer in cells:
        name = who if step == "answer_train" else f"{who}-0"
        taus = [tau(of, f"Answer: {answer}", condition=condition) for of in ITEMS]
        taus = [each.model_copy(update={"model": who}) for each in taus]
        write_jsonl(files / step / f"{name}.jsonl", taus)
    score.main(score.parser().parse_args(args))
    rows = read_jsonl(files / "scores.jsonl", Score)
    assert [(row.step, row.model, row.condition, row.strict) for row in rows] == [
        (step, who, condition, answer) for step, who, condition, answer in cells
        for _ in ITEMS
    ]  # fmt: skip
    assert [row.item for row in rows] == [of.id for of in ITEMS] * len(cells)
    assert [row.solved for row in rows] == [row.step != "respond_train" for row in rows]
    assert {row.split for row in rows} == {"train"}
    (files / "answer_train" / "scripted.jsonl").unlink()
    with pytest.raises(UserError, match=r"scripted.jsonl: no such file"):
        score.main(score.parser().parse_args(args))


def test_scores_of_what_following_is_learnt_from(files: Path) -> None:
    """They are on the first items of each task, on all of those and on nothing else."""
    few = first_of_tasks(ITEMS, 2)
    assert few != ITEMS
    args = [
        *("--params", str(ROOT / "scales" / "tiny.yaml"), "--step", "following"),
        *("--per-task", "2"),
        *("--items", str(files / "items.jsonl")),
        *("--rules", str(ROOT / "stages" / "tasks" / "extraction.yaml")),
        *("--trajectories", str(files / "{step}" / "{cell}.jsonl")),
        *("--out", str(files / "scores.jsonl")),
    ]
    for step in ("revise_following", "revise_teacher"):
        taus = [tau(of, "Answer: Yes", condition="unconstrained") for of in few]
        write_jsonl(files / step / "tiny-0.jsonl", taus)
    score.main(score.parser().parse_args([*args, "--student", "tiny"]))
    rows = read_jsonl(files / "scores.jsonl", Score)
    assert [(row.step, row.item, row.solved) for row in rows] == [
        (step, of.id, True) for step in ("revise_following", "revise_teacher") for of in few
    ]
    with pytest.raises(UserError, match="--student belongs to --step following"):
        score.main(score.parser().parse_args(args))
    odd = taus[0].model_copy(update={"item": "bbh/none/0"})
    for wrong in ([*taus, odd], taus[:-1]):
        write_jsonl(files / "revise_teacher" / "tiny-0.jsonl", wrong)
        with pytest.raises(UserError, match=r"revise_teacher/tiny-0\.jsonl: not the items of"):
            score.main(score.parser().parse_args([*args, "--student", "tiny"]))
