"""The few figures that `dvc metrics` and `dvc exp show` print."""

from math import isnan
from typing import Any

from stages.reporting.built import Built
from stages.reporting.load import BASELINE


def build(built: Built, verdicts: dict[str, int]) -> dict[str, Any]:
    """Return score and match rate of every student, what feedback and training gain, and claims.

    Args:
        built: the tables.
        verdicts: how many claims of the paper came out how.

    Returns:
        By student: `n`, `score` and `match_rate` of its first answers, `gain` by feedback condition
        of the paper and by training method (paired differences of the score, of the mean over
        seeds), `balanced_accuracy` of the teacher's eye for its errors by verdict, null where it is
        not defined; then `claims`.
    """
    found: dict[str, Any] = {}
    third = built.table3[built.table3["items"] == "all"]
    for row in third.to_dict(orient="records"):
        own = found.setdefault(str(row["student"]), {"gain": {}})
        if row["condition"] == BASELINE:
            own |= {"n": row["n"]}
            own |= {name: round(row[name], 4) for name in ("score", "match_rate")}
        else:
            own["gain"][str(row["condition"])] = round(row["difference"], 4) + 0.0
    for row in built.table5.arms.to_dict(orient="records"):
        if row["method"] != BASELINE:
            own = found.setdefault(str(row["learner"]), {"gain": {}})
            own["gain"][str(row["method"])] = round(row["difference"], 4) + 0.0
    for row in built.table2.to_dict(orient="records"):
        eye = found[str(row["student"])].setdefault("balanced_accuracy", {})
        value = row["balanced_accuracy"]
        eye[str(row["verdict"])] = None if isnan(value) else round(value, 4)
    return {**found, "claims": verdicts}
