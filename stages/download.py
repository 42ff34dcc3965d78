"""Download the raw files of a suite (paper, section 4.1), pinned by SHA-256.

    python -m stages.download --params params.yaml --suite bbh --out data/raw/bbh

The environment variable DATA_MIRROR may name a folder that holds the same bytes; it is then used
in place of the network: bbh/<subtask>.json for the release, bigbench/<archive> for BIG-bench.
"""

import argparse
import sys
import tarfile
import tempfile
from http.client import HTTPException
from pathlib import Path
from shutil import copyfile
from urllib.request import urlopen

from pydantic import TypeAdapter

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.files import check_sha256, whole_folder, write_text
from stages.packages import fetch_package, mirror
from stages.params import Params
from stages.progress import bar
from stages.tasks.bbh.subtasks import BigBenchFile, load_subtasks
from stages.tasks.config import BigBenchSource, ReleaseSource, Source, WrittenSource

PARAMS = ("suites.{suite}.source",)

_TASKS = "/bigbench/benchmark_tasks/"
_SUMS = Path(__file__).parent / "tasks" / "bbh" / "SHA256SUMS"
_TIMEOUT_SECONDS = 60


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.download", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument("--suite", required=True, help="key of the suite in params.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    return parser


def main(args: argparse.Namespace) -> None:
    """Fetch the files of one suite into a folder of their own, whole or not at all."""
    params = Params(args.params, PARAMS, suite=args.suite)
    source = params.get("suites.{suite}.source", TypeAdapter[Source](Source))
    with whole_folder(args.out) as folder:
        match source:
            case ReleaseSource():
                fetch_release(source, folder)
            case BigBenchSource():
                fetch_bigbench(source, folder)
            case WrittenSource():
                write_text(folder / "README", "Nothing to download: the items are generated.\n")


def fetch_release(source: ReleaseSource, folder: Path) -> None:
    """Fetch the 27 files of the BBH release. Raises UserError naming the file or address."""
    sums = dict(line.split()[::-1] for line in _SUMS.read_text(encoding="utf-8").splitlines())
    root = mirror()
    with bar(len(sums), "download", "file") as progress:
        for name, expected in sums.items():
            target = folder / name
            if root is not None:
                origin = str(root / "bbh" / name)
                _copy(Path(origin), target)
            else:
                origin = source.url + name
                _fetch(origin, target)
            check_sha256(target, expected, origin)
            progress.update()


def fetch_bigbench(source: BigBenchSource, folder: Path) -> None:
    """Fetch BIG-bench's source distribution and keep the task files that subtasks.yaml names.

    Raises:
        UserError: no such archive, another hash, or a task file that is not in it.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        print(f"download: {source.requirement}", file=sys.stderr)
        archive = fetch_package(source.requirement, source.sha256, Path(temporary), source=True)
        _extract(archive, folder)


def _copy(origin: Path, target: Path) -> None:
    try:
        copyfile(origin, target)
    except OSError as error:
        raise UserError(f"{origin}: {error.strerror or error} (DATA_MIRROR)") from None


def _fetch(url: str, target: Path) -> None:
    try:
        with urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            target.write_bytes(answer.read())
    except (OSError, HTTPException) as error:
        raise UserError(f"{url}: {getattr(error, 'reason', None) or error}") from None


def _extract(archive: Path, folder: Path) -> None:
    wanted = {
        subtask.bigbench.file
        for subtask in load_subtasks().values()
        if isinstance(subtask.bigbench, BigBenchFile)
    }
    with bar(len(wanted), "unpack", "file") as progress, tarfile.open(archive, "r|gz") as members:
        for member in members:
            name = member.name.partition(_TASKS)[2]
            if name not in wanted or not member.isfile():
                continue
            stream = members.extractfile(member)
            assert stream is not None  # it is a regular file
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stream.read())
            wanted.remove(name)
            progress.update()
            if not wanted:
                return
    raise UserError(f"{archive.name}: no {_TASKS}{min(wanted)} in it")


if __name__ == "__main__":
    run(main, parser())
