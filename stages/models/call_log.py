"""The durable record of all calls to served models: nothing paid for is lost or asked twice.

One append-only JSONL file, outside DVC's outputs: an intent before each request, then a result or a
failure, and a line for each batch that a server has taken. An intent that neither follows may have
been paid for. The file never holds a key, and nothing in it but the results matters to a replay.
"""

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from stages.errors import UserError
from stages.records import Record, first_error

SCHEMA = 1
FOLDER, NAME = "call-log", "calls.jsonl"
_HEAD, _DIGITS, _TAIL = '{"check":"', 16, '",'
# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)

# The time of an answer that came from an export: it was paid for elsewhere.
IMPORTED = ""

Terminal = Literal["stop", "length", "content_filter", "refusal", "bad_request"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Intent(Record):
    """A request is about to be sent; what has a default is not in the oldest logs.

    `id` is the conversation's, whose first part is the stage; `model` is the name asked for.
    `prompt_limit` and `reply_limit` are numbers of tokens that cannot be passed. `batch` is the
    digest of the batch that it is sent in.
    """

    type: Literal["intent"] = "intent"
    key: str
    attempt: int
    id: str = ""
    model: str = ""
    host: str = ""
    prompt_limit: int = 0
    reply_limit: int = 0
    batch: str | None = None
    time: str = Field(default_factory=_now)


class Result(Record):
    """An answer that no later run asks for again, its body as it came (`batch` by that batch)."""

    type: Literal["result"] = "result"
    key: str
    status: Terminal
    http_status: int
    body: str
    headers: dict[str, str]
    model: str | None
    usage: dict[str, int]
    latency: float
    sdk: str
    batch: str | None = None
    time: str = Field(default_factory=_now)

    def for_export(self) -> "Result":
        """Return the answer without how it came: the same answers give the same bytes."""
        update = {"time": IMPORTED, "latency": 0.0, "headers": {}, "batch": None}
        return self.model_copy(update=update)


class Failure(Record):
    """A request that brought no answer: `kind` says how it failed, `body` what came instead."""

    type: Literal["failure"] = "failure"
    key: str
    kind: str
    retryable: bool
    http_status: int | None
    body: str
    time: str = Field(default_factory=_now)


class Batch(Record):
    """A server has taken the batch of the intents with this digest, and calls it `id`."""

    type: Literal["batch"] = "batch"
    id: str
    digest: str
    host: str
    requests: int
    time: str = Field(default_factory=_now)


Line: TypeAlias = Intent | Result | Failure | Batch


@dataclass
class OpenBatch:
    """A batch with requests that neither a result nor a failure follows yet.

    Attributes:
        digest: the digest in their intents.
        keys: these requests.
        id: the server's name for it; None where it is not known whether the server has taken it.
    """

    digest: str
    keys: set[str]
    id: str | None = None
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])


def host_of(base_url: str) -> str:
    """Return `host:port` of a server's address, the port always given.

    Raises:
        UserError: this is no http(s) address.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        raise UserError("the server's address has no valid host and port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError("the server's address must start with http:// or https:// and a host")
    return f"{parts.hostname}:{port or (443 if parts.scheme == 'https' else 80)}"


def call_key(kind: str, host: str, body: Mapping[str, Any], sample: int = 0) -> str:
    """Return what names a call: the SHA-256 of all that can change the answer, and of no more.

    Args:
        kind: the endpoint, e.g. `chat.completions`.
        host: host and port of the server.
        body: the request as it is sent: model, messages, sampling, seed.
        sample: tells apart several answers wanted to one and the same request.
    """
    identity = {"schema": SCHEMA, "kind": kind, "host": host, "body": body, "sample": sample}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def default_log(env: Mapping[str, str]) -> Path:
    """Return where the call log lies: CALL_LOG, else a folder in the git directory of the checkout.

    Raises:
        UserError: CALL_LOG is not set and there is no git checkout.
    """
    root = Path(env.get("DVC_ROOT") or Path.cwd())
    if env.get("CALL_LOG"):
        return root / env["CALL_LOG"]
    return lasting_folder(root, "the call log; set CALL_LOG to a file") / FOLDER / NAME


def lasting_folder(root: Path, what: str) -> Path:
    """Return the git directory of the checkout at `root`, for what must outlive DVC's outputs.

    It outlives `git clean` too and is shared by all worktrees. A caller's root is DVC_ROOT where it
    is set: that is the main checkout even in a queued experiment, which runs in a temporary copy.

    Raises:
        UserError: there is no git checkout, hence no place for `what`.
    """
    command = ["git", "rev-parse", "--git-common-dir"]
    try:
        git = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise UserError(f"{root} is in no git checkout, so there is no place for {what}") from None
    return root / git.stdout.strip()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _to_line(record: Line) -> bytes:
    """Return the record as one line of JSON that opens with a checksum of the rest."""
    text = record.model_dump_json()
    return f"{_HEAD}{_digest(text)}{_TAIL}{text[1:]}\n".encode()


def _from_line(line: bytes) -> Line:
    """Return the record of a line. Raises ValueError saying what is wrong with it."""
    text = line.decode().removesuffix("\n")
    start = len(_HEAD) + _DIGITS + len(_TAIL)
    rest = "{" + text[start:]
    if text[:start] != f"{_HEAD}{_digest(rest)}{_TAIL}":
        raise ValueError("the checksum does not match")
    return _LINE.validate_json(rest)


class CallLog:
    """The call log at `path`: any number of readers, one writer at a time.

    Reading takes no lock, so a replay works beside a running writer. The lock is taken at the first
    write (or by `lock`) and held until `close`; the index of results stays usable after that.

    Raises:
        UserError: a line is corrupt (named as file:line), here and wherever the file is read again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._results: dict[str, tuple[int, int]] = {}
        self._batches: dict[str, OpenBatch] = {}
        self._batch_of: dict[str, OpenBatch] = {}
        self._batch_ids: set[str] = set()
        self._end = 0
        self._lines = 0
        self._read_on()

    def __enter__(self) -> "CallLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def result(self, key: str) -> Result | None:
        """Return the last result under `key`, None where there is none."""
        if key not in self._results:
            return None
        start, length = self._results[key]
        with self.path.open("rb") as stream:
            stream.seek(start)
            line = stream.read(length)
        try:
            record = _from_line(line)
        except ValueError:
            raise UserError(f"{self.path}: changed under a running program") from None
        assert isinstance(record, Result)
        return record

    def open_batches(self) -> list[OpenBatch]:
        """Return the batches that are not collected in full, as they are now."""
        return [batch for batch in self._batches.values() if batch.keys]

    def knows_batch(self, name: str) -> bool:
        """Tell whether a batch that a server calls so is in the log."""
        return name in self._batch_ids

    def lines(self) -> Iterator[Line]:
        """Yield every line that this log has read or written, in order.

        Raises:
            UserError: the file was changed by a program that keeps no lock.
        """
        if not self._lines:
            return
        with self.path.open("rb") as stream:
            for _ in range(self._lines):
                try:
                    yield _from_line(stream.readline())
                except ValueError:
                    raise UserError(f"{self.path}: changed under a running program") from None

    def lock(self) -> None:
        """Become the one writer, and take in what others wrote until now.

        A last line without its end (a writer was killed) is moved to `<name>.torn`.

        Raises:
            UserError: another process is the writer, or the file cannot be opened.
        """
        if self._fd is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UserError(f"{self.path}: cannot open: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            torn = self._read_on()
            if torn:
                with self.path.with_name(f"{self.path.name}.torn").open("ab") as stream:
                    stream.write(torn + b"\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                os.ftruncate(fd, self._end)
        except BlockingIOError:
            os.close(fd)
            raise UserError(f"another run is using {self.path}") from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def close(self) -> None:
        """Give the lock back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def append(self, record: Line) -> None:
        """Write one line. A result is on the disk when this returns.

        Raises:
            UserError: another process is the writer, or the disk takes no more.
        """
        self.write(record)
        if isinstance(record, Result):
            self.sync()

    def write(self, record: Line) -> None:
        """Write one line, which survives a kill from now on and a power cut after `sync`.

        Raises:
            UserError: another process is the writer, or the disk takes no more.
        """
        self.lock()
        assert self._fd is not None
        line = _to_line(record)
        try:
            written = 0
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError as error:
            # A half line is no harm, the next `lock` cuts it; whole lines stand as they are.
            self.close()
            raise UserError(f"{self.path}: cannot write: {error.strerror}") from None
        self._take_in(record, len(line))

    def sync(self) -> None:
        """Wait until all that was written is on the disk; may run beside `write`, in a thread.

        Raises:
            UserError: the disk takes no more.
        """
        if self._fd is None:
            return
        try:
            _sync(self._fd)
        except OSError as error:
            raise UserError(f"{self.path}: cannot write: {error.strerror}") from None

    def _read_on(self) -> bytes:
        """Take in all lines since the last read; return what follows the last line end."""
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise UserError(f"{self.path}: cannot open: {error.strerror}") from None
        with stream:
            if os.fstat(stream.fileno()).st_size < self._end:
                raise UserError(f"{self.path}: changed under a running program")
            stream.seek(self._end)
            for line in stream:
                if not line.endswith(b"\n"):
                    return line
                try:
                    record = _from_line(line)
                except ValidationError as error:
                    what = first_error(error)
                    raise UserError(f"{self.path}:{self._lines + 1}: {what}") from None
                except ValueError:
                    what = "corrupt line, its checksum does not match"
                    raise UserError(f"{self.path}:{self._lines + 1}: {what}") from None
                self._take_in(record, len(line))
        return b""

    def _take_in(self, record: Line, length: int) -> None:
        """Keep the index up to date with the next line, so many bytes long."""
        if isinstance(record, Result):
            self._results[record.key] = (self._end, length)
        self._end += length
        self._lines += 1
        if isinstance(record, Batch):
            self._batch_ids.add(record.id)
            self._batches.setdefault(record.digest, OpenBatch(record.digest, set())).id = record.id
        elif isinstance(record, Intent) and record.batch is not None:
            batch = self._batches.get(record.batch)
            if batch is None or not batch.keys:
                # The same requests may go into a new batch once the last one has ended.
                batch = self._batches[record.batch] = OpenBatch(record.batch, set())
            batch.keys.add(record.key)
            self._batch_of[record.key] = batch
        elif isinstance(record, Result | Failure) and record.time != IMPORTED:
            self._batch_of.pop(record.key, OpenBatch("", set())).keys.discard(record.key)
