"""The `openai` engine: any server that speaks the OpenAI chat protocol, hosted or `vllm serve`.

One place owns each decision: `replies` says what a response means, `Policy` how patiently to try
again, the call log what is known already, a `Guard` what may be spent. The SDK's own retries are
off, since two retry owners multiply requests.
"""

import asyncio
import re
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import UserError
from stages.models.call_log import (
    CallLog,
    Failure,
    Intent,
    Line,
    Result,
    call_key,
    host_of,
)
from stages.models.card import ServedCard
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.models.ledger import Guard, read_budget
from stages.models.replies import CHAT, Endpoint, Outcome, retry_after
from stages.models.served_scores import served_scores
from stages.models.template import by_role
from stages.progress import bar
from stages.records import Completion, Record

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# Response headers worth keeping: they name the request to the server's operator.
KEPT_HEADERS = ("x-request-id", "request-id")
# Shorter keys are placeholders such as "EMPTY"; replacing those would change ordinary text.
SECRET_LENGTH = 16
# The most tokens that a chat template adds to a message: role and marks.
MESSAGE_TOKENS = 16


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
        poll: wait between two looks at a batch.
    """

    deadline: float = 600.0
    retries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_pause: float = 120.0
    breaker: int = 5
    poll: float = 30.0

    def wait(self, tries: int) -> float:
        """Return the wait after `tries` failed tries; without chance, as there is one client."""
        return float(min(self.first_wait * 2 ** (tries - 1), self.longest_wait))


# Some failures may have been paid for or are likely to repeat, and get fewer retries than others.
FEWER_RETRIES = {"timeout": 1, "malformed": 2, "not_an_api": 2}


@dataclass(frozen=True)
class Call:
    """A request as it is sent, and the id of the first conversation that asks for it."""

    key: str
    id: str
    body: dict[str, Any]


def _number(env: Mapping[str, str], name: str, usual: int, most: int) -> int:
    """Return a whole number from the environment. Raises UserError where it is none from 1 on."""
    text = env.get(name) or str(usual)
    if not re.fullmatch("[1-9][0-9]{0,8}", text) or int(text) > most:
        raise UserError(f"{name} must be a number from 1 to {most}, got {text!r}")
    return int(text)


class OpenAIModel:
    """A model behind an OpenAI-compatible server, every answer of it durable before it is used.

    Args:
        card: the served model.
        log: the call log, or where it lies.
        env: the environment; `<card.env>_API_KEY`, `<card.env>_BASE_URL` and
            `<card.env>_CONCURRENCY` (8) are read, and `<card.env>_RETRY_FAILED=1` asks again what
            the server refused as a bad request in an earlier run, or has of a batch no more.
            `<card.env>_BATCH=1` asks through the Batch API, at most `<card.env>_BATCH_SIZE` (50000)
            requests a batch.
        policy: how patient to be.

    Raises:
        UserError: an address, a number or the key has a wrong form, or the log is corrupt.
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
        self._concurrency = _number(env, f"{card.env}_CONCURRENCY", 8, 9999)
        self._by_batch = env.get(f"{card.env}_BATCH") == "1"
        self._batch_size = _number(env, f"{card.env}_BATCH_SIZE", 50_000, 50_000)
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
        self, endpoint: Endpoint, requests: Mapping[str, Call]
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
                todo = [call for key, call in requests.items() if key not in done]
                done |= self._ask(todo, endpoint)
        return done

    def unanswered(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return the ids of those that the call log does not answer: what a run would pay for."""
        _, requests = self._requests(conversations, sampling)
        done = self._known(requests)
        return [call.id for key, call in requests.items() if key not in done]

    def answers(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Record]:
        """Return what the call log holds of these, sorted by key, without how it came."""
        _, requests = self._requests(conversations, sampling)
        found = (self._log.result(key) for key in sorted(requests))
        return [result.for_export() for result in found if result is not None]

    def _requests(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> tuple[list[str], dict[str, Call]]:
        """Return the key of each conversation, and the different requests by key."""
        keys: list[str] = []
        requests: dict[str, Call] = {}
        for conversation in conversations:
            body = self._body(conversation, sampling)
            keys.append(call_key(CHAT.kind, self._host, body))
            requests.setdefault(keys[-1], Call(keys[-1], conversation.id, body))
        return keys, requests

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
        calls = {
            key: Call(key, endpoint.kind, body) for key, body in zip(keys, requests, strict=True)
        }
        done = self._answers(endpoint, calls)
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

    def _intent(self, call: Call, attempt: int, batch: str | None = None) -> Intent:
        """Return the line that announces a request, with the most that it can take."""
        # A byte-level tokenizer never makes more tokens than there are bytes; ids are tokens.
        given = call.body.get("prompt", "")
        prompt = len(given) if isinstance(given, list) else len(given.encode())
        for message in call.body.get("messages", ()):
            prompt += len(message["content"].encode()) + MESSAGE_TOKENS
        limit = call.body.get(self._card.token_limit, call.body.get("max_tokens", 0))
        return Intent(
            key=call.key,
            attempt=attempt,
            id=call.id,
            model=self._card.name,
            host=self._host,
            prompt_limit=prompt,
            reply_limit=limit,
            batch=batch,
        )

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

    def _wrong_model(self, outcome: Outcome, endpoint: Endpoint = CHAT) -> str | None:
        """Return what to say of a reply from a model that the card does not accept, else None."""
        if self._accepts(outcome, endpoint):
            return None
        return (
            f"asked for {self._card.name}, the reply is from {outcome.model!r};"
            f" the card accepts {self._card.accept!r}"
        )

    def _ask(self, todo: Sequence[Call], endpoint: Endpoint) -> dict[str, Completion]:
        """Send all requests; return their completions. Raises as `generate` does."""
        if not self._by_batch:
            batched = {key for batch in self._log.open_batches() for key in batch.keys}
            waiting = len(batched & {call.key for call in todo})
            if waiting:
                raise UserError(
                    f"{self._host}: {waiting} of these requests went out in a batch that is not"
                    f" collected yet; set {self._card.env}_BATCH=1 to wait for it and collect it"
                )
        # Only the main thread can watch for Ctrl-C, and a program's own handler is left alone.
        watch = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        budget = read_budget(self._log.path) if self._card.needs_key else None
        guard = Guard(budget, self._log, self._host, self._card.name) if budget else None
        return asyncio.run(self._ask_all(todo, endpoint, guard, watch))

    async def _ask_all(
        self, todo: Sequence[Call], endpoint: Endpoint, guard: Guard | None, watch: bool
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
                if not self._by_batch or endpoint is not CHAT:
                    run = _Run(self, client, endpoint, todo, guard, progress)
                    return await run.all(watch)
                # Not at the top: it builds on this module.
                from stages.models.batch import BatchRun, Terms

                terms = Terms(
                    host=self._host,
                    env=self._card.env,
                    size=self._batch_size,
                    policy=self._policy,
                    intent=self._intent,
                    wrong_model=self._wrong_model,
                    scrub=self._scrub,
                    retry_failed=self._retry_failed,
                )
                return await BatchRun(terms, client, self._log, todo, guard, progress).all(watch)

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
        todo: Sequence[Call],
        guard: Guard | None,
        progress: Any,
    ) -> None:
        self._model = model
        self._guard = guard
        self._log, self._policy = model._log, model._policy
        self._client = client
        self._endpoint = endpoint
        self._progress = progress
        self._queue = deque(todo)
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
        self._under_way = 0
        self._settled = asyncio.Event()

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
        self._settled.set()

    def _give_up(self, line: str) -> None:
        host = self._model._host
        self._halt(UserError(f"{host}: {line}; run again to go on, answers so far are kept"))

    async def _work(self) -> None:
        while self._queue and not self._stop.is_set():
            await self._one(self._queue.popleft())
            self._progress.update(1)

    async def _one(self, call: Call) -> None:
        """See one call to its end: an answer, a failure for now, or the end of the run."""
        failed: Counter[str] = Counter()
        key = call.key
        while await self._announce(self._model._intent(call, failed.total() + 1)):
            started = time.monotonic()
            status, headers, raw = await self._send(call.body)
            latency = round(time.monotonic() - started, 3)
            outcome = (
                no_response(raw) if status is None else self._endpoint.classify(status, headers, raw)
            )
            detail = self._model._scrub(outcome.detail)
            text = self._model._scrub(raw.decode("utf-8", "replace"))
            if outcome.action == "store":
                assert status is not None and outcome.completion is not None
                terminal: Any = outcome.kind
                kept = {n: headers[n] for n in KEPT_HEADERS if n in headers}
                self._settle(
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
            self._settle(
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

    async def _announce(self, intent: Intent) -> bool:
        """Write an intent as soon as neither a pause nor the budget holds it back.

        Returns False when the run ends instead.
        """
        while await self._may_send():
            if self._guard is None or self._guard.most(intent) <= self._guard.room():
                self._write(intent)
                self._under_way += 1
                return True
            if not self._under_way:
                self._halt(UserError(self._guard.refusal(intent)))
                return False
            # What is under way was reckoned at its most, and will take less.
            self._settled.clear()
            await self._settled.wait()
        return False

    def _settle(self, record: Result | Failure) -> None:
        """Write what came of a request."""
        self._write(record)
        self._under_way -= 1
        self._settled.set()

    def _write(self, record: Line) -> None:
        self._log.write(record)
        if self._guard is not None:
            self._guard.add(record)

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
        """Send one request; return what `exchange` does."""
        from httpx2 import Response

        path = self._endpoint.path
        if self._endpoint.at_root:
            path = re.sub("/v1/?$", "", self._model._base_url.rstrip("/")) + path
        sent = self._client.post(path, cast_to=Response, body=body)
        return await exchange(sent, self._policy.deadline)

    def _take(
        self, key: str, outcome: Outcome, detail: str, text: str, status: int, raw: bytes
    ) -> None:
        """Take in an answer that is safe in the log."""
        self._exhausted = 0
        wrong = self._model._wrong_model(outcome, self._endpoint)
        if wrong is not None:
            self._give_up(wrong)
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


async def exchange(
    sent: Awaitable[Any], deadline: float
) -> tuple[int | None, Mapping[str, str], bytes]:
    """Return status, headers and raw body of an SDK's request, or None and what went wrong.

    `sent` brings a raw response, as the SDK's own methods wrap it or as it is.
    """
    import openai

    try:
        async with asyncio.timeout(deadline):
            reply = await sent
    except openai.APIStatusError as error:
        response = error.response
    except (TimeoutError, openai.APITimeoutError):
        return None, {}, b"timeout"
    except openai.APIConnectionError as error:
        # The cause's text may hold an address, never more than its class is needed.
        return None, {}, f"transport: {type(error.__cause__).__name__}".encode()
    else:
        response = getattr(reply, "http_response", reply)
    return response.status_code, response.headers, response.content


def no_response(what: bytes) -> Outcome:
    """Return the outcome of a request that brought no response, named by `exchange`."""
    kind, _, detail = what.decode().partition(": ")
    return Outcome("retry", kind, detail or "no answer within the deadline")
