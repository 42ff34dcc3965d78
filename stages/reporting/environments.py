"""The environments as tables see them: the class attributes that make Tables 6 and 7.

They are opened by name, so that the folder given on the command line is the one dependency of a
cell that reads them (as in `stages.playing`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from stages.errors import UserError


@dataclass(frozen=True)
class Environment:
    """What a class of `stages.tasks.environments` says of itself.

    Attributes:
        slug: its name, which is the `task` of its items.
        title: its name in Table 7.
        column: its column in Table 6.
        description: of the task.
        modification: of the original that it comes from, "" for none.
        best: the highest score.
        graded: whether there are scores between 0 and `best`.
        code: whether its answers are programs, graded by the share of tests passed.
        secret: whether it declares something that feedback must not tell.
    """

    slug: str
    title: str
    column: str
    description: str
    modification: str
    best: float
    graded: bool
    code: bool
    secret: bool


def registry(folder: Path) -> Any:
    """Return the module that finds environments by name, those whose package the folder is.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    return import_module("stages.tasks.environments.registry")


def read_environments(folder: Path, slugs: Iterable[str]) -> dict[str, Environment]:
    """Return the environments of these names, in their order.

    Raises:
        UserError: no such folder, or no environment of that name.
    """
    found = {}
    known = registry(folder)
    for slug in slugs:
        kind = known.kind(slug)
        found[slug] = Environment(
            slug=slug,
            title=kind.title,
            column=kind.column,
            description=kind.description,
            modification=kind.modification,
            best=kind.best,
            graded=kind.graded,
            code=issubclass(kind, known.Code),
            secret=kind.secret is not known.Environment.secret,
        )
    return found
