"""Hi-Lo with the same secret on the retry: what feedback that names the number is worth."""

from random import Random
from typing import ClassVar

from stages.tasks.environments.base import State
from stages.tasks.environments.hilo import HiLo


class HiLoSameSecret(HiLo):
    """Hi-Lo whose retry is the game that the feedback is about: the same instances, our variant."""

    title: ClassVar[str] = "Hi-Lo (same secret on the retry)"
    column: ClassVar[str] = "HILO="

    def again(self, state: State, random: Random) -> State:
        """Return the same game."""
        return state


ENVIRONMENT = HiLoSameSecret
