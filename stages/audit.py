r"""Agreement of two raters' marks of the manual audit (section 5.1.2).

    python -m stages.audit audit-ann.json audit-ben.json

The files are those that reports/explorer exports; the sample that they mark is beside the page.
For each kind of noise: how often either rater sees it, how often they agree, and Cohen's kappa
with its 95 % bootstrap interval, within each transition and over all retries, where each sampled
one counts for those of its transition that it stands for. Then the retries that they mark
differently. Only what both have marked counts.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stages.auditing import (
    NOISES,
    RUBRIC,
    SAMPLE_FILE,
    TRANSITIONS,
    Mark,
    Marks,
    Noise,
    Sample,
    Sampled,
    Transition,
    read,
)
from stages.cli import make_parser, run
from stages.errors import UserError
from stages.text_table import columns

if TYPE_CHECKING:
    from stages.stats import Array


class Pair(NamedTuple):
    """What both raters say of a retry."""

    row: Sampled
    first: Mark
    second: Mark


class Agreement(NamedTuple):
    """Of one kind of noise: shares of either rater, share agreed on, and Cohen's kappa.

    `kappa` is NaN where chance alone would always agree; `low` and `high` are its 95 % interval,
    over the resamples that have one; `dropped` of them do not.
    """

    first: float
    second: float
    agreed: float
    kappa: float
    low: float
    high: float
    dropped: int


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser("stages.audit", __doc__)
    parser.add_argument("first", type=Path, help="a rater's marks (JSON)")
    parser.add_argument("second", type=Path, help="the other rater's")
    parser.add_argument(
        "--sample", type=Path, default=Path("reports/explorer"), help="folder of the explorer"
    )
    parser.add_argument("--draws", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    return parser


def read_pairs(sample: Sample, first: Path, second: Path) -> tuple[Marks, Marks, list[Pair]]:
    """Return two raters' files, and what both marked, in the order of the sample.

    Raises:
        UserError: a file is wrong or marks another sample, both are by one rater, or nothing is
            marked by both.
    """
    known = {row.row for row in sample.rows}
    files = []
    for path in (first, second):
        marks = read(path, Marks)
        if marks.sample != sample.digest:
            raise UserError(f"{path}: marks another sample ({marks.sample}, not {sample.digest})")
        if unknown := sorted(marks.marks.keys() - known):
            raise UserError(f"{path}: {unknown[0]} is not in the sample")
        files.append(marks)
    one, other = files
    if one.rater == other.rater:
        raise UserError(f"{second}: by the same rater as {first} ({one.rater})")
    undecided = Mark(types=None)
    pairs = [
        Pair(row, one.marks.get(row.row, undecided), other.marks.get(row.row, undecided))
        for row in sample.rows
    ]
    both = [pair for pair in pairs if None not in (pair.first.types, pair.second.types)]
    if not both:
        raise UserError(f"{first} and {second}: no retry is marked in both")
    return one, other, both


def weights(pairs: Sequence[Pair], sample: Sample) -> list[float]:
    """Return how many retries each marked one stands for: those of its transition, shared out."""
    marked = Counter(pair.row.transition for pair in pairs)
    return [
        sample.strata[pair.row.transition].population / marked[pair.row.transition]
        for pair in pairs
    ]


def agreement(
    pairs: Sequence[Pair], weighted: Sequence[float], noise: Noise, draws: int, seed: int
) -> Agreement:
    """Return how two raters agree on one kind of noise.

    Args:
        pairs: what both say.
        weighted: how much each counts.
        noise: the kind.
        draws: bootstrap resamples, within transitions.
        seed: seeds them.
    """
    import numpy as np

    from stages import stats

    marks = np.array(
        [[noise in (pair.first.types or ()), noise in (pair.second.types or ())] for pair in pairs],
        dtype=float,
    )
    weight = np.array(weighted, dtype=float)
    values = np.column_stack([np.ones(len(pairs)), marks, marks[:, 0] == marks[:, 1]])
    values *= weight[:, None]
    strata = [pair.row.transition for pair in pairs]
    drawn = stats.stratified_means(values, strata, draws, seed)
    replicates = _kappa(drawn.means)
    low, high = stats.percentile(replicates, drawn.freedom)
    total, first, second, agreed = values.mean(axis=0)
    return Agreement(
        float(first / total),
        float(second / total),
        float(agreed / total),
        float(_kappa(values.mean(axis=0)[None])[0]),
        low,
        high,
        stats.dropped(replicates),
    )


def _kappa(means: "Array") -> "Array":
    """Return Cohen's kappa, NaN where it is 0 / 0.

    Args:
        means: (draws, 4) of weight, and of weight where the first rater marks, the second one
            does, and both say the same.
    """
    from stages import stats

    total, first, second, agreed = means.T
    one, other = stats.quotient(first, total), stats.quotient(second, total)
    chance = one * other + (1 - one) * (1 - other)
    return stats.quotient(stats.quotient(agreed, total) - chance, 1 - chance)


def report(
    sample: Sample, first: Marks, second: Marks, pairs: Sequence[Pair], draws: int, seed: int
) -> str:
    """Return the agreement as text."""
    lines = [
        f"A  {first.rater}",
        f"B  {second.rater}",
        f"{len(pairs)} of {len(sample.rows)} retries marked by both",
    ]
    strata = {name: [p for p in pairs if p.row.transition == name] for name in TRANSITIONS}
    sizes = {name: sample.strata[name].population for name in TRANSITIONS}
    unseen = [_words(name) for name, own in strata.items() if sizes[name] and not own]
    total = sum(sizes[name] for name, own in strata.items() if own)
    title = f"all, weighted back to {total} retries"
    title += f" (nothing marked of {', '.join(unseen)})" if unseen else ""
    groups = {title: pairs, **{_words(name): own for name, own in strata.items()}}
    for name, own in groups.items():
        if own:
            lines += ["", f"{name}: n = {len(own)}", *_table(own, sample, draws, seed)]
    return "\n".join([*lines, "", *_disagreements(pairs)]) + "\n"


def _words(transition: Transition) -> str:
    return transition.replace("_", " -> ")


def _table(pairs: Sequence[Pair], sample: Sample, draws: int, seed: int) -> list[str]:
    weighted = weights(pairs, sample)
    rows: list[Sequence[str]] = [("", "A", "B", "agreed", "kappa", "95 % interval")]
    notes = []
    for noise in NOISES:
        found = agreement(pairs, weighted, noise, draws, seed)
        name = RUBRIC[noise][0]
        kappa, low, high = (_figure(value) for value in (found.kappa, found.low, found.high))
        interval = "-" if "-" in (low, high) else f"[{low}, {high}]"
        shares = (f"{share:.1%}" for share in (found.first, found.second, found.agreed))
        rows.append((name, *shares, kappa, interval))
        if found.dropped and interval != "-":
            notes.append(f"{name}: {found.dropped} of {draws} resamples have no kappa")
    return [f"  {line}" for line in (*columns(rows), *notes)]


def _figure(value: float) -> str:
    """Return a figure of two decimals, "-" for NaN: a minus sign before 0.00 says nothing."""
    return "-" if value != value else f"{round(value, 2) + 0.0:.2f}"


def _disagreements(pairs: Sequence[Pair]) -> list[str]:
    apart = [pair for pair in pairs if set(pair.first.types or ()) != set(pair.second.types or ())]
    lines = [f"marked differently: {len(apart)}"]
    for pair in apart:
        lines.append(f"  {pair.row.row}")
        for name, mark in (("A", pair.first), ("B", pair.second)):
            note = f"; {_legible(mark.note)}" if mark.note else ""
            lines.append(f"    {name}  {', '.join(mark.types or ()) or 'none'}{note}")
    return lines


def _legible(note: str) -> str:
    """Return a note on one line, without what could steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in note).strip()


def main(args: argparse.Namespace) -> None:
    """Print the agreement."""
    if args.draws < 1:
        raise UserError(f"--draws {args.draws}: at least 1")
    sample = read(args.sample / SAMPLE_FILE, Sample)
    first, second, pairs = read_pairs(sample, args.first, args.second)
    sys.stdout.write(report(sample, first, second, pairs, args.draws, args.seed))


if __name__ == "__main__":
    run(main, parser())
