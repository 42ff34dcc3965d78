"""The subtasks of Big-Bench Hard: what subtasks.yaml says, and what both sources share."""

import re
from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Literal

from pydantic import Field

from stages.errors import UserError
from stages.params import Section, check, read_yaml
from stages.tasks.formats import Family

MOST_OPTIONS = 18
LETTERS = tuple(f"({letter})" for letter in ascii_uppercase[:MOST_OPTIONS])


class BigBenchFile(Section):
    """How one task.json of BIG-bench presents a subtask; the fields are told in subtasks.yaml."""

    file: str
    options: Literal["lettered", "listed", "hidden"]
    shuffle: bool = False
    drop: re.Pattern[str] | None = None
    trim: str = ""
    answers: dict[str, str] = Field(default_factory=dict)
    question: str | None = None
    split: re.Pattern[str] | None = None


class BigBenchProgram(Section):
    """A subtask that is a program in BIG-bench: a generator of ours, and how often it is drawn."""

    generator: Literal["boolean_expression", "arithmetic", "web_of_lies"]
    draws: int = Field(ge=1)


class Subtask(Section):
    """One subtask of the suite."""

    family: Family
    bigbench: BigBenchFile | BigBenchProgram


def load_subtasks() -> dict[str, Subtask]:
    """Read subtasks.yaml, beside this module, sorted by name. Raises UserError naming the field."""
    path = Path(__file__).with_name("subtasks.yaml")
    content = read_yaml(path)
    return {name: check(path, name, content[name], Subtask) for name in sorted(content)}


def canonical(target: str, options: Mapping[str, str]) -> str:
    """Return the target in the spelling of the options, unchanged where it is none of them."""
    folded = target.casefold()
    return next((option for option in options if option.casefold() == folded), target)


def lettered(texts: list[str], where: str) -> dict[str, str]:
    """Return the options (A), (B), ... with their texts. Raises UserError for more than 18."""
    if len(texts) > MOST_OPTIONS:
        raise UserError(f"{where}: {len(texts)} options, more than {MOST_OPTIONS}")
    return dict(zip(LETTERS, texts, strict=False))
