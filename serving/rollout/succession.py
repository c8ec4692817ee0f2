"""Make before break between versions: who serves on until a successor can. Pure.

A repository's version policy may choose other versions than before: a higher number appeared, or a
load request brought one. What was chosen until then is wanted for as long as it is routed and no
version that is chosen now serves. That its worker restarts, or is not heard of, does not end it:
nothing would bring it back. If none of the chosen ever loads, it goes on.
"""

from dataclasses import replace

from serving.edge.control import Snapshot
from serving.edge.routes import RouteTable
from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.rollout.desired import Desired


def with_predecessors(desired: Desired, published: Snapshot, routes: RouteTable) -> Desired:
    """Return what is wanted, with the predecessors that are still needed.

    Args:
        desired: What the sources want.
        published: The newest snapshot that the edges were given.
        routes: The newest table, also of a controller before this one.
    """
    if not desired.predecessors:
        return desired
    succeeded = {key.model for key in desired.versions if is_ready(key, published)}
    held = {
        key: spec
        for key, spec in desired.predecessors.items()
        if key.model not in succeeded and is_routed(key, routes)
    }
    return replace(desired, versions={**desired.versions, **held}) if held else desired


def is_ready(key: VersionKey, published: Snapshot) -> bool:
    """Whether a version serves, as far as the edges were told."""
    record = published.versions.get(key)
    return record is not None and record.state is VersionState.READY


def is_routed(key: VersionKey, routes: RouteTable) -> bool:
    """Whether a table has a pool for a version: it served, and may still come back."""
    route = routes.versions.get(key)
    return route is not None and route.pool is not None
