"""One job, once: start both processes, read the verdicts, end both whatever happens."""

import json
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import asdict
from threading import Event
from typing import IO, get_args

from stages.tasks.sandbox.backends import ENVIRONMENT, Backend, Place, Role, Start
from stages.tasks.sandbox.job import Job, SandboxBroken, Status

_STATUSES = frozenset(get_args(Status))
# How long a grader whose candidate was ended may take to say so.
_GRACE = 2.0
_TICK = 0.1


class Cancelled(Exception):
    """The run was stopped from outside."""


def _spawn(
    start: Start, channel: int, stdin: IO[bytes] | int, output: int
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            start.command,
            stdin=stdin,
            stdout=output,
            stderr=output,
            pass_fds=[channel],
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            user=start.uid,
            group=start.uid,
            extra_groups=None if start.uid is None else [],
        )
    except OSError as error:
        raise SandboxBroken(f"{start.command[0]} does not start: {error}") from None


def _end(process: subprocess.Popen[bytes]) -> int:
    """Kill a process and its group; return its exit code as a shell gives it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    return 128 - code if code < 0 else code


class _Output:
    """What a process writes, read as it comes and kept up to a limit."""

    def __init__(self, limit: int) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.kept = bytearray()
        self.flooded = False
        self.ended = False
        self._limit = limit

    def take(self) -> None:
        """Read what is there."""
        while not self.flooded and not self.ended:
            try:
                chunk = os.read(self.read_end, 1 << 16)
            except BlockingIOError:
                return
            self.kept += chunk
            self.ended = not chunk
            self.flooded = len(self.kept) > self._limit

    def close_write(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        self.close_write()
        os.close(self.read_end)


class _Attempt:
    def __init__(self, job: Job, backend: Backend, place: Place, stop: Event) -> None:
        self._job = job
        self._backend = backend
        self._limits = backend.limits
        self._place = place
        self._stop = stop
        self._started = time.monotonic()
        self._late = False
        self._printed = _Output(self._limits.output)
        self._verdicts = _Output(self._limits.output)
        self._processes: dict[Role, subprocess.Popen[bytes]] = {}

    def run(self) -> tuple[Status, ...]:
        try:
            self._launch()
            self._watch()
            code = self._candidate_code()
        finally:
            for process in self._processes.values():
                _end(process)
            if self._place.group is not None:
                self._place.group.clear()
            self._printed.take()
            self._printed.close()
            self._verdicts.close()
        return self._statuses(code)

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(asdict(self._job)).encode())
            stdin.seek(0)
            ends: list[tuple[Role, socket.socket, IO[bytes] | int, _Output]] = [
                ("candidate", theirs, subprocess.DEVNULL, self._printed),
                ("grader", ours, stdin, self._verdicts),
            ]
            for role, end, source, output in ends:
                start = self._backend.start(role, self._place, end.fileno())
                self._processes[role] = _spawn(start, end.fileno(), source, output.write_end)
                output.close_write()

    def _watch(self) -> None:
        """Read until the grader is done; end the candidate on a flood or at the wall limit."""
        deadline = self._started + self._limits.wall_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._printed.read_end, selectors.EVENT_READ, self._printed)
            selector.register(self._verdicts.read_end, selectors.EVENT_READ, self._verdicts)
            while not self._done():
                if self._stop.is_set():
                    raise Cancelled
                left = deadline - time.monotonic()
                if left <= 0:
                    if self._late:
                        return
                    self._late = True
                    deadline += _GRACE
                    _end(self._processes["candidate"])
                for key, _ in selector.select(min(_TICK, max(left, 0))):
                    key.data.take()
                    if key.data.flooded or key.data.ended:
                        selector.unregister(key.fd)
                        if key.data is self._printed and key.data.flooded:
                            _end(self._processes["candidate"])

    def _done(self) -> bool:
        verdicts = self._verdicts
        return verdicts.ended or verdicts.flooded or verdicts.kept.endswith(b'{"done": true}\n')

    def _candidate_code(self) -> int:
        """Return the candidate's exit code; it has a moment to end by itself if it died."""
        candidate = self._processes["candidate"]
        if b'"died"' in self._verdicts.kept:
            try:
                candidate.wait(_GRACE)
            except subprocess.TimeoutExpired:
                return _end(candidate)
        return _end(candidate)

    def _statuses(self, candidate: int) -> tuple[Status, ...]:
        lines = []
        for line in bytes(self._verdicts.kept).splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                raise SandboxBroken(self._why(line.decode(errors="replace"))) from None
        if broken := next((line["broken"] for line in lines if "broken" in line), None):
            raise SandboxBroken(self._why(broken))
        if not lines:
            raise SandboxBroken(self._why("the grader did not start"))
        statuses: list[Status] = [line["status"] for line in lines if "status" in line]
        if not _STATUSES.issuperset(statuses):
            raise SandboxBroken(self._why(f"no statuses: {statuses}"))
        lost = len(self._job.checks) - len(statuses)
        if lost and not self._late and not self._out_of_time(_end(self._processes["grader"])):
            raise SandboxBroken(self._why("the grader died"))
        statuses += ["timeout"] * lost
        if self._printed.flooded:
            statuses = ["flood"] * len(statuses)
        elif self._late or self._out_of_time(candidate):
            for number, status in enumerate(statuses):
                statuses[number] = "timeout" if status == "died" else status
        return tuple(statuses)

    def _out_of_time(self, code: int) -> bool:
        """Tell an end at the CPU limit: SIGXCPU, or SIGKILL where the program ignores that."""
        if code == 128 + signal.SIGXCPU:
            return True
        long = time.monotonic() - self._started >= self._limits.cpu_seconds
        return code == 128 + signal.SIGKILL and long

    def _why(self, why: str) -> str:
        """Return one line: what failed and what the candidate's process last wrote."""
        last = bytes(self._printed.kept).decode(errors="replace").strip().splitlines()[-1:]
        return " ".join([f"{self._backend.name}: {why}", *last])


def attempt(job: Job, backend: Backend, stop: Event) -> tuple[Status, ...]:
    """Run a job once and return a status a check; no process of it is left.

    Args:
        job: the program and its checks.
        backend: how to isolate.
        stop: ends it early.

    Raises:
        SandboxBroken: a process did not start, or the grader died: there is no verdict.
        Cancelled: `stop` was set.
    """
    with backend.place() as place:
        return _Attempt(job, backend, place, stop).run()
