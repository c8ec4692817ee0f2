"""System shared memory through both real clients, with objects that behave badly."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import tritonclient.utils.shared_memory as triton_shm
from tritonclient.utils import InferenceServerException

from runtimes.datatypes import Datatype
from tests.fakes import models, shared_memory
from tests.fakes.standalone_server import Server, put_model, serving
from tests.integration.standalone.test_serve import until

X = np.arange(32, dtype="<f4").reshape(2, 16) / 4
Y = X @ models.WEIGHT + models.BIAS
PREFIX = "/bascule-test-"
WIRES = ("http", "grpc")


@dataclass(frozen=True, slots=True)
class Wire:
    """A client and its library."""

    client: Any
    library: Any


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that shares memory, with two workers for one model and a model of texts."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, "a")
    put_model(repository, "b")
    config = repository / "b" / "config.pbtxt"
    config.write_text(config.read_text() + "\ninstance_group [{ count: 2 kind: KIND_CPU }]")
    put_model(repository, "s", content=models.identity(Datatype.BYTES))
    home = tmp_path_factory.mktemp("h")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BASCULE_SHARED_MEMORY_PREFIXES", f'["{PREFIX}", "/dev-test-"]')
        with serving(
            home, "--model-repository", str(repository), "--system-shared-memory"
        ) as started:
            yield started


@contextmanager
def connected(server: Server, wire: str) -> Iterator[Wire]:
    """A client of one wire; nothing is registered before and after."""
    library = {"http": triton_http, "grpc": triton_grpc}[wire]
    with library.InferenceServerClient(getattr(server, wire)) as client:
        client.unregister_system_shared_memory()
        yield Wire(client, library)
        client.unregister_system_shared_memory()


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, server: Server) -> Iterator[Wire]:
    """A client of either wire."""
    with connected(server, request.param) as found:
        yield found


def asked(wire: Wire, region: str, *, size: int = 128, offset: int = 0) -> Any:  # noqa: ANN401  of either library
    """Input x, which lies in a region."""
    x = wire.library.InferInput("x", list(X.shape), "FP32")
    x.set_shared_memory(region, size, offset)
    return x


def wanted(wire: Wire, region: str, *, size: int = 32, offset: int = 0) -> Any:  # noqa: ANN401  as above
    """Output y, which shall go to a region."""
    y = wire.library.InferRequestedOutput("y")
    y.set_shared_memory(region, size, offset)
    return y


def floats(key: str, offset: int = 0) -> np.ndarray:
    """The result that lies in an object."""
    return np.frombuffer(shared_memory.get(key, 32, offset), "<f4").reshape(2, 4)


@pytest.mark.parametrize("model", ["a", "b"])
def test_tensors_go_both_ways_with_the_clients_own_module(
    wire: Wire, model: str, server: Server
) -> None:
    """Input and output in regions made by tritonclient; every worker of the model sees them."""
    key = f"{PREFIX}{model}-{os.getpid()}"
    handle = triton_shm.create_shared_memory_region("in_out", key, 1024)
    try:
        triton_shm.set_shared_memory_region(handle, [X], offset=64)
        wire.client.register_system_shared_memory("in_out", key, 1024)
        for _ in range(8):
            result = wire.client.infer(
                model,
                [asked(wire, "in_out", offset=64)],
                outputs=[wanted(wire, "in_out", offset=512)],
            )
            y = result.get_output("y")
            assert (y["shape"] if isinstance(y, dict) else list(y.shape)) == [2, 4]
            found = triton_shm.get_contents_as_numpy(handle, np.float32, [2, 4], offset=512)
            assert found.tolist() == Y.tolist()
            triton_shm.set_shared_memory_region(handle, [np.zeros(8, np.float32)], offset=512)
        del found
    finally:
        triton_shm.destroy_shared_memory_region(handle)
    assert server.answer("a")[0]


def test_input_in_memory_and_output_with_the_reply(wire: Wire) -> None:
    """Either side may stay with the request."""
    with shared_memory.shared_object(4096) as key:
        shared_memory.put(key, X.tobytes(), 1024)
        wire.client.register_system_shared_memory("r", key, 2048, offset=1024)
        assert wire.client.infer("a", [asked(wire, "r")]).as_numpy("y").tolist() == Y.tolist()
        x = wire.library.InferInput("x", [2, 16], "FP32")
        x.set_data_from_numpy(X)
        wire.client.infer("a", [x], outputs=[wanted(wire, "r", offset=256)])
        assert floats(key, 1024 + 256).tolist() == Y.tolist()


def test_texts_in_memory(wire: Wire) -> None:
    """BYTES have their lengths in the region, both ways."""
    raw = b"\x02\0\0\0ab\0\0\0\0"
    with shared_memory.shared_object(4096) as key:
        shared_memory.put(key, raw)
        wire.client.register_system_shared_memory("r", key, 4096)
        text = wire.library.InferInput("INPUT0", [1, 2], "BYTES")
        text.set_shared_memory("r", len(raw))
        out = wire.library.InferRequestedOutput("OUTPUT0")
        out.set_shared_memory("r", 100, 1000)
        wire.client.infer("s", [text], outputs=[out])
        assert shared_memory.get(key, len(raw), 1000) == raw


def test_status_and_unregister(server: Server, wire: Wire) -> None:
    """What one wire registers the other one shows; unknown names can be unregistered."""
    with shared_memory.shared_object(256) as key, connected(server, "http") as http:
        wire.client.register_system_shared_memory("r", key, 64, offset=8)
        wire.client.register_system_shared_memory("r 2", key, 256)
        entry = {"name": "r", "key": key, "offset": 8, "byte_size": 64}
        assert http.client.get_system_shared_memory_status("r") == [entry]
        assert len(http.client.get_system_shared_memory_status()) == 2
        assert http.client.get_cuda_shared_memory_status() == []
        wire.client.unregister_system_shared_memory("nobody")
        wire.client.unregister_system_shared_memory("r")
        with pytest.raises(InferenceServerException) as caught:
            wire.client.get_system_shared_memory_status("r")
        assert caught.value.message() == "Unable to find system shared memory region: 'r'"
        with pytest.raises(InferenceServerException) as caught:
            wire.client.infer("a", [asked(wire, "r")])
        assert caught.value.message() == "Unable to find shared memory region: 'r'"
        assert caught.value.status() in {"404", "StatusCode.NOT_FOUND"}


def test_metadata_lists_the_extension(wire: Wire) -> None:
    """Only what is on is listed."""
    metadata = wire.client.get_server_metadata()
    extensions = metadata["extensions"] if isinstance(metadata, dict) else metadata.extensions
    assert "system_shared_memory" in extensions
    assert "cuda_shared_memory" not in extensions


REGISTRATIONS = {
    "missing": (PREFIX + "nobody", 64, 0, "Unable to open shared memory region: '/bascule-test-no"),
    "not allowed": ("/psm_1", 64, 0, "keys that start with /bascule-test- or /dev-test-"),
    "folder": (PREFIX + "a/../../etc/passwd", 64, 0, "without slashes"),
    "parent": ("..", 64, 0, "without slashes"),
    "too long": (PREFIX + "a" * 300, 64, 0, "255 bytes at most"),
    "too much": (None, 257, 0, "failed to register shared memory region 'r': invalid args"),
    "offset": (None, 1, 256, "failed to register shared memory region 'r': invalid args"),
    "overflow": (None, 2**63, 2**63, "failed to register shared memory region 'r': invalid args"),
    "large offset": (None, 64, 2**64 - 32, "failed to register shared memory region 'r'"),
    "nothing": (None, 0, 0, "failed to register shared memory region 'r': invalid args"),
}


@pytest.mark.parametrize(
    ("given", "size", "offset", "text"), REGISTRATIONS.values(), ids=REGISTRATIONS
)
def test_registrations_that_are_refused(
    wire: Wire, given: str | None, size: int, offset: int, text: str
) -> None:
    """Range, key and allow-list are checked; nothing is registered, and the text says why."""
    with shared_memory.shared_object(256) as key:
        with pytest.raises(InferenceServerException, match=text[:20]) as caught:
            wire.client.register_system_shared_memory("r", given or key, size, offset=offset)
        assert text in caught.value.message()
        assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}
        wire.client.register_system_shared_memory("r", key, 256)


def test_a_name_is_taken_once(wire: Wire) -> None:
    """The second registration of a name is refused with the protocol's code."""
    with shared_memory.shared_object(256) as key:
        wire.client.register_system_shared_memory("r", key, 64)
        with pytest.raises(InferenceServerException, match="'r' already in manager") as caught:
            wire.client.register_system_shared_memory("r", key, 64)
        assert caught.value.status() in {"400", "StatusCode.ALREADY_EXISTS"}


@pytest.mark.parametrize(
    ("size", "offset", "text"),
    [
        (128, 4096 - 64, "Invalid offset + byte size for shared memory region: 'r'"),
        (128, 4097, "Invalid offset for shared memory region: 'r'"),
        (128, 2**62, "Invalid offset for shared memory region: 'r'"),
        (2**62, 0, "Invalid offset + byte size for shared memory region: 'r'"),
        (64, 0, "input byte size mismatch for input 'x' for model 'a'. Expected 128, got 64"),
    ],
)
def test_uses_that_are_refused(wire: Wire, size: int, offset: int, text: str) -> None:
    """A part outside of the region, or of another size than the tensor, is read by nobody."""
    with shared_memory.shared_object(8192) as key:
        wire.client.register_system_shared_memory("r", key, 4096)
        with pytest.raises(InferenceServerException) as caught:
            wire.client.infer("a", [asked(wire, "r", size=size, offset=offset)])
        assert text in caught.value.message()
        assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}


@pytest.mark.parametrize(
    ("size", "offset", "text"),
    [
        (32, 4096 - 16, "Invalid offset + byte size for shared memory region: 'r'"),
        (32, 4097, "Invalid offset for shared memory region: 'r'"),
        (2**62, 0, "Invalid offset + byte size for shared memory region: 'r'"),
    ],
)
def test_results_outside_of_a_region_are_refused(
    wire: Wire, size: int, offset: int, text: str
) -> None:
    """A result goes to no byte that was not registered."""
    with shared_memory.shared_object(8192) as key:
        shared_memory.put(key, X.tobytes())
        wire.client.register_system_shared_memory("r", key, 4096)
        with pytest.raises(InferenceServerException) as caught:
            wire.client.infer(
                "a", [asked(wire, "r")], outputs=[wanted(wire, "r", size=size, offset=offset)]
            )
        assert text in caught.value.message()
        assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}
        assert shared_memory.get(key, 64, 4096 - 16) == bytes(64)


@pytest.mark.parametrize(("size", "offset"), [(-1, 0), (128, -1), (-(2**63), 0)])
def test_negative_ranges_are_refused(wire: Wire, size: int, offset: int) -> None:
    """Both clients send them as they are; it is the caller's mistake."""
    with shared_memory.shared_object(256) as key:
        wire.client.register_system_shared_memory("r", key, 256)
        with pytest.raises(InferenceServerException) as caught:
            wire.client.infer("a", [asked(wire, "r", size=size, offset=offset)])
        assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}


def test_an_output_that_does_not_fit(wire: Wire) -> None:
    """The text names both sizes, and nothing is written."""
    with shared_memory.shared_object(256) as key:
        shared_memory.put(key, X.tobytes())
        wire.client.register_system_shared_memory("r", key, 256)
        with pytest.raises(InferenceServerException) as caught:
            wire.client.infer("a", [asked(wire, "r")], outputs=[wanted(wire, "r", size=4)])
        assert (
            "shared memory size specified with the request for output 'y' (4 bytes) should be at "
            "least 32 bytes to hold the results"
        ) in caught.value.message()


def test_an_object_that_became_shorter_ends_nobody(server: Server, wire: Wire) -> None:
    """Reading and writing behind its new end is an error; no worker dies of it."""
    before = server.worker_pids()
    with shared_memory.shared_object(8192) as key:
        wire.client.register_system_shared_memory("r", key, 8192)
        shared_memory.truncate(key, 100)
        for part in ({"offset": 4096}, {"offset": 0}):
            with pytest.raises(InferenceServerException, match="shorter"):
                wire.client.infer("a", [asked(wire, "r", **part)])
        x = wire.library.InferInput("x", [2, 16], "FP32")
        x.set_data_from_numpy(X)
        with pytest.raises(InferenceServerException, match="shorter"):
            wire.client.infer("a", [x], outputs=[wanted(wire, "r", offset=4096)])
    assert server.worker_pids() == before


def test_an_object_that_lost_its_name_is_still_there(wire: Wire) -> None:
    """Who registered it may unlink it, as with a mapping; a new one of its key is another."""
    with shared_memory.shared_object(256) as key:
        shared_memory.put(key, X.tobytes())
        wire.client.register_system_shared_memory("r", key, 256)
        shared_memory.unlink(key)
        assert wire.client.infer("a", [asked(wire, "r")]).as_numpy("y").tolist() == Y.tolist()


def test_a_restarted_worker_knows_every_region(server: Server, wire: Wire) -> None:
    """The first call that a new process takes finds the region."""
    with shared_memory.shared_object(256) as key:
        shared_memory.put(key, X.tobytes())
        wire.client.register_system_shared_memory("r", key, 256)
        killed = server.worker_pids()["s1"]
        os.kill(killed, signal.SIGKILL)
        until(lambda: server.worker_pids()["s1"] not in {killed, 0}, "another process")
        answers: list[Any] = []
        refusals: list[str] = []

        def is_answered() -> bool:
            try:
                answers.append(wire.client.infer("a", [asked(wire, "r")]).as_numpy("y"))
            except InferenceServerException as error:
                refusals.append(str(error))
            return bool(answers)

        until(is_answered, "an answer")
        assert answers[0].tolist() == Y.tolist()
        assert not [text for text in refusals if "shared memory region" in text]


def test_cuda_regions_are_refused(wire: Wire) -> None:
    """Unregistering succeeds, registering says what to do instead."""
    wire.client.unregister_cuda_shared_memory()
    with pytest.raises(InferenceServerException, match="CUDA shared memory is disabled"):
        wire.client.register_cuda_shared_memory("c", b"AA==", 0, 64)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as it is started without a flag."""
    repository = tmp_path_factory.mktemp("plain")
    put_model(repository, "a")
    with serving(tmp_path_factory.mktemp("h"), "--model-repository", str(repository)) as started:
        yield started


@pytest.mark.parametrize("name", WIRES)
def test_with_shared_memory_off(plain: Server, name: str) -> None:
    """Registration is refused in the protocol's words, and nothing is listed."""
    with connected(plain, name) as off:
        with pytest.raises(InferenceServerException) as caught:
            off.client.register_system_shared_memory("r", "/r", 64)
        assert caught.value.message().startswith("Client shared memory is disabled.")
        assert caught.value.status() in {"501", "StatusCode.UNIMPLEMENTED"}
        with pytest.raises(InferenceServerException, match="Unable to find shared memory"):
            off.client.infer("a", [asked(off, "r")])
