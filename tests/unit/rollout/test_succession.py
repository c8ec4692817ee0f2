"""Versions that a policy no longer chooses serve on until a successor does."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from runtimes.errors import ModelLoadError
from serving.edge.control import Snapshot, VersionRecord
from serving.edge.routes import RouteTable, VersionRoute
from serving.ids import VersionKey
from serving.registry.repository import ModelScan
from serving.registry.version import VersionState
from serving.rollout.desired import Desired
from serving.rollout.sources import Selection, Sources
from serving.rollout.succession import with_predecessors
from tests.fakes.cluster import version_spec
from tests.fakes.sources import FakeFolder, FakeRegistry
from tests.unit.rollout.test_controller import Instance, explicit, running

A1, A2, A3, B1 = (VersionKey("a", 1), VersionKey("a", 2), VersionKey("a", 3), VersionKey("b", 1))
READY, LOADING = VersionState.READY, VersionState.LOADING


def published(
    states: Mapping[VersionKey, VersionState], routed: Collection[VersionKey] = ()
) -> Snapshot:
    """What the edges were told: of states, and of versions that have a pool."""
    records = {
        key: VersionRecord(model=key.model, version=key.version, state=state)
        for key, state in states.items()
    }
    routes = RouteTable(versions={key: VersionRoute("s1") for key in routed})
    return Snapshot(routes=routes, versions=records)


def wanting(*keys: VersionKey, before: VersionKey = A1) -> Desired:
    """Some versions, and one that was chosen before."""
    return Desired(
        versions={key: version_spec(key) for key in keys},
        predecessors={before: version_spec(before)},
    )


@pytest.mark.parametrize(
    ("states", "routed", "is_held"),
    [
        pytest.param({A1: READY, A2: LOADING}, {A1}, True, id="serves"),
        pytest.param({A1: LOADING, A2: LOADING}, {A1}, True, id="its worker restarts"),
        pytest.param({}, {A1}, True, id="the controller restarts"),
        pytest.param({A1: READY, A2: READY}, {A1, A2}, False, id="succeeded"),
        pytest.param({A1: READY, A2: LOADING, A3: READY}, {A1, A3}, False, id="by another"),
        pytest.param({A1: LOADING, A2: LOADING}, (), False, id="never served"),
        pytest.param({A2: LOADING}, (), False, id="gone"),
        pytest.param({A1: READY, A2: LOADING, B1: READY}, {A1, B1}, True, id="another model"),
    ],
)
def test_a_predecessor_serves_until_a_successor_does(
    states: dict[VersionKey, VersionState],
    routed: Collection[VersionKey],
    is_held: bool,  # noqa: FBT001  a table's column
) -> None:
    """It is wanted while it is routed and none of its model's chosen versions serves."""
    desired, seen = wanting(A2, A3, B1), published(states, routed)

    found = with_predecessors(desired, seen, seen.routes)

    assert (A1 in found.versions) is is_held
    assert found == with_predecessors(desired, seen, seen.routes)


def test_the_next_controller_knows_what_was_chosen_before() -> None:
    """What workers were asked to host, and the folder's policy chooses no more, is a predecessor.

    A model that is in no folder has none.
    """
    before = (version_spec(A1), version_spec(A2), version_spec(B1))
    selection = Selection(mode="poll")
    sources = Sources(FakeRegistry(), FakeFolder(version_spec(A2)), selection, accepted=before)

    desired = sources.read()

    assert desired.versions.keys() == {A2}
    assert desired.predecessors == {A1: version_spec(A1)}
    assert sources.read(rescan=True).predecessors == desired.predecessors


@pytest.mark.anyio
async def test_a_load_of_another_version_that_fails_changes_nothing() -> None:
    """The former version answers all the time; the index says why the new one does not."""
    async with running(explicit(A1, load=("a",))) as it:
        it.cluster.broken = {"bad"}
        it.folder.put(ModelScan(model="a", versions=(version_spec(A2, "bad"),)))

        with pytest.raises(ModelLoadError, match="bad file"):
            await it.controller.load("a")
        await it.until_settled()

        assert it.live("a") == 1
        assert it.controller.loop.snapshot.versions[A2].reason == "bad file"
        assert it.controller.loop.snapshot.ready


@pytest.mark.anyio
async def test_a_load_of_another_version_lets_the_former_go() -> None:
    """When the new version answers, the former one leaves."""
    async with running(explicit(A1, load=("a",))) as it:
        it.folder.put(ModelScan(model="a", versions=(version_spec(A2),)))

        await it.controller.load("a")
        await it.controller.loop.until(lambda: it.state(A1) is not VersionState.READY)

        assert it.live("a") == 2


@pytest.mark.anyio
async def test_a_polled_folder_keeps_what_works() -> None:
    """A new version that cannot be loaded takes nobody's place; a removed model is gone at once."""
    it = Instance(folder=FakeFolder(version_spec(A1)), selection=Selection(mode="poll"))
    it.cluster.broken = {"bad"}
    async with running(it):
        it.folder.put(ModelScan(model="a", versions=(version_spec(A2, "bad"),)))
        await it.controller.loop.until(lambda: it.state(A2) is VersionState.UNAVAILABLE)
        await it.until_settled()
        kept = it.live("a")
        del it.folder.scans["a"]
        await it.controller.loop.until(lambda: it.state(A1) is not VersionState.READY)
        await asyncio.sleep(0)

    assert kept == 1


@pytest.mark.anyio
async def test_a_successor_that_ends_the_worker_does_not_end_the_predecessor() -> None:
    """A new version that takes the shared worker down, and never loads, leaves the former one."""
    it = Instance(folder=FakeFolder(version_spec(A1)), selection=Selection(mode="poll"))
    it.cluster.broken = {"bad"}
    loop = it.controller.loop
    async with running(it):
        it.cluster.is_automatic = False
        it.folder.put(ModelScan(model="a", versions=(version_spec(A2, "bad"),)))
        await loop.until(lambda: A2 in it.cluster.pools["s1"][0].wanted)
        it.cluster.crash("s1", A2)
        await loop.until(lambda: it.state(A1) is VersionState.LOADING)
        it.cluster.is_automatic = True
        it.cluster.advance()
        await loop.until(lambda: it.state(A2) is VersionState.UNAVAILABLE)
        await it.until_settled()

        assert (it.state(A1), it.live("a")) == (VersionState.READY, 1)
