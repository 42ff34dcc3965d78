"""The whole `tiny` graph, really run, in a temporary clone with a scripted teacher.

Covered: every cell runs and the tables come out; a second run runs nothing; a touched prompt, a
changed parameter, two more candidates and an added student rerun exactly their own cells (promise
1); the same bytes
whatever the concurrency and the order of answers (promise 4); no call paid twice, a full log needs
no server (promise 5); each cell opens what it declares and nothing else (promise 2); `dvc exp run
-S`, `exp show`, queued runs, the comparison with an experiment. Not covered: real weights, a GPU.
The tests of this file build on each other, in order.
"""

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from clone import Clone, ran
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from scripted_teacher import ScriptedTeacher

pytestmark = pytest.mark.slow

ITEMS, TRAIN = 6, 3  # 2 and 1 of each of 3 subtasks
# Two games of Hi-Lo and two of Nash on either side. The teacher is greedy, says the same to
# the same words, and never a number, so that its two games of seven turns are one.
GAMES, FEW, HILO, NASH = 4, 2, 7, 2
# What the teacher is asked: its own answers, two conditions, one verdict, two pools to choose from.
# On the train items its answers, and for each of two iterations verdicts and cleaning; nobody is
# asked for Lazy feedback, which the questions' lessons have. Feedback tuning: feedback, retries,
# feedback on what the tuned one says.
CARDS = 8
CALLS = {
    "answer": ITEMS + HILO + NASH,
    "feedback": 2 * ITEMS + GAMES,
    "judge": ITEMS + GAMES,
    "paraphrased": 2 * 3,  # the first of each subtask
    # Feedback; and the teacher describes each card, and guesses each of its five descriptions.
    "figure1": 2 * CARDS + 5,
    "select": 2 * ITEMS,
    "answer_train": TRAIN + HILO + NASH,
    "judge_train": 2 * (TRAIN + GAMES),
    "feedback_train": 2 * GAMES,
    "clean": 2 * (TRAIN + 2 * HILO + NASH),
    "feedback_following": TRAIN + FEW,
    "revise_teacher": TRAIN + HILO + 1,
    "feedback_tuned": ITEMS,
}
# What prints run facts.
TIMED = (
    "index.html",
    *(f"tables/{n}.{kind}" for n in ("facts", "points") for kind in ("csv", "tex")),
)
# The student runs here; only the teacher is behind a server.
FREE = (
    *("respond", "revise", "sample", "respond_train", "revise_train"),
    *("revise_following", "evaluate", "forget", "revise_tuned"),
)
# What is made anew to see that it gives the same bytes, beside all that asks the teacher.
COMPUTED = (
    *("prepare", "prepare_games", "respond", "respond_games", "sample", "revise"),
    *("select_logits", "select_student", "borrow", "pairs", "train_sft", "train_dpo"),
    *("evaluate_games", "score_evaluate", "leak", "floors", "report"),
)
# What hangs on the condition Teacher Answer. DVC stops where a cell gives the same bytes as before,
# and noise is often scored alike: the first two always run, the others if there is something new.
FEEDBACK = "feedback_compared@bbh-teacher_answer-tiny-0"
OWN = {FEEDBACK, "revise@bbh-teacher_answer-tiny-0"}
DOWNSTREAM = {"leak@bbh", "score_revise@bbh", "report"}
# The scores of what was asked in other words.
OTHER_WORDS = {
    "score_respond_paraphrased@bbh-p1",
    "score_revise_paraphrased@bbh-p1-unconstrained",
    "score_revise_paraphrased@bbh-p1-lazy",
    "score_revise_retry_paraphrased@bbh-p1",
}


def digests(root: Path) -> dict[str, str]:
    """Return what every output is, but for the run facts and what prints them: times vary."""
    timed = {root / "reports" / name for name in TIMED}
    paths = [
        *(root / "data").rglob("*.jsonl"),
        *(root / "models").rglob("*.safetensors"),
        *(path for path in (root / "reports").rglob("*.*") if path not in timed),
    ]
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


def asked(clone: Clone) -> set[str]:
    """Return the keys of all requests whose answers are tracked."""
    paths = (clone.root / "data" / "calls").rglob("*.jsonl")
    return {json.loads(line)["key"] for path in paths for line in path.read_text().splitlines()}


def test_everything_runs_once(clone: Clone, teacher: ScriptedTeacher, tmp_path: Path) -> None:
    audit = {
        "PYTHONPATH": str(Path(__file__).with_name("audit")),
        "AUDIT_LOG": str(tmp_path / "log"),
    }
    cells = clone.repro(**audit)
    extra, unread = undeclared(clone.root, tmp_path / "log")
    assert extra == set()
    # The generated families need no raw files, those of the other sources do; whole weights need no
    # base, an adapter does; Lazy feedback asks nobody, another condition would.
    assert {line.split("@")[0] + ":" + line.split(":")[1] for line in unread} == {
        "prepare: data/raw/bbh",
        "prepare_games: data/raw/games",
        *(
            f"{stage}: models/{model}"
            for stage, model in (
                ("evaluate", "tiny"),
                ("evaluate", "tiny-bbh-feedback_sft_cleaned-0"),
                ("evaluate_games", "tiny"),
                ("evaluate_games", "tiny-bbh-feedback_sft_cleaned-0"),
                ("evaluate_forget", "tiny"),
                ("evaluate_forget", "tiny-bbh-feedback_sft_cleaned-0"),
                ("evaluate_forget_games", "tiny"),
                ("evaluate_forget_games", "tiny-bbh-feedback_sft_cleaned-0"),
                ("evaluate_following", "tiny"),
                ("revise_tuned", "tiny"),
                ("feedback_train", "scripted"),
            )
        ),
    }
    listed = set(clone.run("dvc", "stage", "list", "--name-only").split())
    assert cells == listed
    assert len(cells) <= 145
    # Nothing is asked twice: what one stage asks as another did comes out of the call log.
    assert len(teacher.requests) == len(asked(clone)) <= sum(CALLS.values())
    for name, labels in (
        ("table2", ("Explicit",)),
        ("table3", ("Baseline", "Unconstrained", "Teacher Answer", "Lazy")),
        ("table4", ("Error Identification", "Student Logits", "Teacher Choice", "DPO + Feedback")),
        ("controls", ("Another Item", "Praise", "Self Feedback", "Majority vote")),
        ("transitions", ("Another Item", "paper, 7B")),
        ("table5", ("Baseline", "Feedback DPO", "Feedback SFT*")),
        ("table6", ("Teacher", "Baseline", "HILO", "NEG")),
        ("table7", ("Hi-Lo", "Nash")),
        ("table8", ("Scripted", "Tiny")),
        ("games_retry", ("HILO", "NEG")),
        ("forgetting", ("Feedback DPO",)),
        ("figure3", ("learning", "warmup")),
    ):
        beside = "_beside" if name.startswith("table") else ""
        table = (clone.root / "reports" / "tables" / f"{name}{beside}.tex").read_text()
        assert [label for label in labels if label not in table] == []
    third = (clone.root / "reports" / "tables" / "table3.tex").read_text()
    assert "Praise" not in third  # a control is not in the paper's own table
    assert (clone.root / "reports" / "figures" / "best_of_k.pdf").is_file()
    headline = json.loads((clone.root / "reports" / "metrics.json").read_text())
    assert {"unconstrained", "feedback_sft_cleaned"} <= set(headline["tiny"]["gain"])
    clone.run("dvc", "plots", "show", "-o", str(tmp_path / "plots"))
    plots = (tmp_path / "plots" / "index.html").read_text()
    assert "feedback_dpo" in plots
    assert "rewards/margins" in plots
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
    """What is asked is asked again, one at a time, into a new call log; what is computed, anew."""
    before = digests(clone.root)
    requests = len(teacher.requests)
    teacher.spread = 0
    stages = {str(stage.name): stage for stage in Repo(str(clone.root)).index.stages}
    answers = {
        Path(out.def_path): name
        for name, stage in stages.items()
        for out in stage.outs
        if out.def_path.startswith("data/calls/") and Path(out.fs_path).stat().st_size
    }
    assert {path.parts[2] for path in answers} == set(CALLS)
    again = set(answers.values())
    # The first cell of each kind: the others differ from it in their inputs.
    again |= {min(name for name in stages if name.split("@")[0] == kind) for kind in COMPUTED}
    log = clone.root / ".git" / "second.jsonl"
    flags = ("--force", "--single-item", "--no-run-cache", *sorted(again))
    cells = clone.repro(*flags, CALL_LOG=str(log), SCRIPTED_CONCURRENCY="1")
    assert cells == again
    assert len(teacher.requests) == requests + len(asked(clone))
    assert digests(clone.root) == before


def test_a_full_log_needs_no_server(clone: Clone, teacher: ScriptedTeacher) -> None:
    before = digests(clone.root)
    requests = len(teacher.requests)
    cells = clone.repro("--force", "--no-run-cache", FEEDBACK)
    assert FEEDBACK in cells
    assert len(teacher.requests) == requests
    assert digests(clone.root) == before


def test_the_tracked_answers_replay_without_the_server(
    clone: Clone, teacher: ScriptedTeacher
) -> None:
    """What `dvc pull` brings is enough: a new log out of data/calls makes no request."""
    before, requests = digests(clone.root), len(teacher.requests)
    calls = clone.root / "data" / "calls"
    lines: Counter[str] = Counter()
    for path in calls.rglob("*.jsonl"):
        lines[path.relative_to(calls).parts[0]] += len(path.read_text().splitlines())
    # A retry without a text is not cleaned.
    assert 0 < lines.pop("clean") <= CALLS["clean"]
    assert lines == dict.fromkeys(FREE, 0) | {k: n for k, n in CALLS.items() if k != "clean"}
    log = str(clone.root / ".git" / "third.jsonl")
    clone.run("python", "-m", "stages.calls", "import", "data/calls", "--log", log)
    again = clone.repro("--force", "--no-run-cache", "answer", "judge", FEEDBACK, CALL_LOG=log)
    assert {"answer@bbh-scripted", "judge@bbh-explicit-tiny-0", FEEDBACK} <= again
    assert len(teacher.requests) == requests
    assert digests(clone.root) == before


def test_a_touched_prompt_reruns_its_cells(clone: Clone, teacher: ScriptedTeacher) -> None:
    requests = len(teacher.requests)
    clone.edit("prompts/feedback/teacher_answer.jinja", "Give the student feedback", "Comment")
    assert OWN <= clone.repro() <= OWN | DOWNSTREAM
    assert len(teacher.requests) == requests + ITEMS
    clone.edit("prompts/feedback/teacher_answer.jinja", "Comment", "Give the student feedback")
    # What was computed once is taken from the run cache: nothing is asked again.
    clone.repro()
    assert len(teacher.requests) == requests + ITEMS


def test_a_changed_regex_generates_nothing(clone: Clone, teacher: ScriptedTeacher) -> None:
    requests = len(teacher.requests)
    text = (clone.root / "stages" / "tasks" / "extraction.yaml").read_text()
    (clone.root / "stages" / "tasks" / "extraction.yaml").write_text(text + "\n# touched\n")
    cells = clone.repro()
    # Which answers are right decides whose feedback is borrowed, so that is paired anew.
    steps = (
        "respond",
        "answer",
        "revise",
        "sample",
        "select",
        "evaluate",
        "revise_tuned",
        "forget",
    )
    scores = {f"score_{step}@bbh" for step in (*steps, "lessons")} | OTHER_WORDS
    scores |= {"score_following@bbh-tiny"}
    # Negative sampling goes by what is right, so pairs are made anew; they are the same.
    pairs = {cell for cell in cells if cell.startswith("pairs@")}
    assert len(pairs) == 4
    assert cells == scores | pairs | {
        *("leak@bbh", "fidelity@bbh", "borrow@bbh-another_item-tiny-0"),
    }
    assert len(teacher.requests) == requests
    (clone.root / "stages" / "tasks" / "extraction.yaml").write_text(text)
    clone.repro()


def test_more_candidates_generate_only_the_new_ones(clone: Clone, teacher: ScriptedTeacher) -> None:
    requests = len(teacher.requests)
    clone.edit("params.yaml", "draws: [0, 1]", "draws: [0, 1, 2, 3]")
    new = {f"{pool}@bbh-tiny-0-{n}" for pool in ("sample", "sample_conditioned") for n in (2, 3)}
    chosen = {
        f"select_{by}@bbh-{pool}-tiny-0"
        for by in ("logits", "student", "teacher")
        for pool in ("alone", "conditioned")
    }
    cells = clone.repro()
    assert cells == new | chosen | {"score_sample@bbh", "score_select@bbh", "report"}
    assert len(teacher.requests) == requests + 2 * ITEMS
    curve = (clone.root / "reports" / "tables" / "best_of_k.csv").read_text()
    assert "oracle,4," in curve
    clone.run("git", "checkout", "-q", "--", ".")
    clone.repro()


def test_an_added_student_runs_its_own_cells(clone: Clone, teacher: ScriptedTeacher) -> None:
    before = (clone.root / "params.yaml").read_text()
    clone.edit("params.yaml", "models:\n", "models:\n  other:\n    engine: transformers\n"
               "    source: {kind: tiny, seed: 1}\n")  # fmt: skip
    clone.edit("params.yaml", "students:\n", "students:\n  other:\n    system: null\n    sampling: "
               "{temperature: 0.7, top_p: 0.8, top_k: 20, repetition_penalty: 1.05, "
               "max_new_tokens: 8}\n")  # fmt: skip
    clone.edit("params.yaml", "  students: [tiny]", "  students: [tiny, other]")
    cells = clone.repro()
    assert {cell for cell in cells if "other" not in cell} == {
        *(f"score_{step}@bbh" for step in ("respond", "revise", "sample", "select")),
        *("score_respond_games@games", "score_revise_games@games"),
        *("leak@bbh", "leak_games@games"),
        *OTHER_WORDS,
        *(f"score_{step}_games_paraphrased@games-p1" for step in ("respond", "revise_retry")),
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
        "dvc", "exp", "run", "--name", "longer", "-S", "conditions.teacher_answer.sentences=5"
    )
    assert OWN <= ran(output) <= OWN | DOWNSTREAM
    assert len(teacher.requests) == requests + ITEMS
    changed = (clone.root / "params.yaml").read_text()
    comments = [line for line in params.splitlines() if line.startswith("#")]
    assert comments
    assert all(comment in changed for comment in comments)
    shown = clone.run("dvc", "exp", "show", "--csv")
    assert "longer" in shown
    assert "tiny.score" in shown
    compared = ("revise/teacher_answer/tiny", "longer:revise/teacher_answer/tiny")
    clone.run("git", "checkout", "-q", "--", ".")
    clone.run("dvc", "checkout", "-q")
    assert f"{ITEMS} items of 3 subtasks" in clone.run("python", "-m", "stages.compare", *compared)

    # Queued runs work in a temporary copy, on the same call log.
    requests = len(teacher.requests)
    for name, sentences in (("again", 5), ("shorter", 1)):
        clone.run(
            "dvc", "exp", "run", "--queue", "--name", name,
            "-S", f"conditions.teacher_answer.sentences={sentences}",
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
