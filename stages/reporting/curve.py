"""Best-of-k over k (paper, section 5.2): the exact curve, its choosers and its ceiling."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages import stats
from stages.reporting import best_of_k
from stages.reporting.config import ReportSection
from stages.reporting.load import BASELINE
from stages.reporting.results import Results, Student
from stages.stats import Array

POOLS = {"alone": "no feedback", "conditioned": "with feedback"}
CHOOSERS = {
    "none": "no selection",
    "student_logits": "student logits",
    "majority": "majority vote",
    "student_choice": "student's choice",
    "teacher_choice": "teacher's choice",
    "oracle": "oracle",
}
ASKED = ("student_choice", "teacher_choice")


def expected(student: Student, condition: str, chooser: str, k: int) -> Array:
    """Return (items,): the mean over seeds of the exact expectation over all k-subsets."""
    pool = student.candidates(condition)
    values, answers = student.values(condition), student.answers(condition)
    by_seed = []
    for seed in range(pool.seeds):
        own = slice(seed * pool.draws, (seed + 1) * pool.draws)
        scores = pool.score[:, own]
        if chooser == "none":
            by_seed.append(best_of_k.no_selection(scores, k))
        elif chooser == "student_logits":
            by_seed.append(best_of_k.by_value(scores, values[:, own], k))
        elif chooser == "majority":
            by_seed.append(best_of_k.majority(scores, [row[own] for row in answers], k))
        else:
            by_seed.append(best_of_k.oracle(scores, k))
    mean: Array = np.mean(by_seed, axis=0)
    return mean


def build(
    results: Results, students: Sequence[str], base: str, config: ReportSection
) -> pd.DataFrame:
    """Return a row a student, pool, chooser and k.

    Whoever is asked to choose was asked about all candidates: their rows have the largest k only.

    Returns:
        student, student_label, pool, chooser, k, n, seeds, score with its 95 % bootstrap interval.
    """
    points: dict[tuple[str, str, str, int], Array] = {}
    for slug in students:
        student = results.student(slug)
        for pool, condition in (("alone", BASELINE), ("conditioned", base)):
            largest = student.candidates(condition).draws
            for chooser in CHOOSERS:
                if chooser in ASKED:
                    score = student.chosen(condition, chooser).score.mean(axis=1)
                    points[slug, pool, chooser, largest] = score
                    continue
                for k in range(1, largest + 1):
                    points[slug, pool, chooser, k] = expected(student, condition, chooser, k)
    columns = np.column_stack(list(points.values()))
    boot = stats.stratified_means(columns, results.tasks, config.bootstrap, config.seed)
    rows: list[dict[str, Any]] = []
    for place, ((slug, pool, chooser, k), values) in enumerate(points.items()):
        low, high = stats.of_mean(values, boot.means[:, place], boot.freedom)
        rows.append(
            {
                "student": slug,
                "student_label": config.label(slug),
                "pool": pool,
                "chooser": chooser,
                "k": k,
                "n": len(values),
                "seeds": results.student(slug).candidates(BASELINE).seeds,
                "score": round(float(values.mean()), 6),
                "score_low": round(low, 6) + 0.0,
                "score_high": round(high, 6) + 0.0,
            }
        )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, to: Path, chance: float | None = None) -> None:
    """Draw the curve, a row of panels a student, as `to`.pdf and `to`.png.

    Args:
        table: what `build` returns.
        to: path without suffix.
        chance: floor of the score, drawn as a line.
    """
    from matplotlib.lines import Line2D

    from stages.reporting.figures import (
        GREY,
        Key,
        Layout,
        drawn,
        named,
        ticks,
        upper,
        width_for,
    )

    students = list(dict.fromkeys(table["student"]))
    lines = {name: Line2D([], [], **_look(chooser)) for chooser, name in CHOOSERS.items()}
    if chance is not None:
        lines["chance floor"] = Line2D([], [], color=GREY, linestyle=":", linewidth=1)
    width = width_for(len(students))
    key = Key(list(lines.items()), width)
    layout = Layout(
        [1.45] * len(students),
        [1.0] * len(POOLS),
        left=0.42,
        bottom=0.4 + key.height,
        top=0.36,
        across=0.16,
        down=0.5,
        width=width,
    )
    top = upper([table["score"], table["score_high"], [chance or 0.0]])
    with drawn(to, layout) as (figure, grid):
        for slug, panels in zip(students, grid, strict=True):
            for (pool, title), panel in zip(POOLS.items(), panels, strict=True):
                own = table[(table["student"] == slug) & (table["pool"] == pool)]
                _draw_panel(panel, own)
                if chance is not None:
                    panel.axhline(chance, color=GREY, linestyle=":", linewidth=1, zorder=1)
                panel.set_ylim(0, top)
                ticks(panel.yaxis)
                panel.set_title(title.capitalize() if slug == students[0] else "")
                panel.set_xlabel("k (candidates)")
            panels[1].tick_params(labelleft=False)
            panels[0].set_ylabel("score")
            name = table[table["student"] == slug]["student_label"].iloc[0]
            named(panels[0], layout, name, 15 if slug == students[0] else 4)
        key.draw(figure)


def _look(chooser: str) -> dict[str, Any]:
    from stages.reporting.figures import CHOOSER_STYLES

    size = 5.5 if CHOOSER_STYLES[chooser]["marker"] == "*" else 3.5
    return {"markersize": size, "linewidth": 1.0, **CHOOSER_STYLES[chooser]}


def _draw_panel(panel: Any, table: pd.DataFrame) -> None:
    """Draw one pool of one student. The choosers stand a little apart, so that none is hidden."""
    step = min(0.03 * (table["k"].max() - 0.5), 0.11)
    for place, chooser in enumerate(CHOOSERS):
        rows = table[table["chooser"] == chooser].sort_values("k")
        look = _look(chooser)
        x = rows["k"] + step * (place - (len(CHOOSERS) - 1) / 2)
        known = rows["score_low"].notna() & rows["score_high"].notna()
        ends = rows["score_low"][known], rows["score_high"][known]
        panel.vlines(x[known], *ends, colors=look["color"], linewidth=0.6)
        panel.plot(x, rows["score"], clip_on=False, **look)
    edge = step * len(CHOOSERS) / 2 + 0.05
    panel.set_xlim(1 - edge, table["k"].max() + edge)
    panel.set_xticks(sorted(table["k"].unique()))
