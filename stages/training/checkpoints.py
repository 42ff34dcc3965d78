"""Where a training under way is kept, so that a killed run goes on with the same weights.

Not among DVC's outputs: those are written whole or not at all. A folder for each model, named by
all that its weights follow from, holds the last whole checkpoint, or the finished model while
others of the cell are still to come. Several machines need a folder that all of them see.
"""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from stages.errors import UserError
from stages.models.call_log import lasting_folder

FOLDER, SECONDS = "CHECKPOINTS", "CHECKPOINT_SECONDS"
_DEFAULT_SECONDS = 300.0
_WHOLE = "whole"
_CHECKPOINT = re.compile(r"checkpoint-([0-9]+)")


def place(env: Mapping[str, str]) -> Path:
    """Return the folder of all checkpoints: CHECKPOINTS, else one in the git directory.

    Raises:
        UserError: CHECKPOINTS is not set and there is no git checkout.
    """
    root = Path(env.get("DVC_ROOT") or Path.cwd())
    if env.get(FOLDER):
        return root / env[FOLDER]
    return lasting_folder(root, f"checkpoints; set {FOLDER} to a folder") / "checkpoints"


def seconds(env: Mapping[str, str]) -> float:
    """Return how long training goes on between two checkpoints.

    Raises:
        UserError: CHECKPOINT_SECONDS is no such number.
    """
    text = env.get(SECONDS) or str(_DEFAULT_SECONDS)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise UserError(f"{SECONDS} must be a number of seconds, got {text!r}")
    return float(text)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value as JSON, keys sorted."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder and keep others out of it.

    The processes of a run whose launcher was killed may live on for a while.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is training this; await its end") from None
        yield
    finally:
        os.close(descriptor)


def last_whole(folder: Path) -> Path | None:
    """Return the last whole checkpoint in `folder`."""
    whole = [path for path in _checkpoints(folder) if (path / _WHOLE).exists()]
    return max(whole, key=_step, default=None)


def keep_only(folder: Path, kept: Path | None) -> None:
    """Delete the other checkpoints in `folder`, halves of them too."""
    for path in _checkpoints(folder):
        if path != kept:
            rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if _CHECKPOINT.fullmatch(path.name)]


def _step(path: Path) -> int:
    return int(path.name.split("-")[1])


class Keeper(TrainerCallback):
    """Makes a checkpoint every so many seconds, and keeps the last whole one.

    By the clock, since a step takes seconds here and minutes there: when it happens changes
    nothing, because training goes on from a checkpoint bit by bit as if there had been none.
    """

    def __init__(self, every: float) -> None:
        """Take the seconds between two checkpoints."""
        self._every = every
        self._last = time.monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> TrainerControl:
        """Ask for a checkpoint if it is time, all processes alike."""
        from accelerate.utils import broadcast_object_list

        due = [time.monotonic() - self._last >= self._every]
        broadcast_object_list(due)
        if due[0] and state.global_step < state.max_steps:
            control.should_save = True
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Say that the checkpoint is whole, once all processes have written their part."""
        from accelerate import PartialState

        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir))
            path = folder / f"checkpoint-{state.global_step}"
            (path / _WHOLE).touch()
            keep_only(folder, path)
        self._last = time.monotonic()
