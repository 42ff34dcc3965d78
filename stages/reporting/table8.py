"""Table 8 (paper, appendix D.1): teachers and students on all benchmarks, and what they cost.

Section 4.1 announces "the performance of our student and teacher models"; the paper's table has the
teachers alone.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.grid import Grid
from stages.models.prices import Price
from stages.reporting import games, latex
from stages.reporting.compare import Arm, arm, joined, put, rates
from stages.reporting.config import ReportSection
from stages.reporting.games import Games
from stages.reporting.load import BASELINE
from stages.reporting.results import Results

_PAPER = {
    "bbh": "BBH",
    "bbsr": "BBSR",
    "price": "Cost per Million Tokens ($)",
    "feedback": "BBH Feedback",
}
_ENDS = ("", "_low", "_high", "_by_seed")
ROLES = {"teacher": "Teachers", "student": "Students"}


def build(
    questions: Results,
    answers: pd.DataFrame,
    told: pd.DataFrame | None,
    results: Games,
    teachers: Sequence[str],
    students: Sequence[str],
    grid: Grid,
    reader: str,
    prices: Mapping[str, Price],
    paper: pd.DataFrame,
    config: ReportSection,
) -> pd.DataFrame:
    """Return a row a teacher and student.

    Args:
        questions: of Big-Bench Hard.
        answers: scores of the teachers' own answers on it.
        told: scores of the retries of `reader` with the feedback of the other teachers, if any.
        results: of the suite of games and code.
        teachers: in the order of the table.
        students: in the order of the table.
        grid: `teacher` is whose feedback all students get, `base` the condition of all of it.
        reader: the student who retries with the feedback of every teacher.
        prices: by model; one that runs here has none.
        paper: the paper's table as text.
        config: labels, resamples and seed.

    Returns:
        For each benchmark its score, `_low`, `_high`, `_by_seed`, `_n` and `_paper`: `bbh`; `bbsr`,
        the mean over the games of the share of the best score; each environment of programs under
        its column, with a `_note` where programs were not run; `feedback`, the score of `reader`'s
        retries. `_by_seed` is a list, empty for teachers' own answers, which have no seed, and
        where there is no score. Then `input`, `output`, `as_of` and `price_paper`.
    """
    printed = {str(row.iloc[0]): row for _, row in paper.iterrows()}
    rows: list[dict[str, Any]] = []
    for role, slugs in (("teacher", teachers), ("student", students)):
        for slug in slugs:
            teaches = role == "teacher"
            of_questions = (
                arm(answers[answers["student"] == slug], questions.items.index)
                if teaches
                else questions.student(slug).retry(BASELINE)
            )
            scores = results.of_teacher(slug) if teaches else results.of_student(slug)
            beside = _printed(printed, slug, config.label(slug)) if teaches else None
            row: dict[str, Any] = {"role": role, "model": slug, "label": config.label(slug)}
            row |= _rate("bbh", of_questions, questions.tasks, config)
            row |= _games(results, scores, config)
            if teaches:  # they answer once
                row |= {f"{name}_by_seed": [] for name in ("bbh", "bbsr", *code(results))}
            row |= {**_price(prices.get(slug)), "feedback_by_seed": []}
            if teaches and (own := _retries(questions, told, slug, grid, reader)):
                row |= _rate("feedback", own, questions.tasks, config)
                row |= {"feedback_student": reader, "feedback_condition": grid.base}
            row |= {f"{ours}_paper": _cell(beside, theirs) for ours, theirs in _PAPER.items()}
            for column in code(results):
                row[f"{column}_paper"] = _cell(beside, column)
            rows.append(row)
    return pd.DataFrame(rows, columns=_columns(code(results)))


def code(results: Games) -> list[str]:
    """Return the columns of the environments of programs."""
    return [own.column for own in results.environments.values() if own.code]


def _columns(programs: Sequence[str]) -> list[str]:
    ends = ("", "_low", "_high", "_by_seed", "_n", "_paper")
    return [
        *("role", "model", "label"),
        *(f"{name}{end}" for name in ("bbh", "bbsr") for end in ends),
        *(f"{name}{end}" for name in programs for end in (*ends, "_note")),
        *("input", "output", "as_of", "price_paper"),
        *(f"feedback{end}" for end in ends),
        *("feedback_student", "feedback_condition"),
    ]


def _rate(name: str, own: Arm, tasks: Sequence[str], config: ReportSection) -> dict[str, Any]:
    found = rates({name: own}, tasks, config.bootstrap, config.seed)[name]
    ends = {f"{name}{end}": found[f"score{end}"] for end in _ENDS}
    return {**ends, f"{name}_n": found["n"]}


def _games(results: Games, scores: pd.DataFrame, config: ReportSection) -> dict[str, Any]:
    row: dict[str, Any] = {}
    played = {}
    for slug, environment in results.environments.items():
        own = results.arm(scores, slug)
        column = environment.column
        if not environment.code and own:
            played[slug] = own
        elif environment.code and own:
            found = games.figures(own, environment, config)
            row |= {f"{column}{end}": found[f"score{end}"] for end in _ENDS}
            row |= {f"{column}_n": found["n"], f"{column}_note": ""}
        else:
            row |= {f"{column}_note": games.NOT_RUN, f"{column}_by_seed": []}
    put(row, "bbsr", *games.mean_over(played, results.environments, config))
    row["bbsr_by_seed"] = games.by_seed(played, results.environments)
    row["bbsr_n"] = sum(len(own.score) for own in played.values())
    return row


def _price(price: Price | None) -> dict[str, Any]:
    """Return what tokens cost: "-" for a model that runs here."""
    if price is None:
        return {"input": "-", "output": "-", "as_of": ""}
    known = {"input": price.input, "output": price.output}
    shown = {name: "not known" if of is None else f"{of:.2f}" for name, of in known.items()}
    return {**shown, "as_of": "" if price.as_of is None else price.as_of.isoformat()}


def _retries(
    questions: Results, told: pd.DataFrame | None, teacher: str, grid: Grid, reader: str
) -> Arm | None:
    """Return the reader's retries with a teacher's feedback, None where there are none."""
    if teacher == grid.teacher:
        return questions.student(reader).retry(grid.base)
    if told is None or teacher not in grid.other_teachers:
        return None
    return arm(told[told["teacher"] == teacher], questions.items.index)


def _printed(
    printed: Mapping[str, "pd.Series[str]"], slug: str, label: str
) -> "pd.Series[str] | None":
    """Return the paper's row whose words are all in a model's names (Gemini 1.5 Flash)."""
    ours = _words(f"{slug} {label}")
    return next((row for name, row in printed.items() if _words(name) <= ours), None)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+|[0-9]+", name.casefold()))


def _cell(row: "pd.Series[str] | None", column: str) -> str:
    return str(row[column]) if row is not None and column in row else ""


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV: numbers to six places, lists joined by semicolons."""
    table = table.copy()
    for column in [name for name in table if str(name).endswith("_by_seed")]:
        table[column] = table[column].map(joined)
    for column in [name for name in table if str(name).endswith("_n")]:
        table[column] = table[column].astype("Int64")
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(6) + 0.0
    return table.to_csv(index=False, lineterminator="\n")


def to_tex(table: pd.DataFrame, results: Games, about: Mapping[str, object], reader: str) -> str:
    """Return the table as LaTeX.

    Args:
        table: what `build` returns.
        results: of the suite of games and code.
        about: what captions say.
        reader: the printed name of the student who retries with the feedback of every teacher.
    """
    blocks = [
        {"label": ROLES[str(role)], "rows": own.to_dict(orient="records")}
        for role, own in table.groupby("role", sort=False)
    ]
    names = {"bbh": "BBH", "bbsr": "BBSR", **{column: column for column in code(results)}}
    return latex.render(
        Path(__file__).with_name("table8.tex.jinja"),
        blocks=blocks,
        # Two benchmarks a tabular: three with their intervals are wider than a page.
        parts=[list(names.items())[start : start + 2] for start in range(0, len(names), 2)],
        sizes={name: table[f"{name}_n"].max() for name in (*names, "feedback")},
        labels={**names, "feedback": "feedback"},
        programs=code(results),
        games=[own.column for own in results.environments.values() if not own.code],
        reader=reader,
        **about,
    )
