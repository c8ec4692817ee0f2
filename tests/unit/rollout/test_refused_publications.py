"""Edges that cannot take a snapshot at one moment: the pass is made again, and nothing is lost."""

import asyncio

import pytest

from serving.edge.control import Snapshot
from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.rollout import loop as control_loop
from serving.rollout.sources import Selection
from tests.fakes.cluster import FakeCluster, FakeEdges, version_spec
from tests.fakes.sources import FakeFolder
from tests.unit.rollout.test_controller import Instance, running

A1, B1 = VersionKey("a", 1), VersionKey("b", 1)


class RefusingEdges(FakeEdges):
    """They refuse one snapshot: that of the pass in which the pool of `a` is due to stop."""

    def __init__(self, cluster: FakeCluster) -> None:
        """Refuse nothing so far."""
        super().__init__(cluster)
        self.has_refused = False
        self._pools = cluster

    async def publish(self, snapshot: Snapshot) -> None:
        """Obey a snapshot; with the one that takes `a` out of the routes, `b` is loaded."""
        was_routed, is_routed = (routed(one, A1) for one in (self.snapshot, snapshot))
        is_due = "d1" in self._pools.pools and not was_routed
        if is_due and routed(snapshot, B1) and not self.has_refused:
            self.has_refused = True
            raise NotReadyError("HAProxy is restarting")
        await super().publish(snapshot)
        while was_routed and not is_routed and self._pools.advance():
            pass


def routed(snapshot: Snapshot, key: VersionKey) -> bool:
    """Whether a version has a pool."""
    route = snapshot.routes.versions.get(key)
    return route is not None and route.pool is not None


@pytest.mark.anyio
async def test_a_pool_that_was_due_to_stop_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the edges could not take the snapshot of that pass."""
    monkeypatch.setattr(control_loop, "AFTER_ERROR_S", 0.0)
    edges: list[RefusingEdges] = []

    def edges_of(cluster: FakeCluster) -> FakeEdges:
        edges.append(RefusingEdges(cluster))
        return edges[-1]

    it = Instance(
        folder=FakeFolder(version_spec(A1, format="torchscript"), version_spec(B1)),
        selection=Selection(mode="explicit", load_model=("a",)),
        edges_of=edges_of,
    )
    async with running(it), asyncio.TaskGroup() as group:
        it.cluster.is_automatic = False
        group.create_task(it.controller.load("b"))
        await it.controller.loop.until(lambda: "s2" in it.cluster.pools)
        await it.controller.unload("a")
        await it.until_settled()

        assert edges[0].has_refused
        assert it.cluster.pools.keys() == {"s2"}
