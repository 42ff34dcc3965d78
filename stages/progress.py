"""Progress of long work: rate and time left on a terminal, silence elsewhere."""

from typing import Any

from tqdm import tqdm


def bar(total: int, what: str, unit: str) -> "tqdm[Any]":
    """Return a progress bar over `total` units; it shows nothing when stderr is no terminal."""
    return tqdm(total=total, desc=what, unit=unit, disable=None, dynamic_ncols=True)
