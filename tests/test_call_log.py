"""The call log: keys, what survives kills and damage, one writer, where it lies.

Not covered: power loss (fdatasync is trusted) and file systems without flock.
"""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stages.errors import UserError
from stages.models.call_log import (
    IMPORTED,
    Batch,
    CallLog,
    Failure,
    Intent,
    Line,
    Result,
    call_key,
    default_log,
    host_of,
)

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "q"}],
    "temperature": 0.7,
    "seed": 1,
}
WRITER = """
import sys
from pathlib import Path
from stages.models.call_log import CallLog, Result
log, number = CallLog(Path(sys.argv[1])), int(sys.argv[2])
while True:
    log.append(Result(key=f"k{number}", status="stop", http_status=200, body="x" * 2000,
                      headers={}, model="m", usage={}, latency=0.1, sdk="0"))
    print(number, flush=True)
    number += 1
"""


def result(key: str, body: str = "{}") -> Result:
    return Result(
        key=key,
        status="stop",
        http_status=200,
        body=body,
        headers={"x-request-id": "r"},
        model="m",
        usage={"prompt_tokens": 1},
        latency=0.5,
        sdk="0",
    )


def writer(path: Path, start: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), str(start)]
    root, pipe = Path(__file__).parents[1], subprocess.PIPE
    return subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe, text=True)


def test_results_come_back_in_a_new_process_and_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "a" / "calls.jsonl"
    with CallLog(path) as log:
        log.append(Intent(key="k", attempt=1))
        log.append(Failure(key="k", kind="server", retryable=True, http_status=503, body="no"))
        log.append(result("k", "first"))
        log.append(result("k", "second \u2028 \u00e9 \n"))
        assert log.result("k") == CallLog(path).result("k")
    again = CallLog(path)
    found = again.result("k")
    assert found is not None
    assert found.body == "second \u2028 \u00e9 \n"
    assert again.result("other") is None
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert [line["type"] for line in lines] == ["intent", "failure", "result", "result"]


def test_the_lines_come_back_as_records_without_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    assert list(CallLog(path).lines()) == []
    written = [
        Intent(key="k", attempt=1, id="respond/m/0/i", model="m", host="h:1", prompt_limit=3),
        Failure(key="k", kind="server", retryable=True, http_status=503, body="no"),
        Intent(key="k", attempt=2, batch="d"),
        Batch(id="b-1", digest="d", host="h:1", requests=1),
        result("k").model_copy(update={"batch": "b-1"}),
    ]
    with CallLog(path) as log:
        for number, record in enumerate(written):
            log.write(record)
            assert list(log.lines()) == written[: number + 1]
    with path.open("ab") as stream:
        stream.write(b'{"check":"')
    assert list(CallLog(path).lines()) == written


def test_a_batch_is_open_until_all_its_requests_are_settled(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"

    def state(log: CallLog) -> list[tuple[str, set[str], str | None]]:
        return [(batch.digest, batch.keys, batch.id) for batch in log.open_batches()]

    def after(*records: Line) -> list[tuple[str, set[str], str | None]]:
        with CallLog(path) as log:
            for record in records:
                log.write(record)
            # What a later reader sees is what the writer saw.
            assert state(CallLog(path)) == state(log)
            return state(log)

    failed = Failure(key="b", kind="missing", retryable=True, http_status=None, body="")
    both = [Intent(key=key, attempt=1, batch="d") for key in "ab"]
    assert after(*both, Intent(key="c", attempt=1)) == [("d", {"a", "b"}, None)]
    assert after(Batch(id="b-1", digest="d", host="h:1", requests=2)) == [("d", {"a", "b"}, "b-1")]
    # An answer from elsewhere settles nothing that was asked here.
    imported = result("b").model_copy(update={"time": IMPORTED})
    assert after(result("a"), result("c"), imported) == [("d", {"b"}, "b-1")]
    assert after(failed) == []
    # The same requests once more are a new batch, which the server has not taken yet.
    assert after(*both) == [("d", {"a", "b"}, None)]
    assert CallLog(path).knows_batch("b-1")
    assert not CallLog(path).knows_batch("b-2")


def test_a_log_from_before_there_was_a_ledger_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    old = [
        {"type": "intent", "key": "k", "attempt": 1, "time": "t"},
        {**result("k").model_dump(exclude={"batch"}), "time": "t"},
    ]
    with path.open("w") as stream:
        for fields in old:
            text = json.dumps(fields, separators=(",", ":"))
            check = hashlib.sha256(text.encode()).hexdigest()[:16]
            stream.write(f'{{"check":"{check}",{text[1:]}\n')
    intent, answer = CallLog(path).lines()
    assert isinstance(intent, Intent)
    assert (intent.id, intent.model, intent.host, intent.reply_limit) == ("", "", "", 0)
    assert isinstance(answer, Result)
    assert answer.batch is None


def test_reading_leaves_no_file_and_takes_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    assert CallLog(path).result("k") is None
    assert not path.exists()
    with CallLog(path) as log:
        log.append(result("k"))
        assert CallLog(path).result("k") is not None


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    first, second = CallLog(path), CallLog(path)
    first.append(result("a"))
    with pytest.raises(UserError, match=r"another run is using .*calls\.jsonl"):
        second.append(result("b"))
    first.close()
    second.append(result("b"))
    # It has taken in what the first one wrote before it got the lock.
    assert second.result("a") is not None
    second.close()
    assert CallLog(path).result("b") is not None


def test_a_second_process_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(result("a"))
        other = writer(path, 0)
        assert "another run is using" in other.communicate(timeout=20)[1]
        assert other.returncode != 0


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_tail_is_set_aside_and_swallows_nothing(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(result("a"))
        log.append(result("b"))
    whole = path.read_bytes()
    end = whole.index(b"\n") + 1
    path.write_bytes(whole[: end + cut])
    log = CallLog(path)
    assert log.result("a") is not None
    assert log.result("b") is None
    assert path.stat().st_size == end + cut, "a reader must not change the file"
    with log:
        log.append(result("c"))
    assert path.with_name("calls.jsonl.torn").read_bytes() == whole[end : end + cut] + b"\n"
    again = CallLog(path)
    assert again.result("a") is not None
    assert again.result("c") is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b'"m"', b'"n"'),
        lambda line: b"\xff" + line[1:],
        lambda line: b"{}",
        lambda line: b"",
        lambda line: line[:-30],
    ],
)
def test_a_corrupt_line_is_named(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        for key in "abc":
            log.append(result(key))
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage(lines[1])
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(UserError, match=r"calls\.jsonl:2: .*checksum"):
        CallLog(path)


def test_every_acknowledged_result_survives_kill_9(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "calls.jsonl", 0
    for pause in (0.05, 0.11, 0.02):
        process = writer(path, acknowledged)
        assert process.stdout is not None
        assert process.stdout.readline(), "the writer is alive"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        numbers = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        acknowledged = max(acknowledged + 1, *(int(number) + 1 for number in numbers), 0)
    log = CallLog(path)
    assert all(log.result(f"k{number}") is not None for number in range(acknowledged))


def test_a_file_cut_under_a_running_program_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.append(result("a"))
    path.write_bytes(b"")
    for use in (lambda: log.result("a"), log.lock):
        with pytest.raises(UserError, match="changed under a running program"):
            use()


def test_a_full_disk_stops_and_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = CallLog(path)
    log.append(result("a"))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
        with pytest.raises(UserError, match=r"calls\.jsonl: cannot write"):
            log.append(result("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.append(result("c"))
    log.close()
    again = CallLog(path)
    assert again.result("a") is not None
    assert again.result("b") is None
    assert again.result("c") is not None


def test_the_key_covers_all_that_changes_the_answer() -> None:
    keys = {
        call_key("chat.completions", "h:443", BODY),
        call_key("chat.completions", "h:8000", BODY),
        call_key("completions", "h:443", BODY),
        call_key("chat.completions", "h:443", BODY, sample=1),
        *(
            call_key("chat.completions", "h:443", {**BODY, **change})
            for change in (
                {"model": "n"},
                {"temperature": 0.8},
                {"seed": 2},
                {"top_p": 0.9},
                {"messages": [{"role": "system", "content": "q"}]},
            )
        ),
    }
    assert len(keys) == 9
    reordered = dict(reversed(BODY.items()))
    assert call_key("chat.completions", "h:443", reordered) in keys


def test_the_key_is_the_same_in_every_release() -> None:
    # A change here makes all existing logs useless: raise SCHEMA, and mean it.
    key = call_key("chat.completions", "h:443", BODY)
    assert key == "c94d5e024027cea279b18655fda90000e4941369ac18b48ac2897348687a5ee3"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.org/v1", "api.example.org:443"),
        ("http://localhost", "localhost:80"),
        ("http://user:secret@127.0.0.1:8000/v1/", "127.0.0.1:8000"),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://h/", "http://", "http://h:x/"])
def test_host_of_refuses_other_addresses(url: str) -> None:
    with pytest.raises(UserError, match="address"):
        host_of(url)


def git(folder: Path, *args: str) -> None:
    subprocess.run(["git", "-C", str(folder), *args], check=True, capture_output=True)


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    repo, elsewhere = tmp_path / "repo", tmp_path / "elsewhere"
    (repo / "below").mkdir(parents=True)
    elsewhere.mkdir()
    git(repo, "init", "-q")
    place = (repo / ".git" / "call-log" / "calls.jsonl").resolve()

    monkeypatch.chdir(elsewhere)
    with pytest.raises(UserError, match="set CALL_LOG"):
        default_log({})
    assert default_log({"CALL_LOG": "log.jsonl"}) == elsewhere / "log.jsonl"
    assert default_log({"DVC_ROOT": str(repo)}).resolve() == place
    monkeypatch.chdir(repo / "below")
    assert default_log({"CALL_LOG": ""}).resolve() == place

    # All worktrees of a repository share one log.
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    git(repo, *who, "commit", "-q", "--allow-empty", "-m", "empty")
    git(repo, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert default_log({"DVC_ROOT": str(tmp_path / "tree")}).resolve() == place
