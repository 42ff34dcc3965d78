"""Reading: every declared cell that the report is made of, each checked against the grid."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import pandas as pd

from stages.errors import UserError
from stages.grid import POOLS, cell_path
from stages.records import (
    Dropped,
    Feedback,
    Item,
    Judgement,
    Selection,
    Training,
    Trajectory,
    read_jsonl,
)
from stages.reporting import facts, figure1, load, sensitivity, training
from stages.reporting.compare import arm
from stages.reporting.environments import read_environments
from stages.reporting.games import Games
from stages.reporting.results import Results, Student
from stages.reporting.settings import BY_LOGITS, Settings

R = TypeVar("R", Feedback, Judgement, Selection)
# The teacher has no seed axis: it answers once.
TEACHER_SEED = 0
GAMES_STEPS = ("respond", "answer", "revise", "evaluate", "forget")
GAMES_FLAGS = (
    *("environments", "games_facts", "games_feedback", "games_judgements"),
    *("games_training", "games_dropped"),
)


def _trained(arms: Iterable[tuple[str, str, int]]) -> list[load.Cell]:
    """Return the cells of trained students, given learner, method and seed of each."""
    return [load.Cell(learner, seed, method=method) for learner, method, seed in arms]


@dataclass(frozen=True)
class Played:
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
    games: Games
    feedback: Sequence[Feedback]
    judgements: Sequence[Judgement]
    trained: Sequence[training.Cell]
    forgot: pd.DataFrame
    taught: pd.DataFrame
    told: pd.DataFrame | None
    sandboxes: Sequence[str]


class Reader:
    """Reads the files that the flags name.

    Every method raises UserError where a cell is missing, holds another one's records, or is not
    over exactly its items.
    """

    def __init__(self, args: argparse.Namespace, settings: Settings) -> None:
        """Take the command line of the stage and its params.

        Raises:
            UserError: a flag is missing that the scale needs.
        """
        self._args = args
        self._own = settings
        self._read: dict[Path, pd.DataFrame] = {}
        for flag in GAMES_FLAGS if settings.games else ():
            if getattr(args, flag) is None:
                name = flag.replace("_", "-")
                raise UserError(f"--{name}: needed, since {args.params} has grid.games")

    def results(self) -> Results:
        """Read every cell of the grid."""
        args, grid = self._args, self._own.grid
        tasks, folder = args.tasks / self._own.suite, args.scores / self._own.suite
        items = load.read_items(tasks / "test.jsonl", tasks / "train.jsonl")
        runs = list(product(self._own.grid.students, grid.seeds))
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
            for (student, seed), condition, selector in product(runs, pools, self._own.selectors)
        ]
        trained = _trained(self.arms())
        told = [
            load.Cell(student, seed, grid.base, method=method)
            for student, seed, method in product(grid.tuned, grid.seeds, self._own.following)
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
            logits=load.logits(self.selections(items, [BY_LOGITS]), self._own.selectors[BY_LOGITS]),
            judgements=load.judgements(self.judgements(items), self._own.verdicts),
            leaks=load.read_leaks(folder / "feedback.jsonl", items, retries),
            tokens=load.feedback_tokens(self.feedback(items, grid.conditions), grid.own),
        )

    def arms(self) -> list[tuple[str, str, int]]:
        """Return learner, method and seed of everything that is trained."""
        return [
            *product(self._own.grid.learners, self._own.methods, self._own.grid.seeds),
            *product(self._own.grid.tuned, self._own.following, self._own.grid.seeds),
        ]

    def taught(self, suite: str, arms: Iterable[tuple[str, str, int]]) -> list[training.Cell]:
        """Read how each training on a suite went and what it dropped.

        Raises:
            UserError: a cell is missing, empty, or holds another one's records.
        """
        found = []
        of_games = suite == self._own.games
        for learner, method, seed in arms:
            cell = {"learner": learner, "method": method, "seed": seed}
            path = self.path("games_training" if of_games else "training", cell)
            models = read_jsonl(path, Training)
            if not models:
                raise UserError(f"{path}: no training run")
            objective = (self._own.methods | self._own.following)[method].objective
            for axis, value in {**cell, "suite": suite, "objective": objective}.items():
                other = [own for model in models if (own := getattr(model, axis)) != value]
                if other:
                    raise UserError(f"{path}: holds {axis} {other[0]}, not {value}")
            path = self.path("games_dropped" if of_games else "dropped", cell)
            dropped = read_jsonl(path, Dropped, "item")
            found.append(training.Cell(learner, method, seed, models, dropped))
        return found

    def path(self, flag: str, cell: Mapping[str, object]) -> Path:
        """Return the file of a cell, given the flag of its pattern."""
        return cell_path(f"--{flag.replace('_', '-')}", getattr(self._args, flag), cell)

    def feedback(self, items: pd.DataFrame, conditions: Iterable[str]) -> list[Feedback]:
        """Read the feedback on questions under some conditions."""
        return self._cells("feedback", Feedback, items, condition=conditions)

    def judgements(self, items: pd.DataFrame) -> list[Judgement]:
        """Read all judgements of the answers to questions."""
        return self._cells("judgements", Judgement, items, verdict=self._own.verdicts)

    def selections(self, items: pd.DataFrame, selectors: Iterable[str]) -> list[Selection]:
        """Read what some selectors chose among the candidates."""
        return self._cells("selections", Selection, items, pool=POOLS, selector=selectors)

    def _cells(
        self, flag: str, kind: type[R], items: pd.DataFrame, **axes: Iterable[str]
    ) -> list[R]:
        """Read all declared cells of a step, given the axes that it has besides student and seed.

        Raises:
            UserError: a cell is missing, holds another one's records, or is not over exactly the
                test items.
        """
        every = {**axes, "student": self._own.grid.students, "seed": self._own.grid.seeds}
        found: list[R] = []
        for values in product(*every.values()):
            cell = dict(zip(every, values, strict=True))
            path = self.path(flag, cell)
            records = read_jsonl(path, kind, "item")
            names = dict(cell)
            if pool := names.pop("pool", None):
                names["condition"] = None if pool == POOLS[0] else self._own.grid.base
            _check_cell(path, records, items, names)
            found += records
        return found

    def _of_games(self, suite: str, items: pd.DataFrame, judgements: Iterable[Judgement]) -> Games:
        """Read every cell of the suite of games and code."""
        args, grid = self._args, self._own.grid
        folder = args.scores / suite
        condition = self._own.lessons[suite].condition
        runs = list(product(self._own.grid.students, grid.seeds))
        first = [load.Cell(student, seed) for student, seed in runs]
        retries = [load.Cell(student, seed, condition) for student, seed in runs]
        trained = _trained(self._learnt())
        verdicts = {grid.verdict: self._own.verdicts[grid.verdict]}
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
            taught=self._answers(folder / "answer.jsonl", items),
            trained=load.read_scores(folder / "evaluate.jsonl", items, trained),
            forgot=load.read_scores(folder / "forget.jsonl", items, trained),
            judgements=load.judgements(judgements, verdicts),
            leaks=load.read_leaks(folder / "feedback.jsonl", items, retries),
            floors=load.read_floors(folder / "floor.jsonl", items),
        )

    def played(self, suite: str, items: pd.DataFrame) -> Played:
        """Read all that only a scale with games and code has.

        Args:
            suite: the games.
            items: the test items of the questions.
        """
        grid, folder = self._own.grid, self._args.scores / self._own.suite
        told = [
            load.read_scores(
                self.told(teacher),
                items,
                [
                    load.Cell(self._own.reader, seed, grid.base, teacher=teacher)
                    for seed in grid.seeds
                ],
            )
            for teacher in grid.other_teachers
        ]
        tasks = self._args.tasks / suite
        played = load.read_items(tasks / "test.jsonl", tasks / "train.jsonl")
        judgements = self._cells("games_judgements", Judgement, played, verdict=[grid.verdict])
        condition = self._own.lessons[suite].condition
        asked = [condition] if condition in self._own.asked else []
        return Played(
            suite=suite,
            games=self._of_games(suite, played, judgements),
            feedback=self._cells("games_feedback", Feedback, played, condition=asked),
            judgements=judgements,
            trained=self.taught(suite, self._learnt()),
            forgot=load.read_scores(folder / "forget.jsonl", items, _trained(self._learnt())),
            taught=self._answers(folder / "answer.jsonl", items),
            told=pd.concat(told, ignore_index=True) if told else None,
            sandboxes=load.read_sandboxes(
                [self._args.games_facts / f"{step}.json" for step in GAMES_STEPS]
            ),
        )

    def _learnt(self) -> list[tuple[str, str, int]]:
        """Return learner, method and seed of what is trained on lessons."""
        return list(product(self._own.grid.learners, self._own.methods, self._own.grid.seeds))

    def _answers(self, path: Path, items: pd.DataFrame) -> pd.DataFrame:
        """Read the scores of all teachers' own answers."""
        cells = [load.Cell(teacher, TEACHER_SEED) for teacher in list(self._own.teachers)]
        return load.read_scores(path, items, cells)

    def told(self, teacher: str) -> Path:
        """Return the scores of retries with the feedback of one of the other teachers."""
        folder: Path = self._args.scores / self._own.suite / "teachers"
        return folder / f"{teacher}.jsonl"

    def facts(self) -> facts.Facts:
        """Read the run facts of all cells that ask or train a model."""
        return facts.read(self._args.facts, self._own.declared().facts(), self._own.prices)

    def example(self) -> figure1.Example | None:
        """Read the trajectory of Figure 1, None where no student is declared for it.

        Of the cards in their order it is the first on which answer, feedback and revision say three
        things, else the first.
        """
        who = next(iter(self._own.grid.tuned), None)
        if who is None:
            return None
        paths = {
            step: self.path("trajectories", {"step": "figure1", "suite": step, "cell": who})
            for step in ("respond", "feedback", "revise")
        }
        first = read_jsonl(paths["respond"], Trajectory, "item")
        feedback = read_jsonl(paths["feedback"], Feedback, "item")
        retries = read_jsonl(paths["revise"], Trajectory, "item")
        if not first or not len(first) == len(feedback) == len(retries):
            raise UserError(f"{paths['revise']}: not one record for each of {paths['respond']}")
        found = [figure1.Example(*each) for each in zip(first, feedback, retries, strict=True)]
        return next((each for each in found if each.differ), found[0])

    def trials(self, results: Results, games: Games | None = None) -> list[sensitivity.Trial]:
        """Read the answers, verdicts, choices and cleanings under each prompt in other words.

        Args:
            results: of the suite of questions.
            games: of the suite of games and code, where there is one.
        """
        own = self._own
        found: list[sensitivity.Trial] = []
        results = results.of_seeds(own.paraphrased.seeds)
        if own.paraphrased.per_task != "all":
            few = results.items.groupby("task", sort=False).head(own.paraphrased.per_task)
            results = results.of_items(few.index)
        for who in own.grid.students if own.suite in own.paraphrased.questions else ():
            student = results.student(who)
            found += self._answer_trials(student, results)
            found += self._verdict_trials(student, results)
            found += self._choice_trials(student, results)
        if own.suite in own.paraphrased.cleaned:
            found += self._cleaning_trials()
        if games is not None and own.games in own.paraphrased.games:
            found += self._games_trials(games)
        return found

    def _answer_trials(self, student: Student, results: Results) -> Iterator[sensitivity.Trial]:
        """Yield the trials of what the student is shown: the task, feedback, the retry prompt."""
        grid, own = self._own.grid, self._own.paraphrased
        kinds = [
            ("respond/task", "respond", load.BASELINE),
            *((f"feedback/{slug}", slug, slug) for slug in own.conditions),
            ("revise/retry", "retry", grid.base),
        ]
        for prompt, file, condition in kinds:
            arms = {sensitivity.OURS: student.retry(condition)}
            for wording in own.wordings:
                path = self._paraphrased(self._own.suite, f"{file}-{wording}")
                scores = self._reworded(path, results.items, condition)
                arms[wording] = arm(scores[scores["student"] == student.slug], student.index)
            values = sensitivity.of_answers(arms)
            yield sensitivity.Trial(student.slug, prompt, values, results.tasks)

    def _reworded(self, path: Path, items: pd.DataFrame, condition: str) -> pd.DataFrame:
        """Return the scores of all students under one wording; the file is read once."""
        if path not in self._read:
            told = None if condition == load.BASELINE else condition
            runs = product(self._own.grid.students, self._own.paraphrased.seeds)
            cells = [load.Cell(who, seed, told) for who, seed in runs]
            self._read[path] = load.read_scores(path, items, cells)
        return self._read[path]

    def _games_trials(self, games: Games) -> Iterator[sensitivity.Trial]:
        """Yield the trials of what a student is shown in games, over all of them together."""
        own, suite = self._own.paraphrased, str(self._own.games)
        kinds = [
            ("respond/game", "respond", load.BASELINE),
            ("revise/game", "retry", self._own.lessons[suite].condition),
        ]
        for who, (prompt, file, condition) in product(self._own.grid.students, kinds):
            first = games.of_student(who, condition)
            rows = {sensitivity.OURS: first[first["seed"].isin(own.seeds)]}
            for wording in own.wordings:
                path = self._paraphrased(suite, f"{file}-{wording}")
                scores = self._reworded(path, games.items, condition)
                rows[wording] = scores[scores["student"] == who]
            values, tasks = sensitivity.of_games(games, rows)
            if tasks:
                yield sensitivity.Trial(who, prompt, values, tasks)

    def _verdict_trials(self, student: Student, results: Results) -> Iterator[sensitivity.Trial]:
        """Yield the trials of what the teacher is asked of the student's answers."""
        own = self._own.paraphrased
        wrong = 1 - student.retry(load.BASELINE).solved
        for verdict in own.verdicts:
            rows = student.judgements[student.judgements["verdict"] == verdict]
            of = {sensitivity.OURS: rows}
            for wording in own.wordings:
                axes = {"verdict": verdict, "student": student.slug}
                records = self._trial_cells("judge", wording, Judgement, results.items, axes)
                of[wording] = load.judgements(records, self._own.verdicts)
            values = {
                name: sensitivity.of_verdicts(rows, wrong, list(student.index))
                for name, rows in of.items()
            }
            yield sensitivity.Trial(student.slug, f"judge/{verdict}", values, results.tasks)

    def _choice_trials(self, student: Student, results: Results) -> Iterator[sensitivity.Trial]:
        """Yield the trials of the choice among candidates."""
        own = self._own.paraphrased
        choosers = [slug for slug in self._own.selectors if slug != BY_LOGITS]
        for pool, slug in product(own.pools, choosers):
            condition = load.BASELINE if pool == POOLS[0] else self._own.grid.base
            pooled = student.samples[student.samples["condition"] == condition]
            ours = student.selected[student.selected["condition"] == condition]
            of = {sensitivity.OURS: ours[ours["selector"] == slug]}
            for wording in own.wordings:
                axes = {"pool": pool, "selector": slug, "student": student.slug}
                records = self._trial_cells("select", wording, Selection, results.items, axes)
                of[wording] = load.chosen(records, self._own.selectors[slug], pooled)
            values = {
                name: sensitivity.of_choices(rows, list(student.index)) for name, rows in of.items()
            }
            name = f"select/choice, {self._own.labels[slug]}"
            yield sensitivity.Trial(student.slug, name, values, results.tasks)

    def _cleaning_trials(self) -> Iterator[sensitivity.Trial]:
        """Yield the trials of cleaning, over the train items."""
        own, grid = self._own, self._own.grid
        items = read_jsonl(self._args.tasks / own.suite / "train.jsonl", Item, "id")
        ids = [item.id for item in items]
        seeds = own.paraphrased.seeds
        all_cells, cells = (
            [load.Cell(who, seed) for who, seed in product(grid.learners, of)]
            for of in (grid.seeds, seeds)
        )
        ours = self._args.scores / own.suite / "clean.jsonl"
        frames = {sensitivity.OURS: load.read_fidelity(ours, ids, all_cells)} | {
            wording: load.read_fidelity(
                self._paraphrased(own.suite, f"clean-{wording}"), ids, cells
            )
            for wording in own.paraphrased.wordings
        }
        for who in grid.learners:
            values = {
                name: sensitivity.of_cleaning(
                    frame[(frame["student"] == who) & frame["seed"].isin(seeds)], ids
                )
                for name, frame in frames.items()
            }
            yield sensitivity.Trial(who, "clean/clean", values, [item.task for item in items])

    def _paraphrased(self, suite: str, name: str) -> Path:
        folder: Path = self._args.scores / suite / "paraphrased"
        return folder / f"{name}.jsonl"

    def _trial_cells(
        self,
        step: str,
        wording: str,
        kind: type[R],
        items: pd.DataFrame,
        axes: Mapping[str, str],
    ) -> list[R]:
        """Read all seeds of a step under another wording, each checked as `_cells` does."""
        found: list[R] = []
        for seed in self._own.paraphrased.seeds:
            names: dict[str, object] = {**axes, "seed": seed}
            pool = f"{names.pop('pool')}/" if "pool" in names else ""
            cell = f"{wording}/{pool}" + "-".join(str(value) for value in names.values())
            where = {"step": f"paraphrased/{step}", "suite": self._own.suite, "cell": cell}
            path = self.path("trajectories", where)
            records = read_jsonl(path, kind, "item")
            if "pool" in axes:
                names["condition"] = None if axes["pool"] == POOLS[0] else self._own.grid.base
            _check_cell(path, records, items, names)
            found += records
        return found


def _check_cell(
    path: Path, records: Sequence[R], items: pd.DataFrame, names: Mapping[str, object]
) -> None:
    """Refuse records of another cell, or not over exactly the test items."""
    odd = sorted({record.item for record in records} ^ set(items.index))
    if odd:
        raise UserError(f"{path}: not the test items: {odd[0]} ({len(odd)} differ)")
    for axis, value in names.items():
        other = [own for record in records if (own := getattr(record, axis)) != value]
        if other:
            raise UserError(f"{path}: holds {axis} {other[0]}, not {value}")
