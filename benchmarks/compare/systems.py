"""What is compared: each serves the model `tiny`, is started afresh, and ends as a whole."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from benchmarks.compare.floor import answering_haproxy
from benchmarks.compare.processes import OUTPUT, running, tree
from benchmarks.compare.required import EDGE
from benchmarks.compare.wires import (
    BINARY,
    PLAIN_JSON,
    RAW,
    V2_JSON,
    Wire,
    bentoml_json,
    litserve_json,
    torchserve_bytes,
    v2_binary,
    v2_json,
)
from benchmarks.instance import free_ports, running_instance
from benchmarks.loads import Array, Request
from benchmarks.peers.environments import python_of

MAX_BATCH_ROWS: Final = 64  # as the repository's configuration says
JIT_WARM_UP_S: Final = 10.0
"""Java's compiler is at work until then: a call costs TorchServe three times as much at first."""
REFERENCE_PORTS: Final = 32  # a reference may use its base port and the ones that follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a running system listens; empty for a wire that it does not speak."""

    processes: Callable[[], Sequence[psutil.Process]]
    http: str = ""
    wire: Wire
    """Its fastest on HTTP."""
    grpc: str = ""
    """Where it takes the protocol's ModelInfer with raw contents."""
    grpc_over_http1: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a system is started with."""

    repository: Path
    """With `tiny`, in Triton's layout."""
    folder: Path
    """Empty, and its own."""
    request: Request
    answer: Array
    """The right one: the engine's own."""

    @property
    def file(self) -> Path:
        """The model."""
        return self.repository / "tiny" / "1" / "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One way to serve the model."""

    name: str
    about: str
    """Its parts, and how they were set."""
    wire: str = BINARY
    """Its fastest on HTTP; empty: none."""
    warm_up_s: float = 0.0
    """Under load, before anything counts: beyond the second that every load begins with."""
    start: Callable[[Place], AbstractContextManager[Endpoints]]


class UnknownSystemError(Exception):
    """No system has this name; says which there are."""


def chosen(systems: Sequence[System], only: Sequence[str]) -> list[System]:
    """Return the systems of these names; all without any.

    Raises:
        UnknownSystemError: One has no system.
    """
    names = [system.name for system in systems]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise UnknownSystemError(
            f"--only: there is no system '{unknown[0]}': there are {', '.join(names)}"
        )
    return [system for system in systems if not only or system.name in only]


def all_systems(reference: str) -> list[System]:
    """Every system; `reference` is a command, or empty."""
    systems = [
        System(
            name="HAProxy alone",
            about="the edge's HAProxy answers by itself: a constant, whatever is asked",
            start=_haproxy,
        ),
        System(name="worker", about="a worker without HAProxy", start=_worker),
        System(name=EDGE, about="HAProxy and one worker: `bascule serve`", start=_edge),
        System(
            name="Triton",
            about="Python backend with ONNX Runtime, dynamic batching, one instance",
            start=partial(_peer, "triton", v2_binary, has_grpc=True),
        ),
        System(
            name="TorchServe",
            about="own handler, batches of up to 64, one worker, no line of log a call",
            wire=RAW,
            warm_up_s=JIT_WARM_UP_S,
            start=partial(_peer, "torchserve", torchserve_bytes, has_grpc=False),
        ),
        System(
            name="MLServer",
            about="own runtime, adaptive batching, in its own process",
            wire=V2_JSON,
            start=partial(_peer, "mlserver", v2_json, has_grpc=True),
        ),
        System(
            name="LitServe",
            about="batches of up to 64, one worker, one HTTP server",
            wire=PLAIN_JSON,
            start=partial(_peer, "litserve", litserve_json, has_grpc=False),
        ),
        System(
            name="BentoML",
            about="adaptive batching, one worker",
            wire=PLAIN_JSON,
            start=partial(_peer, "bentoml", bentoml_json, has_grpc=False),
        ),
        System(name="grpc.aio", about="a plain gRPC server, no batches", wire="", start=_grpc_aio),
        System(
            name="Ray Serve, HAProxy",
            about="its HAProxy mode, one replica, no batches",
            start=partial(_ray_serve, {"RAY_SERVE_ENABLE_HA_PROXY": "1"}),
        ),
        System(
            name="Ray Serve",
            about="its own proxy, one replica, no batches",
            start=partial(_ray_serve, {}),
        ),
    ]
    if reference:
        start = partial(_reference, shlex.split(reference))
        systems.append(System(name="reference", about=reference, start=start))
    return systems


@contextmanager
def _edge(place: Place) -> Iterator[Endpoints]:
    with running_instance(place.repository) as instance:
        yield Endpoints(
            http=instance.http,
            wire=v2_binary(place.request),
            grpc=instance.grpc,
            processes=instance.processes,
        )


@contextmanager
def _haproxy(place: Place) -> Iterator[Endpoints]:
    wire = v2_binary(place.request)
    command, address = answering_haproxy(place.folder, place.answer)
    with running(command, place.folder, partial(_answers, wire, address)) as root:
        yield Endpoints(http=address, wire=wire, processes=partial(tree, root))


@contextmanager
def _worker(place: Place) -> Iterator[Endpoints]:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "serving.worker", "--tcp", address]
    command += ["--max-batch-rows", str(MAX_BATCH_ROWS), str(place.file)]
    wire = v2_binary(place.request)
    with running(command, place.folder, partial(_answers, wire, address)) as root:
        yield Endpoints(
            http=address,
            wire=wire,
            grpc=address,
            grpc_over_http1=True,
            processes=partial(tree, root),
        )


@contextmanager
def _grpc_aio(place: Place) -> Iterator[Endpoints]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.peers.grpc_aio", str(place.file)]
    with running(
        [*command, "--port", str(port)], place.folder, partial(_says_ready, place.folder)
    ) as root:
        yield Endpoints(
            wire=v2_binary(place.request), grpc=f"127.0.0.1:{port}", processes=partial(tree, root)
        )


@contextmanager
def _peer(
    name: str, wire_of: Callable[[Request], Wire], place: Place, *, has_grpc: bool
) -> Iterator[Endpoints]:
    """Start a peer in its own environment."""
    port, grpc_port = free_ports(2)
    command = [str(python_of(name)), "-m", f"benchmarks.peers.{name}_server", str(place.file)]
    command += ["--folder", str(place.folder), "--port", str(port), "--grpc-port", str(grpc_port)]
    address, wire = f"127.0.0.1:{port}", wire_of(place.request)
    grpc = f"127.0.0.1:{grpc_port}" if has_grpc else ""
    with running(command, place.folder, partial(_answers, wire, address)) as root:
        yield Endpoints(http=address, wire=wire, grpc=grpc, processes=partial(tree, root))


@contextmanager
def _ray_serve(variables: Mapping[str, str], place: Place) -> Iterator[Endpoints]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.peers.ray_serve", str(place.file)]
    command += ["--port", str(port)]
    address, wire = f"127.0.0.1:{port}", v2_binary(place.request)
    with running(command, place.folder, partial(_says_ready, place.folder), variables) as root:
        yield Endpoints(http=address, wire=wire, processes=partial(tree, root))


@contextmanager
def _reference(command: Sequence[str], place: Place) -> Iterator[Endpoints]:
    """Start a command that serves `tiny`; its words may hold {base}, {folder}, {repository}."""
    (free,) = free_ports(1)
    base = min(free, 2**16 - REFERENCE_PORTS)  # what follows a free port is nearly always free
    places = {"base": base, "folder": place.folder, "repository": place.repository}
    words = [word.format(**places) for word in command]
    with running(words, place.folder, partial(_says_ready, place.folder)) as root:
        yield Endpoints(
            http=f"127.0.0.1:{base}",
            wire=v2_binary(place.request),
            grpc=f"127.0.0.1:{base + 1}",
            processes=partial(tree, root),
        )


def _answers(wire: Wire, address: str) -> bool:
    try:
        wire.ask(address)
    except OSError:
        return False
    return True


def _says_ready(folder: Path) -> bool:
    said = (folder / OUTPUT).read_text(errors="replace").splitlines()
    return any(line.startswith("ready") for line in said)
