"""What a run of Locust found, what was promised, and which promise was broken. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from serving.cli.render import duration_text
from serving.cli.tables import plain_table

FIGURES: Final = ("requests", "failed", "requests/s", "p50", "p95", "p99", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The requests of one transport."""

    transport: str
    request_count: int
    failure_count: int
    """Of them, those without an answer."""
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @property
    def failure_share(self) -> float:
        """Which part of the requests failed; 0 of none."""
        return self.failure_count / self.request_count if self.request_count else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong, and how often."""

    transport: str
    message: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that was counted. Times are of all requests, those of failed ones included."""

    rows: tuple[Row, ...]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What must hold for each transport by itself."""

    max_p99_ms: float | None = None
    max_failure_share: float = 0.0


def broken(results: Results, thresholds: Thresholds, transports: tuple[str, ...]) -> list[str]:
    """Return which thresholds do not hold, a sentence each with both numbers.

    Args:
        results: What was counted.
        thresholds: What must hold.
        transports: Which were to be asked over: one without a request is a failure, too.
    """
    asked = {row.transport for row in results.rows if row.request_count}
    found = [f"{name}: no request was finished" for name in transports if name not in asked]
    for row in results.rows:
        found += _broken(row, thresholds)
    return found


def _broken(row: Row, thresholds: Thresholds) -> Iterator[str]:
    limit_ms = thresholds.max_p99_ms
    if limit_ms is not None and row.p99_ms > limit_ms:
        yield f"{row.transport}: p99 is {row.p99_ms:g} ms, above --max-p99-ms {limit_ms:g}"
    if row.failure_share > thresholds.max_failure_share:
        yield (
            f"{row.transport}: a share of {row.failure_share:.3g} failed "
            f"({row.failure_count:,} of {row.request_count:,}), above --max-failure-share "
            f"{thresholds.max_failure_share:g}"
        )


def results_view(results: Results, faults: list[str]) -> RenderableType:
    """Show a run in one look."""
    table = plain_table(("transport", *FIGURES), right=FIGURES)
    for row in results.rows:
        times_ms = (row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms)
        table.add_row(
            row.transport,
            f"{row.request_count:,}",
            f"{row.failure_count:,}",
            f"{row.requests_per_s:,.0f}",
            *(duration_text(time_ms / 1e3) for time_ms in times_ms),
        )
    lines: list[RenderableType] = [table]
    lines += [
        Text.assemble((f"{one.count:,} times ", "red"), f"{one.transport}: {one.message}")
        for one in results.failures
    ]
    lines += [Text.assemble(("broken ", "red"), fault) for fault in faults]
    return Group(*lines)
