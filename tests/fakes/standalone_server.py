"""A real `bascule serve` for tests: started with a repository, asked, and ended without a trace."""

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.http as triton_http

from serving.local_http import LocalHttp
from tests.fakes.models import tiny
from tests.fakes.waiting import until

LIMIT_S = 90.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def put_model(repository: Path, name: str, version: int = 1, *, content: bytes = b"") -> None:
    """Write a model in Triton's layout; tiny by default, with all versions served."""
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content or tiny())
    (repository / name / "config.pbtxt").write_text("version_policy { all {} }")


@dataclass
class Server:
    """A running `bascule serve`."""

    process: subprocess.Popen[str]
    home: Path
    ports: list[int]

    @property
    def http(self) -> str:
        """Where HTTP is served."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def grpc(self) -> str:
        """Where gRPC is served."""
        return f"127.0.0.1:{self.ports[1]}"

    def until_said(self, text: str) -> list[str]:
        """Read standard error until a line begins with a text; returns all lines."""
        lines: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            lines.append(line.rstrip())
            if line.startswith(text):
                return lines
        pytest.fail(f"it ended without saying {text!r}: {lines}")

    def admin(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Ask the admin API."""

        async def ask() -> dict[str, object]:
            async with LocalHttp(str(self.home / "run" / "admin.sock")) as admin:
                text = json.dumps(body).encode() if body is not None else b""
                reply = await admin.ask(method, path, text, timeout_s=LIMIT_S)
                assert reply.status == 200, reply.body
                answer: dict[str, object] = json.loads(reply.body)
                return answer

        return asyncio.run(ask())

    def rollout_state(self) -> str:
        """Where the latest rollout stands."""
        newest = self.admin("GET", "/v1/rollouts")[0]  # type: ignore[index]  # a list
        return str(newest["state"])

    def worker_pids(self) -> dict[str, int]:
        """Process ids by pool."""
        return {w["pool"]: w["pid"] for w in self.admin("GET", "/v1/status")["workers"]}

    def metrics(self) -> str:
        """What Prometheus would read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[2], timeout=LIMIT_S)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        until(holds, what, limit_s=LIMIT_S, pause_s=0.05)

    def worker_of(self, model: str) -> int:
        """Process id of the worker that hosts a model."""
        versions = self.admin("GET", "/v1/status")["versions"]
        assert isinstance(versions, list)
        pool = next(one["pool"] for one in versions if one["model"] == model)
        return self.worker_pids()[pool]

    def answer(self, model: str, version: str = "") -> tuple[list[float], str]:
        """Infer over HTTP: the first row of y, and the version that ran."""
        with triton_http.InferenceServerClient(self.http) as client:
            x = triton_http.InferInput("x", [1, 16], "FP32")
            x.set_data_from_numpy(np.ones((1, 16), np.float32))
            result = client.infer(model, [x], model_version=version)
            return result.as_numpy("y")[0].tolist(), result.get_response()["model_version"]


def command(home: Path, ports: list[int], *arguments: str) -> subprocess.Popen[str]:
    """Start `bascule serve`."""
    flags = zip(("--http", "--grpc", "--metrics"), ports, strict=True)
    addresses = [part for flag, port in flags for part in (flag, f"127.0.0.1:{port}")]
    bascule = str(Path(sys.executable).with_name("bascule"))
    return subprocess.Popen(
        [bascule, "serve", *arguments, *addresses],
        env=os.environ | {"BASCULE_HOME": str(home)},  # noqa: TID251  a test's own process
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[Server]:
    """Run a server until the block ends; it must leave no process."""
    ports = free_ports(3)
    process = command(home, ports, *arguments)
    server = Server(process, home, ports)
    try:
        server.until_said("metrics")
        yield server
    finally:
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.terminate()
        process.communicate(timeout=LIMIT_S)
        _, alive = psutil.wait_procs(children, timeout=LIMIT_S)
        assert not alive, f"left running: {alive}"
