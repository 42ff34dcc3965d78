"""Log-probs of given text from a server of vllm, which the chat protocol has no way to ask for.

The server applies its chat template and its tokenizer, so its `/tokenize` is asked for the tokens
of the prompt and of the reply; `/v1/completions` then gives the log-prob of every token of the two
together. The bodies of those answers grow with the prompt, some hundred bytes a token.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from stages.errors import UserError
from stages.models.card import ServedCard
from stages.models.chat import Conversation, ReplyScore
from stages.models.replies import Endpoint, Outcome, model_of, total, usage_of
from stages.records import Completion

Ask: TypeAlias = Callable[[Endpoint, Sequence[dict[str, Any]]], list[str]]


def _tokens(value: Mapping[str, Any]) -> list[int] | None:
    tokens = value.get("tokens")
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        return None
    return tokens


def _read_tokens(value: Mapping[str, Any]) -> Outcome:
    if _tokens(value) is None:
        return Outcome("stop", "no_tokens", "no tokens in the answer of /tokenize; is it vllm?")
    return Outcome("store", "stop", "", Completion(text="", finish_reason="stop"))


def _entries(value: Mapping[str, Any]) -> list[dict[str, Any] | None] | None:
    """Return the log-probs by token at each position of the prompt."""
    choices = value.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    entries = choices[0].get("prompt_logprobs")
    if not isinstance(entries, list) or not all(isinstance(e, dict | None) for e in entries):
        return None
    return entries


def _read_scores(value: Mapping[str, Any]) -> Outcome:
    if _entries(value) is None:
        return Outcome(
            "stop", "no_scores", "no prompt_logprobs in the answer: this server cannot score"
        )
    # The one token that the server adds is of no use.
    answered = Completion(text="", finish_reason="stop")
    return Outcome("store", "stop", "", answered, model_of(value), usage_of(value))


TOKENIZE = Endpoint(
    "tokenize",
    "/tokenize",
    _read_tokens,
    at_root=True,
    names_model=False,
    missing="no such model, or a server without /tokenize, which cannot score given text",
)
SCORES = Endpoint(
    "completions",
    "/completions",
    _read_scores,
    missing="no such model, or a server without completions, which cannot score given text",
)


def served_scores(
    card: ServedCard, ask: Ask, conversations: Sequence[Conversation], replies: Sequence[str]
) -> list[ReplyScore]:
    """Return log p(reply + end token | conversation), raw at temperature 1, for each pair.

    Args:
        card: the served model, with its `end_token`.
        ask: returns the bodies of the answers to requests, in their order.
        conversations: what the replies answer.
        replies: as many texts.

    Raises:
        UserError: the card has no end token or a wrong one, or the server cannot do this.
    """
    if card.end_token is None:
        raise UserError(
            f"{card.name}: a served model cannot score given text unless it is served by vllm and"
            " its end_token is set under models"
        )
    if not conversations:
        return []
    text = {"model": card.name, "add_special_tokens": False}
    chats = [
        {
            **text,
            "messages": [message.model_dump() for message in conversation.messages],
            "add_generation_prompt": True,
        }
        for conversation in conversations
    ]
    # The empty reply has no tokens, and servers may refuse to say so.
    texts = [{**text, "prompt": reply} for reply in [card.end_token, *replies] if reply]
    found = [_tokens(json.loads(body)) or [] for body in ask(TOKENIZE, [*chats, *texts])]
    prompts, (end, *rest) = found[: len(chats)], found[len(chats) :]
    if len(end) != 1:
        raise UserError(
            f"{card.name}: end_token {card.end_token!r} is {len(end)} tokens to the server, not one"
        )
    filled = iter(rest)
    targets = [[*(next(filled) if reply else []), *end] for reply in replies]
    bodies = ask(
        SCORES,
        [
            {
                "model": card.name,
                "prompt": prompt + target,
                "max_tokens": 1,
                "temperature": 0.0,
                "prompt_logprobs": 0,
            }
            for prompt, target in zip(prompts, targets, strict=True)
        ],
    )
    return [
        _score(card.name, _entries(json.loads(body)) or [], prompt, target)
        for body, prompt, target in zip(bodies, prompts, targets, strict=True)
    ]


def _score(
    name: str, entries: list[dict[str, Any] | None], prompt: list[int], target: list[int]
) -> ReplyScore:
    """Sum over the target's positions, which follow the prompt's."""
    places = entries[len(prompt) :]
    chosen = [
        ((place or {}).get(str(token)) or {}).get("logprob")
        for place, token in zip(places, target, strict=False)
    ]
    logprob = total(chosen)
    if len(places) != len(target) or logprob is None:
        raise UserError(f"{name}: the server's prompt_logprobs do not fit the prompt")
    return ReplyScore(logprob, len(target))
