"""Evidence of a run of this project: paired contrasts, all out of one bootstrap over items.

Resamples are those of the tables, so that a contrast that a table has too has its interval there.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from math import isnan, nan
from typing import Any

import numpy as np

from stages import stats
from stages.grid import root
from stages.reporting import detection, games, table2, table4
from stages.reporting.built import Built, BuiltGames
from stages.reporting.claiming.evidence import (
    BASELINE,
    Cell,
    Estimate,
    Missing,
    Row,
    Setting,
    Teacher,
    Term,
    estimate,
)
from stages.reporting.compare import Arm, alike
from stages.reporting.compare import arm as arm_of
from stages.reporting.load import BASELINE as FIRST
from stages.reporting.results import Student
from stages.stats import Array, Interval

# Rates of an arm that are the quotient of two means over the items.
_QUOTIENTS = {
    "correct_if_matched": ("score", "match_rate"),
    "recall": ("tp", "wrong"),
    "precision": ("tp", "flagged"),
    "lost": ("right_wrong", "right"),
    "lost_match": ("matched_unmatched", "match_first"),
}
_MEANS = ("score", "match_rate", "unflagged")
_OF_TABLE2 = ("recall", "precision", "balanced_accuracy")


class OurEvidence:
    """See `evidence.Evidence`; students are named by their labels."""

    def __init__(self, built: Built) -> None:
        self._built = built
        config, grid = built.config, built.grid
        self._played: dict[Row, tuple[Arm, set[str]]] = {}
        self._slugs = {config.label(slug): slug for slug in grid.students}
        order = list(dict.fromkeys(built.paper[3].iloc[:, 0]))
        known = [own for own in grid.students if own in config.paper_students]
        known.sort(key=lambda slug: order.index(config.paper_students[slug]))
        focus = known[0] if known else grid.students[0]
        label = config.label
        # Tables 5 and 6 are of who was trained: the student in focus, where it was.
        self._learner = focus if focus in grid.learners else next(iter(grid.learners), "")
        fifth = built.table5.arms
        methods = dict.fromkeys(fifth[fifth["learner"] == self._learner]["method"])
        self._trained = {label(method): method for method in methods if method != FIRST}
        self.setting = Setting(
            students=tuple(self._slugs),
            sizes=tuple(map(label, known)),
            focus=label(focus),
            conditions=tuple(label(slug) for slug in grid.papers),
            told=tuple(label(slug) for slug in grid.papers if slug in built.sees_target),
            base=label(grid.base),
            environments=tuple(own.column for own in built.games.results.environments.values())
            if built.games
            else (),
            seeds=len(grid.seeds),
            margin=config.equivalence_margin,
            teacher=label(grid.teacher),
            unparsable=self._unparsable(),
        )

    def _unparsable(self) -> str:
        """Return how many of the verdicts of negative sampling are not readable, in words."""
        own = self._built.table2[self._built.table2["verdict"] == self._built.grid.verdict]
        if not len(own):
            return ""
        counts = (int(own[name].sum()) for name in ("unparsable", "trajectories"))
        return "{} of {} verdicts unparsable".format(*counts)

    def contrast(self, *terms: Term) -> Estimate:
        """Return the weighted sum of some rates, its interval by paired bootstrap.

        A single rate of verdicts has the interval of Table 2, a single mean that is 0 or 1 in all
        items Wilson's. There is none where a balanced accuracy or a share lost is of fewer than
        `detection.FEWEST` answers that are right, wrong or matched.
        """
        cells = [cell for _, cell in terms]
        n = min(map(self._n, cells))
        if len(terms) == 1 and cells[0].measure in _OF_TABLE2:
            return self._of_table2(cells[0], n)
        value = sum(weight * self._value(cell) for weight, cell in terms)
        replicates = sum((weight * self._drawn(cell) for weight, cell in terms), np.zeros(1))
        if any(map(self._few, cells)):
            replicates = np.full(1, nan)
        if len(terms) == 1 and cells[0].measure in _MEANS:
            own, freedom = self._item_means[self._key(cells[0])], self._resampled[1]
            return Estimate(value, *stats.of_mean(own, replicates, freedom), n)
        return self._estimate(value, replicates, n)._replace(seeds=self._by_seed(*terms))

    def _by_seed(self, *terms: Term) -> tuple[float, ...]:
        """Return a contrast of scores in each seed; nothing where no arm of it was trained."""
        arms = [self._arms[cell.student, cell.row] for _, cell in terms if cell.measure == "score"]
        rows = {cell.row for _, cell in terms}
        trained = any(row[0] in self._trained or row[0] == table4.FINETUNING for row in rows)
        if not trained or len(arms) < len(terms):
            return ()
        seeds = [_of_seeds(of.score, of.seeds) for of in arms]
        weights = [weight for weight, _ in terms]
        return tuple(map(float, np.array(weights) @ np.array(seeds)))

    def ratio(self, cell: Cell, other: Cell) -> Estimate:
        """Return one rate over another; resamples in which that is 0 are dropped."""
        below = self._value(other)
        value = self._value(cell) / below if below else nan
        n = min(self._n(cell), self._n(other))
        return self._estimate(value, stats.quotient(self._drawn(cell), self._drawn(other)), n)

    def narrow(self, *terms: Term) -> Interval:
        """Return the 90 % interval of `stats.equivalence` of a contrast of means over items."""
        # Rates are in [0, 1], so that this brings an item's contrast into [-1, 1].
        scale = max(sum(max(sign * term.weight, 0.0) for term in terms) for sign in (1, -1))
        of = sum(
            (weight * self._item_means[self._key(cell)] for weight, cell in terms), np.zeros(1)
        )
        config = self._built.config
        found = stats.equivalence(
            of / scale,
            self._built.results.tasks,
            self.setting.margin / scale,
            config.bootstrap,
            config.seed,
        )
        return Interval(found.low * scale, found.high * scale)

    def played(self, one: Row, other: Row, environment: str) -> Estimate:
        """Return what an arm of Table 6 scores above another, in an environment's own points."""
        built = self._games()
        slug = self._environment(environment)
        if other == BASELINE and one[0] in self._trained:
            row = self._sixth[slug, self._trained[one[0]]]
            if row["note"]:
                raise Missing(f"{environment}: {row['note']}")
            seeds = tuple(row["difference_by_seed"])
            return estimate(row, "difference", row["n"])._replace(seeds=seeds)
        first, second = (self._play(row, slug) for row in (one, other))
        if first is None or second is None:
            raise Missing(f"{environment}: {games.NOT_RUN}")
        # As `games.difference`, but without its test, which no claim asks for.
        best = built.results.environments[slug].best
        values = (first.score - second.score + best) / 2
        found = games.rate(values, best, graded=True, config=self._built.config)
        seeds = tuple(map(float, _of_seeds(first.score - second.score, first.seeds)))
        return _unshifted(*found, best=best, n=len(values))._replace(seeds=seeds)

    def played_over(self, one: Row, other: Row) -> Estimate:
        """Return the same of the mean over all environments whose programs were run."""
        built = self._games()
        pairs = {}
        for slug in built.results.environments:
            first = self._play(one, slug)
            second = self._play(other, slug)
            if first is not None and second is not None:
                best = built.results.environments[slug].best
                pairs[slug] = Arm({"score": (first.score - second.score + best) / 2}, first.seeds)
        if not pairs:
            raise Missing(games.NOT_RUN)
        found = games.mean_over(pairs, built.results.environments, self._built.config)
        n = sum(len(arm.score) for arm in pairs.values())
        shares = [
            2 * _of_seeds(arm.score, arm.seeds) / built.results.environments[slug].best - 1
            for slug, arm in pairs.items()
        ]
        seeds = tuple(map(float, np.mean(shares, axis=0)))
        return _unshifted(*found, best=1.0, n=n)._replace(seeds=seeds)

    def artefacts(self) -> tuple[Estimate, Estimate]:
        """See `evidence.Evidence`.

        Only retries whose cleaned text was taken are counted by artefacts: of all others but those
        in which there was nothing to clean, none may have one, or all.
        """
        table = self._built.cleaning
        own = table[table["learner"] == self._learner]
        rows = own[(own["measure"] == "artefact") & (own["name"] == "any")]
        if not len(rows) or not rows.iloc[0]["n"]:
            raise Missing("no cleaned retries")
        row = rows.to_dict(orient="records")[0]
        status = own[(own["measure"] == "status") & (own["name"] != "nothing")]
        total = int(status["count"].sum())
        share = row["n"] / total
        low, high = row["value_low"] * share, row["value_high"] * share + 1 - share
        every = Estimate(row["value"], low, high, total)
        return every, estimate(row, "difference", row["n"])

    def code_gap(self) -> Estimate:
        """Return by how much the share of tests passed is above that of programs passing all."""
        built = self._games()
        slug = next((k for k, own in built.results.environments.items() if own.code), None)
        if slug is None:
            raise Missing("no environment of code")
        arm = self._play(BASELINE, slug)
        if arm is None:
            raise Missing(f"code was {games.NOT_RUN}")
        # Never below 0: a program that passes all tests has passed each.
        gap = np.maximum(arm.score - arm.solved, 0.0)
        found = games.rate(gap, 1.0, graded=True, config=self._built.config)
        return Estimate(found[0], *found[1], len(gap))

    def teachers(self) -> list[Teacher]:
        """Return the teachers that were tried, the chosen one first."""
        built = self._games()
        rows = built.table8[built.table8["role"] == "teacher"]
        if len(rows) < 2:
            raise Missing("one teacher")
        chosen = rows["model"] == self._built.grid.teacher
        found = []
        for row in [*rows[chosen].to_dict("records"), *rows[~chosen].to_dict("records")]:
            try:
                price = float(row["input"])
            except ValueError:
                raise Missing(f"{row['label']}: no price") from None
            sizes = {
                str(name).removesuffix("_n"): n
                for name, n in row.items()
                if str(name).endswith("_n") and name != "feedback_n"
            }
            unknown = [name for name, n in sizes.items() if isnan(n)]
            if unknown:
                raise Missing(f"{unknown[0]}: {games.NOT_RUN}")
            scores = {name: estimate(row, name, n) for name, n in sizes.items()}
            found.append(Teacher(str(row["label"]), price, scores))
        return found

    # Arms and their means over the items.

    def _student(self, label: str) -> Student:
        if label not in self._slugs:
            raise Missing(f"no student {label}")
        return self._students[label]

    @cached_property
    def _students(self) -> dict[str, Student]:
        return {label: self._built.results.student(slug) for label, slug in self._slugs.items()}

    @cached_property
    def _arms(self) -> dict[tuple[str, Row], Arm]:
        """The arms of Tables 3, 4 and 5."""
        built, label = self._built, self._built.config.label
        found: dict[tuple[str, Row], Arm] = {}
        for name, student in self._students.items():
            found[name, BASELINE] = student.retry(FIRST)
            for condition in built.grid.conditions:
                found[name, (label(condition),)] = student.retry(condition)
            tuned = [m for m in built.results.trained["method"].unique() if self._follows(name, m)]
            following = {method: label(method) for method in tuned}
            for block in table4.blocks(student, built.grid.base, built.grid.verdict, following):
                found |= {
                    (name, (block.label, row.label)): row.arm
                    for row in block.rows
                    if row.arm is not None
                }
        if self._learner:
            learner = built.results.student(self._learner)
            found |= {
                (label(root(self._learner)), (name,)): learner.after(method)
                for name, method in self._trained.items()
            }
        return found

    def _follows(self, name: str, method: str) -> bool:
        rows = self._students[name].trained
        return bool((rows["condition"][rows["method"] == method] == self._built.grid.base).any())

    @cached_property
    def _detections(self) -> dict[tuple[str, Row], detection.Detection]:
        """What verdicts say, which stand in Table 2."""
        verdicts = dict.fromkeys(self._built.table2["verdict"])
        return {
            (name, (self._built.config.label(verdict),)): table2.detected(student, verdict)
            for name, student in self._students.items()
            for verdict in verdicts
        }

    @cached_property
    def _item_means(self) -> Mapping[tuple[str, Row, str], Array]:
        """The mean of each item over seeds and draws, by student, row and name."""
        columns: dict[tuple[str, Row, str], Array] = {}
        for (name, row), arm in self._arms.items():
            columns[name, row, "score"] = arm.score.mean(axis=1)
            columns[name, row, "match_rate"] = arm.matched.mean(axis=1)
            if len(row) == 1 or row[-1] == "-":
                first, after = alike(self._arms[name, BASELINE], arm)
                columns[name, row, "right"] = first.solved.mean(axis=1)
                columns[name, row, "match_first"] = first.matched.mean(axis=1)
                lost = first.solved * (1 - after.solved)
                columns[name, row, "right_wrong"] = lost.mean(axis=1)
                lost = first.matched * (1 - after.matched)
                columns[name, row, "matched_unmatched"] = lost.mean(axis=1)
        for (name, row), verdicts in self._detections.items():
            cells = {cell: of.mean(axis=1) for cell, of in verdicts.cells().items()}
            columns |= {(name, row, cell): of for cell, of in cells.items()}
            columns[name, row, "wrong"] = cells["tp"] + cells["fn"]
            columns[name, row, "flagged"] = cells["tp"] + cells["fp"]
            columns[name, row, "unflagged"] = cells["tn"] + cells["fn"]
        return columns

    @cached_property
    def _resampled(self) -> tuple[Mapping[tuple[str, Row, str], Array], int]:
        config = self._built.config
        values = np.column_stack(list(self._item_means.values()))
        drawn = stats.stratified_means(
            values, self._built.results.tasks, config.bootstrap, config.seed
        )
        return dict(zip(self._item_means, drawn.means.T, strict=True)), drawn.freedom

    def _drawn(self, cell: Cell) -> Array:
        """Return (draws,) of a rate."""
        return self._rate(cell, lambda name: self._resampled[0][(*self._key(cell)[:2], name)])

    def _value(self, cell: Cell) -> float:
        found = self._rate(
            cell, lambda name: self._item_means[(*self._key(cell)[:2], name)].mean(keepdims=True)
        )
        return float(found[0])

    def _rate(self, cell: Cell, mean: Callable[[str], Array]) -> Array:
        """Return a rate out of the means that it is made of."""
        if cell.measure in _MEANS:
            return mean(cell.measure)
        if cell.measure == "balanced_accuracy":
            found: Array = detection.metrics(*map(mean, detection.CELLS))["balanced_accuracy"]
            return found
        return stats.quotient(*map(mean, _QUOTIENTS[cell.measure]))

    def _key(self, cell: Cell) -> tuple[str, Row, str]:
        """Return the column of a rate, or for a quotient one that it is made of.

        Raises:
            Missing: there is no such arm.
        """
        self._student(cell.student)
        name = _QUOTIENTS.get(cell.measure, (cell.measure,))[0]
        key = (cell.student, cell.row, "tp" if name == "balanced_accuracy" else name)
        if key not in self._item_means:
            raise Missing(f"no {', '.join(cell.row)} ({cell.student})")
        return key

    def _n(self, cell: Cell) -> int:
        """Return how many items a rate is of."""
        own = self._item_means[self._key(cell)]
        if cell.measure in _QUOTIENTS:
            own = self._item_means[(*self._key(cell)[:2], _QUOTIENTS[cell.measure][1])]
            return int((own > 0).sum())
        return len(own)

    def _few(self, cell: Cell) -> bool:
        """Tell whether too few answers are right, wrong or matched for a rate of these."""
        if cell.measure in ("lost", "lost_match"):
            return self._n(cell) < detection.FEWEST
        if cell.measure != "balanced_accuracy":
            return False
        verdicts = self._detections[self._key(cell)[:2]]
        kinds = (verdicts.wrong, 1 - verdicts.wrong)
        return min(int(kind.any(axis=1).sum()) for kind in kinds) < detection.FEWEST

    def _of_table2(self, cell: Cell, n: int) -> Estimate:
        table = self._built.table2
        own = table[table["student_label"] == cell.student]
        own = own[own["verdict_label"] == cell.row[0]]
        row = own.to_dict(orient="records")[0]
        return estimate(row, cell.measure, n)

    def _estimate(self, value: float, replicates: Array, n: int) -> Estimate:
        return Estimate(value, *stats.percentile(replicates, self._resampled[1]), n)

    # Games.

    def _games(self) -> BuiltGames:
        if self._built.games is None:
            raise Missing("no games and code")
        return self._built.games

    @cached_property
    def _sixth(self) -> dict[tuple[str, str], dict[Hashable, Any]]:
        """The rows of Table 6, by environment and arm."""
        built = self._games()
        own = built.table6.arms[built.table6.arms["learner"] == self._learner]
        return {(row["environment"], row["arm"]): row for row in own.to_dict(orient="records")}

    def _environment(self, column: str) -> str:
        built = self._games()
        slugs = {own.column: slug for slug, own in built.results.environments.items()}
        return slugs[column]

    def _play(self, row: Row, slug: str) -> Arm | None:
        """Return an arm of Table 6, None where its programs were not run."""
        built = self._games()
        if row not in self._played:
            if row == BASELINE:
                rows = built.results.of_student(root(self._learner))
            elif row[0] in self._trained:
                rows = built.results.of_trained(self._learner, self._trained[row[0]])
            else:
                raise Missing(f"no {row[0]}")
            # All environments at once: it takes no longer than one.
            index = built.results.items.index
            skipped = set(built.results.items["task"].reindex(rows["item"][rows["not_run"] > 0]))
            self._played[row] = arm_of(rows, index), skipped
        arm, skipped = self._played[row]
        kept = (built.results.items["task"] == slug).to_numpy()
        return (
            None
            if slug in skipped
            else Arm({"score": arm.score[kept], "solved": arm.solved[kept]}, arm.seeds)
        )


def _of_seeds(values: Array, seeds: int) -> Array:
    """Return (seeds,) means of (items, seeds * draws)."""
    means: Array = values.reshape(len(values), seeds, -1).mean(axis=(0, 2))
    return means


def _unshifted(value: float, interval: Interval, best: float, n: int) -> Estimate:
    """Return a difference that was moved from [-best, best] to [0, best]."""
    low, high = interval
    return Estimate(2 * value - best, 2 * low - best, 2 * high - best, n)
