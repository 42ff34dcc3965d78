"""Seeded generators for the three subtasks that BIG-bench has as programs.

They follow the presentation of the BBH release. Each returns a question and its answer, which is
worked out while the question is written. A `random.Random` in, so that one draw is one seed.
"""

from collections.abc import Callable
from itertools import pairwise
from random import Random

NAMES = (
    "Anton", "Bettina", "Cosmo", "Dunya", "Edgar", "Farida", "Gustav", "Hedda", "Ivo", "Jolanda",
    "Kaspar", "Ludmila", "Magnus", "Nadia", "Otto", "Paola", "Quirin", "Ronja", "Severin", "Tamar",
)  # fmt: skip


def boolean_expression(random: Random) -> tuple[str, str]:
    """Return an expression over True and False with not, and, or, e.g. `True or ( False ) is`."""
    text, value = _disjunction(random, random.randint(3, 5), parenthesise=True)
    return f"{text} is", str(value)


def _disjunction(random: Random, factors: int, parenthesise: bool) -> tuple[str, bool]:
    """Write `factors` factors joined by and / or; `and` binds closer, as in Python."""
    text, value = _factor(random, parenthesise)
    done, conjunction = False, value
    for _ in range(factors - 1):
        word = random.choice(("and", "and", "or"))
        more, value = _factor(random, parenthesise)
        text = f"{text} {word} {more}"
        if word == "and":
            conjunction = conjunction and value
        else:
            done, conjunction = done or conjunction, value
    return text, done or conjunction


def _factor(random: Random, parenthesise: bool) -> tuple[str, bool]:
    negations = random.choice((0, 0, 1, 1, 2))
    if parenthesise and random.random() < 0.3:
        text, value = _disjunction(random, random.randint(1, 2), parenthesise=False)
        text = f"( {text} )"
    else:
        value = random.random() < 0.5
        text = str(value)
    return "not " * negations + text, value != bool(negations % 2)


def arithmetic(random: Random) -> tuple[str, str]:
    """Return two brackets of four numbers each, joined, e.g. `((1 + 2 * 3 - 4) * (...)) =`."""
    left, left_value = _sum(random)
    right, right_value = _sum(random)
    sign = random.choice("+-*")
    value = {
        "+": left_value + right_value,
        "-": left_value - right_value,
        "*": left_value * right_value,
    }[sign]
    return f"(({left}) {sign} ({right})) =", str(value)


def _sum(random: Random) -> tuple[str, int]:
    first = random.randint(-9, 9)
    text, terms = str(first), [first]
    for _ in range(3):
        sign, number = random.choice("+-*"), random.randint(-9, 9)
        text = f"{text} {sign} {number}"
        if sign == "*":
            terms[-1] *= number
        else:
            terms.append(number if sign == "+" else -number)
    return text, sum(terms)


def web_of_lies(random: Random) -> tuple[str, str]:
    """Return five people, each of whom says whether the one before tells the truth."""
    people = random.sample(NAMES, 5)
    honest = random.random() < 0.5
    sentences = [f"{people[0]} {_does(honest)}."]
    for before, speaker in pairwise(people):
        claim = random.random() < 0.5
        sentences.append(f"{speaker} says {before} {_does(claim)}.")
        honest = claim == honest
    text = f"Question: {' '.join(sentences)} Does {people[-1]} tell the truth?"
    return text, "Yes" if honest else "No"


def _does(honest: bool) -> str:
    return "tells the truth" if honest else "lies"


GENERATORS: dict[str, Callable[[Random], tuple[str, str]]] = {
    "boolean_expression": boolean_expression,
    "arithmetic": arithmetic,
    "web_of_lies": web_of_lies,
}
