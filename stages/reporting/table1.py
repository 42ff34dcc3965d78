"""Table 1 (paper, section 1): training techniques, and which table measures what it says of them.

The paper's table is an argument without a figure. Beside it stands where this run measures what a
row claims.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from stages.reporting.built import Built
from stages.reporting.latex import MISSING, escape, render

_MARKS = {"✓": r"$\checkmark$", "✗": r"$\times$"}
# By the paper's first column: what this run measures of a technique, and the tables that hold it.
# `{student}` stands for each student's slug, as it is written in labels.
_MEASURED: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "Learning from Rewards": (
        ("The scores of the environments are such rewards: they grade every arm.", ("table3",)),
        ("No arm is trained on them; the preferences of DPO are the closest to it.", ("table5",)),
    ),
    "Imitation Learning": (
        ("What the teachers themselves score, whose answers are the expert's.", ("table8",)),
        ("Imitative SFT and DPO on questions, on games and code.", ("table5", "table6")),
    ),
    "Feedback Conditioning": (
        ("What a retry gains, by what the teacher sees.", ("table3",)),
        (
            "Personalised: against the feedback on another item and retries without a word on the "
            "answer.",
            ("controls-{student}",),
        ),
        (
            "Precise: how many right answers a retry loses for those that it wins.",
            ("transitions-{student}",),
        ),
        ("Feedback SFT and DPO, and what cleaning does.", ("table5", "table6", "cleaning")),
    ),
}


def to_tex(paper: pd.DataFrame) -> str:
    """Return the table as the paper prints it.

    Args:
        paper: its Table 1 as text.
    """
    template = Path(__file__).with_name("plain_table1.tex.jinja")
    return render(template, name="table1", heads=list(paper.columns), rows=_rows(paper))


def beside(built: Built) -> str:
    """Return the table with what this run measures of each row, and where.

    Raises:
        KeyError: the paper's table has a technique that is not known here.
    """
    rows = []
    paper = built.paper[1]
    for technique, cells in zip(paper.iloc[:, 0], _rows(paper), strict=True):
        measured = [
            {"text": text, "tables": labels}
            for text, tables in _MEASURED[technique]
            if (labels := _labels(built, tables))
        ]
        rows.append({"cells": cells, "measured": measured})
    template = Path(__file__).with_name("table1.tex.jinja")
    return render(template, heads=list(paper.columns), rows=rows, scale=built.scale)


def _labels(built: Built, tables: tuple[str, ...]) -> list[str]:
    """Return the labels of those tables that this run has."""
    known = [name for name in tables if built.games or name not in ("table6", "table8")]
    return [
        label
        for name in known
        for label in dict.fromkeys(
            name.format(student=slug.replace("_", "-")) for slug in built.grid.students
        )
    ]


def _rows(paper: pd.DataFrame) -> list[list[str]]:
    """Return the cells as LaTeX, ticks and crosses as such."""
    return [
        [_MARKS.get(cell) or escape(cell) or MISSING for cell in row]
        for row in paper.itertuples(index=False)
    ]
