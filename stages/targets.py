"""What may be learnt at all, and how an example is written: what all training data share."""

from typing import Literal, TypeAlias

from stages.conversation import combine, neutralise
from stages.records import Completion, Demonstration, Message, Preference, Trajectory

Right = Literal["already_right", "judged_right", "not_run"]
"""Who called an original answer right; of a program without a sandbox, nobody can tell."""
Reason: TypeAlias = (
    Right
    | Literal[
        "original_failed",  # no reply of the student's to prefer to, or to give feedback on
        "original_truncated",  # cut by the token limit, so that its end is none
        "teacher_failed",
        "kept_original",  # no feedback, hence no retry
        "target_failed",
        "target_truncated",
        "target_empty",
        "target_wrong",  # only_solved_targets
        "answer_changed",  # by cleaning
        "not_cleaned",  # the teacher gave no whole text
        "identical",  # nothing to prefer
        "states_differ",  # before any action does: another game was played
        "not_matched",  # match_n: of no use to another arm
        "retry_failed",  # feedback-following: the student's
        "retry_truncated",
    ]
)
Example = Demonstration | Preference


def unfit(reply: Completion, cut: bool = False) -> Reason | None:
    """Return why a reply cannot be a target, None if it can.

    A reply cut by the token limit has no end; trained on, it gets one in mid-sentence, which is
    right only where `cut` ones are wanted.
    """
    if reply.failed:
        return "target_failed"
    if reply.finish_reason == "length" and not cut:
        return "target_truncated"
    return None if reply.text.strip() else "target_empty"


def same(one: Completion, other: Completion) -> bool:
    """Tell whether two replies are one to the reader."""
    return one.text.strip() == other.text.strip()


def tried_again(original: Trajectory, retry: Trajectory) -> bool:
    """Tell whether `retry` is of this very original, and not of another run."""
    if retry.kept_original is not None:
        return retry.exchanges == original.exchanges
    shown = retry.exchanges[0].messages
    return shown[:-1] == combine(original.exchanges, "")[:-1]


def demonstration(
    tau: Trajectory, state: tuple[Message, ...], reply: Completion, environment: str | None
) -> Demonstration:
    """Return an example of SFT on the item of `tau`."""
    return Demonstration(
        item=tau.item,
        task=tau.task,
        environment=environment,
        prompt=state,
        completion=(_says(reply),),
    )


def preference(
    tau: Trajectory,
    state: tuple[Message, ...],
    chosen: Completion,
    rejected: Completion,
    environment: str | None,
) -> Preference:
    """Return an example of DPO on the item of `tau`."""
    return Preference(
        item=tau.item,
        task=tau.task,
        environment=environment,
        prompt=state,
        chosen=(_says(chosen),),
        rejected=(_says(rejected),),
    )


def _says(reply: Completion) -> Message:
    # A control token that the model spelled out would be a real one in training.
    return Message(role="assistant", content=neutralise(reply.text))
