"""Sensitivity to wording: each prompt in other words, one at a time, all else the same.

The paper's prompts are lost (Appendix A, Figure 2), so that every figure hangs on ours; how much is
what this table tells. Seeds of sampling are those of the original wording.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages import stats
from stages.reporting.cleaning import TAKEN
from stages.reporting.compare import COUNTS, Arm, differences, joined, rates
from stages.reporting.config import ReportSection
from stages.reporting.games import Games
from stages.reporting.latex import render
from stages.stats import Array

OURS = "ours"
"""The wording that all other tables are made with."""
METRICS = {
    "score": "Score",
    "match_rate": "Match rate",
    "accuracy": "Accuracy",
    "flagged": "Taken for wrong",
    "unreadable": "Unreadable",
    "taken": "Text taken",
    "clean": "Taken, clean",
}
COLUMNS = (
    *("student", "student_label", "prompt", "variant", "metric", "metric_label", "n", "seeds"),
    *("estimate", "low", "high", "estimate_by_seed"),
    *("difference", "difference_low", "difference_high"),
    *("test", "p", "p_holm", "smallest_detectable"),
)


@dataclass(frozen=True)
class Trial:
    """One prompt in all its wordings.

    Attributes:
        student: whose answers it is about.
        prompt: its file in prompts/, without ending.
        values: by wording (`OURS` first), then by metric of `METRICS`: (items, seeds).
        tasks: the subtask of each item.
    """

    student: str
    prompt: str
    values: Mapping[str, Mapping[str, Array]]
    tasks: Sequence[str]


def of_answers(arms: Mapping[str, Arm]) -> dict[str, dict[str, Array]]:
    """Return the metrics of answers: how often they match, and how often they are right."""
    return {name: {"score": own.score, "match_rate": own.matched} for name, own in arms.items()}


def of_games(
    games: Games, rows: Mapping[str, pd.DataFrame]
) -> tuple[dict[str, dict[str, Array]], list[str]]:
    """Return the metrics of answers in environments, and the environment of each item.

    Scores are shares of the best, so that environments can be pooled; one whose programs were not
    run under some wording is left out under all. Without any left, both are empty.

    Args:
        games: the suite.
        rows: by wording, scores of one student as `load.read_scores` returns them.
    """
    found: dict[str, dict[str, list[Array]]] = {
        name: {"score": [], "match_rate": []} for name in rows
    }
    tasks: list[str] = []
    for slug, environment in games.environments.items():
        arms = {
            name: own
            for name, of_wording in rows.items()
            if (own := games.arm(of_wording, slug)) is not None
        }
        if len(arms) < len(rows):
            continue
        for name, own in arms.items():
            found[name]["score"].append(own.score / environment.best)
            found[name]["match_rate"].append(own.matched)
        tasks += [slug] * len(games.index(slug))
    whole = {
        name: {metric: np.concatenate(parts) for metric, parts in of.items()}
        for name, of in (found if tasks else {}).items()
    }
    return whole, tasks


def of_verdicts(rows: pd.DataFrame, wrong: Array, index: Sequence[str]) -> dict[str, Array]:
    """Return the metrics of verdicts, of which an unreadable one flags the answer.

    Args:
        rows: of `load.judgements`, of one student and verdict.
        wrong: (items, seeds), 1 where the answer is not solved.
        index: the items.
    """
    flagged, unreadable = (_wide(rows, column, index) for column in ("flagged", "unparsable"))
    accuracy = (flagged == wrong).astype(float)
    return {"accuracy": accuracy, "flagged": flagged, "unreadable": unreadable}


def of_choices(rows: pd.DataFrame, index: Sequence[str]) -> dict[str, Array]:
    """Return the metrics of choices: how the chosen candidate did, and how many named none.

    Args:
        rows: item, seed, score and choice of what was chosen.
        index: the items.
    """
    unreadable = rows.assign(unreadable=rows["choice"].eq("unreadable"))
    return {
        "score": _wide(rows, "score", index),
        "unreadable": _wide(unreadable, "unreadable", index),
    }


def of_cleaning(rows: pd.DataFrame, index: Sequence[str]) -> dict[str, Array]:
    """Return the metrics of cleaning: how often its text is taken, and taken without an artefact.

    In a text that is refused nothing is looked for, so that artefacts alone would praise refusals.

    Args:
        rows: of `load.read_fidelity`, of one student.
        index: the train items.
    """
    taken = rows["status"].isin(TAKEN)
    told = rows.assign(taken=taken, clean=taken & ~rows["artefact_after"].astype(bool))
    return {name: _wide(told, name, index) for name in ("taken", "clean")}


def _wide(rows: pd.DataFrame, column: str, index: Sequence[str]) -> Array:
    """Return (items, seeds) of a column."""
    wide = rows.pivot(index="item", columns="seed", values=column).reindex(list(index))
    return wide.sort_index(axis=1).to_numpy(dtype=float)


def build(trials: Iterable[Trial], config: ReportSection) -> pd.DataFrame:
    """Return a row a student, prompt, metric and wording.

    Returns:
        The columns `COLUMNS`: the rate with its 95 % interval and its value in each seed; for the
        other wordings the paired difference from ours, tested as everywhere, p raw and after Holm
        over the table; what difference could have been shown.
    """
    rows: list[dict[str, Any]] = []
    for trial in trials:
        for metric in trial.values[OURS]:
            arms = {name: _arm(values[metric]) for name, values in trial.values.items()}
            drawn = (trial.tasks, config.bootstrap, config.seed)
            figures = rates(arms, *drawn)
            others = {name: (own, arms[OURS]) for name, own in arms.items() if name != OURS}
            compared = differences(others, *drawn)
            for name, own in figures.items():
                row = {
                    "student": trial.student,
                    "student_label": config.label(trial.student),
                    "prompt": trial.prompt,
                    "variant": name,
                    "metric": metric,
                    "metric_label": METRICS[metric],
                    "estimate": own["score"],
                    "low": own["score_low"],
                    "high": own["score_high"],
                    "estimate_by_seed": own["score_by_seed"],
                    **{key: own[key] for key in ("n", "seeds")},
                    **compared.get(name, {}),
                }
                rows.append({key: value for key, value in row.items() if key in COLUMNS})
    tested = [row for row in rows if "p" in row]
    for row, p in zip(tested, stats.holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _arm(values: Array) -> Arm:
    """Return an arm that scores by these values and has nothing else to tell."""
    nothing = np.zeros_like(values)
    told = ("tolerant", "solved", *COUNTS, "prompt_tokens", "completion_tokens")
    ones = {"score": values, "matched": np.ones_like(values)}
    return Arm({**ones, **dict.fromkeys(told, nothing)}, values.shape[1])


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV: numbers to six places, lists joined by semicolons."""
    table = table.copy()
    table["estimate_by_seed"] = table["estimate_by_seed"].map(joined)
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(6) + 0.0
    return table.to_csv(index=False, lineterminator="\n")


def to_tex(table: pd.DataFrame, about: Mapping[str, object]) -> str:
    """Return the table as LaTeX, a float a student: a row a prompt and metric.

    `about` is what captions say; beside it stands the spread, the largest less the smallest rate.
    """
    students = []
    for label, own in table.groupby("student_label", sort=False):
        rows = []
        for (prompt, metric), part in own.groupby(["prompt", "metric_label"], sort=False):
            of = part.set_index("variant").to_dict(orient="index")
            rows.append(
                {
                    "prompt": prompt,
                    "metric": metric,
                    "n": part["n"].iloc[0],
                    "ours": of.pop(OURS),
                    "others": of,
                    "spread": float(part["estimate"].max() - part["estimate"].min()),
                }
            )
        variants = [name for name in dict.fromkeys(own["variant"]) if name != OURS]
        students.append(
            {"label": label, "slug": own["student"].iloc[0], "rows": rows, "variants": variants}
        )
    template = Path(__file__).with_name("sensitivity.tex.jinja")
    return render(template, students=students, **about)
