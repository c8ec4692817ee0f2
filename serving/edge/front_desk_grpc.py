"""Answers everything that is asked over gRPC and that HAProxy does not route to a worker.

That is: the slow unary calls, with the same answers as the HTTP side; compressed infer calls, which
are inflated here and go back through the edge; and streams, whose calls do the same.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import grpc
import structlog
from google.protobuf.message import DecodeError

from protos.generated import open_inference_pb2 as pb
from protos.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from runtimes.contract import TensorSpec
from runtimes.errors import BasculeError, Code, InvalidArgumentError, UnsupportedError
from serving.edge import grpc_health, grpc_reflection, lookup
from serving.edge.desk import PROTOCOL_VERSION, Desk
from serving.edge.grpc_regions import region_calls
from serving.edge.grpc_relay import InferRelay
from serving.edge.json_body import SMALL_BODY_BYTES
from serving.edge.message_room import MessageRoom
from serving.edge.protocol_settings import LogValue, TraceValue
from serving.edge.relay_channels import RelayChannels
from serving.edge.stream_limit import MAX_STREAMS, StreamLimit
from serving.edge.stream_relay import StreamRelay
from serving.edge.unary_calls import STATUS, refuse, unary_method
from serving.errors import WIRE
from serving.monitor.statistics import DurationSum, VersionStatistics
from serving.registry.model_config.completion import config_message
from serving.wire import coding
from serving.wire.protobuf import refuse_many_fields

log = structlog.get_logger(__name__)

SERVICE: Final = "inference.GRPCInferenceService"
LOAD: Final = "RepositoryModelLoad"
"""May bring files; messages of all others have the size that their bodies have over HTTP."""
OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
SERVER_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.per_message_decompression", 0),
)
MAX_CALLS: Final = MAX_STREAMS + 1024
"""Streams and slow calls at a time; more are RESOURCE_EXHAUSTED."""
MAX_SMALL_BYTES: Final = 4 << 20  # inflated size of everything but infer calls

CHOICE: Final = "parameter_choice"

FILES: Final = (3, 2)
"""Numbers of the fields with a load's parameters, and with what each says."""

Call = Callable[[Any, Any], Awaitable[Any]]


class FrontDeskGrpc:
    """The gRPC server on a unix socket."""

    def __init__(
        self,
        desk: Desk,
        path: Path,
        relay: Path,
        *,
        max_request_bytes: int,
        max_inflated_bytes: int,
    ) -> None:
        """Build the server.

        Args:
            desk: What is answered.
            path: Where to listen.
            relay: HAProxy's own socket, where infer calls go in again.
            max_request_bytes: The largest message that is received.
            max_inflated_bytes: What a compressed infer call may inflate to.
        """
        path.unlink(missing_ok=True)
        self._channels = RelayChannels(
            f"unix:{quote(str(relay))}", f"/{SERVICE}/ModelInfer", OPTIONS
        )
        self._server = grpc.aio.server(
            options=(*SERVER_OPTIONS, ("grpc.max_receive_message_length", max_request_bytes)),
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        calls = InferRelay(
            self._channels,
            min(max_inflated_bytes, max_request_bytes),
            MessageRoom(),
            desk.sleepers,
        )
        self._server.add_generic_rpc_handlers(_handlers(desk, calls))
        self._server.add_insecure_port(f"unix:{quote(str(path))}")

    async def start(self) -> None:
        """Listen."""
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, and give those that run so many seconds."""
        await self._server.stop(grace_s)
        await self._channels.close()


def _handlers(desk: Desk, relay: InferRelay) -> tuple[Any, ...]:
    answers, streams = _Answers(desk), StreamLimit()
    unary = {
        name: unary_method(
            _answered(
                name,
                _parsed(
                    getattr(pb, f"{name}Request").FromString, call, FILES if name == LOAD else ()
                ),
            ),
            relay.room,
            getattr(pb, f"{name}Response").SerializeToString,
            max_bytes=None if name == LOAD else SMALL_BODY_BYTES,
        )
        for name, call in answers.calls().items()
    }
    raw = {
        "ModelInfer": unary_method(relay.infer, relay.room),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
            streams.writing(StreamRelay(relay, desk.drain).stream)
        ),
    }
    reflection = grpc.stream_stream_rpc_method_handler(
        streams.writing(grpc_reflection.Reflection(desk.drain).reflect)
    )
    return (
        grpc.method_handlers_generic_handler(SERVICE, unary | raw),
        grpc.method_handlers_generic_handler(grpc_health.NAME, _health(desk, relay.room, streams)),
        *(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": reflection})
            for name in grpc_reflection.NAMES
        ),
    )


def _health(desk: Desk, room: MessageRoom, streams: StreamLimit) -> dict[str, object]:
    health = grpc_health.Health(desk, SERVICE)
    parse = HealthCheckRequest.FromString
    write = HealthCheckResponse.SerializeToString
    return {
        "Check": unary_method(
            _answered("Check", _parsed(parse, health.check)),
            room,
            write,
            max_bytes=SMALL_BODY_BYTES,
        ),
        "Watch": grpc.stream_stream_rpc_method_handler(
            streams.yielding(health.watch), response_serializer=write
        ),
    }


class _Answers:
    """One method per call: read the message, ask the desk, write the reply."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def calls(self) -> dict[str, Call]:
        """Method name → how it is answered."""
        return {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            LOAD: self.load,
            "RepositoryModelUnload": self.unload,
            "TraceSetting": self.trace,
            "LogSettings": self.logging,
            **region_calls(self._desk.regions),
        }

    async def server_live(self, _: pb.ServerLiveRequest, __: object) -> pb.ServerLiveResponse:
        self._desk.check_live()
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _: pb.ServerReadyRequest, __: object) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._desk.ready)

    async def model_ready(self, request: pb.ModelReadyRequest, _: object) -> pb.ModelReadyResponse:
        version = lookup.asked_version(request.version)
        return pb.ModelReadyResponse(ready=self._desk.model_ready(request.name, version))

    async def server_metadata(
        self, _: pb.ServerMetadataRequest, __: object
    ) -> pb.ServerMetadataResponse:
        self._desk.check_live()
        return pb.ServerMetadataResponse(
            name=self._desk.server_id, version=PROTOCOL_VERSION, extensions=self._desk.extensions
        )

    async def model_metadata(
        self, request: pb.ModelMetadataRequest, _: object
    ) -> pb.ModelMetadataResponse:
        version = lookup.asked_version(request.version)
        facts = lookup.model_facts(self._desk.snapshot, request.name, version)
        return pb.ModelMetadataResponse(
            name=facts.name,
            versions=facts.versions,
            platform=facts.platform,
            inputs=[_tensor(spec) for spec in facts.inputs],
            outputs=[_tensor(spec) for spec in facts.outputs],
        )

    async def model_config(
        self, request: pb.ModelConfigRequest, _: object
    ) -> pb.ModelConfigResponse:
        version = lookup.asked_version(request.version)
        found = lookup.ready_version(self._desk.snapshot, request.name, version)
        message = config_message(found.config_text, found.model, found.served)
        return pb.ModelConfigResponse(config=message)

    async def model_statistics(
        self, request: pb.ModelStatisticsRequest, _: object
    ) -> pb.ModelStatisticsResponse:
        version = lookup.asked_version(request.version)
        statistics = await self._desk.statistics(request.name, version)
        return pb.ModelStatisticsResponse(model_stats=[_statistics(item) for item in statistics])

    async def repository_index(
        self, request: pb.RepositoryIndexRequest, _: object
    ) -> pb.RepositoryIndexResponse:
        _check_repository(request.repository_name)
        entries = lookup.index_entries(self._desk.snapshot, only_ready=request.ready)
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(
                    name=entry.name, version=entry.version, state=entry.state, reason=entry.reason
                )
                for entry in entries
            ]
        )

    async def load(
        self, request: pb.RepositoryModelLoadRequest, _: object
    ) -> pb.RepositoryModelLoadResponse:
        _check_repository(request.repository_name)
        parameters = {
            name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
            for name, value in request.parameters.items()
        }
        await self._desk.load(request.model_name, parameters)
        return pb.RepositoryModelLoadResponse()

    async def unload(
        self, request: pb.RepositoryModelUnloadRequest, _: object
    ) -> pb.RepositoryModelUnloadResponse:
        _check_repository(request.repository_name)
        dependents = request.parameters["unload_dependents"].bool_param
        await self._desk.unload(request.model_name, dependents)
        return pb.RepositoryModelUnloadResponse()

    async def trace(self, request: pb.TraceSettingRequest, _: object) -> pb.TraceSettingResponse:
        changes = {
            name: _trace_value(name, tuple(setting.value))
            for name, setting in request.settings.items()
        }
        result = await self._desk.change_trace(request.model_name, changes)
        reply = pb.TraceSettingResponse()
        for name, value in result.items():
            reply.settings[name].value.extend([value] if isinstance(value, str) else value)
        return reply

    async def logging(self, request: pb.LogSettingsRequest, _: object) -> pb.LogSettingsResponse:
        changes = {
            name: getattr(setting, kind) if (kind := setting.WhichOneof(CHOICE)) else None
            for name, setting in request.settings.items()
        }
        reply = pb.LogSettingsResponse()
        for name, value in (await self._desk.change_logging(changes)).items():
            _set_log(reply.settings[name], value)
        return reply


def _answered(name: str, call: Call) -> Call:
    async def answer(request: object, context: Any) -> object:  # noqa: ANN401  grpc ships no types
        try:
            return await call(request, context)
        except BasculeError as error:
            await refuse(context, error)
        except Exception:
            log.exception("front_desk_failed", call=name)
            await context.abort(STATUS[WIRE[Code.INTERNAL].grpc], "internal error")
        return None

    return answer


def _parsed(parse: Callable[[bytes], object], call: Call, path: tuple[int, ...] = ()) -> Call:
    """Inflate and read a message within `_answered`: a bad one is the client's mistake."""

    async def answer(request: bytes, context: object) -> object:
        packing = coding.packing_of(request)
        if packing is not None:
            request = coding.inflate(request, packing, MAX_SMALL_BYTES)
        refuse_many_fields(request, path)
        try:
            message = parse(request)
        except DecodeError as error:
            raise InvalidArgumentError("malformed protobuf message") from error
        return await call(message, context)

    return answer


def _check_repository(name: str) -> None:
    if name:
        raise UnsupportedError("'repository_name' specification is not supported")


def _trace_value(name: str, values: tuple[str, ...]) -> TraceValue | None:
    if not values:
        return None
    if name == "trace_level":
        return values
    if len(values) > 1:
        raise InvalidArgumentError(f"Unable to parse '{name}', expect only 1 value")
    return values[0]


def _set_log(setting: pb.LogSettingsResponse.SettingValue, value: LogValue) -> None:
    if isinstance(value, bool):
        setting.bool_param = value
    elif isinstance(value, int):
        setting.uint32_param = value
    else:
        setting.string_param = value


def _tensor(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype.value, shape=spec.shape
    )


def _statistics(item: VersionStatistics) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=item.model,
        version=str(item.version),
        last_inference=item.last_inference_ms,
        inference_count=item.inference_count,
        execution_count=item.execution_count,
        inference_stats=pb.InferStatistics(
            success=_duration(item.success),
            fail=_duration(item.fail),
            queue=_duration(item.queue),
            compute_input=_duration(item.compute_input),
            compute_infer=_duration(item.compute_infer),
            compute_output=_duration(item.compute_output),
            cache_hit=_duration(item.cache_hit),
            cache_miss=_duration(item.cache_miss),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=batch.batch_rows,
                compute_input=_phase(batch.execution_count, batch.compute_input_ns),
                compute_infer=_phase(batch.execution_count, batch.compute_infer_ns),
                compute_output=_phase(batch.execution_count, batch.compute_output_ns),
            )
            for batch in item.batches
        ],
    )


def _duration(duration: DurationSum) -> pb.StatisticDuration:
    return _phase(duration.count, duration.ns)


def _phase(count: int, duration_ns: int) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=count, ns=duration_ns)
