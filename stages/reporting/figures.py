"""What all figures share: sizes, styles that can be told apart in grey, text, and equal bytes.

A figure is drawn at the size at which it is printed, with no text below `SMALLEST` points: those of
one student or learner in a column of a two-column article (`COLUMN` inches wide), those of several,
and the heat map, over the text width (`TEXT`). Include them without scaling. Places are given in
inches and text is measured, so that nothing depends on a layout engine. Text is literal: no label
is read as mathematics, and what the font cannot show is shown as a replacement character.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

COLUMN, TEXT = 3.3, 5.5
"""Inches: the width of a column of a two-column article, and the text width of an article."""
SMALLEST, SMALL, SIZE = 6.0, 6.5, 7.0
"""Points: text in cells and on lines, ticks and keys, titles and axes."""
HEAD = 8.0
"""Points of the name of a row of panels."""
ROOM = 1.3
"""Inches that a label beside rows or in a key may take."""
ROW = 0.15
"""Inches of a row of dots or bars."""

# The colours of Okabe and Ito, which the colour-blind can tell apart, with a marker each for print
# in grey.
BLACK, BLUE, GREEN, ORANGE = "#000000", "#0072B2", "#009E73", "#E69F00"
VERMILLION, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"
GREY = "#767676"
"""Of what is only beside the data; its contrast with white is 4.5."""

CHOOSER_STYLES: dict[str, dict[str, Any]] = {
    "none": {"color": BLACK, "marker": "o", "linestyle": "-"},
    "student_logits": {"color": BLUE, "marker": "s", "linestyle": "--"},
    "majority": {"color": GREEN, "marker": "^", "linestyle": "-."},
    "student_choice": {"color": ORANGE, "marker": "D", "linestyle": ""},
    "teacher_choice": {"color": VERMILLION, "marker": "v", "linestyle": ""},
    "oracle": {"color": PURPLE, "marker": "*", "linestyle": (0, (6, 2))},
}
METHOD_STYLES: tuple[dict[str, Any], ...] = (
    {"color": BLACK, "marker": "o", "linestyle": "-"},
    {"color": BLUE, "marker": "s", "linestyle": "--"},
    {"color": GREEN, "marker": "^", "linestyle": "-."},
    {"color": ORANGE, "marker": "D", "linestyle": ":"},
    {"color": VERMILLION, "marker": "v", "linestyle": "-"},
    {"color": PURPLE, "marker": "*", "linestyle": "--"},
    {"color": SKY, "marker": "P", "linestyle": "-."},
)
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": SIZE,
    "axes.titlesize": SIZE,
    "axes.labelsize": SIZE,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


@dataclass(frozen=True)
class Layout:
    """Where the panels of a figure stand, in inches.

    Attributes:
        heights: of the rows of panels, from the top.
        widths: of the columns of panels, as shares of the width that is left.
        left: of the panels; what stands there is mostly labels of rows.
        bottom: of the panels: the last row's axis and the key.
        top: of the panels: a title.
        right: of the panels.
        across: between columns of panels.
        down: between rows of panels.
        width: of the figure.
    """

    heights: Sequence[float]
    widths: Sequence[float] = (1.0,)
    left: float = 0.45
    bottom: float = 0.35
    top: float = 0.2
    right: float = 0.06
    across: float = 0.12
    down: float = 0.4
    width: float = TEXT

    @property
    def height(self) -> float:
        """Inches of the whole figure."""
        gaps = self.down * (len(self.heights) - 1)
        return self.top + sum(self.heights) + gaps + self.bottom

    def panels(self) -> list[list[tuple[float, float, float, float]]]:
        """Return left, bottom, width and height of each panel, as fractions of the figure's."""
        gaps = self.across * (len(self.widths) - 1)
        share = (self.width - self.left - self.right - gaps) / sum(self.widths)
        rows, y = [], self.height - self.top
        for height in self.heights:
            y -= height
            row, x = [], self.left
            for width in self.widths:
                place = (x / self.width, y / self.height)
                row.append((*place, width * share / self.width, height / self.height))
                x += width * share + self.across
            rows.append(row)
            y -= self.down
        return rows


def width_for(rows: int) -> float:
    """Return the width of a figure with so many students or learners."""
    return COLUMN if rows == 1 else TEXT


@contextmanager
def drawn(to: Path, layout: Layout) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure and its panels, an array (rows, columns); then write `to`.pdf and `to`.png.

    The same figure gives the same bytes.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(layout.width, layout.height))
        FigureCanvasAgg(figure)
        rows = [[figure.add_axes(place) for place in row] for row in layout.panels()]
        yield figure, np.array(rows, dtype=object)
        for panel in figure.axes:  # makes the ticks, and with them their texts
            panel.get_xticklabels(), panel.get_yticklabels()
        for text in figure.findobj(Text):
            text.set_fontfeatures(["-liga"])  # a PDF embeds the font a second time for ligatures
        to.parent.mkdir(parents=True, exist_ok=True)
        made = {"CreationDate": None, "Creator": None, "Producer": None}
        figure.savefig(to.with_name(f"{to.name}.pdf"), metadata=made)
        figure.savefig(to.with_name(f"{to.name}.png"), metadata={"Software": None})


# Text.


@cache
def _font() -> Any:
    return get_font(findfont("DejaVu Sans"))


@cache
def _shown() -> frozenset[str]:
    return frozenset(map(chr, _font().get_charmap()))


def line(text: object) -> str:
    """Return text as one line without control characters, for a caption."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def label(text: object, room: float = ROOM, size: float = SMALL) -> str:
    """Return text as one line that takes at most `room` inches, all of which the font has."""
    whole = "".join(c if c in _shown() else "\ufffd" for c in line(text)[:200])
    kept = whole
    while width_of(kept, size) > room:
        whole = whole[:-1].rstrip()
        kept = f"{whole}…"
    return kept


def width_of(text: str, size: float = SMALL) -> float:
    """Return the width in inches of a line of text of so many points."""
    font = _font()
    font.set_size(100, 72)  # large, since small letters are measured in whole dots
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / 100 * size / 72


def widest(texts: Iterable[str], size: float = SMALL) -> float:
    """Return the width in inches of the widest of some lines, 0 of none."""
    return max((width_of(text, size) for text in texts), default=0.0)


# Keys.


_BESIDE = 0.42
"""Inches of a column of a key besides its texts."""


@dataclass(frozen=True)
class Key:
    """The key of a figure, below its panels: texts and what they stand beside, in few rows."""

    entries: Sequence[tuple[str, Any]]
    width: float = TEXT

    @property
    def columns(self) -> int:
        """How many entries stand beside each other."""
        texts = [text for text, _ in self.entries]
        for rows in range(1, len(texts)):
            columns = ceil(len(texts) / rows)
            # As matplotlib deals them out.
            parts = np.array_split(np.array(texts, dtype=object), columns)
            if sum(widest(part) + _BESIDE for part in parts) <= self.width:
                return columns
        return 1

    @property
    def height(self) -> float:
        """Inches that it takes."""
        return 0.135 * ceil(len(self.entries) / self.columns) + 0.06

    def draw(self, figure: Figure, center: float = 0.5, bottom: float = 0) -> None:
        """Draw it around `center`, a fraction, and above `bottom`, inches from the lower edge."""
        if not self.entries:
            return
        legend = figure.legend(
            [handle for _, handle in self.entries],
            # A legend leaves out what starts with an underscore.
            [f"\u200b{text}" if text.startswith("_") else text for text, _ in self.entries],
            loc="lower center",
            bbox_to_anchor=(center, bottom / figure.get_figheight()),
            ncols=self.columns,
            borderpad=0.3,
            borderaxespad=0,
            handlelength=2.2,
            handletextpad=0.5,
            columnspacing=1.4,
            labelspacing=0.35,
        )
        legend.set_in_layout(False)


def marked(style: Mapping[str, Any], *, hollow: bool = False, size: float = 4) -> Line2D:
    """Return what stands in a key for a marker of a style, or for the paper's, a hollow one."""
    marker, color = style["marker"], style["color"]
    look = {"marker": marker, "color": color, "mfc": "white" if hollow else color, "mew": 0.8}
    return Line2D([], [], linestyle="", markersize=size * (1.4 if marker == "*" else 1), **look)


# Dots with intervals.


def numbers(values: Iterable[object]) -> np.ndarray:
    """Return figures that the paper prints as text as numbers, NaN where there are none."""
    return np.array([float(str(value)) if str(value) else np.nan for value in values])


def dots(panel: Any, x: Any, y: Any, low: Any, high: Any, *, color: str, marker: str) -> None:
    """Draw dots with horizontal intervals; no dot where `x` is NaN, no interval where an end is."""
    x, y, low, high = (np.asarray(values, dtype=float) for values in (x, y, low, high))
    known = np.isfinite(low) & np.isfinite(high)
    panel.hlines(y[known], low[known], high[known], colors=color, linewidth=1.0)
    style = {"marker": marker, "color": color, "mew": 0.8}
    panel.plot(x, y, linestyle="", markersize=4, clip_on=False, zorder=3, **style)


def hollow(panel: Any, x: Any, y: Any, *, color: str, marker: str, size: float = 4) -> None:
    """Draw the paper's figures: hollow dots, none where `x` or `y` is NaN."""
    x, y = (np.asarray(values, dtype=float) for values in (x, y))
    style = {"marker": marker, "color": color, "markersize": size, "mew": 0.8, "mfc": "white"}
    panel.plot(x, y, linestyle="", clip_on=False, zorder=2.5, **style)


def rows_of(panel: Any, labels: Sequence[str] | None, count: int) -> None:
    """Give a panel `count` rows from the top, every other one shaded, with labels or without."""
    panel.set_ylim(count - 0.5, -0.5)
    panel.set_yticks(range(count), ["" for _ in range(count)] if labels is None else labels)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    for row in range(0, count, 2):
        panel.axhspan(row - 0.5, row + 0.5, color="#F3F3F3", linewidth=0, zorder=0)


def named(panel: Any, layout: Layout, text: str, above: float = 3, room: float = 1) -> None:
    """Name a row of panels at the left edge of the figure.

    Args:
        panel: the first of the row.
        layout: of the figure.
        text: the name.
        above: points from the panel.
        room: the share of the figure's width that it may take.
    """
    panel.annotate(
        label(text, layout.width * room - 0.1, HEAD),
        (0, 1),
        xytext=(2 - layout.left * 72, above),
        xycoords="axes fraction",
        textcoords="offset points",
        size=HEAD,
    )


def ticks(axis: Any, count: int = 5, *, integer: bool = False) -> None:
    """Set few round ticks along an axis."""
    steps = [1, 2, 5, 10] if integer else [1, 2, 2.5, 5, 10]
    axis.set_major_locator(MaxNLocator(count, steps=steps, integer=integer))
    axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\u2212"))


def upper(values: Iterable[Any], *, least: float = 0.1, most: float = 1.0) -> float:
    """Return the upper end of an axis of rates that starts at 0: above all values, NaN left out."""
    known = [np.nanmax(array) for v in values if np.isfinite(array := np.asarray(v, float)).any()]
    return float(min(max([*known, least]) * 1.04, most * 1.02))
