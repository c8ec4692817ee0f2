"""The last snapshot and slot assignment, on disk, so that a restarted edge serves at once. Pure.

JSON knows no keys but text, so the mappings keyed by version are stored as lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from serving.edge.control import Snapshot, VersionRecord
from serving.edge.routes import LiveRoute, RouteTable, VersionRoute, WorkerAddress
from serving.ids import VersionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What an edge remembers."""

    instance: str
    """Whose it is: another instance's memory says nothing about our workers."""
    snapshot: Snapshot
    slots: Mapping[str, str]
    """Pool → slot."""


@dataclass(frozen=True, slots=True)
class _StoredRoute:
    model: str
    version: int
    pool: str | None
    reason: str
    asleep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    instance: str
    revision: int
    slots: dict[str, str]
    pools: dict[str, tuple[WorkerAddress, ...]]
    routes: tuple[_StoredRoute, ...]
    live: dict[str, LiveRoute]
    versions: tuple[VersionRecord, ...]
    known_models: tuple[str, ...]
    ready: bool
    settled: bool


def encode(memory: Remembered) -> bytes:
    """Write what an edge remembers as JSON."""
    snapshot = memory.snapshot
    table = snapshot.routes
    return msgspec.json.encode(
        _Stored(
            instance=memory.instance,
            revision=table.revision,
            slots=dict(memory.slots),
            pools=dict(table.pools),
            routes=tuple(
                _StoredRoute(key.model, key.version, route.pool, route.reason, route.asleep)
                for key, route in table.versions.items()
            ),
            live=dict(table.live),
            versions=tuple(snapshot.versions.values()),
            known_models=tuple(sorted(snapshot.known_models)),
            ready=snapshot.ready,
            settled=snapshot.settled,
        )
    )


def decode(text: bytes) -> Remembered | None:
    """Read it back; None if it is not of this form (another release wrote it, or it is damaged)."""
    try:
        stored = msgspec.json.decode(text, type=_Stored)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    table = RouteTable(
        revision=stored.revision,
        pools=stored.pools,
        versions={
            VersionKey(route.model, route.version): VersionRoute(
                route.pool, route.reason, route.asleep
            )
            for route in stored.routes
        },
        live=stored.live,
    )
    snapshot = Snapshot(
        routes=table,
        versions={record.key: record for record in stored.versions},
        known_models=frozenset(stored.known_models),
        ready=stored.ready,
        settled=stored.settled,
    )
    return Remembered(instance=stored.instance, snapshot=snapshot, slots=stored.slots)
