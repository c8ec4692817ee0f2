"""Clients that do not read what the front desk answers take a bounded part of its memory."""

import asyncio
from pathlib import Path

import pytest

from serving.edge import local_server
from serving.edge.front_desk import front_desk_app
from serving.edge.local_server import LocalServer
from tests.fakes.front_desk import desk_parts
from tests.integration.edge.bench import home_folder

ANSWER = bytes(4 << 20)
"""More than the kernel keeps for a connection, so that most of it stays in the process."""
METRICS = b"GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: h\r\n\r\n"


async def asked(path: Path, request: bytes) -> tuple[bytes, asyncio.StreamWriter]:
    """Ask, and read the status line alone."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1024)
    writer.write(request)
    return await reader.readline(), writer


def test_unread_answers_cost_others_no_more_than_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit large ones are refused, until their clients leave; small ones are sent."""
    monkeypatch.setattr(local_server, "MAX_UNSENT_BYTES", 2 * len(ANSWER))

    async def answer() -> bytes:
        return ANSWER

    async def run(path: Path) -> list[bytes]:
        desk, _, *others = desk_parts()
        server = LocalServer(front_desk_app(desk, answer, *others), path)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.run())
            held = [await asked(path, METRICS) for _ in range(3)]
            small, writer = await asked(path, LIVE)
            writer.close()
            for _, one in held:
                one.close()
                await one.wait_closed()
            late, writer = await asked(path, METRICS)
            writer.close()
            server.stop()
        return [*(status for status, _ in held), small, late]

    with home_folder() as home:
        statuses = asyncio.run(run(home / "desk.sock"))
    assert [status.split()[1] for status in statuses] == [b"200", b"200", b"503", b"200", b"200"]
