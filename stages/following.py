r"""Following: what feedback-following finetuning learns from (paper, section 5.2, Feedback Tuning).

    python -m stages.following --params params.yaml --suite bbh --method following_sft \
        --student qwen2_7b --seed 0 --retries data/revise_following/bbh/qwen2_7b-0.jsonl \
        --teacher-retries data/revise_teacher/bbh/qwen2_7b-0.jsonl \
        --out data/pairs/bbh/qwen2_7b-following_sft-0.jsonl \
        --dropped data/dropped/bbh/qwen2_7b-following_sft-0.jsonl

"We train a single model on 5 samples from each of our environments" - questions, games and code
alike, so there are retries of several suites. "As training data we use our refinement prompts as
input, using the teacher and student models to provide targets for SFT/DPO": SFT on the teacher's
retry, DPO prefers it to the student's. `--suite` names the lessons that say how many and whether
cut replies are learnt. Of each environment the first items are taken, in the order of the file, up
to `following_per_task`; of these, every one that teaches nothing is written down with the reason.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.few import first_of_tasks
from stages.joining import by_item
from stages.params import Params
from stages.records import Dropped, Trajectory, read_jsonl, write_jsonl
from stages.targets import Example, Reason, demonstration, preference, same, unfit
from stages.training.config import Lessons, Method

PARAMS = ("lessons.{suite}", "following.{method}")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.following", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--suite", required=True, help="slug under `lessons`")
    parser.add_argument("--method", required=True, help="slug under `following`")
    parser.add_argument("--student", required=True, help="slug or folder of the student")
    parser.add_argument("--seed", type=int, required=True, help="seed of the trajectories")
    for flag, whose in (
        ("--retries", "the student's tau_f"),
        ("--teacher-retries", "the teacher's"),
    ):
        parser.add_argument(
            flag, type=Path, action="append", required=True, help=f"{whose} (JSONL), once a suite"
        )
    parser.add_argument("--out", type=Path, required=True, help="examples to write (JSONL)")
    parser.add_argument("--dropped", type=Path, required=True, help="Dropped to write (JSONL)")
    return parser


def _params(args: argparse.Namespace) -> Params:
    return Params(args.params, PARAMS, suite=args.suite, method=args.method)


def _method(args: argparse.Namespace) -> Method:
    """Return the method. Raises UserError where it asks for what is not done here."""
    method = _params(args).get("following.{method}", Method)
    if method != Method(objective=method.objective, target="teacher"):
        raise UserError(
            f"{args.params}: following.{args.method}: the target is teacher, nothing is filtered"
        )
    return method


def examples(
    method: Method, retry: Trajectory, teacher: Trajectory, cut: bool = False
) -> list[Example] | Reason:
    """Return what is learnt from one retry, or why nothing; `cut` as in `Lessons`.

    Of several turns, SFT has one example for each of the teacher's that can be learnt, and DPO one
    for the first in which the two differ.
    """
    if retry.kept_original is not None:
        return "kept_original"
    if teacher.failed:
        return "teacher_failed"
    reasons = [unfit(turn.reply, cut) for turn in teacher.exchanges]
    if method.objective == "sft":
        found: list[Example] = [
            demonstration(retry, turn.messages, turn.reply, None)
            for turn, why in zip(teacher.exchanges, reasons, strict=True)
            if why is None
        ]
        return found or next(why for why in reasons if why is not None)
    if retry.failed:
        return "retry_failed"
    for own, other, why in zip(retry.exchanges, teacher.exchanges, reasons, strict=False):
        if same(own.reply, other.reply):
            continue
        if why is not None:
            return why
        if own.reply.finish_reason == "length" and not cut:
            return "retry_truncated"
        return [preference(retry, own.messages, other.reply, own.reply, None)]
    return "identical"


def _read(
    args: argparse.Namespace, retried: Path, by_teacher: Path
) -> Iterator[tuple[Trajectory, Trajectory]]:
    """Yield the student's and the teacher's retry. Raises UserError where the states differ."""
    retries = read_jsonl(retried, Trajectory, "item")
    known = [tau.item for tau in retries]
    teachers = by_item(by_teacher, Trajectory, known, retried)
    per_task = _params(args).get("lessons.{suite}", Lessons).following_per_task
    for retry in first_of_tasks(retries, per_task):
        teacher = teachers[retry.item]
        if retry.split != "train":
            raise UserError(f"{retried}: {retry.item} is not a train item")
        if retry.model not in (args.student, args.student.split("-")[0]) or retry.seed != args.seed:
            raise UserError(
                f"{retried}: {retry.item}: of {retry.model}-{retry.seed}, "
                f"not {args.student}-{args.seed}"
            )
        if retry.exchanges[0].messages != teacher.exchanges[0].messages:
            raise UserError(
                f"{by_teacher}: {retry.item}: the teacher was shown something else than "
                f"the student in {retried}"
            )
        yield retry, teacher


def main(args: argparse.Namespace) -> None:
    """Write the examples, and the items that gave none."""
    method = _method(args)
    cut = _params(args).get("lessons.{suite}", Lessons).keep_truncated
    kept: list[Example] = []
    dropped: list[Dropped] = []
    if len(args.retries) != len(args.teacher_retries):
        raise UserError("as many --retries as --teacher-retries are needed, one a suite")
    for paths in zip(args.retries, args.teacher_retries, strict=True):
        for retry, teacher in _read(args, *paths):
            found = examples(method, retry, teacher, cut)
            if isinstance(found, str):
                dropped.append(Dropped(item=retry.item, task=retry.task, reason=found))
            else:
                kept += found
    write_jsonl(args.out, kept)
    write_jsonl(args.dropped, dropped)


if __name__ == "__main__":
    run(main, parser())
