"""A stateful model on Ray: one worker has the state, and its end is told."""

import os
import signal
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.e2e.ray_instance import Instance
from tests.fakes.lost_sequences import refusal_of

pytestmark = pytest.mark.e2e


def step(client: Any, kind: Any, sequence: int, value: float, **flags: bool) -> float:  # noqa: ANN401  tritonclient has no types
    """Take a step of a sequence."""
    x = kind.InferInput("x", [1, 1], "FP32")
    x.set_data_from_numpy(np.array([[value]], np.float32))
    result = client.infer("sums", [x], sequence_id=sequence, **flags)
    return float(result.as_numpy("y")[0, 0])


def workers_of(running: Instance, pool: object) -> list[int]:
    """Process ids of a pool's workers."""
    workers: Any = running.status()["workers"]
    return [worker["pid"] for worker in workers if worker["pool"] == pool]


def lone_step(running: Instance, sequence: int) -> float:
    """Take a step on a connection of its own."""
    with triton_http.InferenceServerClient(f"127.0.0.1:{running.http}") as client:
        return step(client, triton_http, sequence, 1)


def test_a_sequence_goes_on_over_either_wire(running: Instance) -> None:
    """Both reach the one worker that has the state."""
    with (
        triton_http.InferenceServerClient(f"127.0.0.1:{running.http}") as http,
        triton_grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}") as grpc,
    ):
        sums = [step(http, triton_http, 5, 1, sequence_start=True)]
        sums += [step(grpc, triton_grpc, 5, 1), step(http, triton_http, 5, 1)]
        sums += [step(grpc, triton_grpc, 5, 1, sequence_end=True)]
    assert sums == [1, 2, 3, 4]
    assert len(workers_of(running, running.version("sums")["pool"])) == 1


def test_a_dead_worker_takes_its_sequences_with_it(running: Instance) -> None:
    """The next step is told that the state is lost; a new sequence runs."""
    with triton_http.InferenceServerClient(f"127.0.0.1:{running.http}") as client:
        assert step(client, triton_http, 6, 1, sequence_start=True) == 1
    (pid,) = workers_of(running, running.version("sums")["pool"])
    os.kill(pid, signal.SIGKILL)
    told = refusal_of(lambda: lone_step(running, 6))
    assert (told.status(), "is lost" in str(told)) == ("404", True)
    with triton_http.InferenceServerClient(f"127.0.0.1:{running.http}") as client:
        assert step(client, triton_http, 6, 1, sequence_start=True) == 1
