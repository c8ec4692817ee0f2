"""A worker's hot path in this process: its real parts, and connections without sockets.

Bytes are given to the real protocol as a socket would give them; replies come out of a transport
that counts them. Loop, parser, codecs, batcher, engine and watchers are the worker's. Not its
clock: each reading is a microsecond after the one before, so that no decision hangs on how fast a
machine is.
"""

import asyncio
import gc
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from serving import clock
from serving.registry.repository import Repository
from serving.registry.version import VersionSpec
from serving.wire.regions import NoRegions
from serving.worker.__main__ import GC_THRESHOLD, SWITCH_INTERVAL_S
from serving.worker.exchange import Desk
from serving.worker.executor import Executor
from serving.worker.handover import Handover
from serving.worker.listener import InferProtocol
from serving.worker.loaded import LoadedVersion, Shop, nameless, open_version
from serving.worker.loading import load_parts
from serving.worker.own_environment import OwnEnvironment
from serving.worker.prediction_names import PredictionNames
from serving.worker.queued import QueueBytes
from serving.worker.recorder import FlightRecorder
from serving.worker.response_cache import ResponseCache
from serving.worker.tap import Tap
from serving.worker.targets import Targets

STEP_NS: Final = 1000
MAX_BYTES: Final = 64 << 20


class RefusedError(Exception):
    """A call got no answer, or one that it should not have."""


class CountingTransport(asyncio.Transport):
    """A client that reads at once: keeps how many replies were written, and the last."""

    def __init__(self) -> None:
        """Nothing was written yet."""
        super().__init__()
        self.reply_count = 0
        self.last: Iterable[bytes | bytearray | memoryview] = ()
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take a reply of one piece."""
        self.reply_count += 1
        self.last = (data,)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Take a reply of several."""
        self.reply_count += 1
        self.last = list_of_data

    def is_closing(self) -> bool:
        """Whether the worker ended the connection."""
        return self._is_closing

    def close(self) -> None:
        """End it."""
        self._is_closing = True

    def pause_reading(self) -> None:
        """Nothing comes unasked."""

    def resume_reading(self) -> None:
        """Nothing waits."""


class Connection:
    """One client's connection, in the worker's eyes."""

    def __init__(self, desk: Desk, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        """Connect."""
        self.transport = CountingTransport()
        self.protocol = InferProtocol(desk, config, ServerState(), {"is_local": False}, loop)
        self.protocol.connection_made(self.transport)


class InProcessWorker:
    """Versions that answer, and connections to ask them over."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        taps: tuple[Tap, ...] = (),
        names: Callable[[VersionSpec], PredictionNames | None] = nameless,
    ) -> None:
        """Host nothing yet; the clock begins at one step. Take who watches."""
        now_ns = itertools.count(STEP_NS, STEP_NS).__next__
        self._loop = loop
        self._targets = Targets()
        self._executor = Executor(loop, 1)
        self._shop = Shop(
            loop=loop,
            executor=self._executor,
            queue_bytes=QueueBytes(),
            max_queue_bytes=MAX_BYTES,
            now_ns=now_ns,
            cache=ResponseCache(0),
            handover=Handover("counted", loop, now_ns),
            regions=NoRegions(),
            utc_s=clock.utc_s,
            taps=taps,
            name_predictions=names,
        )
        self.desk = Desk(
            self._targets,
            handover=self._shop.handover,
            loop=loop,
            now_ns=now_ns,
            max_body_bytes=MAX_BYTES,
        )
        self._config = Config(
            _no_asgi, http=InferProtocol, ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, date_header=False,
        )  # fmt: skip
        self._config.load()

    def host(self, repository: Path) -> Sequence[LoadedVersion]:
        """Load every version of a repository, one thread each, as a worker does."""
        own = OwnEnvironment(None)
        recorder = FlightRecorder(None)
        loaded = [self._load(spec, own, recorder) for spec in _versions(repository)]
        for version in loaded:
            self._targets.put(version)
        return loaded

    def connect(self, count: int) -> Sequence[Connection]:
        """Open that many connections."""
        return [Connection(self.desk, self._config, self._loop) for _ in range(count)]

    def close(self) -> None:
        """End its thread."""
        self._executor.close(1.0)

    def _load(
        self, spec: VersionSpec, own: OwnEnvironment, recorder: FlightRecorder
    ) -> LoadedVersion:
        note = recorder.note(spec.key)
        return open_version(self._shop, spec, load_parts(spec, note, own), note)


def collect_as_a_worker_does() -> None:
    """Set the collector as a worker's is, so that collections cost what they cost there."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


async def ask(connections: Sequence[Connection], request: bytes, rounds: int) -> None:
    """Send a request over all connections at once, that many times, each round when all is read.

    Raises:
        RefusedError: A call was not answered.
    """
    ports = [connection.protocol.data_received for connection in connections]
    last = connections[-1].transport
    for _ in range(rounds):
        wanted_count = last.reply_count + 1
        for receive in ports:
            receive(request)
        while last.reply_count < wanted_count:
            if last.is_closing():
                raise RefusedError("the worker closed a connection")
            await asyncio.sleep(0)


def _versions(repository: Path) -> list[VersionSpec]:
    specs = [
        spec for scan in Repository(repository).scan().models.values() for spec in scan.versions
    ]
    return [replace(spec, policy=replace(spec.policy, threads=1)) for spec in specs]


async def _no_asgi(_scope: object, _receive: object, _send: object) -> None:
    raise RefusedError("a request was no infer call")
