"""What the sandbox is given, what it returns, and how it fails."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal[
    "passed",
    "wrong",
    "exception",
    "timeout",
    "died",
    "flood",
    "protocol",
    "syntax",
    "unsupported",
]
"""How a check went.

passed: it ran through and its asserts held; wrong: an assert failed; exception: the candidate, or
the check on what the candidate returned, raised; timeout: the program was out of CPU or wall time;
died: its process ended; flood: it wrote or returned more than the limit; protocol: it answered what
was not asked; syntax: the code does not compile; unsupported: the verdict hung on a value that is
no plain builtin, or an argument was none.
"""


class NoSandbox(Exception):
    """This machine offers no isolation; one line says what is missing and how to install it."""


class SandboxBroken(Exception):
    """The sandbox itself failed: there is no verdict, so it must never become a score."""


@dataclass(frozen=True)
class Job:
    """A program and what it is tested by; the fields are those of `environments.base.Tests`.

    Attributes:
        code: the candidate's program.
        prelude: run before it, in its process.
        setup: run after it, in its process.
        checks: the grader's programs, each in a fresh namespace.
        entry: the name that checks call `candidate`; "" where they use names of their own.
    """

    code: str
    prelude: str
    setup: str
    checks: tuple[str, ...]
    entry: str


@dataclass(frozen=True)
class Report:
    """How a job went.

    Attributes:
        statuses: one a check, in order. What ends the program ends its later checks alike.
        retried: whether it ran out of time and was run once more, alone; this is that run's report.
    """

    statuses: tuple[Status, ...]
    retried: bool


@dataclass(frozen=True)
class Limits:
    """What a program may use; sizes in bytes.

    Attributes:
        cpu_seconds: CPU time of a process.
        wall_seconds: from the start of the sandbox to its last verdict.
        address_space: of a process of the candidate.
        grader_address_space: below `memory`, so that a huge value is an exception and not a kill.
        memory: of all processes of a candidate and of its files, where there is a cgroup.
        processes: processes and threads of a candidate.
        file_size: of one file.
        disk: of all files.
        open_files: file descriptors of a process.
        output: of stdout and stderr together, and of one answer.
    """

    cpu_seconds: int = 10
    wall_seconds: float = 20.0
    address_space: int = 1 << 30
    grader_address_space: int = 640 << 20
    memory: int = 768 << 20
    processes: int = 32
    file_size: int = 16 << 20
    disk: int = 64 << 20
    open_files: int = 64
    output: int = 1 << 20
