"""Run facts: who answered with which versions on what machine, how long it took, what it cost.

They come from files that only the report reads, so that no other cell hangs on a clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ValidationError

from stages.errors import UserError
from stages.grid import cell_path, root
from stages.models.prices import FREE, Price
from stages.records import first_error
from stages.reporting.cells import Cell
from stages.reporting.latex import render

COLUMNS = (
    *("step", "suite", "cell", "who", "requests", "prompt_tokens", "completion_tokens"),
    *("seconds", "seconds_to_open", "usd"),
)
UNKNOWN = Price(input=None, output=None, as_of=None)
# Of training, what comes before its first step; what it writes at the end is in neither.
_OPENING = ("import", "load")
_SUMS = ["requests", "prompt_tokens", "completion_tokens", "seconds", "seconds_to_open", "usd"]


class _Run(BaseModel):
    """What a cell that asks a model writes."""

    cell: str
    model: dict[str, Any] | None = None
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    scored_tokens: int = 0
    seconds_to_open: float = 0.0
    seconds_to_answer: float = 0.0


class _Trained(BaseModel):
    """What a cell that trains writes."""

    cell: str
    device: str
    num_processes: int
    seconds: dict[str, float]
    threads: int | None = None
    versions: dict[str, str]


@dataclass(frozen=True)
class Facts:
    """Run facts of all cells.

    Attributes:
        cells: a row a cell, the columns `COLUMNS`: requests answered, tokens read and written (of a
            selection by logits, the replies scored count as read), seconds of answering or of the
            steps of training and those to open the model, US dollars at the prices in params (NaN:
            not known; 0 for models that run here).
        models: a row a model and setting: who, what it says of itself (engine, name, revision,
            device, ...), in how many cells.
    """

    cells: pd.DataFrame
    models: pd.DataFrame

    @property
    def by_step(self) -> pd.DataFrame:
        """Sums a step and suite, in the order of the pipeline, with the number of cells."""
        grouped = self.cells.groupby(["step", "suite"], sort=False)
        sums = grouped[_SUMS].sum(min_count=1)
        # One cell whose price is not known leaves the step's unknown.
        sums["usd"] = grouped["usd"].apply(lambda cost: cost.sum(skipna=False))
        sums.insert(0, "cells", grouped.size())
        return sums.reset_index()

    def of(self, step: str, suite: str, **axes: object) -> pd.DataFrame:
        """Return the rows of a step's cells that have these axes."""
        rows = self.cells[(self.cells["step"] == step) & (self.cells["suite"] == suite)]
        for axis, value in axes.items():
            rows = rows[rows["axes"].map(lambda own, a=axis, v=value: own.get(a) == v)]
        return rows


def read(pattern: str, cells: Iterable[Cell], prices: Mapping[str, Price]) -> Facts:
    """Read the facts of all cells.

    Args:
        pattern: of the files, over step, suite and cell.
        cells: those that params declare.
        prices: of models, by slug; one without a price runs here.

    Raises:
        UserError: a file is missing or holds no facts of a run; names it.
    """
    rows: list[dict[str, Any]] = []
    models: dict[tuple[tuple[str, str], ...], int] = {}
    for cell in cells:
        axes = {"step": cell.step, "suite": cell.suite, "cell": cell.name}
        path = cell_path("--facts", pattern, axes)
        if cell.step == "figure1":  # its folders are its steps
            axes |= {"step": f"figure1/{cell.suite}", "suite": "examples"}
        kind = _Trained if cell.step == "train" else _Run
        facts = _read(path, kind)
        said: Mapping[str, Any]
        head = {**axes, "who": cell.who, "axes": dict(cell.axes)}
        if isinstance(facts, _Trained):
            told = {"device": facts.device, **facts.versions, "processes": str(facts.num_processes)}
            if facts.threads is not None:
                told["threads"] = str(facts.threads)
            opening = sum(facts.seconds.get(part, 0.0) for part in _OPENING)
            took = {"seconds": facts.seconds.get("train", 0.0), "seconds_to_open": opening}
            rows.append({**head, **_spent(FREE), **took})
            said = {"engine": "trl", **told}
        else:
            said = facts.model or {}
            # A model behind a server costs what is not known, unless params say otherwise.
            default = UNKNOWN if said.get("engine") == "openai" else FREE
            rows.append({**head, **_spent(prices.get(root(cell.who), default), facts)})
        if said:
            key = (("who", root(cell.who)), *((k, str(said[k])) for k in sorted(said)))
            models[key] = models.get(key, 0) + 1
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "axes"])
    return Facts(frame, pd.DataFrame([{**dict(key), "cells": n} for key, n in models.items()]))


def _read(path: Path, kind: type[_Run] | type[_Trained]) -> _Run | _Trained:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


def _spent(price: Price, run: _Run | None = None) -> dict[str, float]:
    """Return what a run took; of a training there are no requests."""
    if run is None:
        return dict.fromkeys(_SUMS, 0.0)
    read = run.prompt_tokens + run.scored_tokens
    dollars = price.dollars(run.prompt_tokens, run.completion_tokens)
    return {
        "requests": run.requests,
        "prompt_tokens": read,
        "completion_tokens": run.completion_tokens,
        "seconds": run.seconds_to_answer,
        "seconds_to_open": run.seconds_to_open,
        "usd": nan if dollars is None else dollars,
    }


def to_csv(frame: pd.DataFrame) -> str:
    """Return the sums as CSV: seconds to a tenth, dollars to a hundredth of a cent."""
    frame = frame.copy()
    for column in ("requests", "prompt_tokens", "completion_tokens"):
        frame[column] = frame[column].astype("Int64")
    rounded = {"seconds": 1, "seconds_to_open": 1, "usd": 4}
    frame = frame.round(rounded)
    return frame.to_csv(index=False, lineterminator="\n")


def to_tex(facts: Facts, scale: str) -> str:
    """Return the sums as LaTeX, with who answered on what machine."""
    rows = facts.by_step.to_dict(orient="records")
    total = facts.by_step.drop(columns=["step", "suite"]).sum(skipna=False).to_dict()
    machines = [
        ", ".join(f"{name} {value}" for name, value in row.items() if isinstance(value, str))
        for row in _machines(facts.models).to_dict(orient="records")
    ]
    template = Path(__file__).with_name("facts.tex.jinja")
    return render(template, rows=rows, total=total, machines=machines, scale=scale)


def _machines(models: pd.DataFrame) -> pd.DataFrame:
    """Return the settings, each once, whatever was trained on top of a model."""
    told = models.drop(columns=["cells", "who"])
    if "model" in told:
        told["model"] = told["model"].map(
            lambda name: name.split(" + ")[0] if isinstance(name, str) else name
        )
    return told.drop(columns="revision", errors="ignore").drop_duplicates()
