"""From records to the tokens that TRL trains on: the data step of Appendix B's configurations.

Three forms. `exact`: the prompt as the student gets it at inference, then the reply and its end
token; the loss is on those two, and nothing is cut. `trl`: what TRL makes of a conversation today,
so that the loss is also on what the chat template puts behind the end token. `trl_2024`: what TRL
made of it in October 2024, with its truncation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from stages.conversation import neutralise
from stages.errors import UserError
from stages.models.template import apply_template
from stages.records import Demonstration, Message, Preference
from stages.training.presets import Settings

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One example of SFT: tokens, and as many labels; IGNORED carries no loss."""

    input_ids: list[int]
    labels: list[int]

    @property
    def tokens(self) -> int:
        """How many tokens a forward pass reads."""
        return len(self.input_ids)

    @property
    def targets(self) -> int:
        """How many tokens the loss is on; nothing comes before the first, so it is never one."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True)
class Pair:
    """One example of DPO: a prompt and two replies."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def tokens(self) -> int:
        """How many tokens a forward pass reads."""
        return 2 * len(self.prompt_ids) + self.targets

    @property
    def targets(self) -> int:
        """How many tokens have a log-probability in the loss."""
        return len(self.chosen_ids) + len(self.rejected_ids)


@dataclass(frozen=True)
class Prepared:
    """The examples that fit, with how many were dropped as too long and how many lost tokens."""

    examples: list[Example] | list[Pair]
    too_long: int
    cut: int


def prepare(
    records: Sequence[Demonstration] | Sequence[Preference], tokenizer: Any, settings: Settings
) -> Prepared:
    """Return the records as tokens, none longer than the settings allow.

    Raises:
        UserError: a reply is no single message of the assistant, or all examples are too long.
    """
    text = _Text(tokenizer)
    examples: list[Any] = []
    too_long = cut = 0
    for record in records:
        made: Example | Pair | None
        if isinstance(record, Demonstration):
            made, shortened = _sft(record, text, settings)
        else:
            made, shortened = _dpo(record, text, settings)
        if made is None:
            too_long += 1
        else:
            examples.append(made)
            cut += shortened
    if not examples:
        raise UserError(
            f"all {too_long} examples are longer than max_length {settings.args['max_length']}"
        )
    return Prepared(examples, too_long, cut)


class _Text:
    """What the tokenizer and its chat template make of messages."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.end = int(tokenizer.eos_token_id)
        pad = tokenizer.pad_token_id
        self.pad = self.end if pad is None else int(pad)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        return self.encode(apply_template(self._tokenizer, messages))

    def whole(self, messages: Sequence[Message]) -> list[int]:
        """Return the conversation with all that the template puts behind its last message."""
        plain = [message.model_dump() for message in messages]
        text = self._tokenizer.apply_chat_template(plain, tokenize=False)
        return self.encode(str(text))

    def behind(self, prompt: Sequence[Message], reply: Sequence[Message]) -> list[int]:
        """Return what comes behind the prompt in the conversation of both."""
        before, whole = self.prompt(prompt), self.whole([*prompt, *reply])
        return whole[_shared(before, whole) :]

    def reply(self, item: str, messages: Sequence[Message]) -> list[int]:
        """Return the reply and the end token, as a model that says it would give them."""
        if len(messages) != 1 or messages[0].role != "assistant":
            raise UserError(f"{item}: a reply is one message of the assistant")
        return [*self.encode(neutralise(messages[0].content)), self.end]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _sft(record: Demonstration, text: _Text, settings: Settings) -> tuple[Example | None, bool]:
    """Return the example, or None if it does not fit, and whether it was cut."""
    longest: int | None = settings.args["max_length"]
    prompt = text.prompt(record.prompt)
    if settings.data == "exact":
        ids = prompt + text.reply(record.item, record.completion)
        known = len(prompt)
    else:
        ids = text.whole([*record.prompt, *record.completion])
        known = _shared(prompt, ids)
    labels = list(ids)
    if settings.args.get("completion_only_loss") is not False:
        labels[:known] = [IGNORED] * known
    elif settings.data == "trl_2024":
        # The collator of the day took every padding token for padding, the end of a turn too where
        # both are one token.
        labels = [IGNORED if token == text.pad else token for token in ids]
    cut = longest is not None and len(ids) > longest
    if settings.data == "exact" and cut:
        return None, False
    example = Example(ids[:longest], labels[:longest])
    return (example, cut) if example.targets else (None, False)


def _dpo(record: Preference, text: _Text, settings: Settings) -> tuple[Pair | None, bool]:
    """Return the pair, or None if it does not fit, and whether it was cut."""
    longest: int | None = settings.args["max_length"]
    prompt = text.prompt(record.prompt)
    if settings.data == "exact":
        whole = Pair(
            prompt, text.reply(record.item, record.chosen), text.reply(record.item, record.rejected)
        )
        limit = settings.max_prompt_length
        fits = (limit is None or len(prompt) <= limit) and (
            longest is None or len(prompt) + _longer(whole) <= longest
        )
        return (whole, False) if fits else (None, False)
    whole = Pair(
        prompt,
        text.behind(record.prompt, record.chosen),
        text.behind(record.prompt, record.rejected),
    )
    if settings.data == "trl_2024":
        pair = cut_2024(_end(whole, text.end), longest, settings.max_prompt_length)
        return pair, pair != _end(whole, text.end)
    kept = prompt[-(settings.max_prompt_length or len(prompt)) :]
    room = None if longest is None else longest - len(kept)
    if room is not None and room <= 0:
        return None, False
    pair = Pair(kept, whole.chosen_ids[:room], whole.rejected_ids[:room])
    return pair, pair != whole


def _longer(pair: Pair) -> int:
    return max(len(pair.chosen_ids), len(pair.rejected_ids))


def _end(pair: Pair, end: int) -> Pair:
    """Return the pair with an end token behind each reply, where it is not the last one already."""
    chosen, rejected = (
        ids if ids and ids[-1] == end else [*ids, end]
        for ids in (pair.chosen_ids, pair.rejected_ids)
    )
    return Pair(pair.prompt_ids, chosen, rejected)


def cut_2024(pair: Pair, max_length: int | None, max_prompt_length: int | None) -> Pair:
    """Return the pair as DPOTrainer cut it in October 2024 (trl at 0a566f0c5, `_truncate_tokens`).

    Where prompt and longer reply have more than `max_length` tokens, the prompt keeps its last
    `max_prompt_length`. If that does not do, each reply becomes `[: max_length -
    max_prompt_length]`: with Appendix B's 1024 and the default 512 of the day, a slice that ends
    512 tokens before the reply does, and so takes its answer, or all of it.
    """
    if max_length is None or max_prompt_length is None:
        raise UserError("trl_2024: max_length and max_prompt_length are numbers")
    longer = _longer(pair)
    if len(pair.prompt_ids) + longer <= max_length:
        return pair
    prompt = pair.prompt_ids[-max_prompt_length:]
    if len(prompt) + longer <= max_length:
        return Pair(prompt, pair.chosen_ids, pair.rejected_ids)
    stop = max_length - max_prompt_length
    return Pair(prompt, pair.chosen_ids[:stop], pair.rejected_ids[:stop])
