"""The cells of the pipeline, as the report finds their files: declared by params, never globbed.

A test compares them with the outputs of dvc.yaml at every scale.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from stages.grid import POOLS, Grid
from stages.paraphrases import Paraphrased

ALONE, CONDITIONED = POOLS


@dataclass(frozen=True)
class Cell:
    """One cell of a step: its files are `<step>/<suite>/<name>`.

    Attributes:
        step: folder of its outputs.
        suite: what it is over.
        name: of its files, without ending; may have folders of its own.
        who: the model that answered or was trained, by slug.
        axes: what it was made under, as its name spells it.
    """

    step: str
    suite: str
    name: str
    who: str
    axes: Mapping[str, object]


@dataclass(frozen=True)
class Declared:
    """All cells that params declare.

    Attributes:
        grid: the axes.
        conditions: feedback conditions, in the order of params.
        verdicts: kinds of judging.
        selectors: of best-of-k.
        teachers: who answers by itself.
        methods: of training on feedback.
        following: of training to follow feedback.
        lessons: by suite, the condition of the feedback that is learnt from.
        paraphrased: prompts that are tried in other words.
    """

    grid: Grid
    conditions: Sequence[str]
    verdicts: Sequence[str]
    selectors: Sequence[str]
    teachers: Sequence[str]
    methods: Sequence[str]
    following: Sequence[str]
    lessons: Mapping[str, str]
    paraphrased: Paraphrased

    @property
    def suites(self) -> tuple[str, ...]:
        """Questions, then games."""
        return (*self.grid.questions, *self.grid.games)

    def trajectories(self, step: str) -> Iterator[Cell]:
        """Yield the cells of a step that writes trajectories.

        Those of `respond_train`, `revise_train`, `answer_train`, and of `revise_following` and
        `revise_teacher` on some of them, are on train items, all others on test items; of
        `paraphrased/...`, the axis `wording` names the words that were tried.

        Raises:
            KeyError: there is no such step.
        """
        grid = self.grid
        runs = list(product(grid.students, grid.seeds))
        if step == "respond":
            for suite, (who, seed) in product(self.suites, runs):
                yield Cell(step, suite, f"{who}-{seed}", who, {"student": who, "seed": seed})
        elif step == "answer":
            for suite, who in product(self.suites, self.teachers):
                yield Cell(step, suite, who, who, {"teacher": who})
        elif step == "revise":
            for suite in self.suites:
                yield from self._conditioned(step, suite, self._told(suite), by_teacher=False)
        elif step == "sample":
            for suite, pool, (who, seed), draw in product(grid.questions, POOLS, runs, grid.draws):
                axes = {"student": who, "seed": seed, "pool": pool, "draw": draw}
                yield Cell(step, suite, f"{pool}/{who}-{seed}/{draw}", who, axes)
        elif step in ("evaluate", "forget"):
            for suite in self.suites:
                yield from self._trained(step, suite, step == "evaluate")
        elif step == "revise_tuned":
            for suite in grid.questions:
                yield from self._tuned(step, suite)
        elif step == "revise/teachers":
            for suite in grid.questions:
                yield from self._other_teachers(step, suite, who=str(grid.other_student))
        elif step.startswith("paraphrased/"):
            yield from self._reworded(step)
        elif step == "answer_train":
            for suite in self.suites:
                yield Cell(step, suite, grid.teacher, grid.teacher, {"teacher": grid.teacher})
        elif step in ("respond_train", "revise_train"):
            for suite, who, seed in product(self.suites, grid.learners, grid.seeds):
                axes = {"learner": who, "seed": seed}
                if step == "revise_train":
                    axes["condition"] = self.lessons[suite]
                yield Cell(step, suite, f"{who}-{seed}", who, axes)
        elif step in ("revise_following", "revise_teacher"):
            for suite, who, seed in product(self.suites, grid.tuned, grid.seeds):
                by = who if step == "revise_following" else grid.teacher
                yield Cell(step, suite, f"{who}-{seed}", by, {"student": who, "seed": seed})
        else:
            raise KeyError(step)

    def _reworded(self, step: str) -> Iterator[Cell]:
        """Yield the cells of answers under prompts in other words, with their axis `wording`."""
        own = self.paraphrased
        runs = list(product(own.wordings, self.grid.students, own.seeds))
        if step == "paraphrased/revise":
            for suite, (wording, who, seed) in product(own.questions, runs):
                for condition in own.conditions:
                    axes: dict[str, object] = {"wording": wording, "condition": condition}
                    name = f"{wording}/{condition}-{who}-{seed}"
                    yield Cell(step, suite, name, who, {**axes, "student": who, "seed": seed})
            return
        if step not in ("paraphrased/respond", "paraphrased/retry"):
            raise KeyError(step)
        for suite, (wording, who, seed) in product((*own.questions, *own.games), runs):
            axes = {"wording": wording, "student": who, "seed": seed}
            if step == "paraphrased/retry":
                axes["condition"] = self.lessons[suite] if suite in own.games else self.grid.base
            yield Cell(step, suite, f"{wording}/{who}-{seed}", who, axes)

    def feedback(self, suite: str) -> Iterator[Cell]:
        """Yield the cells of feedback on first answers, whoever was asked, or nobody."""
        yield from self._conditioned("feedback", suite, self._told(suite), by_teacher=True)

    def facts(self) -> Iterator[Cell]:
        """Yield every cell that tells how its run went, grading left out."""
        grid = self.grid
        for step in ("respond", "answer", "revise", "revise/teachers", "evaluate", "forget"):
            yield from self.trajectories(step)
        yield from self.trajectories("revise_tuned")
        for cell in self.trajectories("sample"):
            pool, folder, draw = cell.name.split("/")
            yield Cell(cell.step, cell.suite, f"{pool}/{folder}-{draw}", cell.who, cell.axes)
        for suite in grid.questions:
            yield from self._judged("judge", suite, "", self.verdicts)
            asked = (*grid.asked, *grid.compared, *grid.own)
            yield from self._conditioned("feedback", suite, asked, by_teacher=True)
            yield from self._selected("select", suite, "", POOLS, self.selectors)
            for seed in grid.seeds if grid.other_teachers else ():
                for who in grid.other_teachers:
                    axes = {"teacher": who, "seed": seed}
                    yield Cell("feedback/teachers", suite, f"{who}-{seed}", who, axes)
            for cell in self._tuned("feedback_tuned", suite):
                yield Cell(cell.step, suite, cell.name, grid.teacher, cell.axes)
        for suite in grid.games:
            yield from self._judged("judge", suite, "", [grid.verdict])
            yield from self._conditioned("feedback", suite, self._told(suite), by_teacher=True)
        yield from self._of_training()
        yield from self._of_paraphrases()
        if grid.tuned:
            yield Cell("figure1", "answer", grid.teacher, grid.teacher, {"teacher": grid.teacher})
        for step, who in product(("respond", "feedback", "revise"), grid.tuned):
            by = grid.teacher if step == "feedback" else who
            yield Cell("figure1", step, who, by, {"student": who})

    def _told(self, suite: str) -> Sequence[str]:
        """Return the conditions of the retries on a suite."""
        if suite in self.grid.questions:
            return self.conditions
        return [self.lessons[suite]]

    def _conditioned(
        self, step: str, suite: str, conditions: Iterable[str], by_teacher: bool
    ) -> Iterator[Cell]:
        grid = self.grid
        for condition, who, seed in product(conditions, grid.students, grid.seeds):
            by = grid.teacher if by_teacher and condition not in grid.own else who
            axes = {"condition": condition, "student": who, "seed": seed}
            yield Cell(step, suite, f"{condition}-{who}-{seed}", by, axes)

    def _trained(self, step: str, suite: str, with_following: bool) -> Iterator[Cell]:
        grid = self.grid
        for who, method, seed in product(grid.learners, self.methods, grid.seeds):
            axes = {"learner": who, "method": method, "seed": seed}
            yield Cell(step, suite, f"{who}-{method}-{seed}", who, axes)
        if with_following and suite in grid.questions:
            yield from self._tuned(step, suite)

    def _tuned(self, step: str, suite: str) -> Iterator[Cell]:
        grid = self.grid
        for who, method, seed in product(grid.tuned, self.following, grid.seeds):
            axes = {"learner": who, "method": method, "seed": seed}
            yield Cell(step, suite, f"{who}-{method}-{seed}", who, axes)

    def _other_teachers(self, step: str, suite: str, who: str) -> Iterator[Cell]:
        for teacher, seed in product(self.grid.other_teachers, self.grid.seeds):
            axes = {"teacher": teacher, "student": who, "seed": seed}
            yield Cell(step, suite, f"{teacher}-{seed}", who, axes)

    def _judged(
        self, step: str, suite: str, folder: str, verdicts: Iterable[str]
    ) -> Iterator[Cell]:
        grid = self.grid
        for verdict, who, seed in product(verdicts, grid.students, grid.seeds):
            axes = {"verdict": verdict, "student": who, "seed": seed}
            yield Cell(step, suite, f"{folder}{verdict}-{who}-{seed}", grid.teacher, axes)

    def _selected(
        self, step: str, suite: str, folder: str, pools: Iterable[str], selectors: Iterable[str]
    ) -> Iterator[Cell]:
        grid = self.grid
        for pool, selector, who, seed in product(pools, selectors, grid.students, grid.seeds):
            by = grid.teacher if selector.startswith("teacher") else who
            axes = {"pool": pool, "selector": selector, "student": who, "seed": seed}
            yield Cell(step, suite, f"{folder}{pool}/{selector}-{who}-{seed}", by, axes)

    def _of_training(self) -> Iterator[Cell]:
        grid = self.grid
        for suite in self.suites:
            axes: dict[str, object] = {"teacher": grid.teacher}
            yield Cell("answer_train", suite, grid.teacher, grid.teacher, axes)
            for step, own in (
                *(("respond_train", True), ("judge_train", False), ("feedback_train", False)),
                *(("revise_train", True), ("clean", False)),
            ):
                for who, seed in product(grid.learners, grid.seeds):
                    axes = {"learner": who, "seed": seed}
                    by = who if own else grid.teacher
                    yield Cell(step, suite, f"{who}-{seed}", by, axes)
            for step, own in (
                *(("feedback_following", False), ("revise_following", True)),
                ("revise_teacher", False),
            ):
                for who, seed in product(grid.tuned, grid.seeds):
                    axes = {"learner": who, "seed": seed}
                    by = who if own else grid.teacher
                    yield Cell(step, suite, f"{who}-{seed}", by, axes)
            yield from self._trained("train", suite, with_following=True)

    def _of_paraphrases(self) -> Iterator[Cell]:
        own = self.paraphrased
        grid = self.grid.model_copy(update={"seeds": own.seeds})
        for step in ("respond", "retry", "revise"):
            yield from self._reworded(f"paraphrased/{step}")
        of_seeds = replace(self, grid=grid)
        asked = (*own.asked, *own.compared, *own.own)
        choosers = [slug for slug in self.selectors if slug != "student_logits"]
        for suite, wording in product(own.questions, own.wordings):
            for cell in of_seeds._conditioned("paraphrased/feedback", suite, asked, True):
                axes = {"wording": wording, **cell.axes}
                yield Cell(cell.step, suite, f"{wording}/{cell.name}", cell.who, axes)
            yield from of_seeds._judged("paraphrased/judge", suite, f"{wording}/", own.verdicts)
            yield from of_seeds._selected(
                "paraphrased/select", suite, f"{wording}/", own.pools, choosers
            )
        for suite, wording in product(own.cleaned, own.wordings):
            for who, seed in product(grid.learners, grid.seeds):
                axes = {"wording": wording, "learner": who, "seed": seed}
                yield Cell(
                    "paraphrased/clean", suite, f"{wording}/{who}-{seed}", grid.teacher, axes
                )
