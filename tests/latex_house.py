"""What tests of the report's LaTeX share: tables built from a made-up folder, and pdflatex."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from stages import report
from stages.reporting.built import Built
from stages.reporting.settings import read_settings
from stages.reporting.tables import Builder

PACKAGES = ("booktabs", "siunitx", "amssymb", "array")
# What a log says of text that does not fit, and of what is missing.
_COMPLAINT = re.compile(r"^(?!Package: ).*(?:Overfull|Underfull|[Ww]arning|undefined|too large).*")


def build(flags: Sequence[str]) -> tuple[Built, dict[str, str]]:
    """Return the tables of a folder, and the LaTeX of those with the paper's figures, by name."""
    args = report.parser().parse_args(list(flags))
    builder = Builder(args, read_settings(args.params))
    built = builder.build()
    found = {path.stem: text for path, text in builder.texts.items() if path.suffix == ".tex"}
    return built, found


def needs_pdflatex() -> None:
    """Skip a test where there is no pdflatex, but for CI, where that is a failure."""
    if shutil.which("pdflatex") is None:
        if os.environ.get("CI"):
            pytest.fail("pdflatex is not installed")
        pytest.skip("pdflatex is not installed")


def typeset(folder: Path, name: str, runs: int = 2) -> subprocess.CompletedProcess[str]:
    """Run pdflatex on a file of a folder; return its last run."""
    fixed = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}
    for _ in range(runs):  # the second run knows the labels
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"],
            cwd=folder,
            env=os.environ | fixed,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    return done


def complaints(folder: Path, name: str) -> list[str]:
    """Return the lines of a log that complain."""
    log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    return [line for line in log.splitlines() if _COMPLAINT.match(line)]


def page(
    folder: Path, texts: Mapping[str, str], packages: Iterable[str] = PACKAGES, more: str = ""
) -> list[str]:
    """Typeset texts in a plain article, each from a new page on; return the complaints."""
    body = "".join(f"{text}\n\\clearpage\n" for text in texts.values())
    head = "".join(f"\\usepackage{{{name}}}\n" for name in packages)
    (folder / "page.tex").write_text(
        f"\\documentclass{{article}}\n{head}{more}\\begin{{document}}\n{body}\\end{{document}}\n",
        encoding="utf-8",
    )
    done = typeset(folder, "page")
    assert done.returncode == 0, done.stdout[-2000:]
    return complaints(folder, "page")


def said(folder: Path, name: str) -> str:
    """Return the text of a PDF, on one line."""
    done = subprocess.run(
        ["pdftotext", "-layout", f"{name}.pdf", "-"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return " ".join(done.stdout.split())
