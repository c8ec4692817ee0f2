"""Count who answers in a canary: the share within binomial bounds, and the same caller's version.

    python -m benchmarks.canary_share [--requests 100000] [--keys 1000] [--mode standalone|ray]

For each share and transport h2load sends the requests, and the workers' own counts per version say
who answered. Then callers with a header's value ask several times over both transports: each value
must get one version only, and the candidate a share of the values that is within bounds too.
Exits 1 when something is out of bounds, or a request failed.
"""

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.command import add_results, command_parser, run_main
from benchmarks.instance import Instance, InstanceError, running_instance, until
from benchmarks.load_tools import GRPC_PATH, LoadError, require_tools
from benchmarks.loads import Request
from benchmarks.report import machine_lines, write
from benchmarks.swap_models import SWING, push_models
from serving.cli.admin_client import AdminClient
from serving.registry.rollouts.record import ENDED, Order, RolloutState

SHARES_PERCENT: Final = (1.0, 10.0, 50.0)
STICKY_PERCENT: Final = 30.0
HEADER: Final = "bascule-key"
ASKS: Final = 3
BOUND: Final = 3.89
"""Standard deviations: of 10,000 right edges one is out of bounds by chance."""
CONNECTIONS: Final = 8
LONG_S: Final = 100_000.0
LIMIT_S: Final = 60.0
COUNT: Final = re.compile(
    rf'^nv_inference_request_success\{{[^}}]*model="{SWING}"[^}}]*version="(\d+)"[^}}]*\}} (\S+)',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Who answered, of what was asked."""

    what: str
    percent: float
    asked_count: int
    answered_count: int
    candidate_count: int
    moved_count: int = 0
    """Callers that got both versions; 0 where callers are not told apart."""

    def deviation(self) -> float:
        """How many standard deviations the candidate's count is off."""
        share = self.percent / 100
        expected = self.answered_count * share
        return (self.candidate_count - expected) / math.sqrt(max(expected * (1 - share), 1e-9))

    def is_right(self) -> bool:
        """Whether every request was answered, by whom it should be."""
        is_all = self.answered_count == self.asked_count > 0
        return is_all and abs(self.deviation()) <= BOUND and not self.moved_count


@contextmanager
def canary(instance: Instance, percent: float, sticky_by: str = "") -> Iterator[None]:
    """Give version 2 a share until the block ends."""
    client = AdminClient(instance.home / "run" / "admin.sock")
    body = {
        "version": 2,
        "strategy": "canary",
        "steps": [{"share_percent": percent, "hold_s": LONG_S}],
        "sticky_by": sticky_by,
        "guardrails": {
            "error_rate": False,
            "latency_ratio": 0,
            "memory_growth_share": 0,
            "mismatch_share": -1,
        },
    }
    number = client.start_rollout(SWING, body).id

    def is_split() -> bool:
        return client.rollout(number).rollout.state is RolloutState.CANARY

    def is_ended() -> bool:
        return client.rollout(number).rollout.state in ENDED

    until(is_split, LIMIT_S, "the candidate gets its share")
    time.sleep(0.5)  # the record comes before the edges: they obey within milliseconds
    try:
        yield
    finally:
        client.order_rollout(SWING, Order.ABORT, "benchmark")
        until(is_ended, LIMIT_S, "the canary has ended")


def answered(instance: Instance) -> Mapping[str, int]:
    """Version → calls that its workers have answered."""
    with urllib.request.urlopen(f"http://{instance.metrics}/metrics", timeout=LIMIT_S) as reply:
        found = COUNT.findall(reply.read().decode())
    return {version: int(float(count)) for version, count in found}


def count(instance: Instance, folder: Path, wire: str, percent: float, requests: int) -> Count:
    """Send the requests, and ask the workers who answered them."""
    before = answered(instance)
    send(instance, folder, wire, requests)
    after = answered(instance)
    grown = {version: after[version] - before.get(version, 0) for version in after}
    return Count(
        what=f"{wire}, call by call",
        percent=percent,
        asked_count=requests,
        answered_count=sum(grown.values()),
        candidate_count=grown.get("2", 0),
    )


def send(instance: Instance, folder: Path, wire: str, requests: int) -> None:
    """Send the same small request many times.

    Raises:
        LoadError: h2load did not do it.
    """
    request = Request(model=SWING, inputs={"x": np.ones((1, 4), np.float32)})
    body, head_bytes = request.http_body()
    file = folder / f"{wire}.bin"
    file.write_bytes(request.grpc_frame() if wire == "grpc" else body)
    command = ["h2load", "-t1", f"-c{CONNECTIONS}", f"-n{requests}", f"-d{file}"]
    if wire == "grpc":
        command += ["-m4", "-Hte: trailers", "-Hcontent-type: application/grpc"]
        command += [f"http://{instance.grpc}{GRPC_PATH}"]
    else:
        command += ["--h1", f"-HInference-Header-Content-Length: {head_bytes}"]
        command += ["-HContent-Type: application/octet-stream"]
        command += [f"http://{instance.http}{request.path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or f"{requests} succeeded" not in done.stdout:
        raise LoadError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def sticky(instance: Instance, keys: int) -> Count:
    """Let each key ask several times over both transports."""
    tensor = triton_http.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
    raw = service_pb2.ModelInferRequest(
        model_name=SWING, raw_input_contents=[np.ones(4, np.float32).tobytes()]
    )
    raw.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    seen: dict[str, set[str]] = {}
    with (
        triton_http.InferenceServerClient(instance.http) as http,
        grpc.insecure_channel(instance.grpc) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for turn in range(ASKS * keys):
            key = f"caller-{turn % keys}"
            by_http = http.infer(SWING, [tensor], headers={HEADER: key}).get_response()
            by_grpc = stub.ModelInfer(raw, metadata=[(HEADER, key)])
            versions = {str(by_http["model_version"]), str(by_grpc.model_version)}
            seen[key] = seen.get(key, set()) | versions
    return Count(
        what=f"both, by header, each value {2 * ASKS} times",
        percent=STICKY_PERCENT,
        asked_count=keys,
        answered_count=len(seen),
        candidate_count=sum("2" in versions for versions in seen.values()),
        moved_count=sum(len(versions) > 1 for versions in seen.values()),
    )


def measure(options: argparse.Namespace, folder: Path) -> list[Count]:
    """Start an instance, and count."""
    counts = []
    (folder / "models").mkdir()
    with running_instance(folder / "models", mode=options.mode) as instance:
        push_models(instance, folder)
        for percent in SHARES_PERCENT:
            with canary(instance, percent):
                counts += [
                    count(instance, folder, wire, percent, options.requests)
                    for wire in ("http", "grpc")
                ]
        with canary(instance, STICKY_PERCENT, HEADER):
            counts.append(sticky(instance, options.keys))
    return counts


def page(counts: list[Count]) -> str:
    """Return the report as Markdown."""
    lines = ["# Canary shares", "", *machine_lines(), ""]
    lines += [
        "| calls | share | asked | answered | by the candidate | off by (sd) | moved | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {one.what} | {one.percent:g} % | {one.asked_count:,} | {one.answered_count:,} | "
        f"{one.candidate_count:,} | {one.deviation():+.2f} | {one.moved_count} | "
        f"{'right' if one.is_right() else '**WRONG**'} |"
        for one in counts
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Count, print, write."""
    parser = command_parser("benchmarks.canary_share", __doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--mode", choices=("standalone", "ray"), default="standalone")
    add_results(parser)
    options = parser.parse_args()
    try:
        require_tools()
        with tempfile.TemporaryDirectory(prefix="canary-") as folder:
            counts = measure(options, Path(folder))
    except (LoadError, InstanceError) as error:
        print(error, file=sys.stderr)
        return 1
    name = f"canary_share_{options.mode}"
    write(options.results, name, page(counts), [asdict(one) for one in counts])
    return 0 if all(one.is_right() for one in counts) else 1


if __name__ == "__main__":
    run_main(main)
