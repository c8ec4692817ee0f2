"""A whole instance on Ray for one test module: its own home, its own ports, its own end."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import psutil
import tritonclient.grpc as triton_grpc

from serving.cluster.instance_processes import is_alive, processes_of
from serving.cluster.ray_process import RayInstance
from tests.fakes import models, waiting

LIMIT_S = 180.0
LOOK_S = 0.2
"""Looks at all processes cost what these wait for."""
COMMAND_LIMIT_S = 400.0
"""`up` starts Ray, which alone takes a minute on a busy machine."""
CALL_LIMIT_S = 90.0
PAUSE_S = 0.005
"""Between two calls of a caller: they leave the processors to what comes back meanwhile."""
ROW = np.ones((1, 16), np.float32)
ANSWER = ROW @ models.WEIGHT + models.BIAS
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [1.0] * 16}]}
)
ALL_VERSIONS = "version_policy: { all {} }\n"
TWO_REPLICAS = ALL_VERSIONS + "instance_group [ { count: 2 kind: KIND_CPU } ]\n"


@dataclass
class Instance:
    """An instance that `up` starts and `down` ends."""

    home: Path
    http: int
    grpc: int
    metrics: int
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one `bascule` command to its end."""
        return subprocess.run(
            (Path(sys.executable).with_name("bascule"), *words),
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def up(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `bascule up` on this instance's ports."""
        return self.run(
            "up",
            *("--model-repository", str(self.home / "models")),
            *("--http", f"127.0.0.1:{self.http}"),
            *("--grpc", f"127.0.0.1:{self.grpc}"),
            *("--metrics", f"127.0.0.1:{self.metrics}"),
            *words,
            **environment,
        )

    def record(self) -> RayInstance:
        """What `up` wrote down of the instance."""
        text = (self.home / "run" / "ray.json").read_bytes()
        return msgspec.json.decode(text, type=RayInstance)

    def assert_ended(self) -> None:
        """Run `down`; nothing is left of the instance, neither processes nor run files."""
        mark = self.record().instance
        down = self.run("down")
        assert down.returncode == 0, down.stderr
        assert processes_of(mark) == []
        left = {entry.name for entry in (self.home / "run").iterdir()}
        assert left <= {"instance.lock", "start.lock"}  # held by nobody

    def kill(self, words: str) -> None:
        """Kill a process with these words in its command line; return when it has ended."""
        victims = self.processes(words)
        assert victims, words
        victims[0].kill()
        until(lambda: not is_alive(victims[0]), "its end")

    def processes(self, words: str) -> list[psutil.Process]:
        """The instance's processes whose command line contains these words."""
        mark = self.record().instance
        return [process for process in processes_of(mark) if words in _command_line(process)]

    def predict(self, model: str = "plain", version: int | None = None) -> Mapping[str, object]:
        """Send one call over HTTP and return the reply's body."""
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
        return self.post(f"{path}/infer", BODY)

    def post(self, path: str, body: str | bytes, **headers: str) -> dict[str, Any]:
        """Post a body over HTTP and return the reply's, which must be an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=CALL_LIMIT_S)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            text = response.read()
            assert response.status == 200, text
            reply: dict[str, Any] = json.loads(text)
            return reply
        finally:
            connection.close()

    def status(self) -> Mapping[str, object]:
        """What `GET /v1/status` says, as soon as the controller can be asked."""
        found: list[Mapping[str, object]] = []
        until(lambda: found.append(self.admin("GET", "/v1/status")) or found, "a status")
        return found[-1]

    def version(self, model: str, version: int = 1) -> Mapping[str, object]:
        """What status says of one version."""
        versions: Any = self.status()["versions"]
        found = [v for v in versions if (v["model"], v["version"]) == (model, version)]
        assert found, f"status does not list {model}:{version}"
        return dict(found[0])

    def admin(self, method: str, path: str) -> Mapping[str, object]:
        """What the operators' socket answers."""
        connection = http.client.HTTPConnection("local", timeout=CALL_LIMIT_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.home / "run" / "admin.sock"))
            connection.request(method, path)
            response = connection.getresponse()
            text = response.read()
            assert response.status == 200, text
            reply: Mapping[str, object] = json.loads(text)
            return reply
        finally:
            connection.close()


@contextmanager
def instance() -> Iterator[Instance]:
    """Prepare an instance with models, and leave nothing of it."""
    home = Path(tempfile.mkdtemp(prefix="bascule-e2e-", dir="/tmp"))  # sockets want a short path
    write_models(home / "models")
    ports = free_ports(3)
    made = Instance(home, *ports)
    made.environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BASCULE_")},  # noqa: TID251  a child's
        "BASCULE_HOME": str(home),
        "RAY_AUTH_TOKEN_PATH": str(home / "token"),
    }
    try:
        yield made
    finally:
        made.run("down")
        shutil.rmtree(home)


def write_models(folder: Path) -> None:
    """Write `plain` and `pair`: versions 1 and 2 of the same small model; `pair` has replicas."""
    for name, config in (("plain", ALL_VERSIONS), ("pair", TWO_REPLICAS)):
        for version in ("1", "2"):
            (folder / name / version).mkdir(parents=True)
            (folder / name / version / "model.onnx").write_bytes(models.tiny())
        (folder / name / "config.pbtxt").write_text(config)


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that were free a moment ago, all different."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = tuple(int(probe.getsockname()[1]) for probe in probes)
    for probe in probes:
        probe.close()
    return ports


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds; what it raises meanwhile counts as no."""
    excused = (OSError, AssertionError, http.client.HTTPException, psutil.Error)
    waiting.until(condition, what, limit_s=LIMIT_S, pause_s=LOOK_S, excused=excused)


class Callers:
    """HTTP and gRPC clients that call one after the other, from `with` to its end."""

    def __init__(self, target: Instance, model: str) -> None:
        """Call this model."""
        self._target = target
        self._model = model
        self._stop = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=body) for body in (self._http, self._http, self._grpc)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.until_answers(50)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(LIMIT_S)
        assert not any(thread.is_alive() for thread in self._threads), "a call never ended"

    def until_answers(self, more: int) -> None:
        """Wait for so many more right answers."""
        wanted = self.answers + more
        until(lambda: self.answers >= wanted, f"{more} more answers")

    def _http(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(
                "127.0.0.1", self._target.http, timeout=CALL_LIMIT_S
            )
            try:
                while not self._stop.wait(PAUSE_S):
                    connection.request("POST", f"/v2/models/{self._model}/infer", BODY)
                    response = connection.getresponse()
                    text = response.read()
                    self._note(text.decode(), is_right=response.status == 200)
            except (OSError, http.client.HTTPException) as error:
                self._note(repr(error), is_right=False)
            finally:
                connection.close()

    def _grpc(self) -> None:
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{self._target.grpc}") as client:
            while not self._stop.wait(PAUSE_S):
                try:
                    answer = grpc_answer(client, self._model)
                    self._note(repr(answer), is_right=bool(np.array_equal(answer, ANSWER)))
                except triton_grpc.InferenceServerException as error:
                    self._note(str(error), is_right=False)

    def _note(self, text: str, *, is_right: bool) -> None:
        if is_right:
            self.answers += 1
        else:
            self.failures.append(text)


def grpc_answer(client: triton_grpc.InferenceServerClient, model: str) -> np.ndarray:
    """Send one call over gRPC and return its output."""
    x = triton_grpc.InferInput("x", list(ROW.shape), "FP32")
    x.set_data_from_numpy(ROW)
    output = client.infer(model, [x], client_timeout=CALL_LIMIT_S).as_numpy("y")
    assert output is not None
    return output


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
