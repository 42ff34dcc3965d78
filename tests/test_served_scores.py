"""Scoring given text over a server, and log-probs of replies, against a local server.

Covered: the sum and which tokens it is over, what is sent and how often, replay without a server,
faults, servers that cannot do it, and the reading of odd answers as pure functions. Not covered: a
real vllm server (benchmarks/agreement.py compares one with the other engines).
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_teacher import (
    END,
    END_TOKEN,
    Asked,
    Fault,
    Faults,
    ScriptedTeacher,
    at,
    logprob_of,
    prompt_of,
    tokens_of,
)

from stages.errors import UserError
from stages.models.card import ServedCard
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.models.openai_engine import OpenAIModel, Policy
from stages.models.replies import classify
from stages.models.served_scores import SCORES, TOKENIZE
from stages.records import Message

CARD = ServedCard(
    name="student-1",
    base_url="http://127.0.0.1:9/v1",
    env="STUDENT",
    needs_key=False,
    accept="student-1",
    token_limit="max_tokens",
    extra_sampling=True,
    end_token=END,
)
GREEDY = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=50)
QUICK = Policy(deadline=5, retries=2, first_wait=0.01, longest_wait=0.05, breaker=3)
REPLIES = ["Answer: (A)", "", "caf\u00e9", f"a{END}b", "Answer: (A)"]

Make = Callable[..., OpenAIModel]


def questions(count: int) -> list[Conversation]:
    return [
        Conversation(f"q/{n}", (Message(role="user", content=f"Question {n}?"),), 0)
        for n in range(count)
    ]


def by_hand(conversation: Conversation, reply: str) -> ReplyScore:
    prompt = tokens_of(prompt_of([m.model_dump() for m in conversation.messages]))
    target = [*tokens_of(reply), END_TOKEN]
    logprobs = [logprob_of(len(prompt) + n, token) for n, token in enumerate(target)]
    return ReplyScore(sum(logprobs), len(target))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(teacher: ScriptedTeacher | str, **card: object) -> OpenAIModel:
        url = teacher if isinstance(teacher, str) else teacher.url
        env = {"STUDENT_BASE_URL": url, "STUDENT_CONCURRENCY": "4"}
        return OpenAIModel(CARD.model_copy(update=card), tmp_path / "calls.jsonl", env, QUICK)

    return build


def paths(teacher: ScriptedTeacher) -> Counter[str]:
    return Counter(asked.path for asked in teacher.requests)


def test_the_sum_is_right_and_is_replayed_without_a_server(make: Make) -> None:
    asked = questions(len(REPLIES))
    expected = [by_hand(*pair) for pair in zip(asked, REPLIES, strict=True)]
    with ScriptedTeacher(spread=0.05) as teacher:
        assert make(teacher).score(asked, REPLIES) == expected
        url = teacher.url
    # A prompt each, the end token, and the different texts that are not empty.
    assert paths(teacher) == {"/tokenize": 5 + 1 + 3, "/v1/completions": 5}
    assert make(url).score(asked, REPLIES) == expected
    assert len(teacher.requests) == 14
    assert make(url).score([], []) == []


def test_what_is_sent(make: Make) -> None:
    with ScriptedTeacher() as teacher:
        make(teacher).score(questions(1), ["yes"])
    messages = [{"role": "user", "content": "Question 0?"}]
    text = {"model": "student-1", "add_special_tokens": False}
    sent = [asked.body for asked in teacher.requests if asked.path == "/tokenize"]
    assert {**text, "messages": messages, "add_generation_prompt": True} in sent
    assert {**text, "prompt": "yes"} in sent
    assert {**text, "prompt": END} in sent
    assert teacher.requests[-1].body == {
        "model": "student-1",
        "prompt": tokens_of(f"{prompt_of(messages)}yes{END}"),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 0,
    }


def test_without_an_end_token_nothing_is_sent(make: Make) -> None:
    with ScriptedTeacher() as teacher:
        with pytest.raises(UserError, match=r"student-1: .* end_token is set"):
            make(teacher, end_token=None).score(questions(2), ["x", "y"])
        assert not teacher.requests
        with pytest.raises(UserError, match="end_token 'end' is 3 tokens to the server, not one"):
            make(teacher, end_token="end").score(questions(2), ["x", "y"])
        assert not paths(teacher)["/v1/completions"]


def on(path: str, fault: Fault) -> Faults:
    return lambda asked: fault if asked.path == path else None


def without_scores(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "choices": [{**body["choices"][0], "prompt_logprobs": None}]}


def cut_short(body: dict[str, Any]) -> dict[str, Any]:
    body["choices"][0]["prompt_logprobs"].pop()
    return body


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (on("/tokenize", Fault(404)), "HTTP 404: no such model, or a server without /tokenize"),
        (on("/tokenize", Fault(405)), "HTTP 405: no such model, or a server without /tokenize"),
        (on("/tokenize", Fault(body=b'{"ok": true}')), "no tokens in the answer of /tokenize"),
        (on("/v1/completions", Fault(404)), "HTTP 404: no such model, or a server without compl"),
        (on("/v1/completions", Fault(body=without_scores)), "no prompt_logprobs in the answer"),
        (on("/v1/completions", Fault(body=cut_short)), "prompt_logprobs do not fit the prompt"),
        (on("/v1/completions", Fault(400)), "refused all of the first 3 requests (HTTP 400"),
        (on("/v1/completions", Fault(body=lambda b: {**b, "model": "m-2"})), "is from 'm-2'"),
    ],
)
def test_a_server_that_cannot_score_is_named(make: Make, faults: Faults, message: str) -> None:
    with ScriptedTeacher(faults) as teacher, pytest.raises(UserError) as caught:
        make(teacher).score(questions(3), ["x", "y", "z"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/tokenize", "/v1/completions"])
@pytest.mark.parametrize(
    "fault", [Fault(503), Fault(429), Fault(cut="mid"), Fault(body=b"{"), Fault(body=b"null")]
)
def test_a_passing_fault_is_retried(make: Make, path: str, fault: Fault) -> None:
    seen: Counter[str] = Counter()

    def once(asked: Asked) -> Fault | None:
        seen[asked.path] += 1
        return fault if asked.path == path and seen[path] == 1 else None

    asked = questions(2)
    with ScriptedTeacher(once) as teacher:
        scores = make(teacher).score(asked, ["x", "y"])
    assert scores == [by_hand(asked[0], "x"), by_hand(asked[1], "y")]
    assert len(teacher.requests) == 5 + 2 + 1


def test_what_failed_is_all_that_a_new_run_asks(make: Make) -> None:
    asked = questions(4)

    def third(asked: Asked) -> Fault | None:
        here = asked.path == "/v1/completions"
        return Fault(503) if here and ord("2") in asked.body["prompt"] else None

    with ScriptedTeacher(third) as teacher:
        with pytest.raises(UserError, match="1 of 4 requests to /completions failed"):
            make(teacher).score(asked, ["a", "b", "c", "d"])
        before = len(teacher.requests)
        teacher.faults = at()
        scores = make(teacher).score(asked, ["a", "b", "c", "d"])
        assert len(teacher.requests) == before + 1
    assert scores == [by_hand(*pair) for pair in zip(asked, "abcd", strict=True)]


def test_logprobs_of_replies_are_taken_where_asked_for(make: Make) -> None:
    with ScriptedTeacher() as teacher:
        (plain,) = make(teacher).generate(questions(1), GREEDY)
        (told,) = make(teacher, logprobs=True).generate(questions(1), GREEDY)
    assert [asked.body.get("logprobs") for asked in teacher.requests] == [None, True]
    assert plain.logprob is None
    assert told.logprob == sum(-len(word) / 8 for word in told.text.split())
    assert told.text == plain.text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"logprob": -1.5}, {"logprob": -0.25}], -1.75),
        ([{"logprob": -1.5}, {"logprob": 0}], -1.5),
        ([{"logprob": -1.5}], None),  # not every token is there
        ([{"logprob": -1.5}, {"logprob": -9999.0}], None),
        ([{"logprob": -1.5}, {"logprob": float("nan")}], None),
        ([{"logprob": -1.5}, {"logprob": None}], None),
        ([{"logprob": -1.5}, None], None),
        ([], None),
        (None, None),
        ("x", None),
    ],
)
def test_only_a_whole_logprob_counts(content: object, expected: float | None) -> None:
    choice = {
        "index": 0,
        "message": {"content": "x y"},
        "finish_reason": "stop",
        "logprobs": {"content": content},
    }
    body = {"model": "m", "choices": [choice], "usage": {"completion_tokens": 2}}
    outcome = classify(200, {}, json.dumps(body).encode())
    assert outcome.completion is not None
    assert outcome.completion.logprob == expected


@pytest.mark.parametrize(
    ("body", "action"),
    [
        ({"tokens": [1, 2]}, "store"),
        ({"tokens": []}, "store"),
        ({"tokens": [1, None]}, "stop"),
        ({"tokens": [1, True]}, "stop"),
        ({"tokens": "12"}, "stop"),
        ({"error": {"code": 503}}, "retry"),
        ([1, 2], "retry"),
    ],
)
def test_tokens_are_checked(body: object, action: str) -> None:
    assert TOKENIZE.classify(200, {}, json.dumps(body).encode()).action == action


@pytest.mark.parametrize(
    ("choices", "action"),
    [
        ([{"prompt_logprobs": [None, {"5": {"logprob": -1.0}}]}], "store"),
        ([{"prompt_logprobs": [None, 5]}], "stop"),
        ([{"prompt_logprobs": None}], "stop"),
        ([{}, {}], "stop"),
        (None, "stop"),
    ],
)
def test_scores_are_checked(choices: object, action: str) -> None:
    body = {"model": "m", "choices": choices}
    assert SCORES.classify(200, {}, json.dumps(body).encode()).action == action
