"""Response cleaning (paper, section 5.3): whether what the teacher wrote is taken.

"We employ an additional post processing step using the teacher to remove these noise aspects". A
teacher that also corrects the answer would turn this into imitation, so the answer must stay: for
questions, both extractors read the same before and after (where there was no answer in the asked
form, none may be there after: Feedback SFT, with which it is compared, also trains on such texts);
in an environment, each reply is the same action still.
"""

from typing import Literal, NamedTuple

from stages.conversation import neutralise
from stages.records import Cleaning, Completion, Exchange, Item, Trajectory
from stages.tasks.grade import Grader

Status = Literal["cleaned", "same", "answer_changed", "nothing", "truncated", "empty", "failed"]


class Taken(NamedTuple):
    """What comes of a cleaning.

    `status` as in `records.Fidelity`; `texts` has one for each reply of the trajectory, None where
    it is refused or there was none.
    """

    status: Status
    texts: tuple[str | None, ...]


def take(cleaning: Cleaning, retry: Trajectory, item: Item, grader: Grader) -> Taken:
    """Return the cleaned texts of a feedback-conditioned trajectory, or why there are none.

    A trajectory of several turns counts as cleaned if any of its replies is.
    """
    if not cleaning.exchanges:
        return Taken("nothing", (None,) * len(retry.exchanges))
    found = [
        _take(cleaned, turn.reply, item, number, grader)
        for number, (cleaned, turn) in enumerate(
            zip(cleaning.exchanges, retry.exchanges, strict=True)
        )
    ]
    statuses = [status for status, _ in found]
    order: tuple[Status, ...] = (
        *("cleaned", "same", "answer_changed", "truncated", "empty", "failed", "nothing"),
    )
    return Taken(next(s for s in order if s in statuses), tuple(text for _, text in found))


def _take(
    cleaned: Exchange | None, own: Completion, item: Item, number: int, grader: Grader
) -> tuple[Status, str | None]:
    if cleaned is None:
        return "nothing", None
    reply = cleaned.reply
    if reply.failed:
        return "failed", None
    if reply.finish_reason == "length":
        return "truncated", None
    text = reply.text.strip()
    if not text:
        return "empty", None
    shown = neutralise(own.text).strip()
    if not grader.kept(item, number, shown, neutralise(text)):
        return "answer_changed", None
    return "same" if text == shown else "cleaned", text
