"""BIG-bench's own task files as items of the BBH subtasks, presented as in the release.

For the scales without the release: same families of questions, other instances, so scores are not
comparable with the paper's (section 4.1).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.errors import UserError
from stages.records import Item, first_error
from stages.tasks.bbh.flags import flagged
from stages.tasks.bbh.generators import GENERATORS
from stages.tasks.bbh.subtasks import (
    BigBenchFile,
    BigBenchProgram,
    Subtask,
    canonical,
    lettered,
    load_subtasks,
)
from stages.tasks.config import Suite
from stages.tasks.formats import AnswerFormat, load_formats
from stages.tasks.prepared import Prepared


class _Example(BaseModel):
    model_config = ConfigDict(strict=True)
    input: str = Field(min_length=1)
    target: str | list[str] | None = None
    target_scores: dict[str, float] | None = None


class _TaskFile(BaseModel):
    model_config = ConfigDict(strict=True)
    task_prefix: str = ""
    example_input_prefix: str = ""
    examples: list[_Example]


@dataclass(frozen=True)
class _Question:
    """One question; `instance` is equal for two presentations of the same one."""

    index: int
    instance: str
    text: str
    options: dict[str, str]
    target: str


def read_bigbench(raw: Path, name: str, suite: Suite) -> Prepared:
    """Read BIG-bench's task files out of the folder `raw` as items of the suite `name`.

    Each subtask: drop questions longer than `suite.longest_question` characters, options included,
    drop repetitions, put the rest in a seeded order, take `suite.train` for training and the next
    `suite.test` (null: all that are left) for testing. A `written` source has the subtasks that are
    programs, and needs no files.

    Raises:
        UserError: a file is missing or not what it should be, or too few questions are left.
    """
    if suite.train is None:
        raise UserError(f"suites.{name}.train: a number is needed where the source has no split")
    formats = load_formats()
    prepared = Prepared()
    for task, subtask in load_subtasks().items():
        if suite.source.kind == "written" and not isinstance(subtask.bigbench, BigBenchProgram):
            continue
        questions = _questions(raw, task, subtask, formats[subtask.family], suite.seed)
        fresh = {question.instance: question for question in reversed(questions)}
        longest = suite.longest_question
        fit = [
            question
            for question in sorted(fresh.values(), key=lambda question: question.index)
            if longest is None or len(question.text) <= longest
        ]
        Random(f"{suite.seed}/{task}").shuffle(fit)
        end = len(fit) if suite.test is None else suite.train + suite.test
        if len(fit) < max(end, suite.train + 1):
            raise UserError(
                f"suites.{name}: {task} has {len(fit)} questions, too few for train {suite.train} "
                f"and test {suite.test} (longest_question {longest})"
            )
        items = [
            Item(
                id=f"{name}/{task}/{question.index}",
                suite=name,
                task=task,
                split="train" if place < suite.train else "test",
                index=question.index,
                question=question.text,
                answer_format=formats[subtask.family].asked,
                family=subtask.family,
                options=question.options,
                target=question.target,
            )
            for place, question in enumerate(fit[:end])
        ]
        items = sorted(flagged(items), key=lambda item: item.index)
        prepared.train += [item for item in items if item.split == "train"]
        prepared.test += [item for item in items if item.split == "test"]
        prepared.dropped["repeated"] += len(questions) - len(fresh)
        prepared.dropped["too_long"] += len(fresh) - len(fit)
        prepared.dropped["not_taken"] += len(fit) - len(items)
    return prepared


def _questions(
    raw: Path, task: str, subtask: Subtask, asked: AnswerFormat, seed: int
) -> list[_Question]:
    shared = {option: option for option in asked.options or ()}
    if isinstance(subtask.bigbench, BigBenchProgram):
        return _drawn(task, subtask.bigbench, shared, seed)
    return _read(raw / subtask.bigbench.file, task, subtask.bigbench, shared, seed)


def _drawn(
    task: str, program: BigBenchProgram, shared: dict[str, str], seed: int
) -> list[_Question]:
    questions = []
    for draw in range(program.draws):
        text, answer = GENERATORS[program.generator](Random(f"{seed}/{task}/{draw}"))
        questions.append(_Question(draw, text, text, shared, answer))
    return questions


def _read(
    path: Path, task: str, form: BigBenchFile, shared: dict[str, str], seed: int
) -> list[_Question]:
    try:
        content = _TaskFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None
    questions = []
    for index, example in enumerate(content.examples):
        where = f"{path}: examples.{index}"
        stem, texts = _stem(content, example, form, where)
        random = Random(f"{seed}/{task}/{index}")
        if form.options == "lettered":
            options, target = _lettered(example, texts, form, random, where)
            lines = [f"{letter} {text}" for letter, text in options.items()]
        else:
            options, target = shared, canonical(_gold(example, form, where), shared)
            lines = [f"- {option}" for option in shared]
        if form.options != "hidden":
            stem = "\n".join([stem, "Options:", *lines])
        questions.append(_Question(index, _tidy(example.input), stem, options, target))
    return questions


def _stem(
    content: _TaskFile, example: _Example, form: BigBenchFile, where: str
) -> tuple[str, dict[str, str]]:
    """Return the question without its options, and the texts of options that stood within it."""
    text, texts = example.input, {}
    if form.split is not None:
        match = form.split.match(_tidy(text))
        if match is None:
            raise UserError(f"{where}: the input does not have the form that subtasks.yaml says")
        texts = match.groupdict()
        text = texts.pop("question")
    if form.question is not None:
        return form.question.replace("{input}", _tidy(text)), texts
    before = content.task_prefix
    after = content.example_input_prefix + text
    gap = "" if not before or before[-1].isspace() or after[0].isspace() else " "
    return _tidy(before + gap + after), texts


def _lettered(
    example: _Example, texts: dict[str, str], form: BigBenchFile, random: Random, where: str
) -> tuple[dict[str, str], str]:
    """Return the lettered options and the letter of the right one."""
    gold = _gold(example, form, where)
    answers = _kept(example, form)
    if form.shuffle:
        random.shuffle(answers)
    shown = [
        _tidy(texts.get(answer.strip("()"), answer)).removesuffix(form.trim) for answer in answers
    ]
    options = lettered(shown, where)
    return options, list(options)[answers.index(gold)]


def _kept(example: _Example, form: BigBenchFile) -> list[str]:
    return [
        answer
        for answer in example.target_scores or {}
        if form.drop is None or not form.drop.search(answer)
    ]


def _gold(example: _Example, form: BigBenchFile, where: str) -> str:
    """Return the one right answer, in our word for it unless the options are lettered."""
    if scores := example.target_scores:
        right = [answer for answer in _kept(example, form) if scores[answer] > 0]
        if len(right) != 1:
            raise UserError(f"{where}.target_scores: {len(right)} right answers, expected 1")
        return form.answers.get(right[0], right[0])
    # A list holds spellings of one answer, digits last.
    target = example.target[-1] if isinstance(example.target, list) else example.target
    if not target:
        raise UserError(f"{where}: neither target nor target_scores")
    return target


def _tidy(text: str) -> str:
    """Return the text with single spaces, no spaces at the ends of lines and no empty lines."""
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
