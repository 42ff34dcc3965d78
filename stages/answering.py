"""Answering items without feedback: tau_i ~ pi(. given i), by the student or by the teacher.

What `respond` (the student, sampled, by seed), `answer` (the teacher by itself) and `sample` (the
candidates of best-of-k) and `evaluate` (a trained student) share. Questions are answered in one
reply; in environments an episode is played to its end.
"""

import argparse
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

from stages.conversation import opening
from stages.few import add_per_task, first_of_tasks
from stages.models.chat import Conversation
from stages.models.open import open_model
from stages.playing import Episode, open_referee, play
from stages.prompts import Prompt
from stages.records import Exchange, Item, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive


def add_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the flag that says what is answered."""
    parser.add_argument("--items", type=Path, required=required, help="Items (JSONL)")
    add_per_task(parser)


def read_items(args: argparse.Namespace) -> list[Item]:
    """Return the items of the cell."""
    return first_of_tasks(read_jsonl(args.items, Item, "id"), args.per_task)


def ask(
    args: argparse.Namespace,
    items: Sequence[Item],
    role: Role,
    cell: str,
    *seed: object,
    step: str | None = None,
    by: Callable[[Item], str] = attrgetter("task"),
) -> list[Conversation]:
    """Return the task prompt of each item as a conversation of the cell named `cell`.

    Seeds follow from `step`, which is that of the cell if not given: a trained student's replies
    are drawn with the numbers of `respond`, so that what differs is the training. `by` says which
    environment's model answers an item, where there are several.
    """
    template = Prompt(args.template)
    step = step or cell.split("/")[0]
    return [
        Conversation(
            id=f"{cell}/{item.id}",
            messages=opening(
                role.system,
                template.render(question=item.question, answer_format=item.answer_format or None),
            ),
            seed=derive(step, *seed, item.id),
            environment=by(item),
        )
        for item in items
    ]


def answer_items(
    args: argparse.Namespace,
    role: Role,
    cell: str,
    slug: str,
    seed: int,
    draw: int | None = None,
    method: str | None = None,
    step: str | None = None,
    by: Callable[[Item], str] = attrgetter("task"),
) -> None:
    """Answer every item of the cell and write the trajectories."""
    items = read_items(args)
    parts = (seed,) if draw is None else (seed, draw)
    run = Run(cell, lambda: open_model(args.model))
    asked = ask(args, items, role, cell, *parts, step=step, by=by)
    played: list[Sequence[Exchange]]
    if args.environments is None:
        played = [(exchange,) for exchange in run.exchanges(asked, role.sampling)]
    else:
        seeds = (step or cell.split("/")[0], *parts)
        episodes = [
            Episode(item, False, conversation.messages, seeds, by(item))
            for item, conversation in zip(items, asked, strict=True)
        ]
        referee = open_referee(args.environments)
        play(run, cell, episodes, referee, Prompt(args.template), role.sampling)
        played = [episode.exchanges for episode in episodes]
    write_jsonl(
        args.out,
        (
            Trajectory(
                item=item.id,
                suite=item.suite,
                task=item.task,
                split=item.split,
                model=slug,
                seed=seed,
                exchanges=tuple(exchanges),
                draw=draw,
                method=method,
            )
            for item, exchanges in zip(items, played, strict=True)
        ),
    )
    run.write_answers(args.calls)
    run.write_facts(args.facts)
