r"""Select: what chooses one of k candidates (paper, section 5.2).

    python -m stages.select --by student --selector student_choice --params params.yaml \
        --student qwen2_7b --seed 0 --model models/qwen2_7b \
        --candidates 'data/sample/bbh/alone/qwen2_7b-0/{draw}.jsonl' \
        --template prompts/select/choice.jinja \
        --out data/select/bbh/alone/student_choice-qwen2_7b-0.jsonl \
        --calls data/calls/select/bbh/alone/student_choice-qwen2_7b-0.jsonl \
        --facts data/facts/select/bbh/alone/student_choice-qwen2_7b-0.json

"methods in which the student/teacher models select the best response with respect to the feedback,
as well as an additional techniques using the logits of the student model to determine which
response it would most likely generate". `--by logits` is the last one: log p(reply | prompt without
feedback), raw at temperature 1, end token included, which is the scoring of given text and not what
its sampling came to; an engine that cannot do that is refused. For a choice, candidates are shown
in a seeded order, with the feedback that they were conditioned on, if any. No ground truth is at
hand.
"""

import argparse
from collections.abc import Mapping, Sequence
from random import Random

from stages.asking import add_arguments
from stages.choices import Selector, letters
from stages.cli import make_parser, run
from stages.conversation import neutralise, opening, unconditioned
from stages.errors import UserError
from stages.few import add_per_task, first_of_tasks
from stages.grid import cell_path
from stages.models.chat import Conversation, Sampling
from stages.models.open import open_model
from stages.params import Params
from stages.prompts import Prompt
from stages.records import Exchange, Selection, Trajectory, read_jsonl, write_jsonl
from stages.roles import Role
from stages.running import Run
from stages.seeds import derive

PARAMS_LOGITS = ("selectors.{selector}", "grid.draws")
PARAMS_STUDENT = ("selectors.{selector}", "grid.draws", "students.{student}")
PARAMS_TEACHER = ("selectors.{selector}", "grid.draws", "teachers.{teacher}")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.select", __doc__)
    parser.add_argument("--by", required=True, choices=["logits", "student", "teacher"])
    parser.add_argument("--selector", required=True, help="slug under `selectors`")
    parser.add_argument("--student", required=True, help="slug under `students`")
    parser.add_argument("--seed", type=int, required=True, help="seed of the candidates")
    parser.add_argument("--teacher", help="slug under `teachers`, for --by teacher")
    parser.add_argument("--candidates", required=True, help="pattern over {draw} (JSONL)")
    add_per_task(parser)
    add_arguments(parser, "Selections to write (JSONL)", template=False)
    return parser


def _params(args: argparse.Namespace) -> Params:
    declared = {"logits": PARAMS_LOGITS, "student": PARAMS_STUDENT, "teacher": PARAMS_TEACHER}
    axes = {"selector": args.selector, "student": args.student, "teacher": args.teacher}
    return Params(args.params, declared[args.by], **axes)


def _role(args: argparse.Namespace) -> Role:
    """Return how whoever chooses is addressed and decoded."""
    if args.by == "teacher" and args.teacher is None:
        raise UserError("--by teacher needs --teacher")
    key = "teachers.{teacher}" if args.by == "teacher" else "students.{student}"
    return _params(args).get(key, Role)


def sampling(args: argparse.Namespace) -> Sampling:
    """Return how choices are decoded: as the chooser always is, perhaps with another limit."""
    selector = _params(args).get("selectors.{selector}", Selector)
    return _role(args).sampling.limited(selector.max_new_tokens)


def read_candidates(args: argparse.Namespace) -> dict[str, dict[int, Trajectory]]:
    """Return the candidates of each item by draw, for all draws of the grid.

    Raises:
        UserError: a draw is missing, or is over other items than the first.
    """
    found: dict[str, dict[int, Trajectory]] = {}
    draws = _params(args).get("grid.draws", list[int])
    for draw in draws:
        path = cell_path("--candidates", args.candidates, {"draw": draw})
        taus = first_of_tasks(read_jsonl(path, Trajectory, "item"), args.per_task)
        if found and {tau.item for tau in taus} != found.keys():
            raise UserError(f"{path}: not the items of the first draw")
        for tau in taus:
            found.setdefault(tau.item, {})[draw] = tau
    return found


def _cell(args: argparse.Namespace, candidates: Mapping[str, Mapping[int, Trajectory]]) -> str:
    conditions = {tau.condition for by_draw in candidates.values() for tau in by_draw.values()}
    pool = "-".join(sorted(condition or "alone" for condition in conditions))
    return f"select/{args.selector}/{pool}/{args.student}/{args.seed}"


def shown(args: argparse.Namespace, by_draw: Mapping[int, Trajectory]) -> tuple[int, ...]:
    """Return the draws that there is something to choose between, in the order shown.

    Left out are candidates without a reply. Where all replies to be chosen from are the same text,
    the first one stands for them.
    """
    draws = [draw for draw, tau in by_draw.items() if not tau.failed]
    if args.by == "logits":
        return tuple(draws)
    if len({by_draw[draw].last.text for draw in draws}) == 1:
        return (draws[0],)
    tau = next(iter(by_draw.values()))
    order = derive("select", tau.condition, tau.model, tau.seed, tau.item)
    return tuple(Random(order).sample(draws, len(draws)))


def conversations(args: argparse.Namespace) -> list[Conversation]:
    """Return what the chooser is shown; by logits, what the student's replies answer."""
    candidates = read_candidates(args)
    if args.by == "logits":
        return [conversation for conversation, _ in _scored(args, candidates)]
    return list(_ask(args, candidates).values())


def _ask(
    args: argparse.Namespace, candidates: Mapping[str, Mapping[int, Trajectory]]
) -> dict[str, Conversation]:
    """Return the question about each item that has candidates to choose between."""
    if args.template is None:
        raise UserError(f"--by {args.by} needs --template")
    template, role = Prompt(args.template), _role(args)
    cell = _cell(args, candidates)
    asked = {}
    for item, by_draw in candidates.items():
        order = shown(args, by_draw)
        if len(order) < 2:
            continue
        first = by_draw[order[0]]
        messages = first.exchanges[-1].messages
        task = unconditioned(messages)
        # After the task COMBINE goes on with the student's own answer and the feedback on it.
        original = messages[len(task)].content if len(messages) > len(task) else None
        text = template.render(
            task=task[-1].content,
            original=original,
            feedback=None if first.feedback is None else neutralise(first.feedback),
            candidates=[
                {"letter": letter, "reply": neutralise(by_draw[draw].last.text)}
                for letter, draw in zip(letters(len(order)), order, strict=True)
            ],
            letters=letters(len(order)),
        )
        asked[item] = Conversation(
            id=f"{cell}/{item}",
            messages=opening(role.system, text),
            seed=derive("select", args.selector, first.condition, args.seed, item),
        )
    return asked


def _scored(
    args: argparse.Namespace, candidates: Mapping[str, Mapping[int, Trajectory]]
) -> list[tuple[Conversation, str]]:
    """Return each candidate with a reply as the prompt without feedback, and the reply."""
    cell = _cell(args, candidates)
    return [
        (
            Conversation(
                id=f"{cell}/{item}/{draw}",
                messages=unconditioned(by_draw[draw].exchanges[-1].messages),
                seed=0,
            ),
            by_draw[draw].last.text,
        )
        for item, by_draw in candidates.items()
        for draw in shown(args, by_draw)
    ]


def main(args: argparse.Namespace) -> None:
    """Write what selects a candidate of each item."""
    candidates = read_candidates(args)
    cell = Run(_cell(args, candidates), lambda: open_model(args.model))
    records: list[Selection] = []
    if args.by == "logits":
        pairs = _scored(args, candidates)
        scores = iter(cell.score([pair[0] for pair in pairs], [pair[1] for pair in pairs]))
        for by_draw in candidates.values():
            own = [next(scores) for _ in shown(args, by_draw)]
            logprobs = tuple(round(score.logprob, 4) for score in own)
            tokens = tuple(score.tokens for score in own)
            records.append(_record(args, by_draw, logprobs=logprobs, tokens=tokens))
    else:
        asked = _ask(args, candidates)
        replies = cell.exchanges(list(asked.values()), sampling(args))
        exchanges: Mapping[str, Exchange] = dict(zip(asked, replies, strict=True))
        records += [
            _record(args, by_draw, exchange=exchanges.get(item))
            for item, by_draw in candidates.items()
        ]
    write_jsonl(args.out, records)
    cell.write_answers(args.calls)
    cell.write_facts(args.facts)


def _record(
    args: argparse.Namespace,
    by_draw: Mapping[int, Trajectory],
    *,
    logprobs: Sequence[float] | None = None,
    tokens: Sequence[int] | None = None,
    exchange: Exchange | None = None,
) -> Selection:
    tau = next(iter(by_draw.values()))
    return Selection(
        item=tau.item,
        suite=tau.suite,
        task=tau.task,
        split=tau.split,
        selector=args.selector,
        condition=tau.condition,
        student=tau.model,
        chooser=args.teacher if args.by == "teacher" else args.student,
        seed=tau.seed,
        draws=shown(args, by_draw),
        logprobs=None if logprobs is None else tuple(logprobs),
        tokens=None if tokens is None else tuple(tokens),
        exchange=exchange,
    )


if __name__ == "__main__":
    run(main, parser())
