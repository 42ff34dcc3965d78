"""MBPP: a Python function from one sentence and three asserts (paper, section 4.1).

Reads `mbpp.jsonl` of google-research/mbpp, the original with 974 problems.
"""

import ast
import builtins
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from stages.errors import UserError
from stages.records import Record, Split, read_jsonl
from stages.tasks.environments.base import Code, Instance, Program, State, Tests, Turn
from stages.tasks.environments.programs import defined, find_program, loaded, parse, same_program

FILE = "mbpp.jsonl"

# Task ids, first and last. The paper names no split: ours is the release's test split and the first
# 100 of its train split. The other is that of ILF (Chen et al., 2023), whose tasks 111 to 310 train
# its refinement model, for which there is no use here.
_SPLITS: dict[str, dict[Split, range]] = {
    "paper": {"train": range(601, 701), "test": range(11, 511)},
    "ilf": {"train": range(311, 975), "test": range(11, 111)},
}


class _Problem(Record):
    """One line of the file."""

    task_id: int
    text: str = Field(min_length=1)
    code: str
    test_list: tuple[str, ...] = Field(min_length=1)
    test_setup_code: str
    challenge_test_list: tuple[str, ...]


class MBPP(Code):
    """MBPP (paper, section 4.1): the score is the share of tests that pass.

    Attributes:
        split: which problems are train and test; the others are left out.
        visible_tests: how many of the tests the prompt shows; the others are then the score. None:
            all are shown and all are the score, as in the paper.
    """

    title: ClassVar[str] = "MBPP"
    column: ClassVar[str] = "MBPP"
    description: ClassVar[str] = (
        "Write a Python function that does what one sentence says and passes the tests shown."
    )

    split: Literal["paper", "ilf"] = "paper"
    visible_tests: int | None = Field(default=None, ge=1)

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield the problems of the split in the order of the file.

        The splits are ranges of that order ("the first 100"), so nothing is left for `seed` to
        order. A problem whose text is also one of the other split is flagged.

        Raises:
            UserError: the file is missing or not what it should be, or a problem has no tests left
                to score by.
        """
        path = raw / FILE
        problems = []
        for problem in read_jsonl(path, _Problem, unique="task_id"):
            for split, ids in _SPLITS[self.split].items():
                if problem.task_id in ids:
                    problems.append((problem, split))
        if {split for _, split in problems} != {"train", "test"}:
            raise UserError(f"{path}: task_id: none of the tasks of split {self.split}")
        twins = defaultdict(list)
        for problem, split in problems:
            twins[" ".join(problem.text.split())].append((problem.task_id, split))
        for problem, split in problems:
            others = twins[" ".join(problem.text.split())]
            yield Instance(
                key=str(problem.task_id),
                state=self._state(problem, f"{path}: task_id {problem.task_id}"),
                target=_plain(problem.code),
                split=split,
                flags=tuple(f"duplicate:{twin}" for twin, side in others if side != split),
            )

    def _state(self, problem: _Problem, name: str) -> State:
        setup = _plain(problem.test_setup_code).strip()
        tests = [_plain(test).strip() for test in problem.test_list]
        code = _tree(problem.code, f"{name}: code")
        used = set[str]()
        for test in (setup, *tests):
            used |= loaded(_tree(test, f"{name}: test_list or test_setup_code"))
        made = defined(_without_imports(code)) | defined(_tree(setup, name)) | set(dir(builtins))
        # One problem's tests use sys and leave the import to whatever ran before.
        modules = (used - made) & sys.stdlib_module_names
        tested = (used & defined(code)) - modules
        if not tested:
            raise UserError(f"{name}: test_list uses nothing that code defines")
        shown = len(tests) if self.visible_tests is None else self.visible_tests
        scored = tests if self.visible_tests is None else tests[shown:]
        if not scored:
            raise UserError(f"{name}: visible_tests {shown} leaves none of {len(tests)} tests")
        return {
            "text": problem.text.strip(),
            "shown": tests[:shown],
            "checks": scored,
            "setup": setup,
            "tested": sorted(tested),
            "modules": sorted(modules),
        }

    def shown(self, state: State) -> Sequence[str]:
        """Return the asserts that the prompt shows."""
        return list(state["shown"])

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the only turn: the sentence, the tests shown, and their setup if there is one."""
        if replies:
            return None
        tests = "\n".join(state["shown"])
        more = "" if state["shown"] == state["checks"] else ", and others of the kind"
        question = f"{state['text']}\n\nYour code should pass these tests{more}:\n{tests}"
        if state["setup"]:
            question += f"\n\nBefore the tests, this is run:\n{state['setup']}"
        return Turn(f"{question}\n\nGive the whole code in one ```python block.")

    def program(self, state: State, reply: str) -> Program:
        """Return the code of a reply; tested is what the reference defines and the tests use."""
        return find_program(reply, set(state["tested"]))

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the code of a reply, with plain line ends."""
        return self.program(state, reply).code or None

    def same(self, state: State, number: int, before: str, after: str) -> bool:
        """Tell whether two replies hold the same code, comments and docstrings left out."""
        return same_program(self.program(state, before).code, self.program(state, after).code)

    def tests(self, state: State) -> Tests:
        """Return each assert as a check; the setup runs after the code, whose classes it uses."""
        imports = "".join(f"import {module}\n" for module in state["modules"])
        return Tests(
            prelude=imports,
            setup=state["setup"],
            checks=tuple(imports + check for check in state["checks"]),
            entry="",
        )


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")


def _without_imports(tree: ast.Module) -> ast.Module:
    rest = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.Module(rest, [])


def _tree(code: str, name: str) -> ast.Module:
    tree = parse(code)
    if tree is None:
        raise UserError(f"{name}: not Python")
    return tree


ENVIRONMENT = MBPP
