"""The chat interface that every engine keeps: `generate` and `score`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import Field

from stages.params import Section
from stages.records import Completion, Message, Record


class Sampling(Section):
    """How replies are decoded. Temperature 0 is greedy; top_k 0 keeps the whole vocabulary."""

    temperature: float = Field(ge=0)
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=0)
    repetition_penalty: float = Field(gt=0)
    max_new_tokens: int = Field(ge=1)

    def limited(self, max_new_tokens: int | None) -> "Sampling":
        """Return the same with another limit, if one is given."""
        if max_new_tokens is None:
            return self
        return self.model_copy(update={"max_new_tokens": max_new_tokens})


@dataclass(frozen=True)
class Conversation:
    """Messages to reply to.

    Attributes:
        id: names the request among all of a run, e.g. `respond/qwen2_7b/0/bbh/navigate/7`.
        messages: what the model sees, the last one from the user.
        seed: seeds the sampling of this reply, and of this reply alone.
        environment: the subtask that it is about, for a model of several; see EnvironmentsCard.
        goes_on: whether a later conversation may be this one, the reply and another message; an
            engine may keep what it has read until then.
    """

    id: str
    messages: tuple[Message, ...]
    seed: int
    environment: str | None = None
    goes_on: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class ReplyScore:
    """Raw log-probability of a given reply, its end token included, at temperature 1.

    Attributes:
        logprob: sum over the reply's tokens of log p(token | conversation, tokens before), in nats.
        tokens: how many tokens the sum is over.
    """

    logprob: float
    tokens: int


class ChatModel(Protocol):
    """A model that answers conversations."""

    def generate(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion]:
        """Return one completion a conversation, in their order.

        The result depends on the conversations (and those that they continue) and the sampling
        only, not on concurrency.
        """
        ...

    def score(
        self, conversations: Sequence[Conversation], replies: Sequence[str]
    ) -> list[ReplyScore]:
        """Return log p(reply | conversation) for each pair, before any sampling filter.

        Raises:
            UserError: this engine cannot score given text.
        """
        ...

    def answers(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Record]:
        """Return a server's raw answers to these, sorted by key; none for an engine without one."""
        ...

    def render(self, conversation: Conversation) -> str:
        """Return the text that the model gets, chat template applied where it is known here."""
        ...

    def facts(self) -> dict[str, str]:
        """Return what made the replies: engine, precision, device, versions."""
        ...
