"""Taking few items of each task ("5 samples from each of our environments", section 5.2)."""

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar

ALL = "all"


class OfTask(Protocol):
    """An item, or what was said on one."""

    @property
    def task(self) -> str:
        """Its task, or environment."""


T = TypeVar("T", bound=OfTask)


def add_per_task(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says how many items of each task are taken."""
    parser.add_argument(
        "--per-task", type=per_task, help=f"only the first so many of each task, or: {ALL}"
    )


def per_task(text: str) -> int | None:
    """Return the number that is meant, None for all. Raises ValueError where it is neither."""
    if text == ALL:
        return None
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def first_of_tasks(records: Sequence[T], per_task: int | None) -> list[T]:
    """Return the first so many records of each task, in their order; None takes all."""
    seen: Counter[str] = Counter()
    kept = []
    for record in records:
        seen[record.task] += 1
        if per_task is None or seen[record.task] <= per_task:
            kept.append(record)
    return kept
