"""What an environment is: instances, the next turn, and a grade (paper, section 4.1 and Table 7).

An environment is a module of this package that binds `ENVIRONMENT` to a subclass of `Game` or
`Code`; the module's name is the slug by which params.yaml asks for it and the `task` of its items.
Its fields are the options that params.yaml may set; they act when instances are made, and what
later steps need of them stands in an instance's state. All else is a pure function of that state
and of the replies so far: an episode replays to the same score from its record alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from stages.params import Section
from stages.records import Split

State: TypeAlias = Mapping[str, Any]
"""An instance as plain JSON values (str, int, float, bool, None, lists, dicts with str keys)."""


@dataclass(frozen=True)
class Instance:
    """One instance of an environment.

    Attributes:
        key: what makes it this instance (Hi-Lo's secret, Taboo's concept, a function, a letter
            set); no two instances share one, which keeps train and test disjoint.
        state: all that play and grading need.
        target: the answer in words, for feedback that may see the ground truth.
        split: the split that its source puts it in; None where the split is ours to make.
        flags: as in `records.Item`, but that a duplicate is named by its key.
    """

    key: str
    state: State
    target: str
    split: Split | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """What the player is shown next.

    Attributes:
        question: the text.
        answer_format: completes "end with a line 'Answer: <X>', where <X> is ..."; None where the
            reply as a whole is the action.
        fresh: whether a new conversation begins, which sees nothing of the one before.
        tokens: the longest reply, where it is less than the player's own limit.
    """

    question: str
    answer_format: str | None = None
    fresh: bool = False
    tokens: int | None = None


@dataclass(frozen=True)
class Result:
    """How an episode went.

    Attributes:
        score: from 0 to the environment's `best`.
        parsed: whether any action of the player could be read.
    """

    score: float
    parsed: bool


class Environment(Section, ABC):
    """An environment; the class attributes are its row of Table 7 and its column of Table 6."""

    title: ClassVar[str]  # Hi-Lo
    column: ClassVar[str]  # HILO
    description: ClassVar[str]  # of the task, in our words
    modification: ClassVar[str] = ""  # of BIG-bench's original, in our words
    best: ClassVar[float] = 1.0
    turns: ClassVar[int] = 1  # at most
    graded: ClassVar[bool] = False  # whether there are scores between 0 and `best`

    @abstractmethod
    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield instances in a seeded order, no key twice; as many as there are, or endlessly.

        Args:
            raw: the folder that holds the files that the params entry names under `data`.
            seed: of the order and of generated instances.

        Raises:
            UserError: a file of `raw` is missing or not what it should be; names it.
        """

    @abstractmethod
    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return what is shown after these replies; None when the episode is over."""

    @abstractmethod
    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the action of the reply to turn `number` (from 0) in normal form, None if none."""

    def same(self, state: State, number: int, before: str, after: str) -> bool:
        """Tell whether two replies to a turn are the same action: what cleaning must keep."""
        return self.read(state, number, before) == self.read(state, number, after)

    def again(self, state: State, random: Random) -> State:
        """Return what is played on a retry; its opening turn must be that of `state`."""
        return state

    def secret(self, state: State) -> str | None:
        """Return what feedback must not tell, for the leak meter; None where there is nothing."""
        return None

    def solved(self, score: float) -> bool:
        """Tell whether a score counts as solved, for judging and negative sampling."""
        return score >= self.best

    def constant(self, state: State, number: int) -> str | None:
        """Return the reply of a player with one answer for all, for the floor; None: no such."""
        return None

    def blind(self, state: State, number: int, random: Random) -> str:
        """Return a random legal reply to a turn, for the floor; "" where there is none to draw."""
        return ""


class Game(Environment):
    """An environment whose episodes are graded here."""

    @abstractmethod
    def grade(self, state: State, replies: Sequence[str]) -> Result:
        """Return how an episode went. Never raises on any text, and takes time linear in it."""


Rule: TypeAlias = Literal["tested_block", "block", "span", "none"]
"""How code was found in a reply: the last fenced block that parses and defines what is tested; else
the last block that parses; else the longest span of lines that parses; else nothing."""


class Program(NamedTuple):
    """The code of a reply; "" where there is none."""

    code: str
    rule: Rule


class Tests(NamedTuple):
    """What a candidate program is tested by.

    Attributes:
        prelude: run before the candidate, in its process (imports).
        setup: run after the candidate, in its process (it may use what the candidate defines).
        checks: programs of the grader, each in a fresh namespace; one passes if it runs through.
            A name that a check does not define is looked up in the candidate's process.
        entry: the name that checks call `candidate`, "" where they use names of their own.
    """

    prelude: str
    setup: str
    checks: tuple[str, ...]
    entry: str


class Code(Environment):
    """An environment of programs, graded in the sandbox: the share of checks that pass."""

    graded: ClassVar[bool] = True

    @abstractmethod
    def program(self, state: State, reply: str) -> Program:
        """Return the code of a reply, and the rule that found it. Never raises on any text."""

    @abstractmethod
    def tests(self, state: State) -> Tests:
        """Return what a program is tested by."""

    def shown(self, state: State) -> Sequence[str]:
        """Return the tests that the prompt shows, whose answers a program could repeat by rote."""
        return ()
