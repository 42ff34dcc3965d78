"""What the captions of all figures say alike: whose the values are, of how many, how sure.

Plain text. Names in it are as they come, on one line; who prints it must escape it.
"""

from collections.abc import Iterable, Sequence

from stages.reporting.built import Built
from stages.reporting.figures import line


def listed(texts: Iterable[str]) -> str:
    """Return texts with commas between them, and a word before the last."""
    *rest, last = [line(text) for text in texts] or ["none"]
    return f"{', '.join(rest)} and {last}" if rest else last


def about(built: Built, students: Sequence[str] | None = None) -> str:
    """Return what the values are of: students, teacher, items, seeds, scale, and their limits."""
    slugs = built.grid.students if students is None else students
    names = listed(built.config.label(slug) for slug in slugs)
    items = built.results.items
    text = (
        f"{'Students' if len(slugs) > 1 else 'Student'} {names}; "
        f"teacher {line(built.config.label(built.grid.teacher))}; scale '{line(built.scale)}'; "
        f"n = {len(items):,} items of {items['task'].nunique()} subtasks; {seeds(built)}."
    )
    if built.scale == "laptop":
        text += (
            " One 135M model plays both roles at this scale, on families of BIG-bench: "
            "the values are not comparable with the paper's."
        )
    return text


def seeds(built: Built) -> str:
    """Return the seeds in words."""
    own = built.grid.seeds
    return f"{'seeds' if len(own) > 1 else 'seed'} {', '.join(map(str, own))}"


def bootstrap(built: Built) -> str:
    """Return how bootstrap intervals are made."""
    return f"by bootstrap over items within subtasks ({built.config.bootstrap:,} resamples)"


def intervals(built: Built, wilson: str = "") -> str:
    """Return what kind the intervals are.

    Args:
        built: the run.
        wilson: what has Wilson's interval where there is one seed; "" for nothing.
    """
    if len(built.grid.seeds) > 1:
        return f"95 % intervals are of the mean over seeds, {bootstrap(built)}."
    if wilson:
        return f"95 % intervals are Wilson's for {wilson}, else {bootstrap(built)}."
    return f"95 % intervals are {bootstrap(built)}."


def beside(built: Built) -> str:
    """Return which of the paper's students stands beside which of ours."""
    sizes = built.config.paper_students
    pairs = [
        f"its {line(sizes[slug])} student beside {line(built.config.label(slug))}"
        for slug in built.grid.students
        if slug in sizes
    ]
    return f"Hollow: the paper's figures, of {listed(pairs)}." if pairs else ""


def joined(*parts: str) -> str:
    """Return sentences as one paragraph."""
    return " ".join(part for part in parts if part)
