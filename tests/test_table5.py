"""What the report says of training: Table 5, cleaning, Figure 3, the curves, what was dropped.

Covers: a house of eight items whose figures are reckoned on paper; several students and seeds
against a second reckoning; a further iteration; every input missing or in another's place.
Does not cover: Table 4's last block (test_tables.py), LaTeX (test_report.py), the equivalence test
itself (test_stats.py), and how the pages and figures look.
"""

import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import pytest
from house import FIELDS, PAPER, PRINTED, House, large, small

from stages.errors import UserError
from stages.records import Outcome, Training
from stages.reporting import figure3, losses, table5
from stages.reporting.config import ReportSection
from stages.reporting.load import read_paper
from stages.stats import holm, wilson

C, W, U = "correct", "incorrect", "unparsed"
# The baseline is right on the first item of each subtask, and unparsed on the third.
LEARNT: dict[str, dict[str, tuple[Outcome, ...]]] = {
    "imitative_dpo": {"a": (C, W, U, W), "b": (C, W, U, W)},  # as before
    "feedback_dpo": {"a": (W, W, W, W), "b": (W, W, W, W)},
    "imitative_sft": {"a": (C, C, C, C), "b": (C, C, C, C)},
    "feedback_sft": {"a": (C, C, U, W), "b": (W, W, U, W)},
    "feedback_sft_cleaned": {"a": (C, C, W, C), "b": (C, W, W, W)},
}
LABELS = ["Imitative DPO", "Feedback DPO", "Imitative SFT", "Feedback SFT", "Feedback SFT*"]


def by_hand(root: Path) -> House:
    house = small(root)
    house.learnt = {
        (method, f"bbh/{task}/test-{index}"): outcome
        for method, tasks in LEARNT.items()
        for task, outcomes in tasks.items()
        for index, outcome in enumerate(outcomes)
    }
    return house


@pytest.fixture
def house(tmp_path: Path) -> House:
    return by_hand(tmp_path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = by_hand(tmp_path_factory.mktemp("by_hand"))
    house.training = {
        "feedback_dpo": {"fallbacks": ("no GPU: adamw_torch",), "examples": 3, "too_long": 2},
    }
    house.unused = {
        ("feedback_dpo", "bbh/a/train-0"): "already_right",
        ("feedback_dpo", "bbh/a/train-1"): "identical",
        ("feedback_dpo", "bbh/b/train-1"): "already_right",
    }
    kinds = ("thanks", "apology")
    house.fidelity = {
        "bbh/a/train-0": {"status": "cleaned", "artefact": True, "kinds": kinds, "words_after": 6},
        "bbh/a/train-1": {"status": "cleaned", "artefact": True, "kinds": ("thanks",)}
        | {"artefact_after": True, "kinds_after": ("thanks",)},
        "bbh/b/train-0": {"status": "answer_changed", "artefact": True, "kinds": ("thanks",)},
    }
    house.run()
    return house


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = large(tmp_path_factory.mktemp("many"), students=2, seeds=3)
    house.run()
    return house


def arm(house: House, method: str, learner: str = "") -> dict[str, str]:
    (found,) = [
        row
        for row in house.rows("table5")
        if row["method"] == method and row["learner"].startswith(learner)
    ]
    return found


# Table 5


def test_rows_stand_in_the_papers_order_beside_its_figures(ran: House) -> None:
    rows = ran.rows("table5")
    assert [row["row"] for row in rows] == ["Baseline", *LABELS]
    paper = read_paper(PAPER / "table5.csv")
    keys = ("row", "match_rate_paper", "score_paper", "correct_if_matched_paper")
    assert [[row[key] for key in keys] for row in rows[1:]] == paper.iloc[:, 1:].to_numpy().tolist()
    assert [rows[0][key] for key in keys[1:]] == ["0.60", "0.29", "0.48"]


def test_an_arm_by_hand(ran: House) -> None:
    best = arm(ran, "imitative_sft")
    assert [float(best[key]) for key in ("score", "match_rate", "difference")] == [1, 1, 6 / 8]
    assert (best["test"], float(best["p"]), best["discordant"]) == ("McNemar", 2 / 2**6, "6")
    assert (float(best["score_low"])) == pytest.approx(wilson(8, 8).low, abs=1e-6)
    moves = ("wrong_right", "right_right", "right_wrong", "wrong_wrong")
    assert [float(best[key]) for key in moves] == [6 / 8, 2 / 8, 0, 0]
    lost = arm(ran, "feedback_dpo")
    assert [float(lost[key]) for key in moves] == [0, 0, 2 / 8, 6 / 8]
    mixed = arm(ran, "feedback_sft")
    assert [float(mixed[key]) for key in moves] == [1 / 8, 1 / 8, 1 / 8, 5 / 8]
    assert (mixed["unparsed"], float(mixed["correct_if_matched"])) == ("2", round(2 / 6, 6))
    # Matched in both: the six with an answer; one is gained there, one lost.
    assert (mixed["matched_in_both"], float(mixed["difference_matched"])) == ("6", 0)
    lengths = ("length", "length_difference", "length_difference_low")
    assert [float(best[key]) for key in lengths] == [20, 10, 10]


def test_an_arm_without_discordant_pairs(ran: House) -> None:
    same = arm(ran, "imitative_dpo")
    assert (same["discordant"], float(same["p"]), float(same["p_holm"])) == ("0", 1, 1)
    assert {float(same[f"difference{end}"]) for end in ("", "_low", "_high")} == {0}
    assert float(same["smallest_detectable"]) > 0


def test_arms_against_each_other(ran: House) -> None:
    rows = {(row["first"], row["second"]): row for row in ran.rows("table5_contrasts")}
    assert list(rows) == [
        ("feedback_sft_cleaned", "feedback_sft"),
        ("feedback_sft_cleaned", "imitative_sft"),
        ("feedback_dpo", "imitative_dpo"),
    ]
    differences = [float(row["difference"]) for row in rows.values()]
    assert differences == [2 / 8, -4 / 8, -2 / 8]
    cleaned, similar, _ = rows.values()
    assert (cleaned["p_equivalence"], cleaned["margin"]) == ("", "")
    assert float(similar["margin"]) == 0.05
    assert float(similar["low_90"]) < -0.5 < float(similar["high_90"])
    assert float(similar["p_equivalence"]) > 0.5


def test_holm_over_all_tests_of_the_table(ran: House) -> None:
    """Five arms against the baseline, three against each other, two of equivalence."""
    rows = [*ran.rows("table5"), *ran.rows("table5_contrasts")]
    found = [
        (float(row[name]), float(row[f"{name}_holm"]))
        for row in rows
        for name in ("p", "p_equivalence")
        if row.get(name)
    ]
    assert len(found) == 10
    assert holm([p for p, _ in found]) == pytest.approx([p for _, p in found], abs=2e-5)


def test_equivalence_needs_many_items(tmp_path: Path) -> None:
    """Two arms that never differ are equivalent to within .05 on 54 items, not on eight."""
    for house, expected in ((small(tmp_path / "few"), "no"), (large(tmp_path, 1, 1), "yes")):
        house.root.mkdir(exist_ok=True)
        house.learned = lambda *_: "incorrect"  # type: ignore[method-assign]
        house.run()
        rows = [row for row in house.rows("table5_contrasts") if row["margin"]]
        assert {float(row["difference"]) for row in rows} == {0}
        lines = house.tex("table5").split("Arm against arm")[1].split("\\\\\n")
        assert [line.split("&")[-1].strip() for line in lines[1:4]] == ["--", expected, expected]
    house.params["report"]["equivalence_margin"] = 0.02
    house.run()
    assert {row["margin"] for row in house.rows("table5_contrasts")} == {"", "0.02"}
    assert "& yes" not in house.tex("table5")


def test_seeds_are_averaged_and_shown(many: House) -> None:
    for learner in ("student_0", "student_1"):
        row = arm(many, "imitative_sft", learner)
        own = [
            fmean(
                many.learned(learner, seed, "imitative_sft", of) == "correct" for of in many.items
            )
            for seed in (0, 1, 2)
        ]
        assert [float(s) for s in row["score_by_seed"].split(";")] == pytest.approx(own, abs=1e-6)
        assert float(row["score"]) == pytest.approx(fmean(own), abs=1e-6)
        assert (row["test"], row["n"], row["trajectories"]) == ("permutation", "54", "162")
        low, high = (rf"\num{{{value:.2f}}}" for value in (min(own), max(own)))
        assert f"& {low}--{high}\n" in many.tex("table5")
    assert "One seed" not in many.tex("table5")


def test_the_note_says_what_the_intervals_say(ran: House, house: House) -> None:
    text = ran.tex("table5")
    above = [
        row["row"]
        for row in ran.rows("table5")
        if row["difference_low"] and float(row["difference_low"]) > 0
    ]
    assert above == ["Imitative SFT"]
    assert "Above the baseline: Imitative SFT." in text
    assert "No method is shown to beat the baseline." not in text
    assert "One seed: no claim about a training method is called supported by it." in text
    house.learnt = {}
    house.run()
    text = house.tex("table5")
    assert "No method is shown to beat the baseline." in text
    assert "Above the baseline" not in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "negative sampling: by the ground truth (Feedback DPO, Feedback SFT, Feedback SFT*)"),
        ({"negative_sampling": None}, "negative sampling: none"),
        ({"negative_sampling": "error_identification"}, "the teacher's error identification"),
        ({"models": "per_environment"}, "one model a subtask"),
        ({"match_n": True}, "all arms on the same items"),
        ({"condition": "lazy"}, "Feedback in training: Lazy"),
    ],
)
def test_caption_says_what_was_taught(house: House, changed: dict[str, Any], said: str) -> None:
    house.params["lessons"]["bbh"] |= changed
    house.run()
    assert said in house.tex("table5")


def test_caption_names_fallbacks_and_what_the_paper_contradicts(ran: House) -> None:
    text = ran.tex("table5")
    assert "On this machine: no GPU: adamw\\_\\allowbreak torch." in text
    assert "correct-if-matched of Feedback DPO cannot be" in text
    assert table5.contradictions(read_paper(PAPER / "table5.csv")) == ["Feedback DPO"]


def test_a_further_iteration_is_compared_with_the_student(house: House) -> None:
    further = "small-bbh-feedback_sft-0"
    house.grid["learners"] = ["small", further]
    house.run()
    row = arm(house, "imitative_sft", further)
    assert float(row["difference"]) == 6 / 8
    assert row["score_paper"] == ""
    assert row["learner_label"] == "Small_1 & co after Feedback SFT, seed 0"
    assert r"Small\_1 \& co after Feedback SFT, seed 0" in house.tex("table5")
    assert float(arm(house, "baseline", further)["score"]) == 2 / 8
    # Nobody follows feedback but the students of the tables at test time.
    assert {row["learner"] for row in house.rows("training") if "following" in row["method"]} == {
        "small"
    }


def test_metrics(ran: House) -> None:
    metrics = json.loads((ran.root / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["small"]["gain"]["imitative_sft"] == 0.75


# What training took


def test_what_training_took(house: House) -> None:
    """Three models of two environments and a seed each: sums, and means over the seeds."""
    whole = house.trained

    def trained(learner: str, method: str, seed: int) -> list[Training]:
        (one,) = whole(learner, method, seed)
        return [
            one.model_copy(update={"environment": task, "steps": 6 + seed, "changed": changed})
            for task, changed in (("a", 0.1), ("b", 0.3))
        ]

    house.trained = trained  # type: ignore[method-assign]
    house.grid["seeds"] = [0, 1]
    house.scores += [of.model_copy(update={"seed": 1}) for of in house.scores]
    house.run()
    rows = {(row["method"], row["seed"]): row for row in house.rows("training")}
    assert len(rows) == 12
    took = rows["feedback_sft", "1"]
    assert [took[key] for key in ("models", "examples", "steps", "tokens", "target_tokens")] == [
        *("2", "8", "14", "4800", "1200")
    ]
    assert float(took["changed"]) == 0.2
    mean = arm(house, "feedback_sft")
    assert [float(mean[key]) for key in ("models", "steps", "changed")] == [2, 13, 0.2]


def test_what_was_dropped(ran: House) -> None:
    rows = [row for row in ran.rows("table5_dropped") if row["method"] == "feedback_dpo"]
    assert [(row["reason"], row["items"]) for row in rows] == [
        ("already_right", "2"),
        ("identical", "1"),
        ("too_long", "2"),
    ]
    assert {row["examples"] for row in rows} == {"3"}
    assert float(arm(ran, "feedback_dpo")["dropped"]) == 5
    (whole,) = [row for row in ran.rows("table5_dropped") if row["method"] == "feedback_sft"]
    assert (whole["reason"], whole["items"]) == ("", "0")


# Cleaning


def test_cleaning_by_hand(ran: House) -> None:
    rows = {(row["measure"], row["name"]): row for row in ran.rows("cleaning")}
    shares = {name: float(row["value"]) for (what, name), row in rows.items() if what == "status"}
    assert shares == {
        "cleaned": 2 / 4,
        "same": 1 / 4,
        "answer_changed": 1 / 4,
        **dict.fromkeys(("nothing", "truncated", "empty", "failed"), 0),
    }
    assert float(rows["status", "cleaned"]["value_low"]) == pytest.approx(
        wilson(2, 4).low, abs=1e-6
    )
    every = rows["artefact", "any"]
    # Of three taken texts two had an artefact and one has it still; the refused one is out.
    assert [every[key] for key in ("n", "count", "discordant", "test")] == [
        "3",
        "2",
        "1",
        "McNemar",
    ]
    assert [float(every[key]) for key in ("value", "after", "difference")] == pytest.approx(
        [2 / 3, 1 / 3, -1 / 3], abs=1e-6
    )
    assert float(every["p"]) == float(every["p_holm"]) == 1
    assert [float(rows["artefact", "apology"][key]) for key in ("value", "after")] == [
        round(1 / 3, 6),
        0,
    ]
    assert rows["artefact", "apology"]["p"] == ""
    words = rows["words", "words"]
    assert [float(words[key]) for key in ("value", "after")] == [10, round(26 / 3, 6)]
    assert r"any artefact & \num{3} & \num{0.67}" in ran.tex("cleaning")


def test_cleaning_over_several_seeds(many: House) -> None:
    rows = [row for row in many.rows("cleaning") if row["learner"] == "student_1"]
    found = {(row["measure"], row["name"]): row for row in rows}
    own = [of for of in many.cleaned() if of.student == "student_1"]
    share = fmean(of.status == "cleaned" for of in own)
    cleaned = found["status", "cleaned"]
    assert float(cleaned["value"]) == pytest.approx(share, abs=1e-6)
    assert float(cleaned["value_low"]) < share < float(cleaned["value_high"])
    # Not Wilson's interval of 81 independent replies.
    naive = wilson(round(share * len(own)), len(own)).low
    assert float(cleaned["value_low"]) != pytest.approx(naive, abs=1e-4)
    taken = [of for of in own if of.status in ("cleaned", "same")]
    every = found["artefact", "any"]
    assert float(every["after"]) == pytest.approx(
        fmean(of.artefact_after for of in taken), abs=1e-6
    )
    assert every["test"] == "permutation"
    tests = [row for row in many.rows("cleaning") if row["p"]]
    expected = holm([float(row["p"]) for row in tests])
    assert [float(row["p_holm"]) for row in tests] == pytest.approx(expected, abs=1e-5)


def test_nothing_to_clean(house: House) -> None:
    house.fidelity = {of.id: {"status": "nothing", "words": 0} for of in house.train}
    house.run()
    rows = {(row["measure"], row["name"]): row for row in house.rows("cleaning")}
    assert float(rows["status", "nothing"]["value"]) == 1
    assert [rows["artefact", "any"][key] for key in ("n", "value", "after")] == ["0", "", ""]
    assert rows["words", "words"]["value"] == ""


# Figure 3


def run_of(objective: str, **config: object) -> Training:
    house = House(Path())
    method = {"sft": "feedback_sft", "dpo": "feedback_dpo"}[objective]
    return house.trained("small", method, 0)[0].model_copy(update={"config": config})


def test_figure_3_marks_what_differs() -> None:
    ran = {
        "sft": run_of(
            "sft",
            learning_rate=1e-4,
            max_steps=6,
            warmup_steps=0.1,
            model_init_kwargs={"dtype": "float32"},
            bf16=True,
        ),
        "dpo": run_of("dpo", learning_rate=5e-5, optim="adamw_torch", max_prompt_length=None),
    }
    table = figure3.build(figure3.Printed(PRINTED, FIELDS), ran).astype(object)
    rows = table.where(table.notna(), None).to_numpy().tolist()
    assert rows == [
        ["sft", "remove_unused_columns:True,", "", "", None],
        ["sft", "learning_rate:5e-4,", "learning_rate", "0.0001", True],
        ["sft", "max_steps:num_steps,", "max_steps", "6", None],  # the paper prints a variable
        ["sft", 'optim:"paged_adamw_32bit",', "", "", None],
        ["sft", "warmup_ratio:0.1,", "warmup_steps", "0.1", False],  # renamed since
        ["sft", "", "bf16", "True", None],
        ["sft", "", "model_init_kwargs", "dtype=float32", None],
        # No field of TRL any more, but of the data step.
        ["dpo", "max_prompt_length=1024,", "max_prompt_length", "None", True],
        ["dpo", "learning_rate=5e-5,", "learning_rate", "5e-05", False],
        ["dpo", 'optim:"adamw_torch",', "optim", "adamw_torch", False],
    ]
    text = figure3.to_tex(table, ran, {"small": "S", **dict.fromkeys(house_methods(), "M")}, ABOUT)
    # As printed, but for where a line may break.
    text = re.sub(r"\\char(\d+)\{\}", lambda m: chr(int(m[1])), text.replace(r"\allowbreak{}", ""))
    assert r"\texttt{learning_rate:5e-4,} & \texttt{0.0001}$^\ast$" in text
    assert r"\texttt{warmup_ratio:0.1,} & \texttt{warmup_steps 0.1} \\" in text
    assert r"+ \texttt{bf16} & \texttt{True} \\" in text
    assert "SFTConfig: of S, M; preset fixed; adapter: none" in text


ABOUT = {"scale": "tiny"}


def house_methods() -> list[str]:
    return list(House(Path()).params["methods"])


def test_figure_3_without_one_objective() -> None:
    ran = {"sft": run_of("sft", learning_rate=1e-4)}
    table = figure3.build(figure3.Printed(PRINTED, FIELDS), ran)
    assert set(table[table["objective"] == "dpo"]["ran"]) == {""}
    labels = {"small": "S", "feedback_sft": "M"}
    assert "DPOConfig: nothing was trained." in figure3.to_tex(table, ran, labels, ABOUT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("printed: {sft: a}", r"printed\.dpo: not there"),
        ("printed: {sft: 1, dpo: a}", r"printed\.sft: "),
        ("other: {}", r"presets\.yaml: printed: "),
        ("printed: {sft: a, dpo: b}", r"presets\.yaml: fields: "),
    ],
)
def test_presets_without_the_printed_text(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "presets.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        figure3.read_printed(path)


# Curves


def test_curves_are_means_over_seeds_and_environments() -> None:
    def log(*values: tuple[str, int, float | None]) -> pd.DataFrame:
        return pd.DataFrame(values, columns=["environment", "step", "loss"])

    logs = [
        losses.Log("s", "m", "sft", log(("a", 1, 2.0), ("a", 2, 1.0), ("b", 1, 4.0))),
        losses.Log("s", "m", "sft", log(("a", 1, 3.0), ("a", 2, None))),
        losses.Log("s", "d", "dpo", log(("", 1, 0.7)).assign(**{losses.MARGIN: 0.5})),
    ]
    rows = losses.build(logs).to_numpy().tolist()
    assert [row[:6] for row in rows] == [
        ["s", "m", "sft", 1, 3, 3.0],
        ["s", "m", "sft", 2, 1, 1.0],
        ["s", "d", "dpo", 1, 1, 0.7],
    ]
    assert [row[6] for row in rows][2] == 0.5
    assert pd.isna(rows[0][6])


def test_log_without_a_column(house: House) -> None:
    house.write()
    path = house.root / "train" / "small-feedback_sft-0.csv"
    path.write_text("environment,step\n,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"small-feedback_sft-0\.csv: no column loss"):
        house.report()


# What is refused


def test_each_input_is_missed_by_name(house: House) -> None:
    house.write()
    for name in (
        "score/bbh/evaluate.jsonl",
        "score/bbh/revise_tuned.jsonl",
        "score/bbh/clean.jsonl",
        "train/small-feedback_sft-0.jsonl",
        "train/small-following_sft-0.csv",
        "dropped/small-imitative_dpo-0.jsonl",
        "presets.yaml",
    ):
        path = house.root / name
        whole = path.read_text(encoding="utf-8")
        path.unlink()
        with pytest.raises(UserError, match=rf"{name}: no such file"):
            house.report()
        path.write_text(whole.partition("\n")[2], encoding="utf-8")
        if name.startswith("score"):
            with pytest.raises(UserError, match=rf"{name}: .* lacks 1 of"):
                house.report()
        path.write_text(whole, encoding="utf-8")
    assert not (house.root / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "feedback_dpo"}, "holds method feedback_dpo, not feedback_sft"),
        ({"seed": 1}, "holds seed 1, not 0"),
        ({"learner": "other"}, "holds learner other, not small"),
        ({"objective": "dpo"}, "holds objective dpo, not sft"),
        ({"suite": "code"}, "holds suite code, not bbh"),
    ],
)
def test_training_in_the_place_of_another(
    house: House, changed: dict[str, Any], message: str
) -> None:
    house.training = {"feedback_sft": changed}
    with pytest.raises(UserError, match=rf"small-feedback_sft-0\.jsonl: {message}"):
        house.run()


def test_scores_of_a_method_outside_the_grid(house: House) -> None:
    del house.params["methods"]["feedback_sft"]
    house.write()
    whole = by_hand(house.root).evaluated()
    house.evaluated = lambda: whole  # type: ignore[method-assign]
    with pytest.raises(
        UserError, match=r"evaluate\.jsonl:\d+: .*feedback_sft.* is not in the grid"
    ):
        house.run()


def test_an_untrained_answer_among_the_trained(house: House) -> None:
    whole = house.evaluated()
    house.evaluated = (
        lambda: [  # type: ignore[method-assign]
            whole[0].model_copy(update={"method": None}),
            *whole[1:],
        ]
    )
    with pytest.raises(UserError, match=r"evaluate\.jsonl:1: .* is not in the grid"):
        house.run()


def test_learner_of_no_student(house: House) -> None:
    house.grid["learners"] = ["other"]
    with pytest.raises(UserError, match=r"params\.yaml: grid: no 'other' under students"):
        house.run()


def test_suite_without_lessons(house: House) -> None:
    house.params["lessons"] = {}
    with pytest.raises(UserError, match=r"params\.yaml: lessons\.bbh: not there"):
        house.run()


# Names


def test_names_of_what_was_trained() -> None:
    config = ReportSection(bootstrap=100, seed=0, labels={"tiny": "Tiny"}, paper_students={})
    assert config.label("feedback_sft_cleaned") == "Feedback SFT*"
    assert config.label("tiny") == "Tiny"
    assert config.label("tiny-bbh-imitative_sft-0-bbh-own_way-2") == (
        "Tiny after Imitative SFT, seed 0 after Own Way, seed 2"
    )
