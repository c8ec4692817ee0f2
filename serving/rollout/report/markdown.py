"""A page as Markdown (CommonMark with tables), every text of it escaped. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from serving.rollout.report.page import Block, Items, Page, Paragraph, Plot, Table, printable

SPECIAL: Final = re.compile(r"[\\`*_{}\[\]|~$]|:(?=//)")
"""What may mean something inside a line; `<`, `>` and `&` become entities."""
BLOCK_MARK: Final = re.compile(r"^(\d*)([-+#=.)])")
"""What may make a line something else than a paragraph, at its beginning."""
MOST_POINTS: Final = 24
BAR: Final = 30


def markdown(page: Page) -> str:
    """Write it; plots become tables with bars, since many readers of Markdown show no pictures."""
    return "\n".join(_lines(page)) + "\n"


def escaped(text: str) -> str:
    """Return a text that stands for itself in one line of Markdown."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "<br>".join(SPECIAL.sub(r"\\\g<0>", line).strip() for line in plain.split("\n"))


def _paragraph(text: str) -> str:
    """Return a text that stands for itself as a line of its own."""
    return BLOCK_MARK.sub(r"\1\\\2", escaped(text))


def _lines(page: Page) -> Iterator[str]:
    yield f"# {escaped(page.title)}"
    yield ""
    yield _paragraph(page.lead)
    for section in page.sections:
        yield ""
        yield f"## {escaped(section.title)}"
        for block in section.blocks:
            yield ""
            yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            yield _paragraph(block.text)
        case Items():
            yield from (f"- {_paragraph(text)}" for text in block.texts)
        case Table():
            yield from _table(block)
        case Plot():
            yield from _plot(block)


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield _paragraph(table.caption)
        yield ""
    if not table.rows:
        yield "(none)"
        return
    yield _row(table.columns)
    yield "|" + " --- |" * len(table.columns)
    yield from map(_row, table.rows)


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"


def _plot(plot: Plot) -> Iterator[str]:
    yield _paragraph(f"{plot.title} ({plot.unit}), by seconds since the start")
    top = max((point.y for one in plot.series for point in one.points), default=0.0)
    yield ""
    if not top:
        yield "0 all the time."
        return
    rows = []
    for series in plot.series:
        step = max(1, -(-len(series.points) // MOST_POINTS))
        for start in range(0, len(series.points), step):
            some = series.points[start : start + step]
            worst = max(some, key=lambda point: point.y)
            bar = "█" * round(BAR * worst.y / top)
            rows.append((series.name, f"{some[-1].x:,.1f}", f"{worst.y:.4g}", bar))
    yield from _table(Table(columns=("line", "until", "largest", ""), rows=tuple(rows)))
