r"""How long the explorer of 100,000 made-up trajectories takes to write, and how large it is.

    python benchmarks/explorer.py

How fast a browser shows and filters it is measured by tests/test_explorer_browser.py.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from explorer_house import large  # noqa: E402


def main() -> None:
    """Write the site once and print what that took."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run = large(folder / "run").write()
        rows = sum(len(suite.cells) * len(run.of(suite)) for suite in run.suites)
        started = time.monotonic()
        run.build(folder / "site")
        seconds = time.monotonic() - started
        files = [path for path in (folder / "site").rglob("*") if path.is_file()]
        index = (folder / "site" / "data" / "index.js").stat().st_size
        total = sum(path.stat().st_size for path in files)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{rows:,} trajectories: {seconds:.1f} s, {memory:.0f} MiB at most")
    print(f"{len(files)} files, {total / 2**20:.0f} MiB, index {index / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
