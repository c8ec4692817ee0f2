"""An edge with real HAProxy on free ports, and what a test needs to speak to it."""

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from yarl import URL

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.edge.control import Snapshot, VersionRecord
from serving.edge.edge import FOLDER, LOCAL_NODE, Edge
from serving.edge.haproxy_admin import AdminSocket
from serving.edge.haproxy_layout import ADMIN_SOCKET
from serving.edge.routes import LiveRoute, RouteTable, VersionRoute, WorkerAddress
from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.registry.version import ServedVersion, VersionState
from serving.settings import Settings, load_settings
from serving.supervise import Child
from tests.fakes.control import FakeControl
from tests.fakes.edge_worker import EdgeWorker
from tests.fakes.waiting import while_others_work

SPEC = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 2))
SERVED = ServedVersion(
    platform="onnxruntime_onnx",
    backend="onnxruntime",
    inputs=(SPEC,),
    outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 2)),),
    max_batch_rows=8,
    device="cpu",
    threads=1,
    load_s=0.25,
    run_s=0.001,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, content type and body of an HTTP reply."""

    status: int
    content_type: str
    body: bytes


@dataclass(slots=True)
class Bench:
    """A started edge."""

    edge: Edge
    settings: Settings
    control: FakeControl
    http: aiohttp.ClientSession
    workers: dict[str, EdgeWorker] = field(default_factory=dict)
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    def worker_path(self, name: str) -> Path:
        """Where a worker listens."""
        return self.settings.run_dir / f"{name}.sock"

    async def add_worker(
        self, name: str, *, delay_s: float = 0.0, dies: bool = False
    ) -> WorkerAddress:
        """Start a fake worker."""
        worker = self.workers[name] = EdgeWorker(name, delay_s=delay_s, dies=dies)
        await self.stack.enter_async_context(worker.serving(self.worker_path(name)))
        return WorkerAddress(name, LOCAL_NODE, str(self.worker_path(name)))

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request to the HTTP port; the path goes out as it is."""
        url = f"http://{self.settings.http}{path}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await fetch(self.http, method, url, body, sent)

    async def version_of(self, path: str, **headers: str) -> str:
        """Send an infer call; return which version the edge chose."""
        return (await self.infer(path, **headers))["model_version"]

    async def infer(self, path: str, **headers: str) -> dict[str, str]:
        """Send an infer call that must succeed; return the reply."""
        url = URL(f"http://{self.settings.http}{path}", encoded=True)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.post(url, data=b"{}", headers=sent) as reply:
            assert reply.status == 200, await reply.text()
            answer: dict[str, str] = await reply.json()
            return answer


async def fetch(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request to any address."""
    target = URL(url, encoded=True)
    async with session.request(method, target, data=body or None, headers=headers) as reply:
        content = await reply.read()
        return Answer(reply.status, reply.headers.get("content-type", ""), content)


def free_port() -> int:
    """A TCP port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def edge_settings(home: Path, **more: object) -> Settings:
    """Settings on free ports."""
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("http", "grpc", "metrics")}
    return load_settings(**{"home": home, "pool_slots": 8, "drain_s": 60.0, **ports, **more})


@contextlib.contextmanager
def home_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="bascule-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def running_edge(
    settings: Settings, control: FakeControl | None = None, *, outlives: bool = False
) -> AsyncIterator[Bench]:
    """Start an edge; end it, and its workers, at the end."""
    asked = control or FakeControl()
    async with (
        asyncio.TaskGroup() as group,
        aiohttp.ClientSession() as http,
        contextlib.AsyncExitStack() as stack,
    ):
        edge = Edge(settings, asked, group.create_task, instance="test", outlives=outlives)
        await edge.start()
        try:
            yield Bench(edge, settings, asked, http, stack=stack)
        finally:
            await edge.stop()


@contextlib.asynccontextmanager
async def fresh_edge(**more: object) -> AsyncIterator[Bench]:
    """Start an edge in a folder of its own."""
    with home_folder() as home:
        async with running_edge(edge_settings(home, **more)) as bench:
            yield bench


@contextlib.asynccontextmanager
async def outliving_home(**more: object) -> AsyncIterator[Settings]:
    """A folder whose HAProxy stays when its edge ends, and is ended with the folder."""
    with home_folder() as home:
        settings = edge_settings(home, **more)
        try:
            yield settings
        finally:
            await _end_haproxy(settings.run_dir / FOLDER)


def snapshot(
    revision: int,
    pools: Mapping[str, Iterable[WorkerAddress]],
    versions: Mapping[tuple[str, int], str | None],
    live: Mapping[str, LiveRoute | int | None],
) -> Snapshot:
    """A snapshot in which every version with a pool is READY."""
    routes = RouteTable(
        revision=revision,
        pools={pool: tuple(workers) for pool, workers in pools.items()},
        versions={VersionKey(*key): VersionRoute(pool) for key, pool in versions.items()},
        live={
            model: route if isinstance(route, LiveRoute) else LiveRoute(route)
            for model, route in live.items()
        },
    )
    records = {
        VersionKey(*key): VersionRecord(
            model=key[0],
            version=key[1],
            state=VersionState.READY if pool else VersionState.LOADING,
            pool=pool,
            served=SERVED if pool else None,
        )
        for key, pool in versions.items()
    }
    return Snapshot(
        routes=routes, versions=records, known_models=frozenset(live), ready=True, settled=True
    )


async def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds that nobody tells."""
    await while_others_work(condition, "what the test waits for")


async def _end_haproxy(folder: Path) -> None:
    """End the HAProxy that was left in a folder, if one was: no edge will adopt it."""
    with contextlib.suppress(NotReadyError):
        facts = await AdminSocket(folder / ADMIN_SOCKET).information()
        child = Child.adopt("haproxy", int(facts["Pid"]))
        if child is not None:
            await child.stop(0.0)
