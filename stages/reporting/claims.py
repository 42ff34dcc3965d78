"""The paper's claims and contradictions, checked (no table of the paper's).

What its text claims in words and figures can bear on is a check (`claiming.checks`) that is run
twice: on this run, and on the paper's own printed figures. Claims use 95 % intervals that are not
adjusted for how many claims there are, nor for how many comparisons a claim has; each table says
how many were tested. A claim about a training method has no verdict from one seed, whichever way:
its contrary is such a claim as well; from several, none that rests on a sign where seeds differ in
it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd

from stages.errors import UserError
from stages.reporting import load
from stages.reporting.built import Built
from stages.reporting.claiming import inconsistencies
from stages.reporting.claiming.checks import CHECKS, EXPLICIT, Outcome
from stages.reporting.claiming.evidence import Evidence, Missing
from stages.reporting.claiming.logic import Verdict
from stages.reporting.claiming.ours import OurEvidence
from stages.reporting.claiming.printed import ITEMS, PLAYED, PrintedEvidence
from stages.reporting.latex import render

TABLES = (2, 3, 4, 5, 6, 8)
"""The paper's tables that claims and contradictions are of."""
NOT_TESTED = "not_tested"
VERDICTS = (*Verdict, NOT_TESTED)
TRAINING = "training"
BY_TEACHER = ("detection", "teacher")
"""Kinds of claims of which a verdict is one on the teacher."""
COLUMNS = (
    *("id", "section", "claim", "kind", "verdict", "estimate", "low", "high", "n", "seeds"),
    *("compared", "counted", "comparisons", *Verdict, "reason", "detail"),
)
INCONSISTENCY_COLUMNS = (
    *("id", "section", "kind", "claim", "follows", "verdict", "estimate", "low", "high", "n"),
    *("note", "detail"),
)


@dataclass(frozen=True)
class Claims:
    """What became of the paper's claims.

    Attributes:
        ours: a row a claim, by this run; the columns `COLUMNS`.
        printed: the same by the paper's own figures.
        inconsistencies: a row a place where the paper's figures contradict each other, or its text;
            the columns `INCONSISTENCY_COLUMNS`.
    """

    ours: pd.DataFrame
    printed: pd.DataFrame
    inconsistencies: pd.DataFrame


def build(built: Built, paper: Path) -> Claims:
    """Return all claims and contradictions, checked.

    Args:
        built: the tables of the run.
        paper: folder with the paper's figures and the list of its claims.

    Returns:
        Of a claim, `estimate`, `low` and `high` are those of the comparison that its verdict rests
        on: of those of its `comparisons` with this verdict, the one that lies least towards the
        claim; `compared` says which it is. Where `counted`, they are numbers of environments: of
        which it holds, is shown to hold, and is not shown not to. `seeds`
        is NaN where they are not stated. `n` is what the estimate is over: of a rate of some items,
        how many these are. `detail` has all of it in words.

    Raises:
        UserError: a file is missing, or the list is not that of the checks.
    """
    table = load.read_paper(paper / "claims.csv")
    if sorted(table["id"]) != sorted(CHECKS):
        odd = sorted(set(table["id"]) ^ set(CHECKS)) or ["one twice"]
        raise UserError(f"{paper / 'claims.csv'}: not the claims that are checked: {odd[0]}")
    margin = built.config.equivalence_margin
    figures = {number: load.read_paper(paper / f"table{number}.csv") for number in TABLES}
    ours = OurEvidence(built)
    theirs = PrintedEvidence(figures, margin)
    literal = PrintedEvidence(figures, margin, rounded=False)
    listed = table.to_dict(orient="records")
    return Claims(
        _frame([_checked(of, ours, teacher=theirs.setting.teacher) for of in listed]),
        _frame([_checked(of, theirs, literal) for of in listed]),
        _contradictions(figures),
    )


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _checked(
    claim: Mapping[Any, str],
    evidence: Evidence,
    literal: Evidence | None = None,
    teacher: str = "",
) -> dict[str, Any]:
    """Return the row of one claim.

    Args:
        claim: its row of the list.
        evidence: what it is checked on.
        literal: the same without the rounding of what is printed, if any.
        teacher: the printed name of the paper's, where the evidence may be of another.
    """
    row: dict[str, Any] = {str(name): text for name, text in claim.items()}
    row |= dict.fromkeys(("estimate", "low", "high", "n", "seeds"), nan)
    row |= {"verdict": NOT_TESTED, "compared": "", "counted": False, "comparisons": 0}
    row |= dict.fromkeys(Verdict, 0)
    check = CHECKS[claim["id"]]
    try:
        outcome = check(evidence)
    except Missing as missing:
        return row | {"reason": str(missing), "detail": f"not tested: {missing}"}
    seeds = evidence.setting.seeds
    verdict, reasons = outcome.verdict, [outcome.reason]
    decisive, estimate = outcome.decisive, outcome.decisive.estimate
    if claim["kind"] == TRAINING and seeds == 1:
        verdict, reasons = Verdict.UNDECIDED, ["one seed", outcome.note]
    elif claim["kind"] == TRAINING and seeds is None and verdict != Verdict.UNDECIDED:
        reasons.append("seeds not stated: over items alone")
    elif verdict == Verdict.UNDECIDED and isnan(estimate.low):
        reasons.append("too few answers for an interval")
    elif verdict == Verdict.UNDECIDED and literal is not None:
        exact = check(literal).verdict
        if exact != verdict:
            reasons.append(f"{exact} were it not for the rounding of what is printed")
    if not decisive.counted and abs(estimate.high - estimate.low) < 1e-12:
        reasons.append("no item differs")
    if claim["kind"] in BY_TEACHER and teacher:
        if _plain(evidence.setting.teacher) != _plain(teacher):
            reasons.append(f"teacher: {evidence.setting.teacher}")
        if EXPLICIT[0] in decisive.what:
            reasons.append(evidence.setting.unparsable)
    reason = "; ".join(filter(None, reasons))
    counts = Counter(part.verdict for part in outcome.parts)
    return row | {
        "verdict": str(verdict),
        "estimate": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": float(estimate.n),
        "seeds": nan if seeds is None else float(seeds),
        "compared": decisive.what,
        "counted": decisive.counted,
        "comparisons": len(outcome.parts),
        **{str(name): counts[name] for name in Verdict},
        "reason": reason,
        "detail": _detail(outcome, reason),
    }


def _plain(name: str) -> str:
    """Return a model's name as it is compared: GPT-4-o-mini is GPT-4o-mini."""
    return "".join(filter(str.isalnum, name.casefold()))


def _detail(outcome: Outcome, reason: str) -> str:
    """Return in words what was compared, and why the verdict is what it is."""
    text = outcome.decisive.what
    if len(outcome.parts) > 1:
        counts = Counter(part.verdict for part in outcome.parts)
        shown = ", ".join(f"{counts[name]} {name}" for name in Verdict if counts[name])
        text += f" (of {len(outcome.parts)} comparisons: {shown})"
    return f"{text}; {reason}" if reason else text


def _contradictions(figures: inconsistencies.Paper) -> pd.DataFrame:
    rows = []
    for own in inconsistencies.CHECKS:
        found = own.check(figures)
        rows.append(
            {
                "id": str(own.number),
                "section": own.where,
                "kind": own.kind,
                "claim": found.printed,
                "follows": found.follows,
                "verdict": found.verdict,
                **dict.fromkeys(("estimate", "low", "high", "n"), nan),
                "note": found.detail,
                "detail": f"{found.follows}; {found.detail}" if found.detail else found.follows,
            }
        )
    return pd.DataFrame(rows, columns=list(INCONSISTENCY_COLUMNS))


def headline(claims: Claims) -> dict[str, dict[str, int]]:
    """Return how many claims came out how, by whose figures they were checked."""
    return {
        name: {str(verdict): int((frame["verdict"] == verdict).sum()) for verdict in VERDICTS}
        for name, frame in (("ours", claims.ours), ("printed", claims.printed))
    }


def to_csv(frame: pd.DataFrame) -> str:
    """Return a frame of `Claims` as CSV: numbers to six places."""
    frame = frame.copy()
    for column in ("n", "seeds"):
        if column in frame:
            frame[column] = frame[column].astype("Int64")
    numbers = frame.select_dtypes("float").columns
    frame[numbers] = frame[numbers].round(6) + 0.0
    return frame.to_csv(index=False, lineterminator="\n")


# Rows that a page of a plain article holds.
_PAGE = 10
_CONTRADICTIONS = 13


def to_tex(claims: Claims, about: Mapping[str, object]) -> str:
    """Return both verdicts on each claim as LaTeX, floats of a page each.

    Args:
        claims: what `build` returns.
        about: what captions say: `scale`, `draws`.
    """
    beside = claims.printed.set_index("id").to_dict(orient="index")
    rows: list[dict[Any, Any]] = []
    for row in claims.ours.to_dict(orient="records"):
        sides = [_side(of) for of in (row, beside[row["id"]])]
        rows.append({**row, "sides": sides, "of": _both(row, beside[row["id"]])})
    tested = {name: sum(of[v] for v in Verdict) for name, of in headline(claims).items()}
    return render(
        Path(__file__).with_name("claims.tex.jinja"),
        pages=_paged(rows, _PAGE),
        tested=tested,
        total=len(rows),
        items=ITEMS,
        played=PLAYED,
        **about,
    )


def _side(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return one verdict as it is printed."""
    decimals = 0 if row["counted"] else 2
    return {**row, "word": str(row["verdict"]).replace("_", " "), "decimals": decimals}


def _both(own: Mapping[Any, Any], other: Mapping[Any, Any]) -> list[str]:
    """Return what was compared, once where it is the same on both sides."""
    texts = []
    for name, row in (("this run", own), ("paper", other)):
        counts = f" (of {row['comparisons']})" if row["comparisons"] > 1 else ""
        if row["compared"]:
            texts.append(f"{name}: {row['compared']}{counts}")
    return texts


def inconsistencies_to_tex(claims: Claims) -> str:
    """Return the contradictions of the paper as LaTeX, floats of a page each."""
    rows = claims.inconsistencies.to_dict(orient="records")
    return render(
        Path(__file__).with_name("inconsistencies.tex.jinja"),
        pages=_paged(rows, _CONTRADICTIONS),
        counts=dict(Counter(row["verdict"] for row in rows)),
    )


def _paged(rows: list[dict[Any, Any]], size: int) -> list[list[dict[Any, Any]]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
