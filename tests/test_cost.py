"""The forecast before anything is spent.

Covered: requests by stage against the grid and against what a run really asks; what the call log
covers; prices known and not known; params without items. Not covered: how close a forecast comes on
real models.
"""

from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from scripted_teacher import ScriptedTeacher

from stages import answer, download, prepare
from stages.cost import Forecast, dollars, table
from stages.errors import UserError
from stages.models.config import ServedSpec
from stages.models.prices import Price
from stages.models.weights import make_folder
from stages.params import read_yaml
from stages.pipeline import cell_arguments

ITEMS = 6  # of the tiny scale


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tiny scale's items, prompts and pipeline, and an empty call log."""
    for name in ("dvc.yaml", "prompts", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    params = read_yaml(ROOT / "scales" / "tiny.yaml")
    params["prices"] = {"scripted": {"input": 1000.0, "output": 10.0, "as_of": "2024-07-18"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALL_LOG", str(tmp_path / "calls.jsonl"))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for module, stage in ((download, "download"), (prepare, "prepare")):
        words = cell_arguments(Path("dvc.yaml"), Path("params.yaml"), stage, suite="bbh")
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
        ("respond", "tiny"): ITEMS,
        ("answer", "scripted"): ITEMS,
        ("feedback", "scripted"): ITEMS,
        ("feedback_compared", "scripted"): ITEMS,
        ("revise", "tiny"): 3 * ITEMS,
    }


def test_the_log_covers_what_was_asked(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedTeacher() as teacher:
        monkeypatch.setenv("SCRIPTED_BASE_URL", teacher.url)
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
        assert len(teacher.requests) == before.requests
        [after] = [cell for cell in forecast().cells() if cell.stage == "answer"]
        assert (after.requests, after.covered) == (ITEMS, ITEMS)
        assert (after.prompt, after.reply) == ((0, 0), (0, 0))
        # The feedback that compares has one of its inputs now, and still lacks the other.
        [compared] = [cell for cell in forecast().cells() if cell.stage == "feedback_compared"]
        assert not compared.real
        assert len(teacher.requests) == before.requests


def test_dollars(house: Path) -> None:
    cells = [cell for cell in forecast().cells() if cell.model == "scripted"]
    cost = dollars(cells, Price(input=1.0, output=10.0, as_of=None))
    assert cost is not None
    low, high = cost
    assert low == pytest.approx(sum(c.prompt[0] + 10 * c.reply[0] for c in cells) / 1e6)
    assert high == pytest.approx(sum(c.prompt[1] + 10 * c.reply[1] for c in cells) / 1e6)
    assert 0 < low < high
    assert dollars(cells, Price(input=1.0, output=None, as_of=None)) is None


def test_a_batch_request_pays_its_share() -> None:
    price = Price(input=1.0, output=10.0, as_of=None)
    assert price.dollars(2e6, 1e6) == 12
    assert price.dollars(2e6, 1e6, batch=True) == 6
    assert price.model_copy(update={"batch": 0.25}).dollars(2e6, 1e6, batch=True) == 3
    assert Price(input=None, output=1.0, as_of=None).dollars(1, 1) is None


def test_the_table(house: Path) -> None:
    lines = table(forecast()).splitlines()
    assert lines[0].split()[:4] == ["stage", "model", "cells", "requests"]
    assert any(line.startswith("revise *") for line in lines)
    assert not any("not known" in line for line in lines)
    params = read_yaml(Path("params.yaml"))
    params["prices"] = {}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert "price of scripted not known" in table(forecast())


def test_without_items_it_says_what_to_run(house: Path) -> None:
    (house / "data/tasks/bbh/test.jsonl").unlink()
    with pytest.raises(UserError, match="dvc repro prepare"):
        table(forecast())
