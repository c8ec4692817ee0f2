"""A controller's state around a cluster in memory that refuses every gap."""

from dataclasses import dataclass, field, replace

import pytest

from serving.edge.control import Snapshot
from serving.ids import VersionKey
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.desired import Desired
from serving.rollout.ensembles import linked
from serving.rollout.memory import Limits, Memory
from serving.rollout.reconcile import Actions, reconcile
from tests.fakes.cluster import FakeCluster, FakeEdges

LIMITS = Limits(shared_pool_versions=3, shared_model_bytes=10_000, slow_run_s=0.005, pool_slots=12)


def wanted(*specs: VersionSpec, pinned: dict[str, int] | None = None) -> Desired:
    """Specs as what is wanted; every model exists."""
    models = frozenset(spec.model for spec in specs) | {"a", "b"}
    return Desired(
        versions={spec.key: spec for spec in specs}, pinned_live=pinned or {}, known_models=models
    )


@dataclass
class World:
    """A controller's state around a fake cluster; each call is one step of one of them."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    memory: Memory = field(default_factory=Memory)
    desired: Desired = field(default_factory=Desired)
    limits: Limits = LIMITS
    edges: FakeEdges = field(init=False)

    def __post_init__(self) -> None:
        self.edges = FakeEdges(self.cluster)

    @property
    def snapshot(self) -> Snapshot:
        """What the edges obey."""
        return self.edges.snapshot

    def controller_pass(self) -> Actions:
        """Reconcile once and carry it out."""
        before = self.snapshot
        link = linked(self.desired, self.memory)
        actions = reconcile(
            self.memory,
            link.desired,
            self.cluster.observe(),
            self.limits,
            self.snapshot,
            groups=link.groups,
        )
        self.memory = actions.memory
        for spec in actions.ensure:
            self.cluster.ensure(spec)
        if actions.snapshot is not None:
            self.refuse_gaps(link.desired, before, actions.snapshot)
            self.edges.obey(actions.snapshot)
            self.memory = replace(self.memory, in_force=(actions.snapshot.routes,))
        for pool in actions.stop:
            self.cluster.stop(pool)
        return actions

    def refuse_gaps(self, desired: Desired, before: Snapshot, after: Snapshot) -> None:
        """A wanted version that was READY and still is must not lose its route."""
        observed = self.cluster.observe()
        for key, route in before.routes.versions.items():
            is_served = route.pool in observed and any(
                key in w.versions and w.versions[key].state is VersionState.READY
                for w in observed[route.pool]
            )
            if is_served and key in desired.versions:
                assert after.routes.versions[key].pool is not None, f"{key} lost its route"

    def settle(self) -> None:
        """Step until nothing happens any more."""
        for _ in range(500):
            is_quiet = self.controller_pass().is_empty
            if not self.cluster.advance() and is_quiet:
                return
        pytest.fail("it never settles")

    def happen(self, event: Desired | str) -> None:
        """Let one event of a story happen: a wish, or a `pass`, an `advance` or a `crash`."""
        if isinstance(event, Desired):
            self.desired = event
        elif event == "pass":
            self.controller_pass()
        elif event == "advance":
            self.cluster.advance()
        else:
            for pool, workers in self.cluster.pools.items():
                self.cluster.crash(pool, next(iter(workers[0].wanted)))

    def state(self, key: VersionKey) -> VersionState:
        """The state that the edges show."""
        return self.snapshot.versions[key].state

    def pool(self, key: VersionKey) -> str | None:
        """Where the edges send a version's calls."""
        return self.snapshot.routes.versions[key].pool
