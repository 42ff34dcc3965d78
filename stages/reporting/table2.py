"""Table 2 (paper, section 5.1.1): whether the teacher sees errors.

Beside the paper's four metrics stand those that neither the share of wrong answers nor flagging
more of all answers raises, and for the paper's rows what their recall, precision and that share
imply: its claim that detection is "inversely proportional to the ability of the student" rests on
precision, F1 and accuracy, which depend on that share, and on recall, which rises because more is
flagged.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.reporting import detection
from stages.reporting.compare import joined
from stages.reporting.config import ReportSection
from stages.reporting.latex import render
from stages.reporting.load import BASELINE
from stages.reporting.results import Results, Student

PAPER_COLUMNS = {
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "accuracy": "Accuracy",
}
IMPLIED = ("f1", "accuracy", "specificity", "balanced_accuracy", "mcc")
_KEYS = ("verdict", "verdict_label", "student", "student_label")


def detected(student: Student, verdict: str) -> detection.Detection:
    """Return what a verdict says of a student's first answers, and what is so."""
    first = student.retry(BASELINE)
    return detection.Detection(
        wrong=1 - first.solved,
        flagged=student.judged(verdict, "flagged"),
        unparsable=student.judged(verdict, "unparsable"),
        matched=first.matched,
    )


def build(
    results: Results,
    students: Sequence[str],
    verdicts: Sequence[str],
    paper: pd.DataFrame,
    config: ReportSection,
) -> pd.DataFrame:
    """Return Table 2, a row a verdict and student.

    Args:
        results: of the suite.
        students: in the order of the table.
        verdicts: ways to ask, in the order of the table.
        paper: the paper's Table 2 as text.
        config: labels, resamples, seed, and which of the paper's students stands beside.

    Returns:
        The keys, the columns of `detection.figures`, `<metric>_paper` as printed, and
        `<metric>_implied` of the paper's recall and precision at the share of wrong answers that
        its implicit row gives ("perfect recall": its precision is that share).
    """
    printed = {(row.iloc[0], row.iloc[1]): row for _, row in paper.iterrows()}
    rows: list[dict[str, Any]] = []
    for verdict in verdicts:
        for slug in students:
            size = config.paper_students.get(slug, "")
            row: dict[str, Any] = dict(
                zip(_KEYS, (verdict, config.label(verdict), slug, config.label(slug)), strict=True)
            )
            row |= detection.figures(
                detected(results.student(slug), verdict),
                results.tasks,
                config.bootstrap,
                config.seed,
            )
            beside = printed.get((row["verdict_label"], size))
            row |= {
                f"{ours}_paper": "" if beside is None else beside[theirs]
                for ours, theirs in PAPER_COLUMNS.items()
            }
            row |= implied(beside, printed.get(("Implicit", size)))
            rows.append(row)
    return pd.DataFrame(rows)


def implied(row: pd.Series | None, implicit: pd.Series | None) -> dict[str, float]:
    """Return what a printed row's recall and precision imply; NaN where there is no such row."""
    if row is None or implicit is None:
        return {f"{name}_implied": float("nan") for name in IMPLIED}
    found = detection.from_rates(
        float(row["Recall"]), float(row["Precision"]), float(implicit["Precision"])
    )
    return {f"{name}_implied": float(found[name]) for name in IMPLIED}


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV: numbers to six places, lists joined by semicolons."""
    numbers = table.select_dtypes("float").columns
    rounded = table.copy()
    rounded[numbers] = rounded[numbers].round(6) + 0.0
    for column in [name for name in rounded if str(name).endswith("_by_seed")]:
        rounded[column] = rounded[column].map(joined)
    return rounded.to_csv(index=False, lineterminator="\n")


def to_tex(table: pd.DataFrame, about: Mapping[str, object]) -> str:
    """Return the table as LaTeX."""
    blocks = [
        {"label": label, "rows": rows.to_dict(orient="records")}
        for label, rows in table.groupby("verdict_label", sort=False)
    ]
    return render(Path(__file__).with_name("table2.tex.jinja"), blocks=blocks, **about)
