"""What a retry changes: transitions between right and wrong, and how much of it was told.

Not the paper's. Its Tables 3 and 4 together imply that as many right answers are lost to feedback
as a third of the wrong ones are won; what is lost and won stands here for every condition.
"""

from collections.abc import Collection, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from stages import stats
from stages.reporting import detection
from stages.reporting.config import ReportSection
from stages.reporting.latex import render
from stages.reporting.load import BASELINE
from stages.reporting.results import Results, Student

SHARES = ("wrong_right", "right_right", "right_wrong", "wrong_wrong")


def build(
    results: Results,
    students: Sequence[str],
    conditions: Sequence[str],
    sees_target: Collection[str],
    config: ReportSection,
) -> pd.DataFrame:
    """Return a row a student and condition.

    Returns:
        The four shares of `detection.transitions` with intervals; then the leak meter over the
        feedback that has a text (`leak_n`): the shares that yield the gold answer, another one, or
        none, the first two also for shuffled feedback; `copied`, the share of retries that give
        the answer their feedback yields (`copied_n` of them), with its interval: Wilson's where no
        item counts twice, else by bootstrap over items.
    """
    rows: list[dict[str, Any]] = []
    for slug in students:
        student = results.student(slug)
        first = student.retry(BASELINE)
        for condition in conditions:
            row: dict[str, Any] = {
                "student": slug,
                "student_label": config.label(slug),
                "condition": condition,
                "condition_label": config.label(condition),
                "sees_target": condition in sees_target,
                "n": len(results.items),
                "seeds": first.seeds,
            }
            row |= detection.transitions(
                first.solved,
                student.retry(condition).solved,
                results.tasks,
                config.bootstrap,
                config.seed,
            )
            rows.append(row | leaked(student, condition, results.tasks, config))
    return pd.DataFrame(rows)


def leaked(
    student: Student, condition: str, tasks: Sequence[str], config: ReportSection
) -> dict[str, Any]:
    """Return the leak meter of one condition."""
    leaks = student.leaks[student.leaks["condition"] == condition]
    given, shuffled = leaks[leaks["given"]], leaks[leaks["shuffled_given"]]
    told = given[given["answer"].notna()]
    keys = ["item", "seed"]
    retries = student.scores[student.scores["condition"] == condition]
    both = told[[*keys, "answer"]].merge(
        retries[[*keys, "tolerant_answer"]], on=keys, validate="one_to_one"
    )
    both["copied"] = (both["answer"] == both["tolerant_answer"]).astype(float)
    low, high = _copied(both, student.index, tasks, config)
    return {
        "leak_n": len(given),
        "leak_gold": float(given["gold"].mean()),
        "leak_other": float((given["answer"].notna() & ~given["gold"]).mean()),
        "leak_none": float(given["answer"].isna().mean()),
        "shuffled_n": len(shuffled),
        "shuffled_gold": float(shuffled["shuffled_gold"].mean()),
        "shuffled_other": float((shuffled["shuffled"].notna() & ~shuffled["shuffled_gold"]).mean()),
        "copied_n": len(both),
        "copied": float(both["copied"].mean()),
        "copied_low": low,
        "copied_high": high,
    }


def _copied(
    both: pd.DataFrame, index: pd.Index, tasks: Sequence[str], config: ReportSection
) -> stats.Interval:
    """Return the interval of the share of retries that copy, among those that were told."""
    items, copies = both["item"].nunique(), both["copied"].sum()
    if len(both) == items:
        return stats.wilson(int(copies), items)
    if copies in (0, len(both)):
        return stats.wilson(items if copies else 0, items)
    sums = both.groupby("item")["copied"].agg(["sum", "size"]).reindex(index, fill_value=0)
    drawn = stats.stratified_means(sums.to_numpy(dtype=float), tasks, config.bootstrap, config.seed)
    return stats.percentile(stats.quotient(*drawn.means.T), drawn.freedom)


def identity(student: Student, base: str, verdict: str) -> dict[str, float]:
    """Return the score by error identification, exactly and by the product form.

    Exactly: base + P(wrong->right and flagged) - P(right->wrong and flagged). The product form,
    base + P(wrong->right) recall - P(right->wrong) false-positive rate, takes the teacher's eye for
    errors and the student's use of feedback for independent; its gap says how far that is wrong.
    """
    first, second = student.retry(BASELINE).solved, student.retry(base).solved
    flagged = student.judged(verdict, "flagged")
    wrong = 1 - first
    metrics = detection.metrics(
        float((wrong * flagged).sum()),
        float((first * flagged).sum()),
        float((wrong * (1 - flagged)).sum()),
        float((first * (1 - flagged)).sum()),
    )
    exact = detection.identity(first, second, flagged)
    # Without wrong answers there is no recall, but nothing to gain either; likewise without right.
    product = detection.product_form(
        float(first.mean()),
        float((wrong * second).mean()),
        float((first * (1 - second)).mean()),
        metrics["recall"] if wrong.any() else 0.0,
        1 - metrics["specificity"] if first.any() else 0.0,
    )
    return {
        "scored": detection.identified_score(first, second, flagged),
        "exact": exact,
        "product": product,
        "gap": product - exact,
    }


def printed_identity(
    table2: pd.DataFrame, table3: pd.DataFrame, table4: pd.DataFrame
) -> dict[str, float]:
    """Return the same of the paper's 7B student, out of its printed figures: the product form only.

    Negative sampling by the ground truth loses nothing, so its gain over the baseline is
    P(wrong->right); what unconstrained feedback falls short of that is P(right->wrong).
    """

    def cell(table: pd.DataFrame, *labels: str, column: str) -> float:
        rows = table[(table.iloc[:, 0] == labels[0]) & (table.iloc[:, 1] == labels[1])]
        return float(rows.iloc[0][column])

    base = cell(table3, "7B", "Baseline", column="Downstream Performance")
    retry = cell(table3, "7B", "Unconstrained", column="Downstream Performance")
    oracle = cell(table4, "Negative Sampling", "Ground Truth", column="Score")
    printed = cell(table4, "Negative Sampling", "Error Identification", column="Score")
    found = detection.from_rates(
        cell(table2, "Explicit", "7B", column="Recall"),
        cell(table2, "Explicit", "7B", column="Precision"),
        cell(table2, "Implicit", "7B", column="Precision"),
    )
    product = detection.product_form(
        base, oracle - base, oracle - retry, float(found["recall"]), 1 - float(found["specificity"])
    )
    return {"scored": printed, "exact": nan, "product": product, "gap": product - printed}


def to_tex(
    table: pd.DataFrame,
    identities: Mapping[str, Mapping[str, float]],
    printed: Mapping[str, float],
    about: Mapping[str, object],
) -> str:
    """Return the table as LaTeX, a float a student.

    Args:
        table: what `build` returns.
        identities: what `identity` returns of each student.
        printed: what `printed_identity` returns.
        about: what captions say.
    """
    students = []
    for slug, own in table.groupby("student", sort=False):
        rows = own.to_dict(orient="records")
        label = rows[0]["student_label"]
        both = [{"label": label, **identities[str(slug)]}, {"label": "paper, 7B", **printed}]
        students.append({"slug": slug, "label": label, "rows": rows, "identities": both})
    template = Path(__file__).with_name("transitions.tex.jinja")
    return render(template, students=students, **about)
