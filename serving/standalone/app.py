"""A standalone instance: controller, edge and workers' supervision in one process.

The order of the start: home and ports are checked, sources are read, the edge opens (not ready),
the controller starts workers. The order of the end: the edge refuses new calls and waits for those
in flight, workers drain and end, HAProxy ends, the run files go.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from runtimes.errors import BasculeError
from serving.clock import SystemClock
from serving.edge.edge import LOCAL_NODE, Edge
from serving.events.courier import Courier, courier_of
from serving.registry.announcing.drift_book import DriftBook
from serving.registry.bundles.dependencies import Policy
from serving.registry.preflight.node_facts import measure_node
from serving.registry.preflight.profiles import read_profiles
from serving.registry.rollouts.book import RolloutBook
from serving.registry.store import Registry
from serving.rollout.controller import Controller
from serving.rollout.driven import Ports
from serving.rollout.environment_book import EnvironmentBook, environment_book
from serving.rollout.environment_watch import EnvironmentWatch
from serving.rollout.gate import Gate
from serving.rollout.host_watch import HostWatch, senses_for
from serving.rollout.label_watch import LabelWatch, label_watch
from serving.rollout.nodes import KnownNodes
from serving.rollout.overrides import repository_of
from serving.rollout.placed_file import PlacedFile
from serving.rollout.sources import Sources
from serving.rollout.static_checks import StaticChecks
from serving.rollout.template_keeper import keep_template
from serving.settings import Settings
from serving.standalone.adapter import LocalCluster
from serving.standalone.edges import OneEdge
from serving.standalone.free_room import free_room
from serving.standalone.gpus import visible_gpus
from serving.standalone.home import refuse_taken_ports, sole_instance
from serving.standalone.progress import Tell, tell_progress
from serving.standalone.selection import select
from serving.standalone.stop_orders import StopOrders

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A started instance."""

    controller: Controller
    cluster: LocalCluster


async def run_instance(settings: Settings, models: Sequence[str], tell: Tell) -> None:
    """Serve until SIGTERM, SIGINT or a hangup; a later one of the first two ends all at once.

    Args:
        settings: The instance's settings.
        models: What was named on the command line.
        tell: Says one line to the terminal.

    Raises:
        BasculeError: It cannot start; nothing is left running.
    """
    instance = str(uuid.uuid4())
    stop = _stop_event(tell)
    failure: BasculeError | None = None
    gpus = visible_gpus()
    with (
        sole_instance(settings, instance),
        Registry.of(settings, gpu=bool(gpus)) as registry,
    ):
        refuse_taken_ports(settings)
        sources = await asyncio.to_thread(_sources, settings, models, registry, bool(gpus))
        try:
            async with (
                asyncio.TaskGroup() as group,
                _started(
                    _Plan(
                        settings=settings,
                        instance=instance,
                        gpus=gpus,
                        sources=sources,
                        rollouts=RolloutBook(registry),
                        courier=courier_of(settings, registry, SystemClock()),
                        environment_book=environment_book(settings, registry),
                        drift=DriftBook(registry),
                        labels=label_watch(settings, registry, SystemClock()),
                    ),
                    group,
                ) as parts,
            ):
                loop = group.create_task(parts.controller.run())
                told = group.create_task(
                    tell_progress(parts.controller.loop, parts.cluster, settings, tell)
                )
                await stop.wait()
                told.cancel()
                loop.cancel()
        except* BasculeError as errors:
            failure = _first(errors)
        if failure is not None:  # raised within the clause, older Pythons put it into a group
            raise failure
    tell("stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What an instance is built from."""

    settings: Settings
    instance: str
    gpus: tuple[str, ...]
    sources: Sources
    rollouts: RolloutBook
    courier: Courier
    environment_book: EnvironmentBook
    drift: DriftBook
    labels: LabelWatch | None


@asynccontextmanager
async def _started(plan: _Plan, group: asyncio.TaskGroup) -> AsyncIterator[_Parts]:
    """Build and start the parts; end them in order, whatever happens."""
    settings, clock = plan.settings, SystemClock()
    look_s = settings.environment_look_s
    watch = HostWatch(clock, look_s=look_s, senses=senses_for(",".join(plan.gpus), plan.instance))
    keeping = group.create_task(keep_template(settings, plan.instance, clock))
    edges = OneEdge()
    cluster = LocalCluster(
        settings,
        plan.instance,
        group=group,
        clock=clock,
        node=LOCAL_NODE,
        gpus=plan.gpus,
        until_unrouted=edges.until_unrouted,
        watch=watch,
    )
    ports = Ports(
        cluster=cluster,
        edges=edges,
        sources=plan.sources,
        clock=clock,
        environments=EnvironmentWatch(PlacedFile(settings.home / "placed.json")),
        environment_book=plan.environment_book,
        rollouts=plan.rollouts,
        courier=plan.courier,
        drift=plan.drift,
        labels=plan.labels,
        free_room=free_room(plan.gpus),
    )
    controller = Controller(ports, settings, mode="standalone")
    edge = Edge(
        settings,
        controller,
        group.create_task,
        instance=plan.instance,
        clock=clock,
        gpus=plan.gpus,
    )
    await controller.loop.start()
    looking = group.create_task(watch.run())
    try:
        await edge.start()
        edges.attach(edge)
        yield _Parts(controller=controller, cluster=cluster)
    finally:
        log.info("instance_stopping", instance=plan.instance)
        looking.cancel()
        await edge.stop()
        await cluster.close(settings.drain_s)
        keeping.cancel()


def _sources(
    settings: Settings,
    models: Sequence[str],
    registry: Registry,
    has_gpu: bool,  # noqa: FBT001  passed on to a thread
) -> Sources:
    selection = select(models, settings, registry, gpu=has_gpu)
    repository = repository_of(settings, gpu=has_gpu)
    nodes = KnownNodes(read_profiles(settings.home / "profiles"))
    nodes.hear({LOCAL_NODE: measure_node()})
    checks = StaticChecks(nodes.profiles(), Policy(settings.dependencies))
    return Sources(registry, repository, selection, Gate(nodes, checks))


def _stop_event(tell: Tell) -> asyncio.Event:
    """Return an event that the first signal sets; a second order ends the process at once.

    Its children die with it: that is what the kernel promises them.
    """
    stop = asyncio.Event()

    def begin() -> None:
        stop.set()
        tell("stopping: calls in flight are finished first; once more to stop at once")

    orders = StopOrders(SystemClock(), begin, partial(os._exit, 1))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, orders.hear)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asks for none
        loop.add_signal_handler(signal.SIGHUP, orders.hear_hangup)
    return stop


def _first(errors: BaseExceptionGroup[BasculeError]) -> BasculeError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    if not isinstance(found, BasculeError):
        raise found
    return found
