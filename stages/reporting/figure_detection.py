"""Error identification as dots: what the teacher sees, by verdict and student (Table 2)."""

from pathlib import Path

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
    line,
    marked,
    named,
    numbers,
    rows_of,
    ticks,
    widest,
    width_for,
)

METRICS = {
    "recall": "Recall",
    "specificity": "Specificity",
    "balanced_accuracy": "Balanced\naccuracy",
}
_OURS = {"color": BLUE, "marker": "o"}
_PAPER = {"color": BLACK, "marker": "D"}


def frame(built: Built) -> pd.DataFrame:
    """Return a row a verdict and student.

    Returns:
        verdict, label (of the student), and of each of `METRICS` its value, `_low`, `_high` and
        `_paper`: as printed, or what the printed recall and precision imply; NaN without either.
    """
    table = built.table2
    columns = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    beside = {
        f"{metric}_paper": numbers(table[f"{metric}_paper"])
        if f"{metric}_paper" in table
        else table[f"{metric}_implied"].to_numpy()
        for metric in METRICS
    }
    texts = [label(text) for text in table["student_label"]]
    return table[["verdict", *columns]].assign(label=texts, **beside)


def draw(built: Built, to: Path) -> None:
    """Draw the figure, a row of panels a verdict, as `to`.pdf and `to`.png."""
    table = frame(built)
    verdicts = list(dict.fromkeys(table["verdict"]))
    printed = bool(table[[f"{metric}_paper" for metric in METRICS]].notna().any(axis=None))
    width = width_for(table["label"].nunique())
    key = Key(
        [
            ("This run, 95 % interval", marked(_OURS)),
            *([("Paper, printed or implied", marked(_PAPER, hollow=True))] if printed else []),
            ("Ignores the answer", Line2D([], [], color=GREY, ls="--", lw=1)),
        ],
        width,
    )
    layout = Layout(
        [ROW * 1.2 * len(table[table["verdict"] == verdict]) for verdict in verdicts],
        [1.0] * len(METRICS),
        left=widest(table["label"]) + 0.08,
        bottom=0.24 + key.height,
        top=0.48,
        right=0.1,
        across=0.2 if width > COLUMN else 0.14,
        down=0.38,
        width=width,
    )
    with drawn(to, layout) as (figure, grid):
        for slug, panels in zip(verdicts, grid, strict=True):
            own = table[table["verdict"] == slug].reset_index(drop=True)
            places = np.arange(len(own))
            for (metric, title), panel in zip(METRICS.items(), panels, strict=True):
                rows_of(panel, None, len(own))
                hollow(panel, own[f"{metric}_paper"], places + 0.2, size=3.5, **_PAPER)
                ends = (own[f"{metric}_low"], own[f"{metric}_high"])
                dots(panel, own[metric], places - 0.12, *ends, **_OURS)
                for place in places[own[metric].isna()]:
                    panel.text(0.02, place, "undefined", color=GREY, size=SMALLEST, va="center")
                if metric == "balanced_accuracy":
                    panel.axvline(0.5, color=GREY, linestyle="--", linewidth=1, zorder=1)
                panel.set_xlim(0, 1)
                ticks(panel.xaxis, 5 if width > COLUMN else 2)
                if slug == verdicts[0]:
                    panel.set_title(title)
            rows_of(panels[0], list(own["label"]), len(own))
            text = f"{built.config.label(slug)} verdict"
            named(panels[0], layout, text, 24 if slug == verdicts[0] else 3)
        key.draw(figure)


def caption(built: Built) -> str:
    """Return the caption as plain text."""
    rows = built.table2.drop_duplicates("student")
    right = captions.listed(
        f"{row['fp'] + row['tn']} of {row['trajectories']} ({line(row['student_label'])})"
        for row in rows.to_dict(orient="records")
    )
    single = len(built.grid.seeds) == 1
    return captions.joined(
        "Error identification: the share of wrong answers that the teacher flags (recall), the "
        "share of right ones that it does not (specificity), and the mean of the two, which a "
        "verdict that ignores the answer puts at 0.5 whatever the share of wrong answers. An "
        "unparsable verdict counts as flagged.",
        captions.about(built),
        f"Right answers: {right}.",
        "95 % intervals are Wilson's; that of balanced accuracy is recovered from the two (MOVER)."
        if single
        else f"{captions.intervals(built)} None where too few answers are right.",
        captions.beside(built),
        "Its recall is as printed; specificity and balanced accuracy are what its recall and "
        "precision imply."
        if built.config.paper_students
        else "",
    )
