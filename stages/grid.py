"""The declared grid of cells: what collectors walk, never a glob."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from stages.errors import UserError
from stages.params import Section

Slug = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Grid(Section):
    """Axes that are not maps of their own.

    `teacher` gives the feedback. The feedback conditions are split by whom they ask: `asked` shows
    the teacher the student's answer, `compared` the teacher's own answer as well, `told` asks
    nobody.
    """

    teacher: Slug
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    asked: tuple[Slug, ...]
    compared: tuple[Slug, ...]
    told: tuple[Slug, ...]

    @model_validator(mode="after")
    def _no_repeats(self) -> "Grid":
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds repeat")
        if len(set(self.conditions)) != len(self.conditions):
            raise ValueError("a condition stands in the grid twice")
        return self

    @property
    def conditions(self) -> tuple[str, ...]:
        """All feedback conditions of the grid."""
        return (*self.asked, *self.compared, *self.told)


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
