"""The exact text that a model gets, without loading its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.errors import UserError
from stages.models.card import LocalCard, read_card
from stages.records import Message


def apply_template(tokenizer: Any, messages: Sequence[Message]) -> str:
    """Return the messages with the tokenizer's chat template applied, ready for the reply."""
    plain = [message.model_dump() for message in messages]
    return str(tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True))


def by_role(messages: Sequence[Message]) -> str:
    """Return the messages role by role, for servers, which apply a template of their own."""
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in messages)


def rendered(folder: Path, messages: Sequence[Message]) -> str:
    """Return what the model in `folder` would be given. Needs its tokenizer, not its weights."""
    if not isinstance(read_card(folder), LocalCard):
        return by_role(messages)
    return apply_template(load_tokenizer(folder), messages)


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model folder. Raises UserError where there is none to load."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no tokenizer: {str(error).splitlines()[0]}") from None
