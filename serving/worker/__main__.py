"""The worker: one process, the versions of its pool, no Ray. START HERE for the data path.

    python -m serving.worker --worker ID --socket PATH [--tcp HOST:PORT] [--parent PID] [FILE ...]

Builds the parts, opens the sockets, serves until SIGTERM (with a parent: until its order, SIGUSR1,
or its end), drains, exits.
The order of the end: not ready, new calls refused → what waits and runs is finished, up to a limit
→ connections closed when their replies are written → exit status 0.
"""

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Sequence

import structlog
import uvloop

from runtimes.errors import BasculeError
from runtimes.threads import available_cpus
from serving import clock
from serving.clock import SystemClock
from serving.logs import configure_logs
from serving.wire.regions import NoRegions
from serving.worker.app import Identity, WorkerApp
from serving.worker.arguments import Arguments, parse_arguments
from serving.worker.busy_polling import BusyPolling
from serving.worker.cuda_regions import CudaOpener
from serving.worker.exchange import Desk
from serving.worker.executor import Executor
from serving.worker.front import Front
from serving.worker.handover import Handover
from serving.worker.hosting import Hosting
from serving.worker.loaded import Shop
from serving.worker.own_environment import OwnEnvironment
from serving.worker.process import die_with, shed_inheritance, stop_events
from serving.worker.queued import QueueBytes
from serving.worker.recorder import FlightRecorder
from serving.worker.regions import OpenRegions
from serving.worker.response_cache import ResponseCache
from serving.worker.shadow.sides import Shadows
from serving.worker.targets import Targets
from serving.worker.watchers import Watchers, open_watchers

# Bounds how long a batch thread that builds or splits tensors keeps the loop waiting (5 ms by
# default). Engines release the lock: beside one of those no difference could be measured.
SWITCH_INTERVAL_S = 1e-4
# Calls leave next to no cycles: some ten thousand made 9 young collections at the default of 700,
# and 1 here.
GC_THRESHOLD = 50_000
NS_PER_US = 1000
THREAD_END_S = 0.2  # for threads that are inside an engine when the drain's limit has passed

log = structlog.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker that was started by its parent; returns the exit status."""
    arguments = parse_arguments(argv)
    if arguments.parent is not None:
        die_with(arguments.parent)
    return work(arguments)


def work(arguments: Arguments) -> int:
    """Run a worker, started or forked; returns the exit status."""
    shed_inheritance()
    configure_logs(arguments.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with (
            FlightRecorder(arguments.recorder) as recorder,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            has_ended = runner.run(serve(arguments, recorder))
            if not has_ended:
                # A thread is still inside an engine, which would crash in the interpreter's end.
                logging.shutdown()
                os._exit(0)
    except BasculeError as error:
        log.error("worker_failed", error=error.message)  # noqa: TRY400  its message says it all
        return 1
    return 0


async def serve(arguments: Arguments, recorder: FlightRecorder) -> bool:
    """Serve until told to stop; say whether all threads have ended."""
    loop = asyncio.get_running_loop()
    polling = BusyPolling(loop, time.perf_counter_ns, _busy_poll_ns(arguments))
    executor = Executor(loop, stay_awake=polling.renew)
    own = OwnEnvironment(arguments.gpus)
    watchers = open_watchers(arguments, own)
    targets = Targets()
    regions = _open_regions(arguments)
    shop = Shop(
        loop=loop,
        executor=executor,
        queue_bytes=QueueBytes(),
        max_queue_bytes=arguments.max_queue_bytes,
        now_ns=time.perf_counter_ns,
        cache=ResponseCache(arguments.cache_size_bytes),
        handover=Handover(arguments.worker, loop, time.perf_counter_ns),
        has_predecessor=recorder.has_predecessor,
        regions=regions if regions is not None else NoRegions(),
        utc_s=clock.utc_s,
        taps=watchers.taps,
        name_predictions=watchers.name_predictions,
        is_private=watchers.is_private,
    )
    desk = _open_desk(arguments, shop, targets, watchers)
    hosting = Hosting(shop, targets, recorder, own)
    front = Front(desk, hosting)
    shadows = Shadows(desk, hosting)
    app = WorkerApp(
        Identity(worker=arguments.worker, server_id=arguments.server_id, pid=os.getpid()),
        hosting=hosting,
        targets=targets,
        desk=desk,
        clock=SystemClock(),
        front=front,
        shadows=shadows,
        regions=regions,
        drift=watchers.drift,
    )
    stop = stop_events(loop, is_supervised=arguments.parent is not None)
    await front.open(app.asgi(), arguments)
    if regions is not None and arguments.regions is not None:
        regions.recall(arguments.regions)
    async with asyncio.TaskGroup() as group:
        work = group.create_task(_work(hosting, shadows))
        if arguments.versions:
            hosting.want(arguments.versions)
        log.info("worker_listening", worker=arguments.worker, addresses=front.addresses)
        await stop.wait()
        log.info("worker_stopping", worker=arguments.worker)
        await front.close(arguments.drain_s)
        work.cancel()
    return all([hosting.close(THREAD_END_S), executor.close(THREAD_END_S), watchers.close()])


def _busy_poll_ns(arguments: Arguments) -> int:
    """On an only processor, whoever looks for a call keeps the edge from bringing it."""
    return arguments.busy_poll_us * NS_PER_US if available_cpus() > 1 else 0


def _open_desk(arguments: Arguments, shop: Shop, targets: Targets, watchers: Watchers) -> Desk:
    desk = Desk(
        targets,
        handover=shop.handover,
        loop=shop.loop,
        now_ns=time.perf_counter_ns,
        max_body_bytes=arguments.max_request_bytes,
        max_inflated_bytes=arguments.max_inflated_bytes,
        max_bodies_bytes=arguments.max_queue_bytes,
    )
    if watchers.spans is not None:
        desk.failed = watchers.spans.failed
    return desk


def _open_regions(arguments: Arguments) -> OpenRegions | None:
    cuda = CudaOpener(arguments.cuda_gpus or "", arguments.gpus or "")
    return OpenRegions(arguments.max_request_bytes, cuda) if arguments.regions else None


def _collect_seldom() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


async def _work(hosting: Hosting, shadows: Shadows) -> None:
    """Host versions and send copies of their calls, for ever."""
    _collect_seldom()
    async with asyncio.TaskGroup() as group:
        group.create_task(hosting.run())
        group.create_task(shadows.run())


if __name__ == "__main__":
    sys.exit(main())
