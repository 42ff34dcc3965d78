r"""Show the exact text that a model gets at each step, chat template applied, without running any.

    python -m stages.show bbh/navigate/103 unconstrained
    python -m stages.show bbh/navigate/103 teacher_answer --student qwen2_7b --seed 1

Where a step has run, its trajectories and feedback are shown as they are; where it has not, a
placeholder stands for them. Needs the prepared items and the model folders (`dvc repro prepare
fetch`).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from stages import answer, borrow, feedback, respond, revise
from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.errors import UserError
from stages.grid import Grid
from stages.models.chat import Conversation
from stages.models.template import rendered
from stages.params import Params
from stages.pipeline import cell_arguments
from stages.records import Completion, Exchange, Feedback, Item, Trajectory, read_jsonl, write_jsonl
from stages.training.config import Lessons

PARAMS = ("students", "conditions", "lessons", "grid")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser("stages.show", __doc__)
    parser.add_argument("item", help="item id, <suite>/<task>/<index>")
    parser.add_argument("condition", help="slug under `conditions`")
    parser.add_argument("--student", help="slug under `students`; the first by default")
    parser.add_argument("--seed", type=int, help="the first of the grid by default")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="params file")
    parser.add_argument("--pipeline", type=Path, default=Path("dvc.yaml"), help="DVC pipeline")
    return parser


def _placeholder(item: Item, conversation: Conversation, model: str, seed: int) -> Trajectory:
    text = "<<what the model answers here: this step has not run>>"
    return Trajectory(
        item=item.id,
        suite=item.suite,
        task=item.task,
        split=item.split,
        model=model,
        seed=seed,
        exchanges=(
            Exchange(
                messages=conversation.messages,
                reply=Completion(text=text, finish_reason="stop"),
            ),
        ),
    )


def _steps(args: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path | None, str]]:
    """Yield (step, model folder, text) in the order of section 2 of the paper."""
    params = Params(args.params, PARAMS)
    grid = params.get("grid", Grid)
    if args.condition not in params.get("conditions", dict[str, Condition]):
        raise UserError(f"{args.params}: no condition {args.condition}")
    student = args.student or grid.students[0]
    seed = grid.seeds[0] if args.seed is None else args.seed
    axes = {
        "suite": args.item.split("/")[0],
        "condition": args.condition,
        "student": student,
        "seed": seed,
        "teacher": grid.teacher,
    }

    played = axes["suite"] in grid.games
    if (
        played
        and args.condition
        != params.get("lessons", dict[str, Lessons])[str(axes["suite"])].condition
    ):
        raise UserError(f"{args.item}: games are given the feedback of their lessons only")

    def command(stage: str, parse: argparse.ArgumentParser) -> argparse.Namespace:
        stage += "_games" if played and stage != "borrow" else ""
        return parse.parse_args(cell_arguments(args.pipeline, args.params, stage, **axes))

    first = command("respond", respond.parser())
    items = {item.id: item for item in read_jsonl(first.items, Item)}
    if args.item not in items:
        raise UserError(f"{first.items}: no item {args.item}")
    item = items[args.item]
    # Later steps read files; one item is enough for them, and a placeholder where there is no file.
    one_item = scratch / "items.jsonl"
    write_jsonl(one_item, [item])
    first.items = one_item
    asked = respond.conversations(first)[0]
    yield "respond: the student answers", first.model, rendered(first.model, asked.messages)

    def recorded(path: Path, conversation: Conversation, model: str) -> Trajectory:
        if path.is_file():
            found = [t for t in read_jsonl(path, Trajectory) if t.item == item.id]
            if found:
                return found[0]
        return _placeholder(item, conversation, model, seed)

    tau = recorded(first.out, asked, student)
    tau_file = scratch / "tau.jsonl"
    write_jsonl(tau_file, [tau])

    stage, answers = "feedback", None
    if args.condition in grid.compared:
        stage = "feedback" if played else "feedback_compared"
        alone = command("answer", answer.parser())
        alone.items = one_item
        question = answer.conversations(alone)[0]
        yield "answer: the teacher by itself", alone.model, rendered(alone.model, question.messages)
        answers = scratch / "answers.jsonl"
        write_jsonl(answers, [recorded(alone.out, question, grid.teacher)])
    elif args.condition in grid.told:
        stage = "feedback" if played else "feedback_told"
    elif args.condition in grid.own:
        stage = "feedback_own"
    borrows = args.condition in grid.borrowed
    if borrows:
        told = command("borrow", borrow.parser())
    else:
        told = command(stage, feedback.parser())
        told.items, told.trajectories = one_item, tau_file
        told.answers = answers
    given = None
    if told.out.is_file():
        given = next((f for f in read_jsonl(told.out, Feedback) if f.item == item.id), None)
    asks = not borrows and args.condition not in grid.told
    teacher = None if not asks else student if told.own else told.teacher
    who = "the student itself" if args.condition in grid.own else "the teacher"
    text: str | None = "<<the teacher's feedback: this step has not run>>"
    nothing = "<<nothing: an answer that the feedback is on failed>>"
    if borrows:
        text = None if tau.failed else "<<the feedback on another item: this step has not run>>"
        shown = (text if given is None else given.text) or nothing
        yield "feedback: nobody is asked, this is the feedback on another item", None, shown
    elif teacher is None:
        text = feedback.prompts(told)[0][1]
        yield "feedback: nobody is asked, this is the feedback", None, text or nothing
    elif prompts := feedback.conversations(told):
        yield f"feedback: {who}", told.model, rendered(told.model, prompts[0].messages)
    else:
        text = None
        yield f"feedback: {who}", told.model, nothing
    if given is None:
        given = Feedback(
            item=item.id,
            suite=item.suite,
            task=item.task,
            split=item.split,
            condition=args.condition,
            student=student,
            teacher=teacher,
            seed=seed,
            status="error" if text is None else "ok",
            text=text,
            exchange=None,
        )
    retry = command("revise", revise.parser())
    if played:
        retry.items = one_item
    retry.trajectories, retry.feedback = tau_file, scratch / "feedback.jsonl"
    write_jsonl(retry.feedback, [given])
    if asked_again := revise.conversations(retry):
        last = rendered(retry.model, asked_again[0].messages)
        yield "revise: the student, given COMBINE(i, tau_i, f)", retry.model, last
    else:
        yield f"revise: the original stands, the feedback was {given.status}", None, ""


def main(args: argparse.Namespace) -> None:
    """Print each step's text under a heading."""
    with TemporaryDirectory() as scratch:
        for step, folder, text in _steps(args, Path(scratch)):
            model = f" ({folder})" if folder else ""
            sys.stdout.write(f"=== {step}{model}\n{text}\n\n")


if __name__ == "__main__":
    run(main, parser())
