"""What the word games share: reading their data, and words in the form in which they compare."""

import re
import unicodedata
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from stages.errors import UserError
from stages.records import first_error

T = TypeVar("T")

_WORD = re.compile(r"[^\W_]+")
# What is put back where an ending is taken off.
_INFLECTIONS = {
    **dict.fromkeys(("s", "es", "ed", "ing", "er", "est"), ""),
    **dict.fromkeys(("ies", "ied", "ier", "iest", "ily", "iness"), "y"),
}
_DERIVATIONS = dict.fromkeys(
    (
        *("y", "ly", "ness", "ment", "ful", "less", "able", "ish", "en", "or", "ist", "ian", "al"),
        *("ial", "ic", "ical", "ity", "ive", "ion", "ation", "ance", "ence", "ant", "ent", "ate"),
    ),
    "",
)
_VOWEL = re.compile(r"[aeiouy]")
_SHORTEST = 3
SHARED = 2
"""So many letters at the start of a word stand at the start of each of its bases."""


def read_data(path: Path, kind: TypeAdapter[T]) -> T:
    """Return a JSON file as `kind`. Raises UserError naming file and field."""
    try:
        return kind.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


def words(text: str) -> list[str]:
    """Return the runs of letters and digits, case folded, without accents and invisible marks."""
    return _WORD.findall(_folded(text))


def bases(word: str) -> set[str]:
    """Return a folded word with all that it may be an inflected or derived form of.

    The rule is ours, and errs to the wide side: of fixed lists, up to two endings of inflection and
    then one of derivation are taken off, where a lost e or y is put back and a doubled consonant
    made single. A base has a vowel and three letters, and a derived word has four before its
    ending. So "shoppers" may come from "shop", and "corner" from "corn".
    """
    found = {word}
    for endings, left in ((_INFLECTIONS, SHARED), (_INFLECTIONS, SHARED), (_DERIVATIONS, 4)):
        found |= {base for form in found for base in _shorter(form, endings, left)}
    return found


def _shorter(word: str, endings: dict[str, str], left: int) -> set[str]:
    found = set()
    for ending, instead in endings.items():
        base = word.removesuffix(ending)
        if not left <= len(base) < len(word):
            continue
        found.add(base + instead)
        if ending[0] in "aeiouy":
            found.add(base + "e")
            if base[-1] == base[-2]:
                found.add(base[:-1])
    return {base for base in found if len(base) >= _SHORTEST and _VOWEL.search(base)}


def _folded(text: str) -> str:
    if text.isascii():
        return text.casefold()
    # One character at a time: normalising a whole text sorts its runs of marks in quadratic time.
    apart = "".join(unicodedata.normalize("NFKD", character) for character in text)
    kept = (c for c in apart if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    return "".join(kept).casefold()
