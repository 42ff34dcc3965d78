"""A folder with everything that the report stage reads, made up: for tests of its tables."""

import csv
import random
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from stages import report
from stages.records import (
    Choice,
    Completion,
    Dropped,
    Exchange,
    Feedback,
    Fidelity,
    FinishReason,
    Item,
    Judgement,
    Leak,
    Outcome,
    Record,
    Score,
    Selection,
    Split,
    Training,
    write_jsonl,
)

PAPER = Path(__file__).parents[1] / "data" / "paper"
# What each condition sees: the paper's, then the controls.
CONDITIONS = {
    "ground_truth": ["target"],
    "unconstrained": [],
    "teacher_answer": ["teacher_answer"],
    "lazy": ["target"],
    "regex_focused": ["answer_format"],
}
CONTROLS: dict[str, list[str]] = {
    "another_item": ["other_feedback"],
    "try_again": [],
    "self_feedback": [],
}
# What is trained: the paper's, in its order (Table 5; Table 4's last block).
METHODS = {
    "imitative_dpo": {"objective": "dpo", "target": "teacher"},
    "feedback_dpo": {"objective": "dpo", "target": "retry", "negative_sampling": True},
    "imitative_sft": {"objective": "sft", "target": "teacher"},
    "feedback_sft": {"objective": "sft", "target": "retry", "negative_sampling": True},
    "feedback_sft_cleaned": {"objective": "sft", "target": "cleaned", "negative_sampling": True},
}
FOLLOWING = {
    "following_sft": {"objective": "sft", "target": "teacher"},
    "following_dpo": {"objective": "dpo", "target": "teacher"},
}
POOLS = {"alone": None, "conditioned": "unconstrained"}
CHOICES = ("student_choice", "teacher_choice")
PRINTED = {
    "sft": """remove_unused_columns:True,
learning_rate:5e-4,
max_steps:num_steps,
optim:"paged_adamw_32bit",
warmup_ratio:0.1,
""",
    "dpo": """max_prompt_length=1024,
learning_rate=5e-5,
optim:"adamw_torch",
""",
}
FIELDS = {"learning_rate": "learning_rate", "optim": "optim", "max_steps": "max_steps"} | {
    "warmup_ratio": "warmup_steps",
    "remove_unused_columns": "remove_unused_columns",
    "max_prompt_length": None,
}
RIGHT, WRONG = '{"correct": true}', '{"correct": false}'


def item(task: str, index: int, split: Split = "test", target: str = "A", **more: object) -> Item:
    values: dict[str, object] = {
        "id": f"bbh/{task}/{split}-{index}",
        "suite": "bbh",
        "task": task,
        "split": split,
        "index": index,
        "question": "Which one?",
        "answer_format": "a letter",
        "family": "letter",
        "options": {"A": "this", "B": "that"},
        "target": target,
        "flags": (),
    }
    return Item(**(values | more))  # type: ignore[arg-type]


def score(
    of: Item, condition: str | None, outcome: Outcome, *, student: str = "small", **more: object
) -> Score:
    """Return a score; right answers are "A", wrong ones "B"; 10 tokens written, 100 read."""
    right = outcome == "correct"
    answer = {"correct": "A", "incorrect": "B"}.get(outcome)
    values: dict[str, object] = {
        "step": "revise" if condition else "respond",
        "suite": "bbh",
        "task": of.task,
        "item": of.id,
        "split": of.split,
        "model": student,
        "condition": condition,
        "seed": 0,
        "outcome": outcome,
        "score": float(right),
        "solved": right,
        "strict": answer,
        "tolerant": answer,
        "tolerant_score": float(right),
        "cues": 1,
        "finish_reason": "stop",
        "empty": False,
        "kept_original": None,
        "flags": of.flags,
        "prompt_tokens": 100,
        "completion_tokens": 10,
    }
    return Score(**(values | more))  # type: ignore[arg-type]


def exchange(text: str, reason: FinishReason = "stop", **more: Any) -> Exchange:
    """Return a reply of 7 tokens to a prompt of 70."""
    counts = {"prompt_tokens": 70, "completion_tokens": 7}
    reply = Completion(text=text, finish_reason=reason, **(counts | more))
    return Exchange(messages=(), reply=reply)


class House:
    """A folder with everything that the stage reads.

    Attributes:
        scores: of `respond` and `revise`.
        candidates: outcomes of an item's candidates in a pool; by default all are wrong.
        logprobs: what the student's logits give them; by default the first one most.
        choices: which draw a selector chose of an item's candidates, and how; by default the first.
        verdicts: what the teacher said of an item's answer; by default that it is wrong.
        replies: how the teacher's reply to (condition, item) ended, where it did not just stop.
        told: what the answer extractor reads out of the feedback on an item under a condition.
        learnt: outcomes of a trained model's answers, by method and item; by default all wrong.
        retold: the same of its retries on new feedback.
        training: what differs in how a training went, by method.
        fidelity: what differs in what became of a train item's reply in cleaning, by item.
        unused: why train items gave no example, by method and item.
        leave_out: what is not written, by file name.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.items: list[Item] = []
        self.train: list[Item] = []
        self.scores: list[Score] = []
        self.candidates: dict[tuple[str, str], tuple[Outcome, ...]] = {}
        self.logprobs: dict[tuple[str, str], tuple[float, ...]] = {}
        self.choices: dict[tuple[str, str, str], tuple[int, Choice]] = {}
        self.verdicts: dict[tuple[str, str], str] = {}
        self.replies: dict[tuple[str, str], FinishReason] = {}
        self.told: dict[tuple[str, str], str] = {}
        self.learnt: dict[tuple[str, str], Outcome] = {}
        self.retold: dict[tuple[str, str], Outcome] = {}
        self.training: dict[str, dict[str, Any]] = {}
        self.fidelity: dict[str, dict[str, Any]] = {}
        self.unused: dict[tuple[str, str], str] = {}
        self.params: dict[str, Any] = {
            "scale": "tiny",
            "students": {"small": {}},
            "teachers": {"tutor": {}},
            "conditions": {
                slug: {"sees": sees, "sentences": None}
                for slug, sees in (CONDITIONS | CONTROLS).items()
            },
            "verdicts": {
                "explicit": {"reads": "json", "sentences": None, "max_new_tokens": None},
                "implicit": {"reads": "opt_out", "sentences": None, "max_new_tokens": None},
            },
            "selectors": {"student_logits": {"reduce": "mean"}, **{slug: {} for slug in CHOICES}},
            "lessons": {
                "bbh": {
                    "condition": "ground_truth",
                    "negative_sampling": "ground_truth",
                    "models": "joint",
                    "match_n": False,
                    "following_per_task": 5,
                }
            },
            "methods": dict(METHODS),
            "following": {"following_sft": FOLLOWING["following_sft"]},
            "grid": {
                "questions": ["bbh"],
                "games": [],
                "teacher": "tutor",
                "other_teachers": [],
                "other_student": None,
                "students": ["small"],
                "learners": ["small"],
                "tuned": ["small"],
                "seeds": [0],
                "sft": [],
                "dpo": [],
                "following_sft": [],
                "following_dpo": [],
                "asked": ["ground_truth", "unconstrained", "regex_focused"],
                "compared": ["teacher_answer"],
                "told": ["lazy", "try_again"],
                "borrowed": ["another_item"],
                "own": ["self_feedback"],
                "controls": list(CONTROLS),
                "base": "unconstrained",
                "verdict": "explicit",
                "draws": [0, 1],
            },
            # On another suite, so that none of it is read here.
            "paraphrased": {
                "wordings": ["p1"],
                "seeds": [0],
                "questions": ["elsewhere"],
                "per_task": "all",
                "games": [],
                "conditions": [],
                "asked": [],
                "compared": [],
                "told": [],
                "own": [],
                "verdicts": [],
                "pools": [],
                "cleaned": [],
            },
            "prices": {},
            "report": {
                "bootstrap": 500,
                "seed": 0,
                "labels": {"small": "Small_1 & co"},
                "paper_students": {"small": "0.5B"},
            },
        }

    @property
    def grid(self) -> dict[str, Any]:
        grid: dict[str, Any] = self.params["grid"]
        return grid

    @property
    def runs(self) -> list[tuple[str, int]]:
        return list(product(self.grid["students"], self.grid["seeds"]))

    @property
    def arms(self) -> list[tuple[str, str, int]]:
        """Learner, method and seed of all that is trained."""
        seeds = self.grid["seeds"]
        return [
            *product(self.grid["learners"], self.params["methods"], seeds),
            *product(self.grid["tuned"], self.params["following"], seeds),
        ]

    # What is in one cell, for a subclass to make up otherwise.

    def candidate(self, student: str, seed: int, pool: str, of: Item, place: int) -> Outcome:
        known = self.candidates.get((pool, of.id))
        return known[place] if known else "incorrect"

    def logprob(self, student: str, seed: int, pool: str, of: Item, place: int) -> float:
        known = self.logprobs.get((pool, of.id))
        return known[place] if known else -1.0 - place

    def choice(
        self, student: str, seed: int, pool: str, selector: str, of: Item
    ) -> tuple[int, Choice]:
        default: Choice = "likeliest" if selector == "student_logits" else "named"
        return self.choices.get((pool, selector, of.id), (self.grid["draws"][0], default))

    def verdict(self, student: str, seed: int, verdict: str, of: Item) -> str:
        return self.verdicts.get((verdict, of.id), WRONG if verdict == "explicit" else "Well.")

    def leak(self, student: str, seed: int, condition: str, of: Item) -> str | None:
        return self.told.get((condition, of.id))

    def learned(self, learner: str, seed: int, method: str, of: Item) -> Outcome:
        return self.learnt.get((method, of.id), "incorrect")

    def relearned(self, student: str, seed: int, method: str, of: Item) -> Outcome:
        return self.retold.get((method, of.id), "incorrect")

    def cleaning(self, learner: str, seed: int, of: Item) -> dict[str, Any]:
        return self.fidelity.get(of.id, {})

    # Files.

    def evaluated(self) -> list[Score]:
        return [
            score(
                of,
                None,
                self.learned(learner, seed, method, of),
                student=learner,
                seed=seed,
                step="evaluate",
                method=method,
                completion_tokens=20,
            )
            for learner, method, seed in self.arms
            for of in self.items
        ]

    def refollowed(self) -> list[Score]:
        return [
            score(
                of,
                self.grid["base"],
                self.relearned(student, seed, method, of),
                student=student,
                seed=seed,
                step="revise_tuned",
                method=method,
            )
            for student, seed, method in product(
                self.grid["tuned"], self.grid["seeds"], self.params["following"]
            )
            for of in self.items
        ]

    def cleaned(self) -> list[Fidelity]:
        rows = []
        for learner, seed in product(self.grid["learners"], self.grid["seeds"]):
            for of in self.train:
                values: dict[str, Any] = {
                    "item": of.id,
                    "suite": "bbh",
                    "task": of.task,
                    "split": "train",
                    "condition": "ground_truth",
                    "student": learner,
                    "seed": seed,
                    "status": "same",
                    "artefact": False,
                    "artefact_after": False,
                    "kinds": (),
                    "kinds_after": (),
                    "words": 10,
                    "words_after": 10,
                }
                rows.append(Fidelity(**(values | self.cleaning(learner, seed, of))))
        return rows

    def trained(self, learner: str, method: str, seed: int) -> list[Training]:
        objective = ({**self.params["methods"], **self.params["following"]})[method]["objective"]
        values: dict[str, Any] = {
            "suite": "bbh",
            "learner": learner,
            "method": method,
            "seed": seed,
            "objective": objective,
            "preset": "fixed",
            "environment": None,
            "examples": 4,
            "steps": 6,
            "batch": 4,
            "tokens": 2400,
            "target_tokens": 600,
            "trainable": 1000,
            "changed": 0.25,
            "first_loss": 2.0,
            "last_loss": 1.0,
            "config": {"learning_rate": 1e-4, "max_steps": 6, "optim": "adamw_torch"},
            "adapter": None,
            "quantization": None,
            "fallbacks": (),
        }
        return [Training(**(values | self.training.get(method, {})))]

    def log(self, learner: str, method: str, seed: int) -> str:
        """Return the CSV of a training run: the loss falls from 2 + seed, the margin grows."""
        objective = self.trained(learner, method, seed)[0].objective
        margins = objective == "dpo"
        lines = ["environment,step,loss" + (",rewards/margins" if margins else "")]
        lines += [f",{n},{2 + seed - n / 10}" + (f",{n / 10}" if margins else "") for n in (1, 2)]
        return "\n".join(lines) + "\n"

    def samples(self) -> list[Score]:
        return [
            score(
                of,
                condition,
                self.candidate(student, seed, pool, of, place),
                student=student,
                seed=seed,
                step="sample",
                draw=draw,
            )
            for (student, seed), (pool, condition) in product(self.runs, POOLS.items())
            for of in self.items
            for place, draw in enumerate(self.grid["draws"])
        ]

    def selected(self) -> list[Score]:
        samples = {
            (row.model, row.seed, row.condition, row.item, row.draw): row for row in self.samples()
        }
        rows = []
        for (student, seed), (pool, condition), selector, of in product(
            self.runs, POOLS.items(), self.params["selectors"], self.items
        ):
            draw, how = self.choice(student, seed, pool, selector, of)
            row = samples[student, seed, condition, of.id, draw]
            update = {"step": "select", "selector": selector, "choice": how}
            rows.append(row.model_copy(update=update))
        return rows

    def leaks(self) -> list[Leak]:
        rows = []
        for (student, seed), condition, of in product(
            self.runs, self.params["conditions"], self.items
        ):
            answer = self.leak(student, seed, condition, of)
            rows.append(
                Leak(
                    suite="bbh",
                    task=of.task,
                    item=of.id,
                    split="test",
                    student=student,
                    condition=condition,
                    seed=seed,
                    given=True,
                    answer=answer,
                    gold=answer == of.target,
                    shuffled_given=True,
                    shuffled=None,
                    shuffled_gold=False,
                )
            )
        return rows

    def feedback(self) -> dict[str, list[Feedback]]:
        """Return the feedback of every cell of the grid."""
        grid = self.grid
        asking = (*grid["asked"], *grid["compared"], *grid["own"])
        found = {}
        for condition, (student, seed) in product(
            (*asking, *grid["told"], *grid["borrowed"]), self.runs
        ):
            records = []
            for place, of in enumerate(self.items):
                reason = self.replies.get((condition, of.id), "stop")
                status = {"stop": "ok", "length": "truncated"}.get(reason, reason)
                asked = condition in asking
                source = self.items[place - 1].id if condition in grid["borrowed"] else None
                records.append(
                    Feedback(
                        item=of.id,
                        suite="bbh",
                        task=of.task,
                        split="test",
                        condition=condition,
                        student=student,
                        teacher=(student if condition in grid["own"] else "tutor")
                        if asked
                        else None,
                        seed=seed,
                        status=status,  # type: ignore[arg-type]
                        text=None,
                        exchange=exchange("Look again.", reason) if asked else None,
                        source=source,
                    )
                )
            found[f"{condition}-{student}-{seed}"] = records
        return found

    def judgements(self) -> dict[str, list[Judgement]]:
        return {
            f"{verdict}-{student}-{seed}": [
                Judgement(
                    item=of.id,
                    suite="bbh",
                    task=of.task,
                    split="test",
                    verdict=verdict,
                    student=student,
                    teacher="tutor",
                    seed=seed,
                    exchange=exchange(self.verdict(student, seed, verdict, of)),
                )
                for of in self.items
            ]
            for verdict, (student, seed) in product(self.params["verdicts"], self.runs)
        }

    def selections(self) -> dict[str, list[Selection]]:
        found = {}
        draws = tuple(self.grid["draws"])
        for pool, selector, (student, seed) in product(POOLS, self.params["selectors"], self.runs):
            by_logits = selector == "student_logits"
            found[f"{pool}/{selector}-{student}-{seed}"] = [
                Selection(
                    item=of.id,
                    suite="bbh",
                    task=of.task,
                    split="test",
                    selector=selector,
                    condition=POOLS[pool],
                    student=student,
                    chooser="tutor" if selector == "teacher_choice" else student,
                    seed=seed,
                    draws=draws,
                    logprobs=tuple(
                        self.logprob(student, seed, pool, of, place)
                        for place, _ in enumerate(draws)
                    )
                    if by_logits
                    else None,
                    tokens=(1,) * len(draws) if by_logits else None,
                    exchange=None if by_logits else exchange("A"),
                )
                for of in self.items
            ]
        return found

    def write(self) -> None:
        """Write all files."""
        params = yaml.safe_dump(self.params, sort_keys=False)
        (self.root / "params.yaml").write_text(params, encoding="utf-8")
        files: dict[str, Iterable[Record]] = {
            "tasks/bbh/test": self.items,
            "tasks/bbh/train": self.train,
            "score/bbh/sample": self.samples(),
            "score/bbh/select": self.selected(),
            "score/bbh/feedback": self.leaks(),
            "score/bbh/evaluate": self.evaluated(),
            "score/bbh/revise_tuned": self.refollowed(),
            "score/bbh/clean": self.cleaned(),
        }
        for learner, method, seed in self.arms:
            name = f"{learner}-{method}-{seed}"
            files[f"train/{name}"] = self.trained(learner, method, seed)
            files[f"dropped/{name}"] = [
                Dropped(item=of.id, task=of.task, reason=self.unused[method, of.id])
                for of in self.train
                if (method, of.id) in self.unused
            ]
        for step in ("respond", "answer", "revise"):
            files[f"score/bbh/{step}"] = [row for row in self.scores if row.step == step]
        cells: dict[str, dict[str, Any]] = {
            "feedback": self.feedback(),
            "judge": self.judgements(),
            "select": self.selections(),
        }
        for folder, of_folder in cells.items():
            files |= {f"{folder}/{cell}": records for cell, records in of_folder.items()}
        for name, records in files.items():
            write_jsonl(self.root / f"{name}.jsonl", records)
        for learner, method, seed in self.arms:
            log = self.root / "train" / f"{learner}-{method}-{seed}.csv"
            log.write_text(self.log(learner, method, seed), encoding="utf-8")
        presets = yaml.safe_dump({"printed": PRINTED, "fields": FIELDS})
        (self.root / "presets.yaml").write_text(presets, encoding="utf-8")

    def flags(self, out: str) -> list[str]:
        """Return the command line."""
        flags = {
            "--params": "params.yaml",
            "--scores": "score",
            "--tasks": "tasks",
            "--feedback": "feedback/{condition}-{student}-{seed}.jsonl",
            "--judgements": "judge/{verdict}-{student}-{seed}.jsonl",
            "--selections": "select/{pool}/{selector}-{student}-{seed}.jsonl",
            "--training": "train/{learner}-{method}-{seed}.jsonl",
            "--log": "train/{learner}-{method}-{seed}.csv",
            "--dropped": "dropped/{learner}-{method}-{seed}.jsonl",
            "--presets": "presets.yaml",
            "--paper": PAPER,
            "--tables": out,
            "--figures": f"{out}/figures",
            "--metrics": f"{out}/metrics.json",
        }
        return [part for flag, value in flags.items() for part in (flag, str(self.root / value))]

    def report(self, out: str = "out") -> None:
        """Run the stage on what is written."""
        report.main(report.parser().parse_args(self.flags(out)))

    def rows(self, table: str, out: str = "out") -> list[dict[str, str]]:
        """Return the rows of a table."""
        with (self.root / out / f"{table}.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def tex(self, table: str, out: str = "out") -> str:
        """Return a table as LaTeX, of the paper's own the version with its figures beside."""
        name = f"{table}_beside" if table[:-1] == "table" else table
        return (self.root / out / f"{name}.tex").read_text(encoding="utf-8")

    def run(self, out: str = "out") -> list[dict[str, str]]:
        """Write all files, run the stage and return the rows of table3.csv."""
        self.write()
        self.report(out)
        return self.rows("table3", out)


def small(root: Path) -> House:
    """Two subtasks of four items; by hand, only `unconstrained` differs from the baseline."""
    house = House(root)
    house.train = [item(task, index, "train", "A") for task in ("a", "b") for index in range(2)]
    house.items = [item(task, index) for task in ("a", "b") for index in range(4)]
    before: list[Outcome] = ["correct", "incorrect", "unparsed", "incorrect"] * 2
    after: list[Outcome] = ["correct", "correct", "correct", "unparsed"] * 2
    for slug in (None, *CONDITIONS, *CONTROLS):
        outcomes = after if slug == "unconstrained" else before
        house.scores += [
            score(of, slug, outcome) for of, outcome in zip(house.items, outcomes, strict=True)
        ]
    return house


class _Random(House):
    """A house whose candidates, choices and verdicts are random, and always the same."""

    def _rng(self, *of: object) -> random.Random:
        return random.Random("/".join(map(str, of)))

    def candidate(self, student: str, seed: int, pool: str, of: Item, place: int) -> Outcome:
        rng = self._rng("candidate", student, seed, pool, of.id, place)
        outcomes: tuple[Outcome, ...] = ("correct", "incorrect", "unparsed")
        return rng.choices(outcomes, (20, 60, 20))[0]

    def logprob(self, student: str, seed: int, pool: str, of: Item, place: int) -> float:
        return -self._rng("logprob", student, seed, pool, of.id, place).random()

    def choice(
        self, student: str, seed: int, pool: str, selector: str, of: Item
    ) -> tuple[int, Choice]:
        draws = self.grid["draws"]
        if selector == "student_logits":
            values = [self.logprob(student, seed, pool, of, p) for p, _ in enumerate(draws)]
            return draws[values.index(max(values))], "likeliest"
        rng = self._rng("choice", student, seed, pool, selector, of.id)
        hows: tuple[Choice, ...] = ("named", "unreadable")
        return rng.choice(draws), rng.choices(hows, (80, 20))[0]

    def verdict(self, student: str, seed: int, verdict: str, of: Item) -> str:
        rng = self._rng("verdict", student, seed, verdict, of.id)
        if verdict == "implicit":
            return rng.choices(["Well.", "No feedback needed."], (90, 10))[0]
        return rng.choices([RIGHT, WRONG, "Well."], (30, 60, 10))[0]

    def learned(self, learner: str, seed: int, method: str, of: Item) -> Outcome:
        rng = self._rng("learned", learner, seed, method, of.id)
        outcomes: tuple[Outcome, ...] = ("correct", "incorrect", "unparsed")
        return rng.choices(outcomes, (40 if method == "imitative_sft" else 8, 60, 20))[0]

    def relearned(self, student: str, seed: int, method: str, of: Item) -> Outcome:
        return self.learned(student, seed, f"{method}, told", of)

    def cleaning(self, learner: str, seed: int, of: Item) -> dict[str, Any]:
        rng = self._rng("cleaning", learner, seed, of.id)
        status = rng.choices(["cleaned", "same", "answer_changed", "nothing"], (60, 20, 15, 5))[0]
        before = rng.random() < 0.5
        after = before and status == "cleaned" and rng.random() < 0.2
        return {
            "status": status,
            "artefact": before,
            "artefact_after": after or (before and status == "same"),
            "kinds": ("thanks",) if before else (),
            "kinds_after": ("thanks",) if after or (before and status == "same") else (),
            "words": rng.randrange(20, 60),
            "words_after": rng.randrange(20, 60),
        }

    def leak(self, student: str, seed: int, condition: str, of: Item) -> str | None:
        if condition == "lazy":
            return of.target
        return self._rng("leak", student, seed, condition, of.id).choice(["A", "B", None, None])


def large(root: Path, students: int, seeds: int, draws: int = 2) -> House:
    """54 items of 27 subtasks, random outcomes."""
    house = _Random(root)
    rng = random.Random(0)
    tasks = [f"subtask_{number:02d}" for number in range(27)]
    house.train = [item(task, 0, "train") for task in tasks]
    house.items = [
        item(task, index, flags=("bad:two answers",) if (task, index) == (tasks[3], 1) else ())
        for task in tasks
        for index in range(2)
    ]
    slugs = [f"student_{number}" for number in range(students)]
    house.params["students"] = {slug: {} for slug in slugs}
    house.grid["students"] = house.grid["learners"] = house.grid["tuned"] = slugs
    house.params["following"] = FOLLOWING
    house.grid["seeds"] = list(range(seeds))
    house.grid["draws"] = list(range(draws))
    house.params["report"] = {
        "bootstrap": 500,
        "seed": 0,
        "labels": {slug: f"Student-{slug[-1]}-Instruct" for slug in slugs},
        "paper_students": dict(zip(slugs, ("7B", "1.5B", "0.5B"), strict=False)),
    }
    outcomes: tuple[Outcome, ...] = ("correct", "incorrect", "unparsed")
    for student in slugs:
        for slug in (None, *CONDITIONS, *CONTROLS):
            weights = (20, 55, 25) if slug == "lazy" else (7, 68, 25)
            for of in house.items:
                for seed in range(seeds):
                    (outcome,) = rng.choices(outcomes, weights)
                    house.scores.append(score(of, slug, outcome, student=student, seed=seed))
    return house
