"""The claims of the paper's text, each as a check on evidence.

A claim is made of comparisons and what it says of them; what is compared, and what vague words are
taken to mean, stands in the docstring of its check. Which claim is which, where it stands and what
it says is in data/paper/claims.csv.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from math import hypot, inf, isnan
from typing import NamedTuple

from stages.reporting.claiming import logic
from stages.reporting.claiming.evidence import (
    BASELINE,
    Cell,
    Estimate,
    Evidence,
    Measure,
    Missing,
    Row,
    Term,
    difference,
)
from stages.reporting.claiming.logic import Verdict
from stages.stats import Interval

EXPLICIT, IMPLICIT = ("Explicit",), ("Implicit",)
TEACHER_ANSWER, GROUND_TRUTH, LAZY = ("Teacher Answer",), ("Ground Truth",), ("Lazy",)
OTHER_ITEM = ("Another Item",)
SAMPLED, IDENTIFIED, ORACLE = (
    ("Negative Sampling", row) for row in ("-", "Error Identification", "Ground Truth")
)
RESAMPLED, RESAMPLED_ORACLE = (
    ("Negative Resampling (No Feedback)", row) for row in ("-", "Ground Truth")
)
ALONE, TOLD = "Best-of-k (No Feedback)", "Best-of-k (/w Feedback)"
SELECTORS = ("Student Logits", "Student Choice", "Teacher Choice")
IMITATIVE_DPO, FEEDBACK_DPO = ("Imitative DPO",), ("Feedback DPO",)
IMITATIVE_SFT, FEEDBACK_SFT = ("Imitative SFT",), ("Feedback SFT",)
CLEANED = ("Feedback SFT*",)
METHODS = (IMITATIVE_DPO, FEEDBACK_DPO, IMITATIVE_SFT, FEEDBACK_SFT, CLEANED)
FOLLOWING = "Feedback Following Finetuning"
BY_CONSTRUCTION = "by construction, the retries being the same"
OFTEN = 0.1
"""What happens in more than one case of ten happens often, in fewer rarely."""
SUBSTANTIAL = 0.1
"""A gain of ten points is substantial."""
STRUGGLE = 0.75
"""Half-way between chance and certainty: balanced accuracy below it shows a struggle."""
PERFECT = 0.95
"""Recall above it is perfect."""

_UNITS: dict[Measure, str] = {
    "score": "score",
    "match_rate": "match rate",
    "correct_if_matched": "correct if matched",
    "recall": "recall",
    "precision": "precision",
    "balanced_accuracy": "balanced accuracy",
    "unflagged": "share not flagged",
    "lost": "share of right answers lost",
    "lost_match": "share of matched answers that lose the match",
}


class Part(NamedTuple):
    """One comparison of a claim.

    Attributes:
        what: was compared, in words.
        estimate: of it.
        verdict: on what the claim says of it.
        toward: how far the estimate lies towards what the claim says.
        counted: whether the estimate is a number of environments.
        reason: what else there is to say of the verdict.
    """

    what: str
    estimate: Estimate
    verdict: Verdict
    toward: float
    counted: bool = False
    reason: str = ""


class Outcome(NamedTuple):
    """The verdict on a claim, and the comparisons behind it.

    Attributes:
        verdict: on the claim.
        parts: what was compared.
        note: what else there is to say of the claim, whatever its verdict.
        either: whether it holds where one part does, rather than where all do.
    """

    verdict: Verdict
    parts: Sequence[Part]
    note: str = ""
    either: bool = False

    @property
    def decisive(self) -> Part:
        """The comparison that the verdict rests on.

        Of those with this verdict, the weakest; where one part is enough, the strongest.
        """
        own = [part for part in self.parts if part.verdict == self.verdict]
        if self.either:
            return max(own, key=lambda part: -inf if isnan(part.toward) else part.toward)
        return min(own, key=lambda part: -inf if isnan(part.toward) else part.toward)

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, and the note."""
        lost = sum(part.verdict == Verdict.CONTRADICTED for part in self.parts)
        one_sided = not self.either and 0 < lost < len(self.parts)
        several = f"by {lost} of {len(self.parts)} comparisons, not corrected for their number"
        return "; ".join(filter(None, (self.decisive.reason, several * one_sided, self.note)))


Check = Callable[[Evidence], Outcome]
CHECKS: dict[str, Check] = {}


def check(of: Check) -> Check:
    """Register the check of the claim that has its name.

    Raises:
        ValueError: the claim has one.
    """
    if of.__name__ in CHECKS:
        raise ValueError(f"{of.__name__} has a check")
    CHECKS[of.__name__] = of
    return of


def _all(parts: Iterable[Part], note: str = "") -> Outcome:
    """Return the outcome of a claim that holds where every part does."""
    found = list(parts)
    if not found:
        raise Missing("nothing to compare")
    return Outcome(logic.every([part.verdict for part in found]), found, note)


def _some(parts: Sequence[Part]) -> Outcome:
    """Return the outcome of a claim that holds where one part does."""
    return Outcome(logic.some([part.verdict for part in parts]), parts, either=True)


# Comparisons.


def _signed(found: Estimate, verdict: Verdict) -> tuple[Verdict, str]:
    """Return a verdict that rests on a sign, undecided where seeds of a method have both."""
    signs = {(value > 1e-9) - (value < -1e-9) for value in found.seeds}
    if verdict == Verdict.UNDECIDED or signs in (set(), {1}, {-1}):
        return verdict, ""
    return Verdict.UNDECIDED, "seeds differ in sign"


def _above(what: str, found: Estimate) -> Part:
    verdict, reason = _signed(found, logic.above(found.interval))
    return Part(what, found, verdict, found.value, reason=reason)


def _below(what: str, found: Estimate) -> Part:
    verdict, reason = _signed(found, logic.below(found.interval))
    return Part(what, found, verdict, -found.value, reason=reason)


def _sized(what: str, found: Estimate, verdict: Verdict, toward: float, margin: float) -> Part:
    """Return a part of a claim that a difference counts as none, or as none in one direction."""
    reason = ""
    if verdict == Verdict.CONTRADICTED:
        verdict, reason = _signed(found, verdict)
        if not reason and logic.undecided_size(found.interval, margin):
            reason = f"differs from 0; not shown to exceed the margin of {margin:g}"
    return Part(what, found, verdict, toward, reason=reason)


def _similar(evidence: Evidence, what: str, *terms: Term) -> Part:
    found, narrow = evidence.contrast(*terms), evidence.narrow(*terms)
    margin = evidence.setting.margin
    verdict = logic.similar(found.interval, narrow, margin)
    return _sized(what, found, verdict, -abs(found.value), margin)


def _no_better(evidence: Evidence, student: str, one: Row, other: Row) -> Part:
    terms = difference(student, one, other)
    found, narrow = evidence.contrast(*terms), evidence.narrow(*terms)
    margin = evidence.setting.margin
    verdict = logic.no_better(found.interval, narrow, margin)
    return _sized(_minus(student, one, other), found, verdict, -found.value, margin)


def _no_worse(evidence: Evidence, student: str, one: Row, other: Row) -> Part:
    terms = difference(student, one, other)
    found, narrow = evidence.contrast(*terms), evidence.narrow(*terms)
    margin = evidence.setting.margin
    verdict = logic.no_worse(found.interval, narrow, margin)
    return _sized(_minus(student, one, other), found, verdict, found.value, margin)


def _no_more(evidence: Evidence, what: str, found: Estimate) -> Part:
    """Return the part that a difference is no gain, of which there is no 90 % interval.

    That of 95 % stands in for it: it asks for more.
    """
    margin = evidence.setting.margin
    verdict = logic.no_better(found.interval, found.interval, margin)
    return _sized(what, found, verdict, -found.value, margin)


def _higher(
    evidence: Evidence, student: str, one: Row, other: Row, measure: Measure = "score"
) -> Part:
    found = evidence.contrast(*difference(student, one, other, measure))
    return _above(_minus(student, one, other, measure), found)


def _lower(
    evidence: Evidence, student: str, one: Row, other: Row, measure: Measure = "score"
) -> Part:
    found = evidence.contrast(*difference(student, one, other, measure))
    return _below(_minus(student, one, other, measure), found)


def _minus(student: str, one: Row, other: Row, measure: Measure = "score") -> str:
    return f"{student}: {_name(one)} minus {_name(other)}, {_UNITS[measure]}"


def _name(row: Row) -> str:
    block, *rest = row
    if not rest:
        return block
    return f"{block}, {rest[0] if rest[0] != '-' else 'none'}"


def _gain_of_gains(student: str, other: str, row: Row) -> list[Term]:
    """Return the contrast of what two students gain by a row over their baselines."""
    return [*difference(student, row, BASELINE), *difference(other, BASELINE, row)]


def _sizes(evidence: Evidence) -> tuple[str, Sequence[str]]:
    """Return the largest student and the smaller ones.

    Raises:
        Missing: there are not two students of known size.
    """
    largest, *smaller = evidence.setting.sizes or ("",)
    if not smaller:
        raise Missing("one student of known size")
    return largest, smaller


def _count(
    what: str, found: Sequence[Estimate], verdicts: Sequence[Verdict], needed: int, sign: int
) -> Part:
    """Return the part that a claim holds in at least so many of some environments.

    Its estimate is in how many it does, its interval from those in which it is shown to those in
    which the contrary is not.
    """
    value = sum(sign * own.value > 1e-9 for own in found)
    low = verdicts.count(Verdict.SUPPORTED)
    high = len(verdicts) - verdicts.count(Verdict.CONTRADICTED)
    counted = Estimate(float(value), float(low), float(high), len(found))
    return Part(what, counted, logic.at_least(needed, verdicts), float(value), counted=True)


def _against_baseline(evidence: Evidence, method: Row) -> list[Estimate]:
    names = evidence.setting.environments
    if not names:
        raise Missing("no games and code")
    return [evidence.played(method, BASELINE, name) for name in names]


# Feedback at test time (sections 5.1.1 and 5.1.2).


@check
def feedback_quality(evidence: Evidence) -> Outcome:
    """Retries on the feedback score above retries on the feedback on another item.

    This measures what the students make of it as well: good feedback that none can use fails.
    """
    setting = evidence.setting
    return _all(
        _higher(evidence, student, (setting.base,), OTHER_ITEM) for student in setting.students
    )


@check
def small_students_gain_less(evidence: Evidence) -> Outcome:
    """Unconstrained feedback gains the largest student more than each smaller one."""
    largest, smaller = _sizes(evidence)
    row = (evidence.setting.base,)
    return _all(
        _above(
            f"gain by {row[0]}: {largest} minus {student}, score",
            evidence.contrast(*_gain_of_gains(largest, student, row)),
        )
        for student in smaller
    )


@check
def small_students_add_noise(evidence: Evidence) -> Outcome:
    """Retries of each smaller student lose a larger share of its right answers."""
    largest, smaller = _sizes(evidence)
    row = (evidence.setting.base,)
    return _all(
        _above(
            f"{row[0]}: {student} minus {largest}, share of right answers lost",
            evidence.contrast(
                Term(1.0, Cell(student, row, "lost")), Term(-1.0, Cell(largest, row, "lost"))
            ),
        )
        for student in smaller
    )


@check
def teacher_misses_errors(evidence: Evidence) -> Outcome:
    """Balanced accuracy of the explicit verdict is below `STRUGGLE`: so we read the word."""
    parts = []
    for student in evidence.setting.students:
        found = evidence.contrast(Term(1.0, Cell(student, EXPLICIT, "balanced_accuracy")))
        verdict = logic.inside(found.interval, high=STRUGGLE)
        what = f"{student}: Explicit, balanced accuracy, below {STRUGGLE}"
        parts.append(Part(what, found, verdict, -found.value))
    return _all(parts)


@check
def detection_inverse_to_ability(evidence: Evidence) -> Outcome:
    """Balanced accuracy is higher for the smaller of any two students.

    Precision, F1 and accuracy depend on the share of wrong answers, which is higher for smaller
    students; recall does not, but rises where more is flagged, right answers among it.
    """
    _sizes(evidence)
    return _all(
        _above(
            f"Explicit: {small} minus {large}, balanced accuracy",
            evidence.contrast(
                Term(1.0, Cell(small, EXPLICIT, "balanced_accuracy")),
                Term(-1.0, Cell(large, EXPLICIT, "balanced_accuracy")),
            ),
        )
        for large, small in combinations(evidence.setting.sizes, 2)
    )


@check
def recall_drops_for_largest(evidence: Evidence) -> Outcome:
    """Recall is lower for the largest student than for each smaller one."""
    largest, smaller = _sizes(evidence)
    return _all(
        _below(
            f"Explicit: {largest} minus {student}, recall",
            evidence.contrast(
                Term(1.0, Cell(largest, EXPLICIT, "recall")),
                Term(-1.0, Cell(student, EXPLICIT, "recall")),
            ),
        )
        for student in smaller
    )


@check
def implicit_flags_nearly_all(evidence: Evidence) -> Outcome:
    """Recall of the implicit verdict is above `PERFECT`, its precision no better than flagging all.

    The precision of flagging all is the share of wrong answers, which is 1 less the score.
    """
    parts = []
    for student in evidence.setting.students:
        found = evidence.contrast(Term(1.0, Cell(student, IMPLICIT, "recall")))
        verdict = logic.inside(found.interval, low=PERFECT)
        what = f"{student}: Implicit, recall, at least {PERFECT}"
        parts.append(Part(what, found, verdict, found.value - PERFECT))
        terms = (Cell(student, IMPLICIT, "precision"), Cell(student, BASELINE))
        found = _less(evidence.contrast(*(Term(1.0, cell) for cell in terms)), 1.0)
        what = f"{student}: Implicit minus share of wrong answers, precision"
        parts.append(_no_more(evidence, what, found))
    return _all(parts)


@check
def teacher_rarely_declines(evidence: Evidence) -> Outcome:
    """By "no feedback needed", the implicit verdict, fewer than `OFTEN` of the answers pass."""
    parts = []
    for student in evidence.setting.students:
        found = evidence.contrast(Term(1.0, Cell(student, IMPLICIT, "unflagged")))
        verdict = logic.inside(found.interval, high=OFTEN)
        what = f"{student}: Implicit, share not flagged, below {OFTEN}"
        parts.append(Part(what, found, verdict, -found.value))
    return _all(parts)


def _less(found: Estimate, by: float) -> Estimate:
    return found._replace(value=found.value - by, low=found.low - by, high=found.high - by)


@check
def no_evidence_of_detection(evidence: Evidence) -> Outcome:
    """Balanced accuracy of the explicit verdict is no better than chance, which is 0.5."""
    parts = []
    for student in evidence.setting.students:
        found = evidence.contrast(Term(1.0, Cell(student, EXPLICIT, "balanced_accuracy")))
        what = f"{student}: Explicit minus chance, balanced accuracy"
        parts.append(_no_more(evidence, what, _less(found, 0.5)))
    return _all(parts)


def _conditions(evidence: Evidence) -> list[tuple[str, Row]]:
    """Return every student with every condition of the paper."""
    setting = evidence.setting
    return [(student, (row,)) for student in setting.students for row in setting.conditions]


@check
def every_condition_helps(evidence: Evidence) -> Outcome:
    """Every student scores above its baseline under every condition."""
    return _all(_higher(evidence, own, row, BASELINE) for own, row in _conditions(evidence))


@check
def low_requirement_gains_are_small(evidence: Evidence) -> Outcome:
    """Conditions that do not see the ground truth gain every student more than 0, less than .05."""
    parts = []
    for student, row in _conditions(evidence):
        if row[0] not in evidence.setting.told:
            found = evidence.contrast(*difference(student, row, BASELINE))
            verdict = logic.inside(found.interval, 0.0, 0.05)
            toward = min(found.value, 0.05 - found.value)
            parts.append(Part(_minus(student, row, BASELINE), found, verdict, toward))
    return _all(parts)


@check
def match_rate_falls_everywhere(evidence: Evidence) -> Outcome:
    """The match rate of every student is below its baseline's under every condition."""
    return _all(
        _lower(evidence, own, row, BASELINE, "match_rate") for own, row in _conditions(evidence)
    )


@check
def match_rate_falls_at_every_scale(evidence: Evidence) -> Outcome:
    """The mean match rate over the conditions is below the baseline's, for every student."""
    parts = []
    setting = evidence.setting
    for student in setting.students:
        share = 1 / len(setting.conditions)
        terms = [Term(share, Cell(student, (row,), "match_rate")) for row in setting.conditions]
        found = evidence.contrast(*terms, Term(-1.0, Cell(student, BASELINE, "match_rate")))
        parts.append(_below(f"{student}: mean over conditions minus Baseline, match rate", found))
    return _all(parts)


@check
def matched_answers_gain(evidence: Evidence) -> Outcome:
    """Correct-if-matched of every student rises more than its score under every condition."""
    parts = []
    for student, row in _conditions(evidence):
        terms = (
            *difference(student, row, BASELINE, "correct_if_matched"),
            *difference(student, BASELINE, row),
        )
        what = f"{student}: gain by {row[0]} in correct if matched minus in score"
        parts.append(_above(what, evidence.contrast(*terms)))
    return _all(parts, "other items are matched in each arm")


@check
def matched_answers_lose_the_format(evidence: Evidence) -> Outcome:
    """Of matched first answers, more lose the match by a retry on feedback than by a plain one."""
    setting = evidence.setting
    return _all(
        _higher(evidence, student, (setting.base,), RESAMPLED, "lost_match")
        for student in setting.students
    )


@check
def lazy_is_the_ceiling(evidence: Evidence) -> Outcome:
    """Every student scores higher under Lazy than under every other condition."""
    if LAZY[0] not in evidence.setting.conditions:
        raise Missing("no Lazy condition")
    return _all(
        _higher(evidence, own, LAZY, row) for own, row in _conditions(evidence) if row != LAZY
    )


@check
def retries_often_have_artefacts(evidence: Evidence) -> Outcome:
    """More than `OFTEN` of all retries to be cleaned speak of the feedback or of the update.

    Artefacts are counted where the cleaned text was taken, of which the estimate is; the interval
    is of all, whether those whose artefacts are not known have none or all have some.
    """
    share, change = evidence.artefacts()
    verdict = logic.inside(share.interval, low=OFTEN)
    what = f"retries with an artefact, share of the {change.n} whose cleaned text was taken"
    return _all([Part(what, share, verdict, share.value)], f"interval over all {share.n} retries")


@check
def small_students_cannot_use_the_answer(evidence: Evidence) -> Outcome:
    """Told the answer (Lazy), each smaller student gains less than `SUBSTANTIAL`."""
    _, smaller = _sizes(evidence)
    parts = []
    for student in smaller:
        found = evidence.contrast(*difference(student, LAZY, BASELINE))
        verdict = logic.inside(found.interval, high=SUBSTANTIAL)
        what = f"{_minus(student, LAZY, BASELINE)}, below {SUBSTANTIAL}"
        parts.append(Part(what, found, verdict, -found.value))
    return _all(parts)


@check
def largest_has_the_highest_ceiling(evidence: Evidence) -> Outcome:
    """Conditions that see the ground truth gain the largest student more than each smaller one."""
    largest, smaller = _sizes(evidence)
    return _all(
        _above(
            f"gain by {row}: {largest} minus {student}, score",
            evidence.contrast(*_gain_of_gains(largest, student, (row,))),
        )
        for row in evidence.setting.told
        for student in smaller
    )


# Modifications (section 5.2), of the student in focus.


@check
def error_identification_helps(evidence: Evidence) -> Outcome:
    """Keeping answers that the teacher calls correct scores above retrying all."""
    return _all([_higher(evidence, evidence.setting.focus, IDENTIFIED, SAMPLED)])


@check
def ground_truth_identifies_better(evidence: Evidence) -> Outcome:
    """Keeping answers that are correct scores above keeping those called so.

    It cannot score below, the retries being the same: the check can support or leave open.
    """
    part = _higher(evidence, evidence.setting.focus, ORACLE, IDENTIFIED)
    return _all([part], f"cannot be below {BY_CONSTRUCTION}")


@check
def scalable_strategies_are_weaker(evidence: Evidence) -> Outcome:
    """The two strategies that do not see the ground truth each score below the one that does.

    Of these, keeping answers called correct cannot score above keeping correct ones.
    """
    focus = evidence.setting.focus
    part = _lower(evidence, focus, IDENTIFIED, ORACLE)
    return _all(
        [_lower(evidence, focus, TEACHER_ANSWER, GROUND_TRUTH), part],
        f"Error Identification cannot be above {BY_CONSTRUCTION}",
    )


@check
def ground_truth_gains_half(evidence: Evidence) -> Outcome:
    """Keeping correct answers scores 25 to 75 % above the original.

    That is half-way to the neighbouring figures as round, nothing and twice. The original can be
    either retrying all, the row that it is compared with, or the baseline: one of them is enough.
    """
    focus = evidence.setting.focus
    parts = []
    for other in (SAMPLED, BASELINE):
        found = evidence.ratio(Cell(focus, ORACLE), Cell(focus, other))
        what = f"{focus}: {_name(ORACLE)} over {_name(other)}, ratio of scores, 1.25 to 1.75"
        verdict = logic.inside(found.interval, 1.25, 1.75)
        parts.append(Part(what, found, verdict, -abs(found.value - 1.5)))
    return _some(parts)


@check
def resampling_gains_alike(evidence: Evidence) -> Outcome:
    """Resampling wrong first answers gains as much on these as negative sampling on retrying all.

    Gains are compared in points, not as ratios. Neither can be below 0, correct answers being kept,
    so that this is not asked.
    """
    focus = evidence.setting.focus
    terms = (
        *difference(focus, RESAMPLED_ORACLE, BASELINE),
        *difference(focus, SAMPLED, ORACLE),
    )
    what = f"{focus}: gain by Ground Truth without feedback minus with, score"
    return _all([_similar(evidence, what, *terms)])


@check
def best_of_k_gains_alike(evidence: Evidence) -> Outcome:
    """Each way to choose gains among plain answers, and as much as among retries."""
    focus = evidence.setting.focus
    parts = []
    for row in SELECTORS:
        parts.append(_higher(evidence, focus, (ALONE, row), (ALONE, "-")))
        terms = (
            *difference(focus, (ALONE, row), (ALONE, "-")),
            *difference(focus, (TOLD, "-"), (TOLD, row)),
        )
        what = f"{focus}: gain by {row} without feedback minus with, score"
        parts.append(_similar(evidence, what, *terms))
    return _all(parts)


@check
def feedback_tuning_is_poor(evidence: Evidence) -> Outcome:
    """Tuned to follow feedback, the student answers and retries no better than before."""
    focus, base = evidence.setting.focus, (evidence.setting.base,)
    parts = []
    for row in ("SFT", "DPO"):
        parts.append(_no_better(evidence, focus, (FOLLOWING, row), BASELINE))
        parts.append(_no_better(evidence, focus, (FOLLOWING, f"{row} + Feedback"), base))
    return _all(parts)


# Finetuning (section 5.3).


@check
def trained_on_feedback_like_on_teacher(evidence: Evidence) -> Outcome:
    """Feedback SFT* scores as Imitative SFT does."""
    focus = evidence.setting.focus
    terms = difference(focus, CLEANED, IMITATIVE_SFT)
    return _all([_similar(evidence, _minus(focus, CLEANED, IMITATIVE_SFT), *terms)])


@check
def on_par_with_imitation_and_preferences(evidence: Evidence) -> Outcome:
    """Feedback SFT* scores no worse than Imitative SFT, nor Feedback DPO than Imitative DPO."""
    focus = evidence.setting.focus
    pairs = ((CLEANED, IMITATIVE_SFT), (FEEDBACK_DPO, IMITATIVE_DPO))
    return _all(_no_worse(evidence, focus, *pair) for pair in pairs)


@check
def dpo_is_poor(evidence: Evidence) -> Outcome:
    """Neither Imitative DPO nor Feedback DPO scores better than the baseline."""
    focus = evidence.setting.focus
    return _all(_no_better(evidence, focus, row, BASELINE) for row in (IMITATIVE_DPO, FEEDBACK_DPO))


@check
def feedback_dpo_gain_is_negligible(evidence: Evidence) -> Outcome:
    """Feedback DPO scores as Imitative DPO does."""
    focus = evidence.setting.focus
    terms = difference(focus, FEEDBACK_DPO, IMITATIVE_DPO)
    return _all([_similar(evidence, _minus(focus, FEEDBACK_DPO, IMITATIVE_DPO), *terms)])


@check
def feedback_sft_underperforms(evidence: Evidence) -> Outcome:
    """Feedback SFT scores below Imitative SFT, and below the baseline."""
    focus = evidence.setting.focus
    return _all(_lower(evidence, focus, FEEDBACK_SFT, other) for other in (IMITATIVE_SFT, BASELINE))


@check
def cleaned_beats_baseline(evidence: Evidence) -> Outcome:
    """Feedback SFT* scores above the baseline."""
    return _all([_higher(evidence, evidence.setting.focus, CLEANED, BASELINE)])


@check
def cleaned_beats_uncleaned(evidence: Evidence) -> Outcome:
    """Feedback SFT* scores above Feedback SFT."""
    return _all([_higher(evidence, evidence.setting.focus, CLEANED, FEEDBACK_SFT)])


@check
def cleaned_below_imitation(evidence: Evidence) -> Outcome:
    """Feedback SFT* scores below Imitative SFT."""
    return _all([_lower(evidence, evidence.setting.focus, CLEANED, IMITATIVE_SFT)])


@check
def cleaning_removes_artefacts(evidence: Evidence) -> Outcome:
    """Fewer of the retries have an artefact after cleaning than before."""
    _, change = evidence.artefacts()
    return _all([_below("artefacts after cleaning minus before, share of retries", change)])


@check
def learning_needs_cleaning(evidence: Evidence) -> Outcome:
    """Feedback SFT* scores above the baseline, and Feedback SFT no better than it.

    The sentence asks for negative sampling too, which is left out: no comparison takes it away.
    """
    focus = evidence.setting.focus
    return _all(
        [
            _higher(evidence, focus, CLEANED, BASELINE),
            _no_better(evidence, focus, FEEDBACK_SFT, BASELINE),
        ]
    )


@check
def no_method_wins_everywhere(evidence: Evidence) -> Outcome:
    """Each method beats the baseline in some environment, and is beaten by it in some."""
    parts = []
    for method in METHODS:
        found = _against_baseline(evidence, method)
        for word, of, sign in (("above", logic.above, 1), ("below", logic.below, -1)):
            verdicts = [_signed(own, of(own.interval))[0] for own in found]
            what = f"{method[0]}: environments {word} Baseline, at least 1"
            parts.append(_count(what, found, verdicts, 1, sign))
    return _all(parts)


@check
def all_methods_worse_on_most(evidence: Evidence) -> Outcome:
    """Each method scores below the baseline in more than half of the environments."""
    parts = []
    for method in METHODS:
        found = _against_baseline(evidence, method)
        needed = len(found) // 2 + 1
        verdicts = [_signed(own, logic.below(own.interval))[0] for own in found]
        what = f"{method[0]}: environments below Baseline, at least {needed}"
        parts.append(_count(what, found, verdicts, needed, -1))
    return _all(parts)


@check
def no_method_helps_in_games_and_code(evidence: Evidence) -> Outcome:
    """Over all environments, no method scores better than the baseline."""
    return _all(
        _no_more(evidence, _minus_over(method, BASELINE), evidence.played_over(method, BASELINE))
        for method in METHODS
    )


@check
def no_method_is_clearly_best(evidence: Evidence) -> Outcome:
    """Over all environments, each method scores no better than some other does."""
    found = {pair: evidence.played_over(*pair) for pair in combinations(METHODS, 2)}
    found |= {(other, one): _turned(own) for (one, other), own in found.items()}
    parts = []
    for method in METHODS:
        others = [
            _no_more(evidence, _minus_over(*pair), own)
            for pair, own in found.items()
            if pair[0] == method
        ]
        parts.append(_some(others).decisive)
    return _all(parts)


def _minus_over(one: Row, other: Row) -> str:
    return f"{one[0]} minus {other[0]}, mean share of the best score over environments"


def _turned(found: Estimate) -> Estimate:
    seeds = tuple(-value for value in found.seeds)
    return Estimate(-found.value, -found.high, -found.low, found.n, seeds)


@check
def imitation_stronger_on_most(evidence: Evidence) -> Outcome:
    """Feedback SFT* is below Imitative SFT on more than half of the environments and BBH."""
    names = evidence.setting.environments
    if not names:
        raise Missing("no games and code")
    found = [evidence.played(CLEANED, IMITATIVE_SFT, name) for name in names]
    focus = evidence.setting.focus
    found.append(evidence.contrast(*difference(focus, CLEANED, IMITATIVE_SFT)))
    needed = len(found) // 2 + 1
    verdicts = [_signed(own, logic.below(own.interval))[0] for own in found]
    what = f"{CLEANED[0]}: environments and BBH below {IMITATIVE_SFT[0]}, at least {needed}"
    return _all([_count(what, found, verdicts, needed, -1)])


# What the experiments rest on (section 4).


@check
def teacher_is_worth_its_price(evidence: Evidence) -> Outcome:
    """The chosen teacher scores more a dollar than each other, on each benchmark."""
    chosen, *others = evidence.teachers()
    parts = []
    for other in others:
        for name in chosen.scores:
            if name not in other.scores:
                raise Missing(f"{other.label}: no {name}")
            one, two = chosen.scores[name], other.scores[name]
            value = one.value / chosen.price - two.value / other.price
            less = hypot((one.value - one.low) / chosen.price, (two.high - two.value) / other.price)
            more = hypot((one.high - one.value) / chosen.price, (two.value - two.low) / other.price)
            interval = Interval(value - less, value + more)
            what = f"{chosen.label} minus {other.label}, {name} a dollar a million tokens"
            parts.append(_above(what, Estimate(value, *interval, min(one.n, two.n))))
    if not parts:
        raise Missing("one teacher")
    return _all(parts)


@check
def tests_passed_exceed_programs_passed(evidence: Evidence) -> Outcome:
    """The share of tests passed is 5 to 15 points above that of programs that pass all."""
    found = evidence.code_gap()
    verdict = logic.inside(found.interval, 0.05, 0.15)
    what = "Baseline: tests passed minus programs passing all, share"
    return _all([Part(what, found, verdict, -abs(found.value - 0.1))])
