"""Answer extraction and grading: stages/tasks/extraction.py with extraction.yaml.

Covers: every family's golds in several phrasings, a table of hostile and sloppy replies (read,
not read, read only by the tolerant extractor), properties on any text (never raises, answers stay
within the item's options), linear time, constants that do not score, errors in the rules file,
and, where the mirror is there, every well-formed gold of the real release.
Does not cover: whether a model follows the format, and the other suites' scoring.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import UserError
from stages.records import Item
from stages.tasks.bbh.release import read_release
from stages.tasks.config import ReleaseSource, Suite
from stages.tasks.extraction import load_rules
from stages.tasks.formats import load_formats

ROOT = Path(__file__).parent.parent
RULES_FILE = ROOT / "stages" / "tasks" / "extraction.yaml"
RULES = load_rules(RULES_FILE)


def item(family: str, target: str, options: dict[str, str] | None = None) -> Item:
    shared = load_formats()[family].options  # type: ignore[index]
    return Item(
        id="bbh/own/0",
        suite="bbh",
        task="own",
        split="test",
        index=0,
        question="?",
        answer_format="x",
        family=family,
        options=options or {option: option for option in shared or ()},
        target=target,
    )


LETTER = item(
    "letter", "(B)", {"(A)": "a red kite", "(B)": "a blue kite", "(C)": "kite", "(D)": "3"}
)
YES_NO = item("yes_no", "No")
BOOLEAN = item("boolean", "True")
VALIDITY = item("validity", "invalid")
INTEGER = item("integer", "-11520")
BRACKETS = item("brackets", "] ] } >")
WORDS = item("words", "it&t kelp o'brien zebra")
ALL = (LETTER, YES_NO, BOOLEAN, VALIDITY, INTEGER, BRACKETS, WORDS)

PHRASINGS = (
    "Answer: {}",
    "I thought about it.\n\nAnswer: {}\n",
    "**Answer:** {}",
    "**Answer: {}**",
    "So the answer is {}.",
    "Therefore, the correct answer is: {}",
    "### Final answer: `{}`",
    "Answer: 1\nanswer: {}\n\nAnswers may vary.",
    "ANSWER : {}  \r\n",
    "Answer: The answer is {}.",
    "3. Answer: {}",
    '"Answer: {}"',
)

# (item, reply, strict, tolerant)
REPLIES = (
    (LETTER, "Answer: (b)", "(B)", "(B)"),
    (LETTER, "Answer: B", "(B)", "(B)"),
    (LETTER, "Answer: B) a blue kite", "(B)", "(B)"),
    (LETTER, "Answer: option (B), as shown", "(B)", "(B)"),
    (LETTER, "Answer: $\\boxed{\\text{(B)}}$", "(B)", "(B)"),
    (LETTER, "Answer: \\boxed{B}", "(B)", "(B)"),
    (LETTER, "Answer: <(B)>", "(B)", "(B)"),
    (LETTER, "Answer: (B). Option (A) is wrong", "(B)", "(B)"),
    (LETTER, "Answer: (B), I think", "(B)", "(B)"),
    (LETTER, "Answer: (A)\nWait.\nAnswer: (B)", "(B)", "(B)"),
    (LETTER, "Answer: (B)\nIn short, (A) was close. (C) was not.", "(B)", "(B)"),
    (LETTER, "Answer: (B)\nAnswers may vary: (A)", "(B)", "(B)"),
    (LETTER, "Answer: (E)", None, None),
    (LETTER, "Answer: (A) or (B)", None, None),
    (LETTER, "Answer: (A)/(B)", None, None),
    (LETTER, "Answer: A or B", None, None),
    (LETTER, "Answer: A bear ate it", None, None),
    (LETTER, "Answer: Bears eat", None, None),
    (LETTER, "Answer: I do not know", None, None),
    (LETTER, "The answer is not (A).", None, "(A)"),
    (LETTER, "Answer: the letter of your option in parentheses, e.g. (A)", None, "(A)"),
    (LETTER, "I think the answer is (B).", None, "(B)"),
    (LETTER, "Answer:\n(B)", None, "(B)"),
    (LETTER, "It is a blue kite, not a green one.", None, "(B)"),
    (LETTER, "It is a RED KITE", None, "(A)"),
    (LETTER, "kites, kite3", None, None),
    (LETTER, "The answers: (B)", None, "(B)"),
    (LETTER, "Among (A), (B), and (C) it is (C).", None, "(C)"),
    (LETTER, "", None, None),
    (YES_NO, "Answer: **No**, there is no way", "No", "No"),
    (YES_NO, "answer is no", "No", "No"),
    (YES_NO, "Answer: Yes or No", None, None),
    (YES_NO, "Answer: Yes/No", None, None),
    (YES_NO, "Answer: No idea", None, "No"),
    (YES_NO, "Answer: Not at all", None, None),
    (YES_NO, "Answer: none", None, None),
    (YES_NO, "Yes, for there is no net displacement.", None, "Yes"),
    (BOOLEAN, "Answer: true.", "True", "True"),
    (BOOLEAN, "Answer: True or False", None, None),
    (BOOLEAN, "Answer: untrue", None, None),
    (BOOLEAN, "It comes to False, no: True", None, "True"),
    (VALIDITY, "Answer: deductively invalid", "invalid", "invalid"),
    (VALIDITY, "Answer: The argument is valid.", "valid", "valid"),
    (VALIDITY, "Answer: not valid", None, "invalid"),
    (VALIDITY, "Answer: valid or invalid", None, None),
    (INTEGER, "Answer: -11,520", "-11520", "-11520"),
    (INTEGER, "Answer: −11520", "-11520", "-11520"),
    (INTEGER, "Answer: –11520.0", "-11520", "-11520"),
    (INTEGER, "Answer: $\\boxed{-11520}$.", "-11520", "-11520"),
    (INTEGER, "Answer: - 11520", "-11520", "-11520"),
    (INTEGER, "Answer: 24.0", "24", "24"),
    (INTEGER, "Answer: 007 spies", "7", "7"),
    (INTEGER, "Answer: -0", "0", "0"),
    (INTEGER, "Answer: 24.5", None, None),
    (INTEGER, "Answer: 8 or 9", None, "8"),
    (INTEGER, "Answer: 8 + 3 = 11", None, "8"),
    (INTEGER, "Answer: 1,2", None, "1"),
    (INTEGER, "Answer: an integer", None, None),
    (INTEGER, "So 6 + 2 = 8\n- flute", None, "8"),
    (BRACKETS, "Answer: ]]}>", "] ] } >", "] ] } >"),
    (BRACKETS, "Answer: `] ] } >`. I hope this helps!", "] ] } >", "] ] } >"),
    (BRACKETS, "Answer: ], ], }, >", "] ] } >", "] ] } >"),
    (BRACKETS, "Answer: [ ] ] } >", None, "] ] } >"),
    (BRACKETS, "Answer: ] ] and then }", None, "}"),
    (BRACKETS, "Close with ] ] } > (as shown)", None, "] ] } >"),
    (WORDS, "Answer: It&T, kelp, O'Brien, zebra.", "it&t kelp o'brien zebra", None),
    (WORDS, "Answer: ['it&t', 'kelp', \"o'brien\", 'zebra']", "it&t kelp o'brien zebra", None),
    (WORDS, "Answer: kelp it&t", "kelp it&t", None),
    (WORDS, "Answer:", None, "answer"),
    (WORDS, "The sorted words: it&t kelp o'brien zebra\nDone!", None, "it&t kelp o'brien zebra"),
)


@pytest.mark.parametrize("phrasing", PHRASINGS)
@pytest.mark.parametrize("item", ALL, ids=lambda item: item.family)
def test_gold_is_read_back(item: Item, phrasing: str) -> None:
    reply = phrasing.replace("{}", item.target)
    grade = RULES.grade(item, reply)
    assert (grade.outcome, grade.score, grade.solved) == ("correct", 1.0, True), reply
    assert grade.tolerant == grade.strict
    assert grade.tolerant_score == 1.0
    assert grade.cues == (2 if "1\n" in phrasing else 1)


@pytest.mark.parametrize(("item", "reply", "strict", "tolerant"), REPLIES)
def test_replies(item: Item, reply: str, strict: str | None, tolerant: str | None) -> None:
    grade = RULES.grade(item, reply)
    assert grade.strict == strict
    assert grade.tolerant == (strict if item is WORDS and strict else tolerant)
    right = strict == item.target
    assert grade.outcome == ("unparsed" if strict is None else "correct" if right else "incorrect")
    assert (grade.score, grade.solved) == (float(right), right)


def test_constants_do_not_score() -> None:
    items = [
        item("letter", f"({letter})", {"(A)": "one", "(B)": "two", "(C)": "six"})
        for letter in "ABC"
    ]
    items += [item("yes_no", "Yes"), item("yes_no", "No"), item("integer", "4"), BRACKETS, WORDS]
    everything = "\n".join(f"Answer: {one.target}" for one in items)
    for constant in ("", "Answer:", "Answer: (A)", "(A) (B) (C)", "Answer: Yes", everything):
        assert sum(RULES.grade(one, constant).score for one in items) <= 1


def test_a_target_that_is_no_option_is_never_met() -> None:
    bad = item("letter", "Kites, Inc", {"(A)": "Kites", "(B)": "Inc"})
    for reply in ("Answer: Kites, Inc", "Answer: (A)", "Answer: (B)"):
        grade = RULES.grade(bad, reply)
        assert (grade.score, grade.tolerant_score) == (0.0, 0.0)


PIECES = (
    *("Answer:", "answer is", "(B)", "b", "kite", "Yes", "no", "not", "invalid", "True", "1", ".0"),
    *(" ", "\n", "*", "`", "-", "−", ",", "}", "]", "<", ">", "\\boxed{", "٣", "ﬁ", "İ"),
)
TEXTS = st.one_of(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(PIECES),
        max_size=60,
    ).map("".join),
    st.text(alphabet=st.characters(exclude_categories=[]), max_size=100),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=TEXTS)
def test_any_text(text: str) -> None:
    for one in ALL:
        grade = RULES.grade(one, text)
        for answer in (grade.strict, grade.tolerant):
            assert answer is None or not one.options or answer in one.options
        assert (grade.strict is None) == (grade.outcome == "unparsed")
        assert grade.solved == (grade.strict == one.target)
        if grade.strict is not None:
            assert grade.cues > 0
            assert grade.tolerant == grade.strict


HOSTILE = (
    *(" \t*_`\"'$.,:-=(){}[]<>\\#ABa1\n\r\u2212"),
    "Answer: ",
    "answer ",
    "Answer:\n",
    "answer is is ",
    "the final correct ",
    "so, the ",
    "Answer: (A) or ",
    "1,111",
    "1.0",
    "1 ",
    "] ",
    "[ ] ",
    "yes or ",
    "not valid",
    "\\boxed{",
    "(A) ",
    "A, ",
    "a blue kit",
    "sorted ",
    "* ",
    "> * ",
    "1. ",
)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "Answer: {}", "answer{}", "sorted{}:", "Answer: 1{}x1"])
def test_time_is_linear(unit: str, frame: str) -> None:
    # Quadratic work on 50,000 characters is over a thousand million steps: half a minute, not one
    # second for all seven families together.
    text = frame.replace("{}", (unit * 50_000)[:50_000])
    start = time.process_time()
    for one in ALL:
        RULES.grade(one, text)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("  yes_no:", "  maybe:", "rules.families.maybe"),
        ("    strict: '(.+)'", "    strict: '(.+'", "rules.families.words.strict"),
        ("    strict: '(.+)'", "    strict: '.+'", "no group"),
        ("    normalise: integer", "    normalise: int", "rules.families.integer.normalise"),
        ("cue: >-", "clue: >-", "rules.clue"),
    ],
)
def test_bad_rules_file(tmp_path: Path, line: str, instead: str, message: str) -> None:
    text = RULES_FILE.read_text(encoding="utf-8")
    assert line in text
    path = tmp_path / "rules.yaml"
    path.write_text(text.replace(line, instead), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_rules(path)
    assert str(caught.value).startswith(f"{path}: rules.")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_family_without_a_rule_is_named(tmp_path: Path) -> None:
    text = RULES_FILE.read_text(encoding="utf-8")
    path = tmp_path / "rules.yaml"
    path.write_text(text[: text.index("  words:")], encoding="utf-8")
    with pytest.raises(UserError, match=r"families\.words: not there \(bbh/own/0"):
        load_rules(path).grade(WORDS, "Answer: a")


def test_a_changed_pattern_changes_the_grade(tmp_path: Path) -> None:
    text = RULES_FILE.read_text(encoding="utf-8").replace("answer[ \\t", "verdict[ \\t")
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_rules(path).grade(YES_NO, "Answer: No").strict is None
    assert load_rules(path).grade(YES_NO, "Verdict: No").strict == "No"


def mirrored() -> Iterator[Item]:
    mirror = Path(os.environ.get("DATA_MIRROR") or ROOT.parent / "shared" / "data")
    if not (mirror / "bbh").is_dir():
        pytest.skip("no mirror of the BBH release (DATA_MIRROR)")
    source = ReleaseSource(kind="bbh_release", url="https://host.invalid/", train_first=100)
    suite = Suite(source=source, train=None, test=None, longest_question=None, seed=0)
    prepared = read_release(mirror / "bbh", "bbh", suite, source)
    yield from prepared.train + prepared.test


def test_golds_of_the_release_are_read_back() -> None:
    read = 0
    for one in mirrored():
        for phrasing in PHRASINGS:
            if "bad:gold_not_an_option" not in one.flags:
                grade = RULES.grade(one, phrasing.replace("{}", one.target))
                assert grade.outcome == "correct", (one.id, phrasing, grade)
                read += 1
    assert read == 6508 * len(PHRASINGS)


def test_always_the_same_answer_scores_like_chance_on_the_release() -> None:
    rates: dict[str, list[float]] = {}
    for one in mirrored():
        rates.setdefault(one.family, []).append(RULES.grade(one, "Answer: (A)\n").score)
    assert 0.15 < sum(rates.pop("letter")) / 4071 < 0.35
    assert all(sum(scores) == 0 for scores in rates.values())
