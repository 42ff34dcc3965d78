"""Each subtask's score above or below its chance floor, by condition: a heat map with its numbers.

Rows are conditions and columns subtasks, so that the figure of three students is three times as
high and as readable. The sign is printed, since a diverging scale has none in grey.
"""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap

from stages import stats
from stages.reporting import captions
from stages.reporting.built import Built
from stages.reporting.figure_conditions import SEES, order
from stages.reporting.figures import (
    BLUE,
    GREY,
    SMALL,
    SMALLEST,
    TEXT,
    VERMILLION,
    Layout,
    drawn,
    label,
    named,
    widest,
    width_of,
)
from stages.reporting.load import BASELINE

CELL = 0.14
"""Inches: the height of a cell."""
_SCALE = LinearSegmentedColormap.from_list("against chance", [VERMILLION, "#FFFFFF", BLUE])
_DARK = 0.6  # share of the scale from which a number on blue is white
_CHANCE = "Chance floor, %"
_ROOM = 2.2  # inches of the name of a subtask
_WIDEST = 0.4  # inches of a cell, of which there may be few


def frames(built: Built) -> dict[str, pd.DataFrame]:
    """Return, by student, the score minus chance: conditions by subtasks, in percentage points.

    Conditions are in the order of Table 3, then the controls; subtasks in alphabetical order.
    """
    table, known = built.subtasks, order(built)
    over = table.assign(over=100 * (table["score"] - table["chance"]))
    found = {}
    for slug in built.grid.students:
        wide = over[over["student"] == slug].pivot(index="condition", columns="task", values="over")
        rows = [condition for condition in known if condition in wide.index]
        found[slug] = wide.reindex(index=rows, columns=chance(built).index)
    return found


def chance(built: Built) -> pd.Series:
    """Return the chance floor of each subtask, in per cent."""
    return built.subtasks.groupby("task", sort=True)["chance"].first() * 100


def draw(built: Built, to: Path) -> None:
    """Draw the heat map, a panel a student, as `to`.pdf and `to`.png."""
    found, floor, known = frames(built), chance(built), order(built)
    rows = {slug: [_label(built, c) for c in wide.index] for slug, wide in found.items()}
    tasks = [label(task, _ROOM, SMALLEST) for task in floor.index]
    left = max(widest(chain(*rows.values())), widest([_CHANCE])) + 0.06
    layout = Layout(
        [CELL * len(labels) for labels in rows.values()],
        left=left,
        bottom=0.08 + widest(tasks, SMALLEST),
        top=0.2 + CELL + 0.06,
        right=max(0.04, TEXT - left - _WIDEST * len(tasks)),
        down=0.24,
    )
    most = max(float(np.nanmax(np.abs(wide.to_numpy()), initial=0)) for wide in found.values())
    with drawn(to, layout) as (figure, grid):
        for (slug, wide), panel in zip(found.items(), grid[:, 0], strict=True):
            _draw_panel(panel, wide, max(most, 1.0))
            shown = sum(not known[condition] for condition in wide.index)
            if shown < len(wide):
                panel.axhline(shown - 0.5, color="black", linewidth=0.6)
            panel.set_yticks(range(len(wide)), rows[slug])
            first = slug == next(iter(found))
            if first:
                _draw_chance(panel, floor)
            above = (CELL + 0.06) * 72 + 4 if first else 3
            named(panel, layout, built.config.label(slug), above, room=0.55)
        style = {"rotation": 90, "fontsize": SMALLEST}
        grid[-1, 0].set_xticks(range(len(tasks)), tasks, **style)
        _draw_scale(figure, layout, max(most, 1.0))


def _label(built: Built, condition: str) -> str:
    if condition == BASELINE:
        return "Baseline"
    mark = SEES if condition in built.sees_target else ""
    return label(built.config.label(condition)) + mark


def _draw_panel(panel: Any, wide: pd.DataFrame, most: float) -> None:
    values = wide.to_numpy(dtype=float)
    mesh = np.arange(values.shape[1] + 1) - 0.5, np.arange(values.shape[0] + 1) - 0.5
    panel.pcolormesh(
        *mesh,
        np.ma.masked_invalid(values),
        cmap=_SCALE,
        vmin=-most,
        vmax=most,
        edgecolors="#D9D9D9",
        linewidth=0.4,
    )
    panel.set(xlim=mesh[0][[0, -1]], ylim=mesh[1][[-1, 0]], xticks=[])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for row, column in np.ndindex(values.shape):
        value = float(values[row, column])
        color = "white" if value > _DARK * most else "black"
        _number(panel, column, row, value, color)


def _draw_chance(panel: Any, floor: pd.Series) -> None:
    """Print the floors above the first panel."""
    at = -0.5 - 0.06 / CELL - 0.5
    for column, value in enumerate(floor):
        _number(panel, column, at, value, GREY)
    panel.annotate(
        _CHANCE,
        (0, at),
        xycoords=("axes fraction", "data"),
        xytext=(-2.5, 0),
        textcoords="offset points",
        ha="right",
        va="center_baseline",
        color=GREY,
        size=SMALL,
        annotation_clip=False,
    )


def _number(panel: Any, x: float, y: float, value: float, color: str) -> None:
    text = "·" if np.isnan(value) else f"{round(value)}"
    panel.text(x, y, text, size=SMALLEST, color=color, ha="center", va="center_baseline")


def _draw_scale(figure: Any, layout: Layout, most: float) -> None:
    """Draw the scale of the colours in the upper right corner."""
    low, high = f"−{most:.0f}", f"+{most:.0f} points over chance"
    width, y = 0.8, layout.height - 0.13
    x = layout.width - 0.08 - width_of(high) - 0.05 - width
    place = (x / layout.width, y / layout.height, width / layout.width, 0.08 / layout.height)
    axis = figure.add_axes(place)
    axis.imshow(np.linspace(-1, 1, 101)[None], cmap=_SCALE, aspect="auto")
    axis.set_axis_off()
    for text, at, shift, side in ((low, 0, -3, "right"), (high, 1, 3, "left")):
        axis.annotate(
            text,
            (at, 0.5),
            xycoords="axes fraction",
            xytext=(shift, 0),
            textcoords="offset points",
            ha=side,
            va="center_baseline",
            size=SMALL,
        )


def caption(built: Built) -> str:
    """Return the caption as plain text."""
    counts = built.subtasks["n"] // len(built.grid.seeds)
    low, high = int(counts.min()), int(counts.max())
    half = low // 2
    ends = " to ".join(f"{100 * end:.0f}" for end in stats.wilson(half, low))
    return captions.joined(
        "Score of each subtask minus its chance floor (uniform guessing among an item's options), "
        "in percentage points, by condition; below 0 is worse than guessing. The floors stand "
        "above the first panel.",
        captions.about(built),
        f"A cell is the mean over {low if low == high else f'{low} to {high}'} items of a subtask "
        f"and has no interval; {half} right of {low}, say, stand for {ends} % (Wilson's 95 % "
        "interval).",
        f"{SEES}: sees the ground truth. The paper gives no scores by subtask.",
    )
