"""Bodies of the front desk's calls: each within its limit, announced or not."""

import asyncio

import pytest
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtimes.errors import InvalidArgumentError
from serving.edge.admin_api import admin_app
from serving.edge.front_desk import front_desk_app
from serving.edge.json_body import MAX_VALUES, SMALL_BODY_BYTES, BodyReader, json_object
from serving.errors import SlowRequestError
from tests.fakes.control import FakeControl
from tests.fakes.front_desk import desk_parts

CHUNK = b" " * (1 << 16)
INDEX = "/v2/repository/index"
LOAD = "/v2/repository/models/m/load"


def answered(path: str, size_bytes: int, limit_bytes: int) -> tuple[int, int]:
    """Send a body in chunks; return the status, and how many bytes the front desk had taken."""
    app = front_desk_app(*desk_parts(), max_request_bytes=limit_bytes)
    taken, statuses = 0, []

    async def receive() -> Message:
        nonlocal taken
        taken += len(CHUNK)
        return {"type": "http.request", "body": CHUNK, "more_body": taken < size_bytes}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def scenario(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.wait_for(app(scope, receive, send), 90)

    asyncio.run(scenario(scope_of(path), receive, send))
    return statuses[0], taken


def scope_of(path: str) -> Scope:
    """A POST whose body comes in chunks."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"transfer-encoding", b"chunked")],
    }


@pytest.mark.parametrize(
    ("path", "limit_bytes", "most_bytes"),
    [
        (INDEX, 1 << 30, SMALL_BODY_BYTES),
        (INDEX, 1 << 18, 1 << 18),
        ("/v2/logging", 1 << 30, SMALL_BODY_BYTES),
        ("/v2/models/m/trace/setting", 1 << 30, SMALL_BODY_BYTES),
        (LOAD, 1 << 22, 1 << 22),
    ],
)
def test_a_body_of_unknown_size_ends_at_its_limit(
    path: str, limit_bytes: int, most_bytes: int
) -> None:
    """413, and no more was taken than one chunk beyond: small calls need no 64 MiB."""
    status, taken = answered(path, 1 << 27, limit_bytes)
    assert status == 413
    assert taken <= most_bytes + len(CHUNK)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"other":[' + b"1," * MAX_VALUES + b"1,1]}", id="numbers"),
        pytest.param(b"[[[[[[[[]]]]]]]]" * (MAX_VALUES // 8) + b"[]", id="lists of lists"),
        pytest.param(b'{"a":{"b":{}}}' * (MAX_VALUES // 3) + b"{}{}", id="objects"),
    ],
)
def test_json_of_too_many_values_is_refused_before_they_are_made(body: bytes) -> None:
    """The loop makes them all at once, and nobody else is answered meanwhile."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def scenario() -> None:
        await json_object(BodyReader(), Request(scope_of(LOAD), receive), len(body))

    with pytest.raises(InvalidArgumentError, match=f"and brackets, the maximum is {MAX_VALUES}"):
        asyncio.run(scenario())


def test_a_load_may_bring_files() -> None:
    """What is refused elsewhere is read where files can come."""
    status, taken = answered(LOAD, 4 << 20, 1 << 30)
    assert status != 413
    assert taken >= 4 << 20


@pytest.mark.parametrize(
    ("app", "path"),
    [
        (front_desk_app(*desk_parts()), INDEX),
        (front_desk_app(*desk_parts()), LOAD),
        (admin_app(FakeControl()), "/v1/models/m/promote"),
    ],
    ids=["small", "large", "admin"],
)
def test_a_client_that_leaves_in_its_body_is_no_fault_of_ours(app: ASGIApp, path: str) -> None:
    """Nothing is logged of it: who comes and goes a thousand times fills no disk."""
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    statuses = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def scenario() -> None:
        await asyncio.wait_for(app(scope_of(path), receive, send), 90)

    with structlog.testing.capture_logs() as logged:
        asyncio.run(scenario())
    assert (statuses, logged) == ([499], [])


@pytest.mark.parametrize("path", [INDEX, LOAD])
def test_a_compressed_body_is_refused_before_it_is_read(path: str) -> None:
    """What is wrong with it is its coding, not what its bytes would be as JSON."""
    app = front_desk_app(*desk_parts())
    scope = scope_of(path)
    scope["headers"] = [*scope["headers"], (b"content-encoding", b"gzip")]
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("its body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert b"content-encoding" in sent[1]["body"]


@pytest.mark.parametrize("path", [INDEX, LOAD])
def test_a_body_that_is_not_whole_in_time_is_refused(path: str) -> None:
    """The refusal says how much came, and its room is there for the next one."""
    reader = BodyReader(4, limit_s=0.001)
    messages: list[Message] = [{"type": "http.request", "body": b"abcd", "more_body": True}]

    async def receive() -> Message:
        return messages.pop() if messages else await asyncio.Future()

    with pytest.raises(SlowRequestError, match=r"within 0\.001 s, 4 bytes of its body came"):
        asyncio.run(reader.read(Request(scope_of(path), receive), 4))
    messages.append({"type": "http.request", "body": b"efgh"})
    assert asyncio.run(reader.read(Request(scope_of(path), receive), 4)) == b"efgh"
