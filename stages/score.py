r"""Score: how every trajectory of one step did; a pure function of (item, trajectory).

    python -m stages.score --params params.yaml --step revise --items data/tasks/bbh/test.jsonl \
        --rules stages/tasks/extraction.yaml \
        --trajectories 'data/revise/bbh/{condition}-{student}-{seed}.jsonl' \
        --out data/score/bbh/revise.jsonl

`--trajectories` is a pattern over the axes of the step; the cells are those that params.yaml
declares, and a missing one is an error. A changed extraction rule is scored anew without generating
anything. For the step `select`, `--selections` is a pattern as well, and what is scored is the
candidate that each selection comes to.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from stages.choices import Selector, chosen
from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.errors import UserError
from stages.grid import POOLS, cell_path
from stages.params import Params
from stages.records import Choice, Item, Score, Selection, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.tasks.extraction import Rules, load_rules

PARAMS_RESPOND = ("grid.students", "grid.seeds")
PARAMS_ANSWER = ("teachers",)
PARAMS_REVISE = ("grid.students", "conditions", "grid.seeds")
PARAMS_SAMPLE = ("grid.students", "grid.seeds", "grid.draws")
PARAMS_SELECT = ("grid.students", "selectors", "grid.seeds", "grid.draws")
PARAMS_EVALUATE = ("grid.learners", "grid.tuned", "methods", "following", "grid.seeds")
PARAMS_REVISE_TUNED = ("grid.tuned", "following", "grid.seeds")
Keys = dict[str, Any]
_DECLARED = {
    "respond": PARAMS_RESPOND,
    "answer": PARAMS_ANSWER,
    "revise": PARAMS_REVISE,
    "sample": PARAMS_SAMPLE,
    "select": PARAMS_SELECT,
    "evaluate": PARAMS_EVALUATE,
    "revise_tuned": PARAMS_REVISE_TUNED,
}


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.score", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--step", required=True, choices=list(_DECLARED))
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument("--rules", type=Path, required=True, help="extraction rules (YAML)")
    parser.add_argument("--trajectories", required=True, help="file pattern over the step's axes")
    parser.add_argument("--selections", help="file pattern, for the step select")
    parser.add_argument("--out", type=Path, required=True, help="Scores to write (JSONL)")
    return parser


def _cells(args: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield the declared cells of the step, in the order of params.yaml."""
    params = Params(args.params, _DECLARED[args.step])
    if args.step in ("evaluate", "revise_tuned"):
        yield from _trained(args.step, params)
        return
    axes: dict[str, Iterable[object]] = {}
    if args.step == "answer":
        axes["teacher"] = params.get("teachers", dict[str, Role])
    if args.step == "revise":
        axes["condition"] = params.get("conditions", dict[str, Condition])
    if args.step in ("sample", "select"):
        axes["pool"] = POOLS
    if args.step == "select":
        axes["selector"] = params.get("selectors", dict[str, Selector])
    if args.step != "answer":
        axes["student"] = params.get("grid.students", list[str])
        axes["seed"] = params.get("grid.seeds", list[int])
    if args.step == "sample":
        axes["draw"] = params.get("grid.draws", list[int])
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _trained(step: str, params: Params) -> Iterator[dict[str, object]]:
    """Yield the cells of trained students: who learns from feedback, and who to follow it."""
    runs = list(product(params.get("grid.tuned", list[str]), params.get("following", Keys)))
    if step == "evaluate":
        learners = params.get("grid.learners", list[str])
        runs = [*product(learners, params.get("methods", Keys)), *runs]
    for (learner, method), seed in product(runs, params.get("grid.seeds", list[int])):
        yield {"learner": learner, "method": method, "seed": seed}


def _read(
    args: argparse.Namespace, cell: dict[str, object], items: Mapping[str, Item]
) -> dict[str, Trajectory]:
    """Return the trajectories of a cell by item. Raises UserError where they are not the items."""
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
    args: argparse.Namespace, cell: dict[str, object], items: Mapping[str, Item], rules: Rules
) -> Iterator[Score]:
    """Yield the score of the selected candidate of each item."""
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
        yield score(args.step, item, tau, rules, str(cell["selector"]), choice)


def score(
    step: str,
    item: Item,
    tau: Trajectory,
    rules: Rules,
    selector: str | None = None,
    choice: Choice | None = None,
) -> Score:
    """Return how a trajectory did. A failed request is `errored`, never a wrong answer."""
    reply = tau.last
    grade = rules.grade(item, reply.text)
    return Score(
        step=step,
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
        finish_reason=reply.finish_reason,
        empty=not tau.failed and not reply.text.strip(),
        kept_original=tau.kept_original,
        flags=item.flags,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        draw=tau.draw,
        selector=selector,
        choice=choice,
        method=tau.method,
    )


def main(args: argparse.Namespace) -> None:
    """Score every trajectory of every declared cell."""
    items = {item.id: item for item in read_jsonl(args.items, Item, "id")}
    rules = load_rules(args.rules)
    if (args.step == "select") != (args.selections is not None):
        raise UserError("--selections belongs to --step select")
    rows: list[Score] = []
    for cell in _cells(args):
        if args.step == "select":
            rows += _selected(args, cell, items, rules)
            continue
        taus = _read(args, cell, items)
        rows += [score(args.step, item, taus[item.id], rules) for item in items.values()]
    write_jsonl(args.out, rows)


if __name__ == "__main__":
    run(main, parser())
