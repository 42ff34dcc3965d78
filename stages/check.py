r"""Check params.yaml as a whole, before anything runs.

    python -m stages.check --params params.yaml --prompts prompts

Every stage checks the part that it reads; this checks all of it: unknown keys, wrong values, and
names that do not fit together. What is not pinned yet is warned about.
"""

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from stages.choices import MOST_CANDIDATES, Selector
from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.cost import Lengths
from stages.errors import UserError
from stages.grid import POOLS, Folder, Grid, Slug
from stages.model_specs import FileSpec, HubSource, LocalSpec, ModelSpec, ServedSpec
from stages.models.prices import Price
from stages.params import Section, check, read_yaml
from stages.paraphrases import Paraphrased
from stages.reporting.config import ReportSection
from stages.roles import Role
from stages.tasks.config import EnvironmentsSource, Suite
from stages.tasks.environments.registry import with_options
from stages.training.config import Lessons, Methods, Trainers
from stages.verdicts import Verdict

BY_LOGITS = "student_logits"
SELECTORS = (BY_LOGITS, "student_choice", "teacher_choice")


class Whole(Section):
    """All of params.yaml."""

    scale: Slug
    jobs: int = Field(ge=1)
    models: dict[Slug, Annotated[ModelSpec, Field(discriminator="engine")]]
    students: dict[Folder, Role] = Field(min_length=1)
    teachers: dict[Slug, Role] = Field(min_length=1)
    suites: dict[Slug, Suite] = Field(min_length=1)
    conditions: dict[Slug, Condition] = Field(min_length=1)
    verdicts: dict[Slug, Verdict] = Field(min_length=1)
    selectors: dict[Slug, Selector]
    lessons: dict[Slug, Lessons]
    methods: Methods
    following: Methods
    trainers: Trainers
    grid: Grid
    paraphrased: Paraphrased
    report: ReportSection
    lengths: Lengths
    prices: dict[Slug, Price]


def parser() -> argparse.ArgumentParser:
    """Return the command line of this check."""
    parser = make_parser("stages.check", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--prompts", type=Path, required=True, help="folder of the prompts")
    return parser


def check_whole(path: Path, prompts: Path) -> Whole:
    """Return the checked params. Raises UserError naming file, key and what is wrong."""
    values = read_yaml(path)
    whole = check(path, "", values, Whole)
    for slug, price in values["prices"].items():
        if isinstance(price["as_of"], date):
            # Without quotation marks YAML makes a date of it, which DVC cannot take.
            raise UserError(f"{path}: prices.{slug}.as_of: put the date in quotation marks")
    for role in ("students", "teachers", "prices"):
        for slug in getattr(whole, role):
            if slug not in whole.models and not _is_trained(whole, slug):
                raise UserError(f"{path}: {role}.{slug}: no such key under models")
    if whole.grid.teacher not in whole.teachers:
        raise UserError(f"{path}: grid.teacher: {whole.grid.teacher} is not under teachers")
    _check_suites(path, whole)
    _check_conditions(path, whole)
    _check_training(path, whole)
    _check_best_of_k(path, whole)
    if whole.grid.verdict not in whole.verdicts:
        raise UserError(f"{path}: grid.verdict: {whole.grid.verdict} is not under verdicts")
    for folder, key, slugs in (
        ("feedback", "conditions", whole.conditions),
        ("judge", "verdicts", whole.verdicts),
    ):
        for slug in sorted(slugs):
            template = prompts / folder / f"{slug}.jinja"
            if not template.is_file():
                raise UserError(f"{path}: {key}.{slug}: no prompt {template}")
    _check_paraphrased(path, prompts, whole)
    for slug in whole.report.paper_students:
        if slug not in whole.students:
            raise UserError(f"{path}: report.paper_students.{slug}: no such key under students")
    return whole


def _check_suites(path: Path, whole: Whole) -> None:
    """Check that each suite stands where its kind belongs, and that its environments are known."""
    grid = whole.grid
    for slug in (*grid.questions, *grid.games):
        if slug not in whole.suites:
            raise UserError(f"{path}: grid: {slug} is not under suites")
    for slug, suite in whole.suites.items():
        place = "questions" if not isinstance(suite.source, EnvironmentsSource) else "games"
        if slug not in getattr(grid, place):
            raise UserError(f"{path}: suites.{slug}: not in grid.{place}, where its kind belongs")
        if slug in grid.questions and slug in grid.games:
            raise UserError(f"{path}: grid: {slug} is in questions and in games")
        if isinstance(suite.source, EnvironmentsSource):
            for name, entry in suite.source.environments.items():
                key = f"suites.{slug}.source.environments.{name}.options"
                with_options(path, key, name, entry.options)
    for slug in grid.other_teachers:
        if slug not in whole.teachers or slug == grid.teacher:
            raise UserError(f"{path}: grid.other_teachers: {slug} is no other one of teachers")
    if grid.other_teachers and grid.other_student not in grid.students:
        raise UserError(f"{path}: grid.other_student: must be in grid.students")


def _check_conditions(path: Path, whole: Whole) -> None:
    """Check that each condition stands where what it sees is at hand."""
    grid = whole.grid
    declared, placed = set(whole.conditions), set(grid.conditions)
    for slug in sorted(placed - declared):
        raise UserError(f"{path}: grid: unknown condition {slug}")
    for slug in sorted(declared - placed):
        raise UserError(
            f"{path}: conditions.{slug}: not in grid.asked, compared, told, borrowed or own"
        )
    for slug in grid.controls:
        if slug not in placed:
            raise UserError(f"{path}: grid.controls: unknown condition {slug}")
    for what, places in (("teacher_answer", "compared"), ("other_feedback", "borrowed")):
        for slug, condition in whole.conditions.items():
            if (what in condition.sees) != (slug in getattr(grid, places)):
                raise UserError(
                    f"{path}: conditions.{slug}: what sees {what} stands in grid.{places}, and"
                    " nothing else does"
                )
    if grid.base not in (*grid.asked, *grid.compared):
        raise UserError(f"{path}: grid.base: {grid.base} is not in grid.asked or compared")


def _check_paraphrased(path: Path, prompts: Path, whole: Whole) -> None:
    """Check that what is tried in other words is in the grid, and that its prompts are there."""
    own, grid = whole.paraphrased, whole.grid
    for name, known in (
        ("seeds", grid.seeds),
        ("questions", grid.questions),
        ("games", grid.games),
        ("asked", grid.asked),
        ("compared", grid.compared),
        ("told", grid.told),
        ("own", grid.own),
        ("verdicts", tuple(whole.verdicts)),
        ("pools", POOLS),
        ("cleaned", grid.questions),
    ):
        for slug in getattr(own, name):
            if slug not in known:
                raise UserError(
                    f"{path}: paraphrased.{name}: {slug} is none of {', '.join(map(str, known))}"
                )
    kinds = (*own.asked, *own.compared, *own.told, *own.own)
    if odd := sorted(set(own.conditions) ^ set(kinds)):
        raise UserError(
            f"{path}: paraphrased.conditions: {odd[0]}: they are those of paraphrased.asked,"
            " compared, told and own together"
        )
    for wording in own.wordings:
        for name in own.templates:
            template = prompts / "paraphrases" / wording / f"{name}.jinja"
            if not template.is_file():
                raise UserError(f"{path}: paraphrased.wordings: {wording}: no prompt {template}")


def _is_trained(whole: Whole, slug: str) -> bool:
    """Tell whether training makes this model folder, `<learner>-<suite>-<method>-<seed>`."""
    learner, *trained = slug.rsplit("-", 3)
    if len(trained) != 3:
        return False
    suite, method, seed = trained
    return (
        learner in whole.grid.learners
        and suite in whole.lessons
        and method in whole.methods
        and int(seed) in whole.grid.seeds
    )


def _check_training(path: Path, whole: Whole) -> None:
    """Check that who is trained can be, on what is there, by methods that are said how to."""
    grid = whole.grid
    for axis in ("students", "learners"):
        for slug in getattr(grid, axis):
            if slug not in whole.students:
                raise UserError(f"{path}: grid.{axis}: {slug} is not under students")
    for slug in grid.students:
        if slug not in whole.models:
            raise UserError(f"{path}: grid.students: {slug} is not under models")
    for slug in grid.tuned:
        if slug not in grid.students or slug not in grid.learners:
            raise UserError(f"{path}: grid.tuned: {slug} is not in grid.students and learners")
    for slug in grid.learners:
        spec = whole.models.get(slug)
        if spec is not None and not isinstance(spec, LocalSpec):
            raise UserError(f"{path}: grid.learners: the weights of {slug} are not here to train")
    if set(whole.lessons) != set(whole.suites):
        raise UserError(f"{path}: lessons: must be of the suites, {', '.join(whole.suites)}")
    for suite, lessons in whole.lessons.items():
        if lessons.condition not in (*grid.asked, *grid.compared, *grid.told):
            raise UserError(
                f"{path}: lessons.{suite}.condition: {lessons.condition} is not in grid.asked,"
                " compared or told"
            )
    both = set(whole.methods) & set(whole.following)
    if both:
        raise UserError(f"{path}: following.{min(both)}: stands under methods too")
    for kind, every in (("", whole.methods), ("following_", whole.following)):
        for objective in ("sft", "dpo"):
            axis = f"{kind}{objective}"
            meant = [slug for slug, method in every.items() if method.objective == objective]
            if sorted(getattr(grid, axis)) != sorted(meant):
                raise UserError(
                    f"{path}: grid.{axis}: must name the methods with objective {objective},"
                    f" {', '.join(meant) or 'none'}"
                )
    for slug, method in whole.following.items():
        if method.target != "teacher":
            raise UserError(f"{path}: following.{slug}.target: must be teacher")


def _check_best_of_k(path: Path, whole: Whole) -> None:
    """Check that there are the three selectors, and candidates that can differ and be scored."""
    if set(whole.selectors) != set(SELECTORS):
        raise UserError(f"{path}: selectors: must be {', '.join(SELECTORS)}")
    for slug, selector in whole.selectors.items():
        if (selector.reduce is not None) != (slug == BY_LOGITS):
            raise UserError(f"{path}: selectors.{slug}.reduce: belongs to {BY_LOGITS} alone")
    if len(whole.grid.draws) > MOST_CANDIDATES:
        raise UserError(f"{path}: grid.draws: at most {MOST_CANDIDATES} candidates")
    for slug in whole.grid.students:
        student = whole.students[slug]
        if student.sampling.temperature == 0 and len(whole.grid.draws) > 1:
            raise UserError(
                f"{path}: students.{slug}.sampling.temperature: 0 makes all of grid.draws alike"
            )
        spec = whole.models[slug]
        served = isinstance(spec, ServedSpec) and spec.end_token is None
        if served or isinstance(spec, FileSpec):
            raise UserError(
                f"{path}: models.{slug}: cannot score given text, which {BY_LOGITS} needs"
                + (": set its end_token (vllm)" if served else "")
            )


def warnings(whole: Whole) -> list[str]:
    """Return a line for each thing that is not pinned or known."""
    lines = [
        f"models.{slug}.source.revision is null: the newest is taken and recorded"
        for slug, spec in whole.models.items()
        if isinstance(spec, LocalSpec)
        and isinstance(spec.source, HubSource)
        and spec.source.revision is None
    ]
    for slug, price in whole.prices.items():
        unknown = [key for key, value in price.model_dump().items() if value is None]
        if unknown:
            lines.append(f"prices.{slug}: {', '.join(unknown)} not known")
    return lines


def main(args: argparse.Namespace) -> None:
    """Check, warn, and say nothing else."""
    for line in warnings(check_whole(args.params, args.prompts)):
        print(f"warning: {args.params}: {line}", file=sys.stderr)


if __name__ == "__main__":
    run(main, parser())
