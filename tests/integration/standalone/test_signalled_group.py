"""SIGTERM to every process of an instance at once: it ends as by one to `bascule serve` alone.

So does systemd with a unit that does not say otherwise, and so does `pkill -f`.
"""

import http.client
import json
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2_grpc

from serving.wire.refusals import GRPC_SERVER_EXITING, SERVER_EXITING
from tests.fakes.models import slow
from tests.fakes.protocol_models import ALONE, NO_BATCH
from tests.fakes.protocol_server import grpc_request, json_input, ones
from tests.fakes.standalone_server import LIMIT_S, Server, put_model, serving

SLOW_CALLS: Final = 2  # of each wire
CALLERS: Final = 4  # of each wire, of short calls
UNITS: Final = 20  # a second or more each: all have had their signal long before the last one ends
SLOW_BODY: Final = {
    "inputs": [json_input("x", "FP32", (1, 4), [1.0] * 4), json_input("n", "INT64", (1,), [UNITS])]
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve a fast model and a slow one, each by a worker of its own."""
    models = tmp_path / "models"
    put_model(models, "m")
    put_model(models, "slow", content=slow())
    (models / "slow" / "config.pbtxt").write_text(NO_BATCH + ALONE)
    with serving(tmp_path / "home", "--model-repository", str(models)) as running:
        yield running


def by_http(server: Server, model: str, body: object) -> str:
    """Call once; return how it ended."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports[0], timeout=LIMIT_S)
    with closing(connection):
        try:
            connection.connect()
        except ConnectionRefusedError:
            return "refused"
        try:
            connection.request("POST", f"/v2/models/{model}/infer", json.dumps(body))
            reply = connection.getresponse()
            text = reply.read().decode()
        except (http.client.HTTPException, OSError) as error:
            return f"lost by HTTP: {error!r}"
    if reply.status == http.HTTPStatus.SERVICE_UNAVAILABLE and SERVER_EXITING in text:
        return "refused"
    return "answered" if reply.status == http.HTTPStatus.OK else f"{reply.status} {text}"


def by_grpc(stub: Any, call: object) -> str:  # noqa: ANN401  generated code has no types
    """Call once; return how it ended."""
    try:
        stub.ModelInfer(call, timeout=LIMIT_S)
    except grpc.RpcError as error:
        told = str(error.details())
        is_told = GRPC_SERVER_EXITING in told or "Connection refused" in told
        return "refused" if is_told else f"lost by gRPC: {error.code()} {told}"
    return "answered"


def until_refused(ask: Any, *arguments: object) -> str:  # noqa: ANN401  one of the two above
    """Call again and again; return how the last call ended."""
    while (ended := ask(*arguments)) == "answered":
        pass
    return str(ended)


def pending(server: Server, model: str) -> float:
    """How many accepted calls of a model do not run yet."""
    lines = [
        line
        for line in server.metrics().splitlines()
        if line.startswith("nv_inference_pending_request_count") and f'model="{model}"' in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def signal_all(processes: Sequence[psutil.Process]) -> None:
    """Children first, as who has no order may have it."""
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)


def test_no_call_in_flight_is_lost(server: Server) -> None:
    """Long ones and short ones of both wires are answered, or told that the server goes."""
    parent = psutil.Process(server.process.pid)
    fast = grpc_request("m", ("x", np.ones((1, 16), np.float32)))
    long = grpc_request("slow", ("x", np.ones((1, 4), np.float32)), ("n", np.array([UNITS])))
    with (
        grpc.insecure_channel(server.grpc) as channel,
        ThreadPoolExecutor(2 * (SLOW_CALLS + CALLERS)) as pool,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        running = [pool.submit(by_http, server, "slow", SLOW_BODY) for _ in range(SLOW_CALLS)]
        running += [pool.submit(by_grpc, stub, long) for _ in range(SLOW_CALLS)]
        waiting = 2 * SLOW_CALLS - 1
        server.until(lambda: pending(server, "slow") == waiting, "one runs, the others wait")
        callers = [pool.submit(until_refused, by_http, server, "m", ones()) for _ in range(CALLERS)]
        callers += [pool.submit(until_refused, by_grpc, stub, fast) for _ in range(CALLERS)]

        signal_all([parent, *parent.children(recursive=True)])
        long_ends = Counter(call.result(LIMIT_S) for call in running)
        ends = Counter(caller.result(LIMIT_S) for caller in callers)

    assert server.process.wait(LIMIT_S) == 0
    assert (long_ends, ends) == ({"answered": 2 * SLOW_CALLS}, {"refused": 2 * CALLERS})
