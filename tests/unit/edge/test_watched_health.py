"""A watch of health tells the last change, whenever a drain begins."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

from protos.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from serving.edge.desk import Desk
from serving.edge.drain import Drain
from serving.edge.grpc_health import Health


async def asked() -> AsyncIterator[bytes]:
    """Ask for the server."""
    yield HealthCheckRequest().SerializeToString()


def test_a_drain_that_begins_while_a_status_is_written_is_told() -> None:
    """The client had SERVING; the stream does not end with that."""
    desk = SimpleNamespace(drain=Drain(), is_ready=True)

    async def run() -> list[int]:
        told = []
        async for reply in Health(cast("Desk", desk), "service").watch(asked(), None):
            told.append(reply.status)
            desk.drain.begin()  # the watch waits here until what it said is written
        return told

    assert asyncio.run(run()) == [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]
