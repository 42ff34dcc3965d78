"""The declared grid of cells: what collectors walk, never a glob."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from stages.errors import UserError
from stages.params import Section

Slug = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
Folder = Annotated[str, Field(pattern=r"^[a-z0-9_]+(-[a-z0-9_]+-[a-z0-9_]+-[0-9]+)*$")]
"""A model folder: `<model>`, or what was trained from it, `<model>-<suite>-<method>-<seed>`."""

POOLS = ("alone", "conditioned")
"""Where best-of-k candidates come from: the task alone, or also the feedback of `Grid.base`."""


class Grid(Section):
    """Axes that are not maps of their own.

    `questions` and `games` are the suites, by what they are of: questions graded by extraction
    rules, or environments. `teacher` gives the feedback; `other_teachers` also do in Table 8, to
    `other_student`; `students` are those of the tables at test time, `learners` who is
    trained: students, or folders that training made, which go on (one more iteration); `tuned` are
    the learners that also get Table 4's feedback-following finetuning. The feedback conditions are
    split by whom they ask: `asked` shows the teacher the student's answer, `compared` the teacher's
    own answer as well, `told` asks nobody, `borrowed` gives the feedback on another item, `own`
    asks the student itself. `controls` are those that the paper does not have. `base` is the
    condition of section 5.2 ("We use the 'unconstrained' feedback condition throughout"), `verdict`
    the error identification of its negative sampling, `draws` number the candidates of best-of-k.
    `sft` and `dpo` name the training methods of either objective, `following_sft` and
    `following_dpo` those of feedback-following finetuning.
    """

    questions: tuple[Slug, ...] = Field(min_length=1)
    games: tuple[Slug, ...]
    teacher: Slug
    other_teachers: tuple[Slug, ...]
    other_student: Slug | None
    students: tuple[Slug, ...] = Field(min_length=1)
    learners: tuple[Folder, ...]
    tuned: tuple[Slug, ...]
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    asked: tuple[Slug, ...]
    compared: tuple[Slug, ...]
    told: tuple[Slug, ...]
    borrowed: tuple[Slug, ...]
    own: tuple[Slug, ...]
    controls: tuple[Slug, ...]
    base: Slug
    verdict: Slug
    draws: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    sft: tuple[Slug, ...]
    dpo: tuple[Slug, ...]
    following_sft: tuple[Slug, ...]
    following_dpo: tuple[Slug, ...]

    @model_validator(mode="after")
    def _no_repeats(self) -> "Grid":
        axes = (
            "questions",
            "games",
            "other_teachers",
            "seeds",
            "draws",
            "students",
            "learners",
            "tuned",
        )
        for name, axis in ((name, getattr(self, name)) for name in axes):
            if len(set(axis)) != len(axis):
                raise ValueError(f"{name} repeat")
        if len(set(self.conditions)) != len(self.conditions):
            raise ValueError("a condition stands in the grid twice")
        return self

    @property
    def conditions(self) -> tuple[str, ...]:
        """All feedback conditions of the grid."""
        return (*self.asked, *self.compared, *self.told, *self.borrowed, *self.own)

    @property
    def papers(self) -> tuple[str, ...]:
        """The feedback conditions that the paper has too."""
        return tuple(slug for slug in self.conditions if slug not in self.controls)


def root(folder: str) -> str:
    """Return the model that a model folder comes from, however often it was trained."""
    return folder.split("-", 1)[0]


def cell_path(flag: str, pattern: str, cell: Mapping[str, object]) -> Path:
    """Return the file of one cell, given a flag's pattern such as `{student}-{seed}.jsonl`.

    Raises:
        UserError: the pattern has another axis than the cell.
    """
    try:
        return Path(pattern.format(**cell))
    except (LookupError, ValueError, AttributeError):
        axes = ", ".join(f"{{{axis}}}" for axis in cell)
        raise UserError(f"{flag} {pattern}: the axes of this step are {axes}") from None
