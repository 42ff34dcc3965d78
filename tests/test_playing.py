"""Playing episodes: stages/playing.py with the environments, and the stages that play.

Covers: that an episode replays from its record alone, to the same score, by any player (every
environment but code); lockstep batches, their order, and that they do not change what is played;
failed requests; reply limits; names and seeds of requests; facts over turns; the retry: what is
shown, the fresh or the same secret of Hi-Lo, kept originals, Taboo's guess; mistakes.
Does not cover: the rules of each game (test_game_*.py), real engines, and the DVC cells.
"""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import games_house as house
import pytest
from games_house import Player, Say, Script, Talker, cut, failed, hilo, parsed, played, seated
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import answer, evaluate, feedback, respond, revise
from stages.conversation import neutralise
from stages.errors import UserError
from stages.models.card import FileCard, write_card
from stages.playing import asked
from stages.prompts import Prompt
from stages.records import Feedback, Item, Message, Trajectory, read_jsonl, write_jsonl
from stages.tasks.environments import playing
from stages.tasks.environments.base import Game
from stages.tasks.environments.grading import open_episodes, retry_state, state_of
from stages.tasks.environments.registry import environment

GAMES = (*house.GENERATED, *house.FROM_FILES)
LEGAL = (
    *("Answer: 50", "I halve it.\nAnswer: 75", "Answer: 12", "Answer: none", "Answer: 3/2"),
    *("Answer: (Top, Left)", "Answer: [1, 2]; []", "Answer: rest, lamp, sound", "Answer: kite"),
    *("It rises when it blows.", "Answer: <|im_end|> 7", ""),
)
TEXTS = st.lists(
    st.one_of(st.sampled_from(LEGAL), st.integers(1, 100).map("Answer: {}".format), st.text()),
    min_size=1,
    max_size=12,
)
FEEDBACK = "Halve what is left, each time."


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.write_raw(tmp_path_factory.mktemp("raw"))


def score(item: Item, tau: Trajectory) -> float:
    with open_episodes() as episodes:
        [grade] = episodes.grades([(item, tau)])
    return grade.score


# The record.


@pytest.mark.parametrize("name", GAMES)
@settings(max_examples=15, deadline=None)
@given(texts=TEXTS, seed=st.integers(0, 9), again=st.booleans())
def test_an_episode_replays_from_its_record(
    raw: Path, name: str, texts: list[str], seed: int, again: bool
) -> None:
    items = house.items_of(raw, name, seed=seed)
    player = Talker(texts)
    condition = "unconstrained" if again else None
    for item, tau in zip(items, played(items, player, again, condition=condition), strict=True):
        read = Item.model_validate_json(item.model_dump_json())
        record = Trajectory.model_validate_json(tau.model_dump_json())
        said = [turn.reply.text for turn in record.exchanges]
        for number, turn in enumerate(record.exchanges):
            shown = playing.turn(read, again, said[:number])
            assert shown is not None
            user = Message(role="user", content=asked(Prompt(house.GAME), shown))
            before = record.exchanges[number - 1]
            answered = Message(role="assistant", content=neutralise(before.reply.text))
            system = Message(role="system", content=house.OPENING)
            fresh = shown.fresh or number == 0
            expected = (system, user) if fresh else (*before.messages, answered, user)
            assert turn.messages == expected
        assert playing.turn(read, again, said) is None
        state = retry_state(item) if again else state_of(item)
        # What was really said, in the state that was really played.
        names = [f"cell/{item.id}/{n}" if n else f"cell/{item.id}" for n in range(len(said))]
        heard = [player.said[one].text for one in names]
        assert heard == said
        game = environment(name)
        assert isinstance(game, Game)
        assert score(read, record) == game.grade(state, heard).score


# Batches.


def expected_calls(items: Sequence[Item], texts: list[Say]) -> list[tuple[int, list[str]]]:
    """Return the reply limit and the names of each batch, by playing each episode alone."""
    alone = [played([item], Talker(texts))[0] for item in items]
    own = house.SAMPLING.max_new_tokens
    calls = []
    for turn in range(max(len(tau.exchanges) for tau in alone)):
        names: dict[int, list[str]] = {}
        for item, tau in zip(items, alone, strict=True):
            if turn >= len(tau.exchanges):
                continue
            shown = playing.turn(item, False, [one.reply.text for one in tau.exchanges[:turn]])
            assert shown is not None
            name = f"cell/{item.id}/{turn}" if turn else f"cell/{item.id}"
            names.setdefault(shown.tokens or own, []).append(name)
        calls += sorted(names.items())
    return calls


def mixed(raw: Path, seed: int = 0) -> list[Item]:
    """Return items with three reply limits, 9, 24 and the player's own, in no order of these."""
    free = house.items_of(raw, "taboo", "nash", "spelling", seed=seed)
    short = house.items_of(raw, "hilo", seed=seed, guess_tokens=9)
    longer = house.items_of(raw, "hilo_same_secret", seed=seed, guess_tokens=24)
    by_turns = [item for three in zip(free[:2], longer, short, strict=True) for item in three]
    return by_turns + free[2:]


@settings(max_examples=20, deadline=None)
@given(texts=TEXTS, seed=st.integers(0, 9))
def test_the_turns_of_all_episodes_come_together(raw: Path, texts: list[str], seed: int) -> None:
    items = mixed(raw, seed)
    player = Talker(texts)
    taus = played(items, player)
    found = [(sampling.max_new_tokens, [c.id for c in batch]) for batch, sampling in player.calls]
    assert found == expected_calls(items, list(texts))
    # As many batches as turns and limits, not as requests.
    assert len(found) <= 3 * max(len(tau.exchanges) for tau in taus)
    assert len(player.asked) == sum(len(tau.exchanges) for tau in taus)


@settings(max_examples=20, deadline=None)
@given(texts=TEXTS, data=st.data())
def test_a_batch_does_not_change_what_is_played(
    raw: Path, texts: list[str], data: st.DataObject
) -> None:
    items = mixed(raw)
    whole = {tau.item: tau for tau in played(items, Talker(texts))}
    part = data.draw(st.lists(st.sampled_from(items), unique_by=lambda item: item.id, min_size=1))
    for tau in played(part, Talker(texts)):
        assert tau == whole[tau.item]


@given(tokens=st.integers(1, 200), own=st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_a_reply_limit_only_shortens(tokens: int, own: int) -> None:
    item = hilo(70, 30)
    assert item.state is not None
    limited = item.model_copy(update={"state": {**item.state, "tokens": tokens}})
    sampling = house.SAMPLING.model_copy(update={"max_new_tokens": own})
    player = Talker(["Answer: 1"])
    played([limited], player, sampling=sampling)
    shorter = sampling.model_copy(update={"max_new_tokens": min(tokens, own)})
    assert [asked_with for _, asked_with in player.calls] == [shorter] * 7
    player = Talker(["Answer: 1"])
    played([item], player, sampling=sampling)
    assert [asked_with for _, asked_with in player.calls] == [sampling] * 7


def test_what_goes_on_is_what_the_next_turn_continues(raw: Path) -> None:
    """An engine keeps what it has read of these; a promise that never holds would cost memory."""
    player = Talker(["Answer: 1", "Answer: 60"])
    played([hilo(70, 30), *house.items_of(raw, "nash", "spelling")], player)
    by_name = {conversation.id: conversation for conversation in player.asked}
    turns = [one for name, one in by_name.items() if "hilo" in name]
    assert [one.goes_on for one in turns] == [True] * 6 + [False]
    for before, after in pairwise(turns):
        assert after.messages[:-2] == before.messages
    assert not any(one.goes_on for name, one in by_name.items() if "hilo" not in name)


# Failures.


@pytest.mark.parametrize("reason", ["refusal", "content_filter"])
def test_a_failed_request_ends_its_episode_alone(raw: Path, reason: str) -> None:
    one, other = house.items_of(raw, "hilo")
    wrong = [f"Answer: {n}" for n in (1, 2, 3, 4, 5, 6, 7) if str(n) != other.target][:7]
    lines: dict[str, list[Say]] = {
        one.id: ["Answer: 50", "Answer: 51", failed("what came with it", reason)],
        other.id: [*wrong, "Answer: 8", "Answer: 9"][:7],
    }
    player = Script(lines)
    ended, whole = played([one, other], player)
    assert player.done()
    assert [turn.reply.finish_reason for turn in ended.exchanges] == ["stop", "stop", reason]
    assert ended.failed
    assert len(whole.exchanges) == 7
    assert not whole.failed


def many(raw: Path) -> list[Item]:
    return house.items_of(raw, "hilo", many=50, split="train")


def one_error(item: Item, turn: int) -> Player:
    name = f"cell/{item.id}" + (f"/{turn}" if turn else "")
    return Player(lambda c: failed(reason="error") if c.id == name else "Answer: 0")


@pytest.mark.parametrize("turn", [0, 3])
def test_errors_up_to_a_limit(raw: Path, turn: int) -> None:
    """One of fifty may fail; of a smaller batch, one is too much, in any turn."""
    items = many(raw)
    taus = played(items, one_error(items[7], turn))
    assert Counter(len(tau.exchanges) for tau in taus) == {7: 49, turn + 1: 1}
    assert [tau.item for tau in taus if tau.failed] == [items[7].id]
    with pytest.raises(UserError, match="cell: 1 of 10 requests failed, more than 2%"):
        played(items[:10], one_error(items[7], turn))


# Names, seeds and facts.


def command(stage: str, folder: Path, **more: Any) -> str:
    words = (
        f"--params {house.TINY} --environments {house.ENVIRONMENTS} --template {house.GAME}"
        f" --items {folder}/items.jsonl{house.ends(folder, f'{stage}.jsonl')}"
    )
    return words + "".join(f" --{flag.replace('_', '-')} {value}" for flag, value in more.items())


def responded(
    folder: Path, items: Sequence[Item], player: Player, seed: int = 0
) -> list[Trajectory]:
    """Play by the stage."""
    write_jsonl(folder / "items.jsonl", items)
    with seated(player):
        respond.main(parsed(respond, command("respond", folder, student="tiny", seed=seed)))
    return read_jsonl(folder / "respond.jsonl", Trajectory, "item")


def on(tau: Trajectory, text: str | None = FEEDBACK, condition: str = "unconstrained") -> Feedback:
    return Feedback(
        item=tau.item,
        suite=tau.suite,
        task=tau.task,
        split=tau.split,
        condition=condition,
        student="tiny",
        teacher="scripted",
        seed=0,
        status="ok" if text is not None else "refusal",
        text=text,
        exchange=None,
    )


def revised(
    folder: Path,
    items: Sequence[Item],
    taus: Sequence[Trajectory],
    player: Player,
    texts: Sequence[str | None] | None = None,
    whose: str = "--student tiny",
) -> list[Trajectory]:
    """Play again with feedback on each trajectory, by the stage."""
    write_jsonl(folder / "items.jsonl", items)
    write_jsonl(folder / "taus.jsonl", taus)
    told = [FEEDBACK] * len(taus) if texts is None else texts
    write_jsonl(folder / "feedback.jsonl", [on(t, f) for t, f in zip(taus, told, strict=True)])
    with seated(player):
        revise.main(parsed(revise, retry_command(folder, whose)))
    return read_jsonl(folder / "revise.jsonl", Trajectory, "item")


def retry_command(folder: Path, whose: str = "--student tiny") -> str:
    return (
        f"--params {house.TINY} --environments {house.ENVIRONMENTS} --items {folder}/items.jsonl"
        f" {whose} --seed 0 --condition unconstrained --trajectories {folder}/taus.jsonl"
        f" --feedback {folder}/feedback.jsonl --template {house.RETRY} --turns {house.GAME}"
        + house.ends(folder, "revise.jsonl")
    )


def test_names_and_seeds_are_unique(raw: Path, tmp_path: Path) -> None:
    """Over turns, items, seeds and steps; and the first turn is what `conversations` says."""
    items = house.items_of(raw, "hilo", "taboo", "nash")
    log = []
    for seed in (0, 1):
        player = Talker(["It rises when it blows.", "Answer: 3"])
        taus = responded(tmp_path, items, player, seed)
        log += player.asked
        words = command("respond", tmp_path, student="tiny", seed=seed)
        first = respond.conversations(parsed(respond, words))
        assert sorted(first, key=id_of) == sorted(player.calls[0][0], key=id_of)
    player = Talker(["It rises when it blows.", "Answer: 3"])
    revised(tmp_path, items, taus, player)
    log += player.asked
    first = revise.conversations(parsed(revise, retry_command(tmp_path)))
    assert sorted(first, key=id_of) == sorted(player.calls[0][0], key=id_of)
    assert len(log) > 3 * len(items)
    assert len({one.id for one in log}) == len({one.seed for one in log}) == len(log)
    assert {one.environment for one in log} == {"hilo", "taboo", "nash"}


def id_of(conversation: Any) -> str:
    return str(conversation.id)


def test_a_trained_student_plays_with_the_same_numbers(raw: Path, tmp_path: Path) -> None:
    """What differs between `respond` and `evaluate` is the training."""
    items = house.items_of(raw, "hilo", "spelling")
    players = [Talker(["Answer: 3", "Answer: 50"]) for _ in range(3)]
    taus = responded(tmp_path, items, players[0])
    folder = tmp_path / "model"
    folder.mkdir()
    write_card(folder, FileCard(name="own", sha256="0" * 64))
    with seated(players[1]):
        more = {"learner": "tiny", "method": "feedback_sft", "seed": 0}
        evaluate.main(parsed(evaluate, command("evaluate", tmp_path, **more)))
    trained = read_jsonl(tmp_path / "evaluate.jsonl", Trajectory)
    assert [tau.exchanges for tau in trained] == [tau.exchanges for tau in taus]
    assert {(tau.model, tau.method) for tau in trained} == {("tiny", "feedback_sft")}
    shown, again = (
        [(c.messages, c.seed, c.id.split("/", 3)[-1]) for c in player.asked]
        for player in players[:2]
    )
    assert [one[:2] for one in shown] == [one[:2] for one in again]
    # The teacher by itself draws other numbers.
    with seated(players[2]):
        answer.main(parsed(answer, command("answer", tmp_path, teacher="scripted")))
    assert not {c.seed for c in players[2].asked} & {c.seed for c in players[0].asked}


def test_facts_add_up_over_turns(tmp_path: Path) -> None:
    items = [hilo(70, 30).model_copy(update={"id": f"games/hilo/train/{n}"}) for n in range(2)]
    lines: dict[str, list[Say]] = {
        items[0].id: ["Answer: 50", cut("Answer: 6"), "Answer: 70"],
        items[1].id: ["Answer: 50", failed()],
    }
    taus = responded(tmp_path, items, Script(lines))
    assert [len(tau.exchanges) for tau in taus] == [3, 2]
    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert facts["requests"] == 5
    # Ten tokens in and three out for each reply that came whole.
    assert (facts["prompt_tokens"], facts["completion_tokens"]) == (30, 9)
    assert facts["finish_reasons"] == {"stop": 3, "length": 1, "refusal": 1}
    assert facts["model"] == {"engine": "player"}


# Again, with feedback.


def test_the_retry_shows_the_game_and_the_feedback(tmp_path: Path) -> None:
    item = hilo(70, 30)
    lines = ["Answer: 50", "Answer: 75", "Answer: <|60|>"]
    [tau] = responded(tmp_path, [item], Script({item.id: [*lines, *["Answer: 1"] * 4]}))
    player = Talker(["Answer: 30"])
    [tried] = revised(tmp_path, [item], [tau], player, ["Halve <|im_end|> it."])
    opening, *shown = tried.exchanges[0].messages
    assert opening == tau.exchanges[0].messages[0]
    # All seven guesses and their answers, and then the feedback with the opening turn.
    assert [message.role for message in shown] == ["assistant", "user"] * 7
    assert (opening, *shown[:-2]) == tau.exchanges[-1].messages
    assert [m.content for m in shown[0:6:2]] == ["Answer: 50", "Answer: 75", "Answer: < |60| >"]
    last = shown[-1].content
    assert "Halve < |im_end| > it." in last
    assert item.question in last
    assert item.answer_format in last
    assert (tried.condition, tried.feedback) == ("unconstrained", "Halve <|im_end|> it.")
    assert tried.kept_original is None


def test_one_turn_is_not_shown_twice(raw: Path, tmp_path: Path) -> None:
    [item, _] = house.items_of(raw, "nash")
    [tau] = responded(tmp_path, [item], Talker(["Answer: none"]))
    player = Talker(["Answer: none"])
    revised(tmp_path, [item], [tau], player)
    [shown] = player.asked
    assert [message.role for message in shown.messages] == ["user", "assistant", "user"]
    assert shown.messages[0].content.count(item.question) == 1
    assert item.question not in shown.messages[2].content
    assert FEEDBACK in shown.messages[2].content


def test_a_game_won_at_once_is_begun_anew_all_the_same(tmp_path: Path) -> None:
    """Its episode had one turn, but another number is played, so the rules stand there again."""
    item = hilo(50, 30)
    [tau] = responded(tmp_path, [item], Script({item.id: ["Answer: 50"]}))
    assert len(tau.exchanges) == 1
    [tried] = revised(tmp_path, [item], [tau], Talker(["Answer: 30"]))
    assert item.question in tried.exchanges[0].messages[-1].content


def test_feedback_sees_all_turns_of_the_teacher(tmp_path: Path) -> None:
    item = hilo(70, 30)
    lines = ["Answer: 50", "Answer: <|75|>", "Answer: 70"]
    [tau] = responded(tmp_path, [item], Script({item.id: lines}))
    for name, record in (("items", item), ("taus", tau)):
        write_jsonl(tmp_path / f"{name}.jsonl", [record])
    words = (
        f"--params {house.ROOT}/scales/laptop.yaml --condition teacher_answer --student s --seed 0"
        f" --items {tmp_path}/items.jsonl --trajectories {tmp_path}/taus.jsonl"
        f" --answers {tmp_path}/taus.jsonl --out {tmp_path}/out.jsonl"
        f" --template {house.PROMPTS}/feedback/teacher_answer.jinja"
    )
    [(_, text)] = feedback.prompts(house.parsed(feedback, words))
    said = "Turn 1: Answer: 50\n\nTurn 2: Answer: < |75| >\n\nTurn 3: Answer: 70"
    assert text is not None
    assert f"[Your own answer]\n{said}\n" in text


def bisector(told: list[int]) -> Player:
    """Return who halves what is left of the game under way, as the environment answers."""

    def answer(conversation: Any) -> str:
        low, high = 1, 100
        for message in reversed(conversation.messages):
            if message.role != "user":
                continue
            number = house.guess(message.content)
            if number is None:
                break  # the opening turn
            if "higher" in message.content.split("than")[0]:
                low = max(low, number + 1)
            else:
                high = min(high, number - 1)
        told.append((low + high) // 2)
        return f"Answer: {told[-1]}"

    return Player(answer)


@pytest.mark.parametrize(("task", "number"), [("hilo", 30), ("hilo_same_secret", 70)])
def test_the_secret_of_a_retry(task: str, number: int, tmp_path: Path) -> None:
    """In play (the answers lead to it) and in grading (it alone is worth the point)."""
    item = hilo(70, 30, task)
    [tau] = responded(tmp_path, [item], bisector([]))
    told: list[int] = []
    [tried] = revised(tmp_path, [item], [tau], bisector(told))
    assert told[-1] == number
    assert score(item, tau) == score(item, tried) == 1
    for guessed in (70, 30):
        [tried] = revised(tmp_path, [item], [tau], Talker([f"Answer: {guessed}"]))
        assert score(item, tried) == float(guessed == number)
        assert len(tried.exchanges) == (1 if guessed == number else 7)
        [tau] = responded(tmp_path, [item], Talker([f"Answer: {guessed}"]))
        assert score(item, tau) == float(guessed == 70)


def test_all_retries_of_a_game_have_one_secret(raw: Path, tmp_path: Path) -> None:
    """The teacher's, whose retry is the student's target, and those of other conditions too."""
    items = house.items_of(raw, "hilo", many=5)
    taus = responded(tmp_path, items, bisector([]))
    secrets = []
    for whose in ("--student tiny", "--teacher scripted"):
        tried = revised(tmp_path, items, taus, bisector([]), whose=whose)
        assert [score(*pair) for pair in zip(items, tried, strict=True)] == [1.0] * 5
        secrets.append([tau.last.text for tau in tried])
    assert secrets[0] == secrets[1]
    for item, said in zip(items, secrets[0], strict=True):
        assert said != f"Answer: {item.target}"
        assert item.state is not None
        assert int(said.split()[-1]) in item.state["pool"]


def test_a_kept_original_is_graded_as_it_was_played(tmp_path: Path) -> None:
    item = hilo(70, 30)
    [tau] = responded(tmp_path, [item], Talker(["Answer: 70"]))
    player = Talker(["Answer: 70"])
    [kept] = revised(tmp_path, [item], [tau], player, [None])
    assert (kept.kept_original, kept.condition, player.asked) == ("refusal", "unconstrained", [])
    assert kept.exchanges == tau.exchanges
    assert score(item, kept) == 1
    # The same words on the fresh number are worth nothing.
    assert score(item, kept.model_copy(update={"kept_original": None})) == 0


def test_some_are_kept_and_some_played(tmp_path: Path) -> None:
    items = [hilo(70, 30).model_copy(update={"id": f"games/hilo/train/{n}"}) for n in range(4)]
    taus = responded(tmp_path, items, Talker(["Answer: 70"]))
    lines: dict[str, list[Say]] = {items[n].id: [f"Answer: {n + 1}", "Answer: 30"] for n in (1, 3)}
    player = Script(lines)
    tried = revised(tmp_path, items, taus, player, [None, FEEDBACK, None, FEEDBACK])
    assert player.done()
    assert [tau.kept_original for tau in tried] == ["refusal", None, "refusal", None]
    said = [[turn.reply.text for turn in tau.exchanges] for tau in tried]
    assert said == [["Answer: 70"], lines_of(2), ["Answer: 70"], lines_of(4)]
    assert [score(*pair) for pair in zip(items, tried, strict=True)] == [1.0] * 4


def lines_of(number: int) -> list[str]:
    return [f"Answer: {number}", "Answer: 30"]


@pytest.mark.parametrize("system", [None, house.OPENING])
def test_taboo_is_guessed_in_a_fresh_conversation(system: str | None) -> None:
    item = house.taboo()
    [tau] = played(
        [item], Script({item.id: ["It rises when it blows. <|x|>", "Answer: kite"]}), system=system
    )
    described, guessed = tau.exchanges
    roles = ["user"] if system is None else ["system", "user"]
    assert [message.role for message in described.messages] == roles
    assert [message.role for message in guessed.messages] == roles
    assert "It rises when it blows." in guessed.messages[-1].content
    assert "kite" not in "".join(message.content for message in guessed.messages)
    assert score(item, tau) == 2


def test_the_retry_of_taboo_shows_the_description_alone(tmp_path: Path) -> None:
    item = house.taboo()
    lines = ["It rises when it blows.", "I think of a bird.\nAnswer: bird"]
    [tau] = responded(tmp_path, [item], Script({item.id: lines}))
    player = Script({item.id: ["It hangs up there and is held.", "Answer: kites"]})
    [tried] = revised(tmp_path, [item], [tau], player)
    [describe], [guess] = (batch for batch, _ in player.calls)
    assert [message.role for message in describe.messages] == ["user", "assistant", "user"]
    assert describe.messages[1].content == "It rises when it blows."
    assert "bird" not in "".join(message.content for message in describe.messages)
    assert FEEDBACK in describe.messages[2].content
    assert item.question in describe.messages[2].content
    assert [message.role for message in guess.messages] == ["user"]
    assert score(item, tau) == 1
    assert score(item, tried) == 2


def test_a_taboo_word_ends_the_game(tmp_path: Path) -> None:
    item = house.taboo()
    player = Script({item.id: ["It hangs on a string."]})
    [tau] = responded(tmp_path, [item], player)
    assert player.done()
    assert score(item, tau) == 0


# Mistakes.


def test_mistakes(raw: Path, item: Item, tmp_path: Path) -> None:
    [game, _] = house.items_of(raw, "nash")
    player = Talker(["Answer: none"])
    [tau] = responded(tmp_path, [game], player)
    with pytest.raises(UserError, match=r"^bbh/own_example/7: a question, not an instance of an"):
        responded(tmp_path, [item], player)
    with pytest.raises(UserError, match=r"^no environment whist: there are hilo, "):
        responded(tmp_path, [game.model_copy(update={"task": "whist"})], player)
    other = game.model_copy(update={"id": "games/nash/test/77"})
    with pytest.raises(UserError, match=r"taus.jsonl: games/nash/test/0 is not in .*items.jsonl"):
        revised(tmp_path, [other], [tau], player)
    write_jsonl(tmp_path / "items.jsonl", [game])
    words = command("respond", tmp_path, student="tiny", seed=0)
    nowhere = words.replace(f"{house.ENVIRONMENTS}", f"{tmp_path}/nowhere")
    with seated(player), pytest.raises(UserError, match="nowhere: no such folder"):
        respond.main(parsed(respond, nowhere))
    words = retry_command(tmp_path).replace(f"--items {tmp_path}/items.jsonl", "")
    with seated(player), pytest.raises(UserError, match="--environments needs --items"):
        revise.main(parsed(revise, words))
    assert len(player.asked) == 1
