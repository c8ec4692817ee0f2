"""`rollout.ports.Cluster` with worker processes that are children of this process."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

import structlog

from serving.clock import Clock
from serving.edge.node_gpus import seen_devices
from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport, merge_comparisons
from serving.monitor.traffic import Lives
from serving.registry.version import VersionState
from serving.rollout.host import WorkerHost, WorkerLaunch
from serving.rollout.host_watch import HostWatch
from serving.rollout.mirroring import PoolPlace, mirror_orders, mirror_table
from serving.rollout.ports import Mirror, PoolSpec, WorkerState
from serving.rollout.template_keeper import template_socket
from serving.rollout.traffic_asking import ask_all
from serving.rollout.worker_argv import worker_argv
from serving.rollout.worker_environment import environment_order
from serving.settings import Settings
from serving.supervise import ChildSpec, child_environment
from serving.worker.control import TrafficQuestion

log = structlog.get_logger(__name__)

NEWS_LIMIT_S = 10.0


class LocalCluster:
    """Pools on this machine. All calls are made from one event loop."""

    def __init__(  # noqa: PLR0913  the parts of the process, built in one place
        self,
        settings: Settings,
        instance: str,
        *,
        group: asyncio.TaskGroup,
        clock: Clock,
        node: str,
        gpus: Sequence[str] = (),
        until_unrouted: Callable[[str], Awaitable[None]],
        watch: HostWatch | None = None,
    ) -> None:
        """Begin without pools.

        Args:
            settings: The instance's settings.
            instance: Its id, for the children's environment.
            group: The process's task group: every worker has one task in it.
            clock: Tells quick ends of workers from late ones.
            node: This machine's name in addresses: the edge's.
            gpus: What is handed to workers that need a GPU, in turn.
            until_unrouted: Returns when no edge sends calls to a worker any more.
            watch: Knows what changes around workers; None: nobody does.
        """
        self._settings = settings
        self._instance = instance
        self._group = group
        self._clock = clock
        self._gpus = tuple(gpus)
        self._watch = watch
        self._node = node
        self._until_unrouted = until_unrouted
        self._pools: dict[str, list[WorkerHost]] = {}
        self._leaving: dict[WorkerHost, asyncio.Task[None]] = {}
        """Those that end as soon as no edge sends calls to them."""
        self._versions: dict[str, frozenset[VersionKey]] = {}
        self._mirrors: tuple[Mirror, ...] | None = None
        self._worker_count: dict[str, int] = {}
        self._gpu_worker_count = 0
        self._news = asyncio.Event()

    async def ensure_pool(self, spec: PoolSpec) -> None:
        """Start a pool, or change its versions in place; returns at once."""
        hosts = self._pools.setdefault(spec.pool, [])
        for host in hosts:
            host.set_versions(spec.versions)
        staying = [host for host in hosts if host not in self._leaving]
        for _ in range(spec.replica_count - len(staying)):
            host = self._start_worker(spec)
            host.set_versions(spec.versions)
            hosts.append(host)
        for host in sorted(staying, key=_serves, reverse=True)[spec.replica_count :]:
            self._leaving[host] = self._group.create_task(self._retire(spec.pool, host))
        self._versions[spec.pool] = frozenset(version.key for version in spec.versions)
        self._hand_mirrors()
        self._news.set()

    async def stop_pool(self, pool: str) -> None:
        """Drain and end a pool that no route names any more; returns when it is gone."""
        async with asyncio.TaskGroup() as group:
            for host in self._pools.get(pool, ()):
                group.create_task(host.stop(self._settings.drain_s))
        self._pools.pop(pool, None)
        self._versions.pop(pool, None)
        self._hand_mirrors()
        self._news.set()

    async def close(self, drain_s: float) -> None:
        """End every worker, all at once."""
        for leaving in self._leaving.values():
            leaving.cancel()  # nobody publishes routes any more
        async with asyncio.TaskGroup() as group:
            for hosts in self._pools.values():
                for host in hosts:
                    group.create_task(host.stop(drain_s))
        self._pools.clear()

    def observe(self) -> Mapping[str, Sequence[WorkerState]]:
        """The workers of every pool, as last heard of."""
        return {pool: [self._seen(host) for host in hosts] for pool, hosts in self._pools.items()}

    async def changed(self) -> None:
        """Return when `observe` may give something new (or after some seconds without news)."""
        try:
            async with asyncio.timeout(NEWS_LIMIT_S):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def set_mirrors(self, mirrors: Sequence[Mirror]) -> None:
        """Say which calls are copied and compared from now on."""
        self._mirrors = tuple(mirrors)
        self._hand_mirrors()

    def comparisons(self) -> Sequence[ComparisonReport]:
        """Return what is known of each pair that is compared."""
        hosts = (host for hosts in self._pools.values() for host in hosts)
        return merge_comparisons(report for host in hosts for report in host.mirrors.comparisons)

    def _hand_mirrors(self) -> None:
        """Give every host its part; all are on this machine and need no network."""
        if self._mirrors is None:
            return
        pools = {
            pool: PoolPlace(
                versions=self._versions[pool],
                workers=tuple(host.address for host in hosts),
            )
            for pool, hosts in self._pools.items()
        }
        for pool, hosts in self._pools.items():
            orders = mirror_orders(self._mirrors, pools, self._versions[pool])
            for host in hosts:
                host.mirrors.set(mirror_table(orders, self._node))

    async def traffic(self, keys: Collection[VersionKey], *, with_outputs: bool = False) -> Lives:
        """Return what every worker has counted of some versions, by the life of its process."""
        question = TrafficQuestion(keys=tuple(keys), with_outputs=with_outputs)
        states = [host.observe() for hosts in self._pools.values() for host in hosts]
        return await ask_all(states, question)

    def _seen(self, host: WorkerHost) -> WorkerState:
        state = host.observe()
        return replace(state, state="draining") if host in self._leaving else state

    async def _retire(self, pool: str, host: WorkerHost) -> None:
        await self._until_unrouted(host.address.worker)
        await host.stop(self._settings.drain_s)
        del self._leaving[host]
        if host in (hosts := self._pools.get(pool, [])):  # its pool may have ended meanwhile
            hosts.remove(host)
        self._hand_mirrors()
        self._news.set()

    def _start_worker(self, spec: PoolSpec) -> WorkerHost:
        number = self._worker_count.get(spec.pool, 0)
        self._worker_count[spec.pool] = number + 1
        worker = f"{spec.pool}-{number}"
        devices = self._devices(spec)
        host = WorkerHost(
            self._launch(spec, worker, devices),
            clock=self._clock,
            on_change=self._news.set,
            watch=self._watch,
        )
        self._group.create_task(host.run())
        log.info("worker_started", worker=worker, pool=spec.pool, devices=devices)
        return host

    def _launch(self, spec: PoolSpec, worker: str, devices: str) -> WorkerLaunch:
        folder = self._settings.run_dir / "w"
        address = WorkerAddress(worker, self._node, str(folder / f"{worker}.sock"))
        recorder = folder / f"{worker}.recorder"
        child = ChildSpec(
            name=f"worker {worker}",
            argv=worker_argv(self._settings, address, recorder, devices, self._gpus),
            env=child_environment(
                self._settings.home,
                self._instance,
                CUDA_VISIBLE_DEVICES=seen_devices(self._settings, devices, self._gpus),
            ),
            log_file=self._settings.log_dir / f"{worker}.log",
        )
        return WorkerLaunch(
            address=address,
            pool=spec.pool,
            child=child,
            recorder=recorder,
            devices=devices,
            template=template_socket(self._settings),
            environment=environment_order(self._settings, spec.lock_file, child),
            relocated=lambda: self._launch(spec, worker, self._devices(spec)),
        )

    def _devices(self, spec: PoolSpec) -> str:
        """Choose what a worker sees: nothing without a GPU's need, else the GPUs in turn.

        One that has failed is left out, as long as another one has not.
        """
        if spec.gpu_count == 0 or not self._gpus:
            return ""
        watch = None if self._watch is None else self._watch.gpus
        sound = [gpu for gpu in self._gpus if watch is None or not watch.trouble(gpu)]
        chosen = (sound or self._gpus)[self._gpu_worker_count % len(sound or self._gpus)]
        self._gpu_worker_count += 1
        return chosen


def _serves(host: WorkerHost) -> bool:
    """Whether a worker answers calls: of too many, those go first that do not."""
    return any(said.state is VersionState.READY for said in host.observe().versions.values())
