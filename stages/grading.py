"""Opening what grades a suite: extraction rules for questions, the environments for games and code.

The path tells which: a cell names what it is graded by on its command line, and so in its
dependencies; a cell of questions does not depend on environments.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from stages.records import Item, Trajectory
from stages.tasks.extraction import Rules, load_rules
from stages.tasks.grade import Grade, Grader, Told


class Questions:
    """Grades the last reply of a trajectory by extraction rules (paper, section 4.1)."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def grades(self, episodes: Sequence[tuple[Item, Trajectory]]) -> list[Grade]:
        """Return how each trajectory did. Raises UserError for a family without a rule."""
        return [self._rules.grade(item, tau.last.text) for item, tau in episodes]

    def kept(self, item: Item, number: int, before: str, after: str) -> bool:
        """Tell whether both extractors read the same in two replies, or nothing."""
        one, other = (self._rules.grade(item, text) for text in (before, after))
        return (one.strict, one.tolerant) == (other.strict, other.tolerant)

    def told(self, item: Item, text: str) -> Told:
        """Return what the tolerant extractor reads out of a text as if it were a reply."""
        found = self._rules.grade(item, text)
        return Told(found.tolerant, found.tolerant_score == 1)

    def facts(self) -> dict[str, object]:
        """Return nothing: the rules and the reply are all there is."""
        return {}


@contextmanager
def open_grader(path: Path) -> Iterator[Grader]:
    """Yield what grades: the rules of a file, or the environments whose package the folder is.

    Raises:
        UserError: the rules file is missing or wrong.
    """
    if path.is_dir():
        with import_module("stages.tasks.environments.grading").open_episodes() as episodes:
            yield episodes
    else:
        yield Questions(load_rules(path))
