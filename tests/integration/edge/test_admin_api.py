"""The admin API on its socket."""

import asyncio
import os
import pwd
import stat
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from serving.edge.admin_api import admin_app
from serving.edge.local_server import LocalServer
from serving.errors import NotReadyError
from serving.local_http import LocalHttp, LocalReply
from tests.fakes.control import FakeControl
from tests.integration.edge.bench import home_folder


def on_socket(
    control: FakeControl, talk: Callable[[LocalHttp], Awaitable[LocalReply]]
) -> LocalReply:
    """Serve the API on a socket and talk to it."""

    async def run() -> LocalReply:
        with home_folder() as folder:
            path = folder / "admin.sock"
            async with asyncio.TaskGroup() as group:
                server = LocalServer(admin_app(control), path)
                group.create_task(server.run())
                async with LocalHttp(str(path)) as client:
                    reply = await talk(client)
                server.stop()
            return reply

    return asyncio.run(run())


def test_status_is_the_whole_cluster() -> None:
    """As JSON, every field by its name."""
    reply = on_socket(FakeControl(), lambda client: client.ask("GET", "/v1/status"))
    status = msgspec.json.decode(reply.body)
    assert (reply.status, status["mode"], status["revision"], status["live"]) == (
        200,
        "standalone",
        7,
        {"m": 1},
    )


@pytest.mark.parametrize(
    ("path", "body", "asked", "reply"),
    [
        ("/v1/sync", b"", ("sync",), {}),
        (
            "/v1/models/m%20a/promote",
            b'{"version":2}',
            ("promote", "m a", 2, False, ""),
            {"revision": 8},
        ),
        (
            "/v1/models/m/promote",
            b'{"version":2,"force":true,"reason":"they know"}',
            ("promote", "m", 2, True, "they know"),
            {"revision": 8},
        ),
        ("/v1/models/m/retire", b'{"version":null}', ("retire", "m", None), {}),
        ("/v1/models/m/retire", b'{"version":3}', ("retire", "m", 3), {}),
        ("/v1/models/m/load", b"", ("load", "m"), {}),
    ],
)
def test_a_change_reaches_the_controller(
    path: str, body: bytes, asked: tuple[object, ...], reply: dict[str, int]
) -> None:
    """With the decoded name and the version."""
    control = FakeControl()
    answer = on_socket(control, lambda client: client.ask("POST", path, body))
    assert (answer.status, msgspec.json.decode(answer.body)) == (200, reply)
    assert control.asked == [asked]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/nope", b"", 404, "not_found"),
        ("GET", "/v1/sync", b"", 405, "method_not_allowed"),
        ("POST", "/v1/models/m/promote", b"{}", 400, "invalid_argument"),
        ("POST", "/v1/models/m/promote", b'{"version":"2"}', 400, "invalid_argument"),
        ("POST", "/v1/models/m/promote", b'{"version":2,"x":1}', 400, "invalid_argument"),
        ("POST", "/v1/models/m/promote", b'{"version":2,"force":true}', 400, "invalid_argument"),
        (
            "POST",
            "/v1/models/m/promote",
            b'{"version":2,"reason":"\\u0000"}',
            400,
            "invalid_argument",
        ),
        ("POST", "/v1/models/stats/load", b"", 400, "invalid_argument"),
    ],
)
def test_a_call_that_is_none_is_refused(
    method: str, path: str, body: bytes, status: int, code: str
) -> None:
    """With a code, and the controller is not asked."""
    control = FakeControl()
    answer = on_socket(control, lambda client: client.ask(method, path, body))
    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (status, code)
    assert control.asked == []


def test_the_kernel_says_who_asked() -> None:
    """The controller is told the user whose process is at the other end of the socket."""
    control = FakeControl()
    on_socket(
        control, lambda client: client.ask("POST", "/v1/models/m/retire", b'{"version":null}')
    )
    assert control.who == [pwd.getpwuid(os.getuid()).pw_name]


def test_a_refusal_of_the_controller_is_passed_on() -> None:
    """Its words, its code, and the code's HTTP status."""
    control = FakeControl(failure=NotReadyError("version 2 is not READY"))
    answer = on_socket(
        control, lambda client: client.ask("POST", "/v1/models/m/promote", b'{"version":2}')
    )
    assert (answer.status, msgspec.json.decode(answer.body)) == (
        503,
        {"error": "version 2 is not READY", "code": "not_ready"},
    )


def test_only_the_owner_can_open_the_socket() -> None:
    """Mode 600 from its first moment."""

    async def run() -> int:
        with home_folder() as folder:
            path = folder / "admin.sock"
            async with asyncio.TaskGroup() as group:
                server = LocalServer(admin_app(FakeControl()), path)
                mode = stat.S_IMODE(path.stat().st_mode)
                group.create_task(server.run())
                async with LocalHttp(str(path)) as client:
                    await client.ask("GET", "/v1/status")
                server.stop()
            return mode

    assert asyncio.run(run()) == 0o600


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "-1", "x", "%D9%A1"])
def test_a_number_that_no_rollout_can_have_is_not_found(number: str) -> None:
    """Also one that neither the catalog nor Python would read."""
    answer = on_socket(FakeControl(), lambda client: client.ask("GET", f"/v1/rollouts/{number}"))
    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("limit", "value"),
    [("mismatch_share", "-1e999"), ("alpha", "5e-324"), ("alpha", "NaN")],
)
def test_limits_that_cannot_be_kept_or_judged_by_are_refused(limit: str, value: str) -> None:
    """JSON has no infinity to keep, and a chance of next to nothing divides to nothing."""
    body = f'{{"version":2,"guardrails":{{"{limit}":{value}}}}}'.encode()
    control = FakeControl()
    answer = on_socket(control, lambda client: client.ask("POST", "/v1/models/m/rollout", body))
    assert (answer.status, control.asked) == (400, [])
    assert msgspec.json.decode(answer.body)["error"].startswith(f"guardrails.{limit}: ")
