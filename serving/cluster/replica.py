"""A pool's replica: a Serve actor that owns one worker process through a `WorkerHost`.

Serve places it and gives it devices; the host keeps the worker alive. Which versions it hosts
comes from the controller by a long poll, and the worker's state goes back the same way. The
controller is needed for changes only: while it is away, the worker serves on.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

import aiohttp
import msgspec
import structlog
from ray import serve

from runtimes.profile import PROFILE_RESOURCE
from serving.clock import SystemClock
from serving.cluster.actor_logs import log_to_file
from serving.cluster.apps import Demand, application
from serving.cluster.background import Background
from serving.cluster.names import CONTROLLER_APP, Instance, ending_mark
from serving.cluster.pool_board import PoolOrder
from serving.cluster.records import portable_worker
from serving.cluster.remote_control import answered
from serving.cluster.reserved_port import reserve_port
from serving.cluster.standing import end_starting
from serving.cluster.worker_calls import call_worker
from serving.cluster.worker_launch import worker_launch
from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.monitor.drift.stream import latest, unheard
from serving.monitor.traffic import TrafficCounters
from serving.rollout.host import WorkerHost
from serving.rollout.host_watch import HostWatch, senses_for
from serving.rollout.mirroring import mirror_table
from serving.rollout.ports import PoolSpec
from serving.rollout.traffic_asking import ask_traffic
from serving.wire.call import Array
from serving.worker.control import TrafficQuestion, WorkerReport

POLL_S: Final = 2.0
REPORT_S: Final = 1.0
"""Longest pause between two reports, which are the heartbeat."""
REPORT_PAUSE_S: Final = 0.05
"""Shortest pause between two reports: 500 versions that load are not 500 reports."""
EXCHANGE_LIMIT_S: Final = 10.0
LEAVE_LIMIT_S: Final = 10.0
RETRY_S: Final = 0.5
WORKER_ID_LETTERS: Final = 6
"""Of Serve's replica id: enough to be unique in a pool, few enough for a socket's path."""

log = structlog.get_logger(__name__)


class PoolReplica:
    """One worker of a pool. Methods without an underscore are called by Serve or by users."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, instance: Instance, pool: str, lock_file: str = ""
    ) -> None:
        """Start the worker; it hosts nothing before the controller was heard."""
        context = serve.get_replica_context()
        log_to_file(instance.settings, f"replica-{pool}")
        self._instance = instance
        self._pool = pool
        self._worker = f"{pool}-{context.replica_id.unique_id[:WORKER_ID_LETTERS]}"
        self._has_news = asyncio.Event()
        self._known_revision = -1
        self._is_stopping = False
        self._question: TrafficQuestion | None = None
        self._traffic: tuple[TrafficCounters, ...] = ()
        self._heard_drift: dict[str, int] = {}
        # A cluster of several users may have several nodes: edges on others come by TCP.
        self._reserved = None if instance.owns_cluster else reserve_port()
        port = 0 if self._reserved is None else self._reserved.getsockname()[1]
        launch = worker_launch(instance, pool, self._worker, lock_file, port)
        self._socket = launch.address.socket
        clock = SystemClock()
        watch = HostWatch(
            clock,
            look_s=instance.settings.environment_look_s,
            senses=senses_for(launch.devices, instance.instance),
            on_news=self._has_news.set,
        )
        self._host = WorkerHost(launch, clock=clock, on_change=self._has_news.set, watch=watch)
        self._calls = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=self._socket))
        self._controller = serve.get_app_handle(CONTROLLER_APP)
        self._background = Background()
        end_starting(instance)
        self._background.start(self._host.run, self._report, self._follow, watch.run)

    async def infer(
        self, model: str, inputs: Mapping[str, Array], version: int | None = None
    ) -> dict[str, Array]:
        """Predict, for code that holds this pool's `DeploymentHandle`.

        Args:
            model: A model of this pool.
            inputs: An array for each input, by name.
            version: None for the highest that this pool hosts.

        Raises:
            BasculeError: As the worker says it.
        """
        return await call_worker(self._calls, model, inputs, version)

    async def check_health(self) -> None:
        """Serve replaces this actor when it raises: when the supervision itself has failed.

        A worker that dies or hangs is restarted here, sooner than Serve could replace an actor; one
        that keeps ending is the controller's to judge, and a new actor would not mend it.
        """
        self._background.raise_if_failed()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Give Serve's autoscaling policies the rows that wait: no traffic passes through Serve."""
        try:
            async with LocalHttp(self._socket) as http:
                reply = await http.ask("GET", "/worker/state", timeout_s=2)
            return {"queued": float(msgspec.json.decode(reply.body, type=WorkerReport).queued_rows)}
        except NotReadyError:
            return {"queued": 0.0}

    async def __del__(self) -> None:
        """Leave the routes, drain, end: Serve's only hook for an orderly stop.

        It may be called on an object whose `__init__` failed, and again by the garbage collector.
        """
        if getattr(self, "_is_stopping", True):
            return
        self._is_stopping = True
        if not ending_mark(self._instance.settings).exists():
            with suppress(NotReadyError):  # HAProxy notices by itself what cannot be said
                await answered(
                    self._controller.pool_leave.remote(self._pool, self._worker), LEAVE_LIMIT_S
                )
        await self._host.stop(self._instance.settings.drain_s)
        await self._background.stop()
        await self._calls.close()

    async def _report(self) -> None:
        """Tell the controller what the worker does: at every change, and as a heartbeat."""
        while True:
            self._has_news.clear()
            await self._look_at_traffic()
            await self._exchange(0.0, with_drift=True)
            await asyncio.sleep(REPORT_PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_S):
                    await self._has_news.wait()

    async def _look_at_traffic(self) -> None:
        """Read the counters that the next reports carry, if the controller asks for some."""
        if self._question is None:
            self._traffic = ()
        else:
            self._traffic = await ask_traffic(self._host.observe(), self._question)

    async def _follow(self) -> None:
        """Hear from the controller what to host."""
        while True:
            await self._exchange(POLL_S)

    async def _exchange(self, wait_s: float, *, with_drift: bool = False) -> None:
        """Report and hear; of drift only what no answered report had yet."""
        if self._is_stopping:
            await asyncio.sleep(RETRY_S)  # the controller has been told to forget this worker
            return
        state = replace(portable_worker(self._host.observe()), traffic=self._traffic)
        told, sent_revision = latest(state.drift), self._known_revision
        drift = unheard(state.drift, self._heard_drift) if with_drift else ()
        state = replace(state, drift=drift)
        try:
            order: PoolOrder | None = await answered(
                self._controller.pool_exchange.remote(
                    self._pool, state, self._known_revision, wait_s
                ),
                EXCHANGE_LIMIT_S,
            )
        except NotReadyError as error:
            log.debug("controller_away", reason=error.message)
            self._heard_drift = {}  # another one needs what this one knew
            await asyncio.sleep(RETRY_S)
            return
        if order is not None and order.revision != self._known_revision:
            # It may be another controller's: a call that was under way when one ended is answered
            # by the next, which knows nothing of what was told before.
            self._heard_drift = {}
            self._known_revision = order.revision
            self._question = order.question
            self._host.set_versions(order.versions)
            if order.mirrors is not None:
                node = self._host.address.node
                self._host.mirrors.set(mirror_table(order.mirrors, node, order.mirror_key))
        elif with_drift and sent_revision == self._known_revision:
            self._heard_drift = told


def pool_app(
    instance: Instance, spec: PoolSpec, advertised: Collection[str] = ()
) -> serve.Application:
    """The Serve application of a pool; its versions travel by another way.

    Args:
        instance: Handed to every replica.
        spec: The pool.
        advertised: Custom resources that nodes of the cluster have. A profile that none advertises
            is not demanded: whoever runs the cluster has not told Ray of profiles.
    """
    resource = f"{PROFILE_RESOURCE}{spec.profile}"
    return application(
        PoolReplica,
        instance,
        spec.pool,
        *((spec.lock_file,) if spec.lock_file else ()),
        demand=Demand(
            gpu_count=spec.gpu_count, resource=resource if resource in advertised else ""
        ),
        num_replicas=spec.replica_count,
        max_ongoing_requests=64,
    )
