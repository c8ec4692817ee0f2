"""Keeps versions for the sequences that began on them, after a successor has taken over.

A version that a repository's policy no longer chooses is wanted on while it has sequences under
way, up to a limit from when its successor was seen to serve. Who is live is not touched: only a
version with a lower number than a successor that serves is kept, and none that is pinned.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from serving.edge.control import Snapshot
from serving.edge.routes import RouteTable
from serving.ids import VersionKey
from serving.rollout.desired import Desired
from serving.rollout.succession import is_ready, is_routed

COUNT_AGE_S: Final = 3.0
"""After so long a worker was asked for its sequences anew, and its answer has come."""

SequenceCount = Callable[[VersionKey], int | None]
"""How many sequences a version has under way; None: it is not served in any."""


class SequenceHold:
    """Remembers since when versions are kept."""

    def __init__(self, limit_s: float) -> None:
        """Keep a version for so long at most."""
        self._limit_s = limit_s
        self._since_s: dict[VersionKey, float] = {}

    def with_held(
        self,
        desired: Desired,
        published: Snapshot,
        routes: RouteTable,
        count: SequenceCount,
        now_s: float,
    ) -> Desired:
        """Return what is wanted, with what is kept for its sequences.

        Args:
            desired: What is wanted otherwise.
            published: The newest snapshot that the edges were given.
            routes: The newest table, also of a controller before this one.
            count: What workers say.
            now_s: Seconds, monotonic.
        """
        if not desired.predecessors:
            self._since_s.clear()
            return desired
        succeeded = tuple(_succeeded(desired, published, routes))
        self._since_s = {key: self._since_s.get(key, now_s) for key in succeeded}
        held = {
            key: desired.predecessors[key]
            for key in succeeded
            if self._is_needed(count(key), now_s - self._since_s[key])
        }
        return replace(desired, versions={**desired.versions, **held}) if held else desired

    def _is_needed(self, count: int | None, waited_s: float) -> bool:
        if count is None or waited_s >= self._limit_s:
            return False
        return count > 0 or waited_s < COUNT_AGE_S


def _succeeded(desired: Desired, published: Snapshot, routes: RouteTable) -> Iterator[VersionKey]:
    """Return the predecessors with sequences that are routed, and that a chosen one succeeds."""
    for key, spec in desired.predecessors.items():
        is_over = spec.policy.sequences is None or key in desired.versions
        if is_over or desired.pinned_live.get(key.model) == key.version:
            continue
        if is_routed(key, routes) and any(
            other.model == key.model and other.version > key.version and is_ready(other, published)
            for other in desired.versions
        ):
            yield key
