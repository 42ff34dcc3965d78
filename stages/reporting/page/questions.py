"""The page's tables of questions: 1 to 5, and those that the paper does not have."""

from collections.abc import Mapping

import pandas as pd

from stages.reporting.built import Built
from stages.reporting.page.cells import (
    Cell,
    Make,
    Row,
    count,
    figure,
    p_value,
    printed,
    rate,
    words,
)
from stages.reporting.page.cells import seeds as by_seed
from stages.reporting.page.table import Column, Shelf, beside
from stages.reporting.transitions import printed_identity

RATES = {
    "match_rate": "Regex match rate",
    "score": "Score",
    "correct_if_matched": "Correct if matched",
}
_DETECTION = {
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "accuracy": "Accuracy",
}
_IMPLIED = {
    "specificity": "Specificity",
    "balanced_accuracy": "Balanced accuracy",
    "mcc": "MCC",
}
_ENDS = {
    "unparsed": "unparsed",
    "truncated": "cut",
    "errored": "errored",
    "kept": "kept",
}
_MOVES = {
    "wrong_right": "wrong → right",
    "right_right": "right → right",
    "right_wrong": "right → wrong",
    "wrong_wrong": "wrong → wrong",
}


def put(built: Built, shelf: Shelf) -> None:
    """Put all of them on the shelf."""
    if 1 in built.paper:
        table1 = built.paper[1]
        heads = [str(head) for head in table1.columns]
        shelf.put("table1", table1, [Column(head, words(head), kind="text") for head in heads])
    _put_table2(built, shelf)
    _put_table3(built, shelf)
    _put_table4(built, shelf)
    _put_table5(built, shelf)
    _put_transitions(built, shelf)
    _put_cleaning(built, shelf)
    of_curve = built.best_of_k.assign(pool=built.best_of_k["pool"].map(_POOLS))
    shelf.put(
        "best_of_k",
        of_curve,
        [
            Column("Chosen by", _label(built.labels, "chooser", "none"), kind="text"),
            Column("k", count("k")),
            Column("Score", rate("score")),
            Column("n", count("n")),
        ],
        ("student_label", "pool"),
    )
    axes = {"step": "Step", "model": "Model", "condition": "Condition"}
    ends = {
        "n": "n",
        "stop": "stop",
        "length": "cut",
        "content_filter": "filtered",
        "refusal": "refused",
        "bad_request": "bad request",
        "error": "failed",
        "empty": "empty",
        "not_asked": "not asked",
    }
    shelf.put(
        "outcomes",
        built.outcomes,
        [
            *(
                Column(head, _label(built.labels, key, ""), kind="text")
                for key, head in axes.items()
            ),
            *(Column(head, count(key)) for key, head in ends.items()),
        ],
        ("suite",),
    )


_POOLS = {"alone": "Without feedback", "conditioned": "With feedback"}


def _label(labels: Mapping[str, str], key: str, none: str) -> Make:
    """Return the printed name of a slug; a dash for `none`."""

    def make(row: Row) -> Cell:
        slug = "" if pd.isna(row[key]) or row[key] == none else str(row[key])
        return words(key)({key: labels.get(slug, slug.replace("_", " "))})

    return make


def _paper(frame: pd.DataFrame, key: str) -> Make | None:
    """Return the paper's figure where the table has any, to stand beside ours."""
    column = f"{key}_paper"
    return printed(column) if frame[column].fillna("").ne("").any() else None


def rates(frame: pd.DataFrame) -> list[Column]:
    """Return match rate, score and their ratio, each beside the paper's where there is one."""
    return [
        column
        for key, head in RATES.items()
        for column in beside(head, rate(key), _paper(frame, key))
    ]


def ends(*names: str) -> list[Column]:
    """Return counts of how answers ended."""
    return [Column(_ENDS[name], count(name), "Answers") for name in names or tuple(_ENDS)]


def difference(of: str, suffix: str = "", never: str = "", test: bool = True) -> list[Column]:
    """Return a paired difference of the score, with its test and what n could have shown."""
    columns = [Column("Δ score", rate("difference", suffix, difference=True, never=never), of)]
    if test:
        columns += [
            Column("p, Holm", p_value(f"p_holm{suffix}"), of),
            Column("MDE", figure(f"smallest_detectable{suffix}"), of),
        ]
    return columns


def _seeds(built: Built, key: str = "score_by_seed") -> list[Column]:
    several = len(built.grid.seeds) > 1
    return [Column("score by seed", by_seed(key), kind="text")] if several else []


def _put_table2(built: Built, shelf: Shelf) -> None:
    frame, by = built.table2, ("verdict_label",)
    head = [Column("Student", words("student_label"), kind="text")]
    columns = [
        column
        for key, name in _DETECTION.items()
        for column in beside(name, rate(key), _paper(frame, key))
    ]
    if len(built.grid.seeds) > 1:
        columns += [
            Column(name, by_seed(f"{key}_by_seed"), "By seed", kind="text")
            for key, name in _DETECTION.items()
        ]
    shelf.put("table2", frame, [*head, *columns, Column("n", count("n"))], by)
    columns = [Column("wrong answers", rate("prevalence"))]
    for key, name in _IMPLIED.items():
        known = frame[f"{key}_implied"].notna().any()
        implied = figure(f"{key}_implied") if known else None
        columns += beside(name, rate(key), implied, "implied")
    columns.append(Column("unreadable verdicts", count("unparsable")))
    shelf.put("table2-more", frame, [*head, *columns, Column("n", count("n"))], by)
    columns = [
        Column(name, make(f"{part}_{key}"), group)
        for part, group in (("matched", "Matched answers"), ("parsed", "Readable verdicts"))
        for key, name, make in (
            ("recall", "recall", rate),
            ("precision", "precision", rate),
            ("balanced_accuracy", "balanced accuracy", rate),
            ("n", "n", count),
        )
    ]
    shelf.put("table2-parts", frame, [*head, *columns], by)


def _put_table3(built: Built, shelf: Shelf) -> None:
    every = built.table3
    frame = every[every["items"] == "all"]
    unflagged = every[every["items"] == "unflagged"].set_index(["student", "condition"])["score"]
    keys = pd.MultiIndex.from_frame(frame[["student", "condition"]])
    frame = frame.assign(unflagged=unflagged.reindex(keys).to_numpy(dtype=float))
    by = ("student_label",)
    head = Column("Condition", words("condition_label", "sees_target"), kind="text")
    change = difference("From the baseline", never="sees_target")
    shelf.put("table3", frame, [head, *rates(frame), change[0], Column("n", count("n"))], by)
    both = "Matched in both"
    shelf.put(
        "table3-more",
        frame,
        [
            head,
            *change,
            Column("Δ", rate("difference_matched"), both),
            Column("n", count("matched_in_both"), both),
            Column("tolerant", rate("tolerant"), "Other scores"),
            Column("macro", rate("macro"), "Other scores"),
            Column("unflagged", figure("unflagged"), "Other scores"),
            *_seeds(built),
            *ends(),
        ],
        by,
    )


def _put_table4(built: Built, shelf: Shelf) -> None:
    by = ("student_label", "block")
    for slug, frame, own in (
        ("table4", built.table4, "From the block's own row –"),
        ("controls", built.controls, f"From {built.config.label(built.grid.base)}"),
    ):
        frame = frame.assign(row=frame["row"].replace("-", "–"))
        head = Column("Row", words("row", "oracle"), kind="text")
        shares = [
            Column("replaced", figure("replaced")),
            Column("unreadable", figure("unreadable")),
        ]
        cost = [
            Column(name, figure(f"{who}_{name}", 0), f"Tokens, {who}")
            for who in ("student", "teacher")
            for name in ("wrote", "read")
        ]
        last = shares if slug == "table4" else cost
        shelf.put(slug, frame, [head, *rates(frame), *last, Column("n", count("n"))], by)
        shelf.put(
            f"{slug}-more",
            frame,
            [
                head,
                *difference(own, "_own", "oracle"),
                *difference("From the baseline", "_baseline", "oracle"),
                Column("tolerant", rate("tolerant")),
                *_seeds(built),
                *ends(),
            ],
            by,
        )


def _put_table5(built: Built, shelf: Shelf) -> None:
    frame, by = built.table5.arms, ("learner_label",)
    head = Column("Method", words("row"), kind="text")
    change = difference("From the baseline")
    shelf.put("table5", frame, [head, *rates(frame), change[0], Column("n", count("n"))], by)
    both = "Matched in both"
    shelf.put(
        "table5-more",
        frame,
        [
            head,
            *change,
            Column("Δ", rate("difference_matched"), both),
            Column("n", count("matched_in_both"), both),
            Column("tolerant", rate("tolerant")),
            Column("wrong → right", rate("wrong_right")),
            Column("right → wrong", rate("right_wrong")),
            *_seeds(built),
            *ends("unparsed", "truncated", "errored"),
            Column("tokens of a reply", rate("length", decimals=0)),
        ],
        by,
    )
    pairs = built.table5.contrasts
    names = dict(zip(frame["method"], frame["row"], strict=True))
    pairs = pairs.assign(
        pair=[
            f"{names[a]} minus {names[b]}"
            for a, b in zip(pairs["first"], pairs["second"], strict=True)
        ],
        ninety_low=pairs["low_90"],
        ninety_high=pairs["high_90"],
        within=_within(pairs),
    )
    shelf.put(
        "table5-pairs",
        pairs,
        [
            Column("Arm against arm", words("pair"), kind="text"),
            *difference("Difference"),
            Column("margin", figure("margin"), "Equivalence"),
            Column("p, Holm", p_value("p_equivalence_holm"), "Equivalence"),
            Column("within the margin", words("within"), "Equivalence", "text"),
            Column("n", count("n")),
        ],
        by,
    )
    put_training(built.runs, built, shelf, "training")


def _within(pairs: pd.DataFrame) -> list[str]:
    inside = (pairs["low_90"] > -pairs["margin"]) & (pairs["high_90"] < pairs["margin"])
    return [
        "" if pd.isna(margin) else ("shown" if shown else "not shown")
        for margin, shown in zip(pairs["margin"], inside, strict=True)
    ]


def put_training(runs: pd.DataFrame, built: Built, shelf: Shelf, slug: str) -> None:
    """Put what training took."""
    wholes = {
        "seed": "seed",
        "models": "models",
        "examples": "examples",
        "dropped": "dropped",
        "steps": "steps",
        "batch": "batch",
        "tokens": "tokens",
        "target_tokens": "in the loss",
    }
    shelf.put(
        slug,
        runs.assign(learner_label=[built.labels[learner] for learner in runs["learner"]]),
        [
            Column("Method", _label(built.labels, "method", ""), kind="text"),
            Column("objective", words("objective"), kind="text"),
            Column("preset", words("preset"), kind="text"),
            *(Column(head, count(key)) for key, head in wholes.items()),
            Column("weights changed", figure("changed", 3)),
            Column("first", figure("first_loss", 3), "Loss"),
            Column("last", figure("last_loss", 3), "Loss"),
            Column("on this machine", words("fallbacks"), kind="prose"),
        ],
        ("learner_label",),
    )


def _put_transitions(built: Built, shelf: Shelf) -> None:
    head = Column("Condition", words("condition_label", "sees_target"), kind="text")
    by = ("student_label",)
    shelf.put(
        "transitions",
        built.transitions,
        [
            head,
            *(Column(name, rate(key), "First answer → retry") for key, name in _MOVES.items()),
            Column("n", count("n")),
        ],
        by,
    )
    shelf.put(
        "leaks",
        built.transitions,
        [
            head,
            Column("own", figure("leak_gold"), "The gold answer"),
            Column("shuffled", figure("shuffled_gold"), "The gold answer"),
            Column("own", figure("leak_other"), "Another answer"),
            Column("shuffled", figure("shuffled_other"), "Another answer"),
            Column("none", figure("leak_none")),
            Column("texts", count("leak_n")),
            Column("share", rate("copied"), "Copied"),
            Column("of", count("copied_n"), "Copied"),
        ],
        by,
    )
    paper = printed_identity(built.paper[2], built.paper[3], built.paper[4])
    named = {built.labels[slug]: own for slug, own in built.identities.items()}
    rows = [{"who": who, **own} for who, own in (*named.items(), ("The paper, 7B", paper))]
    shelf.put(
        "identity",
        pd.DataFrame(rows),
        [
            Column("Student", words("who"), kind="text"),
            Column("measured", figure("scored", 3)),
            Column("exact identity", figure("exact", 3)),
            Column("product form", figure("product", 3)),
            Column("gap", figure("gap", 3)),
        ],
    )


_CLEANED = {
    "status": "What became of a reply",
    "artefact": "Artefacts in taken texts",
    "words": "Length of taken texts",
}


def _put_cleaning(built: Built, shelf: Shelf) -> None:
    shelf.put(
        "cleaning",
        built.cleaning.assign(
            name=built.cleaning["name"].str.replace("_", " "),
            measure=built.cleaning["measure"].map(_CLEANED),
        ),
        [
            Column("Measure", words("name"), kind="text"),
            Column("share or mean", rate("value"), "Before"),
            Column("count", count("count"), "Before"),
            Column("n", count("n")),
            Column("share or mean", rate("after"), "After"),
            Column("difference", rate("difference", difference=True), "After"),
            Column("p, Holm", p_value("p_holm"), "After"),
        ],
        ("learner_label", "measure"),
    )
