"""The `transformers` engine: weights in a folder, on the GPU when there is one, else on the CPU.

Replies are a function of the conversations, the sampling and the machine: what runs side by side
follows from the prompts and replies alone, and every reply draws from a generator of its own.
Prompts are read without padding, what the prompts of a group share only once, and join those under
way as soon as there is room. Of a conversation that goes on, only what is new is read.
"""

import os
import platform
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, Literal

import torch
from transformers.modeling_utils import AttentionInterface

from stages.models import ragged
from stages.models.adapters import load_weights
from stages.models.card import LocalCard
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.models.packed import pack
from stages.models.precision import best_dtype
from stages.models.sampler import Sampler
from stages.models.template import apply_template, load_tokenizer
from stages.progress import bar
from stages.records import Completion, Message, Record

# What runs side by side decides how sums are rounded, so these are no settings. The rows of a block
# share padding; rows and tokens (prompts and room for replies) bound all blocks under way.
BLOCK_ROWS = 8
MAX_ROWS = 128
MAX_TOKENS = 48 * 1024
# Of one pass that scores.
SCORED_TOKENS = 2048
# Of conversations that may go on, between their turns.
KEPT_TOKENS = 16 * 1024

AttentionInterface.register(ragged.NAME, ragged.attention)


@dataclass(frozen=True)
class _Begun:
    """A conversation and its reply, as far as they were read: token ids, and what was kept."""

    tokens: list[int]
    kept: ragged.Kept

    def covers(self, prompt: Sequence[int]) -> int:
        """Return how much of a prompt need not be read. Its last token does: its logits count."""
        return len(os.path.commonprefix([self.tokens, list(prompt[:-1])]))


@dataclass
class _Reply:
    """A reply on its way.

    Attributes:
        index: which conversation it belongs to.
        begun: what was kept of the conversation that this one continues.
        goes_on: the conversation, if a later one may continue it.
    """

    index: int
    prompt: list[int]
    seed: int
    begun: "_Begun | None" = None
    goes_on: tuple[Message, ...] | None = None
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    finish: Literal["stop", "length"] | None = None


@dataclass
class _Group:
    """Replies that are decoded in one block."""

    replies: list[_Reply]
    block: ragged.Block
    sampler: Sampler

    def drop_finished(self) -> None:
        """Go on with the others only."""
        rows = [row for row, reply in enumerate(self.replies) if reply.finish is None]
        if len(rows) < len(self.replies):
            order = self.block.keep(rows)
            self.sampler.keep(order)
            self.replies = [self.replies[row] for row in order]


def _groups(replies: Sequence[_Reply]) -> Iterator[list[_Reply]]:
    """Yield the replies in groups whose prompts begin alike, equal prompts together."""
    order = sorted(replies, key=lambda reply: (reply.prompt, reply.index))
    for start in range(0, len(order), BLOCK_ROWS):
        yield order[start : start + BLOCK_ROWS]


def _fits(live: Sequence[_Group], group: Sequence[_Reply], sampling: Sampling) -> bool:
    """Tell whether one more group may join those under way."""
    rows = sum(len(other.replies) for other in live) + len(group)
    longest = max(len(reply.prompt) for reply in group)
    room = len(group) * (longest + sampling.max_new_tokens)
    tokens = sum(other.block.tokens for other in live) + room
    return not live or (rows <= MAX_ROWS and tokens <= MAX_TOKENS)


class TransformersModel:
    """A chat model run in this process."""

    def __init__(self, card: LocalCard, folder: Path) -> None:
        self._card = card
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = best_dtype(self._device)
        self._tokenizer = load_tokenizer(folder)
        model = load_weights(folder, dtype=self._dtype, attn_implementation=ragged.NAME)
        self._model = model.to(self._device).eval()
        pack(self._model)
        self._like = torch.empty(0, dtype=self._dtype, device=self._device)
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._begun: dict[tuple[Message, ...], _Begun] = {}
        self._ends = {int(end) for end in [*ends, self._tokenizer.eos_token_id] if end is not None}

    def answers(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Record]:
        """Return nothing: no server is asked."""
        return []

    def render(self, conversation: Conversation) -> str:
        """Return the prompt with the chat template applied, up to where the reply begins."""
        return apply_template(self._tokenizer, conversation.messages)

    def facts(self) -> dict[str, str]:
        """Return engine, weights, precision, device, threads and versions."""
        import transformers

        device = torch.cuda.get_device_name() if self._device.type == "cuda" else platform.machine()
        return {
            "engine": "transformers",
            "model": self._card.name,
            "revision": self._card.revision,
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": f"{self._device.type} ({device})",
            "threads": str(torch.get_num_threads()),
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
        replies = [
            _Reply(
                index,
                self._encode(self.render(conversation)),
                conversation.seed,
                # Without the reply and what was said then.
                self._begun.pop(conversation.messages[:-2], None),
                conversation.messages if conversation.goes_on else None,
            )
            for index, conversation in enumerate(conversations)
        ]
        waiting = deque(_groups(replies))
        live: list[_Group] = []
        with bar(len(replies), self._card.name, "reply") as progress:
            while waiting or live:
                while waiting and _fits(live, waiting[0], sampling):
                    live.append(self._prefill(waiting.popleft(), sampling))
                self._step(live, sampling)
                live = [group for group in live if group.replies]
                progress.update(sum(reply.finish is not None for reply in replies) - progress.n)
        return [
            Completion(
                text=self._decode(reply.tokens),
                finish_reason=reply.finish or "length",
                prompt_tokens=len(reply.prompt),
                completion_tokens=len(reply.tokens),
                logprob=round(reply.logprob, 4),
            )
            for reply in replies
        ]

    def _forward(
        self, tokens: list[int], positions: list[int], keep: list[int], over: ragged.Pass
    ) -> torch.Tensor:
        """Return float logits (len(keep), vocabulary) of a pass over packed tokens."""
        ids, places, kept = (
            torch.tensor(numbers, device=self._device) for numbers in (tokens, positions, keep)
        )
        output = self._model(
            input_ids=ids[None],
            position_ids=places[None],
            use_cache=False,
            logits_to_keep=kept,
            tokens=over,
        )
        logits: torch.Tensor = output.logits[0]
        return logits.float()

    def _prefill(self, replies: list[_Reply], sampling: Sampling) -> _Group:
        """Return the group with the first token of each reply, its prompts read."""
        prompts: list[list[int]] = []
        begun: list[_Begun | None] = []
        rows = []
        for reply in replies:
            if not prompts or prompts[-1] != reply.prompt:
                prompts.append(reply.prompt)
                begun.append(reply.begun)
            rows.append(len(prompts) - 1)
        lengths = [len(prompt) for prompt in prompts]
        block = ragged.Block(lengths, rows, sampling.max_new_tokens, self._like)
        shared = 0 if any(begun) else _shared(prompts)
        starts = [
            one.covers(prompt) if one else shared
            for one, prompt in zip(begun, prompts, strict=True)
        ]
        rests = [length - start for length, start in zip(lengths, starts, strict=True)]
        kept = [(one.kept if one else [], start) for one, start in zip(begun, starts, strict=True)]
        logits = self._forward(
            *_pack(prompts, shared, starts),
            [shared + stop - 1 for stop in accumulate(rests)],
            ragged.Sequences(shared, rests, block, kept if any(begun) else ()),
        )
        seeds, shown = [reply.seed for reply in replies], [reply.prompt for reply in replies]
        group = _Group(replies, block, Sampler(sampling, seeds, shown, self._device))
        self._take([group], logits[rows], sampling)
        return group

    def _step(self, live: Sequence[_Group], sampling: Sampling) -> None:
        """Add a token to every reply under way."""
        tokens = [reply.tokens[-1] for group in live for reply in group.replies]
        if not tokens:
            return
        positions = [position for group in live for position in group.block.positions]
        over = ragged.NextTokens([group.block for group in live])
        logits = self._forward(tokens, positions, list(range(len(tokens))), over)
        for group in live:
            group.block.advance()
        self._take(live, logits, sampling)

    def _take(self, groups: Sequence[_Group], logits: torch.Tensor, sampling: Sampling) -> None:
        """Draw a token for every reply, and drop the replies that it ends."""
        parts = torch.split(logits, [len(group.replies) for group in groups])
        drawn = [group.sampler(part) for group, part in zip(groups, parts, strict=True)]
        tokens, logprobs = (torch.cat(column).tolist() for column in zip(*drawn, strict=True))
        replies = [reply for group in groups for reply in group.replies]
        for reply, token, logprob in zip(replies, tokens, logprobs, strict=True):
            reply.tokens.append(token)
            reply.logprob += logprob
            if token in self._ends:
                reply.finish = "stop"
            elif len(reply.tokens) == sampling.max_new_tokens:
                reply.finish = "length"
        for group in groups:
            for row, reply in enumerate(group.replies):
                if reply.finish is not None and reply.goes_on is not None:
                    self._keep(reply.goes_on, reply, group.block.kept(row))
            group.drop_finished()

    def _keep(self, messages: tuple[Message, ...], reply: _Reply, kept: ragged.Kept) -> None:
        """Keep what was read of a conversation and its reply; the oldest have to make room."""
        # The last token was drawn and not read.
        self._begun[messages] = _Begun([*reply.prompt, *reply.tokens[:-1]], kept)
        while sum(len(begun.tokens) for begun in self._begun.values()) > KEPT_TOKENS:
            del self._begun[next(iter(self._begun))]

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
        scores: list[ReplyScore] = []
        with bar(len(prompts), f"{self._card.name} scores", "reply") as progress:
            for chunk in _chunks(prompts, targets):
                sequences = [prompts[i] + targets[i] for i in chunk]
                shared = _shared([prompts[i] for i in chunk])
                rests = [len(sequence) - shared for sequence in sequences]
                stops = [shared + stop for stop in accumulate(rests)]
                # A token's probability stands in the logits of the one before.
                keep = [
                    place - 1
                    for i, stop in zip(chunk, stops, strict=True)
                    for place in range(stop - len(targets[i]), stop)
                ]
                packed = _pack(sequences, shared, [shared] * len(sequences))
                logits = self._forward(*packed, keep, ragged.Sequences(shared, rests))
                wanted = torch.tensor([token for i in chunk for token in targets[i]])
                chosen = logits.gather(1, wanted.to(self._device)[:, None])[:, 0]
                logprobs = (chosen - logits.logsumexp(dim=-1)).double()
                scores += [
                    ReplyScore(float(part.sum()), len(part))
                    for part in torch.split(logprobs, [len(targets[i]) for i in chunk])
                ]
                progress.update(len(chunk))
        return scores


def _shared(prompts: Sequence[list[int]]) -> int:
    """Return how many tokens all prompts begin with, short of the last one of each.

    The logits of that one are needed, so it is read for each.
    """
    return len(os.path.commonprefix([prompt[:-1] for prompt in prompts]))


def _pack(
    sequences: Sequence[list[int]], shared: int, starts: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return tokens and their positions: what is shared once, then each sequence from its start."""
    parts = [(sequences[0], 0, shared)]
    parts += [(whole, start, len(whole)) for whole, start in zip(sequences, starts, strict=True)]
    tokens = [token for whole, start, stop in parts for token in whole[start:stop]]
    return tokens, [place for _, start, stop in parts for place in range(start, stop)]


def _chunks(prompts: Sequence[list[int]], targets: Sequence[list[int]]) -> Iterator[list[int]]:
    """Yield indices in their order, as many at a time as one pass scores.

    Replies to one prompt make passes of their own, which read the prompt once.
    """
    rests = [len(target) for target in targets]
    whole = [len(prompt) + rest for prompt, rest in zip(prompts, rests, strict=True)]
    singles: list[int] = []
    for prompt, run in groupby(range(len(prompts)), key=lambda index: prompts[index]):
        indices = list(run)
        if len(indices) == 1:
            singles += indices
            continue
        yield from _pieces(singles, whole, SCORED_TOKENS)
        singles = []
        yield from _pieces(indices, rests, SCORED_TOKENS - len(prompt))
    yield from _pieces(singles, whole, SCORED_TOKENS)


def _pieces(indices: Sequence[int], sizes: Sequence[int], room: int) -> Iterator[list[int]]:
    """Yield the indices in parts whose sizes have room together, at least one in each."""
    part: list[int] = []
    for index in indices:
        if part and sum(sizes[i] for i in part) + sizes[index] > room:
            yield part
            part = []
        part.append(index)
    if part:
        yield part
