"""What all figures share: size, styles that can be told apart in grey, and equal bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.5, 2.3
"""Inches: the text width of an article, and the height of one row of panels."""

# The colours of Okabe and Ito, which the colour-blind can tell apart, with a marker each for print
# in grey.
CHOOSER_STYLES: dict[str, dict[str, Any]] = {
    "none": {"color": "#000000", "marker": "o", "linestyle": "-"},
    "student_logits": {"color": "#0072B2", "marker": "s", "linestyle": "--"},
    "majority": {"color": "#009E73", "marker": "^", "linestyle": "-."},
    "student_choice": {"color": "#E69F00", "marker": "D", "linestyle": ""},
    "teacher_choice": {"color": "#D55E00", "marker": "v", "linestyle": ""},
    "oracle": {"color": "#999999", "marker": "*", "linestyle": ":"},
}
METHOD_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#000000", "marker": "o", "linestyle": "-"},
    {"color": "#0072B2", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": "-."},
    {"color": "#E69F00", "marker": "D", "linestyle": ":"},
    {"color": "#D55E00", "marker": "v", "linestyle": "-"},
    {"color": "#CC79A7", "marker": "*", "linestyle": "--"},
    {"color": "#56B4E9", "marker": "P", "linestyle": "-."},
)
_STYLE: Any = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


@contextmanager
def drawn(to: Path, rows: int, columns: int, share_y: bool = False) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure and its panels, (rows, columns); then write `to`.pdf and `to`.png.

    The same figure gives the same bytes.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT * rows + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(rows, columns, sharey=share_y, squeeze=False)
        to.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(to.with_suffix(".pdf"), metadata={"CreationDate": None, "Producer": None})
        figure.savefig(to.with_suffix(".png"), metadata={"Software": None})
