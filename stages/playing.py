"""Playing episodes of several turns, in lockstep batches (paper, section 4.1 and Table 7).

What `respond`, `answer`, `evaluate` and `revise` share where a suite is one of environments: all
episodes that go on have their next turn generated together, and the environment says what follows.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Protocol

from stages.conversation import later, neutralise, turn_id
from stages.errors import UserError
from stages.models.chat import Conversation, Sampling
from stages.prompts import Prompt
from stages.records import Exchange, Item, Message
from stages.running import Run
from stages.seeds import derive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says that the items are instances of environments."""
    parser.add_argument(
        "--environments", type=Path, help="package of the environments that the items are of"
    )


class Shown(Protocol):
    """What the player is shown next: `tasks.environments.base.Turn`."""

    @property
    def question(self) -> str: ...  # noqa: D102
    @property
    def answer_format(self) -> str | None: ...  # noqa: D102
    @property
    def fresh(self) -> bool: ...  # noqa: D102
    @property
    def tokens(self) -> int | None: ...  # noqa: D102


class Referee(Protocol):
    """What plays against the player: `tasks.environments.playing`."""

    def turn(self, item: Item, again: bool, replies: Sequence[str]) -> Shown | None:
        """Return what is shown after these replies, None when the episode is over."""
        ...

    def turns(self, item: Item) -> int:
        """Return how many turns an episode has at most."""
        ...


def open_referee(folder: Path) -> Referee:
    """Return the environments whose package the folder is.

    By name, so that who plays names them on the command line and depends on nothing else. Raises
    UserError where there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    referee: Referee = import_module("stages.tasks.environments.playing")
    return referee


@dataclass
class Episode:
    """An episode under way.

    Attributes:
        item: the instance.
        again: whether it is a retry.
        opening: what is shown first, the system prompt included.
        seed: what the seeds of its turns are derived from.
        environment: whose model plays, where there are several.
        exchanges: what has been played.
    """

    item: Item
    again: bool
    opening: tuple[Message, ...]
    seed: tuple[object, ...]
    environment: str
    exchanges: list[Exchange] = field(default_factory=list)


def first_turn(cell: str, episode: Episode) -> Conversation:
    """Return the request of an episode's opening turn."""
    return _conversation(cell, episode, episode.opening, 0)


def _conversation(
    cell: str, episode: Episode, messages: tuple[Message, ...], turn: int
) -> Conversation:
    return Conversation(
        id=turn_id(f"{cell}/{episode.item.id}", turn),
        messages=messages,
        seed=derive(*episode.seed, episode.item.id, *later(turn)),
        environment=episode.environment,
    )


def play(
    run: Run,
    cell: str,
    episodes: Sequence[Episode],
    referee: Referee,
    template: Prompt,
    sampling: Sampling,
) -> None:
    """Play all episodes to their ends; their exchanges are filled in.

    An episode ends when the environment says so, or with a request that failed. Batches are formed
    from the episodes by a fixed rule: those that go on, in their order, by reply limit.

    Raises:
        UserError: more than 2 % of the requests of a batch failed.
    """
    going: list[tuple[Episode, Conversation, int | None]] = []
    for episode in episodes:
        shown = referee.turn(episode.item, episode.again, ())
        limit = None if shown is None else shown.tokens
        going.append((episode, first_turn(cell, episode), limit))
    turn = 0
    while going:
        turn += 1
        going = [
            (episode, replace(asked, goes_on=turn < referee.turns(episode.item)), limit)
            for episode, asked, limit in going
        ]
        by_limit = sorted(going, key=lambda one: (one[2] is None, one[2]))
        for limit, group in groupby(by_limit, key=lambda one: one[2]):
            batch = list(group)
            asked = [conversation for _, conversation, _ in batch]
            exchanges = run.exchanges(asked, _limited(sampling, limit))
            for (episode, _, _), exchange in zip(batch, exchanges, strict=True):
                episode.exchanges.append(exchange)
        on = [(episode, _follow(episode, referee, template)) for episode, _, _ in going]
        going = [
            (episode, _conversation(cell, episode, following[0], turn), following[1])
            for episode, following in on
            if following is not None
        ]


def _limited(sampling: Sampling, limit: int | None) -> Sampling:
    """Return the sampling with an environment's limit, which only ever shortens."""
    return sampling.limited(None if limit is None else min(limit, sampling.max_new_tokens))


def _follow(
    episode: Episode, referee: Referee, template: Prompt
) -> tuple[tuple[Message, ...], int | None] | None:
    """Return the messages of the next turn and its limit; None when the episode is over."""
    last = episode.exchanges[-1]
    if last.reply.failed:
        return None
    shown = referee.turn(
        episode.item, episode.again, [turn.reply.text for turn in episode.exchanges]
    )
    if shown is None:
        return None
    user = Message(role="user", content=asked(template, shown))
    if shown.fresh:
        system = tuple(m for m in episode.opening[:1] if m.role == "system")
        return (*system, user), shown.tokens
    answer = Message(role="assistant", content=neutralise(last.reply.text))
    return (*last.messages, answer, user), shown.tokens


def asked(template: Prompt, shown: Shown) -> str:
    """Return the text of a turn."""
    return template.render(question=shown.question, answer_format=shown.answer_format)
