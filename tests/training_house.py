"""A folder in which the train stage runs on a tiny model and examples of our own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stages import train
from stages.fetching import make_folder
from stages.model_specs import LocalSpec, TinySource
from stages.records import Demonstration, Message, Preference, Training, read_jsonl, write_jsonl

SMALL = {"max_steps": 4, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}


def make_tiny(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    spec = LocalSpec(engine="transformers", source=TinySource(kind="tiny", seed=seed))
    make_folder("tiny", spec, folder)
    return folder


def say(role: Any, content: str) -> Message:
    return Message(role=role, content=content)


def demonstrations(count: int = 7, environments: Sequence[str | None] = (None,)) -> list[Any]:
    return [
        Demonstration(
            item=f"own/{environment}/{n}",
            task=environment or "own",
            environment=environment,
            prompt=(say("user", f"What is {n} and {n}?"),),
            completion=(say("assistant", "So. " * (n % 3) + f"Answer: {2 * n}"),),
        )
        for environment in environments
        for n in range(count)
    ]


def preferences(count: int = 7, environments: Sequence[str | None] = (None,)) -> list[Any]:
    return [
        Preference(
            item=record.item,
            task=record.task,
            environment=record.environment,
            prompt=record.prompt,
            chosen=record.completion,
            rejected=(say("assistant", "No idea."),),
        )
        for record in demonstrations(count, environments)
    ]


class TrainHouse:
    """Runs the stage in `root`, which must be the working folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        make_tiny(root / "models" / "tiny")

    def params(self, **trainer: Any) -> Path:
        """Write params with this trainer for both objectives; `args` are added to SMALL."""
        trainer["args"] = {**SMALL, **trainer.get("args", {})}
        value = {"preset": "fixed", **trainer}
        path = self.root / "params.yaml"
        path.write_text(yaml.safe_dump({"trainers": {"sft": value, "dpo": value}}))
        return path

    def arguments(self, objective: str, out: str, model: str = "models/tiny") -> list[str]:
        """Return the command line of a cell that learns from <objective>.jsonl."""
        return [
            "--params", "params.yaml", "--objective", objective, "--suite", "bbh",
            "--method", f"own_{objective}", "--learner", "tiny", "--seed", "0", "--model", model,
            "--pairs", f"{objective}.jsonl", "--out", f"models/{out}", "--log", f"{out}.csv",
            "--runs", f"{out}.jsonl", "--facts", f"{out}.json",
        ]  # fmt: skip

    def run(
        self,
        objective: str,
        records: Sequence[Any],
        out: str = "trained",
        model: str = "models/tiny",
        **trainer: Any,
    ) -> list[Training]:
        """Train, and return how it went."""
        self.params(**trainer)
        write_jsonl(self.root / f"{objective}.jsonl", records)
        train.main(train.parser().parse_args(self.arguments(objective, out, model)))
        return read_jsonl(self.root / f"{out}.jsonl", Training)

    def facts(self, out: str = "trained") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / f"{out}.json").read_text())
        return found


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
