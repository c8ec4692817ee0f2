"""An instance on Ray from its first process to its last. No Ray is imported here.

The record `run/ray.json` is written before the first process starts and removed after the last has
ended, so that `end_instance_of` finds what any interrupted start or end has left behind.
"""

import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Final

import structlog

from serving.cluster.instance_processes import end_instance, processes_of
from serving.cluster.names import Errand, Instance, encode_errand, ending_mark
from serving.cluster.ray_process import (
    RayInstance,
    is_answering,
    ray_environment,
    read_record,
    remove_run_files,
    start_head,
    write_record,
)
from serving.errors import AlreadyExistsError, NotReadyError
from serving.settings import Settings

DEPLOY_LIMIT_S: Final = 180.0
SHUTDOWN_LIMIT_S: Final = 30.0
GRACE_S: Final = 1.5
"""For processes that remain when Serve has ended, or that cannot be reached any more."""

log = structlog.get_logger(__name__)

Tell = Callable[[str], None]


def refuse_second_instance(settings: Settings) -> None:
    """Clear away what an instance that died has left; refuse while one runs.

    Raises:
        AlreadyExistsError: An instance runs in this home.
    """
    record = read_record(settings)
    if record is None:
        return
    if processes_of(record.instance):
        raise AlreadyExistsError(
            f"an instance on Ray already runs in {settings.home}: "
            "use it, end it with `bascule down`, or set another BASCULE_HOME"
        )
    remove_run_files(settings, record)


def start_instance(
    settings: Settings, *, address: str, with_dashboard: bool, tell: Tell
) -> RayInstance:
    """Start Ray (or use the cluster at `address`), the controller and the edges.

    Raises:
        BasculeError: It did not start; everything that was started has been ended again.
    """
    instance = str(uuid.uuid4())
    try:
        if address:
            record = RayInstance(instance=instance, address=address, is_ours=False)
            write_record(settings, record)
        else:
            tell("starting Ray")
            record = start_head(settings, instance, with_dashboard=with_dashboard)
        tell("starting the controller and the edge")
        _run_errand("up", settings, record, DEPLOY_LIMIT_S)
    except BaseException:  # an interrupt, too, must leave nothing behind
        end_instance_of(settings)
        raise
    return record


def end_instance_of(settings: Settings) -> int | None:
    """End this home's instance on Ray, in order if Ray still answers; None if there is none.

    Returns the number of processes that Serve and Ray had left to end.
    """
    record = read_record(settings)
    if record is None:
        return None
    if record.address and is_answering(record.address):
        ending_mark(settings).touch()
        try:
            _run_errand("down", settings, record, settings.drain_s + SHUTDOWN_LIMIT_S)
        except NotReadyError as error:
            log.warning("orderly_end_failed", reason=error.message)
    count = end_instance(record.instance, grace_s=GRACE_S)
    remove_run_files(settings, record)
    return count


def _run_errand(action: str, settings: Settings, record: RayInstance, limit_s: float) -> None:
    """Run `serving.cluster.deploy` and pass on its one sentence if it fails."""
    instance = Instance(settings=settings, instance=record.instance, owns_cluster=record.is_ours)
    errand = encode_errand(Errand(instance=instance, address=record.address))
    log_file = settings.log_dir / f"ray_{action}.log"
    try:
        ended = subprocess.run(  # noqa: S603  our own program
            (sys.executable, "-m", "serving.cluster.deploy", action),
            env=ray_environment(settings, record.instance),
            input=errand,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotReadyError(
            f"Ray at {record.address} did not finish within {limit_s:.0f} s: see "
            f"{record.temp_dir or 'its logs'}"
        ) from error
    log_file.parent.mkdir(parents=True, exist_ok=True)
    log_file.write_bytes(ended.stdout + ended.stderr)
    if ended.returncode:
        last = (ended.stderr.decode(errors="replace").strip().splitlines() or ["no reason"])[-1]
        raise NotReadyError(f"{last} (log: {log_file})")
