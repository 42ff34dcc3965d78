"""Grading: stages/grading.py, environments/grading.py, and the stages that read grades.

Covers: grades of games and of programs, in the real sandbox (skipped without bubblewrap) and in a
made-up one: what it is given, what becomes of its reports, no sandbox at all, a broken one, equal
programs; what is kept and what is told, for every environment; opening a grader by its path;
`score` on all steps that games have and `leak`, end to end; that questions are graded as ever.
Does not cover: the rules of each game (test_game_*.py), the sandbox (test_sandbox*.py), tables.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import games_house as house
import pytest
import sandbox_house
import yaml
from conftest import ROOT
from games_house import Say, Script, Talker, cut, failed, hilo, parsed, played
from hypothesis import given
from hypothesis import strategies as st

from stages import leak, score
from stages.errors import UserError
from stages.grading import Questions, open_grader
from stages.records import (
    Completion,
    Exchange,
    Feedback,
    Item,
    Leak,
    Score,
    Trajectory,
    read_jsonl,
    write_jsonl,
)
from stages.tasks.environments import grading
from stages.tasks.environments.grading import Episodes, open_episodes
from stages.tasks.environments.registry import environment, names
from stages.tasks.grade import Grade, Told
from stages.tasks.sandbox import Job, NoSandbox, Report, SandboxBroken, Status

RULES = ROOT / "stages" / "tasks" / "extraction.yaml"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_raw(tmp_path_factory.mktemp("raw"))


class FakeSandbox:
    """Passes as many checks of a program as it has times the word "good" in it.

    Attributes:
        opened: how often it was opened; `closed` how often it was left.
        runs: what it was given.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.opened = self.closed = 0
        self.runs: list[list[Job]] = []

    def open(self) -> "FakeSandbox":
        self.opened += 1
        if isinstance(self.error, NoSandbox):
            raise self.error
        return self

    def __enter__(self) -> "FakeSandbox":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closed += 1

    def run(self, jobs: Sequence[Job]) -> list[Report]:
        self.runs.append(list(jobs))
        if self.error is not None:
            raise self.error
        return [Report(self.statuses(job), False) for job in jobs]

    def facts(self) -> dict[str, object]:
        return {"backend": "fake", "weaker": ["it passes by a word"]}

    @staticmethod
    def statuses(job: Job) -> tuple[Status, ...]:
        good = job.code.count("good")
        return tuple("passed" if n < good else "wrong" for n in range(len(job.checks)))


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> FakeSandbox:
    fake = FakeSandbox()
    monkeypatch.setattr(grading, "open_sandbox", fake.open)
    return fake


def said(item: Item, *texts: str | Completion, **more: Any) -> Trajectory:
    """Return a trajectory with these replies; grading looks at nothing else."""
    replies = (
        Completion(text=text, finish_reason="stop") if isinstance(text, str) else text
        for text in texts
    )
    return house.trajectory(item, (Exchange(messages=(), reply=one) for one in replies), **more)


def graded(*episodes: tuple[Item, Trajectory]) -> list[Grade]:
    with open_episodes() as grader:
        return grader.grades(episodes)


def code(*lines: str) -> str:
    return "\n".join(["Here it is:", "```python", *lines, "```"])


# Games.


def test_games() -> None:
    won, lost = hilo(70, 30), hilo(20, 30)
    taboo = house.taboo()
    grades = graded(
        (won, said(won, "Answer: 50", "What?", "Answer: 070")),
        (lost, said(lost, *["Answer: 50"] * 7)),
        (lost, said(lost, *["Let me think."] * 7)),
        (taboo, said(taboo, "It rises when  it blows.", "Answer: a bird")),
        (taboo, said(taboo, "It has a string.")),
    )
    assert grades[0] == Grade("correct", 1.0, True, "50 | - | 70", "50 | - | 70", 1.0, 2)
    read = " | ".join(["50"] * 7)
    assert grades[1] == Grade("incorrect", 0.0, False, read, read, 0.0, 7)
    assert grades[2] == Grade("unparsed", 0.0, False, None, None, 0.0, 0)
    read = "It rises when it blows. | bird"
    assert grades[3] == Grade("incorrect", 1.0, False, read, read, 1.0, 2)
    assert (grades[4].outcome, grades[4].score) == ("incorrect", 0.0)


def test_a_failed_request_says_nothing() -> None:
    """What comes with an error is no guess, though it looks like one."""
    item = hilo(70, 30)
    [grade] = graded((item, said(item, "Answer: 50", failed("Answer: 70"))))
    assert (grade.score, grade.solved, grade.strict) == (0.0, False, "50 | -")
    [grade] = graded((item, said(item, "Answer: 50", cut("Answer: 70"))))
    assert grade.score == 1.0


@given(texts=st.lists(st.text(), min_size=1, max_size=7))
def test_any_text_of_any_game_gets_a_grade(texts: list[str]) -> None:
    for item in (hilo(70, 30), house.taboo()):
        [grade] = graded((item, said(item, *texts)))
        assert 0 <= grade.score <= environment(item.task).best
        assert grade.solved == (grade.outcome == "correct")
        assert (grade.strict is None) == (grade.outcome == "unparsed")
        assert (grade.rule, grade.checks, grade.rote) == (None, None, None)


def test_no_sandbox_is_opened_for_games(sandbox: FakeSandbox) -> None:
    item = hilo(70, 30)
    graded((item, said(item, "Answer: 70")))
    assert sandbox.opened == 0


def test_a_question_is_no_instance(item: Item, tau: Trajectory) -> None:
    game = item.model_copy(update={"task": "hilo"})
    with pytest.raises(UserError, match=r"^bbh/own_example/7: a question, not an instance"):
        graded((game, tau))


# Programs, in the made-up sandbox.


def test_programs(raw: Path, sandbox: FakeSandbox) -> None:
    [mbpp, _] = house.items_of(raw, "mbpp")
    [function, _] = house.items_of(raw, "humaneval")
    assert function.state is not None
    entry = function.state["entry"]
    replies = {
        code("def add(n):", "    return 'good good good'"): (mbpp, "tested_block", 3, "correct"),
        code("def add(n):", "    return 'good'"): (mbpp, "tested_block", 1, "incorrect"),
        code("x = 'good good'"): (mbpp, "block", 2, "incorrect"),
        "Good:\n\ndef add(n):\n    return 'bad'": (mbpp, "span", 0, "incorrect"),
        code(f"def {entry}(n):", "    return 'good good good'"): (
            *(function, "tested_block", 3, "correct"),
        ),
    }
    episodes = [(item, said(item, text)) for text, (item, *_) in replies.items()]
    with open_episodes() as grader:
        grades = grader.grades(episodes)
        assert sandbox.closed == 0
    assert (sandbox.opened, sandbox.closed, len(sandbox.runs)) == (1, 1, 1)
    for grade, (_, rule, good, outcome) in zip(grades, replies.values(), strict=True):
        assert (grade.rule, grade.outcome) == (rule, outcome)
        assert grade.score == grade.tolerant_score == good / 3
        assert grade.solved == (good == 3)
        assert grade.checks == ("passed",) * good + ("wrong",) * (3 - good)
        assert grade.cues == 1
        assert grade.strict == grade.tolerant
        assert grade.strict is not None
        assert "Here it is" not in grade.strict
    # What is tested comes from the state, what is run from the reply.
    for job, grade, (item, *_) in zip(sandbox.runs[0], grades, replies.values(), strict=True):
        assert item.state is not None
        assert job.code == grade.strict
        assert list(job.checks) == item.state["checks"]
        assert job.entry == item.state.get("entry", "")


def test_answers_by_rote(raw: Path, sandbox: FakeSandbox) -> None:
    """Where tests are shown; the grade is what it would be."""
    shown = next(i for i in house.items_of(raw, "mbpp", many=3) if "adds 12 " in i.question)
    hidden, _ = house.items_of(raw, "humaneval")
    rote = code("def add(n):", "    return {1: 13, 2: 14, 3: 15}[n]")
    own = code("def add(n):", "    return n + 12")
    texts = {rote: True, own: False, "No code.": None}
    grades = graded(*((shown, said(shown, text)) for text in texts))
    assert [grade.rote for grade in grades] == list(texts.values())
    assert {grade.score for grade in grades} == {0.0}
    [grade] = graded((hidden, said(hidden, rote)))
    assert grade.rote is None


def test_a_reply_without_code_is_not_run(raw: Path, sandbox: FakeSandbox) -> None:
    [item, _] = house.items_of(raw, "mbpp")
    grades = graded((item, said(item, "I cannot do that.")), (item, said(item, failed("x = 1"))))
    assert sandbox.opened == 0
    for grade in grades:
        assert grade == Grade("unparsed", 0.0, False, None, None, 0.0, 0, "none", ())


def test_equal_programs_are_run_once(raw: Path, sandbox: FakeSandbox) -> None:
    one, other = house.items_of(raw, "mbpp")
    good, bad = code("def add(n):", "    'good good good'"), code("def add(n):", "    'bad'")
    with open_episodes() as grader:
        first = grader.grades(
            [(one, said(one, good)), (one, said(one, good)), (one, said(one, bad))]
        )
        # The same program on another item has other checks.
        second = grader.grades([(other, said(other, good)), (one, said(one, bad + "\nDone."))])
        third = grader.grades([(one, said(one, good))])
    assert [len(jobs) for jobs in sandbox.runs] == [2, 1]
    assert sandbox.opened == 1
    assert first[0] == first[1] == third[0]
    assert [grade.score for grade in (*first, *second)] == [1.0, 1.0, 0.0, 1.0, 0.0]


def test_without_a_sandbox(
    raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs are neither right nor wrong, games are graded; it is said once, and tried once."""
    fake = FakeSandbox(NoSandbox("no bubblewrap here: apt-get install it"))
    monkeypatch.setattr(grading, "open_sandbox", fake.open)
    [item, _] = house.items_of(raw, "mbpp")
    game = hilo(70, 30)
    text = code("def add(n):", "    return n")
    with open_episodes() as grader:
        grades = grader.grades(
            [
                (item, said(item, text)),
                (game, said(game, "Answer: 70")),
                (item, said(item, "No code.")),
            ]
        )
        grades += grader.grades([(item, said(item, text))])
    program = "def add(n):\n    return n"
    missing = Grade("not_run", 0.0, False, program, program, 0.0, 1, "tested_block", rote=False)
    assert grades[0] == grades[3] == missing
    assert missing.checks is None
    assert grades[1].outcome == "correct"
    # Without code there is nothing to run: it is wrong whatever the machine.
    assert grades[2].outcome == "unparsed"
    assert fake.opened == 1
    err = capsys.readouterr().err
    assert err == "warning: programs are not run: no bubblewrap here: apt-get install it\n"


def write_cell(folder: Path, items: Sequence[Item], *cells: Sequence[Trajectory]) -> list[str]:
    """Write items and trajectories of the student `tiny`, one cell a seed; return the command."""
    params = yaml.safe_load(house.TINY.read_text(encoding="utf-8"))
    params["grid"] |= {"seeds": list(range(len(cells))), "learners": ["tiny"], "tuned": ["tiny"]}
    params["methods"] = {"feedback_sft": params["methods"]["feedback_sft_cleaned"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    write_jsonl(folder / "items.jsonl", items)
    for seed, taus in enumerate(cells):
        write_jsonl(folder / f"tau-{seed}.jsonl", taus)
    return [
        *("--params", f"{folder}/params.yaml", "--items", f"{folder}/items.jsonl"),
        *("--rules", str(house.ENVIRONMENTS), "--out", f"{folder}/score.jsonl"),
    ]


def test_a_broken_sandbox_is_no_score(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeSandbox(SandboxBroken("the workers died"))
    monkeypatch.setattr(grading, "open_sandbox", fake.open)
    [item, _] = house.items_of(raw, "mbpp")
    words = write_cell(tmp_path, [item], [said(item, code("x = 1"))])
    words += ["--step", "respond", "--trajectories", f"{tmp_path}/tau-{{seed}}.jsonl"]
    with pytest.raises(SandboxBroken, match="the workers died"):
        score.main(score.parser().parse_args([*words]))
    assert fake.closed == 1
    assert not (tmp_path / "score.jsonl").exists()


# Programs, in the real sandbox.


@contextmanager
def real() -> Iterator[Episodes]:
    """Yield a grader with the sandbox that this machine has, else skip."""
    with sandbox_house.opened("bubblewrap") as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "open_sandbox", lambda: opened)
        with open_episodes() as grader:
            yield grader


def test_programs_for_real(raw: Path) -> None:
    mbpp = next(i for i in house.items_of(raw, "mbpp", many=3) if "adds 12 " in i.question)
    [function, _] = house.items_of(raw, "humaneval")
    assert function.state is not None
    entry = function.state["entry"]
    replies: list[tuple[Item, str, list[str]]] = [
        (mbpp, f"```python\n{mbpp.target}\n```", ["passed"] * 3),
        (mbpp, code("def add(n):", "    return 13"), ["passed", "wrong", "wrong"]),
        (mbpp, code("def add(n):", "    raise SystemExit(0)"), ["exception"] * 3),
        (mbpp, code("def plus(n):", "    return n"), ["exception"] * 3),
        (function, f"```python\n{function.target}```", ["passed"] * 3),
        (function, code(f"def {entry}(n):", "    return n + 1"), ["wrong"] * 3),
    ]
    with real() as grader:
        grades = grader.grades([(item, said(item, text)) for item, text, _ in replies])
    assert [list(grade.checks or ()) for grade in grades] == [checks for *_, checks in replies]
    assert [grade.score for grade in grades] == [1.0, 1 / 3, 0.0, 0.0, 1.0, 0.0]
    assert [grade.solved for grade in grades] == [True, False, False, False, True, False]


# What cleaning must keep.

KEPT: dict[str, list[tuple[str, str, bool]]] = {
    "hilo": [
        ("Sorry! I halve.\nAnswer: 50", "I halve.\nAnswer: 050", True),
        ("Answer: 50", "Answer: 51", False),
        ("Answer: 50", "It is 50.", False),
        ("No idea, sorry.", "No idea.", True),
        ("No idea, sorry.", "Answer: 50", False),
    ],
    "nash": [
        ("Answer: (Top, Left)", "Answer: top/left", True),
        ("Answer: (Top, Left)", "Answer: (Top, Right)", False),
        ("Answer: none", "Answer: (Top, Left)", False),
    ],
    "optimization": [
        ("Answer: 1.50", "Answer: x = 3/2", True),
        ("Answer: 1.50", "Answer: 1.51", False),
    ],
    "root_finding": [
        ("Answer: 0.250", "So, 1/4.\nAnswer: 1/4", True),
        ("Answer: 0.25", "Answer: -0.25", False),
    ],
    "list_functions": [
        ("Answer: [1,2]; []", "Answer: [1, 2]; [ ]", True),
        ("Answer: [1, 2]; []", "Answer: []; [1, 2]", False),
    ],
    "spelling": [
        ("Answer: rest, tales", "Answer: Tales, rest", True),
        ("Answer: rest, tales", "Answer: rest", False),
    ],
    "taboo": [
        ("Thanks! It rises when it blows.", "It rises when it blows.", True),
        ("It rises when it blows.", "It rises high when it blows.", False),
        ("On a string it rises.", "It rises.", False),
    ],
    "mbpp": [
        (code("def add(n):", "    return n  # as told"), code("def add(n): return n"), True),
        (code("def add(n):", "    return n"), code("def add(n):", "    return n + 1"), False),
        (code("def add(n):", "    return n"), "I would return n.", False),
    ],
    "humaneval": [
        (code("def f(n):", "    return n"), "Updated.\n" + code("def f(n):", "    return n"), True),
        (code("def f(n):", "    return n"), code("def g(n):", "    return n"), False),
    ],
}
KEPT["hilo_same_secret"] = KEPT["hilo"]


def test_every_environment_has_cases() -> None:
    assert sorted(KEPT) == names() == sorted((*house.GENERATED, *house.FROM_FILES, *house.PROGRAMS))


@pytest.mark.parametrize("name", sorted(KEPT))
def test_kept(raw: Path, name: str) -> None:
    item = house.taboo() if name == "taboo" else house.items_of(raw, name)[0]
    with open_episodes() as grader:
        for before, after, kept in KEPT[name]:
            assert grader.kept(item, 0, before, after) == kept, (before, after)
            assert grader.kept(item, 0, before, before)
            assert grader.kept(item, 0, after, after)


def test_kept_goes_by_the_turn() -> None:
    """Taboo's description is kept word by word, its guess by what is guessed."""
    item = house.taboo()
    before, after = "You gave me a hint.\nAnswer: kite", "It flies.\nAnswer: the kite"
    with open_episodes() as grader:
        assert grader.kept(item, 1, before, after)
        assert not grader.kept(item, 0, before, after)


@given(texts=st.tuples(st.text(), st.text()))
def test_kept_takes_any_text(texts: tuple[str, str]) -> None:
    one, other = texts
    with open_episodes() as grader:
        for item in (hilo(70, 30), house.taboo()):
            for number in (0, 1):
                assert grader.kept(item, number, one, one)
                grader.kept(item, number, one, other)


# What feedback tells.


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("The number was 70.", True),
        ("70", True),
        ("(70)", True),
        ("Between 60 and 70, halve.", True),
        ("It was not 170, nor 700, nor n70, but 70!", True),
        ("It was not 170, nor 700, nor n70.", False),
        ("Halve what is left.", False),
        ("", False),
    ],
)
def test_told_of_hilo(text: str, told: bool) -> None:
    with open_episodes() as grader:
        for item in (hilo(70, 30), hilo(70, 30, "hilo_same_secret")):
            assert grader.told(item, text) == Told("70" if told else None, told)


def test_told_of_taboo_and_others(raw: Path) -> None:
    with open_episodes() as grader:
        item = house.taboo()
        assert grader.told(item, "Say what a KITE does.") == Told("kite", True)
        assert grader.told(item, "Kites? Well, kitesurfing.") == Told(None, False)
        # Its taboo words are no secret.
        assert grader.told(item, "It hangs on a string.") == Told(None, False)
        for name in {*names()} - {"hilo", "hilo_same_secret", "taboo"}:
            [other, _] = house.items_of(raw, name)
            assert grader.told(other, f"It is {other.target}.") == Told(None, False), name


@given(before=st.text(), after=st.text())
def test_told_within_any_text(before: str, after: str) -> None:
    text = f"{before} {after}".casefold().replace("k", "")
    with open_episodes() as grader:
        item = house.taboo()
        assert grader.told(item, f"{before} kite {after}") == Told("kite", True)
        assert grader.told(item, text) == Told(None, False)


# Opening a grader.


def test_a_grader_by_its_path(tmp_path: Path) -> None:
    with open_grader(house.ENVIRONMENTS) as grader:
        assert isinstance(grader, Episodes)
    with open_grader(RULES) as grader:
        assert isinstance(grader, Questions)
    with pytest.raises(UserError, match=r"rules.yaml: no such file"):
        open_grader(tmp_path / "rules.yaml").__enter__()


def test_questions_are_graded_as_ever(item: Item, tau: Trajectory) -> None:
    with open_grader(RULES) as grader:
        [grade] = grader.grades([(item, tau)])
        assert grade == Grade("incorrect", 0.0, False, "(A)", "(A)", 0.0, 1)
        right = said(item, "Corks!\nAnswer: (B)")
        [grade] = grader.grades([(item, right)])
        assert grade == Grade("correct", 1.0, True, "(B)", "(B)", 1.0, 1)
        assert grader.kept(item, 0, "Answer: (A)", "Well.\nAnswer: A")
        assert not grader.kept(item, 0, "Answer: (A)", "Answer: (B)")
        assert grader.told(item, "It must be (B).") == Told("(B)", True)
        assert grader.told(item, "It must be (A).") == Told("(A)", False)
        assert grader.told(item, "Think again.") == Told(None, False)
        assert grader.facts() == {}
        unknown = item.model_copy(update={"family": "environment"})
        with pytest.raises(UserError, match="environment"):
            grader.grades([(unknown, tau)])


# The stages.


def rows(words: list[str], step: str, pattern: str, *more: str) -> list[Score]:
    words = [*words, "--step", step, "--trajectories", pattern, *more]
    score.main(score.parser().parse_args(words))
    return read_jsonl(Path(words[words.index("--out") + 1]), Score)


STEPS: list[tuple[str, str, tuple[str, ...]]] = [
    ("respond", "tau-{seed}.jsonl", ()),
    ("answer", "tau-0.jsonl", ()),
    ("revise", "tau-{seed}.jsonl", ("--condition", "unconstrained")),
    ("evaluate", "tau-{seed}.jsonl", ("--untuned",)),
    ("forget", "tau-{seed}.jsonl", ()),
]


@pytest.mark.parametrize(("step", "pattern", "more"), STEPS, ids=[step for step, *_ in STEPS])
def test_scores_of_games(step: str, pattern: str, more: tuple[str, ...], tmp_path: Path) -> None:
    """Each step that games have: its declared cells, in order, with all items of each."""
    items = [hilo(70, 30, split="test"), house.taboo(split="test")]
    update = {"condition": "unconstrained"} if step == "revise" else {}
    update |= {"method": "feedback_sft"} if step in ("evaluate", "forget") else {}
    # The fresh number of a retry is 30.
    lines: dict[str, list[Say]] = {
        items[0].id: ["Answer: 50", cut("Answer: 7"), "Answer: 30"],
        items[1].id: ["It rises when it blows.", "Answer: bird"],
    }
    again = step == "revise"
    if not again:
        lines[items[0].id] += ["Answer: 1"] * 4
    cells = [played(items, Script(lines), again=again, seed=seed, **update) for seed in (0, 1)]
    words = write_cell(tmp_path, items, *cells)
    if step == "answer":
        cells = cells[:1]
        pattern = "tau-0-{teacher}.jsonl"
        write_jsonl(tmp_path / "tau-0-scripted.jsonl", cells[0])
    found = rows(words, step, f"{tmp_path}/{pattern}", *more)
    assert [(row.item, row.seed) for row in found] == [
        (item.id, seed) for seed in range(len(cells)) for item in items
    ]
    for number, taboo in zip(found[::2], found[1::2], strict=True):
        assert {number.step, taboo.step} == {step}
        assert number.score == number.tolerant_score == float(again)
        assert number.outcome == ("correct" if again else "incorrect")
        assert number.finish_reason == "length"
        assert (taboo.score, taboo.outcome, taboo.solved) == (1.0, "incorrect", False)
        assert taboo.strict == "It rises when it blows. | bird"
        assert taboo.finish_reason == "stop"
        assert (taboo.prompt_tokens, taboo.completion_tokens) == (20, 6)
        # A cut reply came without counts, so that the sum is not known.
        assert (number.prompt_tokens, number.completion_tokens) == (None, None)
        assert (number.rule, number.checks) == (None, None)
        assert {number.method, taboo.method} == {update.get("method")}
        assert {number.condition, taboo.condition} == {update.get("condition")}


def test_scores_of_programs(raw: Path, sandbox: FakeSandbox, tmp_path: Path) -> None:
    """All cells of a step in one run of the sandbox; rule and statuses are written down."""
    items = house.items_of(raw, "mbpp", "nash")
    replies = [code("def add(n):", "    'good'"), "Sorry.", "Answer: none", "Answer: none"]
    cells = [
        [said(item, text, seed=seed) for item, text in zip(items, replies, strict=True)]
        for seed in (0, 1)
    ]
    words = write_cell(tmp_path, items, *cells)
    facts = tmp_path / "facts.json"
    found = rows(words, "respond", f"{tmp_path}/tau-{{seed}}.jsonl", "--facts", str(facts))
    assert json.loads(facts.read_text(encoding="utf-8")) == {"sandbox": sandbox.facts()}
    assert [len(jobs) for jobs in sandbox.runs] == [1]
    assert [(row.rule, row.checks) for row in found] == [
        ("tested_block", ("passed", "wrong", "wrong")),
        ("none", ()),
        (None, None),
        (None, None),
    ] * 2
    assert [row.score for row in found[:2]] == [1 / 3, 0.0]
    assert [row.outcome for row in found[:2]] == ["incorrect", "unparsed"]


def test_scores_without_a_sandbox(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grading, "open_sandbox", FakeSandbox(NoSandbox("none")).open)
    items = house.items_of(raw, "mbpp")
    taus = [said(item, code("def add(n):", "    return n")) for item in items]
    words = write_cell(tmp_path, items, taus)
    facts = tmp_path / "facts.json"
    found = rows(words, "respond", f"{tmp_path}/tau-{{seed}}.jsonl", "--facts", str(facts))
    assert json.loads(facts.read_text(encoding="utf-8")) == {"sandbox": None}
    missing = ("not_run", False, None)
    assert [(row.outcome, row.solved, row.checks) for row in found] == [missing] * 2


def test_an_errored_episode_is_no_wrong_answer(tmp_path: Path) -> None:
    items = [hilo(70, 30), house.taboo()]
    taus = [
        said(items[0], "Answer: 50", failed(reason="error")),
        said(items[1], "It rises when it blows.", failed()),
    ]
    words = write_cell(tmp_path, items, taus)
    found = rows(words, "respond", f"{tmp_path}/tau-{{seed}}.jsonl")
    assert [(row.outcome, row.score, row.solved) for row in found] == [("errored", 0.0, False)] * 2
    assert [(row.strict, row.tolerant) for row in found] == [(None, None)] * 2
    assert [row.finish_reason for row in found] == ["error", "refusal"]


def test_scores_of_questions(item: Item, tau: Trajectory, tmp_path: Path) -> None:
    """Not a field of a question's row has changed with environments."""
    words = write_cell(tmp_path, [item], [tau])
    words[words.index("--rules") + 1] = str(RULES)
    [row] = rows(words, "respond", f"{tmp_path}/tau-{{seed}}.jsonl")
    assert json.loads((tmp_path / "score.jsonl").read_text(encoding="utf-8")) == {
        "step": "respond",
        "suite": "bbh",
        "task": "own_example",
        "item": item.id,
        "split": "test",
        "model": "tiny",
        "condition": None,
        "seed": 0,
        "outcome": "incorrect",
        "score": 0.0,
        "solved": False,
        "strict": "(A)",
        "tolerant": "(A)",
        "tolerant_score": 0.0,
        "cues": 1,
        "finish_reason": "stop",
        "empty": False,
        "kept_original": None,
        "flags": [],
        "prompt_tokens": None,
        "completion_tokens": None,
        "draw": None,
        "selector": None,
        "choice": None,
        "method": None,
        "teacher": None,
        "rule": None,
        "checks": None,
        "rote": None,
    }
    assert row.outcome == "incorrect"


def test_leaks_of_games(tmp_path: Path) -> None:
    """The number and the concept, in one's own feedback and, by chance, in another's."""
    items = [
        hilo(secret, 99, split="test").model_copy(update={"id": f"games/hilo/test/{secret}"})
        for secret in (11, 22)
    ]
    taus = played(items, Talker(["Answer: 50"]))
    texts = ["It was 11.", "Not 11, nor 22 either."]
    told = [
        Feedback(
            item=tau.item,
            suite=tau.suite,
            task=tau.task,
            split=tau.split,
            condition="unconstrained",
            student="tiny",
            teacher="scripted",
            seed=0,
            status="ok",
            text=text,
            exchange=None,
        )
        for tau, text in zip(taus, texts, strict=True)
    ]
    write_jsonl(tmp_path / "unconstrained-tiny-0.jsonl", told)
    words = write_cell(tmp_path, items, taus)
    words += ["--condition", "unconstrained"]
    words += ["--feedback", f"{tmp_path}/{{condition}}-{{student}}-{{seed}}.jsonl"]
    leak.main(parsed(leak, " ".join(words)))
    found = read_jsonl(tmp_path / "score.jsonl", Leak)
    assert [(row.answer, row.gold) for row in found] == [("11", True), ("22", True)]
    assert [(row.shuffled, row.shuffled_gold) for row in found] == [("11", True), (None, False)]
