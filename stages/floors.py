r"""Floors: what blind players score in the games of section 4.1: the floors of Table 6.

    python -m stages.floors --items data/tasks/games/test.jsonl \
        --environments stages/tasks/environments --out data/score/games/floor.jsonl

Two players that do not look at the item: one says the same to all ("none" for Nash equilibria),
one draws a random legal reply a turn; an environment declares both. The random one plays every item
several times, from seeds of its own. Programs have no such players: nothing that can be drawn
blindly passes a test. Not the paper's.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal

from pydantic import Field

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.records import Item, Record, Split, read_jsonl, write_jsonl
from stages.reporting.environments import registry
from stages.seeds import derive

# No key of params.yaml: what is played stands in the items.
PARAMS: tuple[str, ...] = ()

Player = Literal["constant", "random"]
Reply = Callable[[int], str]


class Floor(Record):
    """What a blind player scores on one item: means over its episodes."""

    suite: str
    task: str
    item: str
    split: Split
    player: Player
    episodes: int = Field(ge=1)
    score: float = Field(ge=0)
    solved: float = Field(ge=0, le=1)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.floors", __doc__)
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument("--environments", type=Path, required=True, help="folder of environments")
    parser.add_argument(
        "--episodes", type=int, default=20, help="random episodes an item (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="Floors to write (JSONL)")
    return parser


def floors(item: Item, environment: Any, episodes: int) -> Iterator[Floor]:
    """Yield what each blind player that a game has scores on an item.

    Args:
        item: an instance.
        environment: of the instance, a `Game`.
        episodes: how often the random player plays it.

    Raises:
        UserError: the item is no instance of an environment.
    """
    state = item.state
    if state is None:
        raise UserError(f"{item.id}: a question, not an instance of an environment")

    def constant(number: int) -> str:
        return environment.constant(state, number) or ""

    def randomly(episode: int) -> Reply:
        random = Random(derive("floor", item.id, episode))
        return lambda number: environment.blind(state, number, random)

    # Whoever has nothing to say to the first turn is no player of this game.
    if environment.constant(state, 0) is not None:
        yield _floor(item, environment, "constant", [constant])
    yield _floor(item, environment, "random", [randomly(episode) for episode in range(episodes)])


def _floor(item: Item, environment: Any, player: Player, players: list[Reply]) -> Floor:
    scores = [_episode(item, environment, reply) for reply in players]
    return Floor(
        suite=item.suite,
        task=item.task,
        item=item.id,
        split=item.split,
        player=player,
        episodes=len(scores),
        score=sum(scores) / len(scores),
        solved=sum(environment.solved(score) for score in scores) / len(scores),
    )


def _episode(item: Item, environment: Any, reply: Reply) -> float:
    """Return the score of one episode, played to its end."""
    said: list[str] = []
    while environment.turn(item.state, said) is not None:
        said.append(reply(len(said)))
    return float(environment.grade(item.state, said).score)


def main(args: argparse.Namespace) -> None:
    """Play every item of every game blindly and write what it scores."""
    if args.episodes < 1:
        raise UserError(f"--episodes {args.episodes}: at least one is needed")
    known = registry(args.environments)
    rows: list[Floor] = []
    for item in read_jsonl(args.items, Item, "id"):
        environment = known.environment(item.task)
        if not isinstance(environment, known.Code):
            rows += floors(item, environment, args.episodes)
    write_jsonl(args.out, rows)


if __name__ == "__main__":
    run(main, parser())
