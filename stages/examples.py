"""What one item teaches under a training method (paper, section 5.3), or why it teaches nothing.

SFT has one example for each exchange (state -> action) of the target, as the product in section 2
says. DPO has one for the first action in which target and original differ, the states up to there
being equal. The states are always those of the student that has had no feedback.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stages.cleaning import Taken
from stages.errors import UserError
from stages.records import Item, Message, Trajectory
from stages.targets import Example, Reason, Right, demonstration, preference, same, unfit
from stages.tasks.extraction import Rules
from stages.training.config import Lessons, Method

ARMS = (
    Method(objective="dpo", target="teacher", negative_sampling=True),
    Method(objective="dpo", target="retry", negative_sampling=True),
    Method(objective="sft", target="teacher", negative_sampling=True),
    Method(objective="sft", target="retry", negative_sampling=True),
    Method(objective="sft", target="cleaned", negative_sampling=True),
)
"""The rows of Table 5, negative sampling applied to all: whom `match_n` makes agree."""


@dataclass(frozen=True)
class Material:
    """All that there is on one train item.

    Attributes:
        item: with the target, which only grading reads.
        original: the student's trajectory tau_i.
        answer: the teacher's own trajectory.
        retry: the student's tau_f.
        cleaned: the text of tau_f without its artefacts.
        right: by whom the original is called right already, so that negative sampling removes it;
            None if it is not.
    """

    item: Item
    original: Trajectory
    answer: Trajectory
    retry: Trajectory
    cleaned: Taken
    right: Right | None


def examples(
    method: Method, material: Material, rules: Rules, lessons: Lessons
) -> list[Example] | Reason:
    """Return what the item teaches, or why nothing; there is at least one example.

    Raises:
        UserError: two exchanges of the target are not of one conversation.
    """
    original, right, cut = material.original, material.right, lessons.keep_truncated
    environment = original.task if lessons.models == "per_environment" else None
    if original.failed and (method.objective == "dpo" or method.target != "teacher"):
        return "original_failed"
    if not (method.negative_sampling and right is not None):
        target = _target(method, material, cut)
    elif method.keep_correct_originals:
        target = original
    else:
        return right
    if not isinstance(target, Trajectory):
        return target
    if bad := unfit(target, cut):
        return bad
    if method.only_solved_targets and not rules.grade(material.item, target.last.text).solved:
        return "target_wrong"
    if method.objective == "sft":
        return [
            demonstration(original, state, exchange.reply, environment)
            for state, exchange in zip(_states(original, target), target.exchanges, strict=True)
        ]
    for state, own, other in zip(
        _states(original, target), original.exchanges, target.exchanges, strict=False
    ):
        if state != own.messages:
            break
        if not same(own.reply, other.reply):
            if own.reply.finish_reason == "length" and not cut:
                return "original_truncated"
            return [preference(original, state, other.reply, own.reply, environment)]
    return "identical"


def _target(method: Method, material: Material, cut: bool) -> Trajectory | Reason:
    """Return the trajectory to learn, every reply as it came but for what was cleaned."""
    if method.target == "teacher":
        return "teacher_failed" if material.answer.failed else material.answer
    retry = material.retry
    if retry.kept_original is not None:
        return "kept_original"
    if retry.failed:
        return "target_failed"
    if method.target == "retry":
        return retry
    if bad := unfit(retry, cut):
        return bad
    status, text = material.cleaned
    if text is None:
        return "answer_changed" if status == "answer_changed" else "not_cleaned"
    *before, last = retry.exchanges
    cleaned = last.model_copy(update={"reply": last.reply.model_copy(update={"text": text})})
    return retry.model_copy(update={"exchanges": (*before, cleaned)})


def _states(original: Trajectory, target: Trajectory) -> Iterator[tuple[Message, ...]]:
    """Yield what the student would be shown before each action of the target.

    Where the target began (the teacher's prompt, or COMBINE's) the student's own begin stands.
    """
    begin = target.exchanges[0].messages
    for number, exchange in enumerate(target.exchanges, start=1):
        if exchange.messages[: len(begin)] != begin:
            raise UserError(f"{target.item}: exchange {number} does not go on from the first one")
        yield (*original.exchanges[0].messages, *exchange.messages[len(begin) :])
