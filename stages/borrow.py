r"""Borrow: the feedback on another item as feedback, a control that the paper does not have.

    python -m stages.borrow --params params.yaml --condition another_item --student qwen2_7b \
        --seed 0 --items data/tasks/bbh/test.jsonl --rules stages/tasks/extraction.yaml \
        --trajectories data/respond/bbh/qwen2_7b-0.jsonl \
        --feedback data/feedback/bbh/unconstrained-qwen2_7b-0.jsonl \
        --template prompts/feedback/another_item.jinja \
        --out data/feedback/bbh/another_item-qwen2_7b-0.jsonl

A seeded derangement within subtask and within original correctness, so that all that the two
answers have in common besides their content is held fixed. Where an answer is the only right one of
its subtask, or the only wrong one, the other item is of another subtask. The ground truth decides
who is paired with whom, so a changed extraction rule makes these retries anew; no text shows it.
"""

import argparse
from pathlib import Path

from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.conversation import turns
from stages.errors import UserError
from stages.pairing import Group, partners
from stages.params import Params
from stages.prompts import Prompt
from stages.records import Feedback, Item, Trajectory, read_jsonl, write_jsonl
from stages.seeds import derive
from stages.tasks.extraction import load_rules

PARAMS = ("conditions.{condition}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.borrow", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--condition", required=True, help="slug under `conditions`")
    parser.add_argument("--student", required=True, help="slug of the student")
    parser.add_argument("--seed", type=int, required=True, help="seed of the trajectories")
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument("--rules", type=Path, required=True, help="extraction rules (YAML)")
    parser.add_argument("--trajectories", type=Path, required=True, help="tau_i (JSONL)")
    parser.add_argument("--feedback", type=Path, required=True, help="f on each tau_i (JSONL)")
    parser.add_argument("--template", type=Path, required=True, help="feedback prompt (Jinja)")
    parser.add_argument("--out", type=Path, required=True, help="Feedback to write (JSONL)")
    return parser


def borrowed(args: argparse.Namespace) -> list[Feedback]:
    """Return what is given on each trajectory, without a text where there is none to borrow."""
    condition = Params(args.params, PARAMS, condition=args.condition).get(
        "conditions.{condition}", Condition
    )
    items = {item.id: item for item in read_jsonl(args.items, Item, "id")}
    feedback = {record.item: record for record in read_jsonl(args.feedback, Feedback, "item")}
    taus = read_jsonl(args.trajectories, Trajectory, "item")
    for path, known in ((args.items, items), (args.feedback, feedback)):
        missing = [tau.item for tau in taus if tau.item not in known]
        if missing:
            raise UserError(f"{path}: {missing[0]} is not there ({len(missing)} missing)")
    rules = load_rules(args.rules)
    groups = {
        tau.item: Group(tau.task, rules.grade(items[tau.item], tau.last.text).solved)
        for tau in taus
        if not tau.failed and feedback[tau.item].text is not None
    }
    pairs = partners(groups, derive("feedback", args.condition, args.student, args.seed))
    template = Prompt(args.template)
    records = []
    for tau in taus:
        source = pairs.get(tau.item)
        text = None
        if source is not None:
            access: dict[str, object] = {"sentences": condition.sentences}
            if "other_feedback" in condition.sees:
                access["other_feedback"] = feedback[source].text
            text = template.render(turns=turns(tau.exchanges), **access)
        records.append(
            Feedback(
                item=tau.item,
                suite=tau.suite,
                task=tau.task,
                split=tau.split,
                condition=args.condition,
                student=tau.model,
                teacher=None,
                seed=tau.seed,
                status="error" if text is None else "ok",
                text=text,
                exchange=None,
                source=source,
            )
        )
    return records


def main(args: argparse.Namespace) -> None:
    """Write the feedback on every trajectory."""
    write_jsonl(args.out, borrowed(args))


if __name__ == "__main__":
    run(main, parser())
