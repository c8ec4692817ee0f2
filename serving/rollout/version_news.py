"""Tells receivers outside which versions were loaded, went, or cannot be loaded.

What was loaded when an instance began is not told; what could not be is. A worker that dies and
comes back changes nothing here: its version is on its way, not gone.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from runtimes.errors import BasculeError
from serving.edge.control import Snapshot
from serving.errors import DrainingError
from serving.events.outbox_book import OutboxBook
from serving.ids import VersionKey
from serving.registry.announcing.outbox import Announcement
from serving.registry.rollouts.events import subject_of
from serving.registry.version import VersionState
from serving.rollout.loop import ControlLoop

LOOK_S: Final = 0.25
"""Between two looks: many versions that load together are one look."""
AFTER_ERROR_S: Final = 5.0
LOADED: Final = ""
Standing = Mapping[VersionKey, str]
"""What was told of versions: why one cannot be loaded; `LOADED`: it is."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A version at one moment."""

    state: VersionState | None
    """None: there is none of that name."""
    failure: str = ""
    """Why it cannot be loaded though it is wanted; empty: that is not so."""


def standing(before: Standing, now: Mapping[VersionKey, Sighting]) -> dict[VersionKey, str]:
    """Return how versions stand, where those that are on their way stand as before."""
    found = {}
    for key, seen in now.items():
        if seen.failure:
            found[key] = seen.failure
        elif seen.state is VersionState.READY:
            found[key] = LOADED
        elif key in before and seen.state in {VersionState.LOADING, VersionState.UNLOADING}:
            found[key] = before[key]
    return found


def news(before: Standing, after: Standing) -> Iterator[Announcement]:
    """Return what is to be told, in the order of the versions' names."""
    for key in sorted({*before, *after}):
        was, now = before.get(key), after.get(key)
        if now == was:
            continue
        if now == LOADED:
            yield _told("version.loaded", key)
        elif now is not None:
            yield _told("version.load_failed", key, now)
        elif was == LOADED:
            yield _told("version.unloaded", key)


def _told(kind: str, key: VersionKey, reason: str = "") -> Announcement:
    return Announcement(
        kind=kind,
        subject=subject_of(key),
        data={"model": key.model, "version": key.version, "who": "controller", "reason": reason},
    )


class VersionNews:
    """Belongs to the controller's event loop."""

    def __init__(self, loop: ControlLoop, outbox: OutboxBook) -> None:
        """Remember the parts; `run` works.

        Args:
            loop: Knows how versions stand.
            outbox: Where events are recorded.
        """
        self._loop = loop
        self._outbox = outbox
        self._before: Standing | None = None
        """None: the instance has not come to rest yet."""

    async def run(self) -> None:
        """Tell what changes until cancelled, or until the instance stops."""
        while True:
            seen = self._loop.snapshot
            try:
                await self._look(is_settled=seen.settled)
                await self._moved_on(seen)
                await asyncio.sleep(LOOK_S)
            except DrainingError:
                return
            except Exception as error:
                is_known = isinstance(error, BasculeError)  # the catalog is away: told later
                log.warning("version_news_not_told", error=repr(error), exc_info=not is_known)
                await asyncio.sleep(AFTER_ERROR_S)

    async def _moved_on(self, seen: Snapshot) -> None:
        await self._loop.until(lambda: self._loop.snapshot is not seen)

    async def _look(self, *, is_settled: bool) -> None:
        before = self._before
        if before is None and not is_settled:
            return
        after = standing(before or {}, self._sightings())
        if before is None:
            before = {key: told for key, told in after.items() if told == LOADED}
        told = tuple(news(before, after))
        if told:
            await asyncio.to_thread(self._outbox.tell_all, told)
        self._before = after

    def _sightings(self) -> dict[VersionKey, Sighting]:
        loop = self._loop
        records = loop.snapshot.versions
        wanted = loop.desired.versions.keys() | loop.desired.failed.keys()
        return {
            key: Sighting(
                state=records[key].state if key in records else None,
                failure=loop.failure(key) if key in wanted else "",
            )
            for key in records.keys() | wanted
        }
