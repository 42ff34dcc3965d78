"""The grader's process: it runs the checks against stubs and writes one verdict a check.

It reads the job from stdin and writes JSON lines to what was stdout at its start. The candidate's
code is never loaded here; it goes to the candidate's process as text.
"""

import json
import os
import sys
from typing import Any

from .names import free_names, modules, remote
from .remote import Channel, Raised, Stop
from .start import start


class Broken(Exception):
    """What is ours has failed, so there is no verdict."""


def _load(channel: Channel, job: dict[str, Any]) -> str:
    """Run prelude, code and setup; return how they failed, "" if they did not."""
    try:
        if channel.receive() != "ready":
            raise Broken("the candidate's process did not start")
        if channel.ask("run", job["prelude"]) != "ok":
            raise Broken("the prelude does not compile")
    except Stop:
        raise Broken("the candidate's process did not start") from None
    except Raised as error:
        raise Broken(f"the prelude raised {type(error).__name__}: {error}") from None
    for source in (job["code"], job["setup"]):
        try:
            if source and channel.ask("run", source) != "ok":
                return "syntax"
        except Stop:
            return channel.broken
        except Raised:
            return "exception"
    return ""


def _namespace(channel: Channel, names: set[str], own: set[str], entry: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "check"}
    for name in own:
        namespace[name] = __import__(name)
    for name in remote(names - own, entry):
        if name == "candidate" and entry:
            namespace[name] = channel.ask("get", entry)
        elif channel.ask("has", name) is True:
            namespace[name] = channel.ask("get", name)
    return namespace


def _judge(channel: Channel, source: str, entry: str) -> str:
    names = free_names(source)
    own = modules(source, names)
    code = compile(source, "<check>", "exec", dont_inherit=True)
    channel.unsure = False
    if "random" in source:
        __import__("random").seed(0)
    try:
        exec(code, _namespace(channel, names, own, entry))
        status = "passed"
    except Raised:
        status = "exception"
    except AssertionError:
        status = "wrong"
    except Stop:
        status = "unsupported"
    except BaseException:  # Whatever a check raises on a candidate's value, SystemExit too.
        status = "exception"
    # A check may have caught what the channel raised, so its own end does not decide.
    return channel.broken or ("unsupported" if channel.unsure else status)


def grade(channel: Channel, job: dict[str, Any], report: int) -> None:
    """Judge a job and write the verdicts to a descriptor."""

    def write(line: dict[str, Any]) -> None:
        os.write(report, json.dumps(line).encode() + b"\n")

    write({"started": True})
    try:
        failed = _load(channel, job)
        for source in job["checks"]:
            try:
                write({"status": failed or _judge(channel, source, job["entry"])})
            except SyntaxError as error:
                raise Broken(f"a check does not compile: {error}") from None
    except Broken as error:
        write({"broken": str(error)})
    write({"done": True})


def main(settings: dict[str, Any]) -> None:
    """Confine this process, read the job and grade it."""
    start(settings)
    job = json.loads(sys.stdin.buffer.read())
    # Checks may print; that must not reach the reader of verdicts.
    report = os.dup(1)
    nothing = os.open("/dev/null", os.O_WRONLY)
    os.dup2(nothing, 1)
    grade(Channel(settings["channel"], settings["output"]), job, report)
