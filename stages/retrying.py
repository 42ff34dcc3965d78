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
from stages.playing import Episode, open_referee, play
from stages.prompts import Prompt
from stages.records import Exchange, Feedback, Item, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive


def add_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the flags that say what is tried again."""
    parser.add_argument("--condition", required=required, help="slug of the feedback condition")
    parser.add_argument("--trajectories", type=Path, required=required, help="tau_i (JSONL)")
    parser.add_argument("--feedback", type=Path, required=required, help="f on each tau_i (JSONL)")


def read_pairs(args: argparse.Namespace) -> list[tuple[Trajectory, Feedback]]:
    """Return each original trajectory with the feedback on it."""
    taus = first_of_tasks(read_jsonl(args.trajectories, Trajectory, "item"), args.per_task)
    feedback = {record.item: record for record in read_jsonl(args.feedback, Feedback, "item")}
    missing = [tau.item for tau in taus if tau.item not in feedback]
    if missing:
        raise UserError(f"{args.feedback}: no feedback on {missing[0]} ({len(missing)} missing)")
    return [(tau, feedback[tau.item]) for tau in taus]


def read_instances(args: argparse.Namespace) -> dict[str, Item]:
    """Return the instances that are played again, none where these are questions."""
    if args.environments is None:
        return {}
    if args.items is None:
        raise UserError("--environments needs --items")
    return {item.id: item for item in read_jsonl(args.items, Item, "id")}


def ask(
    args: argparse.Namespace,
    pairs: Sequence[tuple[Trajectory, Feedback]],
    cell: str,
    *seed: object,
) -> list[Conversation]:
    """Return the retry prompt of each trajectory that there is feedback on.

    In an environment it also shows the opening turn of what is played again.
    """
    template = Prompt(args.template)
    step = cell.split("/")[0]
    instances = read_instances(args)
    conversations = []
    for tau, feedback in pairs:
        if feedback.text is None:
            continue
        shown: dict[str, object] = {"feedback": neutralise(feedback.text)}
        if args.environments is not None:
            item = instances.get(tau.item)
            if item is None:
                raise UserError(f"{args.trajectories}: {tau.item} is not in {args.items}")
            shown |= {
                "question": item.question,
                "answer_format": item.answer_format or None,
                "several_turns": open_referee(args.environments).turns(item) > 1,
            }
        conversations.append(
            Conversation(
                id=f"{cell}/{tau.item}",
                messages=combine(tau.exchanges, template.render(**shown)),
                seed=derive(step, args.condition, *seed, tau.item),
                environment=tau.task,
            )
        )
    return conversations


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
    played: list[Sequence[Exchange]]
    if args.environments is None:
        played = [(exchange,) for exchange in run.exchanges(asked, role.sampling)]
    else:
        instances = read_instances(args)
        seeds = (cell.split("/")[0], args.condition, *seed)
        given = [tau for tau, feedback in pairs if feedback.text is not None]
        episodes = [
            Episode(instances[tau.item], True, conversation.messages, seeds, tau.task)
            for tau, conversation in zip(given, asked, strict=True)
        ]
        referee = open_referee(args.environments)
        play(run, cell, episodes, referee, Prompt(args.turns), role.sampling)
        played = [episode.exchanges for episode in episodes]
    exchanges = iter(played)
    tried = []
    for tau, feedback in pairs:
        update: dict[str, object] = {"condition": args.condition, "draw": draw}
        if feedback.text is None:
            update["kept_original"] = feedback.status
        else:
            update |= {"feedback": feedback.text, "exchanges": tuple(next(exchanges))}
            update |= {} if by is None else {"model": by}
        tried.append(tau.model_copy(update=update))
    write_jsonl(args.out, tried)
    run.write_answers(args.calls)
    run.write_facts(args.facts)
