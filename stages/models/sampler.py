"""Drawing the next token: sampling filters, each reply with random numbers of its own."""

from collections.abc import Sequence

import torch

from stages.models.chat import Sampling


class Sampler:
    """Draws the next tokens of some replies, each from its own stream of random numbers.

    Args:
        sampling: temperature and filters.
        seeds: one a row.
        prompts: token ids; the repetition penalty counts these too.
        device: where the logits are.
    """

    def __init__(
        self,
        sampling: Sampling,
        seeds: Sequence[int],
        prompts: Sequence[Sequence[int]],
        device: torch.device,
    ) -> None:
        self._sampling = sampling
        self._step = 0
        if sampling.temperature > 0:
            draws = []
            for seed in seeds:
                stream = torch.Generator().manual_seed(seed)
                draws.append(torch.rand(sampling.max_new_tokens, generator=stream))
            self._draws = torch.stack(draws).to(device)
        if sampling.repetition_penalty != 1:
            # A token that stands here twice is penalised once; so repeating one is good padding.
            self._width = max(map(len, prompts))
            rows = [[*prompt, *[prompt[0]] * (self._width - len(prompt))] for prompt in prompts]
            room = torch.zeros(len(rows), sampling.max_new_tokens, dtype=torch.long)
            self._seen = torch.cat([torch.tensor(rows), room], dim=1).to(device)

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, in this order."""
        if self._sampling.temperature > 0:
            self._draws = self._draws[rows]
        if self._sampling.repetition_penalty != 1:
            self._seen = self._seen[rows]

    def __call__(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw from float logits (rows, vocabulary).

        Returns:
            The next token of each row, and log p of it: raw, before temperature and filters.
        """
        tokens = self._choose(logits)
        logprobs = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
        if self._sampling.repetition_penalty != 1:
            self._seen[:, self._width] = tokens
            self._width += 1
        self._step += 1
        return tokens, logprobs

    def _choose(self, logits: torch.Tensor) -> torch.Tensor:
        penalty = self._sampling.repetition_penalty
        if penalty != 1:
            seen = self._seen[:, : self._width]
            old = logits.gather(1, seen)
            logits = logits.scatter(1, seen, torch.where(old > 0, old / penalty, old * penalty))
        if self._sampling.temperature == 0:
            return logits.argmax(dim=-1)
        width = logits.shape[-1]
        top_k = min(self._sampling.top_k or width, width)
        values, candidates = logits.topk(top_k, dim=-1, sorted=True)
        probabilities = (values / self._sampling.temperature).softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities
        kept = probabilities.where(before < self._sampling.top_p, torch.zeros_like(probabilities))
        mass = kept.cumsum(dim=-1)
        # Inverse of the cumulative distribution at one uniform number a row and step.
        goal = self._draws[:, self._step, None] * mass[:, -1:]
        last = (kept > 0).sum(dim=-1, keepdim=True) - 1
        place = torch.minimum((mass <= goal).sum(dim=-1, keepdim=True), last)
        return candidates.gather(1, place)[:, 0]
