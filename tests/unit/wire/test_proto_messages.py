"""ModelInferRequests that break a rule of their own are told which."""

from collections.abc import Callable

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from runtimes.errors import Code
from tests.fakes.call_specs import proto_request
from tests.fakes.refusals import (
    BYTE,
    proto_refusal,
)


def _contents_and_raw(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].contents.int_contents.append(1)


def _other_contents(request: service_pb2.ModelInferRequest) -> None:
    del request.raw_input_contents[:]
    request.inputs[0].contents.fp32_contents.append(1)


def _no_data(request: service_pb2.ModelInferRequest) -> None:
    del request.raw_input_contents[:]


def _surplus_raw(request: service_pb2.ModelInferRequest) -> None:
    request.raw_input_contents.append(b"")


def _wide_element(request: service_pb2.ModelInferRequest) -> None:
    del request.raw_input_contents[:]
    request.inputs[0].contents.int_contents.append(-129)


def _negative_shape(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].shape[0] = -1


def _many_dimensions(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].shape.extend([1] * 64)


def _twice(request: service_pb2.ModelInferRequest) -> None:
    request.inputs.append(request.inputs[0])
    request.raw_input_contents.append(b"\0")


def _reserved(request: service_pb2.ModelInferRequest) -> None:
    request.parameters["triton_x"].int64_param = 1


def _empty_parameter(request: service_pb2.ModelInferRequest) -> None:
    request.parameters["p"].SetInParent()


def _negative_priority(request: service_pb2.ModelInferRequest) -> None:
    request.parameters["priority"].int64_param = -1


def _region(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"


def _output_region(request: service_pb2.ModelInferRequest) -> None:
    request.outputs.add(name="y").parameters["shared_memory_region"].string_param = "r"


def _unknown_output(request: service_pb2.ModelInferRequest) -> None:
    request.outputs.add(name="Z")


def _class_text(request: service_pb2.ModelInferRequest) -> None:
    request.outputs.add(name="y").parameters["classification"].string_param = "2"


def _class_zero(request: service_pb2.ModelInferRequest) -> None:
    request.outputs.add(name="y").parameters["classification"].int64_param = 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _contents_and_raw,
            (
                "contents field must not be specified when using raw_input_contents for 'x' for "
                "model 'm'"
            ),
        ),
        (
            _other_contents,
            (
                "unexpected explicit tensor data for input tensor 'x' for model 'm' of type "
                "'FP32', expected datatype 'INT8'"
            ),
        ),
        (_no_data, "unable to find data for input tensor 'x' for model 'm' in request."),
        (_surplus_raw, "unexpected additional input data for model 'm'"),
        (_wide_element, "element -129 of input 'x' is out of range for INT8"),
        (
            _negative_shape,
            "All input dimensions should be specified for input 'x' for model 'm', got [-1]",
        ),
        (_many_dimensions, "input 'x' has 65 dimensions, the maximum is 64"),
        (_twice, "[request id: r] input 'x' already exists in request"),
        (_reserved, "parameter keys starting with 'triton_' are reserved for Triton usage"),
        (_empty_parameter, "parameter 'p' has invalid type."),
        (_negative_priority, "Unable to parse 'priority'"),
        (_region, "Unable to find shared memory region: 'r'"),
        (_output_region, "Unable to find shared memory region: 'r'"),
        (_unknown_output, "unexpected inference output 'Z' for model 'm'"),
        (
            _class_text,
            "invalid value type for 'classification' parameter, expected int64_param",
        ),
        (_class_zero, "invalid value for 'classification' parameter, expected >= 0"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_proto_form_refusals(
    spoil: Callable[[service_pb2.ModelInferRequest], None], message: str
) -> None:
    """A ModelInferRequest that breaks a rule of its own is told which."""
    request = proto_request({"x": np.zeros(1, np.int8)}, "r")
    spoil(request)

    error = proto_refusal(BYTE, request)

    assert message in error.message
    assert error.code in {Code.INVALID_ARGUMENT, Code.NOT_FOUND}
