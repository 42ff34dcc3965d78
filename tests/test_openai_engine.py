"""The `openai` engine against a local server: what each fault leads to, replay, kills, Ctrl-C.

Every fault is checked twice where it matters: `classify` as a pure function, and a run that counts
the requests. Not covered: a real provider, TLS, proxies, and what a provider bills.
"""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_run import CARD, GREEDY, KEY, QUICK, ROOT, wait_for
from scripted_teacher import Asked, Fault, Faults, ScriptedTeacher, at, scripted_reply

from stages.errors import UserError
from stages.models import openai_engine
from stages.models.call_log import CallLog, Line, Result
from stages.models.card import ServedCard
from stages.models.chat import ChatModel, Conversation, Sampling
from stages.models.openai_engine import OpenAIModel, Policy
from stages.models.replies import classify, retry_after
from stages.records import Completion, Message

Make = Callable[..., OpenAIModel]


def conversation(name: object, seed: int = 0) -> Conversation:
    content = f"Question {name}: (A) or (B)? End with a line 'Answer: <X>'."
    messages = (Message(role="user", content=content),)
    return Conversation(id=f"q/{name}", messages=messages, seed=seed)


def questions(count: int) -> list[Conversation]:
    return [conversation(number) for number in range(count)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


@pytest.fixture
def make(log: Path) -> Make:
    """Return a function that makes a model for a server, by default with a key and QUICK."""

    def build(
        teacher: ScriptedTeacher | None = None,
        card: ServedCard = CARD,
        policy: Policy = QUICK,
        key: str = KEY,
        concurrency: int = 4,
        **env: str,
    ) -> OpenAIModel:
        env = {"TEACHER_API_KEY": key, "TEACHER_CONCURRENCY": str(concurrency), **env}
        if teacher is not None:
            env["TEACHER_BASE_URL"] = teacher.url
        return OpenAIModel(card, log, env, policy)

    return build


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


def stops(model: OpenAIModel, conversations: Sequence[Conversation]) -> str:
    """Return the one line with which a run stops; the key is neither in it nor behind it."""
    with pytest.raises(UserError) as caught:
        model.generate(conversations, GREEDY)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert KEY not in repr(seen)
        seen = seen.__cause__ or seen.__context__
    line = str(caught.value)
    assert "\n" not in line
    return line


def lines(log: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line for line in found if line["type"] == kind]


def expected(conversations: Sequence[Conversation]) -> list[str]:
    return [scripted_reply([m.model_dump() for m in c.messages]) for c in conversations]


def reply(**changes: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a change of the reply: of its only choice where it has such a field, else on top."""

    def change(body: dict[str, Any]) -> dict[str, Any]:
        for name, value in changes.items():
            if name in ("content", "refusal"):
                body["choices"][0]["message"][name] = value
            elif name in ("finish_reason", "index"):
                body["choices"][0][name] = value
            else:
                body[name] = value
        return body

    return change


# What a response means, as a pure function.

JSON = {"content-type": "application/json"}


def error(message: str = "no", **fields: object) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


def ok(**changes: object) -> bytes:
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    return json.dumps(reply(**changes)({"model": "m", "choices": [choice]})).encode()


@pytest.mark.parametrize(
    ("status", "headers", "body", "action", "kind"),
    [
        (200, JSON, ok(), "store", "stop"),
        (200, JSON, b"\xef\xbb\xbf" + ok(), "store", "stop"),
        (200, JSON, ok(finish_reason="length"), "store", "length"),
        (200, JSON, ok(finish_reason="content_filter", content=None), "store", "content_filter"),
        (200, JSON, ok(refusal="I cannot", content=None), "store", "refusal"),
        (200, JSON, ok(content=None), "store", "stop"),
        (200, JSON, ok(finish_reason=None), "retry", "malformed"),
        (200, JSON, ok(finish_reason="abort"), "retry", "malformed"),
        (200, JSON, ok(finish_reason=["stop"]), "retry", "malformed"),
        (200, JSON, ok(content=[{"text": "x"}]), "retry", "malformed"),
        (200, JSON, ok(index=1), "retry", "malformed"),
        (200, JSON, ok(choices=None), "retry", "malformed"),
        (200, JSON, ok(choices=[]), "retry", "malformed"),
        (200, JSON, ok(choices=[{}, {}]), "retry", "malformed"),
        (200, JSON, ok(choices=["x"]), "retry", "malformed"),
        (200, JSON, b"null", "retry", "malformed"),
        (200, JSON, b"", "retry", "malformed"),
        (200, JSON, b'{"choices": [', "retry", "malformed"),
        (200, JSON, b"[" * 100_000, "retry", "malformed"),
        (200, JSON, b"\xff\xfe", "retry", "malformed"),
        (200, {"Content-Type": "text/html; charset=utf-8"}, b"<p>", "retry", "not_an_api"),
        (200, JSON, error(), "retry", "server"),
        (200, JSON, error(code=429), "retry", "rate_limit"),
        (200, JSON, error(code="400"), "retry", "malformed"),
        (200, JSON, error(code="insufficient_quota"), "stop", "quota"),
        (307, {}, b"", "stop", "redirect"),
        (400, JSON, error("context too long"), "store", "bad_request"),
        (413, {}, b"", "store", "bad_request"),
        (422, JSON, b'{"error": "as text"}', "store", "bad_request"),
        (401, JSON, error(f"bad key {KEY}"), "stop", "unauthorized"),
        (402, {}, b"", "stop", "quota"),
        (403, JSON, error(), "stop", "forbidden"),
        (404, JSON, error(), "stop", "not_found"),
        (405, JSON, error(), "stop", "unexpected"),
        (408, JSON, error(), "retry", "server"),
        (409, JSON, error(), "retry", "server"),
        (429, JSON, error(), "retry", "rate_limit"),
        (429, JSON, error(code="insufficient_quota"), "stop", "quota"),
        (429, JSON, error(type="insufficient_quota"), "stop", "quota"),
        (429, JSON, error(code=["x"]), "retry", "rate_limit"),
        (500, {}, b"oops", "retry", "server"),
        (502, {"content-type": "text/html"}, b"<p>", "retry", "server"),
        (503, {}, b"", "retry", "server"),
    ],
)
def test_classify(
    status: int, headers: dict[str, str], body: bytes, action: str, kind: str
) -> None:
    outcome = classify(status, headers, body)
    assert (outcome.action, outcome.kind) == (action, kind)
    assert (outcome.completion is not None) == (action == "store")
    assert "\n" not in outcome.detail
    assert status != 401 or KEY not in outcome.detail


def test_classify_keeps_what_can_be_kept_of_an_odd_reply() -> None:
    body = ok(content="a\ud800b", usage={"prompt_tokens": -1, "completion_tokens": 3, "x": {}})
    outcome = classify(200, {}, body)
    assert outcome.completion is not None
    assert outcome.completion.text == "a?b"
    assert outcome.completion.prompt_tokens is None
    assert outcome.completion.completion_tokens == 3
    assert outcome.usage == {"completion_tokens": 3}
    long = classify(400, {}, error("a\nb" * 500))
    assert len(long.detail) == 300


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=10.0) == seconds


def test_the_wait_doubles_up_to_its_limit() -> None:
    policy = Policy(first_wait=1, longest_wait=5)
    assert [policy.wait(tries) for tries in (1, 2, 3, 4, 50)] == [1, 2, 4, 5, 5]


# The ordinary run.


def test_answers_come_in_order_and_are_replayed_without_key_or_server(
    make: Make, log: Path
) -> None:
    asked = questions(20)
    with ScriptedTeacher(spread=0.1) as teacher:
        model: ChatModel = make(teacher)
        first = model.generate(asked, GREEDY)
        url = teacher.url
    assert [answer.text for answer in first] == expected(asked)
    assert all(answer.prompt_tokens and answer.completion_tokens for answer in first)
    assert {a.authorization for a in teacher.requests} == {f"Bearer {KEY}"}
    # The server is gone, the key too.
    before = log.read_bytes()
    assert make(key="", TEACHER_BASE_URL=url).generate(asked, GREEDY) == first
    assert len(teacher.requests) == 20
    assert log.read_bytes() == before


def test_the_result_does_not_depend_on_the_order_of_answers(tmp_path: Path) -> None:
    asked, found, orders = questions(16), set(), set()
    for number, (spread, concurrency) in enumerate([(0.0, "1"), (0.1, "8"), (0.05, "16")]):
        with ScriptedTeacher(spread=spread) as teacher:
            env = {
                "TEACHER_API_KEY": KEY,
                "TEACHER_BASE_URL": teacher.url,
                "TEACHER_CONCURRENCY": concurrency,
            }
            path = tmp_path / f"{number}.jsonl"
            answers = OpenAIModel(CARD, path, env, QUICK).generate(asked, GREEDY)
        found.add("\n".join(answer.model_dump_json() for answer in answers))
        bodies = [json.loads(line["body"])["id"] for line in lines(path, "result")]
        orders.add(tuple(bodies))
    assert len(found) == 1
    assert len(orders) > 1, "the answers did finish out of order"


def test_the_same_request_is_one_call_and_a_changed_one_is_new(make: Make) -> None:
    warm = GREEDY.model_copy(update={"temperature": 0.7})
    with ScriptedTeacher() as teacher:
        model = make(teacher)
        same = [conversation("x"), conversation("y"), conversation("x", seed=9)]
        assert model.unanswered(same, GREEDY) == ["q/x", "q/y"]
        answers = model.generate(same, GREEDY)
        assert model.unanswered(same, GREEDY) == []
        assert len(teacher.requests) == 2, "a greedy request has no seed"
        assert answers[0] == answers[2]
        model.generate(same, warm)
        assert len(teacher.requests) == 5, "sampled, every seed is a request of its own"
        model.generate(same, GREEDY.model_copy(update={"max_new_tokens": 51}))
        assert len(teacher.requests) == 7
        model.generate([*same, conversation("z")], GREEDY)
        assert len(teacher.requests) == 8


def test_what_is_sent(make: Make) -> None:
    warm = Sampling(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.1, max_new_tokens=9)
    vllm = CARD.model_copy(update={"extra_sampling": True, "token_limit": "max_completion_tokens"})
    with ScriptedTeacher() as teacher:
        make(teacher).generate([conversation("a", seed=3)], GREEDY)
        make(teacher, vllm).generate([conversation("a", seed=3)], warm)
        with pytest.raises(UserError, match="knows no top_k"):
            make(teacher).generate([conversation("a", seed=3)], warm)
    greedy, sampled = (a.body for a in teacher.requests)
    messages = [m.model_dump() for m in conversation("a").messages]
    common = {"model": "teacher-1", "messages": messages}
    assert greedy == {**common, "temperature": 0.0, "top_p": 1.0, "max_tokens": 50}
    assert sampled == {
        **common,
        "temperature": 0.7,
        "top_p": 0.8,
        "max_completion_tokens": 9,
        "seed": 3,
        "top_k": 20,
        "repetition_penalty": 1.1,
    }


def test_a_log_line_holds_what_an_audit_needs(make: Make, log: Path) -> None:
    with ScriptedTeacher() as teacher:
        make(teacher).generate(questions(1), GREEDY)
    (intent,), (result,) = lines(log, "intent"), lines(log, "result")
    assert intent["key"] == result["key"]
    assert intent["attempt"] == 1
    assert (intent["id"], intent["model"]) == ("q/0", "teacher-1")
    assert intent["host"] == f"127.0.0.1:{teacher.port}"
    assert intent["prompt_limit"] == len(questions(1)[0].messages[0].content) + 16
    assert intent["reply_limit"] == GREEDY.max_new_tokens
    assert result["status"] == "stop"
    assert result["model"] == "teacher-1"
    assert result["headers"] == {"x-request-id": "scripted"}
    assert json.loads(result["body"])["object"] == "chat.completion"
    assert result["usage"]["total_tokens"] > 0


# Preflight.


def test_a_missing_key_stops_before_any_request(make: Make, log: Path) -> None:
    with ScriptedTeacher() as teacher:
        make(teacher).generate(questions(2), GREEDY)
        line = stops(make(teacher, key=""), questions(3))
    assert "TEACHER_API_KEY is not set, and 1 of 3 requests" in line
    assert len(teacher.requests) == 2


def test_a_server_without_keys_needs_none(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # A key for another server, and its organization, go nowhere.
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {KEY}")
    open_card = CARD.model_copy(update={"needs_key": False})
    with ScriptedTeacher() as teacher:
        make(teacher, open_card, key="").generate(questions(1), GREEDY)
    assert teacher.requests[0].authorization == "Bearer none"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"TEACHER_CONCURRENCY": "0"}, "TEACHER_CONCURRENCY must be a number"),
        ({"TEACHER_CONCURRENCY": "many"}, "TEACHER_CONCURRENCY must be a number"),
        ({"TEACHER_BASE_URL": "localhost:8000"}, "TEACHER_BASE_URL"),
        ({"TEACHER_API_KEY": f"{KEY}\u2026"}, "TEACHER_API_KEY holds characters"),
        ({"TEACHER_API_KEY": f"{KEY}\nx"}, "TEACHER_API_KEY holds characters"),
    ],
)
def test_a_bad_setting_is_named(make: Make, env: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make(**env)
    assert KEY not in str(caught.value)


def test_it_cannot_score_and_renders_plainly(make: Make) -> None:
    model = make()
    with pytest.raises(UserError, match="cannot score given text"):
        model.score(questions(1), ["x"])
    assert model.render(conversation(1)).startswith("[user]\nQuestion 1")
    assert model.facts()["host"] == "127.0.0.1:9"


# Faults that pass.


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        (at(n1=Fault(429, {"retry-after": "0"})), 2),
        (at(n1=Fault(429)), 2),
        (at(n1=Fault(500, body=b"")), 2),
        (at(n1=Fault(502, {"content-type": "text/html"}, b"<p>")), 2),
        (at(n1=Fault(503), n2=Fault(503), n3=Fault(503)), 4),
        (at(n1=Fault(408)), 2),
        (at(n1=Fault(409)), 2),
        (at(n1=Fault(cut="before")), 2),
        (at(n1=Fault(cut="mid")), 2),
        (at(n1=Fault(cut="silent"), n2=Fault(cut="silent")), 3),
        (at(n1=Fault(body=b"null"), n2=Fault(body=b"{")), 3),
        (at(n1=Fault(body=reply(choices=[]))), 2),
        (at(n1=Fault(body=reply(choices=None))), 2),
        (at(n1=Fault(body=error(code=503))), 2),
        (at(n1=Fault(headers={"content-encoding": "gzip"})), 2),
    ],
)
def test_a_passing_fault_is_retried(make: Make, log: Path, faults: Faults, requests: int) -> None:
    with ScriptedTeacher(faults) as teacher:
        answers = make(teacher).generate(questions(1), GREEDY)
    assert [answer.text for answer in answers] == expected(questions(1))
    assert len(teacher.requests) == requests
    assert len(lines(log, "intent")) == requests
    assert len(lines(log, "failure")) == requests - 1
    assert len(lines(log, "result")) == 1


@pytest.mark.parametrize(
    ("fault", "requests", "kind"),
    [
        (Fault(503), 4, "server"),
        (Fault(429), 4, "rate_limit"),
        (Fault(cut="before"), 4, "transport"),
        (Fault(cut="mid"), 4, "transport"),
        (Fault(cut="silent"), 3, "malformed"),
        (Fault(body=b""), 3, "malformed"),
        (Fault(body=b"null"), 3, "malformed"),
        (Fault(body=reply(choices=[])), 3, "malformed"),
        (Fault(body=reply(index=1)), 3, "malformed"),
        (Fault(delay=1.0), 2, "timeout"),
    ],
)
def test_a_lasting_fault_leaves_the_call_for_the_next_run(
    make: Make, log: Path, fault: Fault, requests: int, kind: str
) -> None:
    with ScriptedTeacher(at(other=fault)) as teacher:
        deadline = 0.3 if fault.delay else 5
        policy = Policy(deadline=deadline, retries=3, first_wait=0.01, longest_wait=0.02)
        (answer,) = make(teacher, policy=policy).generate(questions(1), GREEDY)
        assert answer.finish_reason == "error"
        assert answer.text == ""
        assert answer.detail is not None
        assert answer.detail.startswith(f"{kind}: ")
        assert len(teacher.requests) == requests
        assert {line["retryable"] for line in lines(log, "failure")} == {True}
        assert not lines(log, "result")
        teacher.faults = at()
        (answer,) = make(teacher).generate(questions(1), GREEDY)
        assert answer.finish_reason == "stop"
        assert len(teacher.requests) == requests + 1


def test_a_slow_drip_ends_at_the_wall_deadline(make: Make) -> None:
    # A byte each 0.1 s never trips a read timeout of 0.5 s.
    with ScriptedTeacher(at(other=Fault(drip=0.1))) as teacher:
        policy = Policy(deadline=0.5, first_wait=0.01)
        started = time.monotonic()
        (answer,) = make(teacher, policy=policy).generate(questions(1), GREEDY)
        took = time.monotonic() - started
    assert (answer.finish_reason, answer.detail) == (
        "error",
        "timeout: no answer within the deadline",
    )
    assert len(teacher.requests) == 2
    assert 1.0 <= took < 5.0


def test_retry_after_is_honoured_and_shared(make: Make) -> None:
    times: list[float] = []

    def faults(asked: Asked) -> Fault | None:
        times.append(time.monotonic())
        return Fault(429, {"retry-after": "0.6"}) if asked.number == 1 else Fault(delay=0.1)

    with ScriptedTeacher(faults) as teacher:
        answers = make(teacher, concurrency=2).generate(questions(6), GREEDY)
    assert [answer.text for answer in answers] == expected(questions(6))
    assert len(teacher.requests) == 7
    # One request may be under way when the pause begins; all others wait for its end.
    assert sum(at_time < times[0] + 0.6 for at_time in times) <= 2


def test_a_retry_after_above_the_limit_stops(make: Make) -> None:
    with ScriptedTeacher(at(n3=Fault(429, {"retry-after": "300"}))) as teacher:
        started = time.monotonic()
        line = stops(make(teacher, concurrency=1), questions(6))
        assert time.monotonic() - started < 4
        assert "asks to wait 300 s, more than the 2 s" in line
        assert len(teacher.requests) == 3
        make(teacher).generate(questions(6), GREEDY)
        assert len(teacher.requests) == 7, "the two answers before were kept"


def test_the_breaker_ends_a_run_against_a_dead_server(make: Make) -> None:
    with ScriptedTeacher(at(other=Fault(503))) as teacher:
        line = stops(make(teacher, concurrency=1), questions(20))
    assert "4 calls in a row failed, the last with HTTP 503" in line
    assert len(teacher.requests) == 16


def test_single_failures_do_not_add_up_to_the_breaker(make: Make) -> None:
    def faults(asked: Asked) -> Fault | None:
        name = asked.body["messages"][0]["content"].split()[1]
        return Fault(503) if int(name.rstrip(":")) % 2 else None

    with ScriptedTeacher(faults) as teacher:
        answers = make(teacher, concurrency=1).generate(questions(12), GREEDY)
    assert Counter(answer.finish_reason for answer in answers) == {"stop": 6, "error": 6}


def test_nobody_listens(make: Make) -> None:
    with ScriptedTeacher() as teacher:
        url = teacher.url
    (answer,) = make(TEACHER_BASE_URL=url).generate(questions(1), GREEDY)
    assert answer.detail == "transport: ConnectError"


# Answers that are final though they are not what was hoped for.


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        (Fault(body=reply(finish_reason="length")), "length", None),
        (Fault(body=reply(finish_reason="length", content=None)), "length", None),
        (Fault(body=reply(finish_reason="content_filter", content=None)), "content_filter", None),
        (Fault(body=reply(refusal="I will not.", content=None)), "refusal", "I will not."),
        (Fault(body=reply(content=None)), "stop", None),
        (Fault(body=reply(usage=None)), "stop", None),
        (Fault(400, body=error("context too long")), "bad_request", "HTTP 400: context too long"),
        (Fault(400, body=error(f"{KEY}?")), "bad_request", "HTTP 400: [key]?"),
    ],
)
def test_a_final_answer_is_stored_and_replayed(
    make: Make, fault: Fault, reason: str, detail: str | None
) -> None:
    with ScriptedTeacher(at(n1=fault)) as teacher:
        (answer,) = make(teacher).generate(questions(1), GREEDY)
        assert (answer.finish_reason, answer.detail) == (reason, detail)
        assert make(teacher, key="").generate(questions(1), GREEDY) == [answer]
        assert len(teacher.requests) == 1


def test_a_usage_that_is_missing_is_none(make: Make) -> None:
    with ScriptedTeacher(at(n1=Fault(body=reply(usage=None)))) as teacher:
        (answer,) = make(teacher).generate(questions(1), GREEDY)
    assert (answer.prompt_tokens, answer.completion_tokens) == (None, None)


def test_bad_requests_among_good_ones_go_by_and_can_be_asked_again(make: Make) -> None:
    bad = Fault(400, body=error("too long"))
    with ScriptedTeacher(at(n2=bad, n3=bad, n4=bad, n5=bad, n6=bad)) as teacher:
        answers = make(teacher, concurrency=1).generate(questions(8), GREEDY)
        assert Counter(answer.finish_reason for answer in answers) == {"stop": 3, "bad_request": 5}
        assert make(teacher).generate(questions(8), GREEDY) == answers
        assert len(teacher.requests) == 8
        again = make(teacher, TEACHER_RETRY_FAILED="1").generate(questions(8), GREEDY)
        assert {answer.finish_reason for answer in again} == {"stop"}
        assert len(teacher.requests) == 13


def test_when_the_first_requests_are_all_bad_the_run_stops(make: Make) -> None:
    with ScriptedTeacher(at(other=Fault(400, body=error("no such parameter")))) as teacher:
        line = stops(make(teacher, concurrency=1), questions(20))
    assert "refused all of the first 4 requests (HTTP 400: no such parameter)" in line
    assert len(teacher.requests) == 4


# Faults that stop.


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(401, body=error(f"Incorrect API key provided: {KEY}")), "HTTP 401: the key is not"),
        (Fault(403, body=error(KEY)), "HTTP 403"),
        (Fault(404, body=error("model not found")), "HTTP 404: no such model"),
        (Fault(429, body=error(KEY, code="insufficient_quota")), "no credit left; top it up"),
        (Fault(307, {"location": "/v2/chat/completions"}, b""), "the address redirects"),
        (Fault(200, {"content-type": "text/html"}, b"<p>"), "is this the address of the API?"),
        (Fault(418, body=error(f"tea\n{KEY}")), "HTTP 418: tea [key]"),
        (Fault(body=reply(model="m-2")), "asked for teacher-1, the reply is from 'm-2'"),
        (Fault(body=reply(model=None)), "asked for teacher-1, the reply is from None"),
        (Fault(body=reply(model="teacher-12")), "the card accepts 'teacher-1'"),
    ],
)
def test_a_fault_that_stops_the_run(make: Make, fault: Fault, message: str) -> None:
    # A wrong endpoint or model shows at the first reply; the others come up in the midst.
    with ScriptedTeacher(at(**{"n1" if fault.status == 200 else "n3": fault})) as teacher:
        line = stops(make(teacher, concurrency=1), questions(20))
        assert message in line
        assert line.startswith(f"127.0.0.1:{teacher.port}: ")
        sent = 1 if fault.status == 200 else 3
        assert len(teacher.requests) == sent
        # Mended, the run goes on where it stopped.
        teacher.faults = at()
        answers = make(teacher).generate(questions(20), GREEDY)
        assert [answer.text for answer in answers] == expected(questions(20))
        assert len(teacher.requests) == 21


def test_a_web_page_later_in_a_run_is_retried(make: Make) -> None:
    page = Fault(200, {"content-type": "text/html"}, b"<p>")
    with ScriptedTeacher(at(n3=page)) as teacher:
        answers = make(teacher, concurrency=1).generate(questions(4), GREEDY)
    assert {answer.finish_reason for answer in answers} == {"stop"}
    assert len(teacher.requests) == 5


def test_answers_under_way_are_kept_when_the_run_stops(make: Make, log: Path) -> None:
    def faults(asked: Asked) -> Fault | None:
        return Fault(401) if asked.number == 4 else Fault(delay=0.3)

    with ScriptedTeacher(faults) as teacher:
        stops(make(teacher, concurrency=4), questions(20))
    assert len(teacher.requests) == 4
    assert len(lines(log, "result")) == 3


def test_a_reply_of_another_model_counts_once_the_card_accepts_it(make: Make) -> None:
    with ScriptedTeacher(at(other=Fault(body=reply(model="m-2")))) as teacher:
        stops(make(teacher), questions(1))
        loose = CARD.model_copy(update={"accept": "m-[0-9]"})
        (answer,) = make(teacher, loose).generate(questions(1), GREEDY)
        assert answer.finish_reason == "stop"
        assert len(teacher.requests) == 1


def test_a_second_run_on_the_same_log_is_refused(make: Make, log: Path) -> None:
    with ScriptedTeacher() as teacher, CallLog(log) as other:
        make(teacher).generate(questions(1), GREEDY)
        other.lock()
        assert make(teacher).generate(questions(1), GREEDY), "a replay needs no lock"
        with pytest.raises(UserError, match="another run is using"):
            make(teacher).generate(questions(2), GREEDY)
        assert len(teacher.requests) == 1


def test_what_another_run_has_asked_meanwhile_is_not_asked_again(make: Make) -> None:
    with ScriptedTeacher() as teacher:
        early = make(teacher)
        make(teacher).generate(questions(3), GREEDY)
        early.generate(questions(4), GREEDY)
        assert len(teacher.requests) == 4


# Kills and Ctrl-C, in another process.

# A shell ignores SIGINT in what it runs in the background, and a child inherits that.
RUN = """
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from stages.cli import make_parser, run
from stages.models.card import ServedCard
from stages.models.chat import Conversation, Sampling
from stages.models.openai_engine import OpenAIModel
from stages.records import Message
def main(args):
    card = ServedCard(name="teacher-1", base_url="http://unused/v1", env="TEACHER", needs_key=True,
                      accept=None, token_limit="max_tokens", extra_sampling=False)
    asked = [Conversation(id=str(n), messages=(Message(role="user", content=f"q {n}"),), seed=0)
             for n in range(400)]
    sampling = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=5)
    model = OpenAIModel(card, Path(args.log), os.environ)
    for answer in model.generate(asked, sampling):
        print(answer.model_dump_json())
parser = make_parser("run", None)
parser.add_argument("log")
run(main, parser)
"""
CALLS, WORKERS, KILLS = 400, 6, 5


def start(teacher: ScriptedTeacher, log: Path) -> "subprocess.Popen[str]":
    env = {
        **os.environ,
        "TEACHER_API_KEY": KEY,
        "TEACHER_BASE_URL": teacher.url,
        "TEACHER_CONCURRENCY": str(WORKERS),
    }
    command, pipe = [sys.executable, "-c", RUN, str(log)], subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True)


def test_kill_9_loses_nothing_and_pays_twice_only_for_what_was_under_way(log: Path) -> None:
    kept: set[str] = set()
    with ScriptedTeacher(at(other=Fault(delay=0.03)), spread=0.05) as teacher:
        moments = sorted(random.Random(0).sample(range(10, CALLS - 20), KILLS))
        for kills, until in enumerate(moments, start=1):
            process = start(teacher, log)
            wait_for(lambda until=until: teacher.answered >= until)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            whole = [line for line in log.read_bytes().split(b"\n")[:-1] if b'"result"' in line]
            results = {json.loads(line)["key"] for line in whole}
            assert len(results) >= until - kills * WORKERS
            assert kept <= results
            kept = results
        process = start(teacher, log)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    answers = [Completion.model_validate_json(line) for line in out.splitlines()]
    texts = [scripted_reply([{"role": "user", "content": f"q {n}"}]) for n in range(CALLS)]
    assert [answer.text for answer in answers] == texts
    keys = [line["key"] for line in lines(log, "result")]
    assert len(keys) == len(set(keys)) == CALLS
    assert len(teacher.requests) <= CALLS + KILLS * WORKERS
    # Every request was announced: what may have been paid twice is all in the log.
    assert len(lines(log, "intent")) >= len(teacher.requests)


def test_ctrl_c_sends_nothing_more_and_keeps_what_is_under_way(log: Path) -> None:
    with ScriptedTeacher(at(other=Fault(delay=0.3))) as teacher:
        process = start(teacher, log)
        wait_for(lambda: len(teacher.requests) == 2 * WORKERS)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert len(teacher.requests) == 2 * WORKERS
    assert len(lines(log, "result")) == 2 * WORKERS


def test_a_second_ctrl_c_stops_at_once(log: Path) -> None:
    with ScriptedTeacher(at(other=Fault(delay=15))) as teacher:
        process = start(teacher, log)
        wait_for(lambda: len(teacher.requests) == WORKERS)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "interrupt again" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=8)
    assert process.returncode == 130
    assert "Traceback" not in err


# One wait for the disk serves many answers.


def test_workers_share_a_wait_for_the_disk(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    on_disk = 0
    written = 0
    real_write = CallLog.write

    def write(self: CallLog, record: Line) -> None:
        nonlocal written
        real_write(self, record)
        written += isinstance(record, Result)

    def slow_sync(self: CallLog) -> None:
        nonlocal on_disk
        covered = written
        time.sleep(0.02)
        on_disk = covered
        waits.append(covered)

    taken: list[tuple[int, int]] = []
    real_take = openai_engine._Run._take

    def take(self: Any, *args: Any) -> None:
        taken.append((len(taken) + 1, on_disk))
        real_take(self, *args)

    monkeypatch.setattr(CallLog, "write", write)
    monkeypatch.setattr(CallLog, "sync", slow_sync)
    monkeypatch.setattr(openai_engine._Run, "_take", take)
    with ScriptedTeacher() as teacher:
        answers = make(teacher, TEACHER_CONCURRENCY="32").generate(questions(200), GREEDY)
    assert len(answers) == len(taken) == 200
    assert len(waits) < 100
    # No answer is used before it is on the disk.
    assert all(used <= durable for used, durable in taken)


def test_a_disk_that_fails_stops_the_run(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sync(self: CallLog) -> None:
        raise UserError("the disk takes no more")

    monkeypatch.setattr(CallLog, "sync", no_sync)
    with ScriptedTeacher() as teacher, pytest.raises(UserError, match="takes no more"):
        make(teacher).generate(questions(5), GREEDY)


# The server as a program of its own, for pipelines.


def test_the_scripted_teacher_serves_other_processes(tmp_path: Path, make: Make) -> None:
    port, seen = tmp_path / "port", tmp_path / "requests.jsonl"
    script = [sys.executable, str(ROOT / "tests" / "scripted_teacher.py")]
    command = [*script, "--port-file", str(port), "--requests-log", str(seen)]
    process = subprocess.Popen(command)
    try:
        wait_for(port.exists)
        url = f"http://127.0.0.1:{port.read_text(encoding='utf-8').strip()}/v1"
        answers = make(TEACHER_BASE_URL=url).generate(questions(3), GREEDY)
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert [answer.text for answer in answers] == expected(questions(3))
    assert len(seen.read_text(encoding="utf-8").splitlines()) == 3


def test_the_script_answers_tasks_and_gives_feedback_on_others() -> None:
    def ask(content: str) -> str:
        return scripted_reply([{"role": "user", "content": content}])

    asked = [f"{n}: (A) x (B) y. End with 'Answer: (<letter>)'" for n in range(30)]
    assert {ask(a).splitlines()[-1] for a in asked} == {"Answer: (A)", "Answer: (B)"}
    assert ask("True or false? End with 'Answer: <X>'").splitlines()[-1] in (
        "Answer: true",
        "Answer: false",
    )
    assert ask("How many? End with 'Answer: <X>'").splitlines()[-1][len("Answer: ") :].isdigit()
    assert "Answer:" not in ask("Give feedback on this.")
