"""Tables without lines, in which figures stay whole however narrow the terminal is.

::

    all fits                   as it is
    too wide                   the widest columns fold, between words; no figure does
    names and figures too wide a line for each cell, with its column's title before it
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

GAP: Final = 2
"""Characters between two columns."""
READABLE: Final = 8
"""Text is folded to so many characters, not to fewer."""
_FIGURE: Final = re.compile(r"\W?\d[\d.,:+e%-]*[^\W\d]{0,2}\b\W?")
"""12, -0.5, 1,024, [12:30:05, 98.5%, 535ms: no names or digests that have digits."""


class PlainTable(Table):
    """A table whose lines end where their text does."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [[_text(cell) for cell in (one.header, *one.cells)] for one in self.columns]
        wanted = [max(map(_width, cells)) for cells in columns]
        room = options.max_width - GAP * (len(columns) - 1)
        if sum(wanted) > room:
            least = [
                whole if one.no_wrap else max(min(whole, READABLE), *map(_figure_width, cells))
                for one, cells, whole in zip(self.columns, columns, wanted, strict=True)
            ]
            if sum(least) > room:
                yield from self._cell_by_cell(columns)
                return
            for one, width in zip(self.columns, _folded(wanted, least, room), strict=True):
                one.width = width
        drawn = super().__rich_console__(console, options)
        for line in Segment.split_lines(item for item in drawn if isinstance(item, Segment)):
            yield from _trimmed(line)
            yield Segment.line()

    def _cell_by_cell(self, columns: Sequence[Sequence[Text]]) -> Iterator[Text]:
        if self.title:
            yield Text(str(self.title), style=self.title_style or "")
        titles, *rows = zip(*columns, strict=True)
        for row in rows:
            for place, (title, cell) in enumerate(zip(titles, row, strict=True)):
                if cell:
                    yield Text.assemble("  " * (place > 0), (title.plain, "bold"), " ", cell)


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))


def _width(text: Text) -> int:
    return max((line.cell_len for line in text.split("\n")), default=0)


def _figure_width(text: Text) -> int:
    figures = (word for word in text.plain.split() if _FIGURE.fullmatch(word))
    return max(map(len, figures), default=0)


def _folded(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Return widths that fit: of those that may become less, the widest do."""
    widths = list(wanted)
    while sum(widths) > room:
        spare = (at for at, width in enumerate(widths) if width > least[at])
        widths[max(spare, key=widths.__getitem__)] -= 1
    return widths


def _trimmed(line: list[Segment]) -> list[Segment]:
    kept = list(line)
    while kept:
        text, style, control = kept.pop()
        if stripped := text.rstrip(" "):
            return [*kept, Segment(stripped, style, control)]
    return kept
