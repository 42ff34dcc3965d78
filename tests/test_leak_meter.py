"""The answer-leak meter: what the extractor finds in feedback.

Covered: the gold answer, another one and none, by itself and under shuffling, by hand on two items.
Not covered: what the extractor reads (test_extraction.py), who is paired (test_pairing.py), and
mistakes (test_mistakes.py).
"""

import pytest
from conftest import ROOT

from stages.grading import Questions
from stages.leak import leaks
from stages.records import Feedback, Item, Leak
from stages.tasks.extraction import load_rules


def metered(item: Item, *texts: str | None) -> list[Leak]:
    """Return what is found in the feedback on one item for each text; the gold answer is (B)."""
    items = [item.model_copy(update={"id": f"bbh/own_example/{n}"}) for n in range(len(texts))]
    feedback = [
        Feedback(
            item=one.id,
            suite=one.suite,
            task=one.task,
            split=one.split,
            condition="unconstrained",
            student="tiny",
            teacher="scripted",
            seed=0,
            status="refusal" if text is None else "ok",
            text=text,
            exchange=None,
        )
        for one, text in zip(items, texts, strict=True)
    ]
    rules = Questions(load_rules(ROOT / "stages" / "tasks" / "extraction.yaml"))
    by_id = {one.id: one for one in items}
    return list(leaks(by_id, {record.item: record for record in feedback}, rules))


@pytest.mark.parametrize(
    ("text", "answer", "gold"),
    [
        ("Count once more. Answer: (B)", "(B)", True),
        ("The correct answer is (B).", "(B)", True),
        ("The correct answer is (A).", "(A)", False),
        ("Think of what is lighter than water.", None, False),
    ],
)
def test_one_feedback_and_the_other_items(
    item: Item, text: str, answer: str | None, gold: bool
) -> None:
    first, second = metered(item, text, "Well done.")
    assert (first.given, first.answer, first.gold) == (True, answer, gold)
    assert (first.shuffled_given, first.shuffled, first.shuffled_gold) == (True, None, False)
    assert (second.given, second.answer, second.gold) == (True, None, False)
    assert (second.shuffled_given, second.shuffled, second.shuffled_gold) == (True, answer, gold)


def test_where_there_is_no_feedback(item: Item) -> None:
    first, second = metered(item, None, "Answer: (B)")
    assert (first.given, first.answer, first.gold) == (False, None, False)
    assert (first.shuffled_given, first.shuffled_gold) == (True, True)
    assert (second.shuffled_given, second.shuffled, second.shuffled_gold) == (False, None, False)
    [alone] = metered(item, "Answer: (B)")
    assert (alone.gold, alone.shuffled_given) == (True, False)
