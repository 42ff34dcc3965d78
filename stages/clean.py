r"""Clean: feedback-conditioned answers without traces of the feedback (paper, 5.3: SFT*).

    python -m stages.clean --params params.yaml --student qwen2_7b --seed 0 \
        --teacher gpt4o_mini --model models/gpt4o_mini \
        --trajectories data/revise_train/bbh/qwen2_7b-0.jsonl \
        --template prompts/clean/clean.jinja --out data/clean/bbh/qwen2_7b-0.jsonl \
        --calls data/calls/clean/bbh/qwen2_7b-0.jsonl --facts data/facts/clean/bbh/qwen2_7b-0.json

"We employ an additional post processing step using the teacher to remove these noise aspects from
the student's feedback-conditioned generative output". The teacher is shown that output alone. The
feedback may name the gold answer; and a teacher with the task at hand solves it, which would make
this imitation. Whether the text is taken is decided where it is read.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.asking import add_arguments
from stages.cli import make_parser, run
from stages.conversation import later, neutralise, opening, turn_id
from stages.errors import UserError
from stages.models.chat import Conversation
from stages.models.open import open_model
from stages.params import Params
from stages.prompts import Prompt
from stages.records import Cleaning, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive

PARAMS = ("teachers.{teacher}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.clean", __doc__)
    parser.add_argument("--student", required=True, help="slug or folder of the student")
    parser.add_argument("--seed", type=int, required=True, help="seed of the trajectories")
    parser.add_argument("--teacher", required=True, help="slug under `teachers`")
    parser.add_argument("--trajectories", type=Path, required=True, help="tau_f (JSONL)")
    add_arguments(parser, "Cleanings to write (JSONL)")
    return parser


def _role(args: argparse.Namespace) -> Role:
    return Params(args.params, PARAMS, teacher=args.teacher).get("teachers.{teacher}", Role)


def _cell(args: argparse.Namespace) -> str:
    return f"clean/{args.student}/{args.seed}"


def _to_clean(tau: Trajectory) -> list[int]:
    """Return which of the replies are given to the teacher: none where nothing was tried again."""
    if tau.kept_original is not None or tau.failed:
        return []
    return [turn for turn, exchange in enumerate(tau.exchanges) if exchange.reply.text.strip()]


def _read(args: argparse.Namespace) -> list[tuple[Trajectory, str]]:
    """Return each tau_f with the condition of its feedback."""
    taus = []
    for tau in read_jsonl(args.trajectories, Trajectory, "item"):
        if tau.condition is None:
            raise UserError(f"{args.trajectories}: {tau.item} is not conditioned on feedback")
        taus.append((tau, tau.condition))
    return taus


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the teacher is shown, for each trajectory with something to clean."""
    return _ask(args, [tau for tau, _ in _read(args)])


def _ask(args: argparse.Namespace, taus: Sequence[Trajectory]) -> list[Conversation]:
    system = _role(args).system
    template = Prompt(args.template)
    return [
        Conversation(
            id=turn_id(f"{_cell(args)}/{tau.item}", turn),
            messages=opening(
                system,
                template.render(reply=neutralise(tau.exchanges[turn].reply.text)),
            ),
            seed=derive("clean", args.seed, tau.item, *later(turn)),
        )
        for tau in taus
        for turn in _to_clean(tau)
    ]


def main(args: argparse.Namespace) -> None:
    """Write the cleaning of every trajectory."""
    taus = _read(args)
    cell = Run(_cell(args), lambda: open_model(args.model))
    asked = _ask(args, [tau for tau, _ in taus])
    exchanges = iter(cell.exchanges(asked, _role(args).sampling))
    write_jsonl(
        args.out,
        [
            Cleaning(
                item=tau.item,
                suite=tau.suite,
                task=tau.task,
                split=tau.split,
                condition=condition,
                student=args.student,
                teacher=args.teacher,
                seed=tau.seed,
                exchanges=tuple(
                    next(exchanges) if turn in turns else None
                    for turn in (range(len(tau.exchanges)) if turns else ())
                ),
            )
            for tau, condition in taus
            for turns in [_to_clean(tau)]
        ],
    )
    cell.write_answers(args.calls)
    cell.write_facts(args.facts)


if __name__ == "__main__":
    run(main, parser())
