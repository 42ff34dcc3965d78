"""MBPP and HumanEval: stages/tasks/environments/{mbpp,humaneval}.py.

Covers: problems of our own in the two files' formats: prompts, splits, flags, options, tests, and
the mistakes that a file can have. On the real files (DATA_MIRROR or ../shared/data for MBPP;
HUMANEVAL_RAW, a folder with HumanEval.jsonl.gz; skipped elsewhere): counts, and that reference
solutions, fenced as a reply, pass all their checks in the sandbox and an empty program passes none.
Does not cover: the sandbox itself, nor how often models cheat.
"""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from stages.errors import UserError
from stages.tasks.environments.base import Code, Instance
from stages.tasks.environments.base import Tests as CodeTests
from stages.tasks.environments.humaneval import HumanEval
from stages.tasks.environments.mbpp import MBPP
from stages.tasks.environments.programs import hard_coded
from stages.tasks.sandbox import Job, NoSandbox, Status, open_sandbox


def outcomes(game: Code, instances: Sequence[Instance], codes: Sequence[str]) -> list[set[Status]]:
    """Return the statuses of each instance's checks for a reply with the code in a fence."""
    jobs = []
    for instance, code in zip(instances, codes, strict=True):
        program = game.program(instance.state, f"Sure!\n```python\n{code}\n```\nDone.")
        jobs.append(Job(program.code, **game.tests(instance.state)._asdict()))
    try:
        with open_sandbox() as sandbox:
            return [set(report.statuses) for report in sandbox.run(jobs)]
    except NoSandbox as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def problem(task_id: int, /, **changes: Any) -> dict[str, Any]:
    return {
        "text": f"Write a function that adds {task_id}.",
        "code": f"def add(n):\r\n    return n + {task_id}",
        "task_id": task_id,
        "test_setup_code": "",
        "test_list": [f"assert add({n}) == {n + task_id}" for n in (1, 2, 3)],
        "challenge_test_list": [],
        **changes,
    }


NODE = problem(
    12,
    text="Write a function that sums a chain.",
    code="class Link:\r\n  def __init__(self, n):\r\n    self.n = n\r\n    self.next = None\r\n"
    "def total(link):\r\n  return link.n + total(link.next) if link else 0",
    test_setup_code="chain = Link(4) \r\nchain.next = Link(5)",
    test_list=[
        "assert total(chain) == 9",
        "assert total(chain.next) == 5",
        "assert total(None) == 0",
    ],
)


def mbpp_file(folder: Path, *problems: dict[str, Any]) -> Path:
    lines = "\n".join(json.dumps(each) for each in problems)
    (folder / "mbpp.jsonl").write_text(lines, encoding="utf-8")
    return folder


def mbpp(folder: Path, *problems: dict[str, Any], **options: Any) -> dict[str, Instance]:
    raw = mbpp_file(folder, *problems)
    return {each.key: each for each in MBPP(**options).instances(raw, 0)}


def passes(code: str, tests: CodeTests) -> list[bool]:
    """Run trusted code and its checks, each check in one process of its own with the code."""
    call = f"\ncandidate = {tests.entry}" if tests.entry else ""
    program = f"{tests.prelude}\n{code}\n{tests.setup}{call}\n"
    runs = [
        subprocess.run([sys.executable, "-c", program + check], capture_output=True, check=False)
        for check in tests.checks
    ]
    return [run.returncode == 0 for run in runs]


def test_mbpp_splits_by_task_id_in_the_order_of_the_file(tmp_path: Path) -> None:
    ids = [10, 11, 12, 110, 111, 310, 311, 510, 511, 600, 601, 700, 701, 974]
    problems = [problem(each) for each in ids]
    paper = mbpp(tmp_path, *problems)
    assert [(key, each.split) for key, each in paper.items()] == [
        *((str(key), "test") for key in (11, 12, 110, 111, 310, 311, 510)),
        ("601", "train"),
        ("700", "train"),
    ]
    ilf = mbpp(tmp_path, *problems, split="ilf")
    assert [(key, each.split) for key, each in ilf.items()] == [
        *((str(key), "test") for key in (11, 12, 110)),
        *((str(key), "train") for key in (311, 510, 511, 600, 601, 700, 701, 974)),
    ]
    raw = mbpp_file(tmp_path, *problems)
    assert list(MBPP().instances(raw, 0)) == list(MBPP().instances(raw, 1))


def test_mbpp_flags_texts_of_both_splits(tmp_path: Path) -> None:
    same = "Write a  function that is here twice."
    found = mbpp(
        tmp_path,
        problem(11, text=same),
        problem(12),
        problem(13, text=same),
        problem(601, text=same.replace("  ", " ")),
        problem(602),
        problem(800, text=problem(12)["text"]),
    )
    assert {key: each.flags for key, each in found.items() if each.flags} == {
        "11": ("duplicate:601",),
        "13": ("duplicate:601",),
        "601": ("duplicate:11", "duplicate:13"),
    }


def test_mbpp_shows_all_tests_and_scores_on_them(tmp_path: Path) -> None:
    instance = mbpp(tmp_path, problem(11), problem(601))["11"]
    turn = MBPP().turn(instance.state, [])
    assert turn is not None
    assert turn.question == (
        "Write a function that adds 11.\n\n"
        "Your code should pass these tests:\n"
        "assert add(1) == 12\nassert add(2) == 13\nassert add(3) == 14\n\n"
        "Give the whole code in one ```python block."
    )
    assert turn.answer_format is None
    assert MBPP().turn(instance.state, ["no"]) is None
    checks = ("assert add(1) == 12", "assert add(2) == 13", "assert add(3) == 14")
    assert MBPP().tests(instance.state) == CodeTests(prelude="", setup="", checks=checks, entry="")
    assert json.loads(json.dumps(instance.state)) == instance.state
    assert instance.target == "def add(n):\n    return n + 11"


def test_mbpp_scores_on_the_tests_that_are_not_shown(tmp_path: Path) -> None:
    instance = mbpp(tmp_path, problem(11), problem(601), visible_tests=1)["11"]
    turn = MBPP().turn(instance.state, [])
    assert turn is not None
    assert "assert add(1) == 12" in turn.question
    assert "add(2)" not in turn.question
    assert MBPP().tests(instance.state).checks == ("assert add(2) == 13", "assert add(3) == 14")
    cheat = "def add(n):\n    if n == 1:\n        return 12"
    assert hard_coded(cheat, instance.state["shown"])
    assert passes(cheat, MBPP().tests(instance.state)) == [False, False]
    with pytest.raises(UserError, match=r"task_id 11: visible_tests 3 leaves none of 3 tests"):
        mbpp(tmp_path, problem(11), problem(601), visible_tests=3)


def test_mbpp_shows_the_setup_and_runs_it_after_the_code(tmp_path: Path) -> None:
    instance = mbpp(tmp_path, NODE, problem(601))["12"]
    turn = MBPP().turn(instance.state, [])
    assert turn is not None
    assert "this is run:\nchain = Link(4) \nchain.next = Link(5)\n" in turn.question
    assert instance.state["tested"] == ["Link", "total"]
    assert passes(instance.target, MBPP().tests(instance.state)) == [True, True, True]


def test_mbpp_imports_what_tests_use_unasked(tmp_path: Path) -> None:
    uses = problem(
        11,
        code="import sys\ndef add(n):\n    return sys.getsizeof(n)",
        test_list=["assert add(1) == sys.getsizeof(1)"],
    )
    instance = mbpp(tmp_path, uses, problem(601))["11"]
    tests = MBPP().tests(instance.state)
    assert instance.state["tested"] == ["add"]
    assert tests.checks == ("import sys\nassert add(1) == sys.getsizeof(1)",)
    assert passes("def add(n):\n    return sys.getsizeof(n)", tests) == [True]


def test_mbpp_tests_a_function_that_is_named_like_a_builtin(tmp_path: Path) -> None:
    named = problem(
        11, code="def sum(a, b):\n    return a - b", test_list=["assert int(sum(3, 1)) == 2"]
    )
    instance = mbpp(tmp_path, named, problem(601))["11"]
    assert instance.state["tested"] == ["sum"]
    assert MBPP().program(instance.state, f"```\n{instance.target}\n```").rule == "tested_block"


def test_mbpp_reads_and_compares_code(tmp_path: Path) -> None:
    game, state = MBPP(), mbpp(tmp_path, problem(11), problem(601))["11"].state
    reply = "Thank you!\n```python\ndef add(n):\r\n    return n+11\n```"
    assert game.read(state, 0, reply) == "def add(n):\n    return n+11"
    assert game.read(state, 0, "I do not know.") is None
    assert game.same(state, 0, reply, "```\ndef add(n):\n    # Eleven.\n    return n + 11\n```")
    assert not game.same(state, 0, reply, "```\ndef add(n):\n    return 11 + n\n```")
    assert not game.same(state, 0, reply, "I do not know.")
    assert game.same(state, 0, "I do not know.", "Nor do I.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": ""}, r"mbpp.jsonl:1: text"),
        ({"test_list": []}, r"mbpp.jsonl:1: test_list"),
        ({"prompt": "x"}, r"mbpp.jsonl:1: prompt"),
        ({"task_id": "11"}, r"mbpp.jsonl:1: task_id"),
        ({"code": "def add(n:"}, r"mbpp.jsonl: task_id 11: code: not Python"),
        ({"test_list": ["assert ("]}, r"mbpp.jsonl: task_id 11: test_list .*: not Python"),
        ({"test_list": ["assert sub(1)"]}, r"task_id 11: test_list uses nothing that code defines"),
        ({"task_id": 601}, r"mbpp.jsonl:2: task_id: 601 stands there twice"),
        ({"task_id": 602}, r"mbpp.jsonl: task_id: none of the tasks of split paper"),
    ],
)
def test_mbpp_names_a_mistake(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        mbpp(tmp_path, problem(11, **changes), problem(601))
    assert "\n" not in str(raised.value)


def test_mbpp_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mbpp\.jsonl: no such file"):
        next(MBPP().instances(tmp_path, 0))


PROMPT = '''import math
from typing import List

FACTOR = 2


def helper(n: int) -> int:
    """Double a number."""
    return FACTOR * n


def area(sides: List[int]) -> float:
    """ The doubled product of the sides.
    >>> area([2, 3])
    12.0
    """
'''
SOLUTION = "    return float(helper(math.prod(sides)))\n"
TEST = """

METADATA = {'author': 'us'}


def check(candidate):
    # Some
    assert True, "This is no test"
    sides = [2, 3]
    assert candidate(sides) == 12.0, "two"
    import math
    assert math.isclose(candidate([1]), 2.0)
    assert candidate([]) == 2.0
"""
LOOP = """
def double(n):
    return 2.0 * n

def check(candidate):
    for n in range(4):
        assert candidate([n]) == double(n)
"""


def row(**changes: Any) -> dict[str, Any]:
    return {
        "task_id": "Own/0",
        "prompt": PROMPT,
        "entry_point": "area",
        "canonical_solution": SOLUTION,
        "test": TEST,
        **changes,
    }


def humaneval(folder: Path, *rows: dict[str, Any], seed: int = 0) -> list[Instance]:
    text = "".join(json.dumps(each) + "\n" for each in rows)
    (folder / "HumanEval.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return list(HumanEval().instances(folder, seed))


def test_humaneval_has_a_check_an_assert(tmp_path: Path) -> None:
    (instance,) = humaneval(tmp_path, row())
    tests = HumanEval().tests(instance.state)
    assert tests.checks == (
        "sides = [2, 3]\nassert candidate(sides) == 12.0, 'two'",
        "sides = [2, 3]\nimport math\nassert math.isclose(candidate([1]), 2.0)",
        "sides = [2, 3]\nimport math\nassert candidate([]) == 2.0",
    )
    assert tests.entry == "area"
    assert passes(instance.target, tests) == [True, True, True]
    assert instance.split is None
    assert json.loads(json.dumps(instance.state)) == instance.state


def test_humaneval_keeps_loops_whole(tmp_path: Path) -> None:
    (instance,) = humaneval(tmp_path, row(test=LOOP))
    tests = HumanEval().tests(instance.state)
    assert len(tests.checks) == 1
    assert passes(instance.target, tests) == [True]
    assert passes("def area(sides):\n    return 0.0", tests) == [False]


def test_humaneval_gives_a_reply_what_its_prompt_defines(tmp_path: Path) -> None:
    (instance,) = humaneval(tmp_path, row())
    tests = HumanEval().tests(instance.state)
    alone = "def area(sides):\n    return float(helper(math.prod(sides)))"
    assert passes(alone, tests) == [True, True, True]
    own = f"def helper(n):\n    return 3 * n\n{alone}"
    assert passes(own, tests) == [False, False, False]
    assert "area" not in tests.prelude


def test_humaneval_asks_for_the_whole_function(tmp_path: Path) -> None:
    game, (instance,) = HumanEval(), humaneval(tmp_path, row())
    turn = game.turn(instance.state, [])
    assert turn is not None
    assert f"```python\n{PROMPT.strip()}\n```" in turn.question
    assert "return float" not in turn.question
    assert turn.answer_format is None
    assert game.turn(instance.state, ["no"]) is None
    reply = f"```python\n{instance.target}```"
    assert game.program(instance.state, reply).rule == "tested_block"
    assert game.same(instance.state, 0, reply, reply.replace("Double", "Redouble"))
    assert not game.same(instance.state, 0, reply, reply.replace("FACTOR = 2", "FACTOR = 3"))
    assert game.read(instance.state, 0, "No.") is None
    assert game.read(instance.state, 0, reply) == instance.target.strip()
    # A body alone defines nothing: it is not put behind the prompt.
    assert game.program(instance.state, f"```\n{SOLUTION}```").rule == "block"


def test_humaneval_has_a_seeded_order(tmp_path: Path) -> None:
    rows = [row(task_id=f"Own/{number}") for number in range(30)]
    first = humaneval(tmp_path, *rows)
    assert {each.key for each in first} == {f"Own/{number}" for number in range(30)}
    assert first == humaneval(tmp_path, *rows)
    assert first != humaneval(tmp_path, *rows, seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": ""}, r"HumanEval.jsonl.gz:1: prompt"),
        ({"prompt": "def area(:"}, r"Own/0: prompt: no function area"),
        ({"entry_point": "volume"}, r"Own/0: prompt: no function volume"),
        ({"test": "def check(candidate):\n    assert True"}, r"Own/0: test: no function check"),
        ({"test": "def check(f):\n    assert f(1)"}, r"Own/0: test: no function check"),
        ({"test": "assert ("}, r"Own/0: test: no function check"),
        ({"text": "x"}, r"HumanEval.jsonl.gz:1: text"),
    ],
)
def test_humaneval_names_a_mistake(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        humaneval(tmp_path, row(**changes))
    assert "\n" not in str(raised.value)


def test_humaneval_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"HumanEval\.jsonl\.gz: no such file"):
        next(HumanEval().instances(tmp_path, 0))
    whole = gzip.compress(b'{"task_id": "Own/0"}\n' * 9)
    for bad in (
        b"{}",
        b"",
        whole[:-9],
        whole[:9],
        gzip.compress(b"\xff\xfe"),
        b"\x1f\x8b" + b"0" * 40,
    ):
        (tmp_path / "HumanEval.jsonl.gz").write_bytes(bad)
        with pytest.raises(UserError, match=r"HumanEval\.jsonl\.gz"):
            list(HumanEval().instances(tmp_path, 0))


@pytest.fixture
def mbpp_raw() -> Path:
    named = os.environ.get("DATA_MIRROR")
    folder = (Path(named) if named else ROOT.parent / "shared" / "data") / "mbpp"
    if not (folder / "mbpp.jsonl").is_file():
        pytest.skip("MBPP is not here: set DATA_MIRROR to a folder that has mbpp/mbpp.jsonl")
    return folder


@pytest.fixture
def humaneval_raw() -> Path:
    folder = Path(os.environ.get("HUMANEVAL_RAW", "nowhere"))
    if not (folder / "HumanEval.jsonl.gz").is_file():
        pytest.skip("HumanEval is not here: set HUMANEVAL_RAW to a folder with HumanEval.jsonl.gz")
    return folder


def test_the_splits_of_mbpp(mbpp_raw: Path) -> None:
    paper = list(MBPP().instances(mbpp_raw, 0))
    assert [each.key for each in paper if each.split == "test"] == [str(n) for n in range(11, 511)]
    assert [each.key for each in paper if each.split == "train"] == [
        str(n) for n in range(601, 701)
    ]
    assert {each.key: each.flags for each in paper if each.flags} == {
        "217": ("duplicate:602",),
        "602": ("duplicate:217",),
    }
    ilf = list(MBPP(split="ilf", visible_tests=1).instances(mbpp_raw, 0))
    assert len(ilf) == 764
    assert {each.key for each in ilf if each.flags} == {"76", "347"}
    assert all(len(each.state["checks"]) == 2 for each in ilf)
    several = {each.key: each.state["tested"] for each in ilf if len(each.state["tested"]) > 1}
    assert several.keys() == {"367", "601", "927"}
    assert [each.key for each in ilf if each.state["modules"]] == ["596"]


# Reference solutions run for seconds: task 123 alone takes four.
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("split", ["paper", "ilf"])
def test_the_references_of_mbpp_pass(mbpp_raw: Path, split: str) -> None:
    game = MBPP(split="paper" if split == "paper" else "ilf")
    instances = list(game.instances(mbpp_raw, 0))
    found = outcomes(game, instances, [each.target for each in instances])
    wrong = {
        each.key: statuses
        for each, statuses in zip(instances, found, strict=True)
        if statuses != {"passed"}
    }
    assert wrong == {}


@pytest.mark.timeout(600)
def test_the_references_of_humaneval_pass(humaneval_raw: Path) -> None:
    game = HumanEval()
    instances = list(game.instances(humaneval_raw, 0))
    assert len(instances) == 164
    assert sum(len(each.state["checks"]) for each in instances) == 1122
    found = outcomes(game, instances, [each.target for each in instances])
    wrong = {
        each.key: statuses
        for each, statuses in zip(instances, found, strict=True)
        if statuses != {"passed"}
    }
    assert wrong == {}


@pytest.mark.timeout(600)
def test_a_function_that_does_nothing_passes_no_check(humaneval_raw: Path) -> None:
    game = HumanEval()
    instances = list(game.instances(humaneval_raw, 0))
    codes = [f"def {each.state['entry']}(*given):\n    raise KeyError" for each in instances]
    passed = [
        each.key
        for each, statuses in zip(instances, outcomes(game, instances, codes), strict=True)
        if "passed" in statuses
    ]
    assert passed == []
