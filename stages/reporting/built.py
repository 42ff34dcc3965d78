"""All tables of one run of the report, built: what figures, claims, macros and the page read.

Whoever reads a number there and not in a rendered table prints what the tables print.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from stages.grid import Grid
from stages.reporting import forgetting, table5, table6, training
from stages.reporting.config import ReportSection
from stages.reporting.games import Games
from stages.reporting.results import Results


@dataclass(frozen=True)
class BuiltGames:
    """The tables of the suite of games and code; see the modules of the same names.

    Attributes:
        suite: its name.
        results: what the tables are made of.
        condition: of the feedback that its retries and its training follow.
        table6: scores a learner, environment and arm; moves; programs.
        retry: `games_retry.build`.
        forgetting: `forgetting.build`.
        table7: the games.
        table8: all models.
        runs: `training.build` of what was trained on it.
        trained: the training cells themselves.
    """

    suite: str
    results: Games
    condition: str
    table6: table6.Tables
    retry: pd.DataFrame
    forgetting: forgetting.Tables
    table7: pd.DataFrame
    table8: pd.DataFrame
    runs: pd.DataFrame
    trained: Sequence[training.Cell]


@dataclass(frozen=True)
class Built:
    """Every table that this run built; see the modules of the same names for the columns.

    Attributes:
        scale: its name.
        suite: the suite of questions.
        grid: what was run.
        config: labels, resamples and seed.
        labels: printed names, by slug.
        sees_target: the conditions that put the ground truth before teacher or student.
        results: what the tables of questions are made of.
        paper: the paper's tables as text, by number.
        table2: error identification.
        table3: feedback conditions.
        subtasks: `table3.by_subtask`.
        table4: modifications.
        controls: retries without feedback on the answer, in the form of `table4`.
        transitions: `transitions.build`.
        identities: `transitions.identity` of each student.
        best_of_k: `curve.build`.
        table5: finetuning: arms, and arms against each other.
        cleaning: `cleaning.build`.
        outcomes: how requests ended.
        curves: `losses.build`.
        runs: `training.build` of what was trained on questions.
        trained: the training cells themselves.
        games: of the suite of games and code, where the scale has one.
    """

    scale: str
    suite: str
    grid: Grid
    config: ReportSection
    labels: Mapping[str, str]
    sees_target: frozenset[str]
    results: Results
    paper: Mapping[int, pd.DataFrame]
    table2: pd.DataFrame
    table3: pd.DataFrame
    subtasks: pd.DataFrame
    table4: pd.DataFrame
    controls: pd.DataFrame
    transitions: pd.DataFrame
    identities: Mapping[str, Mapping[str, float]]
    best_of_k: pd.DataFrame
    table5: table5.Tables
    cleaning: pd.DataFrame
    outcomes: pd.DataFrame
    curves: pd.DataFrame
    runs: pd.DataFrame
    trained: Sequence[training.Cell]
    games: BuiltGames | None = field(default=None)
