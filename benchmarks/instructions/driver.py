"""Runs under callgrind, started by `benchmarks.instructions.counting`: asks what is to be counted.

python -m benchmarks.instructions.driver

Everything is asked some times before it is counted: the interpreter rewrites code that runs often,
and a batch's first runs happen in a thread. `grpc` comes last: it makes the interpreter forget what
it knew of the others. Each kind of call has a model of its own, so that none counts batches for
another: what is done once in 256 batches is in `http alone`, which has so many.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import uvloop

from benchmarks.instructions.callgrind import Callgrind
from benchmarks.instructions.in_process import (
    Connection,
    InProcessWorker,
    RefusedError,
    ask,
    collect_as_a_worker_does,
)
from benchmarks.instructions.watchers import CountedWatchers
from benchmarks.loads import Request
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.models.small import tiny_graph

CONTRACT: Final = (
    b"contract: 1\n"
    b"inputs: {x: {min: -9, max: 9, on_violation: reject}}\n"
    b"outputs: {y: {min: -1e6, max: 1e6, on_violation: count}}\n"
)
REQUEST_COUNT: Final = 320
TOGETHER: Final = 8
WARM_ROUNDS: Final = 60
JUDGED: Final = "judged"
DRIFTING: Final = "drifting"
WATCHED: Final = "watched"
MODELS: Final = ("alone", "http", JUDGED, DRIFTING, WATCHED, "grpc")
LOGGED: Final = 'parameters { key: "prediction_log_rate" value { string_value: "0.01" } }\n'
TINY: Final = {"x": np.ones((1, 16), np.float32)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of call."""

    name: str
    request: bytes
    together: int
    """Connections that ask at the same time: so many calls make a batch."""


def cases() -> Sequence[Case]:
    """Return what is counted: `tiny` under several names, one row a call."""
    alone, http, judged, drifting, watched, grpc = (
        Request(model=name, inputs=TINY) for name in MODELS
    )
    return (
        Case(name="http alone", request=_http(alone), together=1),
        Case(name="http", request=_http(http), together=TOGETHER),
        Case(name="http contract", request=_http(judged), together=TOGETHER),
        Case(name="http drift", request=_http(drifting), together=TOGETHER),
        Case(name="http watched", request=_http(watched), together=TOGETHER),
        Case(name="grpc", request=_grpc(grpc), together=TOGETHER),
    )


def main() -> int:
    """Count each case, or say why that cannot be."""
    tool = Callgrind()
    if not tool.is_there:
        print("this runs under callgrind: python -m benchmarks.instructions", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        repository = Path(folder) / "models"
        for model in _models():
            write_model(repository, model)
        runner.run(count(tool, repository))
    return 0


async def count(tool: Callgrind, repository: Path) -> None:
    """Ask everything, and have the second half counted.

    Raises:
        RefusedError: A call was not answered, or with an error.
    """
    watchers = CountedWatchers(repository.with_name("log"), frozenset({DRIFTING, WATCHED}))
    worker = InProcessWorker(asyncio.get_running_loop(), watchers.taps, watchers.names)
    worker.host(repository)
    asked = [(case, worker.connect(case.together)) for case in cases()]
    for case, connections in asked:
        await ask(connections, case.request, WARM_ROUNDS)
        _require_answers(case, connections, WARM_ROUNDS)
    collect_as_a_worker_does()
    with tool.counting():
        for case, connections in asked:
            with tool.part(case.name):
                await ask(connections, case.request, REQUEST_COUNT // case.together)
    for case, connections in asked:
        _require_answers(case, connections, WARM_ROUNDS + REQUEST_COUNT // case.together)
    worker.close()
    watchers.close()


def _require_answers(case: Case, connections: Sequence[Connection], count: int) -> None:
    for connection in connections:
        transport = connection.transport
        reply = b"".join(transport.last)
        is_answer = b"grpc-status: 0" in reply or b'"outputs"' in reply
        if transport.reply_count != count or not is_answer:
            raise RefusedError(f"{case.name}: {transport.reply_count} of {count}: {reply[:300]!r}")


def _http(request: Request) -> bytes:
    body, header_bytes = request.http_body()
    return _posted(request.path, body, f"inference-header-content-length: {header_bytes}")


def _grpc(request: Request) -> bytes:
    path = "/inference.GRPCInferenceService/ModelInfer"
    return _posted(path, request.grpc_frame(), "content-type: application/grpc", "te: trailers")


def _posted(path: str, body: bytes, *headers: str) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1", "host: counted", f"content-length: {len(body)}",
        "bascule-version: 1", *headers,
    )  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _models() -> Iterator[ModelFolder]:
    tiny = tiny_graph().folder("tiny", 64)
    for name in MODELS:
        is_judged = name in {JUDGED, WATCHED}
        contract = {"1/contract.yaml": CONTRACT} if is_judged else {}
        extra = LOGGED if name == WATCHED else ""
        yield replace(
            tiny,
            name=name,
            config=replace(tiny.config, extra=tiny.config.extra + extra),
            files={**tiny.files, **contract},
        )


if __name__ == "__main__":
    sys.exit(main())
