"""The sandbox's interface: what a job may do, reports, backends, the preflight and its refusals.

Attacks and fakes have files of their own. Not covered: cgroup v2, and an ordinary user's sandbox
(tests run as whoever runs them); that a machine without bubblewrap has none is simulated.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sandbox_house import BACKENDS, FAST, absent, cgroups, job, none_left, opened, ours

from stages.tasks.sandbox import (
    Job,
    NoSandbox,
    Report,
    Sandbox,
    SandboxBroken,
    Status,
    backends,
    open_sandbox,
)
from stages.tasks.sandbox import sandbox as module
from stages.tasks.sandbox.attempt import attempt
from stages.tasks.sandbox.backends import Backend, Bubblewrap, Landlock, Place, Role, Start, chosen
from stages.tasks.sandbox.cgroup import Groups
from stages.tasks.sandbox.inside.names import free_names, modules, remote
from stages.tasks.sandbox.inside.wire import BadMessage, decode, encode
from stages.tasks.sandbox.preflight import FORKS, preflight

UNSAFE = {"SANDBOX_BACKEND": "unsafe", "SANDBOX_UNSAFE_LOCAL": "1"}


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with opened(request.param) as found:
        yield found


def statuses(sandbox: Sandbox, one: Job) -> tuple[Status, ...]:
    return sandbox.run([one])[0].statuses


# What a job may do.


@pytest.mark.parametrize(
    "value",
    [
        "None, True, 0, -1, 2 ** 63, -(10 ** 5000), 0.1, -0.0, float('inf'), 1j, 'a', b'b'",
        "[], [[1], (2, {3}), frozenset({4}), {5: {'a': None}}], range(1, 9, 2), bytearray(b'x')",
        "int, ValueError, '\\ud800', {(1, (2,)): [3]}, {True: 1.5}",
    ],
)
def test_values_travel_both_ways(sandbox: Sandbox, value: str) -> None:
    check = f"for one in ({value}):\n    assert same(one) == one and type(same(one)) is type(one)"
    assert statuses(sandbox, job("def same(x): return x", check)) == ("passed",)


def test_subclasses_travel_as_their_builtins(sandbox: Sandbox) -> None:
    code = """
from collections import Counter, OrderedDict, defaultdict, namedtuple
from enum import IntEnum
class Level(IntEnum):
    LOW = 3
def all_of():
    return [Counter("aab"), OrderedDict(x=1), defaultdict(list, y=[2]),
            namedtuple("P", "u v")(4, 5), Level.LOW]
"""
    check = "assert all_of() == [{'a': 2, 'b': 1}, {'x': 1}, {'y': [2]}, (4, 5), 3]"
    plain = "assert [type(one) for one in all_of()] == [dict, dict, dict, tuple, int]"
    assert statuses(sandbox, job(code, check, plain)) == ("passed", "passed")


def test_objects_of_a_class_are_handles(sandbox: Sandbox) -> None:
    code = """
class Link:
    def __init__(self, value, after=None):
        self.value, self.after = value, after
    def total(self):
        return self.value + (self.after.total() if self.after else 0)
    def __getitem__(self, key): return key * 2
    def __str__(self): return "a link"
def tail(links): return links[-1]
"""
    checks = (
        "a = Link(1)\nassert Link(2, after=a).total() == 3",
        "a, b = Link(1), Link(2)\nassert tail([a, b]) is b and tail([a, b]) == b",
        "a = Link(1)\na.value = 9\nassert a.total() == 9 and a[4] == 8 and str(a) == 'a link'",
        "assert Link(1).nothing",
    )
    expected: tuple[Status, ...] = ("passed", "passed", "passed", "exception")
    assert statuses(sandbox, job(code, *checks)) == expected


def test_iterators_are_read_by_the_grader(sandbox: Sandbox) -> None:
    code = (
        "def count(n):\n    yield from range(n)\ndef doubled(xs): return map(lambda x: 2 * x, xs)"
    )
    checks = (
        "assert list(count(3)) == [0, 1, 2]",
        "assert tuple(doubled([1, 2])) == (2, 4)",
        "assert list(count(2)) == [0, 2]",
        "assert count(3) == [0, 1, 2]",
    )
    expected: tuple[Status, ...] = ("passed", "passed", "wrong", "unsupported")
    assert statuses(sandbox, job(code, *checks)) == expected


def test_exceptions_keep_their_builtin_class(sandbox: Sandbox) -> None:
    code = """
class Odd(KeyError): pass
def fail(kind):
    raise {"odd": Odd, "memory": MemoryError, "base": BaseException, "stop": StopIteration,
           "group": lambda m: ExceptionGroup(m, [OSError()]), "exit": SystemExit,
           "code": lambda m: UnicodeDecodeError("utf-8", b"", 0, 1, m)}[kind]("why")
"""
    pairs = {
        "odd": "KeyError",
        "memory": "MemoryError",
        "base": "BaseException",
        "stop": "StopIteration",
        "group": "Exception",
        "exit": "SystemExit",
        "code": "UnicodeDecodeError",
    }
    checks = [
        f"try:\n    fail({kind!r})\nexcept {name} as error:\n    found = error.args\n"
        "assert 'why' in found"
        for kind, name in pairs.items()
        if kind != "group"
    ]
    checks.append("try:\n    fail('group')\nexcept Exception:\n    pass\nelse:\n    assert False")
    checks.append("fail('odd')")
    found = statuses(sandbox, job(code, *checks))
    assert found == ("passed",) * (len(checks) - 2) + ("passed", "exception")


def test_prelude_code_setup_and_entry(sandbox: Sandbox) -> None:
    one = job(
        "def double(x): return math.floor(x) * 2\nclass Box: pass",
        "assert candidate(2) == 4 and double(2.5) == 4",
        "def check(candidate):\n    assert candidate(1) == 2\ncheck(candidate)",
        "assert ready is True",
        "assert candidate(1) == 3",
        entry="double",
        prelude="import math",
        setup="ready = isinstance(Box(), Box)",
    )
    assert statuses(sandbox, one) == ("passed", "passed", "passed", "wrong")


def test_definition_wins_over_a_builtin_that_is_tested(sandbox: Sandbox) -> None:
    code = "def sum(a, b): return a + b"
    assert statuses(sandbox, job(code, "assert sum(1, 2) == 3")) == ("passed",)
    named = job(code, "assert candidate(1, 2) == sum(1, 2) == len([1, 2, 3])", entry="sum")
    assert statuses(sandbox, named) == ("passed",)


def test_each_check_has_a_fresh_namespace(sandbox: Sandbox) -> None:
    checks = ("import re\nkept = one()\nassert re.match('1', str(kept))", "assert kept == 1")
    assert statuses(sandbox, job("def one(): return 1", *checks)) == ("passed", "exception")


def test_missing_names_and_unsupported_arguments(sandbox: Sandbox) -> None:
    checks = ("assert absent() == 1", "assert one(lambda: 1) == 1", "assert one(2) == 2")
    expected: tuple[Status, ...] = ("exception", "unsupported", "passed")
    assert statuses(sandbox, job("def one(x): return x", *checks)) == expected


def test_hanging_check_ends_only_what_follows(sandbox: Sandbox) -> None:
    code = "def wait(x):\n    while x: pass\n    return x"
    one = job(code, "assert wait(0) == 0", "wait(1)", "assert wait(0) == 0")
    assert sandbox.run([one]) == [Report(("passed", "timeout", "timeout"), True)]


def test_value_that_hangs_the_grader_is_out_of_time(sandbox: Sandbox) -> None:
    one = job("def big(): return 10 ** 12", "assert sum(range(big())) == 1")
    assert sandbox.run([one]) == [Report(("timeout",), True)]


def test_value_that_fills_the_grader_is_an_exception(sandbox: Sandbox) -> None:
    one = job("def big(): return 1 << 33", "assert bytes(big()) == b''", "assert big() > 0")
    assert statuses(sandbox, one) == ("exception", "passed")


def test_chance_and_hashes_are_the_same_in_every_run(sandbox: Sandbox) -> None:
    code = "import random\ndef drawn(): return [random.random() for _ in range(3)]\n"
    code += "def order(): return list({'a', 'b', 'c', 'd', 'e', 'f', 'g'})\n"
    first = _value(sandbox, code, "drawn(), order()")
    # A blank line more, because equal jobs are run once.
    assert _value(sandbox, code + "\n", "drawn(), order()") == first
    assert _value(sandbox, code, "drawn()[1:], order()") != first


def _value(sandbox: Sandbox, code: str, expression: str) -> int:
    """Return the hash of an expression in the candidate, found bit by bit from verdicts."""
    probe = f"import zlib\n{code}\ndef bits(): return zlib.crc32(repr(({expression})).encode())"
    checks = [f"assert bits0 >> {place} & 1" for place in range(32)]
    found = statuses(sandbox, job(f"{probe}\nbits0 = bits()", *checks))
    assert set(found) <= {"passed", "wrong"}
    return sum(1 << place for place, status in enumerate(found) if status == "passed")


# Reports.


def test_order_is_kept_and_equal_jobs_run_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Job] = []

    def counting(one: Job, backend: Backend, stop: Event) -> tuple[Status, ...]:
        seen.append(one)
        return attempt(one, backend, stop)

    monkeypatch.setattr(module, "attempt", counting)
    right, wrong = job("def f(): return 1", "assert f() == 1"), job("", "assert f() == 1")
    slow = job("import time\ntime.sleep(.3)\ndef f(): return 2", "assert f() == 1")
    found = sandbox.run([slow, right, wrong, right, slow])
    assert [report.statuses[0] for report in found] == [
        *("wrong", "passed", "exception", "passed", "wrong"),
    ]
    assert sorted(seen, key=hash) == sorted([slow, right, wrong], key=hash)


def test_no_jobs_and_no_checks(sandbox: Sandbox) -> None:
    assert sandbox.run([]) == []
    assert sandbox.run([job("x = 1")]) == [Report((), False)]


def test_the_second_run_alone_stands(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def busy(one: Job, backend: Backend, stop: Event) -> tuple[Status, ...]:
        calls.append(one.code)
        late = one.code == "late" and calls.count("late") == 1
        return ("timeout",) if late else ("passed",)

    monkeypatch.setattr(module, "attempt", busy)
    found = sandbox.run([job("late", "1"), job("fine", "1")])
    assert found == [Report(("passed",), True), Report(("passed",), False)]
    assert calls[-1] == "late"
    assert sorted(calls) == ["fine", "late", "late"]


def test_facts_are_json_and_name_what_lacks(sandbox: Sandbox) -> None:
    facts = json.loads(json.dumps(sandbox.facts()))
    assert facts["backend"] in BACKENDS
    assert facts["limits"]["cpu_seconds"] == FAST.cpu_seconds
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    if facts["backend"] == "landlock":
        assert {"no pid namespace", "no folder to write to"} <= set(facts["weaker"])


# The sandbox's own failures are never a score.


def start_instead(monkeypatch: pytest.MonkeyPatch, role: Role, script: str) -> None:
    """Start a shell script in place of a process."""
    for kind in (Bubblewrap, Landlock):
        original = kind.start

        def start(
            self: Any, wanted: Role, place: Place, channel: int, original: Any = original
        ) -> Start:
            if wanted == role:
                return Start(["/bin/sh", "-c", script])
            started: Start = original(self, wanted, place, channel)
            return started

        monkeypatch.setattr(kind, "start", start)


@pytest.mark.parametrize(
    ("role", "script", "reason"),
    [
        ("candidate", "echo no namespaces >&2; exit 1", "did not start no namespaces"),
        ("candidate", "exit 0", "did not start"),
        ("grader", "exit 1", "the grader did not start"),
        ("grader", "echo '{\"started\": true}'", "the grader died"),
        ("grader", "echo '{\"started\": true}'; kill -9 $$", "the grader died"),
        ("grader", 'echo \'{"status": "splendid"}\'; echo \'{"done": true}\'', "splendid"),
        ("grader", "echo nonsense", "nonsense"),
    ],
)
def test_broken_process_is_no_score(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, role: Role, script: str, reason: str
) -> None:
    start_instead(monkeypatch, role, script)
    with pytest.raises(SandboxBroken, match=reason):
        sandbox.run([job("def f(): return 1", "assert f() == 1")])
    assert none_left()


def test_program_that_does_not_exist_is_no_score(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bubblewrap, "start", lambda *_: Start(["/nowhere/bwrap"]))
    monkeypatch.setattr(Landlock, "start", lambda *_: Start(["/nowhere/python"]))
    with pytest.raises(SandboxBroken, match="/nowhere/"):
        sandbox.run([job("", "assert True")])


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (job("", "assert ("), "check does not compile"),
        (job("", "assert True", prelude="import nowhere"), "prelude raised ModuleNotFoundError"),
        (job("", "assert True", prelude="import ("), "prelude does not compile"),
    ],
)
def test_mistakes_of_ours_are_no_score(sandbox: Sandbox, one: Job, reason: str) -> None:
    with pytest.raises(SandboxBroken, match=reason):
        sandbox.run([one])


def test_one_broken_job_stops_the_others(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sleepers = [job(f"import time\ntime.sleep(60 + {n})", "assert True") for n in range(6)]
    started = time.monotonic()
    with pytest.raises(SandboxBroken):
        sandbox.run([job("", "assert ("), *sleepers])
    assert time.monotonic() - started < 3.5  # less than the wall limit of one sleeper
    assert none_left()


# Ending.

_INTERRUPTED = """
import signal, sys
from sandbox_house import job, opened
# Where tests run in the background, it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with opened(sys.argv[1]) as sandbox:
    print("ready", flush=True)
    sandbox.run([job(f"import time\\ntime.sleep({n} + 60)", "assert True") for n in range(5)])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("name", BACKENDS)
def test_signals_leave_no_process_and_no_folder(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    with opened(name):
        pass  # It skips here rather than in the process below.
    here = Path(__file__).parent
    environment = os.environ | {
        "PYTHONPATH": f"{here}{os.pathsep}{here.parent}",
        "TMPDIR": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, name],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 5
        while len(ours(process.pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
    assert process.returncode != 0
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    assert none_left(process.pid)
    assert list(tmp_path.iterdir()) == []
    groups = Path("/sys/fs/cgroup").glob(f"**/feedback-sandbox-{process.pid}-*")
    if number == signal.SIGINT:
        assert list(groups) == []
    else:  # Nobody was left to remove them.
        for group in groups:
            group.rmdir()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_runs_leave_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    before = descriptors()
    sandbox.run([job(f"x = {n}", f"assert x == {n}") for n in range(8)])
    assert descriptors() == before
    assert none_left()
    assert cgroups() == set()


# Backends and the preflight.


def without_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_no_sandbox_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_bubblewrap(monkeypatch, tmp_path)
    monkeypatch.setattr(backends, "landlock_version", lambda: 4)
    with pytest.raises(NoSandbox) as caught:
        open_sandbox(FAST, {})
    message = str(caught.value)
    assert "\n" not in message
    for part in ("bwrap is not in PATH", "version 4", "apt-get install bubblewrap"):
        assert part in message


def test_landlock_takes_over_where_bubblewrap_may_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with opened("landlock"):
        pass
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\n"
        'test "$1" = --help && echo " --size --disable-userns" && exit 0\n'
        'echo "bwrap: setting up uid map: Permission denied" >&2; exit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with open_sandbox(FAST, {}) as sandbox:
        assert sandbox.facts()["backend"] == "landlock"
    with pytest.raises(NoSandbox, match="uid map: Permission denied"):
        open_sandbox(FAST, {"SANDBOX_BACKEND": "bubblewrap"})


def test_old_bubblewrap_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho ' --unshare-all'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSandbox, match=r"older than 0\.7"):
        open_sandbox(FAST, {"SANDBOX_BACKEND": "bubblewrap"})


def test_unknown_backend() -> None:
    with pytest.raises(NoSandbox, match="SANDBOX_BACKEND=docker"):
        open_sandbox(FAST, {"SANDBOX_BACKEND": "docker"})


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"SANDBOX_UNSAFE_LOCAL": ""}, "SANDBOX_UNSAFE_LOCAL=1 is not set"),
        ({"CI": "true"}, "CI is set"),
        ({"OPENAI_API_KEY": "sk-1"}, "OPENAI_API_KEY is set"),
    ],
)
def test_unsafe_is_refused(more: dict[str, str], reason: str) -> None:
    with pytest.raises(NoSandbox, match=reason):
        open_sandbox(FAST, UNSAFE | more)
    assert [kind.name for kind in chosen({"SANDBOX_UNSAFE_LOCAL": "1"} | more)] == list(BACKENDS)


def test_unsafe_is_the_last_resort_and_says_so() -> None:
    assert [kind.name for kind in chosen({})] == list(BACKENDS)
    assert [kind.name for kind in chosen({"SANDBOX_UNSAFE_LOCAL": "1"})] == [*BACKENDS, "unsafe"]
    with open_sandbox(FAST, UNSAFE) as unsafe:
        assert statuses(unsafe, job("def f(): return 1", "assert f() == 1")) == ("passed",)
        weaker = unsafe.facts()["weaker"]
    assert isinstance(weaker, list)
    assert {"no isolation", "lacks /etc/passwd unreadable", "lacks no network"} <= set(weaker)


@pytest.mark.parametrize("kind", [Bubblewrap, Landlock])
def test_preflight_refuses_another_python(kind: type[Backend]) -> None:
    other = Path("/usr/bin/python3")
    if not other.exists() or other.resolve() == Path(sys.executable).resolve():
        pytest.skip("there is no second interpreter here")
    backend = kind(FAST, other)
    if missing := backend.missing():
        absent(kind.name, missing, os.environ)
    with pytest.raises(NoSandbox, match=r"does not give: Python 3|did not start"):
        preflight(backend)


def test_preflight_refuses_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("bubblewrap"):
        pass
    original = Bubblewrap._arguments

    def leaky(self: Bubblewrap, inside: Path) -> list[str]:
        return [*original(self, inside)[:-2], "--ro-bind", "/etc", "/etc", "--chdir", "/tmp"]

    monkeypatch.setattr(Bubblewrap, "_arguments", leaky)
    with pytest.raises(NoSandbox, match="/etc/passwd unreadable"):
        open_sandbox(FAST, {"SANDBOX_BACKEND": "bubblewrap"})


def test_preflight_reports_an_unbounded_number_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opened("bubblewrap"):
        pass
    if os.geteuid() != 0:
        pytest.skip("a user's own limit binds here; root's does not")
    monkeypatch.setattr(Bubblewrap, "_groups", None)
    monkeypatch.setattr(Bubblewrap, "_uids", None)
    with open_sandbox(FAST, {"SANDBOX_BACKEND": "bubblewrap"}) as sandbox:
        weaker = sandbox.facts()["weaker"]
        assert weaker == ["no limit on memory beyond one process", f"lacks {FORKS}"]
        assert sandbox.facts()["bound"] == "user"


def test_lone_users_bound_processes_without_a_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("bubblewrap"):
        pass
    python = Path("/usr/bin/python3")
    if os.geteuid() != 0 or not python.exists():
        pytest.skip("needs root and an interpreter that every user can run")
    backend = Bubblewrap(FAST, python)
    monkeypatch.setattr(Bubblewrap, "_groups", None)
    if backend._uids is None:
        pytest.skip("this checkout is not readable for every user")
    code = """
import os, time
def forks():
    for count in range(60):
        try:
            if not os.fork():
                time.sleep(30)
        except OSError:
            return count
    return 60
"""
    for _ in range(2):
        assert attempt(job(code, "assert 20 < forks() <= 32"), backend, Event()) == ("passed",)


def test_a_cgroup_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    with pytest.raises(OSError, match="no memory or pids controller"):
        Groups(FAST, tmp_path)
    assert list((tmp_path / "memory").iterdir()) == []


def test_missing_bubblewrap_skips_but_fails_in_ci() -> None:
    with pytest.raises(pytest.skip.Exception, match="why"):
        absent("bubblewrap", "why", {})
    with pytest.raises(pytest.fail.Exception, match="why"):
        absent("bubblewrap", "why", {"CI": "true"})
    with pytest.raises(pytest.skip.Exception, match="why"):
        absent("landlock", "why", {"CI": "true"})


def test_limits_reach_the_program() -> None:
    with opened("bubblewrap", replace(FAST, file_size=1000)) as sandbox:
        code = "def write():\n    with open('f', 'wb', 0) as file: return file.write(b'x' * 2000)"
        assert statuses(sandbox, job(code, "assert write() == 1000")) == ("passed",)


# Values and names.

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**30, max_value=10**40)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.sampled_from([int, str, KeyError, range(3), range(9, 1, -2)]),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.frozensets(st.integers() | st.text())
        | st.sets(st.tuples(st.integers(), st.text()))
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


def no_objects(value: Any) -> int:
    raise AssertionError(f"{value!r} is plain")


@settings(deadline=None)
@given(VALUES)
def test_plain_values_come_back(value: Any) -> None:
    sent = json.loads(json.dumps(encode(value, no_objects, False)))
    back = decode(sent, no_objects)
    assert repr(type(back)) == repr(type(value))
    assert back == value


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(
            st.sampled_from(
                ["list", "set", "dict", "int", "bytes", "complex", "range", "type", "opaque"]
            ),
            inner,
        ).map(list)
    ),
)


@settings(deadline=None)
@given(JSON)
@example(["type", "open"])
@example(["type", "nothing"])
@example(["set", [["list", []]]])
@example(["dict", [[["dict", []], 1]]])
@example(["range", [0, 1, 0]])
@example(["opaque", "0"])
@example({"a": 1, "b": 2})
def test_forged_messages_are_values_or_bad(message: Any) -> None:
    try:
        found = decode(message, lambda number: ("handle", number))
    except BadMessage:
        return
    # What came through is plain: it can be sent again.
    encode(found, no_objects, False)


def test_cycles_and_depth_end_in_a_handle() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    kept: list[int] = []

    def keep(value: Any) -> int:
        kept.append(id(value))
        return 0

    encode(cycle, keep, True)
    assert kept == [id(cycle)]
    deep: Any = 1
    for _ in range(5000):
        deep = ["list", [deep]]
    with pytest.raises(BadMessage):
        decode(deep, no_objects)


@pytest.mark.parametrize(
    ("source", "free"),
    [
        ("assert f(1) == 2", {"f"}),
        ("import math\nassert math.pi < f(x=len('a'))", {"f", "len"}),
        (
            "def check(candidate):\n    assert candidate(g) == [h for h in k]\ncheck(f)",
            {"f", "g", "k"},
        ),
        ("f = 1\nassert f", set()),
        ("def a():\n    global b\n    b = 1\na()\nassert b == c", {"c"}),
        ("try:\n    f()\nexcept E as error:\n    print(error)", {"f", "E", "print"}),
        ("class A(B):\n    x = y\nassert A.x == (lambda z: z + w)(1)", {"B", "y", "w"}),
    ],
)
def test_free_names(source: str, free: set[str]) -> None:
    assert free_names(source) == free


def test_whose_a_name_is() -> None:
    assert remote({"f", "set", "len"}, "") == {"f"}
    assert remote({"sum"}, "") == {"sum"}
    assert remote({"candidate", "sum", "helper"}, "sum") == {"candidate", "sum", "helper"}
    assert remote({"candidate", "abs"}, "sum") == {"candidate"}
    assert modules("math.floor(f(1))", {"math", "f"}) == {"math"}
    assert modules("copy(1) == copy.x", {"copy"}) == set()
