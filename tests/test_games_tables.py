"""The report on games and code: what Tables 6 and 8 and the others of these suites share.

Covers: a folder of made-up scores on made-up environments, for test_table6.py and test_table8.py
too; the intervals of few items, by simulation; the tables of retries, of forgetting and Table 7 by
hand; a scale without games; every input missing or in another's place; programs that were not run;
equal bytes whatever the order; all tables typeset by pdflatex without a warning (skipped where
there is none, save with CI=true).
Does not cover: Tables 6 and 8 themselves, the real environments but for Table 7, and how the pages
look.
"""

import csv
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import ROOT
from house import RIGHT, WRONG, House, exchange, item, large, score, small

from stages import report
from stages.errors import UserError
from stages.files import write_json
from stages.floors import Floor
from stages.records import Dropped, Feedback, Item, Judgement, Leak, Record, Score, write_jsonl
from stages.reporting import games, sensitivity, table7
from stages.reporting.compare import Arm
from stages.reporting.config import ReportSection
from stages.reporting.environments import Environment, read_environments
from stages.reporting.settings import read_settings
from stages.reporting.tables import Builder
from stages.stats import wilson
from stages.tasks.environments import base, registry
from stages.tasks.environments.base import Code, Game, Instance, Program, Result, State, Turn

GRID = {"questions": ["bbh"], "games": [], "other_teachers": [], "other_student": None}
TABLES = ("table6", "table7", "table8", "games_retry", "forgetting")
RENDERED = [f"{name}_beside" if name.startswith("table") else name for name in TABLES]
MORE = ("table6_moves", "table6_programs", "table6_training", "table6_dropped")
# What is also tried in other words, and how its files are named there.
STEPS_OF_GAMES = {"respond": "respond", "revise": "retry"}
REAL = registry.kind
FOLDER = ROOT / "stages" / "tasks" / "environments"


class Made(Game):
    """A game that is never played: tables see its class alone."""

    description: ClassVar[str] = "Find & name what is asked for, in as few as 100 words."
    modification: ClassVar[str] = "Shorter than the original, which had two players_of_it."

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        raise NotImplementedError

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        raise NotImplementedError

    def read(self, state: State, number: int, reply: str) -> str | None:
        raise NotImplementedError

    def grade(self, state: State, replies: Sequence[str]) -> Result:
        raise NotImplementedError


class MadeSecret(Made):
    def secret(self, state: State) -> str | None:
        return "42"


class MadeCode(Code):
    description: ClassVar[str] = "Write a program."

    def instances(self, raw: Path, seed: int) -> Iterator[Instance]:
        raise NotImplementedError

    def turn(self, state: State, replies: Sequence[str]) -> Turn | None:
        raise NotImplementedError

    def read(self, state: State, number: int, reply: str) -> str | None:
        raise NotImplementedError

    def program(self, state: State, reply: str) -> Program:
        raise NotImplementedError

    def tests(self, state: State) -> base.Tests:
        raise NotImplementedError


def made(of: type[Game | Code], title: str, column: str, **more: object) -> type[Game | Code]:
    return type(of.__name__, (of,), {"title": title, "column": column, **more})


KINDS = {
    "spelling": made(Made, "Spelling", "SPB", graded=True),
    "taboo": made(MadeSecret, "Taboo", "TAB", graded=True, best=2.0),
    "optimization": made(Made, "Optimization", "OPT"),
    "hilo": made(MadeSecret, "Hi-Lo", "HILO"),
    "nash": made(Made, "Nash Equilibria", "NEG"),
    "list_functions": made(Made, "List Functions", "LFN", graded=True),
    "root_finding": made(Made, "Root-Finding", "RFN"),
    "humaneval": made(MadeCode, "HumanEval", "HumanEval"),
    "mbpp": made(MadeCode, "MBPP", "MBPP"),
}
# Scores that an item of an environment can have.
LEVELS = {"taboo": (0.0, 1.0, 2.0)} | dict.fromkeys(
    ("spelling", "list_functions", "humaneval", "mbpp"), (0.0, 0.25, 0.5, 1.0)
)


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names stand for the classes above."""
    monkeypatch.setattr(registry, "kind", KINDS.__getitem__)


def game(task: str, index: int, split: str = "test", **more: object) -> Item:
    return item(
        task,
        index,
        split,  # type: ignore[arg-type]
        **{"id": f"games/{task}/{split}-{index}", "suite": "games", "options": {}, **more},
    )


class GamesHouse:
    """What the stage reads of games and code, beside a house of questions.

    Attributes:
        house: of the questions, whose grid and params are those of all.
        items: test items of all environments.
        scores: what an item scored, by (step, model, method or condition, seed, item).
        verdicts: what the teacher said of an answer, by item; by default that it is wrong.
        refused: items about which the teacher gave no feedback.
        told: items whose feedback names their secret.
        not_run: environments whose programs were not run.
        sandbox: what the others were run in.
    """

    def __init__(self, house: House, environments: Sequence[str], each: int) -> None:
        self.house = house
        self.items = [game(task, n) for task in environments for n in range(each)]
        self.train = [game(task, n, "train") for task in environments for n in range(2)]
        self.scores: dict[tuple[str, str, str | None, int, str], float] = {}
        self.verdicts: dict[str, str] = {}
        self.refused: set[str] = set()
        self.told: set[str] = set()
        self.not_run: set[str] = set()
        self.sandbox: dict[str, object] | None = {"backend": "bubblewrap", "weaker": []}
        params = house.params
        params["lessons"]["games"] = {
            **params["lessons"]["bbh"],
            "condition": "teacher_answer",
            "negative_sampling": "error_identification",
        }
        params["prices"] = {
            "tutor": {"input": 0.15, "output": 0.6, "as_of": "2026-04-05", "batch": 0.5}
        }
        house.grid.update({**GRID, "games": ["games"]})

    @property
    def root(self) -> Path:
        return self.house.root

    def value(self, step: str, model: str, of: str | None, seed: int, item: Item) -> float:
        """Return the score of an item; by default random, and always the same."""
        known = self.scores.get((step, model, of, seed, item.id))
        if known is not None:
            return known
        levels = LEVELS.get(item.task, (0.0, 1.0))
        return random.Random(f"{step}/{model}/{of}/{seed}/{item.id}").choice(levels)

    def score(self, step: str, model: str, of: str | None, seed: int, item: Item) -> Score:
        kind = KINDS[item.task]
        value = self.value(step, model, of, seed, item)
        solved = value >= kind.best
        code = issubclass(kind, Code)
        not_run = item.task in self.not_run
        retried = step == "revise"
        return score(
            item,
            of if retried else None,
            "not_run" if not_run else "correct" if solved else "incorrect",
            student=model,
            seed=seed,
            step=step,
            suite="games",
            score=0.0 if not_run else value,
            solved=solved and not not_run,
            method=None if retried else of,
            rule="block" if code else None,
            checks=None
            if not code
            else ()
            if not_run
            else ("passed",) * round(4 * value) + ("timeout",) * round(4 - 4 * value),
        )

    def steps(self) -> dict[str, list[Score]]:
        grid, params = self.house.grid, self.house.params
        students, seeds = grid["students"], grid["seeds"]
        trained = list(product(grid["learners"], params["methods"], seeds))
        condition = params["lessons"]["games"]["condition"]
        cells: dict[str, list[tuple[str, str | None, int]]] = {
            "respond": [(slug, None, seed) for slug, seed in product(students, seeds)],
            "answer": [(slug, None, 0) for slug in params["teachers"]],
            "revise": [(slug, condition, seed) for slug, seed in product(students, seeds)],
            "evaluate": trained,
            "forget": trained,
        }
        return {
            step: [self.score(step, *cell, of) for cell in own for of in self.items]
            for step, own in cells.items()
        }

    def floors(self) -> list[Floor]:
        found = []
        for of, player in product(self.items, ("constant", "random")):
            if issubclass(KINDS[of.task], Code) or (of.task, player) == ("taboo", "constant"):
                continue
            share = 0.0 if player == "constant" else 0.25
            found.append(
                Floor(
                    suite="games",
                    task=of.task,
                    item=of.id,
                    split="test",
                    player=player,  # type: ignore[arg-type]
                    episodes=20 if player == "random" else 1,
                    score=share * KINDS[of.task].best,
                    solved=share,
                )
            )
        return found

    def leaks(self) -> list[Leak]:
        grid = self.house.grid
        return [
            Leak(
                suite="games",
                task=of.task,
                item=of.id,
                split="test",
                student=student,
                condition=self.condition,
                seed=seed,
                given=True,
                answer="42" if of.id in self.told else None,
                gold=of.id in self.told,
                shuffled_given=True,
                shuffled=None,
                shuffled_gold=False,
            )
            for student, seed, of in product(grid["students"], grid["seeds"], self.items)
        ]

    @property
    def condition(self) -> str:
        return str(self.house.params["lessons"]["games"]["condition"])

    def feedback(self, student: str, seed: int) -> list[Feedback]:
        return [
            Feedback(
                item=of.id,
                suite="games",
                task=of.task,
                split="test",
                condition=self.condition,
                student=student,
                teacher="tutor",
                seed=seed,
                status="refusal" if of.id in self.refused else "ok",
                text=None if of.id in self.refused else "Look again.",
                exchange=exchange("Look again.", "refusal" if of.id in self.refused else "stop"),
            )
            for of in self.items
        ]

    def judgements(self, student: str, seed: int) -> list[Judgement]:
        return [
            Judgement(
                item=of.id,
                suite="games",
                task=of.task,
                split="test",
                verdict=self.house.grid["verdict"],
                student=student,
                teacher="tutor",
                seed=seed,
                exchange=exchange(self.verdicts.get(of.id, WRONG)),
            )
            for of in self.items
        ]

    def others(self) -> dict[str, list[Score]]:
        """Return what is scored on questions for these tables alone."""
        grid, params = self.house.grid, self.house.params

        def one(step: str, model: str, seed: int, of: Item, **more: object) -> Score:
            known = self.scores.get((step, model, str(more), seed, of.id))
            rng = random.Random(f"{step}/{model}/{more}/{seed}/{of.id}")
            right = rng.random() < 0.3 if known is None else known == 1
            outcome = "correct" if right else "incorrect"
            values = {"student": model, "seed": seed, "step": step, **more}
            condition = values.pop("condition", None)
            return score(of, condition, outcome, **values)  # type: ignore[arg-type]

        return {
            "answer": [
                one("answer", teacher, 0, of)
                for teacher, of in product(params["teachers"], self.house.items)
            ],
            "forget": [
                one("forget", learner, seed, of, method=method)
                for learner, method, seed, of in product(
                    grid["learners"], params["methods"], grid["seeds"], self.house.items
                )
            ],
            **{
                f"teachers/{teacher}": [
                    one(
                        "teachers",
                        grid["other_student"],
                        seed,
                        of,
                        condition=grid["base"],
                        teacher=teacher,
                    )
                    for seed, of in product(grid["seeds"], self.house.items)
                ]
                for teacher in grid["other_teachers"]
            },
        }

    def write(self) -> None:
        """Write all files."""
        self.house.write()
        grid, params = self.house.grid, self.house.params
        files: dict[str, Sequence[Record]] = {
            "tasks/games/test": self.items,
            "tasks/games/train": self.train,
            "score/games/feedback": self.leaks(),
            "score/games/floor": self.floors(),
            **{f"score/games/{step}": rows for step, rows in self.steps().items()},
            **{f"score/bbh/{step}": rows for step, rows in self.others().items()},
        }
        for student, seed in product(grid["students"], grid["seeds"]):
            name = f"{grid['verdict']}-{student}-{seed}"
            files[f"games/judge/{name}"] = self.judgements(student, seed)
            name = f"{self.condition}-{student}-{seed}"
            files[f"games/feedback/{name}"] = self.feedback(student, seed)
        for learner, method, seed in product(grid["learners"], params["methods"], grid["seeds"]):
            name = f"{learner}-{method}-{seed}"
            runs = self.house.trained(learner, method, seed)
            files[f"games/train/{name}"] = [
                run.model_copy(update={"suite": "games"}) for run in runs
            ]
            files[f"games/dropped/{name}"] = [
                Dropped(item=self.train[0].id, task=self.train[0].task, reason="identical")
            ]
        for step in ("respond", "answer", "revise", "evaluate", "forget"):
            write_json(self.root / "games" / "facts" / f"{step}.json", {"sandbox": self.sandbox})
        for name, records in files.items():
            write_jsonl(self.root / f"{name}.jsonl", records)

    def flags(self, out: str = "out") -> list[str]:
        root = self.root / "games"
        return [
            *self.house.flags(out),
            *("--environments", str(FOLDER)),
            *("--games-facts", str(root / "facts")),
            *("--games-feedback", f"{root}/feedback/{{condition}}-{{student}}-{{seed}}.jsonl"),
            *("--games-judgements", f"{root}/judge/{{verdict}}-{{student}}-{{seed}}.jsonl"),
            *("--games-training", f"{root}/train/{{learner}}-{{method}}-{{seed}}.jsonl"),
            *("--games-dropped", f"{root}/dropped/{{learner}}-{{method}}-{{seed}}.jsonl"),
        ]

    def report(self, out: str = "out") -> None:
        report.main(report.parser().parse_args(self.flags(out)))

    def run(self, out: str = "out") -> None:
        self.write()
        self.report(out)

    def rows(self, table: str, out: str = "out") -> list[dict[str, str]]:
        return self.house.rows(table, out)

    def tex(self, table: str, out: str = "out") -> str:
        return self.house.tex(table, out)


def few(root: Path) -> GamesHouse:
    """Two items of each of four environments."""
    return GamesHouse(small(root), ("spelling", "taboo", "hilo", "humaneval"), 2)


def many(
    root: Path, students: int = 2, seeds: int = 2, each: int = 12, tasks: Sequence[str] = ()
) -> GamesHouse:
    """All environments of a scale, several students, teachers and seeds."""
    house = large(root, students, seeds)
    house.params["teachers"] = {"tutor": {}, "claude3_haiku": {}, "gemini_flash_15": {}}
    house.params["report"]["labels"] |= {"tutor": "GPT-4o-mini"}
    made = GamesHouse(house, tasks or [slug for slug in KINDS if slug != "humaneval"], each)
    house.grid["other_teachers"] = ["claude3_haiku", "gemini_flash_15"]
    house.grid["other_student"] = "student_0"
    house.params["prices"]["claude3_haiku"] = {"input": 0.25, "output": None, "as_of": None}
    return made


# Intervals of few items

CONFIG = ReportSection(bootstrap=500, seed=0, labels={}, paper_students={})
PLAIN = Environment("own", "Own", "OWN", "", "", 1.0, False, False, False)
GRADED = Environment("own", "Own", "OWN", "", "", 2.0, True, False, False)


def arm(values: Any) -> Arm:
    array = np.array(values, dtype=float)
    return Arm({"score": array, "solved": (array >= 1).astype(float)}, seeds=1)


def test_few_items_have_wilsons_interval() -> None:
    row = games.figures(arm([[1], [0]]), PLAIN, CONFIG)
    assert (row["score_low"], row["score_high"]) == pytest.approx(wilson(1, 2), abs=1e-9)
    # Of 0 to 2, the same on its scale.
    row = games.figures(arm([[2], [0]]), GRADED, CONFIG)
    assert (row["score"], row["score_low"]) == pytest.approx((1, 2 * wilson(1, 2).low), abs=1e-9)


def test_two_items_show_no_difference() -> None:
    """A bootstrap of two items that both gain has no width."""
    for environment, best in ((PLAIN, 1.0), (GRADED, 2.0)):
        row = games.difference(arm([[best], [best]]), arm([[0], [0]]), environment, CONFIG)
        assert row["difference"] == best
        assert row["difference_low"] < 0 < row["difference_high"] == best
        assert row["p"] == 0.5
        assert np.isnan(row["smallest_detectable"])


def test_a_single_item_has_figures() -> None:
    row = games.difference(arm([[1]]), arm([[0]]), PLAIN, CONFIG)
    assert (row["difference"], row["p"], row["discordant"]) == (1, 1, 1)
    assert 0 < games.figures(arm([[1]]), PLAIN, CONFIG)["score_low"] < 1


def test_many_items_are_resampled() -> None:
    values = [[n % 3] for n in range(30)]
    row = games.figures(arm(values), GRADED, CONFIG)
    assert row["score"] == 1
    wide = 2 * (wilson(15, 30).high - wilson(15, 30).low)
    assert 0.3 < row["score_high"] - row["score_low"] < wide
    row = games.difference(arm(values), arm([[0]] * 30), GRADED, CONFIG)
    assert row["difference_low"] > 0
    assert (row["test"], row["discordant"]) == ("permutation", 20)
    assert 0 < row["smallest_detectable"] < 1


@pytest.mark.parametrize("n", [2, 5, 9, 20])
@pytest.mark.parametrize("chances", [(0.7, 0.2, 0.1), (0.2, 0.5, 0.3), (0.05, 0.05, 0.9)])
def test_intervals_cover(n: int, chances: tuple[float, float, float]) -> None:
    """Scores of 0, 1 and 2 with these chances, and differences of two such arms."""
    rng = np.random.default_rng(n)
    truth = chances[1] + 2 * chances[2]
    draws, covered, differs = 400, 0, 0
    for _ in range(draws):
        one, other = (arm(rng.choice(3, size=(n, 1), p=chances)) for _ in range(2))
        _, (low, high) = games.rate(one.score, 2.0, True, CONFIG)
        covered += low <= truth <= high
        row = games.difference(one, other, GRADED, CONFIG)
        differs += row["difference_low"] <= 0 <= row["difference_high"]
    # With three standard errors of 400 draws; Wilson's own dips are the rate's.
    assert covered / draws > 0.88
    assert differs / draws > 0.917


def test_environments_count_alike() -> None:
    """Eight items of a mean of 1/4, and two (of 0 to 2) that reach all: (1/4 + 1) / 2."""
    arms = {"a": arm([[1], [1], *[[0]] * 6]), "b": arm([[2], [2]])}
    environments = {"a": PLAIN, "b": GRADED}
    value, (low, high) = games.mean_over(arms, environments, CONFIG)
    assert value == 0.625
    assert low < value < high
    pairs = {slug: (own, arm(0 * own.score)) for slug, own in arms.items()}
    row = games.difference_over(pairs, environments, CONFIG)
    assert (row["difference"], row["discordant"]) == (0.625, 4)
    assert row["p"] == pytest.approx(2 / 2**4)
    assert np.isnan(games.mean_over({}, environments, CONFIG)[0])


# Retries


@pytest.fixture
def played(tmp_path: Path) -> GamesHouse:
    """The baseline solves the first Hi-Lo; the retry the second; the first is judged right."""
    house = few(tmp_path)
    for n, (before, after) in enumerate(((1.0, 0.0), (0.0, 1.0))):
        house.scores["respond", "small", None, 0, f"games/hilo/test-{n}"] = before
        house.scores["revise", "small", "teacher_answer", 0, f"games/hilo/test-{n}"] = after
    house.verdicts["games/hilo/test-0"] = RIGHT
    house.verdicts["games/hilo/test-1"] = "Well."
    house.told = {"games/hilo/test-1"}
    return house


def find(rows: list[dict[str, str]], **values: str) -> dict[str, str]:
    (found,) = [row for row in rows if all(row[key] == of for key, of in values.items())]
    return found


def test_retries_by_hand(played: GamesHouse) -> None:
    played.run()
    rows = played.rows("games_retry")
    labels = [row["arm"] for row in rows if row["environment"] == "hilo"]
    assert labels == ["baseline", "retry", "error_identification", "constant", "random"]
    base, retry, judged = (find(rows, environment="hilo", arm=name) for name in labels[:3])
    assert [float(row["score"]) for row in (base, retry, judged)] == [0.5, 0.5, 1]
    assert [row["difference"] for row in (base, retry, judged)] == ["", "0.0", "0.5"]
    assert (judged["replaced"], judged["unreadable"]) == ("0.5", "0.5")
    assert (retry["told"], retry["told_n"], retry["told_by_chance"]) == ("0.5", "2.0", "0.0")
    # Spelling has no secret, so that nothing is said of it.
    assert find(rows, environment="spelling", arm="retry")["told"] == ""
    assert r"told \num{0.50} (by chance \num{0.00}) of \num{2}" in played.tex("games_retry")
    assert r"unreadable \num{0.50}" in played.tex("games_retry")


def test_holm_over_retries(played: GamesHouse) -> None:
    played.run()
    tests = [row for row in played.rows("games_retry") if row["p"]]
    assert len(tests) == 2 * 4
    assert all(float(row["p_holm"]) >= float(row["p"]) for row in tests)


# Forgetting


def test_forgetting_by_hand(tmp_path: Path) -> None:
    house = few(tmp_path)
    for of in house.house.items:
        key = ("forget", "small", str({"method": "feedback_sft"}), 0, of.id)
        house.scores[key] = float(of.index < 2)
    for of in house.items:
        house.scores["respond", "small", None, 0, of.id] = 0.0
        best = KINDS[of.task].best
        house.scores["forget", "small", "feedback_sft", 0, of.id] = best * (of.task != "spelling")
    house.run()
    rows = house.rows("forgetting")
    base = find(rows, arm="baseline", evaluated_on="questions")
    after = find(rows, arm="feedback_sft", evaluated_on="questions")
    # The baseline is right on the first of each subtask, this one on the first two.
    assert [float(row["score"]) for row in (base, after)] == [2 / 8, 4 / 8]
    assert (after["difference"], after["test"], after["n"]) == ("0.25", "McNemar", "8")
    after = find(rows, arm="feedback_sft", evaluated_on="games")
    # Two of three games: code is left out.
    assert [after[name] for name in ("difference", "n", "test")] == ["0.666667", "6", "permutation"]
    own = find(house.rows("forgetting_by_environment"), arm="feedback_sft", environment="taboo")
    assert (own["score"], own["difference"], own["score_paper"]) == ("2.0", "2.0", "")
    tests = [*rows, *house.rows("forgetting_by_environment")]
    family = [row for row in tests if row["p"]]
    assert len(family) == 5 * 2 + 5 * 4
    assert min(float(row["p_holm"]) for row in family) >= min(float(r["p"]) for r in family)


# Table 7


def test_the_classes_make_table_7() -> None:
    slugs = registry.names()
    found = {slug: REAL(slug) for slug in slugs}
    assert {"hilo", "nash", "taboo"} <= set(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "kind", REAL)
        environments = read_environments(FOLDER, slugs)
    table = table7.build(environments.values())
    games_ = [slug for slug in slugs if not issubclass(found[slug], Code)]
    assert list(table["slug"]) == games_
    text = table7.to_tex(table, "own")
    for slug in games_:
        assert environments[slug].description
        assert f"({environments[slug].column})" in text
    assert environments["hilo"].secret
    assert not environments["nash"].secret


def test_paper_columns_are_known() -> None:
    """Every column of the paper's Table 6 is that of an environment."""
    with (ROOT / "data" / "paper" / "table6.csv").open(encoding="utf-8", newline="") as stream:
        columns = next(csv.reader(stream))[2:]
    assert set(columns) <= {REAL(slug).column for slug in registry.names()}


# Scales


def test_without_games(tmp_path: Path) -> None:
    house = small(tmp_path)
    house.grid.update(GRID)
    house.run()
    written = {path.stem for path in (tmp_path / "out").iterdir()}
    assert not written & {*TABLES, *MORE}
    assert "table5" in written


def test_games_need_their_flags(tmp_path: Path) -> None:
    house = few(tmp_path)
    house.write()
    with pytest.raises(UserError, match=r"--environments: needed, since .* has grid\.games"):
        house.house.report()
    assert not (tmp_path / "out").exists()


def test_programs_that_were_not_run(tmp_path: Path) -> None:
    """They are neither right nor wrong: no score, no difference, and no part in the counts."""
    house = few(tmp_path)
    house.not_run = {"humaneval"}
    house.run()
    for table in ("table6", "games_retry", "forgetting_by_environment"):
        rows = [row for row in house.rows(table) if row["environment"] == "humaneval"]
        assert rows
        assert {row["note"] for row in rows} == {"not run: no sandbox"}
        assert {row[name] for row in rows for name in ("score", "solved", "difference", "p")} == {
            ""
        }
    for table in ("table6", "games_retry", "forgetting", "table8"):
        assert "not run: no sandbox" in house.tex(table)
    moves = house.rows("table6_moves")[0]
    assert sum(int(moves[name]) for name in ("worse", "same", "better")) == 3
    assert house.rows("table8")[0]["HumanEval"] == ""


@pytest.mark.parametrize("not_run", [set(), {"humaneval"}])
def test_prompts_of_games_in_other_words(tmp_path: Path, not_run: set[str]) -> None:
    """Scores are shares of the best, pooled, of the seeds that are tried."""
    house = many(tmp_path, students=1, seeds=2, each=2, tasks=("taboo", "hilo", "humaneval"))
    house.not_run = not_run
    own = house.house.params["paraphrased"]
    own |= {"wordings": ["p1", "p2"], "seeds": [1], "games": ["games"]}
    house.write()
    ours = {step: [row for row in house.steps()[step] if row.seed == 1] for step in STEPS_OF_GAMES}
    for step, name in STEPS_OF_GAMES.items():
        nothing = {"outcome": "unparsed", "score": 0.0, "solved": False, "checks": None}
        worse = [
            row if row.outcome == "not_run" else Score(**{**row.model_dump(), **nothing})
            for row in ours[step]
        ]
        folder = tmp_path / "score" / "games" / "paraphrased"
        write_jsonl(folder / f"{name}-p1.jsonl", ours[step])
        write_jsonl(folder / f"{name}-p2.jsonl", worse)
    args = report.parser().parse_args(house.flags())
    builder = Builder(args, read_settings(args.params))
    built = builder.build()
    assert built.games is not None
    rows = sensitivity.build(builder.reader.trials(built.results, built.games.results), CONFIG)
    table = {(row["prompt"], row["variant"], row["metric"]): row for _, row in rows.iterrows()}
    assert {prompt for prompt, _, _ in table} == {"respond/game", "revise/game"}
    for step, prompt in (("respond", "respond/game"), ("revise", "revise/game")):
        shares = [row.score / KINDS[row.task].best for row in ours[step] if row.task not in not_run]
        first, same, none = (table[prompt, name, "score"] for name in ("ours", "p1", "p2"))
        assert first["estimate"] == pytest.approx(sum(shares) / len(shares))
        assert (first["n"], first["seeds"]) == (len(shares), 1) == (6 - 2 * len(not_run), 1)
        assert same["difference"] == 0
        assert none["difference"] == pytest.approx(-first["estimate"])
        assert table[prompt, "p2", "match_rate"]["estimate"] == 0


def outcomes_of_games(house: GamesHouse) -> dict[tuple[str, str], dict[str, str]]:
    rows = [row for row in house.rows("outcomes") if row["suite"] == "games"]
    return {(row["step"], row["condition"]): row for row in rows}


def test_every_request_is_among_the_outcomes(tmp_path: Path) -> None:
    house = few(tmp_path)
    house.refused = {house.items[0].id}
    house.run()
    rows = outcomes_of_games(house)
    # In the order of the pipeline.
    assert list(dict.fromkeys(step for step, _ in rows)) == [
        *("respond", "answer", "judge", "feedback", "revise", "evaluate", "forget"),
    ]
    said = rows["feedback", "teacher_answer"]
    assert [int(said[key]) for key in ("n", "stop", "refusal")] == [8, 7, 1]
    assert rows["judge", "explicit"]["stop"] == "8"


def test_nobody_is_asked_for_a_feedback_that_is_told(tmp_path: Path) -> None:
    house = few(tmp_path)
    house.house.params["lessons"]["games"]["condition"] = "lazy"
    house.run()
    rows = outcomes_of_games(house)
    assert ("judge", "explicit") in rows
    assert not [step for step, _ in rows if step == "feedback"]


def test_the_sandbox_is_named(tmp_path: Path) -> None:
    house = few(tmp_path)
    house.run()
    assert "Programs were run in bubblewrap.\n" in house.tex("table6")
    house.sandbox = {"backend": "landlock", "weaker": ["no pid namespace", "100 & more"]}
    house.run()
    weaker = "landlock (weaker: no pid namespace, 100 \\& more)"
    assert f"Programs were run in {weaker}.\n" in house.tex("table6")
    # Two machines took part.
    facts = tmp_path / "games" / "facts" / "answer.json"
    write_json(facts, {"sandbox": {"backend": "bubblewrap", "weaker": []}})
    house.report()
    assert f"Programs were run in {weaker}; bubblewrap.\n" in house.tex("table6")
    house.sandbox = None
    house.run()
    assert "Programs were run" not in house.tex("table6")
    facts.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"answer\.json: not the facts of scores of environments"):
        house.report()
    facts.unlink()
    with pytest.raises(UserError, match=r"answer\.json: no such file"):
        house.report()


def test_order_of_the_scores_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = few(tmp_path)
    house.run("first")
    for path in sorted((tmp_path / "score").rglob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        path.write_text("".join(lines), encoding="utf-8")
    house.report("second")
    names = [*(f"{name}.csv" for name in TABLES), *(f"{name}.tex" for name in RENDERED)]
    for name in (*names, *(f"{name}.csv" for name in MORE), "metrics.json"):
        first, second = ((tmp_path / out / name).read_bytes() for out in ("first", "second"))
        assert first == second, name


# What is refused


def test_each_input_is_missed_by_name(tmp_path: Path) -> None:
    house = few(tmp_path)
    house.house.grid["other_teachers"] = ["other"]
    house.house.grid["other_student"] = "small"
    house.house.params["teachers"]["other"] = {}
    house.write()
    for name in (
        *(f"score/games/{step}" for step in ("respond", "answer", "revise", "evaluate", "forget")),
        *("score/games/feedback", "score/games/floor"),
        *(f"score/bbh/{step}" for step in ("answer", "forget", "teachers/other")),
        *("games/judge/explicit-small-0", "games/feedback/teacher_answer-small-0"),
        "games/train/small-feedback_sft-0",
    ):
        path = tmp_path / f"{name}.jsonl"
        whole = path.read_text(encoding="utf-8")
        path.unlink()
        with pytest.raises(UserError, match=rf"{name}\.jsonl: no such file"):
            house.report()
        path.write_text(whole.partition("\n")[2], encoding="utf-8")
        with pytest.raises(UserError, match=rf"{name}\.jsonl: "):
            house.report()
        path.write_text(whole, encoding="utf-8")
    assert not (tmp_path / "out").exists()
    house.report()


def test_a_floor_outside_the_items(tmp_path: Path) -> None:
    house = few(tmp_path)
    house.write()
    path = tmp_path / "score" / "games" / "floor.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]), encoding="utf-8")
    with pytest.raises(UserError, match=rf"floor\.jsonl:{len(lines) + 1}: item .* twice for the"):
        house.report()
    path.write_text(lines[0].replace("test-0", "test-9"), encoding="utf-8")
    with pytest.raises(UserError, match=r"floor\.jsonl:1: item .* is not among the test items"):
        house.report()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lessons": "games"}, r"params\.yaml: lessons\.games: not there"),
        ({"other_teachers": ["nobody"]}, r"grid: no 'nobody' under teachers"),
        ({"other_teachers": ["tutor"], "other_student": "nobody"}, r"no 'nobody' under students"),
    ],
)
def test_grid_names_what_there_is_not(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    house = few(tmp_path)
    if "lessons" in change:
        del house.house.params["lessons"]["games"]
    else:
        house.house.grid.update(change)
    house.house.write()
    with pytest.raises(UserError, match=message):
        house.report()


def test_no_folder_of_environments(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        read_environments(tmp_path / "nowhere", ["hilo"])


# LaTeX


@pytest.mark.parametrize("seeds", [1, 2])
def test_rows_have_the_cells_of_their_tabular(tmp_path: Path, seeds: int) -> None:
    """What pdflatex would refuse, where there is none; and no underscore in plain text."""
    house = many(tmp_path, 1, seeds, 2)
    house.not_run = {"mbpp"}
    house.run()
    for name in TABLES:
        text = house.tex(name)
        for spec, body in re.findall(
            r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", text, flags=re.DOTALL
        ):
            width = len(re.findall("[lrc]", re.sub(r"@\{.*?\}", "", spec)))
            rows = re.sub(r"\\(top|mid|bottom)rule|\\cmidrule(\(.*?\))?\{.*?\}", "", body)
            for line in filter(str.strip, rows.split("\\\\\n")):
                spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
                cells = len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans)
                assert cells == width, (name, line)
        plain = re.sub(r"\\(label|ref)\{.*?\}|\$.*?\$|^%.*$", "", text, flags=re.MULTILINE)
        assert not re.search(r"(?<!\\)_", plain), name


@pytest.mark.parametrize(("students", "seeds", "each"), [(1, 1, 2), (3, 3, 12)])
def test_typesets_without_a_warning(tmp_path: Path, students: int, seeds: int, each: int) -> None:
    if shutil.which("pdflatex") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("pdflatex is not installed")
        pytest.skip("pdflatex is not installed")
    house = many(tmp_path, students, seeds, each, list(KINDS))
    house.house.params["scale"] = "laptop"
    house.not_run = {"humaneval"} if students == 1 else set()
    house.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "kind", REAL)
        real = table7.to_tex(
            table7.build(read_environments(FOLDER, registry.names()).values()), "laptop"
        )
    (tmp_path / "out" / "table7_beside.tex").write_text(real, encoding="utf-8")
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs,siunitx}\n\\begin{document}\n"
        + "".join(f"\\input{{out/{name}}}\n" for name in RENDERED)
        + "\\end{document}\n",
        encoding="utf-8",
    )
    for _ in range(2):  # the second run knows the labels
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
    log = re.sub(r"(?m)^Package: .*", "", log)
    assert re.findall(r".*(?:Overfull|Underfull|[Ww]arning|undefined|too large).*", log) == []
    assert re.search(r"Output written on page\.pdf \(\d+ page", log)
