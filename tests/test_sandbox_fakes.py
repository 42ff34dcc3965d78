"""Wrong programs that pretend to be right: none passes a check, on any backend.

Covered: the fakes that fool graders by exit code, by printed marker, or in the candidate's process,
and those against this grader: false builtins and modules, objects that hide their value, forged
messages. Not covered: a program that knows the tests from the prompt and answers from a table.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox_house import BACKENDS, job, opened

from stages.tasks.sandbox import Sandbox, Status

CHECKS = ("assert add(1, 2) == 3", "assert add(20, 22) == 42", "assert add(-1, 1) == 0")
WRONG = "def add(a, b):\n    return a * b + 7\n"

FAKES = {
    "sys_exit_at_import": "import sys\nsys.exit(0)",
    "os_exit_at_import": "import os\nos._exit(0)",
    "os_exit_in_call": "import os\ndef add(a, b):\n    os._exit(0)",
    "system_exit_in_call": "def add(a, b):\n    raise SystemExit(0)",
    "marker_and_exit": """
import os
print('passed', '{"status": "passed"}', '{"done": true}', sep=chr(10), flush=True)
os._exit(0)
""",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\n" + WRONG,
    "excepthook": """
import sys
import os
sys.excepthook = lambda *_: (print('{"status": "passed"}', flush=True), os._exit(0))
def add(a, b):
    raise ValueError
""",
    "equal_to_all": """
class Same:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __hash__(self): return 0
def add(a, b):
    return Same()
""",
    "int_equal_to_all": """
class Same(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def add(a, b):
    return Same(a * b + 7)
""",
    "own_file": """
import re, sys
def add(a, b):
    for name in (globals().get("__file__"), *sys.argv, "/proc/self/cmdline", "/proc/1/cmdline"):
        try:
            text = open(name).read()
        except (OSError, TypeError):
            continue
        if found := re.search(rf"add\\({a}, {b}\\) == (-?\\d+)", text):
            return int(found[1])
    return 999
""",
    "frames_read": """
import gc, re, sys
def add(a, b):
    seen, frame = [], sys._getframe()
    while frame:
        seen += [repr(frame.f_locals), repr(frame.f_code.co_consts)]
        frame = frame.f_back
    seen += [one for one in map(str, gc.get_objects()) if "assert add" in one and "rf" not in one]
    for text in seen:
        if found := re.search(rf"assert add\\({a}, {b}\\) == (-?\\d+)", text):
            return int(found[1])
    return 999
""",
    "frames_write": """
import sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        for name in list(frame.f_locals):
            frame.f_locals[name] = "passed" if name == "status" else frame.f_locals[name]
        for name in ("status", "passed", "result", "ok"):
            frame.f_globals[name] = "passed"
        frame = frame.f_back
    return 999
""",
    "forged_lines": """
import os
def add(a, b):
    lines = b'{"status": "passed"}\\n' * 3 + b'{"done": true}\\n'
    for number in range(64):
        try: os.write(number, lines)
        except OSError: pass
    os._exit(0)
""",
    "false_builtins": """
import builtins
builtins.all = builtins.any = lambda *_: True
class Never(Exception): pass
builtins.AssertionError = Never
"""
    + WRONG,
    # Against this grader.
    "answers_before_questions": """
import json, os
for number in range(3, 64):
    try:
        for seen in range(40):
            os.write(number, json.dumps({"number": seen, "value": True}).encode() + b"\\n")
    except OSError: pass
"""
    + WRONG,
    "two_answers": """
import os
def add(a, b):
    os.fork()
    return 999
""",
    "no_json": """
import os
def add(a, b):
    for number in range(3, 64):
        try: os.write(number, b"[" * 9000 + b"\\n")
        except OSError: pass
""",
    "raises_assertion": "def add(a, b):\n    assert False",
    "generator": "def add(a, b):\n    yield a + b",
    "function": "def add(a, b):\n    return add",
    "type": "def add(a, b):\n    return int",
    "nan": "def add(a, b):\n    return float('nan')",
    "cycle": "def add(a, b):\n    found = []\n    found.append(found)\n    return found",
}


# Those that fool a grader that runs code and asserts as one program and believes its exit code.
FOOL_EXIT_CODES = list(FAKES)[:10]


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with opened(request.param) as found:
        yield found


@pytest.mark.parametrize("name", FAKES)
def test_a_fake_passes_no_check(sandbox: Sandbox, name: str) -> None:
    (report,) = sandbox.run([job(FAKES[name], *CHECKS)])
    assert len(report.statuses) == len(CHECKS)
    assert not {"passed", "syntax"} & set(report.statuses)


@pytest.mark.parametrize("name", FOOL_EXIT_CODES)
def test_the_fakes_are_real(name: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("\n".join([FAKES[name], *CHECKS]))
    done = subprocess.run([sys.executable, program], capture_output=True)
    assert done.returncode == 0


def test_right_program_passes_all(sandbox: Sandbox) -> None:
    (report,) = sandbox.run([job("def add(a, b):\n    return a + b", *CHECKS)])
    assert report.statuses == ("passed",) * 3


def test_wrong_program_passes_none(sandbox: Sandbox) -> None:
    (report,) = sandbox.run([job(WRONG, *CHECKS)])
    assert report.statuses == ("wrong",) * 3


def test_half_right_program_passes_its_half(sandbox: Sandbox) -> None:
    (report,) = sandbox.run([job("def add(a, b):\n    return abs(a) + b", *CHECKS)])
    assert report.statuses == ("passed", "passed", "wrong")


OVERRIDES: dict[str, tuple[str, str, Status]] = {
    "set": ("def set(x): return 0", "assert set(add(1, 2)) == set([3])", "exception"),
    "abs": ("def abs(x): return 0", "assert abs(add(1, 2) - 3) < 1e-6", "wrong"),
    "sorted": ("def sorted(x): return []", "assert sorted([add(1, 2)]) == sorted([3])", "wrong"),
    "len": ("def len(x): return 3", "assert len([add(1, 2)]) == 3", "wrong"),
    "module_class": (
        "class math:\n    isclose = lambda *a, **k: True",
        "assert math.isclose(add(1, 2), 3)",
        "wrong",
    ),
    "module_patched": (
        "import math\nmath.isclose = lambda *a, **k: True",
        "import math\nassert math.isclose(add(1, 2), 3)",
        "wrong",
    ),
    "caught": (
        "def add(a, b):\n    import os\n    os._exit(0)",
        "try:\n    add(1, 2)\nexcept BaseException:\n    pass",
        "died",
    ),
    "not_equal": ("def add(a, b): return object()", "assert add(1, 2) != 4", "unsupported"),
    "truth": ("def add(a, b): return object()", "assert add(1, 2)", "unsupported"),
    "less": ("def add(a, b): return object()", "assert add(1, 2) < 4", "unsupported"),
    "in_list": ("def add(a, b): return object()", "assert add(1, 2) not in [4]", "unsupported"),
    "caught_truth": (
        "def add(a, b): return object()",
        "try:\n    assert not add(1, 2)\nexcept BaseException:\n    pass",
        "unsupported",
    ),
    "instance": (
        "class add:\n    def __new__(cls, a, b): return object.__new__(cls)",
        "assert isinstance(add(1, 2), add)",
        "unsupported",
    ),
    "length": (
        "class Long:\n    def __len__(self): return -1\ndef add(a, b): return Long()",
        "assert len(add(1, 2)) == 3",
        "exception",
    ),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_a_check_means_is_not_the_candidates(sandbox: Sandbox, name: str) -> None:
    code, check, status = OVERRIDES[name]
    program = code if "add" in code else f"{WRONG}{code}"
    assert sandbox.run([job(program, check)])[0].statuses == (status,)
