"""When the server says that it may be called, over both protocols."""

import asyncio
from pathlib import Path

import pytest

from protos.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from runtimes.errors import BasculeError
from serving.edge.control import Snapshot
from serving.edge.desk import Desk
from serving.edge.grpc_health import Health
from serving.edge.regions import RegionBook, RegionPolicy
from tests.fakes.control import FakeControl

LOADING = Snapshot()
READY = Snapshot(ready=True, settled=True)
ONE_FAILED = Snapshot(settled=True)


def desk_of(*snapshots: Snapshot, is_strict: bool) -> Desk:
    """A desk to which these were published, one after the other."""
    book = RegionBook(RegionPolicy(), Path("nowhere"), "test")
    desk = Desk(FakeControl(), book, server_id="triton", node="local", is_strict=is_strict)
    for snapshot in snapshots:
        desk.take(snapshot)
    return desk


@pytest.mark.parametrize(
    ("snapshots", "strict", "lenient"),
    [
        ((), False, False),
        ((LOADING,), False, False),
        ((LOADING, READY), True, True),
        ((LOADING, ONE_FAILED), False, True),
        ((READY, LOADING), False, True),
        ((ONE_FAILED, LOADING), False, True),
    ],
    ids=[
        "nothing known",
        "loading",
        "all loaded",
        "one failed",
        "another loads",
        "and loads again",
    ],
)
@pytest.mark.parametrize("is_strict", [True, False])
def test_readiness(
    snapshots: tuple[Snapshot, ...], *, strict: bool, lenient: bool, is_strict: bool
) -> None:
    """Strict: while all that is wanted is. Lenient: once those of the start loaded, or failed."""
    desk = desk_of(*snapshots, is_strict=is_strict)
    expected = strict if is_strict else lenient
    assert desk.ready is expected
    told = asyncio.run(Health(desk, "inference").check(HealthCheckRequest(), None))
    assert (told.status == HealthCheckResponse.SERVING) is expected


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_server_that_goes_is_not_ready(*, is_strict: bool) -> None:
    """Whatever it serves."""
    desk = desk_of(READY, is_strict=is_strict)
    desk.drain.begin()
    with pytest.raises(BasculeError, match="Server exiting"):
        assert desk.ready
