"""Error identification (paper, section 5.1.1): how verdicts are asked for, and what they mean."""

import re
from typing import Literal

from pydantic import Field

from stages.params import Section
from stages.records import Judgement

_CORRECT = re.compile(r"""\b(?:is_)?correct["'`]?\s*:\s*["'`]?(true|false)\b""", re.IGNORECASE)
_IN_WORDS = re.compile(
    r"\b(?:is|was)((?:n['’]t)?(?:\s+(?:not|indeed|also|quite|almost|\w+ly))*)"
    r"\s+(correct|right|incorrect|wrong)\b(?!\s+(?:answer|reasoning|that)\b)",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"n['’]t|\bnot\b", re.IGNORECASE)
_IN_PART = re.compile(r"\b(?:partially|partly|nearly|almost|hardly)\b", re.IGNORECASE)
_BY_ITSELF = re.compile(r"\W*(correct|incorrect)\W*", re.IGNORECASE)
_OPT_OUT = "no feedback needed"
# A sentence ends where white space follows its full stop, or at the end of a line.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")


class Verdict(Section):
    """One way to ask; its key in params names its template and its cells.

    `reads` is how the reply is read: `json` looks for {"correct": true} or false, `words` also
    takes "is correct", "is not correct", "Incorrect." and the like (for teachers too small to write
    JSON), `opt_out` looks for the words by which the teacher declines to give feedback. `sentences`
    is the length of feedback that it is asked for, null for no limit; `max_new_tokens` bounds the
    reply, null for the teacher's own limit.
    """

    reads: Literal["json", "words", "opt_out"]
    sentences: int | None = Field(ge=1)
    max_new_tokens: int | None = Field(ge=1)


def says_correct(verdict: Verdict, judgement: Judgement) -> bool | None:
    """Return whether the teacher took the answer for correct, None where that cannot be told.

    Of several verdicts the last one counts, JSON before words. The opt-out counts in the first or
    the last sentence only, since feedback may also speak of it. Where the student gave no reply,
    there is nothing that the teacher could have taken for correct.
    """
    if judgement.exchange is None:
        return False
    reply = judgement.exchange.reply
    if reply.failed:
        return None
    if verdict.reads != "opt_out":
        if found := _CORRECT.findall(reply.text):
            return bool(found[-1].casefold() == "true")
        return _in_words(reply.text) if verdict.reads == "words" else None
    text = reply.text.strip()
    if not text:
        return None
    sentences = _SENTENCE_END.split(text)
    return any(_OPT_OUT in sentence.casefold() for sentence in (sentences[0], sentences[-1]))


def _in_words(text: str) -> bool | None:
    """Return what is said last; an answer that is right in part is not correct."""
    text = text.replace("*", "")
    if said := _IN_WORDS.findall(text):
        before, word = said[-1]
        if _IN_PART.search(before):
            return False
        return (word.casefold() in ("correct", "right")) != bool(_NEGATED.search(before))
    first = _BY_ITSELF.fullmatch(_SENTENCE_END.split(text.strip())[0])
    return None if first is None else first[1].casefold() == "correct"
