"""Who asks: users over HTTP and gRPC, by Triton's client or with bytes that were prepared once.

Imported by Locust's process only, whose sockets are gevent's. A user has one connection, asks,
waits for the answer and asks again; nothing is retried.
"""

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

import gevent
import grpc
import numpy as np
from geventhttpclient import HTTPClient
from locust import User, constant_throughput, events, task

from runtimes.datatypes import Datatype
from serving.cli.load.grpc_callers import OPTIONS
from serving.cli.locust.plan import NAMES, Plan, Transport
from serving.cli.predict_grpc import METHOD, infer_request
from serving.cli.predict_http import (
    RefusedPredictionError,
    infer_body,
    infer_headers,
    model_path,
    refusal_text,
)
from serving.cli.predict_tensors import NamedTensor

AFTER_FAILURE_S: Final = 0.01  # a refused connection must not turn into a busy loop
OK: Final = 200


class Asker(User):  # type: ignore[misc]  # locust has no types
    """A user who asks the model of the plan; how, is up to the class."""

    abstract = True
    plan: ClassVar[Plan]
    transport: ClassVar[Transport]

    def wait_time(self) -> float:
        """Return how long to wait before the next request."""
        if not self.plan.rate:
            return 0.0
        wait_s: float = constant_throughput(self.plan.rate)(self)
        return wait_s

    @task  # type: ignore[untyped-decorator]  # locust has no types
    def infer(self) -> None:
        """Ask once."""
        name = f"{self.plan.model} ({self.plan.client})"
        if not timed(NAMES[self.transport], name, self.ask):
            gevent.sleep(AFTER_FAILURE_S)

    def ask(self) -> int:
        """Ask once; return the bytes of the answer, or of its tensors where nothing else is told.

        Raises:
            Exception: Whatever the client raises when it gets no answer.
        """
        raise NotImplementedError


class RawHttpUser(Asker):
    """Posts a prepared body with binary tensors."""

    transport = Transport.HTTP

    def on_start(self) -> None:
        """Prepare the request; the first one connects."""
        body = infer_body(self.plan.tensors(), {})
        self.path = f"{model_path(self.plan.model, None)}/infer"
        self.body, self.headers = body.content, infer_headers(body)
        self.connection = HTTPClient(
            self.plan.http.host,
            self.plan.http.port,
            concurrency=1,
            connection_timeout=self.plan.limit_s,
            network_timeout=self.plan.limit_s,
        )

    def on_stop(self) -> None:
        """Disconnect."""
        self.connection.close()

    def ask(self) -> int:
        """Post the body and read the answer."""
        reply = self.connection.post(self.path, self.body, headers=self.headers)
        content: bytes = reply.read()
        if reply.status_code != OK:
            raise RefusedPredictionError(
                f"{reply.status_code}: {refusal_text(content, reply.status_code)}"
            )
        return len(content)


class RawGrpcUser(Asker):
    """Sends a prepared message, and does not parse the answer."""

    transport = Transport.GRPC

    def on_start(self) -> None:
        """Prepare the request; the first one connects."""
        self.message = infer_request(self.plan.model, None, self.plan.tensors()).SerializeToString()
        self.channel = grpc.insecure_channel(str(self.plan.grpc), OPTIONS)
        self.call = self.channel.unary_unary(METHOD)

    def on_stop(self) -> None:
        """Disconnect."""
        self.channel.close()

    def ask(self) -> int:
        """Send the message and take the answer's bytes."""
        try:
            return len(self.call(self.message, timeout=self.plan.limit_s))
        except grpc.RpcError as error:
            raise RefusedPredictionError(f"{error.code().name}: {error.details()}") from error


class TritonHttpUser(Asker):
    """Asks as an application does: by `tritonclient.http`."""

    transport = Transport.HTTP

    def on_start(self) -> None:
        """Prepare the inputs; the first request connects."""
        import tritonclient.http as triton_http  # noqa: PLC0415  only who asks by it needs it

        self.client = triton_http.InferenceServerClient(
            str(self.plan.http),
            connection_timeout=self.plan.limit_s,
            network_timeout=self.plan.limit_s,
        )
        self.inputs = [filled(triton_http.InferInput, one) for one in self.plan.tensors()]

    def on_stop(self) -> None:
        """Disconnect."""
        self.client.close()

    def ask(self) -> int:
        """Ask and parse the answer."""
        reply = self.client.infer(self.plan.model, self.inputs)
        outputs = reply.get_response()["outputs"]
        return sum(output["parameters"]["binary_data_size"] for output in outputs)


class TritonGrpcUser(Asker):
    """Asks as an application does: by `tritonclient.grpc`."""

    transport = Transport.GRPC

    def on_start(self) -> None:
        """Prepare the inputs; the first request connects."""
        import tritonclient.grpc as triton_grpc  # noqa: PLC0415  only who asks by it needs it

        self.client = triton_grpc.InferenceServerClient(
            str(self.plan.grpc), channel_args=list(OPTIONS)
        )
        self.inputs = [filled(triton_grpc.InferInput, one) for one in self.plan.tensors()]

    def on_stop(self) -> None:
        """Disconnect."""
        self.client.close()

    def ask(self) -> int:
        """Ask and parse the answer."""
        reply = self.client.infer(self.plan.model, self.inputs, client_timeout=self.plan.limit_s)
        size_bytes: int = reply.get_response().ByteSize()
        return size_bytes


def timed(kind: str, name: str, act: Callable[[], int]) -> bool:
    """Do something, and tell Locust how long it took and what went wrong; whether all was well."""
    began_s = time.monotonic()
    error: Exception | None = None
    size_bytes = 0
    try:
        size_bytes = act()
    except Exception as failure:  # noqa: BLE001  whatever a caller would see is in the report
        error = failure
    events.request.fire(
        request_type=kind,
        name=name,
        response_time=(time.monotonic() - began_s) * 1e3,
        response_length=size_bytes,
        exception=error,
        context={},
    )
    return error is None


def filled(kind: type[Any], tensor: NamedTensor) -> Any:  # noqa: ANN401  tritonclient's own
    """Return an input of Triton's client, of HTTP or of gRPC, with its values."""
    made = kind(tensor.name, list(tensor.array.shape), tensor.datatype.value)
    # Triton's client takes BF16 as FP32 and cuts it itself.
    is_bf16 = tensor.datatype is Datatype.BF16
    made.set_data_from_numpy(tensor.array.astype(np.float32) if is_bf16 else tensor.array)
    return made
