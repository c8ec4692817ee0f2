"""Make before break between versions: who serves on until a successor can. Pure.

A repository's version policy may choose other versions than before: a higher number appeared, or a
load request brought one. What was chosen until then is wanted for as long as it serves and no
version that is chosen now does. If none of them ever loads, it goes on.
"""

from dataclasses import replace

from serving.edge.control import Snapshot
from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.rollout.desired import Desired


def with_predecessors(desired: Desired, published: Snapshot) -> Desired:
    """Return what is wanted, with the predecessors that are still needed.

    Args:
        desired: What the sources want.
        published: The newest snapshot that the edges were given.
    """
    if not desired.predecessors:
        return desired
    succeeded = {key.model for key in desired.versions if _is_ready(key, published)}
    held = {
        key: spec
        for key, spec in desired.predecessors.items()
        if key.model not in succeeded and _is_ready(key, published)
    }
    return replace(desired, versions={**desired.versions, **held}) if held else desired


def _is_ready(key: VersionKey, published: Snapshot) -> bool:
    record = published.versions.get(key)
    return record is not None and record.state is VersionState.READY
