"""Answering items without feedback: tau_i ~ pi(. given i), by the student or by the teacher.

What `respond` (the student, sampled, by seed) and `answer` (the teacher by itself) share.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.conversation import opening
from stages.models.chat import Conversation
from stages.models.open import open_model
from stages.prompts import Prompt
from stages.records import Exchange, Item, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that both stages have."""
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument("--template", type=Path, required=True, help="task prompt (Jinja)")
    parser.add_argument("--out", type=Path, required=True, help="Trajectories to write (JSONL)")
    parser.add_argument("--calls", type=Path, required=True, help="raw answers to write (JSONL)")
    parser.add_argument("--facts", type=Path, required=True, help="run facts to write (JSON)")


def read_items(args: argparse.Namespace) -> list[Item]:
    """Return the items of the cell."""
    return read_jsonl(args.items, Item, "id")


def ask(
    args: argparse.Namespace, items: Sequence[Item], role: Role, cell: str, seed: int
) -> list[Conversation]:
    """Return the task prompt of each item as a conversation of the cell named `cell`."""
    template = Prompt(args.template)
    step = cell.split("/")[0]
    return [
        Conversation(
            id=f"{cell}/{item.id}",
            messages=opening(
                role.system,
                template.render(question=item.question, answer_format=item.answer_format),
            ),
            seed=derive(step, seed, item.id),
        )
        for item in items
    ]


def answer_items(args: argparse.Namespace, role: Role, cell: str, slug: str, seed: int) -> None:
    """Answer every item of the cell and write the trajectories."""
    items = read_items(args)
    conversations = ask(args, items, role, cell, seed)
    run = Run(cell, lambda: open_model(args.model))
    replies = run.generate(conversations, role.sampling)
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
                exchanges=(Exchange(messages=conversation.messages, reply=reply),),
            )
            for item, conversation, reply in zip(items, conversations, replies, strict=True)
        ),
    )
    run.write_answers(args.calls)
    run.write_facts(args.facts)
