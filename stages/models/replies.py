"""What a response of a chat server means: store it, ask again, or stop. No network here.

Everything is a pure function of status, headers and body, so that a body in the call log can be
read again by a later version of this file without asking anybody.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from stages.records import Completion, FinishReason


@dataclass(frozen=True)
class Outcome:
    """What a response means.

    Attributes:
        action: `store` it for good, `retry` the request, or `stop` the run.
        kind: the terminal status where it is stored, else the class of failure.
        detail: one line for the record or the user.
        completion: the reply, where it is stored.
        model: the model that the server says has answered.
        usage: the server's token counts, empty where it gives none.
    """

    action: Literal["store", "retry", "stop"]
    kind: str
    detail: str = ""
    completion: Completion | None = None
    model: str | None = None
    usage: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """One thing that can be asked of a server.

    Attributes:
        kind: tells its calls apart from others in the log.
        path: where it lies, below the API's address or, `at_root`, beside the API's `/v1`.
        read: what the JSON object of an answer means.
        at_root: see `path`.
        names_model: whether an answer says which model gave it.
        missing: what to tell the user of a server that has no such path, None for the usual words.
    """

    kind: str
    path: str
    read: Callable[[Mapping[str, Any]], Outcome]
    at_root: bool = False
    names_model: bool = True
    missing: str | None = None

    def classify(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Return what a response means: a pure function, so that a stored one can be read again."""
        try:
            value: Any = json.loads(body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            value = None
        if 200 <= status < 300:
            return _classify_reply(value, headers, self.read)
        error = value.get("error") if isinstance(value, dict) else None
        outcome = _classify_error(status, error)
        if self.missing is not None and outcome.kind in ("not_found", "unexpected"):
            return replace(outcome, detail=f"HTTP {status}: {self.missing}")
        return outcome


def _classify_error(status: int, error: object) -> Outcome:
    fields: dict[str, Any] = error if isinstance(error, dict) else {}
    said = fields.get("message") or (error if isinstance(error, str) else "")
    message = one_line(f"HTTP {status}: {said}" if said else f"HTTP {status}")
    reasons = {str(fields.get("code")), str(fields.get("type"))}
    if status == 402 or "insufficient_quota" in reasons:
        return Outcome("stop", "quota", f"HTTP {status}: the account has no credit left; top it up")
    if status in (400, 413, 422):
        refused = Completion(text="", finish_reason="bad_request", detail=message)
        return Outcome("store", "bad_request", message, refused)
    # The server's words on a rejected key may quote it, so these lines are our own.
    if status == 401:
        return Outcome("stop", "unauthorized", "HTTP 401: the key is not accepted")
    if status == 403:
        return Outcome("stop", "forbidden", "HTTP 403: the key may not use this model or address")
    if status == 404:
        return Outcome("stop", "not_found", "HTTP 404: no such model, or a wrong address")
    if 300 <= status < 400:
        return Outcome("stop", "redirect", f"HTTP {status}: the address redirects; give the final")
    if status == 429:
        return Outcome("retry", "rate_limit", message)
    if status in (408, 409, 425) or status >= 500:
        return Outcome("retry", "server", message)
    return Outcome("stop", "unexpected", message)


def _classify_reply(
    value: object, headers: Mapping[str, str], read: Callable[[Mapping[str, Any]], Outcome]
) -> Outcome:
    if not isinstance(value, dict):
        kind = {name.lower(): text for name, text in headers.items()}.get("content-type", "")
        if "html" in kind:
            return Outcome("retry", "not_an_api", "a web page came instead of a reply")
        return Outcome("retry", "malformed", "the reply is not a JSON object")
    if value.get("error"):
        return _classify_embedded(value["error"])
    return read(value)


def read_chat(value: Mapping[str, Any]) -> Outcome:
    """Return what a reply of the chat protocol means."""
    choices = value.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return Outcome("retry", "malformed", "the reply does not hold exactly one choice")
    choice, message = choices[0], choices[0].get("message")
    if choice.get("index", 0) != 0 or not isinstance(message, dict):
        return Outcome("retry", "malformed", "the reply's only choice has a wrong index or form")
    content, refusal = message.get("content"), message.get("refusal")
    finish = choice.get("finish_reason")
    if not isinstance(content, str | None) or not isinstance(refusal, str | None):
        return Outcome("retry", "malformed", "the reply's content is not text")
    if finish not in ("stop", "length", "content_filter"):
        return Outcome("retry", "malformed", one_line(f"unknown finish_reason {finish!r}"))
    usage = usage_of(value)
    reason: FinishReason = "refusal" if refusal else finish
    completion = Completion(
        text=_valid(content or ""),
        finish_reason=reason,
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        logprob=_logprob(choice.get("logprobs"), usage.get("completion_tokens")),
        detail=one_line(refusal) if refusal else None,
    )
    return Outcome("store", reason, "", completion, model_of(value), usage)


def _logprob(logprobs: object, tokens: int | None) -> float | None:
    """Return the sum over a reply's tokens, None where not every token's log-prob is there."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or len(content) != tokens:
        return None
    return total(entry.get("logprob") if isinstance(entry, dict) else None for entry in content)


def total(logprobs: Iterable[object]) -> float | None:
    """Return the sum, None where one is no log-prob: servers write -9999 where they cannot tell."""
    found = 0.0
    for value in logprobs:
        if not isinstance(value, float | int) or not -9999 < value < math.inf:
            return None
        found += value
    return found


def _classify_embedded(error: object) -> Outcome:
    """Classify an error that came with HTTP 200: proxies do that, with the status as the code."""
    code = str(error.get("code")) if isinstance(error, dict) else ""
    outcome = _classify_error(int(code) if re.fullmatch("[45][0-9]{2}", code) else 500, error)
    if outcome.action == "store":
        # Not for good: with HTTP 200 around it, it may be the proxy's fault and not the request's.
        return Outcome("retry", "malformed", outcome.detail)
    return outcome


def one_line(text: str) -> str:
    """Return text of a server as one line of bounded length."""
    text = " ".join(_valid(text).split())
    return text if len(text) <= 300 else text[:297] + "..."


def _valid(text: str) -> str:
    """Replace lone surrogates, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def model_of(value: Mapping[str, Any]) -> str | None:
    """Return the model that an answer says it is from."""
    model = value.get("model")
    return _valid(model) if isinstance(model, str) else None


def usage_of(value: Mapping[str, Any]) -> dict[str, int]:
    """Return the token counts that make sense; the rest can be read from the stored body."""
    usage = value.get("usage")
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: usage.get(name) for name in names} if isinstance(usage, dict) else {}
    return {name: n for name, n in counts.items() if type(n) is int and n >= 0}


CHAT = Endpoint("chat.completions", "/chat/completions", read_chat)


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Return what a response to a chat call means."""
    return CHAT.classify(status, headers, body)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a server asks to wait, None where it does not (or not clearly)."""
    lower = {name.lower(): text.strip() for name, text in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", lower.get(name, "")):
            return float(lower[name]) * unit
    try:
        return max(0.0, parsedate_to_datetime(lower["retry-after"]).timestamp() - now)
    except (KeyError, ValueError):
        return None
