"""Tables for people, in a terminal of any width: sentences are folded; figures and names never."""

from collections.abc import Container, Iterable
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

LEAST_TEXT: Final = 24
"""Characters: cells of more may be folded, to no less than this."""
GAP: Final = 2
"""Spaces between two columns."""
UNLIMITED: Final = 1 << 20  # characters: more than a line of ours has


class _PlainTable(Table):
    """A table whose lines end where their text does; where it has no room, each row is a record."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.show_header and self._least_width(console, options) > options.max_width:
            yield from self._records()
            return
        drawn = super().__rich_console__(console, options)
        for line in Segment.split_lines(item for item in drawn if isinstance(item, Segment)):
            yield from _trimmed(line)
            yield Segment.line()

    def _least_width(self, console: Console, options: ConsoleOptions) -> int:
        """Return how many characters a line has at least; no short cell is folded from now on."""
        wide, least = options.update(width=UNLIMITED), GAP * (len(self.columns) - 1)
        for column in self.columns:
            cells = (column.header, *column.cells)
            width = max(Measurement.get(console, wide, cell).maximum for cell in cells)
            column.no_wrap = column.no_wrap or width <= LEAST_TEXT
            least += width if column.no_wrap else LEAST_TEXT
        return least

    def _records(self) -> RenderResult:
        """Yield the cells of each row one below the other, beside their titles."""
        titles = [str(column.header) for column in self.columns]
        width = max(cell_len(title) for title in titles)
        if self.title:
            yield Text(str(self.title), style="bold")
        for number, row in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            if number:
                yield Text("")
            record = plain_pairs(width)
            for title, cell in zip(titles, row, strict=True):
                if str(cell):
                    record.add_row(Text(title, style="bold"), cell)
            yield record


def _trimmed(line: list[Segment]) -> list[Segment]:
    kept = list(line)
    while kept:
        text, style, control = kept.pop()
        if stripped := text.rstrip(" "):
            return [*kept, Segment(stripped, style, control)]
    return kept


def plain_table(
    columns: Iterable[str], *, right: Container[str] = (), whole: Container[str] = ()
) -> Table:
    """Return an empty table without lines.

    Args:
        columns: Their titles. The first, that of names, is neither cut nor folded.
        right: Columns whose cells stand at the right, as figures do.
        whole: More columns that are neither cut nor folded, however long their cells are.
    """
    table = _PlainTable(box=None, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=place == 0 or column in whole,
        )
    return table


def plain_pairs(name_width: int = 0) -> Table:
    """Return an empty table of names and values, without titles.

    Args:
        name_width: Characters that the names have at least.
    """
    table = _PlainTable(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, min_width=name_width)
    table.add_column(overflow="fold")
    return table
