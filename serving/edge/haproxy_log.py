"""Pure: HAProxy's log of requests, one line of JSON each, on its standard error.

`errors` leaves out what was answered without trouble: only requests that failed, were sent again or
got a 5xx are written. Times are HAProxy's own, in milliseconds: until the whole request was there
(`request_ms`), in the queue of a pool, until a connection stood, until the worker's reply began,
and in all; -1 where it did not come so far.
"""

from typing import Final, Literal

AccessLog = Literal["off", "errors", "all"]

TARGET: Final = "log stderr format raw local0"
FIELDS: Final = (
    ("event", '"request"'),
    ("at_s", "%Ts.%ms"),
    ("client", '"%ci"'),
    ("edge", '"%f"'),
    ("slot", '"%b"'),
    ("worker", '"%s"'),
    ("method", '"%HM"'),
    ("path", '"%[capture.req.uri,json(utf8s)]"'),
    ("route", '"%[var(txn.r),json(utf8s)]"'),
    ("status", "%ST"),
    ("grpc_status", '"%[var(txn.grpc),json(utf8s)]"'),
    ("in_bytes", "%U"),
    ("out_bytes", "%B"),
    ("request_ms", "%TR"),
    ("queue_ms", "%Tw"),
    ("connect_ms", "%Tc"),
    ("response_ms", "%Tr"),
    ("total_ms", "%Ta"),
    ("retries", '"%rc"'),
    ("end", '"%ts"'),
    ("request_id", '"%[var(txn.rid),json(utf8s)]"'),
    ("traceparent", '"%[var(txn.trace),json(utf8s)]"'),
)


def log_target(access_log: AccessLog) -> str:
    """Return the line of the global section; empty: nothing is logged."""
    return "" if access_log == "off" else f"    {TARGET}\n"


def log_lines(access_log: AccessLog) -> str:
    """Return the lines of a frontend."""
    if access_log == "off":
        return ""
    text = ",".join(f'"{name}":{value}' for name, value in FIELDS)
    quiet = "    option dontlog-normal\n" if access_log == "errors" else ""
    return f"""    log global
{quiet}    log-format '{{{text}}}'
    http-request set-var(txn.trace) req.hdr(traceparent)
    http-request set-var(txn.rid) req.hdr(x-request-id)
    http-after-response set-var(txn.grpc) res.hdr(grpc-status)
"""
