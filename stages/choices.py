"""Best-of-k (paper, section 5.2): who chooses among the candidates, and what the choice was."""

import re
from string import ascii_uppercase
from typing import Literal

from pydantic import Field

from stages.params import Section
from stages.records import Choice, Selection

_WORD = r"(?:answer|candidate|choice|one|option|response)"
# How a reply begins that names a letter: "A better answer" names none.
_NAMED = re.compile(
    r"[\W_]*(?:I(?:\s+would)?\s+(?:choose|pick|select)\s+)?"
    rf"(?:(?:(?:the|my)\s+)?(?:(?:best|better|correct)\s+)?{_WORD}(?:\s+is)?\b[\W_]*)?"
    rf"(?:{_WORD}\b[\W_]*)?"
    r"([A-Z])(?:[\W_]*?$|[)\].:*]+\s|[\s,–—-]+(?:because|is|since)\b)",
    re.IGNORECASE | re.MULTILINE,
)

MOST_CANDIDATES = len(ascii_uppercase)


class Selector(Section):
    """One way to select.

    `reduce` is for the student's logits: the mean over a reply's tokens, or their sum.
    `max_new_tokens` bounds the reply of whoever chooses, null for the model's own limit.
    """

    reduce: Literal["mean", "sum"] | None = None
    max_new_tokens: int | None = Field(default=None, ge=1)


def letters(count: int) -> str:
    """Return the names of so many candidates. Raises ValueError where the alphabet ends."""
    if count > MOST_CANDIDATES:
        raise ValueError(f"{count} candidates, and letters for {MOST_CANDIDATES}")
    return ascii_uppercase[:count]


def values(selector: Selector, selection: Selection) -> tuple[float, ...]:
    """Return what the student's logits give each candidate, in the order of its draws."""
    if selection.logprobs is None or selection.tokens is None:
        raise ValueError(f"{selection.item}: not a selection by logits")
    if selector.reduce == "sum":
        return selection.logprobs
    return tuple(
        total / tokens for total, tokens in zip(selection.logprobs, selection.tokens, strict=True)
    )


def chosen(selector: Selector, selection: Selection) -> tuple[int | None, Choice]:
    """Return the draw that is selected, and how that came about.

    The reply begins by naming the candidate; where it names none, the first one shown is selected
    (the order is shuffled). Where no candidate had a reply, nothing is.
    """
    if not selection.draws:
        return None, "none"
    if selection.logprobs is not None:
        by_value = dict(zip(selection.draws, values(selector, selection), strict=True))
        return max(selection.draws, key=lambda draw: (by_value[draw], -draw)), "likeliest"
    if selection.exchange is None:
        return selection.draws[0], "only"
    named = _NAMED.match(selection.exchange.reply.text)
    place = letters(len(selection.draws)).find(named[1].upper()) if named else -1
    if place < 0:
        return selection.draws[0], "unreadable"
    return selection.draws[place], "named"
