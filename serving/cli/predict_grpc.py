"""A small client of the protocol over gRPC: infer, as any generated stub would call it."""

from collections.abc import Sequence

import grpc

from protos.generated import open_inference_pb2 as pb
from runtimes.datatypes import Datatype
from serving.cli.predict_http import (
    Prediction,
    RefusedPredictionError,
    tensor_bytes,
    tensor_from_bytes,
)
from serving.cli.predict_tensors import NamedTensor
from serving.errors import NotReadyError
from serving.host_port import HostPort

METHOD = "/inference.GRPCInferenceService/ModelInfer"
NO_LIMIT = -1


def infer(
    address: HostPort,
    model: str,
    version: int | None,
    tensors: Sequence[NamedTensor],
    limit_s: float,
) -> Prediction:
    """Run one call.

    Raises:
        NotReadyError: Nobody answers at the address, or not in time.
        RefusedPredictionError: The server refused the call.
    """
    request = infer_request(model, version, tensors)
    options = [("grpc.max_receive_message_length", NO_LIMIT)]
    with grpc.insecure_channel(str(address), options) as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        try:
            reply = call(request, timeout=limit_s)
        except grpc.RpcError as error:
            code, text = error.code(), error.details()
            if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise NotReadyError(f"gRPC at {address}: {code.name}: {text}") from error
            raise RefusedPredictionError(f"{text} ({code.name})") from error
    return read_prediction(reply)


def infer_request(
    model: str, version: int | None, tensors: Sequence[NamedTensor]
) -> pb.ModelInferRequest:
    """Write an infer call with raw tensors."""
    return pb.ModelInferRequest(
        model_name=model,
        model_version="" if version is None else str(version),
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name=tensor.name, datatype=tensor.datatype.value, shape=tensor.array.shape
            )
            for tensor in tensors
        ],
        raw_input_contents=[tensor_bytes(tensor) for tensor in tensors],
    )


def read_prediction(reply: pb.ModelInferResponse) -> Prediction:
    """Read the reply to an infer call.

    Raises:
        EngineError: It cannot be read.
    """
    outputs = []
    for item, raw in zip(reply.outputs, reply.raw_output_contents, strict=True):
        datatype = Datatype(item.datatype)
        array = tensor_from_bytes(raw, item.name, datatype, tuple(item.shape))
        outputs.append(NamedTensor(name=item.name, datatype=datatype, array=array))
    return Prediction(model=reply.model_name, version=reply.model_version, outputs=tuple(outputs))
