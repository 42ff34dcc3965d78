r"""Cost: what the current params would take, before anything is spent.

    python -m stages.cost --params params.yaml --pipeline dvc.yaml

For every stage and model: how many requests, how many of them the call log already answers, tokens
in and out, dollars for models behind a key, live and by the Batch API, and hours for the others,
where their speed was measured. Where a cell's inputs exist
its real prompts are counted; where they do not, lengths come from `lengths` in params. Both make
ranges, since no reply is known beforehand: the upper end of a reply is its token limit. Needs the
prepared items (`dvc repro prepare`), and no model.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stages import answer, feedback, respond, revise
from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.errors import UserError
from stages.grid import Grid, Slug
from stages.ledger import budget_lines, price_lines, served
from stages.models.call_log import CallLog, default_log
from stages.models.card import ServedCard
from stages.models.chat import Conversation
from stages.models.config import MODEL_SPEC, FileSpec, ServedSpec
from stages.models.openai_engine import OpenAIModel
from stages.models.prices import Price
from stages.params import Params, Section, check
from stages.pipeline import cell_arguments
from stages.records import Item, read_jsonl
from stages.roles import Role
from stages.text_table import columns

PARAMS = ("models", "students", "teachers", "suites", "conditions", "grid", "lengths")

Span = Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)]


class Lengths(Section):
    """Lengths to reckon with where there is no text yet, from and to.

    `prompt` is a task with its instruction, `reply` an answer or a feedback, both in tokens;
    `characters_per_token` turns text into tokens where no tokenizer is at hand; `tokens_per_second`
    is how fast a model that runs here replies, for those that were measured.
    """

    prompt: Span
    reply: Span
    characters_per_token: Span
    tokens_per_second: dict[Slug, Annotated[float, Field(gt=0)]]


@dataclass(frozen=True)
class Cell:
    """One cell's requests to one model. Token counts are (low, high) over what is not yet paid.

    `real` says that the prompts exist; else they are reckoned from `lengths`.
    """

    stage: str
    model: str
    requests: int
    covered: int
    real: bool
    prompt: tuple[float, float]
    reply: tuple[float, float]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser("stages.cost", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--pipeline", type=Path, required=True, help="DVC pipeline")
    return parser


class Forecast:
    """Walks the declared grid and reckons every cell."""

    def __init__(self, params: Path, pipeline: Path) -> None:
        self._pipeline, self._params = pipeline, params
        values = Params(params, PARAMS)
        self._students = values.get("students", dict[Slug, Role])
        self._teachers = values.get("teachers", dict[Slug, Role])
        self._suites = values.get("suites", dict[Slug, Any])
        self._conditions = values.get("conditions", dict[Slug, Condition])
        self._grid = values.get("grid", Grid)
        self._lengths = values.get("lengths", Lengths)
        self.served = served(params)
        models = values.get("models", dict[Slug, Any])
        self._models = {
            slug: check(params, f"models.{slug}", spec, MODEL_SPEC) for slug, spec in models.items()
        }
        # Read once, however many cells ask: a call log and a suite can be large.
        self._served: dict[str, OpenAIModel] = {}
        self._counts: dict[str, int] = {}

    def cells(self) -> Iterator[Cell]:
        """Yield all cells that ask a model, in the order of the pipeline."""
        seeds, teacher = self._grid.seeds, self._grid.teacher
        for suite in self._suites:
            for student, seed in product(self._students, seeds):
                yield self._cell("respond", student, suite=suite, student=student, seed=seed)
            for slug in self._teachers:
                yield self._cell("answer", slug, suite=suite, teacher=slug)
            for condition, student, seed in product(self._conditions, self._students, seeds):
                axes = {"suite": suite, "condition": condition, "student": student, "seed": seed}
                if condition not in self._grid.told:
                    compared = condition in self._grid.compared
                    stage = "feedback_compared" if compared else "feedback"
                    yield self._cell(stage, teacher, **axes)
                yield self._cell("revise", student, **axes)

    def _cell(self, stage: str, model: str, **axes: object) -> Cell:
        module = {"respond": respond, "answer": answer, "revise": revise}.get(stage, feedback)
        args = module.parser().parse_args(
            cell_arguments(self._pipeline, self._params, stage, **axes)
        )
        role = (self._students if stage in ("respond", "revise") else self._teachers)[model]
        needed = [args.template, getattr(args, "items", None), getattr(args, "trajectories", None)]
        needed += [getattr(args, "feedback", None), getattr(args, "answers", None)]
        real = all(path.is_file() for path in needed if path is not None)
        limit = role.sampling.max_new_tokens
        if not real:
            items = self._count(str(axes["suite"]))
            prompt, reply = self._lengths.prompt, self._lengths.reply
            # The teacher is shown the task and the student's reply, the student also the feedback;
            # a teacher that compares sees its own reply as well.
            replies = {"revise": 2, "feedback": 1, "feedback_compared": 2}.get(stage, 0)
            low = items * (prompt[0] + replies * min(reply[0], limit))
            high = items * (prompt[1] + replies * min(reply[1], limit))
            out = (items * min(reply[0], limit), float(items * limit))
            return Cell(stage, model, items, 0, False, (low, high), out)
        conversations = module.conversations(args)
        todo = self._unanswered(model, conversations, role)
        characters = sum(len(message.content) for c in todo for message in c.messages)
        per_token = self._lengths.characters_per_token
        span = (characters / per_token[1], characters / per_token[0])
        out = (len(todo) * min(self._lengths.reply[0], limit), float(len(todo) * limit))
        covered = len(conversations) - len(todo)
        return Cell(stage, model, len(conversations), covered, True, span, out)

    def _count(self, suite: str) -> int:
        """Return the number of test items of a suite. Raises UserError where there are none yet."""
        if suite in self._counts:
            return self._counts[suite]
        student, seed = next(iter(self._students)), self._grid.seeds[0]
        axes = {"suite": suite, "student": student, "seed": seed}
        arguments = cell_arguments(self._pipeline, self._params, "respond", **axes)
        path = respond.parser().parse_args(arguments).items
        if not path.is_file():
            raise UserError(f"{path}: no such file; run `dvc repro prepare`, which costs nothing")
        self._counts[suite] = len(read_jsonl(path, Item))
        return self._counts[suite]

    def _unanswered(
        self, model: str, conversations: Sequence[Conversation], role: Role
    ) -> list[Conversation]:
        spec = self._models[model]
        if not isinstance(spec, ServedSpec):
            return list(conversations)
        if model not in self._served:
            card = ServedCard(**spec.model_dump())
            self._served[model] = OpenAIModel(card, default_log(os.environ), os.environ)
        open_ids = set(self._served[model].unanswered(conversations, role.sampling))
        return [conversation for conversation in conversations if conversation.id in open_ids]

    def hours(self, model: str, tokens: tuple[float, float]) -> tuple[float, float] | None:
        """Return the hours that so many tokens of replies take, None where it is not known."""
        speed = self._lengths.tokens_per_second.get(model)
        return None if speed is None else (tokens[0] / speed / 3600, tokens[1] / speed / 3600)

    def is_paid(self, model: str) -> bool:
        """Tell whether a model is behind a key, so that calls cost money."""
        return model in self.served and self.served[model][0].needs_key

    def runs_here(self, model: str) -> bool:
        """Tell whether a model takes time on machines of one's own: neither paid nor a file."""
        return not self.is_paid(model) and not isinstance(self._models[model], FileSpec)


def dollars(cells: Sequence[Cell], price: Price, batch: bool = False) -> tuple[float, float] | None:
    """Return what the cells cost, low and high, None where the price is not known."""
    prompt, reply = _sum([cell.prompt for cell in cells]), _sum([cell.reply for cell in cells])
    low, high = (price.dollars(prompt[end], reply[end], batch) for end in (0, 1))
    return None if low is None or high is None else (low, high)


def table(forecast: Forecast) -> str:
    """Return the forecast as text: a line a stage and model, then the totals."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in forecast.cells():
        groups.setdefault((cell.stage, cell.model), []).append(cell)
    head = ("stage", "model", "cells", "requests", "in log", "M tokens in", "M tokens out")
    rows: list[tuple[str, ...]] = [(*head, "USD", "USD by batch", "hours")]
    spent: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    hours: list[tuple[float, float]] = []
    unmeasured = []
    for (stage, model), cells in groups.items():
        prompt, reply = _sum([c.prompt for c in cells]), _sum([c.reply for c in cells])
        cost: list[tuple[float, float] | None] = [None, None]
        price = forecast.served[model][1] if model in forecast.served else None
        if price is not None:
            cost = [dollars(cells, price, batch) for batch in (False, True)]
            for batch in (False, True):
                spent[batch] += [span] if (span := cost[batch]) else []
        time = None
        if forecast.runs_here(model):
            time = forecast.hours(model, reply)
            hours += [time] if time else []
            unmeasured += [model] if time is None and model not in unmeasured else []
        rows.append(
            (
                stage + ("" if all(cell.real for cell in cells) else " *"),
                model,
                str(len(cells)),
                str(sum(cell.requests for cell in cells)),
                str(sum(cell.covered for cell in cells)),
                _span((prompt[0] / 1e6, prompt[1] / 1e6)),
                _span((reply[0] / 1e6, reply[1] / 1e6)),
                *(_span(span, "?" if forecast.is_paid(model) else "-") for span in cost),
                _span(time, "?" if forecast.runs_here(model) else "-"),
            )
        )
    live, by_batch = (_span(_sum(spans)) for spans in spent.values())
    lines = columns(rows)
    lines.append(f"\nUSD {live}, by batch {by_batch}, for what is not in the call log yet")
    if hours:
        lines.append(f"hours {_span(_sum(hours))} of models that run on one's own machines")
    lines += [
        f"hours of {model} not known: set lengths.tokens_per_second.{model} once it is measured"
        for model in unmeasured
    ]
    lines += price_lines(forecast.served)
    if any(not cell.real for cells in groups.values() for cell in cells):
        lines.append("* reckoned from `lengths` in params: these prompts do not exist yet")
    return "\n".join(lines) + "\n"


def _sum(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(low for low, _ in spans), sum(high for _, high in spans)


def _span(span: tuple[float, float] | None, without: str = "-") -> str:
    return without if span is None else f"{span[0]:.2f} to {span[1]:.2f}"


def main(args: argparse.Namespace) -> None:
    """Print the forecast, and what is left of the budget."""
    sys.stdout.write(table(Forecast(args.params, args.pipeline)))
    for line in budget_lines(CallLog(default_log(os.environ))):
        print(line)


if __name__ == "__main__":
    run(main, parser())
