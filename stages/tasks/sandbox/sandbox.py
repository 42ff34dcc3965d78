"""Running many jobs: as many at a time as there are cores, each isolated, none lost."""

import os
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from threading import Event
from types import TracebackType

from stages.tasks.sandbox.attempt import attempt
from stages.tasks.sandbox.backends import APT, Backend, chosen
from stages.tasks.sandbox.job import Job, Limits, NoSandbox, Report, SandboxBroken, Status
from stages.tasks.sandbox.preflight import preflight


class Sandbox:
    """A place to run programs of a model (paper, section 4.1: the tasks of code); see the package.

    Use it as a context manager, which ends its workers.
    """

    def __init__(self, backend: Backend) -> None:
        """Take a backend; raises NoSandbox where the preflight finds it leaky."""
        self._backend = backend
        self._weaker = [*backend.lacks(), *preflight(backend)]
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "sandbox")

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def facts(self) -> dict[str, object]:
        """Return what a record of the scores should say of how programs were run."""
        return {
            "backend": self._backend.name,
            **self._backend.facts(),
            "limits": asdict(self._backend.limits),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "weaker": list(self._weaker),
        }

    def run(self, jobs: Sequence[Job]) -> list[Report]:
        """Return a report a job, in order; equal jobs are run once.

        A job that runs out of time is run once more when no other does, since a busy machine can
        be the reason; its second report stands.

        Raises:
            SandboxBroken: a job has no verdict, for a reason that is not the candidate's.
        """
        different = list(dict.fromkeys(jobs))
        reports = dict(zip(different, self._all(different), strict=True))
        late = [job for job, statuses in reports.items() if "timeout" in statuses]
        again = {job: self._all([job])[0] for job in late}
        return [Report(again.get(job, reports[job]), job in again) for job in jobs]

    def _all(self, jobs: list[Job]) -> list[tuple[Status, ...]]:
        stop = Event()
        futures = [self._pool.submit(self._one, job, stop) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            # Ctrl-C too: the workers end their processes before it goes on its way.
            stop.set()
            for future in futures:
                future.cancel()
            wait(futures)
            raise

    def _one(self, job: Job, stop: Event) -> tuple[Status, ...]:
        try:
            return attempt(job, self._backend, stop)
        except SandboxBroken:
            # A machine out of memory or processes for a moment; a second time it is a fault.
            return attempt(job, self._backend, stop)


def open_sandbox(
    limits: Limits | None = None, environment: Mapping[str, str] | None = None
) -> Sandbox:
    """Return a sandbox that has passed its preflight: the best that this machine offers.

    Args:
        limits: of programs; by default those of `Limits`.
        environment: by default this process's; see `backends.chosen`.

    Raises:
        NoSandbox: no isolation can be had; says what is missing and what to install.
    """
    reasons = []
    for kind in chosen(os.environ if environment is None else environment):
        backend = kind(limits or Limits())
        try:
            if missing := backend.missing():
                raise NoSandbox(missing)
            return Sandbox(backend)
        except NoSandbox as error:
            reasons.append(str(error))
    raise NoSandbox(f"no sandbox for programs: {'; '.join(reasons)}. Install it: {APT}")
