"""What training took: examples, steps, tokens, and what was dropped and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stages.records import Dropped, Training

Arm = tuple[str, str]
"""A learner and a method."""

COLUMNS = (
    *("learner", "method", "seed", "objective", "preset", "models", "examples", "too_long"),
    *("cut", "steps", "batch"),
    *("tokens", "target_tokens", "trainable", "changed", "first_loss", "last_loss", "dropped"),
    "fallbacks",
)


@dataclass(frozen=True)
class Cell:
    """One cell of the stage `train`: a model of the suite, or one an environment.

    Attributes:
        learner: who was trained.
        method: how.
        seed: of the run.
        models: how each training went.
        dropped: the train items that gave no example.
    """

    learner: str
    method: str
    seed: int
    models: Sequence[Training]
    dropped: Sequence[Dropped]


def build(cells: Iterable[Cell]) -> pd.DataFrame:
    """Return a row a cell.

    Returns:
        The columns `COLUMNS`: sums over the models, but of `batch` the largest, of `changed` the
        share among all their weights and of the losses the means. `dropped` are the train items
        that gave no example and the examples that were too long; `cut` lost tokens. `fallbacks` are
        joined by semicolons.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells:
        frame = pd.DataFrame([model.model_dump() for model in cell.models])
        sums = ("examples", "too_long", "cut", "steps", "tokens", "target_tokens", "trainable")
        rows.append(
            {
                "learner": cell.learner,
                "method": cell.method,
                "seed": cell.seed,
                "objective": cell.models[0].objective,
                "preset": "; ".join(dict.fromkeys(frame["preset"])),
                "models": len(frame),
                **{name: int(frame[name].sum()) for name in sums},
                "batch": int(frame["batch"].max()),
                # Models of one cell come from one base, so that each has equally many weights.
                "changed": float(frame["changed"].mean()),
                "first_loss": float(frame["first_loss"].mean()),
                "last_loss": float(frame["last_loss"].mean()),
                "dropped": sum(reasons(cell).values()),
                "fallbacks": "; ".join(fallbacks([cell])),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def fallbacks(cells: Iterable[Cell]) -> list[str]:
    """Return what the machine could not do as asked, each once."""
    return list(
        dict.fromkeys(line for cell in cells for model in cell.models for line in model.fallbacks)
    )


def by_arm(table: pd.DataFrame) -> Mapping[Arm, Mapping[str, Any]]:
    """Return the means over the seeds of what `build` returns, by learner and method."""
    numbers = ("models", "examples", "steps", "tokens", "target_tokens", "trainable", "changed")
    found: dict[Arm, dict[str, Any]] = {}
    for (learner, method), own in table.groupby(["learner", "method"], sort=False):
        found[str(learner), str(method)] = {
            **{name: float(own[name].mean()) for name in (*numbers, "dropped")},
            "preset": "; ".join(dict.fromkeys(own["preset"])),
        }
    return found


def reasons(cell: Cell) -> dict[str, int]:
    """Return how many train items a cell dropped, by reason: in pairing, or by the trainer."""
    counts = Counter(record.reason for record in cell.dropped)
    counts["too_long"] += sum(model.too_long for model in cell.models)
    return {reason: items for reason, items in sorted(counts.items()) if items}


def dropped(cells: Iterable[Cell]) -> pd.DataFrame:
    """Return how many train items gave no example and why, a row a cell and reason.

    A cell that dropped nothing has one row without a reason. `examples` are what it trained on.
    """
    rows = []
    for cell in cells:
        for reason, items in reasons(cell).items() or [("", 0)]:
            rows.append(
                {
                    "learner": cell.learner,
                    "method": cell.method,
                    "seed": cell.seed,
                    "examples": sum(model.examples for model in cell.models),
                    "reason": reason,
                    "items": items,
                }
            )
    return pd.DataFrame(rows)


def to_csv(table: pd.DataFrame) -> str:
    """Return a table of this module as CSV, numbers to six places."""
    numbers = table.select_dtypes("float").columns
    rounded = table.copy()
    rounded[numbers] = rounded[numbers].round(6) + 0.0
    return rounded.to_csv(index=False, lineterminator="\n")
