"""Attention over sequences of different lengths, without padding between them.

All tokens of a forward pass stand one behind the other in a single row, so that every other layer
works on real tokens only. This attention function, which transformers calls in place of its own,
knows which token belongs to which sequence and keeps their keys and values. It appends to these in
place: on a CPU, copying a cache costs as much as the arithmetic.

Shapes: `heads` may be a multiple of `kv heads` (grouped queries); `size` is that of one head.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch.nn.functional import scaled_dot_product_attention

NAME = "ragged"

Kept: TypeAlias = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of one sequence (kv heads, tokens, size), layer by layer."""


class Pass(Protocol):
    """What one forward pass is over."""

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Return a layer's attention (heads, tokens, size) of query, key and value of that shape.

        `window` is how many tokens, its own included, a token looks back on; None is all of them.
        """
        ...


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    tokens: Pass,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as the pass `tokens` says, which the model was called with.

    Raises:
        ValueError: the model's attention has parts that this one lacks.
    """
    if softcap is not None or s_aux is not None:
        raise ValueError("attention with soft capping or sinks is not supported")
    layer = int(module.layer_idx)
    output = tokens.attend(layer, query[0], key[0], value[0], scaling, sliding_window)
    return output.transpose(0, 1)[None].contiguous(), None


class Block:
    """Keys and values of sequences that are decoded side by side.

    Within a block, sequences are padded on the left, so that all are written at one place. A row
    that is done gives its place to the last one.

    Args:
        lengths: of the prompts.
        rows: for each row, which of the prompts it continues: samples of one prompt share it.
        new_tokens: how many tokens may follow.
        like: a tensor of the model's device and precision.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        rows: Sequence[int],
        new_tokens: int,
        like: torch.Tensor,
    ) -> None:
        self._end = max(lengths)
        self._room = self._end + new_tokens
        self._rows = list(rows)
        self.tokens = len(rows) * self._room
        """How many tokens there is room for, used or not."""
        self.positions = [lengths[row] for row in rows]
        """The position of each row's next token in its own sequence."""
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        # Added to the scores: minus infinity where there is padding.
        starts = torch.tensor([self._end - length for length in self.positions])
        padding = torch.arange(self._room) < starts[:, None]
        self._mask = torch.zeros(len(rows), self._room).masked_fill(padding, float("-inf"))
        self._mask = self._mask[:, None, None].to(like)
        self._padded = bool(padding.any())

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def fill(self, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
        """Take in the next layer's keys and values (kv heads, tokens, size).

        First those of the beginning that all prompts share, then those of each prompt's rest.
        """
        for (shared, *rests), room in ((keys, self._keys), (values, self._values)):
            heads, begun, size = shared.shape
            kept = shared.new_zeros(len(self), heads, self._room, size)
            for place, row in enumerate(self._rows):
                start = self._end - rests[row].shape[1]
                kept[place, :, start - begun : start] = shared
                kept[place, :, start : self._end] = rests[row]
            room.append(kept)

    def kept(self, row: int) -> "Kept":
        """Return a copy of what a row holds."""
        held = slice(self._end - self.positions[row], self._end)
        return [
            (keys[row, :, held].clone(), values[row, :, held].clone())
            for keys, values in zip(self._keys, self._values, strict=True)
        ]

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Append one token a row, and return its attention; as in `Pass`, tokens being rows."""
        rows, end = len(self), self._end
        keys, values = self._keys[layer], self._values[layer]
        keys[:rows, :, end] = key.transpose(0, 1)
        values[:rows, :, end] = value.transpose(0, 1)
        seen = slice(max(0, end + 1 - window) if window else 0, end + 1)
        heads, _, size = query.shape
        # Heads that share keys are taken as several queries: nothing is repeated in memory.
        grouped = query.transpose(0, 1).reshape(rows, len(key), heads // len(key), size)
        output = scaled_dot_product_attention(
            grouped,
            keys[:rows, :, seen],
            values[:rows, :, seen],
            attn_mask=self._mask[:rows, ..., seen] if self._padded else None,
            scale=scale,
        )
        return output.reshape(rows, heads, size).transpose(0, 1)

    def advance(self) -> None:
        """Go on to the next token, once all layers have attended."""
        self._end += 1
        self.positions = [position + 1 for position in self.positions]

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Keep these rows only; return them in their new order: the last ones fill the gaps."""
        stay = [row for row in rows if row < len(rows)]
        moved = iter([row for row in rows if row >= len(rows)])
        taken = set(stay)
        order = [place if place in taken else next(moved) for place in range(len(rows))]
        for place, row in enumerate(order):
            if place != row:
                for kept in (*self._keys, *self._values):
                    kept[place, :, : self._end] = kept[row, :, : self._end]
                self._mask[place] = self._mask[row]
        self._rows = [self._rows[row] for row in order]
        self.positions = [self.positions[row] for row in order]
        return order


class Sequences:
    """A pass over sequences, one behind the other, each after a beginning.

    Args:
        shared: how many tokens the beginning that all share has; they come first, once.
        lengths: of the sequences without their beginnings.
        block: keeps what is needed to go on.
        kept: where nothing is shared, what was kept of each sequence's own beginning, and how many
            tokens of that to take, which may be none.
    """

    def __init__(
        self,
        shared: int,
        lengths: Sequence[int],
        block: Block | None = None,
        kept: Sequence[tuple[Kept, int]] = (),
    ) -> None:
        self._lengths = [shared, *lengths]
        self._block = block
        self._kept = kept

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attend within each sequence and to its beginning, to what is before."""
        queries, keys, values = (
            list(torch.split(part, self._lengths, dim=1)) for part in (query, key, value)
        )
        for number, (kept, taken) in enumerate(self._kept, 1):
            if taken:
                old_keys, old_values = kept[layer]
                keys[number] = torch.cat([old_keys[:, :taken], keys[number]], dim=1)
                values[number] = torch.cat([old_values[:, :taken], values[number]], dim=1)
        outputs = []
        for number, (q, k, v) in enumerate(zip(queries, keys, values, strict=True)):
            if number and self._lengths[0]:
                k, v = torch.cat([keys[0], k], dim=1), torch.cat([values[0], v], dim=1)
            before = k.shape[1] - q.shape[1]
            mask = None
            if before or (window is not None and k.shape[1] > window):
                place = torch.arange(k.shape[1], device=q.device)
                back = place[before:, None] - place
                mask = (back >= 0) & (back < (window or k.shape[1]))
            output = scaled_dot_product_attention(
                q[None],
                k[None],
                v[None],
                attn_mask=mask,
                is_causal=mask is None,
                scale=scale,
                enable_gqa=True,
            )
            outputs.append(output[0])
        if self._block is not None:
            self._block.fill(keys, values)
        return torch.cat(outputs, dim=1)


class NextTokens:
    """A pass over one token of each row of each block."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attend to all that each row holds."""
        sizes = [len(block) for block in self._blocks]
        parts = [torch.split(part, sizes, dim=1) for part in (query, key, value)]
        outputs = [
            block.attend(layer, q, k, v, scale, window)
            for block, q, k, v in zip(self._blocks, *parts, strict=True)
        ]
        return torch.cat(outputs, dim=1)
