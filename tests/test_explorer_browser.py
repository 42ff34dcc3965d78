"""The explorer in Chromium, opened from a file.

Covers: filters and their counts against the data, search, opening an item, deep links, going back
and forward, keys, the word diff, several turns, hostile replies, the audit with its file, phone
width, names and roles, that nothing but files is asked for, and, of 100,000 trajectories, the time
of the first paint and of a filter. Does not cover: other browsers; what the data files hold
(test_explorer.py).

Skipped where there is no Chromium, but not in CI.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from explorer_house import Run, large
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from stages import auditing

FIRST = "respond/small/0"
RETRY = "revise/unconstrained/small/0"
ITEM = "bbh/bbh_task_0/0"
OPTIONS = "#list [role=option]"
HOSTILE = (
    "<script>window.hit=1</script><img src=x onerror='window.hit=1'></script>"
    "<a href='javascript:window.hit=1'>click</a> &lt;b&gt; \u2028\u2029 \0 \u202e \\u003cb"
)
SECONDS_TO_PAINT = 2.0
SECONDS_TO_FILTER = 0.3


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        if "CI" in os.environ:
            pytest.fail("there is no chromium, and CI has to run these tests")
        pytest.skip("there is no chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


class Made:
    """A site and the run behind it."""

    def __init__(self, run: Run, page: Path) -> None:
        self.run = run
        self.page = page

    def url(self, address: str = "") -> str:
        return self.page.as_uri() + address


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("explorer")
    run = Run(root / "run", words=4)
    run.says |= {
        (ITEM, FIRST): "We add two and two.\nThe sum is five.\nAnswer: B",
        (ITEM, RETRY): "We add two and two again.\nThe sum is four.\nAnswer: A",
        ("bbh/bbh_task_0/1", FIRST): HOSTILE,
        ("bbh/bbh_task_0/1", RETRY): HOSTILE + " and more",
        ("bbh/bbh_task_0/2", FIRST): " ".join(f"a{n}" for n in range(2100)),
        ("bbh/bbh_task_0/2", RETRY): " ".join(f"b{n}" for n in range(2100)),
    }
    run.advises[ITEM, RETRY] = "Two and two is not five."
    run.advises["bbh/bbh_task_0/1", RETRY] = HOSTILE
    run.keeps["bbh/bbh_task_1/3", RETRY] = "empty"
    run.ends["bbh/bbh_task_1/4", RETRY] = "length"
    return Made(run, run.write().build(root / "site"))


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page; whatever it asks for is a local file, and it makes no mistake."""
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    yield page
    assert wrong == []
    assert [url for url in asked if not url.startswith(("file:", "data:,", "blob:null/"))] == []


def opened(page: Page, made: Made, address: str = "") -> None:
    page.goto(made.url(address))
    page.locator("#count").filter(has_text="trajectories").wait_for(state="attached")


def total(page: Page) -> int:
    return int(page.locator("#count").inner_text().split()[0].replace(",", ""))


def box(page: Page, facet: str, slug: str) -> Locator:
    return page.locator(f"#facets input[name={facet}][value='{slug}']")


def count(page: Page, facet: str, slug: str) -> int:
    line = page.locator(f"#facets label:has(input[name={facet}][value='{slug}'])")
    return int(line.locator(".count").inner_text().replace(",", ""))


def outcomes(made: Made) -> Counter[tuple[str, str]]:
    """Return how many trajectories there are, by suite and outcome, as the scores say."""
    found: Counter[tuple[str, str]] = Counter()
    for suite in made.run.suites:
        for path in dict.fromkeys(cell.scores for cell in suite.cells):
            for line in path.read_text(encoding="utf-8").splitlines():
                found[suite.name, json.loads(line)["outcome"]] += 1
    return found


def marked(page: Page, tag: str) -> list[str]:
    return page.locator(f"#detail-view {tag}").all_inner_texts()


def test_filters_count_what_the_scores_say(page: Page, made: Made) -> None:
    opened(page, made)
    found = outcomes(made)
    assert total(page) == sum(found.values())
    box(page, "suite", "games").check()
    games = {outcome: n for (suite, outcome), n in found.items() if suite == "games"}
    assert total(page) == sum(games.values())
    for outcome in ("correct", "incorrect", "unparsed", "errored"):
        assert count(page, "outcome", outcome) == games.get(outcome, 0)
    # Of the facet itself, the counts are those without its own ticks.
    assert count(page, "suite", "bbh") == sum(found.values()) - sum(games.values())
    box(page, "outcome", "correct").check()
    assert total(page) == games["correct"]
    assert count(page, "outcome", "incorrect") == games["incorrect"]
    assert count(page, "suite", "bbh") == found["bbh", "correct"]
    box(page, "outcome", "incorrect").check()
    assert total(page) == games["correct"] + games["incorrect"]
    page.locator("#clear").click()
    assert total(page) == sum(found.values())


def test_filters_by_every_axis(page: Page, made: Made) -> None:
    opened(page, made)
    everything = total(page)
    run = made.run
    cells = [
        (cell, len(run.on(cell, run.of(suite)))) for suite in run.suites for cell in suite.cells
    ]
    for facet in ("step", "model", "condition", "wording", "method", "seed", "draw", "teacher"):
        values: Counter[str] = Counter()
        for cell, items in cells:
            values[str(getattr(cell, facet))] += items
        assert len(values) > 1
        for value, n in values.items():
            assert count(page, facet, "none" if value == "None" else value) == n, facet
    on_train = (
        "respond_train",
        "revise_train",
        "answer_train",
        "revise_following",
        "revise_teacher",
    )
    assert count(page, "split", "train") == sum(n for cell, n in cells if cell.step in on_train)
    one = sum(count(page, "chosen", slug) for slug in ("student_logits", "teacher_choice"))
    # Two pools, students and seeds: the first draw of each.
    assert one == 2 * 8 * 6
    box(page, "chosen", "student_logits").check()
    assert total(page) == 8 * 6
    assert count(page, "draw", "0") == 8 * 6
    page.locator("#clear").click()
    moves = ("none", "wrong_right", "right_right", "right_wrong", "wrong_wrong")
    assert sum(count(page, "transition", slug) for slug in moves) == everything
    assert count(page, "ended", "length") == 1


def test_search_over_item_ids(page: Page, made: Made) -> None:
    opened(page, made)
    page.keyboard.press("/")
    page.keyboard.type("TASK_0/2")
    expect(page.locator("#count")).to_contain_text(" of ")
    assert total(page) == sum(len(suite.cells) for suite in made.run.suites[:2])
    # Typing is one step to go back from.
    page.keyboard.press("Escape")
    page.locator("#search").fill("nothing like it")
    expect(page.locator("#nothing")).to_be_visible()
    expect(page.locator(OPTIONS)).to_have_count(0)


def test_open_an_item_and_go_back(page: Page, made: Made) -> None:
    opened(page, made)
    box(page, "step", "revise").check()
    box(page, "condition", "unconstrained").check()
    page.locator(f'[data-row="{ITEM}@{RETRY}"]').click()
    expect(page.locator("#detail-view h2")).to_have_text(ITEM)
    expect(page.locator(".scores tbody tr").first).to_contain_text("incorrect")
    expect(page.locator(".scores tbody tr").last).to_contain_text("correct")
    expect(page.locator(".facts")).to_contain_text("wrong → right")
    expect(page.locator(".task")).to_contain_text("Which number is it, of 0?")
    expect(page.locator(".pane.feedback")).to_contain_text("Two and two is not five.")
    expect(page.locator(".pane.feedback")).to_contain_text("by The tutor")
    page.go_back()
    expect(page.locator("#list-view")).to_be_visible()
    assert box(page, "condition", "unconstrained").is_checked()
    assert total(page) == 4 * 6
    expect(page.locator(f'[data-row="{ITEM}@{RETRY}"]')).to_have_attribute("aria-selected", "true")
    page.go_back()
    assert not box(page, "condition", "unconstrained").is_checked()
    page.go_forward()
    page.go_forward()
    expect(page.locator("#detail-view h2")).to_have_text(ITEM)


def test_deep_links(page: Page, made: Made) -> None:
    opened(page, made, "#suite=games&outcome=correct,incorrect&q=task_1")
    assert box(page, "suite", "games").is_checked()
    assert box(page, "outcome", "incorrect").is_checked()
    assert page.locator("#search").input_value() == "task_1"
    opened(page, made, f"#row={ITEM}@{RETRY}")
    expect(page.locator("#detail-view h2")).to_have_text(ITEM)
    page.get_by_role("link", name="Open the original").click()
    expect(page.locator("#detail-view .what")).to_contain_text("First answer")
    page.get_by_role("link", name="All trajectories of this item").click()
    assert total(page) == len(made.run.suites[0].cells)
    opened(page, made, "#row=bbh/nothing/7@respond/small/0")
    expect(page.get_by_role("alert").first).to_contain_text("No trajectory bbh/nothing/7")
    opened(page, made, "#outcome=%E0%A4%A&nonsense&x=1&suite=elsewhere")
    assert total(page) == 0


def test_links_to_other_words_and_to_lessons(page: Page, made: Made) -> None:
    opened(page, made, "#step=paraphrased/respond&wording=p1&seed=0&model=small")
    assert box(page, "wording", "p1").is_checked()
    assert total(page) == 6
    page.locator(OPTIONS).first.click()
    expect(page.locator("#detail-view .what")).to_contain_text("task reworded · wording p1 · ")
    expect(page.locator("#detail-view .pane h3")).to_have_text(["Original", "New answer"])
    # What was asked is what this answer was asked, not the original.
    expect(page.locator(".task")).to_contain_text("Once more: which number")
    page.get_by_role("link", name="Open the original").click()
    expect(page.locator(".task")).not_to_contain_text("Once more")
    opened(page, made, "#wording=none&split=train&step=revise_train")
    assert total(page) == 2 * 2 * 2
    page.locator(OPTIONS).first.click()
    expect(page.locator("#detail-view .what")).to_contain_text("Retry to learn from")
    page.get_by_role("link", name="Open the original").click()
    expect(page.locator("#detail-view .what")).to_contain_text("First answer to learn from")
    # A link from before these were there finds what it found.
    opened(page, made, "#step=revise&condition=unconstrained")
    assert total(page) == 4 * 6


def test_keys(page: Page, made: Made) -> None:
    opened(page, made, "#step=revise&condition=unconstrained&model=small&seed=0")
    rows = page.locator(OPTIONS)
    for key in ("j", "ArrowDown", "j", "k"):
        page.keyboard.press(key)
    expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
    expect(page.locator("#list")).to_have_attribute("aria-activedescendant", "option-1")
    page.keyboard.press("Enter")
    heading = page.locator("#detail-view h2")
    expect(heading).to_have_text("bbh/bbh_task_0/1")
    page.keyboard.press("k")
    expect(heading).to_have_text("bbh/bbh_task_0/0")
    page.keyboard.press("k")  # there is none before
    page.keyboard.press("ArrowRight")
    page.keyboard.press("j")
    expect(heading).to_have_text("bbh/bbh_task_0/2")
    page.keyboard.press("Escape")
    expect(page.locator("#list-view")).to_be_visible()
    expect(rows.nth(2)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("End")
    expect(rows.last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Not shown: cleaned texts")
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(rows.last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("/")
    page.keyboard.type("j1?")  # letters, not keys
    assert page.locator("#search").input_value() == "j1?"


def test_the_diff_marks_the_words_that_differ(page: Page, made: Made) -> None:
    opened(page, made, f"#row={ITEM}@{RETRY}")
    assert marked(page, "del") == ["two.", "five.", "B"]
    assert marked(page, "ins") == ["two again.", "four.", "A"]
    originals = page.locator(".pane.original pre").inner_text()
    assert originals == made.run.says[ITEM, FIRST]
    assert page.locator(".pane.revision pre").inner_text() == made.run.says[ITEM, RETRY]


def test_the_diff_is_a_longest_common_subsequence(page: Page, made: Made) -> None:
    """Against Python's table over the same words, on texts of few words in random order."""
    opened(page, made)
    found = page.evaluate(
        """() => {
          let state = 7;
          const next = (n) => (state = (state * 16807) % 2147483647) % n;
          const text = () => Array.from({length: next(14)}, () => "abcd"[next(4)]).join(" ");
          return Array.from({length: 300}, () => {
            const [a, b] = [text(), text()];
            return [a, b, Diff.compare(a, b)];
          });
        }"""
    )
    for a, b, diff in found:
        assert "".join(text for text, _ in diff["before"]) == a
        assert "".join(text for text, _ in diff["after"]) == b
        kept = [
            [word for text, changed in diff[side] if not changed for word in text.split()]
            for side in ("before", "after")
        ]
        assert kept[0] == kept[1]
        assert len(kept[0]) == common(a.split(), b.split())
        assert diff["exact"]


def common(a: list[str], b: list[str]) -> int:
    above = [0] * (len(b) + 1)
    for one in a:
        row = [0]
        for place, other in enumerate(b):
            row.append(above[place] + 1 if one == other else max(row[-1], above[place + 1]))
        above = row
    return above[-1]


def test_a_text_too_long_to_compare_is_said_to_be(page: Page, made: Made) -> None:
    opened(page, made, f"#row=bbh/bbh_task_0/2@{RETRY}")
    expect(page.locator(".panes")).to_contain_text("too long for a word diff")
    assert len(marked(page, "del")) == len(marked(page, "ins")) == 1


def test_an_original_that_stands(page: Page, made: Made) -> None:
    opened(page, made, f"#row=bbh/bbh_task_1/3@{RETRY}")
    expect(page.locator(".pane.feedback")).to_contain_text("None: empty.")
    expect(page.locator(".pane.revision")).to_contain_text("The original stands")
    assert marked(page, "ins") == []


def test_answers_after_training_stand_beside_the_first(page: Page, made: Made) -> None:
    opened(page, made, f"#row={ITEM}@evaluate/feedback_dpo/small/0")
    expect(page.locator("#detail-view .pane h3")).to_have_text(["Original", "New answer"])
    opened(page, made, f"#row={ITEM}@answer/tutor")
    expect(page.locator("#detail-view .pane h3")).to_have_text(["Answer"])


def test_turns_of_a_game(page: Page, made: Made) -> None:
    opened(page, made, "#row=games/games_task_0/0@revise/teacher_answer/small/0")
    for side in ("original", "revision"):
        pane = page.locator(f".pane.{side}")
        expect(pane.locator("h4")).to_have_text(["Turn 1", "Turn 2"])
        expect(pane.locator(".asked")).to_have_text(["That was turn 1."])
    page.get_by_text("All that the model was shown").click()
    expect(page.locator(".transcript")).to_contain_text("Be good.")
    expect(page.locator(".transcript .role").first).to_have_text("system")


def test_hostile_replies_show_as_text(page: Page, made: Made) -> None:
    opened(page, made, f"#row=bbh/bbh_task_0/1@{RETRY}")
    expect(page.locator(".pane.feedback pre")).to_contain_text("<script>window.hit=1</script>")
    shown = page.locator(".pane.feedback pre").inner_text()
    expected = HOSTILE.replace("\0", "␀")
    for hidden in "\u2028\u2029\u202e":
        expected = expected.replace(hidden, f"⟨U+{ord(hidden):04X}⟩")
    assert shown == expected
    assert page.locator("main img, main script, main iframe, a[href^='javascript:']").count() == 0
    expect(page.locator(".pane.revision")).to_contain_text("<a href='javascript:window.hit=1'>")
    assert page.evaluate("window.hit") is None
    # Labels are no markup either.
    page.keyboard.press("Escape")
    expect(page.locator("#facets")).to_contain_text("Small <b>one</b>")
    assert page.locator("#facets b").count() == 0


def test_half_a_surrogate_pair_and_controls_are_made_visible(page: Page, made: Made) -> None:
    opened(page, made)
    shown = page.evaluate(
        r"() => Text.visible('a\ud83d b\ude00 \ud83d\ude00 \u0007\u007f\u200b\ufeff\r\n\té')"
    )
    assert shown == "a⟨U+D83D⟩ b⟨U+DE00⟩ 😀 ␇⟨U+007F⟩⟨U+200B⟩⟨U+FEFF⟩␍\n\té"


def test_the_policy_lets_nothing_in(browser: Browser, made: Made) -> None:
    page = browser.new_page()
    page.goto(made.url())
    blocked = page.evaluate(
        """async () => {
          const found = [];
          addEventListener("securitypolicyviolation", (event) => {
            found.push(event.effectiveDirective);
          });
          const image = new Image();
          image.src = "https://example.invalid/x.png";
          try { await fetch("https://example.invalid/"); } catch { /* as it should */ }
          try { document.body.innerHTML = "<b>x</b>"; } catch (error) { found.push(error.name); }
          try {
            const script = document.createElement("script");
            script.src = "data/00000.js";
          } catch (error) { found.push(error.name); }
          const inline = document.createElement("div");
          inline.setAttribute("style", "color: red");
          document.body.append(inline);
          await new Promise((done) => setTimeout(done, 100));
          return found;
        }"""
    )
    page.close()
    for directive in ("img-src", "connect-src", "style-src-attr", "TypeError"):
        assert directive in blocked


def test_a_file_that_is_not_there_is_said(browser: Browser, made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.page.parent, tmp_path / "site")
    for path in (tmp_path / "site" / "data").glob("0*.js"):
        path.unlink()
    page = browser.new_page()
    page.goto((tmp_path / "site" / "index.html").as_uri() + f"#row={ITEM}@{RETRY}")
    expect(page.locator("#problem")).to_contain_text("data/00000.js cannot be read")
    page.close()


def test_a_run_without_games_or_retries(page: Page, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", lessons=0, games=[])
    run.items["bbh"] = []
    made = Made(run, run.write().build(tmp_path / "site"))
    opened(page, made)
    assert total(page) == 0
    expect(page.locator("#nothing")).to_be_visible()
    page.locator("#to-audit").click()
    expect(page.locator("#audit-view")).to_contain_text("There is no retry to audit")


def test_the_audit(page: Page, context: BrowserContext, made: Made, tmp_path: Path) -> None:
    sample = auditing.read(made.page.parent / "audit.json", auditing.Sample)
    rows = [row.row for row in sample.rows]
    opened(page, made, "#audit=1")
    expect(page.locator("#audit-view h2")).to_have_text(rows[0].split("@")[0])
    # Without a rater there is nothing to mark.
    page.keyboard.press("1")
    expect(page.locator("fieldset input:checked")).to_have_count(0)
    page.fill("#rater", "ann b")
    expect(page.locator("#audit-view [role=alert]")).to_contain_text("letters, digits")
    page.fill("#rater", "ann")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("1")
    expect(page.locator("#progress")).to_have_text(f"1 of {len(rows)} marked")
    page.keyboard.press("j")
    expect(page.locator("#audit-view h2")).to_have_text(rows[1].split("@")[0])
    expect(page.locator("fieldset input:checked")).to_have_count(0)
    page.keyboard.press("3")
    page.keyboard.press("0")  # none takes the others away
    page.keyboard.press("n")
    page.keyboard.type("quite 1 clear")
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    expect(page.locator("fieldset input:checked")).to_have_count(2)
    page.keyboard.press("Enter")  # the next unmarked one
    expect(page.locator("#audit-view h2")).to_have_text(rows[2].split("@")[0])
    expect(page.get_by_role("navigation", name="Sample")).to_contain_text(f"3 of {len(rows)}")
    page.get_by_label("Failing to Match").check()
    page.get_by_label("Failing to Match").uncheck()  # undecided again
    expect(page.locator("#progress")).to_have_text(f"2 of {len(rows)} marked")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export marks").click()
    assert download.value.suggested_filename == "audit-ann.json"
    path = tmp_path / "audit-ann.json"
    download.value.save_as(path)
    marks = auditing.read(path, auditing.Marks)
    assert (marks.rater, marks.sample) == ("ann", sample.digest)
    assert {name: (mark.types, mark.note) for name, mark in marks.marks.items()} == {
        rows[0]: (("failing_to_match", "refinement_mismatch"), ""),
        rows[1]: ((), "quite 1 clear"),
    }

    # They are kept, ...
    page.reload()
    expect(page.locator("#progress")).to_have_text(f"2 of {len(rows)} marked")
    # ... another rater sees none of them, ...
    page.fill("#rater", "ben")
    expect(page.locator("#progress")).to_have_text(f"0 of {len(rows)} marked")
    page.set_input_files("#import-file", path)
    alert = page.locator("#audit-view [role=alert]")
    expect(alert).to_contain_text("marks of another rater (ann)")
    expect(page.locator("#progress")).to_have_text(f"0 of {len(rows)} marked")
    # ... and on another machine the file brings them back.
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(page.locator("#progress")).to_have_text("Name the rater to begin")
    page.set_input_files("#import-file", path)
    expect(page.locator("#progress")).to_have_text(f"2 of {len(rows)} marked")
    assert page.locator("#rater").input_value() == "ann"
    with page.expect_download() as again:
        page.get_by_role("button", name="Export marks").click()
    again.value.save_as(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sample": "0" * 16}, "marks of another sample"),
        ({"format": 2}, "not a file of marks"),
        ({"marks": {"x": {"types": []}}}, "x is not in the sample"),
        ({"rater": "<b>"}, "no rater's name"),
        (None, "JSON"),
    ],
)
def test_a_wrong_file_of_marks_is_refused(
    page: Page, made: Made, tmp_path: Path, change: dict[str, object] | None, complaint: str
) -> None:
    sample = auditing.read(made.page.parent / "audit.json", auditing.Sample)
    values = {"format": 1, "sample": sample.digest, "rater": "ann", "marks": {}}
    path = tmp_path / "marks.json"
    text = "not it" if change is None else json.dumps(values | change)
    path.write_text(text, encoding="utf-8")
    opened(page, made, "#audit=1")
    page.set_input_files("#import-file", path)
    expect(page.locator("#audit-view [role=alert]")).to_contain_text(complaint)
    assert page.locator("#rater").input_value() == ""


def test_the_audit_does_not_tell_condition_or_transition(page: Page, made: Made) -> None:
    opened(page, made, "#audit=1")
    page.locator("#audit-view .pane").first.wait_for()
    shown = page.locator("#audit-view").inner_text()
    assert "→" not in shown
    assert "Ground truth" not in shown


def test_on_a_phone(page: Page, made: Made) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, made)
    expect(page.locator(OPTIONS).first).to_be_visible()
    expect(page.locator("#filters")).to_be_hidden()
    toggle = page.get_by_role("button", name="Filters")
    toggle.click()
    expect(toggle).to_have_attribute("aria-expanded", "true")
    box(page, "step", "revise").check()
    toggle.click()
    page.locator(OPTIONS).first.click()
    expect(page.locator("#detail-view h2")).to_be_visible()
    for address in ("", f"#row={ITEM}@{RETRY}", "#audit=1"):
        opened(page, made, address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_light_and_dark(browser: Browser, made: Made) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(made.url(f"#row={ITEM}@{RETRY}"))
        page.locator(".pane ins").first.wait_for()
        colours[scheme] = page.evaluate(
            """() => ["html", ".pane ins", ".pane del", ".quiet"].map((selector) => {
              const style = getComputedStyle(document.querySelector(selector));
              return [style.color, style.backgroundColor];
            })"""
        )
        page.close()
    assert colours["light"][0] == ["rgb(26, 26, 26)", "rgb(255, 255, 255)"]
    assert colours["dark"][0] == ["rgb(230, 230, 230)", "rgb(17, 17, 17)"]
    for found in colours.values():
        paper = found[0][1]
        for text, behind in found:
            clear = behind == "rgba(0, 0, 0, 0)"
            assert contrast(text, paper if clear else behind) >= 4.5


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2)."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_names_and_roles(page: Page, made: Made) -> None:
    opened(page, made)
    for role, name in (
        ("listbox", "Trajectories"),
        ("searchbox", "Search item ids"),
        ("complementary", "Filters"),
        ("group", "Outcome"),
        ("link", "Audit"),
        ("button", "Keys"),
    ):
        expect(page.get_by_role(role, name=name, exact=True)).to_be_visible()  # type: ignore[arg-type]
    assert page.get_by_role("checkbox").count() == page.locator("#facets input").count()
    expect(page.locator(OPTIONS).first).to_have_attribute("aria-posinset", "1")
    opened(page, made, f"#row={ITEM}@{RETRY}")
    for name in ("Task", "Original", "Feedback", "Revision"):
        expect(page.get_by_role("region", name=name)).to_be_visible()
    expect(page.get_by_role("table", name="Extracted answers and scores")).to_be_visible()
    assert ITEM in page.title()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("large")
    run = large(root / "run", words=20).write()
    return Made(run, run.build(root / "site"))


FILTER = """async (change) => {
  const frame = () => new Promise(requestAnimationFrame);
  const started = performance.now();
  if (change.query === undefined) {
    document.querySelector(`#facets input[name=${change.facet}][value=${change.slug}]`).click();
  } else {
    const search = document.getElementById("search");
    search.value = change.query;
    search.dispatchEvent(new Event("input"));
  }
  await frame();
  await frame();
  return performance.now() - started;
}"""


@pytest.mark.timeout(300)
def test_100_000_trajectories(page: Page, many: Made) -> None:
    """First paint within 2 s, any filter within 300 ms, the frame after it included."""
    opened(page, many)
    rows = total(page)
    assert rows >= 100_000
    # The frame of the list is the honest measure: the bare page paints long before.
    page.wait_for_function("performance.getEntriesByName('listed').length === 1")
    painted, listed = page.evaluate(
        """() => [
          performance.getEntriesByName("first-contentful-paint")[0].startTime,
          performance.getEntriesByName("listed")[0].startTime,
        ]"""
    )
    print(f"first paint {painted:.0f} ms, list {listed:.0f} ms")
    assert min(painted, listed) > 0
    assert max(painted, listed) < SECONDS_TO_PAINT * 1000
    assert page.locator(OPTIONS).count() < 100
    slowest = 0.0
    for change in (
        {"facet": "outcome", "slug": "correct"},
        {"facet": "transition", "slug": "wrong_right"},
        {"facet": "condition", "slug": "condition_3"},
        {"query": "task_1"},
        {"query": ""},
        {"facet": "condition", "slug": "condition_3"},
        {"facet": "transition", "slug": "wrong_right"},
        {"facet": "outcome", "slug": "correct"},
    ):
        before = total(page)
        took = page.evaluate(FILTER, change)
        print(f"{change}: {took:.0f} ms")
        slowest = max(slowest, took)
        assert total(page) != before
    assert total(page) == rows
    assert slowest < SECONDS_TO_FILTER * 1000
    # The end of the list is in reach, and so are the texts of its last row.
    page.locator("#list").focus()
    page.keyboard.press("End")
    last = page.locator(f'[aria-posinset="{rows}"]')
    expect(last).to_have_attribute("aria-selected", "true")
    expect(last).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#detail-view h2")).to_have_text(many.run.lessons["bbh"][-1]["id"])
    page.go_back()
    expect(last).to_be_in_viewport()
