"""Export: the same trajectories as data of other methods.

Covered: the content of every format, what is left out and said of it, that TRL reads each one as
what it is for, one step of its SDPOTrainer on a tiny model with the feedback in use, the folder of
all, and mistakes. Not covered: what such training brings.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from stages import export
from stages.conversation import combine
from stages.errors import UserError
from stages.fetching import make_folder
from stages.model_specs import LocalSpec, TinySource
from stages.records import Completion, Exchange, Feedback, Message, Trajectory, write_jsonl

# TRL warns that SDPO may change; these tests are how we would notice.
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
TEMPLATE = ROOT / "prompts" / "export" / "critique.jinja"
FEEDBACK, RETRY = "A brick sinks.", "Here's my new answer: a cork.\nAnswer: (B)"
FORMATS = ["sdpo", "critique", "chat", "dpo"]


def given(tau: Trajectory, text: str | None, status: str = "ok") -> Feedback:
    return Feedback(
        item=tau.item,
        suite=tau.suite,
        task=tau.task,
        split=tau.split,
        condition="unconstrained",
        student="tiny",
        teacher="scripted",
        seed=0,
        status=status,  # type: ignore[arg-type]
        text=text,
        exchange=None,
    )


def tried(tau: Trajectory, text: str, reason: str = "stop") -> Trajectory:
    exchange = Exchange(
        messages=combine(tau.exchanges, f"Your teacher says: {FEEDBACK}"),
        reply=Completion(text=text, finish_reason=reason),  # type: ignore[arg-type]
    )
    update = {"condition": "unconstrained", "feedback": FEEDBACK, "exchanges": (exchange,)}
    return tau.model_copy(update=update)


def with_system(tau: Trajectory, text: str, reason: str = "stop") -> Trajectory:
    """Return the trajectory of a student with a system prompt that says `text`."""
    own = tau.exchanges[0]
    exchange = Exchange(
        messages=(Message(role="system", content="You are a student."), *own.messages),
        reply=Completion(text=text, finish_reason=reason),  # type: ignore[arg-type]
    )
    return tau.model_copy(update={"exchanges": (exchange,)})


Triple = tuple[Trajectory, Feedback, Trajectory]


def whole(tau: Trajectory) -> Triple:
    first = with_system(tau, "A brick.<|im_end|>\nAnswer: (A)")
    return first, given(first, FEEDBACK), tried(first, RETRY)


def words(folder: Path, kind: str, triples: list[Triple], out: str = "out") -> list[str]:
    folder.mkdir(exist_ok=True)
    named = [
        tuple(one.model_copy(update={"item": f"own/{n}"}) for one in triple)
        for n, triple in enumerate(triples)
    ]
    for place, name in enumerate(("trajectories", "feedback", "retries")):
        write_jsonl(folder / f"{name}.jsonl", [triple[place] for triple in named])
    return [
        *("--format", kind, "--trajectories", f"{folder}/trajectories.jsonl"),
        *("--feedback", f"{folder}/feedback.jsonl", "--retries", f"{folder}/retries.jsonl"),
        *("--template", str(TEMPLATE), "--out", f"{folder}/{out}"),
    ]


def exported(folder: Path, kind: str, triples: list[Triple]) -> list[dict[str, Any]]:
    export.main(export.parser().parse_args(words(folder, kind, triples)))
    return [json.loads(line) for line in (folder / "out").read_text().splitlines()]


def test_what_each_format_has(tau: Trajectory, tmp_path: Path) -> None:
    triple = whole(tau)
    task = tau.exchanges[0].messages[0].content
    system = {"role": "system", "content": "You are a student."}
    prompt = [system, {"role": "user", "content": task}]
    answer = {"role": "assistant", "content": "A brick.< |im_end| >\nAnswer: (A)"}
    retry = {"role": "assistant", "content": RETRY}
    [line] = exported(tmp_path, "sdpo", [triple])
    assert line == {"item": "own/0", "prompt": prompt, "privileged_context": FEEDBACK}
    [line] = exported(tmp_path, "dpo", [triple])
    assert line == {"item": "own/0", "prompt": prompt, "chosen": [retry], "rejected": [answer]}
    [line] = exported(tmp_path, "chat", [triple])
    shown = {"role": "user", "content": f"Your teacher says: {FEEDBACK}"}
    assert line == {"item": "own/0", "messages": [*prompt, answer, shown, retry]}
    [line] = exported(tmp_path, "critique", [triple])
    assert line["completion"] == [{"role": "assistant", "content": FEEDBACK}]
    assert line["prompt"][0] == system
    [_, message] = line["prompt"]
    assert message["role"] == "user"
    assert task in message["content"]
    assert answer["content"] in message["content"]
    assert FEEDBACK not in message["content"]


def test_a_student_without_a_system_prompt(tau: Trajectory, tmp_path: Path) -> None:
    triple = (tau, given(tau, FEEDBACK), tried(tau, RETRY))
    [line] = exported(tmp_path, "critique", [triple])
    assert [message["role"] for message in line["prompt"]] == ["user"]


def test_what_is_left_out(
    tau: Trajectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut, failed, empty = (
        with_system(tau, text, reason)
        for text, reason in (("A br", "length"), ("", "error"), (" ", "stop"))
    )
    none = {"condition": "unconstrained", "kept_original": "refusal"}
    kept = {"condition": "unconstrained", "kept_original": "error"}
    first = with_system(tau, "A brick.\nAnswer: (A)")
    for triple, usable in (
        (whole(tau), {"sdpo", "critique", "chat", "dpo"}),
        ((first, given(first, None, "refusal"), first.model_copy(update=none)), set()),
        ((failed, given(failed, None, "error"), failed.model_copy(update=kept)), set()),
        ((cut, given(cut, FEEDBACK), tried(cut, RETRY)), {"sdpo", "critique", "chat"}),
        ((empty, given(empty, FEEDBACK), tried(empty, RETRY)), {"sdpo", "chat"}),
        (
            (first, given(first, FEEDBACK, "truncated"), tried(first, RETRY)),
            {"sdpo", "chat", "dpo"},
        ),
        ((first, given(first, FEEDBACK), tried(first, "A c", "length")), {"sdpo", "critique"}),
        ((first, given(first, FEEDBACK), tried(first, "", "error")), {"sdpo", "critique"}),
        (
            (first, given(first, FEEDBACK), tried(first, first.last.text + "\n")),
            {"sdpo", "critique", "chat"},
        ),
    ):
        for kind in FORMATS:
            capsys.readouterr()
            lines = exported(tmp_path, kind, [whole(tau), triple])
            assert [line["item"] for line in lines] == ["own/0", "own/1"][: 1 + (kind in usable)]
            assert capsys.readouterr().err == f"{kind}: {len(lines)} of 2 items\n"


def test_all_at_once(tau: Trajectory, tmp_path: Path) -> None:
    command = words(tmp_path, "all", [whole(tau)], "all")
    for _ in range(2):
        export.main(export.parser().parse_args(command))
        assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
            f"{kind}.jsonl" for kind in sorted(FORMATS)
        ]
    for kind in FORMATS:
        exported(tmp_path, kind, [whole(tau)])
        assert (tmp_path / "out").read_bytes() == (tmp_path / "all" / f"{kind}.jsonl").read_bytes()
    # A folder with anything else in it is somebody's.
    (tmp_path / "all" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"all: would be replaced, but mine.txt is there"):
        export.main(export.parser().parse_args(command))
    assert (tmp_path / "all" / "mine.txt").read_text() == "mine"


def test_trl_reads_them(tau: Trajectory, tmp_path: Path) -> None:
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl.data_utils import apply_chat_template, is_conversational
    from trl.experimental.sdpo import SDPOTrainer

    folder = make_tiny(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = {
        "critique": {"prompt", "completion"},
        "chat": {"text"},
        "dpo": {"prompt", "chosen", "rejected"},
    }
    sets = {}
    for kind in FORMATS:
        exported(tmp_path, kind, [whole(tau)] * 2)
        (tmp_path / "out").rename(tmp_path / f"{kind}.jsonl")
        # As a user would load it.
        sets[kind] = load_dataset(
            "json",
            data_files=str(tmp_path / f"{kind}.jsonl"),
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        assert len(sets[kind]) == 2
        assert is_conversational(sets[kind][0])
    for kind, columns in expected.items():
        assert columns <= apply_chat_template(sets[kind][0], tokenizer).keys(), kind
    needs = type("Unset", (), {"_signature_columns": None})()
    SDPOTrainer._set_signature_columns_if_needed(needs)
    assert set(sets["sdpo"].column_names) == {"item", *needs._signature_columns}


def make_tiny(root: Path) -> Path:
    folder = root / "model"
    spec = LocalSpec(engine="transformers", source=TinySource(kind="tiny", seed=0))
    make_folder("tiny", spec, folder)
    return folder


def test_a_step_of_sdpo(tau: Trajectory, tmp_path: Path) -> None:
    """The feedback reaches the self-teacher: TRL counts it as used."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

    folder = make_tiny(tmp_path)
    lines = exported(tmp_path, "sdpo", [whole(tau)] * 2)
    trainer = SDPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=SDPOConfig(
            output_dir=str(tmp_path / "run"),
            max_steps=1,
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=4,
            include_environment_feedback=True,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(lines),
        processing_class=AutoTokenizer.from_pretrained(folder, padding_side="left"),
    )
    trainer.train()
    logged = {name: value for log in trainer.state.log_history for name, value in log.items()}
    assert logged["self_distillation/feedback_used_fraction"] == 1.0


def test_mistakes(tau: Trajectory, tmp_path: Path) -> None:
    first, feedback, retry = whole(tau)
    other = with_system(tau, "Another.")
    twice = first.model_copy(update={"exchanges": first.exchanges * 2})
    for triple, message in (
        ((other, feedback, retry), "own/0: another answer or other feedback than in"),
        ((first, given(first, "Else."), retry), "own/0: another answer or other feedback than in"),
        ((twice, feedback, retry), "own/0 has more than one turn"),
    ):
        command = words(tmp_path, "chat", [triple])
        with pytest.raises(UserError, match=message):
            export.main(export.parser().parse_args(command))
    command = words(tmp_path, "all", [whole(tau)])
    place = command.index("--template")
    with pytest.raises(UserError, match="critique needs --template"):
        export.main(export.parser().parse_args(command[:place] + command[place + 2 :]))
    write_jsonl(tmp_path / "feedback.jsonl", [])
    with pytest.raises(UserError, match=r"feedback.jsonl: not the items of .*trajectories.jsonl"):
        export.main(export.parser().parse_args(command))
    assert not (tmp_path / "out").exists()
