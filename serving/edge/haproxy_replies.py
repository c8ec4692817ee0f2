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
        400: "bad request: it cannot be read as HTTP",
        401: "unauthorized",
        403: "forbidden",
        404: refusals.NOT_FOUND,
        405: refusals.METHOD_NOT_ALLOWED,
        408: "the request did not arrive in time",
        410: "gone",
        413: "the request is too large",
        425: "too early",
        429: "too many requests",
        500: "internal error at the edge",
        501: "not implemented",
        502: "the worker failed while it answered",
        503: "no worker can answer now: retry",
        504: "the worker did not answer in time",
    }
)
GRPC_FAULTS: Final = MappingProxyType(
    {400: 13, 403: 7, 404: 12, 405: 12, 408: 4, 413: 8, 500: 13, 501: 12, 502: 14, 503: 14, 504: 4}
)


def http_faults() -> Iterator[str]:
    """Write the replies to what is no HTTP, or fails at the edge."""
    for status, text in HTTP_FAULTS.items():
        body = quoted(json.dumps({"error": text}))
        again = f" {RETRY_AFTER}" if status == WIRE[Code.NOT_READY].http else ""
        yield f"http-error status {status} content-type application/json string {body}{again}"


def grpc_faults() -> Iterator[str]:
    """Write the same for gRPC."""
    for status, number in GRPC_FAULTS.items():
        text = quoted(HTTP_FAULTS[status])
        yield f"http-error status {status} hdr grpc-status {number} hdr grpc-message {text}"


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
