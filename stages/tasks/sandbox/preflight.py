"""Canaries: small attacks that a sandbox must stop before it is trusted with a program."""

import os
import platform
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

from stages.tasks.sandbox.attempt import attempt
from stages.tasks.sandbox.backends import Backend
from stages.tasks.sandbox.job import Job, NoSandbox, SandboxBroken

_CANARIES = """
import os, socket, sys, threading

def interpreter():
    return list(sys.version_info[:3]), os.path.realpath(sys.prefix)

def environment():
    return dict(os.environ)

def readable(path):
    try:
        with open(path) as file:
            file.read(1)
    except OSError:
        return False
    return True

def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True

def signals(process):
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True

def thread():
    seen = []
    one = threading.Thread(target=seen.append, args=(1,))
    one.start()
    one.join()
    return seen

def forks(bound):
    children = []
    try:
        while len(children) < bound:
            child = os.fork()
            if not child:
                import time
                time.sleep(60)
                os._exit(0)
            children.append(child)
    except OSError:
        pass
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return len(children)
"""
_LOOP = "def loop():\n    while True:\n        pass\n"
# What the record names instead of refusing, because some machines cannot have it.
FORKS = "a bound on processes"


@contextmanager
def _listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def _secret() -> Iterator[Path]:
    with tempfile.NamedTemporaryFile() as file:
        path = Path(file.name)
        path.write_text("canary")
        path.chmod(0o644)
        yield path


def _checks(backend: Backend, secret: Path, port: int) -> dict[str, str]:
    version = platform.python_version()
    expected = (list(sys.version_info[:3]), str(Path(sys.base_prefix).resolve()))
    bound = backend.limits.processes + 8
    return {
        f"Python {version} of {expected[1]}": f"assert interpreter() == {expected!r}",
        "an empty environment": "assert environment() == {}",
        "/etc/passwd unreadable": "assert readable('/etc/passwd') is False",
        "a file of ours unreadable": f"assert readable({str(secret)!r}) is False",
        "no network": f"assert connects({port}) is False",
        "no signals to us": f"assert signals({os.getpid()}) is False",
        "threads": "assert thread() == [1]",
        FORKS: f"assert forks({bound}) < {bound}",
    }


def preflight(backend: Backend) -> list[str]:
    """Run canaries and return what a sandbox should have and this one lacks.

    Raises:
        NoSandbox: it does not start, or lacks what only an unsafe backend may lack.
    """
    with _secret() as secret, _listener() as port:
        checks = _checks(backend, secret, port)
        canaries = Job(_CANARIES, "", "", tuple(checks.values()), "")
        limits = backend.limits
        try:
            statuses = attempt(canaries, backend, Event())
            backend.limits = replace(limits, cpu_seconds=1, wall_seconds=1.0)
            loop = attempt(Job(_LOOP, "", "", ("loop()",), ""), backend, Event())
        except SandboxBroken as error:
            raise NoSandbox(str(error)) from None
        finally:
            backend.limits = limits
    lacking = [name for name, status in zip(checks, statuses, strict=True) if status != "passed"]
    if loop != ("timeout",):
        lacking.append("an end to endless loops")
    if backend.strict and set(lacking) - {FORKS}:
        raise NoSandbox(f"{backend.name} does not give: {', '.join(lacking)}")
    return [f"lacks {name}" for name in lacking]
