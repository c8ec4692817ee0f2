"""The report of what grows, as Markdown. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.growth.point import Point, exponent


def page(
    found: Mapping[str, Sequence[Point]], machine: Sequence[str], rounds: int, plots: str = ""
) -> str:
    """Return the report; `plots` is what names of plots beside it begin with, if there are any."""
    lines = [f"# Does cost grow linearly or better? Medians of {rounds} rounds", "", *machine]
    for what, points in found.items():
        lines += ["", f"## {what}", "", *_table(what, points), "", *_growth(points)]
        lines += ["", f"![{what}]({plots}-{plot_word(what)}.svg)"] if plots else []
        lines += [f"* FAILED: {one.size}: {text}" for one in points for text in one.failures]
    return "\n".join(lines) + "\n"


def plot_word(what: str) -> str:
    """Return the word that names a part's plot."""
    return what.split(maxsplit=1)[0]


def _table(what: str, points: Sequence[Point]) -> Iterator[str]:
    yield f"| {what} | | requests/s | p50 ms | p99 ms | CPU µs a request | memory MiB |"
    yield "|---:|---|---:|---:|---:|---:|---:|"
    for one in points:
        cpu = f"{one.cpu_s * 1e6:,.0f}" if one.cpu_s else ""
        memory = f"{one.memory_bytes / 2**20:,.0f}" if one.memory_bytes else ""
        times = f"{one.p50_s * 1e3:.3f} | {one.p99_s * 1e3:.3f}"
        yield (f"| {one.size:,} | {one.series} | {one.per_s:,.1f} | {times} | {cpu} | {memory} |")


def _growth(points: Sequence[Point]) -> Iterator[str]:
    for series in dict.fromkeys(one.series for one in points):
        power = exponent(points, series)
        yield (
            f"* {series}: between two sizes, p50 grows at most with the power {power:.2f} of the "
            f"size (1 is linear)"
        )
