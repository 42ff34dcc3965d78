"""Running a model over a cell: timed, accounted for, and stopped when too much fails."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.errors import UserError
from stages.files import write_json
from stages.models.chat import ChatModel, Conversation, ReplyScore, Sampling
from stages.records import Completion, Exchange, Record, write_jsonl

# A cell with a larger share of errored items is no result: what is missing may not be random.
MOST_ERRORED = 0.02


class Run:
    """One cell's use of one model; `facts` is what a reader may want to know of it later."""

    def __init__(self, cell: str, model: Callable[[], ChatModel]) -> None:
        """Take the cell's name and how to open its model (opened only if there is work)."""
        self._cell = cell
        self._open = model
        self._model: ChatModel | None = None
        self._facts: dict[str, object] = {"cell": cell}
        self._replies: list[Completion] = []
        self._answers: list[Record] = []
        self._seconds_to_open = 0.0
        self._seconds_to_answer = 0.0

    def _opened(self) -> ChatModel:
        if self._model is None:
            started = time.monotonic()
            self._model = self._open()
            self._seconds_to_open = time.monotonic() - started
        return self._model

    def generate(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion]:
        """Return one completion a conversation. May be called turn after turn; facts add up.

        Raises:
            UserError: more than 2 % of them are errors.
        """
        model = self._opened()
        started = time.monotonic()
        replies = model.generate(conversations, sampling) if conversations else []
        self._seconds_to_answer += time.monotonic() - started
        errors = [reply for reply in replies if reply.finish_reason in ("error", "bad_request")]
        if len(errors) > MOST_ERRORED * len(replies):
            raise UserError(
                f"{self._cell}: {len(errors)} of {len(replies)} requests failed, more than "
                f"{MOST_ERRORED:.0%}; the first: {errors[0].detail}; what succeeded is kept in the "
                "call log, so a new run asks only for the rest"
            )
        self._answers += model.answers(conversations, sampling)
        self._replies += replies
        self._facts |= {
            "model": model.facts(),
            "requests": len(self._replies),
            "prompt_tokens": sum(reply.prompt_tokens or 0 for reply in self._replies),
            "completion_tokens": sum(reply.completion_tokens or 0 for reply in self._replies),
            "finish_reasons": dict(Counter(reply.finish_reason for reply in self._replies)),
            "seconds_to_open": round(self._seconds_to_open, 3),
            "seconds_to_answer": round(self._seconds_to_answer, 3),
        }
        return replies

    def exchanges(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Exchange]:
        """Return each conversation with its reply. Raises as `generate` does."""
        replies = self.generate(conversations, sampling)
        return [
            Exchange(messages=conversation.messages, reply=reply)
            for conversation, reply in zip(conversations, replies, strict=True)
        ]

    def score(
        self, conversations: Sequence[Conversation], replies: Sequence[str]
    ) -> list[ReplyScore]:
        """Return log p(reply | conversation) of each pair.

        Raises:
            UserError: the engine cannot score given text.
        """
        model = self._opened()
        opened = time.monotonic()
        scores = model.score(conversations, replies) if conversations else []
        self._facts |= {
            "model": model.facts(),
            "requests": len(scores),
            "scored_tokens": sum(score.tokens for score in scores),
            "seconds_to_open": round(self._seconds_to_open, 3),
            "seconds_to_answer": round(time.monotonic() - opened, 3),
        }
        return scores

    def write_answers(self, path: Path) -> None:
        """Write the server's raw answers, from which a run can be replayed without it."""
        write_jsonl(path, self._answers)

    def write_facts(self, path: Path) -> None:
        """Write the facts: times vary from run to run, so only the report may read this file."""
        write_json(path, self._facts)
