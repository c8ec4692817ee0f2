"""HAProxy answering by itself: the edge's binary and settings, a constant answer, no worker."""

import json
from pathlib import Path
from typing import Final

from benchmarks.compare.wires import HEADER_LENGTH
from benchmarks.instance import free_ports
from benchmarks.loads import Array
from serving.edge.haproxy_config import BUFFER_BYTES
from serving.edge.haproxy_process import haproxy_binary

CONFIG: Final = """global
    nbthread 1
    tune.bufsize {buffer_bytes}
defaults
    mode http
    option http-no-delay
    timeout client 300s
    timeout connect 2s
    timeout server 300s
frontend all
    bind 127.0.0.1:{port}
    http-request return status 200 content-type application/octet-stream \
file {answer} hdr {header_length} {length}
"""


def answering_haproxy(folder: Path, answer: Array) -> tuple[list[str], str]:
    """Return the command and its address; what it answers is an answer of the binary extension."""
    (port,) = free_ports(1)
    output = {
        "name": "y",
        "datatype": "FP32",
        "shape": answer.shape,
        "parameters": {"binary_data_size": answer.nbytes},
    }
    header = json.dumps({"model_name": "tiny", "model_version": "1", "outputs": [output]}).encode()
    file, config = folder / "answer.bin", folder / "haproxy.cfg"
    file.write_bytes(header + answer.tobytes())
    config.write_text(
        CONFIG.format(
            buffer_bytes=BUFFER_BYTES,
            port=port,
            answer=file,
            header_length=HEADER_LENGTH,
            length=len(header),
        )
    )
    return [str(haproxy_binary(None)), "-db", "-f", str(config)], f"127.0.0.1:{port}"
