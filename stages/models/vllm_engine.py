"""The `vllm` engine: weights in a folder, run by vllm in this process, on CUDA or its CPU build.

Prompts are rendered and encoded here, as the `transformers` engine does it, so that both give the
model the same tokens. Every process loads the weights anew; a server that many cells share is the
`openai` engine's business.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stages.errors import UserError
from stages.models.adapters import CONFIG, base_of
from stages.models.card import LocalCard, read_card
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.models.precision import best_dtype
from stages.models.template import apply_template, load_tokenizer
from stages.records import Completion, Record

TENSOR_PARALLEL, GPU_MEMORY = "ENGINE_TENSOR_PARALLEL", "ENGINE_GPU_MEMORY"
# Of adapters: the values that vllm takes for max_lora_rank.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# vllm reads these when it is imported. In one process it schedules alike every time.
_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}


class VllmModel:
    """A chat model run by vllm in this process.

    Environment: `ENGINE_TENSOR_PARALLEL`, how many GPUs share the weights (1), and `ENGINE_GPU_MEMORY`,
    which share of a GPU's memory is taken (0.9; on a CPU 0.3 of the machine's).

    Raises:
        UserError: vllm is not installed, a setting has a wrong form, or vllm refuses the folder.
    """

    def __init__(self, card: LocalCard, folder: Path) -> None:
        self._card = card
        cuda = torch.cuda.is_available()
        self._device = torch.device("cuda" if cuda else "cpu")
        self._dtype = best_dtype(self._device)
        self._tensor_parallel = int(
            _setting(TENSOR_PARALLEL, "1", "[1-9][0-9]{0,2}", "a number of GPUs")
        )
        memory = float(
            _setting(
                GPU_MEMORY, "0.9" if cuda else "0.3", r"0?\.[0-9]*[1-9][0-9]*|1", "between 0 and 1"
            )
        )
        vllm = _import_vllm()
        self._version = str(vllm.__version__)
        self._tokenizer = load_tokenizer(folder)
        weights, adapter = _weights(card, folder)
        self._ends = _end_tokens(weights, self._tokenizer)
        self._adapter = _request(folder) if adapter else None
        try:
            self._engine: Any = vllm.LLM(
                str(weights),
                dtype=self._dtype,
                tensor_parallel_size=self._tensor_parallel,
                gpu_memory_utilization=memory,
                enforce_eager=not cuda,
                # A prompt that is read in parts draws a token too many from its generator, which
                # vllm takes back, and torch's generator of a CPU cannot.
                enable_chunked_prefill=None if cuda else False,
                # Cached prefixes would make a reply's rounding depend on what was asked before.
                enable_prefix_caching=False,
                logprobs_mode="raw_logprobs",
                **adapter,
            )
        except (OSError, ValueError) as error:
            line = " ".join(str(error).split())[:300]
            raise UserError(f"{folder}: vllm cannot run it: {line}") from None
        self._longest = int(self._engine.model_config.max_model_len)

    def answers(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Record]:
        """Return nothing: no server is asked."""
        return []

    def render(self, conversation: Conversation) -> str:
        """Return the prompt with the chat template applied, up to where the reply begins."""
        return apply_template(self._tokenizer, conversation.messages)

    def facts(self) -> dict[str, str]:
        """Return engine, weights, precision, device and versions."""
        device = torch.cuda.get_device_name() if self._device.type == "cuda" else platform.machine()
        return {
            "engine": "vllm",
            "model": self._card.name,
            "revision": self._card.revision,
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": f"{self._device.type} ({device})",
            "tensor_parallel": str(self._tensor_parallel),
            "torch": torch.__version__,
            "vllm": self._version,
        }

    def generate(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion]:
        """Return one completion a conversation, in their order.

        A prompt that the model's context has no room for comes back as `bad_request`.

        Raises:
            UserError: vllm does not know such sampling (a temperature above 2).
        """
        prompts = [self._encode(self.render(conversation)) for conversation in conversations]
        fitting = [index for index, prompt in enumerate(prompts) if len(prompt) < self._longest]
        outputs = self._run(
            [prompts[index] for index in fitting],
            [self._sampling(sampling, conversations[index].seed) for index in fitting],
        )
        done = dict(zip(fitting, map(self._completion, outputs), strict=True))
        return [done.get(index) or self._too_long(prompt) for index, prompt in enumerate(prompts)]

    def score(
        self, conversations: Sequence[Conversation], replies: Sequence[str]
    ) -> list[ReplyScore]:
        """Return log p(reply + end token | conversation), raw at temperature 1.

        Raises:
            UserError: a conversation and its reply are longer than the model's context.
        """
        prompts = [self._encode(self.render(conversation)) for conversation in conversations]
        end = self._tokenizer.eos_token_id
        targets = [[*self._encode(reply), end] for reply in replies]
        sequences = [prompt + target for prompt, target in zip(prompts, targets, strict=True)]
        for conversation, sequence in zip(conversations, sequences, strict=True):
            # vllm always makes a token more than it is given.
            if len(sequence) >= self._longest:
                raise UserError(
                    f"{conversation.id}: {len(sequence)} tokens with the reply, and"
                    f" {self._card.name} scores less than {self._longest}"
                )
        probe = self._parameters(temperature=0.0, max_tokens=1, prompt_logprobs=0)
        scores = []
        outputs = self._run(sequences, [probe] * len(sequences))
        for prompt, target, output in zip(prompts, targets, outputs, strict=True):
            # Entry n holds the token at position n given those before it; the first is None.
            entries = output.prompt_logprobs[len(prompt) :]
            chosen = (entry[token].logprob for entry, token in zip(entries, target, strict=True))
            scores.append(ReplyScore(float(sum(chosen)), len(target)))
        return scores

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _parameters(self, **fields: object) -> Any:
        """Return vllm's sampling parameters; text is decoded here, so not by vllm."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError

        try:
            return SamplingParams(detokenize=False, **fields)
        except VLLMClientError as error:
            raise UserError(f"{self._card.name}: {' '.join(str(error).split())}") from None

    def _sampling(self, sampling: Sampling, seed: int) -> Any:
        # Any seed of `stages.seeds` fits: vllm takes 64 bits, and only -1 means none.
        return self._parameters(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=sampling.max_new_tokens,
            seed=seed if sampling.temperature > 0 else None,
            stop_token_ids=self._ends,
            # Of the drawn token alone.
            logprobs=0,
        )

    def _run(self, prompts: Sequence[list[int]], parameters: Sequence[Any]) -> list[Any]:
        if not prompts:
            return []
        return list(
            self._engine.generate(
                [{"prompt_token_ids": prompt} for prompt in prompts],
                list(parameters),
                # Its bar divides by the time that only a visible bar measures.
                use_tqdm=sys.stderr.isatty(),
                lora_request=self._adapter,
            )
        )

    def _completion(self, output: Any) -> Completion:
        reply = output.outputs[0]
        tokens = list(reply.token_ids)
        if reply.finish_reason not in ("stop", "length"):
            detail = f"vllm ended the reply with {reply.finish_reason!r}"
            return Completion(text="", finish_reason="error", detail=detail)
        return Completion(
            text=str(self._tokenizer.decode(tokens, skip_special_tokens=True)),
            finish_reason=reply.finish_reason,
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=len(tokens),
            logprob=float(reply.cumulative_logprob),
        )

    def _too_long(self, prompt: list[int]) -> Completion:
        detail = f"a prompt of {len(prompt)} tokens, and the model has room for {self._longest}"
        return Completion(text="", finish_reason="bad_request", detail=detail)


def _setting(name: str, default: str, pattern: str, what: str) -> str:
    """Return an environment variable. Raises UserError where it has another form."""
    text = os.environ.get(name) or default
    if not re.fullmatch(pattern, text):
        raise UserError(f"{name} must be {what}, got {text!r}")
    return text


def _import_vllm() -> Any:
    """Return the vllm module. Raises UserError where it is not installed."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise UserError(
            "the engine vllm is not installed: pip install 'feedback-conditioning[vllm]'"
        ) from None
    return vllm


def _weights(card: LocalCard, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the weights, and what vllm is told of an adapter to them.

    Raises:
        UserError: an adapter to an adapter, or one of a rank that vllm has no room for.
    """
    if not card.adapter:
        return folder, {}
    base = base_of(folder)
    base_card = read_card(base)
    if not isinstance(base_card, LocalCard) or base_card.adapter:
        raise UserError(f"{folder}: vllm runs one adapter, to whole weights; {base} holds none")
    rank = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("r", 0)
    room = next((most for most in _RANKS if most >= rank), None)
    if room is None:
        raise UserError(f"{folder}: vllm has no room for an adapter of rank {rank}")
    return base, {"enable_lora": True, "max_lora_rank": room}


def _request(folder: Path) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(folder.name, 1, str(folder))


def _end_tokens(folder: Path, tokenizer: Any) -> list[int]:
    """Return the tokens that end a reply, as the `transformers` engine finds them."""
    from transformers import AutoConfig, GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(folder)
    except OSError:
        # No such file: the library then takes them from the model's own configuration.
        config = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder))
    ends = config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return sorted({int(end) for end in [*ends, tokenizer.eos_token_id] if end is not None})
