"""Nash Equilibria: has a 2x2 game one in pure strategies, and which? (paper, Table 7).

Payoffs are such that no player is ever indifferent, so that weak and strict equilibria are the
same and a game has none, one or two of them.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from stages.tasks.environments.base import Game, Instance, Result, State, Turn
from stages.tasks.environments.reading import answer_line

ROWS = ("Top", "Bottom")
COLUMNS = ("Left", "Right")
CELLS = tuple(f"({row}, {column})" for row in ROWS for column in COLUMNS)
NONE = "none"

_HIGHEST = 9
_LONGEST = 200
_CELL = re.compile(
    r"\b(?:(?P<row>top|bottom|t|b)\b[\s,/;&*`_\"'-]*(?:and\b\s*)?(?P<column>left|right|l|r)"
    r"|(?P<column_first>left|right)\b[\s,/;&*`_\"'-]*(?:and\b\s*)?(?P<row_second>top|bottom))\b",
    re.IGNORECASE,
)
_NO = re.compile(
    r"\bnone\b|\bno\b(?! other)[^.;]*\bequilibri|\bdoes(?:n't| not) exist\b", re.IGNORECASE
)
_ROW = {"t": ROWS[0], "b": ROWS[1]}
_COLUMN = {"l": COLUMNS[0], "r": COLUMNS[1]}


def equilibria(row: Sequence[int], column: Sequence[int]) -> list[str]:
    """Return the pure-strategy Nash equilibria of a game without indifference.

    Args:
        row: what the row player gets in each cell, in the order of `CELLS`.
        column: what the column player gets.
    """
    # In this order of cells, the row player's other choice is 2 away, the column player's 1.
    return [
        cell
        for place, cell in enumerate(CELLS)
        if row[place] > row[place ^ 2] and column[place] > column[place ^ 1]
    ]


def _indifferent(row: Sequence[int], column: Sequence[int]) -> bool:
    places = range(len(CELLS))
    return any(row[at] == row[at ^ 2] or column[at] == column[at ^ 1] for at in places)


def _named(reply: str) -> list[str] | None:
    """Return the cells that an answer names, in their order; [] for "none", None if unreadable."""
    line = answer_line(reply)
    if line is None:
        return None
    # No answer that was asked for is longer, and the patterns need no bound of their own.
    line = line[:_LONGEST]
    found = set()
    for match in _CELL.finditer(line):
        row = match["row"] or match["row_second"]
        column = match["column"] or match["column_first"]
        found.add(f"({_ROW[row[0].lower()]}, {_COLUMN[column[0].lower()]})")
    # That there is none and that one is named cannot both be meant.
    if bool(_NO.search(line)) == bool(found):
        return None
    return [cell for cell in CELLS if cell in found]


class Nash(Game):
    """Nash Equilibria (paper, Table 7): "none", or one equilibrium, which must be right.

    An answer that names several cells is right only if each is an equilibrium. Half of the
    instances have none: of each two that follow one another, one.
    """

    title: ClassVar[str] = "Nash Equilibria"
    column: ClassVar[str] = "NEG"
    description: ClassVar[str] = (
        "Work out whether a two-player game has a Nash equilibrium in pure strategies and, if it "
        "has, name one."
    )
    modification: ClassVar[str] = (
        "The original asked for the best action of a game; here the game is 2x2 and what is asked "
        "for is an equilibrium, if there is one."
    )

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield games endlessly, payoffs from 0 to 9, every other one without equilibrium."""
        random = Random(f"{seed}/nash")
        seen = set()
        while True:
            wanted = [True, False]
            random.shuffle(wanted)
            while wanted:
                row = [random.randint(0, _HIGHEST) for _ in CELLS]
                column = [random.randint(0, _HIGHEST) for _ in CELLS]
                key = f"{row} {column}"
                found = equilibria(row, column)
                if _indifferent(row, column) or bool(found) != wanted[-1] or key in seen:
                    continue
                wanted.pop()
                seen.add(key)
                yield Instance(
                    key=key,
                    state={"row": row, "column": column},
                    target=" or ".join(found) or NONE,
                )

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the only turn: the payoffs, and what is asked."""
        if replies:
            return None
        payoffs = "\n".join(
            f"{cell}: Row gets {row}, Column gets {column}"
            for cell, row, column in zip(CELLS, state["row"], state["column"], strict=True)
        )
        return Turn(
            question=(
                "Two players, Row and Column, choose at the same time. Row chooses Top or Bottom, "
                f"Column chooses Left or Right. Their payoffs:\n{payoffs}\n"
                "Does this game have a Nash equilibrium in pure strategies? If it has, name one."
            ),
            answer_format=f"one of {', '.join(CELLS)}, or {NONE} if there is no such equilibrium",
        )

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the cells that the answer names, or "none"."""
        named = _named(reply)
        return None if named is None else " and ".join(named) or NONE

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        """Score 1 for "none" where there is none, or for naming equilibria only."""
        named = _named(replies[0]) if replies else None
        if named is None:
            return Result(score=0.0, parsed=False)
        found = equilibria(state["row"], state["column"])
        right = set(named) <= set(found) and bool(named) == bool(found)
        return Result(score=float(right), parsed=True)

    def constant(self, state: State, number: int) -> str:
        """Return "none", which is right for half of the instances."""
        return f"Answer: {NONE}"

    def blind(self, state: State, number: int, random: Random) -> str:
        """Return one of the four cells or "none"."""
        return f"Answer: {random.choice((*CELLS, NONE))}"


ENVIRONMENT = Nash
