r"""Run the pipeline with several cells at a time; `dvc repro` runs one after the other.

    python -m stages.jobs --jobs 2 [target ...]

All of the pipeline, or what the targets need: cells or whole stages, as for `dvc repro`. A cell is
begun when all that it depends on is done, as a `dvc repro --single-item` of its own; DVC's locks
keep dvc.lock whole, and a later `dvc repro` finds nothing to do. What a cell prints comes out in
one piece at its end. Of the cells that ask a server only one runs at a time: it has many calls
under way itself, and the call log has one writer. After a failure nothing new is begun.

Every cell has all cores, as with `dvc repro`: fewer threads add up in another order, and replies
would differ. Threads that have nothing to do sleep (`OMP_WAIT_POLICY`, unless it is set), which
leaves the cores to the other cells. GPUs are shared out where `CUDA_VISIBLE_DEVICES` names at least
as many as there are jobs, one each. Memory is not.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.models.card import CARD, ServedCard, read_card

if TYPE_CHECKING:
    from dvc.repo import Repo

FAILED = "a cell failed; what it printed stands above"


@dataclass(frozen=True)
class Cell:
    """A cell of the pipeline that is to be run.

    Attributes:
        needs: the cells that have to be done before, of those that are to be run.
        reads: its files and folders, the folders of its models among them.
    """

    needs: frozenset[str]
    reads: tuple[Path, ...] = ()

    def asks_a_server(self) -> bool:
        """Tell whether one of its models is served. To be asked when what it needs is done."""
        folders = [folder for folder in self.reads if (folder / CARD).is_file()]
        return any(isinstance(read_card(folder), ServedCard) for folder in folders)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser("stages.jobs", __doc__)
    parser.add_argument("--jobs", type=int, required=True, help="cells at a time")
    parser.add_argument("targets", nargs="*", help="cells or stages, with what they need")
    return parser


def outdated(repo: "Repo", targets: Sequence[str] = ()) -> dict[str, Cell]:
    """Return the cells that are not up to date, or may not be when what they need is done.

    In an order in which each stands behind what it needs; with targets, of what these need only.

    Raises:
        UserError: no such target.
    """
    from dvc.exceptions import DvcException

    graph = repo.index.graph
    try:
        wanted = {
            stage.addressing
            for target in targets
            for stage in repo.stage.collect(target, with_deps=True)
        }
    except DvcException as error:
        raise UserError(str(error)) from None
    found: dict[str, Cell] = {}
    with repo.lock:
        order = TopologicalSorter({stage: list(graph.successors(stage)) for stage in graph})
        for stage in order.static_order():
            if targets and stage.addressing not in wanted:
                continue
            needs = {str(other.addressing) for other in graph.successors(stage)} & found.keys()
            if needs or stage.changed():
                reads = tuple(Path(dep.fs_path) for dep in stage.deps)
                found[str(stage.addressing)] = Cell(frozenset(needs), reads)
    return found


def run_all(cells: Mapping[str, Cell], jobs: int, begin: Callable[[str, int], bool]) -> None:
    """Run cells, each after what it needs.

    Args:
        cells: by name, in the order in which they are begun where there is a choice.
        jobs: how many run at a time.
        begin: runs a cell to its end, given its name and its place (0 to `jobs` - 1), and tells
            whether it went well. Called on several threads.

    Raises:
        UserError: a cell went wrong; what ran beside it has ended.
    """
    waiting, places = dict(cells), list(range(jobs))
    running: dict[Future[bool], tuple[str, int, bool]] = {}
    done: set[str] = set()
    failed = False
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            for name, cell in [] if failed else list(waiting.items()):
                if not places:
                    break
                if cell.needs - done:
                    continue
                asks = cell.asks_a_server()
                if asks and any(other for _, _, other in running.values()):
                    continue
                place = places.pop(0)
                running[pool.submit(begin, name, place)] = (name, place, asks)
                del waiting[name]
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, place, _ = running.pop(future)
                places.append(place)
                done.add(name)
                failed |= not future.result()
    if failed:
        raise UserError(FAILED)


def surroundings(environment: Mapping[str, str], jobs: int) -> list[dict[str, str]]:
    """Return what each of the jobs finds in its environment beside what is there."""
    own: list[dict[str, str]] = [{} for _ in range(jobs)]
    gpus = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    for place, more in enumerate(own):
        if jobs > 1 and "OMP_WAIT_POLICY" not in environment:
            more["OMP_WAIT_POLICY"] = "PASSIVE"
        if len(gpus) >= jobs:
            more["CUDA_VISIBLE_DEVICES"] = gpus[place]
    return own


def _begin(own: Sequence[Mapping[str, str]]) -> Callable[[str, int], bool]:
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item"]

    def begin(name: str, place: int) -> bool:
        done = subprocess.run(
            [*command, name],
            env=os.environ | own[place],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        sys.stdout.buffer.write(done.stdout)
        sys.stdout.flush()
        return done.returncode == 0

    return begin


def main(args: argparse.Namespace) -> None:
    """Run what is not up to date."""
    from dvc.repo import Repo

    if args.jobs < 1:
        raise UserError(f"--jobs: at least 1, not {args.jobs}")
    cells = outdated(Repo(), args.targets)
    run_all(cells, args.jobs, _begin(surroundings(os.environ, args.jobs)))


if __name__ == "__main__":
    run(main, parser())
