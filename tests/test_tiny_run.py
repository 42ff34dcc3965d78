"""The whole `tiny` graph, really run, in a temporary clone with a scripted teacher.

Covered: every cell runs and Table 3 comes out; a second run runs nothing; a touched prompt, a
changed parameter and an added student rerun exactly their own cells (promise 1); the same bytes
whatever the concurrency and the order of answers (promise 4); no call paid twice, a full log needs
no server (promise 5); each cell opens what it declares and nothing else (promise 2); `dvc exp run
-S`, `exp show` and queued runs. Not covered: real weights, a GPU.
The tests of this file build on each other, in order.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clone import Clone, ran
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from scripted_teacher import ScriptedTeacher

pytestmark = pytest.mark.slow

ITEMS = 6  # 2 of each of 3 subtasks
# What hangs on the unconstrained condition. DVC stops where a cell gives the same bytes as before,
# and noise is often scored alike: the first two always run, the others if there is something new.
OWN = {"feedback@bbh-unconstrained-tiny-0", "revise@bbh-unconstrained-tiny-0"}
DOWNSTREAM = {"score_revise@bbh", "report"}


def digests(root: Path) -> dict[str, str]:
    """Return what every output is, but for the run facts, whose times vary."""
    paths = [*(root / "data").rglob("*.jsonl"), *(root / "reports").rglob("*.*")]
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


@pytest.fixture(scope="module")
def teacher() -> Iterator[ScriptedTeacher]:
    # Answers come out of order, by up to a fifth of a second.
    with ScriptedTeacher(spread=0.2) as teacher:
        yield teacher


@pytest.fixture(scope="module")
def clone(teacher: ScriptedTeacher, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("clone"), SCRIPTED_BASE_URL=teacher.url)
    shutil.copy(clone.root / "scales" / "tiny.yaml", clone.root / "params.yaml")
    clone.commit("Tiny scale")
    return clone


def undeclared(root: Path, log: Path) -> tuple[set[str], set[str]]:
    """Return what cells opened without declaring it, and what they declared but did not open.

    Code is left out of the second: an engine that is not this model's is declared, not opened.
    """
    opened: dict[str, set[Path]] = {}
    for line in log.read_text().splitlines():
        cell, mode, name = line.split("\t")
        path = Path(name)
        if mode == "r" and path.is_relative_to(root):
            opened.setdefault(cell, set()).add(path.relative_to(root))
    extra, unread = set(), set()
    for stage in Repo(str(root)).index.stages:
        deps = {Path(d.def_path) for d in stage.deps if not isinstance(d, ParamsDependency)}
        mine = opened[str(stage.name)]
        allowed = {*deps, *(Path(out.def_path) for out in stage.outs), Path("params.yaml")}
        for path in mine:
            if "__pycache__" in path.parts:
                path = path.parent.parent / f"{path.name.split('.')[0]}.py"
            # Empty package modules, the git folder (the call log) and what is half-written are
            # nobody's dependency.
            ours = path.name == "__init__.py" or any(part.endswith(".tmp") for part in path.parts)
            known = any(path.is_relative_to(dep) for dep in allowed)
            if not (ours or known or path.parts[0] == ".git"):
                extra.add(f"{stage.name}: {path}")
        for dep in deps:
            if dep.parts[0] != "stages" and not any(path.is_relative_to(dep) for path in mine):
                unread.add(f"{stage.name}: {dep}")
    return extra, unread


def test_everything_runs_once(clone: Clone, teacher: ScriptedTeacher, tmp_path: Path) -> None:
    audit = {
        "PYTHONPATH": str(Path(__file__).with_name("audit")),
        "AUDIT_LOG": str(tmp_path / "log"),
    }
    cells = clone.repro(**audit)
    extra, unread = undeclared(clone.root, tmp_path / "log")
    assert extra == set()
    # The generated families need no raw files; those of the other sources do.
    assert unread == {"prepare@bbh: data/raw/bbh"}
    listed = set(clone.run("dvc", "stage", "list", "--name-only").split())
    assert cells == listed
    assert len(cells) <= 40
    # The teacher's own answers, and feedback under two conditions.
    assert len(teacher.requests) == 3 * ITEMS
    table = (clone.root / "reports" / "tables" / "table3.tex").read_text()
    for label in ("Baseline", "Unconstrained", "Teacher Answer", "Lazy"):
        assert label in table
    headline = json.loads((clone.root / "reports" / "metrics.json").read_text())
    assert "tiny" in headline["table3"]
    clone.commit("Results")


def test_a_second_run_runs_nothing(clone: Clone, teacher: ScriptedTeacher) -> None:
    before = digests(clone.root)
    # Neither a dead server, nor concurrency, nor a mirror makes anything stale.
    other = {"SCRIPTED_BASE_URL": "http://127.0.0.1:9/v1", "SCRIPTED_CONCURRENCY": "3"}
    assert clone.repro(**other, DATA_MIRROR="nowhere", CALL_LOG="elsewhere") == set()
    assert digests(clone.root) == before
    dry = clone.run("dvc", "repro", "--allow-missing", "--dry")
    assert "Running stage" not in dry


def test_same_bytes_whatever_the_order(clone: Clone, teacher: ScriptedTeacher) -> None:
    """All is made anew: a new call log, so each call is asked again, one at a time."""
    before = digests(clone.root)
    requests = len(teacher.requests)
    teacher.spread = 0
    log = clone.root / ".git" / "second.jsonl"
    cells = clone.repro("--force", "--no-run-cache", CALL_LOG=str(log), SCRIPTED_CONCURRENCY="1")
    assert cells
    assert len(teacher.requests) == requests + 3 * ITEMS
    assert digests(clone.root) == before


def test_a_full_log_needs_no_server(clone: Clone, teacher: ScriptedTeacher) -> None:
    before = digests(clone.root)
    requests = len(teacher.requests)
    cells = clone.repro("--force", "--no-run-cache", "feedback@bbh-unconstrained-tiny-0")
    assert "feedback@bbh-unconstrained-tiny-0" in cells
    assert len(teacher.requests) == requests
    assert digests(clone.root) == before


def test_the_tracked_answers_replay_without_the_server(
    clone: Clone, teacher: ScriptedTeacher
) -> None:
    """What `dvc pull` brings is enough: a new log out of data/calls makes no request."""
    before, requests = digests(clone.root), len(teacher.requests)
    calls = clone.root / "data" / "calls"
    lines = {
        path.relative_to(calls).parts[0]: len(path.read_text().splitlines())
        for path in calls.rglob("*.jsonl")
    }
    # The student runs here; only the teacher is behind a server.
    assert lines == {"respond": 0, "answer": ITEMS, "feedback": ITEMS, "revise": 0}
    log = str(clone.root / ".git" / "third.jsonl")
    clone.run("python", "-m", "stages.calls", "import", "data/calls", "--log", log)
    cells = ["answer", *(cell for cell in sorted(OWN) if cell.startswith("feedback"))]
    assert set(clone.repro("--force", "--no-run-cache", *cells, CALL_LOG=log)) > set(cells[1:])
    assert len(teacher.requests) == requests
    assert digests(clone.root) == before


def test_a_touched_prompt_reruns_its_cells(clone: Clone, teacher: ScriptedTeacher) -> None:
    requests = len(teacher.requests)
    clone.edit("prompts/feedback/unconstrained.jinja", "Give the student feedback", "Comment")
    assert OWN <= clone.repro() <= OWN | DOWNSTREAM
    assert len(teacher.requests) == requests + ITEMS
    clone.edit("prompts/feedback/unconstrained.jinja", "Comment", "Give the student feedback")
    # What was computed once is taken from the run cache: nothing is asked again.
    clone.repro()
    assert len(teacher.requests) == requests + ITEMS


def test_a_changed_regex_generates_nothing(clone: Clone, teacher: ScriptedTeacher) -> None:
    requests = len(teacher.requests)
    text = (clone.root / "stages" / "tasks" / "extraction.yaml").read_text()
    (clone.root / "stages" / "tasks" / "extraction.yaml").write_text(text + "\n# touched\n")
    cells = clone.repro()
    assert cells == {"score_respond@bbh", "score_answer@bbh", "score_revise@bbh"}
    assert len(teacher.requests) == requests
    (clone.root / "stages" / "tasks" / "extraction.yaml").write_text(text)
    clone.repro()


def test_an_added_student_runs_its_own_cells(clone: Clone, teacher: ScriptedTeacher) -> None:
    before = (clone.root / "params.yaml").read_text()
    clone.edit("params.yaml", "models:\n", "models:\n  other:\n    engine: transformers\n"
               "    source: {kind: tiny, seed: 1}\n")  # fmt: skip
    clone.edit("params.yaml", "students:\n", "students:\n  other:\n    system: null\n    sampling: "
               "{temperature: 0.7, top_p: 0.8, top_k: 20, repetition_penalty: 1.05, "
               "max_new_tokens: 8}\n")  # fmt: skip
    cells = clone.repro()
    assert {cell for cell in cells if "other" not in cell} == {
        "score_respond@bbh",
        "score_revise@bbh",
        "report",
    }
    assert "fetch@other" in cells
    assert "revise@bbh-lazy-other-0" in cells
    assert not any("-tiny-" in cell for cell in cells)
    (clone.root / "params.yaml").write_text(before)
    clone.repro()
    clone.run("git", "checkout", "-q", "--", ".")
    assert not clone.run("git", "status", "--porcelain").strip()


def test_experiments(clone: Clone, teacher: ScriptedTeacher) -> None:
    params = (clone.root / "params.yaml").read_text()
    requests = len(teacher.requests)
    output = clone.run(
        "dvc", "exp", "run", "--name", "longer", "-S", "conditions.unconstrained.sentences=5"
    )
    assert OWN <= ran(output) <= OWN | DOWNSTREAM
    assert len(teacher.requests) == requests + ITEMS
    changed = (clone.root / "params.yaml").read_text()
    comments = [line for line in params.splitlines() if line.startswith("#")]
    assert comments
    assert all(comment in changed for comment in comments)
    shown = clone.run("dvc", "exp", "show", "--csv")
    assert "longer" in shown
    assert "table3.tiny.baseline" in shown
    clone.run("git", "checkout", "-q", "--", ".")
    clone.run("dvc", "checkout", "-q")

    # Queued runs work in a temporary copy, on the same call log.
    requests = len(teacher.requests)
    for name, sentences in (("again", 5), ("shorter", 1)):
        clone.run(
            "dvc", "exp", "run", "--queue", "--name", name,
            "-S", f"conditions.unconstrained.sentences={sentences}",
        )  # fmt: skip
    clone.run("dvc", "queue", "start")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        status = clone.run("dvc", "queue", "status")
        if status.count("Success") == 2 or "Failed" in status:
            break
        time.sleep(2)
    logs = {name: clone.run("dvc", "queue", "logs", name) for name in ("again", "shorter")}
    assert status.count("Success") == 2, status + "".join(logs.values())
    assert OWN <= ran(logs["shorter"]) <= OWN | DOWNSTREAM
    # The run named `again` asks what `longer` asked: nothing is paid twice.
    assert len(teacher.requests) == requests + ITEMS
    clone.run("dvc", "queue", "stop")
