"""Promise 6: a user's mistake gives one clear line, exit code 1, and leaves no trace on the disk.

Covered: stages as commands, in a temporary folder with an item of our own: wrong params, prompts,
model folders, keys, hashes and JSONL lines. An older output lies there; the whole folder
must come out of it byte for byte. Also --help, and that what needs no model never imports
what models need. Not covered: download and prepare on damaged raw files (test_download_prepare.py),
failures of a server (test_openai_engine.py), wrong flags (argparse answers with its usage, code 2).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from conftest import ROOT
from house import small

from stages.models.card import ServedCard, write_card
from stages.params import read_yaml
from stages.records import (
    Completion,
    Exchange,
    Feedback,
    Item,
    Selection,
    Trajectory,
    read_jsonl,
    write_jsonl,
)

PROMPTS = ROOT / "prompts"
RULES = ROOT / "stages" / "tasks" / "extraction.yaml"
HEAVY = {"torch", "transformers", "openai", "numpy", "pandas", "scipy", "statsmodels", "datasets"}
MODULES = sorted(
    path.stem
    for path in (ROOT / "stages").glob("*.py")
    if "\ndef parser()" in path.read_text(encoding="utf-8")
)

# The commands, in a folder as `house` makes it. What each writes is named out or starts with out.
CHECK = f"check --params params.yaml --prompts {PROMPTS}"
FETCH = "fetch --params params.yaml --model scripted --out out"
DOWNLOAD = "download --params params.yaml --suite bbh --out out"
PREPARE = "prepare --params params.yaml --suite bbh --raw raw --train out.train --test out"
ENDS = "--out out --calls out.calls --facts out.json"
ANSWERING = f"--items items.jsonl --template {PROMPTS}/respond/task.jinja {ENDS}"
RESPOND = f"respond --params params.yaml --student tiny --seed 0 --model model {ANSWERING}"
ANSWER = f"answer --params params.yaml --teacher scripted --model model {ANSWERING}"
FEEDBACK = (
    "feedback --params params.yaml --condition {} --student tiny --seed 0 --items items.jsonl "
    "--trajectories tiny-0.jsonl --template feedback.jinja --out out"
)
TOLD = FEEDBACK.format("lazy")
ASKED = (
    FEEDBACK.format("unconstrained")
    + " --teacher scripted --model model --calls out.calls --facts out.json"
)
REVISE = (
    "revise --params params.yaml --condition lazy --student tiny --seed 0 --model model "
    "--trajectories tiny-0.jsonl --feedback feedback.jsonl "
    f"--template {PROMPTS}/revise/retry.jinja {ENDS}"
)
SCORE = (
    f"score --params params.yaml --step respond --items items.jsonl --rules {RULES} "
    "--trajectories {student}-{seed}.jsonl --out out"
)
OWN = FEEDBACK.format("self_feedback") + " --own --model model --calls out.calls --facts out.json"
BORROW = (
    "borrow --params params.yaml --condition another_item --student tiny --seed 0 --items "
    f"items.jsonl --rules {RULES} --trajectories tiny-0.jsonl --feedback feedback.jsonl "
    f"--template {PROMPTS}/feedback/another_item.jinja --out out"
)
LEAK = (
    f"leak --params params.yaml --items items.jsonl --rules {RULES} "
    "--feedback feedback.jsonl --out out"
)
JUDGE = (
    "judge --params params.yaml --verdict explicit --student tiny --seed 0 --teacher scripted "
    f"--model model --trajectories tiny-0.jsonl --template {PROMPTS}/judge/explicit.jinja {ENDS}"
)
SAMPLE = f"sample --params params.yaml --student tiny --seed 0 --draw 0 --model model {ANSWERING}"
RETRYING = "--condition lazy --trajectories tiny-0.jsonl --feedback feedback.jsonl"
SELECT = (
    "select --by {} --selector {} --params params.yaml --student tiny --seed 0 --model model "
    f"--candidates draw-{{{{draw}}}}.jsonl {ENDS}"
)
LIKELIEST = SELECT.format("logits", "student_logits")
CHOICE = SELECT.format("student", "student_choice") + f" --template {PROMPTS}/select/choice.jinja"
TEACHERS_CHOICE = (
    CHOICE.replace("--by student", "--by teacher").replace("student_choice", "teacher_choice")
    + " --teacher scripted"
)
SCORE_CHOSEN = (
    SCORE.replace("--step respond", "--step select").replace("{student}-{seed}", "draw-{draw}")
    + " --selections selections.jsonl"
)
SHOW = "show bbh/own_example/7 lazy --params params.yaml --pipeline pipeline.yaml"


def python(folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in `folder`, with no key and no mirror in its environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("_API_KEY", "_BASE_URL", "_MIRROR"))
    }
    kept |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "CALL_LOG": "calls.jsonl"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=kept | env,
        capture_output=True,
        text=True,
        check=False,
    )


def stage(folder: Path, command: str, **env: str) -> "subprocess.CompletedProcess[str]":
    name, *words = command.split()
    return python(folder, "-m", f"stages.{name}", *words, **env)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return all files with their bytes, and all folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def short(value: object) -> str:
    """Return a test id: of a command only its stage."""
    return str(value).split(" --")[0]


def refused(folder: Path, command: str, message: str, *, older: bool = True) -> None:
    """Assert one line, exit code 1 and an untouched folder, with an older output or without."""
    out = folder / "out"
    if older:
        if command.split()[0] in ("fetch", "download"):
            out.mkdir(exist_ok=True)
            out = out / "old"
        out.write_text("old\n")
    before = tree(folder)
    done = stage(folder, command)
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr
    assert message in done.stderr
    assert tree(folder) == before
    assert done.stdout == ""


@pytest.fixture
def house(tmp_path: Path, item: Item, tau: Trajectory) -> Path:
    """A folder in which every command of this file but for one mistake would do."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "scales" / "tiny.yaml").read_bytes())
    (tmp_path / "pipeline.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    (tmp_path / "feedback.jinja").write_text("Answer: {{ turns[0].reply }}")
    write_jsonl(tmp_path / "items.jsonl", [item, item.model_copy(update={"id": "bbh/own/8"})])
    taus = [tau, tau.model_copy(update={"item": "bbh/own/8"})]
    write_jsonl(tmp_path / "tiny-0.jsonl", taus)
    served(tmp_path, "http://127.0.0.1:9/v1")
    write_jsonl(
        tmp_path / "feedback.jsonl",
        [
            Feedback(
                item=one.item,
                suite=one.suite,
                task=one.task,
                split=one.split,
                condition="lazy",
                student="tiny",
                teacher=None,
                seed=0,
                status="ok",
                text="Cork floats.",
                exchange=None,
            )
            for one in taus
        ],
    )
    for draw, text in enumerate(("A cork.\nAnswer: (B)", "A brick.\nAnswer: (A)")):
        write_jsonl(tmp_path / f"draw-{draw}.jsonl", [candidate(one, draw, text) for one in taus])
    write_jsonl(tmp_path / "selections.jsonl", [by_logits(one) for one in taus])
    return tmp_path


def candidate(tau: Trajectory, draw: int, text: str) -> Trajectory:
    reply = Completion(text=text, finish_reason="stop")
    exchange = Exchange(messages=tau.exchanges[0].messages, reply=reply)
    return tau.model_copy(update={"exchanges": (exchange,), "draw": draw})


def by_logits(tau: Trajectory, **update: object) -> Selection:
    return Selection(
        item=tau.item,
        suite=tau.suite,
        task=tau.task,
        split=tau.split,
        selector="student_logits",
        condition=tau.condition,
        student="tiny",
        chooser="tiny",
        seed=0,
        draws=(0, 1),
        logprobs=(-1.0, -2.0),
        tokens=(3, 3),
    ).model_copy(update=update)


def served(folder: Path, base_url: str) -> None:
    card = ServedCard(
        name="own-teacher",
        base_url=base_url,
        env="OWN",
        needs_key=True,
        accept=None,
        token_limit="max_tokens",
        extra_sampling=True,
    )
    write_card(folder / "model", card)


def test_the_commands_are_right(house: Path) -> None:
    """Without a mistake they run, so that it is the mistake that the tests below see."""
    for command in (CHECK, FETCH, PREPARE, TOLD, BORROW, LEAK, SCORE, SCORE_CHOSEN):
        done = stage(house, command)
        assert done.returncode == 0, done.stderr
        remove(house / "out")


@pytest.mark.parametrize(
    ("command", "old", "new", "message"),
    [
        (CHECK, "bootstrap: 200", "bootstrap: 200\n  colour: red", "report.colour: Extra inputs"),
        (CHECK, "train: 1", "trian: 1", "suites.bbh.trian: Extra inputs"),
        (CHECK, "    test: 2", "    test: -2", "suites.bbh.test: Input should be greater"),
        (CHECK, "seeds: [0]", "seeds: [-1]", "grid.seeds.0: Input should be greater"),
        (CHECK, "top_p: 0.8", "top_p: high", "students.tiny.sampling.top_p: Input should be"),
        (CHECK, "top_p: 0.8", "top_p: .nan", "students.tiny.sampling.top_p: Input should be"),
        (CHECK, "scale: tiny", "scale: [tiny", "params.yaml:4: "),
        (CHECK, "scale: tiny", "scale: *tiny", "params.yaml:3: "),
        (CHECK, "scale: tiny", "scale: 2024-13-45", "params.yaml: "),
        (CHECK, "grid:\n  questions", "gird:\n  questions", "params.yaml: "),
        (
            CHECK,
            "told: [lazy, praise]",
            "told: [lazy, praise, drill]",
            "grid: unknown condition drill",
        ),
        (CHECK, "teacher: scripted", "teacher: nobody", "grid.teacher: nobody is not"),
        (
            CHECK.replace(str(PROMPTS), "raw"),
            "scale: tiny",
            "scale: tiny",
            "conditions.another_item: no prompt raw/feedback/another_item.jinja",
        ),
        (CHECK, "students:\n  tiny:", "students:\n  small:", "students.small: no such key"),
        (FETCH, "  scripted:\n    engine", "  other:\n    engine", "models.scripted: not there"),
        (FETCH, "base_url: http", "base_url: gopher", "base_url: String should match"),
        (FETCH, "accept: scripted", "accept: '('", "accept: "),
        (DOWNLOAD, "suites:", "suits:", "params.yaml: suites: not there"),
        (DOWNLOAD, "kind: written", "kind: heard", "suites.bbh.source: Input tag 'heard'"),
        (PREPARE, "train: 1", "train: null", "suites.bbh.train: a number is needed"),
        (PREPARE, "test: 2", "test: 10000", "suites.bbh: boolean_expressions has "),
        (RESPOND, "  tiny: &tiny", "  small: &tiny", "students.tiny: not there"),
        (RESPOND, "max_new_tokens: 8", "max_new_tokens: 0", "sampling.max_new_tokens: Input"),
        (ANSWER, "teachers:\n  scripted", "teachers:\n  other", "teachers.scripted: not there"),
        (TOLD, "  lazy: {", "  idle: {", "conditions.lazy: not there"),
        (TOLD, "sees: [target]", "sees: [targets]", "conditions.lazy.sees.0: Input should be"),
        (ASKED, "teachers:\n  scripted", "teachers:\n  other", "teachers.scripted: not there"),
        (REVISE, "students:\n  tiny", "students:\n  other", "students.tiny: not there"),
        (OWN, "students:\n  tiny", "students:\n  other", "students.tiny: not there"),
        (BORROW, "  another_item: {", "  idle: {", "conditions.another_item: not there"),
        (LEAK, "conditions:", "terms:", "params.yaml: conditions: not there"),
        (JUDGE, "  explicit: {", "  other: {", "verdicts.explicit: not there"),
        (JUDGE, "reads: json", "reads: yaml", "verdicts.explicit.reads: Input should be"),
        (JUDGE, "teachers:\n  scripted", "teachers:\n  other", "teachers.scripted: not there"),
        (SAMPLE, "students:\n  tiny", "students:\n  other", "students.tiny: not there"),
        (CHOICE, "  student_choice: {", "  coin: {", "selectors.student_choice: not there"),
        (CHOICE, "max_new_tokens: 4", "max_new_tokens: 0", "selectors.student_choice.max_new_"),
        (CHOICE, "draws: [0, 1]", "draws: [0, 1, 2]", "draw-2.jsonl: no such file"),
        (LIKELIEST, "draws: [0, 1]", "draws: [0, 1, 2]", "draw-2.jsonl: no such file"),
        (TEACHERS_CHOICE, "teachers:\n  scripted", "teachers:\n  other", "teachers.scripted: not"),
        (SCORE_CHOSEN, "draws: [0, 1]", "draws: [0, 1, 2]", "draw-2.jsonl: no such file"),
        (SCORE_CHOSEN, "draws: [0, 1]", "draws: [1]", "bbh/own_example/7: draw 0 is not in grid"),
        (SCORE_CHOSEN, "selectors:", "choosers:", "params.yaml: selectors: not there"),
        (SCORE, "seeds: [0]", "seeds: [0, 1]", "tiny-1.jsonl: no such file"),
        (SCORE, "seeds: [0]", "seeds: 0", "grid.seeds: Input should be a valid array"),
    ],
    ids=short,
)
def test_params(house: Path, command: str, old: str, new: str, message: str) -> None:
    path = house / "params.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    refused(house, command, message)


@pytest.mark.parametrize(
    "command",
    [
        *(CHECK, FETCH, DOWNLOAD, PREPARE, RESPOND, ANSWER, TOLD, SCORE),
        *(BORROW, LEAK, JUDGE, SAMPLE, CHOICE),
    ],
    ids=short,
)
def test_params_that_are_no_params(house: Path, command: str) -> None:
    path = house / "params.yaml"
    for content, message in (
        (b"scale: \xff", "params.yaml: not UTF-8 at byte 7"),
        (b"- a list\n", "params.yaml: expected a mapping"),
    ):
        path.write_bytes(content)
        refused(house, command, message)
    path.unlink()
    refused(house, command, "params.yaml: no such file")


# Damaged lines of our own; each is put in as the second line, in place of the record there.
LINES: dict[str, tuple[bytes, str]] = {
    "cut short": (b'{"item": "bbh/own/8", "suit', ":2: Invalid JSON"),
    "empty": (b"", ":2: Invalid JSON"),
    "a field that nobody knows": (b'{"colour": "red"}', ":2: "),
    "no object": (b"[1, 2]", ":2: Input should be an object"),
    "not UTF-8": (b'{"item": "\xe9"}', ":2: not UTF-8"),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize(
    ("command", "file"),
    [
        (RESPOND, "items.jsonl"),
        (TOLD, "items.jsonl"),
        (TOLD, "tiny-0.jsonl"),
        (REVISE, "feedback.jsonl"),
        (SCORE, "items.jsonl"),
        (SCORE, "tiny-0.jsonl"),
        (BORROW, "feedback.jsonl"),
        (LEAK, "feedback.jsonl"),
        (JUDGE, "tiny-0.jsonl"),
        (CHOICE, "draw-1.jsonl"),
        (SCORE_CHOSEN, "selections.jsonl"),
    ],
    ids=short,
)
def test_damaged_lines(house: Path, command: str, file: str, name: str) -> None:
    line, message = LINES[name]
    path = house / file
    first = path.read_bytes().split(b"\n")[0]
    path.write_bytes(first + b"\n" + line + b"\n")
    refused(house, command, f"error: {file}{message}")


def edit(path: Path, old: str, new: str, *, line: int) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "file", "old", "new", "message"),
    [
        (TOLD, "tiny-0.jsonl", '"seed":0', '"seed":"0"', "tiny-0.jsonl:2: seed: "),
        (TOLD, "tiny-0.jsonl", "bbh/own/8", "bbh/own/9", "bbh/own/9 is not in items.jsonl"),
        (TOLD, "tiny-0.jsonl", "bbh/own/8", "bbh/own\\n9", "9 is not in items.jsonl"),
        (TOLD, "tiny-0.jsonl", "bbh/own/8", "bbh/own_example/7", "tiny-0.jsonl:2: item: bbh/own"),
        (TOLD, "items.jsonl", "bbh/own/8", "bbh/own_example/7", "items.jsonl:2: id: bbh/own"),
        (RESPOND, "items.jsonl", "bbh/own/8", "bbh/own_example/7", "items.jsonl:2: id: bbh/own"),
        (REVISE, "feedback.jsonl", "bbh/own/8", "bbh/own/9", "no feedback on bbh/own/8"),
        (REVISE, "feedback.jsonl", "bbh/own/8", "bbh/own_example/7", "feedback.jsonl:2: item: bbh"),
        (SCORE, "tiny-0.jsonl", "bbh/own/8", "bbh/own/9", "tiny-0.jsonl: not the items of items"),
        (SCORE, "items.jsonl", "bbh/own/8", "bbh/own/9", "tiny-0.jsonl: not the items of items"),
        (SCORE, "items.jsonl", "bbh/own/8", "bbh/own_example/7", "items.jsonl:2: id: bbh/own"),
        (SCORE, "items.jsonl", '"letter"', '"rune"', "families.rune: not there"),
        (JUDGE, "tiny-0.jsonl", "bbh/own/8", "bbh/own_example/7", "tiny-0.jsonl:2: item: bbh/own"),
        (BORROW, "feedback.jsonl", "bbh/own/8", "bbh/own/9", "feedback.jsonl: bbh/own/8 is not th"),
        (BORROW, "items.jsonl", "bbh/own/8", "bbh/own/9", "items.jsonl: bbh/own/8 is not there"),
        (LEAK, "feedback.jsonl", "bbh/own/8", "bbh/own/9", "feedback.jsonl: not the items of item"),
        (CHOICE, "draw-1.jsonl", "bbh/own/8", "bbh/own/9", "draw-1.jsonl: not the items of the fi"),
        (LIKELIEST, "draw-1.jsonl", "bbh/own/8", "bbh/own/9", "draw-1.jsonl: not the items of th"),
        (CHOICE, "draw-0.jsonl", "bbh/own/8", "bbh/own_example/7", "draw-0.jsonl:2: item: bbh/own"),
        (SCORE_CHOSEN, "draw-1.jsonl", "bbh/own/8", "bbh/own/9", "draw-1.jsonl: not the items of"),
        (SCORE_CHOSEN, "selections.jsonl", "bbh/own/8", "bbh/own/9", "selections.jsonl: not the i"),
        (SCORE_CHOSEN, "selections.jsonl", "[0,1]", "[0,7]", "selections.jsonl: bbh/own/8: draw 7"),
        (SCORE_CHOSEN, "selections.jsonl", "[3,3]", "[3,0]", "selections.jsonl:2: tokens.1: "),
        (SCORE_CHOSEN, "selections.jsonl", "[3,3]", "[3]", "selections.jsonl:2: Value error, not"),
    ],
    ids=short,
)
def test_records_that_do_not_fit(
    house: Path, command: str, file: str, old: str, new: str, message: str
) -> None:
    edit(house / file, old, new, line=2)
    refused(house, command, message)


def test_a_trajectory_that_stands_there_twice(house: Path) -> None:
    path = house / "tiny-0.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    refused(house, SCORE, "tiny-0.jsonl:3: item: bbh/own_example/7 stands there twice")


@pytest.mark.parametrize(
    ("command", "file", "message"),
    [
        (RESPOND, "items.jsonl", "items.jsonl: no such file"),
        (SCORE, "tiny-0.jsonl", "tiny-0.jsonl: no such file"),
        (TOLD, "feedback.jinja", "feedback.jinja: no such prompt"),
        (RESPOND, "model/card.json", "model/card.json: no such file; is model a model folder?"),
        (ASKED, "model/card.json", "model/card.json: no such file; is model a model folder?"),
        (REVISE, "model/card.json", "model/card.json: no such file; is model a model folder?"),
        (JUDGE, "tiny-0.jsonl", "tiny-0.jsonl: no such file"),
        (JUDGE, "model/card.json", "model/card.json: no such file; is model a model folder?"),
        (OWN, "model/card.json", "model/card.json: no such file; is model a model folder?"),
        (SAMPLE, "items.jsonl", "items.jsonl: no such file"),
        (CHOICE, "draw-1.jsonl", "draw-1.jsonl: no such file"),
        (LIKELIEST, "model/card.json", "model/card.json: no such file; is model a model folder?"),
        (BORROW, "feedback.jsonl", "feedback.jsonl: no such file"),
        (LEAK, "feedback.jsonl", "feedback.jsonl: no such file"),
        (SCORE_CHOSEN, "selections.jsonl", "selections.jsonl: no such file"),
        (SHOW, "pipeline.yaml", "pipeline.yaml: no such file"),
    ],
    ids=short,
)
def test_missing_files(house: Path, command: str, file: str, message: str) -> None:
    (house / file).unlink()
    refused(house, command, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"engine": "openai"', "model/card.json: Invalid JSON"),
        (b'{"engine": "abacus"}', "model/card.json: Input tag 'abacus'"),
        (b'{"engine": "file", "name": "x"}', "model/card.json: file.sha256: Field required"),
        (b"\xff", "model/card.json: "),
    ],
)
def test_a_damaged_card(house: Path, content: bytes, message: str) -> None:
    (house / "model" / "card.json").write_bytes(content)
    refused(house, ASKED, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{{ target }}", "feedback.jinja: 'target' is undefined"),
        (b"{{ colour }}", "feedback.jinja: 'colour' is undefined"),
        (b"Hm.\n{% if turns %}", "feedback.jinja:2: Unexpected end of template"),
        (b"{{ turns + 1 }}", "feedback.jinja: can only concatenate list"),
        (b"\xff", "feedback.jinja: not UTF-8"),
    ],
)
def test_a_bad_prompt(house: Path, content: bytes, message: str) -> None:
    (house / "feedback.jinja").write_bytes(content)
    refused(house, ASKED, message)


@pytest.mark.parametrize("name", ["{student}-{colour}", "{student}-{}", "{student}-{", "{seed.x}"])
def test_a_pattern_with_an_unknown_placeholder(house: Path, name: str) -> None:
    refused(house, SCORE.replace("{student}-{seed}", name), f"--trajectories {name}.jsonl: ")


@pytest.mark.parametrize("name", ["{student}", "{draw}-{}", "{draw", "{draw.x}"])
def test_candidates_have_one_axis(house: Path, name: str) -> None:
    message = f"--candidates {name}.jsonl: the axes of this step are {{draw}}"
    for command in (CHOICE, LIKELIEST):
        refused(house, command.replace("draw-{draw}", name), message)


def test_what_a_candidate_answers(house: Path) -> None:
    """Items, or trajectories with feedback: never both, and never half of the latter."""
    message = "give --items, or --condition, --trajectories and --feedback"
    without = SAMPLE.replace("--items items.jsonl", "")
    refused(house, without, message)
    refused(house, f"{SAMPLE} {RETRYING}", message)
    for flag in ("--condition lazy", "--trajectories tiny-0.jsonl", "--feedback feedback.jsonl"):
        refused(house, f"{without} {RETRYING.replace(flag, '')}", message)
        refused(house, f"{SAMPLE} {flag}", message)
    # With all of it, the next thing that is missed is the key.
    retrying = without.replace("respond/task", "revise/retry")
    refused(house, f"{retrying} {RETRYING}", "OWN_API_KEY is not set")


def test_flags_that_need_each_other(house: Path) -> None:
    refused(house, CHOICE.split(" --template")[0], "--by student needs --template")
    refused(house, TEACHERS_CHOICE.split(" --teacher")[0], "--by teacher needs --teacher")
    refused(house, OWN.replace("--model model", ""), "--teacher and --own need --model")
    refused(house, OWN.replace("--calls out.calls", ""), "--teacher and --own need --calls")
    refused(house, f"{SCORE} --selections x.jsonl", "--selections belongs to --step select")
    chosen = SCORE_CHOSEN.split(" --selections")[0]
    refused(house, chosen, "--selections belongs to --step select")


def test_a_server_that_cannot_score(house: Path) -> None:
    refused(house, LIKELIEST, "cannot score given text")


def test_nothing_new_is_written(house: Path) -> None:
    (house / "params.yaml").write_text("scale: tiny\n")
    for command in (
        *(CHECK, FETCH, DOWNLOAD, PREPARE, RESPOND, TOLD, ASKED, REVISE, SCORE),
        *(OWN, BORROW, LEAK, JUDGE, SAMPLE, CHOICE, TEACHERS_CHOICE, LIKELIEST, SCORE_CHOSEN),
    ):
        refused(house, command, "error: params.yaml: ", older=False)
        assert not list(house.glob("out*"))


def test_a_teacher_needs_a_model(house: Path) -> None:
    refused(house, TOLD + " --teacher scripted", "--teacher and --own need --model")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (TOLD.replace("items.jsonl", "model"), "model: Is a directory"),
        (ASKED.replace("--model model", "--model params.yaml"), "params.yaml/card.json: Not a dir"),
        (SCORE.replace("--out out", "--out model"), "model: Is a directory"),
        (SCORE.replace("--out out", "--out params.yaml/out"), "params.yaml: "),
        (FETCH.replace("--out out", "--out params.yaml"), "params.yaml: "),
    ],
    ids=short,
)
def test_a_folder_for_a_file(house: Path, command: str, message: str) -> None:
    refused(house, command, message)


def test_a_file_with_another_hash(house: Path) -> None:
    (house / "replies.jsonl").write_text('{"id": "a", "reply": "b"}\n')
    spec = {"engine": "file", "path": "replies.jsonl", "sha256": "0" * 64}
    (house / "params.yaml").write_text(yaml.safe_dump({"models": {"scripted": spec}}))
    refused(house, FETCH, "replies.jsonl: SHA-256 is ", older=False)
    refused(house, FETCH, "replies.jsonl: SHA-256 is ")
    spec["path"] = "nowhere.jsonl"
    (house / "params.yaml").write_text(yaml.safe_dump({"models": {"scripted": spec}}))
    refused(house, FETCH, "models.scripted.path: nowhere.jsonl: no such file")


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server that accepts no key: its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusing) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/v1", asked
        listening.shutdown()


def test_without_a_key_nothing_is_asked(house: Path, server: tuple[str, list[str]]) -> None:
    address, asked = server
    served(house, address)
    for command in (ASKED, RESPOND, REVISE, OWN, JUDGE, SAMPLE, CHOICE, TEACHERS_CHOICE):
        refused(house, command, "OWN_API_KEY is not set, and ")
        (house / "out").unlink()
    assert asked == []
    # With one, the server is asked: the test above can see a request.
    key = "sk-of-our-own-0123456789"
    done = stage(house, ASKED, OWN_API_KEY=key, OWN_CONCURRENCY="1")
    assert done.returncode == 1
    assert "HTTP 401: the key is not accepted" in done.stderr
    assert asked == ["/v1/chat/completions"]
    assert key not in done.stderr
    assert key.encode() not in (house / "calls.jsonl").read_bytes()
    assert not (house / "out").exists()


def test_what_is_not_pinned_is_warned_about() -> None:
    command = f"check --params scales/paper.yaml --prompts {PROMPTS}"
    done = stage(ROOT, command)
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert all(line.startswith("warning: scales/paper.yaml: ") for line in lines)
    params = read_yaml(ROOT / "scales" / "paper.yaml")
    for slug, spec in params["models"].items():
        unpinned = "source" in spec and spec["source"]["revision"] is None
        assert unpinned == any(f"models.{slug}.source.revision is null" in line for line in lines)
    for slug, price in params["prices"].items():
        unknown = None in price.values()
        assert unknown == any(f"prices.{slug}: " in line for line in lines)
    # The scale that runs everywhere has nothing to warn about.
    assert stage(ROOT, command.replace("paper", "laptop")).stderr == ""


# Runs a module as `python -m` does, then names on its last line what it has imported.
WATCHED = f"""
import runpy, sys
module, sys.argv = sys.argv[1], sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    sys.stdout.write(f"\\n{{end.code or 0}} {{sorted({HEAVY!r} & set(sys.modules))}}")
"""


def imports(folder: Path, command: str) -> str:
    """Return the exit code of a stage and which heavy libraries it imported."""
    name, *words = command.split()
    done = python(folder, "-c", WATCHED, f"stages.{name}", *words)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_watch_sees_imports(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "own.py").write_text("import numpy\nraise SystemExit(3)\n")
    done = python(tmp_path, "-c", WATCHED, "stages.own", PYTHONPATH=str(tmp_path))
    assert done.stdout.splitlines()[-1] == "3 ['numpy']"


def test_all_stages_are_known() -> None:
    declared = read_yaml(ROOT / "dvc.yaml")["stages"].values()
    named = {word.split(".")[1] for s in declared for word in s["cmd"].split()[2:3]}
    assert named <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_help_is_light(module: str) -> None:
    assert imports(ROOT, f"{module} --help") == "0 []"


def test_what_needs_no_model_is_light(house: Path) -> None:
    house_params = house / "params.yaml"
    for command in (
        *(CHECK, FETCH, DOWNLOAD.replace("--out out", "--out raw"), PREPARE, TOLD, SCORE),
        *(BORROW, LEAK, SCORE_CHOSEN),
    ):
        assert imports(house, command) == "0 []", command
        remove(house / "out")

    # The report needs pandas and scipy, and no model: on items and replies of all cells.
    for split in ("train", "test"):
        (house / "tasks" / "bbh").mkdir(parents=True, exist_ok=True)
        command = "prepare --params params.yaml --suite bbh --raw raw --train tasks/bbh/train.jsonl"
        assert imports(house, f"{command} --test tasks/bbh/test.jsonl") == "0 []", split
    items = read_jsonl(house / "tasks" / "bbh" / "test.jsonl", Item)
    [tau, *_] = read_jsonl(house / "tiny-0.jsonl", Trajectory)
    taus = [tau.model_copy(update={"item": item.id, "task": item.task}) for item in items]
    params = read_yaml(house_params)
    for condition in (None, *params["conditions"]):
        told = [one.model_copy(update={"condition": condition}) for one in taus]
        write_jsonl(house / f"{condition or 'none'}-tiny-0.jsonl", told)
        write_jsonl(
            house / f"feedback-{condition}-tiny-0.jsonl",
            [
                Feedback(
                    item=one.item, suite=one.suite, task=one.task, split=one.split,
                    condition=condition or "none", student="tiny", teacher="scripted", seed=0,
                    status="error", text=None, exchange=None,
                )
                for one in taus
            ],
        )  # fmt: skip
    for pool, condition in (("alone", None), ("conditioned", params["grid"]["base"])):
        told = [one.model_copy(update={"condition": condition}) for one in taus]
        for draw in params["grid"]["draws"]:
            drawn = [candidate(one, draw, f"Answer: {draw}") for one in told]
            write_jsonl(house / f"{pool}-{draw}.jsonl", drawn)
        for selector in params["selectors"]:
            chosen = [by_logits(one, selector=selector) for one in told]
            write_jsonl(house / f"{pool}-{selector}.jsonl", chosen)
    for step, pattern in (
        ("respond", "none-{student}-{seed}"),
        ("answer", "none-tiny-0"),
        ("revise", "{condition}-{student}-{seed}"),
        ("sample", "{pool}-{draw}"),
        ("select", "{pool}-{draw}"),
    ):
        command = SCORE.replace("items.jsonl", "tasks/bbh/test.jsonl").replace("respond", step)
        command = command.replace("{student}-{seed}", pattern)
        command = command.replace("--out out", f"--out scores/bbh/{step}.jsonl")
        if step == "select":
            command += " --selections {pool}-{selector}.jsonl"
        assert imports(house, command) == "0 []"
    given = "feedback-{condition}-{student}-{seed}.jsonl"
    command = LEAK.replace("items.jsonl", "tasks/bbh/test.jsonl").replace("feedback.jsonl", given)
    assert imports(house, command.replace("--out out", "--out scores/bbh/feedback.jsonl")) == "0 []"
    (house / "whole").mkdir()
    whole = small(house / "whole")
    whole.write()
    ended = imports(whole.root, " ".join(["report", *whole.flags("out")]))
    assert ended.startswith("0 ")
    assert "torch" not in ended
    assert "transformers" not in ended
    assert "openai" not in ended
