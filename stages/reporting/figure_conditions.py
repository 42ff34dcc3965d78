"""Table 3 as dots: three rates of each feedback condition and student, the controls below them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from stages.reporting import captions
from stages.reporting.built import Built
from stages.reporting.figures import (
    BLACK,
    BLUE,
    COLUMN,
    GREY,
    ROW,
    SMALLEST,
    Key,
    Layout,
    dots,
    drawn,
    hollow,
    label,
    marked,
    named,
    numbers,
    rows_of,
    ticks,
    upper,
    widest,
    width_for,
)

RATES = {
    "match_rate": "Match rate",
    "score": "Score",
    "correct_if_matched": "Correct\nif matched",
}
FLOORS = {"chance": (":", "Chance floor"), "majority": ("--", "Majority floor")}
SEES = "†"
_OURS = {"color": BLUE, "marker": "o"}
_PAPER = {"color": BLACK, "marker": "D"}
_SEEDS = {"color": GREY, "marker": "|"}
# Of a row: this run's values stand a little above its middle, whatever they are beside below it.
_ABOVE, _BELOW = -0.12, 0.22


def order(built: Built) -> dict[str, bool]:
    """Return the conditions in the order of Table 3, then the controls; and whether they are one.

    The first is the baseline.
    """
    shown = dict.fromkeys(built.table3["condition"], False)
    return shown | {slug: True for slug in built.grid.controls if slug not in shown}


def frame(built: Built) -> pd.DataFrame:
    """Return a row a student and condition: Table 3 over all items, then the controls.

    Returns:
        student, label (marked where the ground truth is seen), control, the rates of `RATES` with
        `_low`, `_high` and `_paper`, score_by_seed, the floors of the score, and `differs`: whether
        the interval of the paired difference from the baseline excludes 0 (never where the ground
        truth is seen).
    """
    ends = ("", "_low", "_high", "_paper")
    shared = ["student", *(f"{rate}{end}" for rate in RATES for end in ends), "score_by_seed"]
    third = built.table3[built.table3["items"] == "all"]
    parts = []
    for slug in built.grid.students:
        own = third[third["student"] == slug]
        retries = built.controls[
            (built.controls["student"] == slug) & (built.controls["block"] == "Retry")
        ].iloc[1:]  # the first is the base condition, which Table 3 has
        seen = [condition in built.sees_target for condition in built.grid.controls]
        for rows, texts, sees, suffix in (
            (own, own["condition_label"], own["sees_target"], ""),
            (retries, retries["row"], seen, "_baseline"),
        ):
            low, high = rows[f"difference_low{suffix}"], rows[f"difference_high{suffix}"]
            marks = np.asarray(sees, dtype=bool)
            part = rows[shared].assign(
                label=[label(t) + (SEES if s else "") for t, s in zip(texts, marks, strict=True)],
                control=bool(suffix),
                differs=((low > 0) | (high < 0)) & ~marks,
            )
            parts.append(part.assign(**{floor: own[floor].iloc[0] for floor in FLOORS}))
    return pd.concat(parts, ignore_index=True)


def draw(built: Built, to: Path) -> None:
    """Draw the figure, a row of panels a student, as `to`.pdf and `to`.png."""
    table = frame(built)
    students = list(dict.fromkeys(table["student"]))
    many = len(built.grid.seeds) > 1
    printed = any((table[f"{rate}_paper"] != "").any() for rate in RATES)
    width = width_for(len(students))
    key = Key(
        [
            ("This run, 95 % interval", marked(_OURS)),
            *([("Each seed", marked(_SEEDS))] if many else []),
            *([("Paper", marked(_PAPER, hollow=True, size=3.5))] if printed else []),
            *((text, Line2D([], [], color=GREY, ls=ls, lw=1)) for ls, text in FLOORS.values()),
        ],
        width,
    )
    height = ROW * int(table.groupby("student").size().max())
    layout = Layout(
        [height] * len(students),
        [1.0] * len(RATES),
        left=widest(table["label"]) + 0.08,
        bottom=0.24 + key.height,
        top=0.48,
        right=0.1,
        across=0.2 if width > COLUMN else 0.14,
        down=0.38,
        width=width,
    )
    with drawn(to, layout) as (figure, grid):
        for slug, panels in zip(students, grid, strict=True):
            own = table[table["student"] == slug].reset_index(drop=True)
            for (rate, title), panel in zip(RATES.items(), panels, strict=True):
                _draw_panel(panel, own, rate)
                panel.set_xlim(0, upper([table[rate], *_reach(table, rate)]))
                ticks(panel.xaxis, 4 if width > COLUMN else 2)
                if slug == students[0]:
                    panel.set_title(title)
            rows_of(panels[0], list(own["label"]), len(own))
            above = 24 if slug == students[0] else 3
            named(panels[0], layout, built.config.label(slug), above)
        key.draw(figure)


def _reach(table: pd.DataFrame, rate: str) -> list[Any]:
    """Return what else must be seen on the axis of a rate."""
    more = [table[f"{rate}_high"], numbers(table[f"{rate}_paper"])]
    return [*more, *(table[floor] for floor in FLOORS)] if rate == "score" else more


def _draw_panel(panel: Any, own: pd.DataFrame, rate: str) -> None:
    places = np.arange(len(own))
    rows_of(panel, None, len(own))
    if rate == "score":
        for floor, (style, _) in FLOORS.items():
            panel.axvline(own[floor].iloc[0], color=GREY, linestyle=style, linewidth=1, zorder=1)
        for place, values in zip(places, own["score_by_seed"], strict=True):
            if len(values) > 1:
                at = [place + _BELOW] * len(values)
                panel.plot(values, at, ls="", marker="|", ms=4, mew=0.8, color=GREY)
        for place, differs, high in zip(places, own["differs"], own["score_high"], strict=True):
            if differs:
                panel.annotate(
                    "*",
                    (high, place + _ABOVE),
                    xytext=(2, -1),
                    textcoords="offset points",
                    va="center",
                    annotation_clip=False,
                )
    paper = numbers(own[f"{rate}_paper"])
    hollow(panel, paper, places + _BELOW, size=3.5, **_PAPER)
    dots(panel, own[rate], places + _ABOVE, own[f"{rate}_low"], own[f"{rate}_high"], **_OURS)
    for place in places[own[rate].isna()]:
        panel.text(0.01, place, "nothing matched", color=GREY, size=SMALLEST, va="center")
    if own["control"].any():
        panel.axhline(int((~own["control"]).sum()) - 0.5, color=GREY, linewidth=0.6)


def caption(built: Built) -> str:
    """Return the caption as plain text."""
    return captions.joined(
        "Table 3 as dots: regex match rate, score, and share correct among the matched answers, by "
        "feedback condition; below the line, retries without feedback on the answer (controls).",
        captions.about(built),
        captions.intervals(built, "match rate and score of single answers"),
        captions.beside(built),
        "Floors: uniform guessing among an item's options, and the most frequent answer of the "
        "subtask's train items.",
        f"{SEES}: sees the ground truth.",
        "*: the 95 % interval of the paired difference of the score from the baseline excludes 0 "
        f"(not marked where the ground truth is seen), {captions.bootstrap(built)}; intervals that "
        "overlap say nothing of that.",
    )
