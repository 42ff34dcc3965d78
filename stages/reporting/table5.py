"""Table 5 (paper, section 5.3): finetuning on Big-Bench Hard, each arm against the baseline.

Beside the comparison with the untrained student stand the paper's claims that compare arms: that
cleaning raises Feedback SFT, and that learning from feedback does as well as learning from the
teacher ("similarly", abstract), for which not differing is not enough: an equivalence test.
"""

from collections.abc import Hashable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages import stats
from stages.reporting import detection
from stages.reporting.compare import Arm, alike, differences, joined, put, rates
from stages.reporting.config import ReportSection
from stages.reporting.latex import render
from stages.reporting.load import BASELINE
from stages.reporting.printed import consistent_ratio
from stages.reporting.results import Results
from stages.reporting.training import Arm as Key
from stages.training.config import Lessons, Method

PAPER_COLUMNS = {
    "match_rate": "Regex Match Rate",
    "score": "Score",
    "correct_if_matched": "Post-Match Score",
}
_BASELINE_COLUMNS = {
    "match_rate": "Regex Match Rate",
    "score": "Downstream Performance",
    "correct_if_matched": "Correct if Matched",
}
_RATES = ("match_rate", "score", "correct_if_matched", "tolerant", "macro")
_TRAINED = ("models", "examples", "steps", "tokens", "target_tokens", "changed", "dropped")
COLUMNS = (
    *("learner", "learner_label", "method", "row", "n", "seeds", "trajectories"),
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
    *("difference", "difference_low", "difference_high", "difference_by_seed"),
    *("new_subtasks_low", "new_subtasks_high"),
    *("discordant", "test", "p", "p_holm", "smallest_detectable"),
    *("difference_matched", "difference_matched_low", "difference_matched_high", "matched_in_both"),
    *(
        f"{share}{end}"
        for share in ("wrong_right", "right_right", "right_wrong", "wrong_wrong")
        for end in ("", "_low", "_high")
    ),
    *("unparsed", "truncated", "errored"),
    *("length", "length_low", "length_high"),
    *("length_difference", "length_difference_low", "length_difference_high"),
    *("preset", *_TRAINED),
    *("chance", "majority"),
)
CONTRAST_COLUMNS = (
    *("learner", "learner_label", "first", "second", "n", "seeds"),
    *("difference", "difference_low", "difference_high", "difference_by_seed"),
    *("new_subtasks_low", "new_subtasks_high"),
    *("discordant", "test", "p", "p_holm", "smallest_detectable"),
    *("difference_matched", "difference_matched_low", "difference_matched_high", "matched_in_both"),
    *("margin", "low_90", "high_90", "p_equivalence", "p_equivalence_holm"),
)


class Contrast(NamedTuple):
    """Two arms that the paper compares with each other, and whether it calls them alike."""

    first: str
    second: str
    alike: bool


CONTRASTS = (
    Contrast("feedback_sft_cleaned", "feedback_sft", alike=False),
    Contrast("feedback_sft_cleaned", "imitative_sft", alike=True),
    Contrast("feedback_dpo", "imitative_dpo", alike=True),
)


class Tables(NamedTuple):
    """Table 5: a row a learner and arm; and the comparisons of arms with each other."""

    arms: pd.DataFrame
    contrasts: pd.DataFrame


def build(
    results: Results,
    learners: Sequence[str],
    methods: Sequence[str],
    trained: Mapping[Key, Mapping[str, Any]],
    paper: pd.DataFrame,
    paper3: pd.DataFrame,
    config: ReportSection,
) -> Tables:
    """Return Table 5.

    Args:
        results: of the suite.
        learners: in the order of the table. One that is itself trained is compared with the first
            answers of the student that it comes from.
        methods: training methods; the table has them in the paper's order, others last.
        trained: what `training.by_arm` returns.
        paper: the paper's Table 5 as text, of its 7B student, which stands beside every student.
        paper3: its Table 3, whose 7B baseline is that of Table 5.
        config: labels, resamples, seed and margin.

    Returns:
        The columns `COLUMNS` and `CONTRAST_COLUMNS`. Transitions are from the baseline to the arm;
        lengths are tokens of a reply, NaN where an engine cannot tell; what training took is the
        mean over seeds of the sum over models. p-values are raw and after Holm over all tests of
        both tables.
    """
    order = {label: place for place, label in enumerate(paper.iloc[:, 1])}
    methods = sorted(methods, key=lambda slug: order.get(config.label(slug), len(order)))
    contrasts = [own for own in CONTRASTS if {own.first, own.second} <= set(methods)]
    printed = _printed(paper, paper3)
    drawn = (results.tasks, config.bootstrap, config.seed)
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for slug in learners:
        first = results.student(slug.split("-")[0]).retry(BASELINE)
        learner = results.student(slug)
        arms = {BASELINE: first} | {method: learner.after(method) for method in methods}
        figures = rates(arms, *drawn)
        compared = differences(
            {method: (arms[method], first) for method in methods}
            | {f"{a}/{b}": (arms[a], arms[b]) for a, b, _ in contrasts},
            *drawn,
        )
        lengths = _lengths(arms, *drawn)
        for method in arms:
            label = "Baseline" if method == BASELINE else config.label(method)
            beside = {} if "-" in slug else printed.get(label, {})
            moves: dict[str, float] = {}
            if method != BASELINE:
                before, after = alike(first, arms[method])
                moves = detection.transitions(before.solved, after.solved, *drawn)
            rows.append(
                {
                    "learner": slug,
                    "learner_label": config.label(slug),
                    "method": method,
                    "row": label,
                    "chance": float(results.items["chance"].mean()),
                    "majority": float(results.items["majority"].mean()),
                    **figures[method],
                    **compared.get(method, {}),
                    **moves,
                    **lengths[method],
                    **trained.get((slug, method), {}),
                    **{f"{name}_paper": beside.get(name, "") for name in PAPER_COLUMNS},
                }
            )
        for own in contrasts:
            row = {
                "learner": slug,
                "learner_label": config.label(slug),
                "first": own.first,
                "second": own.second,
                "n": len(results.items),
                "seeds": first.seeds,
                **compared[f"{own.first}/{own.second}"],
            }
            if own.alike:
                one, two = alike(arms[own.first], arms[own.second])
                gain = (one.score - two.score).mean(axis=1)
                found = stats.equivalence(
                    gain, results.tasks, config.equivalence_margin, config.bootstrap, config.seed
                )
                row |= {"margin": config.equivalence_margin, "p_equivalence": found.p}
                row |= {"low_90": found.low, "high_90": found.high}
            pairs.append(row)
    tests = [
        (row, name) for row in (*rows, *pairs) for name in ("p", "p_equivalence") if name in row
    ]
    adjusted = stats.holm([row[name] for row, name in tests])
    for (row, name), p in zip(tests, adjusted, strict=True):
        row[f"{name}_holm"] = p
    return Tables(
        pd.DataFrame(rows, columns=list(COLUMNS)),
        pd.DataFrame(pairs, columns=list(CONTRAST_COLUMNS)),
    )


def _printed(paper: pd.DataFrame, paper3: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the paper's figures by row: its arms, and the 7B baseline of its Table 3."""
    found = {
        str(row.iloc[1]): {ours: str(row[theirs]) for ours, theirs in PAPER_COLUMNS.items()}
        for _, row in paper.iterrows()
    }
    for _, row in paper3.iterrows():
        if (row.iloc[0], row.iloc[1]) == ("7B", "Baseline"):
            found["Baseline"] = {n: str(row[theirs]) for n, theirs in _BASELINE_COLUMNS.items()}
    return found


def contradictions(paper: pd.DataFrame) -> list[str]:
    """Return the rows of the paper's table whose third figure no rounding makes score / match."""
    columns = [PAPER_COLUMNS[name] for name in ("score", "match_rate", "correct_if_matched")]
    return [
        str(row.iloc[1])
        for _, row in paper.iterrows()
        if not consistent_ratio(*(row[column] for column in columns))
    ]


def _lengths(
    arms: Mapping[str, Arm], tasks: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return the mean tokens of a reply, and how it differs from the baseline's."""
    columns = {name: arm.values["completion_tokens"].mean(axis=1) for name, arm in arms.items()}
    values = np.column_stack(list(columns.values()))
    boot = stats.stratified_means(values, tasks, draws, seed)
    base = list(columns).index(BASELINE)
    found: dict[str, dict[str, float]] = {}
    for place, (name, column) in enumerate(columns.items()):
        row: dict[str, float] = {}
        put(
            row,
            "length",
            float(column.mean()),
            stats.percentile(boot.means[:, place], boot.freedom),
        )
        if name != BASELINE:
            gain = boot.means[:, place] - boot.means[:, base]
            put(
                row,
                "length_difference",
                float((column - columns[BASELINE]).mean()),
                stats.percentile(gain, boot.freedom),
            )
        found[name] = row
    return found


def to_csv(table: pd.DataFrame) -> str:
    """Return either table as CSV: numbers to six places, lists joined by semicolons."""
    table = table.copy()
    for column in [name for name in table if str(name).endswith("_by_seed")]:
        table[column] = table[column].map(joined)
    for column in ("discordant", "matched_in_both"):
        table[column] = table[column].astype("Int64")  # whole numbers, absent from the baseline
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(6) + 0.0
    return table.to_csv(index=False, lineterminator="\n")


def findings(own: pd.DataFrame) -> str:
    """Return in words which arms of one learner do better than the baseline, from the intervals."""
    arms = own[own["method"] != BASELINE]
    above = arms["difference_low"] > 0
    below = arms["difference_high"] < 0
    parts = []
    for where, text in (
        (above, "Above the baseline: {}."),
        (below, "Below the baseline: {}."),
        (~above & ~below, "Not shown to differ from the baseline: {}."),
    ):
        if where.any():
            parts.append(text.format(", ".join(arms[where]["row"])))
    if not above.any():
        parts.insert(0, "No method is shown to beat the baseline.")
    return " ".join(parts)


def lessons(
    section: Lessons, methods: Mapping[str, Method], config: ReportSection
) -> Mapping[str, object]:
    """Return what the caption says of the data that all arms learn from."""
    sampled = [config.label(slug) for slug, method in methods.items() if method.negative_sampling]
    by = {
        "ground_truth": "by the ground truth",
        "error_identification": "by the teacher's error identification",
        None: "",
    }[section.negative_sampling]
    return {
        "condition": config.label(section.condition),
        "sampling": f"{by} ({', '.join(sampled)})" if by and sampled else "none",
        "joint": section.models == "joint",
        "match_n": section.match_n,
    }


def to_tex(
    tables: Tables,
    about: Mapping[str, object],
    taught: Mapping[str, object],
    fallbacks: Mapping[str, Sequence[str]],
    paper: pd.DataFrame,
) -> str:
    """Return the table as LaTeX, a float a learner.

    Args:
        tables: what `build` returns.
        about: what captions say.
        taught: what `lessons` returns.
        fallbacks: of each learner, what the machine could not do as asked.
        paper: the paper's Table 5 as text, whose contradictions the caption names.
    """
    labels = dict(zip(tables.arms["method"], tables.arms["row"], strict=True))
    learners = []
    for slug, own in tables.arms.groupby("learner", sort=False):
        rows = own.to_dict(orient="records")
        for row in rows:
            row["bold"] = row["difference_low"] > 0 or row["difference_high"] < 0
        pairs = tables.contrasts[tables.contrasts["learner"] == slug].to_dict(orient="records")
        for pair in pairs:
            pair["label"] = f"{labels[pair['first']]} – {labels[pair['second']]}"
            pair["equivalent"] = _equivalent(pair)
        learners.append(
            {
                "slug": slug,
                "label": rows[0]["learner_label"],
                "paper": "-" not in str(slug),
                "n": rows[0]["n"],
                "rows": rows,
                "pairs": pairs,
                "presets": list(dict.fromkeys(row["preset"] for row in rows[1:])),
                "findings": findings(own),
                "fallbacks": fallbacks[str(slug)],
            }
        )
    margin = tables.contrasts["margin"].max() if len(tables.contrasts) else nan
    return render(
        Path(__file__).with_name("table5.tex.jinja"),
        learners=learners,
        taught=taught,
        margin=float(margin),
        contradictions=contradictions(paper),
        **about,
    )


def _equivalent(pair: Mapping[Hashable, Any]) -> str:
    if pd.isna(pair["margin"]):
        return "--"
    return "yes" if -pair["margin"] < pair["low_90"] <= pair["high_90"] < pair["margin"] else "no"
