r"""Leak: the answer-leak meter: what the answer extractor finds in each feedback.

    python -m stages.leak --params params.yaml --items data/tasks/bbh/test.jsonl \
        --rules stages/tasks/extraction.yaml \
        --feedback 'data/feedback/bbh/{condition}-{student}-{seed}.jsonl' \
        --out data/score/bbh/feedback.jsonl

Feedback that names the answer does not teach, it tells: the tolerant extractor reads each feedback
as if it were a reply to the item, and finds the gold answer, another one, or none. Beside it the
same on the feedback that another item of the subtask was given, which shows what is found by
chance. In an environment, what is looked for is the secret that it declares (Hi-Lo's number,
Taboo's concept). Not the paper's.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.grading import open_grader
from stages.grid import cell_path
from stages.joining import by_item
from stages.pairing import Group, partners
from stages.params import Params
from stages.records import Feedback, Item, Leak, read_jsonl, write_jsonl
from stages.seeds import derive
from stages.tasks.grade import Grader

PARAMS = ("grid.students", "conditions", "grid.seeds")
PARAMS_GAMES = ("grid.students", "grid.seeds")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.leak", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument(
        "--rules", type=Path, required=True, help="extraction rules, or environments"
    )
    parser.add_argument("--condition", help="only the feedback of this condition")
    parser.add_argument("--feedback", required=True, help="file pattern")
    parser.add_argument("--out", type=Path, required=True, help="Leaks to write (JSONL)")
    return parser


def leaks(
    items: Mapping[str, Item], feedback: Mapping[str, Feedback], grader: Grader
) -> Iterator[Leak]:
    """Yield what is found in each feedback of a cell."""
    groups = {item: Group(record.task, True) for item, record in feedback.items()}
    pairs = partners(groups, derive("leak"))
    for item in items.values():
        own = feedback[item.id]
        other = feedback[pairs[item.id]].text if item.id in pairs else None
        found, chance = (grader.told(item, text or "") for text in (own.text, other))
        yield Leak(
            suite=item.suite,
            task=item.task,
            item=item.id,
            split=item.split,
            student=own.student,
            condition=own.condition,
            seed=own.seed,
            given=own.text is not None,
            answer=found.answer,
            gold=found.gold,
            shuffled_given=other is not None,
            shuffled=chance.answer,
            shuffled_gold=chance.gold,
        )


def main(args: argparse.Namespace) -> None:
    """Meter the feedback of every declared cell, or of those of one condition."""
    params = Params(args.params, PARAMS if args.condition is None else PARAMS_GAMES)
    conditions = [args.condition]
    if args.condition is None:
        conditions = list(params.get("conditions", dict[str, Condition]))
    items = {item.id: item for item in read_jsonl(args.items, Item, "id")}
    rows: list[Leak] = []
    with open_grader(args.rules) as grader:
        for condition, student, seed in product(
            conditions, params.get("grid.students", list[str]), params.get("grid.seeds", list[int])
        ):
            cell = {"condition": condition, "student": student, "seed": seed}
            path = cell_path("--feedback", args.feedback, cell)
            rows += leaks(items, by_item(path, Feedback, items, args.items), grader)
    write_jsonl(args.out, rows)


if __name__ == "__main__":
    run(main, parser())
