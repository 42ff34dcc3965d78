"""Tables 1 to 8 as a paper prints them: its layout and columns, our figures with intervals.

The same tables with the paper's figures beside, differences and counts are those of the modules
`table2` to `table8`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.reporting import environment_blocks, games, table1, table4, table8
from stages.reporting.built import Built, BuiltGames
from stages.reporting.environment_blocks import BASELINE, FLOORS, TEACHER
from stages.reporting.latex import render

Row = dict[str, Any]
# Environments of Table 6 that stand beside each other with their intervals.
_ABREAST = 4


@dataclass(frozen=True)
class About:
    """What captions of all plain tables say.

    Attributes:
        scale: its name.
        teacher: printed name.
        students: printed names.
        seeds: of the students.
        n: items of the suite of questions.
        subtasks: how many these are of.
        draws: resamples of a bootstrap.
        base: printed name of the feedback condition of Tables 4 and 8.
        k: candidates of best-of-k.
    """

    scale: str
    teacher: str
    students: Sequence[str]
    seeds: Sequence[int]
    n: int
    subtasks: int
    draws: int
    base: str
    k: int


_TEMPLATES = {
    "table2": "plain_table2.tex.jinja",
    "table3": "plain_table3.tex.jinja",
    "table4": "plain_table4.tex.jinja",
    "table5": "plain_table5.tex.jinja",
    "table6": "plain_table6.tex.jinja",
    "table7": "plain_table7.tex.jinja",
    "table8": "plain_table8.tex.jinja",
}


def about(built: Built) -> About:
    """Return what captions say of this run."""
    config, grid, items = built.config, built.grid, built.results.items
    return About(
        scale=built.scale,
        teacher=config.label(grid.teacher),
        students=[config.label(slug) for slug in grid.students],
        seeds=grid.seeds,
        n=len(items),
        subtasks=items["task"].nunique(),
        draws=config.bootstrap,
        base=config.label(grid.base),
        k=len(grid.draws),
    )


def build(built: Built) -> dict[str, str]:
    """Return the LaTeX of each table by its name, `table1` say, those of games where there are any.

    Every table is a float of at most 345 pt by a page of a plain article, Tables 4 and 6 as many
    floats of one number as there are students, or learners.
    """
    ours = about(built)
    found = {
        "table1": table1.to_tex(built.paper[1]),
        "table2": _render("table2", ours, blocks=_blocks(built.table2, "verdict_label")),
        "table3": _render("table3", ours, blocks=_third(built.table3)),
        "table4": _render("table4", ours, students=_fourth(built.table4)),
        "table5": _render(
            "table5",
            ours,
            learners=_fifth(built.table5.arms),
            cleaned="feedback_sft_cleaned" in set(built.table5.arms["method"]),
        ),
    }
    if built.games:
        found |= {
            "table6": _sixth(built, built.games, ours),
            "table7": _render("table7", ours, rows=_records(built.games.table7)),
            "table8": _eighth(built, built.games, ours),
        }
    return found


def _render(name: str, ours: About, **values: object) -> str:
    template = Path(__file__).with_name(_TEMPLATES[name])
    return render(template, name=name, about=ours, **values)


def _records(frame: pd.DataFrame) -> list[Row]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _blocks(frame: pd.DataFrame, column: str) -> list[Row]:
    return [
        {"label": label, "rows": _records(rows)}
        for label, rows in frame.groupby(column, sort=False)
    ]


def _bold(row: Mapping[str, Any], suffix: str = "") -> bool:
    return bool(row[f"difference_low{suffix}"] > 0 or row[f"difference_high{suffix}"] < 0)


def _third(frame: pd.DataFrame) -> list[Row]:
    blocks = _blocks(frame[frame["items"] == "all"], "student_label")
    for block in blocks:
        for row in block["rows"]:
            row["bold"] = not row["sees_target"] and _bold(row)
    return blocks


def _fourth(frame: pd.DataFrame) -> list[Row]:
    students = []
    for of, own in frame[frame["block"] != table4.RESAMPLING].groupby("student", sort=False):
        blocks = _blocks(own[own["score"].notna()], "block")
        for block in blocks:
            for row in block["rows"]:
                row["bold"] = not row["oracle"] and _bold(row, "_own")
        label = own["student_label"].iloc[0]
        students.append({"slug": of, "label": label, "blocks": blocks})
    return students


def _fifth(frame: pd.DataFrame) -> list[Row]:
    learners = _blocks(frame, "learner_label")
    for learner in learners:
        for row in learner["rows"]:
            row["bold"] = _bold(row)
    return learners


def _sixth(built: Built, played: BuiltGames, ours: About) -> str:
    results, paper = played.results, built.paper[6]
    environments = list(results.environments.values())
    columns = [
        {
            "slug": environment.slug,
            "label": environment.column,
            "n": len(results.index(environment.slug)),
            "decimals": environment_blocks.decimals(environment.column, paper),
        }
        for environment in environments
    ]
    arms = played.table6.arms
    size = _even(len(columns))
    return _render(
        "table6",
        ours,
        parts=[columns[start : start + size] for start in range(0, len(columns), size)],
        learners=_arms(arms),
        scales=[f"{own.column} to {own.best:g}" for own in environments if own.best != 1],
        condition=built.config.label(played.condition),
        fewest=games.FEWEST,
        not_run=bool((arms["note"] != "").any()),
    )


def _even(columns: int) -> int:
    """Return how many columns stand abreast, so that all parts are about as wide."""
    return -(-columns // -(-columns // _ABREAST))


def _arms(arms: pd.DataFrame) -> list[Row]:
    """Return each learner with its rows, and the teacher's above, cells by environment."""
    shown = arms[~arms["arm"].isin(list(FLOORS))]
    learners: list[Row] = []
    for slug, own in shown.groupby("learner", sort=False):
        rows: dict[str, Row] = {}
        for row in _records(own):
            row["bold"] = row["arm"] not in (TEACHER, BASELINE) and _bold(row)
            cells = rows.setdefault(row["arm"], {"label": row["row"], "cells": {}})["cells"]
            cells[row["environment"]] = row
        label = own["learner_label"].iloc[0]
        learners.append(
            {
                "slug": slug,
                "label": label,
                "teacher": rows.pop(TEACHER),
                "rows": list(rows.values()),
            }
        )
    return learners


def _eighth(built: Built, played: BuiltGames, ours: About) -> str:
    frame, results = played.table8, played.results
    programs = table8.code(results)
    names = [("bbh", "BBH"), ("bbsr", "BBSR"), *((column, column) for column in programs)]
    rows = _records(frame)
    for row in rows:
        row |= {"bbh_note": "", "bbsr_note": ""}
    return _render(
        "table8",
        ours,
        blocks=[
            {
                "label": label,
                "rows": [row for row in rows if row["role"] == role],
                "seeded": role == "student",
            }
            for role, label in table8.ROLES.items()
        ],
        names=names,
        programs=programs,
        games=[own.column for own in results.environments.values() if not own.code],
        sizes=_sizes(frame, [*names, ("feedback", "feedback")]),
        reader=_reader(built, frame),
    )


def _sizes(frame: pd.DataFrame, names: Iterable[tuple[str, str]]) -> dict[str, float]:
    sizes = {label: frame[f"{name}_n"].max() for name, label in names}
    return {label: n for label, n in sizes.items() if n > 0}


def _reader(built: Built, frame: pd.DataFrame) -> str:
    """Return the printed name of who retries with every teacher's feedback."""
    known = frame["feedback_student"].dropna()
    return built.config.label(known.iloc[0] if len(known) else built.grid.students[0])
