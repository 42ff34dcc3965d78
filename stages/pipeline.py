"""Reading dvc.yaml: the command line of one cell, so that paths stand there and only there."""

import re
import shlex
from pathlib import Path
from typing import Any

from stages.errors import UserError
from stages.params import read_yaml

_VARIABLE = re.compile(r"\$\{([\w.]+)\}")


def cell_arguments(pipeline: Path, params: Path, stage: str, **axes: object) -> list[str]:
    """Return the arguments of a stage's command in one cell, e.g. `student="qwen2_7b", seed=0`.

    Raises UserError where the stage or one of its variables is not there.
    """
    stages = read_yaml(pipeline).get("stages", {})
    if stage not in stages:
        raise UserError(f"{pipeline}: no stage {stage}")
    values = {**read_yaml(params), "item": axes}

    def look_up(match: re.Match[str]) -> str:
        value: Any = values
        for part in match[1].split("."):
            if not isinstance(value, dict) or part not in value:
                raise UserError(f"{pipeline}: {stage}: no value for ${{{match[1]}}}")
            value = value[part]
        return str(value)

    words = shlex.split(_VARIABLE.sub(look_up, stages[stage]["cmd"]))
    return words[3:]  # after `python -m stages.<module>`
