"""What callers of the live version would lose if another became live. Pure."""

from serving.edge.control import Snapshot
from serving.ids import VersionKey
from serving.registry.bundles.compatibility import breaking
from serving.registry.version import ServedVersion


def broken_by(snapshot: Snapshot, model: str, live: int | None, version: int) -> str:
    """Say what would break; empty if nothing would, or if one of the two is not known well enough.

    Args:
        snapshot: What is served now.
        model: The model.
        live: The version that callers get now; None: none.
        version: The version that they would get.
    """
    if live is None:
        return ""
    before = _served(snapshot, VersionKey(model, live))
    after = _served(snapshot, VersionKey(model, version))
    if before is None or after is None:
        return ""
    return "; ".join(f"{one.subject} {one.text}" for one in breaking(before, after))


def _served(snapshot: Snapshot, key: VersionKey) -> ServedVersion | None:
    record = snapshot.versions.get(key)
    return None if record is None else record.served
