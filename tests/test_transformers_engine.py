"""The transformers engine on a tiny random model, against plain library calls and against itself.

Covered: greedy replies equal `model.generate`, log-probs equal a plain forward pass, each reply's
independence of the others and of their order, sampling filters, end tokens, the in-place cache.
Not covered: GPUs, bf16 numerics (float32 here), real weights, sliding-window models.
"""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from stages.models import transformers_engine
from stages.models.card import LocalCard, read_card
from stages.models.chat import Conversation, Sampling
from stages.models.config import LocalSpec, TinySource
from stages.models.transformers_engine import TransformersModel, _batches, _Sampler
from stages.models.weights import make_folder
from stages.records import Message

GREEDY = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=24)
SAMPLED = Sampling(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05, max_new_tokens=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    spec = LocalSpec(engine="transformers", source=TinySource(kind="tiny", seed=0))
    make_folder("tiny", spec, path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> TransformersModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_engine, "_best_dtype", lambda device: torch.float32)
        card = read_card(folder)
        assert isinstance(card, LocalCard)
        return TransformersModel(card, folder)


def conversations(count: int) -> list[Conversation]:
    return [
        Conversation(str(n), (Message(role="user", content=f"Count to {n}. " * (n % 7 + 1)),), n)
        for n in range(count)
    ]


def test_greedy_equals_the_library(model: TransformersModel, folder: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = conversations(12)
    for conversation, reply in zip(asked, model.generate(asked, GREEDY), strict=True):
        inputs = tokenizer(model.render(conversation), return_tensors="pt")
        output = plain.generate(**inputs, do_sample=False, max_new_tokens=24)
        new = output[0, inputs["input_ids"].shape[1] :]
        assert reply.text == tokenizer.decode(new, skip_special_tokens=True)
        assert reply.completion_tokens == len(new)
        assert reply.prompt_tokens == inputs["input_ids"].shape[1]


def test_a_reply_does_not_depend_on_the_others(model: TransformersModel) -> None:
    asked = conversations(40)
    together = model.generate(asked, SAMPLED)
    assert len({reply.completion_tokens for reply in together}) > 5  # rows do leave the batch
    assert {reply.finish_reason for reply in together} == {"stop", "length"}
    assert model.generate(asked, SAMPLED) == together
    assert model.generate(asked[::-1], SAMPLED)[::-1] == together
    alone = [model.generate([conversation], SAMPLED)[0] for conversation in asked[:8]]
    assert alone == together[:8]


def test_seeds_matter_and_only_when_sampling(model: TransformersModel) -> None:
    first = conversations(8)
    second = [Conversation(c.id, c.messages, c.seed + 100) for c in first]
    assert model.generate(first, SAMPLED) != model.generate(second, SAMPLED)
    assert model.generate(first, GREEDY) == model.generate(second, GREEDY)


def test_score_equals_a_plain_forward_pass(model: TransformersModel, folder: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = conversations(9)
    replies = ["", "yes", *(f"{'so ' * n}Answer: ({n})" for n in range(7))]
    for conversation, reply, score in zip(asked, replies, model.score(asked, replies), strict=True):
        prompt = tokenizer(model.render(conversation))["input_ids"]
        target = [*tokenizer(reply)["input_ids"], tokenizer.eos_token_id]
        with torch.inference_mode():
            output = plain(torch.tensor([prompt + target]))
        logits = output.logits[0, len(prompt) - 1 : -1]
        logprobs = logits.log_softmax(dim=-1).gather(1, torch.tensor(target)[:, None])
        assert score.tokens == len(target)
        assert score.logprob == pytest.approx(float(logprobs.sum()), abs=1e-3)


def test_no_conversations_no_replies(model: TransformersModel) -> None:
    assert model.generate([], SAMPLED) == []
    assert model.score([], []) == []


@given(st.lists(st.integers(1, 4000), max_size=120), st.integers(1, 1024))
def test_batches_hold_every_prompt_once(lengths: list[int], new_tokens: int) -> None:
    batches = _batches(lengths, new_tokens)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        width = max(lengths[index] for index in batch) + new_tokens
        assert len(batch) == 1 or len(batch) * width <= transformers_engine.BATCH_TOKENS
        assert len(batch) <= transformers_engine.BATCH_ROWS


@settings(deadline=None)
@given(
    st.lists(st.floats(-8, 8, width=32), min_size=4, max_size=12),
    st.integers(0, 5),
    st.sampled_from([0.3, 0.8, 1.0]),
    st.integers(0, 2**32),
)
def test_sampler_draws_what_the_filters_keep(
    logits: list[float], top_k: int, top_p: float, seed: int
) -> None:
    sampling = Sampling(
        temperature=0.7, top_p=top_p, top_k=top_k, repetition_penalty=1, max_new_tokens=5
    )
    row = torch.tensor([logits])
    sampler = _Sampler(sampling, [seed], torch.zeros((1, 1), dtype=torch.long), len(logits))
    probabilities = (row / 0.7).softmax(dim=-1)[0]
    order = probabilities.argsort(descending=True, stable=True).tolist()
    for _ in range(5):
        token = int(sampler(row)[0])
        above = [t for t in order if probabilities[t] > probabilities[token] + 1e-6]
        assert not top_k or len(above) < top_k
        kept = probabilities[order[: top_k or None]].sum()
        assert float(probabilities[above].sum() / kept) < top_p + 1e-5


def test_sampler_has_the_right_frequencies() -> None:
    sampling = Sampling(temperature=1, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=1)
    rows = 20_000
    probabilities = torch.tensor([0.5, 0.25, 0.15, 0.1])
    sampler = _Sampler(sampling, range(rows), torch.zeros((rows, 1), dtype=torch.long), 4)
    drawn = sampler(probabilities.log().expand(rows, 4))
    frequencies = drawn.bincount(minlength=4) / rows
    assert torch.allclose(frequencies, probabilities, atol=0.015)


def test_repetition_penalty_sees_prompt_and_reply_but_no_padding() -> None:
    sampling = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=4, max_new_tokens=3)
    logits = torch.tensor([[3.0, 2.0, 1.0, -1.0]])
    sampler = _Sampler(sampling, [0], torch.tensor([[-1, 0]]), 4)
    assert [int(sampler(logits)) for _ in range(3)] == [1, 2, 0]
