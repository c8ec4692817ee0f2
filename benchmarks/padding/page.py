"""The report of what padding does, as Markdown. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.report import Row, Sample, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One round of one system: every call once."""

    sample: Sample
    batch_rows: float
    """The mean of what was run at once."""
    padded_share: float
    """Of the tokens that were run."""


def page(
    title: str,
    about: Sequence[str],
    turns: Sequence[Turn],
    *,
    served: Sequence[str],
    others: Sequence[str],
) -> str:
    """Return the report.

    Args:
        title: Its first line.
        about: What was measured, and where.
        turns: All of them.
        served: Systems that are held against others, within each round.
        others: Those others.
    """
    lines = [f"# {title}", "", *about, ""]
    lines += ["| system | calls/s | (range) | p50 ms | p99 ms | CPU ms a call | rows | padding |"]
    lines += ["|---|---:|---|---:|---:|---:|---:|---:|"]
    table = rows([turn.sample for turn in turns])
    lines += [
        _line(row, [one for one in turns if one.sample.system == row.system]) for row in table
    ]
    lines += ["", "Calls/s, the ratio of each round:", ""]
    lines += ["| system | times | median | (range) |", "|---|---|---:|---|"]
    lines += _ratio_lines(turns, served, others)
    failures = [f"* FAILED: {row.system}: {text}" for row in table for text in row.failures]
    return "\n".join([*lines, *([""] if failures else []), *failures]) + "\n"


def ratios(turns: Sequence[Turn], system: str, other: str) -> list[float]:
    """Return how many times another system's calls/s a system gave, in each round of both."""
    rates = {
        (one.sample.system, one.sample.round): one.sample.measured.requests_per_s for one in turns
    }
    return [
        rate / rates[other, number]
        for (name, number), rate in rates.items()
        if name == system and (other, number) in rates
    ]


def _line(row: Row, own: Sequence[Turn]) -> str:
    cells = [
        f"{row.system} **FAILED**" if row.failures else row.system,
        f"{row.requests_per_s:,.1f}",
        f"{row.least_per_s:,.1f}..{row.most_per_s:,.1f}",
        f"{row.p50_s * 1e3:,.0f}",
        f"{row.p99_s * 1e3:,.0f}",
        f"{row.cpu_us / 1e3:.1f}",
        f"{median(one.batch_rows for one in own):.1f}",
        f"{median(one.padded_share for one in own):.1%}",
    ]
    return f"| {' | '.join(cells)} |"


def _ratio_lines(
    turns: Sequence[Turn], served: Sequence[str], others: Sequence[str]
) -> Iterator[str]:
    for system in served:
        for other in others:
            if system != other and (found := ratios(turns, system, other)):
                spread = f"{min(found):.2f}..{max(found):.2f}"
                yield f"| {system} | {other} | {median(found):.2f} | {spread} |"
