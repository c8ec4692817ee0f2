"""What every system gets: closed loops on each wire that it speaks, and an open loop of slow calls.

Before that, one answer on each wire is held against the engine's own: fast and wrong is no figure.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from benchmarks.compare.processes import cpu_s, spent_s
from benchmarks.compare.required import GRPC, HTTP, OPEN_LOOP
from benchmarks.compare.systems import Endpoints, Place
from benchmarks.compare.wires import BINARY
from benchmarks.load_tools import GRPC_PATH, Measured, grpc_load, http_load
from benchmarks.loads import Array, Request
from serving.cli.load.open_loop import ANSWERED
from serving.cli.load.summary import quantile

GRPC_TIMEOUT_S: Final = 10.0
WARM_UP_CONNECTIONS: Final = 32
TOLERANCE: Final = 1e-5
FRAME_HEAD_BYTES: Final = 5


Measure = Callable[[], Measured]


class WrongAnswerError(Exception):
    """A system answered, and not what the engine answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """Which loads, and for how long each."""

    seconds: float
    connections: Sequence[int] = (1, 32, 64)
    streams: Sequence[tuple[int, int]] = ((8, 4), (8, 8))
    """Connections of gRPC, and streams on each."""
    open_rate: float = 100.0
    """Calls a second of the open loop; 0: none."""

    def of(self, at: Endpoints, place: Place) -> Iterator[tuple[str, Measured, dict[str, float]]]:
        """Load a running system; yield the load's name, what it saw, and what processes spent."""
        for name, measure in self._parts(at, place):
            before = cpu_s(at.processes())
            measured = measure()
            yield name, measured, spent_s(before, cpu_s(at.processes()))

    def _parts(self, at: Endpoints, place: Place) -> Iterator[tuple[str, Measure]]:
        if at.http:
            script = at.wire.write_for_wrk(place.folder)
            for count in self.connections:
                load = partial(http_load, at.http, at.wire.path, script, count, self.seconds)
                yield HTTP.format(count), load
            if self.open_rate and at.wire.name == BINARY:
                yield OPEN_LOOP.format(self.open_rate), partial(self._open, at, place.request)
        if at.grpc:
            body = place.request.write_for_h2load(place.folder)
            h1 = at.grpc_over_http1
            load = partial(grpc_load, at.grpc, body, seconds=self.seconds, http1=h1)
            yield GRPC.format(1, 1), partial(load, 1)
            for count, streams in self.streams:
                # HTTP/1.1 has no streams: as many connections carry as many calls
                wide = (
                    partial(load, count * streams) if h1 else partial(load, count, streams=streams)
                )
                yield GRPC.format(count, streams), wide

    def _open(self, at: Endpoints, request: Request) -> Measured:
        loop = request.open_loop(at.http, seed=0)
        calls = asyncio.run(loop.run(self.open_rate, self.seconds))
        times_s = sorted(one.took_s for one in calls if one.status == ANSWERED)
        lost = len(calls) - len(times_s)
        return Measured(
            requests_per_s=len(times_s) / self.seconds,
            p50_s=quantile(times_s, 0.5),
            p99_s=quantile(times_s, 0.99),
            failures=f"{lost} of {len(calls)} calls without an answer" if lost else "",
            sent_count=len(calls),
        )


def check_answers(at: Endpoints, place: Place) -> None:
    """Ask once on each wire.

    Raises:
        WrongAnswerError: It is not the engine's answer.
        OSError: There is no answer over HTTP.
        grpc.RpcError: There is no answer over gRPC.
    """
    if at.http:
        _compare(at.wire.name, at.wire.ask(at.http), place.answer)
    if at.grpc and not at.grpc_over_http1:  # no client speaks it: its bytes are counted under load
        _compare("gRPC", ask_grpc(at.grpc, place.request), place.answer)


def warm_up(at: Endpoints, place: Place, seconds: float) -> None:
    """Load a system that needs it before it is measured."""
    script = at.wire.write_for_wrk(place.folder)
    http_load(at.http, at.wire.path, script, WARM_UP_CONNECTIONS, seconds)


def ask_grpc(address: str, request: Request) -> Array:
    """Ask once over gRPC; an answer may carry raw contents or typed ones."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            GRPC_PATH, response_deserializer=service_pb2.ModelInferResponse.FromString
        )
        reply = call(request.grpc_frame()[FRAME_HEAD_BYTES:], timeout=GRPC_TIMEOUT_S)
    (output,) = reply.outputs
    if reply.raw_output_contents:
        values = np.frombuffer(reply.raw_output_contents[0], np.float32)
    else:
        values = np.asarray(output.contents.fp32_contents, np.float32)
    return values.reshape(tuple(output.shape))


def bare_loop(file: Path, seconds: float) -> Measured:
    """Run the engine alone, one row after the other."""
    module = "benchmarks.peers.bare_loop"
    done = subprocess.run(
        [sys.executable, "-m", module, file, f"--seconds={seconds}"],
        capture_output=True,
        text=True,
        check=True,
    )
    facts = json.loads(done.stdout)
    return Measured(requests_per_s=facts["runs_per_s"], p50_s=facts["p50_s"], p99_s=facts["p99_s"])


def _compare(wire: str, found: Array, right: Array) -> None:
    if found.shape != right.shape or not np.allclose(found, right, rtol=TOLERANCE):
        raise WrongAnswerError(f"{wire}: answered {found.tolist()}, not {right.tolist()}")
