"""A suite of one's own: questions from a JSONL file, graded by a family of extraction.yaml."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from stages.errors import UserError
from stages.records import Item
from stages.tasks.bbh.flags import flagged
from stages.tasks.bbh.subtasks import canonical
from stages.tasks.config import JsonlSource, Suite
from stages.tasks.prepared import Prepared


def read_questions(raw: Path, name: str, suite: Suite, source: JsonlSource) -> Prepared:
    """Read items.jsonl out of the folder `raw` as items of the suite `name`.

    The first `train_first` questions of a subtask are train, the rest test; each part is then cut
    to its first `suite.train` and `suite.test`. Flags regard the whole subtask.

    Raises:
        UserError: a line is not UTF-8 or no JSON object, or a field is missing or of another type.
    """
    path = raw / "items.jsonl"
    tasks: dict[str, list[Item]] = defaultdict(list)
    for number, line in enumerate(_lines(path, source.path), start=1):
        where = f"{source.path}:{number}"
        try:
            values = json.loads(line)
        except ValueError:
            raise UserError(f"{where}: not JSON") from None
        if not isinstance(values, dict):
            raise UserError(f"{where}: not a JSON object")
        task = name if source.task is None else _text(values, source.task, where)
        index = len(tasks[task])
        options = _options(values, source, where)
        tasks[task].append(
            Item(
                id=f"{name}/{task}/{index}",
                suite=name,
                task=task,
                split="train" if index < source.train_first else "test",
                index=index,
                question=_text(values, source.question, where),
                answer_format=source.asked,
                family=source.family,
                options=options,
                target=canonical(_text(values, source.target, where), options),
            )
        )
    prepared = Prepared()
    for items in tasks.values():
        for split, part, most in (
            ("train", prepared.train, suite.train),
            ("test", prepared.test, suite.test),
        ):
            mine = [item for item in flagged(items) if item.split == split]
            longest = suite.longest_question
            short = [item for item in mine if longest is None or len(item.question) <= longest]
            part += short[:most]
            prepared.dropped["too_long"] += len(mine) - len(short)
            prepared.dropped["not_taken"] += len(short) - len(short[:most])
    return prepared


def _lines(path: Path, name: str) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}:{number}: not UTF-8 (byte {error.start} of the file)") from None
    return lines[:-1] if lines[-1] == "" else lines


def _text(values: dict[str, Any], field: str, where: str) -> str:
    value = values.get(field)
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
        raise UserError(f"{where}: {field}: expected a text or a whole number (got {value!r})")
    return str(value)


def _options(values: dict[str, Any], source: JsonlSource, where: str) -> dict[str, str]:
    if source.options is None:
        return {answer: answer for answer in source.answers or ()}
    value = values.get(source.options)
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise UserError(f"{where}: {source.options}: expected a mapping of answers to texts")
    return value
