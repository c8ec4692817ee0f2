"""The results for people and for programs: a Markdown page, and plain values for JSON. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from benchmarks.gpu.cases import Plan
from benchmarks.gpu.node import Node
from benchmarks.gpu.results import (
    LEAST_RATIO,
    Failed,
    Measured,
    Row,
    Saturation,
    Skipped,
    verdicts,
)
from runtimes.facts import NodeFacts
from runtimes.facts_json import plain

EXPLAINED: Final = (
    "Bare: the engine in a loop, from host memory and back. Served: binary HTTP through the edge, "
    "as many clients as fill its batches; p50 and p99 are times of a call there."
)
HEAD: Final = (
    "| model | engine | device | batch | bare rows/s | served rows/s | ratio | p50 ms | p99 ms |",
    "|---|---|---|---:|---:|---:|---:|---:|---:|",
)


def page(plan: Plan, node: Node, rows: Sequence[Row], about: Sequence[str]) -> str:
    """Return the page.

    Args:
        plan: What was to be measured.
        node: Where.
        rows: What was found.
        about: Lines that say where and when.
    """
    rounds = "1 round" if plan.round_count == 1 else f"median of {plan.round_count} rounds"
    return "\n".join(
        [
            f"# The engine alone and served on one node: {rounds} of {plan.load_s:g} s and more",
            "",
            *about,
            *gpu_lines(node.facts),
            *(f"* doctor: {one.code}: {one.text}" for one in node.doctor),
            "",
            EXPLAINED,
            "",
            *HEAD,
            *(_measured_line(row, row.found) for row in rows if isinstance(row.found, Measured)),
            "",
            *_verdict_lines(verdicts(rows)),
            *_missing_lines(rows),
            "",
        ]
    )


def facts(plan: Plan, node: Node, rows: Sequence[Row], status: int) -> dict[str, object]:
    """Return everything for JSON: a row for each model, engine, device and batch size."""
    return {
        "node": plain(node.facts),
        "doctor": [asdict(one) for one in node.doctor],
        "has_load_tool": node.has_load_tool,
        "plan": asdict(plan),
        "least_ratio": LEAST_RATIO,
        "rows": [_row_facts(row) for row in rows],
        "verdicts": [
            {**asdict(one.case), **asdict(one), "case": str(one.case), "holds": one.holds}
            for one in verdicts(rows)
        ],
        "exit_status": status,
    }


def gpu_lines(found: NodeFacts) -> Iterator[str]:
    """Say which GPUs and which driver there are, or why none."""
    if not found.gpus:
        yield f"* no GPU: {found.gpu_problem}"
    for gpu in found.gpus:
        major, minor = gpu.compute_capability
        yield (
            f"* GPU {gpu.index}: {gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB, compute "
            f"capability {major}.{minor}, driver {found.driver} (CUDA {found.driver_cuda})"
        )


def _row_facts(row: Row) -> dict[str, object]:
    shown: dict[str, object] = {**asdict(row.case), "batch_rows": row.batch_rows}
    found = row.found
    if not isinstance(found, Measured):
        state = "skipped" if isinstance(found, Skipped) else "failed"
        return {**shown, "state": state, "reason": found.reason}
    return {
        **shown,
        "state": "measured",
        "connections": found.connections,
        "bare_rows_per_s": found.bare_rows_per_s,
        "served_rows_per_s": found.served_rows_per_s,
        "ratio": found.ratio,
        "p50_s": found.p50_s,
        "p99_s": found.p99_s,
        "rounds": [asdict(one) for one in found.rounds],
    }


def _measured_line(row: Row, found: Measured) -> str:
    case = row.case
    return (
        f"| {case.model} | {case.engine} | {case.device} | {row.batch_rows} "
        f"| {found.bare_rows_per_s:,.0f} | {found.served_rows_per_s:,.0f} | {found.ratio:.2f} "
        f"| {found.p50_s * 1e3:.1f} | {found.p99_s * 1e3:.1f} |"
    )


def _verdict_lines(judged: Sequence[Saturation]) -> Iterator[str]:
    yield f"At saturation served must be {LEAST_RATIO:.0%} of bare, each at its best batch size:"
    yield ""
    for one in judged:
        word = "holds" if one.holds else "**BELOW**"
        yield (
            f"* {one.case}: {word}: {one.ratio:.0%} ({one.served_rows_per_s:,.0f} rows/s in "
            f"requests of {one.served_batch_rows}, bare {one.bare_rows_per_s:,.0f} in batches of "
            f"{one.bare_batch_rows})"
        )
    if not judged:
        yield "* nothing could be judged"


def _missing_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Say why what has no figures has none, once for all batch sizes with the same reason."""
    for case in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == case]
        reasons: dict[Skipped | Failed, list[int]] = {}
        for row in own:
            if not isinstance(row.found, Measured):
                reasons.setdefault(row.found, []).append(row.batch_rows)
        for found, sizes in reasons.items():
            word = "not run" if isinstance(found, Skipped) else "**FAILED**"
            which = "" if len(sizes) == len(own) else f", batch {', '.join(map(str, sizes))}"
            yield f"* {case}{which}: {word}: {found.reason}"
