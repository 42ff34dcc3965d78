"""Table 6: finetuning on games and code.

Covers: a folder of two items an environment whose figures are reckoned on paper; the paper's
figures beside; which arms are worse in a majority of environments, of ours and of the paper's;
Holm over the table; a learner that was trained before; several seeds against a second reckoning;
what the metrics have of it.
Does not cover: intervals and LaTeX (test_games_tables.py), the statistics (test_stats.py).
"""

import json
from pathlib import Path
from statistics import fmean

import pytest
from house import METHODS, PAPER
from test_games_tables import KINDS, GamesHouse, few, find, made_up, many

from stages.reporting import table6
from stages.reporting.load import read_paper
from stages.stats import holm, wilson

__all__ = ["made_up"]  # the fixture that makes the environments up here too

LABELS = ["Imitative DPO", "Feedback DPO", "Imitative SFT", "Feedback SFT", "Feedback SFT*"]
# What both items of an environment score, before and after training; HumanEval's tests are four.
BEFORE = {"spelling": (0.5, 0.5), "taboo": (1, 1), "hilo": (1, 0), "humaneval": (0.5, 1)}
AFTER = {
    "imitative_dpo": BEFORE,
    "feedback_dpo": dict.fromkeys(BEFORE, (0, 0)),
    "imitative_sft": {"spelling": (1, 1), "taboo": (2, 2), "hilo": (1, 1), "humaneval": (1, 1)},
    "feedback_sft": BEFORE | {"spelling": (0, 0.5), "hilo": (0, 0)},
    "feedback_sft_cleaned": BEFORE | {"spelling": (0, 0), "taboo": (0, 1), "humaneval": (0, 0)},
}


def by_hand(root: Path) -> GamesHouse:
    house = few(root)
    for slug, values in BEFORE.items():
        for n, value in enumerate(values):
            item = f"games/{slug}/test-{n}"
            house.scores["answer", "tutor", None, 0, item] = KINDS[slug].best
            house.scores["respond", "small", None, 0, item] = value
            for method, after in AFTER.items():
                house.scores["evaluate", "small", method, 0, item] = after[slug][n]
    return house


@pytest.fixture
def ran(tmp_path: Path) -> GamesHouse:
    house = by_hand(tmp_path)
    house.run()
    return house


def test_rows_stand_in_the_papers_order_beside_its_figures(ran: GamesHouse) -> None:
    rows = [row for row in ran.rows("table6") if row["environment"] == "spelling"]
    assert [row["row"] for row in rows[:7]] == ["Teacher", "Baseline", *LABELS]
    paper = read_paper(PAPER / "table6.csv")
    assert [row["score_paper"] for row in rows[:7]] == list(paper["SPB"])
    # The paper has no such floors, and no HumanEval.
    assert [(row["row"], row["score_paper"]) for row in rows[7:]] == [
        ("Floor: constant", ""),
        ("Floor: random", ""),
    ]
    programs = [row for row in ran.rows("table6") if row["column"] == "HumanEval"]
    assert {row["score_paper"] for row in programs} == {""}
    assert [row["arm"] for row in programs] == ["teacher", "baseline", *METHODS]


def test_an_arm_by_hand(ran: GamesHouse) -> None:
    rows = ran.rows("table6")
    best = find(rows, environment="taboo", arm="imitative_sft")
    assert [best[key] for key in ("score", "best", "n", "solved")] == ["2.0", "2.0", "2", "1.0"]
    assert float(best["score_low"]) == pytest.approx(2 * wilson(2, 2).low, abs=1e-6)
    assert (best["difference"], best["test"], best["p"]) == ("1.0", "permutation", "0.5")
    assert float(best["difference_low"]) < 0
    hilo = find(rows, environment="hilo", arm="feedback_sft")
    assert (hilo["score"], hilo["difference"], hilo["test"]) == ("0.0", "-0.5", "McNemar")
    base = find(rows, environment="hilo", arm="baseline")
    assert (base["difference"], base["p"], base["p_holm"]) == ("", "", "")
    floor = find(rows, environment="taboo", arm="random")
    assert (floor["score"], floor["solved"], floor["unparsed"]) == ("0.5", "0.25", "")
    assert not [r for r in rows if (r["environment"], r["arm"]) == ("taboo", "constant")]


def test_programs_by_hand(ran: GamesHouse) -> None:
    base = find(ran.rows("table6"), environment="humaneval", arm="baseline")
    assert (base["score"], base["solved"]) == ("0.75", "0.5")
    rows = [row for row in ran.rows("table6_programs") if row["arm"] == "baseline"]
    assert [(row["of"], row["name"], row["count"]) for row in rows] == [
        ("rule", "block", "2"),
        ("test", "passed", "6"),
        ("test", "timeout", "2"),
    ]
    # The share of tests, then of items with all tests passed.
    line = next(line for line in _lines(ran.tex("table6")) if line.startswith("Baseline"))
    assert [part.strip() for part in line.split("&")[1:6]] == [
        r"\num{0.500}",
        r"\num{1.00}",
        r"\num{0.50}",
        r"\num{0.75}",
        r"\num{0.50}",
    ]


def _lines(tex: str) -> list[str]:
    return [" ".join(row.split()) for row in tex.split("\\\\\n")]


def test_which_are_worse_in_a_majority(ran: GamesHouse) -> None:
    rows = {row["arm"]: row for row in ran.rows("table6_moves") if row["learner"] == "small"}
    counts = {
        arm: [int(row[name]) for name in ("worse", "same", "better")] for arm, row in rows.items()
    }
    assert counts == {
        "imitative_dpo": [0, 4, 0],
        "feedback_dpo": [4, 0, 0],
        "imitative_sft": [0, 0, 4],
        "feedback_sft": [2, 2, 0],
        "feedback_sft_cleaned": [3, 1, 0],
    }
    worse = {arm for arm, row in rows.items() if row["majority_worse"] == "True"}
    assert worse == {"feedback_dpo", "feedback_sft_cleaned"}
    # Two items show nothing.
    assert {row[name] for row in rows.values() for name in ("worse_shown", "better_shown")} == {"0"}
    text = " ".join(ran.tex("table6").split())
    assert "(the paper: all methods): Feedback DPO, Feedback SFT*;" in text
    assert "by the paper's own figures Feedback DPO." in text
    assert r"\textbf" not in text


def test_the_papers_own_majorities(ran: GamesHouse) -> None:
    """Only Feedback DPO is worse in most: 6 of 8; three are even, one has a tie."""
    rows = [row for row in ran.rows("table6_moves") if row["learner"] == "paper"]
    assert [[row[name] for name in ("worse", "same", "better")] for row in rows] == [
        ["4", "0", "4"],
        ["6", "0", "2"],
        ["4", "0", "4"],
        ["4", "1", "3"],
        ["4", "0", "4"],
    ]
    assert [row["row"] for row in rows] == LABELS
    assert [row["majority_worse"] == "True" for row in rows] == [False, True, False, False, False]


def test_findings_in_words(ran: GamesHouse) -> None:
    import pandas as pd

    moves = pd.DataFrame(ran.rows("table6_moves"))
    moves["majority_worse"] = True
    assert table6.findings(moves, "small") == "all methods"
    moves["majority_worse"] = False
    assert table6.findings(moves, "small") == "no method"
    assert table6.findings(moves, "nobody") == "none was compared"


def test_holm_over_the_table(ran: GamesHouse) -> None:
    rows = [row for row in ran.rows("table6") if row["p"]]
    assert len(rows) == 5 * 4
    adjusted = holm([float(row["p"]) for row in rows])
    assert [float(row["p_holm"]) for row in rows] == pytest.approx(adjusted, abs=1e-5)


def test_what_training_took(ran: GamesHouse) -> None:
    rows = ran.rows("table6_training")
    assert [(row["method"], row["examples"], row["dropped"]) for row in rows] == [
        (method, "4", "1") for method in METHODS
    ]
    assert {row["reason"] for row in ran.rows("table6_dropped")} == {"identical"}
    text = ran.tex("table6")
    assert "Feedback in training: Teacher Answer" in text
    assert "by the teacher's error identification" in text


def test_a_learner_that_was_trained_before(tmp_path: Path) -> None:
    """It is compared with the student that it comes from; the paper has no such row."""
    house = by_hand(tmp_path)
    further = "small-bbh-feedback_sft-0"
    house.house.grid["learners"] = ["small", further]
    for slug in BEFORE:
        for n in (0, 1):
            key = ("evaluate", further, "imitative_sft", 0, f"games/{slug}/test-{n}")
            house.scores[key] = KINDS[slug].best
    house.run()
    rows = [row for row in house.rows("table6") if row["learner"] == further]
    assert {row["score_paper"] for row in rows} == {""}
    assert find(rows, environment="hilo", arm="baseline")["score"] == "0.5"
    best = find(rows, environment="hilo", arm="imitative_sft")
    assert (best["score"], best["difference"]) == ("1.0", "0.5")


def test_metrics_have_what_training_gains(tmp_path: Path) -> None:
    """Each environment alike, as a share of its best score; programs that were not run left out."""
    house = by_hand(tmp_path)
    house.not_run = {"humaneval"}
    house.run()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    played = [slug for slug in BEFORE if slug != "humaneval"]
    assert metrics["small"]["games_gain"] == {
        method: pytest.approx(
            fmean((fmean(own[of]) - fmean(BEFORE[of])) / KINDS[of].best for of in played), abs=1e-4
        )
        for method, own in AFTER.items()
    }


def test_seeds_are_averaged_and_shown(tmp_path: Path) -> None:
    house = many(tmp_path, students=1, seeds=2)
    house.run()
    for slug in ("taboo", "hilo", "mbpp"):
        items = [of for of in house.items if of.task == slug]
        own = [
            fmean(house.value("evaluate", "student_0", "feedback_sft", seed, of) for of in items)
            for seed in (0, 1)
        ]
        before = [
            fmean(house.value("respond", "student_0", None, seed, of) for of in items)
            for seed in (0, 1)
        ]
        row = find(house.rows("table6"), environment=slug, arm="feedback_sft")
        assert [float(s) for s in row["score_by_seed"].split(";")] == pytest.approx(own, abs=1e-6)
        assert float(row["score"]) == pytest.approx(fmean(own), abs=1e-6)
        assert float(row["difference"]) == pytest.approx(fmean(own) - fmean(before), abs=1e-6)
        assert (row["n"], row["trajectories"], row["test"]) == ("12", "24", "permutation")
        assert rf"\num{{{min(own):.2f}}}--\num{{{max(own):.2f}}}" in house.tex("table6")
    assert "One seed" not in house.tex("table6")
