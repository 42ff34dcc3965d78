"""Loss and reward curves of training: what TRL logged, by method."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from stages.errors import UserError

MARGIN = "rewards/margins"
COLUMNS = ("learner", "method", "objective", "step", "runs", "loss", MARGIN)
_PANELS = (
    ("sft", "loss", "SFT loss"),
    ("dpo", "loss", "DPO loss"),
    ("dpo", MARGIN, "DPO margin"),
)


class Log(NamedTuple):
    """The log of one cell of the stage `train`, with `environment`, `step`, `loss`, ..."""

    learner: str
    method: str
    objective: str
    frame: pd.DataFrame


def read(path: Path) -> pd.DataFrame:
    """Read a training log. Raises UserError naming the file and what it lacks."""
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {str(error).strip().splitlines()[0]}") from None
    for column in ("environment", "step", "loss"):
        if column not in frame:
            raise UserError(f"{path}: no column {column}")
    return frame


def build(logs: Iterable[Log]) -> pd.DataFrame:
    """Return the mean curve of each learner and method over environments and seeds.

    Returns:
        The columns `COLUMNS`: a row a step at which the loss was logged; `runs` are those that got
        so far; the margin is NaN for SFT, which has no rewards.
    """
    parts = []
    for log in logs:
        frame = log.frame[log.frame["loss"].notna()].copy()
        if MARGIN not in frame:
            frame[MARGIN] = float("nan")
        keys = {"learner": log.learner, "method": log.method, "objective": log.objective}
        parts.append(frame[["step", "loss", MARGIN]].assign(**keys))
    rows = pd.concat(parts, ignore_index=True)
    grouped = rows.groupby(["learner", "method", "objective", "step"], sort=False)
    table = grouped.agg(
        runs=("loss", "size"), loss=("loss", "mean"), margin=(MARGIN, "mean")
    ).reset_index()
    table = table.rename(columns={"margin": MARGIN})
    table[["loss", MARGIN]] = table[["loss", MARGIN]].astype(float).round(6) + 0.0
    return table[list(COLUMNS)]


def draw(table: pd.DataFrame, learners: Sequence[str], labels: Mapping[str, str], to: Path) -> None:
    """Draw the curves, a row of panels a learner, as `to`.pdf and `to`.png.

    Args:
        table: what `build` returns.
        learners: in the order of the rows.
        labels: printed names of learners and methods.
        to: path without suffix.
    """
    from matplotlib.lines import Line2D

    from stages.reporting.figures import (
        COLUMN,
        METHOD_STYLES,
        Key,
        Layout,
        drawn,
        label,
        named,
        ticks,
        width_for,
    )

    methods = dict.fromkeys(table["method"])
    styles = {
        method: {"linewidth": 1.0, "markersize": 4.5 if style["marker"] == "*" else 3, **style}
        for method, style in zip(methods, cycle(METHOD_STYLES), strict=False)
    }
    width = width_for(len(learners))
    key = Key([(label(labels[m]), Line2D([], [], **style)) for m, style in styles.items()], width)
    shown = [panel for panel in _PANELS if (table["objective"] == panel[0]).any()]
    layout = Layout(
        [1.2] * len(learners),
        [1.0] * len(shown),
        left=0.36,
        bottom=0.4 + key.height,
        top=0.36,
        across=0.4 if width > COLUMN else 0.3,
        down=0.5,
        width=width,
    )
    with drawn(to, layout) as (figure, grid):
        for slug, panels in zip(learners, grid, strict=True):
            first = slug == learners[0]
            for (objective, column, title), panel in zip(shown, panels, strict=True):
                own = table[(table["learner"] == slug) & (table["objective"] == objective)]
                for method, curve in own.groupby("method", sort=False):
                    points = curve.sort_values("step")
                    few = max(1, len(points) // 8)
                    style = styles[str(method)]
                    panel.plot(points["step"], points[column], markevery=few, **style)
                panel.set_title(title if first else "")
                panel.set_xlabel("step")
                ticks(panel.xaxis, 4, integer=True)
                ticks(panel.yaxis, 4)
            named(panels[0], layout, labels[slug], 15 if first else 4)
        key.draw(figure)
