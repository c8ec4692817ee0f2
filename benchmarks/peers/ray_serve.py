"""The same ONNX model behind Ray Serve's own HTTP proxy, as its documentation shows it.

python -m benchmarks.peers.ray_serve MODEL_FILE --port PORT

Takes the protocol's binary body and answers with it, so that a request has the same bytes as for
Bascule. One replica. RAY_SERVE_ENABLE_HA_PROXY=1 in the environment switches Ray Serve's HAProxy
mode on.
"""

import argparse
import json
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.bare_loop import open_session

ROUTE: Final = "/v2/models/tiny/infer"
MAX_ONGOING: Final = 1000


class Model:
    """The deployment: decode, run, encode."""

    def __init__(self, file: str) -> None:
        self.session = open_session(Path(file), threads=1)

    async def __call__(self, request: Any) -> Any:
        """Answer one infer request."""
        import numpy as np  # noqa: PLC0415  runs in Ray's process, which gets this class by value
        from starlette.responses import Response  # noqa: PLC0415

        body = await request.body()
        length = int(request.headers["inference-header-content-length"])
        (tensor,) = json.loads(body[:length])["inputs"]
        x = np.frombuffer(body[length:], np.float32).reshape(tensor["shape"])
        (y,) = self.session.run(None, {tensor["name"]: x})
        parameters = {"binary_data_size": y.nbytes}
        output = {"name": "y", "datatype": "FP32", "shape": y.shape, "parameters": parameters}
        header = json.dumps({"model_name": "tiny", "model_version": "1", "outputs": [output]})
        return Response(
            header.encode() + y.tobytes(),
            media_type="application/octet-stream",
            headers={"Inference-Header-Content-Length": str(len(header))},
        )


def main() -> None:
    """Start Ray, serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    import ray  # noqa: PLC0415  after the command line was found right: it takes seconds
    from ray import serve  # noqa: PLC0415

    folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
    ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=folder.name)
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    deployment = serve.deployment(Model, max_ongoing_requests=MAX_ONGOING)
    serve.run(deployment.bind(str(options.file.resolve())), route_prefix=ROUTE)
    print("ready", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()
    folder.cleanup()


if __name__ == "__main__":
    main()
