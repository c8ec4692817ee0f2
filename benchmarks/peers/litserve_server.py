"""LitServe with ONNX Runtime, as its documentation shows it: JSON, batches, one worker.

python -m benchmarks.peers.litserve_server MODEL_FILE --folder FOLDER --port PORT --grpc-port PORT

Run it with the interpreter of the peer's own environment. It speaks no gRPC.
"""

from pathlib import Path
from typing import Any, Final

import litserve
import numpy as np
from fastapi import Request

from benchmarks.peers.arguments import arguments
from benchmarks.peers.bare_loop import open_session

MAX_BATCH_ROWS: Final = 64
MAX_BATCH_WAIT_S: Final = 0.001


class Tiny(litserve.LitAPI):  # type: ignore[misc]  # untyped here
    """Decode a row, run a batch, encode a row.

    Args:
        file: The model.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(max_batch_size=MAX_BATCH_ROWS, batch_timeout=MAX_BATCH_WAIT_S)
        self.file = file

    def setup(self, _: str) -> None:
        """Load the model, in the worker."""
        self.session = open_session(self.file, threads=1)

    def decode_request(self, request: Request) -> Any:
        """Read one row."""
        return np.asarray(request["x"], np.float32)

    def batch(self, inputs: Any) -> Any:
        """Stack rows."""
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        """Run a batch."""
        return self.session.run(None, {"x": x})[0]

    def unbatch(self, output: Any) -> Any:
        """Take rows apart."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Write one row."""
        return {"y": output.tolist()}


def main() -> None:
    """Serve until the process ends."""
    options = arguments(__doc__)
    api = Tiny(options.file.resolve())
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=options.port,
        num_api_servers=1,
        log_level="error",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
