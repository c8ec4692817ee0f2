"""Large bodies: `wide` (1 MiB in and out) behind the edge, against a floor of HAProxy and a memcpy.

    python -m benchmarks.wide [--rounds N] [--seconds S] [--results DIR]

The floor is what no server behind HAProxy can beat: the same requests go through the same HAProxy
(binary and buffers of the edge) to a sink with one thread, on a unix socket as a worker's, which
copies each body once and answers with the copy (`benchmarks/peers/touching_sink.py`). Both are
loaded in turns; a ratio is taken within each round. Exits 1 when a request failed.
"""

import argparse
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import psutil

from benchmarks.command import add_results, command_parser, count, positive, run_main
from benchmarks.compare.page import budget
from benchmarks.compare.processes import cpu_s, running, spent_s, tree
from benchmarks.compare.wires import Wire, v2_binary
from benchmarks.instance import InstanceError, free_ports, running_instance
from benchmarks.load_tools import LoadError, http_load, require_tools
from benchmarks.loads import Array, Request
from benchmarks.models.layout import write_model
from benchmarks.models.small import WIDE_COLUMNS, small_models
from benchmarks.report import Sample, machine_lines, rows, write
from serving.edge.haproxy_config import BUFFER_BYTES
from serving.edge.haproxy_process import haproxy_binary

CONNECTIONS: Final = (1, 8)
BOUND: Final = 0.5
"""Of the floor's throughput, at the least."""
FLOOR: Final = "floor"
EDGE: Final = "edge"
LOAD: Final = "{} connections"
CONFIG: Final = """global
    nbthread 1
    tune.bufsize {buffer_bytes}
defaults
    mode http
    option http-no-delay
    option splice-auto
    timeout client 300s
    timeout connect 2s
    timeout server 300s
frontend all
    bind 127.0.0.1:{port}
    default_backend sink
backend sink
    server sink unix@{socket}
"""

Processes = Callable[[], Sequence[psutil.Process]]


def main() -> int:
    """Measure, print, write."""
    parser = command_parser("benchmarks.wide", __doc__)
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--seconds", type=positive, default=3.0)
    add_results(parser)
    options = parser.parse_args()
    x = np.random.default_rng(1).standard_normal((1, WIDE_COLUMNS), dtype=np.float32)
    wire = v2_binary(Request(model="wide", inputs={"x": x}))
    with tempfile.TemporaryDirectory(prefix="wide-") as scratch:
        folder = Path(scratch)
        try:
            require_tools()
            samples = list(_measured(folder, wire, x, options))
        except (InstanceError, LoadError) as error:
            print(error, file=sys.stderr)
            return 1
    write(options.results, "wide", page(samples, len(wire.body)), [asdict(one) for one in samples])
    return 1 if any(sample.measured.failures for sample in samples) else 0


def page(samples: list[Sample], body_bytes: int) -> str:
    """Return the report as Markdown."""
    lines = [
        f"# Large bodies: {body_bytes / 2**20:.2f} MiB in and out, {len(samples) // 4} rounds",
        "",
        *machine_lines(),
        "",
        "Floor: the same requests through the same HAProxy to a sink that copies each body once.",
        "",
        "| load | edge MiB/s each way | floor | ratio, median of rounds | (range) | required |",
        "|---|---:|---:|---:|---|---|",
    ]
    table = {(row.load, row.system): row for row in rows(samples)}
    for load in dict.fromkeys(sample.load for sample in samples):
        edge, floor = table[load, EDGE], table[load, FLOOR]
        ratios = _ratios(samples, load)
        reached = "yes" if median(ratios) >= BOUND else "**no**"
        failed = " **FAILED**" if edge.failures or floor.failures else ""
        lines.append(
            f"| {load}{failed} | {edge.requests_per_s * body_bytes / 2**20:,.0f} "
            f"| {floor.requests_per_s * body_bytes / 2**20:,.0f} | {median(ratios):.2f} "
            f"| {min(ratios):.2f}..{max(ratios):.2f} | ≥ {BOUND}: {reached} |"
        )
    lines += ["", "µs on CPUs for a request:", ""]
    for load in dict.fromkeys(sample.load for sample in samples):
        for system, parts in budget(samples, load).items():
            of_which = ", ".join(f"{name} {value:.0f}" for name, value in parts.items())
            lines.append(f"* {load}, {system}: {sum(parts.values()):.0f}: {of_which}")
    failures = {f"* FAILED: {one.system}: {one.measured.failures}" for one in samples} - {
        f"* FAILED: {system}: " for system in (EDGE, FLOOR)
    }
    return "\n".join([*lines, "", *sorted(failures)]) + "\n"


def _measured(folder: Path, wire: Wire, x: Array, options: argparse.Namespace) -> Iterator[Sample]:
    for model in small_models():
        if model.name == "wide":
            write_model(folder / "models", model)
    script = wire.write_for_wrk(folder)
    with running_instance(folder / "models") as instance, _floor(folder, wire) as floor:
        if not np.array_equal(wire.ask(instance.http), x + 1):
            raise InstanceError("the edge answers wrongly")
        systems = {EDGE: (instance.http, instance.processes), FLOOR: floor}
        rounds = range(1, options.rounds + 1)
        for number, count, (system, at) in product(rounds, CONNECTIONS, systems.items()):
            address, processes = at
            before = cpu_s(processes())
            measured = http_load(address, wire.path, script, count, options.seconds)
            yield Sample(
                system=system,
                load=LOAD.format(count),
                round=number,
                measured=measured,
                cpu_s=spent_s(before, cpu_s(processes())),
            )


@contextmanager
def _floor(folder: Path, wire: Wire) -> Iterator[tuple[str, Processes]]:
    """Start the sink and a HAProxy before it; yield their address and their processes."""
    (port,) = free_ports(1)
    socket, config, places = folder / "sink", folder / "haproxy.cfg", [folder / "1", folder / "2"]
    config.write_text(CONFIG.format(buffer_bytes=BUFFER_BYTES, port=port, socket=socket))
    for place in places:
        place.mkdir()
    sink = [sys.executable, "-m", "benchmarks.peers.touching_sink", str(socket)]
    haproxy = [str(haproxy_binary(None)), "-db", "-f", str(config)]
    address = f"127.0.0.1:{port}"
    with (
        running(sink, places[0], socket.exists) as sinks,
        running(haproxy, places[1], partial(_echoes, wire, address)) as proxies,
    ):
        yield address, lambda: [*tree(sinks), *tree(proxies)]


def _echoes(wire: Wire, address: str) -> bool:
    call = urllib.request.Request(f"http://{address}{wire.path}", data=wire.body)
    try:
        with urllib.request.urlopen(call, timeout=5) as reply:  # noqa: S310  HTTP, see above
            return bool(reply.read() == wire.body)
    except OSError:
        return False


def _ratios(samples: list[Sample], load: str) -> list[float]:
    rates = {
        (one.system, one.round): one.measured.requests_per_s for one in samples if one.load == load
    }
    return [
        rate / rates[FLOOR, number] for (system, number), rate in rates.items() if system == EDGE
    ]


if __name__ == "__main__":
    run_main(main)
