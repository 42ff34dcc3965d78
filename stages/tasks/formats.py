"""Answer families: what an answer may look like and the words that ask for it.

The paper (section 4.1) matches answers by one regular expression per task; tasks whose answers look
alike share a family here. Reading answers back is the business of `extraction`.
"""

from pathlib import Path
from typing import Literal, TypeAlias

from stages.params import Section, check, read_yaml

Family: TypeAlias = Literal[
    "letter", "yes_no", "boolean", "validity", "integer", "brackets", "words"
]


class AnswerFormat(Section):
    """How one family is asked for; `options` where all items of the family share them."""

    asked: str
    options: tuple[str, ...] | None


def load_formats() -> dict[Family, AnswerFormat]:
    """Read answer_formats.yaml, beside this module. Raises UserError naming file and field."""
    path = Path(__file__).with_name("answer_formats.yaml")
    return {
        family: check(path, family, value, AnswerFormat)
        for family, value in check(path, "families", read_yaml(path), dict[Family, object]).items()
    }
