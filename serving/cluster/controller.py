"""The controller's replica: a Serve actor around `rollout.controller.Controller`.

There is one. When it is killed, Serve starts it again with the same arguments; what it needs to
know is in the registry and in `run/`, and comes in again with the next reports of replicas and
edges. It makes no change before it has heard those that should be there: it would take their
routes away.
"""

import asyncio
import fcntl
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import BinaryIO, Final

import ray
import structlog
from ray import serve

from runtimes.errors import BasculeError
from serving.clock import SystemClock
from serving.cluster.actor_logs import log_to_file
from serving.cluster.adapter import RayEdges, RayPools, clock_revision
from serving.cluster.apps import application
from serving.cluster.background import Background
from serving.cluster.edge_board import EdgeBoard, EdgeReport, Publication
from serving.cluster.names import EDGE_APP, Instance
from serving.cluster.pool_board import PoolBoard, PoolOrder
from serving.cluster.recall import RoutesFile, accepted_versions, remembered
from serving.cluster.records import portable_snapshot, portable_status
from serving.cluster.serve_apps import ServePoolApps
from serving.cluster.standing import end_starting
from serving.edge.control import (
    ANONYMOUS,
    Asked,
    ClusterStatus,
    LoadOverride,
    PageForm,
    RolloutReport,
)
from serving.errors import NotReadyError
from serving.events.courier import courier_of
from serving.monitor.alarms.latch import StandingAlarm
from serving.monitor.drift.view import DriftAlarm, VersionDrift
from serving.monitor.selftest.trial import SelfTest
from serving.registry.announcing.drift_book import DriftBook
from serving.registry.bundles.dependencies import Policy
from serving.registry.preflight.profiles import read_profiles
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.forecast import Forecast
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Order, Rollout
from serving.registry.store import Registry
from serving.registry.version import VersionSpec
from serving.rollout.controller import Controller
from serving.rollout.driven import Ports
from serving.rollout.environment_book import environment_book
from serving.rollout.environment_watch import EnvironmentWatch
from serving.rollout.gate import Gate
from serving.rollout.label_watch import label_watch
from serving.rollout.nodes import KnownNodes
from serving.rollout.overrides import repository_of
from serving.rollout.placed_file import PlacedFile
from serving.rollout.ports import PoolSpec, WorkerState
from serving.rollout.sources import Selection, Sources
from serving.rollout.static_checks import StaticChecks
from serving.rollout.wishes import WishesFile
from serving.settings import Settings

HEAR_LIMIT_S: Final = 8.0
"""Longest wait for the replicas and edges of an earlier controller to report."""
HEAR_LOOK_S: Final = 0.1
NODES_LOOK_S: Final = 5.0
START_LIMIT_S: Final = 60.0
LEAVE_LIMIT_S: Final = 8.0
MANY_CALLS: Final = 10_000
"""Every replica and edge has up to two calls waiting here."""

log = structlog.get_logger(__name__)


class ControllerReplica:
    """Methods without an underscore are called by edges, replicas and Serve."""

    async def __init__(self, instance: Instance) -> None:  # type: ignore[misc]  # Serve awaits it
        """Open the boards at once, so that replicas and edges can report; the rest follows."""
        settings = instance.settings
        log_to_file(settings, "controller")
        end_starting(instance)
        self._settings = settings
        self._lock = _hold_home(settings)
        clock = SystemClock()
        first = clock_revision(clock)
        self._pool_board = PoolBoard(clock, first_revision=first)
        self._edge_board = EdgeBoard(clock, first_number=first)
        self._routes_file = RoutesFile(settings.run_dir / "routes.json")
        self._pools = RayPools(
            ServePoolApps(instance), self._pool_board, settings.run_dir / "pools.json"
        )
        self._edges = RayEdges(self._edge_board, self._routes_file)
        self._nodes = KnownNodes(read_profiles(settings.home / "profiles"))
        self._controller: Controller | None = None
        self._has_started = asyncio.Event()
        self._background = Background()
        self._background.start(
            self._pools.run, self._control, self._watch_nodes, self._watch_silence
        )

    async def pool_exchange(
        self, pool: str, state: WorkerState, known_revision: int, wait_s: float
    ) -> PoolOrder | None:
        """Take a worker's report; return the pool's order once it differs from the known one."""
        return await self._pool_board.exchange(pool, state, known_revision, wait_s)

    async def pool_leave(self, pool: str, worker: str) -> None:
        """Forget a worker that is about to end; return when no edge routes to it any more."""
        self._pool_board.leave(pool, worker)
        await self._edge_board.until_unrouted(worker, LEAVE_LIMIT_S)

    async def edge_exchange(self, report: EdgeReport, wait_s: float) -> Publication | None:
        """Take an edge's report, an acknowledgement too; return the publication that it lacks."""
        publication = await self._edge_board.exchange(report, wait_s)
        if publication is None:
            return None
        return replace(publication, snapshot=portable_snapshot(publication.snapshot))

    async def edge_beat(self, node: str) -> None:
        """Take the heartbeat of an edge that is busy obeying."""
        self._edge_board.beat(node)

    async def status(self) -> ClusterStatus:
        """Return everything that `bascule status` shows."""
        return portable_status(await (await self._started()).status())

    async def wake(self, model: str, version: int) -> None:
        """Have a worker started for a version that has none."""
        await (await self._started()).wake(model, version)

    async def load(self, model: str, override: LoadOverride | None = None) -> None:
        """Load or reload a model of the repository."""
        await (await self._started()).load(model, override)

    async def unload(self, model: str, *, dependents: bool = False) -> None:
        """Unload every version of a repository model."""
        await (await self._started()).unload(model, dependents=dependents)

    async def promote(self, model: str, version: int, asked: Asked = ANONYMOUS) -> int:
        """Make a version the live one."""
        return await (await self._started()).promote(model, version, asked)

    async def sync(self) -> None:
        """Read the catalog and the repository again."""
        await (await self._started()).sync()

    async def retire(self, model: str, version: int | None, asked: Asked = ANONYMOUS) -> None:
        """Unload one version, or all of a model, whatever the mode."""
        await (await self._started()).retire(model, version, asked)

    async def start_rollout(
        self, model: str, version: int, plan: Plan, asked: Asked = ANONYMOUS
    ) -> Rollout:
        """Begin to move a model's traffic to a version."""
        return await (await self._started()).start_rollout(model, version, plan, asked)

    async def plan_rollout(self, model: str, version: int, plan: Plan) -> Forecast:
        """Say what a rollout would do; nothing is changed."""
        return await (await self._started()).plan_rollout(model, version, plan)

    async def order_rollout(self, model: str, order: Order, asked: Asked = ANONYMOUS) -> Rollout:
        """Pause, resume, abort the model's rollout, or skip a step of it."""
        return await (await self._started()).order_rollout(model, order, asked)

    async def rollback(self, model: str, asked: Asked = ANONYMOUS) -> Rollout:
        """Give all traffic to the version that was live before."""
        return await (await self._started()).rollback(model, asked)

    async def rollouts(self, model: str | None = None) -> tuple[Rollout, ...]:
        """Return the latest rollouts, newest first."""
        return await (await self._started()).rollouts(model)

    async def rollout(self, number: int) -> RolloutReport:
        """Return one rollout with all its changes."""
        return await (await self._started()).rollout(number)

    async def rollout_page(self, number: int, form: PageForm) -> str:
        """Write one page about a rollout."""
        return await (await self._started()).rollout_page(number, form)

    async def drift(self, model: str | None = None) -> tuple[VersionDrift, ...]:
        """Describe the versions that are watched for drift, of a model or all."""
        return await (await self._started()).drift(model)

    async def alarms(self) -> tuple[StandingAlarm, ...]:
        """Describe what is wrong now, drift aside."""
        return await (await self._started()).alarms()

    async def self_test(self, model: str | None) -> SelfTest:
        """Try every alarm of a model's versions, or of all."""
        return await (await self._started()).self_test(model)

    async def acknowledge_drift(
        self, model: str, version: int | None, alarm: str, asked: Asked
    ) -> tuple[DriftAlarm, ...]:
        """Note that somebody has seen alarms of a model; return which."""
        return await (await self._started()).acknowledge_drift(model, version, alarm, asked)

    async def check_health(self) -> None:
        """Serve replaces this actor when it raises."""
        self._background.raise_if_failed()

    async def _started(self) -> Controller:
        """Wait for the controller behind the methods above."""
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await self._has_started.wait()
        except TimeoutError as error:
            raise NotReadyError("the controller is still starting: try again") from error
        if self._controller is None:
            raise NotReadyError("the controller is still starting: try again")
        return self._controller

    async def _control(self) -> None:
        """The controller's life: recall, hear, then work until the actor ends."""
        last = await asyncio.to_thread(self._routes_file.load)
        routes = last.routes
        pools = await self._pools.recall(routes)
        if pools or routes.revision:
            await self._hear(pools)
            log.info("controller_resumed", pools=len(pools), revision=routes.revision)
        await self._first_node()
        memory = remembered(pools, routes, self._pools.ending)
        with ExitStack() as stack:
            has_gpu = ray.cluster_resources().get("GPU", 0) > 0
            opened = await asyncio.to_thread(Registry.of, self._settings, gpu=has_gpu)
            registry = stack.enter_context(opened)
            sources = await asyncio.to_thread(
                _sources, self._settings, self._nodes, registry, accepted_versions(memory)
            )
            ports = Ports(
                cluster=self._pools,
                edges=self._edges,
                sources=sources,
                clock=SystemClock(),
                memory=memory,
                asleep=last.versions,
                environments=EnvironmentWatch(PlacedFile(self._settings.home / "placed.json")),
                environment_book=environment_book(self._settings, registry),
                rollouts=RolloutBook(registry),
                courier=courier_of(self._settings, registry, SystemClock()),
                drift=DriftBook(registry),
                labels=label_watch(self._settings, registry, SystemClock()),
            )
            controller = Controller(ports, self._settings, mode="ray")
            await controller.loop.start()
            self._controller = controller
            await controller.run(on_running=self._has_started.set)

    async def _first_node(self) -> None:
        """Wait until an edge has told what its node is, or a limit: nothing is judged before."""
        try:
            async with asyncio.timeout(HEAR_LIMIT_S):
                while not self._edge_board.facts():
                    await self._edge_board.heard(HEAR_LOOK_S)
        except TimeoutError:
            log.warning("no_node_is_known")
        self._nodes.hear(self._edge_board.facts())

    async def _watch_nodes(self) -> None:
        """Judge every version anew when nodes came or went.

        When no edge is heard, what was known of nodes stays: an edge that is being replaced must
        not make versions lose their profiles.
        """
        is_due = False
        while True:
            await self._edge_board.heard(NODES_LOOK_S)
            facts = self._edge_board.facts()
            if self._controller is None or not facts:
                continue
            is_due = self._nodes.hear(facts) or is_due
            if not is_due:
                continue
            try:
                await self._controller.loop.change(lambda: None)
                is_due = False
            except BasculeError as error:  # a registry that is away for a moment: tried again
                log.warning("nodes_not_judged", reason=error.message)
                await asyncio.sleep(NODES_LOOK_S)

    async def _watch_silence(self) -> None:
        """Have nobody wait for the edge of a node that is dead, as for one that may still route."""
        while True:
            await asyncio.sleep(NODES_LOOK_S)
            if silent := self._edge_board.silent():
                try:
                    living = await asyncio.to_thread(_living_nodes)
                except ray.exceptions.RayError as error:  # asked again
                    log.warning("living_nodes_not_known", reason=str(error))
                else:
                    self._edge_board.forget(silent - living)

    async def _hear(self, pools: Mapping[str, PoolSpec]) -> None:
        """Wait until every worker and every edge that should be there has reported, or a limit."""
        edge_count = await asyncio.to_thread(_running_edges)
        try:
            async with asyncio.timeout(HEAR_LIMIT_S):
                while len(self._edges.observe()) < edge_count or not self._all_heard(pools):
                    await self._pool_board.news.wait(HEAR_LOOK_S)
        except TimeoutError:
            log.warning("controller_resumes_without_some", pools=sorted(pools))

    def _all_heard(self, pools: Mapping[str, PoolSpec]) -> bool:
        heard = {
            pool: [worker for worker in workers if worker.state != "silent"]
            for pool, workers in self._pools.observe().items()
        }
        return all(len(heard[pool]) >= spec.replica_count for pool, spec in pools.items())


def controller_app(instance: Instance) -> serve.Application:
    """The Serve application of the controller."""
    return application(ControllerReplica, instance, max_ongoing_requests=MANY_CALLS)


def _hold_home(settings: Settings) -> BinaryIO:
    """Hold the home's lock for as long as this process lives, so that no `bascule serve` starts."""
    settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = (settings.run_dir / "instance.lock").open("ab")
    with suppress(BlockingIOError):  # the controller before this one is about to end
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _living_nodes() -> frozenset[str]:
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def _running_edges() -> int:
    status = serve.status().applications.get(EDGE_APP)
    if status is None:
        return 0
    return sum(
        deployment.replica_states.get("RUNNING", 0) for deployment in status.deployments.values()
    )


def _sources(
    settings: Settings, nodes: KnownNodes, registry: Registry, accepted: tuple[VersionSpec, ...]
) -> Sources:
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    return Sources(
        registry,
        repository_of(settings, gpu=has_gpu),
        Selection(mode=settings.model_control_mode, load_model=settings.load_model),
        Gate(nodes, StaticChecks(nodes.profiles(), Policy(settings.dependencies))),
        accepted,
        WishesFile(settings.run_dir / "wishes.json"),
    )
