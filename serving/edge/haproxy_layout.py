"""What HAProxy's configuration depends on, and the names of its files, sockets and backends."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from serving.edge.haproxy_log import AccessLog
from serving.host_port import HostPort

ADMIN_SOCKET: Final = "haproxy.sock"
HTTP_SOCKET: Final = "http.sock"
RELAY_SOCKET: Final = "relay.sock"
EXPORTER_SOCKET: Final = "exporter.sock"
VERSIONS_MAP: Final = "versions.map"
LIVE_MAP: Final = "live.map"
MODELS_PART: Final = "/v2/models/"
VERSIONS_PART: Final = "/versions/"
INFER_PART: Final = "/infer"
WAITING: Final = "wait"
NOTHING_READY: Final = "none|none"
ASLEEP: Final = "asleep"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLayout:
    """What the configuration depends on."""

    http: HostPort
    grpc: HostPort
    metrics: HostPort
    front_desk: str
    """Socket of the front desk's HTTP side, relative to HAProxy's folder."""
    front_desk_grpc: str
    pool_slots: int
    sticky_headers: tuple[str, ...]
    """Headers whose value may decide between live and candidate."""
    threads: int
    max_request_bytes: int
    max_connections: int
    access_log: AccessLog = "off"


def slot_names(count: int) -> tuple[str, ...]:
    """Name the backends that pools are assigned to."""
    return tuple(f"s{index:04d}" for index in range(count))


def indented(lines: Iterable[str]) -> str:
    """Join directives of one section."""
    return "\n".join(f"    {line}" for line in lines)
