"""Marks on items that cannot be answered rightly or that stand on both sides of the split.

Rules only, no list of known items: they find those of the BBH release and hold for other sources.
Flagged items stay in; tables are given with and without them.
"""

from collections import Counter, defaultdict

from stages.records import Item


def flagged(items: list[Item]) -> list[Item]:
    """Return the items of one whole subtask, train and test, with their flags."""
    same: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        same[item.question].append(item)
    return [
        item.model_copy(update={"flags": (*_bad(item), *_duplicates(item, same[item.question]))})
        for item in items
    ]


def _bad(item: Item) -> list[str]:
    flags = []
    if item.options and item.target not in item.options:
        flags.append("bad:gold_not_an_option")
    if any(count > 1 for count in Counter(item.options.values()).values()):
        flags.append("bad:duplicate_options")
    if len(item.options) == 1:
        flags.append("bad:single_option")
    return flags


def _duplicates(item: Item, same: list[Item]) -> list[str]:
    return [f"duplicate:{other.id}" for other in same if other.split != item.split]
