"""What preparing a suite gives, whatever its source."""

from collections import Counter
from dataclasses import dataclass, field

from stages.records import Item


@dataclass
class Prepared:
    """What a source gives: the items of each split, and why the other ones were left out."""

    train: list[Item] = field(default_factory=list)
    test: list[Item] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
