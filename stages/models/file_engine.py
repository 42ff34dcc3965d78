"""The `file` engine: replies that people wrote, or that were made elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from stages.errors import UserError
from stages.files import check_sha256
from stages.models.card import FileCard
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.models.template import by_role
from stages.records import Completion, Record, read_jsonl

REPLIES = "replies.jsonl"


class FileReply(Record):
    """One line of the replies: the id of a conversation, and the reply to it."""

    id: str = Field(min_length=1)
    reply: str


class FileModel:
    """A model whose replies lie in its folder.

    Raises:
        UserError: there is no file of replies, it is not the one that the card names, or a line of
            it (named as file:line) is corrupt or repeats an id.
    """

    def __init__(self, card: FileCard, folder: Path) -> None:
        self._card = card
        self._path = folder / REPLIES
        if not self._path.is_file():
            raise UserError(f"{self._path}: no such file")
        check_sha256(self._path, card.sha256, str(self._path))
        self._replies: dict[str, str] = {}
        for number, line in enumerate(read_jsonl(self._path, FileReply), start=1):
            if line.id in self._replies:
                raise UserError(f"{self._path}:{number}: id {line.id!r} repeats")
            self._replies[line.id] = line.reply

    def generate(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion]:
        """Return the reply to each conversation, found by its id; the sampling plays no part.

        Raises:
            UserError: a conversation has no reply.
        """
        missing = [c.id for c in conversations if c.id not in self._replies]
        if missing:
            raise UserError(
                f"{self._path}: no reply to {len(missing)} of {len(conversations)} conversations,"
                f" the first is {missing[0]!r}"
            )
        return [
            Completion(text=self._replies[c.id], finish_reason="stop") for c in conversations
        ]

    def score(
        self, conversations: Sequence[Conversation], replies: Sequence[str]
    ) -> list[ReplyScore]:
        """Refuse: a file has no probabilities. Raises UserError."""
        raise UserError(f"{self._card.name}: the file engine cannot score given text")

    def answers(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Record]:
        """Return nothing: no server is asked."""
        return []

    def render(self, conversation: Conversation) -> str:
        """Return the messages role by role: what whoever wrote the reply was shown."""
        return by_role(conversation.messages)

    def facts(self) -> dict[str, str]:
        """Return which file the replies come from."""
        return {"engine": "file", "model": self._card.name, "sha256": self._card.sha256}
