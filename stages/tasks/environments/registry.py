"""Finding an environment by its name, which is that of its module."""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from stages.errors import UserError
from stages.params import check
from stages.tasks.environments.base import Code, Environment, Game

_OTHERS = {
    *("__init__", "base", "grading", "numeric", "playing", "preparing", "programs", "reading"),
    "registry",
}


def names() -> list[str]:
    """Return the names of all environments, sorted."""
    here = Path(__file__).parent
    return sorted(
        path.stem for path in here.glob("*.py") if path.stem not in _OTHERS and path.stem[0] != "_"
    )


@cache
def kind(name: str) -> type[Game | Code]:
    """Return the class of an environment. Raises UserError for a name that is none."""
    if name not in names():
        raise UserError(f"no environment {name}: there are {', '.join(names())}")
    found: type[Game | Code] = import_module(f"stages.tasks.environments.{name}").ENVIRONMENT
    return found


@cache
def environment(name: str) -> Game | Code:
    """Return an environment as play and grading use it. Raises UserError for an unknown name."""
    return kind(name)()


def with_options(path: Path, key: str, name: str, options: dict[str, Any]) -> Environment:
    """Return an environment that makes instances with these options, which stand under `key`.

    Raises:
        UserError: no such environment or option; names file and key.
    """
    try:
        found = kind(name)
    except UserError as error:
        raise UserError(f"{path}: {key}: {error}") from None
    return check(path, key, options, found)
