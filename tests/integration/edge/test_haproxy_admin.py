"""The runtime API's client against a socket that behaves as a dying HAProxy does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serving.edge.haproxy_admin import AdminSocket
from serving.edge.haproxy_commands import Server
from serving.errors import NotReadyError
from tests.integration.edge.bench import home_folder

Question = Callable[[AdminSocket], Awaitable[object]]


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(lambda admin: admin.information(), id="information"),
        pytest.param(lambda admin: admin.call_count(Server("s0001", "w")), id="call_count"),
        pytest.param(lambda admin: admin.running_call_count(), id="running_call_count"),
        pytest.param(lambda admin: admin.read_state(), id="read_state"),
    ],
)
def test_an_answer_that_never_began_is_no_answer(question: Question) -> None:
    """HAProxy ends even an empty answer with a blank line: without one it died meanwhile."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async def scenario() -> None:
        with home_folder() as home:
            path = home / "haproxy.sock"
            async with await asyncio.start_unix_server(hang_up, path):
                with pytest.raises(NotReadyError):
                    await question(AdminSocket(path))

    asyncio.run(scenario())
