"""The Batch API: the same requests and the same answers at a share of the price, within a day.

What makes it safe to kill: the intents of a batch are on the disk before anything is sent, and the
batch carries their digest, so a run that finds intents without an outcome asks the server for that
batch before it hands in another. Files come to the disk raw before they are read.
"""

import asyncio
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from stages.errors import UserError
from stages.models.call_log import Batch, CallLog, Failure, Intent, Line, OpenBatch, Result
from stages.models.ledger import Guard
from stages.models.openai_engine import Call, Policy, exchange, no_response
from stages.models.replies import Outcome, classify, one_line, retry_after
from stages.records import Completion

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")

FOLDER = "batches"
# One batch takes 50,000 requests and 200 MB, says the reference of the Batch API; the engine caps
# the first.
BYTES = 200_000_000
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
DIGEST = "calls"  # the name in a batch's metadata
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True)
class Terms:
    """What the engine decides for live requests and batches alike.

    Attributes:
        host: host and port of the server.
        env: prefix of the environment variables.
        size: the most requests in one batch.
        policy: how patient to be.
        intent: the line that announces a call, given its attempt and the digest of its batch.
        wrong_model: what to say of a reply from a model that is not accepted, else None.
        scrub: takes the key out of a text.
        retry_failed: ask again what has no hope otherwise: here a batch that is gone.
    """

    host: str
    env: str
    size: int
    policy: Policy
    intent: Callable[[Call, int, str | None], Intent]
    wrong_model: Callable[[Outcome], str | None]
    scrub: Callable[[str], str]
    retry_failed: bool


class _NotFound(UserError):
    """The server does not have what it is asked for."""


class BatchRun:
    """One `generate` through the Batch API.

    Args:
        terms: what live requests have as well.
        client: the server.
        log: the call log, locked.
        todo: the calls that the log does not answer.
        guard: the budget, where there is one.
        progress: the bar, a step a call.
    """

    def __init__(
        self,
        terms: Terms,
        client: "AsyncOpenAI",
        log: CallLog,
        todo: Sequence[Call],
        guard: Guard | None,
        progress: Any,
    ) -> None:
        self._terms, self._client, self._log, self._guard = terms, client, log, guard
        self._progress = progress
        self._calls = {call.key: call for call in todo}
        self._queue = deque(todo)
        self._live: dict[str, OpenBatch] = {}
        self._own: set[str] = set()
        self._done: dict[str, Completion] = {}
        self._why: UserError | None = None
        self._stop = asyncio.Event()
        self._sdk = version("openai")

    async def all(self, watch: bool) -> dict[str, Completion]:
        """Ask everything by batch; return the completions.

        Raises:
            UserError: the server cannot be used, a batch failed as a whole, or the budget ends.
            KeyboardInterrupt: after Ctrl-C; batches at the server go on.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupted() -> None:
            if self._stop.is_set():
                task.cancel()
                return
            self._stop.set()
            self._say("batches at the server go on, and a new run collects them")

        if watch:
            loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            await self._work()
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
        finally:
            if watch:
                loop.remove_signal_handler(signal.SIGINT)
        if self._stop.is_set():
            raise KeyboardInterrupt
        return self._done

    async def _work(self) -> None:
        for batch in self._log.open_batches():
            if batch.keys & self._calls.keys():
                await self._find_again(batch)
        while not self._stop.is_set():
            await self._hand_in_what_fits()
            if not self._live:
                return
            await self._collect_what_ended()
            if self._why is not None:
                raise self._why

    # Handing in.

    async def _find_again(self, batch: OpenBatch) -> None:
        """Take up a batch of an earlier run, or make sure that it never came to be."""
        waiting = set(batch.keys)
        self._queue = deque(call for call in self._queue if call.key not in waiting)
        if batch.id is None:
            found = await self._find(batch.digest)
            if found is None:
                self._fail(batch, "not_submitted", "")
                return
            await self._note(batch, found["id"])
        assert batch.id is not None
        self._live[batch.id] = batch
        self._say(f"batch {batch.id} of an earlier run: waiting for {len(waiting)} requests")

    async def _hand_in_what_fits(self) -> None:
        while self._queue and not self._stop.is_set():
            calls, lines = self._next()
            if calls:
                await self._hand_in(calls, b"".join(lines))
            elif self._live:
                # What these turn out to cost leaves more room.
                return
            else:
                assert self._guard is not None
                raise UserError(self._guard.refusal(self._terms.intent(self._queue[0], 1, "")))

    def _next(self) -> tuple[list[Call], list[bytes]]:
        """Take the calls of the next batch from the queue, with its file's lines."""
        calls: list[Call] = []
        lines: list[bytes] = []
        left, room = BYTES, self._guard.room() if self._guard is not None else 0.0
        while self._queue and len(calls) < self._terms.size:
            call = self._queue[0]
            line = _request(call)
            left -= len(line)
            if left < 0 and not calls:
                raise UserError(f"{self._terms.host}: a request has more than {BYTES} bytes")
            if self._guard is not None:
                room -= self._guard.most(self._terms.intent(call, 1, ""))
            if left < 0 or room < 0:
                break
            calls.append(self._queue.popleft())
            lines.append(line)
        return calls, lines

    async def _hand_in(self, calls: Sequence[Call], content: bytes) -> None:
        digest = digest_of(call.key for call in calls)
        for call in calls:
            self._write(self._terms.intent(call, 1, digest))
        await asyncio.to_thread(self._log.sync)
        batch = next(batch for batch in self._log.open_batches() if batch.digest == digest)
        try:
            file = await self._ask(
                lambda: self._client.files.with_raw_response.create(
                    file=("batch.jsonl", content), purpose="batch"
                ),
                _object,
            )
        except UserError:
            # Without its file there can be no batch.
            self._fail(batch, "not_submitted", "")
            raise
        made = await self._ask(
            lambda: self._client.batches.with_raw_response.create(
                input_file_id=file["id"],
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={DIGEST: digest},
            ),
            _object,
            # A request that failed for us may have come through all the same.
            before_retry=lambda: self._find(digest),
        )
        await self._note(batch, made["id"])
        assert batch.id is not None
        self._live[batch.id] = batch
        self._own.add(batch.id)
        self._say(f"batch {batch.id}: {len(calls)} requests handed in")

    async def _note(self, batch: OpenBatch, name: str) -> None:
        """Write down that the server has taken a batch, and what it calls it."""
        # It becomes the name of a file.
        if not re.fullmatch(r"[\w-]{1,100}", name):
            raise self._error("the server gives a batch a name that cannot be one")
        count = len(batch.keys)
        self._write(Batch(id=name, digest=batch.digest, host=self._terms.host, requests=count))
        await asyncio.to_thread(self._log.sync)

    async def _find(self, digest: str) -> dict[str, Any] | None:
        """Return the server's batch with a digest that is not in the log yet, None if none is."""
        query: dict[str, Any] = {"limit": 100}
        while True:
            page = await self._ask(
                partial(self._client.batches.with_raw_response.list, **query), _page
            )
            for batch in page["data"]:
                mine = (batch.get("metadata") or {}).get(DIGEST) == digest
                if mine and not self._log.knows_batch(batch["id"]):
                    return dict(batch)
            if not page.get("has_more") or not page["data"]:
                return None
            query["after"] = page["data"][-1]["id"]

    # Collecting.

    async def _collect_what_ended(self) -> None:
        """Look at the batches until one of them has ended, and collect what has."""
        while not self._stop.is_set():
            ended = False
            for name, batch in list(self._live.items()):
                retrieve = partial(self._client.batches.with_raw_response.retrieve, name)
                try:
                    state = await self._ask(retrieve, _object)
                    if state.get("status") in ENDED:
                        ended = True
                        del self._live[name]
                        await self._collect(batch, state)
                except _NotFound:
                    if not self._terms.retry_failed:
                        raise self._error(
                            f"HTTP 404: batch {name} or its files are not there, for this key at"
                            f" least; {self._terms.env}_RETRY_FAILED=1 asks its requests once more"
                        ) from None
                    ended = True
                    self._live.pop(name, None)
                    self._fail(batch, "missing", "")
            if ended:
                return
            await self._sleep(self._terms.policy.poll)

    async def _collect(self, batch: OpenBatch, state: Mapping[str, Any]) -> None:
        """Write down what came of every request of a batch that has ended."""
        status = str(state["status"])
        if status == "failed":
            words = self._terms.scrub(_words(state.get("errors")))
            self._fail(batch, "batch_failed", words)
            self._why = self._error(
                f"batch {batch.id} failed as a whole, at no cost: {words}"
                f" ({self._terms.env}_BATCH_SIZE makes batches smaller)"
            )
            return
        for field, suffix in (("output_file_id", ""), ("error_file_id", ".errors")):
            file = state.get(field)
            if isinstance(file, str):
                path = self._log.path.parent / FOLDER / f"{batch.id}{suffix}.jsonl"
                for record in await self._file(file, path):
                    self._take(batch, record)
        kind = "missing" if status == "completed" else f"batch_{status}"
        self._fail(batch, kind, "")
        await asyncio.to_thread(self._log.sync)

    async def _file(self, name: str, path: Path) -> list[dict[str, Any]]:
        """Return the records of a server's file, which is on the disk from now on."""
        if not path.exists():
            raw = await self._ask(
                lambda: self._client.files.with_raw_response.content(name),
                lambda raw: raw if _records(raw) is not None else None,
            )
            text = self._terms.scrub(raw.decode("utf-8", "replace"))
            await asyncio.to_thread(_save, path, text.encode())
        records = _records(path.read_bytes())
        if records is None:
            raise UserError(f"{path}: damaged; remove it and run again")
        return records

    def _take(self, batch: OpenBatch, record: Mapping[str, Any]) -> None:
        """Write down the answer or the failure of one request."""
        key, response = record.get("custom_id"), record.get("response")
        if not isinstance(key, str) or key not in batch.keys:
            return
        status = response.get("status_code") if isinstance(response, dict) else None
        if not isinstance(response, dict) or not isinstance(status, int):
            error = record.get("error")
            code = error.get("code") if isinstance(error, dict) else None
            kind = code if code in ("batch_expired", "batch_cancelled") else "batch_error"
            self._failed(key, batch, kind, json.dumps(record))
            return
        text = json.dumps(response.get("body"))
        outcome = classify(status, {}, text.encode())
        if outcome.action != "store" or outcome.completion is None:
            self._failed(key, batch, outcome.kind, text, status)
            if outcome.action == "stop":
                self._why = self._error(self._terms.scrub(outcome.detail))
            return
        wrong = self._terms.wrong_model(outcome)
        if wrong is not None:
            self._why = self._error(wrong)
        terminal: Any = outcome.kind
        request = response.get("request_id")
        self._write(
            Result(
                key=key,
                status=terminal,
                http_status=status,
                body=text,
                headers={"x-request-id": request} if isinstance(request, str) else {},
                model=outcome.model,
                usage=outcome.usage,
                latency=0.0,
                sdk=self._sdk,
                batch=batch.id,
            )
        )
        if key in self._calls:
            self._done[key] = outcome.completion
            self._progress.update(1)

    def _fail(self, batch: OpenBatch, kind: str, body: str) -> None:
        """Write a failure for every request of a batch of which nothing came."""
        for key in sorted(batch.keys):
            self._failed(key, batch, kind, body)

    def _failed(
        self, key: str, batch: OpenBatch, kind: str, body: str, status: int | None = None
    ) -> None:
        self._write(Failure(key=key, kind=kind, retryable=True, http_status=status, body=body))
        if key not in self._calls:
            return
        if batch.id in self._own:
            self._done[key] = Completion(text="", finish_reason="error", detail=f"by batch: {kind}")
            self._progress.update(1)
        else:
            # This is the next run, which asks again.
            self._queue.append(self._calls[key])

    # What both need.

    async def _ask(
        self,
        send: Callable[[], Awaitable[Any]],
        parse: Callable[[bytes], T | None],
        before_retry: Callable[[], Awaitable[T | None]] | None = None,
    ) -> T:
        """Return the parsed body of a request, which is tried again as the policy says.

        Raises:
            UserError: it cannot be had.
            KeyboardInterrupt: Ctrl-C in a wait.
        """
        tries = 0
        while True:
            status, headers, raw = await exchange(send(), self._terms.policy.deadline)
            value = parse(raw) if status is not None and 200 <= status < 300 else None
            if value is not None:
                return value
            if status is None:
                outcome = no_response(raw)
            elif status < 300:
                outcome = Outcome("retry", "malformed", "the reply has a wrong form")
            else:
                outcome = classify(status, headers, raw)
            tries += 1
            detail = self._terms.scrub(outcome.detail)
            if outcome.kind == "not_found":
                raise _NotFound(f"{self._terms.host}: HTTP 404: no Batch API at this address")
            if outcome.action != "retry" or tries > self._terms.policy.retries:
                raise self._error(detail)
            asked = retry_after(headers, time.time())
            if asked is not None and asked > self._terms.policy.longest_pause:
                raise self._error(f"the server asks to wait {asked:.0f} s")
            await self._sleep(self._terms.policy.wait(tries) if asked is None else asked)
            if self._stop.is_set():
                raise KeyboardInterrupt
            if before_retry is not None:
                found = await before_retry()
                if found is not None:
                    return found

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but wake at Ctrl-C."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _write(self, record: Line) -> None:
        self._log.write(record)
        if self._guard is not None:
            self._guard.add(record)

    def _error(self, line: str) -> UserError:
        host = self._terms.host
        return UserError(f"{host}: {line}; run again to go on, answers so far are kept")

    def _say(self, line: str) -> None:
        self._progress.write(f"{self._terms.host}: {line}", file=sys.stderr)


def digest_of(keys: Iterable[str]) -> str:
    """Return what names a set of calls."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def _request(call: Call) -> bytes:
    """Return a call's line in the file of a batch."""
    line = {"custom_id": call.key, "method": "POST", "url": ENDPOINT, "body": call.body}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _save(path: Path, raw: bytes) -> None:
    """Write a file in one step; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(raw)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _object(raw: bytes) -> dict[str, Any] | None:
    """Return a reply that is an object with an id, else None."""
    value = _json(raw)
    return value if isinstance(value, dict) and isinstance(value.get("id"), str) else None


def _page(raw: bytes) -> dict[str, Any] | None:
    """Return a reply that is a page of objects, else None."""
    value = _json(raw)
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, list):
        return None
    whole = all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in data)
    return value if whole else None


def _records(raw: bytes) -> list[dict[str, Any]] | None:
    """Return the objects of a JSONL file, None where a line is none."""
    records = [_json(line) for line in raw.split(b"\n") if line.strip()]
    return records if all(isinstance(record, dict) for record in records) else None


def _words(errors: object) -> str:
    """Return what a server says of a batch that failed, as one line."""
    data = errors.get("data") if isinstance(errors, dict) else None
    said = [str(one.get("message")) for one in data or [] if isinstance(one, dict)]
    return one_line("; ".join(said[:3])) or "the server does not say why"
