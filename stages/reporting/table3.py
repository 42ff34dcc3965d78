"""Table 3 (paper, section 5.1.2): test-time feedback conditions on Big-Bench Hard."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.errors import UserError
from stages.reporting.compare import arm, compare, joined
from stages.reporting.config import ReportSection
from stages.reporting.load import BASELINE
from stages.stats import holm

PAPER_COLUMNS = {
    "match_rate": "Regex Match Rate",
    "score": "Downstream Performance",
    "correct_if_matched": "Correct if Matched",
}
_RATES = ("match_rate", "score", "correct_if_matched", "tolerant", "macro", "difference")
COLUMNS = (
    *("items", "student", "student_label", "condition", "condition_label", "sees_target"),
    *("n", "seeds", "trajectories"),
    *(
        column
        for rate in _RATES
        for column in (
            rate,
            f"{rate}_low",
            f"{rate}_high",
            *([f"{rate}_paper"] if rate in PAPER_COLUMNS else []),
            *([f"{rate}_by_seed"] if rate in ("score", "difference") else []),
            *(["matched", f"{rate}_dropped"] if rate == "correct_if_matched" else []),
        )
    ),
    *("new_subtasks_low", "new_subtasks_high"),
    *("discordant", "test", "p", "p_holm", "smallest_detectable"),
    *("difference_matched", "difference_matched_low", "difference_matched_high"),
    *("matched_in_both", "difference_matched_dropped"),
    *("unparsed", "truncated", "errored", "kept", "chance", "majority"),
)


def build(
    scores: pd.DataFrame,
    items: pd.DataFrame,
    paper: pd.DataFrame,
    students: Sequence[str],
    conditions: Sequence[str],
    sees_target: Collection[str],
    config: ReportSection,
) -> pd.DataFrame:
    """Return Table 3, a row a student and condition, over all items and over unflagged ones.

    Args:
        scores: rows of `load.read_scores` for baseline and conditions.
        items: what `load.read_items` returns.
        paper: the paper's Table 3 as text.
        students: in the order of the table.
        conditions: feedback conditions of the grid; the table has them in the paper's order, those
            unknown to the paper last.
        sees_target: the conditions that put the ground truth before teacher or student.
        config: labels, resamples and seed.

    Returns:
        The columns `COLUMNS`: fractions with the ends of their 95 % intervals, p-values raw and
        after Holm over all differences of the table, counts of trajectories, floors (`chance`,
        `majority`) of the score over the same items, and the paper's figures as printed ("" where
        there are none).

    Raises:
        UserError: `config.paper_students` names a size that the paper's table does not have.
    """
    labels = {BASELINE: "Baseline"} | {slug: config.label(slug) for slug in conditions}
    order = {label: place for place, label in enumerate(dict.fromkeys(paper.iloc[:, 1]))}
    arms_in_order = sorted(labels, key=lambda slug: order.get(labels[slug], len(order)))
    printed = {(row.iloc[0], row.iloc[1]): row for _, row in paper.iterrows()}
    sizes = set(paper.iloc[:, 0])
    rows: list[dict[str, Any]] = []
    for kind in ("all", "unflagged"):
        kept = items if kind == "all" else items[~items["flagged"]]
        if kept.empty:
            continue
        block: list[dict[str, Any]] = []
        for student in students:
            size = config.paper_students.get(student)
            if size is not None and size not in sizes:
                raise UserError(
                    f"report.paper_students.{student}: the paper's Table 3 has no {size!r}"
                )
            own = scores[scores["student"] == student]
            arms = {slug: arm(own[own["condition"] == slug], kept.index) for slug in arms_in_order}
            figures = compare(arms, BASELINE, list(kept["task"]), config.bootstrap, config.seed)
            block += [
                {
                    "items": kind,
                    "student": student,
                    "student_label": config.label(student),
                    "condition": slug,
                    "condition_label": labels[slug],
                    "sees_target": slug in sees_target,
                    "chance": float(kept["chance"].mean()),
                    "majority": float(kept["majority"].mean()),
                    **{
                        f"{ours}_paper": printed[size, labels[slug]][theirs]
                        if (size, labels[slug]) in printed
                        else ""
                        for ours, theirs in PAPER_COLUMNS.items()
                    },
                    **figures[slug],
                }
                for slug in arms_in_order
            ]
        compared = [row for row in block if "p" in row]
        for row, p in zip(compared, holm([row["p"] for row in compared]), strict=True):
            row["p_holm"] = p
        rows += block
    return pd.DataFrame(rows, columns=list(COLUMNS))


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV: numbers to six places, lists joined by semicolons."""
    table = table.copy()
    for column in ("score_by_seed", "difference_by_seed"):
        table[column] = table[column].map(joined)
    for column in ("discordant", "matched_in_both", "difference_matched_dropped"):
        table[column] = table[column].astype("Int64")  # whole numbers, absent from the baseline
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(6) + 0.0
    return table.to_csv(index=False, lineterminator="\n")


def to_tex(table: pd.DataFrame, about: Mapping[str, object]) -> str:
    """Return the table as LaTeX.

    Args:
        table: what `build` returns.
        about: what the caption names (see `table3.tex.jinja`).
    """
    from stages.reporting.latex import render

    students = list(dict.fromkeys(table["student"]))
    blocks = []
    for student in students:
        own = table[table["student"] == student]
        unflagged = own[own["items"] == "unflagged"].set_index("condition")
        rows = own[own["items"] == "all"].to_dict(orient="records")
        for row in rows:
            slug = row["condition"]
            row["score_unflagged"] = (
                unflagged.loc[slug, "score"] if slug in unflagged.index else float("nan")
            )
            row["bold"] = not row["sees_target"] and (
                row["difference_low"] > 0 or row["difference_high"] < 0
            )
        blocks.append({"label": rows[0]["student_label"], "n": rows[0]["n"], "rows": rows})
    return render(Path(__file__).with_name("table3.tex.jinja"), blocks=blocks, **about)


def by_subtask(scores: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Return each arm's rates a subtask beside the floors of the same items.

    Args:
        scores: rows of `load.read_scores` for baseline and conditions.
        items: what `load.read_items` returns.

    Returns:
        Task, student, condition; n (trajectories), match_rate, score, tolerant, chance, majority.
    """
    joined = scores.join(items[["task", "chance", "majority"]], on="item")
    grouped = joined.groupby(["task", "student", "condition"], sort=True)
    return grouped.agg(
        n=("score", "size"),
        match_rate=("matched", "mean"),
        score=("score", "mean"),
        tolerant=("tolerant", "mean"),
        chance=("chance", "mean"),
        majority=("majority", "mean"),
    ).reset_index()
