"""The demo's report: short enough to read, and red where something failed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from rich.console import Console
from rich.markup import escape

SHOWN_FAILURES: Final = 3
WIRES: Final = {"http": "HTTP", "grpc": "gRPC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One part of the demo."""

    title: str
    lines: tuple[str, ...]
    latencies_s: Mapping[str, Sequence[float]]
    """Wire → sorted seconds of the right answers."""
    request_count: int
    failures: tuple[str, ...]


def show(console: Console, outcomes: Sequence[Outcome], took_s: float) -> int:
    """Print the report; return the exit status: 1 when anything failed."""
    for number, outcome in enumerate(outcomes, 1):
        console.print(f"\n[bold]{number}. {escape(outcome.title)}[/bold]", highlight=False)
        for line in (*outcome.lines, *_figures(outcome)):
            console.print(f"  {escape(line)}", highlight=False)
        for failure in outcome.failures[:SHOWN_FAILURES]:
            console.print(f"  [red]{escape(failure)}[/red]", highlight=False)
    failed = sum(len(outcome.failures) for outcome in outcomes)
    requests = sum(outcome.request_count for outcome in outcomes)
    colour = "red" if failed else "green"
    console.print(
        f"\n[bold {colour}]{requests:,} requests, {failed} failed[/], {took_s:.0f} s in all",
        highlight=False,
    )
    return 1 if failed else 0


def _figures(outcome: Outcome) -> Iterator[str]:
    yield f"{outcome.request_count:,} requests, {len(outcome.failures)} failed"
    figures = [
        f"{WIRES[wire]} p50 {median(times_s) * 1e3:.1f} ms, "
        f"p99 {times_s[int(len(times_s) * 0.99)] * 1e3:.1f} ms"
        for wire, times_s in outcome.latencies_s.items()
        if times_s
    ]
    if figures:
        yield f"latency: {'; '.join(figures)}"
