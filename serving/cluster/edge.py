"""A node's edge as a Serve actor: a thin shell around `serving.edge.edge.Edge`.

HAProxy survives this actor, whatever ends it, and the next one adopts it: so no call is lost when
Serve replaces the actor. Only when the whole instance ends is HAProxy told to finish its calls.
"""

import asyncio
import signal
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import ray
import structlog
from ray import serve

from runtimes.errors import BasculeError
from serving.clock import SystemClock
from serving.cluster.actor_logs import log_to_file
from serving.cluster.apps import application
from serving.cluster.background import Background
from serving.cluster.edge_board import EdgeReport, Publication
from serving.cluster.heartbeat import beating
from serving.cluster.names import CONTROLLER_APP, Instance, ending_mark
from serving.cluster.records import portable_facts
from serving.cluster.remote_control import RemoteControl, answered
from serving.cluster.standing import stand_with_workers
from serving.edge.control import EdgeStatus
from serving.edge.edge import Edge
from serving.edge.node_gpus import shared_gpus
from serving.registry.preflight.node_facts import measure_node
from serving.rollout.template_keeper import keep_template
from serving.supervise import Child

POLL_S: Final = 2.0
EXCHANGE_LIMIT_S: Final = 10.0
RETRY_S: Final = 0.2
MANY_NODES: Final = 1000

log = structlog.get_logger(__name__)


class EdgeReplica:
    """One node's edge. Methods without an underscore are called by Serve."""

    async def __init__(self, instance: Instance) -> None:  # type: ignore[misc]  # Serve awaits it
        """Open the ports; they are open when this returns."""
        log_to_file(instance.settings, "edge")
        stand_with_workers(instance)
        self._instance = instance
        self._is_open = asyncio.Event()
        self._is_stopping = False
        self._background = Background()
        self._edge = Edge(
            instance.settings,
            RemoteControl(),
            self._background.spawn,
            instance=instance.instance,
            node=ray.get_runtime_context().get_node_id(),
            outlives=True,
            gpus=shared_gpus(instance.settings),
        )
        self._report = EdgeReport(status=self._edge.status())
        self._background.start(self._live, self._keep_template)
        await self._background.until(self._is_open.wait())

    async def status(self) -> EdgeStatus:
        """Say how the edge stands."""
        return self._edge.status()

    async def check_health(self) -> None:
        """Serve replaces this actor when it raises; HAProxy stays."""
        self._background.raise_if_failed()

    async def __del__(self) -> None:
        """Leave HAProxy to the next edge, or let it finish if there will be none.

        Serve's only hook for an orderly stop. It may be called on an object whose `__init__`
        failed, and again by the garbage collector.
        """
        if getattr(self, "_is_stopping", True):
            return
        self._is_stopping = True
        haproxy = self._edge.status().haproxy_pid
        await self._edge.stop()
        await self._background.stop()
        if ending_mark(self._instance.settings).exists():
            await self._end(haproxy)

    async def _live(self) -> None:
        """Open the ports, then obey the controller until the actor ends."""
        facts = portable_facts(await asyncio.to_thread(measure_node))
        self._report = replace(self._report, facts=facts)
        await self._edge.start()
        self._is_open.set()
        controller = serve.get_app_handle(CONTROLLER_APP)
        while True:
            report = replace(self._report, status=self._edge.status())
            try:
                news: Publication | None = await answered(
                    controller.edge_exchange.remote(report, POLL_S), EXCHANGE_LIMIT_S
                )
            except BasculeError as error:  # the routes stay as they are
                log.warning("controller_away", reason=error.message)
                await asyncio.sleep(RETRY_S)
                continue
            if news is not None:
                await self._obey(news, controller)

    async def _keep_template(self) -> None:
        """Keep this node's template of workers, which replicas' actors have theirs forked from."""
        await keep_template(self._instance.settings, self._instance.instance, SystemClock())

    async def _obey(self, news: Publication, controller: serve.handle.DeploymentHandle) -> None:
        async def beat() -> None:
            with suppress(BasculeError):  # it is away: nobody measures our silence
                node = self._report.status.node
                await answered(controller.edge_beat.remote(node), EXCHANGE_LIMIT_S)

        try:
            async with beating(beat, self._background.spawn):
                await self._edge.apply(news.snapshot)
        except BasculeError as error:
            log.warning("snapshot_refused", number=news.number, reason=error.message)
            self._report = replace(self._report, refused=news.number, reason=error.message)
            await asyncio.sleep(RETRY_S)  # it comes again
        else:
            self._report = replace(self._report, applied=news.number)

    async def _end(self, haproxy_pid: int) -> None:
        """Let HAProxy finish its calls and end."""
        child = Child.adopt("haproxy", haproxy_pid) if haproxy_pid else None
        if child is None:
            return
        await child.stop(self._instance.settings.drain_s, signal.SIGUSR1)


def living_nodes(context: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401, ARG001  Serve's signature
    """Serve's autoscaling policy for edges: one for each living node."""
    return max(1, sum(node["Alive"] for node in ray.nodes())), {}


def edge_app(instance: Instance) -> serve.Application:
    """The Serve application of the edges."""
    return application(
        EdgeReplica,
        instance,
        max_replicas_per_node=1,
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": MANY_NODES,
            "upscale_delay_s": 0,
            "downscale_delay_s": 0,
            "look_back_period_s": 12,  # Serve wants more than its metrics interval of 10
            "policy": {"policy_function": living_nodes},
        },
    )
