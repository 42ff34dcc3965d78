"""Hi-Lo: find a number from 1 to 100 in seven guesses (Table 7; BIG-bench's high_low_game)."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from pydantic import Field

from stages.records import Split
from stages.seeds import derive
from stages.tasks.environments.base import Game, Instance, Result, State, Turn
from stages.tasks.environments.reading import answer_line

LOW, HIGH, GUESSES = 1, 100, 7

_NUMBER = re.compile(r"(?<![\w.,+-])0*([1-9][0-9]{0,2})(?!\w|[.,-][0-9])")


class HiLo(Game):
    """Seven guesses, each answered by the environment, a conversation; one point for the number.

    A reply without a legal guess uses up a guess, and is told so. The retry is a game with another
    number, for feedback on the finished game can name the old one; it is drawn from the numbers of
    the same split, so that nothing of train is played in test. A number is one instance, and there
    are a hundred: the split is made here, half and half.

    Attributes:
        guess_tokens: the longest reply to a turn; None for the player's own limit.
    """

    title: ClassVar[str] = "Hi-Lo"
    column: ClassVar[str] = "HILO"
    description: ClassVar[str] = (
        "Guess a hidden number from 1 to 100 in at most seven tries, each answered with higher or "
        "lower; binary search always wins."
    )
    modification: ClassVar[str] = (
        "One player instead of two: the environment answers the guesses. In the original both were "
        "models, and a guess had to match a fixed format exactly."
    )
    turns: ClassVar[int] = GUESSES

    guess_tokens: int | None = Field(default=None, ge=1)

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield the hundred numbers in a seeded order, train and test by turns."""
        numbers = list(range(LOW, HIGH + 1))
        Random(derive(seed, "hilo")).shuffle(numbers)
        splits: tuple[Split, Split] = ("train", "test")
        for index, secret in enumerate(numbers):
            pool = sorted(numbers[index % 2 :: 2])
            state = {"secret": secret, "pool": pool, "tokens": self.guess_tokens}
            yield Instance(str(secret), state, str(secret), splits[index % 2])

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the rules, then the answer to the last guess; None after the last or the hit."""
        guesses = [self.read(state, number, reply) for number, reply in enumerate(replies)]
        left = GUESSES - len(guesses)
        if left <= 0 or str(state["secret"]) in guesses:
            return None
        if not guesses:
            said = (
                f"I have chosen a whole number from {LOW} to {HIGH}. Find it in at most {GUESSES} "
                "guesses: after each guess I tell you whether my number is higher or lower. What "
                "is your first guess?"
            )
        else:
            said = f"{_reply(guesses[-1], state['secret'])} {_left(left)} What is your next guess?"
        return Turn(
            said, f"your guess, a whole number from {LOW} to {HIGH}", tokens=state["tokens"]
        )

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the guess; None where the answer line has no legal number, or several."""
        line = answer_line(reply) or ""
        found = set(_NUMBER.findall(line))
        if len(found) == 1 and LOW <= int(guess := found.pop()) <= HIGH:
            return str(guess)
        return None

    def again(self, state: State, random: Random) -> State:
        """Return a game with another number of the same split."""
        others = [number for number in state["pool"] if number != state["secret"]]
        return {**state, "secret": random.choice(others)}

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        """Return a point if one of the first seven guesses is the number."""
        guesses = [self.read(state, at, reply) for at, reply in enumerate(replies[:GUESSES])]
        hit = str(state["secret"]) in guesses
        return Result(float(hit), any(guess is not None for guess in guesses))

    def secret(self, state: State) -> str:
        """Return the number, which feedback must not tell."""
        return str(state["secret"])

    def constant(self, state: State, number: int) -> str:
        """Return the middle of the range, whatever was answered."""
        return f"Answer: {(LOW + HIGH) // 2}"

    def blind(self, state: State, number: int, random: Random) -> str:
        """Return any number of the range, whatever was answered."""
        return f"Answer: {random.randint(LOW, HIGH)}"


def _reply(guess: str | None, secret: int) -> str:
    if guess is None:
        return f"I found no whole number from {LOW} to {HIGH} in your answer; that used up a guess."
    return f"My number is {'higher' if int(guess) < secret else 'lower'} than {guess}."


def _left(guesses: int) -> str:
    return f"You have {guesses} {'guess' if guesses == 1 else 'guesses'} left."


ENVIRONMENT = HiLo
