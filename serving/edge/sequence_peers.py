"""Tells this node's workers which other versions' workers may have sequences of their models.

Before a table is obeyed: the first step that reaches another version's worker finds it prepared. A
worker that was restarted knows nothing, so those that have peers are told again and again.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
import structlog

from serving.edge.control import Snapshot
from serving.edge.routes import WorkerAddress
from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.local_http import LocalHttp
from serving.wire.peer_table import PeerTable, SequencePeer

log = structlog.get_logger(__name__)

AGAIN_S: Final = 2.0
TELL_LIMIT_S: Final = 5.0
REMIND_LIMIT_S: Final = 1.0
"""For one that was told before: only if it was restarted since has it anything to learn."""


def peer_tables(snapshot: Snapshot, node: str) -> dict[WorkerAddress, PeerTable]:
    """Return what each worker of a node that keeps sequences has to know. Pure."""
    keepers = tuple(_keepers(snapshot))
    return {
        worker: PeerTable(
            peers=tuple(
                _peer(key, other, node)
                for key, other in keepers
                if other != worker and key.model in models and (other.node == node or other.tcp)
            )
        )
        for worker, models in _models(keepers).items()
        if worker.node == node
    }


class PeerTeller:
    """Hands the tables to the workers."""

    def __init__(self, node: str) -> None:
        """Know of no worker."""
        self._node = node
        self._tables: Mapping[WorkerAddress, PeerTable] = {}
        self._told: dict[WorkerAddress, PeerTable] = {}

    async def hear(self, snapshot: Snapshot) -> None:
        """Take a snapshot that is about to be obeyed; return when its workers know their peers.

        Also those that were told before: one may have been restarted since, and calls may move.
        One that cannot be reached is told later.
        """
        self._tables = peer_tables(snapshot, self._node)
        self._told = {worker: self._told.get(worker, PeerTable()) for worker in self._tables}
        await self._tell(self._due())

    async def keep_telling(self) -> None:
        """Tell all that have peers again and again, until cancelled."""
        while True:
            await asyncio.sleep(AGAIN_S)
            await self._tell(self._due())

    def _due(self) -> dict[WorkerAddress, PeerTable]:
        return {
            worker: table
            for worker, table in self._tables.items()
            if table.peers or table != self._told.get(worker)
        }

    async def _tell(self, due: Mapping[WorkerAddress, PeerTable]) -> None:
        async with asyncio.TaskGroup() as group:
            for worker, table in due.items():
                group.create_task(self._tell_one(worker, table))

    async def _tell_one(self, worker: WorkerAddress, table: PeerTable) -> None:
        body = msgspec.json.encode(table)
        limit_s = REMIND_LIMIT_S if table == self._told.get(worker) else TELL_LIMIT_S
        async with LocalHttp(worker.control) as client:
            try:
                await client.ask("POST", "/worker/peers", body, timeout_s=limit_s)
            except NotReadyError as error:
                log.info("worker_not_told", worker=worker.worker, error=error.message)
            else:
                self._told[worker] = table


def _keepers(snapshot: Snapshot) -> Iterator[tuple[VersionKey, WorkerAddress]]:
    """Return the routed versions that are served in sequences, with their workers."""
    table = snapshot.routes
    for key, record in snapshot.versions.items():
        if record.served is None or not record.served.has_sequences:
            continue
        route = table.versions.get(key)
        pool = None if route is None else route.pool
        for worker in table.pools.get(pool, ()) if pool is not None else ():
            yield key, worker


def _models(
    keepers: tuple[tuple[VersionKey, WorkerAddress], ...],
) -> dict[WorkerAddress, set[str]]:
    models: dict[WorkerAddress, set[str]] = {}
    for key, worker in keepers:
        models.setdefault(worker, set()).add(key.model)
    return models


def _peer(key: VersionKey, worker: WorkerAddress, node: str) -> SequencePeer:
    is_near = worker.node == node
    return SequencePeer(
        model=key.model,
        version=key.version,
        worker=worker.worker,
        socket=worker.socket if is_near else "",
        tcp="" if is_near else worker.tcp,
    )
