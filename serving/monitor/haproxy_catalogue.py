"""HAProxy's own metrics that rules and boards look at, under its exporter's names.

Its exporter says more; what is here is what has to stay there.
"""

from typing import Final

from serving.monitor.metric_spec import MetricSpec


def _of_frontend(name: str, kind: str, help_text: str, *more: str) -> MetricSpec:
    return MetricSpec(name=name, kind=kind, help=help_text, labels=("proxy", *more))


FRONTEND_REQUESTS: Final = _of_frontend(
    "haproxy_frontend_http_requests_total", "counter", "Requests that a frontend took, of any kind"
)
FRONTEND_RESPONSES: Final = _of_frontend(
    "haproxy_frontend_http_responses_total",
    "counter",
    "Replies of a frontend by the first digit of the status; gRPC's are 2xx, whatever they say",
    "code",
)
FRONTEND_SESSIONS: Final = _of_frontend(
    "haproxy_frontend_current_sessions", "gauge", "Open connections of a frontend"
)
FRONTEND_BYTES_IN: Final = _of_frontend(
    "haproxy_frontend_bytes_in_total", "counter", "Bytes that clients sent"
)
FRONTEND_BYTES_OUT: Final = _of_frontend(
    "haproxy_frontend_bytes_out_total", "counter", "Bytes that clients were sent"
)
IDLE: Final = MetricSpec(
    name="haproxy_process_idle_time_percent", kind="gauge", help="How idle HAProxy is, in percent"
)
