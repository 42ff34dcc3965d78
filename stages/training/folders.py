"""Model folders that training writes: whole weights, or the adapter alone."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

import torch

from stages.models.adapters import CONFIG

_TOKENIZER = (
    "tokenizer*",
    "chat_template*",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)


def share_changed(before: Any, after: Mapping[str, torch.Tensor]) -> float:
    """Return the share of a model's weights that differ in `after`, in the model's precision."""
    differ = total = 0
    for name, weight in before.named_parameters():
        other = after[name].to(device=weight.device, dtype=weight.dtype)
        differ += int((other != weight).sum())
        total += weight.numel()
    return differ / total


def write_whole(folder: Path, start: Path, weights: Mapping[str, torch.Tensor]) -> float:
    """Write the weights in the precision of the model in `start`; return which share changed."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(start, dtype="auto")
    changed = share_changed(model, weights)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(weights[name])
    model.save_pretrained(folder)
    return changed


def write_adapter(folder: Path, adapted: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Write a peft model's adapter, its config naming no base yet."""
    adapted.save_pretrained(folder, state_dict=dict(weights))
    (folder / "README.md").unlink(missing_ok=True)
    name_base(folder, None)


def name_base(adapter: Path, base: Path | None) -> None:
    """Name the base of an adapter, relative to the working folder; config in a fixed order.

    peft writes sets in the order of their hashes, which differs from run to run.
    """
    path = adapter / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    named = None if base is None else Path(os.path.relpath(base)).as_posix()
    config["base_model_name_or_path"] = named
    for field, value in config.items():
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            config[field] = sorted(value)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def merge(start: Path, adapter: Path) -> Any:
    """Return the model in `start` with the adapter merged, in the precision of `start`."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base: Any = AutoModelForCausalLM.from_pretrained(start, dtype="auto")
    adapted: Any = PeftModel.from_pretrained(base, str(adapter))
    return adapted.merge_and_unload()


def write_merged(folder: Path, start: Path, adapter: Path, save: bool) -> float:
    """Merge the adapter and, if `save`, write the weights; return which share of them changed."""
    from transformers import AutoModelForCausalLM

    merged = merge(start, adapter)
    before: Any = AutoModelForCausalLM.from_pretrained(start, dtype="auto")
    changed = share_changed(before, dict(merged.named_parameters()))
    if save:
        merged.save_pretrained(folder)
    return changed


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer's files as they are: written anew, they differ by library and setting."""
    for pattern in _TOKENIZER:
        for path in source.glob(pattern):
            copyfile(path, folder / path.name)
