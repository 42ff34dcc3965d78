"""Table 4 (paper, section 5.2): modifications of feedback conditioning.

Beside the paper's rows stands one block that it speaks of without a number: "negatively
(re)sampling ordinary responses in this way leads to a proportional increase".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.reporting import best_of_k
from stages.reporting.blocks import Block, Row
from stages.reporting.compare import Arm
from stages.reporting.load import BASELINE
from stages.reporting.results import Student

TEMPLATE = Path(__file__).with_name("table4.tex.jinja")
CONTROLS_TEMPLATE = Path(__file__).with_name("controls.tex.jinja")
# Labels of the paper's rows, as in data/paper/table4.csv.
NEGATIVE_SAMPLING = "Negative Sampling"
RESAMPLING = "Negative Resampling (No Feedback)"
NO_FEEDBACK, WITH_FEEDBACK = "Best-of-k (No Feedback)", "Best-of-k (/w Feedback)"
FINETUNING = "Feedback Following Finetuning"
FINETUNED = {"following_sft": "SFT", "following_dpo": "DPO"}
_SELECTORS = {
    "student_logits": "Student Logits",
    "student_choice": "Student Choice",
    "teacher_choice": "Teacher Choice",
}

_CHOOSERS = {"majority": "Majority vote", "logits": "Student Logits", "oracle": "Oracle"}


def blocks(student: Student, base: str, verdict: str, following: Mapping[str, str]) -> list[Block]:
    """Return the blocks of Table 4 for one student.

    Args:
        student: whose rows these are.
        base: the feedback condition ("We use the 'unconstrained' feedback condition throughout").
        verdict: the error identification of negative sampling.
        following: printed names of the methods that train a student to follow feedback.
    """
    first = student.retry(BASELINE)
    return [
        _negative(NEGATIVE_SAMPLING, student, first, student.retry(base), verdict),
        _negative(RESAMPLING, student, first, student.candidates(BASELINE), verdict),
        _best_of_k(NO_FEEDBACK, student, BASELINE),
        _best_of_k(WITH_FEEDBACK, student, base),
        _finetuned(student, base, following),
    ]


def _finetuned(student: Student, base: str, following: Mapping[str, str]) -> Block:
    """Train the student to follow feedback: its first answers, and its retries on new feedback.

    There is no row `-` of the trained student's kind, so that answers without feedback are compared
    with the untrained student's first ones, and answers with feedback with its retries.
    """
    first, retry = student.retry(BASELINE), student.retry(base)
    rows: list[Row] = []
    others = {slug: label for slug, label in following.items() if slug not in FINETUNED}
    for method, name in (FINETUNED | others).items():
        known = method in following
        rows += [
            Row(name, student.after(method) if known else None),
            Row(
                f"{name} + Feedback",
                student.after(method, base) if known else None,
                reference=retry,
            ),
        ]
    return Block(FINETUNING, rows, first)


def _negative(label: str, student: Student, first: Arm, other: Arm, verdict: str) -> Block:
    """Replace first answers by others: all, those judged wrong, those that are wrong."""
    flagged, wrong = student.judged(verdict, "flagged"), 1 - first.solved
    judged, unreadable = flagged.mean(), student.judged(verdict, "unparsable").mean()
    return Block(
        label,
        [
            Row("-", other, notes={"replaced": 1.0}),
            Row(
                "Error Identification",
                other.where(flagged, first),
                notes={"replaced": float(judged), "unreadable": float(unreadable)},
            ),
            Row(
                "Ground Truth",
                other.where(wrong, first),
                oracle=True,
                notes={"replaced": float(wrong.mean())},
            ),
        ],
    )


def _best_of_k(label: str, student: Student, condition: str) -> Block:
    rows = [Row("-", student.candidates(condition))]
    for selector, name in _SELECTORS.items():
        unreadable = student.unreadable(condition, selector)
        rows.append(
            Row(name, student.chosen(condition, selector), notes={"unreadable": unreadable})
        )
    return Block(label, rows)


def controls(
    student: Student,
    first: Arm,
    base: str,
    conditions: Sequence[str],
    labels: Mapping[str, str],
) -> list[Block]:
    """Return the controls for one student: what a retry gains without feedback on its answer.

    All are compared with the condition `base`. Plain resampling gets as many answers to one prompt
    as come closest to the tokens that the student writes for a first answer and a retry under
    `base`; they are taken from the candidates of best-of-k.

    Args:
        student: whose rows these are.
        first: the student's first answers, the same object as the baseline of `blocks.build`: an
            arm is not compared with itself.
        base: the feedback condition that the controls are controls of.
        conditions: the controls.
        labels: printed names of conditions.
    """
    reference = student.retry(base)
    retries = [
        Row(
            labels[slug],
            reference if slug == base else student.retry(slug),
            notes=_tokens(student, slug),
        )
        for slug in (base, *conditions)
    ]
    return [
        Block("No retry", [Row("Baseline", first, notes=_cost(first))], reference),
        Block("Retry", retries, reference),
        _resampling(student, retries[0].notes["student_wrote"], reference),
    ]


def _tokens(student: Student, condition: str) -> dict[str, float]:
    """Return the tokens an item of a first answer, the feedback on it and the retry."""
    arms = student.retry(BASELINE), student.retry(condition)
    notes: dict[str, float] = {}
    for column, verb in (("completion_tokens", "wrote"), ("prompt_tokens", "read")):
        own, teacher = student.feedback_tokens(condition, column)
        spent = sum(float(arm.values[column].mean()) for arm in arms)
        notes |= {f"student_{verb}": spent + own, f"teacher_{verb}": teacher}
    return notes


def _cost(arm: Arm, answers: int = 1) -> dict[str, float]:
    """Return the tokens an item of so many draws of an arm, without a teacher."""
    wrote, read = (
        float(arm.values[column].reshape(len(arm.score), arm.seeds, -1)[..., :answers].sum())
        / (len(arm.score) * arm.seeds)
        for column in ("completion_tokens", "prompt_tokens")
    )
    return {"student_wrote": wrote, "student_read": read, "teacher_wrote": 0.0, "teacher_read": 0.0}


def _resampling(student: Student, budget: float, reference: Arm) -> Block:
    """Choose among plain answers that together take as many tokens as a retry."""
    pool, logits = student.candidates(BASELINE), student.values(BASELINE)
    answers = student.answers(BASELINE)
    counts = range(min(2, pool.draws), pool.draws + 1)
    if not np.isfinite([budget, _cost(pool, pool.draws)["student_wrote"]]).all():
        rows = [Row(label, None) for label in _CHOOSERS.values()]
        return Block("Plain resampling (tokens not known)", rows, reference)
    count = min(counts, key=lambda m: abs(_cost(pool, m)["student_wrote"] - budget))

    def chosen(chooser: str) -> Arm:
        columns: dict[str, list[np.ndarray]] = {name: [] for name in pool.values}
        for seed in range(pool.seeds):
            own = slice(seed * pool.draws, seed * pool.draws + count)
            for name, array in pool.values.items():
                of = array[:, own]
                if chooser == "majority":
                    picked = best_of_k.majority(of, [row[own] for row in answers], count)
                else:
                    values = logits if chooser == "logits" else pool.score
                    picked = best_of_k.by_value(of, values[:, own], count)
                columns[name].append(picked)
        return Arm({name: np.column_stack(c) for name, c in columns.items()}, pool.seeds)

    cost = _cost(pool, count)
    return Block(
        f"Plain resampling, {count} answers",
        [
            Row(label, chosen(chooser), oracle=chooser == "oracle", notes=cost)
            for chooser, label in _CHOOSERS.items()
        ],
        reference,
    )
