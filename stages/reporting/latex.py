r"""LaTeX out of Jinja templates that stay readable: \VAR{...}, \BLOCK{...}, \#{...}.

The filters print a fraction with two decimals, as the paper does.
"""

from math import isnan
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

MISSING = "--"
_SPECIAL = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def escape(text: object) -> str:
    """Return text with LaTeX's special characters made literal."""
    return "".join(_SPECIAL.get(char, char) for char in str(text))


def number(value: float, decimals: int = 2) -> str:
    """Return a number with a true minus sign, `--` for NaN."""
    if isnan(value):
        return MISSING
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "$-$")


def interval(row: dict[str, float], column: str, suffix: str = "") -> str:
    """Return the interval of a row's column as [low, high], nothing where there is none."""
    return ends(row, f"{column}_low{suffix}", f"{column}_high{suffix}")


def ends(row: dict[str, float], low: str, high: str) -> str:
    """Return the interval between two columns of a row, nothing where there is none."""
    return "" if isnan(row[low]) else rf"[{number(row[low])},\,{number(row[high])}]"


def p_value(value: float) -> str:
    """Return a p-value with three decimals, `--` for NaN."""
    return r"$<$0.001" if value < 0.0005 else number(value, 3)


def count(value: float) -> str:
    """Return a whole number, `--` where there is none."""
    return MISSING if isnan(value) else str(round(value))


def render(template: Path, **values: object) -> str:
    """Render a LaTeX template; an unknown name in it raises."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        autoescape=False,
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\#{",
        comment_end_string="}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        tex=escape, num=number, interval=interval, ends=ends, p=p_value, count=count
    )
    return environment.get_template(template.name).render(values)
