"""The report stage: figures of Table 3, what it refuses, the LaTeX of all tables.

Covers: hand-made scores to figures, by their definitions; pairing, seeds, floors, flagged items,
Holm over the table; every mistake in the scores that would compare unlike cells; equal input, equal
bytes, of all tables and the figure; all tables typeset by pdflatex without a warning (skipped where
there is none, save with CI=true).
Does not cover: figures of other tables (test_tables.py), the statistics themselves
(test_stats.py), and how the page looks.
"""

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from house import CONDITIONS, CONTROLS, METHODS, PAPER, House, item, large, score, small

from stages.errors import UserError
from stages.stats import wilson

PAPERS_TABLES = ("table2", "table3", "table4", "table5")
TABLES = (*PAPERS_TABLES, "controls", "transitions", "cleaning", "figure3", "outcomes")
RENDERED = [f"{name}_beside" if name in PAPERS_TABLES else name for name in TABLES]


def cell(rows: list[dict[str, str]], condition: str, items: str = "all") -> dict[str, str]:
    (found,) = [row for row in rows if (row["condition"], row["items"]) == (condition, items)]
    return found


@pytest.fixture
def house(tmp_path: Path) -> House:
    return small(tmp_path)


# Figures


def test_rates_by_hand(house: House) -> None:
    rows = house.run()
    base, after = cell(rows, "baseline"), cell(rows, "unconstrained")
    assert [base[key] for key in ("n", "seeds", "trajectories")] == ["8", "1", "8"]
    assert float(base["match_rate"]) == 6 / 8
    assert float(base["score"]) == 2 / 8
    assert float(base["correct_if_matched"]) == pytest.approx(2 / 6, abs=1e-6)
    assert float(after["score"]) == 6 / 8
    assert float(after["correct_if_matched"]) == 1
    assert (base["unparsed"], after["unparsed"]) == ("2", "2")
    low, high = wilson(2, 8)
    assert (float(base["score_low"]), float(base["score_high"])) == pytest.approx(
        (low, high), abs=1e-6
    )
    # All matched are right: nothing to resample, so Wilson's interval of 6 of 6.
    assert float(after["correct_if_matched_low"]) == pytest.approx(wilson(6, 6).low, abs=1e-6)


def test_difference_by_hand(house: House) -> None:
    rows = house.run()
    after, same = cell(rows, "unconstrained"), cell(rows, "lazy")
    assert float(after["difference"]) == 0.5
    assert after["discordant"] == "4"
    assert (after["test"], float(after["p"])) == ("McNemar", 2 / 2**4)
    assert float(after["p_holm"]) == 5 * 2 / 2**4  # five differences in the table
    # Matched in both: the first two of each subtask; the gain is one of the two.
    assert after["matched_in_both"] == "4"
    assert float(after["difference_matched"]) == 0.5
    assert float(same["difference"]) == 0 == float(same["difference_high"])
    assert float(same["p_holm"]) == 1
    assert cell(rows, "baseline")["difference"] == "" == cell(rows, "baseline")["p_holm"]


def test_rows_stand_in_the_papers_order_beside_its_figures(house: House) -> None:
    rows = [row for row in house.run() if row["items"] == "all"]
    with (PAPER / "table3.csv").open(encoding="utf-8", newline="") as stream:
        paper = [row for row in csv.reader(stream) if row[0] == "0.5B"]
    keys = ("condition_label", "match_rate_paper", "score_paper", "correct_if_matched_paper")
    assert [[row[key] for key in keys] for row in rows] == [row[1:] for row in paper]
    oracle = [row["condition"] for row in rows if row["sees_target"] == "True"]
    assert oracle == ["ground_truth", "lazy"]


def test_a_condition_that_the_paper_lacks_comes_last(house: House) -> None:
    house.params["conditions"]["praise"] = {"sees": [], "sentences": None}
    house.grid["told"] = ["praise", *house.grid["told"]]
    house.scores += [score(of, "praise", "errored") for of in house.items]
    last = [row for row in house.run() if row["items"] == "all"][-1]
    assert (last["condition_label"], last["score_paper"], last["errored"]) == ("Praise", "", "8")
    assert last["correct_if_matched"] == ""


def test_no_papers_figures_without_a_paper_student(house: House) -> None:
    house.params["report"]["paper_students"] = {}
    assert {row["score_paper"] for row in house.run()} == {""}


def test_floors(house: House) -> None:
    """Chance is one over the options, 0 for free-form; the majority answer is train's."""
    house.items[0] = item("a", 0, target="B")
    house.items[1] = item("a", 1, target="word", options={}, family="word")
    row = house.run()[0]
    assert float(row["chance"]) == 7 * 0.5 / 8
    assert float(row["majority"]) == 6 / 8


def test_flagged_items_left_out(house: House) -> None:
    house.items[1] = item("a", 1, flags=("duplicate:bbh/a/train-0",))
    rows = house.run()
    without = cell(rows, "unconstrained", "unflagged")
    assert without["n"] == "7"
    assert float(without["difference"]) == pytest.approx(3 / 7, abs=1e-6)
    assert cell(rows, "unconstrained")["n"] == "8"


def test_macro_weighs_subtasks_alike(house: House) -> None:
    """Subtask a keeps one item, which is right: macro (1 + 1/4) / 2, micro 2/5."""
    gone = {of.id for of in house.items[1:4]}
    house.items = [of for of in house.items if of.id not in gone]
    house.scores = [row for row in house.scores if row.item not in gone]
    base = cell(house.run(), "baseline")
    assert float(base["macro"]) == 0.625
    assert float(base["score"]) == 0.4


def test_tolerant_truncated_and_kept_are_counted(house: House) -> None:
    position = next(at for at, row in enumerate(house.scores) if row.condition == "lazy")
    house.scores[position + 1] = score(
        house.items[1],
        "lazy",
        "incorrect",
        finish_reason="length",
        kept_original="feedback refused",
        tolerant_score=1.0,
    )
    lazy = cell(house.run(), "lazy")
    assert [lazy[key] for key in ("truncated", "kept", "errored")] == ["0", "1", "0"]
    assert (float(lazy["score"]), float(lazy["tolerant"])) == (2 / 8, 3 / 8)
    # Cut by the token limit before an answer: counted apart from the unparsed.
    unparsed = int(lazy["unparsed"])
    house.scores[position + 1] = score(house.items[1], "lazy", "unparsed", finish_reason="length")
    lazy = cell(house.run(), "lazy")
    assert (lazy["truncated"], int(lazy["unparsed"])) == ("1", unparsed)


def test_seeds_are_averaged_within_items(tmp_path: Path) -> None:
    house = large(tmp_path, students=1, seeds=3)
    rows = house.run()
    for condition in ("baseline", "lazy"):
        row = cell(rows, condition)
        own = [float(value) for value in row["score_by_seed"].split(";")]
        assert len(own) == 3
        assert float(row["score"]) == pytest.approx(sum(own) / 3, abs=1e-5)
        assert (row["n"], row["trajectories"]) == ("54", "162")
    lazy = cell(rows, "lazy")
    assert lazy["test"] == "permutation"
    # Not Wilson's interval of 162 independent answers.
    hits = round(float(lazy["score"]) * 162)
    assert float(lazy["score_low"]) != pytest.approx(wilson(hits, 162).low, abs=1e-4)


def test_order_of_the_scores_does_not_matter(house: House) -> None:
    house.run("first")
    random.Random(1).shuffle(house.scores)
    house.run("second")
    figures = [f"figures/{n}.{s}" for n in ("best_of_k", "training") for s in ("pdf", "png")]
    data = ("table5_contrasts.csv", "table5_dropped.csv", "training.csv", "training_curves.csv")
    tables = [f"{name}.csv" for name in TABLES] + [f"{name}.tex" for name in RENDERED]
    more = ("table3_by_subtask.csv", "best_of_k.csv", "metrics.json")
    for name in (*tables, *figures, *data, *more):
        assert (house.root / "first" / name).read_bytes() == (
            house.root / "second" / name
        ).read_bytes()


def test_outcomes_count_what_is_no_answer(house: House) -> None:
    house.replies = {
        ("unconstrained", house.items[0].id): "refusal",
        ("unconstrained", house.items[1].id): "bad_request",
        ("unconstrained", house.items[2].id): "length",
        ("ground_truth", house.items[0].id): "content_filter",
    }
    lazy = next(at for at, row in enumerate(house.scores) if row.condition == "lazy")
    house.scores[lazy] = score(house.items[0], "lazy", "incorrect", kept_original="refusal")
    house.run()
    with (house.root / "out" / "outcomes.csv").open(encoding="utf-8", newline="") as stream:
        rows = {(row["step"], row["condition"]): row for row in csv.DictReader(stream)}
    # Nobody is asked for the lazy feedback, and the teacher's own answers are not scored here.
    every = {*CONDITIONS, *CONTROLS}
    asked = sorted(every - {"lazy", "try_again", "another_item"})
    # In the order of the pipeline, then of models: "small" comes before "tutor".
    assert list(rows) == [
        ("respond", ""),
        ("judge", "explicit"),
        ("judge", "implicit"),
        ("feedback", "self_feedback"),
        *(("feedback", name) for name in asked if name != "self_feedback"),
        *(("revise", name) for name in sorted(every)),
        ("sample", ""),
        ("sample", "unconstrained"),
        ("select", "student_choice"),
        ("select", "teacher_choice"),
        *(("evaluate", name) for name in sorted([*METHODS, "following_sft"])),
        ("revise_tuned", "following_sft"),
    ]
    said = rows["feedback", "unconstrained"]
    reasons = ("n", "stop", "length", "content_filter", "refusal", "bad_request", "error")
    assert [int(said[key]) for key in reasons] == [8, 5, 1, 0, 1, 1, 0]
    assert rows["feedback", "ground_truth"]["content_filter"] == "1"
    assert (rows["revise", "lazy"]["not_asked"], rows["revise", "lazy"]["stop"]) == ("1", "7")
    for row in rows.values():
        ends = [int(row[key]) for key in (*reasons[1:], "not_asked")]
        assert sum(ends) == int(row["n"])


def test_metrics(house: House) -> None:
    house.run()
    metrics = json.loads((house.root / "out" / "metrics.json").read_text(encoding="utf-8"))
    small = metrics["small"]
    assert (small["score"], small["match_rate"]["baseline"]) == (0.25, 0.75)
    assert small["gain"]["unconstrained"] == 0.5
    assert set(small["gain"]) == {*CONDITIONS, *METHODS}
    assert set(small["match_rate"]) == {"baseline", *CONDITIONS, *METHODS}
    assert small["balanced_accuracy"] == 0.5
    counts = metrics["claims"]
    with (house.root / "out" / "claims.csv").open(encoding="utf-8", newline="") as stream:
        verdicts = [row["verdict"] for row in csv.DictReader(stream)]
    assert set(counts) == {"supported", "contradicted"}
    assert {name: verdicts.count(name) for name in counts} == counts
    # Few enough to be read in a terminal: with games and code five more.
    assert len(pd.json_normalize(metrics).columns) == 25


def test_what_a_condition_changes_is_in_the_metrics(house: House) -> None:
    """Retries that score the same and match less: of all metrics its match rate alone moves."""
    house.run()
    before = json.loads((house.root / "out" / "metrics.json").read_text(encoding="utf-8"))
    rows = [at for at, of in enumerate(house.scores) if of.condition == "regex_focused"]
    at = next(at for at in rows if house.scores[at].outcome == "incorrect")
    of = next(of for of in house.items if of.id == house.scores[at].item)
    house.scores[at] = score(of, "regex_focused", "unparsed")
    house.run()
    after = json.loads((house.root / "out" / "metrics.json").read_text(encoding="utf-8"))
    flat = [pd.json_normalize(metrics).iloc[0] for metrics in (before, after)]
    assert [key for key in flat[0].index if flat[0][key] != flat[1][key]] == [
        "small.match_rate.regex_focused"
    ]


# What is refused


def refused(house: House, message: str) -> None:
    with pytest.raises(UserError, match=message):
        house.run()
    assert not (house.root / "out").exists()


def test_missing_cell(house: House) -> None:
    house.scores = [row for row in house.scores if row.condition != "lazy"]
    refused(house, r"revise\.jsonl: no scores of student small, condition lazy, seed 0")


def test_missing_items(house: House) -> None:
    del house.scores[-2:]
    refused(house, r"revise\.jsonl: student small, condition self_feedback, seed 0 lacks 2 of 8")


def test_foreign_item(house: House) -> None:
    house.scores.insert(0, score(item("c", 9), None, "correct"))
    refused(house, r"respond\.jsonl:1: item 'bbh/c/test-9' is not among the test items")


def test_repeated_item(house: House) -> None:
    house.scores.insert(8, house.scores[0])
    refused(house, r"respond\.jsonl:9: item 'bbh/a/test-0' twice for student small")


@pytest.mark.parametrize("more", [{"student": "other"}, {"seed": 1}, {"condition": "praise"}])
def test_cell_outside_the_grid(house: House, more: dict[str, str]) -> None:
    house.scores.append(
        score(house.items[0], **({"condition": "lazy", "outcome": "correct"} | more))  # type: ignore[arg-type]
    )
    refused(house, r"revise\.jsonl:65: student .* is not in the grid")


def test_baseline_with_a_condition(house: House) -> None:
    house.scores[0] = score(house.items[0], "lazy", "correct", step="respond")
    refused(house, r"respond\.jsonl:1: student small, condition lazy, seed 0 is not in the grid")


def test_subtask_without_train_items(house: House) -> None:
    house.train = house.train[:2]
    refused(house, r"train\.jsonl: no items of b")


def test_unknown_paper_student(house: House) -> None:
    house.params["report"]["paper_students"] = {"small": "72B"}
    refused(house, r"report\.paper_students\.small: .* no '72B'")


def test_feedback_on_other_items(house: House) -> None:
    whole = house.feedback()
    cell = "unconstrained-small-0"
    house.feedback = lambda: {**whole, cell: whole[cell][1:]}  # type: ignore[method-assign]
    refused(house, rf"{cell}\.jsonl: not the test items: bbh/a/test-0 \(1 differ\)")


def test_missing_scores_file(house: House) -> None:
    house.run()
    (house.root / "score" / "bbh" / "revise.jsonl").unlink()
    command = [sys.executable, "-m", "stages.report", *house.flags("again")]
    done = subprocess.run(
        command,
        cwd=house.root,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"error: {house.root}/score/bbh/revise.jsonl: no such file\n"
    assert not (house.root / "again").exists()


# LaTeX


def test_bold_and_dagger(tmp_path: Path) -> None:
    """Bold where the interval excludes 0, never where the ground truth is seen."""
    house = large(tmp_path, students=1, seeds=1)
    for at, row in enumerate(house.scores):
        if row.condition in ("lazy", "unconstrained"):
            of = next(of for of in house.items if of.id == row.item)
            house.scores[at] = score(of, row.condition, "correct", student=row.model)
    house.run()
    text = (tmp_path / "out" / "table3_beside.tex").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith(("Lazy", "Unconstrained"))]
    assert any(r"\textbf" in line for line in _differences(text) if line.startswith("Unc"))
    assert not any(r"\textbf" in line for line in _differences(text) if line.startswith("Lazy"))
    assert all((r"\dag" in line) is line.startswith("Lazy") for line in lines)


def _differences(text: str) -> list[str]:
    """Return the rows of the second tabular, each on one line."""
    return [row.strip() for row in text.split(r"\begin{tabular}")[2].split("\\\\\n")]


def test_caption(tmp_path: Path) -> None:
    house = large(tmp_path, students=1, seeds=1)
    house.run("tiny")
    house.params["scale"] = "laptop"
    house.run("laptop")
    tiny, laptop = (
        (tmp_path / scale / "table3_beside.tex").read_text(encoding="utf-8")
        for scale in ("tiny", "laptop")
    )
    assert tiny.startswith("% Generated by the stage `report`")
    said = (
        "Student-0-Instruct",
        "teacher Tutor",
        r"$n = \num{54}$",
        r"\num{1} of them flagged",
        "7B",
    )
    for part in said:
        assert part in tiny
    assert "not comparable" in laptop
    assert "not comparable" not in tiny


@pytest.mark.parametrize("seeds", [1, 2])
def test_rows_have_the_cells_of_their_tabular(tmp_path: Path, seeds: int) -> None:
    """What pdflatex would refuse, where there is none; and no underscore in plain text."""
    house = large(tmp_path, 1, seeds)
    house.training = {"feedback_dpo": {"fallbacks": ("optim paged_adamw_32bit: adamw_torch",)}}
    house.run()
    for name in TABLES:
        text = house.tex(name)
        tabulars = r"\\begin\{tabular\}(?:\[t\])?\{([^\n]*)\}\n(.*?)\\end\{tabular\}"
        for spec, body in re.findall(tabulars, text, flags=re.DOTALL):
            width = len(re.findall("[lrc]", re.sub(r"@\{.*?\}", "", spec)))
            rows = re.sub(r"\\(top|mid|bottom)rule|\\cmidrule(\(.*?\))?\{.*?\}", "", body)
            for line in filter(str.strip, rows.split("\\\\\n")):
                spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
                cells = len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans)
                assert cells == width, (name, line)
        plain = re.sub(r"\\label\{.*?\}|\$.*?\$|^%.*$", "", text, flags=re.MULTILINE)
        assert not re.search(r"(?<!\\)_", plain), name


@pytest.mark.parametrize(("students", "seeds"), [(1, 1), (3, 1), (3, 3)])
def test_typesets_without_a_warning(tmp_path: Path, students: int, seeds: int) -> None:
    if shutil.which("pdflatex") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("pdflatex is not installed")
        pytest.skip("pdflatex is not installed")
    house = large(tmp_path, students, seeds)
    house.params["scale"] = "laptop"
    house.run()
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs,siunitx}\n\\begin{document}\n"
        + "".join(f"\\input{{out/{name}}}\n" for name in RENDERED)
        + "\\end{document}\n",
        encoding="utf-8",
    )
    for _ in range(2):  # the second run knows the label
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
    log = re.sub(r"(?m)^Package: .*", "", log)
    assert re.findall(r".*(?:Overfull|Underfull|[Ww]arning|undefined|too large).*", log) == []
    assert re.search(r"Output written on page\.pdf \(\d+ page", log)


def test_help_is_instant() -> None:
    """Importing the stage loads nothing heavy; torch is not for the report at all."""
    code = "import sys, stages.report; print({'numpy', 'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
