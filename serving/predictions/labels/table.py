"""Pure: from posted labels, in whatever order they came, to the one table that they mean.

For one output of one row each source has a history, in the order of the labels' times; the newest
holds, and what repeats the one before it changes nothing. A label without a time has that of its
post; of two with the same time the one that was posted later holds. So a label that is posted
before its prediction is logged, after it, or twice gives the same table, and so do labels with
times in any order.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from serving.predictions.labels.entries import Cell


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
    posted_ns: int
    value: float | str
    weight: float
    source: str
    version: int | None
    has_time: bool
    """Whether the client said when the truth was known."""


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
class LabelTable:
    """Labels of one model. Grows by batches, in any order."""

    _said: dict[CellKey, dict[tuple[str, int, float | str, float], Label]] = field(
        default_factory=dict
    )
    _rows: dict[str, set[int]] = field(default_factory=dict)

    def add(self, batch: LabelBatch, wanted: Container[str] | None = None) -> None:
        """Add what a post brought: all of it, or what is about these predictions."""
        for index, cell in enumerate(batch.cells):
            if wanted is not None and cell.prediction_id not in wanted:
                continue
            key = CellKey(cell.prediction_id, cell.row, cell.output)
            label = _label(cell, batch, batch.posted_ns + index)
            # A time that the client gave makes a repeat the same label, whenever it was posted.
            same = (cell.source, cell.time_ns or -label.posted_ns, cell.value, cell.weight)
            self._rows.setdefault(key.prediction_id, set()).add(key.row)
            there = self._said.setdefault(key, {})
            before = there.get(same)
            there[same] = label if before is None else min(before, label, key=_posted)

    def __len__(self) -> int:
        """How many cells have a label."""
        return len(self._said)

    def keys(self) -> Iterable[CellKey]:
        """What has a label."""
        return self._said.keys()

    def rows_of(self, prediction_id: str) -> list[int]:
        """Return which rows of a prediction have a label."""
        return sorted(self._rows.get(prediction_id, ()))

    def held(self, key: CellKey, source: str | None = None) -> Held | None:
        """Return the label that holds for a cell.

        Args:
            key: The cell.
            source: Only what this source says; None: all.
        """
        said = [one for one in self._said.get(key, {}).values() if source in {None, one.source}]
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
            first_posted_ns=min(label.posted_ns for label in said),
        )


def _label(cell: Cell, batch: LabelBatch, posted_ns: int) -> Label:
    return Label(
        time_ns=cell.time_ns or posted_ns,
        posted_ns=posted_ns,
        value=cell.value,
        weight=cell.weight,
        source=cell.source,
        version=batch.version,
        has_time=cell.time_ns > 0,
    )


def _by_source(labels: Iterable[Label]) -> Iterator[tuple[str, list[Label]]]:
    found: dict[str, list[Label]] = {}
    for label in labels:
        found.setdefault(label.source, []).append(label)
    yield from sorted(found.items())


def _history(labels: list[Label]) -> tuple[Label, ...]:
    history: list[Label] = []
    for label in sorted(labels, key=_order):
        is_repeat = history and _says(history[-1]) == _says(label)
        if not is_repeat:
            history.append(label)
    return tuple(history)


def _says(label: Label) -> tuple[str, float]:
    return f"{type(label.value).__name__}:{label.value}", label.weight


def _order(label: Label) -> tuple[int, int, str, float, str]:
    return label.time_ns, label.posted_ns, *_says(label), label.source


def _posted(label: Label) -> tuple[int, int]:
    return label.posted_ns, label.version or 0
