"""How one row of `tiny` is asked for on each system's fastest HTTP wire, and its answer read.

`x` has shape (1, 16), the answer (1, 4); both are FP32.
"""

import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.loads import Array, Request

TIMEOUT_S: Final = 5.0
JSON_TYPE: Final = {"Content-Type": "application/json"}
BYTES_TYPE: Final = {"Content-Type": "application/octet-stream"}
BINARY: Final = "V2, binary tensors"
V2_JSON: Final = "V2, JSON"
PLAIN_JSON: Final = "JSON"
RAW: Final = "raw bytes"
HEADER_LENGTH: Final = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One HTTP request, and how its answer is read."""

    name: str
    """For people."""
    path: str
    body: bytes
    headers: Mapping[str, str]
    read: Callable[[bytes, Mapping[str, str]], Array] = field(repr=False)
    """Given the body and the headers of an answer."""

    def ask(self, address: str) -> Array:
        """Send it once.

        Raises:
            OSError: No answer, or not an answer of HTTP's 200.
            ValueError: An answer of another form.
        """
        call = urllib.request.Request(
            f"http://{address}{self.path}", data=self.body, headers=dict(self.headers)
        )
        with urllib.request.urlopen(call, timeout=TIMEOUT_S) as reply:  # noqa: S310  HTTP, see above
            return self.read(reply.read(), reply.headers)

    def write_for_wrk(self, folder: Path) -> Path:
        """Write the script that makes wrk send this request; return its path."""
        body, script = folder / "body.bin", folder / "request.lua"
        body.write_bytes(self.body)
        headers = "".join(
            f'wrk.headers["{name}"] = "{value}"\n' for name, value in self.headers.items()
        )
        script.write_text(
            f'wrk.method = "POST"\nwrk.body = assert(io.open("{body}", "rb")):read("*a")\n{headers}'
        )
        return script


def v2_binary(request: Request) -> Wire:
    """Ask by the protocol's binary extension."""
    body, header_bytes = request.http_body()
    return Wire(
        name=BINARY,
        path=request.path,
        body=body,
        headers={**BYTES_TYPE, HEADER_LENGTH: str(header_bytes)},
        read=_read_v2_binary,
    )


def v2_json(request: Request) -> Wire:
    """Ask by the protocol's JSON."""
    ((name, x),) = request.inputs.items()
    tensor = {"name": name, "datatype": "FP32", "shape": x.shape, "data": x.ravel().tolist()}
    return Wire(
        name=V2_JSON,
        path=request.path,
        body=json.dumps({"inputs": [tensor]}).encode(),
        headers=JSON_TYPE,
        read=lambda body, _: _row(json.loads(body)["outputs"][0]["data"]),
    )


def litserve_json(request: Request) -> Wire:
    """Ask LitServe, which takes a row a request."""
    ((name, x),) = request.inputs.items()
    return Wire(
        name=PLAIN_JSON,
        path="/predict",
        body=json.dumps({name: x[0].tolist()}).encode(),
        headers=JSON_TYPE,
        read=lambda body, _: _row(json.loads(body)["y"]),
    )


def bentoml_json(request: Request) -> Wire:
    """Ask BentoML."""
    ((name, x),) = request.inputs.items()
    return Wire(
        name=PLAIN_JSON,
        path="/infer",
        body=json.dumps({name: x.tolist()}).encode(),
        headers=JSON_TYPE,
        read=lambda body, _: _row(json.loads(body)),
    )


def torchserve_bytes(request: Request) -> Wire:
    """Ask TorchServe, whose handler takes the row's bytes and gives the answer's."""
    (x,) = request.inputs.values()
    return Wire(
        name=RAW,
        path="/predictions/tiny",
        body=x.tobytes(),
        headers=BYTES_TYPE,
        read=lambda body, _: np.frombuffer(body, np.float32)[None],
    )


def _read_v2_binary(body: bytes, headers: Mapping[str, str]) -> Array:
    length = int(headers[HEADER_LENGTH])
    (output,) = json.loads(body[:length])["outputs"]
    return np.frombuffer(body[length:], np.float32).reshape(output["shape"])


def _row(values: Any) -> Array:
    return np.asarray(values, np.float32).reshape(1, -1)
