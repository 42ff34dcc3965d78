r"""Prepare the items of a suite: the task instances i of the paper (sections 2 and 4.1).

    python -m stages.prepare --params params.yaml --suite bbh --raw data/raw/bbh \
        --train data/tasks/bbh/train.jsonl --test data/tasks/bbh/test.jsonl

Reads the raw files that `download` fetched and writes one Item a line, train and test apart. A
suite of environments needs `--environments stages/tasks/environments`.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.params import Params
from stages.records import write_jsonl
from stages.tasks.bbh.bigbench import read_bigbench
from stages.tasks.bbh.release import read_release
from stages.tasks.config import EnvironmentsSource, JsonlSource, ReleaseSource, Suite
from stages.tasks.jsonl import read_questions
from stages.tasks.prepared import Prepared

PARAMS = ("suites.{suite}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.prepare", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--suite", required=True, help="key of the suite in params.yaml")
    parser.add_argument("--raw", type=Path, required=True, help="folder that download wrote")
    parser.add_argument("--environments", type=Path, help="package of the environments")
    parser.add_argument("--train", type=Path, required=True, help="JSONL of train items to write")
    parser.add_argument("--test", type=Path, required=True, help="JSONL of test items to write")
    return parser


def _prepared(args: argparse.Namespace, suite: Suite) -> Prepared:
    match suite.source:
        case EnvironmentsSource() as source:
            if args.environments is None:
                raise UserError(f"suites.{args.suite}: --environments is needed")
            instances = import_module("stages.tasks.environments.preparing")
            found: Prepared = instances.prepare(args.raw, args.params, args.suite, suite, source)
            return found
        case JsonlSource() as source:
            return read_questions(args.raw, args.suite, suite, source)
        case ReleaseSource() as source:
            return read_release(args.raw, args.suite, suite, source)
        case _:
            return read_bigbench(args.raw, args.suite, suite)


def main(args: argparse.Namespace) -> None:
    """Read the raw files of one suite, write its items, and account for all of them on stderr."""
    suite = Params(args.params, PARAMS, suite=args.suite).get("suites.{suite}", Suite)
    prepared = _prepared(args, suite)
    write_jsonl(args.train, prepared.train)
    write_jsonl(args.test, prepared.test)
    dropped = ", ".join(f"{why} {count}" for why, count in sorted(prepared.dropped.items()))
    train, test = len(prepared.train), len(prepared.test)
    print(
        f"prepare {args.suite}: {train + test + prepared.dropped.total()} in = {train} train + "
        f"{test} test + {prepared.dropped.total()} dropped ({dropped})",
        file=sys.stderr,
    )


if __name__ == "__main__":
    run(main, parser())
