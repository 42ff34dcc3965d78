"""Training the models of one cell, one after the other, and writing them (paper, section 5.3)."""

import csv
import dataclasses
import gc
import importlib.metadata
import io
import json
import os
import platform
import random
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset, load_from_disk
from transformers import TrainerCallback

from stages.errors import UserError
from stages.files import sha256, whole_folder, write_json, write_text
from stages.models.adapters import load_weights
from stages.models.card import EnvironmentsCard, LocalCard, write_card
from stages.models.template import load_tokenizer
from stages.progress import bar
from stages.records import Demonstration, Preference, Training, write_jsonl
from stages.seeds import derive
from stages.training import checkpoints, folders
from stages.training.cell import Cell, Finished, Groups, Outputs
from stages.training.examples import Example, Pair, prepare
from stages.training.launching import PROCESSES, wanted
from stages.training.presets import Hardware, Settings, settle
from stages.training.trainers import build, check_fields, hardware, make_config, weights_dtype

LIBRARIES = ("accelerate", "datasets", "peft", "torch", "transformers", "trl")
_FIRST_COLUMNS = ("environment", "step", "loss", "learning_rate", "grad_norm")
# Of TRL's log: what is counted elsewhere, or follows from the step.
_NOT_LOGGED = {"epoch", "num_tokens", "step"}


class _Clock:
    """Seconds spent, by part."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.spent[part] += time.monotonic() - started


class _Bar(TrainerCallback):
    """Shows steps on a terminal."""

    def __init__(self, what: str, steps: int) -> None:
        self._bar = bar(steps, what, "step")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._bar.set_postfix(loss=f"{logs['loss']:.3f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.close()


class Run:
    """The training of one cell in this process, which may be one of several.

    Raises:
        UserError: settings that TRL refuses, or another number of processes than asked for.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._machine = hardware()
        self._settings = settle(cell.objective, cell.trainer, self._machine)
        check_fields(cell.section, cell.objective, self._settings)
        if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
            raise UserError(
                f"{torch.cuda.device_count()} GPUs and one process: set {PROCESSES} to their "
                "number, or CUDA_VISIBLE_DEVICES to one of them"
            )
        self._state: Any = PartialState(cpu=not self._machine.gpu)
        count = wanted(os.environ)
        if count is not None and count != self._state.num_processes:
            raise UserError(f"{PROCESSES} is {count}, and {self._state.num_processes} train")
        self._every = checkpoints.seconds(os.environ)
        self._root = checkpoints.place(os.environ)
        self._clock = _Clock()
        self._resumed: dict[str, int] = {}

    def __call__(self, groups: Groups, outputs: Outputs, seconds_to_import: float) -> None:
        """Train a model for each group and write all outputs."""
        for fallback in self._settings.fallbacks:
            self._say(fallback)
        with ExitStack() as stack:
            kept = []
            for environment, records in groups.items():
                folder = self._root / self._key(environment, records)
                if self._state.is_main_process:
                    stack.enter_context(checkpoints.held(folder))
                if not (folder / "finished").is_dir():
                    self._train(environment, records, folder)
                self._state.wait_for_everyone()
                kept.append(folder)
            if self._state.is_main_process:
                with self._clock("write"):
                    self._write(list(groups), kept, outputs)
                self._write_facts(outputs.facts, seconds_to_import)
                for folder in kept:
                    rmtree(folder)
            self._state.wait_for_everyone()

    def _say(self, line: str) -> None:
        if self._state.is_main_process:
            print(line, file=sys.stderr)

    def _key(
        self, environment: str | None, records: Sequence[Demonstration] | Sequence[Preference]
    ) -> str:
        """Return the name of all that the weights follow from, to the last bit."""
        start = self._cell.folder(environment)
        files = sorted(path for path in start.rglob("*") if path.is_file())
        return checkpoints.digest(
            {
                "cell": [
                    self._cell.suite, self._cell.learner, self._cell.method, self._cell.seed,
                    self._cell.objective, environment, self._cell.trainer.save,
                ],
                "start": {path.relative_to(start).as_posix(): sha256(path) for path in files},
                "named": str(start),
                "settings": dataclasses.asdict(self._settings),
                "records": [record.model_dump_json() for record in records],
                "processes": self._state.num_processes,
                "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
            }
        )[:24]  # fmt: skip

    def _card(
        self, environment: str | None, records: Sequence[Demonstration] | Sequence[Preference]
    ) -> LocalCard:
        """Return the card of the trained model: what it was made from, by name and by hash."""
        base = self._cell.card(environment)
        name = f"{base.name} + {self._cell.method}"
        made_from = {
            "base": [base.name, base.revision],
            "settings": dataclasses.asdict(self._settings),
            "seed": self._cell.seed,
            "records": [record.model_dump_json() for record in records],
        }
        return LocalCard(
            engine=base.engine,
            name=name if environment is None else f"{name} ({environment})",
            revision=f"sha256:{checkpoints.digest(made_from)}",
            adapter=self._cell.trainer.save == "adapter",
        )

    def _start(self, environment: str | None, folder: Path) -> Path:
        """Return a folder with the whole weights that training starts from."""
        source = self._cell.folder(environment)
        if not self._cell.card(environment).adapter:
            return source
        merged = folder / "start"
        if self._state.is_main_process and not merged.is_dir():
            with whole_folder(merged) as scratch:
                load_weights(source, dtype="auto").save_pretrained(scratch)
                folders.copy_tokenizer(source, scratch)
        self._state.wait_for_everyone()
        return merged

    def _train(
        self,
        environment: str | None,
        records: Sequence[Demonstration] | Sequence[Preference],
        folder: Path,
    ) -> None:
        """Train one model, and put it into `folder`/finished."""
        cell, settings, clock = self._cell, self._settings, self._clock
        with clock("load"):
            start = self._start(environment, folder)
            tokenizer = load_tokenizer(start)
            prepared = prepare(records, tokenizer, settings)
            steps = settings.steps(len(prepared.examples))
            examples, order = _used(
                prepared.examples,
                shuffled(len(prepared.examples), steps * settings.batch, cell.seed, environment),
            )
            config = make_config(
                cell.section, cell.objective, settings, self._machine, steps, cell.seed,
                folder, self._state.num_processes,
            )  # fmt: skip
            what = " ".join(filter(None, (cell.learner, cell.method, environment)))
            trainer = build(
                cell.section, cell.objective, settings, config, start, tokenizer,
                self._data(examples, folder), order,
                [checkpoints.Keeper(self._every), *self._bars(what, steps)],
            )  # fmt: skip
            if trainer.accelerator.num_processes != self._state.num_processes:
                raise RuntimeError("TRL trains on another number of processes")
            trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
            last = checkpoints.last_whole(folder)
            if self._state.is_main_process:
                checkpoints.keep_only(folder, last)
            self._state.wait_for_everyone()
            if last is not None:
                self._resumed[environment or "all"] = int(last.name.split("-")[1])
                self._say(f"{what}: goes on from {last.name}")
        with clock("train"):
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        with clock("save"):
            weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
            if self._state.is_main_process:
                log = [entry for entry in trainer.state.log_history if "loss" in entry]
                with whole_folder(folder / "finished") as finished:
                    changed = self._save(trainer, weights, start, environment, finished / "model")
                    folders.copy_tokenizer(start, finished / "model")
                    write_card(finished / "model", self._card(environment, records))
                    training = Training(
                        suite=cell.suite,
                        learner=cell.learner,
                        method=cell.method,
                        seed=cell.seed,
                        objective=cell.objective,
                        preset=settings.preset,
                        environment=environment,
                        examples=len(examples),
                        too_long=prepared.too_long,
                        cut=prepared.cut,
                        steps=steps,
                        batch=settings.batch,
                        tokens=sum(examples[place].tokens for place in order),
                        target_tokens=sum(examples[place].targets for place in order),
                        trainable=trainable,
                        changed=changed,
                        first_loss=log[0]["loss"],
                        last_loss=log[-1]["loss"],
                        config=as_run(settings, self._machine, steps),
                        adapter=settings.adapter,
                        quantization=settings.quantization,
                        fallbacks=settings.fallbacks,
                    )
                    write_json(finished / "training.json", training.model_dump(mode="json"))
                    write_json(finished / "log.json", log)
                checkpoints.keep_only(folder, None)
        self._state.wait_for_everyone()
        # One model's memory is the next one's.
        del trainer, weights
        gc.collect()
        if self._machine.gpu:
            torch.cuda.empty_cache()

    def _bars(self, what: str, steps: int) -> list[TrainerCallback]:
        return [_Bar(what, steps)] if self._state.is_main_process else []

    def _data(self, examples: Sequence[Example | Pair], folder: Path) -> Dataset:
        """Return the examples as a dataset on the disk, where all processes find what one adds."""
        data = folder / "data"
        if self._state.is_main_process and not data.is_dir():
            with whole_folder(data) as scratch:
                rows = [dataclasses.asdict(example) for example in examples]
                Dataset.from_list(rows).save_to_disk(scratch)
        self._state.wait_for_everyone()
        loaded = load_from_disk(str(data))
        assert isinstance(loaded, Dataset)
        return loaded

    def _save(
        self, trainer: Any, weights: Any, start: Path, environment: str | None, folder: Path
    ) -> float:
        """Write the trained weights into `folder`; return which share differs from the start."""
        if self._cell.trainer.adapter is None:
            return folders.write_whole(folder, start, weights)
        adapted = trainer.accelerator.unwrap_model(trainer.model)
        save = self._cell.trainer.save
        with TemporaryDirectory(dir=folder.parent) as scratch:
            adapter = Path(scratch) / "adapter"
            folders.write_adapter(adapter, adapted, weights)
            changed = folders.write_merged(folder, start, adapter, save=save == "merged")
            if save == "adapter":
                folders.name_base(adapter, self._cell.folder(environment))
                adapter.replace(folder)
        return changed

    def _write(self, environments: list[str | None], kept: list[Path], outputs: Outputs) -> None:
        finished = [_finished(folder / "finished") for folder in kept]
        with whole_folder(outputs.model) as out:
            for environment, folder in zip(environments, kept, strict=True):
                model = folder / "finished" / "model"
                copytree(
                    model, out if environment is None else out / environment, dirs_exist_ok=True
                )
            if None not in environments:
                names = tuple(sorted(name for name in environments if name is not None))
                write_card(out, EnvironmentsCard(environments=names))
        write_text(outputs.log, _table(finished))
        write_jsonl(outputs.runs, [one.training for one in finished])

    def _write_facts(self, path: Path, seconds_to_import: float) -> None:
        gpu = self._machine.gpu
        device = torch.cuda.get_device_name() if gpu else platform.machine()
        cell = self._cell
        write_json(
            path,
            {
                "cell": f"train/{cell.suite}/{cell.learner}/{cell.method}/{cell.seed}",
                "device": f"{'cuda' if gpu else 'cpu'} ({device})",
                "num_processes": self._state.num_processes,
                "resumed_from_step": self._resumed,
                "seconds": {
                    "import": round(seconds_to_import, 3),
                    **{part: round(spent, 3) for part, spent in self._clock.spent.items()},
                },
                "threads": torch.get_num_threads(),
                "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
            },
        )


def shuffled(examples: int, rows: int, seed: int, environment: str | None) -> list[int]:
    """Return `rows` places: all examples in a seeded order, then again in another, and so on.

    A step's batch may hold the end of one pass and the beginning of the next, so that every step
    has the same number of examples, on one process or on several.
    """
    order: list[int] = []
    while len(order) < rows:
        places = list(range(examples))
        random.Random(derive("order", seed, environment, len(order))).shuffle(places)
        order += places
    return order[:rows]


def _used(
    examples: Sequence[Example] | Sequence[Pair], order: Sequence[int]
) -> tuple[list[Example | Pair], list[int]]:
    """Return the examples that are in the order, and the order of their new places.

    DPO computes the reference's part for every example that it is given.
    """
    used = sorted(set(order))
    places = {old: new for new, old in enumerate(used)}
    return [examples[place] for place in used], [places[place] for place in order]


def as_run(settings: Settings, machine: Hardware, steps: int) -> dict[str, Any]:
    """Return the fields of TRL's config as they ran, with those of the data step."""
    return {
        **settings.args,
        "model_init_kwargs": {
            "dtype": weights_dtype(settings, machine),
            **(settings.args.get("model_init_kwargs") or {}),
        },
        "max_steps": steps,
        "data": settings.data,
        "max_prompt_length": settings.max_prompt_length,
    }


def _finished(folder: Path) -> Finished:
    training = Training.model_validate_json((folder / "training.json").read_bytes())
    return Finished(training, json.loads((folder / "log.json").read_text(encoding="utf-8")))


def _table(finished: Sequence[Finished]) -> str:
    """Return TRL's logs as one CSV, a row for each step of each model."""
    logged = {name for one in finished for row in one.log for name in row} - _NOT_LOGGED
    columns = [*_FIRST_COLUMNS, *sorted(logged - set(_FIRST_COLUMNS))]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for one in finished:
        for row in one.log:
            values = [f"{row[name]:.6g}" if name in row else "" for name in columns[2:]]
            writer.writerow([one.training.environment or "", int(row["step"]), *values])
    return buffer.getvalue()


def train_cell(
    cell: Cell, groups: Groups, outputs: Outputs, seconds_to_import: float = 0.0
) -> None:
    """Train the cell's models and write its outputs.

    Raises:
        UserError: see `Run`; also no example that fits, or no place for checkpoints.
    """
    # TRL itself reads the field of this name, and knows no other.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
    Run(cell)(groups, outputs, seconds_to_import)
