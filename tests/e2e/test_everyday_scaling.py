"""On Ray, pools get replicas as calls come, none while nobody calls, and no call is lost."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from tests.e2e.ray_instance import Instance, until

pytestmark = pytest.mark.e2e

ROW = [1.0, 2.0, 3.0, 4.0]


def has_workers(running: Instance, count: int) -> bool:
    """Whether the model shall have so many workers, and all of them answer."""
    status: Any = running.status()
    (scale,) = status["scales"]
    pool = running.version("nap")["pool"]
    there = [worker for worker in status["workers"] if worker["pool"] == pool]
    return bool(scale["wanted"] == scale["ready"] == len(there) == count)


def http_answer(running: Instance, steps: int = 0) -> list[float]:
    """Ask over HTTP; each step takes the model some 50 ms."""
    body = {
        "inputs": [
            {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW},
            {"name": "n", "shape": [1], "datatype": "INT64", "data": [steps]},
        ]
    }
    answer: list[float] = running.post("/v2/models/nap/infer", json.dumps(body))["outputs"][0][
        "data"
    ]
    return answer


def grpc_answer(running: Instance) -> list[float]:
    """Ask over gRPC."""
    x, n = triton_grpc.InferInput("x", [1, 4], "FP32"), triton_grpc.InferInput("n", [1], "INT64")
    x.set_data_from_numpy(np.asarray([ROW], np.float32))
    n.set_data_from_numpy(np.asarray([0], np.int64))
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}") as client:
        row: list[float] = client.infer("nap", [x, n]).as_numpy("y")[0].tolist()
        return row


def test_replicas_come_in_a_burst_go_to_zero_and_come_back(running: Instance) -> None:
    """Every call is answered: in the burst, while replicas leave, and the first ones after zero."""
    answers: list[list[float]] = []
    with ThreadPoolExecutor(8) as pool:
        is_over = False

        def call() -> None:
            while not is_over:
                answers.append(http_answer(running, steps=1))

        callers = [pool.submit(call) for _ in range(6)]
        try:
            until(lambda: has_workers(running, 2), "a second replica has come")
        finally:
            is_over = True
        for caller in callers:
            caller.result()
    until(lambda: has_workers(running, 0), "the last replica has gone")
    assert running.version("nap")["state"] == "READY"

    with ThreadPoolExecutor(12) as pool:
        http = [pool.submit(http_answer, running) for _ in range(6)]
        grpc = [pool.submit(grpc_answer, running) for _ in range(6)]
    answers += [task.result() for task in (*http, *grpc)]
    assert all(answer == ROW for answer in answers)
