"""The Big-Bench Hard release as items: the split of the paper (section 4.1), questions verbatim."""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.errors import UserError
from stages.records import Item, first_error
from stages.tasks.bbh.flags import flagged
from stages.tasks.bbh.subtasks import LETTERS, canonical, lettered, load_subtasks
from stages.tasks.config import ReleaseSource, Suite
from stages.tasks.formats import Family, load_formats
from stages.tasks.prepared import Prepared

_OPTION = re.compile(r"\((?P<letter>[A-Z])\) ?(?P<text>.*)")


class _Example(BaseModel):
    model_config = ConfigDict(strict=True)
    input: str = Field(min_length=1)
    target: str


class _ReleaseFile(BaseModel):
    model_config = ConfigDict(strict=True)
    examples: list[_Example]


def read_release(raw: Path, name: str, suite: Suite, source: ReleaseSource) -> Prepared:
    """Read the release's files out of the folder `raw` as items of the suite `name`.

    The first `train_first` items of a subtask are train, the rest test; each part is then cut to
    its first `suite.train` and `suite.test` items. Flags regard the whole subtask.

    Raises:
        UserError: a file is missing or not what it should be; names file and item.
    """
    prepared = Prepared()
    for task, subtask in load_subtasks().items():
        items = _items(raw / f"{task}.json", name, task, subtask.family, source.train_first)
        for split, part, most in (
            ("train", prepared.train, suite.train),
            ("test", prepared.test, suite.test),
        ):
            mine = [item for item in items if item.split == split]
            longest = suite.longest_question
            short = [item for item in mine if longest is None or len(item.question) <= longest]
            taken = short[:most]
            part += taken
            prepared.dropped["too_long"] += len(mine) - len(short)
            prepared.dropped["not_taken"] += len(short) - len(taken)
    return prepared


def _items(path: Path, suite: str, task: str, family: Family, train_first: int) -> list[Item]:
    asked = load_formats()[family]
    items = []
    for index, example in enumerate(_read(path)):
        if family == "letter":
            options = _options(example.input, f"{path}: examples.{index}")
        else:
            options = {option: option for option in asked.options or ()}
        items.append(
            Item(
                id=f"{suite}/{task}/{index}",
                suite=suite,
                task=task,
                split="train" if index < train_first else "test",
                index=index,
                question=example.input,
                answer_format=asked.asked,
                family=family,
                options=options,
                target=canonical(example.target, options),
            )
        )
    return flagged(items)


def _read(path: Path) -> list[_Example]:
    try:
        return _ReleaseFile.model_validate_json(path.read_bytes()).examples
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


def _options(question: str, where: str) -> dict[str, str]:
    """Return the lettered lines below the last "Options:"."""
    lines = question.rpartition("\nOptions:\n")[2].split("\n")
    found = [match for line in lines if (match := _OPTION.fullmatch(line))]
    options = lettered([match["text"].strip() for match in found], where)
    if not found or len(found) != len(lines):
        raise UserError(f"{where}: no list of lettered options at the end of the input")
    if [f"({match['letter']})" for match in found] != list(LETTERS[: len(found)]):
        raise UserError(f"{where}: the options are not lettered in order from (A)")
    return options
