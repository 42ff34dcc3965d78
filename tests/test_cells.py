"""The cells that the report walks are those of dvc.yaml, at every scale.

Covered: trajectories (on test and train items, in other words), feedback and run facts, against the
outputs that DVC resolves. Not covered: what is in the files (test_facts.py, test_explorer.py).
"""

import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from dvc.repo import Repo

from stages.reporting.cells import Declared
from stages.reporting.explorer_cells import suites_of
from stages.reporting.settings import read_settings

STEPS = (
    *("respond", "answer", "revise", "sample", "evaluate", "forget"),
    *("revise_tuned", "revise/teachers", "respond_train", "revise_train", "answer_train"),
    *("revise_following", "revise_teacher"),
    *("paraphrased/respond", "paraphrased/revise", "paraphrased/retry"),
)


def outputs(tmp_path: Path, scale: str) -> set[str]:
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / "scales" / f"{scale}.yaml", tmp_path / "params.yaml")
    (tmp_path / ".dvc").mkdir()
    repo = Repo(str(tmp_path), uninitialized=True)
    return {out.def_path for stage in repo.index.stages for out in stage.outs}


def declared(scale: str) -> Declared:
    return read_settings(ROOT / "scales" / f"{scale}.yaml").declared()


@pytest.mark.parametrize("scale", ["laptop", "paper", "open", "tiny"])
def test_cells_are_those_of_the_pipeline(scale: str, tmp_path: Path) -> None:
    every, cells = outputs(tmp_path, scale), declared(scale)
    facts = [f"data/facts/{c.step}/{c.suite}/{c.name}.json" for c in cells.facts()]
    assert len(set(facts)) == len(facts)
    graded = {path for path in every if path.startswith("data/facts/score/")}
    assert set(facts) == {path for path in every if path.startswith("data/facts/")} - graded
    found = {
        f"data/{c.step}/{c.suite}/{c.name}.jsonl"
        for step in STEPS
        for c in cells.trajectories(step)
    }
    folders = tuple(f"data/{step}/" for step in STEPS)
    assert found == {path for path in every if path.startswith(folders)}
    found = {
        f"data/{c.step}/{c.suite}/{c.name}.jsonl"
        for suite in cells.suites
        for c in cells.feedback(suite)
    }
    own = ("data/feedback/bbh/", "data/feedback/games/")
    assert found == {path for path in every if path.startswith(own)}


@pytest.mark.parametrize("scale", ["laptop", "paper", "open", "tiny"])
def test_the_explorer_reads_what_the_pipeline_writes(scale: str, tmp_path: Path) -> None:
    every, pattern = outputs(tmp_path, scale), "data/{step}/{suite}/{cell}.jsonl"
    suites = suites_of(declared(scale), pattern, Path("data/tasks"), Path("data/score"))
    for suite in suites:
        for cell in suite.cells:
            for path in (suite.items, cell.trajectories, cell.scores, cell.feedback):
                assert path is None or str(path) in every, path
        assert suite.selections is None or str(suite.selections) in every


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(KeyError):
        list(declared("tiny").trajectories("judge"))
