"""Reconciling, driven against a cluster in memory that refuses every gap."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.findings import Severity
from serving.edge.control import Snapshot
from serving.edge.routes import LiveRoute
from serving.ids import VersionKey
from serving.registry.version import Isolation, ServingPolicy, VersionState
from serving.rollout.desired import Desired, Split
from serving.rollout.memory import Memory
from serving.rollout.ports import HostedVersion
from serving.rollout.reconcile import reconcile
from tests.fakes.cluster import version_spec
from tests.fakes.gate_parts import finding
from tests.fakes.world import LIMITS, World, wanted

A1, A2, B1 = VersionKey("a", 1), VersionKey("a", 2), VersionKey("b", 1)


def test_small_versions_share_a_pool() -> None:
    """Small ONNX versions share one worker, and the highest one of a model is live."""
    world = World(desired=wanted(version_spec(A1), version_spec(A2), version_spec(B1)))
    world.settle()
    assert world.snapshot.ready
    assert world.cluster.pools.keys() == {"s1"}
    assert world.snapshot.routes.live["a"].version == 2


def test_pools_are_not_overfilled() -> None:
    """A shared pool takes as many versions as the limit says, the next one goes elsewhere."""
    keys = [VersionKey("a", number) for number in range(1, 8)]
    world = World(desired=wanted(*(version_spec(key) for key in keys)))
    world.settle()
    assert [len(pool[0].hosted) for pool in world.cluster.pools.values()] == [3, 3, 1]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"format": "torchscript"}, id="torchscript"),
        pytest.param({"size_bytes": 20_000}, id="large"),
        pytest.param({"policy": ServingPolicy(replica_count=2)}, id="replicas"),
        pytest.param({"policy": ServingPolicy(device="cuda")}, id="gpu"),
        pytest.param({"policy": ServingPolicy(isolation=Isolation.DEDICATED)}, id="wish"),
        pytest.param(
            {"lock_file": "/lock", "policy": ServingPolicy(isolation=Isolation.SHARED)}, id="pins"
        ),
    ],
)
def test_others_get_their_own_worker(changes: dict[str, object]) -> None:
    """What is no small, CPU-only ONNX version with one replica gets a pool of its own."""
    world = World(desired=wanted(version_spec(A1, **changes), version_spec(B1)))
    world.settle()
    assert world.pool(A1) != world.pool(B1)
    assert world.snapshot.versions[A1].isolation == "dedicated"


def test_a_broken_version_fails_alone() -> None:
    """A version that cannot be loaded is UNAVAILABLE with the reason; others are served."""
    world = World(desired=wanted(version_spec(A1, "bad"), version_spec(B1)))
    world.cluster.broken = {"bad"}
    world.settle()
    record = world.snapshot.versions[A1]
    assert (record.state, record.reason) == (VersionState.UNAVAILABLE, "bad file")
    assert world.state(B1) is VersionState.READY
    assert world.snapshot.settled
    assert not world.snapshot.ready
    assert A1 not in world.cluster.pools["s1"][0].wanted


def test_a_failed_version_comes_back_with_a_new_digest() -> None:
    """A corrected file is tried again without being asked."""
    world = World(desired=wanted(version_spec(A1, "bad")))
    world.cluster.broken = {"bad"}
    world.settle()
    world.desired = wanted(version_spec(A1, "good"))
    world.settle()
    assert world.snapshot.ready


def test_a_refused_reload_keeps_the_former_version() -> None:
    """When a changed file cannot be loaded, what was served goes on and the reason is told."""
    world = World(desired=wanted(version_spec(A1)))
    world.settle()
    world.cluster.broken = {"bad"}
    world.desired = wanted(version_spec(A1, "bad"))
    world.settle()
    record = world.snapshot.versions[A1]
    assert record.state is VersionState.READY
    assert "bad file" in record.reason
    assert world.pool(A1) is not None


def test_an_old_refusal_is_not_held_against_a_newer_file() -> None:
    """What a worker says of the file before is no verdict on the one that it still loads."""
    world = World(desired=wanted(version_spec(A1)))
    world.settle()
    world.cluster.broken = {"bad"}
    world.desired = wanted(version_spec(A1, "bad"))
    world.settle()
    world.desired = wanted(version_spec(A1, "good"))
    world.controller_pass()
    world.controller_pass()
    assert not world.memory.failures
    world.settle()
    assert world.snapshot.versions[A1].reason == ""


def test_an_old_failure_is_not_held_against_a_newer_file() -> None:
    """A report that is older than the order for a new file says nothing about that file."""
    world = World(desired=wanted(version_spec(A1), version_spec(B1)))
    world.settle()
    worker = world.cluster.pools["s1"][0]
    world.desired = wanted(version_spec(A1, "good"), version_spec(B1))
    world.controller_pass()
    worker.hosted[A1] = HostedVersion(
        state=VersionState.UNAVAILABLE, reason="bad file", digest="bad"
    )
    world.controller_pass()
    assert not world.memory.failures


def test_a_candidates_share_is_paused_while_its_worker_restarts() -> None:
    """The live version answers all calls that name none; the split comes back with the worker."""
    alone = ServingPolicy(isolation=Isolation.DEDICATED)
    both = (version_spec(A1, policy=alone), version_spec(A2, policy=alone))
    split = {"a": Split(candidate=2, share=500)}
    world = World(desired=replace(wanted(*both, pinned={"a": 1}), splits=split))
    world.settle()
    assert world.snapshot.routes.live["a"] == LiveRoute(1, 2, 500)
    pool = world.pool(A2)
    assert pool is not None
    world.cluster.crash(pool, A2)
    world.controller_pass()
    assert world.snapshot.routes.live["a"] == LiveRoute(1)
    assert world.pool(A2) == pool
    world.settle()
    assert world.snapshot.routes.live["a"] == LiveRoute(1, 2, 500)


def test_a_promoted_version_is_live_while_it_is_routed() -> None:
    """A pin decides who is live, as long as that version has a route."""
    both = (version_spec(A1), version_spec(A2))
    world = World(desired=wanted(*both, pinned={"a": 1}))
    world.settle()
    assert world.snapshot.routes.live["a"].version == 1


@pytest.mark.parametrize(
    ("waiting", "pinned", "live"), [({A2}, None, 1), ({A1, A2}, None, None), ({A1, A2}, 1, 1)]
)
def test_a_version_that_waits_for_approvals_is_never_live_by_itself(
    waiting: set[VersionKey], pinned: int | None, live: int | None
) -> None:
    """It is loaded and can be named; what is pinned is live, and nothing is where nothing is."""
    pins = {} if pinned is None else {"a": pinned}
    both = wanted(version_spec(A1), version_spec(A2), pinned=pins)
    world = World(desired=replace(both, unapproved=frozenset(waiting)))
    world.settle()
    routes = world.snapshot.routes
    assert routes.live["a"].version == live
    assert routes.versions[A2].pool is not None


def test_a_restarting_worker_keeps_its_routes() -> None:
    """While a worker restarts, its versions stay routed and live: no other version answers."""
    world = World(desired=wanted(version_spec(A1), version_spec(A2)))
    world.settle()
    revision = world.snapshot.routes.revision
    world.cluster.crash("s1", None)
    world.controller_pass()
    assert world.state(A2) is VersionState.LOADING
    assert "killed by signal 11" in world.snapshot.versions[A2].reason
    assert world.snapshot.routes.revision == revision


def test_a_version_that_crashed_a_shared_worker_moves_out() -> None:
    """What was at work when a shared worker died gets its own worker, and status says why."""
    world = World(desired=wanted(version_spec(A1), version_spec(B1)))
    world.settle()
    world.cluster.crash("s1", A1)
    world.settle()
    assert world.pool(A1) == "d2"
    assert "killed by signal 11" in world.snapshot.versions[A1].isolation
    assert world.cluster.pools["s1"][0].wanted.keys() == {B1}


def test_a_slow_version_moves_out() -> None:
    """A version that turns out slow leaves the shared worker without a gap."""
    world = World(desired=wanted(version_spec(A1), version_spec(B1)))
    world.cluster.slow = {A1}
    world.settle()
    assert world.pool(A1) == "d2"
    assert "50 ms" in world.snapshot.versions[A1].isolation


def test_a_shared_worker_that_does_not_stay_up_blames_no_version() -> None:
    """Its versions are UNAVAILABLE with the reason, and served as soon as it stays up."""
    world = World(desired=wanted(version_spec(A1)))
    world.controller_pass()
    worker = world.cluster.pools["s1"][0]
    worker.state, worker.last_exit = "failed", "exit status 1"
    world.controller_pass()
    assert world.state(A1) is VersionState.UNAVAILABLE
    assert "exit status 1" in world.snapshot.versions[A1].reason
    assert world.snapshot.settled
    world.settle()
    assert world.state(A1) is VersionState.READY


def test_a_version_whose_own_worker_does_not_stay_up_has_failed() -> None:
    """It gives its pool back, and is not tried again by itself."""
    world = World(desired=wanted(version_spec(A1, format="torchscript")))
    world.controller_pass()
    worker = world.cluster.pools["d1"][0]
    worker.state, worker.last_exit = "failed", "killed by signal 11"
    world.controller_pass()
    world.settle()
    assert "killed by signal 11" in world.snapshot.versions[A1].reason
    assert world.cluster.pools == {}


def test_how_far_a_version_is_can_be_seen() -> None:
    """While an environment is built, LOADING has the progress; a warning stays with READY."""
    world = World(desired=wanted(version_spec(A1, lock_file="/lock", warning="a differs")))
    world.controller_pass()
    (worker,) = world.cluster.pools["d1"]
    progress = HostedVersion(state=VersionState.LOADING, reason="building environment", digest="1")
    worker.hosted[A1] = progress
    world.controller_pass()
    record = world.snapshot.versions[A1]
    assert (record.state, record.reason) == (VersionState.LOADING, "building environment")
    world.settle()
    record = world.snapshot.versions[A1]
    assert (record.state, record.reason) == (VersionState.READY, "a differs")


def test_what_a_worker_noticed_is_shown_with_what_the_gate_did() -> None:
    """A version's record has the findings of both, the gate's first."""
    gate, worker = finding(Severity.WARNING, "BP-H09"), finding(Severity.WARNING, "BP-E01")
    world = World(desired=replace(wanted(version_spec(A1)), findings={A1: (gate,)}))
    world.cluster.noticed = {A1: (worker,)}
    world.settle()
    assert world.snapshot.versions[A1].findings == (gate, worker)


def test_no_free_pool_is_told() -> None:
    """With all slots taken a version is UNAVAILABLE, and the reason names the remedy."""
    keys = [VersionKey("a", number) for number in range(1, 14)]
    world = World(desired=wanted(*(version_spec(key, format="torchscript") for key in keys)))
    world.settle()
    assert "BASCULE_POOL_SLOTS" in world.snapshot.versions[keys[-1]].reason


def test_unloaded_versions_are_listed_as_such() -> None:
    """A version that is no longer wanted is unrouted first, then dropped, then `unloaded`."""
    world = World(desired=wanted(version_spec(A1)))
    world.settle()
    world.desired = wanted()
    world.settle()
    record = world.snapshot.versions[A1]
    assert (record.state, record.reason) == (VersionState.UNAVAILABLE, "unloaded")
    assert world.snapshot.routes.live["a"].version is None
    assert world.cluster.pools == {}


def test_same_inputs_same_actions() -> None:
    """Reconciling is pure."""
    desired = wanted(version_spec(A1), version_spec(B1, format="torchscript"))
    calls = [reconcile(Memory(), desired, {}, LIMITS, Snapshot()) for _ in range(2)]
    assert calls[0] == calls[1]


KEYS = [VersionKey(model, number) for model in "ab" for number in (1, 2)]
SPECS = st.builds(
    lambda key, digest, kind, isolation: version_spec(
        key, digest, format=kind, policy=ServingPolicy(isolation=isolation)
    ),
    st.sampled_from(KEYS),
    st.sampled_from(["1", "2", "bad"]),
    st.sampled_from(["onnx", "torchscript"]),
    st.sampled_from(list(Isolation)),
)
EVENTS = st.one_of(
    st.lists(SPECS, max_size=4, unique_by=lambda spec: spec.key).map(lambda specs: wanted(*specs)),
    st.sampled_from(["pass", "advance", "crash"]),
)


@given(events=st.lists(EVENTS, max_size=25), slow=st.sets(st.sampled_from(KEYS)))
def test_it_reaches_the_goal_and_rests(events: list[Desired | str], slow: set[VersionKey]) -> None:
    """Whatever happens: no gap on the way, every good version READY in the end, then silence."""
    world = World()
    world.cluster.broken, world.cluster.slow = {"bad"}, slow
    for event in events:
        world.happen(event)
    world.settle()
    for key, spec in world.desired.versions.items():
        assert world.state(key) is VersionState.READY or spec.digest == "bad"
    hosted = {key for pool in world.cluster.pools.values() for w in pool for key in w.hosted}
    assert hosted <= world.desired.versions.keys()
    assert world.controller_pass().is_empty
