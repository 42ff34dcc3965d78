"""Figure 3 (paper, Appendix B): the SFT and the DPO configuration, as printed and as they ran."""

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from stages.params import check, read_yaml
from stages.records import Training
from stages.reporting.latex import render

OBJECTIVES = {"sft": "SFTConfig", "dpo": "DPOConfig"}
# What today's field is called, where that has changed: a warmup below 1 is a share of the steps.
_RENAMED = {"warmup_ratio": "warmup_steps"}
_LINE = re.compile(r"^(\w+)\s*[:=]\s*(.+?),?$")
COLUMNS = ("objective", "printed", "field", "ran", "differs")


def read_printed(path: Path) -> dict[str, str]:
    """Read Appendix B's two configurations, `as_printed.<objective>.printed`, by objective.

    Raises:
        UserError: names file and key.
    """
    values: Any = read_yaml(path)
    found = {}
    for objective in OBJECTIVES:
        key, value = "as_printed", values.get("as_printed")
        for part in (objective, "printed"):
            key = f"{key}.{part}"
            value = value.get(part) if isinstance(value, dict) else None
        found[objective] = check(path, key, value, TypeAdapter(str))
    return found


def build(
    printed: Mapping[str, str],
    ran: Mapping[str, Training],
    args: Mapping[str, Iterable[str]],
) -> pd.DataFrame:
    """Return a row a field: the paper's, in its order, then those that our params set.

    Args:
        printed: the configuration of each objective, as in the paper.
        ran: one training of each objective; of one without, only what the paper prints is shown.
        args: the fields that params.yaml sets, by objective.

    Returns:
        objective; printed (the line, "" where the paper has none); field (today's name, "" where
        there is no such field any more); ran (its value); differs (empty where the paper prints a
        variable, `num_steps` say, or nothing ran).
    """
    rows: list[dict[str, Any]] = []
    for objective in OBJECTIVES:
        config = ran[objective].config if objective in ran else None
        shown = set()
        for line in filter(None, map(str.strip, printed[objective].splitlines())):
            found = _LINE.match(line)
            field = _RENAMED.get(found[1], found[1]) if found else ""
            there = config is not None and field in config
            row: dict[str, Any] = {"objective": objective, "printed": line}
            row |= {"field": "", "ran": "", "differs": None}
            if there and config is not None and found:
                shown.add(field)
                row |= {"field": field, "ran": _text(config[field])}
                row["differs"] = _differs(found[2], config[field])
            rows.append(row)
        for field in args[objective]:
            if config is not None and field not in shown and field in config:
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

    def fields(values: Mapping[str, Any] | None) -> str:
        return ", ".join(f"{k}={_text(v)}" for k, v in values.items()) if values else "none"

    return [
        f"preset {training.preset}",
        f"adapter: {fields(training.adapter)}",
        f"quantization: {fields(training.quantization)}",
        *training.fallbacks,
    ]
