"""A small working admin API on a unix socket: the paths and shapes of serving.edge.admin_api."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import msgspec

from runtimes.errors import BasculeError
from serving.edge.control import ClusterStatus, VersionRecord
from serving.errors import WIRE, NotFoundError
from serving.registry.version import VersionState


def empty_status(home: Path) -> ClusterStatus:
    """The status of an instance without any model."""
    return ClusterStatus(
        mode="standalone",
        home=str(home),
        model_control="none",
        revision=1,
        ready=True,
        settled=True,
        live={},
        versions=(),
        workers=(),
        edges=(),
        http="127.0.0.1:8000",
        grpc="127.0.0.1:8001",
        metrics="127.0.0.1:8002",
    )


@dataclass(kw_only=True)
class FakeInstance:
    """An instance's versions, and what operators asked of it."""

    status: ClusterStatus
    calls: list[str] = field(default_factory=list)
    on_sync: Callable[[], tuple[VersionRecord, ...]] = tuple

    def answer(self, method: str, path: str, body: bytes) -> object:
        """Do what an admin call asks for, or raise."""
        self.calls.append(f"{method} {path} {body.decode()}".strip())
        if path == "/v1/status":
            return self.status
        if path == "/v1/sync":
            found = self.on_sync()
            is_ready = all(item.state is VersionState.READY for item in found)
            self.status = replace(self.status, versions=found, ready=is_ready)
            return {}
        _, _, _, model, word = path.split("/")
        return self._changed(model, word, json.loads(body)["version"])

    def _changed(self, model: str, word: str, version: int | None) -> object:
        known = [item for item in self.status.versions if item.model == model]
        if version is not None:
            known = [item for item in known if item.version == version]
        if not known:
            raise NotFoundError(f"nothing of '{model}' is known")
        if word == "promote":
            revision = self.status.revision + 1
            live = {**self.status.live, model: version}
            self.status = replace(self.status, revision=revision, live=live)
            return {"revision": revision}
        kept = tuple(item for item in self.status.versions if item not in known)
        self.status = replace(self.status, versions=kept)
        return {}


@contextmanager
def running(instance: FakeInstance, path: Path) -> Iterator[FakeInstance]:
    """Answer admin calls on a socket, in a thread, until the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
            """Say nothing."""

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, value = 200, instance.answer(self.command, self.path, body)
            except BasculeError as error:
                status = WIRE[error.code].http
                value = {"error": error.message, "code": error.code.value}
            content = msgspec.json.encode(value)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with socketserver.ThreadingUnixStreamServer(str(path), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield instance
        finally:
            server.shutdown()
            thread.join()
