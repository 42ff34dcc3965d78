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
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field

from stages import answer, clean, evaluate, feedback, judge, respond, revise, sample, select
from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.errors import UserError
from stages.grid import POOLS, Grid, Slug, cell_path, root
from stages.ledger import budget_lines, price_lines, served
from stages.model_specs import MODEL_SPEC, FileSpec, ServedSpec
from stages.models.call_log import CallLog, default_log
from stages.models.card import ServedCard
from stages.models.chat import Conversation, Sampling
from stages.models.openai_engine import OpenAIModel
from stages.models.prices import Price
from stages.params import Params, Section, check
from stages.paraphrases import Paraphrased
from stages.pipeline import cell_arguments
from stages.records import Item, read_jsonl
from stages.roles import Role
from stages.tasks.environments.registry import environment
from stages.text_table import columns
from stages.training.config import Lessons
from stages.verdicts import Verdict

PARAMS = (
    *("models", "students", "teachers", "conditions", "verdicts", "selectors"),
    *("lessons", "methods", "following", "grid", "paraphrased", "lengths"),
)
_MODULES: dict[str, ModuleType] = {
    "respond": respond,
    "answer": answer,
    "judge": judge,
    "feedback": feedback,
    "revise": revise,
    "sample": sample,
    "select": select,
    "clean": clean,
    "evaluate": evaluate,
}
_REPLIES_SHOWN = {
    "judge": 1,
    "feedback": 1,
    "feedback_compared": 2,
    "revise": 2,
    "sample_conditioned": 2,
    "clean": 1,
}
_TRAIN = (
    *("answer_train", "respond_train", "judge_train", "feedback_train", "revise_train", "clean"),
    *("feedback_following", "revise_following", "revise_teacher"),
)

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
        self._students = values.get("students", dict[str, Role])
        self._teachers = values.get("teachers", dict[Slug, Role])
        self._conditions = values.get("conditions", dict[Slug, Condition])
        self._verdicts = values.get("verdicts", dict[Slug, Verdict])
        self._lessons = values.get("lessons", dict[Slug, Lessons])
        self._methods = list(values.get("methods", dict[Slug, Any]))
        self._following = list(values.get("following", dict[Slug, Any]))
        self._grid = values.get("grid", Grid)
        self._paraphrased = values.get("paraphrased", Paraphrased)
        self._lengths = values.get("lengths", Lengths)
        self.served = served(params)
        models = values.get("models", dict[Slug, Any])
        self._models = {
            slug: check(params, f"models.{slug}", spec, MODEL_SPEC) for slug, spec in models.items()
        }
        # Read once, however many cells ask: a call log and a suite can be large.
        self._served: dict[str, OpenAIModel] = {}
        self._counts: dict[tuple[str, str], Counter[str]] = {}

    def cells(self) -> Iterator[Cell]:
        """Yield all cells that ask a model, in the order of the pipeline."""
        grid, teacher = self._grid, self._grid.teacher
        placed = (
            ("feedback", grid.asked),
            ("feedback_compared", grid.compared),
            ("feedback_own", grid.own),
        )
        for suite in grid.questions:
            for slug in self._teachers:
                yield self._cell("answer", slug, suite=suite, teacher=slug)
            for student, seed in product(grid.students, grid.seeds):
                axes = {"suite": suite, "student": student, "seed": seed}
                yield self._cell("respond", student, **axes)
                for verdict in self._verdicts:
                    yield self._cell("judge", teacher, **axes, verdict=verdict)
                for stage, conditions in placed:
                    asked = student if stage == "feedback_own" else teacher
                    for condition in conditions:
                        yield self._cell(stage, asked, **axes, condition=condition)
                for condition in self._conditions:
                    yield self._cell("revise", student, **axes, condition=condition)
                for stage, draw in product(("sample", "sample_conditioned"), grid.draws):
                    yield self._cell(stage, student, **axes, draw=draw)
                for pool in POOLS:
                    yield self._cell("select_logits", student, **axes, pool=pool)
                    yield self._cell("select_student", student, **axes, pool=pool)
                    yield self._cell("select_teacher", teacher, **axes, pool=pool)
            for slug, seed in product(grid.other_teachers, grid.seeds):
                axes = {"suite": suite, "teacher": slug, "seed": seed}
                yield self._cell("feedback_teachers", slug, **axes)
                yield self._cell("revise_teachers", str(grid.other_student), **axes)
            yield from self._training(suite, "")
            yield from self._tuning(suite)
        yield from self._reworded()
        yield self._cell("answer_figure1", teacher)
        for student, stage in product(grid.tuned, ("respond", "feedback", "revise")):
            asked = teacher if stage == "feedback" else student
            yield self._cell(f"{stage}_figure1", asked, student=student)
        for suite in grid.games:
            for slug in self._teachers:
                yield self._cell("answer_games", slug, suite=suite, teacher=slug)
            for student, seed in product(grid.students, grid.seeds):
                axes = {"suite": suite, "student": student, "seed": seed}
                yield self._cell("respond_games", student, **axes)
                yield self._cell("judge_games", teacher, **axes)
                if self._lessons[suite].condition not in grid.told:
                    yield self._cell("feedback_games", teacher, **axes)
                yield self._cell("revise_games", student, **axes)
            yield from self._training(suite, "_games")
            for student, seed in product(grid.tuned, grid.seeds):
                axes = {"suite": suite, "student": student, "seed": seed}
                yield self._cell("feedback_following_games", teacher, **axes)
                yield self._cell("revise_following_games", student, **axes)
                yield self._cell("revise_teacher_games", teacher, **axes)

    def _reworded(self) -> Iterator[Cell]:
        """Yield the cells that try prompts in other words."""
        grid, teacher, own = self._grid, self._grid.teacher, self._paraphrased
        for suite, wording, student, seed in product(
            own.questions, own.wordings, grid.students, own.seeds
        ):
            axes = {"suite": suite, "wording": wording, "student": student, "seed": seed}
            yield self._cell("respond_paraphrased", student, **axes)
            yield self._cell("revise_retry_paraphrased", student, **axes)
            for verdict in own.verdicts:
                yield self._cell("judge_paraphrased", teacher, **axes, verdict=verdict)
            for kind, conditions, by in (
                *(("", own.asked, teacher), ("_compared", own.compared, teacher)),
                ("_own", own.own, student),
            ):
                for condition in conditions:
                    told = {**axes, "condition": condition}
                    yield self._cell(f"feedback{kind}_paraphrased", by, **told)
            for condition in own.conditions:
                yield self._cell("revise_paraphrased", student, **axes, condition=condition)
            for pool in own.pools:
                yield self._cell("select_student_paraphrased", student, **axes, pool=pool)
                yield self._cell("select_teacher_paraphrased", teacher, **axes, pool=pool)
        for suite, wording, learner, seed in product(
            own.cleaned, own.wordings, grid.learners, own.seeds
        ):
            axes = {"suite": suite, "wording": wording, "learner": learner, "seed": seed}
            yield self._cell("clean_paraphrased", teacher, **axes)
        for suite, wording, student, seed in product(
            own.games, own.wordings, grid.students, own.seeds
        ):
            axes = {"suite": suite, "wording": wording, "student": student, "seed": seed}
            yield self._cell("respond_games_paraphrased", student, **axes)
            yield self._cell("revise_retry_games_paraphrased", student, **axes)

    def _training(self, suite: str, kind: str) -> Iterator[Cell]:
        """Yield the cells of learning from the feedback that ask a model; training asks none."""
        grid, teacher = self._grid, self._grid.teacher
        yield self._cell(f"answer_train{kind}", teacher, suite=suite)
        for learner, seed in product(grid.learners, grid.seeds):
            axes = {"suite": suite, "learner": learner, "seed": seed}
            yield self._cell(f"respond_train{kind}", learner, **axes)
            yield self._cell("judge_train", teacher, **axes)
            if self._lessons[suite].condition not in grid.told:
                yield self._cell(f"feedback_train{kind}", teacher, **axes)
            yield self._cell(f"revise_train{kind}", learner, **axes)
            yield self._cell("clean", teacher, **axes)
            for method in self._methods:
                yield self._cell(f"evaluate{kind}", learner, **axes, method=method)
                yield self._cell(f"evaluate_forget{kind}", learner, **axes, method=method)

    def _tuning(self, suite: str) -> Iterator[Cell]:
        """Yield the cells of feedback-following finetuning that ask a model."""
        grid, teacher = self._grid, self._grid.teacher
        for student, seed in product(grid.tuned, grid.seeds):
            axes = {"suite": suite, "student": student, "seed": seed}
            yield self._cell("feedback_following", teacher, **axes)
            yield self._cell("revise_following", student, **axes)
            yield self._cell("revise_teacher", teacher, **axes)
            for method in self._following:
                yield self._cell("evaluate_following", student, **axes, method=method)
                yield self._cell("feedback_tuned", teacher, **axes, method=method)
                yield self._cell("revise_tuned", student, **axes, method=method)

    def _cell(self, stage: str, model: str, **axes: object) -> Cell:
        module = _MODULES[stage.split("_")[0]]
        args = module.parser().parse_args(
            cell_arguments(self._pipeline, self._params, stage, **axes)
        )
        sampling = self._sampling(stage, model, args)
        if not all(path.is_file() for path in self._needed(args)):
            tasks = self._tasks(stage, args, str(axes.get("suite")))
            cell = self._reckoned(stage, root(model), tasks.total(), sampling.max_new_tokens)
            return self._to_the_end(cell, args, tasks, sampling.max_new_tokens)
        conversations = module.conversations(args)
        if stage == "select_logits":
            # Nothing is generated; the replies that are read are as long as they are.
            conversations = []
        model = root(model)
        todo = self._unanswered(model, conversations, sampling)
        characters = sum(len(message.content) for c in todo for message in c.messages)
        per_token = self._lengths.characters_per_token
        span = (characters / per_token[1], characters / per_token[0])
        limit = sampling.max_new_tokens
        covered = len(conversations) - len(todo)
        out = (len(todo) * min(self._lengths.reply[0], limit), float(len(todo) * limit))
        cell = Cell(stage, model, len(conversations), covered, True, span, out)
        return self._to_the_end(cell, args, Counter(c.environment or "" for c in todo), limit)

    def _to_the_end(
        self, cell: Cell, args: argparse.Namespace, todo: Counter[str], limit: int
    ) -> Cell:
        """Return the cell with the later turns of its episodes, where it plays any.

        An upper end: every episode to its last turn, each turn showing all before it.
        """
        if getattr(args, "environments", None) is None:
            return cell
        requests, prompts = 0, 0.0
        for name, count in todo.items():
            for turn in range(1, environment(name).turns):
                requests += count
                shown = self._lengths.prompt[1] + turn * (limit + self._lengths.prompt[0])
                prompts += count * shown
        return replace(
            cell,
            requests=cell.requests + requests,
            prompt=(cell.prompt[0], cell.prompt[1] + prompts),
            reply=(cell.reply[0], cell.reply[1] + requests * limit),
        )

    def _sampling(self, stage: str, model: str, args: argparse.Namespace) -> Sampling:
        if stage.split("_")[0] == "judge":
            return judge.sampling(args)
        if stage.startswith(("select_student", "select_teacher")):
            return select.sampling(args)
        by_teacher = stage.split("_")[0] in ("answer", "feedback", "clean")
        by_teacher = (by_teacher and not stage.startswith("feedback_own")) or stage in (
            *("revise_teacher", "revise_teacher_games"),
        )
        return (self._teachers if by_teacher else self._students)[model].sampling

    def _needed(self, args: argparse.Namespace) -> Iterator[Path]:
        """Yield the files that a cell's prompts are made of."""
        for flag in ("template", "items", "trajectories", "feedback", "answers"):
            path = getattr(args, flag, None)
            if path is not None:
                yield path
        if hasattr(args, "candidates"):
            for draw in self._grid.draws:
                yield cell_path("--candidates", args.candidates, {"draw": draw})

    def _reckoned(self, stage: str, model: str, items: int, limit: int) -> Cell:
        """Return a cell whose prompts do not exist yet, by the lengths of params."""
        prompt, reply = self._lengths.prompt, self._lengths.reply
        if stage == "select_logits":
            return Cell(stage, model, 0, 0, False, (0.0, 0.0), (0.0, 0.0))
        # How many replies a prompt shows beside the task: the student's, feedback, candidates.
        replies = _REPLIES_SHOWN.get(stage, _REPLIES_SHOWN.get(stage.split("_")[0], 0))
        if stage.startswith("select"):
            replies = len(self._grid.draws) + 1
        low = items * (prompt[0] + replies * reply[0])
        high = items * (prompt[1] + replies * reply[1])
        out = (items * min(reply[0], limit), float(items * limit))
        return Cell(stage, model, items, 0, False, (low, high), out)

    def _tasks(self, stage: str, args: argparse.Namespace, suite: str) -> Counter[str]:
        """Return how many items of each task a cell is over. Raises UserError for none yet."""
        if stage.endswith("_figure1"):
            return Counter(item.task for item in read_jsonl(args.items, Item))
        plain = stage.removesuffix("_paraphrased").removesuffix("_games")
        found = self._items(suite, "respond_train" if plain in _TRAIN else "respond")
        few = getattr(args, "per_task", None)
        if few is None:
            return found
        return Counter({task: min(few, count) for task, count in found.items()})

    def _items(self, suite: str, stage: str) -> Counter[str]:
        """Return the number of items of each task that a stage answers."""
        key = (suite, stage)
        if key not in self._counts:
            student, seed = self._grid.students[0], self._grid.seeds[0]
            axes = {"suite": suite, "student": student, "learner": student, "seed": seed}
            kind = "_games" if suite in self._grid.games else ""
            arguments = cell_arguments(self._pipeline, self._params, stage + kind, **axes)
            path = respond.parser().parse_args(arguments).items
            if not path.is_file():
                raise UserError(
                    f"{path}: no such file; run `dvc repro prepare`, which costs nothing"
                )
            self._counts[key] = Counter(item.task for item in read_jsonl(path, Item))
        return self._counts[key]

    def _unanswered(
        self, model: str, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Conversation]:
        spec = self._models[model]
        if not isinstance(spec, ServedSpec):
            return list(conversations)
        if model not in self._served:
            card = ServedCard(**spec.model_dump())
            self._served[model] = OpenAIModel(card, default_log(os.environ), os.environ)
        open_ids = set(self._served[model].unanswered(conversations, sampling))
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
