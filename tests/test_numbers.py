r"""numbers.tex: a macro for every number that prose would quote.

Covers: the keys of every number of the plain tables; values and formats by hand; keys that collide;
what the macros print, in prose and inside of `\num`, and that an unknown key is an error that
names it (typeset by pdflatex; skipped where there is none, save with CI set).
Does not cover: the tables themselves; report.tex, whose prose quotes these numbers (test_latex.py).
"""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from latex_house import build, needs_pdflatex, said, typeset
from test_games_tables import few
from test_tables import by_hand

from stages.reporting import numbers, plain
from stages.reporting.built import Built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The house of test_tables.py, whose figures are reckoned on paper."""
    house = by_hand(tmp_path_factory.mktemp("by_hand"))
    house.write()
    return build(house.flags("out"))[0]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Games too."""
    house = few(tmp_path_factory.mktemp("few"))
    house.write()
    return build(house.flags())[0]


def test_values_by_hand(built: Built) -> None:
    found = numbers.values(built)
    assert found["table3/small/baseline/score"] == "0.25"
    assert found["table3/small/unconstrained/difference"] == "0.38"
    assert found["table3/small/unconstrained/n"] == "8"
    assert found["table3/small/unconstrained/score_paper"] == "0.10"
    assert found["table2/small/explicit/recall"] == "0.67"
    assert found["table2/small/explicit/unparsable"] == "1"
    assert found["table4/small/negative_sampling/plain/score"] == "0.62"
    assert found["table4/small/negative_sampling/ground_truth/difference_own"] == "0.12"
    assert {"difference_own_low", "difference_own_high"} <= {
        key.rpartition("/")[2] for key in found if key.startswith("table4/small/negative_sampling/")
    }
    assert found["error_identification/small/gap"] == "0.021"
    assert found["run/items"] == "8"
    assert found["run/subtasks"] == "2"
    # What a table prints without a number has a key too.
    assert found["table3/small/baseline/difference"] == "--"


def test_counts_of_claims(built: Built) -> None:
    found = numbers.values(built, {"ours": {"supported": 3, "not tested": 12}})
    assert (found["claims/ours/supported"], found["claims/ours/not_tested"]) == ("3", "12")


def test_every_column_of_numbers_has_keys(played: Built) -> None:
    found = numbers.values(played)
    assert played.games is not None
    arms = played.games.table6.arms
    row = arms[arms["arm"] == "feedback_dpo"].iloc[0]
    head = f"table6/{row['learner']}/{row['environment']}/feedback_dpo"
    for name in arms.select_dtypes("number").columns.drop(["best", "trajectories"]):
        assert f"{head}/{name}" in found
    assert f"{head}/score_by_seed/0" in found


def test_every_number_of_the_plain_tables_has_a_key(built: Built, played: Built) -> None:
    """Each interval with its rate is that of one key with the ends, each other number a value."""
    for of in (built, played):
        found = numbers.values(of)
        cells = {
            (value, found.get(f"{key}_low"), found.get(f"{key}_high"))
            for key, value in found.items()
        }
        bare = {value for value, *_ in cells}
        for name, text in plain.build(of).items():
            bodies = "".join(re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL))
            number = r"\\num(?:\[[a-z-]*\])?\{([-<\d.]+)\}\}?"
            rate = rf"{number}\s*&\s*\[{number},\\,{number}\]"
            rates = re.findall(rate, bodies)
            assert set(rates) <= cells, name
            assert set(re.findall(number, re.sub(rate, "", bodies))) <= bare, name
            assert rates or name in ("table1", "table7")


def test_labels_become_parts_of_keys() -> None:
    labels = ("Best-of-k (/w Feedback)", "-", "Feedback SFT*", "Feedback SFT", None, "", 2)
    assert [numbers.slug(label) for label in labels] == [
        *("best-of-k_w_feedback", "plain", "feedback_sft_star", "feedback_sft"),
        *("none", "none", "2"),
    ]


def test_keys_that_collide_are_refused(built: Built) -> None:
    fields = {name: getattr(built, name) for name in built.__dataclass_fields__}
    twice = pd.concat([built.table2, built.table2])
    with pytest.raises(ValueError, match="two numbers of table2/small/explicit/n"):
        numbers.values(Built(**{**fields, "table2": twice}))


def prose(folder: Path, built: Built, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "numbers.tex").write_text(numbers.build(built), encoding="utf-8")
    (folder / "page.tex").write_text(
        "\\documentclass{article}\n\\usepackage{siunitx}\n\\input{numbers}\n"
        f"\\begin{{document}}\n{text}\n\\end{{document}}\n",
        encoding="utf-8",
    )
    return typeset(folder, "page", runs=1)


def test_prose_prints_the_numbers(tmp_path: Path, built: Built) -> None:
    needs_pdflatex()
    found = numbers.values(built)
    key = "table3/small/unconstrained"
    done = prose(
        tmp_path,
        built,
        rf"Plain \result{{{key}/score}} of \num{{\result{{{key}/n}}}}, "
        rf"as \resultnum{{{key}/score}}; with \resultci{{{key}/score}}; "
        r"none \resultci{table3/small/baseline/difference}.",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    score, low, high = (found[f"{key}/score{end}"] for end in ("", "_low", "_high"))
    text = said(tmp_path, "page")
    assert f"Plain {score} of 8, as {score}; with {score} [{low}, {high}]; none –." in text


def test_an_unknown_key_is_an_error_that_names_it(tmp_path: Path, built: Built) -> None:
    needs_pdflatex()
    for quoted in (r"\result{table3/x_1/score}", r"\num{\result{table3/x_1/score}}"):
        done = prose(tmp_path, built, quoted)
        assert done.returncode != 0
        log = (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
        assert "unknown key table3/x_1/score" in log.replace("\n", " ")
