"""The ways to isolate a process: bubblewrap, landlock with seccomp, and none at all."""

import itertools
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from stages.tasks.sandbox.cgroup import Group, Groups
from stages.tasks.sandbox.inside.confine import ABI, landlock_version
from stages.tasks.sandbox.job import Limits, NoSandbox

Role: TypeAlias = Literal["candidate", "grader"]

INSIDE = Path(__file__).parent / "inside"
APT = "apt-get install bubblewrap"
# Isolated (-P -s, and an environment of one variable) rather than -I, which ignores that variable:
# with the hash seed fixed, the order of a set of strings is the same in every run.
ENVIRONMENT = {"PYTHONHASHSEED": "0"}
_FLAGS = ("-P", "-s", "-S", "-B", "-X", "utf8")
_BOOT = (
    "import sys,json;sys.path.insert(0,sys.argv[1]);"
    "from inside.{role} import main;del sys.path[0];main(json.loads(sys.argv[2]))"
)
_MEMORY = "no limit on memory beyond one process"
# Uids of no one, so that a limit on a user's processes is a limit on a candidate's.
_LONE_UIDS = 1_900_000_000


@dataclass(frozen=True)
class Place:
    """What keeps the processes of one candidate together.

    Attributes:
        group: its cgroup.
        uid: the user that it runs as, where there is no cgroup; None for our own.
    """

    group: Group | None = None
    uid: int | None = None


@dataclass(frozen=True)
class Start:
    """A command and the user that runs it."""

    command: list[str]
    uid: int | None = None


class Backend(ABC):
    """A way to isolate a process.

    Attributes:
        name: as the record of a run has it.
        strict: whether the preflight must find it tight.
    """

    name: ClassVar[str]
    strict: ClassVar[bool] = True
    processes: ClassVar[bool] = True  # whether to set the limit on a user's processes

    def __init__(self, limits: Limits, python: Path | None = None) -> None:
        """Take the limits, and the interpreter if it is not the one that runs this."""
        self.limits = limits
        # The file itself: through a venv's link the interpreter would look for that venv.
        self.python = (python or Path(sys.executable)).resolve()

    @abstractmethod
    def missing(self) -> str:
        """Return what the machine lacks for this backend, "" if nothing is known to lack."""

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Yield a place for one job; afterwards no process of it is left."""
        yield Place()

    @abstractmethod
    def start(self, role: Role, place: Place, channel: int) -> Start:
        """Return how to start a process of a job; `channel` is the descriptor it inherits."""

    def facts(self) -> dict[str, object]:
        """Return what else a record should say of this backend."""
        return {}

    def lacks(self) -> list[str]:
        """Return what it lacks beside bubblewrap with a cgroup, in words."""
        return []

    @cached_property
    def prefix(self) -> Path:
        """The installation of the interpreter."""
        return self.python.parent.parent

    def _python(
        self, role: Role, channel: int, inside: Path, landlock: Sequence[Path] | None
    ) -> list[str]:
        limits = self.limits
        settings = {
            "channel": channel,
            "output": limits.output,
            "parent": os.getpid(),
            "landlock": None if landlock is None else [str(path) for path in landlock],
            "limits": {
                "CPU": limits.cpu_seconds,
                "AS": limits.address_space if role == "candidate" else limits.grader_address_space,
                "FSIZE": limits.file_size,
                "NOFILE": limits.open_files,
                "CORE": 0,
            }
            | ({"NPROC": limits.processes} if self.processes else {}),
        }
        boot = _BOOT.format(role=role)
        return [str(self.python), *_FLAGS, "-c", boot, str(inside.parent), json.dumps(settings)]


class Bubblewrap(Backend):
    """Namespaces of its own for all that has one; sees the interpreter and /usr, nothing else."""

    name = "bubblewrap"

    @cached_property
    def _program(self) -> str | None:
        return shutil.which("bwrap")

    @cached_property
    def _options(self) -> str:
        return "" if self._program is None else _output([self._program, "--help"])

    def missing(self) -> str:
        """Return what the machine lacks."""
        if platform.system() != "Linux":
            return "bubblewrap needs Linux"
        if self._program is None:
            return "bwrap is not in PATH"
        return "" if "--size" in self._options else "bwrap is older than 0.7"

    @cached_property
    def _groups(self) -> Groups | None:
        try:
            return Groups(self.limits)
        except OSError:  # The preflight says what lacks without it.
            return None

    @cached_property
    def _uids(self) -> Iterator[int] | None:
        needed = (self.python, self.prefix, INSIDE, Path(self._program or ""))
        if os.geteuid() != 0 or not all(_public(path) for path in needed):
            return None
        # One a job: on older kernels what another candidate left would count for the next.
        return itertools.count(_LONE_UIDS + os.getpid() % 1000 * 100_000)

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Yield a place with a cgroup; else with a lone user, where root can switch to one."""
        if self._groups is None:
            yield Place(uid=None if self._uids is None else next(self._uids))
            return
        group = self._groups.new()
        try:
            yield Place(group)
        finally:
            group.remove()

    def start(self, role: Role, place: Place, channel: int) -> Start:
        """Return how to start a process of a job."""
        inside = Path("/program/inside")
        python = self._python(role, channel, inside, None)
        command = [str(self._program), *self._arguments(inside), "--", *python]
        if role == "grader" or place.group is None:
            # A grader that a candidate's memory could kill would be no judge of it.
            return Start(command, place.uid if role == "candidate" else None)
        joined = " && ".join(f"echo $$ > {file}" for file in place.group.joins)
        # It joins before bwrap starts, so that no process of the candidate is ever outside.
        return Start(["/bin/sh", "-c", f'{joined} && exec "$@"', "sh", *command])

    def _arguments(self, inside: Path) -> list[str]:
        arguments = ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
        if "--disable-userns" in self._options:
            arguments.append("--disable-userns")
        arguments += ["--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"]
        for name, value in ENVIRONMENT.items():
            arguments += ["--setenv", name, value]
        arguments += ["--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            path = Path("/") / name
            if path.is_symlink():
                arguments += ["--symlink", str(path.readlink()), str(path)]
            elif path.is_dir():
                arguments += ["--ro-bind", str(path), str(path)]
        # Where the linker finds libraries of an interpreter in /usr/local.
        arguments += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
        if not self.prefix.is_relative_to("/usr"):
            # At the same path: elsewhere it may load another interpreter's library.
            arguments += ["--ro-bind", str(self.prefix), str(self.prefix)]
        arguments += ["--ro-bind", str(INSIDE), str(inside)]
        arguments += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        arguments += ["--size", str(self.limits.disk), "--tmpfs", "/tmp", "--remount-ro", "/"]
        return [*arguments, "--chdir", "/tmp"]

    def facts(self) -> dict[str, object]:
        """Return the version, and what bounds a candidate's processes together."""
        bound = "cgroup" if self._groups is not None else "lone user" if self._uids else "user"
        return {"bubblewrap": _output([str(self._program), "--version"]).strip(), "bound": bound}

    def lacks(self) -> list[str]:
        """Return what it lacks without a cgroup, and before version 0.8."""
        nested = [] if "--disable-userns" in self._options else ["programs can nest namespaces"]
        return nested if self._groups is not None else [*nested, _MEMORY]


class Landlock(Backend):
    """Reads the interpreter and /usr, writes nothing, starts nothing."""

    name = "landlock"
    processes = False  # It counts all of a user's, and new ones are refused anyway.

    def missing(self) -> str:
        """Return what the machine lacks."""
        version = landlock_version()
        return (
            "" if version >= ABI else f"landlock is of version {version}, not {ABI}, or no x86-64"
        )

    def start(self, role: Role, place: Place, channel: int) -> Start:
        """Return how to start a process of a job."""
        named = ["/usr", "/lib", "/lib64", "/dev/null", "/dev/zero", "/dev/urandom"]
        paths = [self.prefix, INSIDE, *map(Path, named)]
        return Start(self._python(role, channel, INSIDE, [one for one in paths if one.exists()]))

    def facts(self) -> dict[str, object]:
        """Return the version."""
        return {"landlock": landlock_version()}

    def lacks(self) -> list[str]:
        """Return what it lacks."""
        return [
            "no pid namespace",
            "no folder to write to",
            "no child processes",
            _MEMORY,
            "paths can be looked up, not read",
        ]


class Unsafe(Backend):
    """Limits of a process and nothing else: for programs that are trusted."""

    name = "unsafe"
    strict = False
    processes = False

    def missing(self) -> str:
        """Return nothing: any machine has it; `chosen` decides who may use it."""
        return ""

    def start(self, role: Role, place: Place, channel: int) -> Start:
        """Return how to start a process of a job."""
        return Start(self._python(role, channel, INSIDE, None))

    def lacks(self) -> list[str]:
        """Return what it lacks."""
        return ["no isolation", _MEMORY]


BACKENDS: dict[str, type[Backend]] = {one.name: one for one in (Bubblewrap, Landlock, Unsafe)}


def chosen(environment: Mapping[str, str]) -> list[type[Backend]]:
    """Return the backends that may be tried, best first.

    Args:
        environment: of this process; SANDBOX_BACKEND names the only one to try, and
            SANDBOX_UNSAFE_LOCAL=1 adds the one without isolation.

    Raises:
        NoSandbox: the one without isolation is asked for by name where it must not run.
    """
    named = environment.get("SANDBOX_BACKEND")
    if named is not None and named not in BACKENDS:
        raise NoSandbox(f"SANDBOX_BACKEND={named}: there are {', '.join(BACKENDS)}")
    allowed = environment.get("SANDBOX_UNSAFE_LOCAL") == "1"
    refused = ""
    if not allowed:
        refused = "SANDBOX_UNSAFE_LOCAL=1 is not set"
    elif environment.get("CI", "").lower() in ("1", "true"):
        refused = "CI is set"
    elif environment.get("OPENAI_API_KEY"):
        refused = "OPENAI_API_KEY is set, which an unsafe program could read"
    if named == Unsafe.name and refused:
        raise NoSandbox(f"no programs are run without isolation: {refused}")
    if named is not None:
        return [BACKENDS[named]]
    return [Bubblewrap, Landlock] + ([] if refused else [Unsafe])


def _output(command: list[str]) -> str:
    """Return what a command writes to stdout and stderr."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout + done.stderr


def _public(path: Path) -> bool:
    """Tell whether any user can read a path and execute what is on the way to it."""
    here = path.stat().st_mode
    wanted = stat.S_IROTH | stat.S_IXOTH
    return here & wanted == wanted and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in path.parents
    )
