"""What params.yaml says of a suite: where its items come from and how many are taken."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from stages.params import Section

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BigBenchSource(Section):
    """BIG-bench's own task files, out of its source distribution on the package index."""

    kind: Literal["bigbench"]
    requirement: str
    sha256: Sha256


class WrittenSource(Section):
    """Only the subtasks that BIG-bench has as programs, by our own generators: no download."""

    kind: Literal["written"]


class ReleaseSource(Section):
    """The Big-Bench Hard release: one JSON file a subtask under `url`, hashes pinned in the code.

    The first `train_first` items of each file are the train split, the rest the test split.
    """

    kind: Literal["bbh_release"]
    url: str = Field(pattern=r"^https://.+/$")
    train_first: int = Field(ge=1)


Source: TypeAlias = Annotated[
    BigBenchSource | WrittenSource | ReleaseSource, Field(discriminator="kind")
]


class Suite(Section):
    """One suite of tasks.

    `train` and `test` bound the items taken of each subtask (null: all); `longest_question` leaves
    out items whose question is longer, in characters (null: none); `seed` orders the items of
    sources that have no order of their own and draws those of the written generators.
    """

    source: Source
    train: int | None = Field(ge=1)
    test: int | None = Field(ge=1)
    longest_question: int | None = Field(ge=1)
    seed: int = Field(ge=0)
