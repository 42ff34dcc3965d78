"""What one item teaches under a training method (paper, section 5.3), or why it teaches nothing.

SFT has one example for each exchange (state -> action) of the target that can be learnt, as the
product in section 2 says. DPO has one for the first action in which target and original differ, the
states up to there being equal. The states are always those of the student that has had no feedback.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stages.cleaning import Taken
from stages.conversation import neutralise
from stages.errors import UserError
from stages.records import Exchange, Item, Message, Trajectory
from stages.targets import Example, Reason, Right, demonstration, preference, same, unfit
from stages.tasks.grade import Grader
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
        cleaned: the texts of tau_f without their artefacts.
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
    method: Method, material: Material, grader: Grader, lessons: Lessons
) -> list[Example] | Reason:
    """Return what the item teaches, or why nothing; there is at least one example.

    Raises:
        UserError: an exchange of the target is neither of its first conversation nor of a new one.
    """
    original, right, cut = material.original, material.right, lessons.keep_truncated
    environment = original.task if lessons.models == "per_environment" else None
    if original.failed and (method.objective == "dpo" or method.target != "teacher"):
        return "original_failed"
    if not (method.negative_sampling and right is not None):
        target = _target(method, material)
    elif method.keep_correct_originals and right != "not_run":
        target = original
    else:
        return right
    if not isinstance(target, Trajectory):
        return target
    if method.only_solved_targets:
        [grade] = grader.grades([(material.item, target)])
        if not grade.solved:
            return "not_run" if grade.outcome == "not_run" else "target_wrong"
    reasons: list[Reason | None] = [unfit(turn.reply, cut) for turn in target.exchanges]
    if method.target == "cleaned" and target is not original:
        refused = _refused(material.cleaned)
        reasons = [
            why or (refused if text is None else None)
            for why, text in zip(reasons, material.cleaned.texts, strict=True)
        ]
    found: list[Example] | Reason
    if method.objective == "sft":
        found = [
            demonstration(original, state, exchange.reply, environment)
            for state, exchange, why in zip(
                _states(original, target), target.exchanges, reasons, strict=True
            )
            if why is None
        ]
    else:
        found = _preferred(original, target, reasons, cut, environment)
    return found or next(why for why in reasons if why is not None)


def _preferred(
    original: Trajectory,
    target: Trajectory,
    reasons: list[Reason | None],
    cut: bool,
    environment: str | None,
) -> list[Example] | Reason:
    """Return the preference at the first action that differs, or why there is none."""
    for state, own, other, why in zip(
        _states(original, target), original.exchanges, target.exchanges, reasons, strict=False
    ):
        if state != own.messages:
            return "states_differ"
        if not same(own.reply, other.reply):
            if why is not None:
                return why
            if own.reply.finish_reason == "length" and not cut:
                return "original_truncated"
            if own.reply.failed:
                return "original_failed"
            return [preference(original, state, other.reply, own.reply, environment)]
    return "identical"


def _target(method: Method, material: Material) -> Trajectory | Reason:
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
    return _with_texts(retry, material.cleaned.texts)


def _refused(cleaned: Taken) -> Reason:
    return "answer_changed" if cleaned.status == "answer_changed" else "not_cleaned"


def _with_texts(tau: Trajectory, texts: tuple[str | None, ...]) -> Trajectory:
    """Return a trajectory whose replies are these, where there is one, in later states too."""
    opening = len(tau.exchanges[0].messages)
    said: list[str] = []
    exchanges: list[Exchange] = []
    for turn, text in zip(tau.exchanges, texts, strict=True):
        # The n-th reply behind the opening is that of the n-th turn.
        before = iter(said)
        messages = tuple(
            message.model_copy(update={"content": next(before)})
            if place >= opening and message.role == "assistant"
            else message
            for place, message in enumerate(turn.messages)
        )
        reply = turn.reply if text is None else turn.reply.model_copy(update={"text": text})
        said.append(neutralise(reply.text))
        exchanges.append(turn.model_copy(update={"messages": messages, "reply": reply}))
    return tau.model_copy(update={"exchanges": tuple(exchanges)})


def _states(original: Trajectory, target: Trajectory) -> Iterator[tuple[Message, ...]]:
    """Yield what the student would be shown before each action of the target.

    Where the target began (the teacher's prompt, or COMBINE's) the student's own begin stands. A
    conversation of its own (Taboo's guess) has the student's system prompt.
    """
    begin = target.exchanges[0].messages
    own = original.exchanges[0].messages
    for number, exchange in enumerate(target.exchanges, start=1):
        if exchange.messages[: len(begin)] == begin:
            yield (*own, *exchange.messages[len(begin) :])
        elif all(message.role != "assistant" for message in exchange.messages):
            system = tuple(message for message in own if message.role == "system")
            yield (*system, *(m for m in exchange.messages if m.role != "system"))
        else:
            raise UserError(f"{target.item}: exchange {number} does not go on from the first one")
