"""The few figures that `dvc metrics`, `dvc exp show` and `dvc exp diff` print.

Whatever an experiment changes must move one of them: a feedback condition its own gain and match
rate, what training learns from those of each method and its gain on games and code, the verdict its
balanced accuracy. The match rate is there since training moves it where the score stays.
"""

from math import isnan
from typing import Any

import pandas as pd

from stages.reporting.built import Built
from stages.reporting.load import BASELINE

COUNTED = ("supported", "contradicted")
"""The verdicts on claims that are counted here; how many were tested changes with the scale."""


def build(built: Built, verdicts: dict[str, int]) -> dict[str, Any]:
    """Return what feedback and training gain each student, and what becomes of the claims.

    Args:
        built: the tables.
        verdicts: how many claims of the paper came out how.

    Returns:
        By student: `score` of its first answers; `match_rate` of these (`baseline`), of its retries
        by feedback condition of the paper and by training method; `gain` by the same (paired
        differences of the score, of the mean over seeds); where the scale has games and code,
        `games_gain` by training method (of the share of the best score, each environment
        alike); `balanced_accuracy` of the teacher's eye for its errors, with the verdict of
        negative sampling, null where it is not defined. Then `claims`, by verdict of `COUNTED`.
    """
    found: dict[str, Any] = {}
    third = built.table3[built.table3["items"] == "all"]
    for row in third.to_dict(orient="records"):
        own = found.setdefault(str(row["student"]), {"match_rate": {}, "gain": {}})
        own["match_rate"][str(row["condition"])] = _rounded(row["match_rate"])
        if row["condition"] == BASELINE:
            own["score"] = _rounded(row["score"])
        else:
            own["gain"][str(row["condition"])] = _rounded(row["difference"])
    for row in built.table5.arms.to_dict(orient="records"):
        if row["method"] != BASELINE:
            own = found.setdefault(str(row["learner"]), {"match_rate": {}, "gain": {}})
            own["match_rate"][str(row["method"])] = _rounded(row["match_rate"])
            own["gain"][str(row["method"])] = _rounded(row["difference"])
    for learner, gains in _of_games(built).items():
        found.setdefault(learner, {})["games_gain"] = gains
    second = built.table2[built.table2["verdict"] == built.grid.verdict]
    for row in second.to_dict(orient="records"):
        found[str(row["student"])]["balanced_accuracy"] = _rounded(row["balanced_accuracy"])
    return {**found, "claims": {verdict: verdicts[verdict] for verdict in COUNTED}}


def _of_games(built: Built) -> dict[str, dict[str, float | None]]:
    """Return what each method gains each learner, over the environments that were run."""
    if built.games is None:
        return {}
    arms = built.games.table6.arms
    arms = arms[arms["difference"].notna()]
    shares: pd.Series[float] = arms["difference"] / arms["best"]
    found: dict[str, dict[str, float | None]] = {}
    for (learner, method), share in shares.groupby([arms["learner"], arms["arm"]], sort=False):
        found.setdefault(str(learner), {})[str(method)] = _rounded(float(share.mean()))
    return found


def _rounded(value: float) -> float | None:
    """Return a number to four places, never -0.0; None, which JSON has, for NaN."""
    return None if isnan(value) else round(value, 4) + 0.0
