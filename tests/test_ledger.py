"""The ledger: what the lines of a call log have cost.

Covered: every kind of line by hand-reckoned dollars; sums that do not depend on the order in which
calls interleave; imports, old logs, prices not known; the command on a real run's log and on none.
Not covered: whether a provider bills what its token counts say.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from scripted_teacher import Fault, ScriptedTeacher, at

from stages.calls import results
from stages.models.call_log import CallLog, Failure, Intent, Line, Result
from stages.models.card import ServedCard
from stages.models.chat import Conversation, Sampling
from stages.models.ledger import Ledger, ledger_of
from stages.models.openai_engine import OpenAIModel
from stages.models.prices import Price
from stages.params import read_yaml
from stages.records import Message

HOST = "h:443"
PRICES = {(HOST, "m"): Price(input=2.0, output=10.0, as_of=None)}
KEY = ("feedback", HOST, "m")
# At most 1,000 tokens in and 100 out: USD 0.003; of these 500 and 20 are USD 0.0012.
MOST, PAID = 0.003, 0.0012


def intent(key: str, batch: str | None = None, stage: str = "feedback") -> Intent:
    return Intent(
        key=key,
        attempt=1,
        id=f"{stage}/c/s/0/{key}",
        model="m",
        host=HOST,
        prompt_limit=1000,
        reply_limit=100,
        batch=batch,
    )


def result(key: str, status: str = "stop", **changes: object) -> Result:
    usage = {"prompt_tokens": 500, "completion_tokens": 20}
    fields = {"key": key, "status": status, "http_status": 200, "body": "{}", "headers": {}}
    rest = {"model": "m-1", "usage": usage, "latency": 0.0, "sdk": "0"}
    return Result.model_validate({**fields, **rest, **changes})


def failure(key: str, kind: str, body: str = "") -> Failure:
    return Failure(key=key, kind=kind, retryable=True, http_status=None, body=body)


def reckon(*lines: Line) -> tuple[float, float]:
    ledger = Ledger(PRICES)
    for line in lines:
        ledger.add(line)
    return ledger.total()


@pytest.mark.parametrize(
    ("lines", "certain", "maybe"),
    [
        ([], 0, 0),
        ([intent("a")], 0, MOST),
        ([intent("a"), result("a")], PAID, 0),
        ([intent("a"), result("a", "length")], PAID, 0),
        ([intent("a"), result("a", "refusal")], PAID, 0),
        ([intent("a"), result("a", "bad_request", usage={})], 0, 0),
        ([intent("a"), result("a", usage={})], 0, MOST),
        ([intent("a"), result("a", usage={"prompt_tokens": 3})], 0, MOST),
        ([intent("a"), failure("a", "server")], 0, 0),
        ([intent("a"), failure("a", "rate_limit")], 0, 0),
        ([intent("a"), failure("a", "timeout")], 0, MOST),
        ([intent("a"), failure("a", "malformed")], 0, MOST),
        ([intent("a"), failure("a", "not_an_api")], 0, MOST),
        ([intent("a"), failure("a", "transport", "transport: ReadError")], 0, MOST),
        ([intent("a"), failure("a", "transport", "transport: ConnectError")], 0, 0),
        ([intent("a"), failure("a", "timeout"), intent("a"), result("a")], PAID, MOST),
        # A kill between the two: the first request may have been paid as well.
        ([intent("a"), intent("a"), result("a")], PAID, MOST),
        # Paid elsewhere, even where a request was lost here before.
        ([result("a")], 0, 0),
        ([intent("a"), result("a", time="")], 0, MOST),
        # Asked again on purpose.
        ([intent("a"), result("a"), intent("a"), result("a")], 2 * PAID, 0),
        # By batch: half, whatever the state.
        ([intent("a", "d")], 0, MOST / 2),
        ([intent("a", "d"), result("a", batch="b")], PAID / 2, 0),
        ([intent("a", "d"), result("a", batch="b", usage={})], 0, MOST / 2),
        ([intent("a", "d"), failure("a", "batch_expired")], 0, 0),
        ([intent("a", "d"), failure("a", "missing")], 0, MOST / 2),
    ],
)
def test_what_lines_cost(lines: list[Line], certain: float, maybe: float) -> None:
    assert reckon(*lines) == pytest.approx((certain, maybe), abs=1e-15)


def test_entries_are_by_stage_and_count_what_happened() -> None:
    ledger = Ledger(PRICES)
    for line in (
        intent("a"), result("a"), intent("b", stage="answer"), result("b", "length"),
        intent("c"), failure("c", "timeout"), intent("c"), result("c", usage={}), result("z"),
        intent("d", "x"), result("d", batch="b"),
    ):  # fmt: skip
        ledger.add(line)
    entry = ledger.entries[KEY]
    assert (entry.answers, entry.by_batch, entry.failed) == ({"stop": 3}, 1, 1)
    assert (entry.maybe, entry.uncounted) == (1, 1)
    assert ledger.entries["answer", HOST, "m"].answers == {"length": 1}
    assert sum(entry.imported for entry in ledger.entries.values()) == 1
    assert ledger.dollars(KEY) == pytest.approx((1.5 * PAID, 2 * MOST))
    assert ledger.unpriced() == []


def test_the_total_does_not_depend_on_how_calls_interleave() -> None:
    chance = random.Random(0)
    ends = [
        lambda k: result(k),
        lambda k: failure(k, "timeout"),
        lambda k: failure(k, "server"),
        lambda k: result(k, usage={}),
    ]
    calls = [[intent(f"k{n}"), chance.choice(ends)(f"k{n}")] for n in range(200)]
    totals = set()
    for seed in range(5):
        order, lines = [n for n in range(200) for _ in range(2)], []
        random.Random(seed).shuffle(order)
        left = [list(call) for call in calls]
        lines = [left[n].pop(0) for n in order]
        totals.add(reckon(*lines))
    assert len(totals) == 1, "not even in the last digit"


def test_without_a_price_it_says_what_it_did_not_count() -> None:
    for prices in ({}, {(HOST, "m"): Price(input=1.0, output=None, as_of=None)}):
        ledger = Ledger(prices)
        for line in (intent("a"), result("a"), result("imported")):
            ledger.add(line)
        assert ledger.dollars(KEY) is None
        assert ledger.total() == (0, 0)
        assert ledger.unpriced() == [KEY]


def test_an_old_log_counts_with_the_model_that_replied() -> None:
    ledger = Ledger(PRICES)
    for line in (Intent(key="a", attempt=1), result("a"), Intent(key="b", attempt=1)):
        ledger.add(line)
    assert ledger.entries["-", "", "m-1"].answers == {"stop": 1}
    assert ledger.entries["-", "", "m-1"].maybe == 0
    assert ledger.entries["-", "", "-"].maybe == 1
    assert len(ledger.unpriced()) == 2


# The command, on the log of a real run.

CARD = ServedCard(
    name="scripted",
    base_url="http://127.0.0.1:9/v1",
    env="SCRIPTED",
    needs_key=True,
    accept=None,
    token_limit="max_tokens",
    extra_sampling=False,
)
SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=9)


def command(tmp_path: Path, *words: str, code: int = 0, needs_key: bool = True, **env: str) -> str:
    params = read_yaml(ROOT / "scales" / "tiny.yaml")
    params["models"]["scripted"]["needs_key"] = needs_key
    price = {"input": 1000.0, "output": 10.0, "as_of": "2024-07-18"}
    params["prices"] = {"scripted": price}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    base = ["--params", str(tmp_path / "params.yaml"), "--log", str(tmp_path / "calls.jsonl")]
    done = subprocess.run(
        [sys.executable, "-m", "stages.ledger", *base, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_the_command_on_a_run(tmp_path: Path) -> None:
    asked = [
        Conversation(f"{stage}/{n}", (Message(role="user", content=f"{stage} {n}"),), n)
        for stage in ("answer", "feedback")
        for n in range(5)
    ]
    with ScriptedTeacher(at(n2=Fault(400, body=b"{}"), n3=Fault(503))) as teacher:
        url = teacher.url
        env = {"SCRIPTED_BASE_URL": url, "SCRIPTED_API_KEY": "k", "SCRIPTED_CONCURRENCY": "1"}
        replies = OpenAIModel(CARD, tmp_path / "calls.jsonl", env).generate(asked, SAMPLING)
    paid = (
        sum(1000 * (r.prompt_tokens or 0) + 10 * (r.completion_tokens or 0) for r in replies) / 1e6
    )
    out = command(tmp_path, SCRIPTED_BASE_URL=url)
    rows = [line.split() for line in out.splitlines()]
    host = f"127.0.0.1:{teacher.port}"
    assert rows[1][:8] == ["answer", "scripted", host, "5", "0", "0", "1", "0"]
    assert rows[2][:8] == ["feedback", "scripted", host, "5", "0", "0", "0", "0"]
    assert f"USD {paid:.4f} for certain, and at most 0.0000 more" in out
    assert "1 bad_request" in out
    tokens = [sum(r.prompt_tokens or 0 for r in replies[:5])]
    tokens.append(sum(r.completion_tokens or 0 for r in replies[:5]))
    assert rows[1][8:10] == [str(count) for count in tokens]
    assert "USD 1000 in, 10 out per million tokens as of 2024-07-18, by batch 0.5 of it" in out
    # At another address there is no price, and a server without keys costs nothing.
    assert "not counted, as its price is not known: answer scripted" in command(tmp_path)
    free = command(tmp_path, needs_key=False, SCRIPTED_BASE_URL=url)
    assert "USD 0.0000 for certain, and at most 0.0000 more" in free
    assert "not known" not in free

    # What others import has cost them nothing.
    theirs = CallLog(tmp_path / "theirs.jsonl")
    with theirs:
        for answer in results(CallLog(tmp_path / "calls.jsonl")):
            theirs.append(answer)
    ledger = ledger_of(theirs, {})
    assert sum(entry.imported for entry in ledger.entries.values()) == 10
    assert not ledger.unpriced()


def test_the_command_without_a_log(tmp_path: Path) -> None:
    for content in (None, ""):
        if content is not None:
            (tmp_path / "calls.jsonl").write_text(content)
        out = command(tmp_path)
        assert out.startswith("no calls in the log yet\n\nUSD 0.0000 for certain")
