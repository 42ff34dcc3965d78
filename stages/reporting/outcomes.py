"""How requests ended: the replies of every step by finish reason, so that none is lost in silence.

An episode of several turns counts once: as failed where it broke off, else as cut if any turn was.

What is no answer (refused, filtered, a bad request, failed) is counted here beside what the token
limit cut and what came back empty; no later step trains on it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pandas as pd

from stages.records import Exchange, Feedback, FinishReason, Judgement, Score, Selection
from stages.reporting.latex import render

REASONS: tuple[str, ...] = get_args(FinishReason)
_STEPS = [
    *("respond", "answer", "judge", "feedback", "revise", "teachers", "sample", "select"),
    *("evaluate", "forget", "revise_tuned"),
]
_KEYS = ["suite", "step", "model", "condition"]


def of_scores(scores: Iterable[Score]) -> pd.DataFrame:
    """Return a row a trajectory; where the original answer was kept, nothing was asked.

    After training, the method stands for the condition.
    """
    return pd.DataFrame(
        {
            "suite": score.suite,
            "step": score.step,
            "model": score.model,
            "condition": score.method or score.condition or "",
            "reason": "not_asked" if score.kept_original else score.finish_reason,
            "empty": score.empty and score.kept_original is None,
        }
        for score in scores
    )


def of_feedback(suite: str, records: Iterable[Feedback]) -> pd.DataFrame:
    """Return a row a request for feedback of a suite."""
    asked = ((record.teacher, record.condition, record.exchange) for record in records)
    return _of_exchanges(suite, "feedback", asked)


def of_judgements(suite: str, records: Iterable[Judgement]) -> pd.DataFrame:
    """Return a row a request for a verdict; the verdict stands for the condition."""
    asked = ((record.teacher, record.verdict, record.exchange) for record in records)
    return _of_exchanges(suite, "judge", asked)


def of_choices(suite: str, records: Iterable[Selection]) -> pd.DataFrame:
    """Return a row a request to choose; the selector stands for the condition."""
    asked = ((record.chooser, record.selector, record.exchange) for record in records)
    return _of_exchanges(suite, "select", asked)


def _of_exchanges(
    suite: str, step: str, asked: Iterable[tuple[str | None, str, Exchange | None]]
) -> pd.DataFrame:
    """Return a row a request. Without an exchange there was nothing to ask about."""
    return pd.DataFrame(
        {
            "suite": suite,
            "step": step,
            "model": model,
            "condition": condition,
            "reason": exchange.reply.finish_reason if exchange else "not_asked",
            "empty": exchange is not None
            and not exchange.reply.failed
            and not exchange.reply.text.strip(),
        }
        for model, condition, exchange in asked
    )


def build(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return counts by suite, step (in the order of the pipeline), model and condition.

    Columns: n; one for each finish reason; empty (replies without text, among those that ended or
    were cut); not_asked (the step before had brought nothing to ask about).
    """
    rows = pd.concat(list(parts), ignore_index=True)
    rows["step"] = pd.Categorical(rows["step"], _STEPS)
    grouped = rows.groupby(_KEYS, observed=True)
    table = grouped.agg(n=("reason", "size"), empty=("empty", "sum"))
    for reason in (*REASONS, "not_asked"):
        hit = rows["reason"].eq(reason)
        table[reason] = hit.groupby([rows[key] for key in _KEYS], observed=True).sum()
    columns = ["n", *REASONS, "empty", "not_asked"]
    return table[columns].astype(int).reset_index()


# Rows that a page of a plain article holds.
_PAGE = 55


def to_tex(table: pd.DataFrame, labels: dict[str, str], scale: str) -> str:
    """Return the table as LaTeX, floats of a page each; `labels` are the printed names."""
    rows = table.to_dict(orient="records")
    for row in rows:
        row["model"], row["condition"] = (labels.get(str(row[k]), "") for k in _KEYS[2:])
    template = Path(__file__).with_name("outcomes.tex.jinja")
    pages = [
        of_suite[start : start + _PAGE]
        for suite in dict.fromkeys(row["suite"] for row in rows)
        for of_suite in [[row for row in rows if row["suite"] == suite]]
        for start in range(0, len(of_suite), _PAGE)
    ]
    return render(template, pages=pages, scale=scale)
