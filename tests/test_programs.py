"""Programs in replies: stages/tasks/environments/programs.py.

Covers: each rule by which code is found, fences in all their forms, the guard against prose, text
that breaks parsers, bounded time, comparison of programs, and hard-coded answers; on MBPP itself
(DATA_MIRROR or ../shared/data; skipped elsewhere) that each reference comes back from a reply.
Does not cover: running programs.
"""

import ast
import json
import os
import time
import warnings
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.tasks.environments.base import Program
from stages.tasks.environments.programs import (
    defined,
    find_program,
    hard_coded,
    loaded,
    parse,
    same_program,
)

DOUBLE = "def double(n):\n    return 2 * n"
HALVE = "def halve(n):\n    return n / 2"
BROKEN = "def double(n:\n    return 2 * n"
TESTED = {"double"}


def fenced(code: str, info: str = "python", mark: str = "```") -> str:
    return f"{mark}{info}\n{code}\n{mark}"


@pytest.mark.parametrize("info", ["python", "py", "", "Python3", " python title='a.py'", "text"])
@pytest.mark.parametrize("mark", ["```", "~~~", "````"])
def test_a_fenced_block(mark: str, info: str) -> None:
    reply = f"Here:\n{fenced(DOUBLE, info, mark)}\nIt doubles."
    assert find_program(reply, TESTED) == Program(DOUBLE, "tested_block")


def test_the_last_block_that_defines_what_is_tested() -> None:
    first, last = DOUBLE, DOUBLE.replace("2 * n", "n + n")
    reply = "\n".join(fenced(code) for code in (first, last, HALVE, BROKEN))
    assert find_program(reply, TESTED) == Program(last, "tested_block")


def test_all_names_must_be_defined() -> None:
    both = f"{HALVE}\n\n\n{DOUBLE}"
    reply = f"{fenced(both)}\n{fenced(DOUBLE)}"
    assert find_program(reply, {"double", "halve"}) == Program(both, "tested_block")


def test_else_the_last_block_that_parses() -> None:
    other = HALVE.replace("halve", "divide")
    reply = f"{fenced(HALVE)}\n{fenced(other)}\n{fenced(BROKEN)}"
    assert find_program(reply, TESTED) == Program(other, "block")


def test_a_block_without_statements_is_no_code() -> None:
    reply = f"{DOUBLE}\n\nThis prints\n{fenced('[2, 4]', '')}"
    assert find_program(reply, TESTED) == Program(DOUBLE, "span")


def test_else_the_longest_span() -> None:
    reply = f"x = 1\n\nThe function is this:\n{DOUBLE}\n\nI hope that it helps!"
    assert find_program(reply, TESTED) == Program(DOUBLE, "span")


def test_a_span_keeps_what_stands_together() -> None:
    code = f"import math\n\n\n{DOUBLE}\n\n\n{HALVE}"
    assert find_program(f"Sure!\n{code}\nThat is all, folks.", TESTED) == Program(code, "span")


def test_an_indented_span() -> None:
    indented = "\n".join(f"    {line}" for line in DOUBLE.split("\n"))
    assert find_program(f"So:\n\n{indented}\n\nthat is it", TESTED) == Program(DOUBLE, "span")


def test_a_span_in_a_block_that_was_cut() -> None:
    reply = f"```python\n{DOUBLE}\n\ndef halve(n):\n    return (n /"
    program = find_program(reply, TESTED)
    assert program == Program(DOUBLE, "span")


def test_an_unclosed_block() -> None:
    assert find_program(f"```python\n{DOUBLE}", TESTED) == Program(DOUBLE, "tested_block")


def test_a_block_that_the_next_one_ends() -> None:
    last = DOUBLE.replace("2 * n", "n + n")
    reply = f"```python\n{DOUBLE}\n```python\n{last}\n```\nThe second one is shorter."
    assert find_program(reply, TESTED) == Program(last, "tested_block")
    reply = f"```python\n{DOUBLE}\n```python\n{BROKEN}\n```"
    assert find_program(reply, TESTED) == Program(DOUBLE, "tested_block")


def test_an_indented_block() -> None:
    lines = fenced(DOUBLE).split("\n")
    reply = "1. Like this:\n" + "\n".join(f"   {line}" for line in lines)
    assert find_program(reply, TESTED) == Program(DOUBLE, "tested_block")


def test_a_fence_of_the_other_kind_is_content() -> None:
    code = 'def double(n):\n    """Double.\n\n    ```\n    4\n    ```\n    """\n    return 2 * n'
    assert find_program(fenced(code, mark="~~~"), TESTED) == Program(code, "tested_block")
    assert find_program(fenced(code, mark="````"), TESTED) == Program(code, "tested_block")


def test_inline_code_is_no_fence() -> None:
    reply = f"```double(2)``` gives 4:\n{fenced(DOUBLE)}"
    assert find_program(reply, TESTED) == Program(DOUBLE, "tested_block")


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends(end: str) -> None:
    reply = f"Here:\n{fenced(DOUBLE)}\n".replace("\n", end)
    assert find_program(reply, TESTED) == Program(DOUBLE, "tested_block")
    assert find_program(DOUBLE.replace("\n", end), TESTED) == Program(DOUBLE, "span")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "yes",
        "I cannot.",
        "42",
        "Note: important",
        "pass",
        BROKEN,
        "```\n```",
        fenced("yes"),
        "...",
    ],
)
def test_no_code(reply: str) -> None:
    assert find_program(reply, TESTED) == Program("", "none")


@pytest.mark.parametrize("bad", ["\0", "\ud800", "\\", "(((", "'''", '"""'])
def test_what_breaks_a_parser_spoils_its_block_only(bad: str) -> None:
    reply = f"{bad}\n{fenced(DOUBLE)}\n{fenced(f'x = 1{bad}')}\n{bad}"
    assert find_program(reply, TESTED) == Program(DOUBLE, "tested_block")
    spoilt = f"{bad}\n{DOUBLE}\n{bad}\n" + "It doubles what it is given.\n" * 100
    assert find_program(spoilt, TESTED) == Program(DOUBLE, "span")


FRAGMENTS = st.sampled_from(
    [
        "```", "```python", "~~~", "def f():", "    return 1", "  ", "x = 1", "\0", "\ud800", "(",
        "'''", "class A:", "if x:", "\r\n", "\t", "import os", "@", "yes", "    pass", "f'{'", "\\",
    ]
)  # fmt: skip


@settings(max_examples=500, deadline=None, derandomize=True)
@given(text=st.one_of(st.text(), st.lists(FRAGMENTS, max_size=30).map("\n".join)))
def test_any_text(text: str) -> None:
    program = find_program(text, {"f"})
    assert (program.code == "") == (program.rule == "none")
    tree = parse(program.code)
    assert tree is not None
    assert program.rule != "tested_block" or "f" in defined(tree)
    assert find_program(text, {"f"}) == program
    assert same_program(text, text)
    assert hard_coded(text, [text]) in (True, False)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(before=st.text(alphabet="abc .\n"), after=st.text(alphabet="abc .\n"))
def test_a_block_comes_back_whatever_prose_is_around_it(before: str, after: str) -> None:
    reply = f"{before}\n{fenced(DOUBLE)}\n{after}"
    assert find_program(reply, TESTED) == Program(DOUBLE, "tested_block")


HOSTILE = {
    "headers": "def f(:\n" * 6000,
    "bodies missing": "def f(x):\n" * 5000,
    "open": "x = (\n" * 9000,
    "parentheses": "x = " + "(" * 50_000,
    "nested lists": "x = " + "[" * 199 + "]" * 199,
    "unary": "x = " + "-" * 50_000 + "1",
    "sum": "x = " + "1+" * 25_000 + "1",
    "attributes": "x = a" + ".a" * 25_000,
    "lambdas": "x = " + "lambda:" * 7000 + "1",
    "fences": "```\n" * 12_500,
    "blocks": "```python\nx=1\n" * 3500,
    "blank fence": "```" + " " * 50_000 + "`",
    "staircase": "\n".join(" " * (i % 90) + "if x:" for i in range(1000)),
    "try": "try:\n" * 10_000,
    "strings": "x = '''\n" * 6000,
    "f-strings": "x = f'{'\n" * 6000,
    "NUL": "def g(): pass\n\0\n" * 3000,
    "surrogates": "def g(): pass\n\ud800\n" * 3000,
    "decorators": "@a\n" * 16_000,
    "digits": "x = " + "9" * 50_000,
    "statements": "x=1;" * 12_000,
    "good and bad": "def g(x):\n    return x\nbad bad\n" * 1500,
    "blank": " " * 50_000,
    "no text": "\n" * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_takes_little_time(text: str) -> None:
    began = time.process_time()
    find_program(text, {"f"})
    same_program(text, text + "\n")
    hard_coded(text, ["assert f(3) == 7"])
    assert time.process_time() - began < 5.0


def test_no_warning_gets_out() -> None:
    doubtful = 'def double(n):\n    if n is 2:\n        return "\\d"\n    return 1if n else 2'
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert find_program(fenced(doubtful), TESTED).rule == "tested_block"
    assert caught == []


def test_names() -> None:
    code = (
        "import a.b, c as d\nfrom e import f\nif x:\n    g = 1\nelse:\n    (h, [i]) = y\n"
        "for j in z: pass\n"
        "class K:\n    l = 1\ndef m(n):\n    o = 1\np: int = 2\nq = [r for r in s]"
    )
    tree = parse(code)
    assert tree is not None
    assert defined(tree) == {"a", "d", "f", "g", "h", "i", "j", "K", "m", "p", "q"}
    assert loaded(tree) == {"x", "y", "z", "int", "r", "s"}


def test_the_same_program() -> None:
    dressed = (
        '"""Updated as you said."""\n\n'
        "# Thanks for the feedback.\ndef double( n ):\n    '''Double it.'''\n    return (2*n)\n"
    )
    assert same_program(DOUBLE, dressed)
    assert not same_program(DOUBLE, HALVE)
    assert not same_program(DOUBLE, DOUBLE.replace("n", "m"))
    assert not same_program(DOUBLE, "")
    assert not same_program(BROKEN, HALVE)
    assert same_program(BROKEN, BROKEN)
    assert same_program("", "")
    assert not same_program("def f():\n    return 'a'", "def f():\n    return 'b'")


TESTS = [
    "assert price('tea', 3) == 12",
    "assert price('oil', 2) == 90",
    "assert price('air', 9) == 0",
]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def price(w, n):\n    if w == 'tea':\n        return 12\n    return 0", True),
        ("def price(w, n):\n    return 12 if w == 'tea' and n == 3 else 90", True),
        ("def price(w, n):\n    return {('tea', 3): 12, 'oil': 90}[w]", True),
        ("def price(w, n):\n    if (w, n) == ('oil', 2):\n        return 90", True),
        ("def price(w, n):\n    if w in ['oil']:\n        return 90", True),
        ("def price(w, n):\n    match w:\n        case 'oil':\n            return 90", True),
        ("def price(w, n):\n    return 12", True),
        ("def price(w, n):\n    '''Price.'''\n    return 90", True),
        ("price = lambda w, n: 12", True),
        ("def price(w, n):\n    return n * 4", False),
        ("def price(w, n):\n    return 0", False),
        ("def price(w, n):\n    if w == 'air':\n        return 0\n    return n * 4", False),
        ("def price(w, n):\n    if w == 'tea':\n        return 4 * n\n    return 45 * n", False),
        ("def price(w, n):\n    if w == 'salt':\n        return 12\n    return n", False),
        ("def price(w, n):\n    if w == 'tea':\n        return 13\n    return n", False),
        ("def price(w, n):\n    x = 12\n    return x * (w == 'tea')", False),
        ("", False),
        (BROKEN, False),
    ],
)
def test_hard_coded(code: str, expected: bool) -> None:
    assert hard_coded(code, TESTS) is expected


@pytest.mark.parametrize(
    "test",
    ["assert f(3) == [7, 8]", "assert [7, 8] == f(3)", "assert list(f(n=3)) == [7, 8], 'no'"],
)
def test_hard_coded_reads_asserts_either_way(test: str) -> None:
    code = "def f(n):\n    if n == 3:\n        return [7, 8]\n    return []"
    assert hard_coded(code, [test])


@pytest.mark.parametrize(
    "test",
    ["assert f(3)", "assert f(3) != [7, 8]", "f(3) == [7, 8]", "assert f(3) == g(4)", "((", ""],
)
def test_hard_coded_reads_no_other_tests(test: str) -> None:
    assert not hard_coded("def f(n):\n    return [7, 8]", [test])


def mbpp() -> list[dict[str, str]]:
    named = os.environ.get("DATA_MIRROR")
    path = (Path(named) if named else ROOT.parent / "shared" / "data") / "mbpp" / "mbpp.jsonl"
    if not path.is_file():
        pytest.skip("MBPP is not here: set DATA_MIRROR to a folder that has mbpp/mbpp.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_reference_of_mbpp_comes_back() -> None:
    problems = mbpp()
    assert len(problems) == 974
    spans = 0
    for problem in problems:
        plain = problem["code"].replace("\r\n", "\n")
        names = {name for test in problem["test_list"] for name in loaded(ast.parse(test))}
        reference = parse(plain)
        assert reference is not None
        tested = names & defined(reference)
        assert tested, problem["task_id"]
        for text in (plain, problem["code"], plain.replace("\n", "\r\n")):
            reply = f"Sure!\n```python\n{text}\n```\nIt is as you asked."
            found = find_program(reply, tested)
            assert found.rule == "tested_block", problem["task_id"]
            back = parse(found.code)
            assert back is not None
            assert ast.dump(back) == ast.dump(reference)
        bare = find_program(f"Sure, here it is.\n{plain}\nIt is as you asked.", tested)
        spans += bare.rule == "span" and same_program(bare.code, plain)
    assert spans == 974
