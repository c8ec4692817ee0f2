"""Several workers' sums → one stream of blocks, as one that saw all rows would tell it. Pure.

Sums add up exactly, whichever worker is heard first; a record that is heard twice is counted once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from serving.monitor.drift.block_sums import BLOCK_ROWS, BlockSums
from serving.monitor.drift.stream import DriftReport, SumsRecord, read

MAX_EPOCHS: Final = 256
"""Of so many workers' lives the stream remembers how far they came."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimedBlock:
    """Sums over some rows, and when the last of them came."""

    sums: BlockSums
    at_s: float


class _Place(NamedTuple):
    at_s: float
    epoch: str
    seq: int


class MergedStream:
    """The rows of one version, whoever saw them."""

    def __init__(self, digest: str) -> None:
        """Begin with nothing heard of what was encoded by this profile."""
        self._digest = digest
        self._known: dict[str, SumsRecord] = {}
        self._rest: TimedBlock | None = None
        self.lost_blocks = 0
        """Blocks that were told together with later ones: their rows count, apart they cannot."""

    def take(self, reports: Iterable[DriftReport]) -> list[TimedBlock]:
        """Take in what workers report; return the new blocks, oldest first.

        A block has at least 64 rows: fewer wait for the next ones. Reports of other profiles are
        left aside.
        """
        found: list[tuple[_Place, TimedBlock]] = []
        for report in reports:
            if report.digest == self._digest:
                found.extend(self._news(report))
        self._forget()
        found.sort(key=lambda one: one[0])
        return self._whole(block for _, block in found)

    def reached(self, epoch: str) -> int:
        """Return the latest record that is known of a worker's life; 0: none."""
        known = self._known.get(epoch)
        return 0 if known is None else known.seq

    def _news(self, report: DriftReport) -> Iterable[tuple[_Place, TimedBlock]]:
        before = self._known.pop(report.epoch, None)
        for record in sorted(report.records, key=lambda one: one.seq):
            if before is not None and record.seq <= before.seq:
                continue
            if before is not None or record.seq == 1:
                self.lost_blocks += record.seq - 1 - (0 if before is None else before.seq)
                place = _Place(record.at_s, report.epoch, record.seq)
                yield place, TimedBlock(sums=self._between(before, record), at_s=record.at_s)
            before = record  # of an unknown beginning: what comes after it counts
        if before is not None:
            self._known[report.epoch] = before  # the last one: who was heard last stays longest

    def _between(self, before: SumsRecord | None, record: SumsRecord) -> BlockSums:
        components, bins = read(record.components), read(record.bins)
        if before is None:
            return BlockSums(
                digest=self._digest, rows=record.rows, components=components, bins=bins
            )
        return BlockSums(
            digest=self._digest,
            rows=record.rows - before.rows,
            components=components - read(before.components),
            bins=bins - read(before.bins),
        )

    def _whole(self, blocks: Iterable[TimedBlock]) -> list[TimedBlock]:
        """Join blocks until they have 64 rows: deciding more often was not calibrated."""
        whole: list[TimedBlock] = []
        for block in blocks:
            rest = self._rest
            joined = block if rest is None else _joined(rest, block)
            if joined.sums.rows >= BLOCK_ROWS:
                whole.append(joined)
                self._rest = None
            else:
                self._rest = joined
        return whole

    def _forget(self) -> None:
        while len(self._known) > MAX_EPOCHS:
            del self._known[next(iter(self._known))]


def _joined(one: TimedBlock, other: TimedBlock) -> TimedBlock:
    return TimedBlock(sums=one.sums + other.sums, at_s=max(one.at_s, other.at_s))
