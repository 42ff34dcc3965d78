"""A memory and process limit for all processes of a candidate together, where root can set one."""

import itertools
import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from stages.tasks.sandbox.job import Limits, SandboxBroken

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """A cgroup of version 2, or one in each of two hierarchies of version 1."""

    folders: tuple[Path, ...]

    @property
    def joins(self) -> list[Path]:
        """Return the files to which a process writes its id to join."""
        return [folder / "cgroup.procs" for folder in self.folders]

    def _members(self) -> set[int]:
        return {int(one) for file in self.joins for one in file.read_text().split()}

    def clear(self) -> None:
        """End all members and wait until they are gone; raises SandboxBroken if they stay."""
        deadline = time.monotonic() + 10
        while members := self._members():
            if time.monotonic() > deadline:
                raise SandboxBroken(f"{self.folders[0]}: its processes do not end")
            for member in members:
                try:
                    os.kill(member, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # It ended between listing and killing.
            time.sleep(0.001)

    def remove(self) -> None:
        """End all members and remove the cgroup; raises SandboxBroken if they stay."""
        self.clear()
        for folder in self.folders:
            folder.rmdir()


def _make(name: str, limits: Limits, root: Path) -> Group:
    folders: tuple[Path, ...]
    if (root / "cgroup.controllers").is_file():
        (root / "cgroup.subtree_control").write_text("+memory +pids")
        folders = (root / name,)
        values = {"memory.max": limits.memory, "pids.max": limits.processes}
    else:
        folders = (root / "memory" / name, root / "pids" / name)
        values = {"memory.limit_in_bytes": limits.memory, "pids.max": limits.processes}
    made: list[Path] = []
    try:
        for folder in folders:
            folder.mkdir()
            made.append(folder)
        for file, value in values.items():
            next(one / file for one in folders if (one / file).exists()).write_text(str(value))
    except (OSError, StopIteration):
        for folder in made:
            folder.rmdir()
        raise OSError(f"{root}: no memory or pids controller") from None
    return Group(folders)


class Groups:
    """Makes a cgroup a job. Not one for many: a zombie that nobody reaps still counts in its own.

    Raises OSError where this process cannot make one: it is not root, the mount is read-only, or
    a controller is not there.
    """

    def __init__(self, limits: Limits, root: Path = ROOT) -> None:
        """Take the limits and the mount; makes and removes one to see that it works."""
        self._limits = limits
        self._root = root
        self._prefix = f"feedback-sandbox-{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count()
        self.new().remove()

    def new(self) -> Group:
        """Return a new cgroup."""
        return _make(f"{self._prefix}-{next(self._numbers)}", self._limits, self._root)
