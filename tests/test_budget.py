"""A budget on the call log: what a server bills never passes it.

Covered: the bound over random reply lengths, faults, concurrency and SIGKILL, reckoned at the
server; what is under way; resuming with a higher budget; replay under a budget of 0; prices not
known; models that cost nothing; queued experiments; the command that sets it. Not covered: a
tokenizer that makes more tokens than bytes, prices that change, several logs on one account.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from engine_run import CARD, GREEDY, KEY, QUICK, questions, start, wait_for
from scripted_teacher import Asked, Fault, Faults, ScriptedTeacher, at, draw

from stages.errors import UserError
from stages.files import write_json
from stages.models.call_log import CallLog, Intent, default_log
from stages.models.card import ServedCard
from stages.models.ledger import Budget, PricedModel, budget_path, ledger_of, read_budget
from stages.models.openai_engine import OpenAIModel, Policy
from stages.models.prices import Price
from stages.params import read_yaml

PRICE = Price(input=1000.0, output=20000.0, as_of=None)
# At most 25 bytes + 16 in and 50 tokens out, so USD 1.041; each reply below has 50 words at most.
MOST = 1.041


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def set_limit(log: Path, teacher: ScriptedTeacher, limit: float, name: str = "teacher-1") -> None:
    model = PricedModel(host=f"127.0.0.1:{teacher.port}", name=name, price=PRICE)
    budget = Budget(limit=limit, models=(model,))
    write_json(budget_path(log), budget.model_dump(mode="json"))


def make(
    teacher: ScriptedTeacher,
    log: Path,
    concurrency: int = 4,
    card: ServedCard = CARD,
    policy: Policy = QUICK,
) -> OpenAIModel:
    env = {
        "TEACHER_API_KEY": KEY,
        "TEACHER_BASE_URL": teacher.url,
        "TEACHER_CONCURRENCY": str(concurrency),
    }
    return OpenAIModel(card, log, env, policy)


def some_words(messages: Sequence[Mapping[str, str]]) -> str:
    return " ".join(["word"] * (1 + draw(messages, GREEDY.max_new_tokens)))


def billed(teacher: ScriptedTeacher, faults: Faults = lambda asked: None) -> float:
    """Return what the server bills: every request that it did not refuse, heard of or not."""
    total = 0.0
    for asked in list(teacher.requests):
        fault = faults(asked) or Fault()
        if fault.status < 300:
            prompt = sum(len(m["content"].split()) for m in asked.body["messages"])
            reply = len(teacher.script(asked.body["messages"]).split())
            total += PRICE.dollars(prompt, reply) or 0.0
    return total


def total(log: Path) -> float:
    budget = read_budget(log)
    assert budget is not None
    return sum(ledger_of(CallLog(log), budget.prices).total())


def stops(model: OpenAIModel, count: int) -> str:
    with pytest.raises(UserError) as caught:
        model.generate(questions(count), GREEDY)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("seed", range(16))
def test_the_bill_never_passes_the_limit(log: Path, seed: int) -> None:
    chance = random.Random(seed)

    def faults(asked: Asked) -> Fault | None:
        kinds = [
            Fault(503),
            Fault(cut="before"),
            Fault(cut="mid"),
            Fault(cut="silent"),
            Fault(body=b"{"),
            Fault(delay=0.6),
            Fault(400),
        ]
        number = draw([{"n": str(asked.number), "seed": str(seed)}], 30)
        return kinds[number] if number < len(kinds) else None

    policy = Policy(deadline=0.4, retries=3, first_wait=0.01, longest_wait=0.02, breaker=10)
    count, limit = 40, chance.uniform(0, 40 * 0.7)
    with ScriptedTeacher(faults, some_words, spread=0.02) as teacher:
        set_limit(log, teacher, limit)
        model = make(teacher, log, chance.choice([1, 2, 5, 9]), policy=policy)
        try:
            model.generate(questions(count), GREEDY)
        except UserError as error:
            assert f"the budget of USD {limit:g}" in str(error)
            # It did not stop early either: the next request at its most did not fit.
            assert total(log) > limit - MOST
        assert billed(teacher, faults) <= total(log) + 1e-9
        assert total(log) <= limit + 1e-9


def test_a_raised_budget_goes_on_and_repeats_nothing(log: Path) -> None:
    with ScriptedTeacher(script=some_words) as teacher:
        for limit in (3.0, 6.0, 9.0):
            set_limit(log, teacher, limit)
            line = stops(make(teacher, log), 40)
            assert f"the budget of USD {limit:g} does not hold the next request: " in line
            assert "`make budget USD=...` raises it" in line
            assert "answers so far are kept" in line
            assert limit - MOST < billed(teacher) <= limit
        set_limit(log, teacher, 1000)
        answers = make(teacher, log).generate(questions(40), GREEDY)
        assert {answer.finish_reason for answer in answers} == {"stop"}
        asked = Counter(json.dumps(a.body, sort_keys=True) for a in teacher.requests)
        assert len(asked) == asked.total() == 40
        # All is there, so nothing is spent and no limit matters.
        for limit in (0.0, 1.0):
            set_limit(log, teacher, limit)
            assert make(teacher, log).generate(questions(40), GREEDY) == answers
        assert "may take" in stops(make(teacher, log), 41)
        assert len(teacher.requests) == 40


def test_requests_under_way_count_at_their_most(log: Path) -> None:
    most = at_once = 0

    def faults(asked: Asked) -> Fault:
        nonlocal most, at_once
        at_once = asked.number - teacher.answered
        most = max(most, at_once)
        return Fault(delay=0.1)

    with ScriptedTeacher(faults, script=lambda messages: "a") as teacher:
        # Room for three at their most, and for all as they turn out.
        set_limit(log, teacher, 3.2 * MOST)
        answers = make(teacher, log, concurrency=12).generate(questions(24), GREEDY)
        assert {answer.finish_reason for answer in answers} == {"stop"}
        assert most == 3
        assert billed(teacher) < 1


def test_what_may_have_been_paid_counts(log: Path) -> None:
    with ScriptedTeacher(at(other=Fault(cut="mid")), some_words) as teacher:
        set_limit(log, teacher, 2.5 * MOST)
        line = stops(make(teacher, log, concurrency=1), 5)
    assert len(teacher.requests) == 2
    assert ": 0.0000 are spent, at most 2.0" in line


def test_a_server_that_is_not_there_costs_nothing(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        pass
    set_limit(log, teacher, MOST)
    answers = make(teacher, log, concurrency=1).generate(questions(3), GREEDY)
    assert {answer.finish_reason for answer in answers} == {"error"}
    assert total(log) == 0


def test_sigkill_keeps_the_bound(log: Path) -> None:
    with ScriptedTeacher(at(other=Fault(delay=0.02)), some_words, spread=0.05) as teacher:
        limit = 30.0
        set_limit(log, teacher, limit)
        for until in (6, 15, 25):
            process = start(teacher.url, log, 200, TEACHER_CONCURRENCY="6")
            wait_for(lambda until=until: teacher.answered >= until)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert billed(teacher) <= total(log) <= limit
        process = start(teacher.url, log, 200, TEACHER_CONCURRENCY="6")
        _, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "the budget of USD 30 does not hold the next request" in err
        assert billed(teacher) <= total(log) + 1e-9 <= limit + 2e-9
        # What was under way at a kill is in doubt: it is not asked again for free.
        lost = [line for line in CallLog(log).lines() if isinstance(line, Intent)]
        assert len(lost) >= len(teacher.requests)
        assert total(log) > limit - MOST


def test_without_a_price_nothing_is_sent(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        set_limit(log, teacher, 100, name="another")
        line = stops(make(teacher, log), 2)
        assert "sets a budget and has no price for teacher-1 at 127.0.0.1" in line
        assert teacher.requests == []
        assert not log.read_bytes()


def test_a_model_without_a_key_needs_no_budget(log: Path) -> None:
    with ScriptedTeacher() as teacher:
        set_limit(log, teacher, 0, name="another")
        free = CARD.model_copy(update={"needs_key": False})
        answers = make(teacher, log, card=free).generate(questions(3), GREEDY)
    assert {answer.finish_reason for answer in answers} == {"stop"}


@pytest.mark.parametrize("text", ["", "{}", '{"limit": -1, "models": []}', '{"limit": "5"}'])
def test_a_damaged_budget_stops_the_run(log: Path, text: str) -> None:
    budget_path(log).write_text(text)
    with ScriptedTeacher() as teacher:
        assert stops(make(teacher, log), 2).startswith(f"{budget_path(log)}: ")
        assert teacher.requests == []


def test_a_queued_experiment_finds_the_budget_of_its_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, copy = tmp_path / "checkout", tmp_path / "copy"
    copy.mkdir()
    subprocess.run(["git", "init", "--quiet", str(checkout)], check=True)
    monkeypatch.chdir(checkout)
    log = default_log({})
    write_json(budget_path(log), Budget(limit=5, models=()).model_dump(mode="json"))
    # The queue runs in a temporary copy and names the checkout.
    monkeypatch.chdir(copy)
    assert read_budget(default_log({"DVC_ROOT": str(checkout)})) == Budget(limit=5, models=())
    # It lies in the git folder, so it is no file of the pipeline and makes no cell stale.
    assert [path.name for path in checkout.iterdir()] == [".git"]


# The command.


@pytest.fixture
def ledger(tmp_path: Path) -> Callable[..., str]:
    params = read_yaml(ROOT / "scales" / "tiny.yaml")
    scripted: dict[str, Any] = params["models"]["scripted"]
    scripted["needs_key"] = True
    params["models"]["free"] = {**scripted, "name": "free", "needs_key": False}
    params["models"]["new"] = {**scripted, "name": "new"}
    params["prices"] = {"scripted": {"input": 1.0, "output": 2.0, "as_of": "2024-07-18"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))

    def call(*words: str, code: int = 0) -> str:
        base = ["--params", str(tmp_path / "params.yaml"), "--log", str(tmp_path / "calls.jsonl")]
        done = subprocess.run(
            [sys.executable, "-m", "stages.ledger", *base, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return call


def test_the_command_sets_and_removes_it(log: Path, ledger: Callable[..., str]) -> None:
    out = ledger("--budget", "5")
    assert f"budget USD 5, at least 5.0000 left ({budget_path(log)})" in out
    assert "price of new not known: set prices.new" in out
    budget = read_budget(log)
    assert budget is not None
    assert [(model.host, model.name) for model in budget.models] == [("127.0.0.1:9", "scripted")]
    assert str(budget.models[0].price.as_of) == "2024-07-18"
    assert "budget USD 0.5," in ledger("--budget", "0.5")
    assert "budget" not in ledger("--no-budget")
    assert not budget_path(log).exists()
    assert "budget" not in ledger("--no-budget"), "there is none, and none is wanted"


@pytest.mark.parametrize("amount", ["-1", "nan", "inf"])
def test_an_amount_that_is_none(log: Path, ledger: Callable[..., str], amount: str) -> None:
    out = ledger(f"--budget={amount}", code=1)
    assert out == f"error: --budget must be US dollars from 0, got {amount}\n"
    assert not budget_path(log).exists()
