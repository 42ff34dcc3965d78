"""Instances of a suite's environments as items, train and test disjoint by what makes them."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from stages.errors import UserError
from stages.records import Item, Split
from stages.tasks.config import EnvironmentsSource, Suite
from stages.tasks.environments.base import Environment, Instance
from stages.tasks.environments.registry import with_options
from stages.tasks.prepared import Prepared


def prepare(
    raw: Path, params: Path, name: str, suite: Suite, source: EnvironmentsSource
) -> Prepared:
    """Return the items of the suite `name`, environment by environment.

    Where the source has splits of its own, each gives its first; else the first instances train and
    the next ones test. No key is in both: an instance whose key is taken is dropped.

    Raises:
        UserError: an unknown environment or option, a file that is missing or wrong, or too few
            instances.
    """
    prepared = Prepared()
    for task, entry in source.environments.items():
        where = f"suites.{name}.source.environments.{task}"
        environment = with_options(params, f"{where}.options", task, entry.options)
        train, test = entry.train or suite.train, entry.test or suite.test
        if train is None:
            raise UserError(f"{params}: {where}.train: a number is needed, here or for the suite")
        taken = _take(environment, raw, suite.seed, train, test, prepared)
        ids: dict[str, str] = {}
        counts = {"train": 0, "test": 0}
        for split, instance in taken:
            ids[instance.key] = f"{name}/{task}/{split}/{counts[split]}"
            counts[split] += 1
        parts: tuple[tuple[Split, list[Item], int | None], ...] = (
            ("train", prepared.train, train),
            ("test", prepared.test, test),
        )
        for split, part, wanted in parts:
            mine = [instance for own, instance in taken if own == split]
            if len(mine) < (wanted or 1):
                raise UserError(
                    f"{params}: {where}: {len(mine)} {split} instances, too few for {wanted or 1}"
                )
            part += [
                _item(environment, instance, name, task, split, index, ids)
                for index, instance in enumerate(mine)
            ]
    return prepared


def _take(
    environment: Environment, raw: Path, seed: int, train: int, test: int | None, prepared: Prepared
) -> list[tuple[Split, Instance]]:
    """Return the instances that are taken, each with its split."""
    wanted: dict[Split, int | None] = {"train": train, "test": test}
    taken: list[tuple[Split, Instance]] = []
    keys: set[str] = set()
    counts: dict[Split, int] = {"train": 0, "test": 0}
    for instance in islice(environment.instances(raw, seed), _MOST):
        split: Split = instance.split or ("train" if counts["train"] < train else "test")
        most = wanted[split]
        if most is not None and counts[split] >= most:
            prepared.dropped["not_taken"] += 1
        elif instance.key in keys:
            prepared.dropped["repeated"] += 1
        else:
            keys.add(instance.key)
            counts[split] += 1
            taken.append((split, instance))
        if test is not None and counts == wanted:
            break
    return taken


# Of generators without an end, where all of `test` is asked for or keys repeat.
_MOST = 100_000


def _item(
    environment: Environment,
    instance: Instance,
    suite: str,
    task: str,
    split: Split,
    index: int,
    ids: Mapping[str, str],
) -> Item:
    opening = environment.turn(instance.state, ())
    assert opening is not None
    return Item(
        id=ids[instance.key],
        suite=suite,
        task=task,
        split=split,
        index=index,
        question=opening.question,
        answer_format=opening.answer_format or "",
        family="environment",
        options={},
        target=instance.target,
        flags=tuple(_flags(instance, ids)),
        state=dict(instance.state),
    )


def _flags(instance: Instance, ids: Mapping[str, str]) -> Iterator[str]:
    """Yield the flags of an instance; a duplicate that is not taken is none."""
    for flag in instance.flags:
        key = flag.removeprefix(_DUPLICATE)
        if not flag.startswith(_DUPLICATE):
            yield flag
        elif key in ids:
            yield f"{_DUPLICATE}{ids[key]}"


_DUPLICATE = "duplicate:"
