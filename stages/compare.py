r"""Compare two cells, paired: which items flipped, both ways, and whether that can be chance.

    python -m stages.compare respond/qwen2_7b revise/unconstrained/qwen2_7b
    python -m stages.compare revise/lazy/qwen2_7b/0 revise/lazy/qwen2_7b/1
    python -m stages.compare respond/qwen2_7b evaluate/feedback_sft/qwen2_7b
    python -m stages.compare revise/unconstrained/qwen2_7b longer:revise/unconstrained/qwen2_7b

A cell is its step and axes: respond/STUDENT, answer/TEACHER, revise/CONDITION/STUDENT,
sample/POOL/STUDENT/DRAW, select/POOL/SELECTOR/STUDENT (pools: alone, conditioned), and after
training evaluate/METHOD/STUDENT, revise_tuned/METHOD/STUDENT. A seed may follow; without one
all seeds are taken, and scores are averaged within an item. In front may stand, with a colon, the
name of a DVC experiment or any git revision. The difference is that of the second cell from the
first; items flip where their score changes.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.records import Outcome, Score, parse_jsonl, read_jsonl
from stages.text_table import columns

AXES = {
    "respond": ("student",),
    "answer": ("student",),
    "revise": ("condition", "student"),
    "sample": ("pool", "student", "draw"),
    "select": ("pool", "selector", "student"),
    "evaluate": ("method", "student"),
    "revise_tuned": ("method", "student"),
}


@dataclass(frozen=True)
class Cell:
    """One side of the comparison.

    Attributes:
        revision: git revision or experiment; None for the working tree.
        step: of the pipeline.
        axes: which scores of the step are meant, by axis.
    """

    revision: str | None
    step: str
    axes: Mapping[str, str]

    def holds(self, score: Score) -> bool:
        """Tell whether a score is of this cell."""
        own = {
            "student": score.model,
            "condition": score.condition,
            "pool": "alone" if score.condition is None else "conditioned",
            "selector": score.selector,
            "draw": str(score.draw),
            "method": score.method,
            "seed": str(score.seed),
        }
        return all(own[axis] == value for axis, value in self.axes.items())


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser("stages.compare", __doc__)
    parser.add_argument("first", help="[REVISION:]STEP/AXES")
    parser.add_argument("second", help="[REVISION:]STEP/AXES")
    parser.add_argument(
        "--scores",
        default="data/score/bbh",
        help="folder of the scores, from the repository's root",
    )
    parser.add_argument("--draws", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    return parser


def parse_cell(text: str) -> Cell:
    """Return the cell that a text names. Raises UserError where it names none."""
    before, colon, name = text.rpartition(":")
    step, *values = name.split("/")
    if step not in AXES:
        raise UserError(f"{text}: the steps are {', '.join(AXES)}")
    axes = AXES[step] if step == "answer" else (*AXES[step], "seed")
    if len(values) not in (len(AXES[step]), len(axes)):
        raise UserError(f"{text}: {step} takes {'/'.join(AXES[step]).upper()}")
    # Fewer values than axes: the seed is left open.
    return Cell(before if colon else None, step, dict(zip(axes, values, strict=False)))


def read_cell(cell: Cell, name: str, folder: str) -> dict[str, list[Score]]:
    """Return the scores of a cell by item, in the order of their seeds.

    Raises:
        UserError: no such revision, file or cell.
    """
    path = f"{folder}/{cell.step}.jsonl"
    if cell.revision is None:
        scores = read_jsonl(Path(path), Score)
    else:
        scores = parse_jsonl(_read_at(cell.revision, path), f"{cell.revision}:{path}", Score)
    found: dict[str, list[Score]] = {}
    for score in sorted(filter(cell.holds, scores), key=lambda score: score.seed):
        found.setdefault(score.item, []).append(score)
    if not found:
        raise UserError(f"{name}: no such scores in {path}")
    return found


def _read_at(revision: str, path: str) -> str:
    """Return a file as it is at a git revision or in an experiment."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    try:
        with Repo() as here:
            found = resolve_rev(here.scm, revision)
            with Repo(here.root_dir, rev=found) as there:
                text: str = there.dvcfs.read_text(f"/{path}", encoding="utf-8")
                return text
    except RevError:
        raise UserError(f"{revision}: no such revision or experiment") from None
    except FileNotFoundError:
        raise UserError(f"{revision}:{path}: not there, or not in DVC's cache") from None
    except DvcException as error:
        raise UserError(f"{revision}: {str(error).splitlines()[0]}") from None


def report(
    first: Mapping[str, Sequence[Score]],
    second: Mapping[str, Sequence[Score]],
    names: tuple[str, str],
    draws: int,
    seed: int,
) -> str:
    """Return the comparison as text.

    Raises:
        UserError: the cells are not over the same items.
    """
    import numpy as np

    from stages import stats

    odd = sorted(first.keys() ^ second.keys())
    if odd:
        raise UserError(f"the cells are not over the same items: {odd[0]} ({len(odd)} differ)")
    items = sorted(first)
    scores = np.array(
        [[np.mean([s.score for s in side[item]]) for item in items] for side in (first, second)]
    )
    difference = scores[1] - scores[0]
    tasks = [first[item][0].task for item in items]
    boot = stats.stratified_means(difference[:, None], tasks, draws, seed)
    low, high = stats.percentile(boot.means[:, 0], boot.freedom)
    binary = bool(np.isin(scores, (0, 1)).all())
    test = "exact McNemar test" if binary else "paired permutation test"
    p = stats.mcnemar(difference) if binary else stats.sign_flip(difference, draws, seed)
    lines = [
        f"A  {scores[0].mean():.3f}  {names[0]}",
        f"B  {scores[1].mean():.3f}  {names[1]}",
        f"B - A  {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}], {len(items)} items of"
        f" {len(set(tasks))} subtasks; {test}: p = {p:.3f};"
        f" smallest detectable: {stats.smallest_detectable(difference):.3f}",
        "",
        *_outcomes(first, second, items),
    ]
    for title, sign in (("better in B", 1), ("worse in B", -1)):
        moved = [item for item, d in zip(items, difference, strict=True) if d * sign > 1e-12]
        lines += ["", f"{title}: {len(moved)}"]
        lines += [
            f"  {item}  {_answers(first[item])} -> {_answers(second[item])}" for item in moved
        ]
    return "\n".join(lines) + "\n"


def _outcomes(
    first: Mapping[str, Sequence[Score]],
    second: Mapping[str, Sequence[Score]],
    items: Sequence[str],
) -> list[str]:
    """Return how often each outcome in A goes with each in B, as lines; none if seeds differ."""
    pairs = Counter(
        (one.outcome, other.outcome)
        for item in items
        if len(first[item]) == len(second[item])
        for one, other in zip(first[item], second[item], strict=True)
    )
    if not pairs:
        return []
    kinds: tuple[Outcome, ...] = get_args(Outcome)
    rows: list[Sequence[str]] = [("A \\ B", *kinds)]
    rows += [(one, *(str(pairs[one, other]) for other in kinds)) for one in kinds]
    return columns(rows)


def _answers(scores: Sequence[Score]) -> str:
    return " | ".join(score.strict or score.outcome for score in scores)


def main(args: argparse.Namespace) -> None:
    """Print the comparison."""
    names = (args.first, args.second)
    first, second = (read_cell(parse_cell(name), name, args.scores) for name in names)
    sys.stdout.write(report(first, second, names, args.draws, args.seed))


if __name__ == "__main__":
    run(main, parser())
