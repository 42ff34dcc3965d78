"""Optimization: where is a sum of absolute values least? (paper, section 4.1 and Table 7).

An instance is f(x) = w1 |x - c1| + ... + wn |x - cn| with small whole weights and centres. Its
minimisers are the weighted medians of the centres: one number, or all of an interval.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from stages.tasks.environments.base import Game, Instance, Result, State, Turn
from stages.tasks.environments.numeric import ROUNDING, TOLERANCE, normal_number, read_number

LIMIT = 20
"""Centres are whole numbers from -LIMIT to LIMIT, and so are the ends of the minimisers."""


def minimisers(weights: Sequence[int], centres: Sequence[int]) -> tuple[int, int]:
    """Return the ends of the interval on which sum of weight * |x - centre| is least."""
    terms = sorted(zip(centres, weights, strict=True))
    half = sum(weights) / 2
    below = 0
    for place, (centre, weight) in enumerate(terms):
        below += weight
        if below > half:
            return centre, centre
        if below == half:
            return centre, terms[place + 1][0]
    raise ValueError("no term has a positive weight")


def _term(weight: int, centre: int) -> str:
    shift = f" {'-' if centre > 0 else '+'} {abs(centre)}" if centre else ""
    return f"{'' if weight == 1 else weight}|x{shift}|"


def _formula(weights: Sequence[int], centres: Sequence[int]) -> str:
    return " + ".join(map(_term, weights, centres))


class Optimization(Game):
    """Optimization (paper, Table 7): one number, right if it is a minimiser within 0.01.

    A number at which f exceeds its least value by at most 0.01 is right too, by the same rule: the
    slopes of f are whole numbers, so f grows by at least what one moves away from the minimisers.
    """

    title: ClassVar[str] = "Optimization"
    column: ClassVar[str] = "OPT"
    description: ClassVar[str] = (
        "Find a number at which a sum of weighted absolute values is least."
    )
    modification: ClassVar[str] = (
        "Of the original's family of root, minimum and game problems, the minimum of a sum of "
        "absolute values alone; any minimiser counts."
    )

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield functions endlessly: 3 to 6 terms, weights 1 to 5, distinct centres."""
        random = Random(f"{seed}/optimization")
        seen = set()
        while True:
            terms = random.randint(3, 6)
            centres = random.sample(range(-LIMIT, LIMIT + 1), terms)
            weights = [random.randint(1, 5) for _ in centres]
            key = _formula(*zip(*sorted(zip(weights, centres, strict=True)), strict=True))
            # Twice a function has the same minimisers: it would be the same instance again.
            if math.gcd(*weights) > 1 or key in seen:
                continue
            seen.add(key)
            low, high = minimisers(weights, centres)
            yield Instance(
                key=key,
                state={"weights": weights, "centres": centres},
                target=str(low) if low == high else f"any number from {low} to {high}",
            )

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the only turn: the function, and what is asked."""
        if replies:
            return None
        return Turn(
            question=(
                "Find a value of x that makes this function as small as possible:\n"
                f"f(x) = {_formula(state['weights'], state['centres'])}\n"
                f"There is one between {-LIMIT} and {LIMIT}. If there are several, any will do."
            ),
            answer_format="the value of x, as one number",
        )

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the number in normal form."""
        return normal_number(reply)

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        """Score 1 for a number at most 0.01 away from a minimiser."""
        value = read_number(replies[0]) if replies else None
        if value is None:
            return Result(score=0.0, parsed=False)
        low, high = minimisers(state["weights"], state["centres"])
        near = TOLERANCE + ROUNDING
        return Result(score=float(low - near <= value <= high + near), parsed=True)

    def constant(self, state: State, number: int) -> str:
        """Return the middle of the range that the question gives."""
        return "Answer: 0"

    def blind(self, state: State, number: int, random: Random) -> str:
        """Return a uniform number of the range that the question gives."""
        return f"Answer: {random.uniform(-LIMIT, LIMIT):.2f}"


ENVIRONMENT = Optimization
