"""Prompts in other words: the cells that are read, and the rates and differences that come of them.

Covered: every kind of trial read from files and checked by hand; a wording that changes nothing;
correction over the table; refused files; the check of params; the templates themselves, which ask
for what ours ask for. Not covered: whether a wording means the same (nobody but a reader can tell).
"""

import re
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT
from house import RIGHT, WRONG, House, exchange, large, score, small

from stages import report
from stages.check import check_whole
from stages.errors import UserError
from stages.few import first_of_tasks
from stages.records import Fidelity, Judgement, Selection, write_jsonl
from stages.reporting import sensitivity
from stages.reporting.config import ReportSection
from stages.reporting.settings import read_settings
from stages.reporting.tables import Builder
from stages.stats import holm

CONFIG = ReportSection(bootstrap=200, seed=0, labels={}, paper_students={})


class Reworded(House):
    """A house in which prompts are tried in other words; `worse` is what the second does."""

    per_task: int | None = None

    def write(self) -> None:
        self.params["paraphrased"] = {
            "wordings": ["p1", "p2"],
            "seeds": [0],
            "questions": ["bbh"],
            "per_task": "all",
            "games": [],
            "conditions": ["unconstrained", "teacher_answer", "lazy", "self_feedback"],
            "asked": ["unconstrained"],
            "compared": ["teacher_answer"],
            "told": ["lazy"],
            "own": ["self_feedback"],
            "verdicts": ["explicit"],
            "pools": ["conditioned"],
            "cleaned": ["bbh"],
        }
        self.params["paraphrased"]["per_task"] = self.per_task or "all"
        super().write()
        all_items, self.items = self.items, first_of_tasks(self.items, self.per_task)
        names = {of.id for of in self.items}
        folder = self.root / "score" / "bbh" / "paraphrased"
        kinds = {"respond": None, "retry": "unconstrained"}
        kinds |= {slug: slug for slug in self.params["paraphrased"]["conditions"]}
        for (kind, condition), wording in product(kinds.items(), ("p1", "p2")):
            own = [row for row in self.scores if row.condition == condition and row.item in names]
            if wording == "p2":  # nothing is right
                own = [score(of, condition, "unparsed") for of in self.items]
            write_jsonl(folder / f"{kind}-{wording}.jsonl", own)
        for wording in ("p1", "p2"):
            said = WRONG if wording == "p1" else RIGHT
            self._cell(
                f"judge/bbh/{wording}/explicit-small-0",
                [
                    Judgement(
                        **self._about(of), verdict="explicit", student="small", teacher="tutor",
                        seed=0, exchange=exchange(said),
                    )
                    for of in self.items
                ],
            )  # fmt: skip
            for selector in ("student_choice", "teacher_choice"):
                self._cell(
                    f"select/bbh/{wording}/conditioned/{selector}-small-0",
                    [
                        Selection(
                            **self._about(of), selector=selector, condition="unconstrained",
                            student="small", chooser="tutor", seed=0, draws=(0, 1),
                            exchange=exchange("B" if wording == "p1" else "neither"),
                        )
                        for of in self.items
                    ],
                )  # fmt: skip
            rows = [row.model_dump() for row in self.cleaned()]
            if wording == "p2":
                # Half are refused, in which nothing is looked for; half keep an artefact.
                kept = {"artefact": True, "artefact_after": True, "kinds": ("thanks",)}
                kept |= {"kinds_after": ("thanks",)}
                other = {"status": "answer_changed"}
                rows = [row | (other if at % 2 else kept) for at, row in enumerate(rows)]
            cleaned = [Fidelity(**row) for row in rows]
            write_jsonl(folder / f"clean-{wording}.jsonl", cleaned)
        self.items = all_items

    def _about(self, of: Any) -> dict[str, Any]:
        return {"item": of.id, "suite": "bbh", "task": of.task, "split": "test"}

    def _cell(self, name: str, records: list[Any]) -> None:
        write_jsonl(self.root / "paraphrased" / f"{name}.jsonl", records)

    def table(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        flags = [
            *self.flags("out"),
            "--trajectories",
            str(self.root / "{step}/{suite}/{cell}.jsonl"),
        ]
        args = report.parser().parse_args(flags)
        builder = Builder(args, read_settings(args.params))
        frame = builder.reader.trials(builder.build().results)
        rows = sensitivity.build(frame, CONFIG).to_dict(orient="records")
        return {(row["prompt"], row["variant"], row["metric"]): row for row in rows}


@pytest.fixture
def house(tmp_path: Path) -> Reworded:
    found = small(tmp_path)
    house = Reworded(tmp_path)
    house.items, house.train, house.scores = found.items, found.train, found.scores
    for of in house.items:
        house.candidates["conditioned", of.id] = ("incorrect", "correct")
    house.write()
    return house


def test_few_items_are_compared_with_the_same_in_our_words(house: Reworded) -> None:
    house.per_task = 1
    house.write()
    first = {of.id for of in first_of_tasks(house.items, 1)}
    tasks = len({of.task for of in house.items})
    assert len(first) == tasks < len(house.items)
    table = house.table()
    for prompt, condition in (("respond/task", None), ("feedback/lazy", "lazy")):
        own = [row for row in house.scores if row.condition == condition and row.item in first]
        for wording in ("ours", "p1"):
            row = table[prompt, wording, "score"]
            assert row["n"] == tasks
            assert row["estimate"] == pytest.approx(np.mean([of.score for of in own]))
    for prompt in ("judge/explicit", "select/choice, Student Choice"):
        assert {row["n"] for key, row in table.items() if key[0] == prompt} == {tasks}
    assert {row["n"] for key, row in table.items() if key[0] == "clean/clean"} == {len(house.train)}
    # Records on more than was asked for, or on less, are refused.
    house.per_task = None
    house.write()
    house.params["paraphrased"]["per_task"] = 1
    params = house.root / "params.yaml"
    params.write_text(yaml.safe_dump(house.params, sort_keys=False), encoding="utf-8")
    with pytest.raises(UserError, match="is not among the test items"):
        house.table()


def test_every_trial_by_hand(house: Reworded) -> None:
    table = house.table()
    # First answers: 2 of 8 right, 6 matched; the first wording gives the same, the second nothing.
    ours, same, none = (table["respond/task", name, "score"] for name in ("ours", "p1", "p2"))
    assert [row["estimate"] for row in (ours, same, none)] == [0.25, 0.25, 0.0]
    assert (same["difference"], none["difference"]) == (0.0, -0.25)
    assert np.isnan(ours["difference"])
    assert (ours["n"], ours["seeds"], ours["estimate_by_seed"]) == (8, 1, [0.25])
    assert table["respond/task", "ours", "match_rate"]["estimate"] == 0.75
    assert table["respond/task", "p2", "match_rate"]["difference"] == -0.75
    # Retries on the base condition: 6 of 8.
    for prompt in ("feedback/unconstrained", "revise/retry"):
        assert table[prompt, "ours", "score"]["estimate"] == 0.75
        assert table[prompt, "p2", "score"]["difference"] == -0.75
    for slug in ("teacher_answer", "lazy", "self_feedback"):
        assert table[f"feedback/{slug}", "ours", "score"]["estimate"] == 0.25
        assert table[f"feedback/{slug}", "p2", "score"]["difference"] == -0.25
    # Verdicts: all are flagged by ours and the first, none by the second; 6 of 8 are wrong.
    assert table["judge/explicit", "ours", "accuracy"]["estimate"] == 0.75
    assert table["judge/explicit", "p2", "accuracy"]["difference"] == -0.5
    assert table["judge/explicit", "p2", "flagged"]["difference"] == -1.0
    assert table["judge/explicit", "p1", "unreadable"]["estimate"] == 0.0
    # Choices: ours takes the first candidate, which is wrong; "B" may be either of the two shown.
    for who in ("Student Choice", "Teacher Choice"):
        assert table[f"select/choice, {who}", "ours", "score"]["estimate"] == 0.0
        assert table[f"select/choice, {who}", "p1", "score"]["estimate"] == 1.0
        assert table[f"select/choice, {who}", "p1", "unreadable"]["estimate"] == 0.0
        assert table[f"select/choice, {who}", "p2", "unreadable"]["estimate"] == 1.0
        assert table[f"select/choice, {who}", "p2", "score"]["estimate"] == 0.0
    # Cleaning, over the four train items.
    assert table["clean/clean", "ours", "taken"]["estimate"] == 1.0
    assert table["clean/clean", "p2", "taken"]["difference"] == -0.5
    assert table["clean/clean", "ours", "clean"]["estimate"] == 1.0
    assert table["clean/clean", "p2", "clean"]["estimate"] == 0.0
    assert table["clean/clean", "ours", "taken"]["n"] == 4


def test_correction_is_over_the_table(house: Reworded) -> None:
    rows = [row for row in house.table().values() if not np.isnan(row["p"])]
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]))
    assert all(row["variant"] != sensitivity.OURS for row in rows)


def test_rendered(house: Reworded) -> None:
    flags = [*house.flags("out"), "--trajectories", str(house.root / "{step}/{suite}/{cell}.jsonl")]
    args = report.parser().parse_args(flags)
    builder = Builder(args, read_settings(args.params))
    table = sensitivity.build(builder.reader.trials(builder.build().results), CONFIG)
    about = {"scale": "tiny", "teacher": "T & U", "seeds": [0], "draws": 200}
    tex = sensitivity.to_tex(table, about)
    assert "T \\& U" in tex
    assert "respond/task" in tex
    assert sensitivity.to_csv(table).count("\n") == len(table) + 1
    assert sensitivity.to_tex(table, about) == tex


def test_ours_are_of_the_seeds_that_are_tried(tmp_path: Path) -> None:
    house = large(tmp_path, 1, 3)
    house.write()
    args = report.parser().parse_args(house.flags("out"))
    results = Builder(args, read_settings(args.params)).build().results
    [who] = house.grid["students"]
    every, some = results.student(who), results.of_seeds([2, 1]).student(who)
    assert every.retry("lazy").score.shape[1] == 3
    assert (some.retry("lazy").score == every.retry("lazy").score[:, 1:]).all()
    assert (some.judged("explicit", "flagged") == every.judged("explicit", "flagged")[:, 1:]).all()
    assert some.candidates("unconstrained").seeds == 2


def test_missing_and_foreign_cells_are_named(house: Reworded) -> None:
    path = house.root / "paraphrased" / "judge" / "bbh" / "p2" / "explicit-small-0.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"seed":0', '"seed":1'), encoding="utf-8")
    with pytest.raises(UserError, match=r"explicit-small-0\.jsonl: holds seed 1, not 0"):
        house.table()
    path.write_text("".join(text.splitlines(keepends=True)[1:]), encoding="utf-8")
    with pytest.raises(UserError, match="not the test items"):
        house.table()
    path.unlink()
    with pytest.raises(UserError, match=r"explicit-small-0\.jsonl: no such file"):
        house.table()
    path.write_text(text, encoding="utf-8")
    (house.root / "score" / "bbh" / "paraphrased" / "retry-p1.jsonl").unlink()
    with pytest.raises(UserError, match=r"retry-p1\.jsonl"):
        house.table()


# The prompts


@pytest.mark.parametrize("wording", ["p1", "p2"])
def test_other_words_ask_for_the_same(wording: str) -> None:
    """Each uses the values that ours uses, and says what the reading of replies depends on."""
    value = re.compile(r"\{[{%]-?\s*(?:if|for \w+ in)?\s*([a-z_]+)")
    for path in sorted((ROOT / "prompts" / "paraphrases" / wording).rglob("*.jinja")):
        name = path.relative_to(ROOT / "prompts" / "paraphrases" / wording)
        ours = (ROOT / "prompts" / name).read_text(encoding="utf-8")
        own = path.read_text(encoding="utf-8")
        assert set(value.findall(own)) == set(value.findall(ours)), path
        assert own != ours
        for mark in (
            '"Answer: <X>"',
            "[Student's answer]",
            "No feedback needed",
            '{"correct": true}',
        ):
            assert (mark in own) == (mark in ours), (path, mark)


def test_params_name_what_is_there(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "prompts", tmp_path / "prompts")
    params = yaml.safe_load((ROOT / "scales" / "laptop.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "params.yaml"

    def refused(key: str, value: object, message: str) -> None:
        changed = {**params, "paraphrased": {**params["paraphrased"], key: value}}
        path.write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
        with pytest.raises(UserError, match=message):
            check_whole(path, tmp_path / "prompts")

    refused("asked", ["lazy"], r"paraphrased\.asked: lazy is none of")
    refused("seeds", [0, 3], r"paraphrased\.seeds: 3 is none of 0")
    refused("told", ["lazy"], r"paraphrased\.conditions: praise: they are those of")
    refused("conditions", [], r"paraphrased\.conditions: ground_truth: they are those of")
    refused("per_task", 0, r"paraphrased\.per_task")
    refused("per_task", "some", r"paraphrased\.per_task")
    refused("questions", ["games"], r"paraphrased\.questions: games is none of bbh")
    refused("games", ["bbh"], r"paraphrased\.games: bbh is none of games")
    refused("wordings", ["p1", "p9"], r"p9: no prompt .*p9/respond/task\.jinja")
    (tmp_path / "prompts" / "paraphrases" / "p2" / "judge" / "explicit.jinja").unlink()
    refused("verdicts", ["explicit"], r"p2: no prompt .*judge/explicit\.jinja")
