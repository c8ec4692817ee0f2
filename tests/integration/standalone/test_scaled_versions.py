"""Workers come and go with the calls of a real instance, and no call is lost on the way."""

import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from runtimes.threads import available_cpus
from tests.fakes.models import slow
from tests.fakes.standalone_server import Server, put_model, serving
from tests.fakes.steady_callers import calling

ROW = [1.0, 2.0, 3.0, 4.0]
FIRST_CALLS = re.compile(r'cause="first_call"} [1-9]')
"""It may fall asleep between two of them."""
SCALED = """
max_batch_size: 0
parameters {{ key: "min_replicas" value {{ string_value: "{least}" }} }}
parameters {{ key: "max_replicas" value {{ string_value: "2" }} }}
parameters {{ key: "scale_target_calls" value {{ string_value: "1" }} }}
parameters {{ key: "scale_down_delay" value {{ string_value: "1s" }} }}
parameters {{ key: "idle_to_zero" value {{ string_value: "2s" }} }}
"""


@contextmanager
def one_model(tmp_path_factory: pytest.TempPathFactory, least: int) -> Iterator[Server]:
    """Serve one scaled model, `m`."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, "m", content=slow())
    (repository / "m" / "config.pbtxt").write_text(SCALED.format(least=least))
    with serving(tmp_path_factory.mktemp("h"), "--model-repository", str(repository)) as server:
        yield server


def scale(server: Server) -> dict[str, object]:
    """What status says of the model's workers."""
    (found,) = server.admin("GET", "/v1/status")["scales"]  # type: ignore[misc]
    return found  # type: ignore[no-any-return]


def has_workers(server: Server, count: int) -> bool:
    """Whether so many are wanted, and no others are there."""
    workers = server.admin("GET", "/v1/status")["workers"]
    return scale(server)["wanted"] == scale(server)["ready"] == count == len(workers)  # type: ignore[arg-type]


def http_answer(server: Server, steps: int = 0, version: str = "") -> list[float]:
    """Ask over HTTP; the model takes some 50 ms for each step, and returns its input."""
    with triton_http.InferenceServerClient(server.http) as client:
        result = client.infer("m", _inputs(triton_http, steps), model_version=version)
        row: list[float] = result.as_numpy("y")[0].tolist()
        return row


def grpc_answer(server: Server, steps: int = 0) -> list[float]:
    """Ask over gRPC."""
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        row: list[float] = client.infer("m", _inputs(triton_grpc, steps)).as_numpy("y")[0].tolist()
        return row


def _inputs(client: ModuleType, steps: int) -> list[Any]:
    x, n = client.InferInput("x", [1, 4], "FP32"), client.InferInput("n", [1], "INT64")
    x.set_data_from_numpy(np.asarray([ROW], np.float32))
    n.set_data_from_numpy(np.asarray([steps], np.int64))
    return [x, n]


@pytest.mark.skipif(available_cpus() < 2, reason="a second worker needs a second CPU")
def test_a_burst_brings_a_worker_and_quiet_takes_it_away(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Callers over both transports notice neither."""
    with (
        one_model(tmp_path_factory, least=1) as server,
        calling(lambda: http_answer(server), 1) as quiet,
    ):
        server.until(lambda: has_workers(server, 1), "one worker is enough")
        with (
            calling(lambda: http_answer(server, steps=1), 3) as http,
            calling(lambda: grpc_answer(server, steps=1), 3) as grpc,
        ):
            server.until(lambda: has_workers(server, 2), "a second worker has come")
        server.until(lambda: has_workers(server, 1), "it has gone again")
        assert http
        assert grpc
        server.until(lambda: 'cause="low"}' in server.metrics(), "it is counted")
    assert all(answer == ROW for answer in [*quiet, *http, *grpc])


def test_the_first_calls_after_zero_wait_for_a_worker(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """All of them, over HTTP and over gRPC; until then the model is ready."""
    with one_model(tmp_path_factory, least=0) as server:
        assert http_answer(server) == ROW
        server.until(lambda: has_workers(server, 0), "the last worker has gone")
        with urllib.request.urlopen(f"http://{server.http}/v2/models/m/ready") as reply:
            assert reply.status == 200
        with urllib.request.urlopen(f"http://{server.http}/v2/models/m") as reply:
            assert b'"platform":"onnxruntime_onnx"' in reply.read()
        assert has_workers(server, 0)

        with ThreadPoolExecutor(24) as pool:
            http = [pool.submit(http_answer, server) for _ in range(8)]
            named = [pool.submit(http_answer, server, version="1") for _ in range(8)]
            grpc = [pool.submit(grpc_answer, server) for _ in range(8)]
        assert [task.result() for task in (*http, *named, *grpc)] == [ROW] * 24
        server.until(lambda: FIRST_CALLS.search(server.metrics()), "they are counted")


def test_a_worker_that_cannot_start_is_told_to_who_waits(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The reason is in the reply, and the call does not wait for the limit."""
    with one_model(tmp_path_factory, least=0) as server:
        http_answer(server)
        server.until(lambda: has_workers(server, 0), "the last worker has gone")
        (file,) = _model_files(server)
        file.write_bytes(b"no model")
        with pytest.raises(InferenceServerException, match=r"not at ready state: .*model"):
            http_answer(server)


def _model_files(server: Server) -> list[Path]:
    origin = server.admin("GET", "/v1/status")["versions"][0]["origin"]  # type: ignore[index]
    return list(Path(str(origin).split(" ", 1)[1]).rglob("model.onnx"))
