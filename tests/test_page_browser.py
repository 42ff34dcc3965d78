"""The page in a browser, from disk.

Covers, in headless Chromium: the figure is shown and nothing but files is asked for; sorting by
mouse and by keyboard, in groups, with missing figures last; the filter of claims; an anchor; widths
of a desktop and a phone; contrast, light and dark; hostile words; the page without its script.
Does not cover: other browsers, and the explorer (which has a test of its own). Skipped where there
is no Chromium, save with CI=true.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import large
from playwright.sync_api import Browser, Page, sync_playwright
from test_page import HOSTILE, built_of, claims, costs, facts, figures, wordings

from stages.reporting.built import Built
from stages.reporting.page import pages

CHROMIUM = shutil.which("chromium")
CI = os.environ.get("CI") == "true"
pytestmark = pytest.mark.skipif(CHROMIUM is None and not CI, reason="no chromium on this machine")
PHONE, DESKTOP = (390, 844), (1280, 900)
# One pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415478da63f8ffff3f0005fe02fe0def46b80000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_of(large(tmp_path_factory.mktemp("house"), students=2, seeds=1))


def write(built: Built, folder: Path, text: str) -> Path:
    """Write the pages, with these words in all that is not the stage's own."""
    texts = pages.build(
        built,
        figures=figures(text),
        claims=claims(text),
        facts=facts(text),
        points=costs(text),
        sensitivity=wordings(text),
    )
    for name, page in texts.items():
        (folder / name).write_text(page, encoding="utf-8")
    (folder / "figures").mkdir()
    (folder / "figures" / "best_of_k.png").write_bytes(PNG)
    return folder


@pytest.fixture(scope="module")
def folder(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(built, tmp_path_factory.mktemp("page"), "Words")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "CI needs chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


class Watched:
    """A page, and what it said and asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", lambda request: self.said.append(f"failed: {request.url}"))

    def open(self, path: Path, anchor: str = "") -> Page:
        self.page.goto(path.as_uri() + anchor)
        return self.page


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
    found = Watched(page)
    yield found
    assert found.said == []
    page.close()


def column(page: Page, table: str, place: int, body: int = 0) -> list[str]:
    """Return the words of a column, of one group of rows."""
    rows = page.locator(f"#{table} tbody").nth(body).locator("tr:not(.group)")
    return [row.locator("th, td").nth(place).inner_text() for row in rows.all()]


def keys(page: Page, table: str, place: int, body: int = 0) -> list[float | None]:
    rows = page.locator(f"#{table} tbody").nth(body).locator("tr:not(.group)")
    found = [row.locator("th, td").nth(place).get_attribute("data-key") for row in rows.all()]
    return [None if key is None else float(key) for key in found]


def test_opens_from_disk_with_nothing_from_elsewhere(watched: Watched, folder: Path) -> None:
    page = watched.open(folder / "index.html")
    assert page.evaluate("document.images[0].naturalWidth") == 1
    page.get_by_role("link", name="Why your numbers may differ").click()
    assert page.title() == "Why your numbers may differ"
    assert {url.split(":", 1)[0] for url in watched.asked} == {"file"}
    assert {Path(url).name for url in watched.asked} == {
        *("index.html", "differ.html", "best_of_k.png")
    }


def test_the_policy_forbids_what_is_not_ours(watched: Watched, folder: Path) -> None:
    page = watched.open(folder / "index.html")
    ran = page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const style = document.createElement("style");
            style.textContent = "body { color: rgb(1, 2, 3) }";
            document.head.append(style);
            return [window.ran === true, getComputedStyle(document.body).color];
        }"""
    )
    assert ran[0] is False and ran[1] != "rgb(1, 2, 3)"
    assert len(watched.said) == 2 and all("Content Security Policy" in of for of in watched.said)
    watched.said.clear()


def test_sorts_by_click_within_groups_and_back(watched: Watched, folder: Path) -> None:
    page = watched.open(folder / "index.html")
    head = page.locator('#table3 th[data-column="3"]')
    names, before = [column(page, "table3", 0, body) for body in (0, 1)], keys(page, "table3", 3)
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    for body in (0, 1):
        values = keys(page, "table3", 3, body)
        assert values == sorted(values, key=lambda value: value or 0.0)
        assert sorted(column(page, "table3", 0, body)) == sorted(names[body])
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert keys(page, "table3", 3) == sorted(before, key=lambda value: -(value or 0.0))
    # Equal ones keep their order: by the frame's, not by the last sorting.
    ties = {key for key in before if before.count(key) > 1}
    for key in ties:
        order = [n for n, k in zip(names[0], before, strict=True) if k == key]
        now = zip(column(page, "table3", 0), keys(page, "table3", 3), strict=True)
        assert [n for n, k in now if k == key] == order
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert [column(page, "table3", 0, body) for body in (0, 1)] == names


def test_sorts_by_keyboard_with_missing_figures_last(watched: Watched, folder: Path) -> None:
    page = watched.open(folder / "index.html")
    head = page.locator('#table3-more th[data-column="2"]')
    head.get_by_role("button").focus()
    for key, order in (("Enter", "ascending"), ("Space", "descending")):
        page.keyboard.press(key)
        assert head.get_attribute("aria-sort") == order
        values = keys(page, "table3-more", 2)
        # The baseline is not compared with itself.
        assert values[-1] is None and None not in values[:-1]
    other = page.locator('#table3-more th[data-column="0"]')
    other.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "none"
    names = column(page, "table3-more", 0)
    assert names == sorted(names)


def test_claims_are_filtered_by_verdict(watched: Watched, folder: Path) -> None:
    page = watched.open(folder / "index.html", "#claims")
    assert page.evaluate("scrollY") > 500
    rows = page.locator("#claims tbody tr")
    choice = page.get_by_role("group", name="Filter The paper's claims, checked by verdict")
    assert choice.locator("output").inner_text() == "5 of 5"
    undecided = choice.get_by_role("button", name="undecided")
    undecided.click()
    assert undecided.get_attribute("aria-pressed") == "true"
    assert choice.locator("output").inner_text() == "2 of 5"
    assert [row.is_visible() for row in rows.all()] == [False, False, True, False, True]
    # A filtered table is sorted all the same.
    page.locator('#claims th[data-column="3"]').get_by_role("button").click()
    assert sum(row.is_visible() for row in rows.all()) == 2
    choice.get_by_role("button", name="all").press("Enter")
    assert sum(row.is_visible() for row in rows.all()) == 5


def test_an_anchor_is_not_hidden_by_the_bar(watched: Watched, folder: Path) -> None:
    page = watched.open(folder / "index.html")
    page.get_by_label("Tables", exact=True).get_by_role("link", name="Table 5: finetuning").click()
    assert page.url.endswith("#t5")
    box, bar = page.locator("#t5").bounding_box(), page.locator(".contents").bounding_box()
    assert box is not None and bar is not None
    assert bar["y"] == 0 and bar["height"] <= box["y"] < DESKTOP[1]


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("name", ["index.html", "differ.html"])
def test_no_page_is_wider_than_its_window(
    watched: Watched, folder: Path, size: tuple[int, int], name: str
) -> None:
    watched.page.set_viewport_size({"width": size[0], "height": size[1]})
    page = watched.open(folder / name)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    box = page.locator(".scroll").first
    page.evaluate("document.querySelector('.scroll').scrollLeft = 300")
    first = box.locator("tbody tr:not(.group) th").first.bounding_box()
    assert first is not None and first["x"] >= 0  # it stays while the others go


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser: Browser, folder: Path, scheme: str) -> None:
    page = browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.goto((folder / "index.html").as_uri())
    worst = page.evaluate(
        """() => {
            const parse = (text) => text.match(/[0-9.]+/g).map(Number);
            const light = (rgb) => {
                const [r, g, b] = rgb.map((v) => {
                    const x = v / 255;
                    return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const back = light(parse(getComputedStyle(document.body).backgroundColor).slice(0, 3));
            let worst = 21;
            for (const element of document.querySelectorAll("body *")) {
                const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
                if (!own || element.matches("script, style")) continue;
                const text = light(parse(getComputedStyle(element).color).slice(0, 3));
                const [low, high] = [text, back].sort((a, b) => a - b);
                worst = Math.min(worst, (high + 0.05) / (low + 0.05));
            }
            return worst;
        }"""
    )
    assert worst >= 4.5
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 17)"
    assert dark == (scheme == "dark")
    page.close()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_do_nothing(
    watched: Watched, built: Built, tmp_path: Path, text: str
) -> None:
    page = watched.open(write(built, tmp_path, text) / "index.html")
    page.locator('#claims th[data-column="0"]').get_by_role("button").click()
    page.locator("#claims-title").hover()
    assert page.locator("#claims tbody tr").count() == 5
    assert page.locator("script").count() == 1
    assert all(url.startswith("file:") for url in watched.asked)
    shown = page.locator("#claims tbody th").first.inner_text()
    clean = "".join("\ufffd" if of in "\u2028\u202e\x00" else of for of in text)
    assert " ".join(clean.split()) in " ".join(shown.split())


def test_reads_without_its_script(browser: Browser, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    assert page.locator("#table3 tbody tr").count() == 2 * 7
    assert not page.locator(".filter").first.is_visible()
    assert page.locator("#claims tbody tr").first.is_visible()
    context.close()
