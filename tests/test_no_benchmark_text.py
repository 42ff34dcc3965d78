"""Promise 7: no benchmark item's text is in git.

Covered: every file that git tracks or would track, as it is in the working tree, against all
questions of the BBH release (where it is at hand, DATA_MIRROR) and all items that were prepared
here (where there are any): long questions whole, and their long lines one by one; canary lines.
Short questions are not looked for, nor single words of an item, nor text that was reworded.
"""

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import ROOT, would_track

from stages.records import Item, read_jsonl

# Shorter ones are such as anyone could write.
QUESTION, LINE = 40, 60
# What BIG-bench and other benchmarks put into their files, so that they can be found in corpora.
CANARY = re.compile(r"canary\W{1,3}guid|benchmark\W+data\W+should\W+never", re.IGNORECASE)


def squeezed(text: str) -> str:
    """Return the text as one line of single spaces, without what JSON, TeX or CSV put into it."""
    return " ".join(re.sub(r"\\[nrt]|[\\\"']", " ", text).split())


def distinctive(questions: Iterable[str]) -> set[str]:
    """Return what to look for: long questions, and long lines of any."""
    found = set()
    for question in questions:
        whole = squeezed(question)
        if len(whole) >= QUESTION:
            found.add(whole)
        found |= {line for line in map(squeezed, question.split("\n")) if len(line) >= LINE}
    return found


def offenders(files: Iterable[Path], texts: set[str]) -> list[str]:
    """Return, for each file with a text or a canary in it, its name and what was found."""
    # Only texts whose first characters occur in the file at all are looked for in full.
    by_start: dict[str, list[str]] = {}
    for text in texts:
        by_start.setdefault(text[:QUESTION], []).append(text)
    found = []
    for file in files:
        content = file.read_text(encoding="utf-8", errors="replace")
        if canary := CANARY.search(content):
            found.append(f"{file}: {canary[0]}")
        content = squeezed(content)
        starts = {content[at : at + QUESTION] for at in range(len(content))} & by_start.keys()
        found += [
            f"{file}: {text[:20]}..."
            for start in sorted(starts)
            for text in by_start[start]
            if text in content
        ]
    return found


def released(mirror: Path) -> list[str]:
    return [
        example["input"]
        for path in sorted((mirror / "bbh").glob("*.json"))
        for example in json.loads(path.read_text(encoding="utf-8"))["examples"]
    ]


def test_no_question_of_the_release(mirror: Path) -> None:
    questions = released(mirror)
    assert len(questions) == 6511
    texts = distinctive(questions)
    assert len(texts) > 6000
    files = would_track(ROOT)
    assert len(files) > 50
    assert offenders(files, texts) == []


def test_no_item_that_was_prepared_here() -> None:
    prepared = sorted((ROOT / "data" / "tasks").glob("*/*.jsonl"))
    if not prepared:
        pytest.skip("no items are prepared here: dvc repro prepare")
    texts = distinctive(item.question for path in prepared for item in read_jsonl(path, Item))
    assert texts
    assert offenders(would_track(ROOT), texts) == []


def test_no_canary() -> None:
    assert offenders(would_track(ROOT), set()) == []


# An item of our own, with a short line, a long one and a quotation in it.
OWN = (
    'Wren said "mind the kettle" and left.\n'
    "Which of the following had she most probably put on the stove before she left?\n"
    "Options:\n(A) a kettle\n(B) a cat"
)


@pytest.mark.parametrize(
    "content",
    [
        OWN,
        json.dumps({"question": OWN, "target": "(A)"}),
        "% " + OWN.replace("\n", "\n% ").split("\n")[1],
        'text,"' + OWN.replace('"', '""') + '",1\n',
        "def test() -> None:\n    question = " + repr(OWN),
        "    " + OWN.replace("\n", "\n    "),
        "# CANARY " + "GUID 0000",
    ],
)
def test_an_item_is_found(tmp_path: Path, content: str) -> None:
    texts = distinctive([OWN, "too short"])
    assert len(texts) == 2
    clean, copied = tmp_path / "clean.md", tmp_path / "copied.md"
    clean.write_text("Wren left. Options: (A) a kettle (B) a cat; too short\n")
    copied.write_text(content)
    assert offenders([clean, copied], texts)
    assert {line.split(":")[0] for line in offenders([clean, copied], texts)} == {str(copied)}


def test_a_question_of_the_release_is_found(mirror: Path, tmp_path: Path) -> None:
    questions = [text for text in released(mirror) if len(squeezed(text)) >= QUESTION]
    texts = distinctive(questions)
    file = tmp_path / "notes.txt"
    for question in questions[:: len(questions) // 25]:
        file.write_text(f"Something else.\n{question}\nAnd more.\n", encoding="utf-8")
        assert offenders([file], texts)


def test_files_that_git_ignores_are_left_out_and_new_ones_are_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name in (".gitignore", "new.txt", "ignored.txt"):
        (tmp_path / name).write_text("ignored.txt\n")
    assert [path.name for path in would_track(tmp_path)] == [".gitignore", "new.txt"]
