r"""Train: update theta on the pairs, by SFT or DPO (paper, section 5.3 and Appendix B).

    python -m stages.train --params params.yaml --objective sft --suite bbh \
        --method feedback_sft --learner smollm2_135m --seed 0 --model models/smollm2_135m \
        --pairs data/pairs/bbh/smollm2_135m-feedback_sft-0.jsonl \
        --out models/smollm2_135m-bbh-feedback_sft-0 \
        --log data/train/bbh/smollm2_135m-feedback_sft-0.csv \
        --runs data/train/bbh/smollm2_135m-feedback_sft-0.jsonl \
        --facts data/facts/train/bbh/smollm2_135m-feedback_sft-0.json

One model, or one for each environment that the pairs name, in folders of their names. A killed run
goes on where it was: checkpoints lie in CHECKPOINTS (default: beside the call log), one every
CHECKPOINT_SECONDS (300). TRAIN_PROCESSES and TRAIN_LAUNCH start several processes.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from stages.cli import make_parser, run
from stages.training.launching import arguments, launch, launcher

PARAMS = ("trainers.{objective}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.train", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--objective", choices=("sft", "dpo"), required=True)
    parser.add_argument("--suite", required=True, help="slug of the suite, for the records")
    parser.add_argument("--method", required=True, help="slug of the training method")
    parser.add_argument("--learner", required=True, help="model or model folder that is trained")
    parser.add_argument("--seed", type=int, required=True, help="of the order and of adapters")
    parser.add_argument("--model", type=Path, required=True, help="model folder to start from")
    parser.add_argument("--pairs", type=Path, required=True, help="what to learn from (JSONL)")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--log", type=Path, required=True, help="loss and rewards a step (CSV)")
    parser.add_argument("--runs", type=Path, required=True, help="how it went, a line a model")
    parser.add_argument("--facts", type=Path, required=True, help="times and hardware (JSON)")
    return parser


def main(args: argparse.Namespace) -> None:
    """Train, and write the model folder, its log and its records."""
    from stages.params import Params
    from stages.training.cell import Cell, Outputs, read_pairs
    from stages.training.config import Trainer

    params = Params(args.params, PARAMS, objective=args.objective)
    cell = Cell(
        suite=args.suite,
        learner=args.learner,
        method=args.method,
        seed=args.seed,
        objective=args.objective,
        trainer=params.get("trainers.{objective}", Trainer),
        section=f"{args.params}: trainers.{args.objective}",
        model=args.model,
    )
    pairs = read_pairs(args.pairs, cell)
    command = launcher(os.environ)
    if command is not None:
        launch(command, sys.argv[1:])
        return
    # Weights come from folders, and nothing is reported home.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    started = time.monotonic()
    from stages.training.running import train_cell

    seconds = time.monotonic() - started
    train_cell(cell, pairs, Outputs(args.out, args.log, args.runs, args.facts), seconds)


if __name__ == "__main__":
    sys.argv[1:] = arguments(os.environ, sys.argv[1:])
    run(main, parser())
