"""What one worker tells of the rows that it has watched: sums since its beginning. Pure records.

Each record has the sums over all rows up to the end of a block, so what was lost in between is in
the next one, and a record that comes twice or late changes nothing. The sums are whole numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from serving.monitor.drift.block_sums import BlockSums
from serving.monitor.drift.columns import IntArray

KEPT_RECORDS: Final = 96
"""So many blocks a worker can tell apart; of earlier ones it knows the sum."""
_WHOLE: Final = np.dtype("<i8")


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsRecord:
    """Sums over all rows up to the end of a block."""

    seq: int
    """Rises by 1 with every block, from 1 on."""
    at_s: float
    """When the block ended, in seconds since 1970."""
    rows: int
    components: bytes = field(repr=False)
    """Whole numbers of 8 bytes, little-endian."""
    bins: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """What one worker has to say of one version."""

    model: str
    version: int
    digest: str = ""
    """Of the profile by which rows were encoded; empty: it has none yet."""
    epoch: str = ""
    """Names the sums' beginning: a worker that starts again begins another one."""
    records: tuple[SumsRecord, ...] = ()
    skipped_rows: int = 0
    """Rows that were chosen and not counted: the monitor could not keep up."""
    learnt_rows: int = 0
    """Rows that were kept so far to learn a reference from."""
    trouble: str = ""
    """Why its rows cannot be watched."""


def written(values: IntArray) -> bytes:
    """Write whole numbers as a record has them."""
    return values.astype(_WHOLE).tobytes()


def read(raw: bytes) -> IntArray:
    """Read the whole numbers of a record."""
    return np.frombuffer(raw, _WHOLE).astype(np.int64)


class RunningTotal:
    """One worker's sums since its beginning, and the records of its latest blocks."""

    def __init__(self, epoch: str) -> None:
        """Begin at zero."""
        self.epoch = epoch
        self._seq = 0
        self._total: BlockSums | None = None
        self._records: list[SumsRecord] = []

    def add(self, block: BlockSums, at_s: float) -> None:
        """Take in a block."""
        self._seq += 1
        self._total = total = block if self._total is None else self._total + block
        record = SumsRecord(
            seq=self._seq,
            at_s=at_s,
            rows=total.rows,
            components=written(total.components),
            bins=written(total.bins),
        )
        # A new list: another thread may be reading the one before.
        self._records = [*self._records[1 - KEPT_RECORDS :], record]

    def after(self, seq: int) -> tuple[SumsRecord, ...]:
        """Return the records that came after one; from 0 on, all that are kept."""
        return tuple(record for record in self._records if record.seq > seq)


Reports = tuple[DriftReport, ...]


def joined(before: Reports, told: Reports) -> Reports:
    """Add what was told to what was known; both are one worker's.

    A version's sums that have another beginning replace those before. Blocks that are known are not
    added twice, and of too many the oldest go.
    """
    known = {(report.model, report.version): report for report in before}
    for report in told:
        key = (report.model, report.version)
        known[key] = _continued(known.get(key), report)
    return tuple(known.values())


def unheard(reports: Reports, heard: Mapping[str, int]) -> Reports:
    """Leave out the records that were heard: epoch → the latest one of it."""
    return tuple(
        replace(
            report,
            records=tuple(one for one in report.records if one.seq > heard.get(report.epoch, 0)),
        )
        for report in reports
    )


def latest(reports: Reports) -> dict[str, int]:
    """Return the latest record of each beginning."""
    return {report.epoch: report.records[-1].seq for report in reports if report.records}


def _continued(before: DriftReport | None, told: DriftReport) -> DriftReport:
    if before is None or before.epoch != told.epoch or not before.records:
        return told
    last = before.records[-1].seq
    news = tuple(record for record in told.records if record.seq > last)
    return replace(told, records=(*before.records, *news)[-KEPT_RECORDS:])
