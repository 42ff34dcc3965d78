"""Figure 1 (paper, section 1): an answer, the feedback on it, and the revision, as they were said.

What changed is marked word by word: struck out in the answer what the revision lacks, bold and
underlined in the revision what the answer lacks.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from stages.errors import UserError
from stages.records import Completion, Feedback, Trajectory
from stages.reporting import latex

# Words of a text that a page has room for, beside three others as long.
_SHOWN = 150
_WORD = re.compile(r"\S+|\n")


class Word(NamedTuple):
    """A word, or the end of a line; whether the other text lacks it."""

    text: str
    changed: bool


class Example(NamedTuple):
    """A student's answer, of any number of turns, the feedback on it, and the retry after it."""

    first: Trajectory
    feedback: Feedback
    revision: Trajectory

    @property
    def differ(self) -> bool:
        """Whether answer, feedback and revision say three things, none of them nothing."""
        said = {
            self.first.exchanges[0].reply.text.strip(),
            (self.feedback.text or "").strip(),
            self.revision.exchanges[0].reply.text.strip(),
        }
        return len(said - {""}) == 3


def differences(before: str, after: str) -> tuple[list[Word], list[Word]]:
    """Return the words of both texts, those marked that are not in their longest common part."""
    first, second = _WORD.findall(before), _WORD.findall(after)
    kept: tuple[set[int], set[int]] = (set(), set())
    for block in SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks():
        kept[0].update(range(block.a, block.a + block.size))
        kept[1].update(range(block.b, block.b + block.size))
    one, two = (
        [Word(text, place not in own) for place, text in enumerate(words)]
        for words, own in zip((first, second), kept, strict=True)
    )
    return one, two


def to_tex(
    example: Example,
    labels: Mapping[str, str],
    scale: str,
) -> str:
    """Return the figure as LaTeX, at most 345 pt wide and a page high.

    Args:
        example: what is shown.
        labels: printed names of models and conditions.
        scale: its name.

    Raises:
        UserError: the three are not about one item, student and seed, or the revision follows
            another feedback.
    """
    first, feedback, revision = example
    about = {
        (first.item, first.model, first.seed),
        (feedback.item, feedback.student, feedback.seed),
        (revision.item, revision.model, revision.seed),
    }
    if len(about) > 1:
        raise UserError(f"Figure 1: {first.item}: answer, feedback and retry are not of one cell")
    if revision.feedback != feedback.text:
        raise UserError(f"Figure 1: {first.item}: the retry follows another feedback")
    told = (
        rf"\emph{{(none: {latex.escape(feedback.status)})}}"
        if feedback.text is None
        else _typeset(_plain(feedback.text))
    )
    turns = [
        # The feedback is on the description; the guess follows it in a conversation of its own.
        _turn(*pair, compared=place == 0)
        for place, pair in enumerate(
            zip_longest(
                [exchange.reply for exchange in first.exchanges],
                [exchange.reply for exchange in revision.exchanges],
            )
        )
    ]
    return latex.render(
        Path(__file__).with_name("figure1.tex.jinja"),
        task=_typeset(_plain(first.exchanges[0].messages[-1].content)),
        answers=[answer for answer, _ in turns if answer is not None],
        feedback=told,
        revisions=[revised for _, revised in turns if revised is not None],
        student=labels.get(first.model, first.model),
        teacher=labels.get(str(feedback.teacher), feedback.teacher),
        condition=labels.get(feedback.condition, feedback.condition),
        seed=first.seed,
        scale=scale,
    )


def _turn(
    answer: Completion | None, revised: Completion | None, compared: bool
) -> tuple[str | None, str | None]:
    """Return one turn of answer and revision as LaTeX; None where one has no such turn."""
    if answer is None or revised is None or not compared:
        first, second = (
            None if reply is None else _reply(reply, _plain(reply.text), "")
            for reply in (answer, revised)
        )
        return first, second
    before, after = differences(answer.text, revised.text)
    return _reply(answer, before, r"\sout"), _reply(revised, after, r"\textbf\uline")


def _plain(text: str) -> list[Word]:
    return [Word(word, changed=False) for word in _WORD.findall(text)]


def _reply(reply: Completion, words: Sequence[Word], mark: str) -> str:
    """Return a reply as LaTeX, with why it ended where that was not by itself."""
    if reply.failed:
        return rf"\emph{{(no reply: {latex.escape(reply.finish_reason)})}}"
    text = _typeset(words, mark)
    return text + (r" \emph{(cut by the token limit)}" if reply.finish_reason == "length" else "")


def _typeset(words: Sequence[Word], mark: str = "") -> str:
    """Return words as LaTeX, the first of them if they are many, changed ones under a mark."""
    lines: list[list[str]] = [[]]
    for text, changed in words[:_SHOWN]:
        if text == "\n":
            lines.append([])
        else:
            lines[-1].append(_marked(latex.pieces(text), mark if changed else ""))
    if left := sum(word.text != "\n" for word in words[_SHOWN:]):
        lines[-1].append(rf"\emph{{[\num{{{left}}} more words]}}")
    return "\\par\n".join(" ".join(line) for line in lines if line)


def _marked(parts: Iterable[str], mark: str) -> str:
    """Return the pieces of a word, each under a mark by itself: a mark is not broken over lines."""
    if mark == r"\textbf\uline":
        parts = [rf"\textbf{{\uline{{{part}}}}}" for part in parts]
    elif mark:
        parts = [rf"{mark}{{{part}}}" for part in parts]
    return r"\allowbreak{}".join(parts)
