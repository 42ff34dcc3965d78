"""List Functions: apply a described function to unseen lists (Table 7; BIG-bench's own name)."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from stages.errors import UserError
from stages.seeds import derive
from stages.tasks.environments._words import read_data
from stages.tasks.environments.base import Game, Instance, Result, State, Turn
from stages.tasks.environments.reading import answer_line

_FILES = "list_functions/c*/task.json"
_UNSEEN = 5

_DESCRIPTION = re.compile(r'The target function is "(?P<function>.+)"', re.DOTALL)
_LIST = re.compile(r"\[([^\[\]]*)\]")
_LONGEST, _LARGEST = 10, 99
_UNREADABLE = "[?]"


class _Pair(BaseModel):
    model_config = ConfigDict(strict=True)
    input: Annotated[str, StringConstraints(pattern=r"^\[([0-9]+(, [0-9]+)*)?\]$")]
    target: Annotated[str, StringConstraints(pattern=r"^\[([0-9]+(, [0-9]+)*)?\]$")]


class _Task(BaseModel):
    model_config = ConfigDict(strict=True)
    description: str
    examples: list[_Pair]


_TASK = TypeAdapter(_Task)


class ListFunctions(Game):
    """A function in words and one pair of it; the score is the share right of five other inputs.

    BIG-bench has some functions twice, for small and for large numbers: one instance a description,
    where articles make no difference. Two descriptions of one function in other words count as two.
    """

    title: ClassVar[str] = "List Functions"
    column: ClassVar[str] = "LFN"
    description: ClassVar[str] = (
        "Given a function on lists of whole numbers in words, with one input and its output, apply "
        "it to other inputs."
    )
    modification: ClassVar[str] = (
        "The function is told; in the original it had to be inferred from pairs of inputs and "
        "outputs before it was applied."
    )
    graded: ClassVar[bool] = True

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield BIG-bench's functions in a seeded order, with pairs drawn by the seed.

        Raises:
            UserError: the functions are missing or not what they should be; names file and field.
        """
        files = sorted(raw.glob(_FILES))
        if not files:
            raise UserError(f"{raw / _FILES}: no such file")
        Random(derive(seed, "list_functions")).shuffle(files)
        seen = set()
        for path in files:
            task = read_data(path, _TASK)
            told = _DESCRIPTION.search(task.description)
            if told is None:
                raise UserError(f"{path}: description: does not tell the target function")
            function = told["function"]
            same = " ".join(word for word in function.casefold().split() if word != "the")
            if same in seen:
                continue
            seen.add(same)
            key = path.parent.name
            state = _drawn(task, function, Random(derive(seed, "list_functions", key)), path)
            yield Instance(key, state, "; ".join(state["outputs"]))

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the one question."""
        if replies:
            return None
        inputs = "\n".join(f"{at}. {given}" for at, given in enumerate(state["inputs"], start=1))
        return Turn(
            "A function takes a list of whole numbers and returns such a list. Elements are "
            f"counted from 1. The function is: {state['function']}\n\n"
            f"For example, the input {state['example'][0]} gives the output "
            f"{state['example'][1]}.\n\nApply the function to each of these inputs:\n{inputs}",
            f"the {len(state['inputs'])} output lists on one line, in the order of the inputs, "
            "separated by semicolons, e.g. [1, 2]; []; [3]; [0]; [7, 7]",
        )

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the lists of the answer line; None where there are none, or more than inputs.

        With too few the first ones count, by their place.
        """
        found = [_normal(inner) for inner in _LIST.findall(answer_line(reply) or "")]
        if len(found) > len(state["inputs"]) or all(each == _UNREADABLE for each in found):
            return None
        return "; ".join(found)

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        """Return the share of the inputs whose output is right."""
        action = self.read(state, 0, replies[0]) if replies else None
        if action is None:
            return Result(0.0, False)
        pairs = zip(action.split("; "), state["outputs"], strict=False)
        return Result(sum(given == right for given, right in pairs) / len(state["outputs"]), True)

    def constant(self, state: State, number: int) -> str:
        """Return the empty list for every input."""
        return "Answer: " + "; ".join("[]" for _ in state["inputs"])

    def blind(self, state: State, number: int, random: Random) -> str:
        """Return random lists of such lengths and numbers as BIG-bench's have."""
        lists = (
            [random.randint(0, _LARGEST) for _ in range(random.randint(0, _LONGEST))]
            for _ in state["inputs"]
        )
        return "Answer: " + "; ".join(map(str, lists))


def _drawn(task: _Task, function: str, random: Random, path: Path) -> State:
    """Return a state of pairs with different inputs: one to show, the others to ask for."""
    outputs = {pair.input: pair.target for pair in task.examples}
    if len(outputs) < 1 + _UNSEEN:
        raise UserError(f"{path}: examples: fewer than {1 + _UNSEEN} different inputs")
    shown, *inputs = random.sample(sorted(outputs), 1 + _UNSEEN)
    return {
        "function": function,
        "example": [shown, outputs[shown]],
        "inputs": inputs,
        "outputs": [outputs[each] for each in inputs],
    }


def _normal(inner: str) -> str:
    """Return what stood in brackets as BIG-bench writes a list."""
    if not inner.strip():
        return "[]"
    numbers = [number.strip() for number in inner.split(",")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return _UNREADABLE
    return "[" + ", ".join(number.lstrip("0") or "0" for number in numbers) + "]"


ENVIRONMENT = ListFunctions
