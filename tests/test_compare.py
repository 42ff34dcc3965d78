"""`python -m stages.compare`: any two cells, paired.

Covers: how cells are named, which scores they hold, the figures and the flips by a hand example,
revisions of a git repository, mistakes. The name of a DVC experiment: test_tiny_run.py. Does not
cover: the statistics themselves (test_stats.py).
"""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from stages.compare import Cell, main, parse_cell, parser
from stages.errors import UserError
from stages.records import Score, write_jsonl


def score(item: str, right: bool, **more: object) -> Score:
    values: dict[str, object] = {
        "step": "respond",
        "suite": "bbh",
        "task": item[0],
        "item": item,
        "split": "test",
        "model": "small",
        "condition": None,
        "seed": 0,
        "outcome": "correct" if right else "incorrect",
        "score": float(right),
        "solved": right,
        "strict": "(A)" if right else "(B)",
        "tolerant": None,
        "tolerant_score": 0.0,
        "cues": 1,
        "finish_reason": "stop",
        "empty": False,
        "kept_original": None,
        "flags": (),
        "prompt_tokens": 1,
        "completion_tokens": 1,
    }
    return Score(**(values | more))  # type: ignore[arg-type]


ITEMS = ("a1", "a2", "b1", "b2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    first = dict(zip(ITEMS, (True, False, False, False), strict=True))
    second = dict(zip(ITEMS, (False, True, True, False), strict=True))
    write_jsonl(tmp_path / "respond.jsonl", [score(i, right) for i, right in first.items()])
    retries = [score(i, right, condition="lazy") for i, right in second.items()]
    other = [score(i, True, condition="lazy", model="large") for i in ITEMS]
    write_jsonl(tmp_path / "revise.jsonl", [*retries, *other])
    samples = [
        score(i, draw == 1, draw=draw, condition=condition, seed=seed)
        for condition in (None, "lazy")
        for draw in (0, 1)
        for seed in (0, 1)
        for i in ITEMS
    ]
    write_jsonl(tmp_path / "sample.jsonl", samples)
    return tmp_path


def compared(folder: Path, first: str, second: str, capsys: pytest.CaptureFixture[str]) -> str:
    main(parser().parse_args([first, second, "--scores", str(folder), "--draws", "500"]))
    return capsys.readouterr().out


def test_by_hand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = compared(folder, "respond/small", "revise/lazy/small", capsys)
    assert "A  0.250  respond/small\n" in text
    assert "B  0.500  revise/lazy/small\n" in text
    # Three of four flipped, two for the better: p = 1 by McNemar.
    assert "B - A  +0.250 [" in text
    assert "4 items of 2 subtasks; exact McNemar test: p = 1.000" in text
    assert "better in B: 2\n  a2  (B) -> (A)\n  b1  (B) -> (A)\n" in text
    assert text.endswith("worse in B: 1\n  a1  (A) -> (B)\n")
    assert "\nincorrect  2        1          0         0        0\n" in text


def test_seeds_are_averaged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = compared(folder, "sample/alone/small/0", "sample/conditioned/small/1", capsys)
    assert "+1.000" in text
    assert "a1  (B) | (B) -> (A) | (A)" in text
    text = compared(folder, "sample/alone/small/0/1", "sample/alone/small/1/0", capsys)
    assert "a1  (B) -> (A)" in text


def test_after_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = [
        score(i, method == "feedback_sft", step="evaluate", method=method)
        for method in ("feedback_sft", "imitative_sft")
        for i in ITEMS
    ]
    write_jsonl(folder / "evaluate.jsonl", trained)
    text = compared(folder, "evaluate/imitative_sft/small", "evaluate/feedback_sft/small", capsys)
    assert "B - A  +1.000" in text
    text = compared(folder, "respond/small", "evaluate/imitative_sft/small/0", capsys)
    assert "B - A  -0.250" in text
    retries = [score(i, True, condition="lazy", method="following_sft") for i in ITEMS]
    write_jsonl(folder / "revise_tuned.jsonl", retries)
    name = "revise_tuned/following_sft/small"
    assert "B  1.000" in compared(folder, "respond/small", name, capsys)


def test_names_of_cells() -> None:
    assert parse_cell("respond/small") == Cell(None, "respond", {"student": "small"})
    assert parse_cell("HEAD~1:revise/lazy/small/2") == Cell(
        "HEAD~1", "revise", {"condition": "lazy", "student": "small", "seed": "2"}
    )
    assert parse_cell("select/alone/teacher_choice/small").axes["selector"] == "teacher_choice"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train/small", "the steps are"),
        ("revise/small", "revise takes CONDITION/STUDENT"),
        ("answer/tutor/0", "answer takes STUDENT"),
        ("respond/nobody", "no such scores"),
        ("select/alone/x/small", "no such file"),
    ],
)
def test_mistakes(
    name: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=message):
        compared(folder, "respond/small", name, capsys)


def test_other_items(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(folder / "answer.jsonl", [score("a1", True, model="tutor")])
    with pytest.raises(UserError, match="not over the same items"):
        compared(folder, "respond/small", "answer/tutor", capsys)


def test_revisions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(*words: str) -> str:
        done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout

    for words in (
        ("git", "init", "-q"),
        (sys.executable, "-m", "dvc", "init", "-q"),
        ("git", "config", "user.name", "Test"),
        ("git", "config", "user.email", "test@example.org"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "Before"),
    ):
        command(*words)
    write_jsonl(folder / "respond.jsonl", [score(i, True) for i in ITEMS])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    flags = ("--scores", ".", "--draws", "500")
    text = command(
        sys.executable, "-m", "stages.compare", "HEAD:respond/small", "respond/small", *flags
    )
    assert "A  0.250" in text
    assert "B  1.000" in text
    failed = subprocess.run(
        [sys.executable, "-m", "stages.compare", "nowhere:respond/small", "respond/small", *flags],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert failed.stderr == "error: nowhere: no such revision or experiment\n"
