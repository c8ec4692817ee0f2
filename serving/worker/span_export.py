"""Spans by OpenTelemetry's SDK, sent as OTLP over HTTP. Imported by workers that trace only."""

import time
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.own_version import own_version
from serving.worker.spans import CallTrace

SERVICE: Final = "bascule"
TRACES: Final = "/v1/traces"
STAGES: Final = ("queue", "batch", "compute", "encode")


class OtlpSpans:
    """Makes spans; the SDK's own thread sends them, and drops what a silent receiver leaves."""

    def __init__(self, endpoint: str, worker: str) -> None:
        """Open the exporter; nothing is sent yet.

        Args:
            endpoint: Of the receiver, as `http://127.0.0.1:4318`.
            worker: Names this process in the traces.
        """
        self._provider = TracerProvider(
            resource=Resource.create(
                {
                    "service.name": SERVICE,
                    "service.version": own_version(),
                    "service.instance.id": worker,
                }
            )
        )
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + TRACES)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("bascule", own_version())
        self._propagator = TraceContextTextMapPropagator()

    def make(self, call: CallTrace) -> None:
        """Make the spans of a call that was answered just now."""
        offset_ns = time.time_ns() - time.perf_counter_ns()
        given = {"traceparent": call.parent, "tracestate": call.state}
        context = self._propagator.extract(given) if call.parent else None
        times = [at_ns + offset_ns for at_ns in (call.came_ns, *call.moments_ns)]
        span = self._tracer.start_span(
            f"infer {call.model}".rstrip(),
            context,
            SpanKind.SERVER,
            attributes=_attributes(call),
            start_time=times[0],
        )
        if call.error:
            span.set_status(StatusCode.ERROR, call.error)
            span.end(times[-1])
            return
        inside = trace.set_span_in_context(span)
        for stage, begin_ns, end_ns in zip(STAGES, times, times[1:], strict=False):
            child = self._tracer.start_span(stage, inside, start_time=begin_ns)
            child.end(end_ns)
        span.end(times[-1])

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _attributes(call: CallTrace) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "bascule.model": call.model,
        "bascule.version": call.version,
        "bascule.transport": call.transport,
        "bascule.rows": call.rows,
        "bascule.batch.rows": call.batch_rows,
        "bascule.batch.calls": call.batch_calls,
        "bascule.request_id": call.request_id,
        "bascule.prediction_id": call.prediction_id,
        "error.type": call.code,
    }
    return {name: value for name, value in found.items() if value}
