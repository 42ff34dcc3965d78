"""Table 6 (paper, section 5.3): finetuning on games and code, each arm against the baseline.

Beside it stands the count behind "all of the finetuning techniques perform worse than the baseline
on a majority of the tasks", which the paper's own figures bear out for Feedback DPO alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stages.reporting import environment_blocks as blocks
from stages.reporting import latex
from stages.reporting.config import ReportSection
from stages.reporting.environment_blocks import BASELINE, TEACHER, Row
from stages.reporting.games import Games
from stages.reporting.training import Arm as Key

# Labels of the paper's rows, as in data/paper/table6.csv; its one student stands beside every one.
_TEACHER, _BASELINE = "Teacher", "Baseline"
_MOVES = ("worse", "same", "better")
PAPER = "paper"


class Tables(NamedTuple):
    """Table 6: a row a learner, environment and arm; how many environments each arm is worse in.

    `programs` counts how the code of replies was found and how the tests of programs went.
    """

    arms: pd.DataFrame
    moves: pd.DataFrame
    programs: pd.DataFrame


def build(
    results: Games,
    learners: Sequence[str],
    methods: Sequence[str],
    teacher: str,
    paper: pd.DataFrame,
    config: ReportSection,
) -> Tables:
    """Return Table 6.

    Args:
        results: of the suite.
        learners: in the order of the table. One that is itself trained is compared with the first
            answers of the student that it comes from.
        methods: training methods, in the order of the table.
        teacher: whose own answers stand above.
        paper: the paper's table as text.
        config: labels, resamples and seed.

    Returns:
        The columns `blocks.COLUMNS`. p-values are raw and after Holm over all of the table.
    """
    printed = _printed(paper)
    labels = {TEACHER: _TEACHER, BASELINE: _BASELINE}
    labels |= {method: config.label(method) for method in methods}
    found: list[dict[str, Any]] = []
    programs: list[dict[str, Any]] = []
    for learner in learners:
        student = learner.split("-")[0]
        beside = {} if "-" in learner else printed
        for slug, environment in results.environments.items():
            figures = beside.get(environment.column, {})
            rows = {
                TEACHER: results.of_teacher(teacher),
                BASELINE: results.of_student(student),
                **{method: results.of_trained(learner, method) for method in methods},
            }
            of = {key: results.arm(own, slug) for key, own in rows.items()}
            block = [
                Row(
                    key,
                    labels[key],
                    arm,
                    base=None if key in (TEACHER, BASELINE) else of[BASELINE],
                    paper=figures.get(labels[key], ""),
                )
                for key, arm in of.items()
            ]
            block += blocks.floors(results, slug)
            found += blocks.rows(learner, environment, block, config)
            if environment.code:
                for key, own in rows.items():
                    head = {"learner": learner, "environment": slug, "arm": key}
                    programs += _programs(head, own[own["item"].isin(results.index(slug))])
    arms = blocks.table(found)
    return Tables(
        arms,
        pd.DataFrame([*_moves(arms), *_printed_moves(printed)]),
        pd.DataFrame(programs, columns=["learner", "environment", "arm", "of", "name", "count"]),
    )


def _printed(paper: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the paper's figures by column, then by row."""
    rows = [
        _TEACHER if row.iloc[0] == _TEACHER else str(row.iloc[1]) for _, row in paper.iterrows()
    ]
    return {
        str(column): dict(zip(rows, paper[column], strict=True)) for column in paper.columns[2:]
    }


def _programs(head: Mapping[str, str], rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how code was found, how its tests went, and how often it repeats a shown answer."""
    counted = {"rule": rows["rule"], "test": rows["checks"].explode(), "by rote": rows["rote"]}
    return [
        {**head, "of": of, "name": name, "count": int(count)}
        for of, values in counted.items()
        for name, count in values.value_counts().sort_index().items()
    ]


def _moves(arms: pd.DataFrame) -> list[dict[str, Any]]:
    """Return on how many environments each arm does worse, as well or better than the baseline."""
    compared = arms[arms["difference"].notna()]
    found = []
    for (learner, arm), own in compared.groupby(["learner", "arm"], sort=False):
        row = {"learner": learner, "arm": arm, "row": own["row"].iloc[0]}
        row |= _counts(list(own["difference"]))
        shown = (own["difference_high"] < 0, own["difference_low"] > 0)
        row |= {f"{name}_shown": int(of.sum()) for name, of in zip(_MOVES[::2], shown, strict=True)}
        found.append(row)
    return found


def _printed_moves(printed: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return the same of the paper's printed figures."""
    labels = list(next(iter(printed.values())))
    found = []
    for label in labels[2:]:
        gains = [float(of[label]) - float(of[_BASELINE]) for of in printed.values()]
        found.append({"learner": PAPER, "arm": "", "row": label, **_counts(gains)})
    return found


def _counts(gains: Sequence[float]) -> dict[str, Any]:
    worse, better = sum(gain < -1e-9 for gain in gains), sum(gain > 1e-9 for gain in gains)
    counts = {"worse": worse, "same": len(gains) - worse - better, "better": better}
    return {**counts, "majority_worse": 2 * worse > len(gains)}


def findings(moves: pd.DataFrame, learner: str) -> str:
    """Return in words which arms are worse than the baseline in most environments."""
    own = moves[moves["learner"] == learner]
    if not len(own):
        return "none was compared"
    worse = list(own["row"][own["majority_worse"].astype(bool)])
    if len(worse) == len(own):
        return "all methods"
    return ", ".join(worse) if worse else "no method"


def to_csv(frame: pd.DataFrame) -> str:
    """Return the counts of moves or of programs as CSV."""
    whole = [name for name in ("worse_shown", "better_shown") if name in frame]
    frame = frame.astype(dict.fromkeys(whole, "Int64"))
    return frame.to_csv(index=False, lineterminator="\n")


def to_tex(
    tables: Tables,
    results: Games,
    about: Mapping[str, object],
    taught: Mapping[str, object],
    trained: Mapping[Key, Mapping[str, Any]],
    fallbacks: Iterable[str],
    sandboxes: Iterable[str],
    paper: pd.DataFrame,
) -> str:
    """Return the table as LaTeX: the paper's view of it, then a block an environment.

    Args:
        tables: what `build` returns.
        results: of the suite.
        about: what captions say.
        taught: what all arms learn from; see `table5.lessons`.
        trained: what `training.by_arm` returns.
        fallbacks: what the machine could not do as asked.
        sandboxes: what programs were run in.
        paper: the paper's table as text.
    """
    environments = list(results.environments.values())
    # What is printed of each environment: its score, and of programs the share that pass all tests.
    columns = [
        (environment, figure)
        for environment in environments
        for figure in (("score", "solved") if environment.code else ("score",))
    ]
    moves = {(row.learner, row.row): row for row in tables.moves.itertuples()}
    learners = []
    for slug, own in tables.arms.groupby("learner", sort=False):
        rows: dict[str, dict[str, Any]] = {}
        for label, part in own.groupby("row", sort=False):
            cells = part.set_index("environment").to_dict(orient="index")
            rows[str(label)] = {
                "label": label,
                "key": part["arm"].iloc[0],
                "cells": [
                    _cell(
                        cells.get(environment.slug),
                        figure,
                        blocks.decimals(environment.column, paper),
                    )
                    for environment, figure in columns
                ],
                "moves": moves.get((slug, label)),
                "training": trained.get((str(slug), str(part["arm"].iloc[0]))),
            }
        floors = [rows.pop(label) for label in blocks.FLOORS.values() if label in rows]
        learners.append(
            {
                "slug": slug,
                "label": own["learner_label"].iloc[0],
                "rows": list(rows.values()),
                "floors": floors,
                "findings": findings(tables.moves, str(slug)),
            }
        )
    printed = _printed(paper)
    overview = latex.render(
        Path(__file__).with_name("table6.tex.jinja"),
        learners=learners,
        columns=[
            {
                "label": environment.column,
                "all": figure == "solved",
                "n": len(results.index(environment.slug)),
            }
            for environment, figure in columns
        ],
        printed=[
            {
                "label": label,
                "cells": [
                    printed.get(environment.column, {}).get(label, "") if figure == "score" else ""
                    for environment, figure in columns
                ],
                "moves": moves.get((PAPER, label)),
            }
            for label in next(iter(printed.values()))
        ],
        printed_findings=findings(tables.moves, PAPER),
        bad=int(results.items["flagged"].sum()),
        scales=[f"{own.column} to {own.best:g}" for own in environments if own.best != 1],
        taught=taught,
        fallbacks=list(fallbacks),
        sandboxes=list(sandboxes),
        **about,
    )
    detail = blocks.to_tex(tables.arms, "trained", about, results.environments, paper)
    return f"{overview}\n{detail}"


def _cell(row: Mapping[Any, Any] | None, figure: str, places: int) -> dict[str, Any]:
    """Return one figure of the overview, as printed."""
    if row is None:
        return {"text": latex.MISSING, "bold": False}
    if row["note"]:
        return {"text": "n.r.", "bold": False}
    bold = figure == "score" and (row["difference_low"] > 0 or row["difference_high"] < 0)
    return {"text": latex.number(row[figure], places if figure == "score" else 2), "bold": bold}
