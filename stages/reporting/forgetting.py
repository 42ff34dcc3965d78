"""What training on one suite does to the other: each trained model beside the baseline there.

Not the paper's, which evaluates every model on the suite that it was trained on alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stages.reporting import environment_blocks as blocks
from stages.reporting import games, latex
from stages.reporting.compare import Arm, arm, differences, put, rates
from stages.reporting.config import ReportSection
from stages.reporting.environment_blocks import BASELINE, Row
from stages.reporting.games import Games
from stages.reporting.load import BASELINE as FIRST
from stages.reporting.results import Results

QUESTIONS, GAMES = "questions", "games"
COLUMNS = (
    *("learner", "learner_label", "evaluated_on", "arm", "row", "n", "seeds"),
    *("score", "score_low", "score_high", "match_rate", "match_rate_low", "match_rate_high"),
    *("difference", "difference_low", "difference_high", "difference_by_seed"),
    *("discordant", "test", "p", "p_holm", "smallest_detectable"),
    *("unparsed", "truncated", "errored"),
)


class Tables(NamedTuple):
    """A row a learner, suite and arm; and, of games, a row a learner, environment and arm."""

    suites: pd.DataFrame
    environments: pd.DataFrame


def build(
    questions: Results,
    forgot: pd.DataFrame,
    results: Games,
    learners: Sequence[str],
    methods: Sequence[str],
    config: ReportSection,
) -> Tables:
    """Return both tables.

    Args:
        questions: of the suite of questions.
        forgot: scores on it of students that were trained on games.
        results: of the suite of games.
        learners: in the order of the table.
        methods: training methods, in the order of the table.
        config: labels, resamples and seed.

    Returns:
        The columns `COLUMNS`, on games of the mean over the games' shares of the best score, code
        left out; and `blocks.COLUMNS`. p-values are raw and after Holm over all of both.
    """
    suites: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for learner in learners:
        student = learner.split("-")[0]
        base = questions.student(student).retry(FIRST)
        after = {}
        for method in methods:
            rows = forgot[(forgot["student"] == learner) & (forgot["method"] == method)]
            after[method] = arm(rows, questions.items.index)
        suites += _of_questions(learner, base, after, questions.tasks, config)

        of: dict[str, dict[str, Arm | None]] = {}
        for slug, environment in results.environments.items():
            first = results.arm(results.of_student(student), slug)
            of[slug] = {BASELINE: first} | {
                method: results.arm(results.of_others(learner, method), slug) for method in methods
            }
            block = [
                Row(
                    key,
                    "Baseline" if key == BASELINE else config.label(key),
                    own,
                    base=None if key == BASELINE else first,
                )
                for key, own in of[slug].items()
            ]
            block += blocks.floors(results, slug)
            found += blocks.rows(learner, environment, block, config)
        suites += _of_games(learner, of, results, config)
    games.adjust([*suites, *found])
    return Tables(
        pd.DataFrame(suites, columns=list(COLUMNS)),
        pd.DataFrame(found, columns=list(blocks.COLUMNS)),
    )


def _head(learner: str, suite: str, key: str, config: ReportSection) -> dict[str, Any]:
    return {
        "learner": learner,
        "learner_label": config.label(learner),
        "evaluated_on": suite,
        "arm": key,
        "row": "Baseline" if key == BASELINE else config.label(key),
    }


def _of_questions(
    learner: str,
    base: Arm,
    after: Mapping[str, Arm],
    tasks: Sequence[str],
    config: ReportSection,
) -> list[dict[str, Any]]:
    drawn = (tasks, config.bootstrap, config.seed)
    figures = rates({BASELINE: base, **after}, *drawn)
    compared = differences({method: (own, base) for method, own in after.items()}, *drawn)
    return [
        _head(learner, QUESTIONS, key, config) | row | compared.get(key, {})
        for key, row in figures.items()
    ]


def _of_games(
    learner: str,
    of: Mapping[str, Mapping[str, Arm | None]],
    results: Games,
    config: ReportSection,
) -> list[dict[str, Any]]:
    """Return the mean over games of each arm, and its difference from the baseline's."""
    rows = []
    played = [slug for slug, own in results.environments.items() if not own.code]
    bases = {slug: base for slug in played if (base := of[slug][BASELINE])}
    for key in next(iter(of.values())):
        arms = {slug: own for slug in bases if (own := of[slug][key])}
        row = _head(learner, GAMES, key, config)
        row["n"] = sum(len(own.score) for own in arms.values())
        row["seeds"] = max((own.seeds for own in arms.values()), default=0)
        put(row, "score", *games.mean_over(arms, results.environments, config))
        if key != BASELINE:
            pairs = {slug: (own, bases[slug]) for slug, own in arms.items()}
            row |= games.difference_over(pairs, results.environments, config)
        rows.append(row)
    return rows


def to_tex(tables: Tables, results: Games, about: Mapping[str, object], paper: pd.DataFrame) -> str:
    """Return both tables as LaTeX.

    Args:
        tables: what `build` returns.
        results: of the suite of games.
        about: what captions say.
        paper: the paper's Table 6 as text.
    """
    learners = []
    for _, own in tables.suites.groupby("learner", sort=False):
        rows = own.to_dict(orient="records")
        for row in rows:
            row["bold"] = row["difference_low"] > 0 or row["difference_high"] < 0
        suites = {
            suite: [row for row in rows if row["evaluated_on"] == suite]
            for suite in (QUESTIONS, GAMES)
        }
        learners.append({"label": rows[0]["learner_label"], "suites": suites})
    head = latex.render(
        Path(__file__).with_name("forgetting.tex.jinja"), learners=learners, **about
    )
    detail = blocks.to_tex(tables.environments, "forgot", about, results.environments, paper)
    return f"{head}\n{detail}"
