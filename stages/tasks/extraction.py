r"""Answer extraction and grading (paper, section 4.1: the match rate and correct-if-matched).

Two extractors read the same text, so that losing the format and losing the ability can be told
apart: the strict one keeps to the line that was asked for, the tolerant one looks everywhere. The
patterns are data (extraction.yaml); this module applies them. Grading is a pure function of an item
and a text, takes time linear in the text, and never raises on any text.

Example: for an item with the options (A) and (B) and the target (B), the reply
`"I weighed both.\nAnswer: **b)**"` is correct; `"It must be (B)."` is unparsed, and (B) to the
tolerant extractor.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from stages.errors import UserError
from stages.params import Section, check, read_yaml
from stages.records import Item
from stages.tasks.formats import Family
from stages.tasks.grade import Grade


def _has_group(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if pattern.groups == 0:
        raise ValueError("the pattern has no group that captures the answer")
    return pattern


Normaliser: TypeAlias = Literal["letter", "option", "validity", "integer", "brackets", "words"]
Capturing = Annotated[re.Pattern[str], AfterValidator(_has_group)]

_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", " ": None, "\t": None, ",": None, "+": None})
_CLOSERS = frozenset("])}>")
_WORD_EDGE = "*_`\"'.,:;$[](){}<>\u201c\u201d\u2018\u2019"


class FamilyRule(Section):
    """How one family is read, field by field as in extraction.yaml."""

    normalise: Normaliser
    strict: Capturing
    tolerant: tuple[Capturing, ...]
    option_text: bool


class _RuleFile(Section):
    cue: re.Pattern[str]
    opening: re.Pattern[str]
    families: dict[Family, FamilyRule]
    own: dict[str, FamilyRule] = Field(default_factory=dict)  # of suites of one's own


def _letter(raw: str) -> str:
    return f"({raw.strip('() ').upper()})"


def _option(raw: str) -> str:
    return raw.strip()


def _validity(raw: str) -> str:
    negated = raw.casefold().startswith("not") or raw.casefold().endswith("invalid")
    return "invalid" if negated else "valid"


def _integer(raw: str) -> str | None:
    # Text throughout: int() refuses more than 4300 digits.
    text = raw.translate(_MINUS)
    digits = text.lstrip("-").lstrip("0") or "0"
    return f"-{digits}" if text.startswith("-") and digits != "0" else digits


def _brackets(raw: str) -> str | None:
    return " ".join(char for char in raw if char in _CLOSERS) or None


def _words(raw: str) -> str | None:
    words = (word.strip(_WORD_EDGE).casefold() for word in re.split(r"[\s,;]+", raw))
    return " ".join(word for word in words if word) or None


_NORMALISERS: dict[Normaliser, Callable[[str], str | None]] = {
    "letter": _letter,
    "option": _option,
    "validity": _validity,
    "integer": _integer,
    "brackets": _brackets,
    "words": _words,
}


def _captured(match: re.Match[str]) -> str | None:
    return next((group for group in match.groups() if group is not None), None)


def _last_option_text(item: Item, text: str) -> str | None:
    """Return the option whose text ends last in `text` as whole words; of equals, the longest."""
    best: tuple[int, int, str] | None = None
    folded = text.casefold()
    for option, wording in item.options.items():
        sought = wording.casefold().strip()
        end = len(folded)
        while sought and (start := folded.rfind(sought, 0, end)) >= 0:
            stop = start + len(sought)
            before, after = folded[max(start - 1, 0) : start], folded[stop : stop + 1]
            if not before.isalnum() and not after.isalnum():
                if best is None or (stop, len(sought)) > best[:2]:
                    best = (stop, len(sought), option)
                break
            end = stop - 1
    return best[2] if best else None


class Rules:
    """The extraction rules of one file."""

    def __init__(self, path: Path, content: _RuleFile) -> None:
        self._path = path
        self._content = content
        self._rules: dict[str, FamilyRule] = dict(content.families.items()) | content.own

    def grade(self, item: Item, text: str) -> Grade:
        """Grade a reply to an item.

        Raises:
            UserError: the rules have no entry for the item's family.
        """
        rule = self._rules.get(item.family)
        if rule is None:
            raise UserError(f"{self._path}: families.{item.family}: not there ({item.id} needs it)")
        strict, cues = self._strict(rule, item, text)
        tolerant = strict if strict is not None else self._tolerant(rule, item, text)
        target = self._admissible(rule, item, item.target)
        right = strict is not None and strict == target
        return Grade(
            outcome="unparsed" if strict is None else "correct" if right else "incorrect",
            score=float(right),
            solved=right,
            strict=strict,
            tolerant=tolerant,
            tolerant_score=float(tolerant is not None and tolerant == target),
            cues=cues,
        )

    def _strict(self, rule: FamilyRule, item: Item, text: str) -> tuple[str | None, int]:
        announced = list(self._content.cue.finditer(text))
        if not announced:
            return None, 0
        last = announced[-1]
        stop = text.find("\n", last.end())
        line = text[last.end() : len(text) if stop < 0 else stop].strip()
        # "Answer: The answer is ..." announces itself twice.
        if again := self._content.cue.match(line):
            line = line[again.end() :]
        if wrapped := self._content.opening.match(line):
            line = line[wrapped.end() :]
        match = rule.strict.match(line)
        answer = self._admissible(rule, item, _captured(match)) if match else None
        return answer, len(announced)

    def _tolerant(self, rule: FamilyRule, item: Item, text: str) -> str | None:
        for pattern in rule.tolerant:
            found = None
            for match in pattern.finditer(text):
                answer = self._admissible(rule, item, _captured(match))
                found = found if answer is None else answer
            if found is not None:
                return found
        return _last_option_text(item, text) if rule.option_text else None

    @staticmethod
    def _admissible(rule: FamilyRule, item: Item, raw: str | None) -> str | None:
        """Return the normal form of an answer, None if the item does not admit it."""
        answer = None if raw is None else _NORMALISERS[rule.normalise](raw)
        if answer is None or not item.options or answer in item.options:
            return answer
        folded = answer.casefold()
        return next((option for option in item.options if option.casefold() == folded), None)


def load_rules(path: Path) -> Rules:
    """Read a rules file.

    Raises:
        UserError: an unknown family or field, or a pattern that is none; names file and field.
    """
    return Rules(path, check(path, "rules", read_yaml(path), _RuleFile))
