"""Prompts: Jinja files, rendered strictly (a variable that is not given is an error)."""

from pathlib import Path

from jinja2 import (
    DictLoader,
    Environment,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
)

from stages.errors import UserError

_ENVIRONMENT = Environment(
    # Nothing to include: a prompt is exactly the file that its DVC cells depend on.
    loader=DictLoader({}),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,
)


class Prompt:
    """One prompt file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._template: Template = _ENVIRONMENT.from_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: no such prompt") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
        except TemplateSyntaxError as error:
            raise UserError(f"{path}:{error.lineno}: {error.message}") from None

    def render(self, **values: object) -> str:
        """Return the text. Raises UserError where the file asks for a value that is not given."""
        try:
            return self._template.render(**values).strip()
        except TemplateError as error:
            raise UserError(f"{self._path}: {error.message}") from None
        except (TypeError, ValueError, ArithmeticError) as error:
            raise UserError(f"{self._path}: {error}") from None
