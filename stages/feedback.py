r"""Feedback: the teacher's feedback f ~ phi(tau_i) on each student trajectory (paper, section 2).

    python -m stages.feedback --params params.yaml --condition unconstrained --student qwen2_7b \
        --seed 0 --teacher gpt4o_mini --model models/gpt4o_mini --items data/tasks/bbh/test.jsonl \
        --trajectories data/respond/bbh/qwen2_7b-0.jsonl \
        --template prompts/feedback/unconstrained.jinja \
        --out data/feedback/bbh/unconstrained-qwen2_7b-0.jsonl \
        --calls data/calls/feedback/bbh/unconstrained-qwen2_7b-0.jsonl \
        --facts data/facts/feedback/bbh/unconstrained-qwen2_7b-0.json

The conditions are those of section 5.1.2 and our controls. `--answers` gives the teacher's own
answers to a condition that sees them. `--own` makes the student its own teacher (Self-Refine).
Without either nobody is asked and the rendered template is the feedback itself (Lazy: "the feedback
just consists in directly being told the correct answer"). On the train items and in environments,
whose condition is chosen in params, `--unless-told` finds out from `grid.told`.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.conversation import neutralise, opening, turns
from stages.errors import UserError
from stages.few import add_per_task, first_of_tasks
from stages.files import write_json
from stages.models.chat import Conversation
from stages.models.open import open_model
from stages.params import Params
from stages.prompts import Prompt
from stages.records import (
    Completion,
    Exchange,
    Feedback,
    FeedbackStatus,
    Item,
    Trajectory,
    read_jsonl,
    write_jsonl,
)
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive

PARAMS = ("conditions.{condition}", "teachers.{teacher}")
PARAMS_TOLD = ("conditions.{condition}",)
PARAMS_OWN = ("conditions.{condition}", "students.{student}")
PARAMS_TRAIN = ("conditions.{condition}", "teachers.{teacher}", "grid.told")
PARAMS_GAMES = PARAMS_TRAIN
PARAMS_TRAIN_GAMES = PARAMS_TRAIN


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.feedback", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--condition", required=True, help="slug under `conditions`")
    parser.add_argument("--student", required=True, help="slug of the student")
    parser.add_argument("--seed", type=int, required=True, help="seed of the trajectories")
    parser.add_argument("--items", type=Path, required=True, help="Items (JSONL)")
    parser.add_argument("--trajectories", type=Path, required=True, help="tau_i (JSONL)")
    parser.add_argument("--template", type=Path, required=True, help="feedback prompt (Jinja)")
    parser.add_argument("--out", type=Path, required=True, help="Feedback to write (JSONL)")
    # Who is asked; none of these where nobody is.
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--teacher", help="slug under `teachers`")
    asked.add_argument("--own", action="store_true", help="the student is its own teacher")
    parser.add_argument(
        "--unless-told", action="store_true", help="ask nobody where grid.told has the condition"
    )
    add_per_task(parser)
    parser.add_argument("--model", type=Path, help="model folder of who is asked")
    parser.add_argument("--answers", type=Path, help="the teacher's own Trajectories (JSONL)")
    parser.add_argument("--calls", type=Path, help="raw answers to write (JSONL)")
    parser.add_argument("--facts", type=Path, help="run facts to write (JSON)")
    return parser


def prompts(args: argparse.Namespace) -> list[tuple[Trajectory, str | None]]:
    """Return each trajectory with the condition's text on it, None where there is none to give.

    There is none on a trajectory without a reply, nor where the teacher's own answer failed.

    A template is given the trajectory and, beyond it, only what the condition `sees`: asking for
    the target without access to it is an error, not a leak.
    """
    condition = Params(args.params, PARAMS_TOLD, condition=args.condition).get(
        "conditions.{condition}", Condition
    )
    items = {item.id: item for item in read_jsonl(args.items, Item, "id")}
    answers = _own_answers(args.answers)
    if "teacher_answer" in condition.sees and not answers:
        raise UserError(f"{args.condition} sees the teacher's answer: --answers is needed")
    template = Prompt(args.template)
    rendered: list[tuple[Trajectory, str | None]] = []
    taus = read_jsonl(args.trajectories, Trajectory, "item")
    for trajectory in first_of_tasks(taus, args.per_task):
        item = items.get(trajectory.item)
        if item is None:
            raise UserError(f"{args.trajectories}: {trajectory.item} is not in {args.items}")
        if trajectory.failed:
            rendered.append((trajectory, None))
            continue
        access: dict[str, object] = {"sentences": condition.sentences}
        if "target" in condition.sees:
            access["target"] = item.target
        if "answer_format" in condition.sees:
            access["answer_format"] = item.answer_format
        if "teacher_answer" in condition.sees:
            if trajectory.item not in answers:
                raise UserError(f"{args.answers}: no answer to {trajectory.item}")
            answer = answers[trajectory.item]
            if answer.failed:
                rendered.append((trajectory, None))
                continue
            access["teacher_answer"] = _said(answer)
        shown = turns(trajectory.exchanges)
        rendered.append((trajectory, template.render(turns=shown, **access)))
    return rendered


def _said(answer: Trajectory) -> str:
    """Return all that the teacher said, numbered where it took several turns."""
    replies = [neutralise(turn.reply.text) for turn in answer.exchanges]
    if len(replies) == 1:
        return replies[0]
    return "\n\n".join(f"Turn {n}: {reply.strip()}" for n, reply in enumerate(replies, start=1))


def _own_answers(path: Path | None) -> Mapping[str, Trajectory]:
    if path is None:
        return {}
    return {tau.item: tau for tau in read_jsonl(path, Trajectory, "item")}


def _cell(args: argparse.Namespace) -> str:
    return f"feedback/{args.condition}/{args.student}/{args.seed}"


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the teacher is shown, for each trajectory that there is something to say on."""
    return [] if _is_told(args) else _ask(args, _teacher(args), prompts(args))


def _is_told(args: argparse.Namespace) -> bool:
    """Tell whether nobody is asked, the rendered template being the feedback itself."""
    if args.unless_told:
        axes = {"condition": args.condition, "teacher": args.teacher}
        return args.condition in Params(args.params, PARAMS_TRAIN, **axes).get(
            "grid.told", tuple[str, ...]
        )
    return args.teacher is None and not args.own


def _ask(
    args: argparse.Namespace, teacher: Role, shown: Sequence[tuple[Trajectory, str | None]]
) -> list[Conversation]:
    return [
        Conversation(
            id=f"{_cell(args)}/{trajectory.item}",
            messages=opening(teacher.system, text),
            seed=derive("feedback", args.condition, args.seed, trajectory.item),
        )
        for trajectory, text in shown
        if text is not None
    ]


def _teacher(args: argparse.Namespace) -> Role:
    """Return how whoever is asked is addressed and decoded."""
    if args.own:
        params = Params(args.params, PARAMS_OWN, condition=args.condition, student=args.student)
        return params.get("students.{student}", Role)
    params = Params(args.params, PARAMS, condition=args.condition, teacher=args.teacher)
    return params.get("teachers.{teacher}", Role)


def _status(reply: Completion) -> FeedbackStatus:
    if reply.finish_reason == "stop" or reply.finish_reason == "length":
        if not reply.text.strip():
            return "empty"
        return "ok" if reply.finish_reason == "stop" else "truncated"
    return reply.finish_reason


def _record(
    args: argparse.Namespace,
    trajectory: Trajectory,
    text: str | None,
    exchange: Exchange | None = None,
) -> Feedback:
    """Return the record; what a failed or refused request says is not feedback."""
    status: FeedbackStatus = "error" if text is None else "ok"
    if exchange is not None:
        status, text = _status(exchange.reply), exchange.reply.text.strip()
    return Feedback(
        item=trajectory.item,
        suite=trajectory.suite,
        task=trajectory.task,
        split=trajectory.split,
        condition=args.condition,
        student=trajectory.model,
        teacher=None if exchange is None else args.student if args.own else args.teacher,
        seed=trajectory.seed,
        status=status,
        text=text if status in ("ok", "truncated") else None,
        exchange=exchange,
    )


def main(args: argparse.Namespace) -> None:
    """Write the feedback on every trajectory."""
    shown = prompts(args)
    if _is_told(args):
        write_jsonl(args.out, (_record(args, tau, text) for tau, text in shown))
        if args.unless_told:
            write_jsonl(args.calls, [])
            write_json(args.facts, {"cell": _cell(args)})
        return
    for flag in ("model", "calls", "facts"):
        if getattr(args, flag) is None:
            raise UserError(f"--teacher and --own need --{flag}")
    teacher = _teacher(args)
    asked = _ask(args, teacher, shown)
    cell = Run(_cell(args), lambda: open_model(args.model))
    exchanges = iter(cell.exchanges(asked, teacher.sampling))
    write_jsonl(
        args.out,
        [
            _record(args, tau, text, None if text is None else next(exchanges))
            for tau, text in shown
        ],
    )
    cell.write_answers(args.calls)
    cell.write_facts(args.facts)


if __name__ == "__main__":
    run(main, parser())
