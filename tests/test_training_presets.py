"""Appendix B and the presets made from it, and the data step that goes with each.

Covered: every printed field's way into TRL's config of today, what each preset sets and in which
order params win, num_steps, fallbacks, the sharing of a batch by processes; the mask of each form
of the data (printed: run with -s), that trained tokens are those of inference, agreement with TRL's
own preparation of conversations, truncation of October 2024 on constructed pairs, what is dropped.
Not covered: training itself (test_training.py), real tokenizers.
"""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from stages.errors import UserError
from stages.fetching import make_folder
from stages.model_specs import LocalSpec, TinySource
from stages.models.template import apply_template, load_tokenizer
from stages.records import Demonstration, Message, Preference
from stages.training.config import Objective, Trainer
from stages.training.examples import IGNORED, Example, Pair, cut_2024, prepare
from stages.training.presets import (
    NAMES,
    Hardware,
    Settings,
    load_presets,
    parse_printed,
    settle,
    split,
)

GPU = Hardware(gpu=True, half="bfloat16", bitsandbytes=True)
OLD_GPU = Hardware(gpu=True, half="float16", bitsandbytes=True)
CPU = Hardware(gpu=False, half=None, bitsandbytes=False)
QLORA: dict[str, Any] = {"adapter": {"r": 8}, "quantization": {"load_in_4bit": True}}
OBJECTIVES: tuple[Objective, ...] = ("sft", "dpo")
CONFIGS = {"sft": SFTConfig, "dpo": DPOConfig}


def settings(objective: Objective, preset: str = "fixed", **args: Any) -> Settings:
    trainer = Trainer.model_validate({"preset": preset, "args": args})
    return settle(objective, trainer, CPU)


# Presets.


def test_appendix_b_is_read_as_printed() -> None:
    printed = load_presets().printed
    assert parse_printed(printed["sft"]) == {
        "gradient_checkpointing": True,
        "gradient_accumulation_steps": 4,
        "remove_unused_columns": True,
        "learning_rate": 5e-4,
        "lr_scheduler_type": "cosine",
        "max_steps": "num_steps",
        "save_strategy": "no",
        "optim": "paged_adamw_32bit",
        "bf16": "use_bfloat16",
        "fp16": "use_float16",
        "warmup_ratio": 0.1,
    }
    assert parse_printed(printed["dpo"]) == {
        "beta": 0.1,
        "max_prompt_length": 1024,
        "gradient_checkpointing": True,
        "remove_unused_columns": False,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "cosine",
        "max_steps": "num_steps",
        "save_strategy": "no",
        "optim": "paged_adamw_32bit",
        "bf16": "use_bfloat16",
        "fp16": "use_float16",
        "warmup_ratio": 0.1,
        "gradient_accumulation_steps": 4,
    }
    with pytest.raises(ValueError, match="not a printed field"):
        parse_printed("beta 0.1,")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_printed_field_has_its_place(objective: Objective) -> None:
    presets = load_presets()
    printed = parse_printed(presets.printed[objective])
    on_gpu = settle(objective, Trainer(preset="as_printed", args={}, **QLORA), GPU)
    known = {field.name for field in dataclasses.fields(CONFIGS[objective])}
    assert set(presets.fields.values()) - {None} <= {
        field.name for config in CONFIGS.values() for field in dataclasses.fields(config)
    }
    for name, value in printed.items():
        field = presets.fields[name]
        if name == "max_prompt_length":
            assert field is None
            assert name not in known
            assert on_gpu.max_prompt_length == value
        elif value == "num_steps":
            assert field == "max_steps"
            assert field not in on_gpu.args  # known when the data are
        elif value in NAMES:
            assert on_gpu.args[name] is (name == "bf16")
        else:
            assert field is not None
            assert on_gpu.args[field] == value
    assert on_gpu.fallbacks == ()
    assert on_gpu.quantization == {"load_in_4bit": True}
    # Fields that TRL does not have today are exactly those that the table renames or takes out.
    assert {name for name in printed if name not in known} == {
        name for name in printed if presets.fields[name] != name
    }
    # All that a preset sets is a field of TRL.
    for preset in presets.presets.values():
        assert set(preset[objective].args) | set(preset[objective].full) <= known
    assert set(presets.unstated) <= known


def test_trl_still_refuses_the_printed_names() -> None:
    with pytest.raises(TypeError, match="max_prompt_length"):
        DPOConfig(max_prompt_length=1024)
    with pytest.raises(TypeError, match="warmup_ratio"):
        SFTConfig(warmup_ratio=0.1)


def test_what_a_machine_cannot_do_is_said() -> None:
    trainer = Trainer(preset="as_printed", args={}, **QLORA)
    found = settle("sft", trainer, CPU)
    assert found.args["optim"] == "adamw_torch"
    assert (found.args["bf16"], found.args["fp16"]) == (False, False)
    assert found.quantization is None
    assert [line.split(" ")[0] for line in found.fallbacks] == ["no", "optim", "quantization"]
    old = settle("sft", trainer, OLD_GPU)
    assert (old.args["bf16"], old.args["fp16"], old.fallbacks) == (False, True, ())
    no_library = settle("sft", trainer, dataclasses.replace(GPU, bitsandbytes=False))
    assert [line.split(" ")[0] for line in no_library.fallbacks] == ["optim", "quantization"]


def test_params_win_over_the_preset_and_adapters_keep_the_printed_rate() -> None:
    assert settings("sft").args["learning_rate"] < 5e-4
    lora = Trainer(preset="fixed", args={}, adapter={"r": 8})
    assert settle("sft", lora, CPU).args["learning_rate"] == 5e-4
    assert settle("dpo", lora, CPU).args["learning_rate"] == 5e-5
    assert settings("sft", learning_rate=0.3).args["learning_rate"] == 0.3
    assert settings("sft", "as_printed").args["learning_rate"] == 5e-4
    old = settings("sft", "as_trl_2024")
    assert (old.data, old.args["max_length"]) == ("trl_2024", 1024)
    assert old.args["completion_only_loss"] is False
    dpo = settings("dpo", "as_trl_2024")
    assert (dpo.args["max_length"], dpo.max_prompt_length) == (512, 1024)
    assert settings("dpo").max_prompt_length is None


def test_num_steps() -> None:
    default = settings("sft")
    assert default.batch == 16
    assert default.steps(100) == 19  # three epochs of 100 items
    assert default.steps(7) == 10
    assert settings("sft", num_train_epochs=1).steps(320) == 20
    assert settings("sft", max_steps=6).steps(100) == 6


@pytest.mark.parametrize(
    ("per_device", "accumulation", "processes", "expected"),
    [
        (4, 4, 1, (4, 4)),
        (4, 1, 2, (2, 1)),
        (4, 4, 8, (1, 2)),
        (2, 3, 6, (1, 1)),
        (3, 4, 2, (3, 2)),
        (3, 1, 2, None),
        (4, 1, 8, None),
    ],
)
def test_processes_share_a_batch(
    per_device: int, accumulation: int, processes: int, expected: tuple[int, int] | None
) -> None:
    assert split(per_device, accumulation, processes) == expected
    if expected is not None:
        assert expected[0] * expected[1] * processes == per_device * accumulation


# The data step.


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("tiny")
    make_folder(
        "tiny", LocalSpec(engine="transformers", source=TinySource(kind="tiny", seed=0)), path
    )
    return load_tokenizer(path)


def say(role: Any, content: str) -> Message:
    return Message(role=role, content=content)


SHORT = (say("user", "Does a cork float?"),)
LONG = (
    say("system", "You are terse."),
    say("user", "Does a cork float?"),
    say("assistant", "Answer: No"),
    say("user", "Look again."),
)


def demonstration(prompt: tuple[Message, ...] = SHORT, reply: str = "Answer: Yes") -> Demonstration:
    return Demonstration(
        item="own/1", task="own", environment=None, prompt=prompt,
        completion=(say("assistant", reply),),
    )  # fmt: skip


def preference(
    prompt: tuple[Message, ...] = SHORT, chosen: str = "Answer: Yes", rejected: str = "Nope"
) -> Preference:
    return Preference(
        item="own/1", task="own", environment=None, prompt=prompt,
        chosen=(say("assistant", chosen),), rejected=(say("assistant", rejected),),
    )  # fmt: skip


def one_sft(tokenizer: Any, record: Demonstration, how: Settings) -> Example:
    [example] = prepare([record], tokenizer, how).examples
    assert isinstance(example, Example)
    return example


def one_dpo(tokenizer: Any, record: Preference, how: Settings) -> Pair:
    [pair] = prepare([record], tokenizer, how).examples
    assert isinstance(pair, Pair)
    return pair


def parts(tokenizer: Any, example: Example) -> tuple[str, str]:
    """Return the text without loss and the text with it, and print both."""
    known = [t for t, label in zip(example.input_ids, example.labels, strict=True) if label < 0]
    target = [label for label in example.labels if label != IGNORED]
    shown = tokenizer.decode(known), tokenizer.decode(target)
    print(f"\nno loss: {shown[0]!r}\nloss:    {shown[1]!r}")
    return shown


@pytest.mark.parametrize("prompt", [SHORT, LONG], ids=["one message", "a history"])
def test_the_loss_is_on_the_reply_and_its_end_token(
    tokenizer: Any, prompt: tuple[Message, ...]
) -> None:
    example = one_sft(tokenizer, demonstration(prompt), settings("sft"))
    known, target = parts(tokenizer, example)
    # What the engines show the model, then what it should say.
    assert known == apply_template(tokenizer, prompt)
    assert target == "Answer: Yes<|im_end|>"
    assert example.targets == len(tokenizer("Answer: Yes")["input_ids"]) + 1
    assert example.labels[: len(example.labels) - example.targets] == [IGNORED] * (
        len(example.labels) - example.targets
    )


@pytest.mark.parametrize("prompt", [SHORT, LONG], ids=["one message", "a history"])
def test_dpo_compares_replies_with_their_end_tokens(
    tokenizer: Any, prompt: tuple[Message, ...]
) -> None:
    pair = one_dpo(tokenizer, preference(prompt), settings("dpo"))
    texts = [tokenizer.decode(ids) for ids in (pair.prompt_ids, pair.chosen_ids, pair.rejected_ids)]
    print("\n", texts)
    assert texts == [
        apply_template(tokenizer, prompt),
        "Answer: Yes<|im_end|>",
        "Nope<|im_end|>",
    ]


def test_a_reply_cannot_end_itself(tokenizer: Any) -> None:
    example = one_sft(tokenizer, demonstration(reply="Yes<|im_end|>No"), settings("sft"))
    assert example.labels.count(tokenizer.eos_token_id) == 1


@pytest.mark.parametrize("prompt", [SHORT, LONG], ids=["one message", "a history"])
def test_the_form_trl_is_what_trl_makes_of_a_conversation(
    tokenizer: Any, tmp_path: Path, prompt: tuple[Message, ...]
) -> None:
    how, record = settings("sft", "as_printed"), demonstration(prompt)
    row = record.model_dump(include={"prompt", "completion"})
    rows = Dataset.from_list([{name: list(value) for name, value in row.items()}])
    # The method alone: a trainer would load a model.
    plain = SFTTrainer.__new__(SFTTrainer)
    plain.completion_only_loss, plain.chat_template, plain._tokenizer = True, None, tokenizer
    config = SFTConfig(output_dir=str(tmp_path), max_length=1024, use_cpu=True, bf16=False)
    [theirs] = plain._prepare_dataset(rows, tokenizer, config, False, None, "train")
    ours = one_sft(tokenizer, record, how)
    assert (ours.input_ids, ours.labels) == (theirs["input_ids"], theirs["labels"])
    exact = one_sft(tokenizer, record, settings("sft"))
    newline = tokenizer("\n")["input_ids"]
    assert ours.input_ids == exact.input_ids + newline  # which `exact` does not train on

    pair = preference(prompt)
    row = pair.model_dump(include={"prompt", "chosen", "rejected"})
    rows = Dataset.from_list([{name: list(value) for name, value in row.items()}])
    dpo = DPOTrainer.__new__(DPOTrainer)
    dpo._tokenizer = tokenizer
    settings_of_dpo = DPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    [theirs] = dpo._prepare_dataset(rows, tokenizer, settings_of_dpo, "train")
    made = one_dpo(tokenizer, pair, settings("dpo", "as_printed"))
    assert dataclasses.asdict(made) == {name: theirs[name] for name in dataclasses.asdict(made)}


def test_too_long_examples_are_dropped_and_counted(tokenizer: Any) -> None:
    short, long = demonstration(), demonstration(reply="Yes. " * 50)
    limit = one_sft(tokenizer, short, settings("sft")).tokens
    kept = prepare([short, long, short], tokenizer, settings("sft", max_length=limit))
    assert (len(kept.examples), kept.too_long, kept.cut) == (2, 1, 0)
    less = settings("sft", max_length=limit - 1)
    with pytest.raises(UserError, match="all 2 examples are longer than max_length"):
        prepare([short, short], tokenizer, less)
    pairs = [preference(), preference(rejected="No. " * 50), preference(chosen="No. " * 50)]
    dropped = prepare(pairs, tokenizer, settings("dpo", max_length=limit))
    assert (len(dropped.examples), dropped.too_long, dropped.cut) == (1, 2, 0)
    assert prepare(pairs, tokenizer, settings("dpo", max_length=None)).too_long == 0


def test_as_printed_cuts_and_counts(tokenizer: Any) -> None:
    how = settings("sft", "as_printed")
    whole = one_sft(tokenizer, demonstration(), how)
    prompt = whole.tokens - whole.targets
    cut = prepare(
        [demonstration()], tokenizer, settings("sft", "as_printed", max_length=prompt + 3)
    )
    [example] = cut.examples
    assert isinstance(example, Example)
    assert (example.targets, cut.cut, cut.too_long) == (3, 1, 0)
    # Nothing left to learn.
    gone = settings("sft", "as_printed", max_length=prompt)
    with pytest.raises(UserError, match="all 1 examples are longer"):
        prepare([demonstration()], tokenizer, gone)
    long = preference((say("user", "x" * 2000),))
    made = prepare([long], tokenizer, settings("dpo", "as_printed", max_length=None))
    [pair] = made.examples
    assert isinstance(pair, Pair)
    # The printed max_prompt_length, from the end.
    assert len(pair.prompt_ids) == 1024
    assert pair.prompt_ids == tokenizer(apply_template(tokenizer, long.prompt))["input_ids"][-1024:]
    assert made.cut == 1


def test_in_2024_the_loss_was_on_all_but_padding(tokenizer: Any) -> None:
    how = settings("sft", "as_trl_2024")
    example = one_sft(tokenizer, demonstration(LONG), how)
    known, target = parts(tokenizer, example)
    assert known == ""
    assert target == apply_template(tokenizer, LONG) + "Answer: Yes<|im_end|>\n"
    assert len(one_sft(tokenizer, demonstration(reply="x" * 3000), how).input_ids) == 1024
    # Where padding and the end of a turn are one token, no end was ever learnt.
    tokenizer = type(tokenizer)(tokenizer_object=tokenizer._tokenizer, eos_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    tokenizer.pad_token = tokenizer.eos_token
    blind = one_sft(tokenizer, demonstration(), how)
    assert tokenizer.eos_token_id in blind.input_ids
    assert tokenizer.eos_token_id not in blind.labels


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_in_2024_dpo_took_the_answer_off_long_pairs(tokenizer: Any) -> None:
    how = settings("dpo", "as_trl_2024")
    fits = one_dpo(tokenizer, preference(), how)
    assert tokenizer.decode(fits.chosen_ids) == "Answer: Yes<|im_end|>\n<|im_end|>"
    # A prompt of some 50 tokens and a reply of some 600, whose answer stands at its end.
    reasons = "".join(f"{n:4d}" for n in range(150))
    made = prepare([preference(chosen=reasons + "Answer: Yes", rejected="No")], tokenizer, how)
    [pair] = made.examples
    assert isinstance(pair, Pair)
    assert made.cut == 1
    chosen = tokenizer.decode(pair.chosen_ids)
    assert reasons.startswith(chosen)
    assert 0 < len(chosen) < 110
    assert pair.rejected_ids == []  # shorter than 512 tokens: nothing is left


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(5, 60),
    st.integers(1, 90),
)  # fmt: skip
def test_the_slice_of_2024(
    prompt: int, chosen: int, rejected: int, longest: int, longest_prompt: int
) -> None:
    """Against the lines of `_truncate_tokens`, written down with its own variables."""
    pair = Pair(list(range(prompt)), list(range(chosen)), list(range(rejected)))
    longer_response_length = max(chosen, rejected)
    expected_prompt = pair.prompt_ids
    if len(expected_prompt) + longer_response_length > longest:
        expected_prompt = expected_prompt[-longest_prompt:]
    expected = [pair.chosen_ids, pair.rejected_ids]
    if len(expected_prompt) + longer_response_length > longest:
        expected = [ids[: longest - longest_prompt] for ids in expected]
    found = cut_2024(pair, longest, longest_prompt)
    assert [found.prompt_ids, found.chosen_ids, found.rejected_ids] == [expected_prompt, *expected]


def test_replies_of_another_form_are_named(tokenizer: Any) -> None:
    record = demonstration().model_copy(update={"completion": (say("user", "x"),)})
    with pytest.raises(UserError, match="own/1: a reply is one message of the assistant"):
        prepare([record], tokenizer, settings("sft"))
    with pytest.raises(UserError, match="trl_2024: max_length and max_prompt_length are numbers"):
        prepare([preference()], tokenizer, settings("dpo", "as_trl_2024", max_length=None))
