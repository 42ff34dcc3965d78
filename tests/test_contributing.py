"""CONTRIBUTING.md: its examples are run as they stand, each section's in a project of its own.

Covered: the files and params of every section on the scale `tiny`, its commands, what they write;
what the new game owes and how the new answer family reads; that links, names and commands of the
text are there. Not covered: training with what is added, and whether Tables 6 and 7 show it (the
report reads environments by name: tests/test_games_tables.py).
"""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, get_args

import pytest
import yaml
from clone import Clone
from conftest import ROOT
from dvc.repo import Repo
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_teacher import ScriptedTeacher

from stages.floors import Floor
from stages.grid import Grid
from stages.prompts import Prompt
from stages.records import Item, Score, Trajectory, read_jsonl
from stages.tasks.environments.base import Game
from stages.tasks.extraction import Normaliser, Rules, load_rules
from stages.training.config import Method

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GAME, SUITE, CONDITION, MODEL = (
    "An environment: one module, one entry in params",
    "A suite of questions: no Python",
    "A feedback condition",
    "A model, a training method",
)
MODULE = "stages/tasks/environments/change.py"
QUESTIONS = "suites/compass.jsonl"
NOWHERE = Path("nowhere")


class Block(NamedTuple):
    """A fenced block: its language and text, and the file that the text above it names."""

    language: str
    text: str
    path: str | None


def sections() -> dict[str, list[Block]]:
    """Return the blocks of each section. A block without a language is shown, not run."""
    found = {}
    for section in TEXT.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        found[title] = []
        above = ""
        for place, part in enumerate(re.split(r"^```", body, flags=re.MULTILINE)):
            if place % 2 == 0:
                above = part.strip().rpartition("\n\n")[2]
                continue
            language, _, text = part.partition("\n")
            named = re.findall(r"`([\w./]+\.(?:py|yaml|jsonl|jinja))`", above)
            path = named[-1] if named and language != "sh" else None
            found[title].append(Block(language, text, path))
    return found


BLOCKS = sections()


def add(old: Any, new: Any) -> Any:
    """Return what stands in a YAML file with what is given added: of mappings, key by key."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: add(old.get(key), value) for key, value in new.items()}}


def follow(section: str, root: Path, **env: str) -> Clone:
    """Return a project on the scale `tiny` in which a section was followed, commands left out."""
    project = Clone(root, **env)
    shutil.copy(root / "scales" / "tiny.yaml", root / "params.yaml")
    for block in BLOCKS[section]:
        if block.path is None:
            continue
        target = root / block.path
        target.parent.mkdir(exist_ok=True)
        text = block.text
        if block.language == "yaml":
            old = yaml.safe_load(target.read_text(encoding="utf-8"))
            text = yaml.safe_dump(add(old, yaml.safe_load(text)), sort_keys=False)
        else:
            assert not target.exists(), block.path
        target.write_text(text, encoding="utf-8")
    project.run("python", "-m", "stages.check", "--params", "params.yaml", "--prompts", "prompts")
    return project


def run_commands(section: str, project: Clone) -> str:
    """Run the commands of a section; return what they printed."""
    scripts = [block.text for block in BLOCKS[section] if block.language == "sh"]
    assert scripts
    return "".join(project.run("bash", "-euc", script) for script in scripts)


def cells(project: Clone) -> set[str]:
    return {str(stage.name) for stage in Repo(str(project.root)).index.stages}


def block(path: str) -> Block:
    """Return the one block that is a file."""
    [found] = [block for blocks in BLOCKS.values() for block in blocks if block.path == path]
    return found


# The text.


def test_every_block_is_a_file_or_commands_or_shown() -> None:
    assert set(BLOCKS) == {GAME, SUITE, CONDITION, MODEL, "Tests and style"}
    for section, blocks in BLOCKS.items():
        for one in blocks:
            assert (one.path is not None) == (one.language not in ("sh", "")), (section, one)
        if section != "Tests and style":
            assert any(one.path == "params.yaml" for one in blocks)


def test_what_the_text_names_is_there() -> None:
    for name in re.findall(r"\]\(([\w./]+)\)", TEXT):
        assert (ROOT / name).exists(), name
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", TEXT, flags=re.MULTILINE)) <= targets
    for name in re.findall(r"pytest (tests/\w+\.py)", TEXT):
        assert (ROOT / name).is_file(), name


def listed(before: str, after: str) -> set[str]:
    """Return the names in backticks between two pieces of the text."""
    start = TEXT.index(before) + len(before)
    return set(re.findall(r"`([^`]+)`", TEXT[start : TEXT.index(after, start)]))


def test_lists_of_names_are_whole() -> None:
    rules = yaml.safe_load((ROOT / "stages/tasks/extraction.yaml").read_text(encoding="utf-8"))
    assert listed("`family` is one that is there (", ") or") == set(rules["families"])
    assert listed("`normalise` is one of", ". Another one") == set(get_args(Normaliser))
    places = listed("by who is asked (", "; with `controls`")
    assert places == {"asked", "compared", "told", "borrowed", "own"}
    assert places <= set(Grid.model_fields)


# The game.


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    path = tmp_path_factory.mktemp("module") / Path(MODULE).name
    path.write_text(block(MODULE).text, encoding="utf-8")
    spec = spec_from_file_location("contributing_change", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module.ENVIRONMENT()
    del sys.modules[spec.name]


def test_the_game_is_in_style(tmp_path: Path) -> None:
    project = follow(GAME, tmp_path)
    project.run("ruff", "check", MODULE)
    project.run("ruff", "format", "--check", MODULE)


def test_the_game_owes_what_every_game_owes(game: Game) -> None:
    instances = list(game.instances(NOWHERE, 7))
    assert instances == list(game.instances(NOWHERE, 7))
    assert instances[:9] != list(islice(game.instances(NOWHERE, 8), 9))
    assert len({instance.key for instance in instances}) == len(instances) == 56
    random = Random(0)
    for instance in instances:
        state = instance.state
        assert json.loads(json.dumps(state)) == state
        assert game.turn(state, ()) is not None
        assert game.turn(state, [""]) is None
        # The ground truth scores best, a coin more of the right sum less, a coin more nothing.
        assert game.grade(state, [f"Answer: {instance.target}"]).score == game.best
        assert game.grade(state, [f"Answer: {instance.target}, 1"]).score == 0
        ones = ", ".join(["1"] * state["amount"])
        assert game.grade(state, [f"Answer: {ones}"]).score == state["fewest"] / state["amount"]
        for reply in (game.constant(state, 0), game.blind(state, 0, random)):
            assert reply is not None
            assert game.read(state, 0, reply) is not None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.one_of(st.text(), st.from_regex(r"[1459, \n²]{,20}", fullmatch=True)))
def test_the_game_grades_any_text(game: Game, text: str) -> None:
    state = {"amount": 19, "fewest": 2}
    for reply in (text, f"Answer: {text}"):
        result = game.grade(state, [reply])
        assert 0 <= result.score <= game.best
        assert result.parsed == (game.read(state, 0, reply) is not None)


@pytest.mark.slow
def test_the_game_runs(tmp_path: Path) -> None:
    project = follow(GAME, tmp_path)
    run_commands(GAME, project)
    folder = tmp_path / "data" / "tasks" / "games"
    train, test = (
        [item for item in read_jsonl(folder / f"{split}.jsonl", Item) if item.task == "change"]
        for split in ("train", "test")
    )
    assert (len(train), len(test)) == (3, 4)
    amounts = {item.state["amount"] for item in (*train, *test) if item.state is not None}
    assert len(amounts) == 7
    assert max(amounts) <= 40
    scores = tmp_path / "data" / "score" / "games"
    rows = [row for row in read_jsonl(scores / "respond.jsonl", Score) if row.task == "change"]
    assert [row.item for row in rows] == [item.id for item in test]
    floors = [row for row in read_jsonl(scores / "floor.jsonl", Floor) if row.task == "change"]
    assert {row.player for row in floors} == {"constant", "random"}
    assert any(row.score > 0 for row in floors)
    assert {"train_sft@games-tiny-feedback_sft_cleaned-0", "clean@games-tiny-0"} <= cells(project)


# The suite of questions.


@pytest.mark.slow
def test_the_suite_runs_and_is_pinned(tmp_path: Path) -> None:
    project = follow(SUITE, tmp_path)
    digest = hashlib.sha256(block(QUESTIONS).text.encode()).hexdigest()
    assert digest in run_commands(SUITE, project)
    folder = tmp_path / "data" / "tasks" / "compass"
    train, test = (read_jsonl(folder / f"{split}.jsonl", Item) for split in ("train", "test"))
    assert [item.id for item in (*train, *test)] == [f"compass/compass/{n}" for n in range(5)]
    assert len(train) == 2
    rows = read_jsonl(tmp_path / "data" / "score" / "compass" / "respond.jsonl", Score)
    assert [row.item for row in rows] == [item.id for item in test]
    assert {"pairs@compass-tiny-feedback_dpo-0", "leak@compass"} <= cells(project)

    # Another file: nothing is stale until its hash is in params; no other file is taken.
    line = {"question": "You face east. Which way do you face?", "target": "east"}
    path = tmp_path / QUESTIONS
    path.write_text(f"{path.read_text()}{json.dumps(line)}\n")
    assert project.repro("prepare@compass") == set()
    command = ["python", "-m", "stages.download", "--params", "params.yaml"]
    with pytest.raises(pytest.fail.Exception, match=QUESTIONS):
        project.run(*command, "--suite", "compass", "--out", "elsewhere")
    project.edit("params.yaml", digest, hashlib.sha256(path.read_bytes()).hexdigest())
    assert project.repro("prepare@compass") == {"download@compass", "prepare@compass"}
    assert len(read_jsonl(folder / "test.jsonl", Item)) == 4


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    name = "stages/tasks/extraction.yaml"
    old = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("rules") / "extraction.yaml"
    path.write_text(yaml.safe_dump(add(old, yaml.safe_load(block(name).text))), encoding="utf-8")
    return load_rules(path)


@pytest.mark.parametrize(
    ("reply", "outcome", "tolerant"),
    [
        ("Right of north.\nAnswer: **East**.", "correct", "east"),
        ("Answer: west", "incorrect", "west"),
        ("Answer: east or west", "unparsed", "west"),
        ("Answer: eastwards", "unparsed", None),
        ("You face east now.", "unparsed", "east"),
    ],
)
def test_the_family_reads_answers(
    reply: str, outcome: str, tolerant: str | None, rules: Rules, item: Item
) -> None:
    own = {"family": "compass", "target": "east"}
    own_options = {name: name for name in ("north", "east", "south", "west")}
    grade = rules.grade(item.model_copy(update={**own, "options": own_options}), reply)
    assert (grade.outcome, grade.tolerant) == (outcome, tolerant)


# A condition, a model, a method.


@pytest.mark.slow
def test_the_condition_runs(tmp_path: Path) -> None:
    with ScriptedTeacher() as teacher:
        project = follow(CONDITION, tmp_path, SCRIPTED_BASE_URL=teacher.url)
        project.repro("revise@bbh-question_only-tiny-0")
    [tau, *_] = read_jsonl(
        tmp_path / "data" / "revise" / "bbh" / "question_only-tiny-0.jsonl", Trajectory
    )
    assert tau.condition == "question_only"
    assert tau.feedback is not None
    assert tau.feedback in tau.exchanges[0].messages[-1].content


def test_the_condition_is_shown_the_length(tmp_path: Path) -> None:
    path = tmp_path / "prompt.jinja"
    path.write_text(block("prompts/feedback/question_only.jinja").text, encoding="utf-8")
    turns = [{"prompt": "What floats?", "reply": "Bricks."}]
    texts = [Prompt(path).render(turns=turns, sentences=count) for count in (1, None)]
    assert "at most 1 sentences" in texts[0]
    assert "sentences" not in texts[1]
    assert all("Bricks." in text for text in texts)


@pytest.mark.slow
def test_the_model_answers_and_the_method_is_in_the_grid(tmp_path: Path) -> None:
    project = follow(MODEL, tmp_path)
    found = cells(project)
    for cell in (
        "revise@bbh-unconstrained-other-0",
        "pairs@bbh-tiny-feedback_sft_solved-0",
        "train_sft@games-other-feedback_sft_solved-0",
        "evaluate@bbh-other-feedback_sft_solved-0",
    ):
        assert cell in found
    assert project.repro("respond@bbh-other-0") >= {"fetch@other", "respond@bbh-other-0"}
    taus = read_jsonl(tmp_path / "data" / "respond" / "bbh" / "other-0.jsonl", Trajectory)
    assert {tau.model for tau in taus} == {"other"}


def test_the_method_is_one() -> None:
    [given_params] = [one for one in BLOCKS[MODEL] if one.path == "params.yaml"]
    [values] = yaml.safe_load(given_params.text)["methods"].values()
    assert Method(**values).only_solved_targets


def test_a_section_that_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Block("yaml", "methods:\n  lost: {objective: sft, target: retry}\n", "params.yaml")
    monkeypatch.setitem(BLOCKS, MODEL, [wrong])
    with pytest.raises(pytest.fail.Exception, match=r"grid\.sft"):
        follow(MODEL, tmp_path)


def test_a_command_that_fails_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BLOCKS, GAME, [Block("sh", "false\ntrue\n", None)])
    project = Clone(tmp_path)
    with pytest.raises(pytest.fail.Exception, match="false"):
        run_commands(GAME, project)
