"""report.tex: one article of all tables and figures of a run, whose prose quotes numbers.tex."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stages.reporting import latex, plain
from stages.reporting.built import Built
from stages.reporting.load import BASELINE
from stages.reporting.numbers import slug
from stages.reporting.table4 import NEGATIVE_SAMPLING

PLAIN = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8")
_OF_GAMES = frozenset(("table6", "table7", "table8"))


class Figure(NamedTuple):
    """A figure in figures/<slug>.pdf; title and caption are plain text."""

    slug: str
    title: str
    caption: str


def build(
    built: Built,
    figures: Iterable[Figure],
    values: Mapping[str, str],
    *,
    example: bool = False,
    claims: Sequence[str] = (),
    more: Sequence[str] = (),
) -> str:
    """Return report.tex, to stand beside numbers.tex and the folders tables/ and figures/.

    Args:
        built: all tables.
        figures: of this run, in their order.
        values: what `numbers.values` returns.
        example: whether there is a Figure 1 (tables/figure1.tex).
        claims: names of the tables of claims.
        more: names of further tables, after those that the report always has.

    Raises:
        KeyError: the prose quotes a number that there is not.
    """
    prose = _Prose(built, values)
    shown = [name for name in PLAIN if built.games or name not in _OF_GAMES]
    return latex.render(
        Path(__file__).with_name("document.tex.jinja"),
        about=plain.about(built),
        games=built.games is not None,
        beside=[f"{name}_beside" for name in shown],
        extra=[
            *("controls", "transitions"),
            *(("games_retry", "forgetting") if built.games else ()),
            *("cleaning", *more, "outcomes"),
        ],
        figures=list(figures),
        example=example,
        claims=claims,
        prose=prose,
    )


class _Prose:
    """Sentences that quote numbers by key; every key that is quoted is checked."""

    def __init__(self, built: Built, values: Mapping[str, str]) -> None:
        self._built, self._values = built, values

    def quote(self, key: str, macro: str = "resultnum") -> str:
        """Return the macro of a number.

        Raises:
            KeyError: there is none of that key.
        """
        if key not in self._values:
            raise KeyError(key)
        return rf"\{macro}{{{key}}}"

    def _ci(self, key: str) -> str:
        self.quote(f"{key}_low")
        self.quote(f"{key}_high")
        return self.quote(key, "resultci")

    def _label(self, slug: str) -> str:
        return latex.escape(self._built.config.label(slug))

    def identification(self) -> list[str]:
        """Say how much of what is wrong the teacher sees, and how much of what is right."""
        found = []
        for of in self._built.grid.students:
            key = f"table2/{of}/{self._built.grid.verdict}"
            found.append(
                f"Of the wrong answers of {self._label(of)}, the teacher flags "
                f"{self._ci(f'{key}/recall')}, and leaves {self._ci(f'{key}/specificity')} of "
                "the right ones alone."
            )
        return found

    def feedback(self) -> list[str]:
        """Say what feedback does to the score, and of which conditions that is shown."""
        built = self._built
        base = built.grid.base
        rows = built.table3[built.table3["items"] == "all"]
        found = []
        for of in built.grid.students:
            own = rows[rows["student"] == of].set_index("condition")
            key = f"table3/{of}"
            found.append(
                f"{self._label(of)} scores {self._ci(f'{key}/{BASELINE}/score')} by itself; "
                f"feedback ({self._label(base)}) changes that by "
                f"{self._ci(f'{key}/{base}/difference')}, which is {_shown(own.loc[base])}."
            )
            found.append(_said(own, "condition_label", "the first answers"))
        return found

    def modifications(self) -> list[str]:
        """Say what error identification adds to feedback, and what the oracle would."""
        rows = self._built.table4
        found = []
        for of in self._built.grid.students:
            own = rows[(rows["student"] == of) & (rows["block"] == NEGATIVE_SAMPLING)]
            row = own.set_index("row").loc["Error Identification"]
            key = f"table4/{of}/{slug(NEGATIVE_SAMPLING)}"
            difference = self._ci(f"{key}/error_identification/difference_own")
            found.append(
                f"Error identification changes the score of the retries of {self._label(of)} by "
                f"{difference}, which is {_shown(row, '_own')}; with the ground truth in its place "
                f"by {self._ci(f'{key}/ground_truth/difference_own')}."
            )
        return found

    def finetuning(self) -> list[str]:
        """Say of which methods a difference from the baseline is shown."""
        return [
            f"{self._label(str(of))}: {_said(own, 'row', 'the baseline')}"
            for of, own in self._built.table5.arms.groupby("learner", sort=False)
        ]

    def claims(self) -> list[str]:
        """Say how many claims came out how, where that was counted."""
        found = []
        for of, text in (("ours", "By this run"), ("printed", "By the paper's own figures")):
            head = f"claims/{of}/"
            counted = [key for key in self._values if key.startswith(head)]
            parts = [
                f"{self.quote(key)} {key.removeprefix(head).replace('_', ' ')}" for key in counted
            ]
            if parts:
                found.append(f"{text} they are: {', '.join(parts)}.")
        return found

    def games(self) -> list[str]:
        """Say in how many environments each method does worse, as well and better."""
        if self._built.games is None:
            return []
        moves = self._built.games.table6.moves
        found = []
        for of, own in moves[moves["arm"] != ""].groupby("learner", sort=False):
            parts = []
            for row in own["row"]:
                key = f"table6_moves/{of}/{slug(row)}"
                counts, shown = (
                    "/".join(self.quote(f"{key}/{name}") for name in names)
                    for names in (("worse", "same", "better"), ("worse_shown", "better_shown"))
                )
                parts.append(f"{latex.escape(row)} {counts} ({shown})")
            found.append(f"{self._label(str(of))}: {'; '.join(parts)}.")
        return found


def _shown(row: Any, suffix: str = "") -> str:
    """Return in words what the interval of a difference shows."""
    if row[f"difference_low{suffix}"] > 0:
        return "shown to be a gain"
    if row[f"difference_high{suffix}"] < 0:
        return "shown to be a loss"
    return "not shown to differ from none"


def _said(own: pd.DataFrame, column: str, base: str) -> str:
    """Return in words which rows of a table are shown to do better or worse than its base."""
    above = list(own[column][own["difference_low"] > 0])
    below = list(own[column][own["difference_high"] < 0])
    parts = [
        f"{where} {base}: {_names(labels)}."
        for where, labels in (("Above", above), ("Below", below))
        if labels
    ]
    return " ".join(parts) or f"No row is shown to differ from {base}."


def _names(labels: Collection[object]) -> str:
    return ", ".join(latex.escape(label) for label in labels)
