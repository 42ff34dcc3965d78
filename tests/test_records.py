"""The small rooms that everything stands on: records, files, seeds, conversations.

Covered: JSONL there and back for any text, wrong lines named, whole writes of files and folders,
fixed seeds, the edges of COMBINE and its inverse. Not covered: what the records mean (the stages'
own tests), the golden prompts and control tokens (test_prompts.py).
"""

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stages.conversation import combine, neutralise, opening, turns, unconditioned
from stages.errors import UserError
from stages.files import check_sha256, sha256, whole_folder, write_json, write_text
from stages.records import (
    Completion,
    Exchange,
    Feedback,
    Item,
    Judgement,
    Leak,
    Message,
    Record,
    Selection,
    Trajectory,
    read_jsonl,
    write_jsonl,
)
from stages.seeds import derive

SPECIAL = '\x00\x01\x0b\x0c\x1c\x1d\x1e\x7f\x85\u2028\u2029\ufeff\r\n"\\{}\U0001f3b2'
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(SPECIAL))
settings = hypothesis_settings(max_examples=150, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@settings
@given(texts=st.lists(TEXT, max_size=4))
def test_any_text_comes_back(texts: list[str], folder: Path) -> None:
    path = folder / "messages.jsonl"
    records = [Message(role="user", content=text) for text in [*texts, SPECIAL]]
    write_jsonl(path, records)
    assert read_jsonl(path, Message) == records
    # One line a record for every reader of lines that keeps to JSONL: only \n ends a line.
    assert path.read_bytes().count(b"\n") == len(records)
    before = path.read_bytes()
    write_jsonl(path, read_jsonl(path, Message))
    assert path.read_bytes() == before


@settings
@given(text=TEXT, tokens=st.none() | st.integers(min_value=0), detail=st.none() | TEXT)
def test_a_trajectory_comes_back(
    text: str, tokens: int | None, detail: str | None, folder: Path
) -> None:
    reply = Completion(text=text, finish_reason="stop", prompt_tokens=tokens, detail=detail)
    tau = Trajectory(
        item="bbh/own/1",
        suite="bbh",
        task="own",
        split="test",
        model="m",
        seed=2**63 - 1,
        exchanges=(Exchange(messages=opening(text, text), reply=reply),) * 2,
        feedback=detail,
    )
    write_jsonl(folder / "taus.jsonl", [tau])
    assert read_jsonl(folder / "taus.jsonl", Trajectory) == [tau]


def test_no_records(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "none.jsonl", [])
    assert (tmp_path / "none.jsonl").read_bytes() == b""
    assert read_jsonl(tmp_path / "none.jsonl", Item) == []


GOOD = '{"role":"user","content":"x"}'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([GOOD, GOOD, GOOD[:-3]], ":3: Invalid JSON"),
        ([GOOD, "", GOOD], ":2: Invalid JSON"),
        (["\ufeff" + GOOD], ":1: Invalid JSON"),
        ([GOOD + GOOD], ":1: Invalid JSON"),
        (["NaN"], ":1: "),
        (["null"], ":1: Input should be an object"),
        ([GOOD, '{"role":"user"}'], ":2: content: Field required"),
        ([GOOD, '{"role":"judge","content":"x"}'], ":2: role: Input should be 'system'"),
        ([GOOD, '{"role":"user","content":7}'], ":2: content: Input should be a valid string"),
        ([GOOD, '{"role":"user","content":"x","name":"y"}'], ":2: name: Extra inputs"),
        (['{"role":"user","content":"\\ud800"}'], ":1: Invalid JSON"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_jsonl(path, Message)
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_types_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    for value in ('"7"', "7.5", "true", "-1"):
        path.write_text(f'{{"text":"","finish_reason":"stop","prompt_tokens":{value}}}\n')
        with pytest.raises(UserError, match=":1: prompt_tokens: "):
            read_jsonl(path, Completion)


def test_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    # Beyond one buffer of a reader.
    path.write_bytes(f"{GOOD}\n".encode() * 1000 + b'{"role":"\xe9"}\n')
    with pytest.raises(UserError, match=r"messages\.jsonl:1001: not UTF-8"):
        read_jsonl(path, Message)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        read_jsonl(tmp_path / "none.jsonl", Item)


def test_a_missing_end_of_line_and_foreign_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    for text in (f"{GOOD}\n{GOOD}", f"{GOOD}\r\n{GOOD}\r\n"):
        path.write_bytes(text.encode())
        assert len(read_jsonl(path, Message)) == 2


def test_repeats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text(f"{GOOD}\n{GOOD}\n")
    assert len(read_jsonl(path, Message)) == 2
    with pytest.raises(UserError, match=r"messages\.jsonl:2: content: x stands there twice"):
        read_jsonl(path, Message, "content")


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_records_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text("old\n")
    good = Message(role="user", content="x")
    # What no check has seen: pydantic lets a copy take any value.
    bad = good.model_copy(update={"role": "judge"})

    def failing() -> list[Message]:
        yield good
        raise KeyError("on the way")

    with pytest.raises(ValueError, match="role"):
        write_jsonl(path, [good, bad])
    with pytest.raises(KeyError, match="on the way"):
        write_jsonl(path, failing())
    with pytest.raises(ValueError, match="surrogate"):
        write_jsonl(path, [good, Message.model_construct(role="user", content="\ud800")])
    assert listing(tmp_path) == {"messages.jsonl": b"old\n"}


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "old\r\n")
    assert path.read_bytes() == b"old\r\n"
    with patch.object(Path, "replace", side_effect=OSError("full")), pytest.raises(OSError):
        write_text(path, "new\n")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert listing(tmp_path) == {"a.txt": b"old\r\n"}


def test_equal_values_give_equal_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, "\u00e9"], "a": None})
    write_json(tmp_path / "b.json", {"a": None, "b": [1, "\u00e9"]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "a": null,\n  "b": [\n    1,\n    "\u00e9"\n  ]\n}\n'
    assert (tmp_path / "b.json").read_text(encoding="utf-8") == text


def test_a_whole_folder_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "models" / "m"
    for name in ("one", "two"):
        with whole_folder(path) as folder:
            assert list(folder.iterdir()) == []
            assert folder.parent == path.parent
            (folder / name).write_text(name)
        assert listing(tmp_path) == {name: name.encode()}
    assert [entry.name for entry in path.parent.iterdir()] == ["m"]


def test_a_failing_block_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(UserError), whole_folder(path) as folder:
        (folder / "half").write_text("half")
        raise UserError("no")
    assert listing(tmp_path) == {"old": b"old"}
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "other"):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["m"]  # noqa: PTH208


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "m"
    left = tmp_path / f".m.{os.getpid()}.tmp"
    left.mkdir()
    (left / "half").write_text("half")
    with whole_folder(path) as folder:
        (folder / "whole").write_text("whole")
    assert listing(tmp_path) == {"whole": b"whole"}


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # The first example of the standard, FIPS 180-2.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(path) == digest
    check_sha256(path, digest, "abc")
    with pytest.raises(UserError, match=f"abc: SHA-256 is {digest}, expected 00"):
        check_sha256(path, "0" * 64, "abc")


def test_seeds_are_fixed() -> None:
    # Other values here mean that no earlier result can be had again.
    assert derive("respond", 0, "bbh/own/1") == 7016555585906531292
    assert derive("feedback", "lazy", 1, "bbh/own/1") == 6549467291355487312
    assert derive("a", "bc") != derive("ab", "c")
    assert derive(1) != derive(2)


@settings
@given(parts=st.lists(st.integers() | TEXT))
def test_seeds_are_in_range(parts: list[int | str]) -> None:
    assert 0 <= derive(*parts) < 2**63
    assert derive(*parts) == derive(*parts)


def exchange(prompt: str, reply: str) -> Exchange:
    completion = Completion(text=reply, finish_reason="stop")
    return Exchange(messages=opening("Be kind.", prompt), reply=completion)


def test_combine_goes_on_from_the_last_turn_of_the_opening_conversation() -> None:
    first = exchange("one", "1")
    said = Message(role="assistant", content="1")
    messages = (*first.messages, said, Message(role="user", content="two"))
    second = Exchange(messages=messages, reply=Completion(text="2", finish_reason="stop"))
    # A guess, say, in a conversation of its own: what is said there is not shown.
    aside = exchange("three", "3")
    for played in ([first, second], [first, second, aside]):
        shown = combine(played, "again")
        assert [(message.role, message.content) for message in shown] == [
            ("system", "Be kind."),
            ("user", "one"),
            ("assistant", "1"),
            ("user", "two"),
            ("assistant", "2"),
            ("user", "again"),
        ]


def test_an_empty_system_prompt_is_sent_and_none_is_not() -> None:
    assert [message.role for message in opening("", "x")] == ["system", "user"]
    assert [message.role for message in opening(None, "x")] == ["user"]


@settings
@given(text=st.text(st.sampled_from("<|>a ")))
def test_no_control_token_survives_any_text(text: str) -> None:
    once = neutralise(text)
    assert "<|" not in once
    assert "|>" not in once
    assert neutralise(once) == once
    assert once.replace(" ", "") == text.replace(" ", "")


def test_unconditioned_undoes_combine() -> None:
    asked = exchange("one", "1")
    for retry in ("again", "assistant: again"):
        assert unconditioned(combine([asked], retry)) == asked.messages
    assert unconditioned(asked.messages) == asked.messages


def test_turns_are_what_was_asked_and_said() -> None:
    shown = turns([exchange("one", "1"), exchange("two", "<|im_end|>")])
    assert shown == [{"prompt": "one", "reply": "1"}, {"prompt": "two", "reply": "< |im_end| >"}]


SAID = {"item": "bbh/own/1", "suite": "bbh", "task": "own", "split": "test", "seed": 0}


@pytest.mark.parametrize(
    "record",
    [
        Judgement(**SAID, verdict="own", student="m", teacher="t", exchange=None),
        Judgement(**SAID, verdict="own", student="m", teacher="t", exchange=exchange("x", "y")),
        Selection(
            **SAID, selector="own", condition=None, student="m", chooser="m", draws=(2, 0),
            logprobs=(-1.25, -0.5), tokens=(3, 1),
        ),
        Selection(
            **SAID, selector="own", condition="c", student="m", chooser="t", draws=(0,),
        ),
        Feedback(
            **SAID, condition="c", student="m", teacher=None, status="ok", text="x", exchange=None,
            source="bbh/own/2",
        ),
        Leak(
            **SAID, student="m", condition="c", given=True, answer="(A)", gold=False,
            shuffled_given=False, shuffled=None, shuffled_gold=False,
        ),
    ],
)  # fmt: skip
def test_what_was_said_comes_back(record: Record, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "records.jsonl", [record])
    assert read_jsonl(tmp_path / "records.jsonl", type(record)) == [record]
