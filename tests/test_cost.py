"""The forecast before anything is spent.

Covered: requests by stage against the grid and against what a run really asks; what the call log
covers; prices known and not known, live and by batch; hours; the budget; params without items. Not
covered: how close a forecast comes on real models.
"""

import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from scripted_teacher import ScriptedTeacher

from stages import answer, cost, download, ledger, prepare
from stages.cost import Forecast, dollars, table
from stages.errors import UserError
from stages.fetching import make_folder
from stages.model_specs import ServedSpec
from stages.models.call_log import CallLog
from stages.models.ledger import ledger_of
from stages.models.prices import Price
from stages.params import read_yaml
from stages.pipeline import cell_arguments

ITEMS, TRAIN, REWORDED = 6, 3, 3  # of the tiny scale
GAMES = 4  # two of Hi-Lo, of up to seven turns, and two of Nash, on either side
PLAYED = PLAYED_AGAIN = 2 * 7 + 2
PLAYED_BY_TEACHER = 1 + 1 + 6 + 2  # greedy: both games open with the same request, asked once
FEW = 2  # one of each
CARDS = 8
FEW_AGAIN = 7 + 1


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tiny scale's items, prompts and pipeline, and an empty call log."""
    for name in ("dvc.yaml", "prompts", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    params = read_yaml(ROOT / "scales" / "tiny.yaml")
    params["models"]["scripted"]["needs_key"] = True
    params["prices"] = {"scripted": {"input": 1000.0, "output": 10.0, "as_of": "2024-07-18"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALL_LOG", str(tmp_path / "calls.jsonl"))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for module, stage in ((download, "download"), (prepare, "prepare")):
        for suite, kind in (("bbh", ""), ("games", "_games" if stage == "prepare" else "")):
            words = cell_arguments(Path("dvc.yaml"), Path("params.yaml"), stage + kind, suite=suite)
            module.main(module.parser().parse_args(words))
    return tmp_path


def forecast() -> Forecast:
    return Forecast(Path("params.yaml"), Path("dvc.yaml"))


def test_requests_follow_the_grid(house: Path) -> None:
    counts: dict[tuple[str, str], int] = {}
    for cell in forecast().cells():
        key = (cell.stage, cell.model)
        counts[key] = counts.get(key, 0) + cell.requests
        assert cell.prompt[0] <= cell.prompt[1]
        assert cell.reply[0] <= cell.reply[1]
    assert counts == {
        # Of questions, the first of each subtask.
        ("respond_paraphrased", "tiny"): REWORDED,
        ("judge_paraphrased", "scripted"): REWORDED,
        ("feedback_paraphrased", "scripted"): REWORDED,
        # Feedback that is asked for, and Lazy, which nobody is asked for.
        ("revise_paraphrased", "tiny"): 2 * REWORDED,
        ("revise_retry_paraphrased", "tiny"): REWORDED,
        ("respond_games_paraphrased", "tiny"): PLAYED,
        ("revise_retry_games_paraphrased", "tiny"): PLAYED_AGAIN,
        # The cards of Figure 1: described, and guessed.
        ("respond_figure1", "tiny"): 2 * CARDS,
        ("answer_figure1", "scripted"): 2 * CARDS,
        ("feedback_figure1", "scripted"): CARDS,
        ("revise_figure1", "tiny"): 2 * CARDS,
        ("respond", "tiny"): ITEMS,
        ("answer", "scripted"): ITEMS,
        ("feedback", "scripted"): ITEMS,
        ("feedback_compared", "scripted"): ITEMS,
        ("feedback_own", "tiny"): ITEMS,
        ("revise", "tiny"): 6 * ITEMS,
        ("judge", "scripted"): ITEMS,
        # Draws, then pools.
        ("sample", "tiny"): 2 * ITEMS,
        ("sample_conditioned", "tiny"): 2 * ITEMS,
        ("select_logits", "tiny"): 0,
        ("select_student", "tiny"): 2 * ITEMS,
        ("select_teacher", "scripted"): 2 * ITEMS,
        # Of two learners, one an iteration of the other; nobody is asked for Lazy feedback.
        ("answer_train", "scripted"): TRAIN,
        ("respond_train", "tiny"): 2 * TRAIN,
        ("judge_train", "scripted"): 2 * (TRAIN + GAMES),
        ("revise_train", "tiny"): 2 * TRAIN,
        ("clean", "scripted"): 2 * (TRAIN + GAMES),
        ("evaluate", "tiny"): 2 * 2 * ITEMS,
        # Feedback tuning, by one method.
        ("feedback_following", "scripted"): TRAIN,
        ("revise_following", "tiny"): TRAIN,
        ("revise_teacher", "scripted"): TRAIN,
        ("evaluate_following", "tiny"): ITEMS,
        ("feedback_tuned", "scripted"): ITEMS,
        ("revise_tuned", "tiny"): ITEMS,
        # Each trained on the one suite and asked on the other.
        ("evaluate_forget", "tiny"): 2 * 2 * ITEMS,
        ("evaluate_forget_games", "tiny"): 2 * 2 * PLAYED,
        # Games: what is played is reckoned to its last turn.
        ("answer_games", "scripted"): PLAYED_BY_TEACHER,
        ("respond_games", "tiny"): PLAYED,
        ("judge_games", "scripted"): GAMES,
        ("feedback_games", "scripted"): GAMES,
        ("revise_games", "tiny"): PLAYED_AGAIN,
        ("answer_train_games", "scripted"): PLAYED_BY_TEACHER,
        ("respond_train_games", "tiny"): 2 * PLAYED,
        ("feedback_train_games", "scripted"): 2 * GAMES,
        ("revise_train_games", "tiny"): 2 * PLAYED_AGAIN,
        ("evaluate_games", "tiny"): 2 * 2 * PLAYED,
        ("feedback_following_games", "scripted"): FEW,
        ("revise_following_games", "tiny"): FEW_AGAIN,
        ("revise_teacher_games", "scripted"): FEW_AGAIN,
    }


@pytest.mark.parametrize("batch", ["", "1"])
def test_the_log_covers_what_was_asked(
    house: Path, monkeypatch: pytest.MonkeyPatch, batch: str
) -> None:
    monkeypatch.setenv("SCRIPTED_BATCH", batch)
    with ScriptedTeacher() as teacher:
        monkeypatch.setenv("SCRIPTED_BASE_URL", teacher.url)
        monkeypatch.setenv("SCRIPTED_API_KEY", "none")
        [before] = [cell for cell in forecast().cells() if cell.stage == "answer"]
        assert (before.requests, before.covered, before.real) == (ITEMS, 0, True)
        words = cell_arguments(
            Path("dvc.yaml"), Path("params.yaml"), "answer", suite="bbh", teacher="scripted"
        )
        args = answer.parser().parse_args(words)
        args.model.mkdir(parents=True)
        spec = read_yaml(Path("params.yaml"))["models"]["scripted"]
        make_folder("scripted", ServedSpec.model_validate(spec), args.model)
        answer.main(args)
        lines = [line for line in (house / args.out).read_text().splitlines() if line]
        assert len(lines) == before.requests
        asked = len(teacher.batches.answered) if batch else len(teacher.requests)
        assert asked == before.requests
        spent = ledger_of(CallLog(house / "calls.jsonl"), {}).entries
        (entry,) = (entry for (stage, _, _), entry in spent.items() if stage == "answer")
        assert entry.answers == {"stop": ITEMS}
        assert entry.by_batch == (ITEMS if batch else 0)
        total = len(teacher.requests)
        [after] = [cell for cell in forecast().cells() if cell.stage == "answer"]
        assert (after.requests, after.covered) == (ITEMS, ITEMS)
        assert (after.prompt, after.reply) == ((0, 0), (0, 0))
        # The feedback that compares has one of its inputs now, and still lacks the other.
        [compared] = [cell for cell in forecast().cells() if cell.stage == "feedback_compared"]
        assert not compared.real
        assert len(teacher.requests) == total, "a forecast asks nobody"


def test_dollars(house: Path) -> None:
    cells = [cell for cell in forecast().cells() if cell.model == "scripted"]
    spent = dollars(cells, Price(input=1.0, output=10.0, as_of=None))
    assert spent is not None
    low, high = spent
    assert low == pytest.approx(sum(c.prompt[0] + 10 * c.reply[0] for c in cells) / 1e6)
    assert high == pytest.approx(sum(c.prompt[1] + 10 * c.reply[1] for c in cells) / 1e6)
    assert 0 < low < high
    assert dollars(cells, Price(input=1.0, output=None, as_of=None)) is None
    half = dollars(cells, Price(input=1.0, output=10.0, as_of=None), batch=True)
    assert half == pytest.approx((low / 2, high / 2))


def test_a_batch_request_pays_its_share() -> None:
    price = Price(input=1.0, output=10.0, as_of=None)
    assert price.dollars(2e6, 1e6) == 12
    assert price.dollars(2e6, 1e6, batch=True) == 6
    assert price.model_copy(update={"batch": 0.25}).dollars(2e6, 1e6, batch=True) == 3
    assert Price(input=None, output=1.0, as_of=None).dollars(1, 1) is None


def change(key: str, value: object) -> None:
    """Set a dotted key of the params."""
    params = read_yaml(Path("params.yaml"))
    *above, last = key.split(".")
    section = params
    for part in above:
        section = section[part]
    section[last] = value
    Path("params.yaml").write_text(yaml.safe_dump(params))


def row(text: str, start: str) -> list[str]:
    """Return the last three cells of a row: dollars, dollars by batch, hours."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{start} "))
    return re.split(r"  +", line)[-3:]


def numbers(span: str) -> list[float]:
    return [float(word) for word in span.split(" to ")]


def test_the_table(house: Path) -> None:
    text = table(forecast())
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["stage", "model", "cells", "requests"]
    assert re.split(r"  +", lines[0])[-3:] == ["USD", "USD by batch", "hours"]
    assert any(line.startswith("revise *") for line in lines)
    assert "price of scripted: USD 1000 in, 10 out per million tokens as of 2024-07-18" in text
    live, by_batch, hours = row(text, "answer")
    assert numbers(by_batch) == pytest.approx([end / 2 for end in numbers(live)], abs=0.01)
    assert hours == "-", "time on others' machines"
    assert row(text, "respond") == ["-", "-", "?"]
    assert "hours of tiny not known: set lengths.tokens_per_second.tiny" in text
    change("lengths.tokens_per_second", {"tiny": 0.01})
    text = table(forecast())
    assert 0 < numbers(row(text, "respond")[2])[0] <= numbers(row(text, "respond")[2])[1]
    assert "hours of" not in text
    assert "of models that run on one's own machines" in text


def test_what_is_not_priced_is_named(house: Path) -> None:
    change("prices", {})
    text = table(forecast())
    assert "price of scripted not known: set prices.scripted" in text
    assert row(text, "answer") == ["?", "?", "-"]


def test_a_server_without_a_key_costs_nothing(house: Path) -> None:
    change("models.scripted.needs_key", False)
    for prices in ({}, {"scripted": {"input": 1.0, "output": 1.0, "as_of": None}}):
        change("prices", prices)
        text = table(forecast())
        assert row(text, "answer") == ["0.00 to 0.00", "0.00 to 0.00", "?"]
        assert "USD 0.00 to 0.00, by batch 0.00 to 0.00, for what is not" in text
        assert "price of" not in text


def test_what_is_left_of_the_budget(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--params", "params.yaml", "--pipeline", "dvc.yaml"]
    cost.main(cost.parser().parse_args(words))
    assert "budget" not in capsys.readouterr().out
    ledger.main(ledger.parser().parse_args([*words[:2], "--budget", "7"]))
    capsys.readouterr()
    cost.main(cost.parser().parse_args(words))
    assert capsys.readouterr().out.endswith(
        f"budget USD 7, at least 7.0000 left ({house / 'budget.json'})\n"
    )


def test_without_items_it_says_what_to_run(house: Path) -> None:
    (house / "data/tasks/bbh/test.jsonl").unlink()
    with pytest.raises(UserError, match="dvc repro prepare"):
        table(forecast())
