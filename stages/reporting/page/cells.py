"""Cells of the page's tables: a figure and its interval are one cell, which sorts by the figure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isinf
from typing import Any

import pandas as pd

MISSING = "–"
Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Cell:
    """What one cell shows.

    Attributes:
        text: the figure or the words.
        interval: behind the figure, in brackets; "" for none.
        key: by which rows are sorted; None for words, which sort as such, and for no figure.
        strong: set in bold.
        verdict: what the words are if they are a verdict, for its mark; "" for others.
    """

    text: str
    interval: str = ""
    key: float | None = None
    strong: bool = False
    verdict: str = ""


Make = Callable[[Row], Cell]


def number(value: Any, decimals: int = 2) -> str:
    """Return a number with a true minus sign, a dash for none."""
    if pd.isna(value):
        return MISSING
    if isinf(value):
        return "∞"
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def _key(value: Any) -> float | None:
    return None if pd.isna(value) else round(float(value), 6) + 0.0


def words(key: str, mark: str = "") -> Make:
    """Return text, with a dagger where the column `mark` is true."""

    def make(row: Row) -> Cell:
        value = row[key]
        text = MISSING if pd.isna(value) or value == "" else str(value)
        return Cell(f"{text}\N{NO-BREAK SPACE}†" if mark and row[mark] else text)

    return make


def figure(key: str, decimals: int = 2) -> Make:
    """Return a number."""
    return lambda row: Cell(number(row[key], decimals), key=_key(row[key]))


def count(key: str) -> Make:
    """Return a whole number."""
    return figure(key, 0)


def p_value(key: str) -> Make:
    """Return a p-value with three decimals."""

    def make(row: Row) -> Cell:
        value = row[key]
        return Cell("<0.001" if value < 0.0005 else number(value, 3), key=_key(value))

    return make


def interval(low: Any, high: Any, decimals: int = 2) -> str:
    """Return the ends of an interval in brackets, nothing where there is none."""
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"[{number(low, decimals)}, {number(high, decimals)}]"


def rate(
    key: str,
    suffix: str = "",
    decimals: int | Callable[[Row], int] = 2,
    difference: bool = False,
    never: str = "",
) -> Make:
    """Return a figure with its interval.

    Args:
        key: column of the figure; `<key>_low` and `<key>_high` are the ends.
        suffix: behind all three.
        decimals: of all three, or how to tell them of a row.
        difference: whether the figure is one, which is bold where its interval excludes 0.
        never: the column that forbids that, if any.
    """

    def make(row: Row) -> Cell:
        places = decimals if isinstance(decimals, int) else decimals(row)
        value = row[f"{key}{suffix}"]
        low, high = row[f"{key}_low{suffix}"], row[f"{key}_high{suffix}"]
        shown = difference and bool(low > 0 or high < 0) and not (never and row[never])
        ends: str = "" if pd.isna(value) else interval(low, high, places)
        return Cell(number(value, places), ends, _key(value), shown)

    return make


def printed(key: str) -> Make:
    """Return a figure of the paper as it is printed there."""

    def make(row: Row) -> Cell:
        text: str = "" if pd.isna(row[key]) else str(row[key])
        try:
            return Cell(text, key=float(text.lstrip("$")))
        except ValueError:
            return Cell(text or MISSING)

    return make


def seeds(key: str) -> Make:
    """Return the values of the seeds, one after the other."""

    def make(row: Row) -> Cell:
        values = row[key]
        known = isinstance(values, list) and len(values) > 0
        return Cell(", ".join(map(number, values)) if known else MISSING)

    return make


def verdict(key: str) -> Make:
    """Return a verdict in words."""

    def make(row: Row) -> Cell:
        text = str(row[key]).replace("_", " ")
        return Cell(text, verdict=text)

    return make
