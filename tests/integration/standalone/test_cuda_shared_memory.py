"""CUDA shared memory through both real clients and a real server, over a stand-in for CUDA."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.fakes import cuda_stand_in, models, shared_memory
from tests.fakes.cuda_stand_in import device_memory, encoded, handle_of
from tests.fakes.standalone_server import Server, put_model, serving

X = np.arange(32, dtype="<f4").reshape(2, 16) / 4
Y = X @ models.WEIGHT + models.BIAS
LIBRARIES = {"http": triton_http, "grpc": triton_grpc}
ON_CPU = "\ninstance_group [{ kind: KIND_CPU }]"
REFUSED = {"400", "StatusCode.INVALID_ARGUMENT"}


def repository(folder: Path) -> Path:
    """One model that stays on the CPU, whatever GPUs there seem to be."""
    put_model(folder, "a")
    config = folder / "a" / "config.pbtxt"
    config.write_text(config.read_text() + ON_CPU)
    return folder


@contextmanager
def server_with(factory: pytest.TempPathFactory, gpus: str, *flags: str) -> Iterator[Server]:
    """A server that believes in some GPUs, with the stand-in for CUDA."""
    libraries = cuda_stand_in.build(factory.mktemp("cuda"))
    models_folder = repository(factory.mktemp("models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_LIBRARY_PATH", cuda_stand_in.library_path(libraries))
        patch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        with serving(
            factory.mktemp("h"), "--model-repository", str(models_folder), *flags
        ) as started:
            yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that shares memory on two GPUs, which it counts in its own order."""
    flags = ("--cuda-shared-memory", "--system-shared-memory")
    with server_with(tmp_path_factory, "3,1", *flags) as started:
        yield started


@pytest.fixture(params=LIBRARIES)
def wire(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401  a module without types
    """Either client library."""
    return LIBRARIES[request.param]


@pytest.fixture
def client(wire: Any, server: Server) -> Iterator[Any]:  # noqa: ANN401  as above
    """A client of it; nothing is registered before and after."""
    address = server.http if wire is triton_http else server.grpc
    with wire.InferenceServerClient(address) as connected:
        connected.unregister_cuda_shared_memory()
        connected.unregister_system_shared_memory()
        yield connected
        connected.unregister_cuda_shared_memory()
        connected.unregister_system_shared_memory()


@pytest.fixture
def key() -> Iterator[str]:
    """Memory on a GPU, which begins with the input."""
    with device_memory(4096) as made:
        shared_memory.put(made, X.tobytes())
        yield made


def asked(wire: Any, size: int = 128, offset: int = 0) -> list[Any]:  # noqa: ANN401  as above
    """Input x in region r."""
    x = wire.InferInput("x", list(X.shape), "FP32")
    x.set_shared_memory("r", size, offset)
    return [x]


def wanted(wire: Any, size: int = 32, offset: int = 0) -> list[Any]:  # noqa: ANN401  as above
    """Output y in region r."""
    y = wire.InferRequestedOutput("y")
    y.set_shared_memory("r", size, offset)
    return [y]


def test_tensors_go_both_ways(wire: Any, client: Any, key: str) -> None:  # noqa: ANN401  as above
    """Input and output lie in one region on a GPU; the reply has no tensor bytes."""
    client.register_cuda_shared_memory("r", encoded(handle_of(key, 3)), 0, 4096)
    result = client.infer("a", asked(wire), outputs=wanted(wire, offset=1024))
    assert np.frombuffer(shared_memory.get(key, 32, 1024), "<f4").tolist() == Y.ravel().tolist()
    y = result.get_output("y")
    assert (y["shape"] if isinstance(y, dict) else list(y.shape)) == [2, 4]


def test_either_side_may_stay_with_the_request(wire: Any, client: Any, key: str) -> None:  # noqa: ANN401
    """Input from a GPU with an output in the reply, and the reverse; on the second GPU."""
    client.register_cuda_shared_memory("r", encoded(handle_of(key, 1)), 1, 4096)
    assert client.infer("a", asked(wire)).as_numpy("y").tolist() == Y.tolist()
    x = wire.InferInput("x", [2, 16], "FP32")
    x.set_data_from_numpy(X)
    client.infer("a", [x], outputs=wanted(wire, offset=2048))
    assert np.frombuffer(shared_memory.get(key, 32, 2048), "<f4").tolist() == Y.ravel().tolist()


def test_a_region_of_the_other_kind_is_told(client: Any, key: str) -> None:  # noqa: ANN401  as above
    """Who asks for the status of system shared memory by a GPU region's name reads what it is."""
    client.register_cuda_shared_memory("r", encoded(handle_of(key, 3)), 0, 4096)
    with pytest.raises(InferenceServerException) as caught:
        client.get_system_shared_memory_status("r")
    assert caught.value.message() == (
        "The region named 'r' is registered as CUDA shared memory, not system shared memory"
    )
    client.unregister_cuda_shared_memory("r")
    with pytest.raises(InferenceServerException) as caught:
        client.get_cuda_shared_memory_status("r")
    assert caught.value.message() == "Unable to find cuda shared memory region: 'r'"


def test_unregistered_memory_is_given_back(
    server: Server,
    wire: Any,  # noqa: ANN401  as above
    client: Any,  # noqa: ANN401  as above
    key: str,
) -> None:
    """The worker has it open between register and unregister, and no longer."""
    worker = server.worker_of("a")
    client.register_cuda_shared_memory("r", encoded(handle_of(key, 3)), 0, 4096)
    assert cuda_stand_in.holds(worker, key)
    client.unregister_cuda_shared_memory("nobody")
    client.unregister_system_shared_memory("r")
    assert cuda_stand_in.holds(worker, key)
    client.unregister_cuda_shared_memory("r")
    assert not cuda_stand_in.holds(worker, key)
    with pytest.raises(InferenceServerException, match="Unable to find shared memory region"):
        client.infer("a", asked(wire))


def test_status_tells_both_kinds_apart(server: Server, client: Any, key: str) -> None:  # noqa: ANN401
    """Each kind has its own list, and names are taken once for both."""
    with triton_http.InferenceServerClient(server.http) as http:
        client.register_cuda_shared_memory("r", encoded(handle_of(key, 1)), 1, 64)
        assert http.get_cuda_shared_memory_status("r") == [
            {"name": "r", "device_id": 1, "byte_size": 64}
        ]
        assert http.get_system_shared_memory_status() == []
        with pytest.raises(InferenceServerException, match="registered as CUDA shared memory"):
            client.get_system_shared_memory_status("r")
        with pytest.raises(InferenceServerException, match="Unable to find cuda shared memory"):
            client.get_cuda_shared_memory_status("q")
        with pytest.raises(InferenceServerException, match="'r' already in manager"):
            client.register_system_shared_memory("r", key, 64)


def test_the_extension_is_listed(client: Any) -> None:  # noqa: ANN401  as above
    """Clients see that it is on."""
    metadata = client.get_server_metadata()
    extensions = metadata["extensions"] if isinstance(metadata, dict) else metadata.extensions
    assert "cuda_shared_memory" in extensions


REGISTRATIONS = {
    "short handle": (lambda key: handle_of(key, 3)[:63], 0, 64, "64 bytes expected, got 63"),
    "no handle": (lambda _: b"", 0, 64, "64 bytes expected, got 0"),
    "nobody's": (lambda _: handle_of("/bascule-gpu-none", 3), 0, 64, "invalid argument (CUDA err"),
    "other GPU's": (lambda key: handle_of(key, 1), 0, 64, "invalid resource handle (CUDA error"),
    "too large": (lambda key: handle_of(key, 3), 0, 4097, "byte size 4097, and 4096 are allocated"),
    "huge": (lambda key: handle_of(key, 3), 0, 2**64 - 1, "invalid args (byte size 18446744073709"),
    "nothing": (lambda key: handle_of(key, 3), 0, 0, "invalid args (byte size 0)"),
    "no such GPU": (lambda key: handle_of(key, 3), 2, 64, "device id 2, and this server sees the"),
}


@pytest.mark.parametrize(
    ("handle", "device", "size", "text"), REGISTRATIONS.values(), ids=REGISTRATIONS
)
def test_registrations_that_are_refused(
    client: Any,  # noqa: ANN401  as above
    key: str,
    handle: Any,  # noqa: ANN401  a function of the key
    device: int,
    size: int,
    text: str,
) -> None:
    """The text says why, nothing stays registered, and the name is free."""
    with pytest.raises(InferenceServerException) as caught:
        client.register_cuda_shared_memory("r", encoded(handle(key)), device, size)
    assert text in caught.value.message()
    assert caught.value.status() in REFUSED
    client.register_cuda_shared_memory("r", encoded(handle_of(key, 3)), 0, 4096)


def test_a_negative_device_is_refused(server: Server) -> None:
    """GRPC carries signed numbers, JSON says that it wants none."""
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        with pytest.raises(InferenceServerException, match="device id -1") as caught:
            client.register_cuda_shared_memory("r", encoded(bytes(64)), -1, 64)
        assert caught.value.status() in REFUSED


def posted(server: Server, body: object) -> tuple[int, str]:
    """Status and error of a registration over plain HTTP."""
    request = urllib.request.Request(
        f"http://{server.http}/v2/cudasharedmemory/region/r/register",
        json.dumps(body).encode(),
        method="POST",
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)  # noqa: S310  as above
    with caught.value as reply:
        return reply.code, json.loads(reply.read())["error"]


RAW = {"b64": encoded(bytes(64)).decode()}
BODIES = {
    "nothing": ({}, "Unable to parse 'byte_size'"),
    "no device": ({"raw_handle": RAW, "byte_size": 64}, "Unable to parse 'device_id'"),
    "no handle": ({"device_id": 0, "byte_size": 64}, "has no 'raw_handle' field"),
    "bare handle": ({"raw_handle": "AA", "device_id": 0, "byte_size": 64}, "parse 'b64'"),
    "number": ({"raw_handle": {"b64": 1}, "device_id": 0, "byte_size": 64}, "parse 'b64'"),
    "no base64": (
        {"raw_handle": {"b64": "*"}, "device_id": 0, "byte_size": 64},
        "must be a valid base64 encoded cudaIpcMemHandle_t",
    ),
    "negative": ({"raw_handle": RAW, "device_id": -1, "byte_size": 64}, "parse 'device_id'"),
    "text": ({"raw_handle": RAW, "device_id": 0, "byte_size": "64"}, "parse 'byte_size'"),
}


@pytest.mark.parametrize(("body", "text"), BODIES.values(), ids=BODIES)
def test_bodies_that_are_refused(server: Server, body: object, text: str) -> None:
    """What no client library would send is answered by name."""
    status, error = posted(server, body)
    assert status == 400
    assert text in error


@pytest.mark.parametrize(
    ("size", "offset", "text"),
    [
        (128, 1024 - 64, "Invalid offset + byte size for shared memory region: 'r'"),
        (128, 1025, "Invalid offset for shared memory region: 'r'"),
        (2**62, 0, "Invalid offset + byte size for shared memory region: 'r'"),
        (64, 0, "input byte size mismatch for input 'x' for model 'a'. Expected 128, got 64"),
    ],
)
def test_uses_that_are_refused(
    wire: Any,  # noqa: ANN401  as above
    client: Any,  # noqa: ANN401  as above
    key: str,
    size: int,
    offset: int,
    text: str,
) -> None:
    """What was registered bounds what is copied, though more was allocated."""
    client.register_cuda_shared_memory("r", encoded(handle_of(key, 3)), 0, 1024)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("a", asked(wire, size, offset))
    assert text in caught.value.message()
    assert caught.value.status() in REFUSED


def test_an_output_that_does_not_fit(wire: Any, client: Any, key: str) -> None:  # noqa: ANN401
    """Nothing is written, and the text names both sizes."""
    client.register_cuda_shared_memory("r", encoded(handle_of(key, 3)), 0, 4096)
    with pytest.raises(InferenceServerException, match=r"'y' \(4 bytes\) should be at least 32"):
        client.infer("a", asked(wire), outputs=wanted(wire, 4, 1024))
    assert shared_memory.get(key, 32, 1024) == bytes(32)


def test_a_restarted_worker_opens_every_region(
    server: Server,
    wire: Any,  # noqa: ANN401  as above
    client: Any,  # noqa: ANN401  as above
    key: str,
) -> None:
    """The first call that a new process takes finds the region."""
    client.register_cuda_shared_memory("r", encoded(handle_of(key, 3)), 0, 4096)
    killed = server.worker_of("a")
    os.kill(killed, signal.SIGKILL)
    server.until(lambda: server.worker_of("a") not in {killed, 0}, "another process")
    answers: list[Any] = []
    refusals: list[str] = []

    def is_answered() -> bool:
        try:
            answers.append(client.infer("a", asked(wire)).as_numpy("y"))
        except InferenceServerException as error:
            refusals.append(str(error))
        return bool(answers)

    server.until(is_answered, "an answer")
    assert answers[0].tolist() == Y.tolist()
    assert not [text for text in refusals if "shared memory region" in text]


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that was told to share memory of GPUs, and sees none."""
    with server_with(tmp_path_factory, "", "--cuda-shared-memory") as started:
        yield started


def test_a_machine_without_gpus_says_so(poor: Server, wire: Any) -> None:  # noqa: ANN401  as above
    """Registering is refused with what is missing and what to do; all else works."""
    address = poor.http if wire is triton_http else poor.grpc
    with wire.InferenceServerClient(address) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.register_cuda_shared_memory("r", encoded(bytes(64)), 0, 64)
        assert "this server sees no NVIDIA GPU: install the driver" in caught.value.message()
        assert caught.value.status() in REFUSED
        with pytest.raises(InferenceServerException, match="Client shared memory is disabled"):
            client.register_system_shared_memory("r", "/r", 64)
    assert poor.answer("a")[1] == "1"
