"""A stand-in for what the edge does to gRPC: calls come in over HTTP/2 and go on over HTTP/1.1.

A worker takes gRPC as HAProxy forwards it, a request with trailers in its reply. Whoever asks a
bare worker by a gRPC client needs somebody in between; this one passes messages on as they are.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote

import grpc

from tests.fakes.worker_process import RawClient, request

INFER = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
MANY_CALLS = 64
LONGEST_S = 1e4
STATUSES = {status.value[0]: status for status in grpc.StatusCode}


class _Infer(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Takes the one method that workers have."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def service(self, details: Any) -> Any:  # noqa: ANN401  grpc has no types
        """Say who answers a method; None: nobody."""
        return grpc.unary_unary_rpc_method_handler(self._infer) if details.method == INFER else None

    def _infer(self, message: bytes, context: Any) -> bytes:  # noqa: ANN401  grpc has no types
        """Send one call to the worker; its trailers are the call's status."""
        with RawClient(self._address) as client:
            client.socket.settimeout(None)  # how long a call may take is its caller's to say
            context.add_callback(_leaver(client))
            reply = client.ask(_framed(message, context.time_remaining()))
        told = reply.headers | reply.trailers
        code = int(told["grpc-status"])
        if code:
            context.abort(STATUSES[code], unquote(told.get("grpc-message", "")))
        return reply.body[5:]


@contextmanager
def grpc_in_front_of(address: tuple[str, int]) -> Iterator[str]:
    """Listen for gRPC calls to a worker; gives HOST:PORT."""
    server = grpc.server(ThreadPoolExecutor(MANY_CALLS), options=UNLIMITED)
    server.add_generic_rpc_handlers((_Infer(address),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _framed(message: bytes, limit_s: float | None) -> bytes:
    headers = ["content-type: application/grpc", "te: trailers"]
    if limit_s is not None and limit_s < LONGEST_S:  # grpc makes one up where there is none
        headers.append(f"grpc-timeout: {max(1, int(limit_s * 1000))}m")
    return request(INFER, b"\0" + struct.pack(">I", len(message)) + message, headers=headers)


def _leaver(client: RawClient) -> Callable[[], None]:
    """Leave the worker when the caller leaves, as the edge does."""

    def leave() -> None:
        with suppress(OSError):  # it has ended by itself
            client.socket.shutdown(socket.SHUT_RDWR)

    return leave
