r"""Following: what feedback-following finetuning learns from (paper, section 5.2, Feedback Tuning).

    python -m stages.following --params params.yaml --suite bbh --method following_sft \
        --student qwen2_7b --seed 0 --retries data/revise_following/bbh/qwen2_7b-0.jsonl \
        --teacher-retries data/revise_teacher/bbh/qwen2_7b-0.jsonl \
        --out data/pairs/bbh/qwen2_7b-following_sft-0.jsonl \
        --dropped data/dropped/bbh/qwen2_7b-following_sft-0.jsonl

"We train a single model on 5 samples from each of our environments. As training data we use our
refinement prompts as input, using the teacher and student models to provide targets for SFT/DPO":
SFT on the teacher's retry, DPO prefers it to the student's. Of each environment the first items are
taken, in the order of the file, up to `following_per_task`; of these, every one that teaches
nothing is written down with the reason.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stages.cli import make_parser, run
from stages.errors import UserError
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
    parser.add_argument("--retries", type=Path, required=True, help="the student's tau_f (JSONL)")
    parser.add_argument(
        "--teacher-retries", type=Path, required=True, help="the teacher's on the same (JSONL)"
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


def _first(taus: list[Trajectory], per_task: int) -> Iterator[Trajectory]:
    """Yield so many trajectories of each environment."""
    seen: Counter[str] = Counter()
    for tau in taus:
        seen[tau.task] += 1
        if seen[tau.task] <= per_task:
            yield tau


def example(
    method: Method, retry: Trajectory, teacher: Trajectory, cut: bool = False
) -> Example | Reason:
    """Return what is learnt from one retry prompt, or why nothing; `cut` as in `Lessons`."""
    if retry.kept_original is not None:
        return "kept_original"
    if teacher.failed:
        return "teacher_failed"
    if bad := unfit(teacher, cut):
        return bad
    state = retry.exchanges[-1].messages
    if method.objective == "sft":
        return demonstration(retry, state, teacher.last, None)
    if retry.failed:
        return "retry_failed"
    if same(retry.last, teacher.last):
        return "identical"
    if retry.last.finish_reason == "length" and not cut:
        return "retry_truncated"
    return preference(retry, state, teacher.last, retry.last, None)


def _read(args: argparse.Namespace) -> Iterator[tuple[Trajectory, Trajectory]]:
    """Yield the student's and the teacher's retry. Raises UserError where the states differ."""
    retries = read_jsonl(args.retries, Trajectory, "item")
    known = [tau.item for tau in retries]
    teachers = by_item(args.teacher_retries, Trajectory, known, args.retries)
    per_task = _params(args).get("lessons.{suite}", Lessons).following_per_task
    for retry in _first(retries, per_task):
        teacher = teachers[retry.item]
        if retry.split != "train":
            raise UserError(f"{args.retries}: {retry.item} is not a train item")
        if retry.model not in (args.student, args.student.split("-")[0]) or retry.seed != args.seed:
            raise UserError(
                f"{args.retries}: {retry.item}: of {retry.model}-{retry.seed}, "
                f"not {args.student}-{args.seed}"
            )
        if len(retry.exchanges) > 1 or len(teacher.exchanges) > 1:
            raise UserError(f"{args.retries}: {retry.item} was tried again in more than one turn")
        if retry.exchanges[0].messages != teacher.exchanges[0].messages:
            raise UserError(
                f"{args.teacher_retries}: {retry.item}: the teacher was shown something else than "
                f"the student in {args.retries}"
            )
        yield retry, teacher


def main(args: argparse.Namespace) -> None:
    """Write the examples, and the items that gave none."""
    method = _method(args)
    cut = _params(args).get("lessons.{suite}", Lessons).keep_truncated
    kept: list[Example] = []
    dropped: list[Dropped] = []
    for retry, teacher in _read(args):
        found = example(method, retry, teacher, cut)
        if isinstance(found, str):
            dropped.append(Dropped(item=retry.item, task=retry.task, reason=found))
        else:
            kept.append(found)
    write_jsonl(args.out, kept)
    write_jsonl(args.dropped, dropped)


if __name__ == "__main__":
    run(main, parser())
