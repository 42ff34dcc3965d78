"""The page's tables of games and code: 6 to 8, retries there, and forgetting."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from stages.reporting.built import Built, BuiltGames
from stages.reporting.environment_blocks import FLOORS, RETRY_COLUMNS, decimals
from stages.reporting.page.cells import (
    Cell,
    Make,
    Row,
    count,
    figure,
    number,
    p_value,
    printed,
    rate,
    seeds,
    words,
)
from stages.reporting.page.questions import difference, put_training
from stages.reporting.page.table import Column, Shelf, beside


def put(built: Built, games: BuiltGames, shelf: Shelf) -> None:
    """Put all of them on the shelf."""
    places = _places(built)
    _put_overview(built, games, shelf)
    for slug, frame in (
        ("table6-blocks", games.table6.arms),
        ("games_retry", games.retry),
        ("forgetting-blocks", games.forgetting.environments),
    ):
        _put_blocks(slug, frame, games, shelf, places)
    _put_programs(games, shelf)
    put_training(games.runs, built, shelf, "table6-training")
    suites = games.forgetting.suites
    shelf.put(
        "forgetting",
        suites.assign(on=suites["evaluated_on"].map(_TRAINED)),
        [
            Column("Method", words("row"), kind="text"),
            Column("Score", rate("score")),
            *difference("From the baseline"),
            Column("Match rate", rate("match_rate")),
            Column("n", count("n")),
        ],
        ("learner_label", "on"),
    )
    shelf.put(
        "table7",
        games.table7.assign(best=games.table7["best"].map("{:g}".format)),
        [
            Column("Game", words("title"), kind="text"),
            Column("Column", words("column"), kind="text"),
            Column("Description", words("description"), kind="prose"),
            Column("Modification of the original", words("modification"), kind="prose"),
            Column("best score", words("best")),
        ],
    )
    _put_table8(games.table8, shelf, several=len(built.grid.seeds) > 1)


_TRAINED = {
    "questions": "Trained on games and code, answering questions",
    "games": "Trained on questions, playing games",
}
_MOVES = {"worse": "−", "same": "=", "better": "+"}
_ROLES = {"teacher": "Teachers", "student": "Students"}


def _places(built: Built) -> Callable[[Row], int]:
    """Return how to tell with how many decimals a row's score is printed."""
    paper = built.paper[6]
    return lambda row: decimals(row["column"], paper)


def _overview(rows: list[dict[str, Any]], columns: list[str]) -> list[dict[str, Any]]:
    """Return cells of a row an arm, a column an environment."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        own = found.setdefault(row["row"], {"row": row["row"], **dict.fromkeys(columns)})
        own[row["column"]] = row["cell"]
    return list(found.values())


def _put_overview(built: Built, games: BuiltGames, shelf: Shelf) -> None:
    """Put Table 6 as the paper prints it."""
    arms, places = games.table6.arms, _places(built)
    columns = list(dict.fromkeys(arms["column"]))
    score, theirs = rate("score", decimals=places), printed("score_paper")

    def ours(row: Row) -> Cell:
        if row["note"]:
            return Cell(str(row["note"]))
        own = score(row)
        shown = bool(row["difference_low"] > 0 or row["difference_high"] < 0)
        return Cell(own.text, key=own.key, strong=shown)

    rows: list[dict[str, Any]] = []
    moves = games.table6.moves.rename(columns={"learner": "of"})
    kinds: list[tuple[str, str, pd.DataFrame, Make]] = [
        (str(slug), str(own["learner_label"].iloc[0]), own, ours)
        for slug, own in arms.groupby("learner", sort=False)
    ]
    first = arms[arms["learner"] == arms["learner"].iloc[0]]
    papers = first[~first["arm"].isin(list(FLOORS))]
    for slug, label, own, make in (*kinds, ("paper", "The paper, Qwen2 7B", papers, theirs)):
        records = own.to_dict(orient="records")
        cells = [{"row": r["row"], "column": r["column"], "cell": make(r)} for r in records]
        counted: dict[Any, dict[Any, Any]] = (
            moves[moves["of"] == slug].set_index("row")[list(_MOVES)].to_dict(orient="index")
        )
        none: dict[Any, Any] = dict.fromkeys(_MOVES)
        rows += [
            {"of": label, **row, **counted.get(row["row"], none)}
            for row in _overview(cells, columns)
        ]
    shelf.put(
        "table6",
        pd.DataFrame(rows, dtype=object),
        [
            Column("Arm", words("row"), kind="text"),
            *(Column(column, _given(column)) for column in columns),
            *(Column(head, _move(key), "Environments") for key, head in _MOVES.items()),
        ],
        ("of",),
    )


def _given(key: str) -> Make:
    return lambda row: row[key] if isinstance(row[key], Cell) else Cell(number(None))


def _move(key: str) -> Make:
    """Return a count of environments, nothing for a row that has none."""
    return lambda row: Cell("") if pd.isna(row[key]) else count(key)(row)


def _noted(make: Make) -> Make:
    """Return the row's note in place of a figure that it does not have."""
    return lambda row: Cell(str(row["note"])) if row["note"] else make(row)


def _put_blocks(
    slug: str,
    frame: pd.DataFrame,
    games: BuiltGames,
    shelf: Shelf,
    places: Callable[[Row], int],
) -> None:
    """Put a block an environment."""
    titles = {key: own.title for key, own in games.results.environments.items()}
    best = frame["best"].map("{:g}".format)
    title = (
        frame["environment"]
        .map(titles)
        .where(frame["best"] == 1, frame["environment"].map(titles) + ", 0 to " + best)
    )
    paper = printed("score_paper") if frame["score_paper"].fillna("").ne("").any() else None
    change = rate("difference", decimals=places, difference=True)
    extra = [
        Column(name.replace("_", " "), figure(name)) for name in RETRY_COLUMNS if name in frame
    ]
    shelf.put(
        slug,
        frame.assign(title=title),
        [
            Column("Arm", words("row"), kind="text"),
            *beside("Score", _noted(rate("score", decimals=places)), paper),
            Column("solved", rate("solved")),
            Column("Δ score", change, "From the baseline"),
            Column("p, Holm", p_value("p_holm"), "From the baseline"),
            Column("MDE", figure("smallest_detectable"), "From the baseline"),
            Column("n", count("n")),
            *(
                Column(head, count(name), "Answers")
                for name, head in (
                    ("unparsed", "unparsed"),
                    ("truncated", "cut"),
                    ("errored", "errored"),
                )
            ),
            *extra,
        ],
        ("learner_label", "title"),
    )


def _put_programs(games: BuiltGames, shelf: Shelf) -> None:
    """Put a row an arm, a column a way in which programs were found or their tests went."""
    arms, programs = games.table6.arms, games.table6.programs
    heads = {
        key: games.results.environments[str(key)].title for key in programs["environment"].unique()
    }
    kinds = {"rule": "Program found by", "test": "Tests"}
    names = programs[["of", "name"]].drop_duplicates().sort_values(["of", "name"])
    rows = []
    for (learner, environment, arm), own in programs.groupby(
        ["learner", "environment", "arm"], sort=False
    ):
        of = arms[(arms["learner"] == learner) & (arms["arm"] == arm)].iloc[0]
        counts = {f"{r['of']}/{r['name']}": r["count"] for r in own.to_dict(orient="records")}
        head = {"learner_label": of["learner_label"], "title": heads[environment], "row": of["row"]}
        rows.append({**head, **counts})
    columns = [f"{row.of}/{row.name}" for row in names.itertuples(index=False)]
    shelf.put(
        "table6-programs",
        pd.DataFrame(rows, columns=["learner_label", "title", "row", *columns]).fillna(
            dict.fromkeys(columns, 0)
        ),
        [
            Column("Arm", words("row"), kind="text"),
            *(
                Column(name.replace("_", " "), count(column), kinds.get(of, of))
                for column in columns
                for of, _, name in [column.partition("/")]
            ),
        ],
        ("learner_label", "title"),
    )


def _put_table8(frame: pd.DataFrame, shelf: Shelf, several: bool) -> None:
    names = {"bbh": "BBH", "bbsr": "BBSR"}
    names |= {
        str(column).removesuffix("_note"): str(column).removesuffix("_note")
        for column in frame
        if str(column).endswith("_note")
    }
    names["feedback"] = "BBH feedback"

    def paper(name: str) -> Make | None:
        column = f"{name}_paper"
        return printed(column) if frame[column].fillna("").ne("").any() else None

    def ours(name: str) -> Make:
        note, make = f"{name}_note", rate(name)
        if note not in frame:
            return make
        return lambda row: Cell(str(row[note])) if row[note] else make(row)

    columns = [Column("Model", words("label"), kind="text")]
    for name, head in names.items():
        columns.append(Column("here", ours(name), head))
        if beside := paper(name):
            columns.append(Column("paper", beside, head))
        if several:
            columns.append(Column("by seed", seeds(f"{name}_by_seed"), head, "text"))
        columns.append(Column("n", count(f"{name}_n"), head))
    columns += [
        Column(head, words(key), "Price", "text")
        for key, head in (
            *(("input", "in"), ("output", "out")),
            *(("as_of", "as of"), ("price_paper", "paper")),
        )
    ]
    shelf.put("table8", frame.assign(part=frame["role"].map(_ROLES)), columns, ("part",))
