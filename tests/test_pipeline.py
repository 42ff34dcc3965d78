"""Promises 1 and 2 on the graph: dvc.yaml tells the truth, and a change reaches its own cells only.

Covered, for every scale: the code, data, prompts and params that each cell declares against its
imports, its command line and what its module can read; which cells a change makes stale; the number
of cells. Each check is also run on a copy that is broken on purpose. Not covered: running
(test_tiny_run.py).
"""

import shlex
import shutil
from collections.abc import Iterable
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest
import yaml
from closure import closure, is_empty
from conftest import ROOT
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage

from stages.errors import UserError
from stages.params import Params
from stages.pipeline import cell_arguments

SCALES = ["laptop", "paper", "open", "tiny"]
# What learns from pairs made of scored trajectories.
LEARNT = {"pairs", "train_sft", "train_dpo", "evaluate", "evaluate_forget_games"}
# ... and on the games' side.
LEARNT_GAMES = {"pairs_games", "train_sft", "train_dpo", "evaluate_games", "evaluate_forget"}
OUTPUT_FLAGS = {
    *("--out", "--calls", "--facts", "--train", "--test"),
    *("--tables", "--figures", "--metrics", "--dropped", "--log", "--runs"),
    *("--numbers", "--document", "--page", "--differ", "--explorer"),
}


def load(root: Path) -> list[PipelineStage]:
    return list(Repo(str(root), uninitialized=True).index.stages)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[PipelineStage]]:
    loaded = {}
    for scale in SCALES:
        root = tmp_path_factory.mktemp(scale)
        shutil.copy(ROOT / "dvc.yaml", root)
        shutil.copy(ROOT / "scales" / f"{scale}.yaml", root / "params.yaml")
        (root / ".dvc").mkdir()
        loaded[scale] = load(root)
    return loaded


def group(stage: PipelineStage) -> str:
    return str(stage.name).split("@")[0]


def words(stage: PipelineStage) -> list[str]:
    return shlex.split(str(stage.cmd))


def module_of(stage: PipelineStage) -> str:
    assert words(stage)[:2] == ["python", "-m"]
    return words(stage)[2]


def files_of(outputs: Iterable[object]) -> set[str]:
    return {str(out.def_path) for out in outputs if not isinstance(out, ParamsDependency)}


def wrong_code(root: Path, stage: PipelineStage) -> set[str]:
    """Return code that is declared and not needed, or needed and not declared."""
    declared: set[str] = set()
    folders: set[str] = set()
    for path in files_of(stage.deps):
        if path.startswith("stages/"):
            # A folder stands for all modules in it, so all of them must be needed.
            declared |= {path} if (root / path).is_file() else modules(root, path)
            folders |= set() if (root / path).is_file() else {path}
    needed = set(closure(root, module_of(stage)))
    for word in words(stage):
        if (root / word).is_file() and word.startswith("stages/"):
            needed.add(word)
        elif word.startswith("stages/"):
            # A package that is imported by name: the environments.
            for file in modules(root, word):
                needed |= closure(root, file.removesuffix(".py").replace("/", "."))
    # What lies deeper in a folder is declared with it (the scripts that run inside the sandbox).
    deeper = {
        f
        for f in needed
        for d in folders
        if f.startswith(f"{d}/") and f.count("/") > d.count("/") + 1
    }
    return declared ^ (needed - deeper)


def modules(root: Path, folder: str) -> set[str]:
    """Return the modules of a package that hold anything."""
    found = (root / folder).glob("*.py")
    return {f.relative_to(root).as_posix() for f in found if not is_empty(f)}


def wrong_files(stage: PipelineStage) -> set[str]:
    """Return data, prompts and outputs that the command line and the declaration disagree on."""
    command = words(stage)
    named_in, named_out = set(), set()
    for flag, value in pairwise(command):
        if flag.startswith("--") and ("/" in value or value == "prompts"):
            # A pattern over cells stands for the folder that they are all in.
            path = value if "{" not in value else str(Path(value.split("{")[0] + "x").parent)
            # What training writes, the report reads.
            writes = flag in OUTPUT_FLAGS and not (group(stage) == "report" and "{" in value)
            (named_out if writes else named_in).add(path)
    declared = {path for path in files_of(stage.deps) if not path.startswith("stages/")}
    named_in = {path for path in named_in if not path.startswith("stages/")}
    if group(stage) == "report" or group(stage).startswith(("score_lessons", "score_following")):
        # They are given folders and declare what they read in them; of what they are given in a
        # folder that they declare, that is enough.
        named_in = {n for n in named_in if not any(n.startswith(f"{d}/") for d in declared)}
        declared = {
            max((n for n in named_in if f"{d}/".startswith(f"{n}/")), key=len, default=d)
            for d in declared
        }
    return (named_in ^ declared) | (named_out ^ files_of(stage.outs))


def wrong_params(stage: PipelineStage) -> set[str]:
    """Return params that are declared and cannot be read, or the other way round."""
    declared = {
        key for dep in stage.deps if isinstance(dep, ParamsDependency) for key in dep.params
    }
    _, _, suffix = group(stage).partition("_")
    module = import_module(module_of(stage))
    plain = suffix.removesuffix("_paraphrased")
    known = [getattr(module, f"PARAMS_{name.upper()}", None) for name in (suffix, plain)]
    patterns = next((found for found in known if found), None) or module.PARAMS
    flags = dict(pairwise(words(stage)))
    axes = {flag.removeprefix("--"): value for flag, value in flags.items()}
    return declared ^ {pattern.format(**axes) for pattern in patterns}


@pytest.mark.parametrize("scale", SCALES)
def test_pipeline_tells_the_truth(scale: str, pipelines: dict[str, list[PipelineStage]]) -> None:
    for stage in pipelines[scale]:
        assert not wrong_code(ROOT, stage), stage.name
        assert not wrong_files(stage), stage.name
        assert not wrong_params(stage), stage.name


def test_the_checks_notice(pipelines: dict[str, list[PipelineStage]], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "stages")
    (tmp_path / "stages" / "extra.py").write_text("VALUE = 1\n")
    seeds = tmp_path / "stages" / "seeds.py"
    seeds.write_text(seeds.read_text() + "\n\ndef late() -> None:\n    import stages.extra\n")
    respond = next(stage for stage in pipelines["tiny"] if group(stage) == "respond")
    assert wrong_code(tmp_path, respond) == {"stages/extra.py"}

    text = (ROOT / "dvc.yaml").read_text()
    for old, new, check in (
        ("      - students.${item.student}\n", "      - students\n", wrong_params),
        ("      - prompts/respond/task.jinja\n", "", wrong_files),
        ("      - data/raw/${item.suite}\n", "      - data/raw\n", wrong_files),
    ):
        broken = tmp_path / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        (broken / ".dvc").mkdir(parents=True)
        assert old in text
        (broken / "dvc.yaml").write_text(text.replace(old, new))
        shutil.copy(ROOT / "scales" / "tiny.yaml", broken / "params.yaml")
        assert any(check(stage) for stage in load(broken)), old


@pytest.mark.parametrize("scale", SCALES)
def test_number_of_cells(scale: str, pipelines: dict[str, list[PipelineStage]]) -> None:
    counts: dict[str, int] = {}
    for stage in pipelines[scale]:
        counts[group(stage)] = counts.get(group(stage), 0) + 1
    total = sum(counts.values())
    print(f"{scale}: {total} cells, {counts}")
    students = {"laptop": 1, "paper": 3, "open": 3, "tiny": 1}[scale]
    seeds = 3 if students == 3 else 1
    conditions = 6 if scale == "tiny" else 10
    assert counts["respond"] == students * seeds
    assert counts["judge"] == students * seeds * (1 if scale == "tiny" else 2)
    assert counts["revise"] == students * seeds * conditions
    feedback = ("feedback", "feedback_compared", "feedback_told", "feedback_own", "borrow")
    assert sum(counts[name] for name in feedback) == counts["revise"]
    draws = 4 if students == 3 else 2
    assert counts["sample"] == counts["sample_conditioned"] == students * seeds * draws
    for by in ("logits", "student", "teacher"):
        assert counts[f"select_{by}"] == students * seeds * 2
    # Learning: tiny goes through two iterations, and has a method of each objective.
    learners = 2 if scale == "tiny" else students
    methods, following = (2, 1) if scale == "tiny" else (5, 2)
    for name in ("respond_train", "feedback_train", "revise_train"):
        assert counts[name] == counts[f"{name}_games"] == learners * seeds
    # What only reads texts has a cell for either suite.
    for name in ("judge_train", "clean"):
        assert counts[name] == learners * seeds * 2
    for name in ("feedback_following", "revise_following", "revise_teacher"):
        assert counts[name] == counts[f"{name}_games"] == students * seeds
    for name in ("respond", "judge", "feedback", "revise"):
        assert counts[f"{name}_games"] == students * seeds
    for name in ("pairs", "evaluate", "evaluate_forget"):
        assert counts[name] == counts[f"{name}_games"] == learners * methods * seeds
    others = 2 if scale == "paper" else 0
    for name in ("feedback_teachers", "revise_teachers"):
        assert counts.get(name, 0) == others * seeds
    assert counts["following"] == counts["evaluate_following"] == students * following * seeds
    assert counts["feedback_tuned"] == counts["revise_tuned"] == students * following * seeds
    assert counts["train_sft"] + counts["train_dpo"] == learners * methods * seeds * 2
    tuned = counts["train_following_sft"] + counts.get("train_following_dpo", 0)
    assert tuned == students * following * seeds
    wordings = 1 if scale == "tiny" else 2
    for name in ("respond", "revise_retry"):  # one seed
        assert counts[f"{name}_paraphrased"] == students * wordings
        assert counts[f"{name}_games_paraphrased"] == students * wordings
    retried = 2 if scale == "tiny" else 9
    assert counts["revise_paraphrased"] == students * wordings * retried
    kinds = ("feedback", "feedback_compared", "feedback_told", "feedback_own")
    reworded = [counts.get(f"{name}_paraphrased", 0) for name in kinds]
    assert sum(reworded) == counts["revise_paraphrased"]
    assert counts["score_lessons"] == counts["score_lessons_games"] == 1
    assert counts["score_following"] == counts["score_following_games"] == students
    for step in ("respond", "feedback", "revise"):
        assert counts[f"{step}_figure1"] == students
    assert counts["answer_figure1"] == 1
    assert total <= {"tiny": 145, "laptop": 225}.get(scale, 1350)


def taught_on(name: str) -> str:
    """Return the suite of the lessons that a cell of learning hangs on."""
    stage, cell = name.split("@")
    if stage.startswith("evaluate_forget"):
        return {"evaluate_forget_games": "bbh", "evaluate_forget": "games"}[stage]
    return cell.split("-")[0]


def test_only_the_report_writes_reports(pipelines: dict[str, list[PipelineStage]]) -> None:
    for stage in pipelines["paper"]:
        writes = any(path.startswith("reports/") for path in files_of(stage.outs))
        assert writes == (group(stage) == "report")


def stale(
    stages: list[PipelineStage], *, path: str = "", key: str = ""
) -> tuple[set[str], set[str]]:
    """Return the cells that declare a path or a param, and those with all their descendants."""
    own = set()
    for stage in stages:
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                touched = any(key and (key + ".").startswith(f"{p}.") for p in dep.params)
            else:
                touched = bool(path) and dep.def_path == path
            if touched:
                own.add(str(stage.name))
    graph = stages[0].repo.index.graph
    names = {stage: str(stage.name) for stage in graph}
    reached = set(own)
    for stage in graph:
        if names[stage] in own:
            reached |= {names[child] for child in nx.ancestors(graph, stage)}
    return own, reached


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_a_change_reaches_its_own_cells_only(
    scale: str, pipelines: dict[str, list[PipelineStage]]
) -> None:
    stages = pipelines[scale]
    everything = {str(stage.name) for stage in stages}
    revised = {name for name in everything if name.startswith("revise@")}
    downstream = {"score_revise@bbh", "leak@bbh", "report"}
    questions = {name for name in everything if "@games" not in name}
    params = yaml.safe_load((ROOT / "scales" / f"{scale}.yaml").read_text())

    for change in (
        {"path": "prompts/feedback/regex_focused.jinja"},
        {"key": "conditions.regex_focused.sentences"},
    ):
        _, reached = stale(stages, **change)
        feedback = {n for n in everything if n.startswith("feedback@bbh-regex_focused-")}
        own_revised = {n for n in revised if "-regex_focused-" in n}
        assert feedback
        # `conditions` as a whole is read for its keys by the score of revise, leak and the report.
        # Nor does our wording reach another one; what both are asked for does.
        other_words = {n for n in everything if "_paraphrased@" in n and "-regex_focused" in n}
        assert other_words
        # The scores of a wording read the folder of all its conditions.
        other_words |= {n for n in everything if n.startswith("score_revise_paraphrased@")}
        own = other_words if "key" in change else set()
        assert reached == feedback | own_revised | own | downstream

    _, reached = stale(stages, path="stages/tasks/extraction.yaml")
    # Which answers are right decides whose feedback is borrowed; else nothing is generated anew.
    steps = ("respond", "answer", "revise", "sample", "select", "evaluate", "revise_tuned")
    scored = {f"score_{step}@bbh" for step in steps} | {"fidelity@bbh", "score_forget@bbh"}
    scored |= {"score_forget_games@games"}  # what is trained on questions
    scored |= {"score_lessons@bbh"} | {n for n in everything if n.startswith("score_following@")}
    scored |= {name for name in everything if name.startswith("score_teachers@")}
    reworded = {
        n for n in everything if n.startswith(("score_", "fidelity")) and "paraphrased@bbh" in n
    }
    scored |= reworded
    matched = {n for n in everything if n.startswith("borrow@") or "-another_item-" in n}
    # Nor is anybody trained anew unless the pairs differ: DVC stops where the bytes are the same.
    learnt = {n for n in everything if n.split("@")[0] in LEARNT and taught_on(n) == "bbh"}
    assert reached == scored | matched | learnt | {"leak@bbh", "report"}

    student = next(iter(params["students"]))
    _, reached = stale(stages, key=f"students.{student}.sampling.temperature")
    for name in everything - reached:
        step = name.split("@")[0].removesuffix("_games")
        alone = {"fetch", "download", "prepare", "answer", "score_answer", "answer_train", "floors"}
        assert step in alone or f"-{student}" not in name
    assert {n for n in everything if n.startswith("respond@") and student in n} <= reached
    if len(params["students"]) > 1:
        others = {n for n in everything - reached if n.startswith(("respond@", "revise@"))}
        assert len(others) == len([n for n in revised if student not in n]) * 11 // 10

    teacher = params["grid"]["teacher"]
    _, reached = stale(stages, key=f"teachers.{teacher}.sampling.max_new_tokens")
    assert not any(name.startswith(("respond@", "feedback_told@", "fetch@")) for name in reached)

    # What is drawn, chosen or judged hangs on nothing but its own entry.
    _, reached = stale(stages, key="grid.draws")
    kinds = {name.split("@")[0].removesuffix("_paraphrased") for name in reached}
    assert kinds == {
        *("select_logits", "select_student", "select_teacher"),
        *("score_sample", "score_select", "report"),
    }
    _, reached = stale(stages, key="selectors.student_logits.reduce")
    assert {name.split("@")[0] for name in reached} == {"select_logits", "score_select", "report"}
    for change in ({"path": "prompts/judge/explicit.jinja"}, {"key": "verdicts.explicit"}):
        _, reached = stale(stages, **change)
        judged = {n for n in everything if n.startswith(("judge@bbh-explicit-", "judge_train@"))}
        # Negative sampling may go by it.
        learnt = {n for n in everything if n.split("@")[0] in LEARNT | LEARNT_GAMES}
        games = {"score_evaluate_games@games", "score_forget@bbh", "score_forget_games@games"}
        games |= {n for n in everything if n.startswith("judge_games@")}
        if "key" in change:
            judged |= {n for n in everything if n.startswith("judge_paraphrased@")}
            judged = {n for n in judged if "-implicit-" not in n}
        assert reached == judged | learnt | games | {"score_evaluate@bbh", "report"}

    # What is trained hangs on how, and on what is trained on.
    _, reached = stale(stages, key="trainers.dpo.args.beta")
    dpo = {"imitative_dpo", "feedback_dpo", "following_dpo"}
    read = {"evaluate", "evaluate_following", "feedback_tuned", "revise_tuned"}
    read |= {"evaluate_games", "evaluate_forget", "evaluate_forget_games"}
    own = {n for n in everything if n.split("@")[0] in read and dpo & set(n.split("-"))}
    trained = {n for n in everything if n.startswith(("train_dpo@", "train_following_dpo@"))}
    runs = 2 * len(("imitative_dpo", "feedback_dpo")) + 1  # on either suite, and on both
    assert len(trained) == runs * len(params["grid"]["seeds"]) * len(params["students"])
    own |= trained
    evaluated = {"score_evaluate@bbh", "score_evaluate_games@games"}
    evaluated |= {"score_forget@bbh", "score_forget_games@games"}
    assert reached == own | evaluated | {"score_revise_tuned@bbh", "report"}
    _, reached = stale(stages, key="methods.feedback_sft.only_solved_targets")
    read = LEARNT | LEARNT_GAMES
    own = {n for n in everything if n.split("@")[0] in read and "-feedback_sft-" in n}
    assert reached == own | evaluated | {"report"}
    _, reached = stale(stages, path="prompts/clean/clean.jinja")
    assert {n.split("@")[0] for n in reached} == {
        *("clean", "fidelity", "fidelity_games", "report"),
        *(LEARNT | LEARNT_GAMES),
        *(name.split("@")[0] for name in evaluated),
    }
    _, reached = stale(stages, key="lessons.bbh.match_n")
    assert {n.split("@")[0] for n in reached} >= {"pairs", "following", "train_sft", "report"}
    assert not {n for n in reached if n.startswith(("respond", "feedback_train", "revise_train"))}

    # An environment reaches what is played, and no question but those of who learnt from games.
    _, reached = stale(stages, path="stages/tasks/environments")
    taught = {n for n in everything if n.startswith("evaluate_forget@") or "following" in n}
    taught |= {n for n in everything if n.startswith(("feedback_tuned@", "revise_tuned@"))}
    taught |= {n for n in everything if "_figure1" in n}
    assert {n for n in reached & questions if n != "report"} <= taught | {
        *("score_evaluate@bbh", "score_forget@bbh", "score_revise_tuned@bbh"),
    }
    assert {"respond_games", "score_respond_games", "pairs_games"} <= {
        n.split("@")[0] for n in reached
    }

    _, reached = stale(stages, key="suites.bbh.test")
    assert "download@bbh" not in reached
    assert "prepare@bbh" in reached

    _, reached = stale(stages, key="report.bootstrap")
    assert reached == {"report"}


def test_undeclared_params_cannot_be_read() -> None:
    params = Params(ROOT / "scales" / "tiny.yaml", ("students.{student}",), student="tiny")
    with pytest.raises(KeyError):
        params.get("grid", dict)


def test_cell_arguments_come_from_dvc_yaml() -> None:
    arguments = cell_arguments(
        ROOT / "dvc.yaml", ROOT / "scales" / "tiny.yaml", "feedback",
        suite="bbh", condition="unconstrained", student="tiny", seed=0,
    )  # fmt: skip
    assert arguments[arguments.index("--teacher") + 1] == "scripted"
    out = "data/feedback/bbh/unconstrained-tiny-0.jsonl"
    assert arguments[arguments.index("--out") + 1] == out
    with pytest.raises(UserError, match="no value for"):
        cell_arguments(ROOT / "dvc.yaml", ROOT / "scales" / "tiny.yaml", "feedback", suite="bbh")
