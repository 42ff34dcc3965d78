"""One cell of training: what is trained on what, checked before anything heavy is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from stages.errors import UserError
from stages.models.card import EnvironmentsCard, LocalCard, read_card
from stages.records import Demonstration, Preference, Training, read_jsonl
from stages.training.config import Objective, Trainer

R = TypeVar("R", Demonstration, Preference)
Groups: TypeAlias = Mapping[str | None, list[Demonstration]] | Mapping[str | None, list[Preference]]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        trainer: how it is trained.
        section: file and key of `trainer`, for messages.
        model: the folder to start from; it may hold a folder for each environment.
    """

    suite: str
    learner: str
    method: str
    seed: int
    objective: Objective
    trainer: Trainer
    section: str
    model: Path

    def folder(self, environment: str | None) -> Path:
        """Return the model folder that an environment's training starts from.

        Raises:
            UserError: there is none for it.
        """
        card = read_card(self.model)
        if not isinstance(card, EnvironmentsCard):
            return self.model
        if environment not in card.environments:
            raise UserError(
                f"{self.model}: a folder of models, one for each environment, and none for "
                f"{environment or 'all in one'}"
            )
        return self.model / environment

    def card(self, environment: str | None) -> LocalCard:
        """Return the card of that folder.

        Raises:
            UserError: it holds no weights.
        """
        folder = self.folder(environment)
        card = read_card(folder)
        if not isinstance(card, LocalCard):
            raise UserError(f"{folder}: no weights to train, its engine is {card.engine}")
        return card


@dataclass(frozen=True)
class Outputs:
    """The paths that a cell writes."""

    model: Path
    log: Path
    runs: Path
    facts: Path


@dataclass(frozen=True)
class Finished:
    """One trained model: how it went, and TRL's log, a row a step."""

    training: Training
    log: list[dict[str, float]]


def read_pairs(path: Path, cell: Cell) -> Groups:
    """Read what to learn from, by environment, in the order of the file.

    Raises:
        UserError: a line is of another kind, there is none, only some name an environment, or the
            cell's model cannot be trained on them.
    """
    groups: Groups
    if cell.objective == "sft":
        groups = _by_environment(path, read_jsonl(path, Demonstration))
    else:
        groups = _by_environment(path, read_jsonl(path, Preference))
    if not groups:
        raise UserError(f"{path}: nothing to learn from")
    if None in groups and len(groups) > 1:
        raise UserError(f"{path}: environment: named on some lines only")
    for environment in groups:
        cell.card(environment)
    return groups


def _by_environment(path: Path, records: list[R]) -> dict[str | None, list[R]]:
    groups: dict[str | None, list[R]] = {}
    for number, record in enumerate(records, start=1):
        name = record.environment
        if name is not None and (not name or name.startswith(".") or "/" in name):
            raise UserError(f"{path}:{number}: environment: {name!r} is no name of a folder")
        groups.setdefault(name, []).append(record)
    return groups
