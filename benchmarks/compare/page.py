"""The report as Markdown: what was required, what was found, and what each request costs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.compare.required import BUSY, EDGE, Found
from benchmarks.compare.rounds import Problem
from benchmarks.compare.systems import System
from benchmarks.report import Row, Sample, machine_lines, markdown_rows

CLIENT: Final = "client"
LEAST_SHOWN_US: Final = 0.05
OUTPUT_FENCE: Final = "```"
OTHERS: Final = ("throughput.md", "wide.md", "padding.md")


def page(
    title: str,
    systems: Sequence[System],
    found: Sequence[Found],
    table: Sequence[Row],
    budgets: Mapping[str, Mapping[str, float]],
    problems: Sequence[Problem],
) -> str:
    """Return the whole of it."""
    lines = [f"# {title}", "", *machine_lines(), ""]
    lines += [*_required_lines(found), ""]
    lines += [*_system_lines(systems), ""]
    lines += ["## All loads", "", "![all loads](compare.svg)", "", *markdown_rows(table, EDGE), ""]
    lines += [*_budget_lines(budgets), "", *_problem_lines(problems)]
    return "\n".join(lines).rstrip() + "\n"


def links(folder: Path) -> str:
    """Return the end of the page: other reports that lie in its folder; empty without any."""
    found = ", ".join(f"[{name}]({name})" for name in OTHERS if (folder / name).exists())
    if not found:
        return ""
    return f"\nMore work, more bytes, more lengths: {found}.\n"


def budget(samples: Sequence[Sample], load: str = BUSY) -> dict[str, dict[str, float]]:
    """Return system → process → microseconds on CPUs for a request, medians over rounds."""
    mine = [one for one in samples if one.load == load and one.measured.sent_count]
    return {
        system: _medians([_us_per_request(one) for one in mine if one.system == system])
        for system in dict.fromkeys(one.system for one in mine)
    }


def _us_per_request(sample: Sample) -> dict[str, float]:
    spent = {CLIENT: sample.measured.client_cpu_s, **sample.cpu_s}
    return {name: seconds / sample.measured.sent_count * 1e6 for name, seconds in spent.items()}


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in rounds for name in one)
    found = {name: median(one.get(name, 0.0) for one in rounds) for name in names}
    return {name: value for name, value in found.items() if value >= LEAST_SHOWN_US}


def _required_lines(found: Sequence[Found]) -> Iterator[str]:
    yield f"## The {EDGE} beside each other system: required, found, reached"
    yield ""
    yield "The median of each round's ratio; of requests/s where p50 is not named."
    yield ""
    yield "| system | load | required | found | (range) | reached |"
    yield "|---|---|---:|---:|---|---|"
    for one in found:
        required = one.required
        sign = "p50 ≤" if required.of_p50 else "≥"
        aim = f" (aim {required.aim:g})" if required.aim else ""
        words = {None: "not measured", True: "yes", False: "**no**"}
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        spread = f"{min(one.ratios):.2f}..{max(one.ratios):.2f}" if one.ratios else ""
        yield (
            f"| {required.peer} | {required.load} | {sign} {required.bound:g}{aim} | {ratio} "
            f"| {spread} | {words[one.is_reached]} |"
        )


def _system_lines(systems: Sequence[System]) -> Iterator[str]:
    yield "## The systems"
    yield ""
    yield "Each serves the same file with ONNX Runtime on one thread. gRPC is V2 with raw contents."
    yield ""
    yield "| system | what it is | wire on HTTP |"
    yield "|---|---|---|"
    for one in systems:
        yield f"| {one.name} | {one.about} | {one.wire or 'none'} |"


def _budget_lines(budgets: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield f"## Where a request's time goes: µs on CPUs, {BUSY}"
    yield ""
    yield "User and system time of every process, divided by the requests. Below 0.05 is not shown."
    yield ""
    yield "| system | all | of which |"
    yield "|---|---:|---|"
    for system, parts in budgets.items():
        of_which = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
        yield f"| {system} | {sum(parts.values()):.1f} | {of_which} |"


def _problem_lines(problems: Sequence[Problem]) -> Iterator[str]:
    if problems:
        yield "## Without figures"
        yield ""
    for one in problems:
        first, _, rest = one.reason.partition("\n")
        yield f"* {one.system}, round {one.round}: {first}"
        if rest:
            yield from ("", OUTPUT_FENCE, *rest.splitlines(), OUTPUT_FENCE, "")
