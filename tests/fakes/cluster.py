"""A cluster and its edges in memory: they keep the ports' promises and check the controller's.

Nothing happens by itself: `FakeCluster.advance` loads, unloads and restarts one step further, so
a test owns the order of events.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from runtimes.findings import Finding
from serving.edge.control import EdgeStatus, Snapshot
from serving.edge.routes import RouteTable, WorkerAddress
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport, Pair
from serving.monitor.traffic import Lives, TrafficCounters
from serving.monitor.vitals import VersionVitals
from serving.registry.version import ServedVersion, VersionSpec, VersionState
from serving.rollout.ports import HostedVersion, Mirror, PoolSpec, WorkerState

NOBODY_BUSY: Final[Mapping[VersionKey, float]] = MappingProxyType({})


def version_spec(key: VersionKey, digest: str = "1", **changes: object) -> VersionSpec:
    """A small ONNX version that may share a worker."""
    spec = VersionSpec(
        model=key.model,
        version=key.version,
        file=f"/models/{key.model}/{key.version}/model.onnx",
        format="onnx",
        size_bytes=1000,
        digest=digest,
        origin="repository /models",
    )
    return replace(spec, **changes)  # type: ignore[arg-type]  # a test's own names


def served_version(run_s: float = 0.0001) -> ServedVersion:
    """What a worker says of a loaded version."""
    return ServedVersion(
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        inputs=(),
        outputs=(),
        max_batch_rows=0,
        device="cpu",
        threads=1,
        load_s=0.01,
        run_s=run_s,
    )


@dataclass(slots=True)
class FakeWorker:
    """A worker that loads one version with every step."""

    name: str
    pool: str
    state: str = "starting"
    hosted: dict[VersionKey, HostedVersion] = field(default_factory=dict)
    wanted: dict[VersionKey, VersionSpec] = field(default_factory=dict)
    restart_count: int = 0
    last_exit: str = ""
    crashed_on: VersionKey | None = None

    def observed(
        self, busy: Mapping[VersionKey, float] = NOBODY_BUSY, age_s: float = 60.0
    ) -> WorkerState:
        """Describe it as a supervisor does, which has known for long how busy versions keep it."""
        return WorkerState(
            address=WorkerAddress(self.name, "here", f"/run/{self.name}.sock"),
            pool=self.pool,
            pid=1,
            state=self.state,
            versions=dict(self.hosted),
            restart_count=self.restart_count,
            last_exit=self.last_exit,
            crashed_on=self.crashed_on,
            vitals=tuple(
                VersionVitals(
                    traffic=TrafficCounters(
                        model=key.model, version=key.version, began_ns=1, age_s=age_s
                    ),
                    busy=busy[key],
                )
                for key in busy.keys() & self.hosted.keys()
            ),
        )


class FakeCluster:
    """Pools in memory. `broken` digests fail to load, `slow` versions take 50 ms a row."""

    def __init__(self, *, is_automatic: bool = False) -> None:
        """Begin without pools; an automatic cluster advances whenever it is asked for news."""
        self.is_automatic = is_automatic
        self.pools: dict[str, list[FakeWorker]] = {}
        self.started_counts: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.slow: set[VersionKey] = set()
        self.busy: dict[VersionKey, float] = {}
        """How much of a worker's time each version takes, wherever it is."""
        self.age_s = 60.0
        """How long workers have had each of them."""
        self.noticed: dict[VersionKey, tuple[Finding, ...]] = {}
        self.routes = RouteTable()
        self.mirrors: list[Mirror] = []
        self.compared: list[ComparisonReport] = []
        """What the workers have found; a test puts it there."""
        self.counted: dict[str, tuple[TrafficCounters, ...]] = {}
        """What the lives of workers have counted; a test puts it there."""
        self._news = asyncio.Event()

    async def ensure_pool(self, spec: PoolSpec) -> None:
        """Start a pool or change its versions; versions that a route names must not vanish."""
        self.ensure(spec)

    def ensure(self, spec: PoolSpec) -> None:
        """Do what `ensure_pool` does, for tests without a loop."""
        wanted = {version.key: version for version in spec.versions}
        assert wanted, "a pool without versions must be stopped"
        routed = {k for k, route in self.routes.versions.items() if route.pool == spec.pool}
        assert routed <= wanted.keys(), f"{spec.pool} drops versions that are routed to it"
        steps = {
            VersionKey(step.model, step.version)
            for key in routed
            for step in wanted[key].policy.ensemble
        }
        assert steps <= wanted.keys(), (
            f"{spec.pool} drops steps of an ensemble that is routed to it"
        )
        workers = self.pools.setdefault(spec.pool, [])
        staying = [worker for worker in workers if worker.state != "draining"]
        for _ in range(spec.replica_count - len(staying)):
            number = self.started_counts[spec.pool]
            self.started_counts[spec.pool] += 1
            staying.append(FakeWorker(f"{spec.pool}-{number}", spec.pool))
            workers.append(staying[-1])
        for worker in staying[spec.replica_count :]:
            worker.state = "draining"
        for worker in workers:
            self._apply(worker, wanted)
        self._news.set()

    async def stop_pool(self, pool: str) -> None:
        """End a pool that no route names."""
        self.stop(pool)

    def stop(self, pool: str) -> None:
        """Do what `stop_pool` does, for tests without a loop."""
        named = {route.pool for route in self.routes.versions.values()}
        assert pool not in named, f"{pool} is stopped while it is routed"
        del self.pools[pool]

    def observe(self) -> Mapping[str, Sequence[WorkerState]]:
        """Describe all workers."""
        return {
            pool: [worker.observed(self.busy, self.age_s) for worker in workers]
            for pool, workers in self.pools.items()
        }

    async def changed(self) -> None:
        """Return after the next step."""
        if self.is_automatic:
            self.advance()
        await self._news.wait()
        self._news.clear()

    def set_mirrors(self, mirrors: Sequence[Mirror]) -> None:
        """Copy what is said; a comparison goes with its mirror."""
        self.mirrors = list(mirrors)
        pairs = {Pair(m.live.model, m.candidate, m.live.version) for m in mirrors}
        self.compared = [report for report in self.compared if report.pair in pairs]

    def comparisons(self) -> Sequence[ComparisonReport]:
        """Tell what was put there."""
        return tuple(self.compared)

    async def traffic(
        self,
        keys: Collection[VersionKey],
        *,
        with_outputs: bool = False,  # noqa: ARG002  the port's
    ) -> Lives:
        """Tell what a test put there, of the versions that were asked for."""
        asked = {
            life: tuple(one for one in series if one.key in keys)
            for life, series in self.counted.items()
        }
        return {life: series for life, series in asked.items() if series}

    def advance(self) -> bool:
        """Let every worker take one step; return whether anything happened."""
        steps = [self._leave(pool) for pool in self.pools]
        steps += [self._step(worker) for workers in self.pools.values() for worker in workers]
        if any(steps):
            self._news.set()
        return any(steps)

    def crash(self, pool: str, key: VersionKey | None) -> None:
        """Kill a pool's first worker while it runs a version."""
        worker = self.pools[pool][0]
        worker.state, worker.last_exit = "restarting", "killed by signal 11"
        worker.restart_count += 1
        worker.crashed_on = key
        worker.hosted = {k: _loading(spec) for k, spec in worker.wanted.items()}
        self._news.set()

    def _apply(self, worker: FakeWorker, wanted: dict[VersionKey, VersionSpec]) -> None:
        worker.wanted = wanted
        for key, spec in wanted.items():
            said = worker.hosted.get(key)
            if said is None or said.state is not VersionState.READY:
                worker.hosted[key] = _loading(spec)

    def _leave(self, pool: str) -> bool:
        """End the draining workers of a pool that no edge routes to any more."""
        routed = {one.worker for workers in self.routes.pools.values() for one in workers}
        workers = self.pools[pool]
        self.pools[pool] = [w for w in workers if w.state != "draining" or w.name in routed]
        return len(self.pools[pool]) < len(workers)

    def _step(self, worker: FakeWorker) -> bool:
        if worker.state == "draining":
            return False
        for key in worker.hosted.keys() - worker.wanted.keys():
            del worker.hosted[key]
            return True
        for key, spec in worker.wanted.items():
            said = worker.hosted[key]
            if said.digest != spec.digest or said.state is VersionState.LOADING:
                changed = self._loaded(spec, said)
                if changed != said:
                    worker.hosted[key] = changed
                    return True
        is_new = worker.state != "ready"
        worker.state = "ready"
        return is_new

    def _loaded(self, spec: VersionSpec, before: HostedVersion) -> HostedVersion:
        if spec.digest not in self.broken:
            run_s = 0.05 if spec.key in self.slow else 0.0001
            return HostedVersion(
                state=VersionState.READY,
                digest=spec.digest,
                served=replace(
                    served_version(run_s),
                    inputs=spec.policy.inputs,
                    findings=self.noticed.get(spec.key, ()),
                ),
            )
        if before.state is VersionState.READY:
            return replace(before, reason="bad file", refused_digest=spec.digest)
        return HostedVersion(state=VersionState.UNAVAILABLE, reason="bad file", digest=spec.digest)


class FakeEdges:
    """Edges that obey at once, and check that no route leads nowhere."""

    def __init__(self, cluster: FakeCluster) -> None:
        """Watch the pools of one cluster."""
        self.snapshot = Snapshot()
        self.published: list[Snapshot] = []
        self._cluster = cluster

    async def publish(self, snapshot: Snapshot) -> None:
        """Obey a snapshot."""
        self.obey(snapshot)

    def obey(self, snapshot: Snapshot) -> None:
        """Do what `publish` does, for tests without a loop."""
        before = self.snapshot.routes.versions
        for key, route in snapshot.routes.versions.items():
            if route.pool is not None and before.get(key) != route and not route.asleep:
                workers = self._cluster.pools[route.pool]
                assert any(_serves(worker, key) for worker in workers), f"{key} leads nowhere"
        self.snapshot = snapshot
        self._cluster.routes = snapshot.routes
        self.published.append(snapshot)

    def observe(self) -> Sequence[EdgeStatus]:
        """Describe the one edge."""
        revision = self.snapshot.routes.revision
        return [EdgeStatus(node="here", haproxy_pid=1, revision=revision)]


def _loading(spec: VersionSpec) -> HostedVersion:
    return HostedVersion(state=VersionState.LOADING, digest=spec.digest)


def _serves(worker: FakeWorker, key: VersionKey) -> bool:
    said = worker.hosted.get(key)
    return said is not None and said.state is VersionState.READY
