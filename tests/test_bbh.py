"""The BBH subtasks: stages/tasks/bbh.

Covers: the written generators (their values against Python's own evaluation and an independent
reader), the flags, the presentation of BIG-bench files (made-up ones), and on the mirrored
release (DATA_MIRROR or ../shared/data; skipped elsewhere) the counts and the known bad items.
Does not cover: BIG-bench's own files, which are too large for a test.
"""

import json
import os
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import UserError
from stages.records import Item
from stages.tasks.bbh.bigbench import read_bigbench
from stages.tasks.bbh.flags import flagged
from stages.tasks.bbh.generators import arithmetic, boolean_expression, web_of_lies
from stages.tasks.bbh.release import read_release
from stages.tasks.bbh.subtasks import BigBenchFile, load_subtasks
from stages.tasks.config import BigBenchSource, ReleaseSource, Suite
from stages.tasks.formats import load_formats
from stages.tasks.prepared import Prepared

ROOT = Path(__file__).parent.parent
SEEDS = st.integers(min_value=0, max_value=10**9)
RELEASE = ReleaseSource(kind="bbh_release", url="https://host.invalid/", train_first=100)
BIGBENCH = BigBenchSource(kind="bigbench", requirement="bigbench==1.0.0", sha256="0" * 64)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_boolean_expression(seed: int) -> None:
    text, answer = boolean_expression(Random(seed))
    assert re.fullmatch(r"((True|False|not|and|or|\(|\)) )+is", text)
    assert answer == str(eval(text.removesuffix(" is")))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_arithmetic(seed: int) -> None:
    text, answer = arithmetic(Random(seed))
    four = r"\(-?\d( [-+*] -?\d){3}\)"
    assert re.fullmatch(rf"\({four} [-+*] {four}\) =", text)
    assert answer == str(eval(text.removesuffix(" =")))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_web_of_lies(seed: int) -> None:
    text, answer = web_of_lies(Random(seed))
    honest: dict[str, bool] = {}
    for sentence in text.removeprefix("Question: ").split(". ")[:-1]:
        name, *rest = sentence.split()
        claim = rest[-1] == "truth"
        honest[name] = claim if rest[0] != "says" else claim == honest[rest[1]]
    asked = re.search(r"Does (\w+) tell the truth\?$", text)
    assert asked is not None
    assert len(honest) == 5
    assert answer == ("Yes" if honest[asked[1]] else "No")


@pytest.mark.parametrize("generator", [boolean_expression, arithmetic, web_of_lies])
def test_generators_vary_and_repeat(generator) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    drawn = [generator(Random(seed)) for seed in range(200)]
    assert drawn == [generator(Random(seed)) for seed in range(200)]
    assert len({text for text, _ in drawn}) > 150
    answers = [answer for _, answer in drawn]
    assert max(answers.count(answer) for answer in answers) < 130


def own(index: int, question: str, split: str, options: dict[str, str], target: str) -> Item:
    return Item(
        id=f"bbh/own/{index}",
        suite="bbh",
        task="own",
        split=split,  # type: ignore[arg-type]
        index=index,
        question=question,
        answer_format="x",
        family="letter",
        options=options,
        target=target,
    )


def test_flags() -> None:
    two = {"(A)": "kite", "(B)": "kayak"}
    items = [
        own(0, "same", "train", two, "(A)"),
        own(1, "same", "test", two, "(B)"),
        own(2, "same", "test", two, "(B)"),
        own(3, "other", "test", two, "kite"),
        own(4, "third", "test", {"(A)": "kite", "(B)": "kite"}, "(A)"),
        own(5, "fourth", "test", {"(A)": "kite"}, "(A)"),
        own(6, "fifth", "test", {}, "kite"),
        own(7, "twice", "test", two, "(A)"),
        own(8, "twice", "test", two, "(A)"),
    ]
    assert [item.flags for item in flagged(items)] == [
        ("duplicate:bbh/own/1", "duplicate:bbh/own/2"),
        ("duplicate:bbh/own/0",),
        ("duplicate:bbh/own/0",),
        ("bad:gold_not_an_option",),
        ("bad:duplicate_options",),
        ("bad:single_option",),
        (),
        (),
        (),
    ]


def test_the_subtasks() -> None:
    subtasks = load_subtasks()
    assert len(subtasks) == 27
    assert {subtask.family for subtask in subtasks.values()} == set(load_formats())
    files = [s.bigbench.file for s in subtasks.values() if isinstance(s.bigbench, BigBenchFile)]
    assert len(set(files)) == 24


# --- BIG-bench files, made up ------------------------------------------------------------------

COLOURS = ["ochre", "teal", "plum", "rust", "sand", "jade", "navy", "lime"]


def made_up(task: str) -> dict[str, object]:
    """Return a made-up task.json for one subtask: eight questions in the source's form."""
    form = load_subtasks()[task].bigbench
    assert isinstance(form, BigBenchFile)
    examples: list[dict[str, object]] = []
    for index, colour in enumerate(COLOURS):
        example: dict[str, object] = {"input": f"Which lamp  is {colour}? \n\n No. {index} "}
        scores = {f"lamp {other}.": int(other == colour) for other in (colour, "grey", "white")}
        if task == "hyperbaton":
            example["input"] = f'Which order: a " big {colour} " b " {colour} big " ?'
            scores = {"a": 1, "b": 0}
        elif task == "snarks":
            example["input"] = f"Which is meant? (a) I love {colour}. (b) I loathe {colour}."
            scores = {"(a)": 0, "(b)": 1}
        elif task == "geometric_shapes":
            scores = {"circle": 1, "ellipse": 1, "line": 0}
        elif task == "reasoning_about_colored_objects":
            scores = {"0": 0, "zero": 0, "1": 1, "one": 1}
        elif task == "navigate":
            scores = {"True": 0, "False": 1}
        elif task == "sports_understanding":
            example["input"] = f"The {colour} boat sailed"
            scores = {"plausible": 1, "implausible": 0}
        elif task == "causal_judgement":
            scores = {"Yes": 1, "No": 0}
        elif task == "formal_fallacies":
            scores = {"valid": 0, "invalid": 1}
        elif task == "dyck_languages":
            scores = {")": 0, "] )": 1}
        if task == "object_counting":
            example["target"] = ["eight", "8"]
        elif task == "word_sorting":
            example["target"] = "a b c"
        else:
            example["target_scores"] = scores
        examples.append(example)
    return {"task_prefix": "Look.", "examples": examples, "name": task}


def write_made_up(raw: Path) -> None:
    for task, subtask in load_subtasks().items():
        if isinstance(subtask.bigbench, BigBenchFile):
            path = raw / subtask.bigbench.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(made_up(task)), encoding="utf-8")


def suite(train: int | None = 2, test: int | None = 3, longest: int | None = None, seed: int = 0):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return Suite(source=BIGBENCH, train=train, test=test, longest_question=longest, seed=seed)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_made_up(tmp_path)
    return tmp_path


def of(prepared: Prepared, task: str) -> list[Item]:
    return [item for item in prepared.train + prepared.test if item.task == task]


def test_bigbench_presentation(raw: Path) -> None:
    prepared = read_bigbench(raw, "bbh", suite())
    colour = lambda item: COLOURS[item.index]  # noqa: E731
    for item in of(prepared, "disambiguation_qa"):
        question, _, options = item.question.partition("\nOptions:\n")
        assert question == f"Look. Which lamp is {colour(item)}?\nNo. {item.index}"
        assert options == f"(A) lamp {colour(item)}.\n(B) lamp grey.\n(C) lamp white."
        assert item.target == "(A)"
        assert item.options == dict(line.split(" ", 1) for line in options.split("\n"))
        assert item.answer_format.startswith("the letter")
    for item in of(prepared, "logical_deduction_five_objects"):
        assert item.options["(B)"] == "lamp grey"
    for item in of(prepared, "date_understanding"):
        assert item.options[item.target] == f"lamp {colour(item)}."
    assert len({item.target for item in of(prepared, "date_understanding")}) > 1
    for item in of(prepared, "hyperbaton"):
        big = f"(A) big {colour(item)}\n(B) {colour(item)} big"
        assert item.question == f"Look. Which order:\nOptions:\n{big}"
        assert item.target == "(A)"
    for item in of(prepared, "snarks"):
        love = f"(A) I love {colour(item)}.\n(B) I loathe {colour(item)}."
        assert item.question == f"Look. Which is meant?\nOptions:\n{love}"
        assert item.target == "(B)"
    for item in of(prepared, "geometric_shapes"):
        assert (item.options, item.target) == ({"(A)": "circle", "(B)": "line"}, "(A)")
    for item in of(prepared, "reasoning_about_colored_objects"):
        assert (item.options, item.target) == ({"(A)": "zero", "(B)": "one"}, "(B)")
    for item in of(prepared, "navigate"):
        assert item.question.endswith("\nOptions:\n- Yes\n- No")
        assert item.target == "No"
    for item in of(prepared, "sports_understanding"):
        assert (
            item.question
            == f'Is the following sentence plausible? "The {colour(item)} boat sailed."'
        )
        assert (item.target, list(item.options)) == ("Yes", ["Yes", "No"])
    for item in of(prepared, "object_counting"):
        assert (item.target, item.options) == ("8", {})
    for item in of(prepared, "dyck_languages"):
        assert (item.target, item.options) == ("] )", {})
    assert {item.target for item in of(prepared, "formal_fallacies")} == {"invalid"}


def test_bigbench_split(raw: Path) -> None:
    prepared = read_bigbench(raw, "bbh", suite())
    again = read_bigbench(raw, "bbh", suite())
    assert (prepared.train, prepared.test) == (again.train, again.test)
    other = read_bigbench(raw, "bbh", suite(seed=1))
    assert [item.id for item in prepared.test] != [item.id for item in other.test]
    assert (len(prepared.train), len(prepared.test)) == (54, 81)
    for part in (prepared.train, prepared.test):
        assert part == sorted(part, key=lambda item: (item.task, item.index))
    ids = [item.id for item in prepared.train + prepared.test]
    assert len(set(ids)) == len(ids)
    questions = [(item.task, item.question) for item in prepared.train + prepared.test]
    assert len(set(questions)) == len(questions)
    assert prepared.dropped.total() + len(ids) == 24 * 8 + 3 * 1000


def test_bigbench_drops(raw: Path) -> None:
    path = raw / "word_sorting" / "task.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["examples"][3] = {"input": content["examples"][2]["input"] + " ", "target": "a b c"}
    content["examples"][4]["input"] = "x" * 999
    path.write_text(json.dumps(content), encoding="utf-8")
    before = read_bigbench(raw, "bbh", suite(test=None, longest=None))
    after = read_bigbench(raw, "bbh", suite(test=None, longest=900))
    assert [item.index for item in sorted(of(before, "word_sorting"), key=lambda i: i.index)] == [
        0, 1, 2, 4, 5, 6, 7
    ]  # fmt: skip
    assert sorted(item.index for item in of(after, "word_sorting")) == [0, 1, 2, 5, 6, 7]
    assert after.dropped["too_long"] == 1
    assert after.dropped["not_taken"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("examples"), "examples: Field required"),
        (lambda c: c["examples"][1].update(input=7), "examples.1.input: "),
        (lambda c: c["examples"][1].update(input=""), "examples.1.input: "),
        (lambda c: c["examples"][1].pop("target_scores"), "examples.1: neither target nor"),
        (
            lambda c: c["examples"][1].update(target_scores={"x": 1, "y": 1}),
            "examples.1.target_scores: 2 right answers, expected 1",
        ),
        (
            lambda c: c["examples"][1].update(
                target_scores={str(n): int(n == 3) for n in range(19)}
            ),
            "examples.1: 19 options, more than 18",
        ),
    ],
)
def test_bigbench_bad_file(raw: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    path = raw / "ruin_names" / "task.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_bigbench(raw, "bbh", suite())
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            {"train": 4, "test": 5},
            "causal_judgement has 8 questions, too few for train 4 and test 5",
        ),
        ({"train": 8, "test": None}, "has 8 questions, too few for train 8 and test None"),
        ({"train": None}, "suites.bbh.train: a number is needed"),
        ({"longest": 30}, "too few"),
    ],
)
def test_bigbench_too_few(raw: Path, form: dict[str, int | None], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        read_bigbench(raw, "bbh", suite(**form))


# --- the release, through the mirror -----------------------------------------------------------


@pytest.fixture(scope="module")
def release() -> Path:
    mirror = Path(os.environ.get("DATA_MIRROR") or ROOT.parent / "shared" / "data")
    if not (mirror / "bbh").is_dir():
        pytest.skip("no mirror of the BBH release (DATA_MIRROR)")
    return mirror / "bbh"


def of_release(folder: Path, train: int | None = None, test: int | None = None) -> Prepared:
    wanted = Suite(source=RELEASE, train=train, test=test, longest_question=None, seed=0)
    return read_release(folder, "bbh", wanted, RELEASE)


def test_release_counts(release: Path) -> None:
    prepared = of_release(release)
    assert (len(prepared.train), len(prepared.test)) == (2700, 3811)
    assert prepared.dropped.total() == 0
    assert len({item.task for item in prepared.train}) == 27
    assert max(len(item.options) for item in prepared.test) == 18
    cut = of_release(release, train=3, test=2)
    assert (len(cut.train), len(cut.test), cut.dropped["not_taken"]) == (81, 54, 6511 - 135)
    assert [item.index for item in of(cut, "snarks")] == [0, 1, 2, 100, 101]


def test_release_known_bad_items(release: Path) -> None:
    prepared = of_release(release)
    found = {
        item.id.removeprefix("bbh/"): item.flags
        for item in prepared.train + prepared.test
        if item.flags
    }
    known = {
        "movie_recommendation/163": ("bad:gold_not_an_option",),
        "ruin_names/99": ("bad:gold_not_an_option", "bad:duplicate_options"),
        "ruin_names/144": ("bad:gold_not_an_option", "bad:duplicate_options"),
        "snarks/86": ("bad:duplicate_options",),
        "snarks/88": ("bad:single_option",),
    }
    for task, train, test in (
        ("causal_judgement", 32, 119),
        ("causal_judgement", 36, 104),
        ("sports_understanding", 27, 155),
        ("sports_understanding", 80, 227),
    ):
        known[f"{task}/{train}"] = (f"duplicate:bbh/{task}/{test}",)
        known[f"{task}/{test}"] = (f"duplicate:bbh/{task}/{train}",)
    assert found == known


def test_release_bad_option_lists(tmp_path: Path) -> None:
    tasks = load_subtasks()
    for task in tasks:
        (tmp_path / f"{task}.json").write_text('{"examples": []}', encoding="utf-8")
    path = tmp_path / "snarks.json"
    for body, message in (
        ("Which?", "examples.0: no list of lettered options at the end of the input"),
        ("Which?\nOptions:\n(A) a\nb", "examples.0: no list of lettered options"),
        ("Which?\nOptions:\n(A) a\n(C) b", "examples.0: the options are not lettered in order"),
        (
            "Which?\nOptions:\n" + "\n".join(f"({chr(65 + n)}) {n}" for n in range(19)),
            "examples.0: 19 options, more than 18",
        ),
    ):
        content = {"examples": [{"input": body, "target": "(A)"}]}
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(UserError) as caught:
            of_release(tmp_path)
        assert str(caught.value).startswith(f"{path}: {message}")
