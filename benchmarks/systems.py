"""What is compared: each serves the model `tiny`, is started afresh, and ends as a whole."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.instance import STOP_LIMIT_S, free_ports, is_ready, running_instance, until
from serving.settings import inherited_environment

START_LIMIT_S: Final = 120.0
MAX_BATCH_ROWS: Final = 64  # as the repository's configuration says
REFERENCE_PORTS: Final = 32  # a reference may use its base port and the ones that follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a running system listens; empty for a wire that it does not speak."""

    http: str = ""
    grpc: str = ""
    grpc_over_http1: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One way to serve the model."""

    name: str
    start: Callable[[], AbstractContextManager[Endpoints]]


def all_systems(repository: Path, reference: Sequence[str]) -> list[System]:
    """Every system that can be had here; `reference` is a command, or empty."""
    file = repository / "tiny" / "1" / "model.onnx"
    systems = [
        System(name="worker", start=lambda: _worker(file)),
        System(name="edge", start=lambda: _edge(repository)),
        System(name="grpc.aio", start=lambda: _grpc_aio(file)),
        System(name="ray serve", start=lambda: _ray_serve(file, {})),
        System(
            name="ray serve, haproxy",
            start=lambda: _ray_serve(file, {"RAY_SERVE_ENABLE_HA_PROXY": "1"}),
        ),
    ]
    if reference:
        systems.append(System(name="reference", start=lambda: _reference(reference, repository)))
    return systems


@contextmanager
def _edge(repository: Path) -> Iterator[Endpoints]:
    with running_instance(repository) as instance:
        yield Endpoints(http=instance.http, grpc=instance.grpc)


@contextmanager
def _worker(file: Path) -> Iterator[Endpoints]:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "serving.worker", "--tcp", address]
    command += ["--max-batch-rows", str(MAX_BATCH_ROWS), str(file)]
    with _process(command, is_ready=lambda _: is_ready(address)):
        yield Endpoints(http=address, grpc=address, grpc_over_http1=True)


@contextmanager
def _grpc_aio(file: Path) -> Iterator[Endpoints]:
    (port,) = free_ports(1)
    peer = "benchmarks.peers.grpc_aio"
    with _process([sys.executable, "-m", peer, str(file), "--port", str(port)]):
        yield Endpoints(grpc=f"127.0.0.1:{port}")


@contextmanager
def _ray_serve(file: Path, variables: Mapping[str, str]) -> Iterator[Endpoints]:
    (port,) = free_ports(1)
    peer = "benchmarks.peers.ray_serve"
    with _process([sys.executable, "-m", peer, str(file), "--port", str(port)], variables):
        yield Endpoints(http=f"127.0.0.1:{port}")


@contextmanager
def _reference(command: Sequence[str], repository: Path) -> Iterator[Endpoints]:
    """Start a command that serves `tiny`; its words may hold {base}, {folder}, {repository}."""
    base = _free_range(REFERENCE_PORTS)
    with tempfile.TemporaryDirectory(prefix="reference-") as folder:
        places = {"base": base, "folder": folder, "repository": repository}
        with _process([word.format(**places) for word in command]):
            yield Endpoints(http=f"127.0.0.1:{base}", grpc=f"127.0.0.1:{base + 1}")


def _free_range(count: int) -> int:
    """Return the first of some ports in a row; what follows a free port is nearly always free."""
    (base,) = free_ports(1)
    return min(base, 2**16 - count)


def _says_ready(output: str) -> bool:
    return any(line.startswith("ready") for line in output.splitlines())


@contextmanager
def _process(
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
    is_ready: Callable[[str], bool] = _says_ready,
) -> Iterator[None]:
    """Run a command until the block ends; `is_ready` judges by what it printed."""
    environment = inherited_environment() | dict(variables or {})
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
        )

        def output() -> str:
            return Path(log.name).read_text()

        try:
            until(
                lambda: is_ready(output()),
                START_LIMIT_S,
                f"{' '.join(command)}: ready",
                is_alive=lambda: process.poll() is None,
                tell=output,
            )
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
