"""Tables of the page, declared as columns over a data frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from stages.reporting.page.cells import Cell, Make


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        head: its head.
        make: returns its cell of a row.
        group: the head over this one and its neighbours of the same group; "" for none.
        kind: `number` is set to the right, `prose` may be wrapped.
    """

    head: str
    make: Make
    group: str = ""
    kind: str = "number"


@dataclass(frozen=True)
class Group:
    """Rows that are sorted among themselves; `label` stands over them, unless it is empty."""

    label: str
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Table:
    """A table; its caption is the template's.

    Attributes:
        id: of the element.
        columns: the first one heads the rows.
        groups: of rows.
    """

    id: str
    columns: Sequence[Column]
    groups: Sequence[Group]

    @property
    def verdicts(self) -> list[str]:
        """The verdicts of its rows, in the order in which they come; none where rows have none."""
        rows = (row for group in self.groups for row in group.rows)
        return list(dict.fromkeys(found for row in rows if (found := self.verdict(row))))

    @staticmethod
    def verdict(row: Sequence[Cell]) -> str:
        """Return the first verdict in a row, by which it is filtered; "" without one."""
        return next((cell.verdict for cell in row if cell.verdict), "")

    @property
    def heads(self) -> list[tuple[str, int]]:
        """The upper row of heads: groups and lone columns, with the columns each spans."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if column.group and found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found

    @property
    def size(self) -> int:
        """How many rows it has."""
        return sum(len(group.rows) for group in self.groups)


@dataclass
class Shelf:
    """The tables of a page by id; a template takes them from here."""

    tables: dict[str, Table] = field(default_factory=dict)

    def put(
        self,
        slug: str,
        frame: pd.DataFrame,
        columns: Sequence[Column],
        by: Sequence[str] = (),
    ) -> None:
        """Make a table and keep it.

        Args:
            slug: its id.
            frame: a row of the table each.
            columns: of the table.
            by: columns of the frame by which rows are grouped, in the order in which they come;
                one that has a single value is not named.

        Raises:
            KeyError: the frame lacks a column that a cell needs.
        """
        named = [axis for axis in by if frame[axis].nunique() > 1]
        groups: dict[str, list[list[Cell]]] = {}
        for row in frame.to_dict(orient="records"):
            label = ": ".join(str(row[axis]) for axis in named)
            groups.setdefault(label, []).append([column.make(row) for column in columns])
        self.tables[slug] = Table(
            slug, columns, [Group(label, rows) for label, rows in groups.items()]
        )


def beside(head: str, ours: Make, paper: Make | None, name: str = "paper") -> list[Column]:
    """Return a figure's column, under one head with that of the paper's where there is one."""
    if paper is None:
        return [Column(head, ours)]
    return [Column("here", ours, head), Column(name, paper, head)]
