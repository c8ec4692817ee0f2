"""Turn rounds of measurements into tables: medians, ranges, and ratios within the same round.

The load of a machine drifts, so two figures may only be compared when they come from one round: a
ratio is the median of each round's ratio, never the ratio of two medians.
"""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import psutil

from benchmarks.load_tools import Measured

RESULTS: Final = Path(__file__).parent / "results"
LEAST_CPU_S: Final = 0.1
"""Less is not told from nothing: Linux counts by hundredths of a second."""
SHOWN_PACKAGES: Final = ("bascule", "ray", "onnxruntime-gpu", "torch", "grpcio", "uvicorn")


class ResultsError(Exception):
    """A report cannot be written; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement: which system, which load, in which round."""

    system: str
    load: str
    round: int
    measured: Measured
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """Time on CPUs of the system's processes, by name, while it was loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All rounds of one system under one load."""

    system: str
    load: str
    requests_per_s: float
    least_per_s: float
    most_per_s: float
    p50_s: float
    p99_s: float
    ratios: tuple[tuple[str, float], ...]
    """Other system → how many times its requests/s this system gave, median over rounds; one
    without a round in common, or that did nothing, is not there."""
    failures: tuple[str, ...]
    cpu_us: float = 0.0
    """On CPUs for a request, of all processes, the client's too; 0: not measured."""
    cpu_ratios: tuple[tuple[str, float], ...] = ()
    """Other system → how many times its CPU time this one took, median over rounds."""


def rows(samples: Sequence[Sample]) -> list[Row]:
    """Put the rounds together, in the order in which loads and systems first came."""
    loads = dict.fromkeys(sample.load for sample in samples)
    return [
        _row([s for s in samples if s.load == load], system)
        for load in loads
        for system in dict.fromkeys(s.system for s in samples if s.load == load)
    ]


def _row(of_load: Sequence[Sample], system: str) -> Row:
    own = [sample for sample in of_load if sample.system == system]
    rates = [sample.measured.requests_per_s for sample in own]
    others = dict.fromkeys(s.system for s in of_load if s.system != system)
    ratios = {other: _ratios(own, [s for s in of_load if s.system == other]) for other in others}
    spent = {name: _cpu_us(s for s in of_load if s.system == name) for name in (system, *others)}
    return Row(
        system=system,
        load=own[0].load,
        requests_per_s=median(rates),
        least_per_s=min(rates),
        most_per_s=max(rates),
        p50_s=median(sample.measured.p50_s for sample in own),
        p99_s=median(sample.measured.p99_s for sample in own),
        ratios=tuple((other, median(found)) for other, found in ratios.items() if found),
        failures=tuple(s.measured.failures for s in own if s.measured.failures),
        cpu_us=median(spent[system].values()) if spent[system] else 0.0,
        cpu_ratios=tuple(
            (other, median(us / spent[other][at] for at, us in spent[system].items()))
            for other in others
            if spent[system] and spent[system].keys() <= spent[other].keys()
        ),
    )


def _cpu_us(samples: Iterable[Sample]) -> dict[int, float]:
    """Return microseconds on CPUs for a request, by round, where enough was spent to be told."""
    spent_s = {
        one.round: (sum(one.cpu_s.values()) + one.measured.client_cpu_s, one.measured.sent_count)
        for one in samples
        if one.cpu_s and one.measured.sent_count
    }
    return {
        number: seconds / count * 1e6
        for number, (seconds, count) in spent_s.items()
        if seconds >= LEAST_CPU_S
    }


def _ratios(own: Sequence[Sample], other: Sequence[Sample]) -> list[float]:
    """Return the ratio of each round in which both were measured, and the other did something."""
    rates = {sample.round: sample.measured.requests_per_s for sample in other}
    return [
        sample.measured.requests_per_s / rates[sample.round]
        for sample in own
        if rates.get(sample.round)
    ]


def markdown(title: str, table: Sequence[Row], baseline: str) -> str:
    """Return a page: the machine, the table with ratios to `baseline`, and every failure."""
    lines = [f"# {title}", "", *machine_lines(), "", *markdown_rows(table, baseline)]
    return "\n".join(lines) + "\n"


def markdown_rows(table: Sequence[Row], baseline: str) -> list[str]:
    """Return the table with ratios to `baseline`, and every failure."""
    head = f"| load | system | requests/s | (range) | p50 ms | p99 ms | times `{baseline}` |"
    rule = "|---|---|---:|---|---:|---:|---:|"
    with_cpu = any(row.cpu_us for row in table)
    if with_cpu:
        head += f" µs on CPUs a request | times `{baseline}` |"
        rule += "---:|---:|"
    lines = [head, rule, *(_markdown_row(row, baseline, with_cpu=with_cpu) for row in table)]
    if broken := [row for row in table if row.failures]:
        lines += ["", "## FAILED REQUESTS: the figures of these rows mean nothing", ""]
        lines += [f"* {row.load}, {row.system}: {' / '.join(row.failures)}" for row in broken]
    return lines


def _markdown_row(row: Row, baseline: str, *, with_cpu: bool) -> str:
    ratio = dict(row.ratios).get(baseline)
    cells = [
        row.load,
        f"{row.system} **FAILED**" if row.failures else row.system,
        f"{row.requests_per_s:,.0f}",
        f"{row.least_per_s:,.0f}..{row.most_per_s:,.0f}",
        f"{row.p50_s * 1e3:.3f}",
        f"{row.p99_s * 1e3:.3f}",
        "" if ratio is None else f"{ratio:.2f}",
    ]
    if with_cpu:
        cpu_ratio = dict(row.cpu_ratios).get(baseline)
        cells.append(f"{row.cpu_us:.1f}" if row.cpu_us else "")
        cells.append("" if cpu_ratio is None else f"{cpu_ratio:.3f}")
    return f"| {' | '.join(cells)} |"


def machine_lines() -> list[str]:
    """Say where and when: no figure stands without it."""
    packages = ", ".join(f"{name} {version(name)}" for name in SHOWN_PACKAGES)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    memory_gib = psutil.virtual_memory().total / 2**30
    return [
        f"* {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average at the end {load}",
        f"* {_cpu_name()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, shared with the clients",
        f"* Python {platform.python_version()}, {packages}",
    ]


def write(folder: Path, name: str, page: str, facts: object) -> None:
    """Print the page, then write NAME.md and NAME.json.

    Raises:
        ResultsError: They cannot be written.
    """
    print(page)
    keep(folder / f"{name}.md", page)
    keep(folder / f"{name}.json", json.dumps(facts, indent=1) + "\n")
    print(f"written to {folder / name}.md and .json")


def keep(file: Path, text: str) -> None:
    """Write a file as a whole: what was there before stays where the disk is full.

    Raises:
        ResultsError: It cannot be written.
    """
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise ResultsError(
            f"{file} cannot be written: {error.strerror}: --results DIR names another folder"
        ) from error


def as_facts(table: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows for JSON."""
    return [
        {**asdict(row), "ratios": dict(row.ratios), "cpu_ratios": dict(row.cpu_ratios)}
        for row in table
    ]


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
