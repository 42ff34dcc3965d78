"""Feedback in games and code at test time: retries, with and without error identification.

Not the paper's, which trains on such retries (section 5.3) without saying how they do. The rows are
those of Table 4's first block that need no ground truth.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.reporting import environment_blocks as blocks
from stages.reporting.config import ReportSection
from stages.reporting.environment_blocks import BASELINE, Row
from stages.reporting.games import Games

RETRY, IDENTIFIED = "retry", "error_identification"


def build(
    results: Games, students: Sequence[str], condition: str, config: ReportSection
) -> pd.DataFrame:
    """Return the table.

    Args:
        results: of the suite; its judgements are those of one verdict.
        students: in the order of the table.
        condition: of the feedback.
        config: labels, resamples and seed.

    Returns:
        The columns `blocks.COLUMNS` and `blocks.RETRY_COLUMNS`: the shares of answers replaced and
        of verdicts that could not be read; where the environment has a secret, the shares of
        feedback that names it (`told`), and of feedback on another item that does so by chance.
        By error identification, answers judged correct are kept.
    """
    found: list[dict[str, Any]] = []
    for student in students:
        for slug, environment in results.environments.items():
            first = results.arm(results.of_student(student), slug)
            retry = results.arm(results.of_student(student, condition), slug)
            flagged = results.judged(student, slug, "flagged")
            unreadable = results.judged(student, slug, "unparsable")
            told = _told(results, student, slug) if environment.secret else {}
            block = [
                Row(BASELINE, "Baseline", first),
                Row(RETRY, "Retry", retry, base=first, notes={"replaced": 1.0, **told}),
                Row(
                    IDENTIFIED,
                    "Error ident.",
                    retry.where(flagged, first) if retry and first else None,
                    base=first,
                    notes={
                        "replaced": float(np.mean(flagged)),
                        "unreadable": float(np.mean(unreadable)),
                    },
                ),
                *blocks.floors(results, slug),
            ]
            found += blocks.rows(student, environment, block, config)
    return blocks.table(found, blocks.RETRY_COLUMNS)


def _told(results: Games, student: str, environment: str) -> dict[str, float]:
    """Return how much of the feedback names the secret of its item, among what there is."""
    leaks = results.leaks[results.leaks["student"] == student]
    leaks = leaks[leaks["item"].isin(results.index(environment))]
    given, other = leaks[leaks["given"]], leaks[leaks["shuffled_given"]]
    return {
        "told": float(given["gold"].mean()),
        "told_n": len(given),
        "told_by_chance": float(other["shuffled_gold"].mean()),
        "told_by_chance_n": len(other),
    }
