"""The stages `download` and `prepare` as commands.

Covers: the real release through a mirror folder (skipped where there is none), made-up archives
in a mirror, wrong hashes and missing or corrupt files (one line, exit code 1, no output left),
the count line of prepare, and that --help is quick and imports nothing heavy.
Does not cover: the network and pip (run by hand), BIG-bench's real archive (358 MB, by hand).
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.records import Item, read_jsonl
from stages.tasks.bbh.subtasks import BigBenchFile, load_subtasks

ROOT = Path(__file__).parent.parent
RELEASE = {"kind": "bbh_release", "url": "https://host.invalid/bbh/", "train_first": 100}


def stage(name: str, mirror: Path | None, **flags: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", f"stages.{name}"]
    for flag, value in flags.items():
        command += [f"--{flag}", str(value)]
    env = {key: value for key, value in os.environ.items() if key != "DATA_MIRROR"}
    if mirror is not None:
        env["DATA_MIRROR"] = str(mirror)
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def write_params(folder: Path, source: dict[str, Any], **suite: Any) -> Path:
    path = folder / "params.yaml"
    values = {"train": 1, "test": 1, "longest_question": None, "seed": 0, **suite}
    path.write_text(yaml.safe_dump({"suites": {"bbh": {"source": source, **values}}}))
    return path


@pytest.fixture
def mirror() -> Path:
    folder = Path(os.environ.get("DATA_MIRROR") or ROOT.parent / "shared" / "data").resolve()
    if not (folder / "bbh").is_dir():
        pytest.skip("no mirror of the BBH release (DATA_MIRROR)")
    return folder


def fails(done: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """Assert one clear line, exit code 1."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("download: ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


def test_release_end_to_end(tmp_path: Path, mirror: Path) -> None:
    params = write_params(tmp_path, RELEASE, train=None, test=None)
    raw, train, test = tmp_path / "raw", tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    done = stage("download", mirror, params=params, suite="bbh", out=raw)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(raw.iterdir())) == 27
    done = stage("prepare", None, params=params, suite="bbh", raw=raw, train=train, test=test)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "prepare bbh: 6511 in = 2700 train + 3811 test + 0 dropped (not_taken 0, too_long 0)\n"
    )
    items = read_jsonl(train, Item) + read_jsonl(test, Item)
    assert len({item.id for item in items}) == 6511
    assert items[0].id == "bbh/boolean_expressions/0"
    before = (train.read_bytes(), test.read_bytes())
    stage("prepare", None, params=params, suite="bbh", raw=raw, train=train, test=test)
    assert (train.read_bytes(), test.read_bytes()) == before


def test_release_wrong_bytes(tmp_path: Path, mirror: Path) -> None:
    copy = tmp_path / "mirror"
    shutil.copytree(mirror / "bbh", copy / "bbh")
    with (copy / "bbh" / "snarks.json").open("a") as stream:
        stream.write("\n")
    out = tmp_path / "raw"
    params = write_params(tmp_path, RELEASE)
    done = stage("download", copy, params=params, suite="bbh", out=out)
    fails(done, "snarks.json: SHA-256 is ", "expected 54a0661f")
    (copy / "bbh" / "snarks.json").unlink()
    done = stage("download", copy, params=params, suite="bbh", out=out)
    fails(done, "snarks.json: No such file or directory (DATA_MIRROR)")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mirror", "params.yaml"]


def test_release_keeps_what_is_there_when_it_fails(tmp_path: Path) -> None:
    out = tmp_path / "raw"
    out.mkdir()
    (out / "old.json").write_text("{}")
    (tmp_path / "mirror").mkdir()
    params = write_params(tmp_path, RELEASE)
    fails(
        stage("download", tmp_path / "mirror", params=params, suite="bbh", out=out), "(DATA_MIRROR)"
    )
    assert [path.name for path in out.iterdir()] == ["old.json"]


def test_unreachable_host(tmp_path: Path) -> None:
    # Port 1 of this machine: refused at once, no name is looked up.
    source = {**RELEASE, "url": "https://127.0.0.1:1/"}
    out = tmp_path / "raw"
    done = stage("download", None, params=write_params(tmp_path, source), suite="bbh", out=out)
    fails(done, "https://127.0.0.1:1/boolean_expressions.json: ")
    assert not out.exists()


def archive(mirror: Path, leave_out: str | None = None) -> str:
    """Write a made-up distribution into a mirror; return its SHA-256."""
    path = mirror / "bigbench" / "bigbench-1.0.0.tar.gz"
    path.parent.mkdir(parents=True)
    files = ["made_up/task.json"]
    forms = [subtask.bigbench for subtask in load_subtasks().values()]
    files += [f.file for f in forms if isinstance(f, BigBenchFile) and f.file != leave_out]
    with tarfile.open(path, "w:gz") as tar:
        for name in files:
            body = json.dumps({"examples": [], "name": name}).encode()
            info = tarfile.TarInfo(f"bigbench-1.0.0/bigbench/benchmark_tasks/{name}")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bigbench(sha256: str) -> dict[str, Any]:
    return {"kind": "bigbench", "requirement": "bigbench==1.0.0", "sha256": sha256}


def test_bigbench_from_a_mirror(tmp_path: Path) -> None:
    sha256 = archive(tmp_path / "mirror")
    params = write_params(tmp_path, bigbench(sha256))
    raw = tmp_path / "raw"
    done = stage("download", tmp_path / "mirror", params=params, suite="bbh", out=raw)
    assert done.returncode == 0, done.stderr
    files = sorted(str(path.relative_to(raw)) for path in raw.rglob("*.json"))
    assert len(files) == 24
    assert "logical_deduction/five_objects/task.json" in files
    flags = {"train": tmp_path / "train.jsonl", "test": tmp_path / "test.jsonl"}
    done = stage("prepare", None, params=params, suite="bbh", raw=raw, **flags)
    fails(done, "suites.bbh: causal_judgement has 0 questions, too few for train 1 and test 1")
    (raw / "hyperbaton" / "task.json").write_text("{")
    (raw / "causal_judgment" / "task.json").write_text("{")
    done = stage("prepare", None, params=params, suite="bbh", raw=raw, **flags)
    fails(done, f"{raw / 'causal_judgment' / 'task.json'}: Invalid JSON")
    (raw / "causal_judgment" / "task.json").unlink()
    done = stage("prepare", None, params=params, suite="bbh", raw=raw, **flags)
    fails(done, f"{raw / 'causal_judgment' / 'task.json'}: no such file")
    assert not list(tmp_path.glob("*.jsonl"))


def test_bigbench_wrong_archive(tmp_path: Path) -> None:
    params = write_params(tmp_path, bigbench("0" * 64))
    archive(tmp_path / "mirror")
    out = tmp_path / "raw"
    done = stage("download", tmp_path / "mirror", params=params, suite="bbh", out=out)
    fails(done, "bigbench-1.0.0.tar.gz", "SHA-256 is ", "expected 0000")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mirror", "params.yaml"]


def test_bigbench_archive_without_a_file(tmp_path: Path) -> None:
    sha256 = archive(tmp_path / "mirror", leave_out="snarks/task.json")
    params = write_params(tmp_path, bigbench(sha256))
    out = tmp_path / "raw"
    done = stage("download", tmp_path / "mirror", params=params, suite="bbh", out=out)
    fails(done, "bigbench-1.0.0.tar.gz: no /bigbench/benchmark_tasks/snarks/task.json in it")
    assert not out.exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("snarks.json", "{", "snarks.json: Invalid JSON"),
        ("snarks.json", '{"examples": [{"input": "a"}]}', "snarks.json: examples.0.target: "),
        (
            "snarks.json",
            '{"examples": [{"input": "a", "target": "b"}]}',
            "snarks.json: examples.0: ",
        ),
        ("word_sorting.json", None, "word_sorting.json: no such file"),
    ],
)
def test_prepare_release_corrupt(tmp_path: Path, file: str, text: str | None, message: str) -> None:
    for task in load_subtasks():
        (tmp_path / f"{task}.json").write_text('{"examples": []}')
    if text is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(text)
    flags = {"train": tmp_path / "train.jsonl", "test": tmp_path / "test.jsonl"}
    params = write_params(tmp_path, RELEASE)
    fails(stage("prepare", None, params=params, suite="bbh", raw=tmp_path, **flags), message)
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("name", ["download", "prepare"])
def test_help_is_light(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"stages.{name}", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--params" in done.stdout
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "stages.params" in modules
    assert not modules & {"torch", "transformers", "pandas", "numpy", "openai"}
