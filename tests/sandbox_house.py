"""What the tests of the sandbox share: small limits, opening one, and looking for leftovers."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from stages.tasks.sandbox import Job, Limits, NoSandbox, Sandbox, open_sandbox

BACKENDS = ("bubblewrap", "landlock")
FAST = Limits(cpu_seconds=1, wall_seconds=4.0)


def absent(backend: str, reason: str, environment: Mapping[str, str]) -> NoReturn:
    """Skip; but fail under CI where bubblewrap, which CI installs, is not there."""
    if backend == "bubblewrap" and environment.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"CI must have bubblewrap: {reason}")
    pytest.skip(reason)


def opened(backend: str, limits: Limits = FAST) -> Sandbox:
    """Return a sandbox of this backend, or skip with the reason."""
    try:
        return open_sandbox(limits, {"SANDBOX_BACKEND": backend})
    except NoSandbox as error:
        absent(backend, str(error), os.environ)


def job(code: str, *checks: str, entry: str = "", prelude: str = "", setup: str = "") -> Job:
    return Job(code=code, prelude=prelude, setup=setup, checks=checks, entry=entry)


def ours(parent: int | None = None) -> list[int]:
    """Return the living processes within sandboxes that `parent` (by default this one) started."""
    mark = f'"parent": {os.getpid() if parent is None else parent},'.encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # A zombie has no command line; pid 1 reaps it when it likes.
            if mark in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked.
    return found


def none_left(parent: int | None = None) -> bool:
    """Tell whether all those processes are gone within two seconds: ending them takes a moment."""
    deadline = time.monotonic() + 2
    while ours(parent):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def cgroups() -> set[Path]:
    """Return the cgroups that this process made and did not remove."""
    return set(Path("/sys/fs/cgroup").glob(f"**/feedback-sandbox-{os.getpid()}-*"))
