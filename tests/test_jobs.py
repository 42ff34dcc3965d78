"""`python -m stages.jobs`: several cells at a time.

Covered: each cell after what it needs, for any graph; how many run at a time; one that asks a
server at a time; after a failure nothing new; what a job finds in its environment; a small pipeline
of our own, really run, after which dvc.lock says what `dvc repro` has it say; what is up to date
or comes out as before is left alone; targets; what dvc.lock does not have yet when the process is
killed comes from the run cache; DVC can be asked while a command runs. Not covered: GPUs, imports,
models large enough for the number of threads to matter.
"""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.repo import Repo
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import jobs
from stages.errors import UserError
from stages.jobs import Cell, Runner, run_all, surroundings
from stages.models.card import LocalCard, ServedCard, write_card


class Watch:
    """Stands in for DVC: notes when each cell begins and ends."""

    def __init__(self, failing: frozenset[str] = frozenset(), seconds: float = 0.0) -> None:
        self.failing, self.seconds = failing, seconds
        self.events: list[tuple[str, str]] = []
        self.places: set[int] = set()
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, name: str, place: int) -> bool:
        with self._lock:
            assert place not in self.places
            self.places.add(place)
            self.most = max(self.most, len(self.places))
            self.events.append(("begin", name))
        time.sleep(self.seconds)
        with self._lock:
            self.places.remove(place)
            self.events.append(("end", name))
        return name not in self.failing

    @property
    def begun(self) -> list[str]:
        return [name for event, name in self.events if event == "begin"]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Cell]:
    """Cells of which each needs some of those before it."""
    names = [f"cell{n}" for n in range(draw(st.integers(1, 12)))]
    return {
        name: Cell(draw(st.frozensets(st.sampled_from(names[:n])) if n else st.just(frozenset())))
        for n, name in enumerate(names)
    }


@settings(max_examples=60, deadline=None)
@given(cells=graphs(), at_a_time=st.integers(1, 4))
def test_each_after_what_it_needs(cells: dict[str, Cell], at_a_time: int) -> None:
    watch = Watch()
    run_all(cells, at_a_time, watch)
    assert sorted(watch.begun) == sorted(cells)
    assert watch.most <= at_a_time
    for name, cell in cells.items():
        begun = watch.events.index(("begin", name))
        assert all(watch.events.index(("end", other)) < begun for other in cell.needs)


@settings(max_examples=60, deadline=None)
@given(cells=graphs(), at_a_time=st.integers(1, 4), data=st.data())
def test_nothing_new_after_a_failure(
    cells: dict[str, Cell], at_a_time: int, data: st.DataObject
) -> None:
    bad = data.draw(st.sampled_from(sorted(cells)))
    watch = Watch(frozenset({bad}))
    with pytest.raises(UserError, match="a cell failed"):
        run_all(cells, at_a_time, watch)
    assert not {name for name, cell in cells.items() if bad in cell.needs} & set(watch.begun)
    assert watch.events.count(("end", bad)) == 1
    assert len(watch.events) == 2 * len(watch.begun)


def test_two_at_a_time() -> None:
    cells = {name: Cell(frozenset()) for name in "abcd"}
    watch = Watch(seconds=0.2)
    run_all(cells, 2, watch)
    assert watch.most == 2
    assert watch.begun[:2] == ["a", "b"]


def test_one_that_asks_a_server_at_a_time(tmp_path: Path) -> None:
    """The other place goes to a cell that asks nobody, though it stands behind."""
    models = []
    for name, card in (
        (
            "served",
            ServedCard(
                name="served",
                base_url="http://127.0.0.1:9/v1",
                env="OWN",
                needs_key=False,
                accept=None,
                token_limit="max_tokens",
                extra_sampling=False,
            ),
        ),
        ("local", LocalCard(engine="transformers", name="own", revision="0", adapter=False)),
    ):
        models.append(tmp_path / name)
        models[-1].mkdir()
        write_card(models[-1], card)
    served, local = models
    none: frozenset[str] = frozenset()
    cells = {
        "judge": Cell(none, (local, served)),
        "feedback": Cell(none, (served,)),
        "respond": Cell(none, (local,)),
        # Its model is made by a cell that has not run.
        "evaluate": Cell(frozenset({"respond"}), (tmp_path / "trained",)),
    }
    watch = Watch(seconds=0.2)
    run_all(cells, 3, watch)
    assert watch.begun.index("respond") < watch.begun.index("feedback")
    assert watch.events.index(("end", "judge")) < watch.events.index(("begin", "feedback"))
    assert len(watch.begun) == 4


PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize(
    ("environment", "at_a_time", "expected"),
    [
        ({}, 1, [{}]),
        ({}, 3, [PASSIVE] * 3),
        ({"OMP_NUM_THREADS": "6"}, 2, [PASSIVE] * 2),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, 2, [{}, {}]),
        (
            {"CUDA_VISIBLE_DEVICES": "4,7,9", "OMP_WAIT_POLICY": "ACTIVE"},
            *(2, [{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7"}]),
        ),
        ({"CUDA_VISIBLE_DEVICES": "4"}, 2, [PASSIVE] * 2),
        ({"CUDA_VISIBLE_DEVICES": ""}, 1, [{}]),
    ],
)
def test_surroundings(
    environment: Mapping[str, str], at_a_time: int, expected: list[dict[str, str]]
) -> None:
    # Not the number of threads: what a model computes depends on it.
    assert surroundings(environment, at_a_time) == [jobs.MALLOC | own for own in expected]


def test_surroundings_that_are_given_stay() -> None:
    name = "MALLOC_TRIM_THRESHOLD_"
    assert name in jobs.MALLOC
    assert all(name not in own for own in surroundings({name: "0"}, 2))


# With DVC.

JOIN = "import pathlib, sys; print(sys.argv[1:]); texts = [pathlib.Path(p).read_text() for p in"
JOIN += " sys.argv[2:]]; pathlib.Path(sys.argv[1]).write_text(''.join(texts) + sys.argv[1])"


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Two cells out of one file, and a third out of both."""
    (tmp_path / "join.py").write_text(JOIN, encoding="utf-8")
    (tmp_path / "start").write_text("start", encoding="utf-8")

    def stage(out: str, *deps: str) -> dict[str, object]:
        cmd = " ".join([sys.executable, "join.py", out, *deps])
        return {"cmd": cmd, "deps": list(deps), "outs": [out]}

    stages = {"end": stage("c", "a", "b"), "one": stage("a", "start"), "two": stage("b", "start")}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    return tmp_path


def go(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; "
         "runpy.run_module('stages.jobs', run_name='__main__', alter_sys=True)", *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_pipeline_is_run_once(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipeline)
    assert list(jobs.outdated(Repo())) == ["one", "two", "end"]
    done = go(pipeline, "--jobs", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Running stage") == 3
    assert (pipeline / "c").read_text(encoding="utf-8") == "startastartbc"
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=pipeline, check=True, capture_output=True
    )
    assert b"up to date" in status.stdout
    assert jobs.outdated(Repo()) == {}
    assert go(pipeline, "--jobs", "2").stdout == ""
    (pipeline / "b").write_text("broken", encoding="utf-8")
    assert jobs.outdated(Repo()) == {
        "two": Cell(frozenset(), (pipeline / "start",)),
        "end": Cell(frozenset({"two"}), (pipeline / "a", pipeline / "b")),
    }


def test_the_lock_says_what_that_of_dvc_says(pipeline: Path, tmp_path: Path) -> None:
    """Also with several commands, an output that DVC does not keep, and a metric."""
    text = (pipeline / "dvc.yaml").read_text(encoding="utf-8")
    stages = yaml.safe_load(text)["stages"]
    stages["end"]["cmd"] = [f"echo first{' ' * 3}> d", stages["end"]["cmd"]]
    stages["end"]["outs"] = ["c", {"d": {"cache": False}}]
    stages["one"]["metrics"] = [{"m.json": {"cache": False}}]
    stages["one"]["cmd"] += " && echo '{\"n\": 1}' > m.json"
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    other = tmp_path / "other"
    shutil.copytree(pipeline, other, ignore=shutil.ignore_patterns("other"))
    assert go(pipeline, "--jobs", "2").returncode == 0
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=other, check=True)
    here, there = (yaml.safe_load((at / "dvc.lock").read_text()) for at in (pipeline, other))
    assert here == there
    assert set(here["stages"]) == {"one", "two", "end"}
    ignored = [sorted((at / ".gitignore").read_text().split()) for at in (pipeline, other)]
    assert ignored[0] == ignored[1]


def test_what_comes_out_as_before_ends_it(pipeline: Path) -> None:
    assert go(pipeline, "--jobs", "2").returncode == 0
    (pipeline / "join.py").write_text(JOIN + " # the same", encoding="utf-8")
    text = (pipeline / "dvc.yaml").read_text(encoding="utf-8")
    stages = yaml.safe_load(text)["stages"]
    stages["one"]["deps"].append("join.py")
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    done = go(pipeline, "--jobs", "2")
    assert (done.returncode, done.stdout.count("Running stage")) == (0, 1)
    assert "Running stage 'one'" in done.stdout


def test_a_kill_costs_no_cell(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that ended and are not in dvc.lock yet."""
    monkeypatch.chdir(pipeline)
    monkeypatch.setattr(jobs, "WRITING", 1e-9)
    runner = Runner(Repo(), [{}])
    assert all(runner(name, 0) for name in ("one", "two", "end"))
    assert list(jobs.outdated(Repo())) == ["two", "end"]  # the first is written at once
    done = go(pipeline, "--jobs", "1")
    assert done.returncode == 0
    assert done.stdout.count("is cached - skipping run") == 2
    assert "Running" not in done.stdout
    assert jobs.outdated(Repo()) == {}


def test_the_lock_is_written_at_the_end(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipeline)
    monkeypatch.setattr(jobs, "WRITING", 1e-9)
    runner = Runner(Repo(), [{}])
    assert all(runner(name, 0) for name in ("one", "two", "end"))
    runner.close()
    assert jobs.outdated(Repo()) == {}


def test_dvc_can_be_asked_while_a_command_runs(pipeline: Path) -> None:
    """About a cell that is not at work; what is being written DVC guards by itself."""
    text = (pipeline / "dvc.yaml").read_text(encoding="utf-8")
    stages = yaml.safe_load(text)["stages"]
    for name in ("one", "two"):
        stages[name]["cmd"] += f" && {sys.executable} -m dvc status alone"
    stages["alone"] = {"cmd": "echo > alone", "outs": ["alone"]}
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    done = go(pipeline, "--jobs", "2", "end")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("changed outs") == 2


def test_targets_with_what_they_need(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipeline)
    assert list(jobs.outdated(Repo(), ["two"])) == ["two"]
    assert list(jobs.outdated(Repo(), ["end", "two"])) == ["one", "two", "end"]
    assert go(pipeline, "--jobs", "2", "one").stdout.count("Running stage") == 1
    assert list(jobs.outdated(Repo(), ["one", "two"])) == ["two"]
    done = go(pipeline, "--jobs", "2", "three")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and "three" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_failure_ends_with_one_line(pipeline: Path) -> None:
    (pipeline / "join.py").write_text("raise SystemExit('no paper')", encoding="utf-8")
    done = go(pipeline, "--jobs", "1")
    assert done.returncode == 1
    assert done.stderr == f"error: {jobs.FAILED}\n"
    assert done.stdout.count("Running stage") == 1
    assert "no paper" in done.stdout
    assert "ERROR: " in done.stdout and "non-zero exit status 1" in done.stdout
    assert not (pipeline / "dvc.lock").exists()


def test_what_ended_before_a_failure_is_kept(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (pipeline / "dvc.yaml").read_text(encoding="utf-8")
    stages = yaml.safe_load(text)["stages"]
    stages["two"]["cmd"] = "touch b && exit 3"
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    assert go(pipeline, "--jobs", "1").returncode == 1
    monkeypatch.chdir(pipeline)
    assert list(jobs.outdated(Repo())) == ["two", "end"]


def test_an_output_that_was_not_written_is_a_failure(pipeline: Path) -> None:
    text = (pipeline / "dvc.yaml").read_text(encoding="utf-8")
    (pipeline / "dvc.yaml").write_text(text.replace("- b\n", "- bb\n"), encoding="utf-8")
    done = go(pipeline, "--jobs", "2")
    assert done.returncode == 1
    assert "'bb' does not exist" in done.stdout


def test_mistakes(pipeline: Path) -> None:
    done = go(pipeline, "--jobs", "0")
    assert (done.returncode, done.stderr) == (1, "error: --jobs: at least 1, not 0\n")
