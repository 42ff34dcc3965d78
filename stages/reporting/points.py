"""Cost per point gained: what an arm takes beyond the first answers, against what it gains.

Not the paper's, which speaks of "the substantial additional cost from Best-of-k sampling" (5.2)
without a number. At test time the cost recurs with every item; of training it is paid once.
"""

from collections.abc import Iterable, Mapping
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stages.choices import Selector
from stages.reporting.built import Built
from stages.reporting.cells import ALONE, CONDITIONED
from stages.reporting.facts import Facts
from stages.reporting.latex import render
from stages.reporting.load import BASELINE
from stages.training.config import Lessons, Method

_SPENT = ("requests", "tokens", "seconds", "usd")
COLUMNS = (
    *("student", "student_label", "kind", "row", "paid", *_SPENT),
    *("gain", "gain_low", "gain_high"),
    *(f"{what}_per_point{end}" for what in _SPENT[1:] for end in ("", "_least")),
)
TEST_TIME, TRAINING = "an item", "once"
_SELECTORS = {
    "student_logits": "Student Logits",
    "student_choice": "Student Choice",
    "teacher_choice": "Teacher Choice",
}


class _Part(NamedTuple):
    """Cells of one step that an arm needs, by the axes that pick them.

    `once` says that they have no seed; `tokens` are what is not in their facts, over all seeds.
    """

    step: str
    axes: Mapping[str, object]
    once: bool = False
    tokens: float = 0.0


def build(
    built: Built,
    facts: Facts,
    lessons: Lessons,
    methods: Mapping[str, Method],
    selectors: Mapping[str, Selector],
) -> pd.DataFrame:
    """Return a row an arm of Tables 3, 4, 5 and of the controls, on the suite of questions.

    Of Table 4 without the oracle's rows, resampling and feedback-following finetuning.

    Args:
        built: the tables.
        facts: what the cells took.
        lessons: what is learnt from.
        methods: of Table 5.
        selectors: of best-of-k.

    Returns:
        The columns `COLUMNS`. Spent is a seed's: for an arm of test time a question, for one of
        training all of it, its data and the tokens of all steps included. `gain` is the paired
        difference of the score from the first answers in points (hundredths), with its 95 %
        interval. Per point is spent over gain, NaN where nothing is gained; `_least` is spent over
        the upper end of the gain, the least that the interval allows, NaN where that is below 0.
        Dollars are NaN where a price is not known. Candidates that several arms share count for
        each of them.
    """
    grid, suite = built.grid, built.suite
    seeds, questions = len(grid.seeds), len(built.results.items)
    rows: list[dict[str, Any]] = []

    def add(
        who: str, kind: str, row: str, gain: pd.Series, parts: Iterable[_Part], each: int
    ) -> None:
        amount = dict.fromkeys(_SPENT, 0.0)
        for part in parts:
            spent = facts.of(part.step, suite, **part.axes)
            # What is made once serves all seeds; the rest is of one seed each.
            share = each * (1 if part.once else seeds)
            tokens = spent["prompt_tokens"].sum() + spent["completion_tokens"].sum() + part.tokens
            amount["requests"] += float(spent["requests"].sum()) / share
            amount["tokens"] += float(tokens) / share
            amount["seconds"] += float(spent["seconds"].sum()) / share
            amount["usd"] += float(spent["usd"].sum(skipna=False)) / share
        points = [100 * float(gain[f"difference{end}"]) for end in ("", "_low", "_high")]
        rows.append(
            {
                "student": who,
                "student_label": built.labels[who],
                "kind": kind,
                "row": row,
                "paid": TEST_TIME if each > 1 else TRAINING,
                **amount,
                **dict(zip(("gain", "gain_low", "gain_high"), points, strict=True)),
                **{
                    f"{what}_per_point{end}": amount[what] / over if over > 0 else nan
                    for what in _SPENT[1:]
                    for end, over in (("", points[0]), ("_least", points[2]))
                },
            }
        )

    for who in grid.students:
        third = built.table3[(built.table3["student"] == who) & (built.table3["items"] == "all")]
        gains = {row["condition"]: row for _, row in third.iterrows()}
        for condition in grid.papers:
            parts = _retried(built, who, condition)
            label = built.labels[condition]
            add(who, "Feedback", label, gains[condition], parts, questions)
        extra = _against_baseline(built.controls, who)
        for condition in grid.controls:
            row = extra[("Retry", built.labels[condition])]
            add(
                who,
                "Control",
                built.labels[condition],
                row,
                _retried(built, who, condition),
                questions,
            )
        fourth = _against_baseline(built.table4, who)
        judged = [*_retried(built, who, grid.base)]
        judged.append(_Part("judge", {"verdict": grid.verdict, "student": who}))
        row = fourth[("Negative Sampling", "Error Identification")]
        add(who, "Negative sampling", "Error Identification", row, judged, questions)
        for pool, name in ((ALONE, "No Feedback"), (CONDITIONED, "/w Feedback")):
            drawn = [_Part("sample", {"pool": pool, "student": who})]
            if pool == CONDITIONED:
                drawn += _asked(built, who, grid.base)
            for selector in selectors:
                if selector not in _SELECTORS:
                    continue
                chosen = _Part("select", {"pool": pool, "selector": selector, "student": who})
                row = fourth[(f"Best-of-k ({name})", _SELECTORS[selector])]
                label = f"{_SELECTORS[selector]}, {name}"
                add(who, f"Best of {len(grid.draws)}", label, row, [*drawn, chosen], questions)
    fifth = built.table5.arms
    for who in grid.learners:
        own = fifth[fifth["learner"] == who]
        for _, row in own[own["method"] != BASELINE].iterrows():
            method = methods[row["method"]]
            parts = _learnt(built, who, row["method"], method, lessons)
            add(who, "Training", row["row"], row, parts, 1)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _against_baseline(table: pd.DataFrame, who: str) -> dict[tuple[str, str], pd.Series]:
    """Return the rows of Table 4 or the controls, with their difference from the first answers."""
    own = table[table["student"] == who]
    ends = ("", "_low", "_high")
    renamed = own.rename(columns={f"difference{e}_baseline": f"difference{e}" for e in ends})
    return {(row["block"], row["row"]): row for _, row in renamed.iterrows()}


def _asked(built: Built, who: str, condition: str) -> list[_Part]:
    """Return what the feedback of a condition takes; what nobody is asked for takes nothing."""
    grid = built.grid
    if condition in grid.told:
        return []
    if condition in grid.borrowed:  # somebody was asked about another item
        condition = grid.base
    parts = [_Part("feedback", {"condition": condition, "student": who})]
    if condition in grid.compared:
        parts.append(_Part("answer", {"teacher": grid.teacher}, once=True))
    return parts


def _retried(built: Built, who: str, condition: str) -> list[_Part]:
    retry = _Part("revise", {"condition": condition, "student": who})
    return [*_asked(built, who, condition), retry]


def _learnt(built: Built, who: str, slug: str, method: Method, lessons: Lessons) -> list[_Part]:
    """Return all that a method needs: the data that it learns from, and training itself."""
    grid = built.grid
    steps = ["respond_train"] if method.target != "teacher" or method.objective == "dpo" else []
    if method.target != "teacher":
        steps += ["feedback_train", "revise_train"]
        if method.negative_sampling and lessons.negative_sampling == "error_identification":
            steps.append("judge_train")
    if method.target == "cleaned":
        steps.append("clean")
    parts = [_Part(step, {"learner": who}) for step in steps]
    if method.target == "teacher" or lessons.condition in grid.compared:
        parts.append(_Part("answer_train", {"teacher": grid.teacher}, once=True))
    runs = built.runs[(built.runs["learner"] == who) & (built.runs["method"] == slug)]
    trained = _Part("train", {"learner": who, "method": slug}, tokens=float(runs["tokens"].sum()))
    return [*parts, trained]


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV, numbers to six places."""
    table = table.copy()
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(6) + 0.0
    return table.to_csv(index=False, lineterminator="\n")


def to_tex(table: pd.DataFrame, scale: str, k: int) -> str:
    """Return the table as LaTeX, a float a student."""
    students = []
    for label, own in table.groupby("student_label", sort=False):
        kinds = [
            {"label": kind, "rows": rows.to_dict(orient="records")}
            for kind, rows in own.groupby("kind", sort=False)
        ]
        students.append({"label": label, "slug": own["student"].iloc[0], "kinds": kinds})
    template = Path(__file__).with_name("points.tex.jinja")
    return render(template, students=students, scale=scale, k=k)
