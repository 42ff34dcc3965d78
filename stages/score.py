r"""Score: how every trajectory of one step did; a pure function of (item, trajectory).

    python -m stages.score --params params.yaml --step revise --items data/tasks/bbh/test.jsonl \
        --rules stages/tasks/extraction.yaml \
        --trajectories 'data/revise/bbh/{condition}-{student}-{seed}.jsonl' \
        --out data/score/bbh/revise.jsonl

`--rules` is a file of extraction rules, or for games and code the folder of the environments; then
programs are run in a sandbox, and where none can be had they are `not_run`; `--facts` is where it
says which sandbox that was. `--trajectories` is a pattern over the axes of the step; the cells are
those that params.yaml declares (`--condition`: of that condition only; `--untuned`: without
feedback-following finetuning), and a missing one is an error. A changed extraction rule is scored
anew without generating anything. For the step `select`, `--selections` is a pattern as well, and
what is scored is the candidate that each selection comes to. `forget` is `evaluate` on a suite
that the student was not trained on; `teachers` are retries with the feedback of other teachers
(Table 8). `lessons` are the steps on train items (`respond_train`, `revise_train`, `answer_train`),
`following` those that feedback-following finetuning learns from (`revise_following`,
`revise_teacher`), on some of the train items and of one student (`--student`): the pattern is over
`step` and `cell`, and each score says its own step.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from stages.choices import Selector, chosen
from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.errors import UserError
from stages.few import add_per_task, first_of_tasks
from stages.files import write_json
from stages.grading import open_grader
from stages.grid import POOLS, cell_path
from stages.params import Params
from stages.records import Choice, Item, Score, Selection, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.tasks.grade import Grade

PARAMS_RESPOND = ("grid.students", "grid.seeds")
PARAMS_ANSWER = ("teachers",)
PARAMS_REVISE = ("grid.students", "conditions", "grid.seeds")
PARAMS_SAMPLE = ("grid.students", "grid.seeds", "grid.draws")
PARAMS_SELECT = ("grid.students", "selectors", "grid.seeds", "grid.draws")
PARAMS_EVALUATE = ("grid.learners", "grid.tuned", "methods", "following", "grid.seeds")
PARAMS_REVISE_TUNED = ("grid.tuned", "following", "grid.seeds")
PARAMS_TEACHERS = ("grid.seeds",)
PARAMS_FORGET = ("grid.learners", "methods", "grid.seeds")
PARAMS_LESSONS = ("grid.teacher", "grid.learners", "grid.seeds")
PARAMS_FOLLOWING = ("grid.seeds",)
# Of environments: one condition, and no students tuned on following feedback.
PARAMS_RESPOND_GAMES = PARAMS_RESPOND
PARAMS_ANSWER_GAMES = PARAMS_ANSWER
PARAMS_REVISE_GAMES = ("grid.students", "grid.seeds")
PARAMS_EVALUATE_GAMES = PARAMS_FORGET
PARAMS_FORGET_GAMES = PARAMS_FORGET
PARAMS_LESSONS_GAMES = PARAMS_LESSONS
PARAMS_FOLLOWING_GAMES = PARAMS_FOLLOWING
# Under a prompt in other words: one condition.
PARAMS_RESPOND_PARAPHRASED = ("grid.students", "paraphrased.seeds")
PARAMS_RESPOND_GAMES_PARAPHRASED = PARAMS_RESPOND_PARAPHRASED
PARAMS_REVISE_PARAPHRASED = PARAMS_RESPOND_PARAPHRASED
PARAMS_REVISE_RETRY_PARAPHRASED = PARAMS_RESPOND_PARAPHRASED
PARAMS_REVISE_RETRY_GAMES_PARAPHRASED = PARAMS_RESPOND_PARAPHRASED
Keys = dict[str, Any]
_DECLARED = {
    "respond": PARAMS_RESPOND,
    "answer": PARAMS_ANSWER,
    "revise": PARAMS_REVISE,
    "sample": PARAMS_SAMPLE,
    "select": PARAMS_SELECT,
    "evaluate": PARAMS_EVALUATE,
    "revise_tuned": PARAMS_REVISE_TUNED,
    "teachers": PARAMS_TEACHERS,
    "forget": PARAMS_FORGET,
    "lessons": PARAMS_LESSONS,
    "following": PARAMS_FOLLOWING,
}


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.score", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument(
        "--seeds",
        default="grid.seeds",
        choices=("grid.seeds", "paraphrased.seeds"),
        help="the key of params that lists them",
    )
    parser.add_argument("--step", required=True, choices=list(_DECLARED))
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument(
        "--rules", type=Path, required=True, help="extraction rules (YAML), or environments"
    )
    parser.add_argument("--trajectories", required=True, help="file pattern over the step's axes")
    parser.add_argument("--selections", help="file pattern, for the step select")
    parser.add_argument("--teacher", help="for the step teachers: who gave the feedback")
    parser.add_argument("--student", help="for the step following: who is tuned")
    parser.add_argument("--condition", help="for the step revise: only this one")
    add_per_task(parser)
    parser.add_argument(
        "--untuned", action="store_true", help="for the step evaluate: methods of `methods` only"
    )
    parser.add_argument("--out", type=Path, required=True, help="Scores to write (JSONL)")
    parser.add_argument("--facts", type=Path, help="run facts to write (JSON)")
    return parser


def _cells(args: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield the declared cells of the step, in the order of params.yaml."""
    declared = _DECLARED[args.step]
    if args.step == "revise" and args.condition is not None:
        declared = PARAMS_REVISE_GAMES
    if args.step == "evaluate" and args.untuned:
        declared = PARAMS_EVALUATE_GAMES
    # The seeds of another section, where they are a part of the grid's.
    declared = tuple(args.seeds if key == "grid.seeds" else key for key in declared)
    params = Params(args.params, declared)
    if args.step == "lessons":
        yield from _lessons(params)
        return
    if args.step == "following":
        steps, seeds = ("revise_following", "revise_teacher"), params.get("grid.seeds", list[int])
        for step, seed in product(steps, seeds):
            yield {"step": step, "cell": f"{args.student}-{seed}"}
        return
    if args.step in ("evaluate", "revise_tuned", "forget"):
        yield from _trained(args, params)
        return
    axes: dict[str, Iterable[object]] = {}
    if args.step == "answer":
        axes["teacher"] = params.get("teachers", dict[str, Role])
    if args.step == "teachers":
        axes["teacher"] = [args.teacher]
    if args.step == "revise":
        axes["condition"] = [args.condition]
        if args.condition is None:
            axes["condition"] = params.get("conditions", dict[str, Condition])
    if args.step in ("sample", "select"):
        axes["pool"] = POOLS
    if args.step == "select":
        axes["selector"] = params.get("selectors", dict[str, Selector])
    if args.step not in ("answer", "teachers"):
        axes["student"] = params.get("grid.students", list[str])
    if args.step != "answer":
        axes["seed"] = params.get(args.seeds, list[int])
    if args.step == "sample":
        axes["draw"] = params.get("grid.draws", list[int])
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _trained(args: argparse.Namespace, params: Params) -> Iterator[dict[str, object]]:
    """Yield the cells of trained students: who learns from feedback, and who to follow it."""
    runs: list[tuple[str, str]] = []
    if args.step != "revise_tuned":
        learners = params.get("grid.learners", list[str])
        runs += product(learners, params.get("methods", Keys))
    if args.step != "forget" and not args.untuned:
        runs += product(params.get("grid.tuned", list[str]), params.get("following", Keys))
    for (learner, method), seed in product(runs, params.get(args.seeds, list[int])):
        yield {"learner": learner, "method": method, "seed": seed}


def _lessons(params: Params) -> Iterator[dict[str, object]]:
    """Yield the cells on train items: first answers, the retries on them, the teacher's answers."""
    learners = params.get("grid.learners", list[str])
    names = [f"{who}-{seed}" for who in learners for seed in params.get("grid.seeds", list[int])]
    for step, name in product(("respond_train", "revise_train"), names):
        yield {"step": step, "cell": name}
    yield {"step": "answer_train", "cell": params.get("grid.teacher", str)}


def _read(
    args: argparse.Namespace, cell: dict[str, object], items: Mapping[str, Item]
) -> dict[str, Trajectory]:
    """Return the trajectories of a cell by item.

    Raises:
        UserError: they are not the items.
    """
    path = cell_path("--trajectories", args.trajectories, cell)
    taus = {tau.item: tau for tau in read_jsonl(path, Trajectory, "item")}
    _check_items(path, taus, args.items, items)
    return taus


def _check_items(
    path: Path, found: Mapping[str, object], source: Path, items: Mapping[str, Item]
) -> None:
    odd = sorted(found.keys() ^ items.keys())
    if odd:
        raise UserError(f"{path}: not the items of {source}: {odd[0]} ({len(odd)} differ)")


def _selected(
    args: argparse.Namespace, cell: dict[str, object], items: Mapping[str, Item]
) -> Iterator["_Scored"]:
    """Yield the selected candidate of each item."""
    params = Params(args.params, PARAMS_SELECT)
    selector = params.get("selectors", dict[str, Selector])[str(cell["selector"])]
    draws = params.get("grid.draws", list[int])
    pool = {draw: _read(args, {**cell, "draw": draw}, items) for draw in draws}
    path = cell_path("--selections", args.selections, cell)
    selections = {record.item: record for record in read_jsonl(path, Selection, "item")}
    _check_items(path, selections, args.items, items)
    for item in items.values():
        selection = selections[item.id]
        if unknown := set(selection.draws) - pool.keys():
            raise UserError(f"{path}: {item.id}: draw {min(unknown)} is not in grid.draws")
        draw, choice = chosen(selector, selection)
        tau = pool[draws[0] if draw is None else draw][item.id]
        yield _Scored(item, tau, selector=str(cell["selector"]), choice=choice)


class _Scored(NamedTuple):
    """A trajectory to score, and what its cell says beyond it."""

    item: Item
    tau: Trajectory
    selector: str | None = None
    choice: Choice | None = None
    teacher: str | None = None
    step: str | None = None


def _row(step: str, scored: _Scored, grade: Grade) -> Score:
    """Return how a trajectory did. A failed request is `errored`, never a wrong answer."""
    item, tau = scored.item, scored.tau
    spoken = [turn.reply for turn in tau.exchanges]
    cut = not tau.failed and any(reply.finish_reason == "length" for reply in spoken)
    return Score(
        step=scored.step or step,
        suite=item.suite,
        task=item.task,
        item=item.id,
        split=item.split,
        model=tau.model,
        condition=tau.condition,
        seed=tau.seed,
        outcome="errored" if tau.failed else grade.outcome,
        score=0.0 if tau.failed else grade.score,
        solved=not tau.failed and grade.solved,
        strict=None if tau.failed else grade.strict,
        tolerant=None if tau.failed else grade.tolerant,
        tolerant_score=0.0 if tau.failed else grade.tolerant_score,
        cues=grade.cues,
        finish_reason="length" if cut else tau.last.finish_reason,
        empty=not tau.failed and not any(reply.text.strip() for reply in spoken),
        kept_original=tau.kept_original,
        flags=item.flags,
        prompt_tokens=_sum(reply.prompt_tokens for reply in spoken),
        completion_tokens=_sum(reply.completion_tokens for reply in spoken),
        draw=tau.draw,
        selector=scored.selector,
        choice=scored.choice,
        method=tau.method,
        teacher=scored.teacher,
        rule=None if tau.failed else grade.rule,
        checks=None if tau.failed else grade.checks,
        rote=None if tau.failed else grade.rote,
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    """Return the tokens of all turns, None where any is not known."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _scored(args: argparse.Namespace, items: Mapping[str, Item]) -> Iterator[_Scored]:
    """Yield all trajectories of all declared cells."""
    for cell in _cells(args):
        if args.step == "select":
            yield from _selected(args, cell, items)
            continue
        taus = _read(args, cell, items)
        teacher = str(cell["teacher"]) if args.step == "teachers" else None
        step = str(cell["step"]) if "step" in cell else None
        for item in items.values():
            yield _Scored(item, taus[item.id], teacher=teacher, step=step)


def main(args: argparse.Namespace) -> None:
    """Score every trajectory of every declared cell."""
    if (args.step == "select") != (args.selections is not None):
        raise UserError("--selections belongs to --step select")
    if (args.step == "teachers") != (args.teacher is not None):
        raise UserError("--teacher belongs to --step teachers")
    if (args.step == "following") != (args.student is not None):
        raise UserError("--student belongs to --step following")
    some = first_of_tasks(read_jsonl(args.items, Item, "id"), args.per_task)
    items = {item.id: item for item in some}
    scored = list(_scored(args, items))
    with open_grader(args.rules) as grader:
        grades = grader.grades([(each.item, each.tau) for each in scored])
        facts = grader.facts()
    write_jsonl(
        args.out,
        [_row(args.step, each, grade) for each, grade in zip(scored, grades, strict=True)],
    )
    if args.facts is not None:
        write_json(args.facts, facts)


if __name__ == "__main__":
    run(main, parser())
