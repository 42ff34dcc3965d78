"""Building what a model is shown: the opening prompt and COMBINE (paper, section 2)."""

from collections.abc import Sequence

from stages.records import Exchange, Message


def neutralise(text: str) -> str:
    """Return `text` with chat control tokens broken up.

    A model can spell `<|im_end|>` in its reply; inside a conversation that would become the real
    token and end the message there.
    """
    return text.replace("<|", "< |").replace("|>", "| >")


def opening(system: str | None, prompt: str) -> tuple[Message, ...]:
    """Return a conversation's first messages: the system prompt, if any, and the user's prompt."""
    user = Message(role="user", content=prompt)
    return (user,) if system is None else (Message(role="system", content=system), user)


def turn_id(prefix: str, turn: int) -> str:
    """Return the name of a request: that of the first turn (0) is the name of the episode."""
    return prefix if turn == 0 else f"{prefix}/{turn}"


def later(turn: int) -> tuple[int, ...]:
    """Return what a seed of turn `turn` has beyond that of the first one, which has nothing."""
    return (turn,) if turn else ()


def combine(exchanges: Sequence[Exchange], retry_prompt: str) -> tuple[Message, ...]:
    """Return COMBINE(i, tau_i, f): prompt, original answer and feedback as one chat history.

    "providing the prompt, original answer, and feedback as the chat history with the feedback given
    to the model as in the Student Retry Prompt" (section 5.1.2). Of a trajectory that went on in a
    fresh conversation (Taboo's guess), only what followed from its opening is shown.
    """
    begin = exchanges[0].messages
    last = [turn for turn in exchanges if turn.messages[: len(begin)] == begin][-1]
    answer = Message(role="assistant", content=neutralise(last.reply.text))
    return (*last.messages, answer, Message(role="user", content=retry_prompt))


def turns(exchanges: Sequence[Exchange]) -> list[dict[str, str]]:
    """Return what a prompt shows of a trajectory: each turn's prompt and reply."""
    return [
        {"prompt": turn.messages[-1].content, "reply": neutralise(turn.reply.text)}
        for turn in exchanges
    ]


def unconditioned(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return COMBINE's conversation without answer and feedback: what the task alone showed."""
    answers = (place for place, message in enumerate(messages) if message.role == "assistant")
    return tuple(messages[: next(answers, len(messages))])
