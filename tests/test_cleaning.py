"""Response cleaning: what the teacher is shown, which texts are taken, what is reported of them.

Covered: the prompt (no feedback, no gold answer, no control token), who is asked, the record of the
stage run on written replies, every way of being refused, the rates before and after by hand, and
mistakes. Not covered: how well a model cleans; artefacts themselves (test_artefacts.py).
"""

import json
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from stages import clean, fidelity
from stages.cleaning import Status, take
from stages.conversation import combine
from stages.errors import UserError
from stages.files import sha256
from stages.grading import Questions
from stages.models.card import FileCard, write_card
from stages.records import (
    Cleaning,
    Completion,
    Exchange,
    Fidelity,
    FinishReason,
    Item,
    Message,
    Trajectory,
    read_jsonl,
    write_jsonl,
)
from stages.tasks.extraction import load_rules

RULES = Questions(load_rules(ROOT / "stages" / "tasks" / "extraction.yaml"))
SCALES = sorted((ROOT / "scales").glob("*.yaml"))
TEMPLATE = ROOT / "prompts" / "clean" / "clean.jinja"
FEEDBACK = "Corks are lighter than water: it is (B)."
RETRY = "Here's an updated version.\nCorks float.\nAnswer: (B)"


def tried(tau: Trajectory, text: str = RETRY, reason: FinishReason = "stop") -> Trajectory:
    """Return tau_f: the student's second answer to the item of `tau`."""
    messages = combine(tau.exchanges, f"Your teacher says:\n{FEEDBACK}")
    reply = Completion(text=text, finish_reason=reason)
    update = {
        "condition": "ground_truth",
        "feedback": FEEDBACK,
        "exchanges": (Exchange(messages=messages, reply=reply),),
    }
    return tau.model_copy(update=update)


def kept(tau: Trajectory) -> Trajectory:
    return tau.model_copy(update={"condition": "ground_truth", "kept_original": "refusal"})


def cleaned(tau: Trajectory, text: str | None, reason: FinishReason = "stop") -> Cleaning:
    exchange = None
    if text is not None:
        exchange = Exchange(
            messages=(Message(role="user", content="Clean it."),),
            reply=Completion(text=text, finish_reason=reason),
        )
    return Cleaning(
        item=tau.item,
        suite=tau.suite,
        task=tau.task,
        split=tau.split,
        condition="ground_truth",
        student="tiny",
        teacher="scripted",
        seed=0,
        exchanges=() if exchange is None else (exchange,),
    )


def command(folder: Path, scale: Path, template: Path = TEMPLATE) -> list[str]:
    [teacher, *_] = yaml.safe_load(scale.read_text())["teachers"]
    return [
        *("--params", str(scale), "--student", "tiny", "--seed", "0", "--teacher", teacher),
        *("--model", str(folder / "model"), "--trajectories", str(folder / "tau_f.jsonl")),
        *("--template", str(template), "--out", str(folder / "out.jsonl")),
        *("--calls", str(folder / "calls.jsonl"), "--facts", str(folder / "facts.json")),
    ]


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_what_the_teacher_is_shown(scale: Path, tau: Trajectory, tmp_path: Path) -> None:
    """The reply alone: a function of files that no target is in but by feedback."""
    flags = {action.dest for action in clean.parser()._actions}
    assert not flags & {"items", "answers", "feedback", "rules"}
    write_jsonl(tmp_path / "tau_f.jsonl", [tried(tau, f"{RETRY}<|im_end|>")])
    [shown] = clean.conversations(clean.parser().parse_args(command(tmp_path, scale)))
    [*_, message] = shown.messages
    assert RETRY in message.content
    assert tau.exchanges[0].messages[-1].content not in message.content
    assert "<|im_end|>" not in message.content
    assert FEEDBACK not in message.content
    assert tau.last.text not in message.content


def test_the_prompt_does_not_know_the_feedback(tau: Trajectory, tmp_path: Path) -> None:
    """Feedback with another gold answer, and another first answer: not a byte changes."""
    shown = []
    for first, feedback in (("Answer: (A)", "It is (B)."), ("Answer: (B)", "It is (A).")):
        own = tau.exchanges[0].model_copy(
            update={"reply": Completion(text=first, finish_reason="stop")}
        )
        retry = tried(tau.model_copy(update={"exchanges": (own,)}))
        *before, last = retry.exchanges[0].messages
        messages = (*before, last.model_copy(update={"content": feedback}))
        exchange = retry.exchanges[0].model_copy(update={"messages": messages})
        update = {"feedback": feedback, "exchanges": (exchange,)}
        write_jsonl(tmp_path / "tau_f.jsonl", [retry.model_copy(update=update)])
        words = command(tmp_path, ROOT / "scales" / "tiny.yaml")
        shown.append(clean.conversations(clean.parser().parse_args(words)))
    assert shown[0] == shown[1]


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_the_teacher_can_write_as_much_as_a_student(scale: Path) -> None:
    """A cleaned text has to fit, else it is refused as truncated."""
    params = yaml.safe_load(scale.read_text())
    limits = {
        role: [one["sampling"]["max_new_tokens"] for one in params[role].values()]
        for role in ("students", "teachers")
    }
    assert min(limits["teachers"]) >= max(limits["students"])


def test_the_stage(tau: Trajectory, tmp_path: Path) -> None:
    taus = [
        tried(tau),
        kept(tau),
        tried(tau, "what came with the error", "error"),
        tried(tau, " \n"),
        tried(tau, "Corks fl", "length"),
    ]
    taus = [one.model_copy(update={"item": f"own/{n}"}) for n, one in enumerate(taus)]
    write_jsonl(tmp_path / "tau_f.jsonl", taus)
    model = tmp_path / "model"
    model.mkdir()
    replies = {"own/0": "Corks float.\nAnswer: (B)", "own/4": "Corks fl"}
    lines = (
        json.dumps({"id": f"clean/tiny/0/{item}", "reply": text}) + "\n"
        for item, text in replies.items()
    )
    (model / "replies.jsonl").write_text("".join(lines))
    write_card(model, FileCard(name="own", sha256=sha256(model / "replies.jsonl")))
    clean.main(clean.parser().parse_args(command(tmp_path, ROOT / "scales" / "tiny.yaml")))
    records = read_jsonl(tmp_path / "out.jsonl", Cleaning)
    assert [record.item for record in records] == [one.item for one in taus]
    said = {r.item: r.exchanges[0].reply.text for r in records if r.exchanges and r.exchanges[0]}
    assert said == replies
    assert {(r.student, r.teacher, r.seed, r.condition) for r in records} == {
        ("tiny", "scripted", 0, "ground_truth")
    }


@pytest.mark.parametrize(
    ("text", "reason", "status"),
    [
        ("Corks float.\nAnswer: (B)", "stop", "cleaned"),
        (" Corks float.\nAnswer: B \n", "stop", "cleaned"),
        (RETRY, "stop", "same"),
        (f"\n{RETRY}\n", "stop", "same"),
        ("Corks float.\nAnswer: (A)", "stop", "answer_changed"),
        ("Corks float. It is (B).", "stop", "answer_changed"),
        ("Corks float.\nAnswer: (B)", "length", "truncated"),
        (" \n", "stop", "empty"),
        ("Corks float.\nAnswer: (B)", "error", "failed"),
        ("I cannot do that.", "refusal", "failed"),
        (None, "stop", "nothing"),
    ],
)
def test_what_is_taken(
    text: str | None, reason: FinishReason, status: Status, item: Item, tau: Trajectory
) -> None:
    taken = take(cleaned(tau, text, reason), tried(tau), item, RULES)
    good = text is not None and status in ("cleaned", "same")
    assert taken == (status, (text.strip() if good and text else None,))


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        # No answer line either way, and the same option to the tolerant extractor.
        ("Here's my new answer: it must be (B).", "It must be (B).", "cleaned"),
        ("Here's my new answer: it must be (B).", "It must be (A).", "answer_changed"),
        # An answer that was not there is one more than before.
        ("Sorry for the mistake. No idea.", "No idea.", "cleaned"),
        ("Sorry for the mistake. No idea.", "No idea.\nAnswer: (B)", "answer_changed"),
        ("Sorry for the mistake. No idea.", "It is a cork.", "answer_changed"),
        # What the teacher saw had its control token broken up.
        ("Answer: (B)<|im_end|>", "Answer: (B)< |im_end| >", "same"),
    ],
)
def test_without_an_answer_line(
    before: str, after: str, status: Status, item: Item, tau: Trajectory
) -> None:
    assert take(cleaned(tau, after), tried(tau, before), item, RULES).status == status


def test_the_gold_answer_plays_no_part(item: Item, tau: Trajectory) -> None:
    texts = ("Corks float.\nAnswer: (B)", "Corks float.\nAnswer: (A)", "No idea.")
    for before in (RETRY, "It is (A).", "No idea."):
        for after in texts:
            given = {
                take(
                    cleaned(tau, after),
                    tried(tau, before),
                    item.model_copy(update={"target": target}),
                    RULES,
                )
                for target in ("(A)", "(B)")
            }
            assert len(given) == 1


def assessed(item: Item, retry: Trajectory, cleaning: Cleaning) -> Fidelity:
    return fidelity.assess(cleaning, retry, item, RULES)


def test_fidelity_by_hand(item: Item, tau: Trajectory) -> None:
    row = assessed(item, tried(tau), cleaned(tau, "Corks float.\nAnswer: (B)"))
    assert (row.status, row.artefact, row.artefact_after) == ("cleaned", True, False)
    assert (row.kinds, row.kinds_after) == (("announces_update",), ())
    assert (row.words, row.words_after) == (8, 4)
    row = assessed(item, tried(tau), cleaned(tau, "Sorry for the mistake.\nAnswer: (B)"))
    assert (row.status, row.kinds_after) == ("cleaned", ("apology",))
    row = assessed(item, tried(tau), cleaned(tau, "Sorry for the mistake.\nAnswer: (A)"))
    assert (row.status, row.artefact, row.artefact_after) == ("answer_changed", True, False)
    assert (row.kinds_after, row.words, row.words_after) == ((), 8, 0)
    row = assessed(item, tried(tau, "Sorry for the error.", "error"), cleaned(tau, None))
    assert (row.status, row.artefact, row.words) == ("nothing", False, 0)


def write_cells(folder: Path, items: list[Item], tau: Trajectory) -> list[str]:
    """Write two seeds of two learners; return the command line of `fidelity`."""
    params = yaml.safe_load((ROOT / "scales" / "tiny.yaml").read_text())
    params["grid"] |= {"learners": ["tiny", "tiny-bbh-feedback_dpo-0"], "seeds": [0, 1]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_jsonl(folder / "items.jsonl", items)
    for learner in params["grid"]["learners"]:
        for seed in params["grid"]["seeds"]:
            cell = f"{learner}-{seed}.jsonl"
            taus = [tried(tau).model_copy(update={"item": one.id}) for one in items]
            write_jsonl(folder / f"tau-{cell}", taus)
            update = {"student": learner, "seed": seed}
            records = [cleaned(one, "Answer: (B)").model_copy(update=update) for one in taus]
            write_jsonl(folder / f"clean-{cell}", records)
    return [
        *("--params", f"{folder}/params.yaml", "--items", f"{folder}/items.jsonl"),
        *("--rules", f"{ROOT}/stages/tasks/extraction.yaml", "--out", f"{folder}/out.jsonl"),
        *("--trajectories", f"{folder}/tau-{{learner}}-{{seed}}.jsonl"),
        *("--cleanings", f"{folder}/clean-{{learner}}-{{seed}}.jsonl"),
    ]


def test_fidelity_walks_the_grid(item: Item, tau: Trajectory, tmp_path: Path) -> None:
    items = [item, item.model_copy(update={"id": "bbh/own_example/8"})]
    words = write_cells(tmp_path, items, tau)
    fidelity.main(fidelity.parser().parse_args(words))
    rows = read_jsonl(tmp_path / "out.jsonl", Fidelity)
    assert [(row.student, row.seed, row.item) for row in rows] == [
        (learner, seed, one.id)
        for learner in ("tiny", "tiny-bbh-feedback_dpo-0")
        for seed in (0, 1)
        for one in items
    ]


def test_mistakes_of_fidelity(item: Item, tau: Trajectory, tmp_path: Path) -> None:
    words = write_cells(tmp_path, [item], tau)
    write_jsonl(tmp_path / "clean-tiny-1.jsonl", [])
    with pytest.raises(UserError, match=r"clean-tiny-1.jsonl: not the items of .*items.jsonl: bbh"):
        fidelity.main(fidelity.parser().parse_args(words))
    (tmp_path / "tau-tiny-1.jsonl").unlink()
    with pytest.raises(UserError, match=r"tau-tiny-1.jsonl: no such file"):
        fidelity.main(fidelity.parser().parse_args(words))
    words[-1] = str(tmp_path / "clean-{student}.jsonl")
    with pytest.raises(UserError, match=r"the axes of this step are \{learner\}, \{seed\}"):
        fidelity.main(fidelity.parser().parse_args(words))
    assert not (tmp_path / "out.jsonl").exists()


def test_mistakes_of_clean(tau: Trajectory, tmp_path: Path) -> None:
    words = command(tmp_path, ROOT / "scales" / "tiny.yaml")
    for wrong, message in ((tau, "bbh/own_example/7 is not conditioned on feedback"),):
        write_jsonl(tmp_path / "tau_f.jsonl", [wrong])
        with pytest.raises(UserError, match=message):
            clean.main(clean.parser().parse_args(words))
    leak = tmp_path / "leak.jinja"
    for name in ("target", "feedback", "task"):
        leak.write_text(f"Clean it. {{{{ {name} }}}}")
        write_jsonl(tmp_path / "tau_f.jsonl", [tried(tau)])
        words = command(tmp_path, ROOT / "scales" / "tiny.yaml", leak)
        with pytest.raises(UserError, match=f"'{name}' is undefined"):
            clean.conversations(clean.parser().parse_args(words))
