"""A plain grpc.aio server around one ONNX model: what one would write without a serving product.

python -m benchmarks.peers.grpc_aio MODEL_FILE --port PORT
"""

import argparse
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from benchmarks.peers.bare_loop import open_session


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # untyped
    """Answers ModelInfer with raw contents."""

    def __init__(self, file: Path) -> None:
        self.session = open_session(file, threads=1)
        self.outputs = [output.name for output in self.session.get_outputs()]

    async def ModelInfer(self, request: Any, _: Any) -> Any:  # noqa: N802  the protocol's name
        """Run one request by itself."""
        feeds = {
            tensor.name: np.frombuffer(raw, triton_to_np_dtype(tensor.datatype)).reshape(
                tuple(tensor.shape)
            )
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        reply = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
        for name, value in zip(self.outputs, self.session.run(None, feeds), strict=True):
            datatype = np_to_triton_dtype(value.dtype)
            reply.outputs.add(name=name, datatype=datatype, shape=value.shape)
            reply.raw_output_contents.append(value.tobytes())
        return reply


async def serve(file: Path, port: int) -> None:
    """Serve until the process ends."""
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(file), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.file, options.port))


if __name__ == "__main__":
    main()
