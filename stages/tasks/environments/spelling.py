"""Spelling: as many words as possible out of seven letters (Table 7; BIG-bench's spelling_bee)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from stages.errors import UserError
from stages.seeds import derive
from stages.tasks.environments._words import read_data, words
from stages.tasks.environments.base import Game, Instance, Result, State, Turn
from stages.tasks.environments.reading import answer_line

_FILE = "spelling_bee/games.json"
_LETTERS = 7
_SHORTEST = 4

# Common words of few, common letters.
_CONSTANT = (
    "area, idea, into, line, list, nine, none, noon, onto, rain, rate, rest, seat, seen, tell, "
    "tent, test, tone, treat, tree"
)
_BLIND = 20


class _BigBenchGame(BaseModel):
    model_config = ConfigDict(strict=True)
    letter_set: list[str]
    word_list: list[str]


_GAMES = TypeAdapter(dict[str, _BigBenchGame | str])


class Spelling(Game):
    """One game of letters a reply; the score is the share found of the game's own word list.

    Wrong words cost nothing, as in BIG-bench. Table 7 tells no modification, and BIG-bench's games
    have no letter that each word must contain.

    Attributes:
        centre: whether to draw such a letter all the same, as the newspaper's puzzle has one.
        solid: the share from which an answer counts as solved. Ours: nobody finds all words, the
            lists being long (120 words in BIG-bench's median game), and a bar above every cell of
            Table 6 would make each answer an error. One word in twenty is six in such a game.
    """

    title: ClassVar[str] = "Spelling"
    column: ClassVar[str] = "SPB"
    description: ClassVar[str] = "Spell as many words as possible with seven given letters."
    modification: ClassVar[str] = (
        "One reply in place of twenty rounds; scored by the share of all words, not by points that "
        "grow with length. (The paper names no modification.)"
    )
    graded: ClassVar[bool] = True
    solid: ClassVar[float] = 0.05

    centre: bool = False

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        """Yield BIG-bench's games in a seeded order, one a letter set.

        Raises:
            UserError: the games are missing or not what they should be; names file and game.
        """
        path = raw / _FILE
        games: dict[str, list[str]] = {}
        for name, game in read_data(path, _GAMES).items():
            if isinstance(game, str):  # the canary
                continue
            letters = "".join(sorted(set(game.letter_set)))
            _check(letters, game, f"{path}: {name}")
            games.setdefault(letters, sorted(set(game.word_list)))
        if not games:
            raise UserError(f"{path}: no games")
        order = sorted(games)
        Random(derive(seed, "spelling")).shuffle(order)
        for letters in order:
            valid, centre = games[letters], None
            if self.centre:
                able = [letter for letter in letters if any(letter in word for word in valid)]
                centre = Random(derive(seed, "spelling", letters)).choice(able)
                valid = [word for word in valid if centre in word]
            state = {"letters": letters, "centre": centre, "words": valid}
            yield Instance(letters, state, ", ".join(valid))

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        """Return the one question of the game."""
        if replies:
            return None
        letters = ", ".join(state["letters"].upper())
        centre = state["centre"]
        must = f" Each word must contain the letter {centre.upper()}." if centre else ""
        return Turn(
            f"Spell as many English words as you can with these {len(state['letters'])} letters: "
            f"{letters}.\n\nA word has at least {_SHORTEST} letters. You may use a letter more "
            f"than once and need not use all of them, but no other letters.{must}",
            "all your words on one line, separated by commas",
        )

    def read(self, state: State, number: int, reply: str) -> str | None:
        """Return the distinct words of the answer line, sorted, valid or not."""
        return ", ".join(sorted(set(words(answer_line(reply) or "")))) or None

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        """Return the share of the game's words that the reply has."""
        action = self.read(state, 0, replies[0]) if replies else None
        if action is None:
            return Result(0.0, False)
        valid = set(state["words"])
        return Result(len(valid & set(action.split(", "))) / len(valid), True)

    def solved(self, score: float) -> bool:
        """Tell whether the share of words reaches `solid`."""
        return score >= self.solid

    def constant(self, state: State, number: int) -> str:
        """Return the same common words for all letters."""
        return f"Answer: {_CONSTANT}"

    def blind(self, state: State, number: int, random: Random) -> str:
        """Return random strings of the letters."""
        strings = (
            "".join(random.choices(state["letters"], k=random.randint(_SHORTEST, _LETTERS - 1)))
            for _ in range(_BLIND)
        )
        # Where a letter is required, a legal word has it.
        return "Answer: " + ", ".join(string + (state["centre"] or "") for string in strings)


def _check(letters: str, game: _BigBenchGame, where: str) -> None:
    if not len(letters) == len(game.letter_set) == _LETTERS:
        raise UserError(f"{where}: letter_set: not {_LETTERS} different letters")
    if not game.word_list:
        raise UserError(f"{where}: word_list: empty")
    for word in game.word_list:
        if len(word) < _SHORTEST or not set(word) <= set(letters):
            raise UserError(f"{where}: word_list: {word} cannot be spelled by the rules")


ENVIRONMENT = Spelling
