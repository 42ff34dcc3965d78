"""Run facts and cost per point: what cells took, added up by hand.

Covered: requests, tokens, seconds and dollars by cell and step; prices that are not known; what
each arm of test time and of training needs; gains that the interval leaves open; refused files. Not
covered: which cells there are (test_cells.py), the rendered tables as pictures.
"""

import json
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from house import House, large

from stages import report
from stages.errors import UserError
from stages.models.prices import Price
from stages.reporting import facts, points
from stages.reporting.cells import Cell
from stages.reporting.settings import Settings, read_settings
from stages.reporting.tables import Builder

MODEL = {"engine": "transformers", "revision": "abc", "device": "cpu (x86_64)"}


def cell(step: str, name: str, who: str = "small", **axes: object) -> Cell:
    return Cell(step, "bbh", name, who, axes)


def write(root: Path, of: Cell, **values: Any) -> None:
    path = root / of.step / of.suite / f"{of.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cell": "x", **values}), encoding="utf-8")


def run(prompt: int = 100, reply: int = 10, **more: Any) -> dict[str, Any]:
    values = {"prompt_tokens": prompt, "completion_tokens": reply, "requests": 2, "model": MODEL}
    return {**values, "seconds_to_answer": 3.0, "seconds_to_open": 1.0, **more}


def pattern(root: Path) -> str:
    return str(root / "{step}/{suite}/{cell}.json")


def test_sums_by_step(tmp_path: Path) -> None:
    one, two = cell("respond", "small-0", seed=0), cell("respond", "small-1", seed=1)
    judged, trained = cell("judge", "v-small-0", who="tutor"), cell("train", "small-sft-0")
    write(tmp_path, one, **run())
    write(tmp_path, two, **run(50, 5))
    write(tmp_path, judged, **run(1_000_000, 500_000))
    seconds = {"import": 1.0, "load": 0.5, "train": 8.0, "save": 0.25, "write": 0.25}
    versions = {"torch": "2"}
    write(
        tmp_path,
        trained,
        device="cuda",
        num_processes=2,
        seconds=seconds,
        versions=versions,
        threads=4,
    )
    prices = {"tutor": Price(input=0.15, output=0.6, as_of=None)}
    found = facts.read(pattern(tmp_path), [one, two, judged, trained], prices)
    rows = found.by_step.set_index("step")
    assert list(rows.index) == ["respond", "judge", "train"]
    assert rows.loc["respond", ["cells", "requests", "prompt_tokens"]].to_list() == [2, 4, 150]
    assert rows.loc["respond", ["completion_tokens", "seconds", "usd"]].to_list() == [15, 6.0, 0.0]
    assert rows.loc["judge", "usd"] == pytest.approx(0.15 + 0.3)
    assert rows.loc["train", ["requests", "seconds"]].to_list() == [0, 8.0]
    assert rows.loc["train", "seconds_to_open"] == 1.5
    assert found.of("respond", "bbh", seed=1)["prompt_tokens"].to_list() == [50]
    assert found.of("respond", "games").empty
    models = found.models.set_index("who")
    assert models.loc["tutor", "engine"] == "transformers"
    own = found.models[found.models["engine"] == "trl"].iloc[0]
    assert (own["processes"], own["threads"], own["torch"], own["cells"]) == ("2", "4", "2", 1)
    assert "respond,bbh,2,4,150,15,6.0,2.0,0.0" in facts.to_csv(found.by_step)


def test_a_served_model_without_a_price_is_not_free(tmp_path: Path) -> None:
    of = cell("judge", "a", who="tutor")
    write(tmp_path, of, **run(model={"engine": "openai", "model": "m"}))
    assert isnan(facts.read(pattern(tmp_path), [of], {}).cells["usd"].iloc[0])
    here = {"tutor": Price(input=0.0, output=0.0, as_of=None)}
    assert facts.read(pattern(tmp_path), [of], here).cells["usd"].to_list() == [0.0]


def test_scored_tokens_are_read(tmp_path: Path) -> None:
    of = cell("select", "alone/student_logits-small-0")
    write(tmp_path, of, **run(0, 0, scored_tokens=77))
    found = facts.read(pattern(tmp_path), [of], {})
    assert found.cells["prompt_tokens"].to_list() == [77]


def test_an_unknown_price_is_no_price(tmp_path: Path) -> None:
    known, unknown = cell("judge", "a", who="tutor"), cell("judge", "b", who="other")
    for of in (known, unknown):
        write(tmp_path, of, **run())
    prices = {
        "tutor": Price(input=1.0, output=1.0, as_of=None),
        "other": Price(input=1.0, output=None, as_of=None),
    }
    found = facts.read(pattern(tmp_path), [known, unknown], prices)
    assert [isnan(usd) for usd in found.cells["usd"]] == [False, True]
    assert isnan(found.by_step["usd"].iloc[0])


@pytest.mark.parametrize("text", ["{", "[]", '{"requests": 1}', '{"cell": "x", "requests": "no"}'])
def test_what_holds_no_facts_is_named(text: str, tmp_path: Path) -> None:
    of = cell("respond", "small-0")
    with pytest.raises(UserError, match=r"small-0\.json: no such file"):
        facts.read(pattern(tmp_path), [of], {})
    write(tmp_path, of)
    (tmp_path / "respond" / "bbh" / "small-0.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"small-0\.json: "):
        facts.read(pattern(tmp_path), [of], {})


# Cost per point


def built(house: House) -> tuple[Builder, Settings]:
    house.write()
    args = report.parser().parse_args(house.flags("out"))
    settings = read_settings(args.params)
    return Builder(args, settings), settings


def every_fact(settings: Settings, seconds: float = 3.0) -> facts.Facts:
    """Return facts in which every cell took 110 tokens, two requests and some seconds."""
    rows = [
        {
            "step": of.step,
            "suite": of.suite,
            "cell": of.name,
            "who": of.who,
            "requests": 2,
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "seconds": seconds,
            "seconds_to_open": 1.0,
            "usd": 0.5,
            "axes": dict(of.axes),
        }
        for of in settings.declared().facts()
    ]
    return facts.Facts(pd.DataFrame(rows), pd.DataFrame())


def test_cost_per_point_by_hand(tmp_path: Path) -> None:
    builder, settings = built(large(tmp_path, students=1, seeds=2))
    tables = builder.build()
    lessons = settings.lessons[settings.suite]
    table = points.build(
        tables, every_fact(settings), lessons, settings.methods, settings.selectors
    )
    rows = {row["row"]: row for row in table.to_dict(orient="records")}
    n = len(tables.results.items)
    # One cell a seed each of feedback and retry; nobody is asked for what is told.
    assert rows["Unconstrained"]["tokens"] == pytest.approx(2 * 110 / n)
    assert rows["Lazy"]["tokens"] == pytest.approx(110 / n)
    # The teacher's own answer exists once, for both seeds; each seed needs it.
    assert rows["Teacher Answer"]["requests"] == pytest.approx(3 * 2 / n)
    assert rows["Error Identification"]["seconds"] == pytest.approx(3 * 3.0 / n)
    # Two candidates and the choice; with feedback, that too.
    assert rows["Student Logits, No Feedback"]["usd"] == pytest.approx(3 * 0.5 / n)
    assert rows["Student Logits, /w Feedback"]["usd"] == pytest.approx(4 * 0.5 / n)
    # Of training all is paid once: imitation the teacher's answers, DPO the student's own too.
    steps = 2400  # tokens of all steps of training, in each seed
    assert rows["Imitative SFT"]["tokens"] == pytest.approx(2 * 110 + steps)
    assert rows["Imitative DPO"]["tokens"] == pytest.approx(3 * 110 + steps)
    assert rows["Feedback SFT"]["tokens"] == pytest.approx(4 * 110 + steps)
    assert rows["Feedback SFT*"]["tokens"] == pytest.approx(5 * 110 + steps)
    for row in rows.values():
        for what in ("tokens", "seconds", "usd"):
            gain, most = row["gain"], row["gain_high"]
            expected = row[what] / gain if gain > 0 else float("nan")
            assert row[f"{what}_per_point"] == pytest.approx(expected, nan_ok=True)
            expected = row[what] / most if most > 0 else float("nan")
            assert row[f"{what}_per_point_least"] == pytest.approx(expected, nan_ok=True)
    third = tables.table3.set_index(["items", "condition"])
    assert rows["Lazy"]["gain"] == pytest.approx(100 * third.loc[("all", "lazy"), "difference"])
    assert "Unconstrained" in points.to_tex(table, "tiny", 2)
    assert points.to_csv(table).count("\n") == len(table) + 1


def test_judging_by_the_teacher_is_paid_for(tmp_path: Path) -> None:
    house = large(tmp_path, students=1, seeds=1)
    house.params["lessons"]["bbh"]["negative_sampling"] = "error_identification"
    builder, settings = built(house)
    lessons = settings.lessons[settings.suite]
    found = every_fact(settings)
    table = points.build(builder.build(), found, lessons, settings.methods, settings.selectors)
    rows = table.set_index("row")
    assert rows.loc["Feedback SFT", "tokens"] == pytest.approx(5 * 110 + 2400)
    assert rows.loc["Imitative SFT", "tokens"] == pytest.approx(2 * 110 + 2400)
