"""Figure 3 (paper, Appendix B): the SFT and the DPO configuration, as printed and as they ran."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stages.errors import UserError
from stages.params import check, read_yaml
from stages.records import Training
from stages.reporting.latex import render

OBJECTIVES = {"sft": "SFTConfig", "dpo": "DPOConfig"}
_LINE = re.compile(r"^(\w+)\s*[:=]\s*(.+?),?$")
COLUMNS = ("objective", "printed", "field", "ran", "differs")


class Printed(NamedTuple):
    """Appendix B: each objective's configuration as text, and what its fields are called today."""

    text: Mapping[str, str]
    names: Mapping[str, str | None]


def read_printed(path: Path) -> Printed:
    """Read what Appendix B prints from the presets of training, their `printed` and `fields`.

    Raises:
        UserError: names file and key.
    """
    values = read_yaml(path)
    text = check(path, "printed", values.get("printed"), dict[str, str])
    for objective in OBJECTIVES:
        if objective not in text:
            raise UserError(f"{path}: printed.{objective}: not there")
    return Printed(text, check(path, "fields", values.get("fields"), dict[str, str | None]))


def build(printed: Printed, ran: Mapping[str, Training]) -> pd.DataFrame:
    """Return a row a field: the paper's, in its order, then the others that were set.

    Args:
        printed: what the paper prints.
        ran: one training of each objective; of one without, only what the paper prints is shown.

    Returns:
        objective; printed (the line, "" where the paper has none); field (the name under which it
        ran, "" where it did not); ran (its value); differs (empty where the paper prints a
        variable, `num_steps` say, or it did not run).
    """
    rows: list[dict[str, Any]] = []
    for objective in OBJECTIVES:
        config = ran[objective].config if objective in ran else {}
        shown = set()
        for line in filter(None, map(str.strip, printed.text[objective].splitlines())):
            row: dict[str, Any] = {"objective": objective, "printed": line}
            row |= {"field": "", "ran": "", "differs": None}
            if found := _LINE.match(line):
                own = found[1]
                field = own if own in config else printed.names.get(own)
                if field in config:
                    shown.add(field)
                    row |= {"field": field, "ran": _text(config[field])}
                    row["differs"] = _differs(found[2], config[field])
            rows.append(row)
        for field in sorted(config.keys() - shown):
            row = {"objective": objective, "printed": "", "field": field, "differs": None}
            rows.append(row | {"ran": _text(config[field])})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _differs(printed: str, ran: Any) -> bool | None:
    """Return whether a value is another than the printed one; None where that is a variable."""
    try:
        value = ast.literal_eval(printed)
    except (ValueError, SyntaxError):
        return None
    return bool(value != ran)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(own)}" for key, own in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV."""
    return table.to_csv(index=False, lineterminator="\n")


def to_tex(
    table: pd.DataFrame,
    ran: Mapping[str, Training],
    labels: Mapping[str, str],
    about: Mapping[str, object],
) -> str:
    """Return the figure as LaTeX, SFT on the left and DPO on the right.

    Args:
        table: what `build` returns.
        ran: the trainings that are shown.
        labels: printed names of methods and learners.
        about: what captions say.
    """
    sides = []
    for objective, name in OBJECTIVES.items():
        rows = table[table["objective"] == objective].to_dict(orient="records")
        for row in rows:
            # A field of the paper's own name needs no second mention.
            own = _LINE.match(row["printed"])
            row["name"] = "" if own and own[1] == row["field"] else row["field"]
        training = ran.get(objective)
        side: dict[str, object] = {"name": name, "rows": rows, "notes": [], "of": None}
        if training:
            side |= {
                "of": f"{labels[training.learner]}, {labels[training.method]}",
                "notes": _notes(training),
            }
        sides.append(side)
    return render(Path(__file__).with_name("figure3.tex.jinja"), sides=sides, **about)


def _notes(training: Training) -> list[str]:
    """Return what else the training was made with, in words."""
    return [
        f"preset {training.preset}",
        f"adapter: {_text(training.adapter or 'none')}",
        f"quantization: {_text(training.quantization or 'none')}",
        *training.fallbacks,
    ]
