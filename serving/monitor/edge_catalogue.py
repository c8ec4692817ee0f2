"""What HAProxy tells of its pools: a histogram it has not, and its log of all requests costs each.

Its means are those of the last 1,024 calls, in whole milliseconds. What the edge itself takes of a
call is `total` less what the worker's histograms say.
"""

from typing import Final

from serving.monitor.metric_spec import MetricSpec, When

EDGE_TIME: Final = MetricSpec(
    name="bascule_edge_time_average_seconds",
    kind="gauge",
    help="HAProxy's mean over a pool's last 1,024 calls, in whole milliseconds, by part: queue, "
    "connect, response (until the worker's reply begins), total",
    labels=("pool", "part"),
    when=When.POOL,
)
EDGE_RETRIES: Final = MetricSpec(
    name="bascule_edge_retries_total",
    kind="counter",
    help="Calls that HAProxy sent to a pool's workers again, by way: same, other (another worker)",
    labels=("pool", "way"),
    when=When.POOL,
)
EDGE_ERRORS: Final = MetricSpec(
    name="bascule_edge_worker_errors_total",
    kind="counter",
    help="What HAProxy met at a pool's workers, by kind: connect (nobody took the connection), "
    "response (no whole reply came), 5xx (they said so)",
    labels=("pool", "kind"),
    when=When.POOL,
)
EDGE_WAITING: Final = MetricSpec(
    name="bascule_edge_waiting_calls",
    kind="gauge",
    help="Calls that wait in HAProxy for a worker of the pool",
    labels=("pool",),
    when=When.POOL,
)
EDGE_WORKERS_UP: Final = MetricSpec(
    name="bascule_edge_workers_up",
    kind="gauge",
    help="Workers of the pool that HAProxy gives calls to",
    labels=("pool",),
    when=When.POOL,
)
