"""A temporary clone of this checkout, as it is in the working tree, to run the pipeline in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copy_checkout


class Clone:
    """A new repository with this checkout's files, without results.

    Args:
        root: an empty folder.
        env: environment variables of all its commands.
    """

    def __init__(self, root: Path, **env: str) -> None:
        self.root = copy_checkout(root)
        (root / "dvc.lock").unlink(missing_ok=True)
        shutil.rmtree(root / "reports", ignore_errors=True)
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **{
                f"GIT_{who}_{what}": value
                for who in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))
            },
            # The tensors are tiny: a second thread would only wait for the first.
            "OMP_NUM_THREADS": "1",
            **env,
        }
        self.run("git", "init", "-q")

    def run(self, *command: str, **env: str) -> str:
        """Run a command in the clone; return all that it printed. A failure fails the test."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.env, **env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"{' '.join(command)}:\n{done.stdout[-6000:]}")
        return done.stdout

    def repro(self, *flags: str, **env: str) -> set[str]:
        """Run the pipeline; return the cells that ran."""
        return ran(self.run("dvc", "repro", *flags, **env))

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file that must hold it."""
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text, old
        path.write_text(text.replace(old, new), encoding="utf-8")


def ran(output: str) -> set[str]:
    """Return the cells that DVC says it ran."""
    return set(re.findall(r"^Running stage '([^']+)'", output, flags=re.MULTILINE))
