"""The `file` engine: replies found by id, and every way the file can be wrong."""

from pathlib import Path

import pytest

from stages.errors import UserError
from stages.files import sha256
from stages.models.card import FileCard
from stages.models.chat import ChatModel, Conversation, Sampling
from stages.models.file_engine import REPLIES, FileModel
from stages.records import Message

SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=5)
GOOD = '{"id": "a", "reply": "one"}\n{"id": "b", "reply": "two\\nlines"}\n'


def model(folder: Path, text: str) -> FileModel:
    path = folder / REPLIES
    path.write_text(text, encoding="utf-8")
    return FileModel(FileCard(name="people", sha256=sha256(path)), folder)


def conversation(name: str) -> Conversation:
    messages = (Message(role="system", content="s"), Message(role="user", content="q"))
    return Conversation(id=name, messages=messages, seed=0)


def test_replies_are_found_by_id(tmp_path: Path) -> None:
    people: ChatModel = model(tmp_path, GOOD)
    found = people.generate([conversation("b"), conversation("a"), conversation("b")], SAMPLING)
    assert [reply.text for reply in found] == ["two\nlines", "one", "two\nlines"]
    assert {reply.finish_reason for reply in found} == {"stop"}
    assert people.render(conversation("a")) == "[system]\ns\n\n[user]\nq"
    assert people.facts()["engine"] == "file"


def test_missing_replies_are_counted(tmp_path: Path) -> None:
    people = model(tmp_path, GOOD)
    asked = [conversation(name) for name in ("a", "x", "y")]
    with pytest.raises(UserError, match="no reply to 2 of 3 conversations, the first is 'x'"):
        people.generate(asked, SAMPLING)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "{\n", r"replies\.jsonl:3: "),
        (GOOD + "\n", r"replies\.jsonl:3: "),
        (GOOD + '{"id": "c", "reply": "x", "note": ""}\n', r"replies\.jsonl:3: note: "),
        (GOOD + '{"id": "c"}\n', r"replies\.jsonl:3: reply: "),
        (GOOD + '{"id": "c", "reply": null}\n', r"replies\.jsonl:3: reply: "),
        (GOOD + '{"id": "", "reply": "x"}\n', r"replies\.jsonl:3: id: "),
        (GOOD + '{"id": "a", "reply": "x"}\n', r"replies\.jsonl:3: id 'a' repeats"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model(tmp_path, text)


def test_another_file_than_the_card_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / REPLIES).write_text(GOOD, encoding="utf-8")
    with pytest.raises(UserError, match="SHA-256"):
        FileModel(FileCard(name="people", sha256="0" * 64), tmp_path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"replies\.jsonl: no such file"):
        FileModel(FileCard(name="people", sha256="0" * 64), tmp_path)


def test_it_cannot_score(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot score given text"):
        model(tmp_path, GOOD).score([conversation("a")], ["x"])
