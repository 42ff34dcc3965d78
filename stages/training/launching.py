"""Training on several processes: the stage starts itself anew under a launcher.

How many there are changes neither params nor what is written: a step has the same examples, so that
this belongs to the environment. `TRAIN_PROCESSES=2` runs the stage under torch's own launcher;
`TRAIN_LAUNCH="accelerate launch --config_file launch/fsdp.yaml"` under that one, and
`TRAIN_PROCESSES` then says how many it must come to.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

from stages.errors import UserError

PROCESSES, LAUNCH, LAUNCHED = "TRAIN_PROCESSES", "TRAIN_LAUNCH", "TRAIN_LAUNCHED"


def wanted(env: Mapping[str, str]) -> int | None:
    """Return TRAIN_PROCESSES, or None. Raises UserError where it is no such number."""
    text = env.get(PROCESSES)
    if not text:
        return None
    if not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise UserError(f"{PROCESSES} must be a number of processes, got {text!r}")
    return int(text)


def launcher(env: Mapping[str, str]) -> list[str] | None:
    """Return the command that starts the processes, or None where this process trains.

    Raises:
        UserError: TRAIN_PROCESSES is no such number.
    """
    count = wanted(env)
    if env.get(LAUNCHED) or env.get("WORLD_SIZE"):
        return None
    if env.get(LAUNCH):
        return shlex.split(env[LAUNCH])
    if count is None or count == 1:
        return None
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc_per_node", str(count)]


def arguments(env: Mapping[str, str], given: Sequence[str]) -> list[str]:
    """Return the stage's arguments: those given, or what the process that launched this one got."""
    return [str(word) for word in json.loads(env[LAUNCHED])] if env.get(LAUNCHED) else list(given)


def launch(command: Sequence[str], arguments: Sequence[str]) -> None:
    """Run the stage under `command`. Raises UserError where it fails; the processes say why.

    The arguments go through the environment: torchrun takes `--log` for an option of its own.
    """
    env = {**os.environ, LAUNCHED: json.dumps(list(arguments))}
    try:
        whole = [*command, "-m", "stages.train"]
        code = subprocess.run(whole, env=env, check=False).returncode
    except FileNotFoundError:
        raise UserError(f"{LAUNCH}: {command[0]}: no such command") from None
    if code != 0:
        raise UserError(f"{shlex.join(command)} ended with {code}")
