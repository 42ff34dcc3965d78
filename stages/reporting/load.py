"""What the report reads: items, scores of declared cells, the paper's figures.

Every cell of the grid must be there, over exactly the items of its suite; nothing else may be.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel

from stages.choices import Selector, values
from stages.choices import chosen as choose
from stages.errors import UserError
from stages.floors import Floor
from stages.records import (
    Completion,
    Feedback,
    Fidelity,
    Item,
    Judgement,
    Leak,
    Score,
    Selection,
    Split,
    read_jsonl,
)
from stages.verdicts import Verdict, says_correct

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


class Cell(NamedTuple):
    """A cell of the grid, as its scores name it."""

    student: str
    seed: int
    condition: str | None = None
    draw: int | None = None
    selector: str | None = None
    method: str | None = None
    teacher: str | None = None

    def __str__(self) -> str:
        name = f"student {self.student}, condition {self.condition or 'none'}, seed {self.seed}"
        if self.method:
            name += f", method {self.method}"
        if self.teacher:
            name += f", teacher {self.teacher}"
        if self.draw is not None:
            name += f", draw {self.draw}"
        return name + (f", selector {self.selector}" if self.selector else "")


def read_scores(path: Path, items: pd.DataFrame, cells: Iterable[Cell]) -> pd.DataFrame:
    """Read the scores of one step and check them against the grid.

    Args:
        path: scores of all cells of the step.
        items: what `read_items` returns.
        cells: all of the grid. Where a selector chose the draw, they name the selector only.

    Returns:
        One row a trajectory: student, condition (`BASELINE` for none), method (none before
        training), seed, draw, selector, choice, item, answer (the strict one), tolerant_answer;
        score, tolerant (score); matched, solved, unparsed, truncated, errored, kept (original),
        which are 0 or 1; prompt_tokens and completion_tokens, none where the original was kept,
        since nobody was asked. A reply without an answer is unparsed where it ended by itself and
        truncated where the token limit cut it: that is no failure of the extraction. A program that
        was not run has NaN for scores and solved, and is neither right nor wrong: not_run is 1.
        rule and checks are those of `Score`; teacher is none where only one gave feedback.

    Raises:
        UserError: a row outside the grid or the items, an item twice in a cell, a cell that is
            missing or lacks items, a score above 0 without an answer.
    """
    seen: dict[Cell, set[str]] = {cell: set() for cell in cells}
    rows = []
    for line, score in enumerate(read_jsonl(path, Score), start=1):
        draw = None if score.selector else score.draw
        cell = Cell(
            *(score.model, score.seed, score.condition, draw, score.selector, score.method),
            score.teacher,
        )
        matched = score.outcome in ("correct", "incorrect")
        errored, not_run = score.outcome == "errored", score.outcome == "not_run"
        _check_row(f"{path}:{line}", items, seen, cell, score.item)
        if score.score > 0 and not matched:
            raise UserError(f"{path}:{line}: item {score.item!r} scores without an answer")
        rows.append(
            {
                "student": score.model,
                "condition": score.condition or BASELINE,
                "method": score.method,
                "seed": score.seed,
                "draw": score.draw,
                "selector": score.selector,
                "choice": score.choice,
                "item": score.item,
                "answer": score.strict,
                "tolerant_answer": score.tolerant,
                "score": nan if not_run else score.score,
                "tolerant": nan if not_run else score.tolerant_score,
                "matched": float(matched),
                "solved": nan if not_run else float(score.solved),
                "not_run": float(not_run),
                "rule": score.rule,
                "checks": score.checks,
                "rote": score.rote,
                "teacher": score.teacher,
                "unparsed": float(score.outcome == "unparsed" and not score.truncated),
                "truncated": float(score.outcome == "unparsed" and score.truncated),
                "errored": float(errored),
                "kept": float(score.kept_original is not None),
                **_tokens(score, asked=score.kept_original is None, failed=errored),
            }
        )
    _check_whole(path, items, seen)
    return pd.DataFrame(rows)


def _check_row(
    at: str,
    items: pd.DataFrame,
    seen: Mapping[Cell, set[str]],
    cell: Cell,
    item: str,
    split: Split = "test",
) -> None:
    """Refuse a row outside the grid or the items, or a second one; else note it in `seen`."""
    if cell not in seen:
        raise UserError(f"{at}: {cell} is not in the grid")
    if item not in items.index:
        raise UserError(f"{at}: item {item!r} is not among the {split} items")
    if item in seen[cell]:
        raise UserError(f"{at}: item {item!r} twice for {cell}")
    seen[cell].add(item)


def _check_whole(path: Path, items: pd.DataFrame, seen: Mapping[Cell, Collection[str]]) -> None:
    """Refuse a cell that is missing or lacks items, given the items seen in each."""
    for cell, found in seen.items():
        missing = [item for item in items.index if item not in found]
        if len(missing) == len(items):
            raise UserError(f"{path}: no scores of {cell}")
        if missing:
            raise UserError(
                f"{path}: {cell} lacks {len(missing)} of {len(items)} items, first {missing[0]!r}"
            )


def _tokens(
    of: Score | Completion | None, asked: bool = True, failed: bool = False
) -> dict[str, float]:
    """Return the tokens read and written: none where nobody was asked, NaN where not known.

    Where no reply came and no count either, none were written that anybody could use.
    """
    counts = {}
    for name in ("prompt_tokens", "completion_tokens"):
        value = getattr(of, name) if of is not None and asked else 0
        counts[name] = (0.0 if failed else nan) if value is None else float(value)
    return counts


def judgements(records: Iterable[Judgement], verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """Return a row a judgement: verdict, student, seed, item, flagged, unparsable.

    The last two are 0 or 1: flagged where the answer was taken for incorrect, or the verdict cannot
    be read; unparsable where it cannot.
    """
    rows = []
    for record in records:
        correct = says_correct(verdicts[record.verdict], record)
        rows.append(
            {
                "verdict": record.verdict,
                "student": record.student,
                "seed": record.seed,
                "item": record.item,
                "flagged": float(correct is not True),
                "unparsable": float(correct is None),
            }
        )
    return pd.DataFrame(rows)


def logits(records: Iterable[Selection], selector: Selector) -> pd.DataFrame:
    """Return a row a candidate with a reply: condition, student, seed, item, draw, value."""
    rows = []
    for record in records:
        for draw, value in zip(record.draws, values(selector, record), strict=True):
            rows.append(
                {
                    "condition": record.condition or BASELINE,
                    "student": record.student,
                    "seed": record.seed,
                    "item": record.item,
                    "draw": draw,
                    "value": value,
                }
            )
    return pd.DataFrame(rows)


def chosen(
    records: Iterable[Selection], selector: Selector, candidates: pd.DataFrame
) -> pd.DataFrame:
    """Return a row a selection: item, seed, score of the candidate that it comes to, choice.

    Args:
        records: of one selector, student and pool.
        selector: how they are read.
        candidates: rows of `read_scores`, of that student and pool.
    """
    first = int(candidates["draw"].min())
    rows = []
    for record in records:
        draw, choice = choose(selector, record)
        place = first if draw is None else draw
        rows.append({"item": record.item, "seed": record.seed, "draw": place, "choice": choice})
    keys = ["item", "seed", "draw"]
    scores = candidates[[*keys, "score"]]
    return pd.DataFrame(rows).merge(scores, on=keys, how="left", validate="one_to_one")


def read_leaks(path: Path, items: pd.DataFrame, cells: Iterable[Cell]) -> pd.DataFrame:
    """Read the leak meter: a row a feedback, the fields of `Leak`.

    Raises:
        UserError: as `read_scores`, but for the scores.
    """
    seen: dict[Cell, set[str]] = {cell: set() for cell in cells}
    rows = []
    for line, leak in enumerate(read_jsonl(path, Leak), start=1):
        cell = Cell(leak.student, leak.seed, leak.condition)
        _check_row(f"{path}:{line}", items, seen, cell, leak.item)
        rows.append(leak.model_dump())
    _check_whole(path, items, seen)
    return pd.DataFrame(rows)


def read_fidelity(path: Path, items: Collection[str], cells: Iterable[Cell]) -> pd.DataFrame:
    """Read what became of the replies in cleaning: a row a reply, the fields of `Fidelity`.

    Args:
        path: of all cells.
        items: the train items, by id.
        cells: learners and seeds.

    Raises:
        UserError: as `read_scores`, but for the scores.
    """
    train = pd.DataFrame(index=list(items))
    seen: dict[Cell, set[str]] = {cell: set() for cell in cells}
    rows = []
    for line, fidelity in enumerate(read_jsonl(path, Fidelity), start=1):
        cell = Cell(fidelity.student, fidelity.seed)
        _check_row(f"{path}:{line}", train, seen, cell, fidelity.item, "train")
        rows.append(fidelity.model_dump())
    _check_whole(path, train, seen)
    return pd.DataFrame(rows)


def read_floors(path: Path, items: pd.DataFrame) -> pd.DataFrame:
    """Read what blind players score on the test items: a row a player and item, as `Floor`.

    Raises:
        UserError: a row outside the items, an item twice for a player, a player that lacks items of
            an environment that it plays.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    rows = []
    for line, floor in enumerate(read_jsonl(path, Floor), start=1):
        at, name = f"{path}:{line}", f"the {floor.player} player"
        if floor.item not in items.index:
            raise UserError(f"{at}: item {floor.item!r} is not among the test items")
        found = seen.setdefault((floor.task, floor.player), set())
        if floor.item in found:
            raise UserError(f"{at}: item {floor.item!r} twice for {name}")
        found.add(floor.item)
        rows.append(floor.model_dump())
    for (task, player), found in seen.items():
        missing = set(items.index[items["task"] == task]) - found
        if missing:
            raise UserError(f"{path}: the {player} player lacks items of {task}: {min(missing)}")
    return pd.DataFrame(rows, columns=list(Floor.model_fields))


class _Sandbox(BaseModel):
    backend: str
    weaker: list[str]


class _Facts(BaseModel):
    sandbox: _Sandbox | None


def read_sandboxes(paths: Iterable[Path]) -> list[str]:
    """Read what programs were run in: each sandbox once, with what it lacks; none, if none was.

    Raises:
        UserError: a file is missing, or holds no facts of grading.
    """
    found = []
    for path in paths:
        try:
            sandbox = _Facts.model_validate_json(path.read_bytes()).sandbox
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except ValueError:
            raise UserError(f"{path}: not the facts of scores of environments") from None
        if sandbox is not None:
            lacks = f" (weaker: {', '.join(sandbox.weaker)})" if sandbox.weaker else ""
            found.append(f"{sandbox.backend}{lacks}")
    return list(dict.fromkeys(found))


def feedback_tokens(records: Iterable[Feedback], own: Collection[str]) -> pd.DataFrame:
    """Return a row a feedback: condition, student, seed, item, own, source, tokens.

    `own` says that its condition is one of those in which the student is its own teacher (on the
    laptop, both are one model in all of them), `source` on which other item it was given. Where
    nobody was asked, no tokens were spent.
    """
    rows = []
    for record in records:
        reply = record.exchange.reply if record.exchange else None
        rows.append(
            {
                "condition": record.condition,
                "student": record.student,
                "seed": record.seed,
                "item": record.item,
                "own": record.condition in own,
                "source": record.source,
                **_tokens(reply, failed=reply is not None and reply.failed),
            }
        )
    return pd.DataFrame(rows)


def read_paper(path: Path) -> pd.DataFrame:
    """Read a table of the paper as text, digits as printed. Raises UserError naming the file."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: {str(error).strip().splitlines()[0]}") from None
