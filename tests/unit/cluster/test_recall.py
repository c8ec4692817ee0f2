"""What a controller that was killed leaves to the next one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from serving.clock import SystemClock
from serving.cluster.recall import RoutesFile, remembered
from serving.edge.control import Snapshot
from serving.registry.version import VersionState
from serving.rollout.controller import Controller
from serving.rollout.driven import Ports
from serving.rollout.reconcile import reconcile
from serving.rollout.records import ASLEEP
from serving.rollout.sources import Selection, Sources
from serving.settings import load_settings
from tests.fakes.cluster import version_spec
from tests.fakes.sources import FakeFolder, FakeRegistry
from tests.unit.rollout.test_reconcile import A1, A2, LIMITS, World, wanted
from tests.unit.rollout.test_scaled_pools import KEY, SPEC, ScaledWorld, scaled

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def succeeded(
    world: ScaledWorld, folder: Path, *, routes: bytes = b"", **changes: str
) -> AsyncIterator[Controller]:
    """Let a controller work that knows of a world only what is on the disk.

    Args:
        world: What it succeeds to.
        folder: Where the disk is.
        routes: What stands in the file of routes; empty: what the controller before wrote.
        changes: Of the version.
    """
    file = RoutesFile(folder / "routes.json")
    file.save(world.snapshot)
    if routes:
        (folder / "routes.json").write_bytes(routes)
    last = file.load()
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]  # a test's own names
    ports = Ports(
        cluster=world.cluster,
        edges=world.edges,
        sources=Sources(FakeRegistry(spec), FakeFolder(), Selection()),
        clock=SystemClock(),
        memory=remembered(
            {pool: known.spec(pool) for pool, known in world.memory.pools.items()}, last.routes
        ),
        asleep=last.versions,
    )
    controller = Controller(ports, load_settings(home=Path("/home/somebody")), mode="ray")
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        await controller.loop.start()
        task = group.create_task(controller.loop.run())
        await asyncio.sleep(0)
        await controller.loop.until(lambda: bool(controller.loop.snapshot.routes.revision))
        yield controller
        task.cancel()


async def test_what_is_asleep_is_woken_where_the_routes_were_lost(tmp_path: Path) -> None:
    """Without them nobody knows what it is like: it would be loading for ever, without calls."""
    world = asleep()
    async with succeeded(world, tmp_path, routes=b"{") as controller:
        assert controller.loop.is_on_its_way(KEY)
        assert world.workers() == 1


@pytest.mark.parametrize("damaged", [b"", b'{"revision": 7', b'{"revision": "x"}', b"\xff"])
def test_damaged_routes_are_none_and_kept_beside(tmp_path: Path, damaged: bytes) -> None:
    """They must not keep every controller from starting; the log says what that means."""
    path = tmp_path / "routes.json"
    path.write_bytes(damaged)
    with capture_logs() as logs:
        assert RoutesFile(path).load() == Snapshot()
    (told,) = [line for line in logs if line["event"] == "routes_lost"]
    assert told["file"] == str(path)
    assert Path(told["kept"]).read_bytes() == damaged
    assert not path.exists()


def asleep() -> ScaledWorld:
    """A world whose one version nobody calls."""
    world = scaled()
    world.load(calls=0, seconds=12)
    return world


async def test_what_is_asleep_stays_ready_and_known(tmp_path: Path) -> None:
    """No worker can tell what it is like: the controller before had seen it. Nobody is woken."""
    world = asleep()
    served = world.snapshot.versions[KEY].served
    async with succeeded(world, tmp_path) as controller:
        snapshot = controller.loop.snapshot
        record = snapshot.versions[KEY]
        assert (record.state, record.reason, record.served) == (VersionState.READY, ASLEEP, served)
        assert snapshot.ready
        assert snapshot.settled
        assert not controller.loop.is_on_its_way(KEY)
        assert world.workers() == 0


async def test_a_new_form_of_what_is_asleep_is_tried(tmp_path: Path) -> None:
    """It changed while there was no controller: whether it loads is not left to a caller."""
    world = asleep()
    async with succeeded(world, tmp_path, digest="2") as controller:
        assert controller.loop.is_on_its_way(KEY)
        assert world.workers() == 1


def test_what_is_awake_is_not_kept(tmp_path: Path) -> None:
    """Its workers tell what it is like."""
    file = RoutesFile(tmp_path / "routes.json")
    world = scaled()
    file.save(world.snapshot)
    assert file.load().routes == world.snapshot.routes
    assert file.load().versions == {}


def test_routes_that_an_older_release_saved_are_read(tmp_path: Path) -> None:
    """It kept nothing of what is asleep."""
    path = tmp_path / "routes.json"
    world = asleep()
    RoutesFile(path).save(world.snapshot)
    saved = msgspec.json.decode(path.read_bytes())
    saved["versions"] = [version[:3] for version in saved["versions"]]
    path.write_bytes(msgspec.json.encode(saved))
    assert RoutesFile(path).load().routes == world.snapshot.routes


def test_what_edges_may_still_route_to_stays_until_they_obey() -> None:
    """The newest table was kept, and its controller killed, before any edge had heard of it."""
    world = World(desired=wanted(version_spec(A1), version_spec(A2)))
    world.settle()
    specs = {pool: known.spec(pool) for pool, known in world.memory.pools.items()}
    world.desired = wanted(version_spec(A2))
    observed = world.cluster.observe()
    kept = reconcile(world.memory, world.desired, observed, LIMITS, world.snapshot).snapshot
    assert kept is not None
    (worker,) = world.cluster.pools["s1"]

    world.memory = remembered(specs, kept.routes)
    world.controller_pass()  # this cluster refuses to drop what edges route to
    assert worker.wanted.keys() == {A1, A2}

    world.settle()
    assert worker.wanted.keys() == {A2}
