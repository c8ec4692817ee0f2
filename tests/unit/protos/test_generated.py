"""Bascule's generated messages: what is committed, what is on the wire, who may be beside them."""

from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from tritonclient.grpc import model_config_pb2 as triton_config
from tritonclient.grpc import service_pb2 as triton

from protos.generated import model_config_pb2, open_inference_pb2
from protos.generated.open_inference_pb2_grpc import GRPCInferenceServiceStub


def test_regenerating_gives_what_is_committed(tmp_path: Path) -> None:
    """protos/generated is exactly what the .proto files give."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed: cannot regenerate")
    from protos import generate  # noqa: PLC0415  needs grpcio-tools

    target = tmp_path / "protos" / "generated"
    target.mkdir(parents=True)

    generate.generate(target)

    fresh = {path.name: path.read_text("utf-8") for path in target.iterdir()}
    committed = {
        path.name: path.read_text("utf-8")
        for path in generate.GENERATED.glob("*_pb2*")
        if path.is_file()
    }
    assert committed == fresh


def test_unknown_generator_output_is_refused() -> None:
    """A protoc whose output registers messages in another way is an error, not a silent leak."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed: cannot regenerate")
    from protos import generate  # noqa: PLC0415  needs grpcio-tools

    with pytest.raises(generate.GenerateError, match="another form"):
        generate.with_private_pool("DESCRIPTOR = None\n")


def _field(field: FieldDescriptor) -> tuple[object, ...]:
    target = field.message_type or field.enum_type
    oneof = field.containing_oneof.name if field.containing_oneof else ""
    kind = target.full_name if target else ""
    return field.number, field.name, field.type, field.is_repeated, kind, oneof


def _layout(message: Descriptor) -> dict[str, object]:
    layout: dict[str, object] = {message.full_name: sorted(map(_field, message.fields))}
    for nested in message.nested_types:
        layout |= _layout(nested)
    for enum in message.enum_types:
        layout |= _values(enum)
    return layout


def _values(enum: EnumDescriptor) -> dict[str, object]:
    return {enum.full_name: [(value.name, value.number) for value in enum.values]}


def _file_layout(module: object) -> dict[str, object]:
    descriptor = module.DESCRIPTOR  # type: ignore[attr-defined]  a generated module
    layout: dict[str, object] = {}
    for message in descriptor.message_types_by_name.values():
        layout |= _layout(message)
    for enum in descriptor.enum_types_by_name.values():
        layout |= _values(enum)
    for service in descriptor.services_by_name.values():
        layout[service.full_name] = sorted(
            (rpc.name, rpc.input_type.full_name, rpc.output_type.full_name)
            for rpc in service.methods
        )
    return layout


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(open_inference_pb2, triton), (model_config_pb2, triton_config)],
    ids=["service", "config"],
)
def test_layout_equals_tritonclients(ours: object, theirs: object) -> None:
    """Every message, field number, type, oneof, enum value and method is tritonclient's."""
    assert _file_layout(ours) == _file_layout(theirs)


def test_request_bytes_are_read_by_tritonclient() -> None:
    """A request of ours means the same to tritonclient's classes, map and oneof included."""
    request = open_inference_pb2.ModelInferRequest(
        model_name="m",
        id="r",
        inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 2]}],
        raw_input_contents=[b"\0" * 8],
    )
    request.parameters["priority"].uint64_param = 7

    theirs = triton.ModelInferRequest.FromString(request.SerializeToString())

    assert theirs.inputs[0].shape == [1, 2]
    assert theirs.parameters["priority"].uint64_param == 7
    assert theirs.SerializeToString(deterministic=True) == request.SerializeToString(
        deterministic=True
    )


def test_config_bytes_of_tritonclient_are_read() -> None:
    """A configuration written with tritonclient's classes survives a round trip through ours."""
    theirs = triton_config.ModelConfig(name="m", max_batch_size=8, cc_model_filenames={"8.9": "a"})
    theirs.dynamic_batching.max_queue_delay_microseconds = 500
    payload = theirs.SerializeToString(deterministic=True)

    ours = model_config_pb2.ModelConfig.FromString(payload)

    assert ours.dynamic_batching.max_queue_delay_microseconds == 500
    assert ours.SerializeToString(deterministic=True) == payload


def test_service_path_on_the_wire() -> None:
    """Clients find the service under the protocol's name."""
    service = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]

    assert service.full_name == "inference.GRPCInferenceService"
    assert GRPCInferenceServiceStub.__module__ == "protos.generated.open_inference_pb2_grpc"
