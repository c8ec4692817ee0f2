"""What a ledger says: counts, versions, faults by message, and latencies. Pure, and for people."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from serving.cli.load.flips import Judgement
from serving.cli.load.ledger import Entry, Ledger, Outcome
from serving.cli.render import duration_text, size_text
from serving.cli.tables import plain_table

FIGURES: Final = ("inputs", "right", "p50", "p95", "p99", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Right answers of one kind of client, seconds."""

    transport: str
    connection: str
    body_bytes: int
    count: int
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A load test in figures."""

    sent_count: int
    right_count: int
    failed_count: int
    wrong_count: int
    unchecked_count: int
    faults: Mapping[str, int]
    """Message → how often."""
    versions: Mapping[str, int]
    """Version → its answers."""
    duration_s: float
    longest_gap_s: float
    latencies: tuple[Latencies, ...]

    def is_clean(self) -> bool:
        """Whether every request got an answer that is known to be right."""
        return self.sent_count == self.right_count > 0


def summary(ledger: Ledger) -> Summary:
    """Count what a ledger holds."""
    entries = ledger.entries
    counts = ledger.counts
    kinds = sorted({(e.transport, e.connection, e.body_bytes) for e in entries})
    begun_s = min((e.sent_s for e in entries), default=0.0)
    return Summary(
        sent_count=len(entries),
        right_count=counts[Outcome.RIGHT],
        failed_count=counts[Outcome.FAILED],
        wrong_count=counts[Outcome.WRONG],
        unchecked_count=counts[Outcome.UNCHECKED],
        faults=Counter(e.error for e in entries if e.error),
        versions=Counter(e.version for e in entries if e.version),
        duration_s=max((e.answered_s for e in entries), default=0.0) - begun_s,
        longest_gap_s=ledger.longest_gap_s(),
        latencies=tuple(
            _latencies(kind, [e for e in entries if _kind(e) == kind]) for kind in kinds
        ),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that a share of the ordered values does not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _kind(entry: Entry) -> tuple[str, str, int]:
    return entry.transport, entry.connection, entry.body_bytes


def _latencies(kind: tuple[str, str, int], entries: Iterable[Entry]) -> Latencies:
    times_s = sorted(e.answered_s - e.sent_s for e in entries if e.outcome is Outcome.RIGHT)
    transport, connection, body_bytes = kind
    return Latencies(
        transport=transport,
        connection=connection,
        body_bytes=body_bytes,
        count=len(times_s),
        p50_s=quantile(times_s, 0.5),
        p95_s=quantile(times_s, 0.95),
        p99_s=quantile(times_s, 0.99),
        max_s=quantile(times_s, 1.0),
    )


def summary_view(model: str, found: Summary, judgement: Judgement | None) -> RenderableType:
    """Show a load test in one look."""
    rate = found.sent_count / found.duration_s if found.duration_s else 0.0
    head = Text.assemble(
        (f"{model}: ", "bold"),
        f"{found.sent_count:,} sent in {duration_text(found.duration_s)} ({rate:,.0f}/s), ",
        (_outcomes(found), "green" if found.is_clean() else "red"),
        f"; longest gap between answers {duration_text(found.longest_gap_s)}",
    )
    versions = ", ".join(f"{name}: {count:,}" for name, count in sorted(found.versions.items()))
    lines: list[RenderableType] = [head, Text(f"answers by version: {versions or '-'}")]
    if judgement is not None:
        lines.append(_judgement_text(judgement))
    lines.append(_table(found))
    worst = sorted(found.faults.items(), key=lambda fault: -fault[1])
    lines += [Text.assemble((f"{count:,} times ", "red"), message) for message, count in worst]
    return Group(*lines)


def _outcomes(found: Summary) -> str:
    return (
        f"{found.right_count:,} answered right, {found.failed_count:,} failed, "
        f"{found.wrong_count:,} wrong, {found.unchecked_count:,} unchecked"
    )


def _judgement_text(judgement: Judgement) -> Text:
    finished = judgement.finished_count
    return Text.assemble(
        f"{judgement.flip_count:,} flips: ",
        (
            f"{len(judgement.stale):,} stale answers, {len(judgement.early):,} early ones",
            "green" if judgement.is_clean() else "red",
        ),
        f"; {finished:,} of sequences that ended on the version that they began on",
    )


def _table(found: Summary) -> Table:
    table = plain_table(("transport", "connection", *FIGURES), right=FIGURES)
    for one in found.latencies:
        times = (duration_text(time_s) for time_s in (one.p50_s, one.p95_s, one.p99_s, one.max_s))
        table.add_row(
            one.transport, one.connection, size_text(one.body_bytes), f"{one.count:,}", *times
        )
    return table
