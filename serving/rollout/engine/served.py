"""What is served now, as rollouts ask: who is live, who can answer, whether every edge obeys."""

from serving.edge.control import Snapshot
from serving.edge.routes import LiveRoute
from serving.ids import VersionKey
from serving.registry.rollouts.record import Rollout
from serving.registry.version import VersionState
from serving.rollout.loop import ControlLoop


def live_of(loop: ControlLoop, model: str) -> int | None:
    """Return what shall be live: the pin, also while it is away; else what the routes say."""
    pinned = loop.desired.pinned_live.get(model)
    route = loop.snapshot.routes.live.get(model)
    return pinned or (None if route is None else route.version)


def is_ready(loop: ControlLoop, key: VersionKey) -> bool:
    """Whether a version could answer more calls now."""
    return loop.usable_state(key) is VersionState.READY


def has_sequences(snapshot: Snapshot, key: VersionKey) -> bool:
    """Whether a version keeps state for sequences of calls."""
    record = snapshot.versions.get(key)
    return record is not None and record.served is not None and record.served.has_sequences


def is_obeyed(snapshot: Snapshot, rollout: Rollout) -> bool:
    """Whether the table that every edge acknowledged gives all calls to whom the state names."""
    if rollout.live_version is None:
        return True
    route = snapshot.routes.live.get(rollout.model)
    return route is not None and route == LiveRoute(rollout.live_version)
