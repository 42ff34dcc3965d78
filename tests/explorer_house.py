"""A made-up run with all that the explorer reads: small for tests, large for its timings."""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stages.grid import Grid
from stages.paraphrases import Paraphrased
from stages.reporting import explorer
from stages.reporting.cells import Declared
from stages.reporting.explorer_cells import Cell, Suite, suites_of

METHODS = ("imitative_sft", "feedback_dpo")
FOLLOWED = ("revise_following", "revise_teacher")
FOLLOWING = ("following_sft",)
SELECTORS = ("student_logits", "teacher_choice")
WORDS = [
    "the",
    "a",
    "sum",
    "of",
    "all",
    "odd",
    "even",
    "numbers",
    "is",
    "seven",
    "nine",
    "because",
    "then",
    "so",
    "we",
    "add",
    "take",
    "find",
]

Line = dict[str, Any]


def grid(**more: Any) -> Grid:
    values: dict[str, Any] = {
        "questions": ["bbh"],
        "games": ["games"],
        "teacher": "tutor",
        "other_teachers": ["master"],
        "other_student": "small",
        "students": ["small", "big"],
        "learners": ["small"],
        "tuned": ["small"],
        "seeds": [0, 1],
        "asked": ["unconstrained", "ground_truth"],
        "compared": ["teacher_answer"],
        "told": ["try_again"],
        "borrowed": ["another_item"],
        "own": [],
        "controls": ["try_again", "another_item"],
        "base": "unconstrained",
        "verdict": "explicit",
        "draws": [0, 1],
        "sft": [],
        "dpo": [],
        "following_sft": [],
        "following_dpo": [],
    }
    return Grid.model_validate_json(json.dumps(values | more))


class Run:
    """Files of a run, made up from a seed.

    Attributes:
        items: test items, by suite.
        lessons: train items, by suite.
        says: replies in place of made-up ones, by (item, name of the cell).
        advises: the same of feedback.
        keeps: why an original stands, by (item, name of the cell).
        ends: how a last reply ended, where it did not just stop.
        scores: what a score says otherwise.
    """

    def __init__(
        self,
        root: Path,
        items: int = 6,
        tasks: int = 2,
        words: int = 12,
        per_task: int | None = None,
        lessons: int = 2,
        **axes: Any,
    ) -> None:
        self.root = root
        self.grid = grid(**axes)
        self.words = words
        self.items, self.lessons = (
            {
                suite: [
                    self.item(suite, f"{suite}_task_{number * tasks // count}", split, number)
                    for number in range(count)
                ]
                for suite in (*self.grid.questions, *self.grid.games)
            }
            for split, count in (("test", items), ("train", lessons))
        )
        self.says: dict[tuple[str, str], str] = {}
        self.advises: dict[tuple[str, str], str] = {}
        self.keeps: dict[tuple[str, str], str] = {}
        self.ends: dict[tuple[str, str], str] = {}
        self.scores: dict[tuple[str, str], Line] = {}
        self.declared = Declared(
            grid=self.grid,
            conditions=self.grid.conditions,
            verdicts=["explicit"],
            selectors=["student_logits", "student_choice", "teacher_choice"],
            teachers=["tutor"],
            methods=METHODS,
            following=FOLLOWING,
            lessons={"bbh": "ground_truth", "games": "teacher_answer"},
            paraphrased=Paraphrased(
                wordings=("p1",),
                seeds=(0,),
                questions=("bbh",),
                per_task=per_task or "all",
                games=(),
                conditions=("unconstrained",),
                asked=("unconstrained",),
                compared=(),
                told=(),
                own=(),
                verdicts=(),
                pools=(),
                cleaned=(),
            ),
        )
        pattern = str(root / "{step}/{suite}/{cell}.jsonl")
        self.suites: list[Suite] = suites_of(self.declared, pattern, root / "tasks", root / "score")

    def of(self, suite: Suite) -> list[Line]:
        """Return the items of a suite on its split."""
        return (self.lessons if suite.items.stem == "train" else self.items)[suite.name]

    def item(self, suite: str, task: str, split: str, number: int) -> Line:
        return {
            "id": f"{suite}/{task}/{number if split == 'test' else f'train/{number}'}",
            "suite": suite,
            "task": task,
            "split": split,
            "index": number,
            "question": f"Which number is it, of {number}?",
            "answer_format": "a letter",
            "family": "letter",
            "options": {},
            "target": "A",
            "flags": [],
            "state": None,
        }

    def write(self) -> "Run":
        """Write all files."""
        for suite in self.suites:
            items = self.of(suite)
            _put(suite.items, items)
            scores: dict[Path, list[Line]] = {}
            told: dict[Path, list[Line]] = {}
            before: dict[str, dict[str, Line]] = {}
            for cell in suite.cells:
                own = self.on(cell, items)
                originals = before[cell.original] if cell.original else {}
                taus = [self.tau(cell, item, originals.get(item["id"])) for item in own]
                before[cell.name] = {tau["item"]: tau for tau in taus}
                _put(cell.trajectories, taus)
                # What a cell on few items shares with one on all is written for all.
                if cell.feedback is not None and len(taus) >= len(told.get(cell.feedback, [])):
                    told[cell.feedback] = [self.feedback(cell, tau) for tau in taus]
                scores.setdefault(cell.scores, []).extend(
                    self.score(cell, item, tau) for item, tau in zip(own, taus, strict=True)
                )
            for path, lines in (told | scores).items():
                _put(path, lines)
            if suite.selections is not None:
                _put(suite.selections, self.selected(suite, scores))
        return self

    def on(self, cell: Cell, items: list[Line]) -> list[Line]:
        """Return the items that a cell is on."""
        if cell.step in FOLLOWED:
            return items[::2]
        if not cell.some:
            return items
        firsts: dict[str, Line] = {}
        for item in items:
            firsts.setdefault(item["task"], item)
        return list(firsts.values())

    def build(self, folder: Path) -> Path:
        """Write the site, and return its page."""
        labels = {"small": "Small <b>one</b>", "tutor": "The tutor"}
        explorer.write(folder, self.suites, labels, "tiny", 0)
        return folder / "index.html"

    def reply(self, cell: Cell, item: Line) -> str:
        known = self.says.get((item["id"], cell.name))
        if known is not None:
            return known
        rng = random.Random(f"{item['id']} {cell.name}")
        text = " ".join(rng.choices(WORDS, k=self.words))
        return f"{text}\nAnswer: {rng.choice('AB')}"

    def tau(self, cell: Cell, item: Line, original: Line | None) -> Line:
        """Return a trajectory; in games, one of two turns."""
        key = (item["id"], cell.name)
        values = {axis: item[axis] for axis in ("suite", "task", "split")} | {
            "item": item["id"],
            "model": cell.model,
            "seed": cell.seed,
            "condition": cell.condition,
            "draw": cell.draw,
            "method": cell.method,
            "kept_original": self.keeps.get(key),
            "feedback": None,
        }
        if key in self.keeps and original is not None:
            values["model"] = cell.student or cell.model  # the student's own words
            return values | {"exchanges": original["exchanges"]}
        asked = item["question"]
        if cell.step == "paraphrased/respond":
            asked = f"Once more: {asked[0].lower()}{asked[1:]}"
        shown = [_said("system", "Be good."), _said("user", asked)]
        if cell.feedback is not None and original is not None:
            values["feedback"] = told = self.advice(cell, item)
            first = original["exchanges"][0]["reply"]["text"]
            shown += [_said("assistant", first), _said("user", f"Feedback: {told}")]
        exchanges = []
        for turn in range(2 if item["suite"] == "games" else 1):
            text = self.reply(cell, item)
            ended = self.ends.get(key, "stop")
            reply = {"text": text, "finish_reason": ended, "completion_tokens": len(text.split())}
            exchanges.append({"messages": list(shown), "reply": reply})
            shown += [_said("assistant", text), _said("user", f"That was turn {turn + 1}.")]
        return values | {"exchanges": exchanges}

    def advice(self, cell: Cell, item: Line) -> str:
        # The candidates of best-of-k and a retry prompt in other words are on the same feedback.
        name = cell.name
        if cell.step in ("sample", "paraphrased/retry"):
            name = f"revise/{cell.condition}/{cell.model}/{cell.seed}"
        if cell.step in FOLLOWED:  # student and teacher retry on the same
            name = f"following/{cell.student}/{cell.seed}"
        return self.advises.get((item["id"], name), f"Think again, says {name}.")

    def feedback(self, cell: Cell, tau: Line) -> Line:
        return {axis: tau[axis] for axis in ("item", "suite", "task", "split", "seed")} | {
            "condition": cell.condition,
            "student": cell.student or cell.model,
            "teacher": cell.teacher or "tutor",
            "status": "empty" if tau["kept_original"] else "ok",
            "text": tau["feedback"],
            "exchange": None,
        }

    def score(self, cell: Cell, item: Line, tau: Line) -> Line:
        reply = tau["exchanges"][-1]["reply"]
        failed = reply["finish_reason"] not in ("stop", "length")
        answer = None if failed or "Answer: " not in reply["text"] else reply["text"][-1]
        right = answer == item["target"]
        outcome = "errored" if failed else "correct" if right else "incorrect"
        same = ("item", "suite", "task", "split", "model", "condition", "seed", "draw", "method")
        values = {axis: tau[axis] for axis in (*same, "kept_original")} | {
            "step": cell.scored,
            "outcome": outcome if failed or answer else "unparsed",
            "score": float(right),
            "solved": right,
            "strict": answer,
            "tolerant": answer,
            "tolerant_score": float(right),
            "cues": 1,
            "finish_reason": reply["finish_reason"],
            "empty": False,
            "flags": item["flags"],
            "prompt_tokens": None,
            "completion_tokens": reply["completion_tokens"],
            "teacher": cell.teacher,
        }
        return values | self.scores.get((item["id"], cell.name), {})

    def selected(self, suite: Suite, scores: dict[Path, list[Line]]) -> list[Line]:
        """Return the scores of what each selector chose: the first draw of every pool."""
        first = [cell for cell in suite.cells if cell.step == "sample" and cell.draw == 0]
        rows = scores[first[0].scores] if first else []
        return [
            row | {"step": "select", "selector": selector, "choice": "named"}
            for selector in SELECTORS
            for row in rows
            if row["draw"] == 0
        ]


def _said(role: str, content: str) -> Line:
    return {"role": role, "content": content}


def _put(path: Path, lines: Iterable[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def change(path: Path, edit: Callable[[list[Line]], object]) -> None:
    """Edit the lines of a file."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    edit(lines)
    _put(path, lines)


def large(root: Path, words: int = 60) -> Run:
    """Return a run of 105,000 trajectories: 1,060 items of two students and two seeds."""
    conditions = {"asked": ["unconstrained"] + [f"condition_{n}" for n in range(8)]}
    return Run(
        root,
        items=1060,
        tasks=27,
        words=words,
        lessons=27,
        games=[],
        other_teachers=[],
        learners=["small", "big"],
        tuned=["small", "big"],
        draws=[0, 1, 2],
        **conditions,
    )
