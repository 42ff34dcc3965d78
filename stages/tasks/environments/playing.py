"""The environments' side of play: the next turn of an episode, given the replies so far."""

from collections.abc import Sequence

from stages.records import Item
from stages.tasks.environments.base import Turn
from stages.tasks.environments.grading import retry_state, state_of
from stages.tasks.environments.registry import environment


def turn(item: Item, again: bool, replies: Sequence[str]) -> Turn | None:
    """Return what is shown after these replies, None when the episode is over.

    On a retry another instance may be played (Hi-Lo's fresh secret), the same for all retries.

    Raises:
        UserError: the item is no instance of an environment.
    """
    state = retry_state(item) if again else state_of(item)
    return environment(item.task).turn(state, replies)


def turns(item: Item) -> int:
    """Return how many turns an episode has at most."""
    return environment(item.task).turns
