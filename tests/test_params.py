"""params.yaml: the committed scales, and what is said of wrong ones.

Covered: every scale passes the whole check and has one schema, params.yaml is the laptop's; what a
stage may read; each rule of stages/check.py by a broken example; wrong values of any kind give a
UserError of one line. Not covered: exit codes and the disk (test_mistakes.py), what DVC makes of
the params (test_pipeline.py).
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.check import Whole, check_whole, warnings
from stages.conditions import Condition
from stages.errors import UserError
from stages.model_specs import MODEL_SPEC
from stages.params import Params, read_yaml
from stages.roles import Role
from stages.tasks.config import Suite

PROMPTS = ROOT / "prompts"
SCALES = sorted((ROOT / "scales").glob("*.yaml"))
TINY = read_yaml(ROOT / "scales" / "tiny.yaml")


@pytest.mark.parametrize("path", SCALES, ids=lambda path: path.stem)
def test_a_scale_is_sound(path: Path) -> None:
    whole = check_whole(path, PROMPTS)
    assert whole.scale == path.stem
    assert whole.grid.teacher in whole.teachers
    assert set(whole.grid.conditions) == set(whole.conditions)


def test_the_scales_are_those_that_the_design_names() -> None:
    assert [path.stem for path in SCALES] == ["laptop", "open", "paper", "tiny"]


def test_params_are_those_of_the_laptop() -> None:
    laptop = (ROOT / "scales" / "laptop.yaml").read_bytes()
    assert (ROOT / "params.yaml").read_bytes() == laptop, "make scale SCALE=laptop"


def test_all_scales_have_one_schema() -> None:
    keys = {path.stem: list(read_yaml(path)) for path in SCALES}
    without_prices = {name: [k for k in found if k != "prices"] for name, found in keys.items()}
    assert all(found == without_prices["laptop"] for found in without_prices.values()), keys
    fields = list(Whole.model_fields)
    assert without_prices["laptop"] == [field for field in fields if field != "prices"]


def test_the_open_scale_differs_from_the_papers_in_its_teacher_only() -> None:
    paper, served = (read_yaml(ROOT / "scales" / f"{name}.yaml") for name in ("paper", "open"))
    for key in ("students", "suites", "conditions"):
        assert paper[key] == served[key], key
    # Table 8's other teachers are retired too.
    own = dict.fromkeys(("teacher", "other_teachers", "other_student"))
    assert paper["grid"] | own == served["grid"] | own
    for slug in paper["students"]:
        assert paper["models"][slug] == served["models"][slug]


def test_every_number_that_may_be_null_is_warned_about() -> None:
    lines = warnings(check_whole(ROOT / "scales" / "paper.yaml", PROMPTS))
    assert lines == [
        "models.qwen2_7b.source.revision is null: the newest is taken and recorded",
        "models.qwen2_15b.source.revision is null: the newest is taken and recorded",
        "models.qwen2_05b.source.revision is null: the newest is taken and recorded",
        "prices.claude3_haiku: output not known",
        "prices.gemini_flash15: output not known",
    ]
    assert warnings(check_whole(ROOT / "scales" / "laptop.yaml", PROMPTS)) == []


def test_a_stage_reads_what_it_declares(tmp_path: Path) -> None:
    path = write(tmp_path, TINY)
    params = Params(path, ("students.{student}", "grid.seeds"), student="tiny")
    assert params.get("students.{student}", Role).sampling.max_new_tokens == 8
    assert params.get("grid.seeds", list[int]) == [0]
    for key in ("grid", "students", "students.tiny", "students.{student}.system", "grid.teacher"):
        with pytest.raises(KeyError):
            params.get(key, dict)


@pytest.mark.parametrize(
    ("pattern", "axes", "message"),
    [
        ("students.{student}", {"student": "huge"}, "students.huge: not there"),
        ("pupils", {}, "pupils: not there"),
        ("scale.{x}", {"x": "y"}, "scale.y: not there"),
        ("grid.seeds.{x}", {"x": 0}, "grid.seeds.0: not there"),
        ("suites.{suite}.source", {"suite": "bbsr"}, "suites.bbsr: not there"),
        ("scale", {}, "scale: Input should be a valid integer"),
    ],
)
def test_what_is_not_there_is_named(
    tmp_path: Path, pattern: str, axes: dict[str, object], message: str
) -> None:
    path = write(tmp_path, TINY)
    with pytest.raises(UserError) as error:
        Params(path, (pattern,), **axes).get(pattern, int)
    assert str(error.value).startswith(f"{path}: {message}")


def test_an_axis_that_is_not_given_is_a_fault_of_the_code() -> None:
    with pytest.raises(KeyError):
        Params(ROOT / "params.yaml", ("students.{student}",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", ":2: "),
        ("a: 1\n b: 2\n", ":2: "),
        ("a: *nowhere\n", ":1: found undefined alias"),
        ("a: !secret x\n", ":1: could not determine a constructor"),
        ("? [a]\n: b\n", ":1: "),
        ("a: 2024-13-45\n", ": "),
        ("a: !!int many\n", ": "),
        (f"a: {'1' * 5000}\n", ": "),
        ("a: \x01\n", ": not valid YAML"),
        ("", ": expected a mapping at the top"),
        ("- a\n", ": expected a mapping at the top"),
        ("word\n", ": expected a mapping at the top"),
    ],
)
def test_no_yaml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_yaml(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("a: b\n# Grü\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"params\.yaml: not UTF-8 at byte 9"):
        read_yaml(path)


def write(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def complaint(folder: Path, values: dict[str, Any]) -> str:
    """Return what the whole check says of `values`, without the file's name."""
    path = write(folder, values)
    with pytest.raises(UserError) as error:
        check_whole(path, PROMPTS)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


MISSING = object()


def changed(*changes: tuple[str, object]) -> dict[str, Any]:
    """Return the tiny scale with the value at each dotted place replaced, added or taken out."""
    values: dict[str, Any] = deepcopy(TINY)
    for place, value in changes:
        *path, last = place.split(".")
        section = values
        for part in path:
            section = section[part]
        if value is MISSING:
            del section[last]
        else:
            section[last] = value
    return values


SECOND = "tiny-bbh-feedback_sft_cleaned-0"
UNTRAINED: list[tuple[str, object]] = [("grid.learners", []), ("grid.tuned", [])]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # Names that do not fit together.
        ([("students.other", TINY["students"]["tiny"])], "students.other: no such key under mod"),
        ([("teachers.other", TINY["teachers"]["scripted"])], "teachers.other: no such key under"),
        (
            [("prices", {"other": {"input": 1, "output": 2, "as_of": "2024-07-18"}})],
            "prices.other: no such key under models",
        ),
        ([("grid.teacher", "tiny")], "grid.teacher: tiny is not under teachers"),
        ([("grid.told", ["lazy", "praise", "idle"])], "grid: unknown condition idle"),
        ([("grid.told", ["praise"])], "conditions.lazy: not in grid.asked, compared, told, borr"),
        ([("grid.told", ["lazy", "unconstrained"])], "grid: Value error, a condition stands"),
        ([("grid.asked", ["unconstrained"] * 2)], "grid: Value error, a condition stands"),
        ([("grid.seeds", [1, 0, 1])], "grid: Value error, seeds repeat"),
        (
            [
                ("conditions.own", {"sees": [], "sentences": 1}),
                ("grid.told", ["lazy", "praise", "own"]),
            ],
            f"conditions.own: no prompt {PROMPTS}/feedback/own.jinja",
        ),
        ([("grid.controls", ["praise", "idle"])], "grid.controls: unknown condition idle"),
        # A condition stands where what it sees is at hand.
        *(
            (
                [(f"grid.{place}", [*TINY["grid"][place], slug]), (f"grid.{own}", [])],
                f"conditions.{slug}: what sees {seen} stands in grid.{own}, and nothing else does",
            )
            for slug, own, seen in (
                ("teacher_answer", "compared", "teacher_answer"),
                ("another_item", "borrowed", "other_feedback"),
            )
            for place in ("asked", "compared", "told", "borrowed", "own")
            if place not in (own, "compared")
        ),
        (
            [("grid.compared", ["teacher_answer", "lazy"]), ("grid.told", ["praise"])],
            "conditions.lazy: what sees teacher_answer stands in grid.compared",
        ),
        (
            [("grid.borrowed", ["another_item", "lazy"]), ("grid.told", ["praise"])],
            "conditions.lazy: what sees other_feedback stands in grid.borrowed",
        ),
        *(
            ([("grid.base", slug)], f"grid.base: {slug} is not in grid.asked or compared")
            for slug in ("lazy", "another_item", "self_feedback", "idle")
        ),
        # Training.
        ([("grid.students", ["other"])], "grid.students: other is not under students"),
        ([("grid.learners", ["tiny", SECOND, "other"])], "grid.learners: other is not under"),
        (
            [("grid.learners", ["tiny", SECOND, "tiny-bbh-feedback_dpo-0"])],
            "grid.learners: tiny-bbh-feedback_dpo-0 is",
        ),
        ([("grid.learners", ["tiny-bbh-dpo"])], "grid.learners.0: String should match pattern"),
        ([("grid.tuned", ["other"])], "grid.tuned: other is not in grid.students and learners"),
        ([("grid.students", ["tiny", SECOND])], "grid.students.1: String should match pattern"),
        ([("grid.seeds", [1])], f"students.{SECOND}: no such key under models"),
        (
            [("students.tiny-bbh-following_sft-0", TINY["students"]["tiny"])],
            "students.tiny-bbh-following_sft-0: no such key under models",
        ),
        (
            [
                ("students.scripted", TINY["students"]["tiny"]),
                ("grid.learners", ["tiny", "scripted"]),
            ],
            "grid.learners: the weights of scripted are not here to train",
        ),
        ([("lessons.other", TINY["lessons"]["bbh"])], "lessons: must be of the suites, bbh"),
        (
            [("lessons.bbh.condition", "self_feedback")],
            "lessons.bbh.condition: self_feedback is not",
        ),
        (
            [("lessons.bbh.negative_sampling", "luck")],
            "lessons.bbh.negative_sampling: Input should",
        ),
        ([("lessons.bbh.following_per_task", 0)], "lessons.bbh.following_per_task: Input should"),
        ([("methods", {})], "methods: Dictionary should have at least 1"),
        (
            [("methods.feedback_dpo.objective", "ppo")],
            "methods.feedback_dpo.objective: Input should",
        ),
        (
            [("methods.feedback_dpo.keep_correct_originals", True)],
            "methods.feedback_dpo: Value err",
        ),
        (
            [("following.feedback_dpo", TINY["following"]["following_sft"])],
            "following.feedback_dpo: ",
        ),
        (
            [("following.following_sft.target", "retry")],
            "following.following_sft.target: must be t",
        ),
        ([("grid.sft", [])], "grid.sft: must name the methods with objective sft, feedback_sft_cl"),
        ([("grid.dpo", ["feedback_dpo", "following_dpo"])], "grid.dpo: must name the methods with"),
        ([("grid.following_dpo", ["following_sft"])], "grid.following_dpo: must name the methods"),
        ([("trainers.sft.preset", "best")], "trainers.sft.preset: Input should be"),
        ([("trainers.sft.save", "adapter")], "trainers.sft: Value error, quantization and save"),
        # Error identification and best-of-k.
        ([("grid.verdict", "idle")], "grid.verdict: idle is not under verdicts"),
        ([("verdicts", {})], "verdicts: Dictionary should have at least 1"),
        (
            [("verdicts.own", TINY["verdicts"]["explicit"])],
            f"verdicts.own: no prompt {PROMPTS}/judge/own.jinja",
        ),
        ([("verdicts.explicit.reads", "yaml")], "verdicts.explicit.reads: Input should be 'json'"),
        ([("verdicts.explicit.sentences", 0)], "verdicts.explicit.sentences: Input should be gr"),
        ([("verdicts.explicit.max_new_tokens", 0)], "verdicts.explicit.max_new_tokens: Input sho"),
        ([("selectors.student_choice", MISSING)], "selectors: must be student_logits, student_c"),
        ([("selectors.coin", {"max_new_tokens": 1})], "selectors: must be student_logits, stude"),
        ([("selectors.student_logits.reduce", MISSING)], "selectors.student_logits.reduce: belon"),
        ([("selectors.student_choice.reduce", "mean")], "selectors.student_choice.reduce: belongs"),
        ([("selectors.student_logits.reduce", "max")], "selectors.student_logits.reduce: Input"),
        ([("selectors.student_choice.max_new_tokens", 0)], "selectors.student_choice.max_new_to"),
        ([("grid.draws", [])], "grid.draws: Tuple should have at least 1"),
        ([("grid.draws", [0, -1])], "grid.draws.1: Input should be greater"),
        ([("grid.draws", [0, 1, 0])], "grid: Value error, draws repeat"),
        ([("grid.draws", list(range(27)))], "grid.draws: at most 26 candidates"),
        (
            [("students.tiny.sampling.temperature", 0)],
            "students.tiny.sampling.temperature: 0 makes all of grid.draws alike",
        ),
        (
            [
                ("students", {"scripted": TINY["students"]["tiny"]}),
                ("grid.students", ["scripted"]),
                *UNTRAINED,
            ],
            "models.scripted: cannot score given text, which student_logits needs: set its end_to",
        ),
        (
            [
                ("models.tiny", {"engine": "file", "path": "x.jsonl", "sha256": "0" * 64}),
                ("students", {"tiny": TINY["students"]["tiny"]}),
                *UNTRAINED,
            ],
            "models.tiny: cannot score given text, which student_logits needs",
        ),
        ([("report.paper_students", {"big": "7B"})], "report.paper_students.big: no such key"),
        # Wrong values.
        ([("colour", "red")], "colour: Extra inputs"),
        ([("grid.colour", "red")], "grid.colour: Extra inputs"),
        ([("suites.bbh.shuffle", True)], "suites.bbh.shuffle: Extra inputs"),
        ([("report", MISSING)], "report: Field required"),
        ([("students", {})], "students: Dictionary should have at least 1"),
        ([("students", ["tiny"])], "students: Input should be an object"),
        ([("grid.seeds", [])], "grid.seeds: Tuple should have at least 1"),
        ([("grid.seeds", [-1])], "grid.seeds.0: Input should be greater"),
        ([("suites.bbh.test", -1)], "suites.bbh.test: Input should be greater"),
        ([("suites.bbh.test", 1.5)], "suites.bbh.test: Input should be a valid integer"),
        ([("suites.bbh.test", "many")], "suites.bbh.test: Input should be a valid integer"),
        ([("report.bootstrap", 1)], "report.bootstrap: Input should be greater"),
        ([("students.tiny.sampling.temperature", -0.1)], "students.tiny.sampling.temperature: "),
        ([("students.tiny.sampling.top_p", 0)], "students.tiny.sampling.top_p: Input"),
        ([("students.tiny.sampling.top_p", 1.1)], "students.tiny.sampling.top_p: Input"),
        (
            [("students.tiny.sampling.repetition_penalty", float("inf"))],
            "students.tiny.sampling.repetition_penalty: Input should be a finite",
        ),
        (
            [("conditions.lazy.sees", ["answer"])],
            "conditions.lazy.sees.0: Input should be 'target'",
        ),
        ([("conditions.lazy.sentences", 0)], "conditions.lazy.sentences: Input should be greater"),
        ([("scale", "Tiny Scale")], "scale: String should match pattern"),
        ([("models.Tiny", TINY["models"]["tiny"])], "models.Tiny.[key]: String should match"),
        ([("models.tiny.engine", "abacus")], "models.tiny: Input tag 'abacus'"),
        ([("models.tiny.source.kind", "huge")], "models.tiny.transformers.source: Input tag"),
        ([("models.scripted.env", "own")], "models.scripted.openai.env: String should match"),
        ([("models.scripted.accept", "(")], "models.scripted.openai.accept: "),
        ([("prices", {"tiny": {"input": -1, "output": 2, "as_of": None}})], "prices.tiny.input: "),
        ([("prices", {"tiny": {"input": 1, "output": 2, "as_of": "soon"}})], "prices.tiny.as_of: "),
    ],
)
def test_a_broken_scale(tmp_path: Path, changes: list[tuple[str, object]], message: str) -> None:
    assert complaint(tmp_path, changed(*changes)).startswith(message)


def test_the_example_that_is_broken_is_sound(tmp_path: Path) -> None:
    check_whole(write(tmp_path, changed()), PROMPTS)
    priced = {"tiny": {"input": 1, "output": 2.5, "as_of": "2024-07-18"}}
    path = write(tmp_path, changed(("prices", priced)))
    assert warnings(check_whole(path, PROMPTS)) == []
    # DVC cannot take a date, only text.
    path.write_text(path.read_text().replace("'2024-07-18'", "2024-07-18"))
    with pytest.raises(UserError, match=r"prices\.tiny\.as_of: put the date in quotation marks"):
        check_whole(path, PROMPTS)


def test_what_has_nothing_to_differ_or_can_score_is_sound(tmp_path: Path) -> None:
    for changes in (
        [("students.tiny.sampling.temperature", 0), ("grid.draws", [3])],
        [("grid.draws", list(range(26)))],
        [
            ("students", {"scripted": TINY["students"]["tiny"]}),
            ("models.scripted.end_token", "<|im_end|>"),
            ("report.paper_students", {}),
            ("grid.students", ["scripted"]),
            ("grid.learners", []),
            ("grid.tuned", []),
        ],
        [("selectors.student_logits.reduce", "sum")],
    ):
        check_whole(write(tmp_path, changed(*changes)), PROMPTS)


def places(section: dict[str, Any], before: str = "") -> Iterator[str]:
    """Yield the dotted place of every key."""
    for key, value in section.items():
        yield before + key
        if isinstance(value, dict):
            yield from places(value, f"{before}{key}.")


PRINTABLE = st.characters(exclude_categories=["Cs", "Cc"])
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.binary(max_size=3)
    | st.text(PRINTABLE, max_size=5)
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(SCALAR, inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("params")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(place=st.sampled_from(sorted(places(TINY))), value=VALUE)
def test_any_value_is_accepted_or_named(place: str, value: object, folder: Path) -> None:
    path = write(folder, changed((place, value)))
    try:
        check_whole(path, PROMPTS)
    except UserError as error:
        # With a line number where the file cannot be parsed.
        assert str(error).startswith(f"{path}:")
        assert len(str(error).splitlines()) == 1
    # What a stage reads of it by itself gives the same kind of answer.
    for pattern, kind in (
        ("models.tiny", MODEL_SPEC),
        ("students.tiny", Role),
        ("suites.bbh", Suite),
        ("conditions", dict[str, Condition]),
        ("grid.seeds", list[int]),
    ):
        try:
            Params(path, (pattern,)).get(pattern, kind)
        except UserError as error:
            assert len(str(error).splitlines()) == 1


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text(st.sampled_from("ab:-?[]{}&*!|>%@#'\",\n 01.\t\x00\u2028") | PRINTABLE))
def test_any_text_is_params_or_named(text: str, folder: Path) -> None:
    path = folder / "text.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        read_yaml(path)
    except UserError as error:
        assert str(error).startswith(f"{path}:")
        assert len(str(error).splitlines()) == 1
