"""`python -m stages.audit`: agreement of two raters.

Covers: kappa against scikit-learn, plain and weighted; weights; intervals; where kappa is not
defined; what is printed; wrong files. Does not cover: the bootstrap itself (test_stats.py), how
marks are made (test_explorer_browser.py), the sample (test_explorer.py).
"""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from sklearn.metrics import cohen_kappa_score

from stages.audit import Pair, agreement, main, parser, read_pairs, report, weights
from stages.auditing import NOISES, TRANSITIONS, Mark, Noise, Sample, Sampled, Stratum
from stages.errors import UserError

POPULATIONS = dict(zip(TRANSITIONS, (40, 300, 90, 1000), strict=True))
KINDS: tuple[Noise, ...] = ("failing_to_match", "insufficient_ability")
Types = list[str] | None


def sample(*sizes: int) -> Sample:
    rows = [
        Sampled(row=f"bbh/{name}/{n}@revise/lazy/small/0", transition=name, text="")
        for name, size in zip(TRANSITIONS, sizes, strict=True)
        for n in range(size)
    ]
    strata = {
        name: Stratum(population=POPULATIONS[name] if size else 0, sampled=size)
        for name, size in zip(TRANSITIONS, sizes, strict=True)
    }
    return Sample(digest="d" * 16, seed=0, strata=strata, rows=tuple(rows))


class Files:
    """A sample and two raters' files in a folder."""

    def __init__(self, root: Path, *sizes: int) -> None:
        self.root = root
        self.sample = sample(*(sizes or (6, 6, 6, 6)))
        (root / "audit.json").write_text(self.sample.model_dump_json(), encoding="utf-8")
        self.marks: dict[str, dict[str, Any]] = {"ann": {}, "ben": {}}

    def mark(self, rater: str, place: int, types: Types, note: str = "") -> None:
        name = self.sample.rows[place].row
        self.marks[rater][name] = {"types": types, "note": note}

    def mark_all(self, seed: int = 0) -> None:
        rng = random.Random(seed)
        for place, row in enumerate(self.sample.rows):
            often = 0.7 if row.transition == "wrong_wrong" else 0.3
            first = [kind for kind in KINDS if rng.random() < often]
            second = [kind for kind in KINDS if (kind in first) ^ (rng.random() < 0.2)]
            self.mark("ann", place, first)
            self.mark("ben", place, second)

    def path(self, rater: str, /, **more: object) -> Path:
        path = self.root / f"{rater}.json"
        values = {"format": 1, "sample": self.sample.digest, "rater": rater}
        text = json.dumps(values | {"marks": self.marks[rater]} | more)
        path.write_text(text, encoding="utf-8")
        return path

    def pairs(self) -> list[Pair]:
        return read_pairs(self.sample, self.path("ann"), self.path("ben"))[2]

    def run(self, *more: str) -> list[str]:
        first, second = (str(self.path(rater)) for rater in self.marks)
        return [first, second, "--sample", str(self.root), "--draws", "300", *more]


def labels(pairs: list[Pair], noise: Noise) -> tuple[list[bool], list[bool]]:
    first = [noise in (pair.first.types or ()) for pair in pairs]
    second = [noise in (pair.second.types or ()) for pair in pairs]
    return first, second


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", KINDS)
def test_kappa_is_that_of_scikit_learn(tmp_path: Path, seed: int, noise: Noise) -> None:
    files = Files(tmp_path, 9, 12, 7, 20)
    files.mark_all(seed)
    pairs = files.pairs()
    first, second = labels(pairs, noise)
    weighted = weights(pairs, files.sample)
    for weight in ([1.0] * len(pairs), weighted):
        found = agreement(pairs, weight, noise, 200, 0)
        assert found.kappa == pytest.approx(
            cohen_kappa_score(first, second, sample_weight=weight), abs=1e-12
        )
        assert found.first == pytest.approx(np.average(first, weights=weight))
        assert found.second == pytest.approx(np.average(second, weights=weight))
        assert found.agreed == pytest.approx(np.average(np.equal(first, second), weights=weight))


def test_a_retry_stands_for_its_share_of_its_transition(tmp_path: Path) -> None:
    files = Files(tmp_path, 2, 3, 1, 4)
    files.mark_all()
    # Of two, one is marked: it stands for both.
    files.mark("ben", 0, None)
    pairs = files.pairs()
    assert weights(pairs, files.sample) == [40, 100, 100, 100, 90, 250, 250, 250, 250]


def test_the_interval_holds_kappa_and_narrows(tmp_path: Path) -> None:
    widths = []
    for size in (10, 90):
        root = tmp_path / str(size)
        root.mkdir()
        files = Files(root, size, size, size, size)
        files.mark_all()
        pairs = files.pairs()
        found = agreement(pairs, weights(pairs, files.sample), KINDS[0], 2000, 0)
        assert found.low < found.kappa < found.high
        widths.append(found.high - found.low)
    # Nine times as many: a third as wide, within what is left to chance.
    assert 2 < widths[0] / widths[1] < 4.5


def test_the_interval_covers_the_true_kappa(tmp_path: Path) -> None:
    """Raters who each tell a trait of half of all retries rightly in 90 %: kappa is 0.64."""
    rng = np.random.default_rng(0)
    covered, rounds = 0, 200
    rows = [Sampled(row=str(n), transition="wrong_wrong", text="") for n in range(100)]
    for _ in range(rounds):
        truth = rng.random(100) < 0.5
        first, second = (truth ^ (rng.random(100) < 0.1) for _ in range(2))
        pairs = [
            Pair(row, *(Mark(types=(KINDS[0],) if seen else ()) for seen in both))
            for row, *both in zip(rows, first, second, strict=True)
        ]
        found = agreement(pairs, [1.0] * 100, KINDS[0], 500, 1)
        covered += found.low <= 0.64 <= found.high
    assert 0.90 <= covered / rounds <= 0.99


def test_where_nobody_sees_a_kind_kappa_is_not_defined(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.mark_all()
    pairs = files.pairs()
    found = agreement(pairs, weights(pairs, files.sample), "task_reinterpretation", 100, 0)
    assert (found.first, found.second, found.agreed) == (0, 0, 1)
    assert np.isnan([found.kappa, found.low, found.high]).all()
    assert found.dropped == 100


def test_resamples_without_kappa_are_counted(tmp_path: Path) -> None:
    files = Files(tmp_path, 0, 0, 0, 8)
    for place in range(8):
        files.mark("ann", place, ["failing_to_match"] if place == 0 else [])
        files.mark("ben", place, ["failing_to_match"] if place == 0 else [])
    found = agreement(files.pairs(), [1.0] * 8, "failing_to_match", 500, 0)
    assert found.kappa == 1
    assert 0 < found.dropped < 500
    ann, ben, pairs = read_pairs(files.sample, files.path("ann"), files.path("ben"))
    text = report(files.sample, ann, ben, pairs, 500, 0)
    assert f"Failing to Match: {found.dropped} of 500 resamples have no kappa" in text


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = Files(tmp_path, 4, 0, 4, 4)
    for place in range(12):
        types: Types = ["failing_to_match"] if place % 2 else []
        files.mark("ann", place, types)
        files.mark("ben", place, types)
    files.mark("ben", 3, ["insufficient_ability"], note="unsure\n\x1b[31mred")
    del files.marks["ann"][files.sample.rows[11].row]
    main(parser().parse_args(files.run()))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["A  ann", "B  ben", "11 of 12 retries marked by both"]
    assert "all, weighted back to 1130 retries: n = 11" in lines
    for title in ("wrong -> right: n = 4", "right -> wrong: n = 4", "wrong -> wrong: n = 3"):
        assert title in lines
    assert not any(line.startswith("right -> right") for line in lines)
    head = lines.index("wrong -> right: n = 4")
    assert lines[head + 1].split() == ["A", "B", "agreed", "kappa", "95", "%", "interval"]
    # Two of four against one of four, agreed on three: kappa is (0.75 - 0.5) / 0.5.
    assert lines[head + 2].split()[3:7] == ["50.0%", "25.0%", "75.0%", "0.50"]
    at = lines.index("marked differently: 1")
    assert lines[at + 1 :] == [
        f"  {files.sample.rows[3].row}",
        "    A  failing_to_match",
        "    B  insufficient_ability; unsure  [31mred",
    ]


def test_a_transition_of_which_nothing_is_marked_is_named(tmp_path: Path) -> None:
    files = Files(tmp_path, 2, 2, 2, 2)
    files.mark_all()
    for place in (2, 3):
        files.mark("ben", place, None)
    ann, ben, pairs = read_pairs(files.sample, files.path("ann"), files.path("ben"))
    text = report(files.sample, ann, ben, pairs, 100, 0)
    assert "all, weighted back to 1130 retries (nothing marked of right -> right): n = 6" in text


def test_the_order_of_the_files_is_that_of_the_raters_only(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.mark_all()
    pairs = files.pairs()
    turned = [Pair(pair.row, pair.second, pair.first) for pair in pairs]
    weighted = weights(pairs, files.sample)
    for noise in NOISES:
        one, other = (agreement(each, weighted, noise, 200, 0) for each in (pairs, turned))
        assert one[2:] == pytest.approx(other[2:], nan_ok=True)


def wrong(tmp_path: Path, **more: object) -> str:
    files = Files(tmp_path)
    files.mark_all()
    with pytest.raises(UserError) as raised:
        read_pairs(files.sample, files.path("ann"), files.path("ben", **more))
    return str(raised.value).removeprefix(str(tmp_path))


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"sample": "e" * 16}, f"/ben.json: marks another sample ({'e' * 16}, not {'d' * 16})"),
        ({"format": 2}, "/ben.json: format: Input should be 1"),
        ({"rater": "a b"}, "/ben.json: rater: String should match pattern"),
        ({"marks": {"x@y": {"types": []}}}, "/ben.json: x@y is not in the sample"),
        ({"marks": {"x": {"types": ["nonsense"]}}}, "/ben.json: marks.x.types.0: Input should be"),
        (
            {"marks": {"x": {"types": ["failing_to_match"] * 2}}},
            "/ben.json: marks.x: Value error, a type stands there twice",
        ),
        ({"marks": {}}, "no retry is marked in both"),
        ({"more": 1}, "/ben.json: more: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, more: dict[str, object], complaint: str) -> None:
    assert complaint in wrong(tmp_path, **more)


def test_one_rater_does_not_agree_with_himself(tmp_path: Path) -> None:
    assert "by the same rater as" in wrong(tmp_path, rater="ann")


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.mark_all()
    not_json = tmp_path / "notes.txt"
    not_json.write_text("seen\nall\n", encoding="utf-8")
    ann = str(files.path("ann"))
    for arguments, complaint in (
        ([ann, str(not_json)], f"{not_json}: Invalid JSON"),
        ([ann, str(tmp_path / "none.json")], "none.json: no such file"),
        ([ann, str(tmp_path)], "is a folder"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "stages.audit", *arguments, "--sample", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        assert complaint in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_an_empty_sample_has_no_agreement(tmp_path: Path) -> None:
    files = Files(tmp_path, 0, 0, 0, 0)
    with pytest.raises(UserError, match="no retry is marked in both"):
        files.pairs()


def test_the_command_is_deterministic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = Files(tmp_path)
    files.mark_all()
    texts = []
    for _ in range(2):
        main(parser().parse_args(files.run()))
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_every_transition_has_a_stratum() -> None:
    made = sample(1, 1, 1, 1).model_dump(mode="json")
    del made["strata"]["right_wrong"]
    with pytest.raises(ValueError, match="not the four transitions"):
        Sample.model_validate_json(json.dumps(made))
