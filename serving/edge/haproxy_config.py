"""Pure: settings → the text of haproxy.cfg. Written at a start of HAProxy; nothing reloads it.

All paths are relative to HAProxy's working folder, so no path of the machine needs quoting, and
none can be too long. How a call finds its way is in `haproxy_frontends.py`.
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from runtimes.errors import Code
from serving.edge.haproxy_errorfiles import DIED, FRONT_DESK_DIED, error_files, http_faults
from serving.edge.haproxy_frontends import grpc_frontend, http_frontend
from serving.edge.haproxy_layout import (
    ADMIN_SOCKET,
    EXPORTER_SOCKET,
    HTTP_SOCKET,
    RELAY_SOCKET,
    EdgeLayout,
    indented,
    slot_names,
)
from serving.edge.haproxy_log import log_target
from serving.edge.haproxy_replies import grpc_fault, json_reply
from serving.wire import refusals

BUFFER_BYTES: Final = 32_768
"""A request must fit one to be sent again. HAProxy keeps a copy of it for that, and copies whole
buffers: 66,800 of 109,900 instructions a call under callgrind, some 8 of 46 µs (2 busy cores). The
way through the rules takes some 9,000 more than a plain proxy."""
HOT_BYTES: Final = 8 << 20
"""Holds the buffers of 64 calls; with the default, of 4, a call took 14.6 in place of 14.0 µs."""
MAX_STREAMS: Final = 200  # of one connection

# A restart of a worker takes 0.5 to 1 s: three failed checks leave its calls time to be retried.
# What is said here is said in full, because dynamic servers inherit nothing.
SERVER_OPTIONS: Final = (
    "weight 100 maxconn 4096 check inter 1s fastinter 500ms downinter 250ms fall 3 rise 1 "
    "pool-max-conn 256 pool-purge-delay 60s"
)


def layout_digest(layout: EdgeLayout) -> str:
    """Identify a layout: a running HAProxy that reports it can be adopted."""
    texts = (_text(layout, MappingProxyType({}), ""), *error_files().values())
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


def config_text(layout: EdgeLayout, servers: Mapping[str, Mapping[str, str]]) -> str:
    """Write the configuration.

    Args:
        layout: What is fixed for the life of the process.
        servers: Slot → server name → address, for a restart that must know its workers at once;
            later ones come and go by the runtime API.
    """
    return _text(layout, servers, layout_digest(layout))


def _text(layout: EdgeLayout, servers: Mapping[str, Mapping[str, str]], digest: str) -> str:
    return "\n".join(
        (
            _global(layout, digest),
            _defaults(),
            http_frontend(layout),
            grpc_frontend(layout),
            _metrics_frontends(layout),
            _own_backends(layout),
            *(_slot(name, servers.get(name, {})) for name in slot_names(layout.pool_slots)),
            "",
        )
    )


def _global(layout: EdgeLayout, digest: str) -> str:
    return f"""global
    description bascule {digest}
    stats socket unix@{ADMIN_SOCKET} mode 600 level admin
    stats timeout 1h
    noreuseport                            # a second instance on our ports is an error
    maxconn {layout.max_connections}
    nbthread {layout.threads}
    hard-stop-after 30s
    tune.bufsize {BUFFER_BYTES}                     # a request must fit one buffer to be retried
    tune.maxrewrite 1024
    tune.h2.max-concurrent-streams {MAX_STREAMS}
    tune.h2.fe.initial-window-size 262144  # 64 KiB, the default, throttles uploads
    tune.h2.be.initial-window-size 262144
    tune.memory.hot-size {HOT_BYTES}         # of each thread: more goes back to a shared pool
    tune.pool-low-fd-ratio 90              # idle clients must not end connections to workers
    tune.pool-high-fd-ratio 95
{log_target(layout.access_log)}"""


def _defaults() -> str:
    return """defaults own
    mode http
    option http-no-delay                   # small pieces leave at once
    option splice-auto
    option dontlognull
    option abortonclose                    # a client that left leaves the queue
    timeout connect 2s
    timeout client 300s                    # longest silence with a call in flight
    timeout http-keep-alive 3600s
    timeout http-request 30s
    timeout client-fin 5s
    timeout server 3600s                   # a load may take long; calls have their own limit
    timeout queue 10s
    timeout tunnel 1h
    retries 3

defaults pools from own
    http-reuse always                      # inference is idempotent: clients share connections
    timeout server 300s                    # longest inference
    retry-on conn-failure empty-response
    option redispatch 1
    option httpchk GET /v2/health/ready
    timeout check 4s                       # one kept from its processor is late, not gone
    balance leastconn
"""


def _metrics_frontends(layout: EdgeLayout) -> str:
    refuse_method = json_reply(Code.METHOD_NOT_ALLOWED, refusals.METHOD_NOT_ALLOWED)
    return f"""frontend metrics from own
    bind {layout.metrics}
{indented(http_faults())}
    acl metrics_path path /metrics /metrics/
    http-request {json_reply(Code.NOT_FOUND, refusals.NOT_FOUND)} if !metrics_path
    http-request {refuse_method} if !METH_GET
    http-request set-path /metrics
    default_backend front_desk

frontend exporter from own
    bind unix@{EXPORTER_SOCKET} mode 600
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""


def _own_backends(layout: EdgeLayout) -> str:
    return f"""backend front_desk from own
    errorfile {DIED} {FRONT_DESK_DIED}
    server desk unix@{layout.front_desk}

backend front_desk_grpc from own
    {grpc_fault(DIED, refusals.FRONT_DESK_DIED)}
    http-request set-header te trailers    # grpc ends calls that come without
    server desk unix@{layout.front_desk_grpc} proto h2

backend through_http from own
    server own unix@{HTTP_SOCKET}

backend through_grpc from own
    server own unix@{RELAY_SOCKET} proto h2
"""


def _slot(name: str, servers: Mapping[str, str]) -> str:
    lines = (f"server {server} {servers[server]} {SERVER_OPTIONS}" for server in sorted(servers))
    return f"backend {name} from pools\n{indented(lines)}\n"
