"""What the report reads: items, scores of declared cells, the paper's figures.

Every cell of the grid must be there, over exactly the items of its suite; nothing else may be.
"""

from collections import Counter
from collections.abc import Collection
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from stages.errors import UserError
from stages.records import Feedback, Item, Score, read_jsonl

BASELINE = "baseline"
"""Name of the arm without feedback, whose records have no condition."""


def read_items(test: Path, train: Path) -> pd.DataFrame:
    """Read the test items with what blind answers would score on them.

    Args:
        test: items that are scored.
        train: items whose most frequent target in a subtask is its majority answer (of equally
            frequent ones, the first in alphabetical order).

    Returns:
        Indexed by item: task, flagged (bad or duplicate), chance (one over the number of options, 0
        for free-form answers) and majority (1 where the majority answer is right).

    Raises:
        UserError: no test items, an item twice, or a subtask without train items.
    """
    targets: dict[str, Counter[str]] = {}
    for item in read_jsonl(train, Item):
        targets.setdefault(item.task, Counter())[item.target] += 1
    majority = {
        task: min(counts, key=lambda target, counts=counts: (-counts[target], target))  # type: ignore[misc]
        for task, counts in targets.items()
    }
    rows: dict[str, dict[str, Any]] = {}
    for line, item in enumerate(read_jsonl(test, Item), start=1):
        if item.id in rows:
            raise UserError(f"{test}:{line}: item {item.id!r} stands there twice")
        if item.task not in majority:
            raise UserError(f"{train}: no items of {item.task}, which {test} has")
        rows[item.id] = {
            "task": item.task,
            "flagged": bool(item.flags),
            "chance": 1 / len(item.options) if item.options else 0.0,
            "majority": float(item.target == majority[item.task]),
        }
    if not rows:
        raise UserError(f"{test}: no items")
    return pd.DataFrame.from_dict(rows, orient="index")


def read_scores(
    path: Path,
    items: pd.DataFrame,
    students: Collection[str],
    conditions: Collection[str | None],
    seeds: Collection[int],
) -> pd.DataFrame:
    """Read the scores of one step and check them against the grid.

    Args:
        path: scores of all cells of the step.
        items: what `read_items` returns.
        students: models of the grid.
        conditions: feedback conditions of the grid; `[None]` for a step without feedback.
        seeds: seeds of the grid.

    Returns:
        One row a trajectory: student, condition (`BASELINE` for none), seed, item, score, tolerant
        (score), matched, unparsed, truncated, errored, kept (original); the last six are 0 or 1.
        A reply without an answer is unparsed where it ended by itself and truncated where the token
        limit cut it: that is no failure of the extraction.

    Raises:
        UserError: a row outside the grid or the items, an item twice in a cell, a cell that is
            missing or lacks items.
    """
    grid = set(product(students, conditions, seeds))
    seen: dict[tuple[str, str | None, int], set[str]] = {cell: set() for cell in grid}
    rows = []
    for line, score in enumerate(read_jsonl(path, Score), start=1):
        cell = (score.model, score.condition, score.seed)
        if cell not in grid:
            raise UserError(f"{path}:{line}: {_name(*cell)} is not in the grid")
        if score.item not in items.index:
            raise UserError(f"{path}:{line}: item {score.item!r} is not among the test items")
        if score.item in seen[cell]:
            raise UserError(f"{path}:{line}: item {score.item!r} twice for {_name(*cell)}")
        seen[cell].add(score.item)
        rows.append(
            {
                "student": score.model,
                "condition": score.condition or BASELINE,
                "seed": score.seed,
                "item": score.item,
                "score": score.score,
                "tolerant": score.tolerant_score,
                "matched": float(score.outcome in ("correct", "incorrect")),
                "unparsed": float(score.outcome == "unparsed" and not score.truncated),
                "truncated": float(score.outcome == "unparsed" and score.truncated),
                "errored": float(score.outcome == "errored"),
                "kept": float(score.kept_original is not None),
            }
        )
    for cell in product(students, conditions, seeds):
        missing = [item for item in items.index if item not in seen[cell]]
        if len(missing) == len(items):
            raise UserError(f"{path}: no scores of {_name(*cell)}")
        if missing:
            raise UserError(
                f"{path}: {_name(*cell)} lacks {len(missing)} of {len(items)} items, "
                f"first {missing[0]!r}"
            )
    return pd.DataFrame(rows)


def read_feedback(path: Path, items: pd.DataFrame) -> list[Feedback]:
    """Read one cell's feedback. Raises UserError where it is not over exactly the test items."""
    records = read_jsonl(path, Feedback, "item")
    odd = sorted({record.item for record in records} ^ set(items.index))
    if odd:
        raise UserError(f"{path}: not the test items: {odd[0]} ({len(odd)} differ)")
    return records


def read_paper(path: Path) -> pd.DataFrame:
    """Read a table of the paper as text, digits as printed. Raises UserError naming the file."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: {str(error).strip().splitlines()[0]}") from None


def _name(student: str, condition: str | None, seed: int) -> str:
    return f"student {student}, condition {condition or 'none'}, seed {seed}"
