"""LaTeX of the report: text made literal, plain tables, Figures 1 and 2, report.tex.

Covers: numbers as siunitx takes them; hostile text (macros, files, control characters, other
scripts, long words) in cells, captions and figures, as code and as typeset by pdflatex; the plain
tables against their frames, their marks, every reference, their width and height at one and three
students and seeds; what Figure 1 marks and refuses; that Figure 2 prints every prompt literally;
report.tex, whose PDF has the same bytes each time. What needs pdflatex is skipped where there is
none, save with CI set.
Does not cover: the figures of the tables with the paper's beside (test_tables.py and others), the
keys of numbers.tex (test_numbers.py), and how a page looks.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT
from house import House, large
from hypothesis import example, given
from hypothesis import strategies as st
from latex_house import PACKAGES, build, complaints, needs_pdflatex, page, typeset
from test_games_tables import many

from stages.errors import UserError
from stages.records import Completion, Exchange, Feedback, FinishReason, Message, Trajectory
from stages.reporting import document, figure1, figure2, latex, numbers, plain, table1
from stages.reporting.built import Built
from stages.reporting.figure1 import Example

HOSTILE = (
    r"\input{secret}",
    r"\write18{touch pwned}",
    r"} \end{table} \input secret {",
    r"^^5cinput{secret}",
    "100 % of $x$ & #1_2 ~ {y}",
    "a\x00b\x07c\x1b[2J",
    "first\nsecond\r\n\n\nthird\tcell",
    "\u202eright to left\u202c \u200b \ufeff",
    "\U0001f600 \u4e2d\u6587 \u0645 e\u0301 x\u0301\u0302 na\u00efve \u0141\u00f3d\u017a",
    "\ud800 lone",
    "<script>alert('x')</script> --- ''' ?` !` \"",
    "[10pt] in brackets",
    "*starred",
)


# Numbers


def test_numbers() -> None:
    assert latex.number(-0.056) == r"\num{-0.06}"
    assert latex.number(-0.001) == r"\num{0.00}"
    assert latex.number(float("nan")) == "--"
    assert latex.p_value(0.0001) == r"\num{<0.001}"
    assert latex.p_value(0.04) == r"\num{0.040}"
    assert latex.count(3811.0) == r"\num{3811}"
    row = {"score_low": -0.1, "score_high": 0.25}
    assert latex.interval(row, "score") == r"[\num{-0.10},\,\num{0.25}]"
    assert latex.interval({"score_low": float("nan"), "score_high": 0.1}, "score") == ""


def test_printed_figures_keep_their_digits() -> None:
    assert [latex.printed(text) for text in ("0.5", "1", "", "-", "not known", None)] == [
        *(r"\num{0.5}", r"\num{1}", "--", "--", "not known", "--"),
    ]


def test_values_of_seeds() -> None:
    assert latex.seeds([0.25]) == r"\num{0.25}"
    assert latex.seeds([0.25, float("nan"), 1.0]) == r"\num{0.25}\,/\,--\,/\,\num{1.00}"
    assert latex.seeds([0.5, float("nan"), 0.25, 1.0]) == r"\num{0.25}--\num{1.00}"
    assert latex.seeds([float("nan")] * 4) == "--"
    assert [latex.seeds(value) for value in ([], float("nan"))] == ["--", "--"]


def test_bold_numbers_are_told_so() -> None:
    assert latex.bold(r"\num{0.10}") == r"\textbf{\num[detect-weight]{0.10}}"
    assert latex.bold(r"\num{0.10}", when=False) == r"\num{0.10}"


# Text

# What may stand in escaped text besides harmless characters: the forms that `latex` makes.
_FORMS = re.compile(
    r"\\(?:[&%$#_{}]|text[a-z]+\{\}|[a-zA-Z]+\{\}|[`'^~=.\"](?=\{)|[uvrHc](?=\{))"
    r"|\$(?:\\[a-z]+|\\Delta|-|\^\\circ|\\langle\$U\+[0-9A-F]{4,6}\$\\rangle)\$"
    r"|\{(?:\[|\*|\\?[A-Za-z])?\}|~"
)


@given(st.text())
@example("".join(map(chr, range(256))))
@example("--- ''' ?`")
def test_escaped_text_is_inert(text: str) -> None:
    found = latex.escape(text)
    assert found.isascii()
    assert found.isprintable()
    # Of what TeX takes for more than a letter nothing is left but the forms made here.
    assert not set("\\{}$&#%^~_") & set(_FORMS.sub("", found))
    assert not re.search(r"--|''|``|,,|\?`|!`", found)
    assert found[:1] not in ("[", "*")


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_code_can_be_read_back(text: str) -> None:
    assert read_back(latex.code(text)) == text


def read_back(line: str) -> str:
    """Return what `latex.code` prints, for text in ASCII."""
    line = line.replace(r"\allowbreak{}", "").replace(r"\ ", " ")
    return re.sub(r"\\char(\d+)\{\}", lambda found: chr(int(found[1])), line)


def test_hostile_text_is_typeset_as_text(tmp_path: Path) -> None:
    needs_pdflatex()
    (tmp_path / "secret.tex").write_text("LEAKED", encoding="utf-8")
    found = {}
    for text in HOSTILE:
        cell = latex.escape(text)
        rows = f"a & b \\\\\n{cell} & {cell} \\\\\n"
        table = f"\\begin{{tabular}}{{ll}}\n{rows}\\end{{tabular}}"
        line = f"{{\\ttfamily {latex.code(' '.join(text.split()))}\\par}}"
        found[text] = f"\\begin{{table}}\\caption{{{cell}}}\n{table}\n\\end{{table}}\n{line}"
    # Wide cells are not what this is about.
    complaining = [of for of in page(tmp_path, found) if not of.startswith(("Over", "Under"))]
    assert complaining == []
    assert "secret" not in (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
    assert not (tmp_path / "pwned").exists()


# Plain tables


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, dict[str, str]]:
    """One student, one seed, games and code."""
    house = many(tmp_path_factory.mktemp("one"), 1, 1, 2)
    house.house.params["scale"] = "laptop"
    house.write()
    return build(house.flags())


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, dict[str, str]]:
    """Three students, three seeds, games and code."""
    house = many(tmp_path_factory.mktemp("three"), 3, 3, 12)
    house.write()
    return build(house.flags())


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, dict[str, str]]:
    """A scale without games; a condition that helps, and one that sees the truth."""
    house: House = large(tmp_path_factory.mktemp("questions"), 1, 1)
    right = {of.id for of in house.items}
    for at, row in enumerate(house.scores):
        if row.condition in ("lazy", "unconstrained") and row.item in right:
            house.scores[at] = row.model_copy(
                update={"outcome": "correct", "score": 1.0, "solved": True, "strict": "A"}
            )
    house.write()
    return build(house.flags("out"))


def lines(text: str) -> list[list[str]]:
    """Return the cells of the rows of all tabulars."""
    bodies = re.findall(r"\\begin\{tabular\}\{[^\n]*\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    rows = re.sub(r"\\(?:top|mid|bottom)rule", "", "".join(bodies)).split("\\\\\n")
    return [[cell.strip() for cell in row.split("&")] for row in rows if row.strip()]


def shown(row: pd.Series, column: str, bold: bool = False) -> list[str]:
    """Return a rate and its interval as a plain table prints them."""
    return [
        latex.bold(latex.number(row[column]), bold),
        latex.interval(dict(row), column),
    ]


def test_plain_tables_are_those_of_the_paper(
    one: tuple[Built, dict[str, str]], questions: tuple[Built, dict[str, str]]
) -> None:
    assert list(plain.build(one[0])) == [f"table{n}" for n in range(1, 9)]
    assert list(plain.build(questions[0])) == [f"table{n}" for n in range(1, 6)]
    for name, text in plain.build(one[0]).items():
        assert text.startswith("% Generated by the stage `report`")
        assert rf"\label{{tab:{name}}}" in text
        assert text.count(r"\begin{table}") == 1


def test_table3_row_by_row(questions: tuple[Built, dict[str, str]]) -> None:
    built = questions[0]
    rows = lines(plain.build(built)["table3"])[2:]
    frame = built.table3[built.table3["items"] == "all"]
    assert len(rows) == len(frame) == 6
    for cells, (_, row) in zip(rows, frame.iterrows(), strict=True):
        helps = row["condition"] == "unconstrained"
        label = row["condition_label"] + (r"$^\dag$" if row["sees_target"] else "")
        assert cells == [
            label,
            *shown(row, "match_rate"),
            *shown(row, "score", bold=helps),
            *shown(row, "correct_if_matched"),
        ]
    # The truth before their eyes helps too, and is never bold.
    lazy = frame.set_index("condition").loc["lazy"]
    assert lazy["difference_low"] > 0


def test_table2_and_5_row_by_row(one: tuple[Built, dict[str, str]]) -> None:
    built = one[0]
    tables = plain.build(built)
    rows = [row for row in lines(tables["table2"]) if len(row) == 9]
    for cells, (_, row) in zip(rows, built.table2.iterrows(), strict=True):
        rates = ("recall", "precision", "f1", "accuracy")
        assert cells[1:] == [cell for rate in rates for cell in shown(row, rate)]
    rows = [row for row in lines(tables["table5"]) if len(row) == 7]
    arms = built.table5.arms
    for cells, (_, row) in zip(rows, arms.iterrows(), strict=True):
        assert cells[0] == row["row"]
        assert cells[5:] == shown(row, "correct_if_matched")


def test_table4_has_the_papers_rows(one: tuple[Built, dict[str, str]]) -> None:
    built = one[0]
    rows = [row[0].replace(r"$^\dag$", "") for row in lines(plain.build(built)["table4"])]
    papers = [str(row) if row != "-" else "--" for row in built.paper[4]["Submethod"]]
    assert [row for row in rows[1:] if not row.startswith(r"\multicolumn")] == papers


def test_table6_has_all_environments(three: tuple[Built, dict[str, str]]) -> None:
    built = three[0]
    assert built.games is not None
    text = plain.build(built)["table6"]
    for environment in built.games.results.environments.values():
        assert text.count(rf"{{{environment.column}, $n = \num{{12}}$}}") == 3  # a float a learner
    arms = built.games.table6.arms
    cell = arms.iloc[0]
    assert latex.number(cell["score"], 3) in text


def test_seeds_stand_beside_their_mean(three: tuple[Built, dict[str, str]]) -> None:
    built = three[0]
    frame = built.table3[built.table3["items"] == "all"]
    text = plain.build(built)["table3"]
    for values in frame["score_by_seed"]:
        assert r"\,/\,".join(map(latex.number, values)) in text
    assert r"seeds \num{0}, \num{1}, \num{2}" in text
    assert "One seed" not in plain.build(built)["table5"]


def test_seeds_of_tables_2_and_8(three: tuple[Built, dict[str, str]]) -> None:
    built, beside = three
    assert built.games is not None
    tables = plain.build(built)
    metrics = ("recall", "precision", "f1", "accuracy")
    own = [
        [latex.seeds(row[f"{of}_by_seed"]) for of in metrics] for _, row in built.table2.iterrows()
    ]
    for text in (tables["table2"], beside["table2_beside"]):
        rows = lines(text)
        assert ["By seed", "Recall", "Precision", "F1", "Accuracy"] in rows
        assert [row[1:] for row in rows if len(row) == 5][-len(own) - 1 :][1:] == own
    frame = built.games.table8
    students = frame[frame["role"] == "student"]
    names = ["bbh", "bbsr", "MBPP"]
    for text in (tables["table8"], beside["table8_beside"]):
        rows = lines(text)
        (head,) = (at for at, row in enumerate(rows) if row[0] == "By seed")
        assert rows[head][1:4] == ["BBH", "BBSR", "MBPP"]
        shown = {row[0]: row[1:4] for row in rows[head + 1 :] if len(row) in (4, 5)}
        for _, row in students.iterrows():
            assert shown[row["label"]] == [latex.seeds(row[f"{of}_by_seed"]) for of in names]
        teacher = frame.iloc[0]
        assert latex.seeds(teacher["feedback_by_seed"]) in [row[-1] for row in rows]


def test_one_seed_has_no_columns_of_seeds(one: tuple[Built, dict[str, str]]) -> None:
    built, beside = one
    texts = {**plain.build(built), **beside}
    for name in ("table2", "table2_beside", "table8", "table8_beside"):
        assert "by seed" not in texts[name].lower()


def test_table1(one: tuple[Built, dict[str, str]]) -> None:
    text = plain.build(one[0])["table1"]
    assert [row[2:] for row in lines(text)[1:]] == [
        [r"$\times$", "?"],
        [r"$\times$", r"$\checkmark$"],
        [r"$\checkmark$", r"$\checkmark$"],
    ]
    beside = table1.beside(one[0])
    assert {r"\ref{tab:table5}", r"\ref{tab:table8}"} <= set(re.findall(r"\\ref\{.*?\}", beside))


def test_every_reference_has_its_label(
    one: tuple[Built, dict[str, str]],
    three: tuple[Built, dict[str, str]],
    questions: tuple[Built, dict[str, str]],
) -> None:
    for built, beside in (one, three, questions):
        texts = [*plain.build(built).values(), table1.beside(built), *beside.values()]
        labels = re.findall(r"\\label\{(.*?)\}", "".join(texts))
        assert len(labels) == len(set(labels))
        assert set(re.findall(r"\\ref\{(.*?)\}", "".join(texts))) <= set(labels)


@pytest.mark.parametrize("which", ["one", "three", "questions"])
def test_tables_fit_a_plain_article(
    tmp_path: Path, which: str, request: pytest.FixtureRequest
) -> None:
    needs_pdflatex()
    built, beside = request.getfixturevalue(which)
    texts = {**plain.build(built), "table1_beside": table1.beside(built), **beside}
    assert page(tmp_path, texts) == []


def test_hostile_labels(tmp_path: Path, questions: tuple[Built, dict[str, str]]) -> None:
    needs_pdflatex()
    built = questions[0]
    hostile = [text for text in HOSTILE if text.isprintable() or "\n" in text]
    labels = [hostile[n % len(hostile)] for n in range(len(built.table3))]
    third = built.table3.assign(condition_label=labels)
    fields = {name: getattr(built, name) for name in built.__dataclass_fields__}
    found = plain.build(Built(**{**fields, "table3": third}))["table3"]
    assert [line for line in page(tmp_path, {"3": found}) if "Overfull" not in line] == []


# Figure 1

CARD = 'Describe "kite" without the words "wind", "string".'


def say(text: str, reason: FinishReason = "stop") -> Exchange:
    messages = (Message(role="user", content=CARD),)
    return Exchange(messages=messages, reply=Completion(text=text, finish_reason=reason))


def said_on(answers: list[Exchange], told: str | None, again: list[Exchange]) -> Example:
    of: dict[str, Any] = {"item": "own/0", "suite": "games", "task": "taboo", "split": "test"}
    return Example(
        Trajectory(**of, model="small", seed=0, exchanges=tuple(answers)),
        Feedback(
            **of,
            condition="plain_words",
            student="small",
            teacher="tutor",
            seed=0,
            status="ok" if told is not None else "refusal",
            text=told,
            exchange=None,
        ),
        Trajectory(
            **of,
            model="small",
            seed=0,
            exchanges=tuple(again),
            condition="plain_words",
            feedback=told,
        ),
    )


LABELS = {"small": "Small", "tutor": "Tutor & co", "plain_words": "In plain words"}


def test_marks_what_changed() -> None:
    before, after = figure1.differences("It flies on a string.", "It flies high on a line.")
    assert [word.text for word in before if word.changed] == ["string."]
    assert [word.text for word in after if word.changed] == ["high", "line."]
    text = figure1.to_tex(
        said_on([say("It flies on a string.")], "Name no string.", [say("It flies high.")]),
        LABELS,
        "own",
    )
    assert r"It flies \sout{on} \sout{a} \sout{string.}\par" in text
    assert r"It flies \textbf{\uline{high.}}\par" in text
    assert "Name no string." in text
    assert r"Student Small; teacher Tutor \& co; condition In plain words" in text


def test_same_answer_has_no_mark() -> None:
    same = said_on([say("A toy.")], "Say more.", [say("A toy.")])
    assert not same.differ
    assert not re.search(r"\\(?:sout|uline)", figure1.to_tex(same, LABELS, "own"))
    assert said_on([say("A toy.")], "Say more.", [say("A red toy.")]).differ


def test_descriptions_are_compared_and_guesses_are_not() -> None:
    text = figure1.to_tex(
        said_on(
            [say("A toy."), say("Answer: ball")],
            "Say more.",
            [say("A red toy."), say("Answer: kite", reason="length")],
        ),
        LABELS,
        "own",
    )
    assert "\\emph{Description:}\nA \\textbf{\\uline{red}} toy." in text
    assert "\\emph{Guess, from the description alone:}\nAnswer: ball\\par" in text
    assert r"Answer: kite \emph{(cut by the token limit)}" in text
    assert r"\textbf{\uline{kite}}" not in text


def test_no_reply_and_no_feedback_are_said() -> None:
    text = figure1.to_tex(said_on([say("", "refusal")], None, [say("A toy.")]), LABELS, "own")
    assert r"\emph{(no reply: refusal)}" in text
    assert r"\emph{(none: refusal)}" in text


def test_long_texts_end_with_a_count() -> None:
    long = " ".join(f"word{n}" for n in range(400))
    text = figure1.to_tex(said_on([say(long)], "Shorter.", [say("A toy.")]), LABELS, "own")
    assert r"\emph{[\num{250} more words]}" in text
    assert "word150" not in text


def test_figure1_refuses_parts_of_others() -> None:
    whole = said_on([say("A toy.")], "Say more.", [say("A red toy.")])
    other = whole.revision.model_copy(update={"item": "own/1"})
    with pytest.raises(UserError, match=r"Figure 1: own/0: .* not of one cell"):
        figure1.to_tex(whole._replace(revision=other), LABELS, "own")
    other = whole.revision.model_copy(update={"feedback": "Else."})
    with pytest.raises(UserError, match="follows another feedback"):
        figure1.to_tex(whole._replace(revision=other), LABELS, "own")


def test_figure1_typesets_whatever_was_said(tmp_path: Path) -> None:
    needs_pdflatex()
    (tmp_path / "secret.tex").write_text("LEAKED", encoding="utf-8")
    long = "x" * 300 + " " + "\U0001f600" * 80
    texts = {
        text: figure1.to_tex(
            said_on([say(text + " old")], f"{text} {long}", [say(f"new {text} {long}")]),
            LABELS,
            "own",
        )
        for text in HOSTILE
    }
    texts = {name: text.replace(r"\label{fig:figure1}", "") for name, text in texts.items()}
    assert page(tmp_path, texts, [*PACKAGES, "ulem"]) == []
    log = (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
    assert "secret" not in log
    assert not (tmp_path / "pwned").exists()


# Figure 2

PROMPTS = sorted((ROOT / "prompts").glob("*/*.jinja"))


def test_prompts_are_printed_literally() -> None:
    text = figure2.to_tex(PROMPTS)
    blocks = re.findall(
        r"\\textbf\{([^}]*?)\}\}\\par\\nopagebreak\n.*?\\relax\}\n(.*?)^\}$",
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    found = {
        name.replace(r"\_", "_"): [
            read_back(line.removesuffix(r"\par").replace(r"\mbox{}", ""))
            for line in body.splitlines()
        ]
        for name, body in blocks
    }
    assert found == {
        f"{path.parent.name}/{path.name}": path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        for path in PROMPTS
    }


def test_prompts_stand_in_the_order_of_the_pipeline() -> None:
    steps = re.findall(r"\\textbf\{(\w+)/", figure2.to_tex(reversed(PROMPTS)))
    known = ["respond", "feedback", "revise", "judge", "select", "clean", "export"]
    assert list(dict.fromkeys(steps))[: len(known)] == known
    assert figure2.to_tex(reversed(PROMPTS)) == figure2.to_tex(PROMPTS)


def test_prompts_of_other_scripts_typeset(tmp_path: Path) -> None:
    needs_pdflatex()
    prompt = tmp_path / "respond" / "task.jinja"
    prompt.parent.mkdir()
    body = "\n".join((*(" ".join(text.split()) for text in HOSTILE if text != "\ud800 lone"), ""))
    prompt.write_text(body, encoding="utf-8")
    text = figure2.to_tex([prompt, *PROMPTS])
    assert page(tmp_path, {"2": text}, [*PACKAGES, "caption"]) == []


# report.tex


def write_report(folder: Path, built: Built, beside: dict[str, str], prose: str = "") -> None:
    """Write all that report.tex needs, with more prose at its end."""
    tables = folder / "tables"
    tables.mkdir()
    texts = {**plain.build(built), "table1_beside": table1.beside(built), **beside}
    example = said_on([say("A toy.")], "Say more.", [say("A red toy.")])
    texts["figure1"] = figure1.to_tex(example, LABELS, built.scale)
    texts["figure2"] = figure2.to_tex(PROMPTS)
    for name, text in texts.items():
        (tables / f"{name}.tex").write_text(text, encoding="utf-8")
    (folder / "figures").mkdir()
    shutil.copy(ROOT / "reports" / "figures" / "training.pdf", folder / "figures" / "own.pdf")
    (folder / "numbers.tex").write_text(numbers.build(built), encoding="utf-8")
    figures = [document.Figure("own", "A figure", "Of 100 % & more_of_it.")]
    text = document.build(built, figures, numbers.values(built), example=True)
    text = text.replace(r"\end{document}", prose + "\n\\end{document}")
    (folder / "report.tex").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("which", ["one", "questions"])
def test_report_typesets_to_the_same_bytes(
    tmp_path: Path, which: str, request: pytest.FixtureRequest
) -> None:
    needs_pdflatex()
    built, beside = request.getfixturevalue(which)
    found = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        write_report(folder, built, beside)
        done = typeset(folder, "report")
        assert done.returncode == 0, done.stdout[-2000:]
        assert complaints(folder, "report") == []
        found.append((folder / "report.pdf").read_bytes())
    assert found[0] == found[1]
    assert str(tmp_path).encode() not in found[0]


def test_prose_quotes_only_what_there_is(questions: tuple[Built, dict[str, str]]) -> None:
    built = questions[0]
    values = numbers.values(built)
    del values["run/items"]
    with pytest.raises(KeyError, match="run/items"):
        document.build(built, [], values)


def test_report_has_only_what_it_is_given(questions: tuple[Built, dict[str, str]]) -> None:
    built = questions[0]
    text = document.build(built, [], numbers.values(built))
    for name in ("figure1", "claims", "table6", "games_retry", r"\drawn{"):
        assert name not in text
    values = numbers.values(built)
    text = document.build(built, [], values, claims=["claims"], more=["points"])
    assert r"\input{tables/claims}" in text
    assert r"\input{tables/points}" in text


def test_report_counts_claims(questions: tuple[Built, dict[str, str]]) -> None:
    built = questions[0]
    values = numbers.values(built, {"ours": {"supported": 2, "not tested": 1}})
    text = " ".join(document.build(built, [], values, claims=["claims"]).split())
    said = r"\resultnum{claims/ours/supported} supported, \resultnum{claims/ours/not_tested} not"
    assert f"By this run they are: {said} tested." in text
    assert "By the paper's own figures they are" not in text
