"""The front desk's parts, for tests that look at its routes and need nobody to answer."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from serving.edge.call_relay import CallRelay
from serving.edge.desk import Desk
from serving.edge.generate_relay import GenerateRelay
from serving.edge.regions import RegionBook, RegionPolicy
from tests.fakes.control import FakeControl


def desk_parts() -> tuple[Desk, Callable[[], Awaitable[bytes]], GenerateRelay, CallRelay]:
    """What `front_desk_app` takes."""
    book = RegionBook(RegionPolicy(), Path("nowhere"), "test")
    desk = Desk(FakeControl(), book, server_id="triton", node="local")
    return desk, no_metrics, GenerateRelay(Path("nowhere")), CallRelay(Path("nowhere"))


async def no_metrics() -> bytes:
    """Nothing was counted."""
    return b""
