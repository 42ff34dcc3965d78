"""What a retry changes: what it wins, what it loses, and what it leaves as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from stages.reporting import captions
from stages.reporting.built import Built
from stages.reporting.figure_conditions import SEES, order
from stages.reporting.figures import (
    BLACK,
    COLUMN,
    GREY,
    ROW,
    SKY,
    VERMILLION,
    Key,
    Layout,
    drawn,
    label,
    marked,
    named,
    rows_of,
    ticks,
    upper,
    widest,
    width_for,
)

WON, LOST = "wrong_right", "right_wrong"
_WON: dict[str, Any] = {"facecolor": SKY}
_LOST: dict[str, Any] = {"facecolor": "#F3B58A", "hatch": "/////", "edgecolor": VERMILLION}
_NET: dict[str, Any] = {"color": BLACK, "marker": "D"}
# All four, those that end right first: shares of one whole.
SHARES: dict[str, tuple[str, dict[str, Any]]] = {
    "right_right": ("right → right", {"facecolor": "#C5E3F6"}),
    WON: ("wrong → right", _WON),
    LOST: ("right → wrong", _LOST),
    "wrong_wrong": ("wrong → wrong", {"facecolor": "white", "edgecolor": GREY}),
}
_ORDER = (LOST, WON, "right_right", "wrong_wrong")


def frame(built: Built) -> pd.DataFrame:
    """Return `Built.transitions` in the order of Table 3, then the controls.

    Returns:
        student, label (marked where the ground truth is seen), control, and the shares.
    """
    controls = order(built)
    table = built.transitions
    marks = [SEES if sees else "" for sees in table["sees_target"]]
    table = table.assign(
        control=table["condition"].map(controls).astype(bool),
        label=[label(t) + m for t, m in zip(table["condition_label"], marks, strict=True)],
    )
    places = [list(axis) for axis in (built.grid.students, controls)]
    keys = [table[c].map(p.index) for c, p in zip(("student", "condition"), places, strict=True)]
    return table.iloc[np.lexsort(keys[::-1])].reset_index(drop=True)


def draw(built: Built, to: Path) -> None:
    """Draw the figure, a row of panels a student, as `to`.pdf and `to`.png."""
    table = frame(built)
    students = list(built.grid.students)
    width = width_for(len(students))
    key = Key(
        [(SHARES[share][0], Patch(**SHARES[share][1], linewidth=0.6)) for share in _ORDER]
        + [("net", marked(_NET, size=3.5))],
        width,
    )
    height = ROW * int(table.groupby("student").size().max())
    layout = Layout(
        [height] * len(students),
        (1.7, 1.0),
        left=widest(table["label"]) + 0.08,
        bottom=0.4 + key.height,
        top=0.36,
        right=0.1,
        across=0.2 if width > COLUMN else 0.14,
        down=0.38,
        width=width,
    )
    left, right = (upper([table[s], table[f"{s}_high"]], least=0.05) for s in (LOST, WON))
    with drawn(to, layout) as (figure, grid):
        for slug, (moved, whole) in zip(students, grid, strict=True):
            own = table[table["student"] == slug].reset_index(drop=True)
            first, last = slug == students[0], slug == students[-1]
            for panel in (moved, whole):
                rows_of(panel, None, len(own))
                if own["control"].any():
                    above = int((~own["control"]).sum()) - 0.5
                    panel.axhline(above, color=GREY, linewidth=0.6)
            _draw_moves(moved, own)
            _draw_whole(whole, own)
            moved.set_xlim(-left, right)
            ticks(moved.xaxis, 7 if width > COLUMN else 4)
            moved.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
            whole.set_xlim(0, 1)
            ticks(whole.xaxis, 4 if width > COLUMN else 2)
            moved.set_yticks(range(len(own)), list(own["label"]))
            if first:
                for text, side in (("← lost ", "right"), (" won →", "left")):
                    moved.annotate(
                        text,
                        (left / (left + right), 1),
                        xytext=(0, 4),
                        xycoords="axes fraction",
                        textcoords="offset points",
                        ha=side,
                    )
                whole.set_title("all four")
            if last:
                moved.set_xlabel("share of answers")
                whole.set_xlabel("share of answers")
            named(moved, layout, built.config.label(slug), 15 if first else 3)
        key.draw(figure)


def _draw_moves(panel: Any, own: pd.DataFrame) -> None:
    places = np.arange(len(own))
    for share, sign in ((WON, 1), (LOST, -1)):
        style = SHARES[share][1]
        panel.barh(places, sign * own[share], height=0.62, linewidth=0.6, **style)
        low, high = own[f"{share}_low"], own[f"{share}_high"]
        known = np.isfinite(low) & np.isfinite(high)
        ends = (sign * low[known], sign * high[known])
        panel.hlines(places[known], *ends, colors=BLACK, linewidth=0.8)
    panel.axvline(0, color=BLACK, linewidth=0.6)
    look = {"markersize": 3.5, "mec": "white", "mew": 0.5, "zorder": 3, **_NET}
    panel.plot(own[WON] - own[LOST], places, linestyle="", clip_on=False, **look)


def _draw_whole(panel: Any, own: pd.DataFrame) -> None:
    start = np.zeros(len(own))
    for share, (_, style) in SHARES.items():
        panel.barh(
            np.arange(len(own)),
            own[share],
            left=start,
            height=0.62,
            **{"linewidth": 0.4, "edgecolor": "white", **style},
        )
        start = start + own[share].to_numpy()


def caption(built: Built) -> str:
    """Return the caption as plain text."""
    single = len(built.grid.seeds) == 1
    return captions.joined(
        "What a retry changes, by condition, as shares of all answers; below the line, retries "
        "without feedback on the answer (controls). Left: wrong answers that became right, right "
        "ones that became wrong, and their difference (net); right: these beside what stayed right "
        "and what stayed wrong.",
        captions.about(built),
        "95 % intervals are Wilson's." if single else captions.intervals(built),
        f"{SEES}: sees the ground truth.",
        "The paper gives no transitions.",
    )
