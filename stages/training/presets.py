"""Appendix B (Figure 3) and the presets made from it: which fields TRL's trainers are given.

Pure arithmetic on names and values: nothing here imports TRL, and what depends on the machine comes
in as `Hardware`.
"""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages.params import Section, check, read_yaml
from stages.training.config import Objective, Trainer

DataForm = Literal["exact", "trl", "trl_2024"]
LEAST_STEPS = 10
# What Figure 3 leaves to be known later.
NAMES = ("num_steps", "use_bfloat16", "use_float16")
_PRINTED = re.compile(r"(\w+)[:=](.+),")


class Preset(Section):
    """What a preset adds to the printed fields for one objective.

    Attributes:
        data: how text becomes tokens and long text is cut; see `stages.training.examples`.
        args: fields of TRL.
        full: more of them, where no adapter is trained.
        max_prompt_length: takes the place of the printed one.
    """

    data: DataForm
    args: dict[str, Any] = Field(default_factory=dict)
    full: dict[str, Any] = Field(default_factory=dict)
    max_prompt_length: int | None = Field(default=None, ge=1)


class Presets(Section):
    """The file of presets."""

    printed: dict[Objective, str]
    fields: dict[str, str | None]
    unstated: dict[str, Any]
    presets: dict[str, dict[Objective, Preset]]


@dataclass(frozen=True)
class Hardware:
    """What of a machine decides how it trains."""

    gpu: bool
    half: Literal["bfloat16", "float16"] | None
    bitsandbytes: bool


@dataclass(frozen=True)
class Settings:
    """How one objective is trained on this machine.

    Attributes:
        preset: its name.
        data: how text becomes tokens.
        max_prompt_length: of the data step; None for no limit.
        args: fields of TRL's config; `max_steps` is there only where params give it.
        adapter: fields of peft's LoraConfig, or None.
        quantization: fields of BitsAndBytesConfig, or None.
        fallbacks: what the machine could not do as asked, in words.
    """

    preset: str
    data: DataForm
    max_prompt_length: int | None
    args: dict[str, Any]
    adapter: dict[str, Any] | None
    quantization: dict[str, Any] | None
    fallbacks: tuple[str, ...]

    @property
    def batch(self) -> int:
        """Examples in one step of the optimizer, on however many processes."""
        return self._count("per_device_train_batch_size") * self._count(
            "gradient_accumulation_steps"
        )

    def _count(self, field: str) -> int:
        return int(self.args[field])

    def steps(self, examples: int) -> int:
        """Return num_steps: `max_steps` of params, or what the epochs come to, ten at least."""
        given = self.args.get("max_steps", -1)
        if given > 0:
            return int(given)
        epochs = float(self.args["num_train_epochs"])
        return max(LEAST_STEPS, math.ceil(epochs * examples / self.batch))


def load_presets() -> Presets:
    """Read presets.yaml, beside this module. Raises UserError naming file and field."""
    path = Path(__file__).with_name("presets.yaml")
    return check(path, "", read_yaml(path), Presets)


def parse_printed(text: str) -> dict[str, Any]:
    """Return the fields of a config as Figure 3 prints it; one of NAMES is kept as text.

    Raises:
        ValueError: a line has another form.
    """
    fields = {}
    for line in text.splitlines():
        match = _PRINTED.fullmatch(line)
        if match is None:
            raise ValueError(f"not a printed field: {line}")
        name, value = match.groups()
        fields[name] = value if value in NAMES else ast.literal_eval(value)
    return fields


def settle(objective: Objective, trainer: Trainer, hardware: Hardware) -> Settings:
    """Return the fields that TRL is given here, and what could not be had."""
    presets = load_presets()
    preset = presets.presets[trainer.preset][objective]
    args, max_prompt_length = _translate(presets, objective, hardware)
    if "max_prompt_length" in preset.model_fields_set:
        max_prompt_length = preset.max_prompt_length
    args |= presets.unstated | preset.args
    if trainer.adapter is None:
        args |= preset.full
    args |= trainer.args
    fallbacks = []
    if hardware.half is None:
        fallbacks.append("no fast bfloat16 on this machine: trained in float32")
    paged = str(args.get("optim", "")).startswith("paged_")
    if paged and not (hardware.gpu and hardware.bitsandbytes):
        fallbacks.append(f"optim {args['optim']} needs bitsandbytes and a GPU: adamw_torch")
        args["optim"] = "adamw_torch"
    quantization = trainer.quantization
    if quantization is not None and not (hardware.gpu and hardware.bitsandbytes):
        fallbacks.append("quantization needs bitsandbytes and a GPU: weights as they are")
        quantization = None
    return Settings(
        preset=trainer.preset,
        data=preset.data,
        max_prompt_length=max_prompt_length,
        args=args,
        adapter=trainer.adapter,
        quantization=quantization,
        fallbacks=tuple(fallbacks),
    )


def _translate(
    presets: Presets, objective: Objective, hardware: Hardware
) -> tuple[dict[str, Any], int | None]:
    """Return the printed fields under TRL's names of today, and `max_prompt_length`."""
    values: Mapping[str, Any] = {
        "use_bfloat16": hardware.half == "bfloat16",
        "use_float16": hardware.half == "float16",
    }
    args: dict[str, Any] = {}
    longest: int | None = None
    for name, value in parse_printed(presets.printed[objective]).items():
        if value == "num_steps":
            continue  # Known when the data are.
        field = presets.fields[name]
        if field is None:
            longest = value
        else:
            args[field] = values.get(value, value) if isinstance(value, str) else value
    return args, longest


def split(per_device: int, accumulation: int, processes: int) -> tuple[int, int] | None:
    """Return both for each of several processes, so that a step holds the same examples as on one.

    The processes share each sequence batch first, then the accumulation; None if it does not go.
    """
    shared = math.gcd(per_device, processes)
    rest = processes // shared
    if accumulation % rest:
        return None
    return per_device // shared, accumulation // rest
