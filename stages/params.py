"""Typed access to params.yaml: a stage can read the keys that it declares, and no others.

Each stage module lists its keys in `PARAMS`, with the axes of its cell in braces
(`students.{student}`); a test compares them with what DVC resolves for every cell of dvc.yaml.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from stages.errors import UserError

T = TypeVar("T")


class Section(BaseModel):
    """Base of all sections of params.yaml: immutable, exact types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Loader(yaml.CSafeLoader):
    """The safe loader, but a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Parse a YAML mapping. Raises UserError naming the file and, where known, the line."""
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise UserError(f"{path}{line}: {problem}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
    except (ValueError, LookupError, AttributeError) as error:
        # What the loader says of a date with a 13th month, or of a tag that a value does not fit.
        raise UserError(f"{path}: a value cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping at the top")
    return value


def check(path: Path, key: str, value: Any, kind: type[T] | TypeAdapter[T]) -> T:
    """Return `value` as `kind`. Raises UserError naming file and key."""
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {key}: {error}") from None
    try:
        # As JSON, where a list can be a tuple and still `true` is no 1 and "1" neither.
        return adapter.validate_json(text)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # Of a misspelt key, the spelling says more than the key that is then missing.
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        at = ".".join(str(part) for part in (key, *first["loc"]) if part != "")
        got = "" if first["type"] == "missing" else f" (got {first['input']!r})"
        raise UserError(f"{path}: {at}: {first['msg'].splitlines()[0]}{got}") from None


class Params:
    """The declared part of params.yaml, for one cell.

    Args:
        path: the params file.
        declared: key patterns of the stage, e.g. `("students.{student}", "grid.seeds")`.
        axes: the cell, e.g. `student="qwen2_7b"`.
    """

    def __init__(self, path: Path, declared: Sequence[str], **axes: object) -> None:
        self._path = path
        self._declared = {pattern: pattern.format(**axes) for pattern in declared}
        self._values = read_yaml(path)

    def get(self, pattern: str, kind: type[T] | TypeAdapter[T]) -> T:
        """Return the value under a declared key as `kind`.

        Raises:
            KeyError: the stage does not declare this key.
            UserError: the value is missing or not of this kind.
        """
        key = self._declared[pattern]
        value: Any = self._values
        for depth, part in enumerate(key.split(".")):
            if not isinstance(value, dict) or part not in value:
                missing = ".".join(key.split(".")[: depth + 1])
                raise UserError(f"{self._path}: {missing}: not there")
            value = value[part]
        return check(self._path, key, value, kind)
