"""Weights of a model folder that holds an adapter (peft): those of its base with the adapter in."""

import json
from pathlib import Path
from typing import Any

from stages.errors import UserError
from stages.models.card import CARD, LocalCard, read_card

CONFIG = "adapter_config.json"


def base_of(folder: Path) -> Path:
    """Return the model folder that an adapter was trained from, as its config names it.

    The name is relative to the working folder, which is the checkout's root for every stage.

    Raises:
        UserError: no config in `folder`, no base in it, or no such model folder.
    """
    path = folder / CONFIG
    try:
        base = Path(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, and the card says that this is an adapter") from None
    except (ValueError, LookupError, TypeError):
        raise UserError(f"{path}: base_model_name_or_path: not there") from None
    if not (base / CARD).is_file():
        raise UserError(f"{path}: base_model_name_or_path: {base}: no such model folder")
    return base


def load_weights(folder: Path, **options: Any) -> Any:
    """Return the model in `folder` as plain transformers has it, adapters merged.

    Args:
        folder: a model folder; its base may be an adapter too.
        options: for `from_pretrained` of the base.

    Raises:
        UserError: no weights there, or no base.
    """
    from transformers import AutoModelForCausalLM

    card = read_card(folder)
    if not (isinstance(card, LocalCard) and card.adapter):
        try:
            return AutoModelForCausalLM.from_pretrained(folder, **options)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: no weights: {str(error).splitlines()[0]}") from None
    from peft import PeftModel

    base = load_weights(base_of(folder), **options)
    try:
        adapted: Any = PeftModel.from_pretrained(base, str(folder))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no adapter: {str(error).splitlines()[0]}") from None
    return adapted.merge_and_unload()
