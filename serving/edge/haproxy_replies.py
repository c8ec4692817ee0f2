r"""Pure: the replies that HAProxy makes itself, as lines of its configuration.

JSON on HTTP, and a header-only reply with `grpc-status` on gRPC.
"""

import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from runtimes.errors import Code
from serving.errors import WIRE
from serving.wire import refusals

RETRY_AFTER: Final = "hdr retry-after 1"
HTTP_FAULTS: Final = MappingProxyType(
    {
        400: refusals.MALFORMED_HTTP,
        401: "unauthorized",
        403: "forbidden",
        404: refusals.NOT_FOUND,
        405: refusals.METHOD_NOT_ALLOWED,
        408: "the request did not arrive within 30 s: call again, and send it without a pause",
        410: "gone",
        413: "the request is too large: send less in one request",
        422: "Transfer-Encoding must be 'chunked' alone: packed bodies need Content-Encoding",
        425: "too early",
        429: "too many requests",
        500: "internal error at the edge: the call was not passed on",
        501: "not implemented: an HTTP/1.1 request without a protocol upgrade is expected",
        502: refusals.WORKER_DIED,
        503: "no worker can answer now: the call was not executed, try again",
        504: "the worker did not answer in time: the call may have been executed",
    }
)
GRPC_FAULTS: Final = MappingProxyType(
    {400: 13, 403: 7, 404: 12, 405: 12, 408: 4, 413: 8, 500: 13, 501: 12, 502: 13, 503: 14, 504: 4}
)


def grpc_faults() -> Iterator[str]:
    """Write the replies to what is no HTTP, or fails at the edge, for gRPC."""
    return (grpc_fault(status, HTTP_FAULTS[status]) for status in GRPC_FAULTS)


def grpc_fault(status: int, text: str) -> str:
    """Write the reply to one of HAProxy's own failures."""
    reply = f"hdr grpc-status {GRPC_FAULTS[status]} hdr grpc-message {quoted(text)}"
    return f"http-error status {status} {reply}"


def json_reply(code: Code, text: str, **more: bool) -> str:
    """Write the action that answers with a JSON error."""
    body = json.dumps({"error": text, **more}, separators=(",", ":"))
    wire = WIRE[code]
    again = f" {RETRY_AFTER}" if wire.retry else ""
    reply = f"content-type application/json lf-string {quoted(body)}{again}"
    return f"return status {wire.http} {reply}"


def grpc_reply(code: Code, text: str) -> str:
    """Write the action that answers with a gRPC status."""
    # 200 and no body: a body after the headers would make clients report a broken stream.
    return f"return status 200 hdr grpc-status {WIRE[code].grpc} hdr grpc-message {quoted(text)}"


def quoted(text: str) -> str:
    """Quote a string for the configuration."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
