"""How far another run may be from this one, out of this run's own figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, nan, sqrt
from statistics import NormalDist

import pandas as pd

from stages.reporting.built import Built
from stages.reporting.games import FEWEST
from stages.reporting.load import BASELINE

_METRICS = {"score": "Score", "matched": "Regex match rate"}
# Two-sided, as all intervals of the report.
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Sizes:
    """The sizes of the causes that this run measures; NaN for one that it does not.

    Attributes:
        paper: largest difference of Table 3's scores from the paper's beside them.
        prompts: largest difference of a score by another wording of a prompt.
        wordings: of how many such differences.
        fewest: over how many items each is at least.
        extraction: largest difference between tolerant and strict score in Table 3.
        sampling: largest tolerance of a score to sampling alone, of `reruns`.
        seeds: largest range of a score over the seeds in Table 3.
        items: largest half-width of the interval of a score in Table 3.
    """

    paper: float
    prompts: float
    wordings: int
    fewest: int
    extraction: float
    sampling: float
    seeds: float
    items: float


def reruns(built: Built) -> pd.DataFrame:
    """Return what sampling the same replies anew changes, from the candidates of best-of-k.

    A candidate is a reply to the prompt that the first answer (or the retry) replied to, drawn with
    another seed. With v the variance over such replies within an item, two runs over n items differ
    by 2 v / n in variance.

    Returns:
        A row a student, pool and metric: `replies` of an item and seed; `n` of items and seeds;
        `lowest` and `highest` rate of the replies; `tolerance`: 95 % of the differences of two runs
        are smaller, by the normal approximation.
    """
    results, rows = built.results, []
    for slug in built.grid.students:
        for condition in (BASELINE, built.grid.base):
            own = pd.concat(
                [
                    frame[(frame["student"] == slug) & (frame["condition"] == condition)]
                    for frame in (results.scores, results.samples)
                ],
                ignore_index=True,
            )
            draw = own["draw"].astype(float).fillna(-1.0)
            for metric, name in _METRICS.items():
                values = own[metric].astype(float)
                within = values.groupby([own["item"], own["seed"]]).var()
                means = values.groupby(draw).mean()
                rows.append(
                    {
                        "student_label": built.labels[slug],
                        "pool": "First answers"
                        if condition == BASELINE
                        else f"Retries, {built.labels[condition]}",
                        "metric": name,
                        "key": metric,
                        "replies": len(means),
                        "n": len(within),
                        "lowest": means.min(),
                        "highest": means.max(),
                        "tolerance": _Z * sqrt(2 * within.mean() / len(within)),
                    }
                )
    return pd.DataFrame(rows)


def resolution(built: Built) -> pd.DataFrame:
    """Return what each table can tell apart: the widest of its intervals.

    Returns:
        A row a table: `fewest` and `most` items of a row; `step`, what one reply to the fewest
        items moves; half-widths of the intervals of a rate (`rate`, the widest) and of paired
        differences (`median`, `widest`); `mde`, the largest smallest detectable difference,
        infinite where a row is too small to show any. NaN where a table has none. Games are in
        shares of their best score.
    """
    rows = [_resolution(*table) for table in _tables(built)]
    return pd.DataFrame(rows)


def _tables(built: Built) -> Iterator[tuple[str, str, pd.DataFrame, str, str]]:
    """Yield name, id on the page, frame, the column of rates, and the suffix of differences."""
    yield "Table 2: recall", "table2", built.table2, "recall", ""
    yield "Table 3", "table3", built.table3[built.table3["items"] == "all"], "score", ""
    yield "Table 4", "table4", built.table4, "score", "_own"
    yield "Controls", "controls", built.controls, "score", "_own"
    yield "Table 5: from the baseline", "table5", built.table5.arms, "score", ""
    yield "Table 5: arm against arm", "table5-pairs", built.table5.contrasts, "", ""
    if built.games:
        yield "Table 6", "table6-blocks", _shares(built.games.table6.arms), "score", ""
        yield "Feedback in games", "games_retry", _shares(built.games.retry), "score", ""
        yield "Forgetting", "forgetting", built.games.forgetting.suites, "score", ""
        eighth = built.games.table8
        yield "Table 8: BBH", "table8", eighth.assign(n=eighth["bbh_n"]), "bbh", ""


def _shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table of games with scores as shares of the best one."""
    columns = [
        *("score_low", "score_high", "difference_low", "difference_high", "smallest_detectable")
    ]
    return frame.assign(**{column: frame[column] / frame["best"] for column in columns})


def _half(frame: pd.DataFrame, key: str, suffix: str = "") -> "pd.Series[float]":
    names = [f"{key}_low{suffix}", f"{key}_high{suffix}"]
    if not key or any(name not in frame for name in names):
        return pd.Series([nan])
    return (frame[names[1]] - frame[names[0]]).astype(float) / 2


def _resolution(
    name: str, target: str, frame: pd.DataFrame, key: str, suffix: str
) -> dict[str, object]:
    differences, n = _half(frame, "difference", suffix), frame["n"].astype(float)
    nothing = pd.Series(nan, index=frame.index)
    detectable = frame.get(f"smallest_detectable{suffix}", nothing).astype(float)
    detectable = detectable.mask(n < FEWEST)
    compared = frame.get(f"difference{suffix}", nothing).notna()
    return {
        "table": name,
        "target": target,
        "fewest": n.min(),
        "most": n.max(),
        "step": 1 / n.min() if len(n) and n.min() else nan,
        "rate": _half(frame, key).max(),
        "median": differences.median(),
        "widest": differences.max(),
        # Where a row is too small to show anything, so is the table.
        "mde": inf if (compared & detectable.isna()).any() else detectable.max(),
    }


def sizes(built: Built, again: pd.DataFrame, sensitivity: pd.DataFrame | None) -> Sizes:
    """Return the sizes of the causes.

    Args:
        built: the tables of the run.
        again: what `reruns` returns.
        sensitivity: what `sensitivity.build` returns, if it was measured.
    """
    frame = built.table3[built.table3["items"] == "all"]
    theirs = pd.to_numeric(frame["score_paper"], errors="coerce")
    lists = [values for values in frame["score_by_seed"] if isinstance(values, list)]
    ranges = [max(values) - min(values) for values in lists if len(values) > 1]
    of_scores = again[again["key"] == "score"]
    prompts, wordings, fewest = nan, 0, 0
    if sensitivity is not None:
        of_answers = sensitivity[sensitivity["metric"] == "score"].dropna(subset=["difference"])
        prompts = float(of_answers["difference"].astype(float).abs().max())
        wordings = len(of_answers)
        fewest = int(of_answers["n"].min()) if wordings else 0
    return Sizes(
        paper=float((frame["score"] - theirs).abs().max()),
        prompts=prompts,
        wordings=wordings,
        fewest=fewest,
        extraction=float((frame["tolerant"] - frame["score"]).abs().max()),
        sampling=float(of_scores["tolerance"].max()),
        seeds=max(ranges, default=nan),
        # Of a difference between two runs, as the other sizes are.
        items=sqrt(2) * float(_half(frame, "score").max()),
    )
