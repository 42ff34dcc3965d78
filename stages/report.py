r"""Report: the tables and figures out of the scored trajectories, beside the paper's own figures.

    python -m stages.report --params params.yaml --scores data/score --tasks data/tasks \
        --feedback 'data/feedback/bbh/{condition}-{student}-{seed}.jsonl' \
        --judgements 'data/judge/bbh/{verdict}-{student}-{seed}.jsonl' \
        --selections 'data/select/bbh/{pool}/{selector}-{student}-{seed}.jsonl' \
        --training 'data/train/bbh/{learner}-{method}-{seed}.jsonl' \
        --log 'data/train/bbh/{learner}-{method}-{seed}.csv' \
        --dropped 'data/dropped/bbh/{learner}-{method}-{seed}.jsonl' \
        --presets stages/training/presets.yaml --paper data/paper --tables reports/tables \
        --figures reports/figures --metrics reports/metrics.json

Tables, as CSV and LaTeX: 2 (error identification, 5.1.1), 3 (feedback conditions, 5.1.2; a second
CSV a subtask), 4 (modifications, 5.2), 5 (finetuning, 5.3; further CSVs on arms against each other,
on what training took and what it dropped), `controls`, `transitions` and `cleaning`, which the
paper does not have, and `outcomes`, how all requests ended. Figures: 3 (Appendix B, as LaTeX), the
score of best-of-k over k, loss and reward of training over its steps. Every rate stands with its
95 % interval; `stages.stats` says how intervals and tests are made.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter

from stages.choices import Selector
from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.errors import UserError
from stages.files import write_json, write_text
from stages.grid import POOLS, Grid, cell_path
from stages.params import Params
from stages.records import (
    Dropped,
    Feedback,
    Item,
    Judgement,
    Score,
    Selection,
    Training,
    read_jsonl,
)
from stages.reporting.config import ReportSection
from stages.training.config import Lessons, Method, Methods
from stages.verdicts import Verdict

if TYPE_CHECKING:
    from pandas import DataFrame

    from stages.reporting import training
    from stages.reporting.results import Results

PARAMS = (
    *("scale", "teachers", "conditions", "verdicts", "selectors"),
    *("lessons", "methods", "following", "grid", "report"),
)

R = TypeVar("R", Feedback, Judgement, Selection)
SUITE = "bbh"
BY_LOGITS = "student_logits"


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.report", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument(
        "--scores", type=Path, required=True, help="folder with <suite>/<step>.jsonl"
    )
    parser.add_argument(
        "--tasks", type=Path, required=True, help="folder with <suite>/{train,test}.jsonl"
    )
    parser.add_argument("--feedback", required=True, help="file pattern over feedback's axes")
    parser.add_argument("--judgements", required=True, help="file pattern over judge's axes")
    parser.add_argument("--selections", required=True, help="file pattern over select's axes")
    parser.add_argument("--training", required=True, help="file pattern over train's axes")
    parser.add_argument("--log", required=True, help="the same, of its CSV")
    parser.add_argument("--dropped", required=True, help="file pattern over train's axes")
    parser.add_argument("--presets", type=Path, required=True, help="presets of training (YAML)")
    parser.add_argument("--paper", type=Path, required=True, help="folder with the paper's figures")
    parser.add_argument("--tables", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--figures", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--metrics", type=Path, required=True, help="file for headline figures")
    return parser


class _Report:
    """One run of the stage."""

    def __init__(self, args: argparse.Namespace) -> None:
        params = Params(args.params, PARAMS)
        self._args = args
        self._texts: dict[Path, str] = {}
        self._scale = params.get("scale", str)
        self._teachers = list(params.get("teachers", dict[str, object]))
        self._conditions = params.get("conditions", dict[str, Condition])
        self._verdicts = params.get("verdicts", dict[str, Verdict])
        self._selectors = params.get("selectors", dict[str, Selector])
        self._lessons = params.get("lessons", dict[str, Lessons])
        self._methods: dict[str, Method] = params.get("methods", TypeAdapter(Methods))
        self._following: dict[str, Method] = params.get("following", TypeAdapter(Methods))
        self._grid = params.get("grid", Grid)
        self._students = list(self._grid.students)
        self._learners = list(self._grid.learners)
        self._config = params.get("report", ReportSection)
        for kind, slugs, known in (
            ("conditions", self._grid.conditions, self._conditions),
            ("verdicts", [self._grid.verdict], self._verdicts),
            ("selectors", [BY_LOGITS], self._selectors),
            ("students", [slug.split("-")[0] for slug in self._learners], self._students),
        ):
            unknown = [slug for slug in slugs if slug not in known]
            if unknown:
                raise UserError(f"{args.params}: grid: no {unknown[0]!r} under {kind}")
        if SUITE not in self._lessons:
            raise UserError(f"{args.params}: lessons.{SUITE}: not there")
        self._labels = {
            slug: self._config.label(slug)
            for slug in (
                *(*self._students, *self._teachers, *self._grid.conditions),
                *(*self._verdicts, *self._selectors),
                *(*self._learners, *self._methods, *self._following),
            )
        }
        self._sees_target = {
            slug for slug, condition in self._conditions.items() if "target" in condition.sees
        }

    def _read(self) -> "Results":
        """Read every cell of the grid."""
        import pandas as pd

        from stages.reporting import load
        from stages.reporting.results import Results

        args, grid = self._args, self._grid
        tasks, folder = args.tasks / SUITE, args.scores / SUITE
        items = load.read_items(tasks / "test.jsonl", tasks / "train.jsonl")
        runs = list(product(self._students, grid.seeds))
        pools = (None, grid.base)
        first = [load.Cell(student, seed) for student, seed in runs]
        retries = [
            load.Cell(student, seed, condition)
            for (student, seed), condition in product(runs, grid.conditions)
        ]
        draws = [
            load.Cell(student, seed, condition, draw)
            for (student, seed), condition, draw in product(runs, pools, grid.draws)
        ]
        choices = [
            load.Cell(student, seed, condition, None, selector)
            for (student, seed), condition, selector in product(runs, pools, self._selectors)
        ]
        trained = [
            load.Cell(learner, seed, method=method) for learner, method, seed in self._arms()
        ]
        told = [
            load.Cell(student, seed, grid.base, method=method)
            for student, seed, method in product(grid.tuned, grid.seeds, self._following)
        ]
        return Results(
            items=items,
            scores=pd.concat(
                [
                    load.read_scores(folder / "respond.jsonl", items, first),
                    load.read_scores(folder / "revise.jsonl", items, retries),
                ],
                ignore_index=True,
            ),
            samples=load.read_scores(folder / "sample.jsonl", items, draws),
            selected=load.read_scores(folder / "select.jsonl", items, choices),
            trained=pd.concat(
                [
                    load.read_scores(folder / "evaluate.jsonl", items, trained),
                    load.read_scores(folder / "revise_tuned.jsonl", items, told),
                ],
                ignore_index=True,
            ),
            logits=load.logits(self._selections(items, [BY_LOGITS]), self._selectors[BY_LOGITS]),
            judgements=load.judgements(self._judgements(items), self._verdicts),
            leaks=load.read_leaks(folder / "feedback.jsonl", items, retries),
            tokens=load.feedback_tokens(self._feedback(items, grid.conditions), grid.own),
        )

    def _arms(self) -> list[tuple[str, str, int]]:
        """Return learner, method and seed of everything that is trained."""
        return [
            *product(self._learners, self._methods, self._grid.seeds),
            *product(self._grid.tuned, self._following, self._grid.seeds),
        ]

    def _trained(self) -> "list[training.Cell]":
        """Read how each training went and what it dropped.

        Raises:
            UserError: a cell is missing, empty, or holds another one's records.
        """
        from stages.reporting import training

        found = []
        for learner, method, seed in self._arms():
            cell = {"learner": learner, "method": method, "seed": seed}
            path = cell_path("--training", self._args.training, cell)
            models = read_jsonl(path, Training)
            if not models:
                raise UserError(f"{path}: no training run")
            objective = (self._methods | self._following)[method].objective
            for axis, value in {**cell, "suite": SUITE, "objective": objective}.items():
                other = [own for model in models if (own := getattr(model, axis)) != value]
                if other:
                    raise UserError(f"{path}: holds {axis} {other[0]}, not {value}")
            path = cell_path("--dropped", self._args.dropped, cell)
            dropped = read_jsonl(path, Dropped, "item")
            found.append(training.Cell(learner, method, seed, models, dropped))
        return found

    def _feedback(self, items: "DataFrame", conditions: Iterable[str]) -> list[Feedback]:
        return self._cells("feedback", Feedback, items, condition=conditions)

    def _judgements(self, items: "DataFrame") -> list[Judgement]:
        return self._cells("judgements", Judgement, items, verdict=self._verdicts)

    def _selections(self, items: "DataFrame", selectors: Iterable[str]) -> list[Selection]:
        return self._cells("selections", Selection, items, pool=POOLS, selector=selectors)

    def _cells(
        self, flag: str, kind: type[R], items: "DataFrame", **axes: Iterable[str]
    ) -> list[R]:
        """Read all declared cells of a step, given the axes that it has besides student and seed.

        Raises:
            UserError: a cell is missing, holds another one's records, or is not over exactly the
                test items.
        """
        every = {**axes, "student": self._students, "seed": self._grid.seeds}
        found: list[R] = []
        for values in product(*every.values()):
            cell = dict(zip(every, values, strict=True))
            path = cell_path(f"--{flag}", getattr(self._args, flag), cell)
            records = read_jsonl(path, kind, "item")
            odd = sorted({record.item for record in records} ^ set(items.index))
            if odd:
                raise UserError(f"{path}: not the test items: {odd[0]} ({len(odd)} differ)")
            names = dict(cell)
            if pool := names.pop("pool", None):
                names["condition"] = None if pool == POOLS[0] else self._grid.base
            for axis, value in names.items():
                other = [own for record in records if (own := getattr(record, axis)) != value]
                if other:
                    raise UserError(f"{path}: holds {axis} {other[0]}, not {value}")
            found += records
        return found

    def _about(self, results: "Results") -> dict[str, object]:
        """Return what captions say."""
        items, config, grid = results.items, self._config, self._grid
        return {
            "scale": self._scale,
            "teacher": config.label(grid.teacher),
            "subtasks": items["task"].nunique(),
            "flagged": int(items["flagged"].sum()),
            "seeds": grid.seeds,
            "draws": config.bootstrap,
            "paper_students": {
                config.label(slug): config.paper_students[slug]
                for slug in self._students
                if slug in config.paper_students
            },
            "chance": float(items["chance"].mean()),
            "majority": float(items["majority"].mean()),
            "base": config.label(grid.base),
            "verdict": config.label(grid.verdict),
            "k": len(grid.draws),
        }

    def write(self) -> None:
        """Build all tables and figures and write them."""
        from stages.reporting import (
            blocks,
            curve,
            load,
            losses,
            table2,
            table3,
            table4,
            table5,
            transitions,
        )

        args, grid, config = self._args, self._grid, self._config
        results, trained = self._read(), self._trained()
        about = self._about(results)
        paper = {n: load.read_paper(args.paper / f"table{n}.csv") for n in (2, 3, 4, 5)}

        second = table2.build(results, self._students, list(self._verdicts), paper[2], config)
        self._put("table2", table2.to_csv(second), table2.to_tex(second, about))

        plain = (load.BASELINE, *grid.papers)
        third = table3.build(
            results.scores[results.scores["condition"].isin(plain)],
            results.items,
            paper[3],
            self._students,
            grid.papers,
            self._sees_target,
            config,
        )
        self._put("table3", table3.to_csv(third), table3.to_tex(third, about))
        subtasks = table3.by_subtask(results.scores, results.items).round(6)
        self._put("table3_by_subtask", subtasks.to_csv(index=False, lineterminator="\n"))

        students = {slug: results.student(slug) for slug in self._students}
        baselines = {slug: student.retry(load.BASELINE) for slug, student in students.items()}
        fourth = blocks.build(
            {
                slug: table4.blocks(
                    own,
                    grid.base,
                    grid.verdict,
                    {m: self._labels[m] for m in self._following if slug in grid.tuned},
                )
                for slug, own in students.items()
            },
            baselines,
            results.tasks,
            config,
            paper[4],
        )
        about["following"] = {slug: self._followed(slug, trained) for slug in self._students}
        self._put("table4", blocks.to_csv(fourth), blocks.to_tex(fourth, table4.TEMPLATE, about))
        extra = blocks.build(
            {
                slug: table4.controls(own, baselines[slug], grid.base, grid.controls, self._labels)
                for slug, own in students.items()
            },
            baselines,
            results.tasks,
            config,
        )
        about["borrowed"] = {slug: own.borrowed(results.items) for slug, own in students.items()}
        self._put(
            "controls", blocks.to_csv(extra), blocks.to_tex(extra, table4.CONTROLS_TEMPLATE, about)
        )

        moves = transitions.build(
            results, self._students, grid.conditions, self._sees_target, config
        )
        identities = {
            slug: transitions.identity(own, grid.base, grid.verdict)
            for slug, own in students.items()
        }
        printed = transitions.printed_identity(paper[2], paper[3], paper[4])
        self._put(
            "transitions",
            table2.to_csv(moves),
            transitions.to_tex(moves, identities, printed, about),
        )
        over_k = curve.build(results, self._students, grid.base, config)
        self._put("best_of_k", over_k.to_csv(index=False, lineterminator="\n"))
        self._put_outcomes(results)
        fifth = self._put_training(results, trained, about, paper)
        curves = self._curves(trained)
        self._put("training_curves", curves.to_csv(index=False, lineterminator="\n"))

        for path, text in self._texts.items():
            write_text(path, text)
        curve.draw(over_k, args.figures / "best_of_k")
        losses.draw(curves, self._learners, self._labels, args.figures / "training")
        write_json(
            args.metrics,
            {
                "table2": table2.headline(second),
                "table3": table3.headline(third),
                "table4": blocks.headline(fourth),
                "table5": table5.headline(fifth),
            },
        )

    def _followed(self, student: str, trained: "Sequence[training.Cell]") -> list[str]:
        """Return what Table 4 says of how a student was trained to follow feedback."""
        from stages.reporting import table4, training

        lines = []
        for method in self._following if student in self._grid.tuned else ():
            own = [c for c in trained if (c.learner, c.method) == (student, method)]
            first = own[0].models[0]
            name = table4.FINETUNED.get(method, self._labels[method])
            text = f"{name}: {first.examples} examples, {first.steps} steps"
            text += f" of {first.batch}, preset {first.preset}"
            lines.append("; ".join([text, *training.fallbacks(own)]) + ".")
        return lines

    def _put_training(
        self,
        results: "Results",
        trained: "Sequence[training.Cell]",
        about: Mapping[str, object],
        paper: "Mapping[int, DataFrame]",
    ) -> "DataFrame":
        """Put all that is about training, and return Table 5."""
        import pandas as pd

        from stages.reporting import cleaning, figure3, load, table5, training

        config, grid = self._config, self._grid
        runs = training.build(trained)
        self._put("training", training.to_csv(runs))
        self._put("table5_dropped", training.to_csv(training.dropped(trained)))
        fifth = table5.build(
            results,
            self._learners,
            list(self._methods),
            training.by_arm(runs),
            paper[5],
            paper[3],
            config,
        )
        fallbacks = {
            slug: training.fallbacks(
                cell for cell in trained if cell.learner == slug and cell.method in self._methods
            )
            for slug in self._learners
        }
        taught = table5.lessons(self._lessons[SUITE], self._methods, config)
        self._put(
            "table5",
            table5.to_csv(fifth.arms),
            table5.to_tex(fifth, about, taught, fallbacks, paper[5]),
        )
        self._put("table5_contrasts", table5.to_csv(fifth.contrasts))

        items = read_jsonl(self._args.tasks / SUITE / "train.jsonl", Item, "id")
        tasks = pd.Series({item.id: item.task for item in items})
        cells = [load.Cell(learner, seed) for learner, seed in product(self._learners, grid.seeds)]
        path = self._args.scores / SUITE / "clean.jsonl"
        fidelity = load.read_fidelity(path, list(tasks.index), cells)
        cleaned = cleaning.build(fidelity, tasks, self._learners, config)
        condition = config.label(self._lessons[SUITE].condition)
        self._put("cleaning", cleaning.to_csv(cleaned), cleaning.to_tex(cleaned, about, condition))

        shown: dict[str, Training] = {}
        for cell in trained:
            shown.setdefault(cell.models[0].objective, cell.models[0])
        fields = figure3.build(figure3.read_printed(self._args.presets), shown)
        self._put(
            "figure3",
            figure3.to_csv(fields),
            figure3.to_tex(fields, shown, self._labels, about),
        )
        return fifth.arms

    def _curves(self, trained: "Sequence[training.Cell]") -> "DataFrame":
        """Read the training logs."""
        from stages.reporting import losses

        logs = []
        for cell in trained:
            axes = {"learner": cell.learner, "method": cell.method, "seed": cell.seed}
            frame = losses.read(cell_path("--log", self._args.log, axes))
            logs.append(losses.Log(cell.learner, cell.method, cell.models[0].objective, frame))
        return losses.build(logs)

    def _put_outcomes(self, results: "Results") -> None:
        from stages.reporting import outcomes

        folder = self._args.scores / SUITE
        asked = (*self._grid.asked, *self._grid.compared, *self._grid.own)
        choosers = [slug for slug in self._selectors if slug != BY_LOGITS]
        ends = outcomes.build(
            [
                *(
                    outcomes.of_scores(read_jsonl(folder / f"{step}.jsonl", Score))
                    for step in (
                        *("respond", "answer", "revise", "sample"),
                        *("evaluate", "revise_tuned"),
                    )
                ),
                outcomes.of_exchanges(
                    ("feedback", record.teacher, record.condition, record.exchange)
                    for record in self._feedback(results.items, asked)
                ),
                outcomes.of_exchanges(
                    ("judge", record.teacher, record.verdict, record.exchange)
                    for record in self._judgements(results.items)
                ),
                outcomes.of_exchanges(
                    ("select", record.chooser, record.selector, record.exchange)
                    for record in self._selections(results.items, choosers)
                ),
            ]
        )
        tex = outcomes.to_tex(ends, self._labels, self._scale)
        self._put("outcomes", ends.to_csv(index=False, lineterminator="\n"), tex)

    def _put(self, name: str, csv: str, tex: str | None = None) -> None:
        """Keep a table until all can be written: a mistake in one leaves none half new."""
        self._texts[self._args.tables / f"{name}.csv"] = csv
        if tex is not None:
            self._texts[self._args.tables / f"{name}.tex"] = tex


def main(args: argparse.Namespace) -> None:
    """Read scores of every cell of the grid, build tables and figures, write them."""
    _Report(args).write()


if __name__ == "__main__":
    run(main, parser())
