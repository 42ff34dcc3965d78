r"""Leak: the answer-leak meter: what the answer extractor finds in each feedback.

    python -m stages.leak --params params.yaml --items data/tasks/bbh/test.jsonl \
        --rules stages/tasks/extraction.yaml \
        --feedback 'data/feedback/bbh/{condition}-{student}-{seed}.jsonl' \
        --out data/score/bbh/feedback.jsonl

Feedback that names the answer does not teach, it tells: the tolerant extractor reads each feedback
as if it were a reply to the item, and finds the gold answer, another one, or none. Beside it the
same on the feedback that another item of the subtask was given, which shows what is found by
chance. Not the paper's.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.errors import UserError
from stages.grid import cell_path
from stages.pairing import Group, partners
from stages.params import Params
from stages.records import Feedback, Item, Leak, read_jsonl, write_jsonl
from stages.seeds import derive
from stages.tasks.extraction import Rules, load_rules

PARAMS = ("grid.students", "conditions", "grid.seeds")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.leak", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument("--rules", type=Path, required=True, help="extraction rules (YAML)")
    parser.add_argument("--feedback", required=True, help="file pattern")
    parser.add_argument("--out", type=Path, required=True, help="Leaks to write (JSONL)")
    return parser


def leaks(
    items: Mapping[str, Item], feedback: Mapping[str, Feedback], rules: Rules
) -> Iterator[Leak]:
    """Yield what is found in each feedback of a cell."""
    groups = {item: Group(record.task, True) for item, record in feedback.items()}
    pairs = partners(groups, derive("leak"))
    for item in items.values():
        own = feedback[item.id]
        other = feedback[pairs[item.id]].text if item.id in pairs else None
        found, chance = (rules.grade(item, text or "") for text in (own.text, other))
        yield Leak(
            suite=item.suite,
            task=item.task,
            item=item.id,
            split=item.split,
            student=own.student,
            condition=own.condition,
            seed=own.seed,
            given=own.text is not None,
            answer=found.tolerant,
            gold=found.tolerant_score == 1,
            shuffled_given=other is not None,
            shuffled=chance.tolerant,
            shuffled_gold=chance.tolerant_score == 1,
        )


def main(args: argparse.Namespace) -> None:
    """Meter the feedback of every declared cell."""
    params = Params(args.params, PARAMS)
    items = {item.id: item for item in read_jsonl(args.items, Item, "id")}
    rules = load_rules(args.rules)
    rows: list[Leak] = []
    for condition, student, seed in product(
        params.get("conditions", dict[str, Condition]),
        params.get("grid.students", list[str]),
        params.get("grid.seeds", list[int]),
    ):
        cell = {"condition": condition, "student": student, "seed": seed}
        path = cell_path("--feedback", args.feedback, cell)
        feedback = {record.item: record for record in read_jsonl(path, Feedback, "item")}
        odd = sorted(feedback.keys() ^ items.keys())
        if odd:
            raise UserError(f"{path}: not the items of {args.items}: {odd[0]} ({len(odd)} differ)")
        rows += leaks(items, feedback, rules)
    write_jsonl(args.out, rows)


if __name__ == "__main__":
    run(main, parser())
