"""What the tests of games share: files of our own, items, scripted players, runs without a model.

A player is a fake ChatModel that remembers what it was asked. `Script` says what is written down
for an item, turn by turn; `Talker` picks from given texts by what it is shown, like a model does.
"""

import argparse
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

from stages import answering, clean, feedback, judge, retrying
from stages.conversation import combine
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.playing import Episode, open_referee, play
from stages.prompts import Prompt
from stages.records import Completion, Exchange, Item, Message, Record, Split, Trajectory
from stages.running import Run
from stages.seeds import derive
from stages.tasks.config import EnvironmentsSource, Suite
from stages.tasks.environments import preparing
from stages.tasks.environments.registry import environment

ENVIRONMENTS = ROOT / "stages" / "tasks" / "environments"
PROMPTS = ROOT / "prompts"
GAME, RETRY = PROMPTS / "respond" / "game.jinja", PROMPTS / "revise" / "game.jinja"
TINY = ROOT / "scales" / "tiny.yaml"
SAMPLING = Sampling(
    temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05, max_new_tokens=64
)
GENERATED = ("hilo", "hilo_same_secret", "nash", "optimization", "root_finding")
FROM_FILES = ("taboo", "list_functions", "spelling")
PROGRAMS = ("humaneval", "mbpp")
OPENING = "You play a game."

Say = str | Completion


def cut(text: str) -> Completion:
    """Return a reply that the token limit cut."""
    return Completion(text=text, finish_reason="length")


def failed(text: str = "", reason: Any = "refusal") -> Completion:
    """Return what comes of a failed request."""
    return Completion(text=text, finish_reason=reason)


class Player:
    """A fake model: `answer` is what it says to a conversation.

    Attributes:
        calls: what it was asked, batch by batch.
        said: what it said to each request, by its name.
    """

    def __init__(self, answer: Callable[[Conversation], Say]) -> None:
        self._answer = answer
        self.said: dict[str, Completion] = {}
        self.calls: list[tuple[list[Conversation], Sampling]] = []

    @property
    def asked(self) -> list[Conversation]:
        return [conversation for batch, _ in self.calls for conversation in batch]

    def generate(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion]:
        self.calls.append((list(conversations), sampling))
        for one in conversations:
            said = self._answer(one)
            if isinstance(said, str):
                counts = {"prompt_tokens": 10, "completion_tokens": 3}
                said = Completion(text=said, finish_reason="stop", **counts)
            self.said[one.id] = said
        return [self.said[one.id] for one in conversations]

    def score(
        self, conversations: Sequence[Conversation], replies: Sequence[str]
    ) -> list[ReplyScore]:
        raise NotImplementedError

    def answers(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Record]:
        return []

    def render(self, conversation: Conversation) -> str:
        raise NotImplementedError

    def facts(self) -> dict[str, str]:
        return {"engine": "player"}


class Script(Player):
    """Says what is written down for an item, turn by turn; what is left over is an error."""

    def __init__(self, lines: Mapping[str, Sequence[Say]]) -> None:
        self._left = {item: list(said) for item, said in lines.items()}
        super().__init__(self._next)

    def _next(self, conversation: Conversation) -> Say:
        [item] = [name for name in self._left if f"/{name}/" in f"{conversation.id}/"]
        return self._left[item].pop(0)

    def done(self) -> bool:
        return not any(self._left.values())


class Talker(Player):
    """Says one of the texts, by what it is shown and by the seed of the request."""

    def __init__(self, texts: Sequence[Say]) -> None:
        super().__init__(
            lambda one: texts[
                derive(one.seed, *(message.content for message in one.messages)) % len(texts)
            ]
        )


# Files in the formats of BIG-bench, HumanEval and MBPP, with content of our own.

TABOOS = {
    "kite": ["kite", "string", "wind", "fly", "tail", "sky"],
    "ladder": ["ladder", "climb", "rung", "step", "high", "wall"],
    "whisper": ["whisper", "quiet", "voice", "soft", "hush", "ear"],
    "harvest": ["harvest", "crop", "reap", "grain", "autumn", "field"],
    "lantern": ["lantern", "light", "lamp", "night", "candle", "dark"],
}
FUNCTIONS = {
    "c901": ("add up all elements and give the sum alone", lambda xs: [sum(xs)]),
    "c902": ("leave out the first element", lambda xs: xs[1:]),
    "c903": ("write each element twice in a row", lambda xs: [x for x in xs for _ in range(2)]),
    "c904": ("give the number of elements alone", lambda xs: [len(xs)]),
}
INPUTS = ([1, 2], [3, 4, 5], [6], [7, 8, 9, 1], [2, 2], [5, 0, 5], [9, 9], [4, 1, 3])
LETTER_SETS = {
    "aelnrst": ["rental", "learns", "antler", "tales", "rest"],
    "adeilmp": ["medal", "impaled", "idea", "lamp"],
    "bcehirt": ["birch", "itch", "tribe", "cherub".replace("u", "e")],
    "dgnorsu": ["grounds", "sound", "guns"],
}


def problem(task_id: int, **changes: Any) -> dict[str, Any]:
    """Return one line of an MBPP file."""
    return {
        "text": f"Write a function that adds {task_id} to a number.",
        "code": f"def add(n):\r\n    return n + {task_id}",
        "task_id": task_id,
        "test_setup_code": "",
        "test_list": [f"assert add({n}) == {n + task_id}" for n in (1, 2, 3)],
        "challenge_test_list": [],
        **changes,
    }


def function(number: int) -> dict[str, str]:
    """Return one line of a HumanEval file."""
    return {
        "task_id": f"Own/{number}",
        "prompt": f'def times{number}(n):\n    """Return n times {number}."""\n',
        "entry_point": f"times{number}",
        "canonical_solution": f"    return n * {number}\n",
        "test": "def check(candidate):\n"
        + "".join(f"    assert candidate({n}) == {n * number}\n" for n in (11, 13, 17)),
    }


def write_raw(raw: Path) -> Path:
    """Write all those files into a folder, as `download` would."""
    raw.mkdir(parents=True, exist_ok=True)
    examples = [{"target": key, "taboos": words} for key, words in TABOOS.items()]
    _write(raw / "taboo" / "taboo_data.json", {"examples": examples})
    games = {
        f"game{n}": {"letter_set": list(letters), "word_list": words}
        for n, (letters, words) in enumerate(LETTER_SETS.items())
    }
    _write(raw / "spelling_bee" / "games.json", games)
    for name, (told, rule) in FUNCTIONS.items():
        pairs = [{"input": str(xs), "target": str(rule(xs))} for xs in INPUTS]
        task = {"description": f'The target function is "{told}".', "examples": pairs}
        _write(raw / "list_functions" / name / "task.json", task)
    problems = (json.dumps(problem(n)) + "\n" for n in (11, 12, 13, 601, 602, 603))
    (raw / "mbpp.jsonl").write_text("".join(problems), encoding="utf-8")
    functions = "".join(json.dumps(function(n)) + "\n" for n in range(2, 8))
    (raw / "HumanEval.jsonl.gz").write_bytes(gzip.compress(functions.encode(), mtime=0))
    return raw


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def suite(
    entries: Mapping[str, Mapping[str, Any]],
    train: int | None = 2,
    test: int | None = 2,
    seed: int = 0,
) -> Suite:
    """Return what params.yaml says of a suite of these environments."""
    source = EnvironmentsSource(kind="environments", environments=dict(entries))  # type: ignore[arg-type]
    return Suite(source=source, train=train, test=test, longest_question=None, seed=seed)


def items_of(
    raw: Path, *names: str, split: Split = "test", many: int = 2, seed: int = 0, **options: Any
) -> list[Item]:
    """Return the items of a suite of these environments, each with the same options."""
    of = suite({name: {"options": options} for name in names}, many, many, seed)
    assert isinstance(of.source, EnvironmentsSource)
    prepared = preparing.prepare(raw, Path("params.yaml"), "games", of, of.source)
    return prepared.train if split == "train" else prepared.test


def item_of(task: str, state: dict[str, Any], target: str, split: Split = "train") -> Item:
    """Return an item with this state."""
    opening = environment(task).turn(state, ())
    assert opening is not None
    return Item(
        id=f"games/{task}/{split}/0",
        suite="games",
        task=task,
        split=split,
        index=0,
        question=opening.question,
        answer_format=opening.answer_format or "",
        family="environment",
        options={},
        target=target,
        state=state,
    )


def hilo(secret: int, other: int, task: str = "hilo", split: Split = "train") -> Item:
    """Return a game of Hi-Lo; `other` is the only number that a fresh game can have."""
    state = {"secret": secret, "pool": sorted((secret, other)), "tokens": None}
    return item_of(task, state, str(secret), split)


def taboo(concept: str = "kite", split: Split = "train") -> Item:
    state = {"concept": concept, "taboos": TABOOS[concept][1:]}
    return item_of("taboo", state, concept, split)


# Playing.


def played(
    items: Sequence[Item],
    player: Player,
    again: bool = False,
    sampling: Sampling = SAMPLING,
    system: str | None = OPENING,
    **more: Any,
) -> list[Trajectory]:
    """Play the items in one batch and return the trajectories."""
    template = Prompt(GAME)
    opening = () if system is None else (Message(role="system", content=system),)
    episodes = []
    for item in items:
        text = template.render(question=item.question, answer_format=item.answer_format or None)
        messages = (*opening, Message(role="user", content=text))
        episodes.append(Episode(item, again, messages, ("step", 0), item.task))
    run = Run("cell", lambda: player)
    play(run, "cell", episodes, open_referee(ENVIRONMENTS), template, sampling)
    return [trajectory(episode.item, episode.exchanges, **more) for episode in episodes]


def retried(
    item: Item, tau: Trajectory, player: Player, text: str, condition: str = "unconstrained"
) -> Trajectory:
    """Play an item again, conditioned on feedback, as `revise` does."""
    shown = Prompt(RETRY).render(
        feedback=text,
        question=item.question,
        answer_format=item.answer_format or None,
        several_turns=len(tau.exchanges) > 1,
    )
    opening = combine(tau.exchanges, shown)
    episode = Episode(item, True, opening, ("retry", condition, 0), item.task)
    run = Run("retry", lambda: player)
    play(run, "retry", [episode], open_referee(ENVIRONMENTS), Prompt(GAME), SAMPLING)
    return trajectory(item, episode.exchanges, condition=condition, feedback=text)


def trajectory(item: Item, exchanges: Iterable[Exchange], **more: Any) -> Trajectory:
    values = {"model": "tiny", "seed": 0, **more}
    return Trajectory(
        item=item.id,
        suite=item.suite,
        task=item.task,
        split=item.split,
        exchanges=tuple(exchanges),
        **values,
    )


@contextmanager
def seated(player: Player) -> Iterator[Player]:
    """Make every stage that opens a model open this player."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (answering, retrying, feedback, judge, clean):
            patch.setattr(module, "open_model", lambda folder: player)
        yield player


def ends(folder: Path, out: str) -> str:
    """Return the flags of what a stage with a model writes."""
    return (
        f" --model {folder}/model --out {folder}/{out} --calls {folder}/calls.jsonl"
        f" --facts {folder}/facts.json"
    )


def parsed(stage: ModuleType, words: str) -> argparse.Namespace:
    """Return a stage's arguments out of a command line."""
    args: argparse.Namespace = stage.parser().parse_args(words.split())
    return args


def guess(text: str) -> int | None:
    """Return the number that an environment of Hi-Lo says it was told, None where it says none."""
    found = re.search(r"(?:higher|lower) than (\d+)", text)
    return None if found is None else int(found[1])
