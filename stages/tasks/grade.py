"""How a trajectory did, and who says so: what questions and environments have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from stages.records import Item, Trajectory


@dataclass(frozen=True)
class Grade:
    """How one trajectory did on one item.

    Attributes:
        outcome: correct if the item counts as solved; unparsed where no answer is found; not_run
            where a program could not be run.
        score: 1.0 or 0.0 for an answer that is right or wrong, else as the environment scores.
        solved: whether the item counts as solved.
        strict: the normalised strict answer, None where there is none.
        tolerant: the normalised tolerant answer, None where there is none.
        tolerant_score: the score of the tolerant answer.
        cues: how many answer lines the text has.
        rule: how a program was found in the reply.
        checks: how each test of a program went.
        rote: whether a program repeats a shown test's answer by rote; None if none is shown.
    """

    outcome: Literal["correct", "incorrect", "unparsed", "not_run"]
    score: float
    solved: bool
    strict: str | None
    tolerant: str | None
    tolerant_score: float
    cues: int
    rule: str | None = None
    checks: tuple[str, ...] | None = None
    rote: bool | None = None


@dataclass(frozen=True)
class Told:
    """What a feedback tells of the answer: what is read out of it, and whether that is right."""

    answer: str | None
    gold: bool


class Grader(Protocol):
    """Grades trajectories on items of one suite. Pure functions of their arguments."""

    def grades(self, episodes: Sequence[tuple[Item, Trajectory]]) -> list[Grade]:
        """Return how each trajectory did.

        Raises:
            UserError: an item of another suite's kind.
        """
        ...

    def kept(self, item: Item, number: int, before: str, after: str) -> bool:
        """Tell whether two replies to turn `number` (from 0) are the same answer or action."""
        ...

    def told(self, item: Item, text: str) -> Told:
        """Return what a feedback tells of the answer."""
        ...

    def facts(self) -> dict[str, object]:
        """Return what a record of the grades so far should say of how they were made."""
        ...
