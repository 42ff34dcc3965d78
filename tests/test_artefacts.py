"""The detector of what shows that a reply answers feedback.

Covered: phrases of each kind, curly apostrophes, case and line breaks; texts of tasks that speak of
thanks, feedback and new versions for reasons of their own; hostile texts. Not covered: how often a
model says it in another way: rates are lower bounds.
"""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.artefacts import KINDS, artefacts


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("announces_update", "Here's an updated version of the description: a tall tree."),
        ("announces_update", "HERE’S THE REVISED ANSWER:\nAnswer: (B)"),
        ("announces_update", "Here is my new and improved response."),
        ("announces_update", "Here are the\ncorrected answer and my reasons."),
        ("announces_update", "**Revised answer:** (B)"),
        ("announces_update", "Corrected version:\nA cork floats."),
        ("announces_update", "My new answer is (B)."),
        ("announces_update", "Let me try this again."),
        ("announces_update", "I have corrected my mistake. A cork floats."),
        ("thanks", "Thank you for the feedback!"),
        ("thanks", "Thanks so much for your very helpful suggestions."),
        ("thanks", "Thank you for pointing that out."),
        ("thanks", "I appreciate your guidance."),
        ("apology", "I apologize for the confusion."),
        ("apology", "I sincerely apologise."),
        ("apology", "My apologies, it is (B)."),
        ("apology", "Sorry for the mistake."),
        ("apology", "You're right, a brick sinks."),
        ("apology", "You’re absolutely right! A brick sinks."),
        ("apology", "I see that I made a mistake."),
        ("mentions_feedback", "Based on the feedback, the answer is (B)."),
        ("mentions_feedback", "With your feedback in mind, I count again."),
        ("mentions_feedback", "As you pointed out, a brick sinks."),
        ("mentions_feedback", "As suggested by my teacher, I count again."),
        ("mentions_feedback", "My teacher's feedback was clear."),
        ("mentions_feedback", "Following the feedback I count again."),
        ("mentions_feedback", "The feedback you gave is useful."),
        ("mentions_previous", "In my previous answer I forgot the cork."),
        ("mentions_previous", "My first attempt was wrong."),
        ("mentions_previous", "The earlier response had (A)."),
    ],
)
def test_what_it_finds(kind: str, text: str) -> None:
    assert artefacts(text) == (kind,)
    assert artefacts(f"I weigh both.\n\n{text}\nAnswer: (B)") == (kind,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A brick sinks and a cork floats.\nAnswer: (B)",
        "Write a thank you note for the gifts. The thank you note is short.",
        "She said thank you for the cake and left.",
        "The feedback loop amplifies the signal, so the pitch rises.",
        "Based on the feedback loop in the circuit, the voltage falls.",
        "The company updated its software. The updated version of the game runs on phones.",
        "In the story, the king revised the law and corrected the map.",
        "The new answer machine was sold to the shop.",
        'The guard answered: "Perhaps you are right."',
        "He apologized to his brother, and they were friends again.",
        "The clerk made a mistake, so the total is 7.",
        "My previous employer lives in Rome. The first attempt to climb it failed.",
        "As you can see, the sum is 12. As you know, ice melts.",
        "Here is the list of words in order: cork, tree.",
        "Let me count again from the left: 1, 2, 3.",
        "The answer is not valid. The correct answer is (B).",
        "Customers gave feedback on the new product.",
    ],
)
def test_what_it_leaves_alone(text: str) -> None:
    assert artefacts(text) == ()


def test_several_kinds_each_once() -> None:
    text = (
        "Thank you for your feedback. Thank you for pointing it out. I apologize for my previous "
        "answer. Here's an updated version: (B)"
    )
    assert artefacts(text) == KINDS


PIECES = st.sampled_from(
    [
        *("here", "'s", "’s", " is", " an", " updated", " version", "thank you for", " the "),
        *(
            "feedback",
            "you're right",
            "i ",
            "made ",
            "a ",
            "mistake",
            "my ",
            "previous ",
            "\n",
            "*",
        ),
        *("answer", ":", "as you", " suggested", "let me", " revise ", "try ", "again"),
    ]
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text() | st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_any_text(text: str) -> None:
    found = artefacts(text)
    assert set(found) <= set(KINDS)
    assert artefacts(text.upper()) == found or not text.isascii()
    assert set(artefacts("Sorry for the mistake. " + text)) >= {"apology"}


@pytest.mark.parametrize(
    "piece",
    [
        *("here is a ", "here is the " + "very " * 3, "thank you for your ", "i really ", "the "),
        *("based on the ", "as you ", "your ", "*", "\n", " ", "_", "a", "i ", "you are ", "new "),
        *("let me try ", "revised answer ", "my previous ", "'", "in the previous ", "feedback "),
    ],
)
def test_hostile_texts_take_no_longer(piece: str) -> None:
    started = time.monotonic()
    artefacts((piece * 50_000)[:50_000])
    assert time.monotonic() - started < 2
