"""Pure: from posted labels, in whatever order they came, to the one table that they mean.

For one output of one row each source has a history, in the order of the labels' times; the newest
holds, and what repeats the one before it changes nothing. A label without a time has that of its
post; of two with the same time the one that was posted later holds. So a label that is posted
before its prediction is logged, after it, or twice gives the same table, and so do labels with
times in any order.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from serving.predictions.labels.entries import Cell

_MOMENT: Final = attrgetter("time_ns", "posted_ns")
_POSTED: Final = attrgetter("posted_ns")


class CellKey(NamedTuple):
    """What a label is about."""

    prediction_id: str
    row: int
    output: str


class LabelBatch(msgspec.Struct, frozen=True):
    """What one post brought, as it is kept."""

    model: str
    version: int | None
    """That the path named; None: whichever answered."""
    posted_ns: int
    """Of the first cell; each further one counts as posted a nanosecond later."""
    cells: tuple[Cell, ...]


class Label(NamedTuple):
    """One label of a history."""

    time_ns: int
    """When the truth was known: where its client said nothing of that, when it was posted."""
    posted_ns: int
    value: float | str
    weight: float
    source: str
    version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The label that holds, and what was said before."""

    label: Label
    correction_count: int
    """How often its source has changed its mind."""
    is_disputed: bool
    """Sources say different things; the newest holds."""
    histories: Mapping[str, tuple[Label, ...]]
    first_posted_ns: int
    """When the row got a label, whichever it was: one that a history leaves out counts, too."""


@dataclass(slots=True)
class _Said:
    """All that was said of a cell."""

    plain: list[Label] = field(default_factory=list)
    """Labels without a time: each is another one, and there may be a million."""
    timed: dict[tuple[str, int, float | str, float], Label] = field(default_factory=dict)
    """A time that the client gave makes a repeat the same label, whenever it was posted."""

    def add(self, cell: Cell, posted_ns: int, version: int | None) -> None:
        value, weight, source, time_ns = cell.value, cell.weight, cell.source, cell.time_ns
        if not time_ns:
            self.plain.append(Label(posted_ns, posted_ns, value, weight, source, version))
            return
        label = Label(time_ns, posted_ns, value, weight, source, version)
        same = (source, time_ns, value, weight)
        before = self.timed.get(same)
        self.timed[same] = label if before is None else min(before, label, key=_posted)

    def of(self, source: str | None) -> list[Label]:
        labels = (*self.plain, *self.timed.values())
        return [one for one in labels if source in {None, one.source}]


@dataclass(slots=True)
class LabelTable:
    """Labels of one model. Grows by batches, in any order."""

    _said: dict[CellKey, _Said] = field(default_factory=dict)
    _rows: dict[str, set[int]] = field(default_factory=dict)

    def add(self, batch: LabelBatch, wanted: Container[str] | None = None) -> None:
        """Add what a post brought: all of it, or what is about these predictions."""
        for posted_ns, cell in enumerate(batch.cells, batch.posted_ns):
            if wanted is None or cell.prediction_id in wanted:
                key = CellKey(cell.prediction_id, cell.row, cell.output)
                said = self._said.get(key)
                if said is None:
                    said = self._said[key] = _Said()
                    self._rows.setdefault(key.prediction_id, set()).add(key.row)
                said.add(cell, posted_ns, batch.version)

    def __len__(self) -> int:
        """How many cells have a label."""
        return len(self._said)

    def keys(self) -> Iterable[CellKey]:
        """What has a label."""
        return self._said.keys()

    def rows_of(self, prediction_id: str) -> list[int]:
        """Return which rows of a prediction have a label."""
        return sorted(self._rows.get(prediction_id, ()))

    def is_said(self, key: CellKey, source: str | None = None) -> bool:
        """Return whether a cell has a label: of this source; None: of any."""
        there = self._said.get(key)
        return there is not None and bool(there.of(source))

    def empty(self) -> None:
        """Forget everything, cell by cell: at the end of a large dictionary all threads wait."""
        while self._said:
            self._said.popitem()
        self._rows.clear()

    def held(self, key: CellKey, source: str | None = None) -> Held | None:
        """Return the label that holds for a cell.

        Args:
            key: The cell.
            source: Only what this source says; None: all.
        """
        there = self._said.get(key)
        said = [] if there is None else there.of(source)
        histories = {name: _history(labels) for name, labels in _by_source(said)}
        if not histories:
            return None
        newest = max((history[-1] for history in histories.values()), key=_order)
        values = {history[-1].value for history in histories.values()}
        return Held(
            label=newest,
            correction_count=len(histories[newest.source]) - 1,
            is_disputed=len(values) > 1,
            histories=histories,
            first_posted_ns=min(map(_POSTED, said)),
        )


def _by_source(labels: Iterable[Label]) -> Iterator[tuple[str, list[Label]]]:
    found: dict[str, list[Label]] = {}
    for label in labels:
        found.setdefault(label.source, []).append(label)
    yield from sorted(found.items())


def _history(labels: list[Label]) -> tuple[Label, ...]:
    history: list[Label] = []
    value: float | str | None = None
    weight = 0.0
    for label in sorted(labels, key=_MOMENT):
        if label.value != value or label.weight != weight:
            history.append(label)
            value, weight = label.value, label.weight
    return tuple(history)


def _says(label: Label) -> tuple[str, float]:
    return f"{type(label.value).__name__}:{label.value}", label.weight


def _order(label: Label) -> tuple[int, int, str, float, str]:
    return label.time_ns, label.posted_ns, *_says(label), label.source


def _posted(label: Label) -> tuple[int, int]:
    return label.posted_ns, label.version or 0
