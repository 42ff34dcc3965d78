"""The paper's figures, held against what they imply.

Covers: rounding intervals; Table 2 through the confusion cells that its recall, precision and
prevalence imply; score over match rate in Tables 3, 4 and 5; transitions and the product form from
Tables 3 and 4. Numbers in the tests that are not in data/paper/ are quoted from the notes on the
paper (section and number given).
Does not cover: the shape of the tables, and what the paper's text says of them (test_paper_csv.py).
"""

import csv
from fractions import Fraction
from pathlib import Path

import pytest

from stages.reporting.detection import from_rates, product_form
from stages.reporting.printed import consistent_ratio, implied, rounding

PAPER = Path(__file__).parents[1] / "data" / "paper"
SIZES = ("7B", "1.5B", "0.5B")

Row = dict[str, str]


def table(number: int) -> dict[tuple[str, str], Row]:
    """Return {the two row labels: the row}, as printed."""
    with (PAPER / f"table{number}.csv").open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        first, second = (reader.fieldnames or ())[:2]
        return {(row[first], row[second]): row for row in reader}


# Rounding


def test_a_printed_number_stands_for_an_interval() -> None:
    assert rounding("0.27") == (Fraction("0.265"), Fraction("0.275"))
    assert rounding(".27") == rounding(" 0.27 ") == rounding("0.27")
    assert rounding("-1.5") == (Fraction("-1.55"), Fraction("-1.45"))
    assert rounding("3") == (Fraction("2.5"), Fraction("3.5"))
    assert rounding("0.5") == (Fraction("0.45"), Fraction("0.55"))  # digits as printed


@pytest.mark.parametrize("text", ["", "-", ".", "1e3", "1/3", "nan", "--1", "1.2.3", "✓"])
def test_what_is_no_printed_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a printed number"):
        rounding(text)


def test_implied_by_hand() -> None:
    assert implied(lambda a, b: a - b, "0.3", "0.1") == (Fraction("0.1"), Fraction("0.3"))
    assert implied(lambda a: 1 / a, "0.5") == (1 / Fraction("0.55"), 1 / Fraction("0.45"))


def test_consistent_ratio_at_the_border() -> None:
    # .265 / .545 = .486...: the least that .27 / .54 can be; .47 stands for at most .475.
    assert not consistent_ratio("0.27", "0.54", "0.47")
    assert not consistent_ratio("0.27", "0.54", "0.48")
    assert consistent_ratio("0.27", "0.54", "0.49")
    # Closed ends: .5 / 1.5 to 1.5 / .5, and a printed 3.2 is 3.15 or more.
    assert consistent_ratio("1", "1", "3.0")
    assert not consistent_ratio("1", "1", "3.2")
    assert consistent_ratio("1", "1", "4") is False
    with pytest.raises(ValueError, match="can stand for 0"):
        consistent_ratio("0.10", "0.0", "0.5")


# Table 2


def prevalence(size: str) -> str:
    """The implicit judge flags everything: its precision is the share of wrong answers."""
    assert float(table(2)["Implicit", size]["Recall"]) == 1
    return table(2)["Implicit", size]["Precision"]


def rates(kind: str, size: str) -> tuple[str, str, str]:
    row = table(2)[kind, size]
    return row["Recall"], row["Precision"], prevalence(size)


@pytest.mark.parametrize(("metric", "column"), [("f1", "F1"), ("accuracy", "Accuracy")])
@pytest.mark.parametrize("size", SIZES)
def test_table2_explicit(size: str, metric: str, column: str) -> None:
    """Of the explicit rows, 7B's F1 and accuracy alone cannot be what the other figures imply."""

    def of(*values: Fraction) -> float:
        return from_rates(*map(float, values))[metric]

    found = implied(of, *rates("Explicit", size))
    row = table(2)["Explicit", size]
    assert found.meets(rounding(row[column])) is (size != "7B")
    if size == "7B":
        other = {"F1": "Accuracy", "Accuracy": "F1"}[column]
        assert found.meets(rounding(row[other]))


def test_table2_7b_explicit_has_f1_and_accuracy_swapped() -> None:
    """Notes, 1.1."""
    found = from_rates(*map(float, rates("Explicit", "7B")))
    assert round(found["f1"], 3) == 0.729
    assert round(found["accuracy"], 3) == 0.657
    row = table(2)["Explicit", "7B"]
    assert (row["F1"], row["Accuracy"]) == ("0.66", "0.73")
    assert (f"{found['accuracy']:.2f}", f"{found['f1']:.2f}") == ("0.66", "0.73")


@pytest.mark.parametrize("size", SIZES)
def test_table2_implicit(size: str) -> None:
    """Where all is flagged, F1 and accuracy follow from the prevalence, and specificity is 0."""
    found = from_rates(*map(float, rates("Implicit", size)))
    row = table(2)["Implicit", size]
    assert f"{found['f1']:.2f}" == row["F1"]
    assert f"{found['accuracy']:.2f}" == row["Accuracy"]
    assert found["specificity"] == 0
    assert found["balanced_accuracy"] == 0.5


def test_table2_detection_is_best_on_the_largest_student() -> None:
    """Notes, 1.2: the paper has it the other way round, from recall and F1."""
    found = {size: from_rates(*map(float, rates("Explicit", size))) for size in SIZES}
    assert [round(found[size]["specificity"], 2) for size in SIZES] == [0.67, 0.47, 0.26]
    assert [round(found[size]["balanced_accuracy"], 2) for size in SIZES] == [0.66, 0.64, 0.56]
    mcc = [found[size]["mcc"] for size in SIZES]
    assert mcc == sorted(mcc, reverse=True)


# Correct if matched


RATIOS = {
    3: ("Downstream Performance", "Regex Match Rate", "Correct if Matched"),
    4: ("Score", "Regex Match Rate", "Correct if Matched"),
    5: ("Score", "Regex Match Rate", "Post-Match Score"),
}
# Notes, 5a: #7 is Table 4's SFT and DPO, #12 Table 5's Feedback DPO.
IMPOSSIBLE = {
    (4, "Feedback Following Finetuning", "SFT"),
    (4, "Feedback Following Finetuning", "DPO"),
    (5, "Qwen2 7B", "Feedback DPO"),
}


def ratios(places: int | None = None) -> dict[tuple[int, str, str], tuple[str, str, str]]:
    """Score, match rate and printed ratio of every row; digits padded to `places` if given."""

    def padded(text: str) -> str:
        return text if places is None else f"{float(text):.{places}f}"

    return {
        (number, *labels): tuple(padded(row[column]) for column in columns)  # type: ignore[misc]
        for number, columns in RATIOS.items()
        for labels, row in table(number).items()
    }


@pytest.mark.parametrize("places", [None, 2])
def test_rows_that_no_rounding_reconciles(places: int | None) -> None:
    """Exactly those of the notes, also where 0.5 is read as 0.50."""
    found = {row for row, cells in ratios(places).items() if not consistent_ratio(*cells)}
    assert found == IMPOSSIBLE


def test_rows_that_only_rounding_reconciles() -> None:
    """The quotient of the printed figures misses the printed ratio by more than half a digit."""
    found = {
        row
        for row, (score, matched, ratio) in ratios(2).items()
        if not rounding(ratio).low <= Fraction(score) / Fraction(matched) <= rounding(ratio).high
    }
    assert found - IMPOSSIBLE == {
        (3, "1.5B", "Unconstrained"),
        (5, "Qwen2 7B", "Imitative DPO"),
        (5, "Qwen2 7B", "Imitative SFT"),
        (5, "Qwen2 7B", "Feedback SFT"),
        (5, "Qwen2 7B", "Feedback SFT*"),
    }


# What flagging does to the score


def test_transitions_and_product_form() -> None:
    """Notes, section 2, #1: half of all right answers are lost by retrying."""
    base = Fraction(table(3)["7B", "Baseline"]["Downstream Performance"])
    retried = Fraction(table(3)["7B", "Unconstrained"]["Downstream Performance"])
    # Wrong answers alone are retried: what is added to the base went from wrong to right.
    wrong_right = Fraction(table(4)["Negative Sampling", "Ground Truth"]["Score"]) - base
    right_right = retried - wrong_right
    right_wrong = base - right_right
    assert [float(share) for share in (wrong_right, right_right, right_wrong)] == [0.16, 0.15, 0.14]
    explicit = from_rates(*map(float, rates("Explicit", "7B")))
    found = product_form(
        float(base),
        float(wrong_right),
        float(right_wrong),
        explicit["recall"],
        1 - explicit["specificity"],
    )
    assert round(found, 3) == 0.348
    printed = table(4)["Negative Sampling", "Error Identification"]["Score"]
    assert printed == "0.34"
    assert found > rounding(printed).high
