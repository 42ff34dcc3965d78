"""A model for each environment of a suite, which answer as one (paper, section 4.3)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from stages.errors import UserError
from stages.models.card import EnvironmentsCard
from stages.models.chat import ChatModel, Conversation, ReplyScore, Sampling
from stages.records import Completion, Record


class EnvironmentsModel:
    """Gives each conversation to the model of its environment; one model is open at a time."""

    def __init__(
        self, card: EnvironmentsCard, folder: Path, open_model: Callable[[Path], ChatModel]
    ) -> None:
        if not card.environments:
            raise UserError(f"{folder}: a folder of models without a model")
        self._card, self._folder, self._open_one = card, folder, open_model
        self._open: tuple[str, ChatModel] | None = None

    def _model(self, environment: str | None) -> ChatModel:
        if environment not in self._card.environments:
            raise UserError(f"{self._folder}: no model of the environment {environment}")
        if self._open is None or self._open[0] != environment:
            self._open = None  # lets go of the weights before the next are read
            self._open = (environment, self._open_one(self._folder / environment))
        return self._open[1]

    def _groups(self, conversations: Sequence[Conversation]) -> dict[str | None, list[int]]:
        groups: dict[str | None, list[int]] = {}
        for index, conversation in enumerate(conversations):
            groups.setdefault(conversation.environment, []).append(index)
        return groups

    def generate(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion]:
        """Return one completion a conversation, in their order."""
        found: dict[int, Completion] = {}
        for environment, indices in self._groups(conversations).items():
            asked = [conversations[index] for index in indices]
            replies = self._model(environment).generate(asked, sampling)
            found |= zip(indices, replies, strict=True)
        return [found[index] for index in range(len(conversations))]

    def score(
        self, conversations: Sequence[Conversation], replies: Sequence[str]
    ) -> list[ReplyScore]:
        """Return log p(reply | conversation) for each pair."""
        found: dict[int, ReplyScore] = {}
        for environment, indices in self._groups(conversations).items():
            asked = [conversations[index] for index in indices]
            scores = self._model(environment).score(asked, [replies[index] for index in indices])
            found |= zip(indices, scores, strict=True)
        return [found[index] for index in range(len(conversations))]

    def answers(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Record]:
        """Return nothing: the models run here."""
        return []

    def render(self, conversation: Conversation) -> str:
        """Return the text that the model of the conversation's environment gets."""
        return self._model(conversation.environment).render(conversation)

    def facts(self) -> dict[str, str]:
        """Return what made the replies, as the first of the models says."""
        return {
            **self._model(self._card.environments[0]).facts(),
            "models": str(len(self._card.environments)),
        }
