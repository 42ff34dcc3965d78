"""What claims are checked on: rates of arms, and contrasts of them with 95 % intervals.

Claims name arms as the paper's tables do. Two kinds of evidence know them by these names: a run of
this project (`ours`) and the paper's printed figures (`printed`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from stages.stats import Interval

Row = tuple[str, ...]
"""Labels of a row of the paper's tables: Table 4 has two, block and row; the others have one."""

Measure = Literal[
    "score",
    "match_rate",
    "correct_if_matched",
    "recall",
    "precision",
    "balanced_accuracy",
    "unflagged",
    "lost",
    "lost_match",
]
"""A rate of an arm.

Of Table 2: `unflagged` is the share of answers that the verdict lets pass. Of a retry: `lost` is
the share of the right answers that are wrong afterwards, `lost_match` that of the matched answers
that do not match afterwards.
"""

BASELINE: Row = ("Baseline",)


class Cell(NamedTuple):
    """One rate of one student's arm."""

    student: str
    row: Row
    measure: Measure = "score"


class Term(NamedTuple):
    """A rate and its weight in a contrast."""

    weight: float
    cell: Cell


class Estimate(NamedTuple):
    """A value with its 95 % interval, whose ends are NaN where the data do not determine one.

    Attributes:
        value: in the units of the contrast.
        low: of the interval.
        high: of the interval.
        n: how many items it is over; of a rate of some of them, how many these are (the fewest of
            the rates in a contrast).
        seeds: the value in each seed, where it is of a trained model and of several seeds.
    """

    value: float
    low: float
    high: float
    n: int
    seeds: tuple[float, ...] = ()

    @property
    def interval(self) -> Interval:
        """Both ends."""
        return Interval(self.low, self.high)


def estimate(row: Mapping[Any, Any], column: str, n: float) -> Estimate:
    """Return what a table's row has as a column and the ends of its interval."""
    value, low, high = (float(row[f"{column}{end}"]) for end in ("", "_low", "_high"))
    return Estimate(value, low, high, int(n))


class Teacher(NamedTuple):
    """A teacher's own answers.

    Attributes:
        label: its printed name.
        price: of a million tokens of input, in US dollars.
        scores: by benchmark.
    """

    label: str
    price: float
    scores: Mapping[str, Estimate]


class Missing(Exception):
    """What a claim needs is not there; the message says what."""


class Setting(NamedTuple):
    """What was run.

    Attributes:
        students: those of the tables at test time.
        sizes: those whose size is known, the largest first.
        focus: who stands for the paper's 7B student, which alone it trains and modifies.
        conditions: the feedback conditions that the paper has too, by their labels.
        told: those among them that put the ground truth before teacher or student.
        base: the feedback condition of Table 4.
        environments: games and code.
        seeds: how many, None where that is not stated.
        margin: the largest difference of scores that counts as none.
        teacher: its printed name.
        unparsable: how many of its explicit verdicts are, in words; empty where that is not known.
    """

    students: Sequence[str]
    sizes: Sequence[str]
    focus: str
    conditions: Sequence[str]
    told: Sequence[str]
    base: str
    environments: Sequence[str]
    seeds: int | None
    margin: float
    teacher: str
    unparsable: str


class Evidence(Protocol):
    """Rates of arms; every method raises `Missing` where it has not what it is asked for."""

    @property
    def setting(self) -> Setting:
        """What was run."""

    def contrast(self, *terms: Term) -> Estimate:
        """Return the weighted sum of some rates."""

    def ratio(self, cell: Cell, other: Cell) -> Estimate:
        """Return one rate over another."""

    def narrow(self, *terms: Term) -> Interval:
        """Return the 90 % interval of a contrast of scores, for tests of equivalence."""

    def played(self, one: Row, other: Row, environment: str) -> Estimate:
        """Return what an arm of Table 6 scores above another, in an environment's own points."""

    def played_over(self, one: Row, other: Row) -> Estimate:
        """Return the same of the mean over all environments, as shares of their best scores."""

    def artefacts(self) -> tuple[Estimate, Estimate]:
        """Return the share of retries with an artefact, and what cleaning changes of it.

        The first is of all retries: its interval has room for those whose artefacts are not known.
        The second is of the retries whose cleaned text was taken.
        """

    def code_gap(self) -> Estimate:
        """Return by how much the share of tests passed is above that of programs passing all."""

    def teachers(self) -> Sequence[Teacher]:
        """Return the teachers that were tried, the chosen one first."""


def difference(student: str, one: Row, other: Row, measure: Measure = "score") -> tuple[Term, Term]:
    """Return the contrast of two arms of one student."""
    return Term(1.0, Cell(student, one, measure)), Term(-1.0, Cell(student, other, measure))
