"""Pairing each item with another one, at random but for what the two must have in common."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple


class Group(NamedTuple):
    """What two paired items must have in common: `kind` always, `task` where that is possible."""

    task: str
    kind: bool


def partners(groups: Mapping[str, Group], seed: int) -> dict[str, str]:
    """Return for each item another one of its group, chosen by one seeded random cycle a group.

    Items alone in their group are paired among themselves within their kind; one that is still
    alone gets any other item of its kind, and none where there is no other.
    """
    rng = Random(seed)
    pairs: dict[str, str] = {}
    left: dict[bool, list[str]] = {}
    for group in sorted(set(groups.values())):
        members = sorted(item for item, own in groups.items() if own == group)
        if len(members) > 1:
            pairs |= _cycle(members, rng)
        else:
            left.setdefault(group.kind, []).extend(members)
    for kind, members in sorted(left.items()):
        if len(members) > 1:
            pairs |= _cycle(members, rng)
            continue
        [alone] = members
        others = sorted(i for i, own in groups.items() if own.kind == kind and i != alone)
        if others:
            pairs[alone] = rng.choice(others)
    return pairs


def _cycle(members: Sequence[str], rng: Random) -> dict[str, str]:
    order = rng.sample(members, len(members))
    return dict(zip(order, [*order[1:], order[0]], strict=True))
