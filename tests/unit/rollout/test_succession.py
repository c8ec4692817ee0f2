"""Versions that a policy no longer chooses serve on until a successor does."""

import asyncio
from collections.abc import Mapping

import pytest

from runtimes.errors import ModelLoadError
from serving.edge.control import Snapshot, VersionRecord
from serving.ids import VersionKey
from serving.registry.repository import ModelScan
from serving.registry.version import VersionState
from serving.rollout.desired import Desired
from serving.rollout.sources import Selection
from serving.rollout.succession import with_predecessors
from tests.fakes.cluster import version_spec
from tests.fakes.sources import FakeFolder
from tests.unit.rollout.test_controller import Instance, explicit, running

A1, A2, A3, B1 = (VersionKey("a", 1), VersionKey("a", 2), VersionKey("a", 3), VersionKey("b", 1))
READY, LOADING = VersionState.READY, VersionState.LOADING


def published(states: Mapping[VersionKey, VersionState]) -> Snapshot:
    """What the edges were told."""
    records = {
        key: VersionRecord(model=key.model, version=key.version, state=state)
        for key, state in states.items()
    }
    return Snapshot(versions=records)


def wanting(*keys: VersionKey, before: VersionKey = A1) -> Desired:
    """Some versions, and one that was chosen before."""
    return Desired(
        versions={key: version_spec(key) for key in keys},
        predecessors={before: version_spec(before)},
    )


@pytest.mark.parametrize(
    ("states", "is_held"),
    [
        ({A1: READY, A2: LOADING}, True),
        ({A1: READY, A2: READY}, False),
        ({A1: READY, A2: LOADING, A3: READY}, False),
        ({A1: LOADING, A2: LOADING}, False),
        ({A2: LOADING}, False),
        ({A1: READY, A2: LOADING, B1: READY}, True),
    ],
)
def test_a_predecessor_serves_until_a_successor_does(
    states: dict[VersionKey, VersionState],
    is_held: bool,  # noqa: FBT001  a table's column
) -> None:
    """It is wanted while it serves and none of its model's chosen versions does."""
    desired = wanting(A2, A3, B1)

    found = with_predecessors(desired, published(states))

    assert (A1 in found.versions) is is_held
    assert found == with_predecessors(desired, published(states))


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
