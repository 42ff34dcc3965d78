r"""Respond: the student's trajectory on each item, tau_i ~ pi(. given i) (paper, section 2).

    python -m stages.respond --params params.yaml --student qwen2_7b --seed 0 \
        --model models/qwen2_7b --items data/tasks/bbh/test.jsonl \
        --template prompts/respond/task.jinja --out data/respond/bbh/qwen2_7b-0.jsonl \
        --calls data/calls/respond/bbh/qwen2_7b-0.jsonl \
        --facts data/facts/respond/bbh/qwen2_7b-0.json

These trajectories are the Baseline rows of Table 3.
"""

import argparse

from stages.answering import add_arguments, answer_items, ask, read_items
from stages.asking import add_arguments as add_asking
from stages.cli import make_parser, run
from stages.models.chat import Conversation
from stages.params import Params
from stages.playing import add_arguments as add_environments
from stages.roles import Role

PARAMS = ("students.{student}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.respond", __doc__)
    parser.add_argument("--student", required=True, help="slug under `students`")
    parser.add_argument("--seed", type=int, required=True, help="seed of the sampling")
    add_arguments(parser)
    add_environments(parser)
    add_asking(parser, "Trajectories to write (JSONL)")
    return parser


def _cell(args: argparse.Namespace) -> str:
    return f"respond/{args.student}/{args.seed}"


def _role(args: argparse.Namespace) -> Role:
    return Params(args.params, PARAMS, student=args.student).get("students.{student}", Role)


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the student is shown, item by item."""
    return ask(args, read_items(args), _role(args), _cell(args), args.seed)


def main(args: argparse.Namespace) -> None:
    """Answer every item and write the trajectories."""
    answer_items(args, _role(args), _cell(args), args.student, args.seed)


if __name__ == "__main__":
    run(main, parser())
