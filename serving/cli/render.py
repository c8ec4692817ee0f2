"""How commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Container, Iterable, Sequence
from typing import Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from runtimes.contract import TensorSpec
from runtimes.findings import Finding, Severity
from serving.cli.plain_tables import PlainTable
from serving.edge.control import ClusterStatus, ScaleStatus
from serving.monitor.environment.records import Issue
from serving.monitor.environment.telling import sentence

NODE_CHARACTERS: Final = 12  # of Ray's 56, which would fill a line; `--json` has all of them
UNLIMITED: Final = 1 << 20  # characters: more than a line of ours has
COLOURS: Final = {
    "READY": "green",
    "ready": "green",
    "LOADING": "yellow",
    "UNLOADING": "yellow",
    "starting": "yellow",
    "restarting": "yellow",
    "silent": "yellow",
    "draining": "yellow",
    "UNAVAILABLE": "red",
    "failed": "red",
}


def console() -> Console:
    """Return the console of stdout: colours on a terminal, elsewhere lines of any width."""
    if sys.stdout.isatty():
        return Console(file=sys.stdout, highlight=False)
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=UNLIMITED)


def plain_table(
    columns: Iterable[str], *, right: Container[str] = (), whole: Container[str] = ()
) -> Table:
    """Return an empty table without lines.

    Args:
        columns: Their titles. The first, that of names, is neither cut nor folded, nor are figures.
        right: Columns whose cells stand at the right, as figures do.
        whole: More columns that are neither cut nor folded.
    """
    table = PlainTable(box=None, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=place == 0 or column in whole,
        )
    return table


def print_json(value: object) -> None:
    """Print any of our records as indented JSON."""
    print(json.dumps(msgspec.to_builtins(value, enc_hook=str), indent=2))


def tensor_text(spec: TensorSpec) -> str:
    """Return a tensor spec in one line: `x FP32[-1,16]`."""
    dims = ",".join(str(size) for size in spec.shape)
    return f"{spec.name} {spec.datatype}[{dims}]{' optional' if spec.optional else ''}"


def size_text(size_bytes: int) -> str:
    """Return a size for people."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004  the step between units
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"  # noqa: PLR2004  two digits are enough
        size /= 1000
    return f"{size:.1f} TB"


def duration_text(duration_s: float) -> str:
    """Return a duration for people; 0 means that it was not measured."""
    if duration_s <= 0:
        return "-"
    if duration_s < 0.001:  # noqa: PLR2004  a millisecond
        return f"{duration_s * 1e6:.0f} µs"
    if duration_s < 1:
        return f"{duration_s * 1000:.2f} ms"
    return f"{duration_s:.1f} s"


def status_view(status: ClusterStatus) -> RenderableType:
    """Return what `bascule status` shows."""
    return Group(
        _headline(status),
        _versions(status),
        *_reasons(status),
        *(_scaled(scale) for scale in status.scales),
        *environment_lines(status.environment),
        _workers(status),
        _edges(status),
    )


def _headline(status: ClusterStatus) -> Text:
    if status.ready:
        state, colour = "ready", "green"
    elif status.settled:
        state, colour = "not ready: a version failed", "red"
    else:
        state, colour = "not ready yet", "yellow"
    return Text.from_markup(
        f"[bold {colour}]{state}[/]  {status.mode}  revision {status.revision}  "
        f"home {escape(status.home)}\n"
        f"http {status.http}  grpc {status.grpc}  metrics {status.metrics}"
    )


def _table(title: str, columns: Sequence[str]) -> Table:
    table = plain_table(columns)
    table.title, table.title_justify, table.title_style = title, "left", "bold"
    return table


def _state(state: str) -> Text:
    return Text(state, style=COLOURS.get(state, ""))


def _versions(status: ClusterStatus) -> Table:
    table = _table("versions", ("model", "version", "state", "live", "pool", "isolation", "run"))
    for item in sorted(status.versions, key=lambda record: record.key):
        table.add_row(
            Text(item.model),
            str(item.version),
            _state(item.state.value),
            "live" if status.live.get(item.model) == item.version else "",
            item.pool or "-",
            Text(item.isolation),
            duration_text(item.served.run_s if item.served else 0.0),
        )
    return table


def _reasons(status: ClusterStatus) -> list[Text]:
    """Say why versions are as they are, below the table: a sentence needs the whole width."""
    lines = []
    for item in sorted(status.versions, key=lambda record: record.key):
        name = (str(item.key), COLOURS.get(item.state.value, ""))
        if item.reason:
            lines.append(Text.assemble(name, f": {item.reason}"))
        lines += [
            Text.assemble(name, ": ", (_word(found), "yellow"), f" {found}")
            for found in item.findings
            if found.severity is Severity.WARNING or found.waiver
        ]
    return lines


def environment_lines(issues: Sequence[Issue]) -> list[Text]:
    """Return what is wrong with the environments of workers, a line each."""
    return [Text.assemble(("environment", "yellow"), f": {sentence(one)}") for one in issues]


def _scaled(scale: ScaleStatus) -> Text:
    """Say how many workers a version has, and why."""
    changed = "" if scale.cause == "start" else f", last changed by: {scale.cause}"
    return Text(
        f"{scale.model}:{scale.version}: {scale.ready} of {scale.wanted} workers "
        f"({scale.min_replicas} to {scale.max_replicas}{changed})"
    )


def _word(found: Finding) -> str:
    return "allowed" if found.waiver else found.severity.value


def _workers(status: ClusterStatus) -> Table:
    table = _table(
        "workers", ("worker", "pid", "state", "restarts", "memory", "devices", "last end")
    )
    for item in sorted(status.workers, key=lambda worker: worker.worker):
        table.add_row(
            item.worker,
            str(item.pid),
            _state(item.state),
            str(item.restart_count),
            size_text(item.rss_bytes),
            item.devices,
            Text(item.last_exit),
        )
    return table


def _edges(status: ClusterStatus) -> Table:
    table = _table("edges", ("node", "haproxy pid", "revision", "restarts"))
    for item in status.edges:
        table.add_row(
            item.node[:NODE_CHARACTERS],
            str(item.haproxy_pid),
            str(item.revision),
            str(item.restart_count),
        )
    return table
