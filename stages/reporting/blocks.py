"""Tables whose rows stand in blocks, each compared with one row of its own block (Table 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stages.reporting.compare import Arm, differences, joined, rates
from stages.reporting.config import ReportSection
from stages.reporting.latex import render
from stages.stats import holm

PAPER_COLUMNS = {
    "match_rate": "Regex Match Rate",
    "score": "Score",
    "correct_if_matched": "Correct if Matched",
}
_RATES = ("match_rate", "score", "correct_if_matched", "tolerant", "macro")
_TESTS = ("own", "baseline")
COLUMNS = (
    *("student", "student_label", "block", "row", "oracle", "n", "seeds", "trajectories"),
    *(
        column
        for rate in _RATES
        for column in (
            rate,
            f"{rate}_low",
            f"{rate}_high",
            *([f"{rate}_paper"] if rate in PAPER_COLUMNS else []),
            *([f"{rate}_by_seed"] if rate == "score" else []),
        )
    ),
    "matched",
    *(
        f"{column}_{against}"
        for against in _TESTS
        for column in (
            *("difference", "difference_low", "difference_high", "difference_by_seed"),
            *("new_subtasks_low", "new_subtasks_high"),
            *("discordant", "test", "p", "p_holm", "smallest_detectable"),
        )
    ),
    *("replaced", "unreadable"),
    *("student_wrote", "student_read", "teacher_wrote", "teacher_read"),
    *("unparsed", "truncated", "errored", "kept"),
)


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        label: as printed.
        arm: its answers; None where they are still to come.
        oracle: whether it uses the ground truth at test time.
        notes: further columns of `COLUMNS`.
        reference: the arm that it is compared with, where that is not its block's.
    """

    label: str
    arm: Arm | None
    oracle: bool = False
    notes: Mapping[str, float] = field(default_factory=dict)
    reference: Arm | None = None


@dataclass(frozen=True)
class Block:
    """Some rows, and the arm that they are compared with: by default their first row's."""

    label: str
    rows: Sequence[Row]
    reference: Arm | None = None

    @property
    def compared_with(self) -> Arm | None:
        """The arm that the other rows are compared with."""
        return self.reference or self.rows[0].arm


def build(
    students: Mapping[str, Sequence[Block]],
    baselines: Mapping[str, Arm],
    tasks: Sequence[str],
    config: ReportSection,
    paper: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the table, a row a student and row.

    Args:
        students: the blocks of each student.
        baselines: each student's plain answers, which every row is also compared with.
        tasks: the subtask of each item.
        config: labels, resamples and seed.
        paper: the paper's table as text: block, row, figures. Its rows stand beside ours.

    Returns:
        The columns `COLUMNS`. `_own` is the comparison with the row's reference or else the
        block's, `_baseline` the one with the plain answers; p-values raw and after Holm over all of
        the table's. Where both are one comparison, it is one test of these.
    """
    printed = {} if paper is None else {(r.iloc[0], r.iloc[1]): r for _, r in paper.iterrows()}
    rows: list[dict[str, Any]] = []
    for slug, blocks in students.items():
        arms: dict[str, Arm] = {}
        pairs: dict[str, tuple[Arm, Arm]] = {}
        for block in blocks:
            for row in block.rows:
                if row.arm is None:
                    continue
                key = f"{block.label}/{row.label}"
                arms[key] = row.arm
                own = row.reference or block.compared_with
                against = {"own": own, "baseline": baselines[slug]}
                for name, reference in against.items():
                    if reference is not None and reference is not row.arm:
                        pairs[f"{key}/{name}"] = (row.arm, reference)
        drawn = (tasks, config.bootstrap, config.seed)
        figures, compared = rates(arms, *drawn), differences(pairs, *drawn)
        for block in blocks:
            for row in block.rows:
                key = f"{block.label}/{row.label}"
                values: dict[str, Any] = {
                    "student": slug,
                    "student_label": config.label(slug),
                    "block": block.label,
                    "row": row.label,
                    "oracle": row.oracle,
                    **figures.get(key, {}),
                    **row.notes,
                    "twice": (row.reference or block.compared_with) is baselines[slug],
                }
                for name in _TESTS:
                    found = compared.get(f"{key}/{name}", {})
                    values |= {f"{column}_{name}": value for column, value in found.items()}
                beside = printed.get((block.label, row.label))
                for ours, theirs in PAPER_COLUMNS.items():
                    values[f"{ours}_paper"] = "" if beside is None else beside[theirs]
                rows.append(values)
    tests = [
        (entry, name)
        for entry in rows
        for name in _TESTS
        if f"p_{name}" in entry and not (name == "baseline" and entry["twice"])
    ]
    adjusted = holm([entry[f"p_{name}"] for entry, name in tests])
    for (entry, name), p in zip(tests, adjusted, strict=True):
        entry[f"p_holm_{name}"] = p
        if entry["twice"]:
            entry["p_holm_baseline"] = p
    return pd.DataFrame(rows, columns=list(COLUMNS))


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV: numbers to six places, lists joined by semicolons."""
    table = table.copy()
    for column in [name for name in COLUMNS if "_by_seed" in name]:
        table[column] = table[column].map(joined)
    whole = ("n", "seeds", "trajectories", "matched", "unparsed", "truncated", "errored", "kept")
    for column in (*whole, "discordant_own", "discordant_baseline"):
        table[column] = table[column].astype("Int64")
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(6) + 0.0
    return table.to_csv(index=False, lineterminator="\n")


def to_tex(table: pd.DataFrame, template: Path, about: Mapping[str, object]) -> str:
    """Return the table as LaTeX, a float a student.

    Args:
        table: what `build` returns.
        template: of the float.
        about: what its caption says.
    """
    students = []
    for slug, own in table.groupby("student", sort=False):
        blocks = []
        for label, rows in own.groupby("block", sort=False):
            records = rows.to_dict(orient="records")
            for row in records:
                row["pending"] = pd.isna(row["score"])
                row["bold"] = not row["oracle"] and (
                    row["difference_low_own"] > 0 or row["difference_high_own"] < 0
                )
            blocks.append({"label": label, "rows": records})
        first = own[own["n"].notna()].iloc[0]
        students.append(
            {"slug": slug, "label": first["student_label"], "n": int(first["n"]), "blocks": blocks}
        )
    return render(template, students=students, **about)
