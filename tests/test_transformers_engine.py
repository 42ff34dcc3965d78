"""The transformers engine on a tiny random model, against plain library calls and against itself.

Covered: greedy replies equal `model.generate`, log-probs equal a plain forward pass, each reply's
independence of the others and of their order, samples that share a prompt, more prompts than fit at
a time, conversations that go on, sliding windows, sampling filters, end tokens. Not covered: GPUs,
bf16 numerics (float32 here), real weights.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    MistralConfig,
    MistralForCausalLM,
)

from stages.fetching import make_folder
from stages.model_specs import LocalSpec, TinySource
from stages.models import ragged, transformers_engine
from stages.models.card import LocalCard, read_card
from stages.models.chat import Conversation, Sampling
from stages.models.sampler import Sampler
from stages.models.transformers_engine import TransformersModel, _chunks, _groups, _Reply
from stages.records import Completion, Message

GREEDY = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=24)
SAMPLED = Sampling(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05, max_new_tokens=40)


# The tensors are tiny: a second thread would only wait for the first.
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    spec = LocalSpec(engine="transformers", source=TinySource(kind="tiny", seed=0))
    make_folder("tiny", spec, path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> TransformersModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_engine, "best_dtype", lambda device: torch.float32)
        card = read_card(folder)
        assert isinstance(card, LocalCard)
        return TransformersModel(card, folder)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each forward pass reads, from now on."""
    lengths: list[int] = []
    plain = TransformersModel._forward

    def forward(self: TransformersModel, tokens: list[int], *rest: Any) -> torch.Tensor:
        lengths.append(len(tokens))
        return plain(self, tokens, *rest)

    monkeypatch.setattr(TransformersModel, "_forward", forward)
    return lengths


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


def alike(replies: list[Completion]) -> list[Completion]:
    """Return the replies without their log-probs, which are rounded as what runs beside them."""
    return [reply.model_copy(update={"logprob": None}) for reply in replies]


def test_a_reply_does_not_depend_on_the_others(
    model: TransformersModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = conversations(40)
    together = model.generate(asked, SAMPLED)
    assert len({reply.completion_tokens for reply in together}) > 5  # rows do leave the batch
    assert {reply.finish_reason for reply in together} == {"stop", "length"}
    assert model.generate(asked, SAMPLED) == together
    assert alike(model.generate(asked[::-1], SAMPLED)[::-1]) == alike(together)
    alone = [model.generate([conversation], SAMPLED)[0] for conversation in asked[:8]]
    assert alike(alone) == alike(together[:8])
    # Others join as soon as there is room.
    monkeypatch.setattr(transformers_engine, "MAX_ROWS", 11)
    monkeypatch.setattr(transformers_engine, "BLOCK_ROWS", 3)
    assert alike(model.generate(asked, SAMPLED)) == alike(together)
    monkeypatch.setattr(transformers_engine, "MAX_TOKENS", 1)
    assert alike(model.generate(asked, SAMPLED)) == alike(together)


def test_samples_of_one_prompt_share_its_prefill(model: TransformersModel, read: list[int]) -> None:
    [first, second] = conversations(2)
    asked = [Conversation(str(n), (first, second)[n % 2].messages, n) for n in range(12)]
    alone = [model.generate([conversation], SAMPLED)[0] for conversation in asked]
    read.clear()
    assert alike(model.generate(asked, SAMPLED)) == alike(alone)
    assert len({reply.text for reply in alone}) > 2
    # Blocks of eight: six samples of the first prompt and two of the second, then the other four.
    # What both prompts begin with is read once.
    one, other = (model._encode(model.render(conversation)) for conversation in (first, second))
    shared = next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert read[0] == len(one) + len(other) - shared


def test_log_probs_of_generated_tokens_are_those_of_score(model: TransformersModel) -> None:
    asked = conversations(16)
    for sampling in (GREEDY, SAMPLED):
        for conversation, reply in zip(asked, model.generate(asked, sampling), strict=True):
            if reply.finish_reason == "stop" and "\ufffd" not in reply.text:
                [score] = model.score([conversation], [reply.text])
                if score.tokens == reply.completion_tokens:
                    assert reply.logprob == pytest.approx(score.logprob, abs=1e-2)


def test_a_window_limits_how_far_a_token_looks_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=7, eos_token_id=None,
    )  # fmt: skip
    plain = MistralForCausalLM(config).eval()
    plain.save_pretrained(tmp_path)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=ragged.NAME)
    prompts = [list(range(3, 23)), list(range(50, 55))]
    lengths = [len(prompt) for prompt in prompts]
    block = ragged.Block(lengths, [0, 1], 9, torch.empty(0))
    with torch.inference_mode():
        expected = [
            plain.generate(torch.tensor([p]), do_sample=False, max_new_tokens=9)[0, len(p) :]
            for p in prompts
        ]
        tokens = torch.tensor([[*prompts[0], *prompts[1]]])
        places = torch.tensor([[*range(20), *range(5)]])
        over: ragged.Pass = ragged.Sequences(0, lengths, block)
        found = []
        for _ in range(9):
            logits = ours(tokens, position_ids=places, use_cache=False, tokens=over).logits[0]
            ends = torch.tensor([19, 24]) if not found else torch.tensor([0, 1])
            found.append(logits[ends].argmax(dim=-1))
            tokens, places = found[-1][None], torch.tensor([block.positions])
            if len(found) > 1:
                block.advance()
                places = torch.tensor([block.positions])
            over = ragged.NextTokens([block])
    assert torch.stack(found, dim=1).tolist() == [part.tolist() for part in expected]


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


def test_scores_of_replies_to_one_prompt_share_its_reading(
    model: TransformersModel, read: list[int]
) -> None:
    [asked] = conversations(1)
    replies = ["yes", "no, not at all", "yes", "so it goes"]
    alone = [model.score([asked], [reply])[0] for reply in replies]
    read.clear()
    together = model.score([asked] * len(replies), replies)
    assert [score.tokens for score in together] == [score.tokens for score in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
    prompt = len(model._encode(model.render(asked)))
    # The prompt but for its last token is read once.
    assert read == [prompt - 1 + len(replies) + sum(score.tokens for score in alone)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=12), st.integers(8, 40))
def test_chunks_hold_every_reply_once_and_those_to_one_prompt_together(
    pairs: list[tuple[int, int]], most: int
) -> None:
    prompts = [[prompt] * (prompt + 2) for prompt, _ in pairs]
    targets = [[9] * length for _, length in pairs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_engine, "SCORED_TOKENS", most)
        chunks = list(_chunks(prompts, targets))
    assert [index for chunk in chunks for index in chunk] == list(range(len(pairs)))
    for chunk in chunks:
        own = [prompts[index] for index in chunk]
        # Either one prompt, read once, or a different one at each place.
        one = all(prompt == own[0] for prompt in own)
        assert one or all(p != q for p, q in pairwise(own))
        read = len(own[0]) if one else sum(map(len, own))
        assert len(chunk) == 1 or read + sum(len(targets[index]) for index in chunk) <= most


def test_no_conversations_no_replies(model: TransformersModel) -> None:
    assert model.generate([], SAMPLED) == []
    assert model.score([], []) == []


@given(st.lists(st.integers(1, 9), max_size=60))
def test_groups_hold_every_reply_once_and_samples_side_by_side(lengths: list[int]) -> None:
    replies = [_Reply(index, [length] * length, 0) for index, length in enumerate(lengths)]
    groups = list(_groups(replies))
    flat = [reply for group in groups for reply in group]
    assert sorted(reply.index for reply in flat) == list(range(len(lengths)))
    assert all(len(group) <= transformers_engine.BLOCK_ROWS for group in groups)
    assert [reply.prompt for reply in flat] == sorted(reply.prompt for reply in replies)


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
    sampler = Sampler(sampling, [seed], [[0]], torch.device("cpu"))
    probabilities = (row / 0.7).softmax(dim=-1)[0]
    order = probabilities.argsort(descending=True, stable=True).tolist()
    for _ in range(5):
        token = int(sampler(row)[0][0])
        above = [t for t in order if probabilities[t] > probabilities[token] + 1e-6]
        assert not top_k or len(above) < top_k
        kept = probabilities[order[: top_k or None]].sum()
        assert float(probabilities[above].sum() / kept) < top_p + 1e-5


def test_sampler_has_the_right_frequencies() -> None:
    sampling = Sampling(temperature=1, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=1)
    rows = 20_000
    probabilities = torch.tensor([0.5, 0.25, 0.15, 0.1])
    sampler = Sampler(sampling, range(rows), [[0]] * rows, torch.device("cpu"))
    drawn, _ = sampler(probabilities.log().expand(rows, 4))
    frequencies = drawn.bincount(minlength=4) / rows
    assert torch.allclose(frequencies, probabilities, atol=0.015)


def test_repetition_penalty_sees_prompt_and_reply_but_no_padding() -> None:
    sampling = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=4, max_new_tokens=3)
    logits = torch.tensor([[3.0, 2.0, 1.0, -1.0]])
    sampler = Sampler(sampling, [0, 0], [[0], [3, 3, 3]], torch.device("cpu"))
    drawn = [sampler(logits.expand(2, 4)) for _ in range(3)]
    assert [int(tokens[0]) for tokens, _ in drawn] == [1, 2, 0]
    assert [int(tokens[1]) for tokens, _ in drawn] == [0, 1, 2]
    # What is reported is the model's own probability.
    raw = logits[0].log_softmax(dim=-1).tolist()
    assert [float(value[0]) for _, value in drawn] == pytest.approx([raw[1], raw[2], raw[0]])


def continued(conversation: Conversation, reply: Completion) -> Conversation:
    """Return the next turn, as `playing` makes it."""
    said = (
        Message(role="assistant", content=reply.text.strip() or "-"),
        Message(role="user", content="Too low. Guess again."),
    )
    messages = (*conversation.messages, *said)
    return replace(conversation, messages=messages, seed=conversation.seed + 1)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_conversation_that_goes_on_is_not_read_again(
    sampling: Sampling, model: TransformersModel, read: list[int]
) -> None:
    asked = [replace(one, goes_on=n % 3 > 0) for n, one in enumerate(conversations(11))]
    kept = 0
    for _ in range(4):
        read.clear()
        replies = model.generate(asked, sampling)
        decoded = sum((reply.completion_tokens or 0) - 1 for reply in replies)
        prompts = sum(reply.prompt_tokens or 0 for reply in replies)
        # Of what was read before, at most the reply is read again, where its text has other tokens.
        assert sum(read) - decoded <= prompts - kept
        alone = [replace(one, goes_on=False) for one in asked]
        assert alike(model.generate(alone, sampling)) == alike(replies)
        kept = sum(
            reply.prompt_tokens or 0
            for one, reply in zip(asked, replies, strict=True)
            if one.goes_on
        )
        asked = [continued(*pair) for pair in zip(asked, replies, strict=True)]


def test_of_conversations_that_go_on_the_oldest_make_room(
    model: TransformersModel, monkeypatch: pytest.MonkeyPatch, read: list[int]
) -> None:
    asked = [replace(one, goes_on=True) for one in conversations(6)]
    most = len(model._encode(model.render(asked[5])))
    monkeypatch.setattr(transformers_engine, "KEPT_TOKENS", 2 * (most + GREEDY.max_new_tokens))
    first = [model.generate([one], GREEDY)[0] for one in asked]
    assert 2 <= len(model._begun) < len(asked)
    following = [continued(*pair) for pair in zip(asked, first, strict=True)]
    read.clear()
    last = model.generate(following[5:], GREEDY)
    assert read[0] <= (last[0].prompt_tokens or 0) - most
    read.clear()
    [forgotten] = model.generate(following[:1], GREEDY)
    assert read[0] == forgotten.prompt_tokens


def test_what_is_kept_may_be_less_or_other_than_what_follows(model: TransformersModel) -> None:
    """Two that begin alike and go on apart, and one whose first turn was never seen."""
    [one, other] = [replace(one, goes_on=True) for one in conversations(2)]
    twin = replace(one, seed=7)
    asked = [one, twin, other]
    replies = model.generate(asked, SAMPLED)
    assert replies[0].text != replies[1].text
    following = [continued(*pair) for pair in zip(asked, replies, strict=True)]
    stranger = continued(conversations(3)[2], replies[0])
    fresh = [replace(conversation, goes_on=False) for conversation in (*following, stranger)]
    together = model.generate([*following, stranger], SAMPLED)
    assert alike(together) == alike(model.generate(fresh, SAMPLED))
