"""Response cleaning (paper, section 5.3): whether what the teacher wrote is taken.

"We employ an additional post processing step using the teacher to remove these noise aspects". A
teacher that also corrects the answer would turn this into imitation, so the answer must stay: both
extractors read the same before and after. Where there was no answer in the asked form, none may be
there after, and what the tolerant extractor reads must be the same still; such a text is taken,
since Feedback SFT, with which it is compared, also trains on it.
"""

from typing import Literal, NamedTuple

from stages.conversation import neutralise
from stages.records import Cleaning, Item, Trajectory
from stages.tasks.extraction import Rules

Status = Literal["cleaned", "same", "answer_changed", "nothing", "truncated", "empty", "failed"]


class Taken(NamedTuple):
    """What comes of a cleaning; `status` as in `records.Fidelity`, `text` None where refused."""

    status: Status
    text: str | None


def take(cleaning: Cleaning, retry: Trajectory, item: Item, rules: Rules) -> Taken:
    """Return the cleaned text of a feedback-conditioned trajectory of one exchange, or why not."""
    if cleaning.exchange is None:
        return Taken("nothing", None)
    reply = cleaning.exchange.reply
    if reply.failed:
        return Taken("failed", None)
    if reply.finish_reason == "length":
        return Taken("truncated", None)
    text = reply.text.strip()
    if not text:
        return Taken("empty", None)
    shown = neutralise(retry.last.text).strip()
    before, after = (rules.grade(item, words) for words in (shown, neutralise(text)))
    if (before.strict, before.tolerant) != (after.strict, after.tolerant):
        return Taken("answer_changed", None)
    return Taken("same" if text == shown else "cleaned", text)
