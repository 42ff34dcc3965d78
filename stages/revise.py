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
Where a feedback failed or was refused, the original answer stands.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.cli import make_parser, run
from stages.conversation import combine, neutralise
from stages.errors import UserError
from stages.models.chat import Conversation
from stages.models.open import open_model
from stages.params import Params
from stages.prompts import Prompt
from stages.records import Exchange, Feedback, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive

PARAMS = ("students.{student}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.revise", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--condition", required=True, help="slug of the feedback condition")
    parser.add_argument("--student", required=True, help="slug under `students`")
    parser.add_argument("--seed", type=int, required=True, help="seed of the sampling")
    parser.add_argument("--model", type=Path, required=True, help="model folder of the student")
    parser.add_argument("--trajectories", type=Path, required=True, help="tau_i (JSONL)")
    parser.add_argument("--feedback", type=Path, required=True, help="f on each tau_i (JSONL)")
    parser.add_argument("--template", type=Path, required=True, help="student retry prompt (Jinja)")
    parser.add_argument("--out", type=Path, required=True, help="tau_f to write (JSONL)")
    parser.add_argument("--calls", type=Path, required=True, help="raw answers to write (JSONL)")
    parser.add_argument("--facts", type=Path, required=True, help="run facts to write (JSON)")
    return parser


def _pairs(args: argparse.Namespace) -> list[tuple[Trajectory, Feedback]]:
    """Return each original trajectory with the feedback on it."""
    taus = read_jsonl(args.trajectories, Trajectory, "item")
    feedback = {record.item: record for record in read_jsonl(args.feedback, Feedback, "item")}
    missing = [tau.item for tau in taus if tau.item not in feedback]
    if missing:
        raise UserError(f"{args.feedback}: no feedback on {missing[0]} ({len(missing)} missing)")
    return [(tau, feedback[tau.item]) for tau in taus]


def _cell(args: argparse.Namespace) -> str:
    return f"revise/{args.condition}/{args.student}/{args.seed}"


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the student is shown where there is feedback, trajectory by trajectory."""
    return _ask(args, _pairs(args))


def _ask(
    args: argparse.Namespace, pairs: Sequence[tuple[Trajectory, Feedback]]
) -> list[Conversation]:
    template = Prompt(args.template)
    return [
        Conversation(
            id=f"{_cell(args)}/{tau.item}",
            messages=combine(tau.exchanges, template.render(feedback=neutralise(feedback.text))),
            seed=derive("revise", args.condition, args.seed, tau.item),
        )
        for tau, feedback in pairs
        if feedback.text is not None
    ]


def main(args: argparse.Namespace) -> None:
    """Write the feedback-conditioned trajectory of every item."""
    role = Params(args.params, PARAMS, student=args.student).get("students.{student}", Role)
    pairs = _pairs(args)
    asked = _ask(args, pairs)
    cell = Run(_cell(args), lambda: open_model(args.model))
    exchanges = iter(
        Exchange(messages=conversation.messages, reply=reply)
        for conversation, reply in zip(asked, cell.generate(asked, role.sampling), strict=True)
    )
    revised = []
    for tau, feedback in pairs:
        if feedback.text is None:
            update = {"condition": args.condition, "kept_original": feedback.status}
        else:
            update = {
                "condition": args.condition,
                "feedback": feedback.text,
                "exchanges": (next(exchanges),),
            }
        revised.append(tau.model_copy(update=update))
    write_jsonl(args.out, revised)
    cell.write_answers(args.calls)
    cell.write_facts(args.facts)


if __name__ == "__main__":
    run(main, parser())
