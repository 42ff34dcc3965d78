"""The vllm engine: what can be told without vllm, and the rest in an interpreter that has it.

Covered without vllm: the card that leads to the engine, settings, the missing package. With
VLLM_PYTHON naming an interpreter that has vllm (CI has none, so there the rest is skipped), on a
random two-layer model in float32: greedy replies equal those of the transformers engine, scores
agree with its scores, a reply of one token has that token's log-prob, the same seeds give the same
replies, others give others. Not covered: GPUs, several of them, half precision, and log-probs of
longer replies (benchmarks/agreement.py has those, on real weights).
"""

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

from stages.errors import UserError
from stages.fetching import make_folder
from stages.model_specs import LocalSpec, TinySource
from stages.models import transformers_engine, vllm_engine
from stages.models.card import LocalCard, read_card
from stages.models.chat import Conversation, Sampling
from stages.models.open import open_model
from stages.records import Completion, Message

PYTHON = os.environ.get("VLLM_PYTHON")
GREEDY = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=24)
SAMPLED = Sampling(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05, max_new_tokens=24)
FIRST = GREEDY.model_copy(update={"max_new_tokens": 1})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    make_folder("tiny", LocalSpec(engine="vllm", source=TinySource(kind="tiny", seed=0)), path)
    return path


def test_the_card_leads_to_the_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(vllm_engine, "VllmModel", lambda *args: opened.append(args))
    open_model(folder)
    ((card, path),) = opened
    assert (card.engine, card.name, path) == ("vllm", "tiny-qwen2-0", folder)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_a_missing_vllm_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"pip install 'feedback-conditioning\[vllm\]'"):
        open_model(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENGINE_TENSOR_PARALLEL", "0"),
        ("ENGINE_TENSOR_PARALLEL", "two"),
        ("ENGINE_GPU_MEMORY", "0"),
        ("ENGINE_GPU_MEMORY", "1.5"),
        ("ENGINE_GPU_MEMORY", "90%"),
        ("ENGINE_GPU_MEMORY", "."),
    ],
)
def test_a_bad_setting_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name} must be"):
        open_model(folder)


def test_end_tokens_are_those_of_the_transformers_engine(tmp_path: Path, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    end = tokenizer.eos_token_id
    assert vllm_engine._end_tokens(folder, tokenizer) == [end]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "eos_token_id": [3, 4]}))
    assert vllm_engine._end_tokens(tmp_path, tokenizer) == sorted([3, 4, end])
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 5}')
    assert vllm_engine._end_tokens(tmp_path, tokenizer) == sorted([5, end])


# With vllm.


def conversations(seed: int) -> list[Conversation]:
    return [
        Conversation(str(n), (Message(role="user", content=f"Count to {n}."),), seed + n)
        for n in range(8)
    ]


def run(folder: Path, scratch: Path, asked: list[Conversation]) -> dict[str, Any]:
    """Answer greedily, twice by sampling, and with one token, by the vllm of PYTHON."""
    assert PYTHON is not None
    requests, results = scratch / "requests.json", scratch / "results.json"
    fields = [
        {"id": c.id, "messages": [m.model_dump() for m in c.messages], "seed": c.seed}
        for c in asked
    ]
    samplings = [sampling.model_dump() for sampling in (GREEDY, SAMPLED, SAMPLED, FIRST)]
    requests.write_text(json.dumps({"conversations": fields, "samplings": samplings}))
    script = ROOT / "benchmarks" / "in_vllm.py"
    done = subprocess.run(
        [PYTHON, str(script), str(folder), str(requests), str(results)],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    found: dict[str, Any] = json.loads(results.read_text())
    return found


@pytest.mark.skipif(PYTHON is None, reason="VLLM_PYTHON names no interpreter that has vllm")
def test_it_agrees_with_the_transformers_engine(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(folder, tmp_path / "tiny"))
    # vllm's attention on a CPU has no heads of 16, so the tiny model gets one of 32.
    config = Qwen2Config.from_pretrained(folder, num_attention_heads=1)
    torch.manual_seed(1)
    plain: Any = AutoModelForCausalLM.from_config(config)
    plain.save_pretrained(folder)
    monkeypatch.setattr(transformers_engine, "best_dtype", lambda device: torch.float32)
    card = read_card(folder)
    assert isinstance(card, LocalCard)
    reference = transformers_engine.TransformersModel(card, folder)
    asked = conversations(seed=2**62)
    found = run(folder, tmp_path, asked)
    assert found["facts"]["engine"] == "vllm"
    assert found["facts"]["dtype"] == "float32"
    greedy, sampled, again, first = (
        [Completion.model_validate(reply) for reply in replies] for replies in found["replies"]
    )
    for own, other in zip(greedy, reference.generate(asked, GREEDY), strict=True):
        assert (own.text, own.finish_reason) == (other.text, other.finish_reason)
        assert own.prompt_tokens == other.prompt_tokens
        assert own.completion_tokens == other.completion_tokens
    assert sampled == again
    assert len({reply.text for reply in sampled}) == len(asked)
    for replies, scores in zip((greedy, sampled), found["scores"], strict=False):
        expected = reference.score(asked, [reply.text for reply in replies])
        for (logprob, tokens), other in zip(scores, expected, strict=True):
            assert tokens == other.tokens
            assert logprob == pytest.approx(other.logprob, abs=1e-2)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for conversation, reply in zip(asked, first, strict=True):
        prompt = tokenizer(reference.render(conversation), return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logprobs = plain(prompt).logits[0, -1].log_softmax(dim=-1)
        assert (reply.completion_tokens, reply.finish_reason) == (1, "length")
        assert reply.logprob == pytest.approx(float(logprobs.max()), abs=1e-4)
