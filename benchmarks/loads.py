"""The same infer request, ready to be sent by a load generator, for HTTP and for gRPC.

HTTP carries binary tensors both ways (the protocol's binary extension), gRPC raw contents.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype

from serving.cli.load.open_loop import OpenLoop
from serving.cli.predict_http import Body

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One infer request to one model; every tensor of a dtype that is raw bytes on the wire."""

    model: str
    inputs: Mapping[str, Array]

    @property
    def rows(self) -> int:
        """Rows along the batch axis."""
        return int(next(iter(self.inputs.values())).shape[0])

    @property
    def path(self) -> str:
        """Where HTTP sends it."""
        return f"/v2/models/{self.model}/infer"

    def http_body(self) -> tuple[bytes, int]:
        """Return the body and the length of the JSON in front of the tensors."""
        tensors = [
            {
                "name": name,
                "datatype": np_to_triton_dtype(value.dtype),
                "shape": list(value.shape),
                "parameters": {"binary_data_size": value.nbytes},
            }
            for name, value in self.inputs.items()
        ]
        header = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}})
        payload = header.encode() + b"".join(v.tobytes() for v in self.inputs.values())
        return payload, len(header.encode())

    def open_loop(self, address: str, seed: int) -> OpenLoop:
        """Return who sends it to a server at random moments; see there."""
        return OpenLoop(f"http://{address}{self.path}", (Body(*self.http_body()),), seed=seed)

    def grpc_frame(self) -> bytes:
        """Return the length-prefixed message."""
        request = service_pb2.ModelInferRequest(model_name=self.model)
        for name, value in self.inputs.items():
            datatype = np_to_triton_dtype(value.dtype)
            request.inputs.add(name=name, datatype=datatype, shape=value.shape)
            request.raw_input_contents.append(value.tobytes())
        message = bytes(request.SerializeToString())
        return b"\0" + struct.pack(">I", len(message)) + message

    def write_for_wrk(self, folder: Path) -> Path:
        """Write the script that makes wrk send this request; return its path."""
        body, header_bytes = self.http_body()
        body_path = folder / f"{self.model}.http.bin"
        body_path.write_bytes(body)
        script = folder / f"{self.model}.lua"
        script.write_text(
            f'local file = assert(io.open("{body_path}", "rb"))\n'
            'wrk.method = "POST"\n'
            'wrk.body = file:read("*a")\n'
            'wrk.headers["Content-Type"] = "application/octet-stream"\n'
            f'wrk.headers["Inference-Header-Content-Length"] = "{header_bytes}"\n'
        )
        return script

    def write_for_h2load(self, folder: Path) -> Path:
        """Write the file that h2load sends as the body; return its path."""
        path = folder / f"{self.model}.grpc.bin"
        path.write_bytes(self.grpc_frame())
        return path
