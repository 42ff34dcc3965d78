"""The train stage on a tiny model: what it writes, and what a kill or a mistake leaves.

Covered: the model folder reloads in plain transformers in the base's precision, share of weights
that changed, records, log and facts; the same bytes twice; a model for each environment; an
iteration on what was trained; adapters, merged and alone, by the engine and by plain peft; 4 bits
asked for on a CPU; a real SIGKILL in the middle, after which the weights are those of an
undisturbed run; finished environments are not trained again; mistakes are one line and leave
nothing behind. Not covered: several processes (test_train_processes.py), GPUs, real weights.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from training_house import LORA, TrainHouse, bytes_of, demonstrations, preferences
from transformers import AutoModelForCausalLM

from stages import train
from stages.errors import UserError
from stages.models import transformers_engine, vllm_engine
from stages.models.adapters import base_of, load_weights
from stages.models.card import EnvironmentsCard, LocalCard, read_card, write_card
from stages.models.chat import Conversation, Sampling
from stages.models.environments import EnvironmentsModel
from stages.models.open import open_model
from stages.records import Message, Training, read_jsonl, write_jsonl
from stages.training import running
from stages.training.checkpoints import held

GREEDY = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=8)
IDS = torch.tensor([[5, 9, 60, 33, 7, 120]])

torch.set_num_threads(1)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainHouse:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHECKPOINTS", "checkpoints")
    return TrainHouse(tmp_path)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(IDS).logits.float()
    return found


def left_behind(house: TrainHouse) -> list[str]:
    folder = house.root / "checkpoints"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def to_half(house: TrainHouse) -> None:
    """Make the tiny model's folder bfloat16, as real ones are."""
    folder = house.root / "models" / "tiny"
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.save_pretrained(folder)


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_what_is_written(house: TrainHouse, objective: str) -> None:
    to_half(house)
    records = (demonstrations if objective == "sft" else preferences)()
    args = {"learning_rate": 0.01, "max_length": 45}
    [training] = house.run(objective, records, args=args)
    out = house.root / "models" / "trained"
    assert training.examples + training.too_long == len(records)
    assert training.too_long > 0
    assert (training.steps, training.batch, training.cut) == (4, 2, 0)
    assert training.objective == objective
    assert training.config["learning_rate"] == 0.01
    assert training.config["max_steps"] == 4
    assert training.config["model_init_kwargs"] == {"dtype": "float32"}
    assert 0 < training.target_tokens < training.tokens
    # A plain reload, in the base's precision.
    base: Any = AutoModelForCausalLM.from_pretrained(house.root / "models" / "tiny")
    trained: Any = AutoModelForCausalLM.from_pretrained(out)
    assert trained.dtype == torch.bfloat16
    assert training.trainable == sum(weight.numel() for weight in base.parameters())
    differ = [
        int((weight != other).sum())
        for weight, other in zip(base.parameters(), trained.parameters(), strict=True)
    ]
    assert training.changed == pytest.approx(sum(differ) / training.trainable)
    assert 0.3 < training.changed < 1
    card, old = read_card(out), read_card(house.root / "models" / "tiny")
    assert isinstance(card, LocalCard)
    assert isinstance(old, LocalCard)
    assert (card.name, card.adapter) == (f"{old.name} + own_{objective}", False)
    assert card.revision.startswith("sha256:")
    asked = [Conversation("one", (Message(role="user", content="What is 1 and 1?"),), 0)]
    assert open_model(out).generate(asked, GREEDY)[0].finish_reason in ("stop", "length")
    # Nothing in it says where it was made.
    text = b"".join(bytes_of(out).values())
    assert str(house.root).encode() not in text
    assert b"checkpoints" not in text
    with (house.root / "trained.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[0]["loss"]) == pytest.approx(training.first_loss, rel=1e-5)
    assert float(rows[-1]["loss"]) == pytest.approx(training.last_loss, rel=1e-5)
    expected = {"environment", "learning_rate", "grad_norm", "entropy", "mean_token_accuracy"}
    if objective == "dpo":
        kinds = ("chosen", "rejected", "margins", "accuracies")
        expected |= {f"rewards/{kind}" for kind in kinds} | {"logps/chosen", "logps/rejected"}
    assert expected <= set(rows[0])
    assert not any("time" in name or "second" in name for name in rows[0])
    facts = house.facts()
    assert facts["num_processes"] == 1
    assert set(facts["seconds"]) == {"import", "load", "train", "save", "write"}
    assert left_behind(house) == []


def test_the_same_bytes_twice(house: TrainHouse) -> None:
    house.run("dpo", preferences(), "one", adapter={**LORA, "lora_dropout": 0.1})
    house.run("dpo", preferences(), "two", adapter={**LORA, "lora_dropout": 0.1})
    models = house.root / "models"
    assert bytes_of(models / "one") == bytes_of(models / "two")
    for ending in ("csv", "jsonl"):
        one, two = (house.root / f"{name}.{ending}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_a_model_for_each_environment(house: TrainHouse) -> None:
    names = ("beta", "alpha")
    records = demonstrations(3, names)
    found = house.run("sft", records, args={"learning_rate": 0.01})
    assert [training.environment for training in found] == ["beta", "alpha"]
    out = house.root / "models" / "trained"
    assert read_card(out) == EnvironmentsCard(environments=("alpha", "beta"))
    assert {path.name for path in out.iterdir()} == {"alpha", "beta", "card.json"}
    cards = [read_card(out / name) for name in names]
    assert all(isinstance(card, LocalCard) for card in cards)
    assert cards[0] != cards[1]
    weights = [(out / name / "model.safetensors").read_bytes() for name in names]
    assert weights[0] != weights[1]
    assert isinstance(open_model(out), EnvironmentsModel)
    with (house.root / "trained.csv").open(newline="") as stream:
        rows = [(row["environment"], row["step"]) for row in csv.DictReader(stream)]
    assert rows == [(name, str(step)) for name in names for step in range(1, 5)]
    # Alone, an environment's model is the same: the others have no part in it.
    [alone] = house.run("sft", demonstrations(3, ["alpha"]), "alone", args={"learning_rate": 0.01})
    assert alone == found[1]
    again = house.root / "models" / "alone" / "alpha"
    assert bytes_of(again) == bytes_of(out / "alpha")
    # The next iteration starts from each one's own.
    more = house.run("sft", records, "more", "models/trained", args={"learning_rate": 0.01})
    assert [m.first_loss < f.first_loss for m, f in zip(more, found, strict=True)] == [True, True]
    card = read_card(house.root / "models" / "more" / "alpha")
    assert isinstance(card, LocalCard)
    assert card.name == "tiny-qwen2-0 + own_sft (alpha) + own_sft (alpha)"
    with pytest.raises(UserError, match=r"models/trained: .* none for gamma"):
        house.run("sft", demonstrations(3, ["gamma"]), "none", "models/trained")


def test_an_adapter_alone_is_its_merged_model(
    house: TrainHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_half(house)
    from peft import PeftModel

    fields = {"adapter": LORA, "args": {"learning_rate": 0.05}}
    [alone] = house.run("sft", demonstrations(), "alone", save="adapter", **fields)
    [merged] = house.run("sft", demonstrations(), "merged", **fields)
    models = house.root / "models"
    assert alone == merged
    assert 0 < alone.trainable < 10_000
    assert 0 < alone.changed < 1
    assert alone.adapter == LORA
    names = {path.name for path in (models / "alone").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names
    assert not {"README.md", "model.safetensors"} & names
    config = json.loads((models / "alone" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "models/tiny"
    assert read_card(models / "alone") != read_card(models / "merged")
    card = read_card(models / "alone")
    assert isinstance(card, LocalCard)
    assert card.adapter
    # Plain peft, the engine, and the merged folder say the same.
    base: Any = AutoModelForCausalLM.from_pretrained(models / "tiny")
    before = logits(base)
    peft = logits(PeftModel.from_pretrained(base, str(models / "alone")))
    whole = logits(AutoModelForCausalLM.from_pretrained(models / "merged"))
    ours = logits(load_weights(models / "alone", dtype="auto"))
    assert torch.equal(ours, whole)
    moved = float((whole - before).abs().max())
    assert float((whole - peft).abs().max()) < 0.1 * moved
    monkeypatch.setattr(transformers_engine, "best_dtype", lambda device: torch.float32)
    asked = [
        Conversation(str(n), (Message(role="user", content=f"What is {n} and {n}?"),), n)
        for n in range(4)
    ]
    scores = [
        [score.logprob for score in open_model(models / name).score(asked, ["Answer: 2"] * 4)]
        for name in ("alone", "merged", "tiny")
    ]
    assert scores[0] == pytest.approx(scores[1], rel=2e-3)
    assert scores[0] != pytest.approx(scores[2], rel=2e-3)


def test_an_iteration_on_an_adapter(house: TrainHouse) -> None:
    fields: dict[str, Any] = {"save": "adapter", "adapter": LORA, "args": {"learning_rate": 0.05}}
    [first] = house.run("sft", demonstrations(), "first", **fields)
    [second] = house.run("sft", demonstrations(), "second", "models/first", **fields)
    assert second.first_loss < first.first_loss
    models = house.root / "models"
    assert base_of(models / "second") == Path("models/first")
    # Two adapters, one on the other.
    tiny, once, twice = (
        logits(load_weights(models / name, dtype="auto")) for name in ("tiny", "first", "second")
    )
    assert float((once - tiny).abs().max()) > 1e-4
    assert float((twice - once).abs().max()) > 1e-4
    # vllm takes one.
    card = LocalCard(engine="vllm", name="own", revision="own", adapter=True)
    base, options = vllm_engine._weights(card, Path("models/first"))
    assert (base, options) == (Path("models/tiny"), {"enable_lora": True, "max_lora_rank": 8})
    with pytest.raises(UserError, match="vllm runs one adapter, to whole weights"):
        vllm_engine._weights(card, Path("models/second"))
    shutil.rmtree(models / "tiny")
    with pytest.raises(UserError, match=r"base_model_name_or_path: models/tiny: no such model"):
        open_model(models / "first")


def test_four_bits_on_a_cpu_are_said_not_to_be(
    house: TrainHouse, capsys: pytest.CaptureFixture[str]
) -> None:
    [training] = house.run(
        "dpo", preferences(), preset="as_printed", adapter=LORA, save="adapter",
        quantization={"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    )  # fmt: skip
    assert training.quantization is None
    assert training.adapter == LORA
    said = [line for line in training.fallbacks if "bfloat16" not in line]
    assert said == [
        "optim paged_adamw_32bit needs bitsandbytes and a GPU: adamw_torch",
        "quantization needs bitsandbytes and a GPU: weights as they are",
    ]
    assert training.config["optim"] == "adamw_torch"
    err = capsys.readouterr().err
    assert all(line in err for line in said)


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_the_printed_presets_run(house: TrainHouse, objective: str) -> None:
    records = (demonstrations if objective == "sft" else preferences)()
    for preset in ("as_printed", "as_trl_2024"):
        [training] = house.run(objective, records, preset=preset)
        assert training.preset == preset
        assert training.config["learning_rate"] == (5e-4 if objective == "sft" else 5e-5)


# Killed.


def start(house: TrainHouse, arguments: list[str], env: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", *arguments],
        cwd=house.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CHECKPOINTS": "checkpoints", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(process: "subprocess.Popen[str]", house: TrainHouse, pattern: str) -> list[Path]:
    """Wait until something under checkpoints matches the pattern."""
    for _ in range(2400):
        found = list((house.root / "checkpoints").glob(pattern))
        if found:
            return found
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.025)
    raise AssertionError(f"no {pattern}")


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_a_killed_run_ends_with_the_same_weights(house: TrainHouse, objective: str) -> None:
    records = (demonstrations if objective == "sft" else preferences)()
    fields: dict[str, Any] = {
        "args": {"max_steps": 60, "learning_rate": 1e-3, "gradient_accumulation_steps": 2},
        "adapter": {**LORA, "lora_dropout": 0.1},
    }
    [undisturbed] = house.run(objective, records, "undisturbed", **fields)
    every_step = {"CHECKPOINT_SECONDS": "0"}
    killed = start(house, house.arguments(objective, "killed"), every_step)
    [whole] = wait_for(killed, house, "*/checkpoint-[5-9]/whole")
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (house.root / "models" / "killed").exists()
    assert not (house.root / "killed.jsonl").exists()
    # Half a checkpoint, as a kill leaves it: nobody goes on from that.
    (whole.parent.parent / "checkpoint-55").mkdir(exist_ok=True)
    again = start(house, house.arguments(objective, "killed"), {})
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "goes on from checkpoint-" in output
    step = house.facts("killed")["resumed_from_step"]["all"]
    assert 5 <= step < 55
    models = house.root / "models"
    assert bytes_of(models / "killed") == bytes_of(models / "undisturbed")
    for ending in ("csv", "jsonl"):
        one, other = (house.root / f"{name}.{ending}" for name in ("killed", "undisturbed"))
        assert one.read_bytes() == other.read_bytes()
    assert read_jsonl(house.root / "killed.jsonl", Training) == [undisturbed]
    assert left_behind(house) == []


def test_finished_environments_are_not_trained_again(
    house: TrainHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = demonstrations(3, ("one", "two", "three"))
    expected = house.run("sft", records, "expected")
    train_one = running.Run._train
    trained: list[Any] = []

    def watched(self: running.Run, environment: Any, *rest: Any) -> None:
        if environment == "three" and not trained.count("three"):
            trained.append("three")
            raise KeyboardInterrupt
        trained.append(environment)
        train_one(self, environment, *rest)

    monkeypatch.setattr(running.Run, "_train", watched)
    with pytest.raises(KeyboardInterrupt):
        house.run("sft", records)
    assert len(list((house.root / "checkpoints").glob("*/finished"))) == 2
    assert house.run("sft", records) == expected
    assert trained == ["one", "two", "three", "three"]
    models = house.root / "models"
    assert bytes_of(models / "trained") == bytes_of(models / "expected")
    assert left_behind(house) == []


def test_two_runs_of_a_cell_do_not_meet(house: TrainHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    train_one = running.Run._train

    def meets(self: running.Run, environment: Any, records: Any, folder: Path) -> None:
        with pytest.raises(UserError, match="another process is training this"), held(folder):
            pass
        train_one(self, environment, records, folder)
        monkeypatch.setattr(running.Run, "_train", train_one)

    monkeypatch.setattr(running.Run, "_train", meets)
    first = house.run("sft", demonstrations())
    assert house.run("sft", demonstrations(), "again") == first


def test_another_cell_takes_nothing_from_the_checkpoint(
    house: TrainHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key has all that the weights follow from."""
    seen: list[str] = []
    key = running.Run._key

    def noted(self: running.Run, *rest: Any) -> str:
        seen.append(key(self, *rest))
        return seen[-1]

    monkeypatch.setattr(running.Run, "_key", noted)
    house.run("sft", demonstrations())
    house.run("sft", demonstrations(), "other")
    assert seen[0] == seen[1]
    house.run("sft", demonstrations(6))
    house.run("sft", demonstrations(), args={"learning_rate": 1e-4})
    house.run("sft", demonstrations(), adapter=LORA)
    house.run("dpo", preferences())
    house.run("sft", demonstrations(7, ["one"]))
    to_half(house)
    house.run("sft", demonstrations())
    assert len(set(seen)) == len(seen) - 1


# Mistakes.


@pytest.mark.parametrize(
    ("objective", "records", "trainer", "message"),
    [
        ("sft", [], {}, "sft.jsonl: nothing to learn from"),
        ("sft", preferences(), {}, "sft.jsonl:1: completion: Field required"),
        ("dpo", demonstrations(), {}, "dpo.jsonl:1: chosen: Field required"),
        ("sft", demonstrations(2, [None, "one"]), {}, "environment: named on some lines only"),
        ("sft", demonstrations(1, ["../x"]), {}, "sft.jsonl:1: environment: '../x' is no name"),
        ("sft", demonstrations(), {"args": {"lerning_rate": 1}}, "params.yaml: trainers.sft.args."),
        ("sft", demonstrations(), {"args": {"max_length": 5}}, "all 7 examples are longer than"),
        ("dpo", preferences(), {"args": {"seed": 5}}, "trainers.dpo.args.seed: the stage sets"),
        ("sft", demonstrations(), {"save": "adapter"}, "save: adapter need an adapter"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    house: TrainHouse, objective: str, records: list[Any], trainer: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        house.run(objective, records, **trainer)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name for path in (house.root / "models").iterdir()} == {"tiny"}
    assert not list(house.root.glob("trained.*"))


def test_a_served_model_cannot_be_trained(house: TrainHouse) -> None:
    from stages.models.card import ServedCard

    served = house.root / "models" / "served"
    served.mkdir()
    card = ServedCard(
        name="own", base_url="http://127.0.0.1:9/v1", env="OWN", needs_key=False, accept=None,
        token_limit="max_tokens", extra_sampling=False,
    )  # fmt: skip
    write_card(served, card)
    with pytest.raises(UserError, match="models/served: no weights to train, its engine is openai"):
        house.run("sft", demonstrations(), model="models/served")
    with pytest.raises(UserError, match="is models/nowhere a model folder"):
        house.run("sft", demonstrations(), model="models/nowhere")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CHECKPOINT_SECONDS", "often", "CHECKPOINT_SECONDS must be a number of seconds"),
        ("TRAIN_PROCESSES", "many", "TRAIN_PROCESSES must be a number of processes"),
        ("TRAIN_LAUNCH", "no_such_launcher", "TRAIN_LAUNCH: no_such_launcher: no such command"),
    ],
)
def test_a_bad_setting_is_named(
    house: TrainHouse, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        house.run("sft", demonstrations())


def test_without_git_a_folder_must_be_named(
    house: TrainHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHECKPOINTS")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(house.root.parent))
    with pytest.raises(UserError, match="no place for checkpoints; set CHECKPOINTS to a folder"):
        house.run("sft", demonstrations())
    subprocess.run(["git", "init", "--quiet"], cwd=house.root, check=True)
    house.run("sft", demonstrations())
    assert (house.root / ".git" / "checkpoints").is_dir()


def test_the_command_line(house: TrainHouse) -> None:
    house.params(args={"bert": 1})
    write_jsonl(house.root / "sft.jsonl", demonstrations())
    process = start(house, house.arguments("sft", "trained"), {})
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    last = output.splitlines()[-1]
    assert last.startswith("error: params.yaml: trainers.sft.args.bert: not a field of TRL's")
    assert "Traceback" not in output
    assert train.PARAMS == ("trainers.{objective}",)
