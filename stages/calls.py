r"""The call log as one file, so that others replay every run without a key.

    python -m stages.calls export teacher-calls.jsonl
    python -m stages.calls import teacher-calls.jsonl
    python -m stages.calls import data/calls

An export holds the answers only, one a line, sorted by key, without times and batches: the same
answers give the same bytes however they came. Every cell that asks a model writes its own under
data/calls/. Keys hold the server's host and port, so a replay names the same address
(`<ENV>_BASE_URL`), though nothing is sent to it. Importing adds what is new.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.models.call_log import CallLog, Result, default_log
from stages.records import read_jsonl, write_jsonl


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser("stages.calls", __doc__)
    parser.add_argument("action", choices=["export", "import"])
    parser.add_argument("file", type=Path, help="the file; to import, also a folder of such files")
    parser.add_argument("--log", type=Path, help="call log; by default the one that stages use")
    return parser


def results(log: CallLog) -> Iterator[Result]:
    """Yield the last result of every key of the log, sorted by key, without how it came."""
    last = {line.key: line for line in log.lines() if isinstance(line, Result)}
    for key in sorted(last):
        yield last[key].for_export()


def main(args: argparse.Namespace) -> None:
    """Write or read the file."""
    log = CallLog(args.log or default_log(os.environ))
    if args.action == "export":
        exported = list(results(log))
        if not exported:
            raise UserError(f"{log.path}: no answers to export")
        write_jsonl(args.file, exported)
        print(f"{len(exported)} answers written to {args.file}", file=sys.stderr)
        return
    files = sorted(args.file.rglob("*.jsonl")) if args.file.is_dir() else [args.file]
    # Cells that ask alike share answers.
    imported = {result.key: result for file in files for result in read_jsonl(file, Result, "key")}
    with log:
        log.lock()
        new = [result for result in imported.values() if log.result(result.key) is None]
        for result in new:
            log.write(result)
        log.sync()
    print(f"{len(new)} new answers of {len(imported)} added to {log.path}", file=sys.stderr)


if __name__ == "__main__":
    run(main, parser())
