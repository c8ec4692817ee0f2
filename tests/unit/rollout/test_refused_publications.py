"""Edges or workers that fail at one moment: it is tried again, and nothing is lost."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.edge.control import Snapshot
from serving.edge.routes import RouteTable, VersionRoute
from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.rollout import loop as control_loop
from serving.rollout.memory import Memory
from serving.rollout.ports import WorkerState
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


def table(revision: int, **pools: str) -> RouteTable:
    """A table that routes versions 1 of models."""
    return RouteTable(
        revision=revision,
        versions={VersionKey(model, 1): VersionRoute(pool) for model, pool in pools.items()},
    )


def test_tables_that_edges_refuse_do_not_gather() -> None:
    """Of all that may be obeyed, as many are kept as say where versions are: the newest last."""
    memory = Memory(in_force=(table(1, a="s1", b="s1"),))
    for revision in range(2, 50):
        memory = memory.offering(table(revision, a="s1" if revision % 2 else "s2", b="s1"))
    assert [one.revision for one in memory.in_force] == [48, 49]
    assert memory.offering(memory.routes) is memory


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from(["s1", "s2", "s3"]))))
def test_no_place_that_an_edge_may_route_to_is_forgotten(tables: list[dict[str, str]]) -> None:
    """A pool must not drop what any of the tables routes to it; and there are few of them."""
    memory, offered = Memory(), set()
    for revision, pools in enumerate(tables, start=1):
        offered |= set(pools.items())
        memory = memory.offering(table(revision, **pools))
        kept = {(key.model, r.pool) for one in memory.in_force for key, r in one.versions.items()}
        assert kept == offered
        assert memory.routes.revision == revision
        assert len(memory.in_force) <= len(offered) + 1


class BlindCluster(FakeCluster):
    """Cannot be looked at a few times, when it is told so."""

    failure_count = 0
    has_failed: asyncio.Event

    def observe(self) -> Mapping[str, Sequence[WorkerState]]:
        """Describe all workers, or fail."""
        if self.failure_count:
            self.failure_count -= 1
            self.has_failed.set()
            raise OSError("too many open files")
        return super().observe()


@pytest.mark.anyio
async def test_a_look_at_loads_that_fails_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two passes: it ended the loop, and all that serves with it."""
    monkeypatch.setattr(control_loop, "AFTER_ERROR_S", 0.0)
    monkeypatch.setattr(control_loop, "CROWD_LOOK_S", 0.0)
    cluster = BlindCluster(is_automatic=True)
    it = Instance(
        folder=FakeFolder(version_spec(A1), version_spec(B1)),
        selection=Selection(mode="explicit", load_model=("a",)),
        cluster=cluster,
    )
    async with running(it):
        cluster.has_failed = asyncio.Event()
        cluster.failure_count = 3
        await cluster.has_failed.wait()
        await it.controller.load("b")
        assert cluster.failure_count == 0
        assert B1 in it.controller.loop.snapshot.versions
