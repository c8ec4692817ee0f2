"""A server that is asked what the protocol promises, over sockets, by raw bytes and by clients."""

import http.client
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

from benchmarks.instance import Instance, running_instance
from tests.fakes.protocol_models import loaded_names, write_models

LIMIT_S = 90
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401  whatever the body says
        """Parse the body, or its JSON header."""
        length = self.headers.get("inference-header-content-length")
        return json.loads(self.body[: int(length)] if length else self.body)

    @property
    def tail(self) -> bytes:
        """The bytes behind the JSON header."""
        return self.body[int(self.headers["inference-header-content-length"]) :]

    def refusal(self) -> tuple[int, str]:
        """Return status and error text; the body must have the form of every error."""
        assert self.headers["content-type"] == "application/json"
        assert "content-encoding" not in self.headers
        text = json.loads(self.body)["error"]
        assert isinstance(text, str)
        return self.status, text


@dataclass(frozen=True)
class Served:
    """A running server and one client of each kind."""

    instance: Instance
    http: triton_http.InferenceServerClient
    grpc: triton_grpc.InferenceServerClient
    stub: service_pb2_grpc.GRPCInferenceServiceStub
    """Sends messages that no client would."""
    channel: grpc.Channel

    @property
    def clients(self) -> tuple[Any, Any]:
        """Both of tritonclient's."""
        return self.http, self.grpc

    def ask(
        self,
        method: str,
        path: str,
        body: object = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one HTTP request on a connection of its own; a body that is no bytes goes as JSON.

        An iterable of bytes goes in chunks.
        """
        content: Any = body
        if isinstance(body, dict | list | str | int | float | bool | None):
            content = json.dumps(body).encode()
        with closing(http.client.HTTPConnection(self.instance.http, timeout=LIMIT_S)) as connection:
            connection.request(method, path, content, dict(headers or {}))
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, found, reply.read())

    def get(self, path: str) -> Reply:
        """GET a path."""
        return self.ask("GET", path)

    def infer(self, model: str, document: object, tail: bytes = b"", **headers: str) -> Reply:
        """POST an infer request; with a tail, its JSON is the header."""
        text = json.dumps(document).encode()
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        if tail:
            more.setdefault("Inference-Header-Content-Length", str(len(text)))
        return self.ask("POST", f"/v2/models/{model}/infer", text + tail, more)

    def grpc_refusal(self, request: pb.ModelInferRequest) -> tuple[grpc.StatusCode, str]:
        """Send a call that must fail; return its status and message."""
        try:
            self.stub.ModelInfer(request, timeout=LIMIT_S)
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError("the call was answered")

    def statistics(self, model: str, version: str = "") -> dict[str, Any]:
        """Return the statistics of a model's only, or given, version."""
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/stats"
        (found,) = self.get(path).json()["model_stats"]
        counted: dict[str, Any] = found
        return counted

    def waiting(self, model: str) -> float:
        """Return how many accepted calls of a model do not run yet."""
        return self.metric("nv_inference_pending_request_count", model=model)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        host, _, port = self.instance.metrics.partition(":")
        with closing(http.client.HTTPConnection(host, int(port), timeout=LIMIT_S)) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith((f"{name}{{", f"{name} ")) and all(each in line for each in wanted)
        )


@contextmanager
def served_models(mode: str, folder: Path, names: Sequence[str]) -> Iterator[Served]:
    """Serve a repository's models, in control of operators, with all extensions on.

    `mode` is `standalone` or `ray`.
    """
    with (
        running_instance(
            folder,
            mode=mode,
            model_control_mode="explicit",
            load_model=json.dumps(list(names)),
            allow_load_overrides="true",
            system_shared_memory="true",
        ) as instance,
        connected(instance) as served,
    ):
        yield served


@contextmanager
def served_protocol_models(mode: str) -> Iterator[Served]:
    """Serve the protocol's models."""
    with tempfile.TemporaryDirectory(prefix="protocol-") as place:
        folder = Path(place) / "m"
        write_models(folder)
        with served_models(mode, folder, loaded_names(folder)) as served:
            yield served


@contextmanager
def connected(instance: Instance) -> Iterator[Served]:
    """Connect one client of each kind."""
    with (
        triton_http.InferenceServerClient(instance.http) as over_http,
        triton_grpc.InferenceServerClient(instance.grpc) as over_grpc,
        grpc.insecure_channel(instance.grpc, options=UNLIMITED) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        yield Served(instance, over_http, over_grpc, stub, channel)


def json_input(
    name: str, datatype: str, shape: Sequence[int], data: object, **parameters: object
) -> dict[str, object]:
    """Build one input of a JSON request; without data for None."""
    tensor: dict[str, object] = {"name": name, "datatype": datatype, "shape": list(shape)}
    if data is not None:
        tensor["data"] = data
    return tensor | ({"parameters": parameters} if parameters else {})


def ones(rows: int = 1, **more: object) -> dict[str, object]:
    """Build a JSON request to `tiny` of so many rows of ones."""
    return {"inputs": [json_input("x", "FP32", (rows, 16), [1.0] * 16 * rows)], **more}


def grpc_request(model: str, *inputs: tuple[str, np.ndarray[Any, Any]]) -> pb.ModelInferRequest:
    """Build a call of raw tensors."""
    call = pb.ModelInferRequest(model_name=model)
    for name, array in inputs:
        call.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        call.raw_input_contents.append(array.tobytes())
    return call


def tensors(library: Any, *inputs: tuple[str, np.ndarray[Any, Any]]) -> list[Any]:  # noqa: ANN401  tritonclient has no types
    """Build the inputs of a call of `tritonclient.http` or `tritonclient.grpc`."""
    made = []
    for name, array in inputs:
        tensor = library.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made
