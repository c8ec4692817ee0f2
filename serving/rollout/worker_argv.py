"""The command line of a worker process."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from serving.edge.routes import WorkerAddress
from serving.predictions.wanted import log_arguments
from serving.rollout.drift.wanted import drift_arguments
from serving.settings import Settings


def worker_argv(
    settings: Settings,
    address: WorkerAddress,
    recorder: Path,
    devices: str = "",
    gpus: Sequence[str] = (),
) -> tuple[str, ...]:
    """Write a worker's command line, the way `serving.worker.arguments` reads it."""
    tcp = ("--tcp", address.tcp) if address.tcp else ()
    return (
        *(sys.executable, "-m", "serving.worker", "--worker", address.worker),
        *("--control", address.control, "--socket", address.socket, *tcp),
        *("--parent", str(os.getpid()), "--recorder", str(recorder)),
        *("--max-request-bytes", str(settings.max_request_bytes)),
        *("--cache-size-bytes", str(settings.cache_size_bytes)),
        *("--busy-poll-us", str(settings.busy_poll_us)),
        *("--max-inflated-bytes", str(settings.max_inflated_bytes)),
        *(("--regions", str(settings.regions_file)) if settings.shares_memory else ()),
        *((f"--cuda-gpus={','.join(gpus)}",) if settings.cuda_shared_memory else ()),
        *drift_arguments(settings),
        *log_arguments(settings),
        *_span_arguments(settings),
        *("--drain-s", str(settings.drain_s), "--log-level", settings.log_level),
        *("--server-id", settings.server_id, f"--gpus={devices}"),
    )


def _span_arguments(settings: Settings) -> tuple[str, ...]:
    if not settings.otlp_endpoint:
        return ()
    return (f"--spans={settings.otlp_endpoint}", f"--spans-share={settings.otlp_share}")
