"""Which candidate a selection comes to.

Covered: letters in replies of many forms, replies that name none, mean and sum of log-probabilities
by hand, ties, nothing to choose from, damaged records, any text. Not covered: what the chooser is
shown and where the log-probabilities come from (test_best_of_k.py).
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.choices import MOST_CANDIDATES, Selector, chosen, letters, values
from stages.records import Choice, Completion, Exchange, Message, Selection

BY_CHOICE = Selector(max_new_tokens=8)
MEAN, SUM = Selector(reduce="mean"), Selector(reduce="sum")


def selection(draws: tuple[int, ...], reply: str | None = None, **more: object) -> Selection:
    exchange = None
    if reply is not None:
        exchange = Exchange(
            messages=(Message(role="user", content="Which?"),),
            reply=Completion(text=reply, finish_reason="stop"),
        )
    return Selection(
        item="bbh/own/1",
        suite="bbh",
        task="own",
        split="test",
        selector="own",
        condition=None,
        student="tiny",
        chooser="tiny",
        seed=0,
        draws=draws,
        exchange=exchange,
        **more,
    )


# Shown as A, B and C.
SHOWN = (7, 5, 3)


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        " b\n",
        "(B)",
        "B.",
        "[B]",
        "**B**",
        "**B.**",
        "Answer B",
        "[Answer B]",
        "Answer: B",
        "**Answer: (B)**",
        "Answer:\nB",
        "The best answer is B",
        "The best answer is Answer B.",
        "The best one is B",
        "The best answer is:\n\n**B**",
        "My choice is B.",
        "I would choose answer B.",
        "I choose B",
        "b) because it ends with an answer",
        "B, because it ends with an answer",
        "B because it is right",
        "B - since it is right",
        "B: it ends with an answer",
        "Answer B is the best one.",
        "B is the best answer, A is not.",
        "B\nA better answer would say why.",
    ],
)
def test_a_letter(reply: str) -> None:
    assert chosen(BY_CHOICE, selection(SHOWN, reply)) == (5, "named")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " \n",
        "A better answer would be ...",
        "A good answer",
        "An answer",
        "Both are good",
        "Both.",
        "Best: none",
        "I think that all are good.",
        "I would choose a better one.",
        "The best answer is a cork.",
        "Answer",
        "The answers A to C are alike.",
        "A, B and C are alike.",
        "D",
        "Answer Z.",
        "(3)",
        "Ä",
    ],
)
def test_no_letter(reply: str) -> None:
    assert chosen(BY_CHOICE, selection(SHOWN, reply)) == (7, "unreadable")


def test_mean_and_sum() -> None:
    # The short reply is likelier as a whole, the long one a token.
    by_logits = selection((0, 1), logprobs=(-3.0, -4.0), tokens=(2, 4))
    assert values(MEAN, by_logits) == (-1.5, -1.0)
    assert values(SUM, by_logits) == (-3.0, -4.0)
    assert chosen(MEAN, by_logits) == (1, "likeliest")
    assert chosen(SUM, by_logits) == (0, "likeliest")


def test_ties_go_to_the_lower_draw() -> None:
    tied = selection((4, 2, 3), logprobs=(-2.0, -2.0, -9.0), tokens=(2, 2, 1))
    assert chosen(MEAN, tied) == (2, "likeliest")
    assert chosen(SUM, tied) == (2, "likeliest")


def test_nothing_to_choose() -> None:
    assert chosen(BY_CHOICE, selection(())) == (None, "none")
    assert chosen(MEAN, selection((), logprobs=(), tokens=())) == (None, "none")
    assert chosen(BY_CHOICE, selection((6,))) == (6, "only")


@pytest.mark.parametrize(
    "more",
    [
        {"logprobs": (-1.0,), "tokens": (1, 1)},
        {"logprobs": (-1.0, -1.0), "tokens": (1,)},
        {"logprobs": (), "tokens": ()},
        {"logprobs": (-1.0, -1.0)},
        {"tokens": (1, 1)},
        {"logprobs": (-1.0, -1.0), "tokens": (1, 0)},
    ],
)
def test_a_damaged_record_is_none(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        selection((0, 1), **more)


def test_the_alphabet_ends() -> None:
    assert letters(3) == "ABC"
    assert len(letters(MOST_CANDIDATES)) == MOST_CANDIDATES
    with pytest.raises(ValueError, match="27 candidates"):
        letters(MOST_CANDIDATES + 1)
    with pytest.raises(ValueError, match="not a selection by logits"):
        values(MEAN, selection((0, 1), "A"))


PIECES = st.sampled_from(["A", "b", "C", "answer ", "the ", "best ", "is ", "I choose ", ")", " ."])


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    reply=st.text() | st.lists(PIECES | st.text(max_size=3)).map("".join),
    draws=st.permutations(range(4)).map(tuple),
)
def test_any_text_selects_a_candidate(reply: str, draws: tuple[int, ...]) -> None:
    draw, choice = chosen(BY_CHOICE, selection(draws, reply))
    ways: tuple[Choice, ...] = ("named", "unreadable")
    assert draw in draws
    assert choice in ways
    if choice == "unreadable":
        assert draw == draws[0]
