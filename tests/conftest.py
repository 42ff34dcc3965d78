"""Fixtures that several test files share."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stages.records import Completion, Exchange, Item, Message, Trajectory

ROOT = Path(__file__).resolve().parent.parent


def find_mirror() -> Path | None:
    """Return the folder with the BBH release, where there is one beside the checkout."""
    named = os.environ.get("DATA_MIRROR")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if (folder / "bbh").is_dir() else None


@pytest.fixture
def mirror() -> Path:
    folder = find_mirror()
    if folder is None:
        pytest.skip("the BBH release is not here: set DATA_MIRROR to a folder that has bbh/")
    return folder


def would_track(root: Path) -> list[Path]:
    """Return the files of the working tree that git tracks, or would after `git add --all`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return [root / name for name in listed.split("\0") if name and (root / name).is_file()]


def copy_checkout(to: Path) -> Path:
    """Copy what git knows of this checkout, as it is in the working tree, into a new repository."""
    for source in would_track(ROOT):
        target = to / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    return to


@pytest.fixture
def item() -> Item:
    """An item of our own, in the form of the letter family."""
    return Item(
        id="bbh/own_example/7",
        suite="bbh",
        task="own_example",
        split="test",
        index=7,
        question="Which of these floats on water?\nOptions:\n(A) a brick\n(B) a cork",
        answer_format="the letter of your option in parentheses, e.g. (A)",
        family="letter",
        options={"(A)": "a brick", "(B)": "a cork"},
        target="(B)",
    )


@pytest.fixture
def tau(item: Item) -> Trajectory:
    """A student's wrong answer to `item`."""
    return Trajectory(
        item=item.id,
        suite=item.suite,
        task=item.task,
        split=item.split,
        model="tiny",
        seed=0,
        exchanges=(
            Exchange(
                messages=(Message(role="user", content=f"{item.question}\n\nThink."),),
                reply=Completion(text="Bricks are light.\nAnswer: (A)", finish_reason="stop"),
            ),
        ),
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
