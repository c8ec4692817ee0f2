"""An instance on Ray from its first process to its last. No Ray is imported here.

The record `run/ray.json` is written before the first process starts and removed after the last has
ended, so that `end_instance_of` finds what any interrupted start or end has left behind.
"""

import fcntl
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from serving.cluster.gcs_check import is_cluster
from serving.cluster.instance_processes import end_instance, processes_of
from serving.cluster.messenger import Messenger
from serving.cluster.names import ending_mark
from serving.cluster.ray_process import (
    START_LOCK,
    RayInstance,
    is_answering,
    let_stand_back,
    read_record,
    remove_run_files,
    start_head,
    write_record,
)
from serving.errors import AlreadyExistsError, NotReadyError
from serving.settings import Settings, unusable_home

DEPLOY_LIMIT_S: Final = 180.0
SHUTDOWN_LIMIT_S: Final = 30.0
GRACE_S: Final = 1.5
"""For processes that remain when Serve has ended, or that cannot be reached any more."""

log = structlog.get_logger(__name__)

Tell = Callable[[str], None]


def refuse_second_instance(settings: Settings) -> None:
    """Clear away what an instance that died has left; refuse while one runs or starts.

    Raises:
        AlreadyExistsError: An instance runs in this home, or is being started.
        NotReadyError: The home cannot be written to.
    """
    if settings.run_dir.is_dir():
        with sole_start(settings):
            return


@contextmanager
def sole_start(settings: Settings) -> Iterator[None]:
    """Do as `refuse_second_instance`, and keep others from starting one within the block.

    An instance that is being started has a record and no process yet: as one that has died.

    Raises:
        AlreadyExistsError: An instance runs in this home, or is being started.
        NotReadyError: The home cannot be written to.
    """
    try:
        file = (settings.run_dir / START_LOCK).open("ab")
    except OSError as error:
        raise unusable_home(settings, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyExistsError(
                f"an instance is being started in {settings.home}: "
                "wait for it, or set another BASCULE_HOME"
            ) from None
        _clear_dead(settings)
        yield


def _clear_dead(settings: Settings) -> None:
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
    if address and not is_cluster(address):
        raise NotReadyError(
            f"no Ray cluster answers at {address}: give the HOST:PORT of its head's GCS (port 6379 "
            "unless it was started with another one), or leave --address out to start a local one"
        )
    instance = str(uuid.uuid4())
    record = RayInstance(instance=instance, address=address, is_ours=not address)
    write_record(settings, record)
    try:
        with Messenger("up", settings, record) as messenger:  # imports Ray meanwhile
            if not address:
                tell("starting Ray")
                record = start_head(settings, instance, with_dashboard=with_dashboard)
            tell("starting the controller and the edge")
            messenger.run(record, DEPLOY_LIMIT_S)
        if record.is_ours:
            let_stand_back(instance)  # not before: it shall start soon
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
    try:
        if _can_end_in_order(record):
            _end_in_order(settings, record)
    finally:  # also when that cannot be told: a terminal that was closed takes no line
        count = end_instance(record.instance, grace_s=GRACE_S)
        remove_run_files(settings, record)
    return count


def _end_in_order(settings: Settings, record: RayInstance) -> None:
    try:
        ending_mark(settings).touch()
    except OSError as error:  # a full disk: replicas take leave one by one, which takes longer
        log.warning("ending_not_marked", reason=str(error))
    try:
        with Messenger("down", settings, record) as messenger:
            messenger.run(record, settings.drain_s + SHUTDOWN_LIMIT_S)
    except NotReadyError as error:
        log.warning("orderly_end_failed", reason=error.message)


def _can_end_in_order(record: RayInstance) -> bool:
    """Whether Ray can still be spoken to: a program that joins it needs GCS and this raylet."""
    if not record.address:
        return False
    if not record.is_ours:
        return is_cluster(record.address)
    return is_answering(record.address) and any(
        process.name() == "raylet" for process in processes_of(record.instance)
    )
