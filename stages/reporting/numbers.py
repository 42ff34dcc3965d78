r"""Every number that prose would quote, as LaTeX: `\result{table3/<student>/<condition>/score}`.

Keys are made of the tables themselves: the table, what tells its rows apart, the column. The values
are those of the CSV files, rounded as the tables print them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from stages.reporting import environment_blocks
from stages.reporting.built import Built, BuiltGames
from stages.reporting.latex import MISSING, decimal, escape, p_text, render

# Columns that tables print as whole numbers, whatever the type that holds them.
_WHOLE = frozenset(
    (
        *("n", "seeds", "trajectories", "matched", "discordant", "matched_in_both", "items"),
        *("unparsed", "truncated", "errored", "kept", "unparsable", "count", "margin_n"),
        *("student_wrote", "student_read", "teacher_wrote", "teacher_read"),
        *("models", "examples", "steps", "batch", "tokens", "target_tokens", "trainable"),
        *("dropped", "too_long", "cut", "length", "length_low", "length_high"),
        *("leak_n", "shuffled_n", "copied_n", "told_n", "told_by_chance_n", "feedback_n"),
        *("worse", "same", "better", "worse_shown", "better_shown"),
    )
)
_THREE_DECIMALS = frozenset(("changed", "scored", "exact", "product", "gap"))
# Printed in the unit of an environment, with the decimals of its column in Table 6.
_GRADED = frozenset(
    f"{name}{end}"
    for name in ("score", "score_by_seed", "difference", "smallest_detectable")
    for end in ("", "_low", "_high")
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ENDS = re.compile(r"(.+)_(low|high)_(own|baseline)")
_NO_ROW = "none"


class Frame(NamedTuple):
    """A table: its name, its rows, and the columns that tell them apart."""

    name: str
    rows: pd.DataFrame
    keys: Sequence[str]


def build(built: Built, claims: Mapping[str, Mapping[str, int]] | None = None) -> str:
    """Return numbers.tex: the macros, then a definition a number, by key.

    Args:
        built: all tables.
        claims: how many claims came out how, by whose figures they were checked.
    """
    template = Path(__file__).with_name("numbers.tex.jinja")
    found = values(built, claims)
    example = next(key for key in found if key.startswith("table3/") and key.endswith("/score"))
    texts = {
        key: text if text == MISSING or numeric(text) else escape(text)
        for key, text in found.items()
    }
    return render(template, values=texts, example=example)


def values(built: Built, claims: Mapping[str, Mapping[str, int]] | None = None) -> dict[str, str]:
    """Return every number as text, by key, `--` where a table has none.

    Raises:
        ValueError: two numbers have the same key.
    """
    found: dict[str, str] = dict(_run(built))
    for name, counts in (claims or {}).items():
        found |= {f"claims/{slug(name)}/{slug(of)}": str(n) for of, n in counts.items()}
    places = {}
    if built.games:
        places = {
            of.slug: environment_blocks.decimals(of.column, built.paper[6])
            for of in built.games.results.environments.values()
        }
    for frame in _frames(built):
        for key, value in _values(frame, places, built.grid.seeds):
            if key in found:
                raise ValueError(f"two numbers of {key}")
            found[key] = value
    return found


def slug(text: object) -> str:
    """Return a label as a part of a key: lower-case letters, digits, `_` and `-`."""
    if text is None or (isinstance(text, float) and pd.isna(text)) or text == "":
        return _NO_ROW
    words = str(text).lower().replace("*", " star")
    return re.sub(r"[^a-z0-9_-]+", "_", words).strip("_-") or "plain"


def _run(built: Built) -> Iterator[tuple[str, str]]:
    """Yield what is so of the whole run."""
    items, grid, config = built.results.items, built.grid, built.config
    yield "run/scale", built.scale
    yield "run/teacher", config.label(grid.teacher)
    yield "run/base", config.label(grid.base)
    for of in grid.students:
        yield f"run/student/{slug(of)}", config.label(of)
    for name, count in {
        "students": len(grid.students),
        "seeds": len(grid.seeds),
        "items": len(items),
        "subtasks": items["task"].nunique(),
        "flagged": int(items["flagged"].sum()),
        "resamples": config.bootstrap,
        "k": len(grid.draws),
    }.items():
        yield f"run/{name}", str(count)
    for name in ("chance", "majority"):
        yield f"run/{name}", decimal(float(items[name].mean()))
    yield "run/equivalence_margin", decimal(config.equivalence_margin)


def _frames(built: Built) -> Iterator[Frame]:
    """Yield all tables."""
    third = built.table3
    yield Frame("table2", built.table2, ("student", "verdict"))
    for of, name in (("all", "table3"), ("unflagged", "table3_unflagged")):
        yield Frame(name, third[third["items"] == of], ("student", "condition"))
    yield Frame("table4", built.table4, ("student", "block", "row"))
    yield Frame("controls", built.controls, ("student", "block", "row"))
    yield Frame("transitions", built.transitions, ("student", "condition"))
    yield Frame(
        "error_identification",
        pd.DataFrame([{"student": of, **row} for of, row in built.identities.items()]),
        ("student",),
    )
    yield Frame("best_of_k", built.best_of_k, ("student", "pool", "chooser", "k"))
    yield Frame("table5", built.table5.arms, ("learner", "method"))
    contrasts = built.table5.contrasts.rename(
        columns={"low_90": "difference_90_low", "high_90": "difference_90_high"}
    )
    yield Frame("table5_contrasts", contrasts, ("learner", "first", "second"))
    yield Frame("cleaning", built.cleaning, ("learner", "measure", "name"))
    yield Frame("outcomes", built.outcomes, ("suite", "step", "model", "condition"))
    yield Frame("training", built.runs, ("learner", "method", "seed"))
    if built.games:
        yield from _of_games(built.games)


def _of_games(played: BuiltGames) -> Iterator[Frame]:
    arms = ("learner", "environment", "arm")
    yield Frame("table6", played.table6.arms, arms)
    yield Frame("table6_moves", played.table6.moves, ("learner", "row"))
    yield Frame("table6_training", played.runs, ("learner", "method", "seed"))
    yield Frame("table8", played.table8, ("role", "model"))
    yield Frame("games_retry", played.retry, arms)
    yield Frame("forgetting", played.forgetting.suites, ("learner", "evaluated_on", "arm"))
    yield Frame("forgetting_by_environment", played.forgetting.environments, arms)


def _values(
    frame: Frame, places: Mapping[str, int], seeds: Sequence[int]
) -> Iterator[tuple[str, str]]:
    """Yield key and text of each number of a table."""
    columns = [name for name in frame.rows if name not in frame.keys and _kept(str(name))]
    whole = {name for name in columns if pd.api.types.is_integer_dtype(frame.rows[name])}
    for row in frame.rows.to_dict(orient="records"):
        head = "/".join((frame.name, *(slug(row[key]) for key in frame.keys)))
        environment = places.get(str(row.get("environment")), 2)
        for name in columns:
            column, value = str(name), row[name]
            decimals = environment if column in _GRADED else 2
            key = f"{head}/" + _ENDS.sub(r"\1_\3_\2", column)
            if isinstance(value, list):
                for seed, of in zip(seeds, value, strict=False):
                    yield f"{key}/{seed}", decimal(of, decimals)
            elif isinstance(value, str):
                if _NUMBER.fullmatch(value):
                    yield key, value
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                yield key, _text(column, value, name in whole, decimals)


def _kept(column: str) -> bool:
    """Whether prose would quote a column: not what an interval left out, nor what rows share."""
    return not column.endswith("_dropped") and column not in ("trajectories", "best")


def _text(column: str, value: float, whole: bool, decimals: int) -> str:
    if whole or column in _WHOLE:
        return decimal(value, 0)
    if column == "p" or column.startswith("p_"):
        return p_text(value)
    return decimal(value, 3 if column in _THREE_DECIMALS else decimals)


def numeric(text: str) -> bool:
    """Whether a text is a number, with `<` before it or not."""
    return bool(_NUMBER.fullmatch(text.removeprefix("<")))
