"""The page: index.html and differ.html.

Covers: figures and keys of cells against the frames; structure that a reader with a screen reader
or a keyboard needs (headings, ids, captions, alt text); links that all lead somewhere; nothing
loaded from elsewhere, and the policy that says so; hostile words in every frame; parts that a run
lacks; tolerances by hand and by simulation; equal bytes.
Does not cover: what a browser makes of it (test_page_browser.py), how it looks, and the tables'
own figures (test_tables.py and others).
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from house import House, large, small
from test_games_tables import KINDS, GamesHouse, many

from stages import report
from stages.reporting import points, sensitivity
from stages.reporting.built import Built
from stages.reporting.claims import COLUMNS, Claims
from stages.reporting.facts import Facts
from stages.reporting.page import cells, pages, tolerances
from stages.reporting.page.table import Column, Shelf
from stages.reporting.settings import read_settings
from stages.reporting.tables import Builder
from stages.tasks.environments import registry

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "'' onmouseover=alert(1) x='",
    "a\u2028b\u202ec\x00d",
    "</style></script></title><b>",
    "{{ 7 * 7 }}{% raw %}",
)
FILES = ("tables/table3.csv", "tables/table3.tex", "tables/table3_beside.tex", "metrics.json")
VOID = {"meta", "img", "br", "hr", "link", "input"}


def claims(text: str = "Feedback helps") -> Claims:
    """Return five claims of made-up verdicts."""
    verdicts = ["supported", "contradicted", "undecided", "not_tested", "undecided"]
    base: dict[str, Any] = dict.fromkeys(COLUMNS, nan)
    rows = [
        {
            **base,
            "id": f"claim_{at}",
            "section": "5.1",
            "claim": f"{text} {at}",
            "verdict": verdict,
            "estimate": 0.01 * at - 0.02,
            "low": -0.1,
            "high": 0.1,
            "n": 54.0,
            "counted": False,
            "detail": f"One arm less another: {text}",
        }
        for at, verdict in enumerate(verdicts)
    ]
    ours = pd.DataFrame(rows)
    ours.loc[3, ["estimate", "low", "high"]] = nan
    printed = ours.assign(verdict=ours["verdict"].iloc[::-1].to_numpy(), estimate=0.5, n=3811.0)
    printed.loc[4, ["estimate", "low", "high", "counted"]] = [3.0, 1.0, 8.0, True]
    odd = ours.head(2).assign(verdict=["inconsistent", "consistent"], follows=text, note=text)
    return Claims(ours, printed, odd)


def facts(text: str = "torch") -> Facts:
    """Return facts of two cells of one model."""
    row = {
        "step": "respond",
        "suite": "bbh",
        "cell": "a",
        "who": text,
        "requests": 54,
        "prompt_tokens": 9314,
        "completion_tokens": 3533,
        "seconds": 20.5,
        "seconds_to_open": 3.1,
        "usd": 0.0,
        "axes": {},
    }
    model = {"who": text, "engine": text, "revision": "0" * 40, "torch": text, "cells": 2}
    return Facts(pd.DataFrame([row, {**row, "step": text, "usd": nan}]), pd.DataFrame([model]))


def costs(text: str = "Unconstrained") -> pd.DataFrame:
    """Return the cost of a point gained, of one row that gains and one that does not."""
    base: dict[str, Any] = dict.fromkeys(points.COLUMNS, 1.25)
    words = {"student": "s", "student_label": text, "kind": text, "row": text, "paid": text}
    lost = {name: nan for name in points.COLUMNS if "_per_point" in name}
    return pd.DataFrame([{**base, **words}, {**base, **words, **lost, "gain": -1.0}])


def wordings(text: str = "first") -> pd.DataFrame:
    """Return one prompt in three wordings."""
    base: dict[str, Any] = dict.fromkeys(sensitivity.COLUMNS, nan)
    own = {
        "student": "s",
        "student_label": text,
        "prompt": text,
        "metric": "score",
        "metric_label": "Score",
        "n": 54,
        "seeds": 1,
        "estimate": 0.1,
        "low": 0.0,
        "high": 0.2,
    }
    moved = {"difference": -0.07, "difference_low": -0.1, "difference_high": -0.01, "p_holm": 0.04}
    return pd.DataFrame(
        [
            {**base, **own, "variant": "ours"},
            {**base, **own, "variant": text, **moved},
            {**base, **own, "variant": text, **moved, "metric": "flagged", "difference": 0.9},
        ]
    )


def figures(text: str = "The score over k") -> list[pages.Figure]:
    return [pages.Figure("best_of_k", text, f"{text}. Bars: 95 % intervals.")]


def built_of(house: House | GamesHouse) -> Built:
    """Build the tables of a house."""
    house.write()
    args = report.parser().parse_args(house.flags("out"))
    return Builder(args, read_settings(args.params)).build()


def whole(built: Built, text: str = "Words") -> dict[str, str]:
    """Build the pages with all that they can hold."""
    return pages.build(
        built,
        figures=figures(text),
        claims=claims(text),
        facts=facts(text),
        points=costs(text),
        sensitivity=wordings(text),
        files=FILES,
    )


@dataclass
class Element:
    """An element: its tag, attributes, text and elements within."""

    tag: str
    attributes: Mapping[str, str]
    inside: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, *tags: str) -> Iterator["Element"]:
        """Yield elements below, in their order; all of them without a tag."""
        for element in self.inside:
            if not tags or element.tag in tags:
                yield element
            yield from element.all(*tags)

    def words(self) -> str:
        """Return the text of this element and those below, in one line."""
        return " ".join((self.text + " " + " ".join(e.words() for e in self.inside)).split())


class _Parser(HTMLParser):
    """Reads HTML in which every element is closed; anything else is a mistake of ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open = [Element("", {})]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data


def parse(text: str) -> Element:
    parser = _Parser(text)
    (root,) = parser.open
    return root


def by_id(root: Element, slug: str) -> Element:
    (found,) = [element for element in root.all() if element.attributes.get("id") == slug]
    return found


def grid(root: Element, slug: str) -> list[list[str]]:
    """Return the words of a table's rows of cells."""
    rows = [row for body in by_id(root, slug).all("tbody") for row in body.all("tr")]
    return [
        [cell.words() for cell in row.inside]
        for row in rows
        if row.attributes.get("class") != "group"
    ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One student, one seed, no games."""
    return built_of(small(tmp_path_factory.mktemp("plain")))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two students, two seeds."""
    return built_of(large(tmp_path_factory.mktemp("several"), students=2, seeds=2))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two students, two seeds, games and other teachers."""
    made = many(tmp_path_factory.mktemp("played"), each=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "kind", KINDS.__getitem__)
        return built_of(made)


@pytest.fixture(params=["plain", "several", "played"])
def any_built(request: pytest.FixtureRequest) -> Built:
    built: Built = request.getfixturevalue(request.param)
    return built


# Cells


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.114, "0.11"), (-0.036, "−0.04"), (-0.001, "0.00"), (nan, "–"), (1234.5, "1,234.50")],
)
def test_numbers(value: float, text: str) -> None:
    assert cells.number(value) == text


def test_a_figure_and_its_interval_are_one_cell_that_sorts_by_the_figure() -> None:
    row = {"score": 1 / 3, "score_low": 0.1, "score_high": nan}
    assert cells.rate("score")(row) == cells.Cell("0.33", "", 0.333333)
    cell = cells.rate("score")({**row, "score_high": 0.5})
    assert (cell.text, cell.interval, cell.key) == ("0.33", "[0.10, 0.50]", 0.333333)
    assert cells.rate("score")({**row, "score": nan}) == cells.Cell("–")
    assert cells.printed("x")({"x": "1.0"}) == cells.Cell("1.0", key=1.0)
    assert cells.printed("x")({"x": ""}) == cells.Cell("–")


@pytest.mark.parametrize(
    ("low", "high", "oracle", "bold"),
    [
        (0.01, 0.2, False, True),
        (-0.2, -0.01, False, True),
        (0.0, 0.2, False, False),
        (0.01, 0.2, True, False),
        (nan, nan, False, False),
    ],
)
def test_bold_where_the_interval_of_a_difference_excludes_0(
    low: float, high: float, oracle: bool, bold: bool
) -> None:
    row = {"d": 0.1, "d_low": low, "d_high": high, "oracle": oracle}
    assert cells.rate("d", difference=True, never="oracle")(row).strong is bold
    assert not cells.rate("d")(row).strong


def test_groups_name_only_what_differs() -> None:
    frame = pd.DataFrame({"who": "one", "block": ["a", "b", "a"], "n": [1, 2, 3]})
    shelf = Shelf()
    shelf.put("own", frame, [Column("n", cells.count("n"))], ("who", "block"))
    groups = {
        group.label: [row[0].text for row in group.rows] for group in shelf.tables["own"].groups
    }
    assert groups == {"a": ["1", "3"], "b": ["2"]}


# The pages


def test_table_3_is_that_of_the_frame(several: Built) -> None:
    page = parse(whole(several)["index.html"])
    frame = several.table3[several.table3["items"] == "all"]
    rows = grid(page, "table3")
    assert len(rows) == len(frame) == 2 * 6
    for row, of in zip(rows, frame.to_dict(orient="records"), strict=True):
        assert row[0] == of["condition_label"] + (" †" if of["sees_target"] else "")
        ends = f"[{of['score_low']:.2f}, {of['score_high']:.2f}]"
        assert row[3:5] == [f"{of['score']:.2f} {ends}", of["score_paper"]]
        assert row[-1] == str(of["n"])
    keys = [e.attributes.get("data-key") for e in by_id(page, "table3").all("td")]
    assert [float(key or nan) for key in keys[2 :: len(rows[0]) - 1]] == pytest.approx(
        list(frame["score"]), abs=1e-6
    )
    heads = [e.words() for e in by_id(page, "table3").all("tr") if e.attributes.get("class")]
    assert heads == ["Student-0-Instruct", "Student-1-Instruct"]
    text = by_id(page, "table3-caption").words()
    for part in ("n = 54 items of 27 subtasks", "seeds 0 and 1", "95 % intervals", "Student-0"):
        assert part in text


def test_the_laptops_caution_stands_at_its_scale_only(plain: Built) -> None:
    caution = "not comparable with the paper"
    own = replace(plain, scale="laptop")
    assert caution in parse(pages.build(own)["index.html"]).words()
    assert caution not in parse(pages.build(plain)["index.html"]).words()


def test_structure(any_built: Built) -> None:
    texts = whole(any_built)
    roots = {name: parse(text) for name, text in texts.items()}
    ids = {
        name: [e.attributes["id"] for e in root.all() if "id" in e.attributes]
        for name, root in roots.items()
    }
    for name, root in roots.items():
        assert texts[name].lower().startswith("<!doctype html>")
        assert len(ids[name]) == len(set(ids[name]))
        levels = [int(e.tag[1]) for e in root.all("h1", "h2", "h3", "h4")]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert {"main", "nav", "footer"} <= {e.tag for e in root.all()}
        for element in root.all():
            for attribute, value in element.attributes.items():
                assert not attribute.startswith("on") and attribute != "style"
                if attribute in ("aria-labelledby", "aria-describedby", "data-table"):
                    assert value in ids[name]
        for image in root.all("img"):
            assert image.attributes["alt"] == "Plot: Words. Words."
        for table in root.all("table"):
            heads = [e.attributes for e in table.all("th") if "data-column" in e.attributes]
            places, width = [int(head["data-column"]) for head in heads], len(heads)
            assert sorted(places) == list(range(width))
            for row in [row for body in table.all("tbody") for row in body.all("tr")]:
                assert sum(int(e.attributes.get("colspan", 1)) for e in row.inside) == width
                assert row.inside[0].attributes["scope"] in ("row", "rowgroup")
        for figure in root.all("figure"):
            assert len([*figure.all("figcaption")]) == 1


def test_links_lead_somewhere(any_built: Built) -> None:
    roots = {name: parse(text) for name, text in whole(any_built).items()}
    ids = {
        name: {e.attributes["id"] for e in root.all() if "id" in e.attributes}
        for name, root in roots.items()
    }
    known = {
        *FILES,
        *roots,
        "explorer/index.html",
        "figures/best_of_k.pdf",
        "figures/best_of_k.png",
    }
    for name, root in roots.items():
        for element in root.all():
            for target in (element.attributes.get("href"), element.attributes.get("src")):
                if target is not None:
                    file, _, anchor = target.partition("#")
                    assert not file or file in known, target
                    assert not anchor or anchor in ids[file or name], target
    linked = {e.attributes["href"] for e in roots["index.html"].all("a")}
    assert set(FILES) <= linked


def test_nothing_is_loaded_and_the_policy_names_what_runs(several: Built) -> None:
    for text in whole(several).values():
        root = parse(text)
        assert (
            "http://" not in text
            and "https://" not in text
            and "//" not in re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)
        )
        (policy,) = [
            e.attributes["content"] for e in root.all("meta") if "http-equiv" in e.attributes
        ]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        for tag in ("style", "script"):
            (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
            digest = b64encode(sha256(inside.encode()).digest()).decode()
            assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
        assert "unsafe" not in policy and "link" not in {e.tag for e in root.all()}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_words(played: Built, text: str) -> None:
    labels = {slug: text + label for slug, label in played.labels.items()}
    config = played.config.model_copy(update={"labels": labels})
    own = replace(
        played,
        labels=labels,
        config=config,
        scale=text,
        table3=played.table3.assign(condition_label=text, student_label=text),
        outcomes=played.outcomes.assign(step=text, model=text, condition=text),
        runs=played.runs.assign(fallbacks=text, preset=text),
    )
    benign, hostile = whole(played), whole(own, text)
    for name, page in hostile.items():
        root, before = parse(page), parse(benign[name])
        assert {e.tag for e in root.all()} == {e.tag for e in before.all()}
        assert len([*root.all("script")]) == len([*root.all("style")]) == 1
        names = {attribute for e in root.all() for attribute in e.attributes}
        assert names <= {attribute for e in before.all() for attribute in e.attributes}
        for element in root.all("a"):
            assert not element.attributes["href"].startswith("javascript")
        assert not re.search("[\x00-\x08\u2028\u202e\ud800-\udfff]", page)
    shown = re.sub("[\x00\u2028\u202e\ud800]", "\ufffd", text)
    assert grid(parse(hostile["index.html"]), "table3")[0][0] == " ".join(shown.split())


def test_half_a_character_does_not_stop_the_page(plain: Built) -> None:
    text = pages.build(plain, figures=figures("a\ud800b"))["index.html"]
    assert "a\ufffdb" in text.encode("utf-8").decode("utf-8")


def test_parts_that_a_run_lacks_are_left_out(plain: Built) -> None:
    root = parse(pages.build(plain)["index.html"])
    ids = {e.attributes["id"] for e in root.all() if "id" in e.attributes}
    assert not ids & {"table6", "table7", "table8", "claims", "figures", "facts", "prompts"}
    assert {"table2", "table3", "table4", "table5", "controls", "outcomes", "cite"} <= ids
    assert not [e for e in root.all("a") if e.attributes["href"].startswith("tables/")]


def test_a_table_without_rows_says_so(plain: Built) -> None:
    fifth = plain.table5._replace(contrasts=plain.table5.contrasts.iloc[:0])
    empty = {name: getattr(plain, name).iloc[:0] for name in ("runs", "cleaning", "controls")}
    root = parse(pages.build(replace(plain, table5=fifth, **empty))["index.html"])
    for slug in ("table5-pairs", "training", "cleaning", "controls", "controls-more"):
        figure = by_id(root, slug)
        assert "No rows in this run." in figure.words() and not [*figure.all("table")]


def test_all_tables_are_there(played: Built) -> None:
    root = parse(whole(played)["index.html"])
    found = {e.attributes["id"] for e in root.all("figure") if "id" in e.attributes}
    extra = {"controls", "transitions", "cleaning", "games_retry", "forgetting", "outcomes"}
    asked = {*(f"table{n}" for n in range(2, 9)), *extra, "best_of_k", "claims", "inconsistencies"}
    assert asked | {"models", "steps", "points", "sensitivity"} <= found
    sixth = grid(root, "table6")
    columns = list(dict.fromkeys(played.games.table6.arms["column"])) if played.games else []
    assert len(sixth[0]) == 1 + len(columns) + 3
    # Two learners with floors, and the paper without.
    arms = played.games.table6.arms if played.games else pd.DataFrame()
    assert len(sixth) == sum(own["arm"].nunique() for _, own in arms.groupby("learner")) + 7


def test_a_row_of_claims_has_both_verdicts(plain: Built) -> None:
    root = parse(whole(plain, "Told")["index.html"])
    rows = grid(root, "claims")
    assert [row[2] for row in rows] == [
        *("supported", "contradicted", "undecided", "not tested", "undecided")
    ]
    assert rows[0][5] == "undecided"
    assert rows[0][3:5] == ["−0.02 [−0.10, 0.10]", "54"] and rows[3][3] == "–"
    # Environments are counted.
    assert rows[4][6:8] == ["3 [1, 8]", "3,811"]
    text = root.words()
    assert "Of 5 claims" in text and "2 undecided" in text
    buttons = [e.words() for e in by_id(root, "claims").all("button")]
    assert buttons == ["all", "supported", "contradicted", "undecided", "not tested"]


def test_a_name_that_leads_elsewhere_is_refused(plain: Built) -> None:
    for name in ("javascript:alert(1)", "../x.csv", "/etc/passwd", "//host/x.csv", "a b.csv"):
        with pytest.raises(ValueError, match="not the path"):
            pages.build(plain, files=[name])
    with pytest.raises(ValueError, match="not the slug"):
        pages.Figure("../x", "", "")


def test_a_frame_without_a_column_is_a_mistake(plain: Built) -> None:
    with pytest.raises(KeyError, match="metric_label"):
        pages.build(plain, sensitivity=wordings().drop(columns="metric_label"))


def test_equal_bytes(several: Built) -> None:
    first = whole(several)
    turned = pages.build(
        several,
        figures=figures("Words"),
        claims=claims("Words"),
        facts=facts("Words"),
        points=costs("Words"),
        sensitivity=wordings("Words"),
        files=list(reversed(FILES)),
    )
    assert turned == first


# Tolerances


def scored(draws: np.ndarray, of: Built) -> Built:
    """Return a run whose first answers and candidates score so: (items, replies)."""
    axes = {"student": of.grid.students[0], "condition": "baseline", "seed": 0, "matched": True}
    head = [
        {**axes, "item": item, "draw": None if place == 0 else place - 1, "score": value}
        for item, values in enumerate(draws)
        for place, value in enumerate(values)
    ]
    frame = pd.DataFrame(head)
    own = [frame, frame.assign(condition=of.grid.base)]
    both = pd.concat(own, ignore_index=True)
    first = both["draw"].isna()
    results = replace(of.results, scores=both[first], samples=both[~first])
    return replace(of, results=results)


def test_tolerance_by_hand(plain: Built) -> None:
    found = tolerances.reruns(scored(np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0]]), plain))
    row = found[found["key"] == "score"].iloc[0]
    # Variances within an item: 1/3, 0, 0, 1/3.
    assert row["tolerance"] == pytest.approx(1.959964 * sqrt(2 * (1 / 6) / 4))
    assert (row["replies"], row["n"]) == (3, 4)
    assert (row["lowest"], row["highest"]) == (0.25, 0.75)
    assert found[found["key"] == "matched"]["tolerance"].tolist() == [0, 0]


def test_two_runs_differ_by_less_than_the_tolerance_as_often_as_it_says(plain: Built) -> None:
    rng = np.random.default_rng(0)
    right = rng.beta(0.4, 1.2, size=(150, 1))
    inside = []
    for _ in range(300):
        first, second = (rng.random((150, 3)) < right for _ in range(2))
        found = tolerances.reruns(scored(first.astype(float), plain))
        limit = found[found["key"] == "score"]["tolerance"].iloc[0]
        inside.append(abs(first[:, 0].mean() - second[:, 0].mean()) < limit)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)


def test_resolution_is_that_of_the_intervals(several: Built) -> None:
    found = tolerances.resolution(several).set_index("table").loc["Table 3"]
    frame = several.table3[several.table3["items"] == "all"]
    halves = (frame["difference_high"] - frame["difference_low"]) / 2
    assert found["widest"] == halves.max() and found["median"] == halves.median()
    assert found["rate"] == ((frame["score_high"] - frame["score_low"]) / 2).max()
    assert found["mde"] == frame["smallest_detectable"].max()
    assert (found["fewest"], found["step"]) == (54, 1 / 54)


def test_causes_stand_by_size_and_what_is_not_measured_has_none(
    several: Built, plain: Built
) -> None:
    listed = by_id(parse(whole(several)["differ.html"]), "causes")
    (ordered,) = listed.all("ol")
    sizes = [float(e.words().split(": ")[1].split(".", 2)[1]) for e in ordered.all("strong")]
    assert len(sizes) == 6 and sizes == sorted(sizes, reverse=True)
    assert "Prompts" not in ordered.words() and "0.07" in ordered.words()
    own = replace(plain, table3=plain.table3.assign(score_paper=""))
    root = parse(pages.build(own)["differ.html"])
    (ordered,) = by_id(root, "causes").all("ol")
    assert {e.attributes["id"] for e in ordered.all("li")} == {
        *("cause-items", "cause-extraction", "cause-sampling")
    }
    text = by_id(root, "causes").words()
    for part in ("no paraphrases", "one seed", "No figure of the paper"):
        assert part in text


def test_every_template_is_named_where_the_stage_looks_for_it() -> None:
    folder = Path(pages.__file__).parent
    source = Path(pages.__file__).read_text(encoding="utf-8")
    for path in folder.iterdir():
        if path.suffix in (".jinja", ".css", ".js"):
            assert f'"{path.name}"' in source
