"""Changes of all kinds while edges refuse some of them: no edge is ever led astray."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import example, given
from hypothesis import strategies as st

from serving.edge.control import Snapshot
from serving.edge.routes import LiveRoute, RouteTable
from serving.ids import VersionKey
from serving.registry.ensemble import LATEST
from serving.registry.version import Isolation, ServingPolicy, VersionSpec, VersionState
from serving.rollout.desired import Desired, Split
from serving.rollout.ensembles import linked
from serving.rollout.memory import Limits
from serving.rollout.reconcile import Actions, reconcile
from serving.rollout.succession import with_predecessors
from tests.fakes.cluster import version_spec
from tests.fakes.ensembles import step
from tests.fakes.world import World

LIMITS = Limits(shared_pool_versions=3, pool_slots=60)
EDGES = (0, 1)


@dataclass
class Story(World):
    """A controller and two edges, each of which may refuse what it is told."""

    limits: Limits = LIMITS
    obeyed: dict[int, Snapshot] = field(default_factory=lambda: dict.fromkeys(EDGES, Snapshot()))
    refusing: set[int] = field(default_factory=set)
    acknowledged: Snapshot = field(default_factory=Snapshot)

    @property
    def snapshot(self) -> Snapshot:
        """What all edges obey."""
        return self.acknowledged

    def controller_pass(self) -> Actions:
        """Reconcile once and carry it out, as `ControlLoop` does."""
        before = self.memory
        wanted = with_predecessors(self.desired, self.acknowledged, before.routes)
        link = linked(wanted, before)
        actions = reconcile(
            before,
            link.desired,
            self.cluster.observe(),
            self.limits,
            self.acknowledged,
            groups=link.groups,
        )
        pools = {**before.pools, **actions.memory.pools}
        self.memory = replace(actions.memory, pools=pools)
        for spec in actions.ensure:
            self.require_routed(spec.pool, spec.versions)
            self.cluster.ensure(spec)
        if actions.snapshot is not None and not self.publish(link.desired, actions.snapshot):
            return actions  # the pass has failed
        self.memory = replace(self.memory, pools=actions.memory.pools)
        for pool in actions.stop:
            self.require_routed(pool, ())
            self.cluster.stop(pool)
        return actions

    def happen(self, event: Desired | str | set[int]) -> None:
        """Let one event of a story happen: edges may refuse from now on, and `rounds` may pass."""
        if isinstance(event, set):
            self.refusing = event
        elif event == "rounds":
            for _ in range(8):
                self.controller_pass()
                self.cluster.advance()
        else:
            super().happen(event)

    def publish(self, desired: Desired, snapshot: Snapshot) -> bool:
        """Hand it to the edges; say whether all obey."""
        newest = self.memory.routes
        self.memory = self.memory.offering(snapshot.routes)
        for edge in EDGES:
            if edge in self.refusing:
                continue
            before = self.obeyed[edge]
            if before.routes == newest:  # another edge has heard what this one has not
                self.refuse_gaps(desired, before, snapshot)
                self.refuse_strangers(desired, before.routes, snapshot.routes)
            self.obeyed[edge] = snapshot
            self.cluster.routes = snapshot.routes
        if self.refusing:
            return False
        self.memory = replace(self.memory, in_force=(snapshot.routes,))
        self.acknowledged = snapshot
        return True

    def require_routed(self, pool: str, versions: Sequence[VersionSpec]) -> None:
        """A pool has what any edge sends to it, and the steps of such ensembles."""
        hosted = {version.key: version for version in versions}
        for snapshot in self.obeyed.values():
            for key, route in snapshot.routes.versions.items():
                if route.pool == pool:
                    assert key in hosted, f"{pool} drops {key}"
                    steps = hosted[key].policy.ensemble
                    assert {VersionKey(s.model, s.version) for s in steps} <= hosted.keys()

    def refuse_strangers(self, desired: Desired, before: RouteTable, after: RouteTable) -> None:
        """Live is what may be: routed, approved, no candidate; and somebody, if anybody can be."""
        for model, live in after.live.items():
            split, pinned = desired.splits.get(model), desired.pinned_live.get(model)
            old = before.live.get(model, LiveRoute(None)).version
            key = VersionKey(model, live.version or old or 0)
            is_candidate = split is not None and split.candidate == key.version
            may_be_live = not is_candidate and key not in desired.unapproved
            if live.version is None:
                may_stay = {**self.desired.predecessors, **desired.versions}
                is_left = key in may_stay and may_be_live and pinned is None
                assert not is_left or not self.is_served(before, key)
            else:
                assert after.versions[key].pool is not None
                assert may_be_live or live.version in {pinned, old}

    def is_served(self, table: RouteTable, key: VersionKey) -> bool:
        """Whether a version answers where a table sends its calls."""
        route = table.versions.get(key)
        workers = () if route is None else self.cluster.observe().get(route.pool or "", ())
        said = [worker.versions.get(key) for worker in workers]
        return any(one is not None and one.state is VersionState.READY for one in said)


def model_version(model: str, number: int, digest: str, isolation: Isolation) -> VersionSpec:
    """A version of a model."""
    policy = ServingPolicy(isolation=isolation)
    return version_spec(VersionKey(model, number), digest, policy=policy)


def ensemble(name: str, models: tuple[str, ...]) -> VersionSpec:
    """An ensemble over models in a row."""
    steps = tuple(
        step(model, {"i": f"t{number}"}, {"o": f"t{number + 1}"}, LATEST)
        for number, model in enumerate(models)
    )
    key = VersionKey(name, 1)
    policy = ServingPolicy(ensemble=steps)
    return version_spec(key, "".join(models), format="ensemble", size_bytes=0, policy=policy)


VERSIONS = st.builds(
    model_version,
    st.sampled_from("ab"),
    st.integers(1, 3),
    st.sampled_from(["1", "2", "bad"]),
    st.sampled_from([Isolation.AUTO, Isolation.DEDICATED]),
)
ENSEMBLES = st.builds(
    ensemble, st.sampled_from("ef"), st.lists(st.sampled_from("abe"), min_size=1).map(tuple)
)


def desired_of(
    specs: list[VersionSpec],
    older: set[int],
    pinned: int,
    candidate: int,
    unapproved: set[int],
) -> Desired:
    """What sources may want: `a` is of the registry, `b` of a repository with a policy."""
    predecessors = {spec.key: spec for spec in specs if spec.model == "b" and spec.version in older}
    chosen = {spec.key: spec for spec in specs if spec.key not in predecessors}
    return Desired(
        versions=chosen,
        predecessors=predecessors,
        pinned_live={"a": pinned} if VersionKey("a", pinned) in chosen else {},
        splits={"a": Split(candidate=candidate, share=1000)} if candidate else {},
        unapproved=frozenset(VersionKey("a", number) for number in unapproved),
        known_models=frozenset("abef"),
    )


NUMBERS = st.sets(st.integers(1, 3), max_size=2)
CHANGES = st.builds(
    desired_of,
    st.lists(VERSIONS | ENSEMBLES, max_size=6, unique_by=lambda spec: spec.key),
    NUMBERS,
    st.integers(0, 3),
    st.integers(0, 3),
    NUMBERS,
)
EVENTS = st.one_of(
    CHANGES,
    st.sampled_from(["pass", "advance", "crash", "rounds", "rounds"]),
    st.sets(st.sampled_from(EDGES)),
)


AUTO, OWN = Isolation.AUTO, Isolation.DEDICATED
B1 = model_version("b", 1, "1", AUTO)
MOVED_WHILE_REFUSED = [
    desired_of([B1, model_version("a", 1, "1", AUTO)], set(), 0, 0, set()),
    "rounds",
    {1},
    desired_of([B1, model_version("a", 1, "1", OWN)], set(), 0, 0, set()),
    "rounds",
]
SUCCEEDED = [
    desired_of([B1], set(), 0, 0, set()),
    "rounds",
    desired_of([model_version("b", n, "1", AUTO) for n in (1, 2)], {1}, 0, 0, set()),
    "rounds",
]


@given(events=st.lists(EVENTS, max_size=30))
@example(events=MOVED_WHILE_REFUSED)
@example(events=SUCCEEDED)
def test_no_edge_is_led_astray(events: list[Desired | str | set[int]]) -> None:
    """Whatever changes, fails and is refused meanwhile: what an edge obeys can be obeyed.

    Who is live may be; what serves and is wanted keeps its route; and in the end, when edges obey
    again, all that can serve does, and nothing moves.
    """
    story = Story()
    story.cluster.broken = {"bad"}
    for event in events:
        story.happen(event)
    story.refusing.clear()
    story.settle()
    for key, spec in story.desired.versions.items():
        known = story.acknowledged.versions[key]
        assert known.state is VersionState.READY or spec.digest == "bad" or known.reason
        if not spec.policy.ensemble and spec.digest != "bad":
            assert known.state is VersionState.READY
    assert story.controller_pass().is_empty
