"""What the teacher's words mean in error identification.

Covered: verdicts in JSON and in words, the opt-out, replies and requests that failed, any text. Not
covered: the prompts (test_prompts.py), the tables (test_report.py), how often a model of some size
says it in another way: that is the share of unparsable verdicts in the report.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.records import Completion, Exchange, FinishReason, Judgement, Message
from stages.verdicts import Verdict, says_correct

JSON = Verdict(reads="json", sentences=None, max_new_tokens=32)
WORDS = Verdict(reads="words", sentences=None, max_new_tokens=32)
OPT_OUT = Verdict(reads="opt_out", sentences=3, max_new_tokens=None)


def judgement(text: str | None, finish_reason: FinishReason = "stop") -> Judgement:
    exchange = None
    if text is not None:
        exchange = Exchange(
            messages=(Message(role="user", content="Is it correct?"),),
            reply=Completion(text=text, finish_reason=finish_reason),
        )
    return Judgement(
        item="bbh/own/1",
        suite="bbh",
        task="own",
        split="test",
        verdict="own",
        student="tiny",
        teacher="scripted",
        seed=0,
        exchange=exchange,
    )


@pytest.mark.parametrize("verdict", [JSON, WORDS])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"correct": true}', True),
        ('{"correct": false}', False),
        ('```json\n{\n  "correct": false\n}\n```', False),
        ("{'correct': True}", True),
        ("{'correct' : FALSE}", False),
        ('{"correct":"true"}', True),
        ('{"Correct": true}', True),
        ("{correct: false}", False),
        ('{"is_correct": false}', False),
        ('{"reason": "7 is wrong", "correct": true, "sure": 1}', True),
        ('At first {"correct": true}, but no: {"correct": false}', False),
        ('The answer is wrong, so\n{"correct": true}', True),
        ('{"incorrect": true}', None),
        ('{"correct": "perhaps"}', None),
        ('{"correct": tr', None),
        ("", None),
        ("true", None),
    ],
)
def test_json(verdict: Verdict, text: str, said: bool | None) -> None:
    assert says_correct(verdict, judgement(text)) is said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The student's final answer is correct.", True),
        ("Yes, the answer is right!", True),
        ("The answer is **not** right; I mean, it was wrong.", False),
        ("The answer is not correct.", False),
        ("The answer is incorrect.", False),
        ("The answer is INCORRECT", False),
        ("The answer isn't correct.", False),
        ("The answer isn’t quite right.", False),
        ("It is not entirely correct.", False),
        ("It is clearly not correct.", False),
        ("It is indeed correct.", True),
        ("It is absolutely correct.", True),
        ("It is not wrong.", True),
        ("It is partially correct.", False),
        ("It is only partly right.", False),
        ("It is almost wrong.", False),
        ("The first step is correct, but the final answer is wrong.", False),
        ("One could think that it is wrong. It is correct.", True),
        ("Correct.", True),
        ("Incorrect", False),
        ("**Incorrect.** The brick sinks.", False),
        ("Correct. But the final answer is wrong.", False),
        ("The correct answer is (B).", None),
        ("(B) is the correct answer.", None),
        ("It is correct that bricks sink.", None),
        ("Correct answer: (B)", None),
        ("Well done!", None),
        ("", None),
    ],
)
def test_words(text: str, said: bool | None) -> None:
    assert says_correct(WORDS, judgement(text)) is said
    assert says_correct(JSON, judgement(text)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("No feedback needed", True),
        ("No feedback needed.", True),
        ('"NO FEEDBACK NEEDED."', True),
        ("Your answer is sound. No feedback needed!", True),
        ("No feedback needed.\n\nYou counted well. Go on.", True),
        ("You counted well.\nNo feedback needed", True),
        ("You counted well. I would say no feedback needed, if it were right. Count again.", False),
        ("Well done. This is a good answer.", False),
        ("Your answer is correct.", False),
        ("Feedback is needed.", False),
        ("", None),
        (" \n", None),
    ],
)
def test_opt_out(text: str, said: bool | None) -> None:
    assert says_correct(OPT_OUT, judgement(text)) is said


@pytest.mark.parametrize("verdict", [JSON, WORDS, OPT_OUT])
def test_where_there_is_no_reply(verdict: Verdict) -> None:
    words = 'It is correct: {"correct": true}. No feedback needed.'
    assert says_correct(verdict, judgement(words)) is True
    assert says_correct(verdict, judgement(words, "length")) is True
    for reason in ("error", "refusal", "content_filter", "bad_request"):
        assert says_correct(verdict, judgement(words, reason)) is None
    # The student gave no answer, so nobody was asked.
    assert says_correct(verdict, judgement(None)) is False


PIECES = st.sampled_from(['"correct"', ":", "true", " is ", "not ", "n't ", "wrong", "ly ", ".\n"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text() | st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_any_text_has_a_meaning_or_none(text: str) -> None:
    for verdict in (JSON, WORDS, OPT_OUT):
        assert says_correct(verdict, judgement(text)) in (True, False, None)
