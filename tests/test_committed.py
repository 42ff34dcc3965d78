"""What is committed fits together: lock and code, reports and README.

Covered: `dvc repro --allow-missing --dry` would run nothing on a fresh copy; README's figures are
those of the committed table, its tree and commands are there. Not covered: whether a rerun gives
the same figures on another machine.
"""

import csv
import re
import shutil
from pathlib import Path

import pytest
from clone import Clone
from conftest import ROOT, copy_checkout

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_lock_agrees_with_code_and_params(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    for name in ("dvc.lock", "reports"):
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, clone.root / name)
    output = clone.run("dvc", "repro", "--allow-missing", "--dry")
    assert "Running stage" not in output
    assert "up to date" in output
    # It can fail: DVC goes to run the changed cell, whose inputs are not there.
    clone.edit("scales/laptop.yaml", "top_k: 20", "top_k: 21")
    shutil.copy(clone.root / "scales" / "laptop.yaml", clone.root / "params.yaml")
    with pytest.raises(pytest.fail.Exception, match="failed to reproduce 'respond@"):
        clone.run("dvc", "repro", "--allow-missing", "--dry")


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of README's result table, without its two head lines."""
    table = re.search(r"(?:^\|.*\n)+", text[text.index("## Result") :], flags=re.MULTILINE)
    assert table is not None
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_readme_shows_the_committed_figures() -> None:
    with (ROOT / "reports" / "tables" / "table3.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["items"] == "all"]
    expected = []
    for row in rows:
        name = row["condition_label"] + (" †" if row["sees_target"] == "True" else "")
        difference = "-"
        if row["difference"]:
            parts = [float(row[f"difference{end}"]) for end in ("", "_low", "_high")]
            difference = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*parts)
        figures = [f"{float(row[column]):.2f}" for column in ("match_rate", "score")]
        matched = f"{float(row['correct_if_matched']):.2f}"
        expected.append([name, *figures, matched, difference, row["score_paper"]])
    assert rows_of(README) == expected


def test_readme_names_what_is_there() -> None:
    for name in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / name).exists(), name
    tree = README[README.index("## Tree") :].split("```")[1]
    for line in filter(str.strip, tree.splitlines()):
        name = line.split()[0]
        folder = ROOT / "stages" if line.startswith(" ") else ROOT
        assert (folder / name).exists(), name
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE)) <= targets


def test_the_copy_is_whole(tmp_path: Path) -> None:
    copy = copy_checkout(tmp_path)
    for name in ("dvc.yaml", "params.yaml", "Makefile", ".ci/run", "data/paper/table3.csv"):
        assert (copy / name).is_file(), name


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
