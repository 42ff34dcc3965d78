"""`stages.reporting.explorer`: the folder that it writes.

Covers: which cells a grid declares, also against the files of dvc.yaml; that every trajectory is
there with its texts, each text once a file; codes that filters read; that hostile text is nothing
but JSON; equal bytes; scales without games or items; files that are missing or disagree; the
sample of the audit. Does not cover: what a browser makes of it (test_explorer_browser.py).
"""

import base64
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer_house import Line, Run, change

from stages import auditing
from stages.auditing import Sampled, Transition
from stages.errors import UserError
from stages.reporting.explorer import ASSETS

HOSTILE = "</script><script>alert(1)</script>\u2028\u2029\0\u202e<img src=x onerror=alert(2)>"
FIRST = "respond/small/0"
RETRY = "revise/unconstrained/small/0"


def called(path: Path, name: str) -> Any:
    """Return what a data file passes to its function."""
    text = path.read_text(encoding="ascii")
    assert text.startswith(f"{name}(")
    assert text.endswith(");\n")
    return json.loads(text[len(name) + 1 : -3])


class Site:
    """A written folder, read back as the page reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = called(folder / "data" / "index.js", "EXPLORER_INDEX")
        self.chunks = []
        for path in sorted((folder / "data").glob("0*.js")):
            text = path.read_text(encoding="ascii")
            number, value = re.fullmatch(r"EXPLORER_CHUNK\((\d+),(.*)\);\n", text).groups()  # type: ignore[union-attr]
            assert int(number) == int(path.stem) == len(self.chunks)
            self.chunks.append(json.loads(value))

    def column(self, table: str, name: str, kind: str) -> list[int]:
        raw = base64.b64decode(self.index[table][name])
        return [int(value) for value in np.frombuffer(raw, dtype=kind)]

    def rows(self) -> dict[str, tuple[Line, Line, list[str]]]:
        """Return record, item and texts of each row by its name."""
        names = self.index["cells"]["name"]
        cells = self.column("row", "cell", "<u2")
        first = self.column("item", "first", "<u4")
        chunks = self.column("item", "chunk", "<u4")
        found = {}
        for place, item in enumerate(self.index["items"]):
            chunk = self.chunks[chunks[place]]
            own = chunk["items"][place - chunks.index(chunks[place])]
            assert len(own["rows"]) == first[place + 1] - first[place]
            for at, record in enumerate(own["rows"]):
                found[f"{item}@{names[cells[first[place] + at]]}"] = (record, own, chunk["texts"])
        assert len(found) == self.index["rows"]
        return found

    def values(self, key: str) -> dict[str, str]:
        """Return the slug of every row on a facet of rows."""
        (facet,) = [facet for facet in self.index["facets"] if facet["key"] == key]
        codes = self.column("row", key, "<u1")
        return {name: facet["slugs"][code] for name, code in zip(self.rows(), codes, strict=True)}


def site(run: Run, folder: Path) -> Site:
    return Site(run.build(folder).parent)


def test_the_grid_declares_each_cell_once(tmp_path: Path) -> None:
    questions, games, learnt, played = Run(tmp_path).suites
    steps = Counter(cell.step for cell in questions.cells)
    # Two students, two seeds, five conditions, two pools of two draws; one learner, two methods;
    # of the task, of the feedback under one condition, and of the retry prompt, one wording.
    assert steps == {
        "respond": 4,
        "answer": 1,
        "revise": 20,
        "sample": 16,
        "teachers": 2,
        "evaluate": 4 + 2,
        "revise_tuned": 2,
        "forget": 4,
        "paraphrased/respond": 2,
        "paraphrased/revise": 2,
        "paraphrased/retry": 2,
    }
    assert Counter(cell.step for cell in games.cells) == {
        "respond": 4,
        "answer": 1,
        "revise": 4,
        "evaluate": 4,
        "forget": 4,
    }
    for suite in (learnt, played):
        steps = Counter(cell.step for cell in suite.cells)
        assert steps == {
            "respond_train": 2,
            "revise_train": 2,
            "answer_train": 1,
            "revise_following": 2,
            "revise_teacher": 2,
        }
        assert suite.items.name == "train.jsonl"
        assert suite.selections is None
        assert not suite.audited
    for suite in (questions, games, learnt, played):
        names = [cell.name for cell in suite.cells]
        assert len(set(names)) == len(names)
        for cell in suite.cells:
            assert cell.original is None or cell.original in names[: names.index(cell.name)]
    assert questions.audited == {"unconstrained", "ground_truth", "teacher_answer"}
    assert games.selections is None


def test_every_trajectory_is_there_with_its_texts(tmp_path: Path) -> None:
    run = Run(tmp_path)
    rows = site(run.write(), tmp_path / "site").rows()
    expected = 0
    for suite in run.suites:
        for cell in suite.cells:
            for line in cell.trajectories.read_text(encoding="utf-8").splitlines():
                tau = json.loads(line)
                expected += 1
                record, item, texts = rows[f"{tau['item']}@{cell.name}"]
                assert texts[item["target"]] == "A"
                for turn, exchange in zip(record["turns"], tau["exchanges"], strict=True):
                    assert texts[turn["reply"]] == exchange["reply"]["text"]
                    shown = [part for m in exchange["messages"] for part in m.values()]
                    assert turn["shown"][::2] == shown[::2]
                    assert [texts[place] for place in turn["shown"][1::2]] == shown[1::2]
                told = record.get("feedback")
                assert (None if told is None else texts[told]) == tau["feedback"]
                if cell.original:
                    of = rows[f"{tau['item']}@{cell.original}"]
                    assert item["rows"][record["of"]] == of[0]
    assert len(rows) == expected


def test_a_text_stands_in_a_file_once(tmp_path: Path) -> None:
    for chunk in site(Run(tmp_path).write(), tmp_path / "site").chunks:
        assert len(set(chunk["texts"])) == len(chunk["texts"])


def test_files_of_texts_are_closed_at_a_size_and_hold_whole_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path).write()
    monkeypatch.setattr("stages.reporting.explorer.ROWS", 100)
    by_rows = site(run, tmp_path / "rows")
    per_item = len(run.suites[0].cells)
    assert len(by_rows.chunks[0]["items"]) == -(-100 // per_item)
    monkeypatch.setattr("stages.reporting.explorer.CHARACTERS", 1)
    assert all(len(chunk["items"]) == 1 for chunk in site(run, tmp_path / "characters").chunks)


def test_codes_tell_transition_outcome_and_how_a_reply_ended(tmp_path: Path) -> None:
    run = Run(tmp_path)
    a, b, c, d = [item["id"] for item in run.items["bbh"][:4]]
    replies: dict[str, tuple[str, str, Transition]] = {
        a: ("B", "A", "wrong_right"),
        b: ("A", "A", "right_right"),
        c: ("A", "B", "right_wrong"),
        d: ("B", "B", "wrong_wrong"),
    }
    for item, (before, after, _) in replies.items():
        run.says[item, FIRST] = f"Answer: {before}"
        run.says[item, RETRY] = f"Answer: {after}"
    run.ends[d, RETRY] = "length"
    run.ends[a, "evaluate/feedback_dpo/small/0"] = "refusal"
    run.says[b, "evaluate/feedback_dpo/small/0"] = "I will not say."
    run.scores[c, "evaluate/feedback_dpo/small/0"] = {"outcome": "not_run"}
    made = site(run.write(), tmp_path / "site")
    moved, outcome, ended = (made.values(key) for key in ("transition", "outcome", "ended"))
    for item, (_, _, transition) in replies.items():
        assert moved[f"{item}@{RETRY}"] == transition
        assert moved[f"{item}@{FIRST}"] == "none"
    assert (outcome[f"{d}@{RETRY}"], ended[f"{d}@{RETRY}"]) == ("incorrect", "length")
    trained = [f"{item}@evaluate/feedback_dpo/small/0" for item in (a, b, c)]
    assert [outcome[name] for name in trained] == ["errored", "unparsed", "not_run"]
    assert ended[trained[0]] == "refusal"
    # Of a program that was not run, nobody knows what became of it.
    assert moved[trained[2]] == "none"


def test_a_retry_after_feedback_tuning_is_compared_with_the_answer_that_it_revises(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path)
    item = run.items["bbh"][0]["id"]
    run.says |= {
        (item, FIRST): "Answer: A",
        (item, "evaluate/following_sft/small/0"): "Answer: B",
        (item, "revise_tuned/following_sft/small/0"): "Answer: A",
    }
    moved = site(run.write(), tmp_path / "site").values("transition")
    assert moved[f"{item}@revise_tuned/following_sft/small/0"] == "wrong_right"
    assert moved[f"{item}@evaluate/following_sft/small/0"] == "right_wrong"


def test_other_words_are_compared_with_what_ours_are_compared_with(tmp_path: Path) -> None:
    run = Run(tmp_path)
    item = run.items["bbh"][0]["id"]
    retried = ("revise/p1/unconstrained/small/0", "retry/p1/small/0")
    run.says[item, FIRST] = "Answer: B"
    run.says |= {(item, f"paraphrased/{name}"): "Answer: A" for name in retried}
    run.says[item, "paraphrased/respond/p1/small/0"] = "Answer: A"
    made = site(run.write(), tmp_path / "site")
    rows, moved = made.rows(), made.values("transition")
    for name in (*retried, "respond/p1/small/0"):
        assert moved[f"{item}@paraphrased/{name}"] == "wrong_right"
    # What was asked for in other words is other feedback; a retry prompt is about the same.
    ours, asked, prompted = (
        texts[record["feedback"]]
        for record, _, texts in (
            rows[f"{item}@{name}"] for name in (RETRY, *(f"paraphrased/{n}" for n in retried))
        )
    )
    assert ours == prompted != asked
    values = dict(zip(made.index["cells"]["name"], made.index["cells"]["wording"], strict=True))
    (facet,) = [facet for facet in made.index["facets"] if facet["key"] == "wording"]
    assert facet["title"] == "Wording of the prompt"
    assert facet["labels"] == ["ours", "p1"]
    assert {name for name, code in values.items() if facet["slugs"][code] == "p1"} == {
        name for name in values if name.startswith("paraphrased/")
    }


def test_other_words_may_be_tried_on_few_items(tmp_path: Path) -> None:
    run = Run(tmp_path, per_task=1)
    rows = site(run.write(), tmp_path / "site").rows()
    items = run.items["bbh"]
    first = [item["id"] for item in items if item["index"] in (0, 3)]
    for name in ("respond/p1/small/0", "revise/p1/unconstrained/small/0", "retry/p1/small/0"):
        found = [key.split("@")[0] for key in rows if key.endswith(f"@paraphrased/{name}")]
        assert sorted(found) == sorted(first)
    assert f"{items[1]['id']}@respond/small/0" in rows


def test_lessons_are_told_from_what_is_tested(tmp_path: Path) -> None:
    """... also where the teacher is the student, and only the step tells their scores apart."""
    run = Run(tmp_path, teacher="small")
    item = run.lessons["bbh"][0]["id"]
    run.says |= {
        (item, "respond_train/small/0"): "Answer: B",
        (item, "revise_train/small/0"): "Answer: A",
        (item, "answer_train/small"): "I will not say.",
    }
    made = site(run.write(), tmp_path / "site")
    outcome, moved = made.values("outcome"), made.values("transition")
    assert outcome[f"{item}@respond_train/small/0"] == "incorrect"
    assert outcome[f"{item}@answer_train/small"] == "unparsed"
    assert moved[f"{item}@revise_train/small/0"] == "wrong_right"
    assert moved[f"{item}@answer_train/small"] == "none"
    record, _, texts = made.rows()[f"{item}@revise_train/small/0"]
    assert texts[record["feedback"]] == "Think again, says revise_train/small/0."
    (facet,) = [facet for facet in made.index["facets"] if facet["key"] == "split"]
    splits = [facet["slugs"][code] for code in made.column("item", "split", "<u1")]
    assert splits == ["test"] * 12 + ["train"] * 4
    assert made.index["facets"][0]["slugs"] == ["bbh", "games"]


def test_what_following_is_learnt_from_is_on_some_items(tmp_path: Path) -> None:
    run = Run(tmp_path)
    some, others = run.lessons["bbh"][::2], run.lessons["bbh"][1::2]
    run.says[some[0]["id"], "respond_train/small/0"] = "Answer: B"
    run.says[some[0]["id"], "revise_teacher/small/0"] = "Answer: A"
    made = site(run.write(), tmp_path / "site")
    rows = made.rows()
    for step in ("revise_following", "revise_teacher"):
        assert all(f"{item['id']}@{step}/small/0" in rows for item in some)
        assert not any(f"{item['id']}@{step}/small/0" in rows for item in others)
        record, _, texts = rows[f"{some[0]['id']}@{step}/small/0"]
        assert texts[record["feedback"]] == "Think again, says following/small/0."
    assert made.values("transition")[f"{some[0]['id']}@revise_teacher/small/0"] == "wrong_right"


def test_what_stands_where_the_teacher_tried_nothing_is_the_students(tmp_path: Path) -> None:
    run = Run(tmp_path)
    kept = run.lessons["bbh"][0]["id"]
    steps = ("revise_following", "revise_teacher")
    run.keeps |= {(kept, f"{step}/small/0"): "empty" for step in steps}
    assert {cell.model for cell in run.suites[2].cells if cell.step in steps} == {"small", "tutor"}
    made = site(run.write(), tmp_path / "site")
    for step in steps:
        record, _, _ = made.rows()[f"{kept}@{step}/small/0"]
        assert record["kept"] == "empty"


@pytest.mark.parametrize("file", ["trajectories", "feedback", "scores"])
def test_a_record_on_no_item_is_named(tmp_path: Path, file: str) -> None:
    run = Run(tmp_path).write()
    (cell,) = [own for own in run.suites[2].cells if own.name == "revise_following/small/0"]
    path = getattr(cell, file)
    change(path, lambda lines: lines.append(lines[0] | {"item": "bbh/none/0"}))
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: bbh/none/0: not one of"):
        run.build(tmp_path / "site")
    change(path, lambda lines: (lines.pop(), lines.pop(0)))
    lacking = "no scores of" if file == "scores" else "nothing on bbh/"
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: {lacking}"):
        run.build(tmp_path / "site")


def test_a_record_twice_on_a_few_items_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path).write()
    (cell,) = [own for own in run.suites[2].cells if own.name == "revise_following/small/0"]
    change(cell.scores, lambda lines: lines.append(lines[0]))
    with pytest.raises(UserError, match=f"^{re.escape(str(cell.scores))}: bbh/.*: twice in a cell"):
        run.build(tmp_path / "site")


def test_candidates_say_who_chose_them(tmp_path: Path) -> None:
    run = Run(tmp_path).write()
    path = run.suites[0].selections
    assert path is not None
    item = run.items["bbh"][0]["id"]

    def nothing(lines: list[Line]) -> None:
        for line in lines:
            if line["item"] == item and line["selector"] == "teacher_choice":
                line["choice"] = "none"

    change(path, nothing)
    made = site(run, tmp_path / "site")
    rows = made.rows()
    chosen = dict(zip(rows, made.column("row", "chosen", "<u1"), strict=True))
    other = run.items["bbh"][1]["id"]
    assert rows[f"{other}@sample/alone/small/0/0"][0]["chosen"] == {
        "student_logits": "named",
        "teacher_choice": "named",
    }
    assert chosen[f"{other}@sample/alone/small/0/0"] == 0b11
    assert chosen[f"{item}@sample/alone/small/0/0"] == 0b01
    assert chosen[f"{other}@sample/alone/small/1/0"] == 0
    assert chosen[f"{other}@{RETRY}"] == 0


def test_hostile_text_is_ascii_json_in_data_files_and_nowhere_else(tmp_path: Path) -> None:
    run = Run(tmp_path)
    item = run.items["bbh"][0]["id"]
    run.says[item, FIRST] = HOSTILE
    run.advises[item, RETRY] = HOSTILE
    made = site(run.write(), tmp_path / "site")
    record, _, texts = made.rows()[f"{item}@{RETRY}"]
    assert texts[record["feedback"]] == HOSTILE
    for asset in ASSETS.iterdir():
        assert (made.folder / asset.name).read_bytes() == asset.read_bytes()
    assert {path.name for path in made.folder.iterdir()} == {
        *(asset.name for asset in ASSETS.iterdir()),
        "data",
        "audit.json",
    }


def test_the_page_allows_nothing_from_elsewhere() -> None:
    page = (ASSETS / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy[1]
    for asset in ASSETS.iterdir():
        text = asset.read_text(encoding="utf-8")
        assert not re.search(r"https?:|innerHTML|outerHTML|insertAdjacent|eval\(", text), asset
    assert not re.search(r"<script(?! defer src=)|\son\w+=|\sstyle=", page)


def test_same_data_same_bytes(tmp_path: Path) -> None:
    run = Run(tmp_path / "run").write()
    first, second = (run.build(tmp_path / name).parent for name in ("one", "two"))
    names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    run = Run(tmp_path / "run").write()
    old = tmp_path / "site" / "data" / "99999.js"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    run.build(tmp_path / "site")
    assert not old.exists()


def test_a_scale_without_games_draws_or_training(tmp_path: Path) -> None:
    run = Run(tmp_path, games=[], other_teachers=[], learners=[], tuned=[], draws=[0])
    made = site(run.write(), tmp_path / "site")
    facets = {facet["key"]: facet["slugs"] for facet in made.index["facets"]}
    assert facets["suite"] == ["bbh"]
    assert facets["method"] == facets["teacher"] == ["none"]
    assert made.index["rows"] == sum(len(s.cells) * len(run.of(s)) for s in run.suites)
    # Who answers the train items, if nobody learns, is the teacher.
    assert [cell.name for cell in run.suites[1].cells] == ["answer_train/tutor"]


def test_a_suite_without_items(tmp_path: Path) -> None:
    run = Run(tmp_path, lessons=0)
    run.items["games"] = []
    made = site(run.write(), tmp_path / "site")
    assert len(made.index["items"]) == 6
    run.items["bbh"] = []
    assert site(run.write(), tmp_path / "none").index["rows"] == 0


def without_last(lines: list[Line]) -> None:
    lines.pop()


def repeated(lines: list[Line]) -> None:
    lines.append(lines[-1])


def swapped(lines: list[Line]) -> None:
    lines[0], lines[1] = lines[1], lines[0]


def other(axis: str, value: object) -> Any:
    def edit(lines: list[Line]) -> None:
        lines[1][axis] = value

    return edit


@pytest.mark.parametrize(
    ("file", "edit", "complaint"),
    [
        ("trajectories", without_last, "nothing on bbh/bbh_task_1/5"),
        ("trajectories", repeated, ":7: goes on after the last item"),
        ("trajectories", swapped, ":1: bbh/bbh_task_0/1 stands where bbh/bbh_task_0/0 should"),
        ("trajectories", other("model", "big"), "bbh/bbh_task_0/1: model is not 'small'"),
        ("trajectories", other("seed", "0"), ":2: seed: Input should be a valid integer"),
        ("trajectories", other("feedback", "x"), "text is not that of the trajectory"),
        ("feedback", other("condition", "lazy"), "condition is not 'unconstrained'"),
        ("feedback", without_last, "nothing on bbh/bbh_task_1/5"),
        ("scores", other("kept_original", "empty"), "kept_original is not None"),
        ("scores", other("step", "sample"), "bbh/bbh_task_0/1: step is not 'revise'"),
        ("scores", other("task", "x"), "bbh/bbh_task_0/1: task is not 'bbh_task_0'"),
        ("scores", without_last, "not as many scores of each cell as there are items (6)"),
        ("scores", lambda lines: lines.__delitem__(slice(6)), f"no scores of {RETRY}"),
        (
            "scores",
            lambda lines: lines.extend([line | {"seed": 9} for line in lines[:6]]),
            "holds scores of a cell that the grid does not declare",
        ),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, file: str, edit: Any, complaint: str) -> None:
    run = Run(tmp_path).write()
    (cell,) = [cell for cell in run.suites[0].cells if cell.name == RETRY]
    path = getattr(cell, file)
    change(path, edit)
    # What disagrees with the trajectories' feedback is the file of the feedback.
    named = cell.feedback if "trajectory" in complaint else path
    with pytest.raises(UserError, match=f"^{re.escape(str(named))}.*{re.escape(complaint)}"):
        run.build(tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("file", ["trajectories", "feedback", "scores"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    run = Run(tmp_path).write()
    (cell,) = [cell for cell in run.suites[0].cells if cell.name == RETRY]
    path = getattr(cell, file)
    path.unlink()
    with pytest.raises(UserError, match=re.escape(f"{path}: no such file")):
        run.build(tmp_path / "site")


def test_the_audit_samples_retries_of_the_papers_conditions(tmp_path: Path) -> None:
    run = Run(tmp_path)
    kept, failed = (item["id"] for item in run.items["bbh"][:2])
    run.keeps[kept, RETRY] = "empty"
    run.ends[failed, RETRY] = "error"
    made = site(run.write(), tmp_path / "site")
    sample = auditing.read(made.folder / "audit.json", auditing.Sample)
    # Three conditions, two students, two seeds, six items, but for the two that are none.
    assert len(sample.rows) == 3 * 2 * 2 * 6 - 2
    names = {row.row for row in sample.rows}
    assert names < made.rows().keys()
    assert not names & {f"{kept}@{RETRY}", f"{failed}@{RETRY}"}
    moved = made.values("transition")
    assert all(moved[row.row] == row.transition for row in sample.rows)
    shown = called(made.folder / "data" / "audit.js", "EXPLORER_AUDIT")
    assert shown.pop("noises") == [[slug, *auditing.RUBRIC[slug]] for slug in auditing.NOISES]
    assert auditing.Sample.model_validate_json(json.dumps(shown)) == sample


def test_another_reply_makes_another_sample(tmp_path: Path) -> None:
    run = Run(tmp_path)
    item = run.items["bbh"][0]["id"]
    digests = set()
    for text in ("Answer: A", "So it is.\nAnswer: A"):
        run.says[item, RETRY] = text
        folder = run.write().build(tmp_path / "site").parent
        digests.add(auditing.read(folder / "audit.json", auditing.Sample).digest)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("populations", "size", "chosen"),
    [
        ([1000, 1000, 1000, 1000], 150, [38, 38, 37, 37]),
        ([10, 1000, 5, 1000], 150, [10, 68, 5, 67]),
        ([3, 0, 2, 1], 150, [3, 0, 2, 1]),
        ([0, 0, 0, 0], 150, [0, 0, 0, 0]),
        ([5, 5, 5, 5], 2, [1, 1, 0, 0]),
    ],
)
def test_strata_get_equal_shares(populations: list[int], size: int, chosen: list[int]) -> None:
    assert auditing.allocate(populations, size) == chosen


def test_the_sample_is_seeded_and_stratified() -> None:
    rows = [
        Sampled(row=f"{name}-{n}", transition=name, text="")
        for name, size in zip(auditing.TRANSITIONS, (20, 200, 40, 2000), strict=True)
        for n in range(size)
    ]
    first, again, other = (auditing.draw(rows, 150, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.digest != other.digest
    assert len({row.row for row in first.rows}) == 150
    assert Counter(row.transition for row in first.rows) == {
        name: stratum.sampled for name, stratum in first.strata.items()
    }
    assert [stratum.population for stratum in first.strata.values()] == [20, 200, 40, 2000]
    # Not one stratum after the other.
    assert [row.transition for row in first.rows] != sorted(row.transition for row in first.rows)
