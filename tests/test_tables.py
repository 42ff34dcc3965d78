"""The report's other tables: 2, 4, controls, transitions, the curve over k.

Covers: a house of eight items whose every figure is reckoned on paper below; several students,
seeds and candidates against a second reckoning out of the records; every input missing, over other
items, or in another's place.
Does not cover: Table 3, how requests ended, LaTeX (test_report.py); the metrics and curves
themselves.
"""

import shutil
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from house import PAPER, RIGHT, WRONG, House, large, score, small

from stages.errors import UserError
from stages.records import Outcome
from stages.reporting.compare import COUNTS, Arm, arm, rates
from stages.reporting.load import read_paper
from stages.reporting.transitions import printed_identity
from stages.stats import holm, wilson

# a: right, wrong, unparsed, wrong; b: the same. Retried under `unconstrained`:
# a: right, right, right, unparsed; b: wrong, right, right, unparsed.
VERDICTS = {"a": [RIGHT, WRONG, "Well.", RIGHT], "b": [WRONG, RIGHT, WRONG, WRONG]}
C, W, U = "correct", "incorrect", "unparsed"
CANDIDATES: dict[str, list[tuple[Outcome, ...]]] = {
    "a": [(C, W), (W, C), (C, C), (W, W)],
    "b": [(C, C), (U, C), (W, W), (W, W)],
}


def by_hand(root: Path) -> House:
    house = small(root)
    retry = next(
        at
        for at, row in enumerate(house.scores)
        if (row.condition, row.item) == ("unconstrained", "bbh/b/test-0")
    )
    house.scores[retry] = score(house.items[4], "unconstrained", "incorrect")
    for of in house.items:
        house.verdicts["explicit", of.id] = VERDICTS[of.task][of.index]
        house.candidates["alone", of.id] = CANDIDATES[of.task][of.index]
    house.choices = {
        ("alone", "teacher_choice", "bbh/a/test-1"): (1, "named"),
        ("alone", "teacher_choice", "bbh/b/test-1"): (0, "unreadable"),
    }
    house.learnt = {
        ("following_sft", f"bbh/{of}"): "correct" for of in ("a/test-0", "a/test-1", "b/test-0")
    }
    house.retold = {("following_sft", f"bbh/{of}"): "correct" for of in ("b/test-1", "b/test-2")}
    house.told = {
        ("unconstrained", "bbh/a/test-0"): "B",
        ("unconstrained", "bbh/a/test-1"): "A",
    }
    return house


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = by_hand(tmp_path_factory.mktemp("by_hand"))
    house.run()
    return house


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two students, two seeds, three candidates."""
    house = large(tmp_path_factory.mktemp("many"), students=2, seeds=2, draws=3)
    house.run()
    return house


def row(house: House, table: str, block: str, name: str, student: str = "") -> dict[str, str]:
    (found,) = [
        row
        for row in house.rows(table)
        if (row["block"], row["row"]) == (block, name) and row["student"].startswith(student)
    ]
    return found


# Table 2


def test_unparsable_verdict_counts_as_incorrect_and_apart(ran: House) -> None:
    explicit, implicit = ran.rows("table2")
    assert [int(explicit[key]) for key in ("tp", "fp", "fn", "tn", "unparsable")] == [4, 1, 2, 1, 1]
    assert float(explicit["recall"]) == pytest.approx(4 / 6, abs=1e-6)
    assert float(explicit["precision"]) == 4 / 5
    # Without the unreadable one, which was right to flag.
    assert int(explicit["parsed_n"]) == 7
    assert float(explicit["parsed_recall"]) == 3 / 5
    assert (float(implicit["recall"]), float(implicit["specificity"])) == (1, 0)
    assert explicit["recall_paper"] == "0.85"


def test_error_identification_seed_by_seed(many: House) -> None:
    items = {of.id: of for of in many.items}
    for row in many.rows("table2"):
        slug, verdict = row["student"], row["verdict"]
        for seed, recall in enumerate(row["recall_by_seed"].split(";")):
            wrong = [
                items[of.item]
                for of in many.scores
                if (of.model, of.seed, of.condition) == (slug, seed, None) and not of.solved
            ]
            said = [many.verdict(slug, seed, verdict, item) for item in wrong]
            flagged = [text not in (RIGHT, "No feedback needed.") for text in said]
            assert float(recall) == pytest.approx(fmean(flagged), abs=1e-6)
        for name in ("precision", "f1", "accuracy"):
            assert len(row[f"{name}_by_seed"].split(";")) == 2


# Arms


def rows_of(*keys: tuple[str, int, int | None]) -> pd.DataFrame:
    """Return rows of scores by item, seed and draw; each column counts them."""
    names = ("score", "tolerant", "matched", "solved", *COUNTS, "prompt_tokens")
    frame = pd.DataFrame(keys, columns=["item", "seed", "draw"])
    return frame.assign(**dict.fromkeys((*names, "completion_tokens"), range(len(keys))))


def test_an_arm_has_its_items_in_order_and_the_draws_of_a_seed_beside_each_other() -> None:
    keys = [(item, seed, draw) for draw in (1, 0) for item in "bac" for seed in (2, 0)]
    found = arm(rows_of(*keys), pd.Index(["a", "d", "b"]))
    at = {key: place for place, key in enumerate(keys)}
    runs = [(0, 0), (0, 1), (2, 0), (2, 1)]
    expected = [[at.get((item, *run), np.nan) for run in runs] for item in "adb"]
    np.testing.assert_array_equal(found.score, expected)
    assert (found.seeds, found.draws) == (2, 2)
    # An answer that is no candidate has no draw.
    assert arm(rows_of(("a", 0, None)), pd.Index(["a"])).score.tolist() == [[0]]


def test_an_arm_of_two_trajectories_in_one_place_is_refused() -> None:
    with pytest.raises(ValueError, match="two trajectories"):
        arm(rows_of(("a", 0, 0), ("a", 0, None)), pd.Index(["a"]))


# Table 4


def test_negative_sampling(ran: House) -> None:
    block = "Negative Sampling"
    plain, judged, oracle = (
        row(ran, "table4", block, name) for name in ("-", "Error Identification", "Ground Truth")
    )
    assert [float(of["score"]) for of in (plain, judged, oracle)] == [5 / 8, 4 / 8, 6 / 8]
    assert float(judged["match_rate"]) == 7 / 8
    assert [float(of["replaced"]) for of in (plain, judged, oracle)] == [1, 5 / 8, 6 / 8]
    assert float(judged["unreadable"]) == 1 / 8
    assert (plain["difference_own"], plain["p_own"]) == ("", "")
    assert float(plain["difference_baseline"]) == 3 / 8
    assert (float(judged["difference_own"]), float(judged["difference_baseline"])) == (
        -1 / 8,
        2 / 8,
    )
    assert float(oracle["difference_own"]) == 1 / 8
    assert judged["test_own"] == "McNemar"
    assert [of["oracle"] for of in (plain, judged, oracle)] == ["False", "False", "True"]
    (table3,) = [
        of
        for of in ran.rows("table3")
        if (of["condition"], of["items"]) == ("unconstrained", "all")
    ]
    for column in ("match_rate", "score", "score_low", "correct_if_matched", "unparsed"):
        assert plain[column] == table3[column]


def test_resampling_without_feedback(ran: House) -> None:
    block = "Negative Resampling (No Feedback)"
    plain, judged, oracle = (
        row(ran, "table4", block, name) for name in ("-", "Error Identification", "Ground Truth")
    )
    assert [float(of["score"]) for of in (plain, judged, oracle)] == [3.5 / 8, 3.5 / 8, 4 / 8]
    assert (judged["n"], judged["trajectories"]) == ("8", "16")
    assert judged["test_own"] == judged["test_baseline"] == "permutation"
    assert {of["score_paper"] for of in (plain, judged, oracle)} == {""}


def test_best_of_k(ran: House) -> None:
    block = "Best-of-k (No Feedback)"
    plain, logits, student, teacher = (
        row(ran, "table4", block, name)
        for name in ("-", "Student Logits", "Student Choice", "Teacher Choice")
    )
    scores = [float(of["score"]) for of in (plain, logits, student, teacher)]
    assert scores == [3.5 / 8, 3 / 8, 3 / 8, 4 / 8]
    assert (teacher["unreadable"], logits["unreadable"]) == ("0.125", "0.0")
    assert float(teacher["difference_own"]) == 0.5 / 8
    assert float(teacher["difference_baseline"]) == 2 / 8
    assert float(row(ran, "table4", "Best-of-k (/w Feedback)", "Teacher Choice")["score"]) == 0


def test_rows_of_table_4_stand_beside_the_papers(ran: House) -> None:
    rows = [of for of in ran.rows("table4") if not of["block"].startswith("Negative Resampling")]
    paper = read_paper(PAPER / "table4.csv")
    keys = ("block", "row", "match_rate_paper", "score_paper", "correct_if_matched_paper")
    assert [[of[key] for key in keys] for of in rows] == paper.to_numpy().tolist()
    assert [of["row"] for of in rows[-2:]] == ["DPO", "DPO + Feedback"]
    assert {of["score"] + of["n"] + of["p_own"] for of in rows[-2:]} == {""}
    text = ran.tex("table4")
    # Nobody was trained by DPO to follow feedback: not among the differences.
    assert (text.count("\nSFT + Feedback\n"), text.count("\nDPO + Feedback\n")) == (2, 1)


def test_following_feedback(ran: House) -> None:
    """Without feedback against the first answers, with it against the untrained one's retries."""
    block = "Feedback Following Finetuning"
    plain, told = (row(ran, "table4", block, name) for name in ("SFT", "SFT + Feedback"))
    assert [float(of["score"]) for of in (plain, told)] == [3 / 8, 2 / 8]
    assert float(plain["difference_own"]) == float(plain["difference_baseline"]) == 1 / 8
    assert float(told["difference_own"]) == pytest.approx(2 / 8 - 5 / 8)
    assert float(told["difference_baseline"]) == 0
    assert plain["p_holm_own"] == plain["p_holm_baseline"]
    text = ran.tex("table4")
    assert "\nSFT: 4 examples, 6 steps of 4, preset fixed." in text
    assert "One seed: no claim about a training method is called supported by it." in text


@pytest.mark.parametrize(("table", "family"), [("table4", 27), ("controls", 14)])
def test_holm_over_all_tests_of_a_table(ran: House, table: str, family: int) -> None:
    """No arm is compared with itself, and none twice with the same one."""
    found = [
        (float(of[f"p_{name}"]), float(of[f"p_holm_{name}"]))
        for of in ran.rows(table)
        for name in ("own", "baseline")
        if of[f"p_{name}"] and (name, of["row"]) != ("baseline", "SFT")
    ]
    assert len(found) == family
    assert holm([p for p, _ in found]) == pytest.approx([p for _, p in found], abs=2e-5)


def test_oracle_is_never_bold(tmp_path: Path) -> None:
    house = large(tmp_path, students=1, seeds=1)
    items = {of.id: of for of in house.items}
    for at, of in enumerate(house.scores):
        if of.condition in (None, "unconstrained"):
            right = of.condition is None and items[of.item].index == 0
            new = score(items[of.item], of.condition, C if right else W, student=of.model)
            house.scores[at] = new
            house.verdicts["explicit", of.item] = RIGHT if items[of.item].index == 0 else WRONG
    house.verdict = lambda student, seed, verdict, of: House.verdict(  # type: ignore[method-assign]
        house, student, seed, verdict, of
    )
    house.run()
    judged, oracle = (
        row(house, "table4", "Negative Sampling", name)
        for name in ("Error Identification", "Ground Truth")
    )
    assert float(judged["difference_low_own"]) > 0 < float(oracle["difference_low_own"])
    differences = house.tex("table4").split(r"\begin{tabular}")[2].split(r"\emph{")[1]
    _, _, judged_tex, oracle_tex, *_ = differences.split("\\\\\n")
    assert judged_tex.startswith("Error Identification")
    assert r"\textbf" in judged_tex
    assert oracle_tex.startswith("Ground Truth$^\\dag$")
    assert r"\textbf" not in oracle_tex


# Identity, transitions, leaks


def test_transitions_and_leaks(ran: House) -> None:
    rows = {of["condition"]: of for of in ran.rows("transitions")}
    moves = ("wrong_right", "right_right", "right_wrong", "wrong_wrong")
    assert [float(rows["unconstrained"][key]) for key in moves] == [4 / 8, 1 / 8, 1 / 8, 2 / 8]
    for of in rows.values():
        assert sum(float(of[key]) for key in moves) == pytest.approx(1, abs=1e-5)
    base = rows["unconstrained"]
    leaks = ("leak_gold", "leak_other", "leak_none", "shuffled_gold")
    assert [float(base[key]) for key in leaks] == [1 / 8, 1 / 8, 6 / 8, 0]
    # Told "B", the first one says "A"; told "A", the second one says "A".
    assert (base["copied_n"], float(base["copied"])) == ("2", 0.5)
    assert (rows["lazy"]["copied_n"], rows["lazy"]["copied"]) == ("0", "")


def test_identity_in_the_table(ran: House) -> None:
    """2/8 + 3/8 - 1/8; product form 2/8 + 4/8 * 4/6 - 1/8 * 1/2."""
    text = ran.tex("transitions")
    assert (
        r" & ".join(
            [r"Small\_1 \& co", *(rf"\num{{{of}}}" for of in ("0.500", "0.500", "0.521", "0.021"))]
        )
        in text
    )
    assert r"paper, 7B & \num{0.340} & -- & \num{0.348} & \num{0.008}" in text


def test_identity_of_the_papers_figures() -> None:
    found = printed_identity(*(read_paper(PAPER / f"table{n}.csv") for n in (2, 3, 4)))
    assert found["scored"] == 0.34
    assert found["product"] == pytest.approx(0.348, abs=5e-4)


def test_identity_is_exact(many: House) -> None:
    """Against Table 4's own row and the records, for every student."""
    for slug in ("student_0", "student_1"):
        by = {(of.condition, of.seed, of.item): of.score for of in many.scores if of.model == slug}
        base = gained = lost = 0.0
        for seed in (0, 1):
            for of in many.items:
                before, after = by[None, seed, of.id], by["unconstrained", seed, of.id]
                flagged = many.verdict(slug, seed, "explicit", of) != RIGHT
                base += before
                gained += (1 - before) * after * flagged
                lost += before * (1 - after) * flagged
        found = row(many, "table4", "Negative Sampling", "Error Identification", slug)
        n = 2 * len(many.items)
        assert float(found["score"]) == pytest.approx(base / n + gained / n - lost / n, abs=1e-6)


# Controls


def test_controls(ran: House) -> None:
    costs = ("student_wrote", "student_read", "teacher_wrote", "teacher_read")

    def figures(block: str, name: str) -> list[float]:
        found = row(ran, "controls", block, name)
        return [float(found[key]) for key in ("score", *costs)]

    assert figures("No retry", "Baseline") == [2 / 8, 10, 100, 0, 0]
    assert figures("Retry", "Unconstrained") == [5 / 8, 20, 200, 7, 70]
    assert figures("Retry", "Self Feedback") == [2 / 8, 27, 270, 0, 0]
    assert figures("Retry", "Try Again") == [2 / 8, 20, 200, 0, 0]
    block = "Plain resampling, 2 answers"
    # Ties count half: 1/2 + 1/2 + 1 + 1, and the only answer of a pair whose other has none.
    assert figures(block, "Majority vote") == [4 / 8, 20, 200, 0, 0]
    assert figures(block, "Student Logits") == [3 / 8, 20, 200, 0, 0]
    assert figures(block, "Oracle") == [5 / 8, 20, 200, 0, 0]
    assert row(ran, "controls", block, "Oracle")["oracle"] == "True"
    assert float(row(ran, "controls", block, "Majority vote")["difference_own"]) == -1 / 8
    assert row(ran, "controls", "Retry", "Unconstrained")["difference_own"] == ""


def test_as_many_answers_as_come_closest(tmp_path: Path) -> None:
    """10, and 16 of a retry but for one kept and one failed of eight: 10 + 6/8 * 16 = 22."""
    house = small(tmp_path)
    house.grid["draws"] = [0, 1, 2]
    for at, of in enumerate(house.scores):
        if of.condition == "unconstrained":
            house.scores[at] = of.model_copy(update={"completion_tokens": 16})
    places = [at for at, of in enumerate(house.scores) if of.condition == "unconstrained"][:2]
    kept = {"kept_original": "refusal"}
    failed = {"outcome": "errored", "score": 0.0, "solved": False, "finish_reason": "error"}
    failed |= {"prompt_tokens": None, "completion_tokens": None, "strict": None}
    for at, update in zip(places, (kept, failed), strict=True):
        house.scores[at] = house.scores[at].model_copy(update=update)
    house.run()
    assert float(row(house, "controls", "Retry", "Unconstrained")["student_wrote"]) == 22
    assert (
        row(house, "controls", "Plain resampling, 2 answers", "Oracle")["student_wrote"] == "20.0"
    )
    for at, of in enumerate(house.scores):
        if of.condition == "unconstrained" and at not in places:
            house.scores[at] = of.model_copy(update={"completion_tokens": 22})
    house.run()
    assert (
        row(house, "controls", "Plain resampling, 3 answers", "Oracle")["student_wrote"] == "30.0"
    )


def test_tokens_that_an_engine_cannot_tell(tmp_path: Path) -> None:
    house = small(tmp_path)
    house.scores[0] = house.scores[0].model_copy(update={"completion_tokens": None})
    house.run()
    assert row(house, "controls", "No retry", "Baseline")["student_wrote"] == ""
    assert row(house, "controls", "Plain resampling (tokens not known)", "Oracle")["score"] == ""


# Several students, seeds and candidates


def test_shapes_and_means_of_pools(many: House) -> None:
    samples = many.samples()
    for slug in ("student_0", "student_1"):
        plain = row(many, "table4", "Best-of-k (No Feedback)", "-", slug)
        chosen = row(many, "table4", "Best-of-k (No Feedback)", "Teacher Choice", slug)
        judged = row(
            many, "table4", "Negative Resampling (No Feedback)", "Error Identification", slug
        )
        sizes = [[of[key] for key in ("n", "seeds")] for of in (plain, chosen, judged)]
        assert sizes == [["54", "2"]] * 3
        assert [of["trajectories"] for of in (plain, chosen, judged)] == ["324", "108", "324"]
        first = {
            (of.seed, of.item): of.score
            for of in many.scores
            if of.model == slug and of.condition is None
        }
        items = {of.id: of for of in many.items}
        for seed in (0, 1):
            own = [of for of in samples if (of.model, of.seed, of.condition) == (slug, seed, None)]
            by_seed = fmean(of.score for of in own)
            assert float(plain["score_by_seed"].split(";")[seed]) == pytest.approx(
                by_seed, abs=1e-6
            )
            mixed = fmean(
                of.score
                if many.verdict(slug, seed, "explicit", items[of.item]) != RIGHT
                else first[seed, of.item]
                for of in own
            )
            assert float(judged["score_by_seed"].split(";")[seed]) == pytest.approx(mixed, abs=1e-6)
        best = [
            max(of.score for of in samples if key(of) == (slug, seed, item, None))
            for seed in (0, 1)
            for item in items
        ]
        (ceiling,) = [
            of
            for of in many.rows("best_of_k")
            if (of["student"], of["pool"], of["chooser"], of["k"]) == (slug, "alone", "oracle", "3")
        ]
        assert float(ceiling["score"]) == pytest.approx(fmean(best), abs=1e-6)
        assert row(many, "controls", "Plain resampling, 2 answers", "Oracle", slug)["n"] == "54"


def key(of: object) -> tuple[object, ...]:
    return tuple(getattr(of, name) for name in ("model", "seed", "item", "condition"))


def test_copies_of_several_seeds_are_paired_by_item(many: House) -> None:
    for of in many.rows("transitions"):
        told = [
            many.leak(of["student"], row.seed, of["condition"], items) == row.tolerant
            for row in many.scores
            if (row.model, row.condition) == (of["student"], of["condition"])
            for items in many.items
            if items.id == row.item
            and many.leak(of["student"], row.seed, of["condition"], items) is not None
        ]
        assert int(of["copied_n"]) == len(told)
        assert float(of["copied"]) == pytest.approx(fmean(told), abs=1e-6)
        assert float(of["copied_low"]) < float(of["copied"]) < float(of["copied_high"])
        assert of["copied_low"] != str(round(wilson(sum(told), len(told)).low, 6))


def test_a_ratio_of_several_seeds_that_is_always_one_has_a_width() -> None:
    """Six items of two seeds; one is never matched, all matched answers are right."""
    right = np.array([[1.0, 1.0]] * 4 + [[1.0, 0.0], [0.0, 0.0]])
    zeros = np.zeros_like(right)
    values = dict.fromkeys(COUNTS, zeros) | dict.fromkeys(("score", "matched"), right)
    arms = {"arm": Arm(values | {"tolerant": right, "solved": right}, seeds=2)}
    row = rates(arms, ["a", "a", "a", "b", "b", "b"], 200, 0)["arm"]
    assert row["correct_if_matched"] == 1
    assert row["correct_if_matched_low"] == wilson(5, 5).low


# The curve


def test_curve_by_hand(ran: House) -> None:
    rows = {
        (of["chooser"], of["k"]): float(of["score"])
        for of in ran.rows("best_of_k")
        if of["pool"] == "alone"
    }
    asked = ("student_choice", "teacher_choice")
    free = ("none", "student_logits", "majority", "oracle")
    assert set(rows) == {(name, k) for name in free for k in "12"} | {(name, "2") for name in asked}
    assert {rows[name, "1"] for name in free} == {3.5 / 8}
    assert [rows[name, "2"] for name in free] == [3.5 / 8, 3 / 8, 4 / 8, 5 / 8]
    assert [rows[name, "2"] for name in asked] == [3 / 8, 4 / 8]


def test_curve_starts_without_selection(many: House) -> None:
    table = pd.DataFrame(many.rows("best_of_k"))
    ones = table[table["k"] == "1"].groupby(["student", "pool"])["score"].nunique()
    assert len(ones) == 4
    assert set(ones) == {1}


# What is refused


def test_each_input_is_missed_by_name(tmp_path: Path) -> None:
    house = by_hand(tmp_path)
    house.write()
    for name in (
        "judge/implicit-small-0",
        "select/conditioned/student_logits-small-0",
        "select/alone/teacher_choice-small-0",
        "feedback/try_again-small-0",
        "feedback/self_feedback-small-0",
        "score/bbh/sample",
        "score/bbh/select",
        "score/bbh/feedback",
    ):
        path = tmp_path / f"{name}.jsonl"
        whole = path.read_text(encoding="utf-8")
        path.unlink()
        with pytest.raises(UserError, match=rf"{name}\.jsonl: no such file"):
            house.report()
        path.write_text(whole.partition("\n")[2], encoding="utf-8")
        with pytest.raises(UserError, match=rf"{name}\.jsonl: .*bbh/a/test-0"):
            house.report()
        path.write_text("", encoding="utf-8")
        with pytest.raises(UserError, match=rf"{name}\.jsonl: (not the test items|no scores of)"):
            house.report()
        path.write_text(whole, encoding="utf-8")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("of", "to", "message"),
    [
        ("judge/explicit-small-0", "judge/implicit-small-0", "verdict explicit, not implicit"),
        (
            "select/alone/student_logits-small-0",
            "select/conditioned/student_logits-small-0",
            "condition None, not unconstrained",
        ),
        (
            "feedback/lazy-small-0",
            "feedback/try_again-small-0",
            "condition lazy, not try_again",
        ),
    ],
)
def test_a_cell_in_the_place_of_another(tmp_path: Path, of: str, to: str, message: str) -> None:
    house = by_hand(tmp_path)
    house.write()
    shutil.copy(tmp_path / f"{of}.jsonl", tmp_path / f"{to}.jsonl")
    with pytest.raises(UserError, match=rf"{to}\.jsonl: holds {message}"):
        house.report()


def test_leak_outside_the_grid(tmp_path: Path) -> None:
    house = by_hand(tmp_path)
    house.write()
    path = tmp_path / "score" / "bbh" / "feedback.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0].replace('"seed":0', '"seed":7')]), encoding="utf-8")
    with pytest.raises(UserError, match=rf"feedback\.jsonl:{len(lines) + 1}: .* not in the grid"):
        house.report()
    path.write_text("".join([*lines, lines[0]]), encoding="utf-8")
    with pytest.raises(UserError, match=rf"feedback\.jsonl:{len(lines) + 1}: .* twice for"):
        house.report()


@pytest.mark.parametrize("axis", ["verdict", "base_selector"])
def test_grid_names_what_there_is_not(tmp_path: Path, axis: str) -> None:
    house = by_hand(tmp_path)
    if axis == "verdict":
        house.grid["verdict"] = "other"
        message = r"params\.yaml: grid: no 'other' under verdicts"
    else:
        del house.params["selectors"]["student_logits"]
        message = r"params\.yaml: grid: no 'student_logits' under selectors"
    with pytest.raises(UserError, match=message):
        house.run()
