r"""Judge: whether the teacher can tell right answers from wrong ones (paper, section 5.1.1).

    python -m stages.judge --params params.yaml --verdict explicit --student qwen2_7b --seed 0 \
        --teacher gpt4o_mini --model models/gpt4o_mini \
        --trajectories data/respond/bbh/qwen2_7b-0.jsonl --template prompts/judge/explicit.jinja \
        --out data/judge/bbh/explicit-qwen2_7b-0.jsonl \
        --calls data/calls/judge/bbh/explicit-qwen2_7b-0.jsonl \
        --facts data/facts/judge/bbh/explicit-qwen2_7b-0.json

Explicit: "asking the teacher model to judge whether or not the student's answer is correct (without
access to the ground truth data)". Implicit: "we give our teachers the option of not providing
feedback if they think the student's answer is substantially correct". The stage does not see the
items, hence no ground truth.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.asking import add_arguments
from stages.cli import make_parser, run
from stages.conversation import opening, turns
from stages.few import add_per_task, first_of_tasks
from stages.models.chat import Conversation, Sampling
from stages.models.open import open_model
from stages.params import Params
from stages.prompts import Prompt
from stages.records import Judgement, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive
from stages.verdicts import Verdict

PARAMS = ("verdicts.{verdict}", "teachers.{teacher}")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.judge", __doc__)
    parser.add_argument("--verdict", required=True, help="slug under `verdicts`")
    parser.add_argument("--student", required=True, help="slug of the student")
    parser.add_argument("--seed", type=int, required=True, help="seed of the trajectories")
    parser.add_argument("--teacher", required=True, help="slug under `teachers`")
    parser.add_argument("--trajectories", type=Path, required=True, help="tau_i (JSONL)")
    add_per_task(parser)
    add_arguments(parser, "Judgements to write (JSONL)")
    return parser


def _params(args: argparse.Namespace) -> Params:
    return Params(args.params, PARAMS, verdict=args.verdict, teacher=args.teacher)


def _cell(args: argparse.Namespace) -> str:
    return f"judge/{args.verdict}/{args.student}/{args.seed}"


def sampling(args: argparse.Namespace) -> Sampling:
    """Return how verdicts are decoded: as the teacher always is, perhaps with another limit."""
    limit = _params(args).get("verdicts.{verdict}", Verdict).max_new_tokens
    return _params(args).get("teachers.{teacher}", Role).sampling.limited(limit)


def _read(args: argparse.Namespace) -> list[Trajectory]:
    return first_of_tasks(read_jsonl(args.trajectories, Trajectory, "item"), args.per_task)


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the teacher is shown, for each trajectory with a reply."""
    return _ask(args, _read(args))


def _ask(args: argparse.Namespace, taus: Sequence[Trajectory]) -> list[Conversation]:
    teacher = _params(args).get("teachers.{teacher}", Role)
    sentences = _params(args).get("verdicts.{verdict}", Verdict).sentences
    template = Prompt(args.template)
    return [
        Conversation(
            id=f"{_cell(args)}/{tau.item}",
            messages=opening(
                teacher.system, template.render(turns=turns(tau.exchanges), sentences=sentences)
            ),
            seed=derive("judge", args.verdict, args.seed, tau.item),
        )
        for tau in taus
        if not tau.failed
    ]


def main(args: argparse.Namespace) -> None:
    """Write the judgement of every trajectory."""
    taus = _read(args)
    cell = Run(_cell(args), lambda: open_model(args.model))
    exchanges = iter(cell.exchanges(_ask(args, taus), sampling(args)))
    write_jsonl(
        args.out,
        [
            Judgement(
                item=tau.item,
                suite=tau.suite,
                task=tau.task,
                split=tau.split,
                verdict=args.verdict,
                student=tau.model,
                teacher=args.teacher,
                seed=tau.seed,
                exchange=None if tau.failed else next(exchanges),
            )
            for tau in taus
        ],
    )
    cell.write_answers(args.calls)
    cell.write_facts(args.facts)


if __name__ == "__main__":
    run(main, parser())
