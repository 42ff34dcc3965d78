"""The manual audit of retries (section 5.1.2): what is sampled, and what raters can mark.

"we manually checking 150 samples of responses, feedbacks and refinements": the paper gives neither
a rubric nor an agreement. Here its four kinds of noise are the rubric, the sample is stratified by
what the retry changed, and two raters mark it in the explorer, each blind to the other.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from stages.errors import UserError
from stages.records import Record, first_error
from stages.seeds import derive

SIZE = 150
"""Of the sample: the paper's."""

Transition = Literal["wrong_right", "right_right", "right_wrong", "wrong_wrong"]
TRANSITIONS: tuple[Transition, ...] = get_args(Transition)

Noise = Literal[
    "failing_to_match", "refinement_mismatch", "task_reinterpretation", "insufficient_ability"
]
NOISES: tuple[Noise, ...] = get_args(Noise)
RUBRIC: Mapping[Noise, tuple[str, str]] = {
    "failing_to_match": (
        "Failing to Match",
        "The retry does not give its answer in the form asked for, or the feedback overlooks that"
        " the first answer did not.",
    ),
    "refinement_mismatch": (
        "Mismatch between Refinement and Response",
        "The retry answers the feedback and not the task: it gives the bare answer, or speaks of"
        " the feedback, the correction or the earlier version.",
    ),
    "task_reinterpretation": (
        "Task Reinterpretation",
        "Answer, feedback or retry take the task for another one, such as writing code.",
    ),
    "insufficient_ability": (
        "Insufficient Ability",
        "The feedback tells enough to get the answer, and the retry fails to make use of it.",
    ),
}
"""Printed name and definition of each kind of noise, after section 5.1.2."""

SAMPLE_FILE = "audit.json"


class Sampled(Record):
    """A retry to mark: its row in the explorer, its stratum, a digest of what raters read."""

    row: str
    transition: Transition
    text: str


class Stratum(Record):
    """How many retries made a transition, and how many of them are sampled."""

    population: int = Field(ge=0)
    sampled: int = Field(ge=0)


class Sample(Record):
    """What both raters mark, in the order that they see it.

    `digest` stands for rows and texts: marks on another sample, or on the same rows of another
    run, carry another one.
    """

    digest: str
    seed: int
    strata: dict[Transition, Stratum]
    rows: tuple[Sampled, ...]

    @model_validator(mode="after")
    def _whole(self) -> "Sample":
        if set(self.strata) != set(TRANSITIONS):
            raise ValueError("not the four transitions")
        return self


class Mark(Record):
    """What a rater says of one retry: `types` is empty for "none", None while undecided."""

    types: tuple[Noise, ...] | None
    note: str = ""

    @model_validator(mode="after")
    def _each_once(self) -> "Mark":
        if self.types is not None and len(set(self.types)) != len(self.types):
            raise ValueError("a type stands there twice")
        return self


class Marks(Record):
    """A rater's file, as the explorer exports it; `marks` by the row's name."""

    format: Literal[1]
    sample: str
    rater: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    marks: dict[str, Mark]


S = TypeVar("S", Sample, Marks)


def allocate(populations: Sequence[int], size: int) -> list[int]:
    """Return how many to sample of each stratum: equally many, and all of those that are smaller.

    Equal strata show rare transitions as well as frequent ones; what the sample says of all
    retries is weighted back. Of what does not divide, the first strata get one more.
    """
    chosen = [0] * len(populations)
    left = min(size, sum(populations))
    while left:
        open_ = [place for place, n in enumerate(populations) if chosen[place] < n]
        share = max(left // len(open_), 1)
        for place in open_:
            more = min(share, populations[place] - chosen[place], left)
            chosen[place] += more
            left -= more
    return chosen


def draw(rows: Sequence[Sampled], size: int, seed: int) -> Sample:
    """Sample retries, stratified by transition, in random order.

    Args:
        rows: all retries that could be marked, in a fixed order.
        size: how many to sample; all, where there are fewer.
        seed: seeds the sampling.
    """
    strata = {name: [row for row in rows if row.transition == name] for name in TRANSITIONS}
    sizes = allocate([len(stratum) for stratum in strata.values()], size)
    rng = random.Random(derive("audit", seed))
    chosen: list[Sampled] = []
    for stratum, n in zip(strata.values(), sizes, strict=True):
        chosen += rng.sample(stratum, n)
    rng.shuffle(chosen)
    text = json.dumps([row.model_dump() for row in chosen], sort_keys=True)
    return Sample(
        digest=hashlib.sha256(text.encode("utf-8")).hexdigest()[:16],
        seed=seed,
        strata={
            name: Stratum(population=len(stratum), sampled=n)
            for (name, stratum), n in zip(strata.items(), sizes, strict=True)
        },
        rows=tuple(chosen),
    )


def read(path: Path, kind: type[S]) -> S:
    """Read a sample or a rater's file. Raises UserError naming file and field."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder") from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None
