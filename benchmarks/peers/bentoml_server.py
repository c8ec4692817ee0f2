"""Start BentoML's own server with the service of `bentoml_service.py`.

python -m benchmarks.peers.bentoml_server MODEL_FILE --folder FOLDER --port PORT --grpc-port PORT

Run it with the interpreter of the peer's own environment; it becomes the server. It speaks no gRPC.
"""

import os
import sys
from pathlib import Path

from benchmarks.peers.arguments import arguments


def main() -> None:
    """Become the server."""
    options = arguments(__doc__)
    program = Path(sys.executable).with_name("bentoml")
    command = [str(program), "serve", "benchmarks.peers.bentoml_service:Tiny"]
    command += ["--host", "127.0.0.1", "--port", str(options.port)]
    environment = dict(os.environ)  # noqa: TID251  for the child
    environment |= {
        "TINY_FILE": str(options.file.resolve()),
        "BENTOML_HOME": str(options.folder.resolve()),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    os.execve(program, command, environment)  # noqa: S606  becomes the server


if __name__ == "__main__":
    main()
