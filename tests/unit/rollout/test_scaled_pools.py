"""What is decided of a version's number of workers, carried out against a cluster in memory."""

from dataclasses import replace

from serving.ids import VersionKey
from serving.monitor.load import VersionLoad
from serving.registry.policies.scaling_policy import ScalingPolicy
from serving.registry.version import ServingPolicy, VersionState
from serving.rollout.autoscaler import SPAN_S, Autoscaler
from serving.rollout.desired import Split
from serving.rollout.memory import Observed
from serving.rollout.ports import HostedVersion
from serving.rollout.reconcile import reconcile
from serving.rollout.records import ASLEEP, STARTING
from serving.rollout.routing import next_routes, views_of
from tests.fakes.cluster import version_spec
from tests.unit.rollout.test_reconcile import LIMITS, World, wanted

KEY = VersionKey("a", 1)
POLICY = ScalingPolicy(
    min_replicas=0, max_replicas=3, target_calls=1, down_delay_s=5, idle_to_zero_s=10
)
SPEC = version_spec(KEY, policy=ServingPolicy(scaling=POLICY, replica_count=3))


class ScaledWorld(World):
    """A world whose passes take their numbers from an autoscaler; time is told to it."""

    def begin(self, limit: int = 0) -> None:
        """Start with one version."""
        self.now_s = 0.0
        self.scaler = Autoscaler(limit)
        self.desired = wanted(SPEC)
        self.settle()

    def controller_pass(self):  # noqa: ANN201  as in `World`
        """Reconcile once and carry it out."""
        counts = self.scaler.counts(self.memory, self.desired, self.now_s)
        actions = reconcile(
            self.memory,
            self.desired,
            self.cluster.observe(),
            LIMITS,
            self.snapshot,
            counts=counts,
        )
        self.memory = actions.memory
        for spec in actions.ensure:
            self.cluster.ensure(spec)
        if actions.snapshot is not None:
            self.refuse_gaps(self.desired, self.snapshot, actions.snapshot)
            self.edges.obey(actions.snapshot)
            self.memory = replace(self.memory, in_force=(actions.snapshot.routes,))
        for pool in actions.stop:
            self.cluster.stop(pool)
        return actions

    def load(self, calls: int, seconds: float) -> None:
        """Let each worker report so many waiting calls for some time, and obey what is decided."""
        for _ in range(int(seconds)):
            self.now_s += SPAN_S
            self.scaler.look(self.memory, self.desired, self.observed(calls), self.now_s)
        self.settle()

    def observed(self, calls: int) -> Observed:
        """What workers report."""
        said = VersionLoad(
            model=KEY.model,
            version=KEY.version,
            began_ns=0,
            at_ns=round(self.now_s * 1e9),
            open_count=calls,
            answered_count=0,
            failed_count=0,
            present_ns=0,
            busy_ns=0,
        )
        seen = self.cluster.observe()
        return {
            pool: [replace(w, loads=(said,)) for w in workers] for pool, workers in seen.items()
        }

    def workers(self) -> int:
        """How many workers the version has."""
        return len(self.cluster.pools[self.memory.placement[KEY]])


def scaled(limit: int = 0) -> ScaledWorld:
    """A world with one worker that was called a moment ago."""
    world = ScaledWorld()
    world.begin(limit)
    return world


def test_a_scaled_version_begins_with_one_worker_of_its_own() -> None:
    """It proves that the version loads; three are its most."""
    world = scaled()
    assert (world.pool(KEY), world.workers()) == ("d1", 1)
    assert world.snapshot.ready
    assert not world.snapshot.routes.versions[KEY].asleep


def test_workers_come_and_go_in_the_same_pool() -> None:
    """The pool stays, and so does the route to those that stay."""
    world = scaled()
    world.load(calls=5, seconds=2)
    assert (world.pool(KEY), world.workers()) == ("d1", 3)
    assert len(world.snapshot.routes.pools["d1"]) == 3
    world.load(calls=0, seconds=8)
    assert world.workers() == 1
    assert len(world.snapshot.routes.pools["d1"]) == 1


def test_no_more_workers_than_are_of_use() -> None:
    """A node with two CPUs has two workers for a version at most."""
    world = scaled(limit=2)
    world.load(calls=9, seconds=4)
    assert world.workers() == 2


def test_a_version_asleep_is_ready_and_known() -> None:
    """Its calls are routed to those who wait, and what it is like is still told."""
    world = scaled()
    served = world.snapshot.versions[KEY].served
    world.load(calls=0, seconds=12)
    record = world.snapshot.versions[KEY]
    assert world.workers() == 0
    assert world.snapshot.routes.versions[KEY].asleep
    assert (record.state, record.reason, record.served) == (VersionState.READY, ASLEEP, served)
    assert world.snapshot.ready
    assert world.snapshot.settled


def test_a_controller_that_comes_back_wakes_nobody() -> None:
    """It recalls a pool without workers: that the version loads was seen by the one before."""
    world = scaled()
    world.load(calls=0, seconds=12)
    world.scaler = Autoscaler()
    world.settle()
    assert world.workers() == 0
    assert world.snapshot.routes.versions[KEY].asleep


def test_a_call_wakes_it() -> None:
    """It is asleep until its worker answers; then calls go there."""
    world = scaled()
    world.load(calls=0, seconds=12)
    assert world.scaler.wake(KEY, SPEC, world.now_s)
    assert not world.scaler.wake(KEY, SPEC, world.now_s)
    world.controller_pass()
    world.controller_pass()
    assert world.snapshot.routes.versions[KEY].asleep
    assert world.snapshot.versions[KEY].reason == STARTING
    world.settle()
    assert not world.snapshot.routes.versions[KEY].asleep
    assert world.snapshot.versions[KEY].reason == ""
    assert len(world.snapshot.routes.pools["d1"]) == 1


def test_a_worker_that_cannot_load_is_the_reason() -> None:
    """Whoever waits is told; nobody says that the version is ready."""
    world = scaled()
    world.load(calls=0, seconds=12)
    world.cluster.broken.add(SPEC.digest)
    world.scaler.wake(KEY, SPEC, world.now_s)
    world.settle()
    record = world.snapshot.versions[KEY]
    assert (record.state, record.reason) == (VersionState.UNAVAILABLE, "bad file")
    assert not world.snapshot.routes.versions[KEY].asleep


def test_calls_wait_while_its_worker_tries_again_to_load() -> None:
    """One that failed to load when it was woken has not failed yet: it served before."""
    world = scaled()
    world.load(calls=0, seconds=12)
    world.scaler.wake(KEY, SPEC, world.now_s)
    world.controller_pass()
    (worker,) = world.cluster.pools["d1"]
    worker.state = "ready"
    worker.hosted[KEY] = HostedVersion(
        state=VersionState.UNAVAILABLE, reason="no memory", digest=SPEC.digest, is_retried=True
    )
    world.controller_pass()
    world.controller_pass()
    assert world.snapshot.routes.versions[KEY].asleep
    assert world.snapshot.versions[KEY].reason == STARTING
    assert not world.memory.failures


def test_calls_go_on_to_a_worker_whose_replica_is_silent() -> None:
    """It may serve as before: calls do not wait for another one to start."""
    world = scaled()
    silent = {
        pool: [replace(worker, state="silent") for worker in workers]
        for pool, workers in world.cluster.observe().items()
    }
    routes = next_routes(world.memory, world.desired, views_of(silent))
    assert not routes.versions[KEY].asleep
    assert len(routes.pools["d1"]) == 1


def test_a_new_form_wakes_it() -> None:
    """Whether it loads is found out at once, not by a caller."""
    world = scaled()
    world.load(calls=0, seconds=12)
    world.desired = wanted(replace(SPEC, digest="2"))
    world.settle()
    assert world.workers() == 1
    assert not world.snapshot.routes.versions[KEY].asleep


def test_a_candidate_keeps_a_worker() -> None:
    """What a rollout compares must answer, called or not."""
    world = scaled()
    world.load(calls=0, seconds=12)
    world.desired = replace(world.desired, splits={KEY.model: Split(candidate=KEY.version)})
    world.load(calls=0, seconds=12)
    assert world.workers() == 1


def test_operators_are_told() -> None:
    """How many, between which bounds, and why."""
    world = scaled()
    world.load(calls=0, seconds=12)
    world.scaler.wake(KEY, SPEC, world.now_s)
    world.settle()
    (status,) = world.scaler.statuses(world.memory, world.desired, world.cluster.observe())
    assert (status.wanted, status.ready, status.cause) == (1, 1, "first_call")
    assert status.changes == {"idle": 1, "first_call": 1}
