r"""Score: how every trajectory of one step did; a pure function of (item, trajectory).

    python -m stages.score --params params.yaml --step revise --items data/tasks/bbh/test.jsonl \
        --rules stages/tasks/extraction.yaml \
        --trajectories 'data/revise/bbh/{condition}-{student}-{seed}.jsonl' \
        --out data/score/bbh/revise.jsonl

`--trajectories` is a pattern over the axes of the step; the cells are those that params.yaml
declares, and a missing one is an error. A changed extraction rule is scored anew without generating
anything.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.errors import UserError
from stages.grid import cell_path
from stages.params import Params
from stages.records import Item, Score, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.tasks.extraction import Rules, load_rules

PARAMS_RESPOND = ("students", "grid.seeds")
PARAMS_ANSWER = ("teachers",)
PARAMS_REVISE = ("students", "conditions", "grid.seeds")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.score", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--step", required=True, choices=["respond", "answer", "revise"])
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument("--rules", type=Path, required=True, help="extraction rules (YAML)")
    parser.add_argument("--trajectories", required=True, help="file pattern over the step's axes")
    parser.add_argument("--out", type=Path, required=True, help="Scores to write (JSONL)")
    return parser


def _cells(args: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield the declared cells of the step, in the order of params.yaml."""
    if args.step == "answer":
        for teacher in Params(args.params, PARAMS_ANSWER).get("teachers", dict[str, Role]):
            yield {"teacher": teacher}
        return
    declared = PARAMS_REVISE if args.step == "revise" else PARAMS_RESPOND
    params = Params(args.params, declared)
    students = params.get("students", dict[str, Role])
    seeds = params.get("grid.seeds", list[int])
    if args.step == "respond":
        for student, seed in product(students, seeds):
            yield {"student": student, "seed": seed}
        return
    for condition, student, seed in product(
        params.get("conditions", dict[str, Condition]), students, seeds
    ):
        yield {"condition": condition, "student": student, "seed": seed}


def score(step: str, item: Item, tau: Trajectory, rules: Rules) -> Score:
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
        completion_tokens=reply.completion_tokens,
    )


def main(args: argparse.Namespace) -> None:
    """Score every trajectory of every declared cell."""
    items = {item.id: item for item in read_jsonl(args.items, Item, "id")}
    rules = load_rules(args.rules)
    rows = []
    for cell in _cells(args):
        path = cell_path("--trajectories", args.trajectories, cell)
        taus = {tau.item: tau for tau in read_jsonl(path, Trajectory, "item")}
        if taus.keys() != items.keys():
            odd = sorted(taus.keys() ^ items.keys())
            raise UserError(f"{path}: not the items of {args.items}: {odd[0]} ({len(odd)} differ)")
        rows += [score(args.step, item, taus[item.id], rules) for item in items.values()]
    write_jsonl(args.out, rows)


if __name__ == "__main__":
    run(main, parser())
