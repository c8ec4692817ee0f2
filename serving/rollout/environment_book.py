"""Tells of environments that change: by events, and to whoever asks what stands now.

It looks every few seconds, in a thread. What it told of is in the catalog's outbox, for as long as
events are kept; where each version ran last is in a file, so that a change while the instance was
down is told of, too. An instance that starts again tells again of what stands then.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from serving.events.outbox_book import OutboxBook
from serving.ids import VersionKey
from serving.monitor.environment.records import Issue, IssueKind
from serving.monitor.environment.telling import State, announcement
from serving.registry.store import Registry
from serving.rollout.desired import Desired
from serving.rollout.environment_issues import (
    Moved,
    Running,
    between_starts,
    gpu_errors,
    most_common,
    moved,
    running_versions,
    standing_issues,
)
from serving.rollout.memory import Observed
from serving.rollout.placed_file import PlacedFile
from serving.settings import Settings

DEFAULT_LOOK_S: Final = 10.0

SEEN_FILE: Final = "seen.json"

log = structlog.get_logger(__name__)


class EnvironmentBook:
    """What stands, and what was told. For one caller at a time."""

    def __init__(
        self, outbox: OutboxBook, seen: PlacedFile, *, look_s: float = DEFAULT_LOOK_S
    ) -> None:
        """Know of nothing.

        Args:
            outbox: Where events go.
            seen: Where each version was seen last.
            look_s: Between two looks.
        """
        self._outbox = outbox
        self._seen = seen
        self._look_s = look_s
        self._standing: dict[tuple[object, ...], Issue] = {}
        self._errors: dict[tuple[str, str, int], int] = {}
        self._counts = Counter[IssueKind]()

    @property
    def standing(self) -> tuple[Issue, ...]:
        """What is wrong now."""
        return tuple(self._standing.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many issues of each kind were told of since the start."""
        return {kind.value: self._counts[kind] for kind in IssueKind}

    async def run(self, desired: Callable[[], Desired], observe: Callable[[], Observed]) -> None:
        """Look for ever; what cannot be told is told at a later look.

        Args:
            desired: Says what is wanted.
            observe: Says what runs.
        """
        while True:
            await asyncio.sleep(self._look_s)
            try:
                await asyncio.to_thread(self.look, desired(), observe())
            except Exception as error:  # noqa: BLE001  process edge: what serves must outlive it
                log.warning("environment_not_told", error=str(error))

    def look(self, desired: Desired, observed: Observed) -> None:
        """Look once, and tell what is new. Blocking.

        Raises:
            BasculeError: The catalog is away: nothing was told.
        """
        running = running_versions(desired.versions, observed)
        now = {one.key: one for one in standing_issues(running, observed)}
        begun = [one for key, one in now.items() if key not in self._standing]
        ended = [one for key, one in self._standing.items() if key not in now]
        left = self._left(running)
        errors, failed = gpu_errors(observed, self._errors)
        noted = (*between_starts(left), *failed)
        told = (
            *(announcement(one, State.NOTED) for one in noted),
            *(announcement(one, State.BEGUN) for one in begun),
            *(announcement(one, State.ENDED) for one in ended),
        )
        if told:
            self._outbox.tell_all(told)
        self._counts.update(one.kind for one in (*noted, *begun))
        self._standing = now
        self._errors = errors
        self._note_seen(running, left, desired.versions.keys() | desired.failed.keys())

    def _left(self, running: Iterable[Running]) -> list[Moved]:
        """Return the versions of which no worker runs where they were seen last."""
        replicas: defaultdict[VersionKey, list[Running]] = defaultdict(list)
        for one in running:
            replicas[one.key].append(one)
        found = []
        for key, some in replicas.items():
            known = self._seen.known(key, some[0].digest)
            change = None if known is None else moved(known, some)
            if change is not None:
                found.append(change)
        return found

    def _note_seen(
        self, running: Iterable[Running], left: Iterable[Moved], wanted: Iterable[VersionKey]
    ) -> None:
        self._seen.keep(set(wanted))
        for one in most_common(running).values():
            self._seen.first(one.key, one.digest, one.place)
        for each in left:
            self._seen.put(each.running.key, each.running.digest, each.running.place)
        try:
            self._seen.save()
        except OSError as error:
            log.warning("seen_file_not_written", error=str(error))


def environment_book(settings: Settings, registry: Registry) -> EnvironmentBook:
    """Build the book of an instance."""
    seen = PlacedFile(settings.home / SEEN_FILE)
    return EnvironmentBook(OutboxBook(registry), seen, look_s=settings.environment_look_s)
