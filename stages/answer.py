r"""Answer: the teacher answers the items by itself (paper, section 5.1.2, Teacher Answer).

    python -m stages.answer --params params.yaml --teacher gpt4o_mini --model models/gpt4o_mini \
        --items data/tasks/bbh/test.jsonl --template prompts/respond/task.jinja \
        --out data/answer/bbh/gpt4o_mini.jsonl \
        --calls data/calls/answer/bbh/gpt4o_mini.jsonl \
        --facts data/facts/answer/bbh/gpt4o_mini.json

"in which the teacher first answers the prompt, and then uses this answer to inform their feedback".
The teacher does not see the ground truth.
"""

import argparse

from stages.answering import add_arguments, answer_items, ask, read_items
from stages.asking import add_arguments as add_asking
from stages.cli import make_parser, run
from stages.models.chat import Conversation
from stages.params import Params
from stages.playing import add_arguments as add_environments
from stages.roles import Role

PARAMS = ("teachers.{teacher}",)
# The teacher has no seed axis: it answers once, and all seeds of a student are compared with that.
SEED = 0


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.answer", __doc__)
    parser.add_argument("--teacher", required=True, help="slug under `teachers`")
    add_arguments(parser)
    add_environments(parser)
    add_asking(parser, "Trajectories to write (JSONL)")
    return parser


def _cell(args: argparse.Namespace) -> str:
    return f"answer/{args.teacher}"


def _role(args: argparse.Namespace) -> Role:
    return Params(args.params, PARAMS, teacher=args.teacher).get("teachers.{teacher}", Role)


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the teacher is shown, item by item."""
    return ask(args, read_items(args), _role(args), _cell(args), SEED)


def main(args: argparse.Namespace) -> None:
    """Answer every item and write the trajectories."""
    answer_items(args, _role(args), _cell(args), args.teacher, SEED)


if __name__ == "__main__":
    run(main, parser())
