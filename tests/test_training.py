"""TRL's trainers as the stage sets them up, on a tiny model.

Covered: one step's gradients of SFT and DPO against a reference written by hand in float64 (TRL's
own head rounds to float32), with accumulation and padding; that scoring the targets only changes
nothing; SFT comes to a loss near zero, DPO's margin grows; the order of examples; a field or value
that the libraries refuse. Not covered: the stage around them (test_train_stage.py), GPUs, 4 bits.
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from training_house import LORA, demonstrations, make_tiny, preferences
from transformers import AutoModelForCausalLM
from trl.trainer import utils

from stages.errors import UserError
from stages.models.template import load_tokenizer
from stages.training.config import Objective, Trainer
from stages.training.examples import Example, Pair, prepare
from stages.training.presets import Hardware, Settings, settle
from stages.training.running import shuffled
from stages.training.trainers import build, check_fields, make_config

CPU = Hardware(gpu=False, half=None, bitsandbytes=False)
# A step whose weights move by the gradient itself.
PLAIN = {
    "optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "warmup_steps": 0,
    "max_grad_norm": 0.0, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2,
}  # fmt: skip

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("training") / "tiny")


def settings(objective: Objective, adapter: Any = None, **args: Any) -> Settings:
    trainer = Trainer(preset="fixed", args=args, adapter=adapter)
    return settle(objective, trainer, CPU)


def trainer_of(
    folder: Path, scratch: Path, objective: Objective, how: Settings, steps: int, count: int = 4
) -> tuple[Any, list[Any]]:
    """Return a trainer that takes `count` examples in their order, and the examples."""
    records = (demonstrations if objective == "sft" else preferences)(count)
    tokenizer = load_tokenizer(folder)
    examples = prepare(records, tokenizer, how).examples
    config = make_config("own", objective, how, CPU, steps, 0, scratch)
    rows = Dataset.from_list([dataclasses.asdict(example) for example in examples])
    order = [place % count for place in range(steps * how.batch)]
    return build("own", objective, how, config, folder, tokenizer, rows, order), list(examples)


def logprobs(model: Any, prompt: list[int], reply: list[int]) -> torch.Tensor:
    """Return log p(token | all before) for each token of the reply."""
    logits = model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
    picked = logits.log_softmax(dim=-1).gather(1, torch.tensor(reply)[:, None])
    return picked[:, 0]


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def compare_step(trainer: Any, loss: torch.Tensor, reference: Any) -> None:
    """Run one step; its loss and its move must be the reference's loss and gradient."""
    before = weights_of(trainer.model)
    loss.backward()
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), rel=1e-6)
    after = dict(trainer.model.named_parameters())
    gradients = {name: weight.grad for name, weight in reference.named_parameters()}
    assert set(gradients) == set(before)
    for name, gradient in gradients.items():
        moved = before[name] - after[name].detach()
        assert moved.dtype == torch.float64
        assert float(gradient.norm()) > 0
        error = float((moved - gradient).norm() / gradient.norm())
        assert error < 1e-5, name


def double(folder: Path, state: dict[str, torch.Tensor]) -> Any:
    """Return the model in float64 with these weights, TRL nowhere near."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    model.load_state_dict(state)
    return model


def test_a_step_of_sft_is_masked_cross_entropy(folder: Path, tmp_path: Path) -> None:
    trainer, examples = trainer_of(folder, tmp_path, "sft", settings("sft", **PLAIN), steps=1)
    trainer.model.double()
    reference = double(folder, trainer.model.state_dict())
    total, count = torch.zeros((), dtype=torch.float64), 0
    for example in examples:
        assert isinstance(example, Example)
        known = example.tokens - example.targets
        total = (
            total - logprobs(reference, example.input_ids[:known], example.input_ids[known:]).sum()
        )
        count += example.targets
    assert len({example.tokens for example in examples}) > 1  # there is padding
    # The mean over all targets of the step, not of the means of its halves.
    compare_step(trainer, total / count, reference)


@pytest.mark.parametrize("precompute", [False, True])
def test_a_step_of_dpo_is_minus_log_sigmoid(folder: Path, tmp_path: Path, precompute: bool) -> None:
    how = settings("dpo", precompute_ref_log_probs=precompute, **PLAIN)
    trainer, pairs = trainer_of(folder, tmp_path, "dpo", how, steps=1)
    at_start = {name: weight.double() for name, weight in trainer.model.state_dict().items()}
    trainer.model.double()
    if not precompute:
        trainer.ref_model.double()
    # A policy that has left the reference: else each margin would be zero.
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight += 0.02 * torch.randn_like(weight)
    policy = double(folder, trainer.model.state_dict())
    reference = double(folder, at_start)
    losses = []
    for pair in pairs:
        assert isinstance(pair, Pair)
        ratios = []
        for reply in (pair.chosen_ids, pair.rejected_ids):
            with torch.no_grad():
                base = logprobs(reference, pair.prompt_ids, reply).sum()
            ratios.append(logprobs(policy, pair.prompt_ids, reply).sum() - base)
        losses.append(-torch.nn.functional.logsigmoid(0.1 * (ratios[0] - ratios[1])))
    loss = torch.stack(losses).mean()
    assert abs(float(loss) - 0.6931) > 1e-3
    if precompute:
        # The reference's part was computed in float32.
        trainer.train()
        assert trainer.state.log_history[0]["loss"] == pytest.approx(float(loss), rel=1e-5)
    else:
        compare_step(trainer, loss, policy)


def test_scoring_the_targets_only_changes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utils, "_use_triton", lambda device: False)
    how = settings("sft", max_steps=2, per_device_train_batch_size=2, gradient_accumulation_steps=1)
    read: list[int] = []
    kernel = utils._ChunkedLogProbFunction

    class Counted(kernel):  # type: ignore[misc, valid-type]
        @staticmethod
        def forward(ctx: Any, hidden: torch.Tensor, *rest: Any) -> Any:
            read.append(len(hidden))
            return kernel.forward(ctx, hidden, *rest)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Counted)
    curves = []
    for lean in (True, False):
        trainer, examples = trainer_of(folder, tmp_path, "sft", how, steps=2)
        if not lean:
            monkeypatch.setattr(utils, "_use_triton", lambda device: False)
        trainer.train()
        curves.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert curves[0] == pytest.approx(curves[1], rel=1e-6)
    targets = [example.targets for example in examples]
    assert read[:2] == [sum(targets[:2]), sum(targets[2:])]
    assert min(read[2:]) > max(read[:2])


def test_sft_comes_to_nearly_no_loss(folder: Path, tmp_path: Path) -> None:
    how = settings(
        "sft", learning_rate=0.01, per_device_train_batch_size=4, gradient_accumulation_steps=1
    )
    trainer, _ = trainer_of(folder, tmp_path, "sft", how, steps=150)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses[0] > 5
    assert losses[-1] < 0.05
    assert trainer.state.log_history[-2]["mean_token_accuracy"] == 1


@pytest.mark.parametrize(
    ("adapter", "rate"), [(None, 0.005), (LORA, 0.01)], ids=["all weights", "adapter"]
)
def test_the_margin_of_dpo_grows(folder: Path, tmp_path: Path, adapter: Any, rate: float) -> None:
    how = settings(
        "dpo", adapter, learning_rate=rate, beta=1.0, per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
    )  # fmt: skip
    trainer, _ = trainer_of(folder, tmp_path, "dpo", how, steps=60)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert rows[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert rows[-1]["rewards/margins"] > 3
    assert rows[-1]["rewards/accuracies"] == 1
    assert rows[-1]["loss"] < 0.1 * rows[0]["loss"]


@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 3))
def test_every_pass_holds_every_example_once(examples: int, rows: int, seed: int) -> None:
    order = shuffled(examples, rows, seed, None)
    assert len(order) == rows
    assert order == shuffled(examples, rows, seed, None)
    for start in range(0, rows - examples + 1, examples):
        assert sorted(order[start : start + examples]) == list(range(examples))
    counts = Counter(order).values()
    assert not order or max(counts) - (min(counts) if len(counts) == examples else 0) <= 1


def test_the_order_follows_the_seed_and_the_environment() -> None:
    orders = [shuffled(9, 27, seed, name) for seed in (0, 1) for name in (None, "one", "other")]
    assert len({tuple(order) for order in orders}) == len(orders)
    assert orders[0][:9] != orders[0][9:18]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"args": {"learnig_rate": 1}},
            r"own.args.learnig_rate: not .* did you mean learning_rate",
        ),
        ({"args": {"max_prompt_length": 9}}, "own.args.max_prompt_length: not a field of TRL's"),
        ({"args": {"output_dir": "x"}}, "own.args.output_dir: the stage sets this itself"),
        ({"args": {"packing": True}}, "own.args.packing: the stage sets this itself"),
        ({"adapter": {"rank": 8}}, "own.adapter.rank: not a field of peft's LoraConfig"),
    ],
)
def test_fields_that_do_not_exist_are_named(changes: dict[str, Any], message: str) -> None:
    trainer = Trainer.model_validate({"preset": "fixed", "args": {}, **changes})
    with pytest.raises(UserError, match=message):
        check_fields("own", "sft", settle("sft", trainer, CPU))


def test_a_misspelt_quantization_is_named() -> None:
    quantization = {"load_in_4bits": True}
    trainer = Trainer(preset="fixed", args={}, adapter={"r": 8}, quantization=quantization)
    gpu = Hardware(gpu=True, half="bfloat16", bitsandbytes=True)
    with pytest.raises(
        UserError, match=r"quantization.load_in_4bits: .* did you mean load_in_4bit"
    ):
        check_fields("own", "sft", settle("sft", trainer, gpu))


def test_values_that_the_libraries_refuse_are_one_line(folder: Path, tmp_path: Path) -> None:
    for args in ({"lr_scheduler_type": "bent"}, {"warmup_steps": -1}):
        with pytest.raises(UserError, match=r"^own.args: [^\n]+$"):
            make_config("own", "sft", settings("sft", **args), CPU, 1, 0, tmp_path)
    wrong = settings("sft", {"r": 4, "target_modules": ["nowhere"]})
    with pytest.raises(UserError, match=r"^own: [^\n]*nowhere[^\n]*$"):
        trainer_of(folder, tmp_path, "sft", wrong, steps=1)
    with pytest.raises(UserError, match="a batch of 16 cannot be shared by 3 processes"):
        make_config("own", "sft", settings("sft"), CPU, 1, 0, tmp_path, processes=3)
