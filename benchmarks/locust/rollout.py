"""Locust's side of the rollout shape: a load in whose middle versions are swapped.

Started by `benchmarks.locust.run`. Each user checks that an answer's numbers are those of the
version that it names. Each swap is a line of Locust's report, named `rollout`.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Final

import gevent
import grpc.experimental.gevent as grpc_gevent
import numpy as np
import tritonclient.grpc as triton_grpc
from locust import HttpUser, LoadTestShape, User, constant_throughput, events, task

from serving.cli.admin_client import AdminClient
from serving.cli.locust.users import timed
from serving.registry.rollouts.record import ENDED, RolloutState

MODEL: Final = "swing"
USERS: Final = 8
CALLS_PER_S: Final = 20
STEADY_S: Final = 10.0
"""Before the first swap and after the last one."""
LOOK_S: Final = 0.1
BODY: Final = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}

grpc_gevent.init_gevent()


class WrongAnswerError(Exception):
    """The numbers are not those of the version that answered."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # locust has no types
def add_options(parser: argparse.ArgumentParser) -> None:
    """Say where the instance is."""
    parser.add_argument("--home", type=Path)
    parser.add_argument("--grpc-address")
    parser.add_argument("--swaps", type=int, default=10)


class SwapShape(LoadTestShape):  # type: ignore[misc]  # locust has no types
    """A steady load; after a while the versions are swapped, one swap after the other."""

    swapping: gevent.Greenlet | None = None
    ended_s: float | None = None

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there are now; None: the test is over."""
        now_s = self.get_run_time()
        if self.swapping is None:
            if now_s > STEADY_S:
                options = self.runner.environment.parsed_options
                self.swapping = gevent.spawn(_swap_all, options.home, options.swaps)
        elif self.swapping.ready():
            self.ended_s = self.ended_s or now_s
            if now_s > self.ended_s + STEADY_S:
                return None
        return USERS, USERS


class HttpCaller(HttpUser):  # type: ignore[misc]  # locust has no types
    """Asks over HTTP, in JSON."""

    wait_time = constant_throughput(CALLS_PER_S)

    @task  # type: ignore[untyped-decorator]  # locust has no types
    def infer(self) -> None:
        """Ask once."""
        path = f"/v2/models/{MODEL}/infer"
        with self.client.post(path, json=BODY, catch_response=True) as reply:
            if not reply.ok:
                reply.failure(f"{reply.status_code}: {reply.text[:200]}")
                return
            found = reply.json()
            fault = _fault(found["model_version"], found["outputs"][0]["data"])
            if fault:
                reply.failure(fault)


class GrpcCaller(User):  # type: ignore[misc]  # locust has no types
    """Asks over gRPC."""

    wait_time = constant_throughput(CALLS_PER_S)

    def on_start(self) -> None:
        """Connect."""
        address = self.environment.parsed_options.grpc_address
        self.calls = triton_grpc.InferenceServerClient(address)
        self.tensor = triton_grpc.InferInput("x", [1, 4], "FP32")
        self.tensor.set_data_from_numpy(np.zeros((1, 4), np.float32))

    def on_stop(self) -> None:
        """Disconnect."""
        self.calls.close()

    @task  # type: ignore[untyped-decorator]  # locust has no types
    def infer(self) -> None:
        """Ask once."""
        timed("gRPC", "ModelInfer", self._ask)

    def _ask(self) -> int:
        reply = self.calls.infer(MODEL, [self.tensor])
        found = reply.get_response()
        fault = _fault(found.model_version, reply.as_numpy("y").ravel().tolist())
        if fault:
            raise WrongAnswerError(fault)
        size_bytes: int = found.ByteSize()
        return size_bytes


def _swap_all(home: Path, count: int) -> None:
    for turn in range(count):
        timed("rollout", "swap", partial(_swap, home, 2 - turn % 2))


def _swap(home: Path, to: int) -> int:
    client = AdminClient(home / "run" / "admin.sock")
    number = client.start_rollout(MODEL, {"version": to, "bake_s": 0.0}).id
    while (state := client.rollout(number).rollout.state) not in ENDED:
        gevent.sleep(LOOK_S)
    if state is not RolloutState.COMPLETE:
        raise WrongAnswerError(f"rollout {number} is {state}")
    return 0


def _fault(version: str, values: list[float]) -> str:
    is_right = all(value == float(version) for value in values)
    return "" if is_right else f"wrong answer: version {version} says {values}"
