"""The report as two static pages: index.html, and differ.html on why numbers may differ.

Each is one file with its styles and script inside. It loads figures from beside it, and nothing
else; a content security policy says so, which names style and script by their hashes. Words out of
models, benchmarks and params are escaped by Jinja, and characters that would hide or reorder text
are replaced.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from math import isnan
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.reporting.built import Built
from stages.reporting.claims import Claims
from stages.reporting.facts import Facts
from stages.reporting.page import cells, games, more, questions, tolerances
from stages.reporting.page.table import Shelf

INDEX, DIFFER = "index.html", "differ.html"
_TEMPLATES = {INDEX: "index.html.jinja", DIFFER: "differ.html.jinja"}
# What the templates include: named here so that the stage is known to need them.
_PARTS = (
    *("layout.html.jinja", "table.html.jinja", "about.html.jinja"),
    *("tables.html.jinja", "games.html.jinja", "extra.html.jinja"),
)
_STYLE, _SCRIPT = "style.css", "page.js"
# Controls, and characters that turn the direction of text or break its lines in a script.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_FILE = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*\.[a-z]+")
_SLUG = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class Figure:
    """A figure, drawn to figures/<slug>.png and figures/<slug>.pdf.

    Attributes:
        slug: its name.
        title: over it.
        caption: below it, plain text.
    """

    slug: str
    title: str
    caption: str

    def __post_init__(self) -> None:
        """Refuse a slug that is no name of a file."""
        if not _SLUG.fullmatch(self.slug):
            raise ValueError(f"not the slug of a figure: {self.slug!r}")


def build(
    built: Built,
    *,
    figures: Sequence[Figure] = (),
    claims: Claims | None = None,
    facts: Facts | None = None,
    points: pd.DataFrame | None = None,
    sensitivity: pd.DataFrame | None = None,
    files: Collection[str] = (),
) -> dict[str, str]:
    """Return the pages, by name of the file in the folder of the report.

    Args:
        built: the tables of the run.
        figures: in their order; the files are there already or will be.
        claims: what became of the paper's claims; None leaves them out.
        facts: what the run took; None leaves it out.
        points: what `points.build` returns; None leaves it out.
        sensitivity: what `sensitivity.build` returns; None leaves it out.
        files: what else is written, relative to the folder, e.g. "tables/table3.csv": what is
            linked to.

    Raises:
        ValueError: a name among `files` or a figure's slug is not a plain relative path.
        KeyError: a frame lacks a column.
    """
    odd = sorted(name for name in files if not _FILE.fullmatch(name))
    if odd:
        raise ValueError(f"not the path of a file of the report: {odd[0]!r}")
    shelf = Shelf()
    questions.put(built, shelf)
    if built.games:
        games.put(built, built.games, shelf)
    if claims is not None:
        more.put_claims(claims, shelf)
    if facts is not None:
        more.put_facts(facts, shelf)
    if points is not None:
        more.put_points(points, shelf)
    if sensitivity is not None:
        more.put_sensitivity(sensitivity, shelf)
    again, told = tolerances.reruns(built), tolerances.resolution(built)
    more.put_tolerances(again, told, shelf)
    values = {
        "built": built,
        "grid": built.grid,
        "items": built.results.items,
        "tables": shelf.tables,
        "figures": figures,
        "claims": None if claims is None else more.tally(claims.ours),
        "contradictions": None if claims is None else more.tally(claims.inconsistencies),
        "files": sorted(files),
        "sizes": tolerances.sizes(built, again, sensitivity),
        "again": again.to_dict(orient="records"),
    }
    return {name: _render(template, values) for name, template in _TEMPLATES.items()}


def _visible(value: object) -> object:
    """Return what a template prints, with characters replaced that would hide or reorder text."""
    return (
        value if isinstance(value, Markup) else _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value))
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(num=cells.number, listed=_listed, lookup=_lookup)
    environment.tests.update(nan=isnan)
    return environment


def _listed(words: Sequence[object]) -> str:
    """Return words as a list in prose."""
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _lookup(slug: str, labels: Mapping[str, str]) -> str:
    """Return the printed name of a slug."""
    return labels[slug]


def _inlined(name: str, tag: str) -> tuple[Markup, str]:
    """Return a file of ours to stand within a tag, and its hash for the policy."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    if f"</{tag}" in text.lower():
        raise ValueError(f"{name}: would end its own <{tag}>")
    digest = b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")
    return Markup(text), f"sha256-{digest}"


def _render(template: str, values: dict[str, object]) -> str:
    style, style_hash = _inlined(_STYLE, "style")
    script, script_hash = _inlined(_SCRIPT, "script")
    return (
        _environment()
        .get_template(template)
        .render(
            **values, style=style, style_hash=style_hash, script=script, script_hash=script_hash
        )
    )
