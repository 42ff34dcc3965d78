r"""Report: the tables and figures out of the scored trajectories, beside the paper's own figures.

    python -m stages.report --params params.yaml --scores data/score --tasks data/tasks \
        --feedback 'data/feedback/bbh/{condition}-{student}-{seed}.jsonl' \
        --judgements 'data/judge/bbh/{verdict}-{student}-{seed}.jsonl' \
        --selections 'data/select/bbh/{pool}/{selector}-{student}-{seed}.jsonl' \
        --training 'data/train/bbh/{learner}-{method}-{seed}.jsonl' \
        --log 'data/train/bbh/{learner}-{method}-{seed}.csv' \
        --dropped 'data/dropped/bbh/{learner}-{method}-{seed}.jsonl' \
        --environments stages/tasks/environments --games-facts data/facts/score/games \
        --games-feedback 'data/feedback/games/{condition}-{student}-{seed}.jsonl' \
        --games-judgements 'data/judge/games/{verdict}-{student}-{seed}.jsonl' \
        --games-training 'data/train/games/{learner}-{method}-{seed}.jsonl' \
        --games-dropped 'data/dropped/games/{learner}-{method}-{seed}.jsonl' \
        --presets stages/training/presets.yaml --paper data/paper --tables reports/tables \
        --figures reports/figures --metrics reports/metrics.json

Tables, as CSV and LaTeX: 2 (error identification, 5.1.1), 3 (feedback conditions, 5.1.2; a second
CSV a subtask), 4 (modifications, 5.2), 5 (finetuning, 5.3; further CSVs on arms against each other,
on what training took and what it dropped), `controls`, `transitions` and `cleaning`, which the
paper does not have, and `outcomes`, how all requests ended. Where the scale has a suite of games
and code: 6 (finetuning on it, 5.3; further CSVs on how many environments each arm is worse in, on
what training took and dropped, on how programs were found and tested), 7 (the games, Appendix C), 8
(all models, Appendix D.1), `games_retry` (feedback there at test time) and `forgetting` (what
training on one suite does to the other), which the paper does not have. Figures: 3 (Appendix B, as
LaTeX), the score of best-of-k over k, loss and reward of training over its steps. Every rate stands
with its 95 % interval; `stages.stats` says how intervals and tests are made.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from stages.models.prices import Price
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

    from stages.reporting import load, table5, training
    from stages.reporting.built import Built, BuiltGames
    from stages.reporting.games import Games
    from stages.reporting.results import Results

PARAMS = (
    *("scale", "teachers", "conditions", "verdicts", "selectors"),
    *("lessons", "methods", "following", "grid", "report", "prices"),
)

R = TypeVar("R", Feedback, Judgement, Selection)
BY_LOGITS = "student_logits"
# The teacher has no seed axis: it answers once.
TEACHER_SEED = 0
GAMES_STEPS = ("respond", "answer", "revise", "evaluate", "forget")
GAMES_FLAGS = (
    *("environments", "games_facts", "games_feedback", "games_judgements"),
    *("games_training", "games_dropped"),
)


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
    parser.add_argument("--environments", type=Path, help="folder of the environments")
    parser.add_argument("--games-facts", type=Path, help="folder with <step>.json of --scores")
    parser.add_argument("--games-feedback", help="as --feedback, of games and code")
    parser.add_argument("--games-judgements", help="as --judgements, of games and code")
    parser.add_argument("--games-training", help="as --training, of games and code")
    parser.add_argument("--games-dropped", help="as --dropped, of games and code")
    parser.add_argument("--presets", type=Path, required=True, help="presets of training (YAML)")
    parser.add_argument("--paper", type=Path, required=True, help="folder with the paper's figures")
    parser.add_argument("--tables", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--figures", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--metrics", type=Path, required=True, help="file for headline figures")
    return parser


def _trained(arms: Iterable[tuple[str, str, int]]) -> "list[load.Cell]":
    """Return the cells of trained students, given learner, method and seed of each."""
    from stages.reporting import load

    return [load.Cell(learner, seed, method=method) for learner, method, seed in arms]


@dataclass(frozen=True)
class _Played:
    """What is read where the scale has games and code.

    Attributes:
        suite: its name.
        games: what its tables read.
        feedback: what somebody was asked to say of its answers, empty where nobody was.
        judgements: what the teacher judged of them.
        trained: how training on it went.
        forgot: what students that were trained on it do on questions.
        taught: the teachers' own answers to questions.
        told: retries with the feedback of the other teachers, None without any.
        sandboxes: what programs were run in, in words.
    """

    suite: str
    games: "Games"
    feedback: Sequence[Feedback]
    judgements: Sequence[Judgement]
    trained: "Sequence[training.Cell]"
    forgot: "DataFrame"
    taught: "DataFrame"
    told: "DataFrame | None"
    sandboxes: Sequence[str]


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
        self._suite = self._grid.questions[0]
        self._games = next(iter(self._grid.games), None)
        suites = [self._suite, *([] if self._games is None else [self._games])]
        self._prices: dict[str, Price] = {}
        others: tuple[str, ...] = ()
        if self._games is not None:
            self._prices = params.get("prices", dict[str, Price])
            others = self._grid.other_teachers
            for flag in GAMES_FLAGS:
                if getattr(args, flag) is None:
                    name = flag.replace("_", "-")
                    raise UserError(f"--{name}: needed, since {args.params} has grid.games")
        # Who retries with the feedback of every teacher, for Table 8.
        self._reader = (self._grid.other_student if others else None) or self._students[0]
        for suite in suites:
            if suite not in self._lessons:
                raise UserError(f"{args.params}: lessons.{suite}: not there")
        for kind, slugs, known in (
            ("teachers", [self._grid.teacher, *others], self._teachers),
            ("students", [self._reader], self._students),
            ("conditions", self._grid.conditions, self._conditions),
            ("verdicts", [self._grid.verdict], self._verdicts),
            ("selectors", [BY_LOGITS], self._selectors),
            ("students", [slug.split("-")[0] for slug in self._learners], self._students),
        ):
            unknown = [slug for slug in slugs if slug not in known]
            if unknown:
                raise UserError(f"{args.params}: grid: no {unknown[0]!r} under {kind}")
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
        tasks, folder = args.tasks / self._suite, args.scores / self._suite
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
        trained = _trained(self._arms())
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

    def _taught(self, suite: str, arms: Iterable[tuple[str, str, int]]) -> "list[training.Cell]":
        """Read how each training on a suite went and what it dropped.

        Raises:
            UserError: a cell is missing, empty, or holds another one's records.
        """
        from stages.reporting import training

        found = []
        of_games = suite == self._games
        for learner, method, seed in arms:
            cell = {"learner": learner, "method": method, "seed": seed}
            path = self._path("games_training" if of_games else "training", cell)
            models = read_jsonl(path, Training)
            if not models:
                raise UserError(f"{path}: no training run")
            objective = (self._methods | self._following)[method].objective
            for axis, value in {**cell, "suite": suite, "objective": objective}.items():
                other = [own for model in models if (own := getattr(model, axis)) != value]
                if other:
                    raise UserError(f"{path}: holds {axis} {other[0]}, not {value}")
            path = self._path("games_dropped" if of_games else "dropped", cell)
            dropped = read_jsonl(path, Dropped, "item")
            found.append(training.Cell(learner, method, seed, models, dropped))
        return found

    def _path(self, flag: str, cell: Mapping[str, object]) -> Path:
        """Return the file of a cell, given the flag of its pattern."""
        return cell_path(f"--{flag.replace('_', '-')}", getattr(self._args, flag), cell)

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
            path = self._path(flag, cell)
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

    def build(self) -> "Built":
        """Build all tables, and keep their texts."""
        from stages.reporting import (
            blocks,
            curve,
            load,
            table2,
            table3,
            table4,
            transitions,
        )
        from stages.reporting.built import Built

        args, grid, config = self._args, self._grid, self._config
        results, trained = self._read(), self._taught(self._suite, self._arms())
        played = self._read_played(self._games, results.items) if self._games else None
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
        ends = self._put_outcomes(results, played)
        fifth, runs, cleaned = self._put_training(results, trained, about, paper)
        curves = self._curves(trained)
        self._put("training_curves", curves.to_csv(index=False, lineterminator="\n"))
        games = self._put_games(played, results, about) if played else None
        if games:
            paper |= {n: load.read_paper(args.paper / f"table{n}.csv") for n in (6, 8)}
        return Built(
            scale=self._scale,
            suite=self._suite,
            grid=grid,
            config=config,
            labels=self._labels,
            sees_target=frozenset(self._sees_target),
            results=results,
            paper=paper,
            table2=second,
            table3=third,
            subtasks=subtasks,
            table4=fourth,
            controls=extra,
            transitions=moves,
            identities=identities,
            best_of_k=over_k,
            table5=fifth,
            cleaning=cleaned,
            outcomes=ends,
            curves=curves,
            runs=runs,
            trained=trained,
            games=games,
        )

    def write(self) -> None:
        """Build all tables and figures and write them."""
        from stages.reporting import blocks, curve, losses, table2, table3, table5, table6

        args, built = self._args, self.build()
        for path, text in self._texts.items():
            write_text(path, text)
        curve.draw(built.best_of_k, args.figures / "best_of_k")
        losses.draw(built.curves, self._learners, self._labels, args.figures / "training")
        headline = {"table6": table6.headline(built.games.table6.arms)} if built.games else {}
        write_json(
            args.metrics,
            {
                "table2": table2.headline(built.table2),
                "table3": table3.headline(built.table3),
                "table4": blocks.headline(built.table4),
                "table5": table5.headline(built.table5.arms),
                **headline,
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
    ) -> "tuple[table5.Tables, DataFrame, DataFrame]":
        """Put all that is about training; return Table 5, its runs, and what cleaning did."""
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
        taught = table5.lessons(self._lessons[self._suite], self._methods, config)
        self._put(
            "table5",
            table5.to_csv(fifth.arms),
            table5.to_tex(fifth, about, taught, fallbacks, paper[5]),
        )
        self._put("table5_contrasts", table5.to_csv(fifth.contrasts))

        items = read_jsonl(self._args.tasks / self._suite / "train.jsonl", Item, "id")
        tasks = pd.Series({item.id: item.task for item in items})
        cells = [load.Cell(learner, seed) for learner, seed in product(self._learners, grid.seeds)]
        path = self._args.scores / self._suite / "clean.jsonl"
        fidelity = load.read_fidelity(path, list(tasks.index), cells)
        cleaned = cleaning.build(fidelity, tasks, self._learners, config)
        condition = config.label(self._lessons[self._suite].condition)
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
        return fifth, runs, cleaned

    def _read_games(
        self, suite: str, items: "DataFrame", judgements: Iterable[Judgement]
    ) -> "Games":
        """Read every cell of the suite of games and code."""
        import pandas as pd

        from stages.reporting import load
        from stages.reporting.environments import read_environments
        from stages.reporting.games import Games

        args, grid = self._args, self._grid
        folder = args.scores / suite
        condition = self._lessons[suite].condition
        runs = list(product(self._students, grid.seeds))
        first = [load.Cell(student, seed) for student, seed in runs]
        retries = [load.Cell(student, seed, condition) for student, seed in runs]
        trained = _trained(self._learnt())
        verdicts = {grid.verdict: self._verdicts[grid.verdict]}
        return Games(
            items=items,
            environments=read_environments(args.environments, items["task"].unique()),
            scores=pd.concat(
                [
                    load.read_scores(folder / "respond.jsonl", items, first),
                    load.read_scores(folder / "revise.jsonl", items, retries),
                ],
                ignore_index=True,
            ),
            taught=self._read_answers(folder / "answer.jsonl", items),
            trained=load.read_scores(folder / "evaluate.jsonl", items, trained),
            forgot=load.read_scores(folder / "forget.jsonl", items, trained),
            judgements=load.judgements(judgements, verdicts),
            leaks=load.read_leaks(folder / "feedback.jsonl", items, retries),
            floors=load.read_floors(folder / "floor.jsonl", items),
        )

    def _read_played(self, suite: str, items: "DataFrame") -> _Played:
        """Read all that only a scale with games and code has.

        Args:
            suite: the games.
            items: the test items of the questions.
        """
        import pandas as pd

        from stages.reporting import load

        grid, folder = self._grid, self._args.scores / self._suite
        told = [
            load.read_scores(
                self._told(teacher),
                items,
                [load.Cell(self._reader, seed, grid.base, teacher=teacher) for seed in grid.seeds],
            )
            for teacher in grid.other_teachers
        ]
        tasks = self._args.tasks / suite
        played = load.read_items(tasks / "test.jsonl", tasks / "train.jsonl")
        judgements = self._cells("games_judgements", Judgement, played, verdict=[grid.verdict])
        condition = self._lessons[suite].condition
        asked = [condition] if condition in self._asked else []
        return _Played(
            suite=suite,
            games=self._read_games(suite, played, judgements),
            feedback=self._cells("games_feedback", Feedback, played, condition=asked),
            judgements=judgements,
            trained=self._taught(suite, self._learnt()),
            forgot=load.read_scores(folder / "forget.jsonl", items, _trained(self._learnt())),
            taught=self._read_answers(folder / "answer.jsonl", items),
            told=pd.concat(told, ignore_index=True) if told else None,
            sandboxes=load.read_sandboxes(
                [self._args.games_facts / f"{step}.json" for step in GAMES_STEPS]
            ),
        )

    def _learnt(self) -> list[tuple[str, str, int]]:
        """Return learner, method and seed of what is trained on lessons."""
        return list(product(self._learners, self._methods, self._grid.seeds))

    def _read_answers(self, path: Path, items: "DataFrame") -> "DataFrame":
        """Read the scores of all teachers' own answers."""
        from stages.reporting import load

        cells = [load.Cell(teacher, TEACHER_SEED) for teacher in self._teachers]
        return load.read_scores(path, items, cells)

    def _put_games(
        self, played: _Played, questions: "Results", about: Mapping[str, object]
    ) -> "BuiltGames":
        """Put all that is about games and code, and return it."""
        from stages.reporting import (
            environment_blocks,
            forgetting,
            games_retry,
            load,
            table5,
            table6,
            table7,
            table8,
            training,
        )
        from stages.reporting.built import BuiltGames

        config, methods, teacher = self._config, list(self._methods), self._grid.teacher
        results, trained = played.games, played.trained
        lessons = self._lessons[played.suite]
        about = {**about, "condition": config.label(lessons.condition)}
        paper = load.read_paper(self._args.paper / "table6.csv")
        runs = training.build(trained)
        self._put("table6_training", training.to_csv(runs))
        self._put("table6_dropped", training.to_csv(training.dropped(trained)))
        sixth = table6.build(results, self._learners, methods, teacher, paper, config)
        taught = table5.lessons(lessons, self._methods, config)
        self._put(
            "table6",
            environment_blocks.to_csv(sixth.arms),
            table6.to_tex(
                sixth,
                results,
                about,
                taught,
                training.by_arm(runs),
                training.fallbacks(trained),
                played.sandboxes,
                paper,
            ),
        )
        self._put("table6_moves", table6.to_csv(sixth.moves))
        self._put("table6_programs", table6.to_csv(sixth.programs))

        retries = games_retry.build(results, self._students, lessons.condition, config)
        self._put(
            "games_retry",
            environment_blocks.to_csv(retries),
            environment_blocks.to_tex(retries, "retry", about, results.environments, paper),
        )
        lost = forgetting.build(questions, played.forgot, results, self._learners, methods, config)
        self._put(
            "forgetting",
            environment_blocks.to_csv(lost.suites),
            forgetting.to_tex(lost, results, about, paper),
        )
        self._put("forgetting_by_environment", environment_blocks.to_csv(lost.environments))
        seventh = table7.build(results.environments.values())
        self._put("table7", table7.to_csv(seventh), table7.to_tex(seventh, self._scale))
        eighth = table8.build(
            questions,
            played.taught,
            played.told,
            results,
            self._teachers,
            self._students,
            self._grid,
            self._reader,
            self._prices,
            load.read_paper(self._args.paper / "table8.csv"),
            config,
        )
        tex = table8.to_tex(eighth, results, about, config.label(self._reader))
        self._put("table8", table8.to_csv(eighth), tex)
        return BuiltGames(
            suite=played.suite,
            results=results,
            condition=lessons.condition,
            table6=sixth,
            retry=retries,
            forgetting=lost,
            table7=seventh,
            table8=eighth,
            runs=runs,
            trained=trained,
        )

    def _curves(self, trained: "Sequence[training.Cell]") -> "DataFrame":
        """Read the training logs."""
        from stages.reporting import losses

        logs = []
        for cell in trained:
            axes = {"learner": cell.learner, "method": cell.method, "seed": cell.seed}
            frame = losses.read(self._path("log", axes))
            logs.append(losses.Log(cell.learner, cell.method, cell.models[0].objective, frame))
        return losses.build(logs)

    def _outcomes_of_games(self, played: _Played) -> "Iterator[DataFrame]":
        """Yield how requests of games and code ended, and of those trained on them."""
        from stages.reporting import outcomes

        for suite, steps in ((played.suite, GAMES_STEPS), (self._suite, ("forget",))):
            for step in steps:
                path = self._args.scores / suite / f"{step}.jsonl"
                yield outcomes.of_scores(read_jsonl(path, Score))
        for teacher in self._grid.other_teachers:
            yield outcomes.of_scores(read_jsonl(self._told(teacher), Score))
        yield outcomes.of_feedback(played.suite, played.feedback)
        yield outcomes.of_judgements(played.suite, played.judgements)

    def _told(self, teacher: str) -> Path:
        """Return the scores of retries with the feedback of one of the other teachers."""
        folder: Path = self._args.scores / self._suite / "teachers"
        return folder / f"{teacher}.jsonl"

    @property
    def _asked(self) -> tuple[str, ...]:
        """The conditions whose feedback somebody is asked for."""
        return (*self._grid.asked, *self._grid.compared, *self._grid.own)

    def _put_outcomes(self, results: "Results", played: _Played | None) -> "DataFrame":
        from stages.reporting import outcomes

        folder = self._args.scores / self._suite
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
                *(() if played is None else self._outcomes_of_games(played)),
                outcomes.of_feedback(self._suite, self._feedback(results.items, self._asked)),
                outcomes.of_judgements(self._suite, self._judgements(results.items)),
                outcomes.of_choices(self._suite, self._selections(results.items, choosers)),
            ]
        )
        tex = outcomes.to_tex(ends, self._labels, self._scale)
        self._put("outcomes", ends.to_csv(index=False, lineterminator="\n"), tex)
        return ends

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
