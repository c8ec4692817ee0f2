"""Pure: the files with which HAProxy answers over HTTP what it cannot pass on, or what failed.

Each is a whole reply, because a reply's status may differ from HAProxy's own: a worker that died in
a call is 502 to HAProxy, and 500 to the caller, who must not take it for "not executed".
HAProxy 2.8 uses them once a request's head is read. What it cannot read as a head it answers by
itself: with the right status, and a page of HTML from its program that nothing here can replace.
"""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from runtimes.errors import Code
from serving.edge.haproxy_replies import HTTP_FAULTS
from serving.errors import WIRE
from serving.wire import refusals

FOLDER: Final = "errors"
FRONT_DESK_DIED: Final = f"{FOLDER}/front-desk.http"
DIED: Final = 502
STATUSES: Final = MappingProxyType({DIED: WIRE[Code.INTERNAL].http})


def http_faults() -> Iterator[str]:
    """Name the file of every status."""
    return (f"errorfile {status} {_path(status)}" for status in HTTP_FAULTS)


def error_files() -> Mapping[str, str]:
    """Write the files: path in HAProxy's folder → content."""
    files = {_path(status): _reply(status, text) for status, text in HTTP_FAULTS.items()}
    return files | {FRONT_DESK_DIED: _reply(DIED, refusals.FRONT_DESK_DIED)}


def _path(status: int) -> str:
    return f"{FOLDER}/{status}.http"


def _reply(fault: int, text: str) -> str:
    status = HTTPStatus(STATUSES.get(fault, fault))
    body = json.dumps({"error": text})
    again = ("retry-after: 1",) if status == WIRE[Code.NOT_READY].http else ()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"content-length: {len(body)}",
        "content-type: application/json",
        *again,
    )
    return "\r\n".join((*head, "", body))
