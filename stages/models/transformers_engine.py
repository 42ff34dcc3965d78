"""The `transformers` engine: weights in a folder, on the GPU when there is one, else on the CPU.

Replies are a function of the conversations, the sampling and the machine: batches are formed from
the prompts by a fixed rule, and every reply draws from a generator of its own. Finished rows leave
the batch, and the key/value cache is appended to in place, since on a CPU copying it costs as much
as the arithmetic.
"""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from stages.errors import UserError
from stages.models.card import LocalCard
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.models.template import apply_template, load_tokenizer
from stages.progress import bar
from stages.records import Completion

# Part of what the replies are a function of (rows of a batch share padding), so not a setting.
BATCH_ROWS = 32
BATCH_TOKENS = 32 * 1536


class _RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A key/value layer with room at the end, so that appending a token does not copy the rest.

    `keys` and `values` have shape (rows, heads, length, head size) and are views into the room.
    """

    _GROWTH = 128

    keys: torch.Tensor
    values: torch.Tensor

    def _make_room(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        shape = (*keys.shape[:2], length + self._GROWTH)
        self._key_room = keys.new_empty((*shape, keys.shape[-1]))
        self._value_room = values.new_empty((*shape, values.shape[-1]))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._make_room(key_states, value_states, 0)
        old = self.get_seq_length()
        new = old + key_states.shape[-2]
        if new > self._key_room.shape[-2]:
            old_keys, old_values = self.keys, self.values
            self._make_room(key_states, value_states, new)
            if old:
                self._key_room[:, :, :old] = old_keys
                self._value_room[:, :, :old] = old_values
        self._key_room[:, :, old:new] = key_states
        self._value_room[:, :, old:new] = value_states
        self.keys, self.values = self._key_room[:, :, :new], self._value_room[:, :, :new]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        length = self.get_seq_length()
        keys, values = self.keys[indices], self.values[indices]
        self._make_room(keys, values, length)
        self._key_room[:, :, :length] = keys
        self._value_room[:, :, :length] = values
        self.keys, self.values = self._key_room[:, :, :length], self._value_room[:, :, :length]


def _new_cache(config: Any) -> Cache:
    cache = DynamicCache(config=config)
    # Sliding-window and other special layers keep their own bookkeeping: leave those as they are.
    if cache.layers and all(type(layer) is DynamicLayer for layer in cache.layers):
        return Cache(layers=[_RoomyLayer() for _ in cache.layers])  # type: ignore[no-untyped-call]
    return cache


def _batches(lengths: Sequence[int], new_tokens: int) -> list[list[int]]:
    """Split indices into batches, longest prompts first, bounded in rows and in tokens."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    for index in order:
        if batches:
            width = lengths[batches[-1][0]] + new_tokens
            rows = len(batches[-1]) + 1
            if rows <= BATCH_ROWS and rows * width <= BATCH_TOKENS:
                batches[-1].append(index)
                continue
        batches.append([index])
    return batches


class _Sampler:
    """Draws the next token of each row; each row has its own stream of random numbers."""

    def __init__(
        self, sampling: Sampling, seeds: Sequence[int], prompts: torch.Tensor, vocabulary: int
    ) -> None:
        """Take over `prompts` (rows, width), padding as -1."""
        self._sampling = sampling
        self._step = 0
        if sampling.temperature > 0:
            draws = []
            for seed in seeds:
                stream = torch.Generator().manual_seed(seed)
                draws.append(torch.rand(sampling.max_new_tokens, generator=stream))
            self._draws = torch.stack(draws).to(prompts.device)
        self._seen: torch.Tensor | None = None
        if sampling.repetition_penalty != 1:
            seen = torch.zeros(
                (len(prompts), vocabulary + 1), dtype=torch.bool, device=prompts.device
            )
            # Padding is sent to one column past the vocabulary, which is then cut off.
            seen.scatter_(
                1, prompts.where(prompts >= 0, torch.full_like(prompts, vocabulary)), True
            )
            self._seen = seen[:, :vocabulary].clone()

    def keep(self, rows: torch.Tensor) -> None:
        """Forget all rows but these."""
        if self._sampling.temperature > 0:
            self._draws = self._draws[rows]
        if self._seen is not None:
            self._seen = self._seen[rows]

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the next token of each row, given float logits (rows, vocabulary)."""
        if self._seen is not None:
            penalty = self._sampling.repetition_penalty
            logits = logits.where(
                ~self._seen, torch.where(logits > 0, logits / penalty, logits * penalty)
            )
        if self._sampling.temperature == 0:
            tokens = logits.argmax(dim=-1)
        else:
            tokens = self._draw(logits / self._sampling.temperature)
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        self._step += 1
        return tokens

    def _draw(self, logits: torch.Tensor) -> torch.Tensor:
        width = logits.shape[-1]
        top_k = min(self._sampling.top_k or width, width)
        values, candidates = logits.topk(top_k, dim=-1, sorted=True)
        probabilities = values.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities
        kept = probabilities.where(before < self._sampling.top_p, torch.zeros_like(probabilities))
        mass = kept.cumsum(dim=-1)
        # Inverse of the cumulative distribution at one uniform number a row and step.
        goal = self._draws[:, self._step, None] * mass[:, -1:]
        last = (kept > 0).sum(dim=-1, keepdim=True) - 1
        place = torch.minimum((mass <= goal).sum(dim=-1, keepdim=True), last)
        return candidates.gather(1, place)[:, 0]


class TransformersModel:
    """A chat model run in this process."""

    def __init__(self, card: LocalCard, folder: Path) -> None:
        self._card = card
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = _best_dtype(self._device)
        self._tokenizer = load_tokenizer(folder)
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=self._dtype)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: no weights: {str(error).splitlines()[0]}") from None
        self._model = model.to(self._device).eval()
        self._pad = self._tokenizer.pad_token_id or 0
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._ends = sorted(
            {int(end) for end in [*ends, self._tokenizer.eos_token_id] if end is not None}
        )

    def render(self, conversation: Conversation) -> str:
        """Return the prompt with the chat template applied, up to where the reply begins."""
        return apply_template(self._tokenizer, conversation.messages)

    def facts(self) -> dict[str, str]:
        """Return engine, weights, precision, device and versions."""
        import transformers

        device = torch.cuda.get_device_name() if self._device.type == "cuda" else platform.machine()
        return {
            "engine": "transformers",
            "model": self._card.name,
            "revision": self._card.revision,
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": f"{self._device.type} ({device})",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def generate(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion]:
        """Return one completion a conversation, in their order."""
        prompts = [self._encode(self.render(conversation)) for conversation in conversations]
        done: dict[int, Completion] = {}
        with bar(len(prompts), self._card.name, "reply") as progress:
            for batch in _batches([len(prompt) for prompt in prompts], sampling.max_new_tokens):
                replies = self._generate_batch(
                    [prompts[index] for index in batch],
                    [conversations[index].seed for index in batch],
                    sampling,
                    progress,
                )
                done.update(zip(batch, replies, strict=True))
        return [done[index] for index in range(len(prompts))]

    def _generate_batch(
        self, prompts: list[list[int]], seeds: list[int], sampling: Sampling, progress: Any
    ) -> list[Completion]:
        width = max(map(len, prompts))
        padded = torch.tensor([[-1] * (width - len(p)) + p for p in prompts], device=self._device)
        mask = (padded >= 0).long()
        vocabulary = self._model.get_output_embeddings().weight.shape[0]
        sampler = _Sampler(sampling, seeds, padded, vocabulary)
        inputs = padded.clamp(min=0).where(mask.bool(), torch.full_like(padded, self._pad))
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        ends = torch.tensor(self._ends, device=self._device)
        cache = _new_cache(self._model.config)
        alive = list(range(len(prompts)))
        live = torch.ones(len(prompts), dtype=torch.bool, device=self._device)
        replies: list[list[int]] = [[] for _ in prompts]
        finished: dict[int, bool] = {}
        for _ in range(sampling.max_new_tokens):
            output = self._model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            tokens = sampler(output.logits[:, -1].float())
            ended = torch.isin(tokens, ends)
            for row, (token, end, on) in enumerate(
                zip(tokens.tolist(), ended.tolist(), live.tolist(), strict=True)
            ):
                if on:
                    replies[alive[row]].append(token)
                    if end:
                        finished[alive[row]] = True
                        progress.update()
            live &= ~ended
            count = int(live.sum())
            if count == 0:
                break
            # Dropping rows copies the cache once: wait until an eighth of the batch is idle.
            if count <= len(alive) * 7 // 8:
                rows = live.nonzero()[:, 0]
                alive = [alive[row] for row in rows.tolist()]
                tokens, mask, positions, live = (
                    tokens[rows],
                    mask[rows],
                    positions[rows],
                    live[rows],
                )
                cache.batch_select_indices(rows)
                sampler.keep(rows)
            inputs = tokens[:, None]
            mask = torch.cat([mask, mask.new_ones((len(alive), 1))], dim=1)
            positions = positions[:, -1:] + 1
        progress.update(len(prompts) - len(finished))
        return [
            Completion(
                text=self._decode(reply),
                finish_reason="stop" if finished.get(index) else "length",
                prompt_tokens=len(prompts[index]),
                completion_tokens=len(reply),
            )
            for index, reply in enumerate(replies)
        ]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    @torch.inference_mode()
    def score(
        self, conversations: Sequence[Conversation], replies: Sequence[str]
    ) -> list[ReplyScore]:
        """Return log p(reply + end token | conversation), raw at temperature 1."""
        prompts = [self._encode(self.render(conversation)) for conversation in conversations]
        end = self._tokenizer.eos_token_id
        targets = [[*self._encode(reply), end] for reply in replies]
        lengths = [len(p) + len(t) for p, t in zip(prompts, targets, strict=True)]
        done: dict[int, ReplyScore] = {}
        with bar(len(prompts), f"{self._card.name} scores", "reply") as progress:
            for batch in _batches(lengths, 0):
                width = lengths[batch[0]]
                rows = [prompts[i] + targets[i] + [-1] * (width - lengths[i]) for i in batch]
                padded = torch.tensor(rows, device=self._device)
                mask = (padded >= 0).long()
                keep = max(len(targets[i]) + width - lengths[i] for i in batch) + 1
                logits = self._model(
                    input_ids=padded.where(mask.bool(), torch.full_like(padded, self._pad)),
                    attention_mask=mask,
                    use_cache=False,
                    logits_to_keep=keep,
                ).logits
                for row, index in enumerate(batch):
                    start = keep - (width - len(prompts[index])) - 1
                    target = torch.tensor(targets[index], device=self._device)
                    logprobs = logits[row, start : start + len(target)].float().log_softmax(dim=-1)
                    chosen = logprobs.gather(1, target[:, None]).double().sum()
                    done[index] = ReplyScore(float(chosen), len(target))
                progress.update(len(batch))
        return [done[index] for index in range(len(prompts))]


def _best_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes in it, else what is next best."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    abilities = torch.cpu.get_capabilities()
    fast = abilities.get("avx512_bf16") or abilities.get("amx_bf16") or abilities.get("bf16")
    return torch.bfloat16 if fast else torch.float32
