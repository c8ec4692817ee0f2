"""A client that writes down every request: when it was sent, when and by which version answered.

Each of n HTTP and m gRPC clients sends one request after the other on its own connection and checks
the answer against what the answering version must say. Nothing is retried here: an error that a
caller would see is an error in the ledger.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton_grpc
import tritonclient.http.aio as triton_http

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request. Times are seconds of the monotonic clock."""

    transport: str
    sent_s: float
    answered_s: float
    version: str = ""
    error: str = ""
    """Empty for a right answer; `wrong answer …` where the numbers are not the version's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is asked: one input and one output of a model that computes `expected[version]`."""

    http: str
    grpc: str
    model: str
    input_name: str
    output_name: str
    value: Array
    """FP32, shape (rows, columns)."""
    expected: Mapping[str, Array]


@dataclass(slots=True)
class Ledger:
    """Every request of a run, in the order of the answers."""

    entries: list[Entry] = field(default_factory=list)

    def failed(self) -> list[Entry]:
        """The requests without a right answer."""
        return [e for e in self.entries if e.error]

    def stale(self, version: str, since_s: float) -> list[Entry]:
        """The answers by `version` to requests that were sent after `since_s`."""
        return [e for e in self.entries if e.version == version and e.sent_s > since_s]

    def latencies_s(self, transport: str) -> list[float]:
        """Seconds from send to answer of every right answer on one transport, sorted."""
        return sorted(
            e.answered_s - e.sent_s
            for e in self.entries
            if e.transport == transport and not e.error
        )

    def longest_gap_s(self) -> float:
        """The longest time in which no right answer came at all."""
        times = sorted(e.answered_s for e in self.entries if not e.error)
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


async def record(
    target: Target, stop: asyncio.Event, *, http_clients: int = 8, grpc_clients: int = 8
) -> Ledger:
    """Run the clients until `stop` is set; returns when every request has been answered."""
    ledger = Ledger()
    async with asyncio.TaskGroup() as group:
        for _ in range(http_clients):
            group.create_task(_http_client(target, stop, ledger))
        for _ in range(grpc_clients):
            group.create_task(_grpc_client(target, stop, ledger))
    return ledger


async def _http_client(target: Target, stop: asyncio.Event, ledger: Ledger) -> None:
    tensor = triton_http.InferInput(target.input_name, list(target.value.shape), "FP32")
    tensor.set_data_from_numpy(target.value)
    async with triton_http.InferenceServerClient(target.http, conn_limit=1) as client:
        while not stop.is_set():
            await _one("http", client, [tensor], target, ledger)


async def _grpc_client(target: Target, stop: asyncio.Event, ledger: Ledger) -> None:
    tensor = triton_grpc.InferInput(target.input_name, list(target.value.shape), "FP32")
    tensor.set_data_from_numpy(target.value)
    # grpcio shares one connection between channels of equal arguments: make each its own.
    alone = [("grpc.use_local_subchannel_pool", 1)]
    async with triton_grpc.InferenceServerClient(target.grpc, channel_args=alone) as client:
        while not stop.is_set():
            await _one("grpc", client, [tensor], target, ledger)


async def _one(
    transport: str, client: Any, inputs: Sequence[Any], target: Target, ledger: Ledger
) -> None:
    sent_s = time.monotonic()
    version = error = ""
    try:
        reply = await client.infer(target.model, inputs)
        version, error = _checked(reply, target)
    except Exception as failure:  # noqa: BLE001  whatever a caller would see goes into the ledger
        error = f"{type(failure).__name__}: {failure}"
    ledger.entries.append(
        Entry(
            transport=transport,
            sent_s=sent_s,
            answered_s=time.monotonic(),
            version=version,
            error=error,
        )
    )
    if error:
        await asyncio.sleep(0.01)  # a refused connection must not turn into a busy loop


def _checked(reply: Any, target: Target) -> tuple[str, str]:
    response = reply.get_response()
    is_dict = isinstance(response, dict)
    version = str(response["model_version"] if is_dict else response.model_version)
    got = reply.as_numpy(target.output_name)
    want = target.expected.get(version)
    if want is None:
        return version, f"wrong answer: by version {version}, which nobody asked for"
    if got.shape != want.shape or not np.allclose(got, want, rtol=1e-6, atol=1e-6):
        return version, f"wrong answer: {got.ravel()[:4]}, version {version} says otherwise"
    return version, ""


async def during(
    target: Target, act: Callable[[], object], *, before_s: float = 1.0, after_s: float = 1.0
) -> Ledger:
    """Record while `act` runs in a thread, with some seconds of load before and after it."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(record(target, stop))
        await asyncio.sleep(before_s)
        await asyncio.to_thread(act)
        await asyncio.sleep(after_s)
        stop.set()
    return running.result()
