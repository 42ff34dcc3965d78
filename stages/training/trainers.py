"""TRL's trainers as this project uses them: fed with tokens, in an order of our own."""

import dataclasses
import difflib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import BitsAndBytesConfig, PrinterCallback, TrainerCallback
from trl.trainer import utils
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from stages.errors import UserError
from stages.models.precision import best_dtype
from stages.training.config import Objective
from stages.training.presets import Hardware, Settings, split

CONFIGS = {"sft": SFTConfig, "dpo": DPOConfig}
# What the stage decides: where and what it writes, the order of the examples and their tokens.
OWN = {
    "assistant_only_loss", "chat_template_path", "data_seed", "dataloader_drop_last",
    "dataset_kwargs", "dataset_text_field", "disable_tqdm", "eos_token", "eval_strategy",
    "eval_steps", "logging_dir", "logging_first_step", "logging_steps", "logging_strategy",
    "output_dir", "packing", "packing_strategy", "pad_token", "padding_free", "push_to_hub",
    "report_to", "resume_from_checkpoint", "save_steps", "save_total_limit", "seed",
    "shuffle_dataset", "train_sampling_strategy", "truncation_mode", "use_cpu",
}  # fmt: skip
# Of BitsAndBytesConfig, which takes any name.
_QUANTIZATION = {
    "load_in_8bit", "load_in_4bit", "llm_int8_threshold", "llm_int8_skip_modules",
    "llm_int8_enable_fp32_cpu_offload", "llm_int8_has_fp16_weight", "bnb_4bit_compute_dtype",
    "bnb_4bit_quant_type", "bnb_4bit_use_double_quant", "bnb_4bit_quant_storage",
}  # fmt: skip


def score_targets_only() -> None:
    """Have TRL project the positions that carry loss only, as it does on a GPU, on a CPU too.

    Else it multiplies every position with the whole vocabulary, a third of a step here, and throws
    most of it away. The loss is the same.
    """
    private: Any = utils
    private._use_triton = lambda device: True


class Sft(SFTTrainer):
    """SFTTrainer; it takes tokens as they are."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: a checkpoint is no release."""


class Dpo(DPOTrainer):
    """DPOTrainer, fed with tokens. Its own preparation applies the chat template and cuts."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: a checkpoint is no release."""


def hardware() -> Hardware:
    """Return what of this machine decides how it trains."""
    gpu = torch.cuda.is_available()
    halves: dict[torch.dtype, Literal["bfloat16", "float16"]] = {
        torch.bfloat16: "bfloat16",
        torch.float16: "float16",
    }
    return Hardware(
        gpu=gpu,
        half=halves.get(best_dtype(torch.device("cuda" if gpu else "cpu"))),
        bitsandbytes=importlib.util.find_spec("bitsandbytes") is not None,
    )


def weights_dtype(settings: Settings, machine: Hardware) -> str:
    """Return the precision that weights are loaded in.

    float32 where they are trained themselves: in bfloat16, small updates would be rounded away.
    """
    return "float32" if settings.adapter is None else machine.half or "float32"


def check_fields(section: str, objective: Objective, settings: Settings) -> None:
    """Raise UserError for a field that its library does not have, or that is the stage's to set."""
    config = CONFIGS[objective]
    known = {f.name for f in dataclasses.fields(config) if f.init}
    _check(f"{section}.args", settings.args, known, f"TRL's {config.__name__}")
    for name in settings.args:
        if name in OWN:
            raise UserError(f"{section}.args.{name}: the stage sets this itself")
    lora = {f.name for f in dataclasses.fields(LoraConfig) if f.init}
    _check(f"{section}.adapter", settings.adapter or {}, lora, "peft's LoraConfig")
    quantization = settings.quantization or {}
    _check(f"{section}.quantization", quantization, _QUANTIZATION, "BitsAndBytesConfig")


def _check(section: str, given: Mapping[str, Any], known: set[str], what: str) -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise UserError(f"{section}.{name}: not a field of {what}{meant}")


def make_config(
    section: str,
    objective: Objective,
    settings: Settings,
    machine: Hardware,
    steps: int,
    seed: int,
    folder: Path,
    processes: int = 1,
) -> Any:
    """Return TRL's config for one of `processes`, that checkpoints into `folder`.

    Raises:
        UserError: a value that TRL refuses, or a batch that the processes cannot share.
    """
    args = dict(settings.args)
    shares = split(
        args["per_device_train_batch_size"], args["gradient_accumulation_steps"], processes
    )
    if shares is None:
        raise UserError(
            f"{section}.args: a batch of {settings.batch} cannot be shared by {processes} processes"
        )
    args["per_device_train_batch_size"], args["gradient_accumulation_steps"] = shares
    # What is too long was dropped or cut before; here nothing is.
    args |= {"max_steps": steps, "max_length": None}
    args["model_init_kwargs"] = {
        "dtype": weights_dtype(settings, machine),
        **(args.get("model_init_kwargs") or {}),
    }
    args.setdefault("dataloader_pin_memory", machine.gpu)
    try:
        return CONFIGS[objective](
            output_dir=str(folder),
            seed=seed,
            data_seed=seed,
            use_cpu=not machine.gpu,
            train_sampling_strategy="sequential",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            **args,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{section}.args: {_line(error)}") from None


def build(
    section: str,
    objective: Objective,
    settings: Settings,
    config: Any,
    start: Path,
    tokenizer: Any,
    data: Dataset,
    order: Sequence[int],
    callbacks: Sequence[TrainerCallback] = (),
) -> Any:
    """Return TRL's trainer of the model in `start`, on `data` in the given order.

    Args:
        section: file and key of the settings, for messages.
        objective: what is trained.
        settings: its adapter and quantization.
        config: as `make_config` returns it.
        start: a folder with whole weights.
        tokenizer: of that folder.
        data: the examples, each once: tokens, as `stages.training.examples` makes them.
        order: places in `data`, a batch after the other; every process takes its share of each.
        callbacks: to add.

    Raises:
        UserError: settings that TRL or peft refuse.
    """
    if config.use_cpu:
        score_targets_only()
    options: dict[str, Any] = {}
    try:
        if settings.adapter is not None:
            options["peft_config"] = LoraConfig(task_type="CAUSAL_LM", **settings.adapter)
        if settings.quantization is not None:
            quantization: Any = BitsAndBytesConfig
            options["quantization_config"] = quantization(**settings.quantization)
        trainer: Any = (Sft if objective == "sft" else Dpo)(
            model=str(start),
            args=config,
            train_dataset=data,
            processing_class=tokenizer,
            callbacks=list(callbacks),
            **options,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{section}: {_line(error)}") from None
    trainer.remove_callback(PrinterCallback)
    if len(trainer.train_dataset) != len(data):
        raise RuntimeError(f"TRL took {len(trainer.train_dataset)} of {len(data)} examples")
    # Only now: what DPO computes beforehand of the reference is the same each time.
    trainer.train_dataset = trainer.train_dataset.select(order)
    return trainer


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
