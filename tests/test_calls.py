"""Export and import of the call log as one file.

Covered: a replay from an import alone makes no request and needs no key; the same bytes whatever
the order of answers; imports add only what is new; damaged files. Not covered: very large logs.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from scripted_teacher import ScriptedTeacher

from stages.models.call_log import CallLog
from stages.models.card import ServedCard
from stages.models.chat import Conversation, Sampling
from stages.models.openai_engine import OpenAIModel
from stages.records import Completion, Message

SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=9)
CARD = ServedCard(
    name="scripted",
    base_url="http://127.0.0.1:9/v1",
    env="SCRIPTED",
    needs_key=True,
    accept="scripted",
    token_limit="max_tokens",
    extra_sampling=False,
)
CONVERSATIONS = [
    Conversation(str(n), (Message(role="user", content=f"Say {n}."),), n) for n in range(30)
]


def ask(log: Path, url: str, key: str = "", concurrency: int = 8) -> list[Completion]:
    env = {
        "SCRIPTED_BASE_URL": url,
        "SCRIPTED_API_KEY": key,
        "SCRIPTED_CONCURRENCY": str(concurrency),
    }
    return OpenAIModel(CARD, log, env).generate(CONVERSATIONS, SAMPLING)


def calls(*words: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "stages.calls", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def test_a_replay_from_an_import_alone(tmp_path: Path) -> None:
    with ScriptedTeacher(spread=0.05) as teacher:
        url = teacher.url
        replies = ask(tmp_path / "a.jsonl", url, key="a-key-that-is-for-tests-only")
        again = ask(tmp_path / "b.jsonl", url, key="a-key-that-is-for-tests-only", concurrency=1)
    assert again == replies
    for name in ("a", "b"):
        calls("export", tmp_path / f"{name}.out", "--log", tmp_path / f"{name}.jsonl")
    exported = (tmp_path / "a.out").read_bytes()
    assert exported == (tmp_path / "b.out").read_bytes()
    assert b"for-tests-only" not in exported

    # The server is gone, and there is no key.
    log = tmp_path / "new" / "calls.jsonl"
    assert "30 new answers of 30" in calls("import", tmp_path / "a.out", "--log", log)
    assert ask(log, url) == replies
    assert "0 new answers of 30" in calls("import", tmp_path / "a.out", "--log", log)
    calls("export", tmp_path / "c.out", "--log", log)
    assert (tmp_path / "c.out").read_bytes() == exported


def test_nothing_to_export(tmp_path: Path) -> None:
    line = calls("export", tmp_path / "out", "--log", tmp_path / "none.jsonl", code=1)
    assert line == f"error: {tmp_path / 'none.jsonl'}: no answers to export\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["half", "twice"])
def test_a_damaged_file_adds_nothing(tmp_path: Path, damage: str) -> None:
    with ScriptedTeacher() as teacher:
        ask(tmp_path / "a.jsonl", teacher.url, key="a-key-that-is-for-tests-only")
    file = tmp_path / "a.out"
    calls("export", file, "--log", tmp_path / "a.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(
        "".join([*lines[:9], lines[9][:40]] if damage == "half" else [*lines, lines[0]])
    )
    log = tmp_path / "new.jsonl"
    line = calls("import", file, "--log", log, code=1)
    assert line.startswith(f"error: {file}:{10 if damage == 'half' else 31}: ")
    assert not CallLog(log).path.exists() or not log.read_text()
