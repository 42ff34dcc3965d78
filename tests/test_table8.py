"""Table 8: teachers and students on all benchmarks, and what they cost.

Covers: figures by hand and seed by seed; code left out of the mean over games; whose feedback;
prices; which row of the paper stands beside; a model that is student and teacher.
Does not cover: what is refused, and LaTeX (test_games_tables.py).
"""

from pathlib import Path
from statistics import fmean

import pytest
from test_games_tables import KINDS, GamesHouse, few, find, made_up, many

from stages.stats import wilson

__all__ = ["made_up"]  # the fixture that makes the environments up here too


@pytest.fixture
def ran(tmp_path: Path) -> GamesHouse:
    """The teacher reaches all of Taboo, half of Hi-Lo, nothing of Spelling; the student nothing."""
    house = few(tmp_path)
    for of in house.items:
        share = {"taboo": 1.0, "hilo": float(of.index == 0), "humaneval": 0.25}.get(of.task, 0.0)
        house.scores["answer", "tutor", None, 0, of.id] = share * KINDS[of.task].best
        house.scores["respond", "small", None, 0, of.id] = 0.0
    for of in house.house.items:
        house.scores["answer", "tutor", "{}", 0, of.id] = float(of.task == "a")
    house.run()
    return house


def test_figures_by_hand(ran: GamesHouse) -> None:
    teacher, student = ran.rows("table8")
    assert (teacher["role"], student["role"]) == ("teacher", "student")
    assert [float(row["bbh"]) for row in (teacher, student)] == [0.5, 0.25]
    assert float(teacher["bbh_low"]) == pytest.approx(wilson(4, 8).low, abs=1e-6)
    # The mean of 0, 1 and 1/2: HumanEval is left out.
    assert [teacher[name] for name in ("bbsr", "bbsr_n", "HumanEval")] == ["0.5", "6", "0.25"]
    assert [student[name] for name in ("bbsr", "HumanEval", "HumanEval_n")] == ["0.0", "0.0", "2"]
    assert float(student["bbsr_high"]) == pytest.approx(wilson(0, 6).high, abs=1e-6)
    # The student's retries with this teacher's feedback; students give none here.
    assert [teacher[name] for name in ("feedback", "feedback_student", "feedback_condition")] == [
        *("0.75", "small", "unconstrained"),
    ]
    assert student["feedback"] == ""
    assert "BBH feedback: score of Small\\_1 \\& co's retries" in " ".join(
        ran.tex("table8").split()
    )


def test_prices(ran: GamesHouse) -> None:
    teacher, student = ran.rows("table8")
    assert [teacher[key] for key in ("input", "output", "as_of")] == ["0.15", "0.60", "2026-04-05"]
    # What runs here has none.
    assert [student[key] for key in ("input", "output", "as_of")] == ["-", "-", ""]


def test_other_teachers_beside_the_paper(tmp_path: Path) -> None:
    house = many(tmp_path, students=2, seeds=1, each=2)
    for of in house.house.items:
        more = {"condition": "unconstrained", "teacher": "claude3_haiku"}
        house.scores["teachers", "student_0", str(more), 0, of.id] = 1.0
    house.run()
    rows = house.rows("table8")
    assert [row["label"] for row in rows] == [
        *("GPT-4o-mini", "Claude3 Haiku", "Gemini Flash 15"),
        *("Student-0-Instruct", "Student-1-Instruct"),
    ]
    columns = ("bbh_paper", "bbsr_paper", "MBPP_paper", "price_paper", "feedback_paper")
    assert [[row[column] for column in columns] for row in rows] == [
        ["0.65", "0.90", "0.63", "0.15", "0.31"],
        ["0.64", "0.75", "0.65", "0.25", "0.28"],
        ["0.36", "0.85", "0.62", "0.15", "0.26"],
        [""] * 5,
        [""] * 5,
    ]
    assert rows[1]["feedback"] == "1.0"
    assert {row["feedback_student"] for row in rows[:3]} == {"student_0"}
    assert (rows[1]["output"], rows[1]["as_of"]) == ("not known", "")
    # The main teacher's is the student's row of Table 3.
    third = find(house.rows("table3"), student="student_0", condition="unconstrained", items="all")
    assert rows[0]["feedback"] == third["score"]


def test_seed_by_seed(tmp_path: Path) -> None:
    """Students have seeds; teachers answer once, and their feedback is read seed by seed."""
    house = many(tmp_path, students=1, seeds=3, each=2)
    house.run()
    *teachers, student = house.rows("table8")

    def of(row: dict[str, str], name: str) -> list[float]:
        return [float(value) for value in row[f"{name}_by_seed"].split(";") if value]

    games = [slug for slug in KINDS if slug in {of.task for of in house.items} and slug != "mbpp"]
    shares = [
        [
            fmean(house.value("respond", "student_0", None, seed, of) for of in own)
            / KINDS[slug].best
            for slug in games
            if (own := [of for of in house.items if of.task == slug])
        ]
        for seed in range(3)
    ]
    assert of(student, "bbsr") == pytest.approx([fmean(own) for own in shares], abs=1e-6)
    assert fmean(of(student, "bbsr")) == pytest.approx(float(student["bbsr"]), abs=1e-6)
    programs = [of for of in house.items if of.task == "mbpp"]
    assert of(student, "MBPP") == pytest.approx(
        [
            fmean(house.value("respond", "student_0", None, seed, of) for of in programs)
            for seed in range(3)
        ],
        abs=1e-6,
    )
    third = house.rows("table3")
    base = find(third, student="student_0", condition="baseline", items="all")
    assert student["bbh_by_seed"] == base["score_by_seed"]
    told = find(third, student="student_0", condition="unconstrained", items="all")
    assert teachers[0]["feedback_by_seed"] == told["score_by_seed"]
    assert student["feedback_by_seed"] == ""
    for row in teachers:
        assert [row[f"{name}_by_seed"] for name in ("bbh", "bbsr", "MBPP")] == ["", "", ""]


def test_a_model_in_both_roles(tmp_path: Path) -> None:
    """Its own answers as a teacher are not those that it gives as a student."""
    house = few(tmp_path)
    house.house.params["teachers"] = {"small": {}}
    house.house.grid["teacher"] = "small"
    for of in house.items:
        house.scores["answer", "small", None, 0, of.id] = KINDS[of.task].best
        house.scores["respond", "small", None, 0, of.id] = 0.0
    house.run()
    assert [(row["role"], row["bbsr"]) for row in house.rows("table8")] == [
        ("teacher", "1.0"),
        ("student", "0.0"),
    ]
    rows = [row for row in house.rows("table6") if row["environment"] == "hilo"]
    assert [row["score"] for row in rows[:2]] == ["1.0", "0.0"]
