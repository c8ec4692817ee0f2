"""A receiver of spans: OTLP over HTTP, decoded with OpenTelemetry's own messages."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.fakes.waiting import until

FAILED = Status.STATUS_CODE_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One span."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    kind: int
    begin_ns: int
    end_ns: int
    error: str
    """Its status says that it failed, and why."""
    attributes: dict[str, str | int]
    resource: dict[str, str | int]


@dataclass
class Receiver:
    """What came."""

    url: str
    spans: list[Received] = field(default_factory=list)

    def trace(self, trace_id: str, *, span_count: int = 5) -> dict[str, Received]:
        """Wait for the spans of a trace; returns them by name."""

        def found() -> list[Received]:
            return [span for span in [*self.spans] if span.trace_id == trace_id]

        until(lambda: len(found()) >= span_count, f"{span_count} spans of trace {trace_id}")
        return {span.name: span for span in found()}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive spans on loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for group in request.resource_spans:
        resource = _values(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Received(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    trace_state=span.trace_state,
                    kind=span.kind,
                    begin_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    error=span.status.message if span.status.code == FAILED else "",
                    attributes=_values(span.attributes),
                    resource=resource,
                )


def _values(attributes: object) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for one in attributes:  # type: ignore[attr-defined]  # a repeated field
        value = one.value
        found[one.key] = (
            value.int_value if value.WhichOneof("value") == "int_value" else value.string_value
        )
    return found
