"""Figure 2 (paper, appendix A): the prompts as they are, each file literally."""

from collections.abc import Iterable
from pathlib import Path

from stages.reporting.latex import code, render

# What a model is asked with, in the order of the pipeline.
STEPS = ("respond", "feedback", "revise", "judge", "select", "clean")


def to_tex(paths: Iterable[Path]) -> str:
    """Return the figure as LaTeX, over as many pages as it takes.

    Args:
        paths: of the prompts, in folders that are named by their steps.

    Raises:
        FileNotFoundError: one of them is not there.
    """
    order = {step: place for place, step in enumerate(STEPS)}
    ours = sorted(
        paths, key=lambda p: (order.get(p.parent.name, len(order)), p.parent.name, p.name)
    )
    steps: dict[str, list[dict[str, object]]] = {}
    for path in ours:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        steps.setdefault(path.parent.name, []).append(
            {"name": path.name, "lines": [code(line.expandtabs(4)) for line in lines]}
        )
    return render(Path(__file__).with_name("figure2.tex.jinja"), steps=steps)
