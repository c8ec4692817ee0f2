"""MLServer with a runtime of our own around ONNX Runtime, as its documentation shows it.

python -m benchmarks.peers.mlserver_server MODEL_FILE --folder FOLDER --port PORT --grpc-port PORT

Run it with the interpreter of the peer's own environment; it becomes the server.
"""

import json
import os
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers.arguments import arguments

MAX_BATCH_ROWS: Final = 64
MAX_BATCH_WAIT_S: Final = 0.001


def main() -> None:
    """Write its two files of settings and become the server."""
    options = arguments(__doc__)
    server = {
        "host": "127.0.0.1",
        "http_port": options.port,
        "grpc_port": options.grpc_port,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": "tiny",
        "implementation": "benchmarks.peers.mlserver_model.Tiny",
        "parameters": {"uri": str(options.file.resolve())},
        "max_batch_size": MAX_BATCH_ROWS,
        "max_batch_time": MAX_BATCH_WAIT_S,
    }
    (options.folder / "settings.json").write_text(json.dumps(server))
    (options.folder / "model-settings.json").write_text(json.dumps(model))
    program = Path(sys.executable).with_name("mlserver")
    os.execv(program, [str(program), "start", str(options.folder)])  # noqa: S606  becomes the server


if __name__ == "__main__":
    main()
