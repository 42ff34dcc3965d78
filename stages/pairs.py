r"""Pairs: what a training method learns from (paper, section 5.3), example by example.

    python -m stages.pairs --params params.yaml --suite bbh --method feedback_sft \
        --learner qwen2_7b --seed 0 --items data/tasks/bbh/train.jsonl \
        --rules stages/tasks/extraction.yaml \
        --trajectories data/respond_train/bbh/qwen2_7b-0.jsonl \
        --answers data/answer_train/bbh/gpt4o_mini.jsonl \
        --retries data/revise_train/bbh/qwen2_7b-0.jsonl \
        --verdict explicit --judgements data/judge_train/bbh/qwen2_7b-0.jsonl \
        --cleanings data/clean/bbh/qwen2_7b-0.jsonl \
        --out data/pairs/bbh/qwen2_7b-feedback_sft-0.jsonl \
        --dropped data/dropped/bbh/qwen2_7b-feedback_sft-0.jsonl

"Imitative refers to using the teacher's trajectories as a target, whereas Feedback variants rely on
the student's feedback conditioned trajectories", for the prompt without the feedback. DPO prefers
the target to the student's own answer. Negative sampling removes the items that were answered
rightly (5.2). Every item that teaches nothing is written down with the reason.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from stages.cleaning import take
from stages.cli import make_parser, run
from stages.errors import UserError
from stages.examples import ARMS, Material, examples
from stages.grading import open_grader
from stages.joining import by_item
from stages.params import Params
from stages.records import (
    Cleaning,
    Dropped,
    Item,
    Judgement,
    Trajectory,
    read_jsonl,
    write_jsonl,
)
from stages.targets import Example, Reason, Right, tried_again
from stages.tasks.grade import Grader
from stages.training.config import Judge, Lessons, Method
from stages.verdicts import Verdict, says_correct

PARAMS = ("lessons.{suite}", "methods.{method}", "verdicts.{verdict}")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.pairs", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--suite", required=True, help="slug under `lessons`")
    parser.add_argument("--method", required=True, help="slug under `methods`")
    parser.add_argument("--learner", required=True, help="slug or folder of the student")
    parser.add_argument("--seed", type=int, required=True, help="seed of the trajectories")
    parser.add_argument("--items", type=Path, required=True, help="train Items (JSONL)")
    parser.add_argument(
        "--rules", type=Path, required=True, help="what grades: extraction rules, or environments"
    )
    parser.add_argument("--trajectories", type=Path, required=True, help="tau_i (JSONL)")
    parser.add_argument("--answers", type=Path, required=True, help="the teacher's own (JSONL)")
    parser.add_argument("--retries", type=Path, required=True, help="tau_f (JSONL)")
    parser.add_argument("--verdict", required=True, help="slug under `verdicts`")
    parser.add_argument("--judgements", type=Path, required=True, help="on tau_i (JSONL)")
    parser.add_argument("--cleanings", type=Path, required=True, help="of tau_f (JSONL)")
    parser.add_argument("--out", type=Path, required=True, help="examples to write (JSONL)")
    parser.add_argument("--dropped", type=Path, required=True, help="Dropped to write (JSONL)")
    return parser


def _params(args: argparse.Namespace) -> Params:
    axes = {"suite": args.suite, "method": args.method, "verdict": args.verdict}
    return Params(args.params, PARAMS, **axes)


def materials(args: argparse.Namespace, grader: Grader) -> Iterator[Material]:
    """Yield what there is on each train item, in the order of the items.

    Raises:
        UserError: the files are not of the same items, or not of the same run.
    """
    lessons = _params(args).get("lessons.{suite}", Lessons)
    verdict = _params(args).get("verdicts.{verdict}", Verdict)
    items = {item.id: item for item in read_jsonl(args.items, Item, "id")}
    taus, answers, retries = (
        by_item(path, Trajectory, items, args.items)
        for path in (args.trajectories, args.answers, args.retries)
    )
    judgements = by_item(args.judgements, Judgement, items, args.items)
    cleanings = by_item(args.cleanings, Cleaning, items, args.items)
    for item in items.values():
        tau, retry, judgement = taus[item.id], retries[item.id], judgements[item.id]
        if item.split != "train":
            raise UserError(f"{args.items}: {item.id} is not a train item")
        if retry.condition != lessons.condition:
            raise UserError(
                f"{args.retries}: {item.id}: the feedback is {retry.condition}, "
                f"lessons.{args.suite}.condition is {lessons.condition}"
            )
        if judgement.verdict != args.verdict:
            raise UserError(
                f"{args.judgements}: {item.id}: the verdict is {judgement.verdict}, "
                f"not {args.verdict}"
            )
        cleaning = cleanings[item.id]
        if (cleaning.student, cleaning.seed) != (args.learner, args.seed):
            raise UserError(
                f"{args.cleanings}: {item.id}: of {cleaning.student}-{cleaning.seed}, "
                f"not {args.learner}-{args.seed}"
            )
        if not tried_again(tau, retry):
            raise UserError(
                f"{args.retries}: {item.id}: another answer was tried again than that in "
                f"{args.trajectories}"
            )
        yield Material(
            item=item,
            original=tau,
            answer=answers[item.id],
            retry=retry,
            cleaned=take(cleaning, retry, item, grader),
            right=_right(lessons.negative_sampling, item, tau, grader, verdict, judgement),
        )


def _right(
    judge: Judge | None,
    item: Item,
    tau: Trajectory,
    grader: Grader,
    verdict: Verdict,
    judgement: Judgement,
) -> Right | None:
    """Return who says that an answer was right: an unreadable verdict says that it was not."""
    if judge == "ground_truth" and not tau.failed:
        [grade] = grader.grades([(item, tau)])
        if grade.outcome == "not_run":
            return "not_run"
        if grade.solved:
            return "already_right"
    if judge == "error_identification" and says_correct(verdict, judgement):
        return "judged_right"
    return None


def teaches(
    method: Method, lessons: Lessons, material: Material, grader: Grader
) -> list[Example] | Reason:
    """Return what an item teaches under a method, or why nothing."""
    found = examples(method, material, grader, lessons)
    if lessons.match_n and isinstance(found, list):
        arms = (examples(arm, material, grader, lessons) for arm in ARMS)
        if not all(isinstance(arm, list) for arm in arms):
            return "not_matched"
    return found


def main(args: argparse.Namespace) -> None:
    """Write the examples of every train item, and the items that gave none."""
    lessons = _params(args).get("lessons.{suite}", Lessons)
    method = _params(args).get("methods.{method}", Method)
    kept: list[Example] = []
    dropped: list[Dropped] = []
    with open_grader(args.rules) as grader:
        for material in materials(args, grader):
            found = teaches(method, lessons, material, grader)
            if isinstance(found, list):
                kept += found
            else:
                item = material.item
                dropped.append(Dropped(item=item.id, task=item.task, reason=found))
    write_jsonl(args.out, kept)
    write_jsonl(args.dropped, dropped)


if __name__ == "__main__":
    run(main, parser())
