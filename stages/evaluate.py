r"""Evaluate: a trained student's answers, without feedback (paper, section 5.3; Table 5).

    python -m stages.evaluate --params params.yaml --learner qwen2_7b --method feedback_sft \
        --seed 0 --model models/qwen2_7b-bbh-feedback_sft-0 --base models/qwen2_7b \
        --items data/tasks/bbh/test.jsonl --template prompts/respond/task.jinja \
        --out data/evaluate/bbh/qwen2_7b-feedback_sft-0.jsonl \
        --calls data/calls/evaluate/bbh/qwen2_7b-feedback_sft-0.jsonl \
        --facts data/facts/evaluate/bbh/qwen2_7b-feedback_sft-0.json

The same items, prompts, decoding and random numbers as in `respond`, the baseline; only the model
folder is another. With `--foreign` the items are of a suite that it was not trained on: what
training forgot. Of a folder with a model for each environment, each answers a share of them.
"""

import argparse
from collections.abc import Callable
from operator import attrgetter

from stages.answering import add_arguments, answer_items, ask, read_items
from stages.asking import add_arguments as add_asking
from stages.cli import make_parser, run
from stages.models.card import EnvironmentsCard, read_card
from stages.models.chat import Conversation
from stages.params import Params
from stages.playing import add_arguments as add_environments
from stages.records import Item
from stages.roles import Role
from stages.seeds import derive

PARAMS = ("students.{learner}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.evaluate", __doc__)
    parser.add_argument("--learner", required=True, help="slug under `students`, who was trained")
    parser.add_argument("--method", required=True, help="slug of the training method")
    parser.add_argument("--seed", type=int, required=True, help="seed of training and sampling")
    parser.add_argument(
        "--foreign", action="store_true", help="the items are of a suite that it was not trained on"
    )
    add_arguments(parser)
    add_environments(parser)
    add_asking(parser, "Trajectories to write (JSONL)")
    return parser


def _cell(args: argparse.Namespace) -> str:
    step = "forget" if args.foreign else "evaluate"
    return f"{step}/{args.learner}/{args.method}/{args.seed}"


def _role(args: argparse.Namespace) -> Role:
    return Params(args.params, PARAMS, learner=args.learner).get("students.{learner}", Role)


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the student is shown, item by item."""
    return ask(args, read_items(args), _role(args), _cell(args), args.seed, step="respond")


def _share(args: argparse.Namespace) -> Callable[[Item], str]:
    """Return which environment's model answers an item."""
    card = read_card(args.model)
    if not args.foreign or not isinstance(card, EnvironmentsCard):
        return attrgetter("task")
    models = card.environments
    return lambda item: models[derive("forget", item.id) % len(models)]


def main(args: argparse.Namespace) -> None:
    """Answer every item and write the trajectories."""
    answer_items(
        args,
        _role(args),
        _cell(args),
        args.learner,
        args.seed,
        method=args.method,
        step="respond",
        by=_share(args),
    )


if __name__ == "__main__":
    run(main, parser())
