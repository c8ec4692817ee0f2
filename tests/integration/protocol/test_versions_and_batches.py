"""Which version answers, and that batches and shutdown are invisible to callers."""

import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from benchmarks.instance import running_instance
from tests.fakes import models
from tests.fakes.protocol_models import ALONE, BATCH, NO_BATCH, put
from tests.fakes.protocol_server import (
    Served,
    connected,
    grpc_request,
    json_input,
    ones,
    served_models,
    tensors,
)
from tests.fakes.worker_process import wait_until


def test_no_version_means_the_highest_of_the_policy(served: Served) -> None:
    """Version 3 is on the disk and not in the policy; an explicit version is never another one."""
    told = [
        served.ask("POST", f"/v2/models/choice{part}/infer", ones()).json()["model_version"]
        for part in ("", "/versions/1", "/versions/2")
    ]
    x = tensors(triton_grpc, ("x", np.ones((1, 16), np.float32)))
    over_grpc = [
        served.grpc.infer("choice", x, version).get_response().model_version
        for version in ("", "1", "2")
    ]

    assert told == over_grpc == ["2", "1", "2"]


def test_batches_change_no_answer(served: Served) -> None:
    """Bit for bit the same alone and among others of other sizes, on both protocols."""
    rng = np.random.default_rng(5)
    sent = [rng.random((rows, 16), np.float32) for rows in (1, 8, 3, 5, 2, 7, 4, 6) * 4]

    def ask(x: np.ndarray) -> bytes:
        return bytes(served.stub.ModelInfer(grpc_request("m a", ("x", x))).raw_output_contents[0])

    alone = [ask(x) for x in sent]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, sent))

    assert together == alone


def test_a_bad_partner_fails_alone(served: Served) -> None:
    """Calls that run in one batch with one that the engine refuses are answered."""

    def ask(index: int) -> int:
        inputs = [
            json_input("x", "FP32", (1, 4), [1.0, 2.0, 3.0, 4.0]),
            json_input("index", "INT64", (1, 1), [index]),
        ]
        reply = served.infer("picky", {"inputs": inputs})
        if reply.status != 200:
            return -reply.status
        return int(reply.json()["outputs"][0]["data"][0])

    indices = [0, 1, 9, 2, 3, 0, 9, 1] * 4
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, indices))

    assert answers == [-400 if index == 9 else index + 1 for index in indices]


@pytest.fixture(name="unready")
def with_a_broken_model(mode: str) -> Iterator[Served]:
    """A server one of whose models failed at the start."""
    with tempfile.TemporaryDirectory(prefix="protocol-") as place:
        folder = Path(place) / "m"
        put(folder, "good", models.tiny(), BATCH)
        put(folder, "bad", models.garbage(), BATCH)

        def has_failed(http: str) -> bool:
            with triton_http.InferenceServerClient(http) as client:
                try:
                    index = client.get_model_repository_index()
                except (InferenceServerException, OSError):
                    return False
            states = {entry["name"]: entry.get("state") for entry in index}
            return states == {"good": "READY", "bad": "UNAVAILABLE"}

        with (
            running_instance(
                folder, mode=mode, has_started=has_failed, server_id="mine"
            ) as instance,
            connected(instance) as served,
        ):
            yield served


@pytest.mark.front_desk("a server that wants a model which it lacks")
def test_a_server_that_lacks_a_model_is_live_and_not_ready(unready: Served) -> None:
    """Both clients see live, not ready, and which model is the one; others answer.

    Its operator gave it a name and no control over what is loaded, which is all told, too.
    """
    reply = unready.get("/v2/health/ready")

    assert (reply.status, reply.json()["ready"], reply.json()["live"]) == (400, False, True)
    assert reply.refusal() == (400, "server not ready: bad:1 is UNAVAILABLE")
    for client in unready.clients:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert (client.is_model_ready("good"), client.is_model_ready("bad")) == (True, False)
    assert unready.infer("good", ones()).status == 200
    health = unready.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert health(b"") == b"\x08\x02"  # status: NOT_SERVING
    assert unready.get("/v2").json()["name"] == unready.grpc.get_server_metadata().name == "mine"
    failed = "Request for unknown model: 'bad' version 1 is not at ready state"
    assert unready.ask("POST", "/v2/models/bad/versions/1/infer", ones()).refusal() == (503, failed)
    for client in unready.clients:
        for change in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException) as caught:
                change("good")
            assert caught.value.message() == (
                "explicit model load / unload is not allowed if polling is enabled: "
                "the mode is none; start with --model-control-mode explicit"
            )
        with pytest.raises(InferenceServerException, match="Client shared memory is disabled"):
            client.register_system_shared_memory("r", "/bascule-protocol", 64)


@pytest.fixture(name="leaving")
def to_be_ended(mode: str) -> Iterator[Served]:
    """A server that its test ends."""
    if mode != "standalone":
        pytest.skip("`bascule down` ends an instance on Ray: there is no process to signal")
    with tempfile.TemporaryDirectory(prefix="protocol-") as place:
        folder = Path(place) / "m"
        put(folder, "slow", models.slow(), NO_BATCH + ALONE)
        put(folder, "tiny", models.tiny(), BATCH)
        with served_models(mode, folder, ["slow", "tiny"]) as served:
            yield served


@pytest.mark.front_desk("the ports of a server that ends: a worker closes its own")
def test_draining_answers_what_is_in_flight(leaving: Served) -> None:
    """After SIGTERM a running call is answered, new ones get 503, and nothing is left."""
    call = grpc_request("slow", ("x", np.ones((1, 4), np.float32)), ("n", np.array([40], np.int64)))
    running = [leaving.stub.ModelInfer.future(call) for _ in range(2)]
    wait_until(lambda: leaving.waiting("slow") == 1, "one call runs and one waits")
    (parent,) = [p for p in leaving.instance.processes() if "serve" in p.cmdline()]

    parent.send_signal(signal.SIGTERM)
    wait_until(lambda: leaving.get("/v2/health/ready").status != 200, "it is not ready any more")
    wait_until(lambda: leaving.infer("tiny", ones()).status != 200, "new calls are refused")
    refused = leaving.infer("tiny", ones())
    with pytest.raises(grpc.RpcError) as caught:
        leaving.stub.ModelInfer(grpc_request("tiny", ("x", np.ones((1, 16), np.float32))))

    assert leaving.get("/v2/health/live").status == 503
    assert refused.refusal()[0] == 503
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [each.result().model_name for each in running] == ["slow", "slow"]
    psutil.wait_procs([parent], timeout=90)
