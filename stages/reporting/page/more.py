"""The page's tables of claims, of what the run took, of paraphrases, and of tolerances."""

import pandas as pd

from stages.reporting.claims import Claims
from stages.reporting.facts import Facts
from stages.reporting.page.cells import (
    Cell,
    Make,
    Row,
    count,
    figure,
    p_value,
    rate,
    verdict,
    words,
)
from stages.reporting.page.table import Column, Shelf


def put_claims(claims: Claims, shelf: Shelf) -> None:
    """Put the claims, our verdict beside that of the paper's own figures, and inconsistencies."""
    columns = ["id", "verdict", "estimate", "low", "high", "n", "counted", "detail"]
    joined = claims.ours.merge(
        claims.printed[columns], on="id", validate="1:1", suffixes=("", "_paper")
    )
    ours, theirs = "This run", "The paper's figures"
    shelf.put(
        "claims",
        joined,
        [
            Column("Claim", words("claim"), kind="prose"),
            Column("Section", words("section"), kind="text"),
            Column("verdict", verdict("verdict"), ours, "text"),
            Column("estimate", _estimate(""), ours),
            Column("n", count("n"), ours),
            Column("verdict", verdict("verdict_paper"), theirs, "text"),
            Column("estimate", _estimate("_paper"), theirs),
            Column("n", count("n_paper"), theirs),
            Column("What was compared", _compared, kind="prose"),
        ],
    )
    shelf.put(
        "inconsistencies",
        claims.inconsistencies,
        [
            Column("The paper says", words("claim"), kind="prose"),
            Column("Section", words("section"), kind="text"),
            Column("Verdict", verdict("verdict"), kind="text"),
            Column("What follows from its figures", words("follows"), kind="prose"),
            Column("Note", words("note"), kind="prose"),
        ],
    )


def _compared(row: Row) -> Cell:
    """Return what was compared, once where it is the same on both sides."""
    ours, theirs = str(row["detail"]), str(row["detail_paper"])
    return Cell(ours if ours == theirs else f"This run: {ours}. The paper's figures: {theirs}.")


def _estimate(suffix: str) -> Make:
    """Return an estimate with its interval; of environments it is a number of them."""

    def make(row: Row) -> Cell:
        names = {"estimate": "estimate", "estimate_low": "low", "estimate_high": "high"}
        of = {name: row[f"{column}{suffix}"] for name, column in names.items()}
        return rate("estimate", decimals=0 if row[f"counted{suffix}"] else 2)(of)

    return make


def tally(frame: pd.DataFrame) -> dict[str, int]:
    """Return how often each verdict was reached, the most frequent first."""
    counts = frame["verdict"].str.replace("_", " ").value_counts()
    return {str(name): int(n) for name, n in sorted(counts.items(), key=lambda of: (-of[1], of[0]))}


# What a model says of itself first; the rest is versions and settings.
_MODEL = {
    "model": "name",
    "revision": "revision",
    "engine": "engine",
    "dtype": "precision",
    "device": "device",
}


def put_facts(facts: Facts, shelf: Shelf) -> None:
    """Put who answered with what, and what each step took."""
    frame = facts.models
    first = [name for name in _MODEL if name in frame]
    rest = [str(name) for name in frame if name not in (*_MODEL, "who", "cells")]

    def others(row: Row) -> Cell:
        return Cell("; ".join(f"{name} {row[name]}" for name in rest if not pd.isna(row[name])))

    shelf.put(
        "models",
        frame,
        [
            Column("Model", words("who"), kind="text"),
            Column("cells", count("cells")),
            *(Column(_MODEL[name], words(name), kind=_kind(name)) for name in first),
            Column("versions and settings", others, kind="prose"),
        ],
    )
    shelf.put(
        "steps",
        facts.by_step,
        [
            Column("Step", words("step"), kind="text"),
            Column("suite", words("suite"), kind="text"),
            Column("cells", count("cells")),
            Column("requests", count("requests")),
            Column("read", count("prompt_tokens"), "Tokens"),
            Column("written", count("completion_tokens"), "Tokens"),
            Column("to open", count("seconds_to_open"), "Seconds"),
            Column("to answer or train", count("seconds"), "Seconds"),
            Column("USD", figure("usd")),
        ],
    )


def _kind(name: str) -> str:
    return "prose" if name in ("name", "revision") else "text"


def put_points(frame: pd.DataFrame, shelf: Shelf) -> None:
    """Put the cost of a point gained; see `stages.reporting.points` for the columns."""
    spent, per = "Spent", "Per point gained"
    least = "At least, by the interval"
    shelf.put(
        "points",
        frame,
        [
            Column("Row", words("row"), kind="text"),
            Column("points gained", rate("gain", decimals=1)),
            Column("paid", words("paid"), spent, "text"),
            Column("tokens", count("tokens"), spent),
            Column("seconds", figure("seconds", 1), spent),
            Column("USD", figure("usd", 4), spent),
            Column("tokens", count("tokens_per_point"), per),
            Column("seconds", figure("seconds_per_point", 1), per),
            Column("USD", figure("usd_per_point", 4), per),
            Column("tokens", count("tokens_per_point_least"), least),
            Column("seconds", figure("seconds_per_point_least", 1), least),
            Column("USD", figure("usd_per_point_least", 4), least),
        ],
        ("student_label", "kind"),
    )


def put_sensitivity(frame: pd.DataFrame, shelf: Shelf) -> None:
    """Put what other wordings of each prompt change; see `stages.reporting.sensitivity`."""
    shelf.put(
        "sensitivity",
        frame,
        [
            Column("Prompt", words("prompt"), kind="text"),
            Column("wording", words("variant"), kind="text"),
            Column("metric", words("metric_label"), kind="text"),
            Column("value", _rate),
            Column("Δ", rate("difference", difference=True), "From our wording"),
            Column("p, Holm", p_value("p_holm"), "From our wording"),
            Column("MDE", figure("smallest_detectable"), "From our wording"),
            Column("n", count("n")),
        ],
        ("student_label",),
    )


def _rate(row: Row) -> Cell:
    """Return the estimate of a wording with its interval."""
    of = {"estimate": row["estimate"], "estimate_low": row["low"], "estimate_high": row["high"]}
    return rate("estimate")(of)


def put_tolerances(reruns: pd.DataFrame, resolution: pd.DataFrame, shelf: Shelf) -> None:
    """Put what `tolerances` found."""
    shelf.put(
        "reruns",
        reruns,
        [
            Column("Replies", words("pool"), kind="text"),
            Column("metric", words("metric"), kind="text"),
            Column("replies an item", count("replies")),
            Column("n", count("n")),
            Column("lowest", figure("lowest"), "Rate of one set of replies"),
            Column("highest", figure("highest"), "Rate of one set of replies"),
            Column("tolerance", figure("tolerance")),
        ],
        ("student_label",),
    )
    shelf.put(
        "resolution",
        resolution,
        [
            Column("Table", words("table"), kind="text"),
            Column("fewest", count("fewest"), "n"),
            Column("most", count("most"), "n"),
            Column("one reply", figure("step")),
            Column("rate, widest", figure("rate"), "Half-width of an interval"),
            Column("difference, median", figure("median"), "Half-width of an interval"),
            Column("difference, widest", figure("widest"), "Half-width of an interval"),
            Column("MDE, largest", figure("mde")),
        ],
    )
