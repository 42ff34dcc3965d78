"""What a model folder holds: weights or an address, and a card that says which.

`fetch` (later also `train`) writes the folder; every other stage is handed the folder and need not
know how it came about.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from stages.errors import UserError
from stages.files import write_json
from stages.records import Record, first_error

CARD = "card.json"


class LocalCard(Record):
    """Weights in the folder, and the engine that runs them here.

    `adapter` says that the folder holds an adapter (peft), whose base is the model folder that
    adapter_config.json names.
    """

    engine: Literal["transformers", "vllm"] = "transformers"
    name: str
    revision: str
    adapter: bool = False


class ServedCard(Record):
    """A model behind an OpenAI-compatible server.

    `env` prefixes the environment variables that hold the key and, when set, override the
    address: `<env>_API_KEY`, `<env>_BASE_URL`. `accept` is a regular expression that the model
    name in every reply must match in full; None accepts any. `end_token` is the token that ends a
    reply, e.g. `<|im_end|>`: with it, and a server of vllm, given text can be scored. `logprobs`
    asks for the log-prob of every reply; it takes a server that gives raw ones, the end token's
    among them, as vllm does.
    """

    engine: Literal["openai"] = "openai"
    name: str
    base_url: str
    env: str
    needs_key: bool
    accept: str | None
    token_limit: Literal["max_tokens", "max_completion_tokens"]
    extra_sampling: bool
    end_token: str | None = None
    logprobs: bool = False


class FileCard(Record):
    """Replies written elsewhere, in `replies.jsonl` in the folder."""

    engine: Literal["file"] = "file"
    name: str
    sha256: str


class EnvironmentsCard(Record):
    """A model folder for each environment (subtask) of a suite, in folders of their names."""

    engine: Literal["environments"] = "environments"
    environments: tuple[str, ...]


ModelCard: TypeAlias = LocalCard | ServedCard | FileCard | EnvironmentsCard
_CARD: TypeAdapter[ModelCard] = TypeAdapter(Annotated[ModelCard, Field(discriminator="engine")])


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model folder. Raises UserError naming file and field."""
    path = folder / CARD
    try:
        return _CARD.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {folder} a model folder?") from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the card of a model folder."""
    write_json(folder / CARD, card.model_dump())
