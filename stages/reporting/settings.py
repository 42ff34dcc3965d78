"""What params.yaml says of the report, read once and checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from stages.choices import Selector
from stages.conditions import Condition
from stages.errors import UserError
from stages.grid import Grid
from stages.models.prices import Price
from stages.params import Params
from stages.paraphrases import Paraphrased
from stages.reporting.cells import Declared
from stages.reporting.config import ReportSection
from stages.training.config import Lessons, Method, Methods
from stages.verdicts import Verdict

PARAMS = (
    *("scale", "teachers", "conditions", "verdicts", "selectors"),
    *("lessons", "methods", "following", "grid", "paraphrased", "report", "prices"),
)
BY_LOGITS = "student_logits"


@dataclass(frozen=True)
class Settings:
    """The params that the report reads.

    Attributes:
        path: where they stand, for messages.
        suite: the suite of questions that tables are about, the first of the grid.
        games: the suite of games and code, None where the scale has none.
        reader: who retries with the feedback of every teacher, for Table 8.
        labels: printed names, by slug.
    """

    path: Path
    scale: str
    teachers: dict[str, Any]
    conditions: dict[str, Condition]
    verdicts: dict[str, Verdict]
    selectors: dict[str, Selector]
    lessons: dict[str, Lessons]
    methods: dict[str, Method]
    following: dict[str, Method]
    grid: Grid
    paraphrased: Paraphrased
    report: ReportSection
    prices: dict[str, Price]
    suite: str
    games: str | None
    reader: str
    labels: dict[str, str]

    @property
    def sees_target(self) -> set[str]:
        """The conditions that put the ground truth before teacher or student."""
        return {slug for slug, own in self.conditions.items() if "target" in own.sees}

    @property
    def asked(self) -> tuple[str, ...]:
        """The conditions whose feedback somebody is asked for."""
        return (*self.grid.asked, *self.grid.compared, *self.grid.own)

    def declared(self) -> Declared:
        """Return the cells that these params declare."""
        return Declared(
            grid=self.grid,
            conditions=self.grid.conditions,
            verdicts=list(self.verdicts),
            selectors=list(self.selectors),
            teachers=list(self.teachers),
            methods=list(self.methods),
            following=list(self.following),
            lessons={suite: own.condition for suite, own in self.lessons.items()},
            paraphrased=self.paraphrased,
        )


def read_settings(path: Path) -> Settings:
    """Read and check them.

    Raises:
        UserError: a key is missing or wrong, or names what is not there.
    """
    params = Params(path, PARAMS)
    teachers = params.get("teachers", dict[str, Any])
    conditions = params.get("conditions", dict[str, Condition])
    verdicts = params.get("verdicts", dict[str, Verdict])
    selectors = params.get("selectors", dict[str, Selector])
    lessons = params.get("lessons", dict[str, Lessons])
    methods: dict[str, Method] = params.get("methods", TypeAdapter(Methods))
    following: dict[str, Method] = params.get("following", TypeAdapter(Methods))
    grid = params.get("grid", Grid)
    report = params.get("report", ReportSection)
    games = next(iter(grid.games), None)
    others = grid.other_teachers if games else ()
    reader = (grid.other_student if others else None) or grid.students[0]
    suite = grid.questions[0]
    for slug in (*grid.questions, *grid.games):
        if slug not in lessons:
            raise UserError(f"{path}: lessons.{slug}: not there")
    students = list(grid.students)
    for kind, slugs, known in (
        ("teachers", [grid.teacher, *others], list(teachers)),
        ("students", [reader], students),
        ("conditions", grid.conditions, list(conditions)),
        ("verdicts", [grid.verdict], list(verdicts)),
        ("selectors", [BY_LOGITS], list(selectors)),
        ("students", [slug.split("-")[0] for slug in grid.learners], students),
    ):
        unknown = [slug for slug in slugs if slug not in known]
        if unknown:
            raise UserError(f"{path}: grid: no {unknown[0]!r} under {kind}")
    named = (
        *(*students, *teachers, *grid.conditions, *verdicts, *selectors),
        *(*grid.learners, *methods, *following),
    )
    return Settings(
        path=path,
        scale=params.get("scale", str),
        teachers=teachers,
        conditions=conditions,
        verdicts=verdicts,
        selectors=selectors,
        lessons=lessons,
        methods=methods,
        following=following,
        grid=grid,
        paraphrased=params.get("paraphrased", Paraphrased),
        report=report,
        prices=params.get("prices", dict[str, Price]),
        suite=suite,
        games=games,
        reader=reader,
        labels={slug: report.label(slug) for slug in named},
    )
