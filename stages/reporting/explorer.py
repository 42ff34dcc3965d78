"""The explorer: every trajectory of a run as a static site that opens from disk.

The folder holds the hand-written page of `stages/reporting/explorer/` and what it shows, as
scripts, since a page opened from a file may fetch nothing:

    data/index.js    the declared cells, the items, and a few bytes a trajectory: what filters read
    data/audit.js    the sample of the manual audit and its rubric
    data/00000.js    the texts, some hundred trajectories a file, all of an item in one
    audit.json       the sample once more, for `python -m stages.audit`

A text that several trajectories of an item share, such as its prompt, stands in a file once. All
of it is ASCII JSON behind a call: nothing that a model wrote is markup or code.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any, NamedTuple, get_args

import numpy as np

from stages import auditing
from stages.auditing import Transition
from stages.errors import UserError
from stages.files import whole_folder, write_text
from stages.records import Exchange, FinishReason, Item, Outcome
from stages.reporting.explorer_cells import Suite
from stages.reporting.explorer_read import Joined, joined

ASSETS = Path(__file__).parent / "explorer"
ROWS = 256
"""A file of texts is closed once it has so many trajectories ..."""
CHARACTERS = 400_000
"""... or so many characters of text."""
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_ENDED: tuple[FinishReason, ...] = get_args(FinishReason)
# Of the column that says which selectors chose a candidate.
_BITS = 8
_STEPS = {
    "respond": "First answer",
    "revise": "Retry",
    "sample": "Best-of-k candidate",
    "evaluate": "Answer after training",
    "revise_tuned": "Retry after feedback tuning",
    "forget": "Answer after training on the other suite",
    "teachers": "Retry with another teacher's feedback",
    "answer": "Teacher's own answer",
    "paraphrased/respond": "First answer, task reworded",
    "paraphrased/revise": "Retry, feedback prompt reworded",
    "paraphrased/retry": "Retry, retry prompt reworded",
    "respond_train": "First answer to learn from",
    "revise_train": "Retry to learn from",
    "answer_train": "Teacher's own answer to learn from",
    "revise_following": "Retry to learn following from",
    "revise_teacher": "Teacher's retry to learn following from",
}
_TRANSITIONS = {
    "none": "no original",
    "wrong_right": "wrong → right",
    "right_right": "right → right",
    "right_wrong": "right → wrong",
    "wrong_wrong": "wrong → wrong",
}
_TRANSITION_CODES = tuple(_TRANSITIONS)
_ENDED_LABELS = {
    "stop": "by itself",
    "length": "cut by the token limit",
    "content_filter": "content filter",
    "refusal": "refusal",
    "bad_request": "request refused",
    "error": "error",
}
# Axes of cells that the page filters by, with their titles and what stands where there is none.
_AXES = {
    "step": ("What", ""),
    "model": ("Model", ""),
    "condition": ("Feedback condition", "no feedback"),
    "wording": ("Wording of the prompt", "ours"),
    "method": ("Training method", "untrained"),
    "seed": ("Seed", ""),
    "draw": ("Candidate", "not a candidate"),
    "teacher": ("Other teacher", "none"),
}


class Row(NamedTuple):
    """What filters read of one trajectory: the cell's place, and codes of what became of it."""

    cell: int
    transition: int
    outcome: int
    ended: int
    chosen: int


def write(
    folder: Path,
    suites: Sequence[Suite],
    labels: Mapping[str, str],
    scale: str,
    seed: int,
    audited: int = auditing.SIZE,
) -> None:
    """Write the site, whole or not at all.

    Args:
        folder: to write; what is there is replaced.
        suites: what is shown.
        labels: printed names of models, conditions, methods and selectors, by slug.
        scale: the name of the run's scale.
        seed: seeds the sample of the audit.
        audited: its size.

    Raises:
        UserError: a file is missing or wrong, or files that belong together disagree.
    """
    with whole_folder(folder) as site:
        for asset in sorted(ASSETS.iterdir()):
            copyfile(asset, site / asset.name)
        index = _Index(suites, labels)
        chunks = _Chunks(site / "data")
        retries: list[auditing.Sampled] = []
        first = 0
        for suite in suites:
            retries += _written(suite, first, index, chunks)
            first += len(suite.cells)
        chunks.close()
        write_text(
            site / "data" / "index.js",
            _call("EXPLORER_INDEX", {"scale": scale, "labels": dict(labels), **index.finished()}),
        )
        sample = auditing.draw(retries, audited, seed)
        shown = sample.model_dump(mode="json")
        write_text(site / auditing.SAMPLE_FILE, _json(shown) + "\n")
        shown["noises"] = [[slug, *auditing.RUBRIC[slug]] for slug in auditing.NOISES]
        write_text(site / "data" / "audit.js", _call("EXPLORER_AUDIT", shown))


class _Index:
    """What filters read: cells, items, and a row a trajectory."""

    def __init__(self, suites: Sequence[Suite], labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._suites = list(dict.fromkeys(suite.name for suite in suites))
        cells = [cell for suite in suites for cell in suite.cells]
        self._cells = cells
        self._values = {
            axis: list(dict.fromkeys(getattr(cell, axis) for cell in cells)) for axis in _AXES
        }
        if len(cells) >= 2**16:
            raise UserError(f"the explorer shows up to 65,535 cells, not {len(cells)}")
        self._selectors: list[str] = []
        self._splits: dict[str, int] = {}
        self._tasks: dict[str, int] = {}
        self._items: list[Item] = []
        self._item_chunks: list[int] = []
        self._first: list[int] = []
        self._rows: list[Row] = []

    def add(self, item: Item, chunk: int, rows: Iterable[Row]) -> None:
        """Add all rows of an item, whose texts are in a chunk."""
        self._splits.setdefault(item.split, len(self._splits))
        self._tasks.setdefault(item.task, len(self._tasks))
        self._items.append(item)
        self._item_chunks.append(chunk)
        self._first.append(len(self._rows))
        self._rows += rows

    def bit(self, selector: str) -> int:
        """Return the bit that stands for what a selector chose."""
        if selector not in self._selectors:
            self._selectors.append(selector)
            if len(self._selectors) > _BITS:
                raise UserError(f"the explorer shows up to {_BITS} selectors")
        return 1 << self._selectors.index(selector)

    def finished(self) -> dict[str, Any]:
        """Return the index as the page reads it."""
        columns = np.array(self._rows, dtype=np.uint16).reshape(-1, len(Row._fields))
        kinds = {"cell": "<u2"}
        suite = {name: place for place, name in enumerate(self._suites)}
        return {
            "rows": len(self._rows),
            "facets": self._facets(),
            "items": [item.id for item in self._items],
            "item": {
                "suite": _packed([suite[item.suite] for item in self._items], "<u1"),
                "split": _packed([self._splits[item.split] for item in self._items], "<u1"),
                "task": _packed([self._tasks[item.task] for item in self._items], "<u2"),
                "first": _packed([*self._first, len(self._rows)], "<u4"),
                "chunk": _packed(self._item_chunks, "<u4"),
            },
            "cells": {
                "name": [cell.name for cell in self._cells],
                **{
                    axis: [values.index(getattr(cell, axis)) for cell in self._cells]
                    for axis, values in self._values.items()
                },
            },
            "row": {
                name: _packed(columns[:, place], kinds.get(name, "<u1"))
                for place, name in enumerate(Row._fields)
            },
        }

    def _facets(self) -> list[dict[str, Any]]:
        """Return what can be filtered by: key, title, and the values that codes stand for."""

        def facet(
            key: str, title: str, names: Mapping[str, str], several: bool = False
        ) -> dict[str, Any]:
            """`names` by slug; of `several` values a row may have any number, as bits."""
            return {
                "key": key,
                "title": title,
                "slugs": list(names),
                "labels": list(names.values()),
                "several": several,
            }

        def axis(key: str) -> dict[str, Any]:
            title, nothing = _AXES[key]
            names = {
                "none" if value is None else str(value): nothing
                if value is None
                else _STEPS.get(str(value), self._label(str(value)))
                for value in self._values[key]
            }
            return facet(key, title, names)

        return [
            facet("suite", "Suite", {name: self._label(name) for name in self._suites}),
            facet("split", "Split", {name: name for name in self._splits}),
            facet("task", "Subtask", {name: name.replace("_", " ") for name in self._tasks}),
            axis("step"),
            axis("model"),
            axis("condition"),
            axis("wording"),
            axis("method"),
            facet("transition", "Against the original", _TRANSITIONS),
            facet("outcome", "Outcome", {name: name.replace("_", " ") for name in _OUTCOMES}),
            facet("ended", "Ended", {name: _ENDED_LABELS[name] for name in _ENDED}),
            axis("seed"),
            axis("draw"),
            facet("chosen", "Chosen by", {s: self._label(s) for s in self._selectors}, True),
            axis("teacher"),
        ]

    def _label(self, slug: str) -> str:
        return self._labels.get(slug, slug.replace("_", " "))


class _Chunks:
    """Files of texts, each of whole items."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self._texts: dict[str, int] = {}
        self._items: list[dict[str, Any]] = []
        self._rows = self._characters = 0

    def text(self, text: str) -> int:
        """Return the place of a text in the open file."""
        place = self._texts.setdefault(text, len(self._texts))
        if place == len(self._texts) - 1:
            self._characters += len(text)
        return place

    def add(self, item: dict[str, Any]) -> int:
        """Add an item with all its rows, and return the number of its file."""
        number = self._number
        self._items.append(item)
        self._rows += len(item["rows"])
        if self._rows >= ROWS or self._characters >= CHARACTERS:
            self.close()
        return number

    def close(self) -> None:
        """Write the open file, if there is anything in it."""
        if not self._items:
            return
        value = {"texts": list(self._texts), "items": self._items}
        path = self._folder / f"{self._number:05}.js"
        write_text(path, f"EXPLORER_CHUNK({self._number},{_json(value)});\n")
        self._number += 1
        self._clear()


def _written(suite: Suite, first: int, index: _Index, chunks: _Chunks) -> list[auditing.Sampled]:
    """Add all trajectories of a suite, and return the retries that the audit may sample.

    Args:
        suite: to add.
        first: the place of its first cell among all cells.
        index: gets what filters read.
        chunks: gets the texts.
    """
    retries: list[auditing.Sampled] = []
    places = {cell.name: place for place, cell in enumerate(suite.cells)}
    for item, rows in joined(suite):
        shown = [_shown(row, places, chunks.text) for row in rows]
        number = chunks.add(
            {
                "target": chunks.text(item.target),
                "format": chunks.text(item.answer_format),
                "flags": list(item.flags),
                "rows": shown,
            }
        )
        index.add(
            item,
            number,
            [
                Row(
                    cell=first + place,
                    transition=_TRANSITION_CODES.index(row.transition or "none"),
                    outcome=_OUTCOMES.index(row.score.outcome),
                    ended=_ENDED.index(row.score.finish_reason),
                    chosen=sum(index.bit(selector) for selector in row.chosen),
                )
                for place, row in enumerate(rows)
            ],
        )
        retries += [
            _sampled(item, row, row.transition)
            for row in rows
            if row.cell.step == "revise"
            and row.cell.condition in suite.audited
            and row.transition is not None
            and not row.tau.failed
            and row.tau.kept_original is None
        ]
    return retries


def _sampled(item: Item, row: Joined, transition: Transition) -> auditing.Sampled:
    texts = [turn.reply.text for turn in row.tau.exchanges]
    if row.original is not None:
        texts += [turn.reply.text for turn in row.original.tau.exchanges]
    read = json.dumps([*texts, row.tau.feedback]).encode("utf-8")
    return auditing.Sampled(
        row=f"{item.id}@{row.cell.name}",
        transition=transition,
        text=hashlib.sha256(read).hexdigest()[:16],
    )


def _shown(row: Joined, places: Mapping[str, int], text: Callable[[str], int]) -> dict[str, Any]:
    """Return what the page shows of a trajectory, texts by their place; what is None left out."""
    tau, score, given = row.tau, row.score, row.feedback

    def known(value: str | None) -> int | None:
        return None if value is None else text(value)

    values = {
        "turns": [_turn(turn, text) for turn in tau.exchanges],
        "of": None if row.cell.original is None else places[row.cell.original],
        "feedback": known(tau.feedback),
        "kept": tau.kept_original,
        "by": None if given is None else given.teacher,
        "status": None if given is None else given.status,
        "source": None if given is None else given.source,
        "score": score.score,
        "strict": known(score.strict),
        "tolerant": known(score.tolerant),
        "tolerant_score": score.tolerant_score,
        "rule": score.rule,
        "checks": None if score.checks is None else list(score.checks),
        "rote": score.rote,
        "chosen": dict(row.chosen) or None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _turn(turn: Exchange, text: Callable[[str], int]) -> dict[str, Any]:
    """Return an exchange: what was shown, as a list of role and text, and the reply."""
    reply = turn.reply
    values = {
        "shown": [part for m in turn.messages for part in (m.role, text(m.content))],
        "reply": text(reply.text),
        "ended": reply.finish_reason,
        "read": reply.prompt_tokens,
        "wrote": reply.completion_tokens,
        "logprob": reply.logprob,
        "detail": reply.detail,
    }
    return {key: value for key, value in values.items() if value is not None}


def _packed(values: Any, kind: str) -> str:
    """Return numbers as base64 of little-endian integers."""
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode("ascii")


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)


def _call(name: str, value: Any) -> str:
    return f"{name}({_json(value)});\n"
