"""Trying again, conditioned on feedback: tau_f ~ pi(. given COMBINE(i, tau_i, f)).

What `revise` (once a condition) and `sample` (the candidates of best-of-k) share.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.conversation import combine, neutralise
from stages.errors import UserError
from stages.few import first_of_tasks
from stages.models.chat import Conversation
from stages.models.open import open_model
from stages.prompts import Prompt
from stages.records import Feedback, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive


def add_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the flags that say what is tried again."""
    parser.add_argument("--condition", required=required, help="slug of the feedback condition")
    parser.add_argument("--trajectories", type=Path, required=required, help="tau_i (JSONL)")
    parser.add_argument("--feedback", type=Path, required=required, help="f on each tau_i (JSONL)")
    parser.add_argument("--per-task", type=int, help="only the first so many of each task")


def read_pairs(args: argparse.Namespace) -> list[tuple[Trajectory, Feedback]]:
    """Return each original trajectory with the feedback on it."""
    taus = first_of_tasks(read_jsonl(args.trajectories, Trajectory, "item"), args.per_task)
    feedback = {record.item: record for record in read_jsonl(args.feedback, Feedback, "item")}
    missing = [tau.item for tau in taus if tau.item not in feedback]
    if missing:
        raise UserError(f"{args.feedback}: no feedback on {missing[0]} ({len(missing)} missing)")
    return [(tau, feedback[tau.item]) for tau in taus]


def ask(
    args: argparse.Namespace,
    pairs: Sequence[tuple[Trajectory, Feedback]],
    cell: str,
    *seed: object,
) -> list[Conversation]:
    """Return the retry prompt of each trajectory that there is feedback on."""
    template = Prompt(args.template)
    step = cell.split("/")[0]
    return [
        Conversation(
            id=f"{cell}/{tau.item}",
            messages=combine(tau.exchanges, template.render(feedback=neutralise(feedback.text))),
            seed=derive(step, args.condition, *seed, tau.item),
            environment=tau.task,
        )
        for tau, feedback in pairs
        if feedback.text is not None
    ]


def retry_items(
    args: argparse.Namespace,
    role: Role,
    cell: str,
    *seed: object,
    draw: int | None = None,
    by: str | None = None,
) -> None:
    """Write the feedback-conditioned trajectory of every item, `by` another model if given.

    Where a feedback failed or was refused, the original answer stands.
    """
    pairs = read_pairs(args)
    asked = ask(args, pairs, cell, *seed)
    run = Run(cell, lambda: open_model(args.model))
    exchanges = iter(run.exchanges(asked, role.sampling))
    tried = []
    for tau, feedback in pairs:
        update: dict[str, object] = {"condition": args.condition, "draw": draw}
        if feedback.text is None:
            update["kept_original"] = feedback.status
        else:
            update |= {"feedback": feedback.text, "exchanges": (next(exchanges),)}
            update |= {} if by is None else {"model": by}
        tried.append(tau.model_copy(update=update))
    write_jsonl(args.out, tried)
    run.write_answers(args.calls)
    run.write_facts(args.facts)
