r"""Revise: the feedback-conditioned trajectory tau_f (paper, section 2).

    python -m stages.revise --params params.yaml --condition unconstrained --student qwen2_7b \
        --seed 0 --model models/qwen2_7b --trajectories data/respond/bbh/qwen2_7b-0.jsonl \
        --feedback data/feedback/bbh/unconstrained-qwen2_7b-0.jsonl \
        --template prompts/revise/retry.jinja \
        --out data/revise/bbh/unconstrained-qwen2_7b-0.jsonl \
        --calls data/calls/revise/bbh/unconstrained-qwen2_7b-0.jsonl \
        --facts data/facts/revise/bbh/unconstrained-qwen2_7b-0.json

tau_f ~ pi(. given COMBINE(i, tau_i, f)); COMBINE gives "the prompt, original answer, and feedback
as the chat history with the feedback given to the model as in the Student Retry Prompt" (5.1.2).
Where a feedback failed or was refused, the original answer stands. With `--teacher` it is the
teacher that is given the student's conversation: a target of feedback-following finetuning (5.2).
In environments (`--environments`, `--items`, `--turns`) the episode is played again to its end.
"""

import argparse
from pathlib import Path

from stages.asking import add_arguments as add_asking
from stages.cli import make_parser, run
from stages.few import add_per_task
from stages.models.chat import Conversation
from stages.params import Params
from stages.playing import add_arguments as add_environments
from stages.retrying import add_arguments, ask, read_pairs, retry_items
from stages.roles import Role

PARAMS = ("students.{student}",)
PARAMS_TEACHER = ("teachers.{teacher}",)
PARAMS_TEACHER_GAMES = PARAMS_TEACHER


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.revise", __doc__)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--student", help="slug under `students`")
    who.add_argument("--teacher", help="slug under `teachers`, who tries in the student's place")
    parser.add_argument("--seed", type=int, required=True, help="seed of the sampling")
    parser.add_argument("--items", type=Path, help="Items (JSONL), of environments")
    parser.add_argument("--turns", type=Path, help="prompt of an environment's later turns (Jinja)")
    add_environments(parser)
    add_arguments(parser)
    add_per_task(parser)
    add_asking(parser, "tau_f to write (JSONL)")
    return parser


def _cell(args: argparse.Namespace) -> str:
    return f"revise/{args.condition}/{args.student or args.teacher}/{args.seed}"


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the student is shown where there is feedback, trajectory by trajectory."""
    return ask(args, read_pairs(args), _cell(args), args.seed)


def main(args: argparse.Namespace) -> None:
    """Write the feedback-conditioned trajectory of every item."""
    if args.teacher is None:
        role = Params(args.params, PARAMS, student=args.student).get("students.{student}", Role)
    else:
        params = Params(args.params, PARAMS_TEACHER, teacher=args.teacher)
        role = params.get("teachers.{teacher}", Role)
    retry_items(args, role, _cell(args), args.seed, by=args.teacher)


if __name__ == "__main__":
    run(main, parser())
