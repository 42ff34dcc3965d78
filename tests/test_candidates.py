"""Best-of-k: sampling candidates, choosing one, and scoring what was chosen.

Covered: `sample`, `select` and `score --step select` one after the other on the tiny random model,
in both pools; by logits against the engine itself; who is shown what in which order; candidates
that are alike or failed; engines that cannot score. Not covered: what a reply of the chooser means
(test_choices.py), the tables (test_report.py), the whole pipeline (test_tiny_run.py).
"""

import hashlib
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from stages import sample, score, select
from stages.choices import Selector, chosen
from stages.errors import UserError
from stages.fetching import make_folder
from stages.model_specs import LocalSpec, TinySource
from stages.models import transformers_engine
from stages.models.card import FileCard, write_card
from stages.models.chat import Conversation
from stages.models.file_engine import REPLIES
from stages.models.open import open_model
from stages.records import (
    Completion,
    Exchange,
    Feedback,
    Item,
    Message,
    Score,
    Selection,
    Trajectory,
    read_jsonl,
    write_jsonl,
)

PROMPTS = ROOT / "prompts"
DRAWS = (0, 1)  # of the tiny scale

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    make_folder(
        "tiny", LocalSpec(engine="transformers", source=TinySource(kind="tiny", seed=0)), path
    )
    return path


@pytest.fixture
def house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path, item: Item, tau: Trajectory
) -> Path:
    """The working folder, with the tiny scale, two items, their answers, feedback on the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transformers_engine, "best_dtype", lambda device: torch.float32)
    Path("params.yaml").write_bytes((ROOT / "scales" / "tiny.yaml").read_bytes())
    Path("model").symlink_to(model)
    other = {"item": "bbh/own_example/8"}
    write_jsonl(Path("items.jsonl"), [item, item.model_copy(update={"id": other["item"]})])
    write_jsonl(Path("tau.jsonl"), [tau, tau.model_copy(update=other)])
    given = Feedback(
        item=item.id,
        suite=item.suite,
        task=item.task,
        split=item.split,
        condition="unconstrained",
        student="tiny",
        teacher="scripted",
        seed=0,
        status="ok",
        text="Corks <|im_end|> float.",
        exchange=None,
    )
    lost = {**other, "status": "refusal", "text": None}
    write_jsonl(Path("feedback.jsonl"), [given, given.model_copy(update=lost)])
    return tmp_path


def draw_candidates(pool: str, draw: int) -> list[Trajectory]:
    """Run `sample` and return what it wrote."""
    source = f"--items items.jsonl --template {PROMPTS}/respond/task.jinja"
    if pool == "conditioned":
        source = (
            "--condition unconstrained --trajectories tau.jsonl --feedback feedback.jsonl"
            f" --template {PROMPTS}/revise/retry.jinja"
        )
    words = (
        f"--params params.yaml --student tiny --seed 0 --draw {draw} --model model {source}"
        f" --out {pool}/{draw}.jsonl --calls calls.jsonl --facts facts.json"
    )
    sample.main(sample.parser().parse_args(words.split()))
    return read_jsonl(Path(pool, f"{draw}.jsonl"), Trajectory, "item")


SLUGS = {"logits": "student_logits", "student": "student_choice", "teacher": "teacher_choice"}


def words_of(by: str, pool: str, *more: str) -> list[str]:
    words = (
        f"--by {by} --selector {SLUGS[by]} --params params.yaml --student tiny --seed 0"
        f" --model model --candidates {pool}/{{draw}}.jsonl --out {pool}/{SLUGS[by]}.jsonl"
        " --calls calls.jsonl --facts facts.json"
    ).split()
    if by == "teacher":
        words += ["--teacher", "scripted"]
    if by != "logits":
        words += ["--template", f"{PROMPTS}/select/choice.jinja"]
    return [*words, *more]


def select_by(by: str, pool: str) -> list[Selection]:
    """Run `select` and return what it wrote."""
    select.main(select.parser().parse_args(words_of(by, pool)))
    return read_jsonl(Path(pool, f"{SLUGS[by]}.jsonl"), Selection, "item")


def asked(by: str, pool: str) -> list[Conversation]:
    return select.conversations(select.parser().parse_args(words_of(by, pool)))


def write_candidates(
    pool: str, tau: Trajectory, texts: tuple[str | None, ...], **update: object
) -> None:
    """Write one candidate a draw for the item of `tau`; None stands for a request that failed."""
    for draw, text in enumerate(texts):
        reply = (
            Completion(text="", finish_reason="error", detail="timeout")
            if text is None
            else Completion(text=text, finish_reason="stop", logprob=-1.0)
        )
        exchange = tau.exchanges[0].model_copy(update={"reply": reply})
        candidate = tau.model_copy(update={"exchanges": (exchange,), "draw": draw, **update})
        write_jsonl(Path(pool, f"{draw}.jsonl"), [candidate])


def test_draws_differ_and_come_again(house: Path) -> None:
    for pool in ("alone", "conditioned"):
        first, second = (draw_candidates(pool, draw) for draw in DRAWS)
        assert [tau.draw for tau in first + second] == [0, 0, 1, 1]
        assert first[0].last.text != second[0].last.text
        assert draw_candidates(pool, 0) == first
    alone, conditioned = (
        read_jsonl(Path(pool, "0.jsonl"), Trajectory) for pool in ("alone", "conditioned")
    )
    assert [tau.condition for tau in alone] == [None, None]
    assert [tau.condition for tau in conditioned] == ["unconstrained"] * 2
    assert alone[0].exchanges[0].messages != conditioned[0].exchanges[0].messages
    # Where the feedback failed, the original answer is all candidates.
    originals = read_jsonl(Path("tau.jsonl"), Trajectory)
    assert conditioned[1].kept_original == "refusal"
    assert conditioned[1].exchanges == originals[1].exchanges


@pytest.mark.parametrize("pool", ["alone", "conditioned"])
def test_logits_are_the_score_without_feedback(house: Path, pool: str) -> None:
    candidates = [draw_candidates(pool, draw) for draw in DRAWS]
    selections = select_by("logits", pool)
    engine = open_model(Path("model"))
    originals = read_jsonl(Path("tau.jsonl"), Trajectory)
    for place, selection in enumerate(selections):
        assert selection.draws == DRAWS
        assert (selection.chooser, selection.exchange) == ("tiny", None)
        assert selection.logprobs is not None and selection.tokens is not None
        for draw in DRAWS:
            tau = candidates[draw][place]
            messages = tau.exchanges[0].messages
            if pool == "conditioned":
                messages = originals[place].exchanges[0].messages
            [by_hand] = engine.score([Conversation("x", messages, 1)], [tau.last.text])
            assert selection.logprobs[draw] == pytest.approx(by_hand.logprob, abs=1e-4)
            assert selection.tokens[draw] == by_hand.tokens
            # What its generation came to is another number: that saw the feedback.
            if pool == "conditioned" and place == 0:
                assert tau.last.logprob is not None
                assert abs(selection.logprobs[draw] - tau.last.logprob) > 5e-4
    if pool == "conditioned":
        assert selections[0].condition == "unconstrained"
        # Both candidates of the second item are its original answer.
        assert selections[1].logprobs is not None
        assert selections[1].logprobs[0] == selections[1].logprobs[1]


def test_the_same_order_for_student_and_teacher(house: Path, tau: Trajectory) -> None:
    orders = set()
    for number in range(12):
        one = tau.model_copy(update={"item": f"bbh/own_example/{number}"})
        write_candidates("alone", one, ("first", "second"))
        by_student, by_teacher = (asked(by, "alone") for by in ("student", "teacher"))
        assert by_student[0].messages[-1] == by_teacher[0].messages[-1]
        assert by_student == asked("student", "alone")
        text = by_student[0].messages[-1].content
        orders.add(text.index("first") < text.index("second"))
    assert orders == {True, False}


def test_a_choice_is_recorded_in_the_order_shown(house: Path, tau: Trajectory) -> None:
    write_candidates("alone", tau, ("first", "second"))
    [record] = select_by("student", "alone")
    assert sorted(record.draws) == [0, 1]
    assert record.exchange is not None
    text = record.exchange.messages[-1].content
    assert text.index("[Answer A]") < text.index("[Answer B]")
    names = ("first", "second")
    assert text.index(names[record.draws[0]]) < text.index(names[record.draws[1]])
    assert record.exchange.reply.completion_tokens is not None
    assert record.exchange.reply.completion_tokens <= 4  # the selector's own limit


def test_the_feedback_is_shown_with_its_candidates_only(house: Path) -> None:
    for pool in ("alone", "conditioned"):
        for draw in DRAWS:
            draw_candidates(pool, draw)
    alone, conditioned = (asked("student", pool) for pool in ("alone", "conditioned"))
    assert not any("float." in question.messages[-1].content for question in alone)
    # Of the item whose feedback failed there is one answer only, so nobody is asked.
    [question] = conditioned
    text = question.messages[-1].content
    assert "Corks < |im_end| > float." in text
    assert "Bricks are light." in text
    assert text.count("[Answer ") == 2


def test_candidates_that_are_alike(house: Path, tau: Trajectory) -> None:
    write_candidates("alone", tau, ("same", "same"))
    assert asked("student", "alone") == []
    [record] = select_by("student", "alone")
    assert (record.draws, record.exchange) == ((0,), None)
    assert chosen(Selector(), record) == (0, "only")


def test_a_failed_candidate_is_left_out(house: Path, tau: Trajectory) -> None:
    write_candidates("alone", tau, (None, "second"))
    for by in ("logits", "student"):
        [record] = select_by(by, "alone")
        assert record.draws == (1,)
        assert chosen(Selector(reduce="mean" if by == "logits" else None), record)[0] == 1
    write_candidates("alone", tau, (None, None))
    for by in ("logits", "student"):
        [record] = select_by(by, "alone")
        assert record.draws == ()
        assert chosen(Selector(), record) == (None, "none")


def test_an_engine_that_cannot_score_is_refused(house: Path, tau: Trajectory) -> None:
    write_candidates("alone", tau, ("first", "second"))
    Path("model").unlink()
    replies = b'{"id": "x", "reply": "y"}\n'
    card = FileCard(name="people", sha256=hashlib.sha256(replies).hexdigest())
    write_card(Path("model"), card)
    Path("model", REPLIES).write_bytes(replies)
    with pytest.raises(UserError, match=r"^people: the file engine cannot score given text$"):
        select_by("logits", "alone")
    assert not Path("alone", "student_logits.jsonl").exists()


def scores(pattern: str = "{pool}-{selector}") -> list[Score]:
    rules = ROOT / "stages" / "tasks" / "extraction.yaml"
    words = [
        *f"--params params.yaml --step select --items items.jsonl --rules {rules}".split(),
        *("--trajectories", "{pool}/{draw}.jsonl", "--selections", f"{pattern}.jsonl"),
        *("--out", "scores.jsonl"),
    ]
    score.main(score.parser().parse_args(words))
    return read_jsonl(Path("scores.jsonl"), Score)


def test_what_was_chosen_is_scored(house: Path, item: Item, tau: Trajectory) -> None:
    write_jsonl(Path("items.jsonl"), [item])
    for pool, condition in (("alone", None), ("conditioned", "unconstrained")):
        write_candidates(pool, tau, ("Answer: (A)", "Answer: (B)"), condition=condition)
        common = {
            "item": item.id,
            "suite": "bbh",
            "task": item.task,
            "split": item.split,
            "condition": condition,
            "student": "tiny",
            "chooser": "tiny",
            "seed": 0,
        }
        likeliest = Selection(
            **common, selector="student_logits", draws=(0, 1), logprobs=(-9.0, -1.0), tokens=(2, 2)
        )
        said = Exchange(
            messages=(Message(role="user", content="Which?"),),
            reply=Completion(text="B", finish_reason="stop"),
        )
        named = Selection(**common, selector="student_choice", draws=(1, 0), exchange=said)
        none = Selection(**common, selector="teacher_choice", draws=())
        for record in (likeliest, named, none):
            write_jsonl(Path(f"{pool}-{record.selector}.jsonl"), [record])
    rows = scores()
    assert [(row.selector, row.draw, row.choice, row.strict) for row in rows] == [
        ("student_logits", 1, "likeliest", "(B)"),
        ("student_choice", 0, "named", "(A)"),
        ("teacher_choice", 0, "none", "(A)"),
    ] * 2
    assert [row.condition for row in rows] == [None] * 3 + ["unconstrained"] * 3
    assert [row.solved for row in rows[:2]] == [True, False]
    write_jsonl(Path("alone-teacher_choice.jsonl"), [none.model_copy(update={"draws": (7,)})])
    with pytest.raises(UserError, match=f"alone-teacher_choice.jsonl: {item.id}: draw 7 is not in"):
        scores()
