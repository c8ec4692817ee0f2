"""A page as records: titles, paragraphs, tables and plots, before anybody chose a format. Pure.

Whatever stands in them may come from strangers (names of models, reasons, excerpts of calls): who
writes a page in a format escapes all of it, in one place.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Some sentences."""

    text: str
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    texts: tuple[str, ...]
    kind: Literal["items"] = "items"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts, each as long as the columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    kind: Literal["table"] = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place in a plot."""

    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a plot."""

    name: str
    points: tuple[Point, ...]
    is_candidate: bool = True
    is_dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Something over the seconds since the rollout was recorded."""

    title: str
    unit: str
    series: tuple[Series, ...]
    is_stepped: bool = False
    """A value holds until the next one."""
    kind: Literal["plot"] = "plot"


Block = Paragraph | Items | Table | Plot


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All of it."""

    title: str
    lead: str
    sections: tuple[Section, ...] = field(default=())


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values; what has no value is left out."""
    return Table(columns=("what", "value"), rows=tuple(row for row in rows if row[1]))


def printable(text: str) -> str:
    """Return a text without what could steer its reader: control characters, marks of direction."""
    return "".join(map(_shown, text))


def _shown(letter: str) -> str:
    if letter.isprintable() or letter == "\n":
        return letter
    return " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}"
