"""Taboo: describe a concept without its taboo words, then guess it (Table 7; BIG-bench's taboo)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from stages.errors import UserError
from stages.seeds import derive
from stages.tasks.environments._words import SHARED, bases, read_data, words
from stages.tasks.environments.base import Game, Instance, Result, State, Turn
from stages.tasks.environments.reading import answer_line

_FILE = "taboo/taboo_data.json"
_ARTICLES = ("a", "an", "the")
# In a compound, both parts are words: at least this long the taboo word, and what it is joined to.
_PART, _OTHER_PART = 4, 3
_SPELLED_OUT = 3

_CONSTANT = ("It is what it is.", "Answer: thing")
_VAGUE = ("it", "is", "this", "that", "some", "or", "not", "so", "very", "quite", "just", "then")
_GUESSES = ("animal", "body", "book", "city", "country", "day", "food", "game", "house", "idea")


class _Example(BaseModel):
    model_config = ConfigDict(strict=True)
    target: str
    taboos: list[str]


class _File(BaseModel):
    model_config = ConfigDict(strict=True)
    examples: list[_Example] = Field(min_length=1)


_DATA = TypeAdapter(_File)


class Taboo(Game):
    """Two turns of the same player, the second of which sees the description and nothing else.

    Taboo are the concept and its first `forbidden` taboo words, in any form (`violation`). Table 7
    gives a point for a valid description and one for the right guess, and leaves open what an
    invalid description does to the guess: here the game is over with it, at no points, as in the
    parlour game. So a description that tells nothing is worth a point; the constant floor shows it.

    Attributes:
        forbidden: how many of an example's ten taboo words are in force; BIG-bench's default is 5.
    """

    title: ClassVar[str] = "Taboo"
    column: ClassVar[str] = "TAB"
    description: ClassVar[str] = (
        "Describe a concept without using its taboo words; then, from the description alone, guess "
        "the concept."
    )
    modification: ClassVar[str] = (
        "A description without taboo words gets one point, and a right guess one more."
    )
    best: ClassVar[float] = 2.0
    turns: ClassVar[int] = 2
    graded: ClassVar[bool] = True

    forbidden: int = Field(default=5, ge=1, le=10)

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield BIG-bench's examples in a seeded order, one a concept.

        Raises:
            UserError: the examples are missing or not what they should be; names file and field.
        """
        path = raw / _FILE
        examples: dict[str, _Example] = {}
        for index, example in enumerate(read_data(path, _DATA).examples):
            key = " ".join(words(example.target))
            if not key:
                raise UserError(f"{path}: examples.{index}.target: no word")
            examples.setdefault(key, example)
        order = sorted(examples)
        Random(derive(seed, "taboo")).shuffle(order)
        for key in order:
            taboos = [word.replace("_", " ") for word in examples[key].taboos[: self.forbidden]]
            others = [word for word in taboos if " ".join(words(word)) not in ("", key)]
            yield Instance(key, {"concept": key, "taboos": others}, key)

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the order to describe, then the question what a valid description means."""
        if not replies:
            taboos = ", ".join(f'"{word}"' for word in (state["concept"], *state["taboos"]))
            return Turn(
                f'Describe the concept "{state["concept"]}", so that someone who reads only your '
                f"description can guess it.\n\nThese words are taboo: {taboos}. Use none of them, "
                "in no form and in no compound. Reply with the description alone.",
            )
        if len(replies) > 1 or not self._valid(state, replies[0]):
            return None
        return Turn(
            "Which concept does this description mean? It is a single word.\n\n"
            f"Description: {replies[0].strip()}",
            "the concept, in one word",
            fresh=True,
        )

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the description with single spaces; of the guess, its words without article."""
        if number == 0:
            return " ".join(reply.split()) if words(reply) else None
        guess = words(answer_line(reply) or "")
        if guess and guess[0] in _ARTICLES:
            del guess[0]
        return " ".join(guess) or None

    def same(self, state: State, number: int, before: str, after: str) -> bool:
        """Tell whether two guesses are one, or one description is left of the other.

        Cleaning may only delete words of a description, and not change whether it is valid: the
        description is the answer.
        """
        if number > 0:
            return super().same(state, number, before, after)
        left = iter(words(before))
        deleted = all(word in left for word in words(after))
        kept = bool(words(after)) == bool(words(before))
        return deleted and kept and self._valid(state, before) == self._valid(state, after)

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        """Return a point for a valid description, and one more if the guess is the concept."""
        if not replies or not self._valid(state, replies[0]):
            return Result(0.0, bool(replies) and bool(words(replies[0])))
        guess = self.read(state, 1, replies[1]) if len(replies) > 1 else None
        return Result(2.0 if guess and _alike(guess, state["concept"]) else 1.0, True)

    def secret(self, state: State) -> str:
        """Return the concept, which the guesser must not be told."""
        return str(state["concept"])

    def constant(self, state: State, number: int) -> str:
        """Return one empty phrase for all concepts, and one guess."""
        return _CONSTANT[min(number, 1)]

    def blind(self, state: State, number: int, random: Random) -> str:
        """Return a few random words that are not taboo, or a random common noun."""
        if number > 0:
            return f"Answer: {random.choice(_GUESSES)}"
        legal = [word for word in _VAGUE if self._valid(state, word)]
        return " ".join(random.choices(legal, k=8)) if legal else ""

    def _valid(self, state: State, reply: str) -> bool:
        taboos = (state["concept"], *state["taboos"])
        return bool(words(reply)) and violation(reply, taboos) is None


def violation(description: str, taboos: Sequence[str]) -> str | None:
    """Return the first of the taboo words that a description uses, None where it uses none.

    The rule is ours; the paper tells none, and BIG-bench looks for substrings, which finds "art" in
    "start" and not "study" in "studies". A word uses a taboo word if both may come from one base
    (`bases`), or if it begins or ends with the taboo word, of four letters or more, and has three
    others ("steamboat", but also "working" for "king"); a description, if it spells one letter by
    letter ("b-o-a-t"). Of a taboo phrase, the words must follow one another or be written as one.
    Not found are irregular forms, synonyms, translations, words spelled backwards, and letters of
    another script that look alike.
    """
    said = words(description)
    spelled = _spelled_out(said)
    for taboo in taboos:
        parts = words(taboo)
        if not parts:
            continue
        joined = "".join(parts)
        if (
            (len(joined) >= _SPELLED_OUT and any(joined in run for run in spelled))
            or any(word == joined or _compound(word, joined) for word in said)
            or _follow(said, parts)
        ):
            return taboo
    return None


def _follow(said: list[str], parts: list[str]) -> bool:
    """Return whether words of these bases follow one another."""
    forms = [(part[:SHARED], bases(part)) for part in parts]
    last = len(said) - len(parts)
    return any(
        all(
            # Most words start otherwise, which spares them the work.
            said[at + offset].startswith(start) and forms_of & bases(said[at + offset])
            for offset, (start, forms_of) in enumerate(forms)
        )
        for at in range(last + 1)
    )


def _compound(word: str, taboo: str) -> bool:
    if len(taboo) < _PART or len(word) < len(taboo) + _OTHER_PART:
        return False
    return word.startswith(taboo) or word.endswith(taboo)


def _spelled_out(said: list[str]) -> list[str]:
    runs = [""]
    for word in said:
        if len(word) == 1:
            runs[-1] += word
        elif runs[-1]:
            runs.append("")
    return runs


def _alike(guess: str, concept: str) -> bool:
    """Return whether the guess is the concept, in any form."""
    guessed, meant = guess.split(), concept.split()
    return len(guessed) == len(meant) and _follow(guessed, meant)


ENVIRONMENT = Taboo
