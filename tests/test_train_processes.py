"""Training on several processes, and the launchers' configs that are shipped.

Covered, on a CPU over gloo: two processes really run, and give the loss curve of one within 1e-4,
for SFT and DPO; a killed run of two goes on; FSDP runs, over two processes, under accelerate's own
launcher; a launcher that starts another number of processes than asked for is refused; accelerate
reads the configs. Not covered: GPUs, several machines, DeepSpeed (its config is parsed only).
"""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from conftest import ROOT
from training_house import TrainHouse, bytes_of, demonstrations, preferences
from transformers import AutoModelForCausalLM

from stages.errors import UserError
from stages.records import Training, read_jsonl, write_jsonl
from stages.training.launching import LAUNCHED, arguments, launcher

CONFIGS = sorted((ROOT / "launch").glob("*.yaml"))
# Plain numbers: what is compared is the sharing of the work, not bfloat16's rounding.
EXACT = {
    "bf16": False, "max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 0.01,
    "gradient_accumulation_steps": 2, "warmup_steps": 0,
}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainHouse:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHECKPOINTS", "checkpoints")
    return TrainHouse(tmp_path)


def start(house: TrainHouse, objective: str, out: str, **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", *house.arguments(objective, out)],
        cwd=house.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output[-4000:]
    return output


def curve(path: Path, column: str = "loss") -> list[float]:
    with path.open(newline="") as stream:
        return [float(row[column]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_two_processes_give_the_curve_of_one(house: TrainHouse, objective: str) -> None:
    records = (demonstrations if objective == "sft" else preferences)(7)
    [one] = house.run(objective, records, "one", args=EXACT)
    finish(start(house, objective, "two", TRAIN_PROCESSES="2"))
    assert (house.facts("one")["num_processes"], house.facts("two")["num_processes"]) == (1, 2)
    losses = [curve(house.root / f"{name}.csv") for name in ("one", "two")]
    assert losses[0][-1] < losses[0][0] - 0.01
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    if objective == "dpo":
        margins = [curve(house.root / f"{name}.csv", "rewards/margins") for name in ("one", "two")]
        assert margins[0] == pytest.approx(margins[1], abs=1e-4)
    [two] = read_jsonl(house.root / "two.jsonl", Training)
    # How many processes there were is no part of what is said of the model.
    changing = {"first_loss", "last_loss", "changed"}
    assert one.model_dump(exclude=changing) == two.model_dump(exclude=changing)
    models = house.root / "models"
    cards = [(models / name / "card.json").read_bytes() for name in ("one", "two")]
    assert cards[0] == cards[1]
    weights: list[Any] = [
        AutoModelForCausalLM.from_pretrained(models / name) for name in ("one", "two")
    ]
    for first, second in zip(weights[0].parameters(), weights[1].parameters(), strict=True):
        assert float((first - second).abs().max()) < 1e-3
    assert list((house.root / "checkpoints").iterdir()) == []


def test_a_killed_run_of_two_goes_on(house: TrainHouse) -> None:
    house.params(args={**EXACT, "max_steps": 40})
    write_jsonl(house.root / "sft.jsonl", demonstrations())
    finish(start(house, "sft", "undisturbed", TRAIN_PROCESSES="2"))
    killed = start(house, "sft", "killed", TRAIN_PROCESSES="2", CHECKPOINT_SECONDS="0")
    for _ in range(4000):
        if list((house.root / "checkpoints").glob("*/checkpoint-[5-9]/whole")):
            break
        assert killed.poll() is None, killed.stdout and killed.stdout.read()
        time.sleep(0.025)
    # The launchers and both processes, which would live on.
    everyone = [*psutil.Process(killed.pid).children(recursive=True), killed]
    for process in reversed(everyone):
        process.kill()
    for process in everyone:
        process.wait()
    assert not (house.root / "models" / "killed").exists()
    output = finish(start(house, "sft", "killed", TRAIN_PROCESSES="2"))
    assert "goes on from checkpoint-" in output
    models = house.root / "models"
    assert bytes_of(models / "killed") == bytes_of(models / "undisturbed")
    assert curve(house.root / "killed.csv") == curve(house.root / "undisturbed.csv")


def test_fsdp_runs_over_gloo(house: TrainHouse) -> None:
    """The shipped config, but for the device, the precision and the number of processes."""
    config = yaml.safe_load((ROOT / "launch" / "fsdp.yaml").read_text())
    config |= {"use_cpu": True, "mixed_precision": "no", "num_processes": 2}
    (house.root / "fsdp.yaml").write_text(yaml.safe_dump(config))
    [one] = house.run("sft", demonstrations(), "one", args=EXACT)
    launch = f"{sys.executable} -m accelerate.commands.launch --config_file fsdp.yaml"
    finish(start(house, "sft", "two", TRAIN_LAUNCH=launch, TRAIN_PROCESSES="2"))
    assert house.facts("two")["num_processes"] == 2
    losses = [curve(house.root / f"{name}.csv") for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    [two] = read_jsonl(house.root / "two.jsonl", Training)
    assert two.trainable == one.trainable


def test_another_number_of_processes_is_refused(house: TrainHouse) -> None:
    house.params()
    write_jsonl(house.root / "sft.jsonl", demonstrations())
    # A launcher that starts one process, as accelerate's does for --cpu --num_processes 2.
    process = start(house, "sft", "out", TRAIN_LAUNCH=sys.executable, TRAIN_PROCESSES="2")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "error: TRAIN_PROCESSES is 2, and 1 train" in output
    assert not (house.root / "models" / "out").exists()


def test_launchers() -> None:
    assert launcher({}) is None
    assert launcher({"TRAIN_PROCESSES": "1"}) is None
    command = launcher({"TRAIN_PROCESSES": "3"})
    assert command is not None
    assert command[1:] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3",
    ]  # fmt: skip
    assert launcher({"TRAIN_LAUNCH": "accelerate launch --x 'a b'"}) == [
        "accelerate", "launch", "--x", "a b",
    ]  # fmt: skip
    # Not again in what was launched.
    assert launcher({"TRAIN_PROCESSES": "3", LAUNCHED: "[]"}) is None
    assert launcher({"TRAIN_PROCESSES": "3", "WORLD_SIZE": "3"}) is None
    assert arguments({LAUNCHED: '["--log", "x"]'}, []) == ["--log", "x"]
    assert arguments({}, ["--log"]) == ["--log"]
    with pytest.raises(UserError, match="TRAIN_PROCESSES must be a number"):
        launcher({"TRAIN_PROCESSES": "0"})


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_accelerate_reads_the_shipped_configs(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    kind = "DEEPSPEED" if path.stem.startswith("deepspeed") else "FSDP"
    assert str(config.distributed_type).endswith(kind)
    assert config.num_processes == (16 if path.stem == "fsdp_nodes" else 8)
    assert config.num_machines == (2 if path.stem == "fsdp_nodes" else 1)


def test_three_configs_are_shipped() -> None:
    assert [path.stem for path in CONFIGS] == ["deepspeed_zero3", "fsdp", "fsdp_nodes"]


def test_fsdp_fields_are_those_of_accelerates_plugin() -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin

    for name in ("fsdp", "fsdp_nodes"):
        fields = yaml.safe_load((ROOT / "launch" / f"{name}.yaml").read_text())["fsdp_config"]
        known = {
            field if field.startswith("fsdp") else f"fsdp_{field}"
            for field in FullyShardedDataParallelPlugin.__dataclass_fields__
        }
        # The launcher's own names for two of them.
        known |= {"fsdp_offload_params", "fsdp_cpu_ram_efficient_loading"}
        assert set(fields) <= known
