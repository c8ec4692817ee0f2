"""Pure: what HAProxy shall know, and the ordered runtime-API commands that take it there.

A `HaproxyState` is the route table in HAProxy's terms. Both sides of a change are one of these: the
wanted side is made from a route table, the other is what HAProxy was last told or, after adoption,
what it says of itself.

Order of a change: servers first, then map entries, then servers leave. So no route ever points at a
backend without the servers that belong to it. A flip of the live version is one map entry.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from serving.edge.haproxy_config import SERVER_OPTIONS
from serving.edge.haproxy_layout import (
    ASLEEP,
    INFER_PART,
    LIVE_MAP,
    MODELS_PART,
    NOTHING_READY,
    VERSIONS_MAP,
    VERSIONS_PART,
    WAITING,
    slot_names,
)
from serving.edge.routes import LiveRoute, RouteTable, WorkerAddress
from serving.errors import NotReadyError
from serving.ids import VersionKey

# A batch is answered in one go. 50 map commands take HAProxy some 3 ms, which is the longest that
# a call may wait behind one, and the text has to fit into one of HAProxy's buffers.
BATCH_COMMANDS: Final = 50
BATCH_BYTES: Final = 12_000
REGISTERED: Final = "New server registered."
DELETED: Final = "Server deleted."


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """A worker as HAProxy knows it. The name says the address too: a new address is a new name."""

    slot: str
    name: str

    def __str__(self) -> str:
        """Print as the runtime API wants it."""
        return f"{self.slot}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyState:
    """Servers and map entries."""

    servers: Mapping[Server, str] = field(default_factory=lambda: MappingProxyType({}))
    """Server → address, as `unix@PATH` or `HOST:PORT`; empty where it was read back."""
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    live: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def servers_by_slot(self) -> dict[str, dict[str, str]]:
        """Slot → server name → address."""
        slots: dict[str, dict[str, str]] = {}
        for server, address in self.servers.items():
            slots.setdefault(server.slot, {})[server.name] = address
        return slots

    def slots(self) -> frozenset[str]:
        """Every slot that has a server or that a map entry points to."""
        return self.routed_slots() | {server.slot for server in self.servers}

    def routed_slots(self) -> frozenset[str]:
        """Every slot that a map entry points to."""
        targets = (*self.versions.values(), *self.live.values())
        return frozenset(
            part for target in targets for part in target.split("|") if part[:1] == "s"
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands that travel together, and what HAProxy says when all of them succeed."""

    text: str
    replies: tuple[str, ...] = ()
    """The lines that are not empty, in order."""


def assign_slots(table: RouteTable, held: Mapping[str, str], slot_count: int) -> dict[str, str]:
    """Give every pool of a table a slot.

    Args:
        table: What shall be routed.
        held: Pool → slot, as assigned so far, pools on their way out included: their slots still
            have servers, so nobody else may have them yet.
        slot_count: How many there are.

    Raises:
        NotReadyError: There are not enough.
    """
    wanted = pools_of(table)
    taken = set(held.values())
    free = iter([name for name in slot_names(slot_count) if name not in taken])
    slots = {pool: held[pool] for pool in wanted if pool in held}
    for pool in sorted(wanted - slots.keys()):
        slot = next(free, None)
        if slot is None:
            raise NotReadyError(
                f"the edge cannot route to pool '{pool}': all {slot_count} pool slots are taken; "
                "start with a larger BASCULE_POOL_SLOTS, or unload dedicated versions"
            )
        slots[pool] = slot
    return slots


def pools_of(table: RouteTable) -> AbstractSet[str]:
    """Every pool that a table names."""
    routed = {route.pool for route in table.versions.values() if route.pool is not None}
    return routed | set(table.pools)


def wanted_state(
    table: RouteTable, slots: Mapping[str, str], node: str, run_dir: str = ""
) -> HaproxyState:
    """Say a route table in HAProxy's terms.

    Args:
        table: What shall be routed.
        slots: Pool → slot, for every pool of the table.
        node: This edge's node; workers elsewhere are reached by TCP.
        run_dir: The folder above HAProxy's: what lies in it is named from there, so that no
            character of the instance's path has a meaning to HAProxy; empty: nothing does.
    """
    servers = {
        Server(slots[pool], _server_name(worker)): _address(worker, node, run_dir)
        for pool, workers in table.pools.items()
        for worker in workers
        if worker.node == node or worker.tcp
    }
    return HaproxyState(
        servers=servers,
        versions={
            infer_path(key.model, key.version): _target(table, slots, key) for key in table.versions
        },
        live={
            infer_path(model): _live_target(table, slots, model, route)
            for model, route in table.live.items()
        },
    )


def infer_path(model: str, version: int | None = None) -> str:
    """Return a map's key: the path of a call over HTTP, its name as HAProxy's `url_enc` writes."""
    named = "" if version is None else f"{VERSIONS_PART}{version}"
    return f"{MODELS_PART}{quote(model, safe='')}{named}{INFER_PART}"


def arrivals(
    old: HaproxyState,
    new: HaproxyState,
    *,
    ready: AbstractSet[Server],
    leaving: AbstractSet[Server],
) -> list[Batch]:
    """Commands that add servers.

    Args:
        old: What HAProxy knows.
        new: What it shall know.
        ready: Those of the new servers that answered when asked; others start as down, and come up
            by HAProxy's own checks. (A new server counts as up until a check fails.)
        leaving: Servers that drain already and were not deleted yet: they are called back.
    """
    commands = []
    for server in sorted(new.servers.keys() - old.servers.keys()):
        if server in leaving:
            commands.append(Batch(f"set server {server} state ready"))
            continue
        commands.append(
            Batch(f"add server {server} {new.servers[server]} {SERVER_OPTIONS}", (REGISTERED,))
        )
        commands.append(Batch(f"enable server {server}"))
        if server not in ready:
            commands.append(Batch(f"set server {server} health down"))
        commands.append(Batch(f"enable health {server}"))
    return list(_joined(commands))


def routings(old: HaproxyState, new: HaproxyState) -> list[Batch]:
    """Commands that change map entries; each entry changes at once, for all later calls."""
    return [
        *_map_changes(VERSIONS_MAP, old.versions, new.versions),
        *_map_changes(LIVE_MAP, old.live, new.live),
    ]


def departures(old: HaproxyState, new: HaproxyState) -> list[Batch]:
    """Commands after which servers that leave get no new calls and finish those they have."""
    leaving = sorted(old.servers.keys() - new.servers.keys())
    return list(_joined(Batch(f"set server {server} state drain") for server in leaving))


def retirement(server: Server) -> Batch:
    """The command that takes a drained server's idle connections from it."""
    return Batch(f"set server {server} state maint")


def deletion(server: Server) -> Batch:
    """The command that deletes a retired server; refused while a connection is attached."""
    return Batch(f"del server {server}", (DELETED,))


def map_text(entries: Mapping[str, str]) -> str:
    """Write a map as the file that HAProxy reads at its start."""
    return "".join(f"{key} {entries[key]}\n" for key in sorted(entries))


def _map_changes(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[Batch]:
    added = [f"{key} {new[key]}" for key in sorted(new.keys() - old.keys())]
    changed = [key for key in sorted(new.keys() & old.keys()) if new[key] != old[key]]
    removed = sorted(old.keys() - new.keys())
    sets = (Batch(f"set map {name} {key} {new[key]}") for key in changed)
    deletes = (Batch(f"del map {name} {key}") for key in removed)
    # A payload is by far the fastest way in; it ends with an empty line.
    adds = (Batch(f"add map {name} <<\n{lines}\n") for lines in _chunks(added))
    return [*adds, *_joined(sets), *_joined(deletes)]


def _chunks(lines: list[str]) -> Iterator[str]:
    chunk: list[str] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > BATCH_BYTES:
            yield "\n".join(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line) + 1
    if chunk:
        yield "\n".join(chunk)


def _joined(commands: Iterable[Batch]) -> Iterator[Batch]:
    texts: list[str] = []
    replies: list[str] = []
    size = 0
    for command in commands:
        full = len(texts) >= BATCH_COMMANDS or size + len(command.text) > BATCH_BYTES
        if texts and full:
            yield Batch(";".join(texts), tuple(replies))
            texts, replies, size = [], [], 0
        texts.append(command.text)
        replies.extend(command.replies)
        size += len(command.text) + 1
    if texts:
        yield Batch(";".join(texts), tuple(replies))


def _target(table: RouteTable, slots: Mapping[str, str], key: VersionKey) -> str:
    route = table.versions.get(key)
    if route is None or route.pool is None:
        return f"{WAITING}|{key.version}"
    if route.asleep:
        return f"{ASLEEP}|{key.version}"
    return f"{slots[route.pool]}|{key.version}"


def _live_target(table: RouteTable, slots: Mapping[str, str], model: str, route: LiveRoute) -> str:
    if route.version is None:
        return NOTHING_READY
    live = _target(table, slots, VersionKey(model, route.version))
    if route.candidate is None or route.candidate_share <= 0:
        return live
    candidate = _target(table, slots, VersionKey(model, route.candidate))
    if candidate.startswith((WAITING, ASLEEP)):
        return live
    key = f"|{route.sticky_by}" if route.sticky_by else ""
    return f"{live}|{route.candidate_share}|{candidate}{key}"


def _server_name(worker: WorkerAddress) -> str:
    place = f"{worker.node}\n{worker.socket}\n{worker.tcp}"
    return f"{worker.worker}.{zlib.crc32(place.encode()):08x}"


def _address(worker: WorkerAddress, node: str, run_dir: str) -> str:
    if worker.node != node:
        return worker.tcp
    if run_dir and worker.socket.startswith(f"{run_dir}/"):
        return f"unix@../{worker.socket.removeprefix(f'{run_dir}/')}"
    return f"unix@{worker.socket}".replace("\\", "\\\\").replace(" ", "\\ ")
