"""Floors: what blind players score in games.

Covers: both players on made-up games by exact reckoning; turns; that seeds are an item's own; what
is refused; the command line on the real games of Nash equilibria and Hi-Lo.
Does not cover: what the other environments say for their blind players (tests/test_game_*.py).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from conftest import ROOT
from house import item

from stages import floors
from stages.errors import UserError
from stages.floors import Floor
from stages.records import Item, read_jsonl, write_jsonl
from stages.tasks.environments import registry
from stages.tasks.environments.base import Game, Instance, Result, State, Turn

FOLDER = ROOT / "stages" / "tasks" / "environments"


class Guess(Game):
    """Two guesses at a number from 1 to 4; two points for the first, one for the second."""

    title: ClassVar[str] = "Guess"
    best: ClassVar[float] = 2.0
    graded: ClassVar[bool] = True

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        raise NotImplementedError

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        over = len(replies) == 2 or str(state["number"]) in replies
        return None if over else Turn("Which number?")

    def read(self, state: State, number: int, reply: str) -> str | None:
        return reply

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        right = str(state["number"])
        return Result(2.0 - replies.index(right) if right in replies else 0.0, True)

    def constant(self, state: State, number: int) -> str | None:
        return "34"[number]

    def blind(self, state: State, number: int, random: Random) -> str:
        return str(random.randint(1, 4))


class Silent(Guess):
    """A game without an answer for all, in which nothing can be drawn either."""

    def constant(self, state: State, number: int) -> str | None:
        return None

    def blind(self, state: State, number: int, random: Random) -> str:
        return ""


def guess(number: int) -> Item:
    return item("guess", number, state={"number": number}, suite="games", options={})


def play(of: Item, game: Game | None = None, episodes: int = 20) -> dict[str, Floor]:
    return {row.player: row for row in floors.floors(of, game or Guess(), episodes)}


def test_the_constant_player() -> None:
    """It says 3, then 4."""
    found = {n: play(guess(n))["constant"] for n in (1, 2, 3, 4)}
    assert {n: (row.score, row.solved) for n, row in found.items()} == {
        1: (0, 0),
        2: (0, 0),
        3: (2, 1),
        4: (1, 0),
    }
    assert {row.episodes for row in found.values()} == {1}


def test_the_random_player() -> None:
    """Right at once with 1/4, then with 3/4 of 1/4: a score of 2/4 + 3/16, within 5 errors."""
    row = play(guess(2), episodes=4000)["random"]
    assert row.score == pytest.approx(2 / 4 + 3 / 16, abs=0.065)
    assert row.solved == pytest.approx(1 / 4, abs=0.035)
    assert row.episodes == 4000


def test_each_item_has_seeds_of_its_own() -> None:
    assert play(guess(2)) == play(guess(2))
    twins = [item("guess", n, state={"number": 2}) for n in range(20)]
    assert len({play(of)["random"].score for of in twins}) > 1


def test_a_game_without_an_answer_for_all() -> None:
    found = play(guess(1), Silent())
    assert list(found) == ["random"]
    assert found["random"].score == 0


def test_a_question_is_no_game() -> None:
    with pytest.raises(UserError, match=r"bbh/guess/test-0: a question, not an instance"):
        play(item("guess", 0))


def run(tmp_path: Path, items: list[Item], *more: str) -> list[Floor]:
    write_jsonl(tmp_path / "items.jsonl", items)
    command = ["--items", str(tmp_path / "items.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    flags = [*command, "--environments", str(FOLDER), *more]
    floors.main(floors.parser().parse_args(flags))
    return read_jsonl(tmp_path / "out.jsonl", Floor)


def instances(task: str, count: int) -> list[Item]:
    found = []
    for n, instance in enumerate(registry.environment(task).instances(Path(), 0)):
        if n == count:
            break
        state = dict(instance.state)
        found.append(item(task, n, state=state, suite="games", options={}, target="1"))
    return found


def test_real_games(tmp_path: Path) -> None:
    """Half of the 2x2 games have no equilibrium: "none" is right there, and nowhere else."""
    nash, hilo = instances("nash", 20), instances("hilo", 20)
    rows = run(tmp_path, [*nash, *hilo], "--episodes", "30")
    constant = [row.score for row in rows if (row.task, row.player) == ("nash", "constant")]
    assert sum(constant) == 10
    drawn = [row.score for row in rows if (row.task, row.player) == ("nash", "random")]
    # One of five answers is drawn, of which one to three are right.
    assert 0.15 < sum(drawn) / 20 < 0.5
    guessed = [row for row in rows if (row.task, row.player) == ("hilo", "random")]
    assert len(guessed) == 20
    assert 0 < sum(row.score for row in guessed) / 20 < 0.5


def test_programs_are_left_out(tmp_path: Path) -> None:
    [program] = [item("mbpp", 0, state={}, suite="games", options={})]
    assert {row.task for row in run(tmp_path, [program, *instances("nash", 2)])} == {"nash"}


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--episodes 0: at least one"):
        run(tmp_path, instances("nash", 1), "--episodes", "0")
    with pytest.raises(UserError, match=r"no environment chess: there are"):
        run(tmp_path, [item("chess", 0, state={})])
    assert not (tmp_path / "out.jsonl").exists()
