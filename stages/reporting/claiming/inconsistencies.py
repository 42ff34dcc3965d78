"""Where the paper does not agree with itself, recomputed from its printed figures.

Each check says what is printed, what follows from other figures or from the text, and whether the
two agree: `inconsistent` only where no rounding can reconcile them (see `reporting.printed`), but
for #14, which a test decides. The number is that of the notes on the paper. Where the text is held
against figures, or against itself, the kind says so; what no printed figure decides is listed as
such. The verdicts on #2, #19, #22, #23 and #25 are constants: no figure bears on them.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import nan
from typing import Literal, NamedTuple

import pandas as pd

from stages.reporting import table5
from stages.reporting.claiming.evidence import BASELINE, Row, difference
from stages.reporting.claiming.printed import BEST, PLAYED, PrintedEvidence
from stages.reporting.printed import Range, consistent_ratio, implied, rounding

CONSISTENT, INCONSISTENT = "consistent", "inconsistent"
NOT_DECIDABLE = "not decidable from the paper"

Kind = Literal["figures", "text and figures", "text"]
Paper = Mapping[int, pd.DataFrame]
_SIZES = ("7B", "1.5B", "0.5B")
_CONDITION = ("Unconstrained",)
_FOLLOWING = "Feedback Following Finetuning"


class Found(NamedTuple):
    """What a check finds.

    Attributes:
        printed: what the paper says.
        follows: what its other figures or words imply.
        verdict: whether the two agree.
        detail: what else there is to say of it.
    """

    printed: str
    follows: str
    verdict: str
    detail: str = ""


class Inconsistency(NamedTuple):
    """A check of the paper against itself.

    Attributes:
        number: in the notes on the paper, section 5a.
        where: in the paper.
        kind: what is held against what.
        check: of the paper's tables 2 to 6 and 8 as text, by number.
    """

    number: int
    where: str
    kind: Kind
    check: Callable[[Paper], Found]


CHECKS: list[Inconsistency] = []


def _register(
    number: int, where: str, kind: Kind
) -> Callable[[Callable[[Paper], Found]], Callable[[Paper], Found]]:
    def add(of: Callable[[Paper], Found]) -> Callable[[Paper], Found]:
        CHECKS.append(Inconsistency(number, where, kind, of))
        return of

    return add


# Printed figures, and text of them.


def _row(table: pd.DataFrame, *labels: str) -> "pd.Series[str]":
    rows = table
    for place, label in enumerate(labels):
        rows = rows[rows.iloc[:, place] == label]
    return rows.iloc[0]


def _score(paper: Paper, row: Row, size: str = "7B") -> str:
    """Return a printed score: of Table 4 by block and row, else of Table 3 by its row."""
    if len(row) == 2:
        return str(_row(paper[4], *row)["Score"])
    return str(_row(paper[3], size, *row)["Downstream Performance"])


def _trained(paper: Paper, method: str) -> str:
    return str(_row(paper[5], "Qwen2 7B", method)["Score"])


def _span(of: Range, places: int = 3) -> str:
    return f"{float(of.low):.{places}f} to {float(of.high):.{places}f}"


def _agree(agrees: bool) -> str:
    return CONSISTENT if agrees else INCONSISTENT


def _evidence(paper: Paper, *, rounded: bool) -> PrintedEvidence:
    return PrintedEvidence(paper, margin=nan, rounded=rounded)  # nothing here asks for a margin


def _balanced(paper: Paper, size: str) -> Range:
    """Return what balanced accuracy the printed recall, precision and share of errors allow."""
    row, wrong = _row(paper[2], "Explicit", size), _row(paper[2], "Implicit", size)["Precision"]

    def balanced(recall: Fraction, precision: Fraction, share: Fraction) -> Fraction:
        return (
            recall + max(1 - recall * share * (1 / precision - 1) / (1 - share), Fraction(0))
        ) / 2

    return implied(balanced, row["Recall"], row["Precision"], wrong)


def _f1(recall: Fraction, precision: Fraction, share: Fraction) -> Fraction:
    return 2 * precision * recall / (precision + recall)


def _accuracy(recall: Fraction, precision: Fraction, share: Fraction) -> Fraction:
    return recall * share + 1 - share - recall * share * (1 / precision - 1)


@_register(1, "Table 2, Explicit 7B", "figures")
def swapped(paper: Paper) -> Found:
    """F1 and accuracy stand in each other's place."""
    row, wrong = _row(paper[2], "Explicit", "7B"), _row(paper[2], "Implicit", "7B")["Precision"]
    figures = (row["Recall"], row["Precision"], wrong)
    f1, accuracy = implied(_f1, *figures), implied(_accuracy, *figures)
    agrees = f1.meets(rounding(row["F1"])) and accuracy.meets(rounding(row["Accuracy"]))
    swap = f1.meets(rounding(row["Accuracy"])) and accuracy.meets(rounding(row["F1"]))
    return Found(
        f"F1 {row['F1']}, accuracy {row['Accuracy']}",
        f"F1 {_span(f1)}, accuracy {_span(accuracy)}",
        _agree(agrees),
        "the two fit when swapped" if swap and not agrees else "",
    )


@_register(2, "Table 2, caption", "text")
def averages(paper: Paper) -> Found:
    """The caption's "macro-averages" are by its own gloss micro-averages."""
    return Found(
        "macro-averages",
        "across all samples: the micro-average",
        NOT_DECIDABLE,
        "no figure tells the two apart",
    )


@_register(3, "5.1.1", "text and figures")
def inverse(paper: Paper) -> Found:
    """The teacher detects errors better in weaker students, says the text."""
    found = {size: _balanced(paper, size) for size in _SIZES}
    # In the order of the text, detection never falls towards smaller students.
    agrees = all(
        found[small].high >= found[large].low
        for place, large in enumerate(_SIZES)
        for small in _SIZES[place + 1 :]
    )
    spans = ", ".join(f"{size} {_span(found[size], 2)}" for size in _SIZES)
    return Found(
        "detection rises as the student's ability falls",
        f"by balanced accuracy it does not: {spans}"
        if not agrees
        else f"balanced accuracy {spans}",
        _agree(agrees),
        "printed recall, F1 and accuracy do rise; precision, F1 and accuracy depend on the share of"
        " wrong answers, and recall rises because more is flagged: specificity falls",
    )


@_register(4, "Tables 2 and 3", "figures")
def base_rates(paper: Paper) -> Found:
    """The implicit verdict flags all, so its precision is the share of wrong answers."""
    parts = {}
    for size in _SIZES:
        wrong = _row(paper[2], "Implicit", size)["Precision"]
        right = _score(paper, BASELINE, size)
        other = implied(lambda score: 1 - score, right)
        parts[size] = (wrong, other, rounding(wrong).meets(other))
    odd = [size for size, own in parts.items() if not own[2]]
    return Found(
        "share of wrong answers " + ", ".join(f"{size} {own[0]}" for size, own in parts.items()),
        "1 - score " + ", ".join(f"{size} {_span(own[1])}" for size, own in parts.items()),
        _agree(not odd),
        f"no rounding reconciles {', '.join(odd)}; another sample would explain it" if odd else "",
    )


def _cells(paper: Paper, column: str) -> list[tuple[str, str, str]]:
    """Return size, condition, figure and baseline's of a column of Table 3, but its baselines."""
    return [
        (
            f"{row.iloc[0]} {row.iloc[1]}",
            row[column],
            _row(paper[3], row.iloc[0], *BASELINE)[column],
        )
        for _, row in paper[3].iterrows()
        if row.iloc[1] != BASELINE[0]
    ]


@_register(5, "5.1.2", "text and figures")
def across_the_board(paper: Paper) -> Found:
    """Scores increase "across the board"."""
    cells = _cells(paper, "Downstream Performance")
    fallen = [cell for cell in cells if rounding(cell[1]).high <= rounding(cell[2]).low]
    return Found(
        "scores increase across the board",
        f"{len(fallen)} of {len(cells)} do not"
        + "".join(f"; {name} {own} against {base}" for name, own, base in fallen),
        _agree(not fallen),
    )


@_register(6, "5.1.2; Table 3, caption", "text and figures")
def match_rates(paper: Paper) -> Found:
    """Match rates fall "across the board" and "across model scales"."""
    cells = _cells(paper, "Regex Match Rate")
    risen = [cell for cell in cells if rounding(cell[1]).low >= rounding(cell[2]).high]
    names = ", ".join(name for name, *_ in risen)
    return Found(
        "the match rate falls across the board",
        f"{len(risen)} of {len(cells)} do not" + (f": {names}" if names else ""),
        _agree(not risen),
    )


@_register(7, "Table 4, SFT and DPO", "figures")
def following_ratios(paper: Paper) -> Found:
    """Correct-if-matched is the score over the match rate."""
    rows = {name: _row(paper[4], _FOLLOWING, name) for name in ("SFT", "DPO")}
    ratios = {
        name: implied(lambda a, b: a / b, row["Score"], row["Regex Match Rate"])
        for name, row in rows.items()
    }
    agrees = all(
        consistent_ratio(row["Score"], row["Regex Match Rate"], row["Correct if Matched"])
        for row in rows.values()
    )
    return Found(
        ", ".join(f"{name} {row['Correct if Matched']}" for name, row in rows.items()),
        ", ".join(f"{name} {_span(ratio)}" for name, ratio in ratios.items()),
        _agree(agrees),
        "score over match rate",
    )


@_register(8, "Table 4, SFT + Feedback", "figures")
def copied(paper: Paper) -> Found:
    """The row has the three figures of unconstrained feedback to the untuned student."""
    own = list(_row(paper[4], _FOLLOWING, "SFT + Feedback").iloc[2:])
    other = list(_row(paper[3], "7B", *_CONDITION).iloc[2:])
    return Found(
        "/".join(own),
        f"{'/'.join(other)} without tuning",
        NOT_DECIDABLE if own == other else CONSISTENT,
        "equal in all three; possibly a copy" if own == other else "",
    )


@_register(9, "Tables 3 and 4", "figures")
def sampled_anew(paper: Paper) -> Found:
    """Best-of-k without a selector is the unconstrained condition."""
    own = list(_row(paper[4], "Best-of-k (/w Feedback)", "-").iloc[2:])
    other = list(_row(paper[3], "7B", *_CONDITION).iloc[2:])
    agrees = all(rounding(a).meets(rounding(b)) for a, b in zip(own, other, strict=True))
    return Found(
        "/".join(own),
        f"{'/'.join(other)} in Table 3",
        CONSISTENT if agrees else NOT_DECIDABLE,
        "" if agrees else "the mean of all candidates is another sample than the one retry",
    )


@_register(10, "5.2", "text and figures")
def half_above(paper: Paper) -> Found:
    """Negative sampling by the ground truth is "50% above the original"."""
    oracle = _score(paper, ("Negative Sampling", "Ground Truth"))
    others = {
        "retrying all": _score(paper, ("Negative Sampling", "-")),
        "baseline": _score(paper, BASELINE),
    }
    gains = {
        name: implied(lambda a, b: 100 * (a / b - 1), oracle, other)
        for name, other in others.items()
    }
    agrees = any(gain.meets(rounding("50")) for gain in gains.values())
    return Found(
        "50 % above the original",
        ", ".join(f"{_span(gain, 1)} % over {name}" for name, gain in gains.items()),
        CONSISTENT if agrees else NOT_DECIDABLE,
        "" if agrees else "which original is not stated; in tens both can be 50",
    )


@_register(11, "5.2", "text and figures")
def resampling(paper: Paper) -> Found:
    """Resampling ordinary responses gains "in proportion"; no row says so."""
    blocks = list(dict.fromkeys(paper[4].iloc[:, 0]))
    known = [block for block in blocks if "Resampling" in block]
    return Found(
        "a proportional increase of the base model",
        f"Table 4 has {', '.join(blocks)}",
        CONSISTENT if known else NOT_DECIDABLE,
        "" if known else "no figure is given",
    )


@_register(12, "Table 5, Feedback DPO", "figures")
def post_match(paper: Paper) -> Found:
    """The post-match score is the score over the match rate."""
    bad = table5.contradictions(paper[5])
    row = _row(paper[5], "Qwen2 7B", "Feedback DPO")
    ratio = implied(lambda a, b: a / b, row["Score"], row["Regex Match Rate"])
    return Found(
        f"post-match {row['Post-Match Score']}",
        f"{_span(ratio)}, score over match rate",
        _agree(not bad),
        f"rows that no rounding reconciles: {', '.join(bad)}" if bad else "",
    )


@_register(13, "Table 5, caption", "text and figures")
def every_size(paper: Paper) -> Found:
    """The caption announces each model size."""
    sizes, shown = set(paper[3].iloc[:, 0]), sorted(set(paper[5].iloc[:, 0]))
    agrees = {student.removeprefix("Qwen2 ") for student in shown} >= sizes
    return Found("results for each Qwen2 model size", f"rows of {', '.join(shown)}", _agree(agrees))


@_register(14, "abstract; 1; 5.3", "text and figures")
def similar(paper: Paper) -> Found:
    """Learning from feedback does "similarly", "on par", and "less performant"."""
    own, other = _trained(paper, "Feedback SFT*"), _trained(paper, "Imitative SFT")
    gap = implied(lambda a, b: a - b, own, other)
    terms = difference("7B", ("Feedback SFT*",), ("Imitative SFT",))
    found = _evidence(paper, rounded=True).contrast(*terms)
    return Found(
        "similar to training on the teacher's responses; less performant (5.3)",
        f"{own} against {other}, a difference of {_span(gap)}",
        _agree(not found.interval.excludes_zero()),
        f"95 % interval at n = {found.n}: {found.low:.3f} to {found.high:.3f}",
    )


@_register(15, "5.2", "text and figures")
def best_of_k(paper: Paper) -> Found:
    """Best-of-k boosts ordinary trajectories "similarly"."""
    gains = {
        row: [
            implied(lambda a, b: a - b, _score(paper, (block, row)), _score(paper, (block, "-")))
            for block in ("Best-of-k (No Feedback)", "Best-of-k (/w Feedback)")
        ]
        for row in ("Student Logits", "Student Choice", "Teacher Choice")
    }
    agrees = all(alone.meets(told) for alone, told in gains.values())
    return Found(
        "similar gains with feedback and without",
        "gains without and with feedback: "
        + ", ".join(
            f"{row} {_span(alone)} and {_span(told)}" for row, (alone, told) in gains.items()
        ),
        CONSISTENT if agrees else NOT_DECIDABLE,
        "" if agrees else "how near is similar is not stated, and the items are not published",
    )


@_register(16, "5.3", "text and figures")
def majority_worse(paper: Paper) -> Found:
    """All methods are below the baseline "on a majority of the tasks"."""
    environments = list(paper[6].columns[2:])
    base = _row(paper[6], "Qwen2 7B", *BASELINE)
    counts = {}
    for _, row in paper[6].iloc[2:].iterrows():
        worse = sum(Fraction(row[name]) < Fraction(base[name]) for name in environments)
        better = sum(Fraction(row[name]) > Fraction(base[name]) for name in environments)
        counts[str(row.iloc[1])] = (worse, better)
    majority = [name for name, (worse, _) in counts.items() if 2 * worse > len(environments)]
    return Found(
        "all methods below the baseline on a majority of tasks",
        "below and above: " + ", ".join(f"{name} {w}/{b}" for name, (w, b) in counts.items()),
        _agree(len(majority) == len(counts)),
        f"true of {', '.join(majority) or 'none'}",
    )


@_register(17, "Tables 6 and 8", "figures")
def teacher_games(paper: Paper) -> Found:
    """The teacher's mean over the games is printed twice."""
    printed = str(_row(paper[8], "GPT-4-o-mini")["BBSR"])
    row = _row(paper[6], "Teacher")
    columns = [name for name in paper[6].columns[2:] if name != "MBPP"]
    figures = [row[name] for name in columns]

    def mean(*scores: Fraction, best: bool) -> Fraction:
        shares = (
            score / (Fraction(BEST.get(name, 1)) if best else 1)
            for name, score in zip(columns, scores, strict=True)
        )
        return sum(shares, Fraction(0)) / len(columns)

    raw = implied(lambda *own: mean(*own, best=False), *figures)
    halved = implied(lambda *own: mean(*own, best=True), *figures)
    return Found(
        f"BBSR {printed} in Table 8",
        f"mean of Table 6 {_span(raw)}, Taboo halved {_span(halved)}",
        _agree(any(of.meets(rounding(printed)) for of in (raw, halved))),
        "Table 8's caption admits another evaluation",
    )


@_register(18, "Table 6, SPB", "figures")
def above_teacher(paper: Paper) -> Found:
    """A student that imitates the teacher spells far better than it."""
    own = str(_row(paper[6], "Qwen2 7B", "Imitative DPO")["SPB"])
    teacher = str(_row(paper[6], "Teacher")["SPB"])
    above = rounding(own).low > rounding(teacher).high
    return Found(
        f"Imitative DPO {own}",
        f"teacher {teacher}",
        NOT_DECIDABLE if above else CONSISTENT,
        "the scale of SPB is not stated" if above else "",
    )


@_register(19, "Table 6, caption; 5.3", "text")
def which_condition(paper: Paper) -> Found:
    """Caption and text name different feedback conditions."""
    return Found(
        "unconstrained (caption)", "teacher answer (text)", INCONSISTENT, "which ran is open"
    )


@_register(20, "4.1; Table 8", "text and figures")
def students_missing(paper: Paper) -> Found:
    """Table 8 is to have students and teachers."""
    models = [str(name) for name in paper[8].iloc[:, 0]]
    students = [name for name in models if any(size in name for size in _SIZES)]
    return Found(
        "student and teacher models in Table 8",
        f"rows of {', '.join(models)}",
        _agree(bool(students)),
    )


@_register(21, "Table 8, price", "text and figures")
def one_price(paper: Paper) -> Found:
    """Tokens read and tokens written have different prices."""
    prices = [str(name) for name in paper[8] if "Cost" in str(name)]
    return Found(
        f"{len(prices)} column: {', '.join(prices)}",
        "tokens read and tokens written cost differently",
        CONSISTENT if len(prices) > 1 else NOT_DECIDABLE,
        "" if len(prices) > 1 else "the figures are those of tokens read; no date is given",
    )


@_register(22, "4.1, footnote 1", "text")
def source(paper: Paper) -> Found:
    """The data set cited has not the sizes stated."""
    return Found(
        "tasksource/bigbench",
        "100 train and about 150 test items fit the files of 250 items of the original release",
        NOT_DECIDABLE,
    )


@_register(23, "Figure 3", "text")
def configurations(paper: Paper) -> Found:
    """The two configurations are written in different syntaxes."""
    return Found(
        "key:value for SFT; key=value and key:value for DPO",
        "remove_unused_columns is True for SFT, False for DPO",
        NOT_DECIDABLE,
        "what ran is not published",
    )


@_register(24, "5.1.2", "text and figures")
def called_an_increase(paper: Paper) -> Found:
    """Unconstrained feedback raises the score of the 7B student."""
    own, base = _score(paper, _CONDITION), _score(paper, BASELINE)
    found = _evidence(paper, rounded=False).contrast(*difference("7B", _CONDITION, BASELINE))
    shown = found.low > 0
    return Found(
        f"an increase from {base} to {own}",
        f"difference {found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}"
        f" at n = {found.n}, unpaired",
        CONSISTENT if shown else NOT_DECIDABLE,
        "" if shown else "items and seeds that would decide it are not published",
    )


@_register(25, "Table 6", "text and figures")
def sizes_unstated(paper: Paper) -> Found:
    """How many items an environment has is not stated."""
    evidence = _evidence(paper, rounded=False)
    methods = [(str(name),) for name in paper[6].iloc[2:, 1]]
    found = [
        evidence.played(method, BASELINE, name)
        for method in methods
        for name in evidence.setting.environments
    ]
    shown = sum(own.interval.excludes_zero() for own in found)
    return Found(
        "no number of items",
        f"at n = {PLAYED}, {shown} of {len(found)} differences from the baseline exclude 0",
        NOT_DECIDABLE,
        "the number of items is an assumption",
    )
