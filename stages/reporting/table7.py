"""Table 7 (paper, appendix C): the games of Big-Bench Strategic Reasoning, as their classes say."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from stages.reporting.environments import Environment
from stages.reporting.latex import render

_COLUMNS = ["slug", "title", "column", "description", "modification", "best"]


def build(environments: Iterable[Environment]) -> pd.DataFrame:
    """Return a row a game, in the order given; as in the paper, code is none."""
    rows = [asdict(environment) for environment in environments if not environment.code]
    return pd.DataFrame(rows, columns=_COLUMNS)


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV."""
    return table.to_csv(index=False, lineterminator="\n")


def to_tex(table: pd.DataFrame, scale: str) -> str:
    """Return the table as LaTeX."""
    template = Path(__file__).with_name("table7.tex.jinja")
    return render(template, rows=table.to_dict(orient="records"), scale=scale)
