"""Match rate against correct-if-matched: how much of a score is format, and how much is ability.

The score is the product of the two, so that points of equal score lie on one hyperbola.
"""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.reporting import captions
from stages.reporting.built import Built
from stages.reporting.figures import (
    GREY,
    METHOD_STYLES,
    SMALLEST,
    TEXT,
    Key,
    Layout,
    drawn,
    hollow,
    label,
    marked,
    named,
    numbers,
    ticks,
    upper,
    width_for,
)
from stages.reporting.load import BASELINE

X, Y = "match_rate", "correct_if_matched"
SIDES = {"retry": "Feedback at test time", "trained": "After training, without feedback"}
SCORES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
"""Scores whose points of equal score are drawn."""
_HEIGHT = 1.75  # inches of a panel
_COLUMNS = [f"{rate}{end}" for rate in (X, Y) for end in ("", "_low", "_high", "_paper")]
_APART = 0.09
"""Inches between the names of curves, and what a curve must cross of a panel to be drawn."""


def frame(built: Built) -> pd.DataFrame:
    """Return a row a student or learner, side of `SIDES` and arm, the baseline first on both.

    Returns:
        model, side, arm, label, and both rates with `_low`, `_high` and `_paper`.
    """
    third = built.table3[built.table3["items"] == "all"]
    fifth = built.table5.arms
    retries = third[_COLUMNS].assign(
        model=third["student"], side="retry", arm=third["condition"], label=third["condition_label"]
    )
    trained = fifth[_COLUMNS].assign(
        model=fifth["learner"], side="trained", arm=fifth["method"], label=fifth["row"]
    )
    table = pd.concat([retries, trained], ignore_index=True)
    return table.assign(label=[label(text) for text in table["label"]])


def draw(built: Built, to: Path) -> None:
    """Draw the figure, a row of panels a student or learner, as `to`.pdf and `to`.png."""
    table = frame(built)
    models = list(dict.fromkeys(table["model"]))
    styles = {side: _styles(table[table["side"] == side]) for side in SIDES}
    width = width_for(len(models))
    keys = {
        side: Key(
            [
                (text, marked(styles[side][arm]))
                for arm, text in dict(zip(own["arm"], own["label"], strict=True)).items()
            ]
            + ([("Paper: hollow", marked(_PAPER, hollow=True))] if _printed(own) else []),
            min(width, TEXT / 2 - 0.1),
        )
        for side in SIDES
        if len(own := table[table["side"] == side])
    }
    # Of one model, the sides stand below each other.
    stacked = len(models) == 1
    key = max(own.height for own in keys.values())
    layout = Layout(
        [_HEIGHT] * (len(SIDES) if stacked else len(models)),
        (1,) if stacked else (1, 1),
        left=0.46,
        bottom=0.36 + key,
        top=0.36,
        right=0.28,
        across=0.5,
        down=0.36 + key + 0.32 if stacked else 0.5,
        width=width,
    )
    right, top = (
        upper([table[c], table[f"{c}_high"], numbers(table[f"{c}_paper"])]) for c in (X, Y)
    )
    with drawn(to, layout) as (figure, grid):
        for slug, panels in zip(models, grid.reshape(len(models), len(SIDES)), strict=True):
            own = table[table["model"] == slug]
            first = slug == models[0]
            for side, panel in zip(SIDES, panels, strict=True):
                points = own[own["side"] == side]
                panel.set(xlim=(0, right), ylim=(0, top))
                if points.empty:  # not asked to retry, or not trained
                    panel.set_axis_off()
                    continue
                _contours(panel, right, top)
                _draw_points(panel, points, styles[side], layout)
                ticks(panel.xaxis)
                ticks(panel.yaxis)
                panel.set_title(SIDES[side] if first else "")
                panel.set_xlabel("match rate")
                if stacked or panel is panels[0]:
                    panel.set_ylabel("correct if matched")
            named(panels[0], layout, built.config.label(slug), 15 if first else 4)
        for place, side in enumerate(SIDES):
            if side in keys and stacked:
                below = len(SIDES) - 1 - place
                keys[side].draw(figure, bottom=below * (_HEIGHT + layout.down))
            elif side in keys:
                keys[side].draw(figure, (0.27, 0.77)[place])


_PAPER = {"color": GREY, "marker": "o"}


def _printed(table: pd.DataFrame) -> bool:
    return bool(((table[f"{X}_paper"] != "") & (table[f"{Y}_paper"] != "")).any())


def _styles(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the style of each arm: the baseline has the first one on both sides."""
    arms = [arm for arm in dict.fromkeys(table["arm"]) if arm != BASELINE]
    return dict(zip([BASELINE, *arms], cycle(METHOD_STYLES), strict=False))


def _contours(panel: Any, right: float, top: float) -> None:
    """Draw points of equal score, named where they leave the panel."""
    named_at = np.inf
    for score in reversed(SCORES):
        start = score / top
        if (right - start) / right * _HEIGHT < _APART:
            continue
        x = np.geomspace(start, right, 60)
        panel.plot(x, score / x, color="#C8C8C8", linewidth=0.6, zorder=1)
        at = score / right / top * _HEIGHT
        if named_at - at < _APART:
            continue
        named_at = at
        panel.annotate(
            f"{score:g}",
            (right, score / right),
            xytext=(2, 0),
            textcoords="offset points",
            size=SMALLEST,
            color=GREY,
            va="center",
            annotation_clip=False,
        )


def _draw_points(
    panel: Any, points: pd.DataFrame, styles: dict[str, dict[str, Any]], layout: Layout
) -> None:
    for row in points.to_dict(orient="records"):
        style = {name: styles[row["arm"]][name] for name in ("color", "marker")}
        x, y = row[X], row[Y]
        color = style["color"]
        if np.isfinite([row[f"{X}_low"], row[f"{X}_high"], y]).all():
            panel.hlines(y, row[f"{X}_low"], row[f"{X}_high"], colors=color, lw=0.7, alpha=0.55)
        if np.isfinite([row[f"{Y}_low"], row[f"{Y}_high"], x]).all():
            panel.vlines(x, row[f"{Y}_low"], row[f"{Y}_high"], colors=color, lw=0.7, alpha=0.55)
        size = 6.5 if style["marker"] == "*" else 4.5
        hollow(
            panel, numbers([row[f"{X}_paper"]]), numbers([row[f"{Y}_paper"]]), size=size, **style
        )
        panel.plot([x], [y], linestyle="", markersize=size, clip_on=False, zorder=3, **style)
    absent = list(points["label"][points[Y].isna()])
    if absent:
        width = layout.panels()[0][0][2] * layout.width * 0.96
        text = f"nothing matched: {', '.join(absent)}"
        panel.text(
            0.02,
            0.98,
            label(text, width, SMALLEST),
            size=SMALLEST,
            va="top",
            transform=panel.transAxes,
        )


def caption(built: Built) -> str:
    """Return the caption as plain text."""
    learners = [slug for slug in built.grid.learners if slug not in built.grid.students]
    return captions.joined(
        "Regex match rate against the share correct among the matched answers; grey curves join "
        "points of equal score, the product of the two, which stands at their right end.",
        "First answers and retries by feedback condition; then answers without feedback after each "
        "training.",
        captions.about(built, [*built.grid.students, *learners]),
        captions.intervals(built, "match rates of single answers"),
        captions.beside(built),
        "Hollow, after training: the paper's figures of its 7B student, beside every student."
        if _printed(built.table5.arms)
        else "",
    )
