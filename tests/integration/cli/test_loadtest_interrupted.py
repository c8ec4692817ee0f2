"""`bascule loadtest` on Ctrl-C, before a server that takes calls and never answers."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import ClassVar

import pytest

from benchmarks.instance import until
from tests.fakes.standalone_server import LIMIT_S

TENSOR = {"name": "x", "datatype": "FP32", "shape": [1]}
METADATA = {"name": "m", "versions": ["1"], "inputs": [TENSOR], "outputs": [TENSOR]}


class Silent(BaseHTTPRequestHandler):
    """Says what its model is like, and nothing else."""

    is_asked: ClassVar[Event] = Event()
    is_over: ClassVar[Event] = Event()

    def do_GET(self) -> None:
        """Describe the model."""
        body = json.dumps(METADATA).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Take a call."""
        self.is_asked.set()
        self.is_over.wait(LIMIT_S)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture(name="address")
def silent_server() -> Iterator[str]:
    """A server that never answers a call."""
    Silent.is_asked.clear()
    Silent.is_over.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        Silent.is_over.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("answers", ["learnt", "told"])
def test_ctrl_c_waits_for_no_answer_that_does_not_come(
    answers: str, address: str, tmp_path: Path
) -> None:
    """Not at all before the load has begun; after that a second one does not."""
    (tmp_path / "e.json").write_text('{"1": {"x": [1]}}')
    told = ["--expect", str(tmp_path / "e.json")] if answers == "told" else []
    command = [str(Path(sys.executable).with_name("bascule")), "loadtest", "m", "--http", address]
    with subprocess.Popen(
        [*command, "--grpc-clients", "0", "--timeout-s", "3600", "--duration", "1h", *told],
        stdout=subprocess.DEVNULL,
        # Who runs the tests in the background may ignore the signal, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no threads
    ) as process:

        def has_ended() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        try:
            assert Silent.is_asked.wait(LIMIT_S)
            process.send_signal(signal.SIGINT)
            if answers == "told":
                until(has_ended, LIMIT_S, "a second Ctrl-C ends it", look_s=0.2)
            # A further one may meet an interpreter that is on its way out.
            assert process.wait(LIMIT_S) in {128 + signal.SIGINT, -signal.SIGINT}
        finally:
            process.kill()
