"""One running `bascule serve` for every attack, which must still answer right after each."""

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from runtimes.datatypes import Datatype
from tests.fakes import models
from tests.fakes.standalone_server import Server, put_model, serving

X = np.arange(16, dtype="<f4")[None] / 4
Y = (X @ models.WEIGHT + models.BIAS).ravel().tolist()


@pytest.fixture(scope="package")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a model of numbers, `a`, and one of texts, `s`."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, "a")
    put_model(repository, "s", content=models.identity(Datatype.BYTES))
    mode = ("--model-control-mode", "explicit", "--load-model", "*")
    with serving(
        tmp_path_factory.mktemp("h"), "--model-repository", str(repository), *mode
    ) as server:
        yield server


@pytest.fixture
def server(attacked: Server) -> Iterator[Server]:
    """The server; when the attack is over its processes are the same, and it answers right."""
    before = attacked.worker_pids()
    yield attacked
    assert attacked.worker_pids() == before
    assert attacked.answer("a")[0] == [0.5 * k + w for k, w in enumerate(models.WEIGHT.sum(axis=0))]
    with triton_grpc.InferenceServerClient(attacked.grpc) as client:
        x = triton_grpc.InferInput("x", [1, 16], "FP32")
        x.set_data_from_numpy(X)
        assert client.infer("a", [x]).as_numpy("y")[0].tolist() == Y
        assert client.is_server_ready()
