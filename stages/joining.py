"""Reading what several files say of the same items."""

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from stages.errors import UserError
from stages.records import Cleaning, Feedback, Judgement, Trajectory, read_jsonl

T = TypeVar("T", Trajectory, Feedback, Judgement, Cleaning)


def by_item(path: Path, kind: type[T], items: Collection[str], source: Path) -> dict[str, T]:
    """Return the records of a file by item.

    Raises:
        UserError: a record is wrong, or they are not on the `items`, which are those of `source`.
    """
    records = {record.item: record for record in read_jsonl(path, kind, "item")}
    odd = sorted(records.keys() ^ set(items))
    if odd:
        raise UserError(f"{path}: not the items of {source}: {odd[0]} ({len(odd)} differ)")
    return records
