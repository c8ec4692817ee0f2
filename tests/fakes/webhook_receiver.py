"""A receiver of events: a real HTTP server that remembers what came, and answers as it is told."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes len").decode()


@dataclass(frozen=True)
class Came:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, object]:
        """The CloudEvent in it."""
        found: dict[str, object] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """A running server. `statuses` are answered one after the other, then 204."""

    port: int
    came: list[Came] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    text: bytes = b""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def types(self) -> list[str]:
        """The types of what came, without what all have in common."""
        return [str(one.event["type"]).split(".", 2)[2].removesuffix(".v1") for one in self.came]


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Run a receiver until the block ends, at any port or at one that was free."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        """Answers POST."""

        def do_POST(self) -> None:
            """Remember the request."""
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                receiver.came.append(Came(path=self.path, headers=headers, body=body))
                status = receiver.statuses.pop(0) if receiver.statuses else 204
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            text = b"" if status == 204 else receiver.text
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    receiver = Receiver(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
