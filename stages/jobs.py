r"""Run the pipeline with several cells at a time; `dvc repro` runs one after the other.

    python -m stages.jobs --jobs 2 [target ...]

All of the pipeline, or what the targets need: cells or whole stages, as for `dvc repro`. A cell is
begun when all that it depends on is done, and what DVC does for one it does here too: a cell that
did not change is skipped, one whose result lies in the run cache is restored, and a later `dvc
repro` finds nothing to do. What a cell's command prints comes out in one piece at its end. Of the
cells that ask a server only one runs at a time: it has many calls under way itself, and the call
log has one writer. After a failure nothing new is begun.

DVC reads and writes all of dvc.lock for each cell, which costs more than many a cell. Here the
pipeline is read once, and cells that ended are written together, when one ends, as often as takes
a fiftieth of the time, and at the end. Those that a kill keeps out of dvc.lock are restored from
the run cache, but for the report, which DVC does not keep there. A kill of this process alone
leaves the commands under way running: end them before the next run.

Every cell has all cores, as with `dvc repro`: fewer threads add up in another order, and replies
would differ. Threads that have nothing to do sleep (`OMP_WAIT_POLICY`, unless it is set), which
leaves the cores to the other cells, and memory that is freed stays with the cell. GPUs are shared
out where `CUDA_VISIBLE_DEVICES` names at least as many as there are jobs, one each. Memory is not.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.models.card import CARD, ServedCard, read_card

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

WRITING = 1 / 50  # of the time, at most, goes into writing dvc.lock
# glibc: keep what is freed, in bytes. A model frees and takes the same sizes at every step; having
# the system clear the pages each time is a tenth of the work.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(4 * 2**30), "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30)}
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
        more.update({name: value for name, value in MALLOC.items() if name not in environment})
        if jobs > 1 and "OMP_WAIT_POLICY" not in environment:
            more["OMP_WAIT_POLICY"] = "PASSIVE"
        if len(gpus) >= jobs:
            more["CUDA_VISIBLE_DEVICES"] = gpus[place]
    return own


class Runner:
    """Runs cells of a pipeline, each on a thread of its own, as `dvc repro --single-item` would.

    All that DVC does is done by one thread at a time. Its lock of the repository is free while
    commands run, so that it can be asked about other cells; what those at work read and write it
    guards.

    Args:
        repo: the pipeline, which waits for its lock.
        own: what each of the jobs finds in its environment beside what is there.
    """

    def __init__(self, repo: "Repo", own: Sequence[Mapping[str, str]]) -> None:
        self._repo = repo
        self._own = own
        self._stages: dict[str, Stage] = {stage.addressing: stage for stage in repo.index.graph}
        self._words = sys.argv
        self._one = threading.Lock()
        self._done: list[Stage] = []
        self._write_from = 0.0

    def __call__(self, name: str, place: int) -> bool:
        """Run a cell to its end if it changed, print what it printed, tell whether it went well."""
        from dvc.stage.decorators import rwlocked

        printed: list[bytes] = []
        begin = rwlocked(read=["deps"], write=["outs"])(self._reproduce)
        well = False
        with self._one, self._repo.lock:
            try:
                self._be(name)
                begin(self._stages[name], self._own[place], printed)
                well = True
            except Exception as error:  # Whatever it is, the other cells end and are written down.
                printed.append(f"ERROR: {name}: {type(error).__name__}: {error}\n".encode())
            finally:
                sys.argv = self._words
            sys.stdout.buffer.write(b"".join(printed))
            sys.stdout.flush()
            if time.monotonic() >= self._write_from:
                self._write()
        return well

    def close(self) -> None:
        """Write to dvc.lock what is not yet there."""
        with self._one, self._repo.lock:
            self._write()

    def _be(self, name: str) -> None:
        """Say which cell DVC acts for.

        It tells holders of a file apart by process and command line. If all cells were one holder,
        the first to end would give away what the others still read.
        """
        sys.argv = [*self._words, name]

    def _reproduce(self, stage: "Stage", own: Mapping[str, str], printed: list[bytes]) -> None:
        from dvc.stage.cache import RunCacheNotFoundError

        if not stage.changed():
            return
        if stage.frozen or not stage.cmd:
            stage.run()
        else:
            stage.remove_outs(ignore_remove=False, force=False)
            try:
                self._repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                stage.save_deps()
                self._command(stage, own, printed)
            # DVC restores only what it keeps; metrics and plots it keeps for that purpose.
            kept = all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs)
            stage.save(run_cache=kept)
            stage.commit()
        self._done.append(stage)

    def _command(self, stage: "Stage", own: Mapping[str, str], printed: list[bytes]) -> None:
        from dvc.stage.run import prepare_kwargs

        printed.append(f"Running stage '{stage.addressing}':\n".encode())
        surroundings = prepare_kwargs(stage, run_env=own) | {"shell": True}
        for command in stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines():
            printed.append(f"> {command}\n".encode())
            with self._let_others(stage.addressing):
                done = subprocess.run(
                    command,
                    **surroundings,
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            printed.append(done.stdout)
            done.check_returncode()

    @contextmanager
    def _let_others(self, name: str) -> Iterator[None]:
        sys.argv = self._words
        self._repo.lock.unlock()
        self._one.release()
        try:
            yield
        finally:
            self._one.acquire()
            self._repo.lock.lock()
            self._be(name)

    def _write(self) -> None:
        if not self._done:
            return
        begun = time.monotonic()
        self._done[0].dvcfile.dump_stages(self._done, update_pipeline=False)
        self._done.clear()
        ended = time.monotonic()
        self._write_from = ended + (ended - begun) / WRITING


def main(args: argparse.Namespace) -> None:
    """Run what is not up to date."""
    from dvc.repo import Repo

    if args.jobs < 1:
        raise UserError(f"--jobs: at least 1, not {args.jobs}")
    repo = Repo(_wait_for_lock=True)
    cells = outdated(repo, args.targets)
    with repo.scm_context():
        runner = Runner(repo, surroundings(os.environ, args.jobs))
        try:
            run_all(cells, args.jobs, runner)
        finally:
            # A second Ctrl-C would find dvc.lock half written.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            runner.close()


if __name__ == "__main__":
    run(main, parser())
