"""Building: all tables, as frames for whoever quotes them and as the texts that are written."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from stages.records import Item, Score, Training, read_jsonl
from stages.reporting import (
    blocks,
    cleaning,
    curve,
    environment_blocks,
    figure3,
    forgetting,
    games_retry,
    load,
    losses,
    outcomes,
    table2,
    table3,
    table4,
    table5,
    table6,
    table7,
    table8,
    training,
    transitions,
)
from stages.reporting.built import Built, BuiltGames
from stages.reporting.reading import GAMES_STEPS, Played, Reader
from stages.reporting.results import Results
from stages.reporting.settings import BY_LOGITS, Settings

PAPERS = frozenset(f"table{number}" for number in range(2, 9))


class Builder:
    """Builds all tables of one run.

    Attributes:
        texts: what is to be written, by file, as far as it is built: a mistake in one table leaves
            none half new.
    """

    def __init__(self, args: argparse.Namespace, settings: Settings) -> None:
        """Take the command line of the stage and its params. Raises as `Reader` does."""
        self._args = args
        self._own = settings
        self.reader = Reader(args, settings)
        self.texts: dict[Path, str] = {}

    def about(self, results: Results) -> dict[str, object]:
        """Return what captions say."""
        items, config, grid = results.items, self._own.report, self._own.grid
        return {
            "scale": self._own.scale,
            "teacher": config.label(grid.teacher),
            "subtasks": items["task"].nunique(),
            "flagged": int(items["flagged"].sum()),
            "seeds": grid.seeds,
            "draws": config.bootstrap,
            "paper_students": {
                config.label(slug): config.paper_students[slug]
                for slug in self._own.grid.students
                if slug in config.paper_students
            },
            "chance": float(items["chance"].mean()),
            "majority": float(items["majority"].mean()),
            "base": config.label(grid.base),
            "verdict": config.label(grid.verdict),
            "k": len(grid.draws),
        }

    def build(self) -> Built:
        """Build all tables, and keep their texts."""
        args, grid, config = self._args, self._own.grid, self._own.report
        results, trained = (
            self.reader.results(),
            self.reader.taught(self._own.suite, self.reader.arms()),
        )
        played = self.reader.played(self._own.games, results.items) if self._own.games else None
        about = self.about(results)
        paper = {n: load.read_paper(args.paper / f"table{n}.csv") for n in (1, 2, 3, 4, 5)}

        second = table2.build(
            results, self._own.grid.students, list(self._own.verdicts), paper[2], config
        )
        self._put("table2", table2.to_csv(second), table2.to_tex(second, about))

        plain = (load.BASELINE, *grid.papers)
        third = table3.build(
            results.scores[results.scores["condition"].isin(plain)],
            results.items,
            paper[3],
            self._own.grid.students,
            grid.papers,
            self._own.sees_target,
            config,
        )
        self._put("table3", table3.to_csv(third), table3.to_tex(third, about))
        subtasks = table3.by_subtask(results.scores, results.items).round(6)
        self._put("table3_by_subtask", subtasks.to_csv(index=False, lineterminator="\n"))

        students = {slug: results.student(slug) for slug in self._own.grid.students}
        baselines = {slug: student.retry(load.BASELINE) for slug, student in students.items()}
        fourth = blocks.build(
            {
                slug: table4.blocks(
                    own,
                    grid.base,
                    grid.verdict,
                    {m: self._own.labels[m] for m in self._own.following if slug in grid.tuned},
                )
                for slug, own in students.items()
            },
            baselines,
            results.tasks,
            config,
            paper[4],
        )
        about["following"] = {
            slug: self._followed(slug, trained) for slug in self._own.grid.students
        }
        self._put("table4", blocks.to_csv(fourth), blocks.to_tex(fourth, table4.TEMPLATE, about))
        extra = blocks.build(
            {
                slug: table4.controls(
                    own, baselines[slug], grid.base, grid.controls, self._own.labels
                )
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
            results, self._own.grid.students, grid.conditions, self._own.sees_target, config
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
        over_k = curve.build(results, self._own.grid.students, grid.base, config)
        self._put("best_of_k", over_k.to_csv(index=False, lineterminator="\n"))
        ends = self._put_outcomes(results, played)
        fifth, runs, cleaned = self._put_training(results, trained, about, paper)
        curves = self._curves(trained)
        self._put("training_curves", curves.to_csv(index=False, lineterminator="\n"))
        games = self._put_games(played, results, about) if played else None
        if games:
            paper |= {n: load.read_paper(args.paper / f"table{n}.csv") for n in (6, 8)}
        return Built(
            scale=self._own.scale,
            suite=self._own.suite,
            grid=grid,
            config=config,
            labels=self._own.labels,
            sees_target=frozenset(self._own.sees_target),
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

    def _followed(self, student: str, trained: Sequence[training.Cell]) -> list[str]:
        """Return what Table 4 says of how a student was trained to follow feedback."""
        lines = []
        for method in self._own.following if student in self._own.grid.tuned else ():
            own = [c for c in trained if (c.learner, c.method) == (student, method)]
            first = own[0].models[0]
            name = table4.FINETUNED.get(method, self._own.labels[method])
            text = f"{name}: {first.examples} examples, {first.steps} steps"
            text += f" of {first.batch}, preset {first.preset}"
            lines.append("; ".join([text, *training.fallbacks(own)]) + ".")
        return lines

    def _put_training(
        self,
        results: Results,
        trained: Sequence[training.Cell],
        about: Mapping[str, object],
        paper: Mapping[int, pd.DataFrame],
    ) -> tuple[table5.Tables, pd.DataFrame, pd.DataFrame]:
        """Put all that is about training; return Table 5, its runs, and what cleaning did."""
        config, grid = self._own.report, self._own.grid
        runs = training.build(trained)
        self._put("training", training.to_csv(runs))
        self._put("table5_dropped", training.to_csv(training.dropped(trained)))
        fifth = table5.build(
            results,
            self._own.grid.learners,
            list(self._own.methods),
            training.by_arm(runs),
            paper[5],
            paper[3],
            config,
        )
        fallbacks = {
            slug: training.fallbacks(
                cell
                for cell in trained
                if cell.learner == slug and cell.method in self._own.methods
            )
            for slug in self._own.grid.learners
        }
        taught = table5.lessons(self._own.lessons[self._own.suite], self._own.methods, config)
        self._put(
            "table5",
            table5.to_csv(fifth.arms),
            table5.to_tex(fifth, about, taught, fallbacks, paper[5]),
        )
        self._put("table5_contrasts", table5.to_csv(fifth.contrasts))

        items = read_jsonl(self._args.tasks / self._own.suite / "train.jsonl", Item, "id")
        tasks = pd.Series({item.id: item.task for item in items})
        cells = [
            load.Cell(learner, seed)
            for learner, seed in product(self._own.grid.learners, grid.seeds)
        ]
        path = self._args.scores / self._own.suite / "clean.jsonl"
        fidelity = load.read_fidelity(path, list(tasks.index), cells)
        cleaned = cleaning.build(fidelity, tasks, self._own.grid.learners, config)
        condition = config.label(self._own.lessons[self._own.suite].condition)
        self._put("cleaning", cleaning.to_csv(cleaned), cleaning.to_tex(cleaned, about, condition))

        shown: dict[str, Training] = {}
        for cell in trained:
            shown.setdefault(cell.models[0].objective, cell.models[0])
        fields = figure3.build(figure3.read_printed(self._args.presets), shown)
        self._put(
            "figure3",
            figure3.to_csv(fields),
            figure3.to_tex(fields, shown, self._own.labels, about),
        )
        return fifth, runs, cleaned

    def _put_games(
        self, played: Played, questions: Results, about: Mapping[str, object]
    ) -> BuiltGames:
        """Put all that is about games and code, and return it."""
        config, methods, teacher = self._own.report, list(self._own.methods), self._own.grid.teacher
        results, trained = played.games, played.trained
        lessons = self._own.lessons[played.suite]
        about = {**about, "condition": config.label(lessons.condition)}
        paper = load.read_paper(self._args.paper / "table6.csv")
        runs = training.build(trained)
        self._put("table6_training", training.to_csv(runs))
        self._put("table6_dropped", training.to_csv(training.dropped(trained)))
        sixth = table6.build(results, self._own.grid.learners, methods, teacher, paper, config)
        taught = table5.lessons(lessons, self._own.methods, config)
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

        retries = games_retry.build(results, self._own.grid.students, lessons.condition, config)
        self._put(
            "games_retry",
            environment_blocks.to_csv(retries),
            environment_blocks.to_tex(retries, "retry", about, results.environments, paper),
        )
        lost = forgetting.build(
            questions, played.forgot, results, self._own.grid.learners, methods, config
        )
        self._put(
            "forgetting",
            environment_blocks.to_csv(lost.suites),
            forgetting.to_tex(lost, results, about, paper),
        )
        self._put("forgetting_by_environment", environment_blocks.to_csv(lost.environments))
        seventh = table7.build(results.environments.values())
        self._put("table7", table7.to_csv(seventh), table7.to_tex(seventh, self._own.scale))
        eighth = table8.build(
            questions,
            played.taught,
            played.told,
            results,
            list(self._own.teachers),
            self._own.grid.students,
            self._own.grid,
            self._own.reader,
            self._own.prices,
            load.read_paper(self._args.paper / "table8.csv"),
            config,
        )
        tex = table8.to_tex(eighth, results, about, config.label(self._own.reader))
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

    def _curves(self, trained: Sequence[training.Cell]) -> pd.DataFrame:
        """Read the training logs."""
        logs = []
        for cell in trained:
            axes = {"learner": cell.learner, "method": cell.method, "seed": cell.seed}
            frame = losses.read(self.reader.path("log", axes))
            logs.append(losses.Log(cell.learner, cell.method, cell.models[0].objective, frame))
        return losses.build(logs)

    def _outcomes_of_games(self, played: Played) -> Iterator[pd.DataFrame]:
        """Yield how requests of games and code ended, and of those trained on them."""
        for suite, steps in ((played.suite, GAMES_STEPS), (self._own.suite, ("forget",))):
            for step in steps:
                path = self._args.scores / suite / f"{step}.jsonl"
                yield outcomes.of_scores(read_jsonl(path, Score))
        for teacher in self._own.grid.other_teachers:
            yield outcomes.of_scores(read_jsonl(self.reader.told(teacher), Score))
        yield outcomes.of_feedback(played.suite, played.feedback)
        yield outcomes.of_judgements(played.suite, played.judgements)

    def _put_outcomes(self, results: Results, played: Played | None) -> pd.DataFrame:
        folder = self._args.scores / self._own.suite
        choosers = [slug for slug in self._own.selectors if slug != BY_LOGITS]
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
                outcomes.of_feedback(
                    self._own.suite, self.reader.feedback(results.items, self._own.asked)
                ),
                outcomes.of_judgements(self._own.suite, self.reader.judgements(results.items)),
                outcomes.of_choices(
                    self._own.suite, self.reader.selections(results.items, choosers)
                ),
            ]
        )
        tex = outcomes.to_tex(ends, self._own.labels, self._own.scale)
        self._put("outcomes", ends.to_csv(index=False, lineterminator="\n"), tex)
        return ends

    def _put(self, name: str, csv: str, tex: str | None = None) -> None:
        """Keep a table until all can be written.

        What is rendered of the paper's own tables here has the paper's figures beside ours.
        """
        self.texts[self._args.tables / f"{name}.csv"] = csv
        if tex is not None:
            beside = "_beside" if name in PAPERS else ""
            self.texts[self._args.tables / f"{name}{beside}.tex"] = tex
