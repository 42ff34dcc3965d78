"""The report's figures: what they show, that it can be read, and equal bytes.

Covers: every figure of every folder made up here is looked at as drawn: text is literal, at least
6 points, inside the figure and not over other text; a column or the text width; no bitmap fonts;
positions of dots, bars and numbers against the tables; students, seeds, NaN, two items, few
subtasks, no controls, none of the paper's figures; labels with hostile characters; captions; the
same bytes in this process and in a new one with another hash seed.
Does not cover: whether they are beautiful (look at them); the tables themselves.
"""

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from house import FOLLOWING, House, item, large, score, small
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure

from stages import report
from stages.reporting import curve, figure_conditions, figure_subtasks, gallery
from stages.reporting.built import Built
from stages.reporting.figures import (
    CHOOSER_STYLES,
    COLUMN,
    METHOD_STYLES,
    SMALLEST,
    TEXT,
    Key,
    Layout,
    label,
    line,
    marked,
    upper,
    widest,
)
from stages.reporting.settings import read_settings
from stages.reporting.tables import Builder

ROOT = Path(__file__).parents[1]
SLUGS = ("conditions", "matching", "transitions", "subtasks", "best_of_k", "training", "detection")
HOSTILE = r"_$\frac{x}{$ ^#%&~ <script>"


def built(house: House) -> Built:
    house.params["report"]["bootstrap"] = 100
    house.write()
    args = report.parser().parse_args(house.flags("out"))
    return Builder(args, read_settings(args.params)).build()


def without_matches(root: Path) -> House:
    """Two items, one student: nothing is matched at first, under `lazy` and after training."""
    house = small(root)
    house.train = house.train[:1]
    house.items = [item("a", index) for index in range(2)]
    kept = {of.id for of in house.items}
    house.scores = [row for row in house.scores if row.item in kept]
    for at, row in enumerate(house.scores):
        if row.condition in (None, "lazy"):
            of = next(of for of in house.items if of.id == row.item)
            house.scores[at] = score(of, row.condition, "unparsed")
    house.learnt = {("imitative_sft", of.id): "unparsed" for of in house.items}
    house.params["report"]["paper_students"] = {}
    return house


def hostile(root: Path) -> House:
    house = large(root, students=2, seeds=1)
    names = {of.task: f"${of.task[-2:]}^\\_{{x}}_<b>&%#~\u202e" for of in house.items}
    house.items = [of.model_copy(update={"task": names[of.task]}) for of in house.items]
    house.train = [of.model_copy(update={"task": names[of.task]}) for of in house.train]
    house.scores = [row.model_copy(update={"task": names[row.task]}) for row in house.scores]
    labels = {
        "student_0": f"{HOSTILE}\n\\input{{x}}\x07",
        "student_1": "\u5b66\u751f $a$ " + "long " * 40,
        "lazy": "_lazy $1",
        "try_again": "_again $2",
        "tutor": "$t$",
        "feedback_sft": "_sft $3",
        "explicit": "$e_$",
    }
    house.params["report"]["labels"] = labels
    return house


def uncontrolled(root: Path) -> House:
    """No controls, one method, nobody tuned, and a student that is trained further."""
    house = large(root, students=1, seeds=1)
    gone = tuple(house.grid["controls"])
    house.scores = [row for row in house.scores if row.condition not in gone]
    house.params["conditions"] = {
        slug: of for slug, of in house.params["conditions"].items() if slug not in gone
    }
    told = [slug for slug in house.grid["told"] if slug not in gone]
    house.params["grid"] |= {"controls": [], "told": told, "borrowed": [], "own": []}
    methods = house.params["methods"]
    house.params["methods"] = {"feedback_sft": methods["feedback_sft"]}
    house.params["following"] = {"following_sft": FOLLOWING["following_sft"]}
    house.grid["tuned"] = []
    house.grid["learners"] = ["student_0", "student_0-bbh-feedback_sft-0"]
    return house


HOUSES: dict[str, Callable[[Path], House]] = {
    "small": small,
    "without matches": without_matches,
    "hostile": hostile,
    "uncontrolled": uncontrolled,
    "two by two": lambda root: large(root, students=2, seeds=2),
    "three by three": lambda root: large(root, students=3, seeds=3),
}


@dataclass
class Seen:
    """What was drawn.

    Attributes:
        figures: by name of the file.
        texts: by the same: text, points, box in pixels, and whether it was read as mathematics.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    texts: dict[str, list[tuple[str, float, Any, bool]]] = field(default_factory=dict)

    def said(self, name: str) -> list[str]:
        return [text for text, *_ in self.texts[name]]


@contextmanager
def looking() -> Iterator[Seen]:
    """Look at every PNG as it is drawn."""
    found, drawing = Seen(), [""]
    save, draw_text = Figure.savefig, RendererAgg.draw_text

    def saved(self: Figure, to: Path, **options: Any) -> None:
        if to.suffix == ".png":
            drawing[0] = to.stem
            found.figures[to.stem], found.texts[to.stem] = self, []
        save(self, to, **options)
        drawing[0] = ""

    def drawn(
        self: Any, gc: Any, x: Any, y: Any, s: str, prop: Any, angle: float, ismath: Any = False,
        mtext: Any = None,
    ) -> None:  # fmt: skip
        if drawing[0] and mtext is not None:
            box = mtext.get_window_extent(self).extents
            found.texts[drawing[0]].append((s, prop.get_size_in_points(), box, bool(ismath)))
        draw_text(self, gc, x, y, s, prop, angle, ismath, mtext)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", saved)
        patch.setattr(RendererAgg, "draw_text", drawn)
        yield found


@pytest.fixture
def seen() -> Iterator[Seen]:
    with looking() as found:
        yield found


@dataclass(frozen=True)
class Drawn:
    """A run, all its figures as drawn, and the folder that they are in."""

    built: Built
    seen: Seen
    folder: Path

    def panels(self, name: str) -> list[Any]:
        return self.seen.figures[name].axes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Drawn]:
    """Return a house by name, all its figures drawn; each is drawn once."""

    @cache
    def draw(name: str) -> Drawn:
        run = built(HOUSES[name](tmp_path_factory.mktemp("house")))
        folder = tmp_path_factory.mktemp("figures")
        with looking() as found:
            gallery.draw_all(run, folder)
        return Drawn(run, found, folder)

    return draw


@pytest.fixture(params=list(HOUSES))
def each(request: pytest.FixtureRequest, drawn: Callable[[str], Drawn]) -> Drawn:
    return drawn(request.param)


@pytest.fixture
def by_hand(drawn: Callable[[str], Drawn]) -> Drawn:
    return drawn("small")


@pytest.fixture
def many(drawn: Callable[[str], Drawn]) -> Drawn:
    return drawn("two by two")


# Every figure of every run


def test_figures_can_be_read(each: Drawn) -> None:
    assert tuple(each.seen.figures) == SLUGS == tuple(figure.slug for figure in gallery.FIGURES)
    grid = each.built.grid
    models = {"training": grid.learners, "matching": {*grid.students, *grid.learners}}
    for slug, figure in each.seen.figures.items():
        several = len(models.get(slug, grid.students)) > 1
        width = TEXT if several or slug == "subtasks" else COLUMN
        assert figure.get_figwidth() == width
        assert figure.get_figheight() < 9
        texts = each.seen.texts[slug]
        assert min(points for _, points, _, _ in texts) >= SMALLEST
        assert not any(mathematics for *_, mathematics in texts)
        said = np.array([text for text, *_ in texts], dtype=object)
        boxes = np.array([box for _, _, box, _ in texts])
        low, high = boxes[:, :2], boxes[:, 2:]
        outside = (low < -1).any(axis=1) | (high > figure.get_size_inches() * 200 + 1).any(axis=1)
        assert said[outside].tolist() == [], slug
        # Boxes are taller than their ink, which shows where numbers stand close.
        shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
        over = np.triu((shared > (1.5, 4)).all(axis=2), 1)
        assert [(said[one], said[two]) for one, two in np.argwhere(over)] == [], slug


def test_files(each: Drawn) -> None:
    names = {f"{slug}.{suffix}" for slug in SLUGS for suffix in ("pdf", "png", "txt")}
    assert {path.name for path in each.folder.iterdir()} == names
    for figure in gallery.FIGURES:
        pdf = (each.folder / f"{figure.slug}.pdf").read_bytes()
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
        assert box
        assert float(box[1]) / 72 in (COLUMN, TEXT)
        assert b"/Subtype /Type3" not in pdf
        # The scale of colours is one.
        assert b"/Subtype /Image" not in pdf or figure.slug == "subtasks"
        assert b"Date" not in pdf and b"http" not in pdf
        assert (each.folder / f"{figure.slug}.png").read_bytes().startswith(b"\x89PNG")
        text = (each.folder / f"{figure.slug}.txt").read_text(encoding="utf-8")
        assert text == figure.caption(each.built) + "\n"


def test_captions(each: Drawn) -> None:
    run = each.built
    for figure in gallery.FIGURES:
        text = figure.caption(run)
        assert text.isprintable(), figure.slug
        assert text == " ".join(text.split())
        seeds = ", ".join(map(str, run.grid.seeds))
        for said in (f"n = {len(run.results.items)} items", f" {seeds}.", "scale 'tiny'"):
            assert said in text, figure.slug
        interval = "No intervals" if figure.slug == "training" else "95 %"
        assert interval in text, figure.slug
        assert "not comparable" not in text
        laptop = figure.caption(replace(run, scale="laptop"))
        assert "135M model plays both roles" in laptop and "not comparable" in laptop
        for student in run.grid.students:
            assert line(run.config.label(student)) in text


def test_same_bytes_in_a_new_process(many: Drawn, tmp_path: Path) -> None:
    (tmp_path / "built").write_bytes(pickle.dumps(many.built))
    code = (
        "import pickle, sys; from pathlib import Path; from stages.reporting import gallery\n"
        "gallery.draw_all(pickle.loads(Path('built').read_bytes()), Path(sys.argv[1]))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", code, "again"]
    subprocess.run(command, cwd=tmp_path, env=env, check=True)
    for path in sorted(many.folder.iterdir()):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


# What they show


def of_all_items(drawn: Drawn) -> pd.DataFrame:
    table = drawn.built.table3
    return table[table["items"] == "all"]


def xs(panel: Any, marker: str, *, filled: bool = True) -> list[float]:
    """Return where markers stand along x, from the top."""
    lines = [
        line
        for line in panel.get_lines()
        if line.get_marker() == marker and (line.get_markerfacecolor() != "white") is filled
    ]
    points = [xy for line in lines for xy in line.get_xydata() if np.isfinite(xy).all()]
    return [float(x) for x, _ in sorted(points, key=lambda xy: xy[1])]


def test_conditions(by_hand: Drawn) -> None:
    match, scores, ratio = by_hand.panels("conditions")
    # By hand: only `unconstrained` differs from the first answers.
    assert xs(scores, "o") == [2 / 8, 6 / 8, *[2 / 8] * 4, *[2 / 8] * 3]
    assert xs(match, "o") == [6 / 8] * 9
    assert xs(ratio, "o") == pytest.approx([2 / 6, 1, *[2 / 6] * 7])
    assert xs(scores, "D", filled=False) == [0.06, 0.10, 0.09, 0.10, 0.12, 0.10]
    labels = [text.get_text() for text in match.get_yticklabels()]
    assert labels[:6] == [
        *("Baseline", "Unconstrained", "Teacher Answer", "Ground Truth†", "Lazy†", "Regex Focused"),
    ]
    assert labels[6:] == ["Another Item", "Try Again", "Self Feedback"]
    third = of_all_items(by_hand).iloc[0]
    floors = [line.get_xdata()[0] for line in scores.get_lines() if line.get_marker() == "None"]
    assert floors[:2] == [third["chance"], third["majority"]]
    low, high = scores.collections[0].get_segments()[0][:, 0]
    assert (low, high) == (third["score_low"], third["score_high"])


def test_star_where_the_paired_interval_excludes_zero(many: Drawn) -> None:
    table, third = figure_conditions.frame(many.built), of_all_items(many)
    for student, own in table.groupby("student"):
        rows = third[third["student"] == student].set_index("condition_label")
        for row in own[~own["control"]].to_dict(orient="records"):
            of = rows.loc[row["label"].removesuffix("†")]
            apart = of["difference_low"] > 0 or of["difference_high"] < 0
            assert row["differs"] == (apart and not of["sees_target"])
    assert table["differs"].sum() == many.seen.said("conditions").count("*") > 0
    # Each seed's own score.
    panel = many.panels("conditions")[1]
    assert len(xs(panel, "|")) == 2 * len(table) / 2


def test_nothing_matched_is_said(drawn: Callable[[str], Drawn]) -> None:
    run = drawn("without matches")
    seen = run.seen
    assert seen.said("conditions").count("nothing matched") == 2
    assert "nothing matched: Baseline, Lazy" in seen.said("matching")
    assert seen.said("detection").count("undefined") == 4  # nothing was right
    assert not any(xs(panel, "D", filled=False) for panel in run.panels("conditions"))
    assert "Paper" not in seen.said("conditions")
    assert "Hollow" not in figure_conditions.caption(run.built)


def test_matching_puts_scores_on_their_curves(many: Drawn) -> None:
    third = of_all_items(many).set_index(["student", "condition"])
    first = many.panels("matching")[0]
    points = {tuple(np.round(xy, 9)) for line in first.get_lines() for xy in line.get_xydata()}
    for condition in ("baseline", "lazy"):
        row = third.loc["student_0", condition]
        assert tuple(np.round(row[["match_rate", "correct_if_matched"]].astype(float), 9)) in points
        assert row["match_rate"] * row["correct_if_matched"] == pytest.approx(row["score"])
        printed = row[["match_rate_paper", "correct_if_matched_paper"]].astype(float)
        assert tuple(np.round(printed, 9)) in points
    names = [float(text) for text in many.seen.said("matching") if re.fullmatch(r"0\.\d+", text)]
    curves = [line.get_xydata() for line in first.get_lines() if line.get_color() == "#C8C8C8"]
    for xy in curves:
        assert np.ptp(xy.prod(axis=1)) < 1e-9
        assert round(xy[0].prod(), 9) in {0.02, *names}


def test_transitions(by_hand: Drawn) -> None:
    moved, whole = by_hand.panels("transitions")
    bars = [(bar.get_x(), bar.get_width()) for bar in moved.patches if bar.get_height() < 0.9]
    count = len(by_hand.built.transitions)
    won, lost = bars[:count], bars[count:]
    assert won[0] == (0, 4 / 8)
    assert [width for _, width in won[1:]] == [0.0] * (count - 1)
    assert [width for _, width in lost] == [0.0] * count
    parts = [bar for bar in whole.patches if bar.get_height() < 0.9]
    ends: dict[float, float] = {}
    for bar in parts:
        row = round(bar.get_y(), 3)
        assert bar.get_x() == pytest.approx(ends.get(row, 0.0))
        ends[row] = bar.get_x() + bar.get_width()
    assert list(ends.values()) == pytest.approx([1.0] * count)


def test_subtasks(by_hand: Drawn, many: Drawn) -> None:
    wide = figure_subtasks.frames(by_hand.built)["small"]
    assert list(wide.index[:2]) == ["baseline", "unconstrained"]
    assert list(wide.index[-3:]) == list(by_hand.built.grid.controls)
    # By hand: 1 of 4 is right, 3 of 4 under `unconstrained`; two options each.
    assert wide.loc["baseline"].tolist() == [-25, -25]
    assert wide.loc["unconstrained"].tolist() == [25, 25]
    said = by_hand.seen.said("subtasks")
    assert (said.count("-25"), said.count("25"), said.count("50")) == (16, 2, 2)
    said = many.seen.said("subtasks")
    assert set(many.built.subtasks["task"]) <= set(said)
    cells = 27 * 9 * 2
    numbers = [text for text in said if re.fullmatch(r"-?\d+", text)]
    assert len(numbers) == cells + 27


def test_subtask_that_a_student_lacks(many: Drawn, seen: Seen, tmp_path: Path) -> None:
    table = many.built.subtasks
    gone = (table["student"] == "student_1") & (table["task"] == "subtask_03")
    figure_subtasks.draw(replace(many.built, subtasks=table[~gone]), tmp_path / "x")
    first, second = (panel.collections[0].get_array() for panel in seen.figures["x"].axes[:2])
    whole = figure_subtasks.frames(many.built)["student_1"]
    assert first.shape == second.shape == whole.shape
    assert second.mask[:, 3].all() and second.mask.sum() == len(whole)
    assert (
        second.compressed().tolist() == whole.drop(columns="subtask_03").to_numpy().ravel().tolist()
    )
    assert seen.said("x").count("·") == len(whole)


def test_best_of_k(many: Drawn, seen: Seen, tmp_path: Path) -> None:
    table = many.built.best_of_k
    curve.draw(table, tmp_path / "x", 0.3)
    panels = seen.figures["x"].axes
    own = table[(table["student"] == "student_1") & (table["pool"] == "conditioned")]
    (oracle,) = [line for line in panels[3].get_lines() if line.get_marker() == "*"]
    assert list(oracle.get_ydata()) == list(own[own["chooser"] == "oracle"]["score"])
    assert "chance floor" in seen.said("x")
    curve.draw(table, tmp_path / "y")
    assert "chance floor" not in seen.said("y")


def test_training(many: Drawn) -> None:
    sft, dpo, margin = many.panels("training")[:3]
    methods = many.built.curves.drop_duplicates("method").set_index("method")["objective"]
    assert len(sft.get_lines()) == (methods == "sft").sum()
    assert len(dpo.get_lines()) == len(margin.get_lines()) == (methods == "dpo").sum()
    assert list(sft.get_lines()[0].get_ydata()) == [2.4, 2.3]
    caption = next(f for f in gallery.FIGURES if f.slug == "training").caption(many.built)
    assert "runs averaged at a step: 2)" in caption


def test_training_without_dpo(tmp_path: Path, many: Drawn, seen: Seen) -> None:
    curves = many.built.curves[many.built.curves["objective"] == "sft"]
    (training,) = [figure for figure in gallery.FIGURES if figure.slug == "training"]
    training.draw(replace(many.built, curves=curves), tmp_path / "training")
    assert len(seen.figures["training"].axes) == 2  # a panel a learner
    assert not any("DPO" in text for text in seen.said("training"))


def test_detection(many: Drawn) -> None:
    panels, table = many.panels("detection"), many.built.table2
    explicit = table[table["verdict"] == "explicit"]
    for panel, metric in zip(panels, ("recall", "specificity", "balanced_accuracy"), strict=False):
        assert xs(panel, "o") == pytest.approx(explicit[metric].dropna().tolist())
    assert xs(panels[0], "D", filled=False) == [0.65, 0.82]
    implied = explicit["specificity_implied"].tolist()
    assert xs(panels[1], "D", filled=False) == pytest.approx(implied)
    caption = next(f for f in gallery.FIGURES if f.slug == "detection").caption(many.built)
    for row in explicit.to_dict(orient="records"):
        assert (
            f"{row['fp'] + row['tn']} of {row['trajectories']} ({row['student_label']})" in caption
        )


# Text, styles, keys


def test_hostile_text_is_literal(drawn: Callable[[str], Drawn]) -> None:
    run = drawn("hostile")
    seen = run.seen
    for slug in SLUGS:
        if slug != "detection":
            assert f"{HOSTILE} \\input{{x}}" in seen.said(slug)
    assert "$e_$ verdict" in seen.said("detection")
    assert {"_lazy $1†", "_again $2"} <= set(seen.said("conditions"))
    # A key would leave out what starts with an underscore.
    assert "\u200b_lazy $1" in seen.said("matching")
    assert "\u200b_sft $3" in seen.said("training")
    assert any(text.startswith("$00^\\_{x}_<b>&%#~") for text in seen.said("subtasks"))
    for figure in gallery.FIGURES:
        caption = figure.caption(run.built)
        assert "\u202e" not in caption and "\x07" not in caption and "\u5b66" in caption


def test_labels() -> None:
    assert label("a\n b\t\x00c\u202e") == "a b c"
    long = label("W" * 60)
    assert long.endswith("W…") and 1.2 < widest([long]) <= 1.3
    longest = "tracking_shuffled_objects_three_objects"
    assert label(longest, 2.2, SMALLEST) == longest
    assert label("\u5b66a") == "\ufffda"
    assert line("\u5b66 a\r\nb") == "\u5b66 a b"


def test_styles_differ_without_colour() -> None:
    for styles in (CHOOSER_STYLES.values(), METHOD_STYLES):
        assert len({style["marker"] for style in styles}) == len(styles)
        assert len({style["color"] for style in styles}) == len(styles)


def test_key_is_as_narrow_as_it_says() -> None:
    style = METHOD_STYLES[0]
    entries = [(("word " * length).strip(), marked(style)) for length in (1, 3, 2, 2, 3, 4, 1)]
    for width in (COLUMN, TEXT):
        key = Key(entries, width)
        parts = np.array_split(np.array([text for text, _ in entries], dtype=object), key.columns)
        assert sum(widest(part) for part in parts) < width
        assert key.height < 1.2
    assert Key(entries, TEXT).columns > Key(entries, COLUMN).columns > 1


def test_layout_fills_the_figure() -> None:
    layout = Layout([1.0, 2.0], (1, 3), left=0.5, right=0.1, across=0.2, bottom=0.3, top=0.4)
    panels = np.array(layout.panels()) * [5.5, layout.height, 5.5, layout.height]
    assert layout.height == pytest.approx(0.4 + 1 + 0.4 + 2 + 0.3)
    assert panels[0, 1, 0] + panels[0, 1, 2] == pytest.approx(5.4)
    assert panels[1, 0, 1] == pytest.approx(0.3)
    assert panels[0, 0, 1] + panels[0, 0, 3] == pytest.approx(layout.height - 0.4)
    assert panels[0, 1, 2] == pytest.approx(3 * panels[0, 0, 2])


def test_upper_end_of_an_axis() -> None:
    assert upper([[np.nan], [0.5, np.nan]]) == pytest.approx(0.52)
    assert upper([[1.0]]) == 1.02
    assert upper([[np.nan]]) == pytest.approx(0.104)
