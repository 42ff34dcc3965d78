"""The `openai` engine: any server that speaks the OpenAI chat protocol, hosted or `vllm serve`.

One place owns each decision: `replies` says what a response means, `Policy` how patiently to try
again, the call log what is known already. The SDK's own retries are off, since two retry owners
multiply requests.
"""

import asyncio
import re
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import UserError
from stages.models.call_log import (
    CallLog,
    Failure,
    Intent,
    Result,
    call_key,
    host_of,
)
from stages.models.card import ServedCard
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.models.replies import CHAT, Endpoint, Outcome, retry_after
from stages.models.served_scores import served_scores
from stages.models.template import by_role
from stages.progress import bar
from stages.records import Completion

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# Response headers worth keeping: they name the request to the server's operator.
KEPT_HEADERS = ("x-request-id", "request-id")
# Shorter keys are placeholders such as "EMPTY"; replacing those would change ordinary text.
SECRET_LENGTH = 16


@dataclass(frozen=True)
class Policy:
    """How patient a run is. Times are in seconds.

    Attributes:
        deadline: wall-clock limit of one request; a read timeout alone never ends a slow drip.
        retries: how often a call is tried again, over all kinds of failures.
        first_wait: wait before the first retry, doubled for each further one.
        longest_wait: upper limit of that doubling.
        longest_pause: the longest Retry-After that is waited for; above it the run stops.
        breaker: so many calls in a row that use up their retries stop the run, and so many requests
            refused as bad before any is answered.
    """

    deadline: float = 600.0
    retries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_pause: float = 120.0
    breaker: int = 5

    def wait(self, tries: int) -> float:
        """Return the wait after `tries` failed tries; without chance, as there is one client."""
        return float(min(self.first_wait * 2 ** (tries - 1), self.longest_wait))


# Some failures may have been paid for or are likely to repeat, and get fewer retries than others.
FEWER_RETRIES = {"timeout": 1, "malformed": 2, "not_an_api": 2}


class OpenAIModel:
    """A model behind an OpenAI-compatible server, every answer of it durable before it is used.

    Args:
        card: the served model.
        log: the call log, or where it lies.
        env: the environment; `<card.env>_API_KEY`, `<card.env>_BASE_URL` and
            `<card.env>_CONCURRENCY` (8) are read, and `<card.env>_RETRY_FAILED=1` asks again what
            the server refused as a bad request in an earlier run.
        policy: how patient to be.

    Raises:
        UserError: the address, the concurrency or the key has a wrong form, or the log is corrupt.
    """

    def __init__(
        self,
        card: ServedCard,
        log: CallLog | Path,
        env: Mapping[str, str],
        policy: Policy | None = None,
    ) -> None:
        self._card = card
        self._log = log if isinstance(log, CallLog) else CallLog(log)
        self._policy = policy or Policy()
        self._base_url = env.get(f"{card.env}_BASE_URL") or card.base_url
        try:
            self._host = host_of(self._base_url)
        except UserError as error:
            raise UserError(f"{card.name} ({card.env}_BASE_URL, or its card): {error}") from None
        concurrency = env.get(f"{card.env}_CONCURRENCY") or "8"
        if not re.fullmatch("[1-9][0-9]{0,3}", concurrency):
            raise UserError(f"{card.env}_CONCURRENCY must be a number from 1, got {concurrency!r}")
        self._concurrency = int(concurrency)
        self._key = env.get(f"{card.env}_API_KEY", "").strip()
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise UserError(f"{card.env}_API_KEY holds characters that no key has")
        self._organization = env.get(f"{card.env}_ORG_ID")
        self._project = env.get(f"{card.env}_PROJECT_ID")
        self._retry_failed = env.get(f"{card.env}_RETRY_FAILED") == "1"

    def generate(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion]:
        """Return one completion a conversation, in their order.

        What the call log holds is not asked again; a full log needs no key and no network. A
        request that failed for now comes back with finish_reason `error` and is asked again at the
        next run.

        Raises:
            UserError: the key is missing, the server cannot be used, or the sampling asks for what
                this server does not know. Answers so far are kept.
            KeyboardInterrupt: after Ctrl-C, once the answers under way are in the log.
        """
        keys, requests = self._requests(conversations, sampling)
        done = self._answers(CHAT, requests)
        return [done[key] for key in keys]

    def _answers(
        self, endpoint: Endpoint, requests: Mapping[str, dict[str, Any]]
    ) -> dict[str, Completion]:
        """Return the completion to each request, by key. Raises as `generate` does."""
        done = self._known(requests, endpoint)
        if len(done) < len(requests):
            if self._card.needs_key and not self._key:
                raise UserError(
                    f"{self._card.env}_API_KEY is not set, and {len(requests) - len(done)} of"
                    f" {len(requests)} requests to {self._host} are not in {self._log.path}"
                )
            with self._log:
                self._log.lock()
                # Another run may have finished since the log was read.
                done = self._known(requests, endpoint)
                todo = {key: body for key, body in requests.items() if key not in done}
                done |= self._ask(todo, endpoint)
        return done

    def unanswered(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return the ids of those that the call log does not answer: what a run would pay for."""
        keys, requests = self._requests(conversations, sampling)
        done = set(self._known(requests))
        first = dict(zip(reversed(keys), (c.id for c in reversed(conversations)), strict=True))
        return [name for key, name in first.items() if key not in done]

    def _requests(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> tuple[list[str], dict[str, dict[str, Any]]]:
        """Return the key of each conversation, and the different requests by key."""
        bodies = [self._body(conversation, sampling) for conversation in conversations]
        keys = [call_key(CHAT.kind, self._host, body) for body in bodies]
        return keys, dict(zip(keys, bodies, strict=True))

    def score(
        self, conversations: Sequence[Conversation], replies: Sequence[str]
    ) -> list[ReplyScore]:
        """Return log p(reply + end token | conversation), raw at temperature 1.

        Raises:
            UserError: the card has no end token (before anything is sent), the server is none that
                can score, a pair got no score, or as `generate` does.
        """
        return served_scores(self._card, self._bodies, conversations, replies)

    def _bodies(self, endpoint: Endpoint, requests: Sequence[dict[str, Any]]) -> list[str]:
        """Return the body of the answer to each request. Raises UserError where there is none."""
        keys = [call_key(endpoint.kind, self._host, body) for body in requests]
        done = self._answers(endpoint, dict(zip(keys, requests, strict=True)))
        failed = [done[key] for key in keys if done[key].failed]
        if failed:
            raise UserError(
                f"{self._host}: {len(failed)} of {len(keys)} requests to {endpoint.path} failed,"
                f" the first: {failed[0].detail}; a new run asks only for these"
            )
        results = [self._log.result(key) for key in keys]
        return [result.body for result in results if result is not None]

    def render(self, conversation: Conversation) -> str:
        """Return the messages role by role; the chat template is the server's, unknown here."""
        return by_role(conversation.messages)

    def facts(self) -> dict[str, str]:
        """Return engine, server, model and the version of the SDK."""
        return {
            "engine": "openai",
            "host": self._host,
            "model": self._card.name,
            "openai": version("openai"),
        }

    def _body(self, conversation: Conversation, sampling: Sampling) -> dict[str, Any]:
        """Return the request as it is sent. Raises UserError for sampling unknown to the server."""
        body: dict[str, Any] = {
            "model": self._card.name,
            "messages": [message.model_dump() for message in conversation.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._card.token_limit: sampling.max_new_tokens,
        }
        if self._card.logprobs:
            body["logprobs"] = True
        if sampling.temperature > 0:
            body["seed"] = conversation.seed
        if self._card.extra_sampling:
            # Sent even where neutral: a server may have defaults of its own from the model's files.
            body["top_k"] = sampling.top_k
            body["repetition_penalty"] = sampling.repetition_penalty
        elif sampling.top_k != 0 or sampling.repetition_penalty != 1:
            raise UserError(
                f"{self._card.name}: this server knows no top_k and no repetition_penalty;"
                " set top_k to 0 and repetition_penalty to 1"
            )
        return body

    def _known(
        self, keys: Mapping[str, object], endpoint: Endpoint = CHAT
    ) -> dict[str, Completion]:
        """Return what the log answers; a reply of a model that is not accepted does not count."""
        known = {}
        for key in keys:
            result = self._log.result(key)
            if result is None or (self._retry_failed and result.status == "bad_request"):
                continue
            outcome = endpoint.classify(result.http_status, {}, result.body.encode())
            if outcome.completion is not None and self._accepts(outcome, endpoint):
                known[key] = outcome.completion
        return known

    def _accepts(self, outcome: Outcome, endpoint: Endpoint) -> bool:
        accept = self._card.accept
        if accept is None or outcome.kind == "bad_request" or not endpoint.names_model:
            return True
        return re.fullmatch(accept, outcome.model or "") is not None

    def _ask(
        self, todo: Mapping[str, dict[str, Any]], endpoint: Endpoint
    ) -> dict[str, Completion]:
        """Send all requests; return their completions. Raises as `generate` does."""
        # Only the main thread can watch for Ctrl-C, and a program's own handler is left alone.
        watch = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        return asyncio.run(self._ask_all(todo, endpoint, watch))

    async def _ask_all(
        self, todo: Mapping[str, dict[str, Any]], endpoint: Endpoint, watch: bool
    ) -> dict[str, Completion]:
        from httpx2 import Limits, Timeout
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        key = self._key or "none"
        http = DefaultAsyncHttpxClient(
            # A redirect would carry the key elsewhere.
            follow_redirects=False,
            limits=Limits(max_connections=self._concurrency),
            timeout=Timeout(self._policy.deadline, connect=min(10.0, self._policy.deadline)),
        )
        async with AsyncOpenAI(
            api_key=key,
            base_url=self._base_url,
            max_retries=0,
            http_client=http,
            # Given here, it stands above what the SDK finds in the environment.
            default_headers={"Authorization": f"Bearer {key}"},
        ) as client:
            # The SDK takes these from OPENAI_* whatever the server is.
            client.organization, client.project = self._organization, self._project
            with bar(len(todo), f"asking {self._card.name}", "call") as progress:
                run = _Run(self, client, endpoint, todo, progress)
                return await run.all(watch)

    def _scrub(self, text: str) -> str:
        """Take the key out of a server's words."""
        return text.replace(self._key, "[key]") if len(self._key) >= SECRET_LENGTH else text


class _Run:
    """The state of one `generate`: what is still to ask, and whether to go on at all."""

    def __init__(
        self,
        model: OpenAIModel,
        client: "AsyncOpenAI",
        endpoint: Endpoint,
        todo: Mapping[str, dict[str, Any]],
        progress: Any,
    ) -> None:
        self._model = model
        self._log, self._policy = model._log, model._policy
        self._client = client
        self._endpoint = endpoint
        self._progress = progress
        self._queue = deque(todo.items())
        self._done: dict[str, Completion] = {}
        self._stop = asyncio.Event()
        self._why: UserError | KeyboardInterrupt | None = None
        self._resume_at = 0.0
        self._sdk = version("openai")
        self._round: asyncio.Future[None] | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._answered = False
        self._exhausted = 0
        self._refused = 0

    async def all(self, watch: bool) -> dict[str, Completion]:
        """Ask everything with bounded concurrency; return the completions, or raise why not."""
        count = min(self._model._concurrency, len(self._queue))
        workers = [asyncio.ensure_future(self._work()) for _ in range(count)]
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            if isinstance(self._why, KeyboardInterrupt):
                for worker in workers:
                    worker.cancel()
                return
            self._halt(KeyboardInterrupt())
            left = "waiting for the requests under way; interrupt again to stop at once"
            self._progress.write(left, file=sys.stderr)

        if watch:
            loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            await asyncio.gather(*workers)
        except asyncio.CancelledError:
            if not isinstance(self._why, KeyboardInterrupt):
                raise
        finally:
            if watch:
                loop.remove_signal_handler(signal.SIGINT)
        if self._why is not None:
            raise self._why
        return self._done

    def _halt(self, why: UserError | KeyboardInterrupt) -> None:
        """Send nothing more; requests under way may finish. The first reason counts, or Ctrl-C."""
        if self._why is None or isinstance(why, KeyboardInterrupt):
            self._why = why
        self._stop.set()

    def _give_up(self, line: str) -> None:
        host = self._model._host
        self._halt(UserError(f"{host}: {line}; run again to go on, answers so far are kept"))

    async def _work(self) -> None:
        while self._queue and not self._stop.is_set():
            key, body = self._queue.popleft()
            await self._one(key, body)
            self._progress.update(1)

    async def _one(self, key: str, body: dict[str, Any]) -> None:
        """See one call to its end: an answer, a failure for now, or the end of the run."""
        failed: Counter[str] = Counter()
        while await self._may_send():
            self._log.append(Intent(key=key, attempt=failed.total() + 1))
            started = time.monotonic()
            status, headers, raw = await self._send(body)
            latency = round(time.monotonic() - started, 3)
            outcome = (
                _no_response(raw)
                if status is None
                else self._endpoint.classify(status, headers, raw)
            )
            detail = self._model._scrub(outcome.detail)
            text = self._model._scrub(raw.decode("utf-8", "replace"))
            if outcome.action == "store":
                assert status is not None and outcome.completion is not None
                terminal: Any = outcome.kind
                kept = {n: headers[n] for n in KEPT_HEADERS if n in headers}
                self._log.write(
                    Result(
                        key=key,
                        status=terminal,
                        http_status=status,
                        body=text,
                        headers=kept,
                        model=outcome.model,
                        usage=outcome.usage,
                        latency=latency,
                        sdk=self._sdk,
                    )
                )
                await self._durable()
                self._take(key, outcome, detail, text, status, raw)
                return
            self._log.append(
                Failure(
                    key=key,
                    kind=outcome.kind,
                    retryable=outcome.action == "retry",
                    http_status=status,
                    body=text,
                )
            )
            if outcome.action == "stop":
                self._give_up(detail)
                return
            if outcome.kind == "not_an_api" and not self._answered:
                self._give_up(f"{detail}; is this the address of the API?")
                return
            failed[outcome.kind] += 1
            limit = FEWER_RETRIES.get(outcome.kind, self._policy.retries)
            if failed[outcome.kind] > limit or failed.total() > self._policy.retries:
                self._exhaust(key, outcome.kind, detail)
                return
            await self._hold(outcome, headers, failed.total())

    async def _durable(self) -> None:
        """Return once all that was written until now is on the disk.

        One wait for the disk serves all workers that wrote before it began: a disk takes some
        hundred such waits a second, and a run may bring more answers than that.
        """
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync_rounds())
        # A worker that is cancelled must not take the others' round with it.
        await asyncio.shield(self._round)

    async def _sync_rounds(self) -> None:
        while self._round is not None:
            served, self._round = self._round, None
            try:
                await asyncio.to_thread(self._log.sync)
            except UserError as error:
                served.set_exception(error)
            else:
                served.set_result(None)
        self._syncing = None

    async def _may_send(self) -> bool:
        """Wait for the end of a pause that all workers share; return whether to send at all."""
        loop = asyncio.get_running_loop()
        while not self._stop.is_set() and (left := self._resume_at - loop.time()) > 0:
            await self._sleep(left)
        return not self._stop.is_set()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but wake when the run stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _hold(self, outcome: Outcome, headers: Mapping[str, str], tries: int) -> None:
        """Wait before a retry, as long as the server asks or the policy says."""
        asked = retry_after(headers, time.time())
        if asked is not None and asked > self._policy.longest_pause:
            self._give_up(
                f"the server asks to wait {asked:.0f} s,"
                f" more than the {self._policy.longest_pause:.0f} s that a run waits"
            )
            return
        wait = self._policy.wait(tries) if asked is None else asked
        if asked is not None or outcome.kind == "rate_limit":
            # What one worker was told holds for all of them.
            until = asyncio.get_running_loop().time() + wait
            self._resume_at = max(self._resume_at, until)
        else:
            await self._sleep(wait)

    async def _send(self, body: dict[str, Any]) -> tuple[int | None, Mapping[str, str], bytes]:
        """Send one request; return status, headers and raw body, or None and what went wrong."""
        import openai
        from httpx2 import Response

        path = self._endpoint.path
        if self._endpoint.at_root:
            path = re.sub("/v1/?$", "", self._model._base_url.rstrip("/")) + path
        try:
            async with asyncio.timeout(self._policy.deadline):
                response = await self._client.post(path, cast_to=Response, body=body)
        except openai.APIStatusError as error:
            response = error.response
        except (TimeoutError, openai.APITimeoutError):
            return None, {}, b"timeout"
        except openai.APIConnectionError as error:
            # The cause's text may hold an address, never more than its class is needed.
            return None, {}, f"transport: {type(error.__cause__).__name__}".encode()
        return response.status_code, response.headers, response.content

    def _take(
        self, key: str, outcome: Outcome, detail: str, text: str, status: int, raw: bytes
    ) -> None:
        """Take in an answer that is safe in the log."""
        self._exhausted = 0
        if not self._model._accepts(outcome, self._endpoint):
            self._give_up(
                f"asked for {self._model._card.name}, the reply is from {outcome.model!r};"
                f" the card accepts {self._model._card.accept!r}"
            )
            return
        # Read back from what was stored, where it is not what came: a replay must give the same.
        stored = outcome.completion
        if text.encode() != raw:
            stored = self._endpoint.classify(status, {}, text.encode()).completion
        assert stored is not None
        self._done[key] = stored
        if outcome.kind != "bad_request":
            self._answered = True
            return
        self._refused += 1
        if not self._answered and self._refused >= self._policy.breaker:
            self._give_up(
                f"refused all of the first {self._refused} requests ({detail}); if the fault was"
                f" the server's, set {self._model._card.env}_RETRY_FAILED=1 to ask these once more"
            )

    def _exhaust(self, key: str, kind: str, detail: str) -> None:
        """Leave a call for the next run, and end this one when the server seems to be down."""
        self._done[key] = Completion(text="", finish_reason="error", detail=f"{kind}: {detail}")
        self._exhausted += 1
        if self._exhausted >= self._policy.breaker:
            self._give_up(f"{self._exhausted} calls in a row failed, the last with {detail}")


def _no_response(what: bytes) -> Outcome:
    """Return the outcome of a request that brought no response, named by `_send`."""
    kind, _, detail = what.decode().partition(": ")
    return Outcome("retry", kind, detail or "no answer within the deadline")
