"""Root-Finding: where is a function zero on an interval? (paper, section 4.1 and Table 7).

An instance is f(x) = a g(x) + b x + c with whole numbers a, b, c and a simple g, on an interval
with whole ends at which f has opposite signs. The coefficients are such that f increases on it, so
there is one root, and bisection finds it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar, NamedTuple

from stages.tasks.environments.base import Game, Instance, Result, State, Turn
from stages.tasks.environments.numeric import ROUNDING, TOLERANCE, normal_number, read_number


class _Curve(NamedTuple):
    """One g: how it is written, its value, and the whole numbers where an interval may begin."""

    text: str
    value: Callable[[float], float]
    starts: range


# x^2 increases from 0 on and ln needs a positive x; the others are taken where they stay small.
_CURVES = {
    "square": _Curve("x^2", lambda x: x * x, range(7)),
    "cube": _Curve("x^3", lambda x: x * x * x, range(-5, 5)),
    "exponential": _Curve("e^x", math.exp, range(-3, 4)),
    "logarithm": _Curve("ln(x)", math.log, range(1, 12)),
    "sine": _Curve("sin(x)", math.sin, range(-10, 10)),
}
_WIDEST = 4
_REPEATS = 1000


def value(state: State, x: float) -> float:
    """Return f(x)."""
    curve = _CURVES[state["curve"]].value(x)
    return float(state["a"] * curve + state["b"] * x + state["c"])


def root(state: State) -> float:
    """Return the root of f on the instance's interval, to floating-point precision."""
    low, high = float(state["low"]), float(state["high"])
    middle = (low + high) / 2
    while low < middle < high:
        if value(state, middle) < 0:
            low = middle
        else:
            high = middle
        middle = (low + high) / 2
    return high


def _formula(state: State) -> str:
    terms = [
        (state["a"], _CURVES[state["curve"]].text),
        (state["b"], "x"),
        (state["c"], ""),
    ]
    text = ""
    for factor, name in terms:
        if factor == 0:
            continue
        size = abs(factor)
        shown = name if size == 1 and name else f"{size}{name}"
        sign = "-" if factor < 0 else "+"
        text += f" {sign} {shown}" if text else shown
    return text


class RootFinding(Game):
    """Root-Finding (paper, Table 7): one number, right if it is at most 0.01 from the root.

    That f is small there is not enough: a flat function would take numbers far from its root.
    """

    title: ClassVar[str] = "Root-Finding"
    column: ClassVar[str] = "RFN"
    description: ClassVar[str] = (
        "Find, by any numerical method, where a simple function is zero on a given interval."
    )
    modification: ClassVar[str] = (
        "Of the same family of problems as Optimization, kept close to the original: one function "
        "with a change of sign, and its root to two decimals."
    )

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield functions, many thousands, until hardly a new one is drawn."""
        random = Random(f"{seed}/root_finding")
        seen = set()
        repeats = 0
        while repeats < _REPEATS:
            state = _draw(random)
            if state is None:
                continue
            key = _formula(state)
            if key in seen:
                repeats += 1
                continue
            repeats = 0
            seen.add(key)
            yield Instance(key=key, state=state, target=f"{root(state) + 0.0:.4f}")

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the only turn: the function, its interval, and what is asked."""
        if replies:
            return None
        radians = " (x in radians)" if state["curve"] == "sine" else ""
        return Turn(
            question=(
                f"Find a root of this function, a value of x with f(x) = 0{radians}:\n"
                f"f(x) = {_formula(state)}\n"
                f"It has one between {state['low']} and {state['high']}. Give that to at least two "
                "decimals."
            ),
            answer_format="the value of x, as one number",
        )

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the number in normal form."""
        return normal_number(reply)

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        """Score 1 for a number at most 0.01 away from the root."""
        x = read_number(replies[0]) if replies else None
        if x is None:
            return Result(score=0.0, parsed=False)
        near = abs(x - root(state)) <= TOLERANCE + ROUNDING
        return Result(score=float(near), parsed=True)

    def constant(self, state: State, number: int) -> str:
        """Return 0, the commonest whole root."""
        return "Answer: 0"

    def blind(self, state: State, number: int, random: Random) -> str:
        """Return a uniform number of the instance's interval."""
        return f"Answer: {random.uniform(state['low'], state['high']):.2f}"


def _draw(random: Random) -> State | None:
    """Return an instance, or None where the draw is not one: no change of sign, or a multiple."""
    name = random.choice(list(_CURVES))
    curve = _CURVES[name]
    low = random.choice(curve.starts)
    high = low + random.randint(1, _WIDEST)
    a = random.randint(1, 9)
    # The derivative of a sin(x) + b x is at least b - a.
    b = random.randint(a + 1, a + 9) if name == "sine" else random.randint(0, 9)
    inside = random.uniform(low, high)
    c = -round(a * curve.value(inside) + b * inside)
    state = {"curve": name, "a": a, "b": b, "c": c, "low": low, "high": high}
    if math.gcd(a, b, c) > 1 or not value(state, low) < 0 < value(state, high):
        return None
    return state


ENVIRONMENT = RootFinding
