"""Bytes that are no HTTP, on a connection that already carries calls."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.fakes import models
from tests.fakes.worker_process import WorkerProcess, infer, running_worker, version

TINY = "/v2/models/tiny/infer"
X = np.arange(16, dtype="<f4")[None]
Y = (X @ models.WEIGHT + models.BIAS).ravel().tolist()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker that hosts one small model."""
    folder = tmp_path_factory.mktemp("worker")
    with running_worker(folder) as started:
        started.apply(version(folder, "tiny", models.tiny()))
        yield started


def test_malformed_http_does_not_take_the_reply_of_an_earlier_call(worker: WorkerProcess) -> None:
    """What came before it is answered, in order; then the connection ends."""
    with worker.client() as client:
        client.send(infer(TINY, {"x": X}) * 2 + b"\0 junk\r\n\r\n")
        assert [client.read().floats() for _ in range(2)] == [Y, Y]
        assert client.is_closed()


def test_a_malformed_chunk_is_answered_in_turn(worker: WorkerProcess) -> None:
    """The call whose body it spoils is the one that fails."""
    head = f"POST {TINY} HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    with worker.client() as client:
        client.send(infer(TINY, {"x": X}) + head.encode())
        assert client.read().floats() == Y
        reply = client.read()
        assert (reply.status, "malformed" in reply.json()["error"]) == (400, True)
