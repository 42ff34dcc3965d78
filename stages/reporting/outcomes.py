"""How requests ended: the replies of every step by finish reason, so that none is lost in silence.

What is no answer (refused, filtered, a bad request, failed) is counted here beside what the token
limit cut and what came back empty; no later step trains on it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pandas as pd

from stages.records import Completion, Feedback, FinishReason, Score
from stages.reporting.latex import render

REASONS: tuple[str, ...] = get_args(FinishReason)
_STEPS = ["respond", "answer", "feedback", "revise"]
_KEYS = ["step", "model", "condition"]


def of_scores(scores: Iterable[Score]) -> pd.DataFrame:
    """Return a row a trajectory; where the original answer was kept, nothing was asked."""
    return pd.DataFrame(
        {
            "step": score.step,
            "model": score.model,
            "condition": score.condition or "",
            "reason": "not_asked" if score.kept_original else score.finish_reason,
            "empty": score.empty and score.kept_original is None,
        }
        for score in scores
    )


def of_feedback(records: Iterable[Feedback]) -> pd.DataFrame:
    """Return a row a feedback of a teacher; without an exchange there was nothing to ask about."""

    def row(record: Feedback) -> dict[str, object]:
        reply: Completion | None = record.exchange.reply if record.exchange else None
        return {
            "step": "feedback",
            "model": record.teacher,
            "condition": record.condition,
            "reason": reply.finish_reason if reply else "not_asked",
            "empty": record.status == "empty",
        }

    return pd.DataFrame(row(record) for record in records if record.teacher is not None)


def build(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return counts by step (in the order of the pipeline), model and condition.

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


def to_tex(table: pd.DataFrame, labels: dict[str, str], scale: str) -> str:
    """Return the table as LaTeX; `labels` are the printed names of models and conditions."""
    rows = table.to_dict(orient="records")
    for row in rows:
        row["model"], row["condition"] = (labels.get(str(row[k]), "") for k in _KEYS[1:])
    template = Path(__file__).with_name("outcomes.tex.jinja")
    return render(template, rows=rows, scale=scale)
