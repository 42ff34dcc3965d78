"""Response cleaning (paper, section 5.3): what became of the replies, and of their artefacts.

Not in the paper, which gives the scores of Feedback SFT* alone: whether the teacher takes out the
"relics of the feedback", and how often it changes the answer, which would make the student imitate
the teacher, so that such a text is refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from stages import stats
from stages.records import Fidelity
from stages.reporting.config import ReportSection
from stages.reporting.latex import render
from stages.stats import Array, Interval

STATUSES: tuple[str, ...] = get_args(Fidelity.model_fields["status"].annotation)
TAKEN = ("cleaned", "same")
COLUMNS = (
    *("learner", "learner_label", "measure", "name", "items", "seeds", "n", "count"),
    *("value", "value_low", "value_high", "after", "after_low", "after_high"),
    *("difference", "difference_low", "difference_high"),
    *("discordant", "test", "p", "p_holm"),
)


def build(
    fidelity: pd.DataFrame, tasks: pd.Series, learners: Sequence[str], config: ReportSection
) -> pd.DataFrame:
    """Return the table, a row a learner and measure.

    Args:
        fidelity: what `load.read_fidelity` returns.
        tasks: the subtask of each train item.
        learners: in the order of the table.
        config: labels, resamples and seed.

    Returns:
        The columns `COLUMNS`. Measures are `status`, the share (`value`) of all `n` replies that
        ended so; `artefact`, the share of taken texts with an artefact before (`value`) and after
        cleaning, of any kind (`any`) and by kind; `words`, the mean length of taken texts before
        and after. Only the test of any artefact is in the family of Holm's correction, which is the
        learners: a kind is for description.
    """
    rows: list[dict[str, Any]] = []
    for slug in learners:
        own = fidelity[fidelity["student"] == slug]
        head = {"learner": slug, "learner_label": config.label(slug), "items": len(tasks)}
        head["seeds"] = own["seed"].nunique()
        grid = _Grid(own, tasks, config)
        everything = np.ones(grid.shape)
        for status in STATUSES:
            hits = grid.of(own["status"].eq(status))
            row = {"measure": "status", "name": status, **grid.share(hits, everything, "value")}
            rows.append(head | row | {"n": hits.size, "count": int(hits.sum())})
        taken = grid.of(own["status"].isin(TAKEN))
        kinds = sorted(set(own["kinds"].explode().dropna()))
        for name in ("any", *kinds):
            before, after = (
                grid.of(own[flag] if name == "any" else own[list_].map(lambda k, n=name: n in k))
                for flag, list_ in (
                    ("artefact", "kinds"),
                    ("artefact_after", "kinds_after"),
                )
            )
            row = {"measure": "artefact", "name": name, "n": int(taken.sum())}
            row |= {"count": int((before * taken).sum())}
            row |= grid.paired(before * taken, after * taken, taken)
            if name == "any":
                row |= grid.test((after - before) * taken, taken)
            rows.append(head | row)
        row = {"measure": "words", "name": "words", "n": int(taken.sum())}
        words, left = (grid.of(own[name]) * taken for name in ("words", "words_after"))
        rows.append(head | row | grid.paired(words, left, taken, shares=False))
    tests = [row for row in rows if "p" in row]
    for row, p in zip(tests, stats.holm([row["p"] for row in tests]), strict=True):
        row["p_holm"] = p
    return pd.DataFrame(rows, columns=list(COLUMNS))


class _Grid:
    """The replies of one learner as arrays over (items, seeds), and figures of them."""

    def __init__(self, own: pd.DataFrame, tasks: pd.Series, config: ReportSection) -> None:
        self._own, self._tasks, self._config = own, tasks, config
        self.shape = (len(tasks), own["seed"].nunique())

    def of(self, column: pd.Series) -> Array:
        """Return (items, seeds) of a column over the replies."""
        frame = self._own[["item", "seed"]].assign(value=column.astype(float))
        wide = frame.pivot(index="item", columns="seed", values="value")
        return wide.reindex(self._tasks.index).to_numpy(dtype=float)

    def share(self, hits: Array, among: Array, name: str) -> dict[str, float]:
        """Return the share of hits among some replies, with its interval.

        It is Wilson's with one seed, else that of the bootstrap over items; where all are hits, or
        none, Wilson's over the items that have a reply.
        """
        found, total = float(hits.sum()), float(among.sum())
        items = int((among > 0).any(axis=1).sum())
        if not total:
            interval = Interval(np.nan, np.nan)
        elif self.shape[1] == 1:
            interval = stats.wilson(int(found), int(total))
        elif found in (0, total):
            interval = stats.wilson(items if found else 0, items)
        else:
            interval = self._ratio(hits, among)
        return _named(name, found / total if total else np.nan, interval)

    def paired(
        self, before: Array, after: Array, among: Array, shares: bool = True
    ) -> dict[str, float]:
        """Return means over some replies before and after, and the difference."""
        row: dict[str, float] = {}
        total = float(among.sum())
        for name, values in (("value", before), ("after", after), ("difference", after - before)):
            if shares and name != "difference":
                row |= self.share(values, among, name)
                continue
            interval = self._ratio(values, among) if total else Interval(np.nan, np.nan)
            row |= _named(name, float(values.sum()) / total if total else np.nan, interval)
        return row

    def test(self, differences: Array, among: Array) -> dict[str, Any]:
        """Return the paired test: McNemar's with one seed, else the permutation test over items."""
        means = differences.sum(axis=1)[among.any(axis=1)]
        binary = self.shape[1] == 1
        config = self._config
        return {
            "discordant": int((np.abs(means) > 0).sum()),
            "test": "McNemar" if binary else "permutation",
            "p": stats.mcnemar(means)
            if binary
            else stats.sign_flip(means, config.bootstrap, config.seed),
        }

    def _ratio(self, hits: Array, among: Array) -> Interval:
        columns = np.column_stack([hits.sum(axis=1), among.sum(axis=1)])
        config = self._config
        drawn = stats.stratified_means(columns, list(self._tasks), config.bootstrap, config.seed)
        return stats.percentile(stats.quotient(*drawn.means.T), drawn.freedom)


def _named(name: str, value: float, interval: Interval) -> dict[str, float]:
    return {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV, numbers to six places."""
    table = table.copy()
    for column in ("count", "discordant"):
        table[column] = table[column].astype("Int64")
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(6) + 0.0
    return table.to_csv(index=False, lineterminator="\n")


def to_tex(table: pd.DataFrame, about: Mapping[str, object], condition: str) -> str:
    """Return the table as LaTeX, a float for all learners.

    Args:
        table: what `build` returns.
        about: what captions say.
        condition: the printed name of the feedback condition.
    """
    learners = []
    for _, own in table.groupby("learner", sort=False):
        rows = own.to_dict(orient="records")
        learners.append(
            {
                "label": rows[0]["learner_label"],
                "items": rows[0]["items"],
                **{
                    measure: [row for row in rows if row["measure"] == measure]
                    for measure in ("status", "artefact", "words")
                },
            }
        )
    template = Path(__file__).with_name("cleaning.tex.jinja")
    return render(template, learners=learners, **{**about, "condition": condition})
