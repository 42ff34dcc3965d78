"""`python -m stages.show`: the exact text that each step would get, without running a model.

Covered: on the tiny scale, prepared by the command lines of dvc.yaml, for every condition: steps
and their order, the chat template, what stands in for steps that have not run, what is shown of
those that have, who sees the target; a game; mistakes. Not covered: the wording (test_prompts.py).
"""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copy_checkout

from stages import show
from stages.conversation import opening
from stages.pipeline import cell_arguments
from stages.records import Completion, Exchange, Feedback, Item, Trajectory, read_jsonl, write_jsonl

NOT_RUN = "<<what the model answers here: this step has not run>>"
NO_FEEDBACK = "<<the teacher's feedback: this step has not run>>"
TURN = "<|im_start|>user\n"
END = "<|im_end|>\n"


def run(folder: Path, module: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", f"stages.{module}", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout at the tiny scale with its models and items; nothing has been asked."""
    folder = copy_checkout(tmp_path_factory.mktemp("show"))
    scale = folder / "scales" / "tiny.yaml"
    (folder / "params.yaml").write_bytes(scale.read_bytes())
    for module, axes in (
        ("fetch", {"model": "tiny"}),
        ("fetch", {"model": "scripted"}),
        ("download", {"suite": "bbh"}),
        ("prepare", {"suite": "bbh"}),
        ("download", {"suite": "games"}),
        ("prepare_games", {"suite": "games"}),
    ):
        words = cell_arguments(folder / "dvc.yaml", scale, module, **axes)
        done = run(folder, module.removesuffix("_games"), *words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def item(house: Path, monkeypatch: pytest.MonkeyPatch) -> Item:
    """An item whose target is no word of a prompt: a number of several digits."""
    monkeypatch.chdir(house)
    items = read_jsonl(Path("data/tasks/bbh/test.jsonl"), Item)
    return next(one for one in items if one.family == "integer" and len(one.target) > 2)


def shown(
    capsys: pytest.CaptureFixture[str], item: Item, condition: str, *more: str
) -> dict[str, str]:
    """Return the text under each heading of the output."""
    show.main(show.parser().parse_args([item.id, condition, *more]))
    output = capsys.readouterr().out
    assert output.startswith("=== ")
    steps = {}
    for part in ("\n" + output).split("\n=== ")[1:]:
        heading, _, text = part.partition("\n")
        steps[heading] = text.rstrip("\n")
    return steps


def test_unconstrained(item: Item, capsys: pytest.CaptureFixture[str]) -> None:
    steps = shown(capsys, item, "unconstrained")
    assert list(steps) == [
        "respond: the student answers (models/tiny)",
        "feedback: the teacher (models/scripted)",
        "revise: the student, given COMBINE(i, tau_i, f) (models/tiny)",
    ]
    task, feedback, retry = steps.values()
    assert task.startswith(TURN + item.question)
    assert task.endswith(f"{item.answer_format}.{END}<|im_start|>assistant")
    # A served model has a template of its own: the messages, by role.
    assert feedback.startswith("[user]\n")
    assert item.question in feedback
    assert NOT_RUN in feedback
    assert "<|im_start|>" not in feedback
    # COMBINE: what was asked, what was answered, and the feedback in the retry prompt.
    assert retry.startswith(f"{task}\n{NOT_RUN}{END}{TURN}")
    assert NO_FEEDBACK in retry
    assert retry.count("<|im_start|>") == 4
    assert retry.endswith(f"{END}<|im_start|>assistant")
    assert all(item.target not in text for text in steps.values())


def test_teacher_answer(item: Item, capsys: pytest.CaptureFixture[str]) -> None:
    steps = shown(capsys, item, "teacher_answer")
    assert [heading.split(":")[0] for heading in steps] == [
        "respond", "answer", "feedback", "revise",
    ]  # fmt: skip
    task, alone, feedback, _ = steps.values()
    # The teacher gets the same task by itself, and then both answers.
    assert f"[user]\n{task.removeprefix(TURN).split(END)[0]}" == alone
    assert feedback.count(NOT_RUN) == 2
    assert all(item.target not in text for text in steps.values())


def test_lazy(item: Item, capsys: pytest.CaptureFixture[str]) -> None:
    steps = shown(capsys, item, "lazy")
    assert list(steps)[1] == "feedback: nobody is asked, this is the feedback"
    task, told, retry = steps.values()
    assert item.target not in task
    assert item.target in told
    assert told in retry
    assert NO_FEEDBACK not in retry


@pytest.mark.parametrize(
    ("condition", "asked"), [("unconstrained", True), ("teacher_answer", True), ("lazy", False)]
)
def test_games(condition: str, asked: bool, item: Item, capsys: pytest.CaptureFixture[str]) -> None:
    """Their feedback is under the condition of their lessons; some of it nobody is asked for."""
    text = Path("params.yaml").read_text(encoding="utf-8")
    old = "  games:\n    condition: unconstrained"
    assert old in text
    params = Path("games.yaml")
    params.write_text(text.replace(old, f"  games:\n    condition: {condition}"), encoding="utf-8")
    games = read_jsonl(Path("data/tasks/games/test.jsonl"), Item)
    game = next(one for one in games if one.task == "hilo")
    steps = shown(capsys, game, condition, "--params", "games.yaml")
    teacher = "feedback: the teacher (models/scripted)"
    told = "feedback: nobody is asked, this is the feedback"
    assert list(steps) == [
        "respond: the student answers (models/tiny)",
        *(["answer: the teacher by itself (models/scripted)"] * (condition == "teacher_answer")),
        teacher if asked else told,
        "revise: the student, given COMBINE(i, tau_i, f) (models/tiny)",
    ]
    assert (game.target in steps[told]) if not asked else (NO_FEEDBACK in list(steps.values())[-1])


def test_controls(item: Item, capsys: pytest.CaptureFixture[str]) -> None:
    steps = shown(capsys, item, "self_feedback")
    assert list(steps)[1] == "feedback: the student itself (models/tiny)"
    _, own, retry = steps.values()
    assert own.startswith(TURN)
    assert NOT_RUN in own
    assert NO_FEEDBACK in retry
    steps = shown(capsys, item, "another_item")
    assert list(steps)[1] == "feedback: nobody is asked, this is the feedback on another item"
    _, borrowed, retry = steps.values()
    assert borrowed == "<<the feedback on another item: this step has not run>>"
    assert borrowed in retry


def test_what_has_run_is_shown_as_it_is(
    item: Item, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = read_jsonl(Path("data/tasks/bbh/test.jsonl"), Item)
    taus = [
        Trajectory(
            item=one.id,
            suite=one.suite,
            task=one.task,
            split=one.split,
            model="tiny",
            seed=0,
            exchanges=(
                Exchange(
                    messages=opening(None, f"What is in place {place}?"),
                    reply=Completion(text=f"I guess {place}.", finish_reason="stop"),
                ),
            ),
        )
        for place, one in enumerate(items)
    ]
    place = items.index(item)
    feedback = Feedback(
        item=item.id,
        suite=item.suite,
        task=item.task,
        split=item.split,
        condition="unconstrained",
        student="tiny",
        teacher="scripted",
        seed=0,
        status="ok",
        text="Count once more.",
        exchange=None,
    )
    answers = Path("data/respond/bbh/tiny-0.jsonl")
    given = Path("data/feedback/bbh/unconstrained-tiny-0.jsonl")
    try:
        write_jsonl(answers, taus)
        write_jsonl(given, [feedback])
        _, teacher, retry = shown(capsys, item, "unconstrained").values()
        assert f"What is in place {place}?" in teacher
        assert f"I guess {place}." in teacher
        assert teacher.count("I guess") == 1
        assert f"I guess {place}.{END}" in retry
        assert "Count once more." in retry
        assert "has not run" not in teacher + retry

        # Where a feedback failed, the original answer stands.
        write_jsonl(given, [feedback.model_copy(update={"status": "refusal", "text": None})])
        steps = shown(capsys, item, "unconstrained")
        assert steps["revise: the original stands, the feedback was refusal"] == ""
        # Where the student's own answer failed, there is nothing to say on it.
        given.unlink()
        failed = Completion(text="", finish_reason="error", detail="timeout")
        lost = taus[place].exchanges[0].model_copy(update={"reply": failed})
        write_jsonl(answers, [taus[place].model_copy(update={"exchanges": (lost,)})])
        for condition in ("unconstrained", "lazy", "self_feedback", "another_item"):
            steps = shown(capsys, item, condition)
            assert list(steps.values())[1].startswith("<<nothing: ")
            assert steps["revise: the original stands, the feedback was error"] == ""
        # Another seed has not run.
        assert NOT_RUN in shown(capsys, item, "unconstrained", "--seed", "1").popitem()[1]
    finally:
        answers.unlink()
        given.unlink(missing_ok=True)


def test_nothing_is_written_and_nobody_asked(
    item: Item, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher's address leads nowhere, and the folder stays as it is."""
    before = sorted(house.rglob("*"))
    for condition in ("unconstrained", "teacher_answer", "lazy"):
        shown(capsys, item, condition)
    assert sorted(house.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bbh/own/1", "lazy"), "data/tasks/bbh/test.jsonl: no item bbh/own/1"),
        (("other/own/1", "lazy"), "data/tasks/other/test.jsonl: no such file"),
        (("{item}", "idle"), "params.yaml: no condition idle"),
        (("{item}", "lazy", "--student", "huge"), "params.yaml: students.huge: not there"),
        (("{item}", "lazy", "--params", "x.yaml"), "x.yaml: no such file"),
        (("{item}", "lazy", "--pipeline", "x.yaml"), "x.yaml: no such file"),
    ],
)
def test_mistakes(item: Item, house: Path, words: tuple[str, ...], message: str) -> None:
    done = run(house, "show", *(word.format(item=item.id) for word in words))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {message}\n"
