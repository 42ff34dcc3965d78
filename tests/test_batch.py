"""The Batch API against a local server: the same answers as live, nothing paid for twice.

Covered: completions and log against a live run; replay; SIGKILL at each step, in another process,
and Ctrl-C; lost replies; expired, refused and missing requests; batches that fail or are gone;
chunks; the budget and the ledger at half the price. Not covered: a real provider, its limit of
queued tokens, files of 200 MB.
"""

import json
import logging
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_run import CARD, GREEDY, KEY, questions, start, wait_for
from scripted_teacher import Asked, Fault, ScriptedTeacher, at

from stages.errors import UserError
from stages.files import write_json
from stages.ledger import batch_lines
from stages.models import batch
from stages.models.call_log import Batch, CallLog, Failure, Intent, Result
from stages.models.ledger import Budget, PricedModel, budget_path, ledger_of
from stages.models.openai_engine import OpenAIModel, Policy
from stages.models.prices import Price
from stages.records import Completion

QUICK = Policy(
    deadline=5, retries=2, first_wait=0.01, longest_wait=0.05, longest_pause=2, poll=0.02
)
PRICE = Price(input=1000.0, output=20000.0, as_of=None)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


@pytest.fixture(autouse=True)
def no_key_anywhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """After every test: the key is in no file, no output and no log message."""
    caplog.set_level(logging.DEBUG)
    yield
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in "".join(capfd.readouterr())
    assert KEY not in caplog.text


def make(teacher: ScriptedTeacher, log: Path, batch: str = "1", **env: str) -> OpenAIModel:
    env = {"TEACHER_API_KEY": KEY, "TEACHER_BASE_URL": teacher.url, "TEACHER_BATCH": batch, **env}
    return OpenAIModel(CARD, log, env, QUICK)


def ask(
    teacher: ScriptedTeacher, log: Path, count: int = 6, batch: str = "1", **env: str
) -> list[Completion]:
    return make(teacher, log, batch, **env).generate(questions(count), GREEDY)


def stops(teacher: ScriptedTeacher, log: Path, count: int = 6, batch: str = "1", **env: str) -> str:
    with pytest.raises(UserError) as caught:
        ask(teacher, log, count, batch, **env)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def kinds(log: Path, kind: type) -> list[Any]:
    return [line for line in CallLog(log).lines() if isinstance(line, kind)]


def once(teacher: ScriptedTeacher, count: int) -> bool:
    """Tell whether the server worked on so many different requests, and on none of them twice."""
    seen = Counter(json.dumps(body, sort_keys=True) for body in teacher.batches.answered)
    return len(seen) == seen.total() == count


def total(log: Path, teacher: ScriptedTeacher) -> tuple[float, float]:
    prices = {(f"127.0.0.1:{teacher.port}", "teacher-1"): PRICE}
    return ledger_of(CallLog(log), prices).total()


def cost(answers: Sequence[Completion]) -> float:
    each = (PRICE.dollars(a.prompt_tokens or 0, a.completion_tokens or 0) for a in answers)
    return sum(dollars or 0.0 for dollars in each)


def on(method_path: str, fault: Fault, times: int = 1) -> Any:
    """Return faults for the first requests to one path."""
    left = times

    def faults(asked: Asked) -> Fault | None:
        nonlocal left
        if not asked.path.startswith(method_path) or left <= 0:
            return None
        left -= 1
        return fault

    return faults


# The ordinary run.


def test_the_answers_are_those_of_a_live_run(log: Path, tmp_path: Path) -> None:
    with ScriptedTeacher() as teacher:
        live = ask(teacher, tmp_path / "live.jsonl", batch="")
        teacher.requests.clear()
        assert ask(teacher, log) == live
        paths = [asked.path.split("?")[0] for asked in teacher.requests]
        assert paths == [
            "/v1/files",
            "/v1/batches",
            "/v1/batches/batch_0",
            "/v1/files/file-1/content",
        ]
        assert {a.authorization for a in teacher.requests} == {f"Bearer {KEY}"}
    # The same keys with the same answers, so either log replays either run.
    by_key = [{r.key: (r.status, json.loads(r.body)) for r in kinds(path, Result)}
              for path in (log, tmp_path / "live.jsonl")]  # fmt: skip
    assert by_key[0] == by_key[1]
    for env in ("", "1"):
        assert ask(teacher, log, batch=env, TEACHER_API_KEY="") == live
    assert {r.batch for r in kinds(log, Result)} == {"batch_0"}
    assert (log.parent / "batches" / "batch_0.jsonl").read_text() == teacher.batches.files["file-1"]
    assert total(log, teacher) == pytest.approx((cost(live) / 2, 0))
    assert total(tmp_path / "live.jsonl", teacher) == pytest.approx((cost(live), 0))


def test_what_is_handed_in(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        ask(teacher, log, 2)
        ask(teacher, log, 4)
    lines = [json.loads(line) for line in teacher.batches.files["file-0"].splitlines()]
    keys = [intent.key for intent in kinds(log, Intent)]
    assert [line["custom_id"] for line in lines] == keys[:2]
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert lines[0]["body"]["model"] == "teacher-1"
    made = teacher.batches.made
    assert [made[b.id]["metadata"] for b in kinds(log, Batch)] == [
        {"calls": b.digest} for b in kinds(log, Batch)
    ]
    assert made["batch_0"]["completion_window"] == "24h"
    # Only what was not there was handed in the second time.
    assert once(teacher, 4)


def test_chunks(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        teacher.batches.polls = 3
        ask(teacher, log, 7, TEACHER_BATCH_SIZE="3")
        made = list(teacher.batches.made.values())
        sizes = [teacher.batches.files[b["input_file_id"]].count("\n") for b in made]
        assert sizes == [3, 3, 1]
        assert once(teacher, 7)


def test_chunks_by_size_of_the_file(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedTeacher() as teacher:
        # Each line has some 260 bytes.
        monkeypatch.setattr(batch, "BYTES", 600)
        ask(teacher, log, 5)
        sizes = [teacher.batches.files[b["input_file_id"]] for b in teacher.batches.made.values()]
        assert [text.count("\n") for text in sizes] == [2, 2, 1]
        assert all(len(text.encode()) <= 600 for text in sizes)
        monkeypatch.setattr(batch, "BYTES", 100)
        assert "a request has more than 100 bytes" in stops(teacher, log, 6)


@pytest.mark.parametrize("size", ["0", "50001", "x"])
def test_a_wrong_size(log: Path, size: str) -> None:
    with ScriptedTeacher() as teacher, pytest.raises(UserError, match="from 1 to 50000"):
        make(teacher, log, TEACHER_BATCH_SIZE=size)


# Faults on the way.


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/batches/", "/v1/files/file-1"])
@pytest.mark.parametrize(
    "fault", [Fault(503), Fault(429), Fault(cut="before"), Fault(cut="mid"), Fault(body=b"{")]
)
def test_a_passing_fault_hands_nothing_in_twice(log: Path, path: str, fault: Fault) -> None:
    with ScriptedTeacher(on(path, fault)) as teacher:
        answers = ask(teacher, log)
        assert {answer.finish_reason for answer in answers} == {"stop"}
        assert len(teacher.batches.made) == 1
        assert once(teacher, 6)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/batches/", "/v1/files/file-1"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(401, body=json.dumps({"error": {"message": KEY}}).encode()), "the key is not"),
        (Fault(400, body=json.dumps({"error": {"message": f"no {KEY}"}}).encode()), "no [key]"),
        (Fault(503), "HTTP 503"),
        (Fault(cut="mid"), "transport"),
        (Fault(429, {"retry-after": "300"}), "asks to wait 300 s"),
    ],
)
def test_a_lasting_fault_stops_and_a_new_run_goes_on(
    log: Path, path: str, fault: Fault, message: str
) -> None:
    with ScriptedTeacher(on(path, fault, 100)) as teacher:
        line = stops(teacher, log)
        assert line.startswith(f"127.0.0.1:{teacher.port}: ")
        assert "run again to go on" in line
        assert message in line or fault.cut
        teacher.faults = at()
        assert {answer.finish_reason for answer in ask(teacher, log)} == {"stop"}
        assert once(teacher, 6)
        assert sum(total(log, teacher)) == pytest.approx(total(log, teacher)[0])


def test_a_server_without_batches(log: Path) -> None:
    with ScriptedTeacher(on("/v1/files", Fault(404), 100)) as teacher:
        assert "HTTP 404: no Batch API at this address" in stops(teacher, log)
        # So the requests may go live.
        assert {answer.finish_reason for answer in ask(teacher, log, batch="")} == {"stop"}
        assert teacher.batches.made == {}


# What comes of single requests.


def test_expired_requests_are_asked_again_by_the_next_run(log: Path) -> None:
    def expire(place: int, line: dict[str, Any]) -> dict[str, Any] | None:
        if place < 2:
            return line
        error = {"code": "batch_expired", "message": "too late"}
        return {**line, "response": None, "error": error}

    with ScriptedTeacher() as teacher:
        teacher.batches.end, teacher.batches.line = "expired", expire
        answers = ask(teacher, log)
        assert [answer.finish_reason for answer in answers] == ["stop"] * 2 + ["error"] * 4
        assert answers[2].detail == "by batch: batch_expired"
        assert {f.kind for f in kinds(log, Failure)} == {"batch_expired"}
        assert total(log, teacher)[1] == 0, "nothing is billed for what was not worked on"
        # Twice the same four requests: their batch has the same digest, and is another one.
        teacher.batches.line = lambda place, line: expire(place + 2, line)
        assert [answer.finish_reason for answer in ask(teacher, log)] == ["stop"] * 2 + [
            "error"
        ] * 4
        teacher.batches.end, teacher.batches.line = "completed", lambda _, line: line
        assert {answer.finish_reason for answer in ask(teacher, log)} == {"stop"}
        digests = [batch.digest for batch in kinds(log, Batch)]
        assert digests[1] == digests[2] != digests[0]
        assert once(teacher, 6)


def test_single_answers_mean_what_they_mean_live(log: Path) -> None:
    def change(place: int, line: dict[str, Any]) -> dict[str, Any] | None:
        response = line["response"]
        if place == 0:
            response["body"]["choices"][0]["finish_reason"] = "length"
        if place == 1:
            response.update(status_code=400, body={"error": {"message": "too long"}})
        if place == 2:
            response.update(status_code=500, body={"error": {"message": "sorry"}})
        if place == 3:
            response["body"]["choices"] = []
        if place == 4:
            return None
        return line

    with ScriptedTeacher() as teacher:
        teacher.batches.line = change
        answers = ask(teacher, log)
        reasons = ["length", "bad_request", "error", "error", "error", "stop"]
        assert [answer.finish_reason for answer in answers] == reasons
        assert answers[1].detail == "HTTP 400: too long"
        assert [f.kind for f in kinds(log, Failure)] == ["malformed", "server", "missing"]
        # The malformed one and the one left out may have been billed, at half the price.
        intents = kinds(log, Intent)
        most = PRICE.dollars(intents[0].prompt_limit, intents[0].reply_limit, batch=True)
        assert most is not None
        assert total(log, teacher)[1] == pytest.approx(2 * most)
        assert len(list((log.parent / "batches").iterdir())) == 2


def test_a_wrong_model_stops_and_keeps_the_answers(log: Path) -> None:
    def other(place: int, line: dict[str, Any]) -> dict[str, Any]:
        line["response"]["body"]["model"] = "m-2"
        return line

    with ScriptedTeacher() as teacher:
        teacher.batches.line = other
        assert "asked for teacher-1, the reply is from 'm-2'" in stops(teacher, log)
        assert len(kinds(log, Result)) == 6
        loose = CARD.model_copy(update={"accept": "m-[0-9]"})
        env = {"TEACHER_BASE_URL": teacher.url}
        assert OpenAIModel(loose, log, env, QUICK).generate(questions(6), GREEDY)


# Batches as a whole.


def test_a_failed_batch_stops_with_the_servers_words(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        teacher.batches.end = "failed"
        teacher.batches.errors = f"Enqueued token limit reached\nfor {KEY}"
        line = stops(teacher, log)
        assert "batch batch_0 failed as a whole, at no cost: Enqueued token limit" in line
        assert "reached for [key]" in line
        assert "TEACHER_BATCH_SIZE makes batches smaller" in line
        assert total(log, teacher) == (0, 0)
        teacher.batches.end = "completed"
        ask(teacher, log)
        assert once(teacher, 6)


def test_a_batch_that_is_gone_is_given_up_on_purpose_only(log: Path) -> None:
    with ScriptedTeacher(on("/v1/batches/", Fault(503), 3)) as teacher:
        stops(teacher, log)
        del teacher.batches.made["batch_0"]
        line = stops(teacher, log)
        assert "batch batch_0 or its files are not there" in line
        assert "TEACHER_RETRY_FAILED=1" in line
        assert not teacher.batches.made
        answers = ask(teacher, log, TEACHER_RETRY_FAILED="1")
        assert {answer.finish_reason for answer in answers} == {"stop"}
        assert total(log, teacher)[1] > 0, "it may have been billed"


def test_a_live_run_does_not_pay_for_what_is_in_a_batch(log: Path) -> None:
    with ScriptedTeacher(on("/v1/batches/", Fault(503), 3)) as teacher:
        stops(teacher, log)
        assert batch_lines(CallLog(log)) == [
            "batch batch_0: 6 requests are not collected yet; a run with <ENV>_BATCH=1 does it"
        ]
        line = stops(teacher, log, 8, batch="")
        assert "6 of these requests went out in a batch" in line
        assert "TEACHER_BATCH=1" in line
        # Others may be asked, and what the batch brings counts for all.
        live = make(teacher, log, batch="").generate(questions(2, start=6), GREEDY)
        assert len(ask(teacher, log, 8)) == 8
        assert ask(teacher, log, 8, batch="")[6:] == live
        assert batch_lines(CallLog(log)) == []
        assert once(teacher, 6)


def test_the_batch_is_found_among_many(log: Path) -> None:
    with ScriptedTeacher(on("/v1/batches/", Fault(503), 3)) as teacher:
        stops(teacher, log)
        # As after a kill between the server's answer and the line in the log.
        text = log.read_text().splitlines(keepends=True)
        log.write_text("".join(line for line in text if '"type":"batch"' not in line))
        for _ in range(5):
            teacher.batches.answer("POST", "/v1/batches", {"metadata": None})
        ask(teacher, log)
        assert len(teacher.batches.made) == 6
        assert once(teacher, 6)


# The budget.


def set_limit(log: Path, teacher: ScriptedTeacher, limit: float) -> None:
    model = PricedModel(host=f"127.0.0.1:{teacher.port}", name="teacher-1", price=PRICE)
    write_json(budget_path(log), Budget(limit=limit, models=(model,)).model_dump(mode="json"))


def test_a_budget_hands_in_what_fits_and_goes_on_with_what_is_left(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        # Each at most 0.5205 by batch, and some 0.15 in the end.
        set_limit(log, teacher, 2.2)
        answers = ask(teacher, log, 8)
        assert {answer.finish_reason for answer in answers} == {"stop"}
        made = teacher.batches.made.values()
        sizes = [teacher.batches.files[b["input_file_id"]].count("\n") for b in made]
        assert sizes[0] == 4
        assert sum(sizes) == 8
        assert sum(total(log, teacher)) <= 2.2
        line = stops(teacher, log, 40)
        assert "the budget of USD 2.2 does not hold the next request" in line
        assert sum(total(log, teacher)) <= 2.2
        spent = len(teacher.batches.answered)
        set_limit(log, teacher, 100)
        ask(teacher, log, 40)
        assert spent > 8
        assert once(teacher, 40)


@pytest.mark.parametrize("seed", range(5))
def test_any_mixture_of_faults_comes_to_an_end_without_paying_twice(log: Path, seed: int) -> None:
    chance = random.Random(seed)
    good: list[str] = []

    def line(place: int, line: dict[str, Any]) -> dict[str, Any] | None:
        kind = chance.choice(["good"] * 5 + ["expired", "server", "malformed", "missing"])
        if kind == "expired":
            return {**line, "response": None, "error": {"code": "batch_expired"}}
        if kind == "server":
            line["response"].update(status_code=500, body={"error": {"message": "sorry"}})
        elif kind == "malformed":
            line["response"]["body"]["choices"] = None
        elif kind == "good":
            good.append(line["custom_id"])
        return None if kind == "missing" else line

    def faults(asked: Asked) -> Fault | None:
        often = [Fault(503), Fault(cut="before"), Fault(cut="mid"), Fault(body=b"null"), Fault(401)]
        return chance.choice(often) if chance.random() < 0.25 else None

    limit, answers = 3.0, []
    with ScriptedTeacher(faults) as teacher:
        teacher.batches.line = line
        for _ in range(60):
            teacher.batches.end = chance.choice(["completed", "expired", "cancelled", "failed"])
            set_limit(log, teacher, limit)
            size = str(chance.choice([2, 5, 50]))
            try:
                answers = ask(teacher, log, 12, TEACHER_BATCH_SIZE=size)
            except UserError as error:
                limit += 2.0 * ("budget" in str(error))
            assert sum(total(log, teacher)) <= limit + 1e-9
            if answers and all(answer.finish_reason == "stop" for answer in answers):
                break
        else:
            pytest.fail("it came to no end")
    assert sorted(good) == sorted({result.key for result in kinds(log, Result)})
    assert len(good) == 12


# Kills and Ctrl-C, in another process.


@pytest.mark.parametrize("step", ["/v1/files", "/v1/batches", "/v1/batches/", "/v1/files/file-1"])
def test_a_kill_at_any_step_pays_for_nothing_twice(log: Path, step: str) -> None:
    def faults(asked: Asked) -> Fault | None:
        # The request is carried out, and its answer comes too late.
        return Fault(drip=0.5) if asked.path.startswith(step) else None

    with ScriptedTeacher(faults) as teacher:
        process = start(teacher.url, log, 6, TEACHER_BATCH="1")
        wait_for(lambda: any(a.path.startswith(step) for a in teacher.requests))
        if step == "/v1/batches":
            wait_for(lambda: bool(teacher.batches.made))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(kinds(log, Intent)) == 6
        assert len(kinds(log, Batch)) == (step not in ("/v1/files", "/v1/batches"))
        teacher.faults = at()
        process = start(teacher.url, log, 6, TEACHER_BATCH="1")
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert len(out.splitlines()) == 6
        assert len(teacher.batches.made) == 1
        assert once(teacher, 6)
        assert total(log, teacher)[1] == 0


def test_a_kill_in_the_midst_of_collecting(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        answers = ask(teacher, log)
        # As if it had been killed after three results, the file being on the disk.
        text = log.read_text().splitlines(keepends=True)
        log.write_text("".join(text[:-3]))
        teacher.requests.clear()
        assert ask(teacher, log) == answers
        assert [a.path for a in teacher.requests] == ["/v1/batches/batch_0"]
        assert once(teacher, 6)


def test_ctrl_c_leaves_the_batch_to_a_new_run(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        teacher.batches.polls = 10**9
        process = start(teacher.url, log, 6, TEACHER_BATCH="1")
        wait_for(lambda: "/v1/batches/batch_0" in [asked.path for asked in teacher.requests])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (130, "")
        assert "batch batch_0: 6 requests handed in" in err
        assert "batches at the server go on, and a new run collects them" in err
        assert "Traceback" not in err
        teacher.batches.polls = 1
        assert len(ask(teacher, log)) == 6
        assert len(teacher.batches.made) == 1
        assert once(teacher, 6)
