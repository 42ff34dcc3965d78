"""Tables of a block an environment, whose rows are compared with its baseline (Table 6).

Serves Table 6, the table of retries in games and that of what training on questions does to games.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from stages.reporting import games, latex
from stages.reporting.compare import Arm, joined
from stages.reporting.config import ReportSection
from stages.reporting.environments import Environment
from stages.reporting.games import Games

Kind = Literal["trained", "retry", "forgot"]
RETRY_COLUMNS = ("replaced", "unreadable", "told", "told_n", "told_by_chance", "told_by_chance_n")
COLUMNS = (
    *("learner", "learner_label", "environment", "column", "best", "graded", "arm", "row", "note"),
    *("n", "seeds", "trajectories"),
    *("score", "score_low", "score_high", "score_paper", "score_by_seed"),
    *("solved", "solved_low", "solved_high"),
    *("difference", "difference_low", "difference_high", "difference_by_seed"),
    *("discordant", "test", "p", "p_holm", "smallest_detectable"),
    *("unparsed", "truncated", "errored", "kept"),
)
BASELINE, TEACHER = "baseline", "teacher"
FLOORS = {player: f"Floor: {player}" for player in games.PLAYERS}
_WHOLE = ("n", "seeds", "trajectories", "discordant", "unparsed", "truncated", "errored", "kept")
# Blocks that a page of a plain article holds.
_PAGE = 4


@dataclass(frozen=True)
class Row:
    """One row of a block.

    Attributes:
        key: what it is, in the CSV.
        label: as printed.
        arm: its answers; None where programs were not run.
        base: the arm that it is compared with, if any.
        paper: the paper's figure, as printed; "" for none.
        notes: further columns.
    """

    key: str
    label: str
    arm: Arm | None
    base: Arm | None = None
    paper: str = ""
    notes: Mapping[str, float] = field(default_factory=dict)


def floors(results: Games, environment: str) -> list[Row]:
    """Return the rows of the blind players that an environment has."""
    found = {player: results.floor(player, environment) for player in FLOORS}
    return [Row(player, FLOORS[player], arm) for player, arm in found.items() if arm is not None]


def rows(
    learner: str, environment: Environment, block: Sequence[Row], config: ReportSection
) -> list[dict[str, Any]]:
    """Return the rows of a learner's block, p-values not yet adjusted."""
    found = []
    for row in block:
        values: dict[str, Any] = {
            "learner": learner,
            "learner_label": config.label(learner),
            "environment": environment.slug,
            "column": environment.column,
            "best": environment.best,
            "graded": environment.graded,
            "arm": row.key,
            "row": row.label,
            "note": games.NOT_RUN if row.arm is None else "",
            "score_paper": row.paper,
            **row.notes,
        }
        if row.arm is not None:
            values |= games.figures(row.arm, environment, config)
            if row.base is not None:
                values |= games.difference(row.arm, row.base, environment, config)
        found.append(values)
    return found


def table(found: Sequence[dict[str, Any]], more: Sequence[str] = ()) -> pd.DataFrame:
    """Return rows as a table of `COLUMNS` and more, with p-values after Holm over all of it."""
    games.adjust(found)
    return pd.DataFrame(found, columns=[*COLUMNS, *more])


def to_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV: numbers to six places, lists joined by semicolons."""
    frame = frame.copy()
    for column in [name for name in frame if str(name).endswith("_by_seed")]:
        frame[column] = frame[column].map(joined)
    for column in [name for name in _WHOLE if name in frame]:
        frame[column] = frame[column].astype("Int64")
    numbers = frame.select_dtypes("float").columns
    frame[numbers] = frame[numbers].round(6) + 0.0
    return frame.to_csv(index=False, lineterminator="\n")


def decimals(column: str, paper: pd.DataFrame) -> int:
    """Return with how many decimals a column is printed: as many as the paper's, else two."""
    printed = paper.get(column, ())
    return max((len(figure.partition(".")[2]) for figure in printed), default=2)


def shown(row: Mapping[Any, Any], places: int) -> dict[str, Any]:
    """Return a row with its figures as they are printed, under `<column>_text`."""
    texts = {}
    for column in ("score", "difference"):
        texts[f"{column}_text"] = latex.number(row[column], places)
        texts[f"{column}_interval"] = latex.interval(row, column, decimals=places)
    texts["smallest_text"] = latex.number(row["smallest_detectable"], places)
    bold = row["difference_low"] > 0 or row["difference_high"] < 0
    return {**row, **texts, "bold": bold}


def to_tex(
    frame: pd.DataFrame,
    kind: Kind,
    about: Mapping[str, object],
    environments: Mapping[str, Environment],
    paper: pd.DataFrame,
) -> str:
    """Return the blocks as LaTeX, floats of a page each, a learner after the other.

    Args:
        frame: what `table` returns.
        kind: which table it is.
        about: what captions say.
        environments: by slug.
        paper: the paper's Table 6 as text.
    """
    floats = []
    for slug, own in frame.groupby("learner", sort=False):
        blocks = []
        for name, part in own.groupby("environment", sort=False):
            environment = environments[str(name)]
            places = decimals(environment.column, paper)
            records = [shown(row, places) for row in part.to_dict(orient="records")]
            blocks.append(
                {
                    "environment": environment,
                    "n": part["n"].max(),
                    "rows": records,
                    "not_run": bool((part["note"] != "").all()),
                    # Of all but `replaced`, one row knows; a retry of all replaces all.
                    "notes": {c: part[c].min() for c in RETRY_COLUMNS if c in part},
                }
            )
        pages = -(-len(blocks) // _PAGE)
        size = -(-len(blocks) // pages)
        floats += [
            {
                "slug": slug,
                "label": own["learner_label"].iloc[0],
                "page": page,
                "blocks": blocks[page * size : (page + 1) * size],
            }
            for page in range(pages)
        ]
    template = Path(__file__).with_name("environment_blocks.tex.jinja")
    return latex.render(template, floats=floats, kind=kind, fewest=games.FEWEST, **about)
