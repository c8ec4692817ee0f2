"""What the control loop says in the log of a pass."""

import structlog

from runtimes.errors import BasculeError
from serving.edge.control import Snapshot
from serving.registry.version import VersionState
from serving.rollout.reconcile import Actions

log = structlog.get_logger(__name__)


def log_pools(actions: Actions) -> None:
    """Name the pools that were started or changed."""
    for spec in actions.ensure:
        log.info(
            "pool_ensured",
            pool=spec.pool,
            replicas=spec.replica_count,
            versions=len(spec.versions),
        )


def log_changes(before: Snapshot, after: Snapshot) -> None:
    """Name the versions that cannot serve any more, and new routes."""
    for key, record in after.versions.items():
        old = before.versions.get(key)
        if record.state is VersionState.UNAVAILABLE and (
            old is None or (old.state, old.reason) != (record.state, record.reason)
        ):
            log.warning("version_unavailable", version=str(key), reason=record.reason)
    if after.routes.revision != before.routes.revision:
        ready = sum(r.state is VersionState.READY for r in after.versions.values())
        log.info("routes_published", revision=after.routes.revision, ready=ready)


def told(event: str, error: Exception, **more: str) -> str:
    """Log what failed, with a traceback if nobody foresaw it; return it in words."""
    log.warning(event, error=str(error), exc_info=not isinstance(error, BasculeError), **more)
    return str(error) or type(error).__name__
