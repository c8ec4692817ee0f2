"""A real worker process for tests, and a client that writes and reads raw HTTP/1.1."""

import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec
import numpy as np

from serving.registry.version import ServingPolicy, VersionSpec
from serving.worker.control import ApplyRequest
from tests.fakes.waiting import until

PATIENCE_S = 90.0


@dataclass
class Reply:
    """One HTTP/1.1 reply."""

    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:  # noqa: ANN401  whatever the body says
        """Parse the body, or its JSON header."""
        length = self.headers.get("inference-header-content-length")
        return json.loads(self.body[: int(length)] if length else self.body)

    def floats(self) -> list[float]:
        """Return the binary tail as FP32."""
        start = int(self.headers["inference-header-content-length"])
        return np.frombuffer(self.body[start:], "<f4").tolist()


class RawClient:
    """One connection."""

    def __init__(self, address: tuple[str, int] | str, *, receive_bytes: int = 0) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE_S)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self._file: BinaryIO = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self.socket.close()

    def send(self, raw: bytes) -> None:
        """Write bytes."""
        self.socket.sendall(raw)

    def ask(self, raw: bytes) -> Reply:
        """Write a request and read its reply."""
        self.send(raw)
        return self.read()

    def line(self) -> bytes:
        """Read one line."""
        return self._file.readline()

    def read(self) -> Reply:
        """Read one reply."""
        status = int(self._file.readline().split()[1])
        headers = self._headers()
        trailers: dict[str, str] = {}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._file.readline(), 16):
                body += self._file.read(size)
                self._file.readline()
            trailers = self._headers()
        else:
            body = self._file.read(int(headers.get("content-length", "0")))
        return Reply(status, headers, body, trailers)

    def is_closed(self) -> bool:
        """Return whether the other side has closed, after waiting for it."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers


def request(
    target: str, body: bytes = b"", *, method: str = "POST", headers: Sequence[str] = ()
) -> bytes:
    """Build a request with a Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", "host: test", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def infer(
    target: str,
    tensors: dict[str, np.ndarray[Any, Any]],
    *,
    headers: Sequence[str] = (),
    timeout_us: int = 0,
    request_id: str = "",
) -> bytes:
    """Build an infer request with binary tensors in and out."""
    head, tail = infer_body(tensors, timeout_us=timeout_us, request_id=request_id)
    return request(
        target, head + tail, headers=(f"inference-header-content-length: {len(head)}", *headers)
    )


def infer_body(
    tensors: dict[str, np.ndarray[Any, Any]], *, timeout_us: int = 0, request_id: str = ""
) -> tuple[bytes, bytes]:
    """Build JSON header and binary tail of an infer request."""
    names = {"f": "FP32", "i": "INT64"}
    described = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": names[array.dtype.kind],
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in tensors.items()
    ]
    parameters: dict[str, object] = {"binary_data_output": True}
    if timeout_us:
        parameters["timeout"] = timeout_us
    document: dict[str, object] = {"inputs": described, "parameters": parameters}
    if request_id:
        document["id"] = request_id
    return json.dumps(document).encode(), b"".join(array.tobytes() for array in tensors.values())


def grpc_infer(
    model: str, name: str, array: np.ndarray[Any, Any], *, headers: Sequence[str] = ()
) -> bytes:
    """Build a ModelInfer request of one FP32 input, as the edge forwards it."""
    shape = b"".join(_varint(size) for size in array.shape)
    entry = _field(1, name.encode()) + _field(2, b"FP32") + _field(3, shape)
    message = _field(1, model.encode()) + _field(5, entry) + _field(7, array.tobytes())
    return request(
        "/inference.GRPCInferenceService/ModelInfer",
        b"\0" + struct.pack(">I", len(message)) + message,
        headers=("content-type: application/grpc", "te: trailers", *headers),
    )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


class WorkerProcess:
    """A running worker."""

    def __init__(self, process: subprocess.Popen[bytes], socket_path: Path, port: int) -> None:
        self.process = process
        self.socket_path = socket_path
        self.address = ("127.0.0.1", port)

    def client(self, *, receive_bytes: int = 0) -> RawClient:
        """Connect by TCP."""
        return RawClient(self.address, receive_bytes=receive_bytes)

    def local(self) -> RawClient:
        """Connect by the unix socket."""
        return RawClient(str(self.socket_path))

    def apply(self, *versions: VersionSpec) -> list[dict[str, Any]]:
        """Say what it shall host; return the lines that it answers when all is done."""
        with self.local() as client:
            reply = client.ask(apply_request(*versions))
        assert reply.status == 200, reply
        lines = [json.loads(line) for line in reply.body.splitlines()]
        assert lines.pop() == {}
        return lines

    def state(self) -> dict[str, Any]:
        """Return its report."""
        with self.local() as client:
            return client.ask(request("/worker/state", method="GET")).json()

    def statistics(self, model: str) -> dict[str, Any]:
        """Return a model's statistics."""
        with self.client() as client:
            reply = client.ask(request(f"/v2/models/{model}/stats", method="GET"))
        return reply.json()["model_stats"][0]

    def stop(self) -> int:
        """End it in order; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def apply_request(*versions: VersionSpec) -> bytes:
    """Build the request that says what a worker shall host."""
    return request("/worker/apply", msgspec.json.encode(ApplyRequest(versions=versions)))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return when a condition holds, which may be for a short time only."""
    until(condition, what, limit_s=PATIENCE_S, pause_s=0.005)


@contextmanager
def running_worker(
    folder: Path, *flags: str, stdin: int | None = None, program: str = "serving.worker"
) -> Iterator[WorkerProcess]:
    """Start a worker on a free port and a unix socket; it is gone at the end."""
    socket_path = folder / "w.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", program, "--socket", str(socket_path),
         "--tcp", "127.0.0.1:0", *flags],
        stderr=subprocess.PIPE,
        stdin=stdin,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        port = 0
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "worker_listening":
                port = int(event["addresses"][-1].rpartition(":")[2])
                break
        assert port, "the worker did not start"
        yield WorkerProcess(process, socket_path, port)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        if process.stdin is not None:
            process.stdin.close()


def version(
    folder: Path,
    model: str,
    content: bytes,
    *,
    number: int = 1,
    **policy: Any,  # noqa: ANN401  fields of ServingPolicy
) -> VersionSpec:
    """Write a model file and describe it as a version."""
    place = folder / f"{abs(hash((model, number, content)))}.onnx"
    place.write_bytes(content)
    return VersionSpec(
        model=model,
        version=number,
        file=str(place),
        format="onnx",
        size_bytes=len(content),
        digest=place.name,
        origin="test",
        policy=ServingPolicy(threads=1, **policy),
    )
