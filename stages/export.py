r"""Export: the same trajectories as training data of other methods (a command, no stage).

    python -m stages.export --format sdpo --trajectories data/respond_train/bbh/qwen2_7b-0.jsonl \
        --feedback data/feedback_train/bbh/qwen2_7b-0.jsonl \
        --retries data/revise_train/bbh/qwen2_7b-0.jsonl --out sdpo.jsonl
    python -m stages.export --format all ... --template prompts/export/critique.jinja --out FOLDER

sdpo: `prompt` and `privileged_context` (the feedback), for TRL's SDPOTrainer with
include_environment_feedback. critique: Critique Fine-Tuning: `prompt` shows the task and the
student's answer (`--template` says how), `completion` is the feedback. chat: `messages`, the whole
conversation of tau_f, feedback and all. dpo: `prompt`, `chosen` (tau_f) and `rejected` (tau_i). All
in conversational form, each line with its `item`. Items without feedback, and in dpo without two
different answers, are left out and counted, and so are replies that failed, were empty or were cut.
"""

import argparse
import sys
from pathlib import Path

from stages.cli import make_parser, run
from stages.conversation import neutralise, opening
from stages.errors import UserError
from stages.files import whole_folder
from stages.joining import by_item
from stages.prompts import Prompt
from stages.records import Feedback, Message, Record, Trajectory, read_jsonl, write_jsonl
from stages.targets import same, tried_again, unfit

FORMATS = ("sdpo", "critique", "chat", "dpo")


class Privileged(Record):
    """A line for TRL's SDPOTrainer."""

    item: str
    prompt: tuple[Message, ...]
    privileged_context: str


class Critique(Record):
    """A line for Critique Fine-Tuning."""

    item: str
    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]


class Chat(Record):
    """A whole conversation."""

    item: str
    messages: tuple[Message, ...]


class Preferred(Record):
    """A line for DPO."""

    item: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser("stages.export", __doc__)
    parser.add_argument("--format", required=True, choices=[*FORMATS, "all"])
    parser.add_argument("--trajectories", type=Path, required=True, help="tau_i (JSONL)")
    parser.add_argument("--feedback", type=Path, required=True, help="f on each tau_i (JSONL)")
    parser.add_argument("--retries", type=Path, required=True, help="tau_f (JSONL)")
    parser.add_argument("--template", type=Path, help="prompt of critique (Jinja)")
    parser.add_argument("--out", type=Path, required=True, help="file, or with all a folder")
    return parser


Triple = tuple[Trajectory, Feedback, Trajectory]


def _read(args: argparse.Namespace) -> list[Triple]:
    taus = read_jsonl(args.trajectories, Trajectory, "item")
    known = [tau.item for tau in taus]
    feedback = by_item(args.feedback, Feedback, known, args.trajectories)
    retries = by_item(args.retries, Trajectory, known, args.trajectories)
    for tau in taus:
        retry = retries[tau.item]
        if len(tau.exchanges) > 1 or len(retry.exchanges) > 1:
            raise UserError(f"{args.trajectories}: {tau.item} has more than one turn")
        if not tried_again(tau, retry) or retry.feedback != feedback[tau.item].text:
            raise UserError(
                f"{args.retries}: {tau.item}: another answer or other feedback than in "
                f"{args.trajectories} and {args.feedback}"
            )
    return [(tau, feedback[tau.item], retries[tau.item]) for tau in taus]


def _says(text: str) -> tuple[Message]:
    return (Message(role="assistant", content=neutralise(text)),)


def _usable(tau: Trajectory) -> bool:
    return unfit(tau.last) is None


def line(kind: str, triple: Triple, template: Prompt | None) -> Record | None:
    """Return the line of an item in a format, None where it is of no use there.

    Raises:
        UserError: critique has no template.
    """
    tau, feedback, retry = triple
    item, prompt, answer = tau.item, tau.exchanges[0].messages, tau.last.text
    if feedback.text is None:
        return None
    if kind == "sdpo":
        return Privileged(item=item, prompt=prompt, privileged_context=neutralise(feedback.text))
    if kind == "critique":
        if template is None:
            raise UserError("critique needs --template")
        if feedback.status != "ok" or not answer.strip():
            return None
        system = prompt[0].content if prompt[0].role == "system" else None
        shown = template.render(task=prompt[-1].content, reply=neutralise(answer))
        return Critique(item=item, prompt=opening(system, shown), completion=_says(feedback.text))
    if not _usable(retry):
        return None
    if kind == "chat":
        messages = (*retry.exchanges[0].messages, *_says(retry.last.text))
        return Chat(item=item, messages=messages)
    if not _usable(tau) or same(tau.last, retry.last):
        return None
    return Preferred(
        item=item, prompt=prompt, chosen=_says(retry.last.text), rejected=_says(answer)
    )


def main(args: argparse.Namespace) -> None:
    """Write the file, or all of them."""
    triples = _read(args)
    template = None if args.template is None else Prompt(args.template)
    kinds = FORMATS if args.format == "all" else (args.format,)
    found: dict[str, list[Record]] = {
        kind: [row for one in triples if (row := line(kind, one, template))] for kind in kinds
    }
    if args.format == "all":
        _write_folder(args.out, found)
    else:
        write_jsonl(args.out, found[args.format])
    for kind, rows in found.items():
        print(f"{kind}: {len(rows)} of {len(triples)} items", file=sys.stderr)


def _write_folder(out: Path, found: dict[str, list[Record]]) -> None:
    names = {f"{kind}.jsonl" for kind in found}
    if out.is_dir() and (other := sorted({path.name for path in out.iterdir()} - names)):
        raise UserError(f"{out}: would be replaced, but {other[0]} is there")
    with whole_folder(out) as folder:
        for kind, rows in found.items():
            write_jsonl(folder / f"{kind}.jsonl", rows)


if __name__ == "__main__":
    run(main, parser())
