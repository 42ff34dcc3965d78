"""Which trajectories the explorer shows: the cells that the grid declares, as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.grid import POOLS, cell_path, root
from stages.reporting import cells
from stages.reporting.cells import Declared

# The teacher has no seed axis: it answers once.
TEACHER_SEED = 0
# By step on test items, an original before what is compared with it: the name of a cell in the
# manner of `stages.compare`, with the seed, and where the scores are, below the suite.
_ON_TEST = {
    "respond": ("respond/{student}/{seed}", "respond.jsonl"),
    "answer": ("answer/{teacher}", "answer.jsonl"),
    "revise": ("revise/{condition}/{student}/{seed}", "revise.jsonl"),
    "sample": ("sample/{pool}/{student}/{draw}/{seed}", "sample.jsonl"),
    "revise/teachers": ("teachers/{teacher}/{student}/{seed}", "teachers/{teacher}.jsonl"),
    "evaluate": ("evaluate/{method}/{learner}/{seed}", "evaluate.jsonl"),
    "revise_tuned": ("revise_tuned/{method}/{learner}/{seed}", "revise_tuned.jsonl"),
    "forget": ("forget/{method}/{learner}/{seed}", "forget.jsonl"),
    "paraphrased/respond": (
        "paraphrased/respond/{wording}/{student}/{seed}",
        "paraphrased/respond-{wording}.jsonl",
    ),
    "paraphrased/revise": (
        "paraphrased/revise/{wording}/{condition}/{student}/{seed}",
        "paraphrased/{condition}-{wording}.jsonl",
    ),
    "paraphrased/retry": (
        "paraphrased/retry/{wording}/{student}/{seed}",
        "paraphrased/retry-{wording}.jsonl",
    ),
}
# The same on train items.
_ON_TRAIN = {
    "respond_train": ("respond_train/{learner}/{seed}", "lessons.jsonl"),
    "revise_train": ("revise_train/{learner}/{seed}", "lessons.jsonl"),
    "answer_train": ("answer_train/{teacher}", "lessons.jsonl"),
    "revise_following": ("revise_following/{student}/{seed}", "following/{student}.jsonl"),
    "revise_teacher": ("revise_teacher/{student}/{seed}", "following/{student}.jsonl"),
}
# Those that are always on some of the train items alone.
_ON_SOME = ("revise_following", "revise_teacher")
_NAMES = _ON_TEST | _ON_TRAIN
# What scores call a step, where that is not its folder.
_SCORED = {
    "revise/teachers": "teachers",
    "paraphrased/respond": "respond",
    "paraphrased/revise": "revise",
    "paraphrased/retry": "revise",
}
# The steps whose cells each have a file of feedback of their own, and where it is.
_FEEDBACK = {
    "revise_tuned": "feedback_tuned",
    "revise/teachers": "feedback/teachers",
    "paraphrased/revise": "paraphrased/feedback",
    "revise_train": "feedback_train",
    **dict.fromkeys(_ON_SOME, "feedback_following"),
}
# Retries whose condition is that of `grid.base`.
_ON_BASE = ("revise_tuned", "revise/teachers", *_ON_SOME)


@dataclass(frozen=True)
class Cell:
    """One cell: a file with a trajectory for each item of a suite, in the order of the items.

    Or for some of them, where it says so.

    Attributes:
        name: in the manner of `stages.compare`, with the seed: unique within the suite.
        step: that made it.
        scored: what every score calls the step.
        trajectories, feedback, scores: files; `feedback` where the cell was conditioned on some.
        model, seed, condition, draw, method: what every trajectory says.
        teacher: what every score says: whose feedback, where it is not that of `grid.teacher`.
        student: whom the feedback is for, where that is not `model`.
        some: whether it is on some of the items alone.
        wording: the name of the other words that a prompt was tried in, None for ours.
        original: the cell with the answers that these are compared with, by name.
    """

    name: str
    step: str
    scored: str
    trajectories: Path
    scores: Path
    model: str
    seed: int
    feedback: Path | None = None
    condition: str | None = None
    draw: int | None = None
    method: str | None = None
    teacher: str | None = None
    student: str | None = None
    some: bool = False
    wording: str | None = None
    original: str | None = None


@dataclass(frozen=True)
class Suite:
    """All that is shown of one suite, on its test items or on its train items.

    Attributes:
        name: its slug.
        items: the items (JSONL).
        cells: the declared cells, an original before what is compared with it.
        selections: scores of the step `select`, where candidates were chosen from.
        audited: the conditions whose retries are sampled for the audit.
    """

    name: str
    items: Path
    cells: Sequence[Cell]
    selections: Path | None = None
    audited: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class _Files:
    """Where files are: the pattern over step, suite and cell, and the scores of all steps."""

    pattern: str
    scores: Path
    declared: Declared

    def cell(self, of: cells.Cell) -> Cell:
        """Return a declared cell with its files and what it is compared with."""
        name, scores = _NAMES[of.step]
        axes = of.axes
        condition = axes.get("condition")
        drawn = of.step == "sample"
        if of.step in _ON_BASE or axes.get("pool") == POOLS[1]:
            condition = self.declared.grid.base
        return Cell(
            name=name.format(**axes),
            step=of.step if of.step != "revise/teachers" else "teachers",
            scored=_SCORED.get(of.step, of.step),
            trajectories=self._file(of.step, of.suite, of.name),
            scores=self.scores / of.suite / scores.format(**axes),
            feedback=self._feedback(of, condition),
            model=of.who,
            seed=_whole(axes.get("seed", TEACHER_SEED)),
            condition=None if condition is None else str(condition),
            draw=_whole(axes["draw"]) if drawn else None,
            method=str(axes["method"]) if "method" in axes else None,
            teacher=str(axes["teacher"]) if of.step == "revise/teachers" else None,
            student=str(axes["student"]) if of.step in _ON_SOME else None,
            some=of.step in _ON_SOME or self._few(of),
            wording=str(axes["wording"]) if "wording" in axes else None,
            original=self._original(of),
        )

    def _few(self, of: cells.Cell) -> bool:
        """Tell whether a prompt in other words was tried on the first items of each task alone."""
        own = self.declared.paraphrased
        return "wording" in of.axes and of.suite in own.questions and own.per_task != "all"

    def _file(self, step: str, suite: str, cell: str) -> Path:
        axes = {"step": step, "suite": suite, "cell": cell}
        return cell_path("--trajectories", self.pattern, axes)

    def _feedback(self, of: cells.Cell, condition: object) -> Path | None:
        """Return the file with what a cell was conditioned on."""
        if condition is None:
            return None
        if of.step in _FEEDBACK:
            return self._file(_FEEDBACK[of.step], of.suite, of.name)
        cell = f"{condition}-{of.axes['student']}-{of.axes['seed']}"
        return self._file("feedback", of.suite, cell)

    def _original(self, of: cells.Cell) -> str | None:
        """Return the name of the cell with the answers that these are compared with."""
        if of.step in ("respond", "answer", "respond_train", "answer_train"):
            return None
        seed = of.axes["seed"]
        for step, revised in (("revise_tuned", "evaluate"), ("revise_train", "respond_train")):
            if of.step == step:
                name, _ = _NAMES[revised]
                return name.format(**of.axes)
        if of.step in _ON_SOME:
            name, _ = _NAMES["respond_train"]
            return name.format(learner=of.axes["student"], seed=seed)
        student = root(str(of.axes.get("student") or of.axes["learner"]))
        return f"respond/{student}/{seed}" if student in self.declared.grid.students else None


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def suites_of(declared: Declared, pattern: str, tasks: Path, scores: Path) -> list[Suite]:
    """Return every declared cell of trajectories, by suite: on test items, then on train items.

    A trained student is compared with the first answers of the student that it was trained from,
    a retry with the answer that was revised, an answer to the task in other words with the one to
    the task in ours.

    Args:
        declared: what params declare.
        pattern: of the files of trajectories and feedback, over step, suite and cell.
        tasks: the folder with <suite>/{train,test}.jsonl.
        scores: the folder with <suite>/<step>.jsonl.

    Raises:
        UserError: the pattern has another axis.
    """
    grid, files = declared.grid, _Files(pattern, scores, declared)
    shown = []
    for split, steps in (("test", _ON_TEST), ("train", _ON_TRAIN)):
        found: Mapping[str, list[Cell]] = {suite: [] for suite in declared.suites}
        for step in steps:
            for of in declared.trajectories(step):
                if step != "forget" or grid.games:
                    found[of.suite].append(files.cell(of))
        for suite, own in found.items():
            chosen = split == "test" and suite not in grid.games
            shown.append(
                Suite(
                    name=suite,
                    items=tasks / suite / f"{split}.jsonl",
                    cells=own,
                    selections=scores / suite / "select.jsonl" if chosen else None,
                    audited=frozenset(grid.papers if chosen else ()),
                )
            )
    return shown
