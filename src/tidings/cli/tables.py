"""Markdown for a terminal of any width: no name in a table is cut, and no figure broken."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, takewhile
from typing import ClassVar, NamedTuple

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, MarkdownElement, TableElement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

BETWEEN_COLUMNS_CELLS = 2
_PIECE = re.compile(r"[^\s_/-]*[\s_/-]+|[^\s_/-]+")
"""A name may go on in the next line behind a joint of its own."""


class ShownColumn(NamedTuple):
    """A heading and what stands under it; figures stand to the right."""

    heading: Text
    cells: Sequence[Text]

    @property
    def figures(self) -> bool:
        """Whether it has figures, and not names."""
        return self.heading.justify == "right"

    @property
    def most(self) -> int:
        """The width at which nothing in it goes on in another line."""
        return max(cell_len(text.plain) for text in (self.heading, *self.cells))

    @property
    def least(self) -> int:
        """The width at which no figure does, and names and the heading do at joints alone."""
        figures = self.cells if self.figures else ()
        words = (self.heading,) if self.figures else (self.heading, *self.cells)
        pieces = (piece.rstrip() for text in words for piece in _PIECE.findall(text.plain))
        return max(1, *map(cell_len, pieces), *(cell_len(text.plain) for text in figures))


class FittingTable(TableElement):
    """A table as wide as there is room, and otherwise row by row."""

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(self._columns())
        widths = widths_of(columns, options.max_width)
        if widths is None:
            yield from _row_by_row(columns, options.max_width)
        else:
            yield _table(columns, widths)

    def _columns(self) -> Iterator[ShownColumn]:
        headings = self.header.row.cells if self.header and self.header.row else []
        rows = [row.cells for row in self.body.rows] if self.body else []
        for place, heading in enumerate(headings):
            yield ShownColumn(heading.content, [row[place].content for row in rows])


class ShownDocument(Markdown):
    """Markdown whose tables fit."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = Markdown.elements | {
        "table_open": FittingTable
    }


def widths_of(columns: Sequence[ShownColumn], width: int) -> list[int] | None:
    """Return widths that fit, headings of figures narrowed before names; None: there are none."""
    widths = [column.most for column in columns]
    while sum(widths) > width - BETWEEN_COLUMNS_CELLS * len(columns):
        spare = [
            (column.figures, wide - column.least, place)
            for place, (column, wide) in enumerate(zip(columns, widths, strict=True))
            if wide > column.least
        ]
        if not spare:
            return None
        _, _, widest = max(spare)
        widths[widest] -= 1
    return widths


def _table(columns: Sequence[ShownColumn], widths: Sequence[int]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True, style="markdown.table.border")
    for column, width in zip(columns, widths, strict=True):
        heading = _broken(column.heading, width)
        heading.stylize("markdown.table.header")
        table.add_column(heading, width=width, overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(_broken, row, widths))
    return table


def _row_by_row(columns: Sequence[ShownColumn], width: int) -> RenderResult:
    """Yield each row: the names that it begins with, and under them the rest with its headings."""
    names = len(list(takewhile(lambda column: not column.figures, columns)))
    if names in (0, len(columns)):
        names = 1
    for place in range(len(columns[0].cells)):
        name = Text(" · ").join(column.cells[place] for column in columns[:names])
        name.stylize("bold")
        yield name
        rest = [
            Text(f"{column.heading.plain} ").append_text(column.cells[place])
            for column in columns[names:]
        ]
        yield Padding(Text("\n").join(_lines(rest, width)), (0, 0, 0, 2))


def _broken(text: Text, width: int) -> Text:
    """Return it with lines that are no wider, each ended at a joint, as far as there are any."""
    offsets, begun = [], 0
    ends = list(accumulate(map(len, _PIECE.findall(text.plain))))
    for before, end in zip([0, *ends], ends, strict=False):
        if before > begun and cell_len(text.plain[begun:end].rstrip()) > width:
            offsets.append(before)
            begun = before
    lines = text.divide(offsets)
    for line in lines:
        line.rstrip()
    broken = Text("\n", justify=text.justify).join(lines)
    broken.justify = text.justify
    return broken


def _lines(parts: Sequence[Text], width: int) -> Iterator[Text]:
    """Yield the parts side by side, none broken that fits into a line by itself."""
    line = Text()
    for part in parts:
        if line and line.cell_len + len(" · ") + part.cell_len > width - 2:
            yield line
            line = Text()
        line = Text(" · ").join([line, part]) if line else part
    yield line
