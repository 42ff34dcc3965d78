r"""Sample: one candidate of best-of-k for each item (paper, section 5.2).

    python -m stages.sample --params params.yaml --student qwen2_7b --seed 0 --draw 3 \
        --model models/qwen2_7b --items data/tasks/bbh/test.jsonl \
        --template prompts/respond/task.jinja --out data/sample/bbh/alone/qwen2_7b-0/3.jsonl \
        --calls data/calls/sample/bbh/alone/qwen2_7b-0-3.jsonl \
        --facts data/facts/sample/bbh/alone/qwen2_7b-0-3.json

"generating k trajectories and then selecting the best". With `--condition`, `--trajectories` and
`--feedback` instead of `--items` the candidates are conditioned on feedback, as in `revise`. Draws
are cells of their own: from k = 2 to k = 4, only two are new. The original answer, and the one
retry of `revise`, are no candidates.
"""

import argparse

from stages import answering, retrying
from stages.asking import add_arguments
from stages.cli import make_parser, run
from stages.errors import UserError
from stages.models.chat import Conversation
from stages.params import Params
from stages.roles import Role

PARAMS = ("students.{student}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.sample", __doc__)
    parser.add_argument("--student", required=True, help="slug under `students`")
    parser.add_argument("--seed", type=int, required=True, help="seed of the sampling")
    parser.add_argument("--draw", type=int, required=True, help="number of the candidate")
    # What is answered: items, or trajectories with feedback.
    answering.add_arguments(parser, required=False)
    retrying.add_arguments(parser, required=False)
    # Best-of-k is of questions (5.2).
    parser.set_defaults(environments=None)
    add_arguments(parser, "Trajectories to write (JSONL)")
    return parser


def _is_conditioned(args: argparse.Namespace) -> bool:
    given = [args.condition, args.trajectories, args.feedback]
    if all(given) and args.items is None:
        return True
    if not any(given) and args.items is not None:
        return False
    raise UserError("give --items, or --condition, --trajectories and --feedback")


def _cell(args: argparse.Namespace) -> str:
    pool = args.condition or "alone"
    return f"sample/{pool}/{args.student}/{args.seed}/{args.draw}"


def _role(args: argparse.Namespace) -> Role:
    return Params(args.params, PARAMS, student=args.student).get("students.{student}", Role)


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the student is shown."""
    seed = (args.seed, args.draw)
    if _is_conditioned(args):
        return retrying.ask(args, retrying.read_pairs(args), _cell(args), *seed)
    items = answering.read_items(args)
    return answering.ask(args, items, _role(args), _cell(args), *seed)


def main(args: argparse.Namespace) -> None:
    """Write one candidate for every item."""
    if _is_conditioned(args):
        seed = (args.seed, args.draw)
        retrying.retry_items(args, _role(args), _cell(args), *seed, draw=args.draw)
    else:
        answering.answer_items(
            args, _role(args), _cell(args), args.student, args.seed, draw=args.draw
        )


if __name__ == "__main__":
    run(main, parser())
