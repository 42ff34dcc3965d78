"""The trajectories of a suite, item by item, each with its feedback, score and original."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from pydantic import ValidationError

from stages.auditing import Transition
from stages.errors import UserError
from stages.records import Choice, Feedback, Item, Score, Trajectory, first_error, read_jsonl
from stages.reporting.explorer_cells import Cell, Suite

# How many items are held in memory, of all cells.
_BATCH = 64

R = TypeVar("R", Trajectory, Feedback, Score)
Key = tuple[object, ...]


@dataclass(frozen=True)
class Joined:
    """One trajectory, and what belongs to it.

    Attributes:
        cell: of the trajectory.
        tau: the trajectory itself.
        score: how it did.
        feedback: what it was conditioned on, if anything.
        chosen: which selectors chose it among the candidates, and how each came to it.
        original: the answer that it is compared with, if there is one.
    """

    cell: Cell
    tau: Trajectory
    score: Score
    feedback: Feedback | None
    chosen: Mapping[str, Choice]
    original: "Joined | None"

    @property
    def transition(self) -> Transition | None:
        """What changed from the original; None without one, or where a program was not run."""
        if self.original is None or "not_run" in (self.score.outcome, self.original.score.outcome):
            return None
        if self.original.score.solved:
            return "right_right" if self.score.solved else "right_wrong"
        return "wrong_right" if self.score.solved else "wrong_wrong"


class _Lines(Generic[R]):
    """The records of a file, some at a time: one on each item, in the order of the items."""

    def __init__(self, path: Path, kind: type[R], offset: int = 0, number: int = 0) -> None:
        self._path = path
        self._kind: type[R] = kind
        self._offset, self._number = offset, number

    def take(self, items: Sequence[Item]) -> list[R]:
        """Return the records on the next items."""
        with _opened(self._path) as stream:
            stream.seek(self._offset)
            lines = list(islice(stream, len(items)))
            self._offset = stream.tell()
        if len(lines) < len(items):
            raise UserError(f"{self._path}: nothing on {items[len(lines)].id}")
        records = []
        for item, line in zip(items, lines, strict=True):
            self._number += 1
            record = _parsed(self._path, self._number, line, self._kind)
            if record.item != item.id:
                at = f"{self._path}:{self._number}"
                raise UserError(f"{at}: {record.item} stands where {item.id} should")
            records.append(record)
        return records

    def end(self) -> None:
        """Raise UserError where the file goes on after the last item."""
        if self._path.stat().st_size > self._offset:
            raise UserError(f"{self._path}:{self._number + 1}: goes on after the last item")


class _Some(Generic[R]):
    """The records of a file that is on some of the items, all read at once: they are few."""

    def __init__(self, path: Path, records: Iterable[R]) -> None:
        self._path = path
        self._left: dict[str, R] = {}
        for record in records:
            if record.item in self._left:
                raise UserError(f"{path}: {record.item}: twice in a cell")
            self._left[record.item] = record

    def take(self, items: Sequence[Item]) -> list[R | None]:
        """Return the records on the next items, None on those that have none."""
        return [self._left.pop(item.id, None) for item in items]

    def end(self) -> None:
        """Raise UserError where a record is on none of the items."""
        if self._left:
            raise UserError(f"{self._path}: {min(self._left)}: not one of the items")


def joined(suite: Suite) -> Iterator[tuple[Item, list[Joined]]]:
    """Yield each item of a suite with its trajectories, in the order of the cells.

    Raises:
        UserError: a file is missing or wrong, is not on exactly the items in their order (for some
            cells: on none but the items), or disagrees with another one about a trajectory.
    """
    items = read_jsonl(suite.items, Item, "id")
    taus = [_records(cell.trajectories, Trajectory, cell) for cell in suite.cells]
    feedback = [_records(c.feedback, Feedback, c) if c.feedback else None for c in suite.cells]
    scores = _scores(suite, len(items))
    selections = _selections(suite, len(items))
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        taken = [
            (
                cell,
                taus[place].take(batch),
                [None] * len(batch) if (given := feedback[place]) is None else given.take(batch),
                scores[place].take(batch),
            )
            for place, cell in enumerate(suite.cells)
        ]
        selected = [lines.take(batch) for lines in selections]
        for place, item in enumerate(batch):
            chosen = _chosen([of_selector[place] for of_selector in selected])
            found: dict[str, Joined] = {}
            for cell, of_taus, of_feedback, of_scores in taken:
                tau, score, told = of_taus[place], of_scores[place], of_feedback[place]
                if tau is None and score is None:
                    # There may be feedback all the same: that of a step which is on all items.
                    continue
                if tau is None:
                    raise UserError(f"{cell.trajectories}: nothing on {item.id}")
                if score is None:
                    raise UserError(f"{cell.scores}: nothing on {item.id}")
                if told is None and cell.feedback is not None:
                    raise UserError(f"{cell.feedback}: nothing on {item.id}")
                row = Joined(
                    cell=cell,
                    tau=tau,
                    score=score,
                    feedback=told,
                    chosen=chosen.get(_axes(cell), {}) if cell.step == "sample" else {},
                    original=None if cell.original is None else found[cell.original],
                )
                _check(row, item)
                found[cell.name] = row
            yield item, list(found.values())
    for lines in (*taus, *feedback, *(own for own in scores if isinstance(own, _Some))):
        if lines is not None:
            lines.end()


def _records(path: Path, kind: type[R], cell: Cell) -> _Lines[R] | _Some[R]:
    return _Some(path, read_jsonl(path, kind, "item")) if cell.some else _Lines(path, kind)


def _axes(of: Cell | Score) -> Key:
    return (of.model, of.condition, of.seed, of.draw, of.method)


def _scored(cell: Cell) -> Key:
    """Return what tells the scores of a cell apart from all others of its file."""
    return (cell.scored, *_axes(cell))


def _check(row: Joined, item: Item) -> None:
    """Raise UserError where the files do not say the same of a trajectory."""
    cell, tau, score, feedback = row.cell, row.tau, row.score, row.feedback
    for path, record in ((cell.trajectories, tau), (cell.scores, score)):
        for axis in ("suite", "task", "split"):
            _same(path, item, axis, getattr(record, axis), getattr(item, axis))
        kept = record.kept_original is not None
        model = cell.student if kept and cell.student is not None else cell.model
        _same(path, item, "model", record.model, model)
        for axis in ("condition", "seed", "draw", "method"):
            _same(path, item, axis, getattr(record, axis), getattr(cell, axis))
    _same(cell.scores, item, "step", score.step, cell.scored)
    _same(cell.scores, item, "teacher", score.teacher, cell.teacher)
    _same(cell.scores, item, "kept_original", score.kept_original, tau.kept_original)
    if feedback is None or cell.feedback is None:
        return
    for axis, value in (
        ("suite", item.suite),
        ("condition", cell.condition),
        ("student", cell.student or cell.model),
        ("seed", cell.seed),
    ):
        _same(cell.feedback, item, axis, getattr(feedback, axis), value)
    if tau.kept_original is None:
        _same(cell.feedback, item, "text", feedback.text, tau.feedback, "that of the trajectory")


def _same(
    path: Path, item: Item, axis: str, found: object, expected: object, said: str | None = None
) -> None:
    if found != expected:
        raise UserError(f"{path}: {item.id}: {axis} is not {said or repr(expected)}")


def _scores(suite: Suite, items: int) -> "list[_Lines[Score] | _Some[Score]]":
    """Return where the scores of each cell begin.

    Raises:
        UserError: a file lacks a cell, holds one that the grid does not declare, or is cut short.
    """
    blocks: dict[Path, dict[Key, _Lines[Score] | _Some[Score]]] = {}
    some = {cell.scores for cell in suite.cells if cell.some}
    for path in dict.fromkeys(cell.scores for cell in suite.cells):
        found: dict[Key, _Lines[Score] | _Some[Score]]
        if path in some:
            # Where nothing was tried again, the answer that stands is the student's own.
            stands = {
                (cell.scored, cell.student, *_axes(cell)[1:]): _scored(cell)
                for cell in suite.cells
                if cell.scores == path and cell.student is not None
            }
            by_cell: dict[Key, list[Score]] = {}
            for row in read_jsonl(path, Score):
                key = (row.step, *_axes(row))
                if row.kept_original is not None:
                    key = stands.get(key, key)
                by_cell.setdefault(key, []).append(row)
            found = {key: _Some(path, rows) for key, rows in by_cell.items()}
        else:
            found = {(first.step, *_axes(first)): lines for first, lines in _blocks(path, items)}
        declared = {_scored(cell): cell.name for cell in suite.cells if cell.scores == path}
        if items and (missing := [declared[key] for key in declared.keys() - found.keys()]):
            raise UserError(f"{path}: no scores of {min(missing)}")
        if found.keys() - declared.keys():
            raise UserError(f"{path}: holds scores of a cell that the grid does not declare")
        blocks[path] = found
    if not items:
        return [_Lines(cell.scores, Score) for cell in suite.cells]
    return [blocks[cell.scores][_scored(cell)] for cell in suite.cells]


def _selections(suite: Suite, items: int) -> "list[_Lines[Score]]":
    if suite.selections is None:
        return []
    return [lines for _, lines in _blocks(suite.selections, items)]


def _blocks(path: Path, items: int) -> "Iterator[tuple[Score, _Lines[Score]]]":
    """Yield the first score of each cell in a file of scores, and where they begin."""
    offset, number = 0, 0
    with _opened(path) as stream:
        for number, line in enumerate(stream):
            if not items:
                raise UserError(f"{path}: holds scores, but there are no items")
            if number % items == 0:
                yield (
                    _parsed(path, number + 1, line, Score),
                    _Lines(path, Score, offset, number),
                )
            offset += len(line)
    if offset and (number + 1) % items:
        raise UserError(f"{path}: not as many scores of each cell as there are items ({items})")


def _chosen(selected: Sequence[Score]) -> dict[Key, dict[str, Choice]]:
    """Return which selectors chose a candidate, by its axes: none did where none could be had."""
    chosen: dict[Key, dict[str, Choice]] = {}
    for score in selected:
        if score.selector is not None and score.choice not in (None, "none"):
            chosen.setdefault(_axes(score), {})[score.selector] = score.choice
    return chosen


def _parsed(path: Path, number: int, line: bytes, kind: type[R]) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise UserError(f"{path}:{number}: {first_error(error)}") from None


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
