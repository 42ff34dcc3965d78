"""What one student did on the test items, by arm."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from math import inf

import pandas as pd

from stages.reporting.compare import Arm, arm
from stages.reporting.load import BASELINE
from stages.stats import Array


@dataclass(frozen=True)
class Results:
    """All that the report reads of one suite; see `load` for the columns.

    Attributes:
        items: the test items.
        scores: of `respond` and `revise`.
        samples: of the candidates of best-of-k.
        selected: of the candidates that a selector chose.
        trained: of `evaluate` and `revise_tuned`, what trained models did; for a model of
            `following`, the condition is that of the new feedback on its own answer.
        logits: what the student's logits give each candidate.
        judgements: what the teacher judged of the answers of `respond`.
        leaks: what the feedback gives away.
        tokens: what the feedback took.
    """

    items: pd.DataFrame
    scores: pd.DataFrame
    samples: pd.DataFrame
    selected: pd.DataFrame
    trained: pd.DataFrame
    logits: pd.DataFrame
    judgements: pd.DataFrame
    leaks: pd.DataFrame
    tokens: pd.DataFrame

    @property
    def tasks(self) -> list[str]:
        """The subtask of each item."""
        return list(self.items["task"])

    def of_seeds(self, seeds: Collection[int]) -> "Results":
        """Return the same of these seeds alone."""
        frames = {own.name: getattr(self, own.name) for own in fields(self)}
        return replace(
            self,
            **{
                name: frame[frame["seed"].isin(seeds)]
                for name, frame in frames.items()
                if "seed" in frame
            },
        )

    def of_items(self, items: Collection[str]) -> "Results":
        """Return the same of these items alone."""
        frames = {own.name: getattr(self, own.name) for own in fields(self)}
        few = {
            name: frame[frame["item"].isin(items)]
            for name, frame in frames.items()
            if "item" in frame
        }
        return replace(self, items=self.items[self.items.index.isin(items)], **few)

    def student(self, slug: str) -> "Student":
        """Return what one student, or one model that is trained further, did."""

        def own(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[frame["student"] == slug]

        return Student(
            slug,
            self.items.index,
            own(self.scores),
            own(self.samples),
            own(self.selected),
            own(self.trained),
            own(self.logits),
            own(self.judgements),
            own(self.leaks),
            own(self.tokens),
        )


@dataclass(frozen=True)
class Student:
    """What one student did, over `index`, the test items; frames as in `Results`."""

    slug: str
    index: pd.Index
    scores: pd.DataFrame
    samples: pd.DataFrame
    selected: pd.DataFrame
    trained: pd.DataFrame
    logits: pd.DataFrame
    judgements: pd.DataFrame
    leaks: pd.DataFrame
    tokens: pd.DataFrame
    _retries: dict[str, Arm] = field(default_factory=dict)

    def retry(self, condition: str) -> Arm:
        """Return the retries under a condition; under `load.BASELINE`, the first answers.

        Always the same object, by which a table knows that an arm is not to be compared with
        itself.
        """
        if condition not in self._retries:
            rows = self.scores[self.scores["condition"] == condition]
            self._retries[condition] = arm(rows, self.index)
        return self._retries[condition]

    def after(self, method: str, condition: str = BASELINE) -> Arm:
        """Return the answers after training: the first ones, or the retries under a condition."""
        rows = self.trained[self.trained["method"] == method]
        return arm(rows[rows["condition"] == condition], self.index)

    def candidates(self, condition: str) -> Arm:
        """Return all candidates of a pool, as so many draws."""
        return arm(self.samples[self.samples["condition"] == condition], self.index)

    def chosen(self, condition: str, selector: str) -> Arm:
        """Return the candidates that a selector chose."""
        rows = self.selected[self.selected["selector"] == selector]
        return arm(rows[rows["condition"] == condition].assign(draw=None), self.index)

    def unreadable(self, condition: str, selector: str) -> float:
        """Return the share of choices that named no candidate."""
        rows = self.selected[self.selected["selector"] == selector]
        return float(rows[rows["condition"] == condition]["choice"].eq("unreadable").mean())

    def judged(self, verdict: str, column: str) -> Array:
        """Return (items, seeds) of a column of `judgements`."""
        rows = self.judgements[self.judgements["verdict"] == verdict]
        return self._grid(rows, ["seed"], column)

    def values(self, condition: str) -> Array:
        """Return (items, seeds * draws): what the logits give candidates; -inf without a reply."""
        rows = self.logits[self.logits["condition"] == condition]
        all_of = self.samples[self.samples["condition"] == condition]
        keys = ["item", "seed", "draw"]
        joined = all_of[keys].merge(rows[[*keys, "value"]], on=keys, how="left")
        return self._grid(joined.fillna({"value": -inf}), ["seed", "draw"], "value")

    def answers(self, condition: str) -> list[list[str | None]]:
        """Return the strict answers of a pool: items, then seeds * draws."""
        rows = self.samples[self.samples["condition"] == condition]
        wide = rows.pivot(index="item", columns=["seed", "draw"], values="answer")
        wide = wide.reindex(self.index).sort_index(axis=1)
        return [
            [answer if isinstance(answer, str) else None for answer in row]
            for row in wide.to_numpy(dtype=object)
        ]

    def feedback_tokens(self, condition: str, column: str) -> tuple[float, float]:
        """Return tokens an item of the feedback itself: the student's and the teacher's."""
        rows = self.tokens[self.tokens["condition"] == condition]
        mean = float(rows[column].mean(skipna=False)) if len(rows) else 0.0
        own = bool(len(rows)) and bool(rows["own"].all())
        return (mean, 0.0) if own else (0.0, mean)

    def borrowed(self, items: pd.DataFrame) -> tuple[int, int]:
        """Return how many answers got feedback on another item, and how many of another subtask."""
        rows = self.tokens[self.tokens["source"].notna()]
        tasks = items["task"]
        away = [
            tasks[item] != tasks[source]
            for item, source in zip(rows["item"], rows["source"], strict=True)
        ]
        return len(away), sum(away)

    def _grid(self, rows: pd.DataFrame, columns: Sequence[str], value: str) -> Array:
        wide = rows.pivot(index="item", columns=list(columns), values=value)
        return wide.reindex(self.index).sort_index(axis=1).to_numpy(dtype=float)
