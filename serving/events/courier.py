"""Delivers the outbox: looks, claims what is due, sends, notes what came of it.

It belongs to the controller's event loop and never lets it wait: requests are awaited, statements
run in threads of the courier's own, and what fails is logged and tried again. How far it is, is in
the catalog alone; a courier that is killed at any moment sends at most an event a second time, with
the same id.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

import structlog

from runtimes.errors import BasculeError
from serving.clock import Clock
from serving.events.cloud_event import encoded
from serving.events.deliveries import Claim
from serving.events.outbox_book import OutboxBook
from serving.events.posting import HttpPoster, Parcel
from serving.events.receivers import Receiver, Receivers, Tally
from serving.events.receivers_file import EVENTS_FILE, WatchedFile
from serving.events.retrying import Answer, GivenUp, after_failure
from serving.registry.store import Registry
from serving.settings import Settings

LOOK_S: Final = 0.5
"""Between two looks at the outbox."""
AFTER_ERROR_S: Final = 2.0
FORGET_S: Final = 3600.0
TALLY_S: Final = 5.0
MOST_AT_ONCE: Final = 4
"""Requests to one receiver: one for each of so many subjects."""
THREADS: Final = 2

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Poster(Protocol):
    """Sends; tells what came of it, and never raises."""

    async def post(self, receiver: Receiver, parcel: Parcel) -> Answer:
        """Send a parcel once."""


class Courier:
    """Belongs to one event loop."""

    def __init__(
        self,
        book: OutboxBook,
        poster: Poster,
        read: Callable[[], Receivers],
        clock: Clock,
        *,
        look_s: float = LOOK_S,
    ) -> None:
        """Remember the parts; `run` works.

        Args:
            book: The outbox.
            poster: Sends.
            read: Says who is told; blocking, and called often.
            clock: What waits are measured by.
            look_s: Between two looks.
        """
        self._book = book
        self._poster = poster
        self._read = read
        self._clock = clock
        self._look_s = look_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="outbox")
        self._at_work = Counter[str]()
        self._failing: set[str] = set()
        self._met: set[str] = set()
        self._tallies: Mapping[str, Tally] = {}
        self._tallied_s = clock.monotonic_s() - TALLY_S
        self._receivers = Receivers()
        self._faults: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._forgot_s = clock.monotonic_s()

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """How each receiver stood some seconds ago."""
        return self._tallies

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    await self._wait(await self._look(group))
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _wait(self, limit_s: float) -> None:
        """Wait for the next look; what was delivered lets the subject's next event go at once."""
        try:
            async with asyncio.timeout(limit_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Send what is due; return how long to wait before the next look."""
        try:
            await self._read_receivers()
            await self._keep_books()
            claims = await self._claim() if self._receivers.receivers else ()
        except Exception as error:  # noqa: BLE001  process edge: what serves must not end for it
            self._tell_fault("outbox", error)
            return AFTER_ERROR_S
        self._faults.pop("outbox", None)
        receivers = {one.name: one for one in self._receivers.receivers}
        for claimed in claims:
            self._at_work[claimed.receiver] += 1
            group.create_task(self._deliver(receivers[claimed.receiver], claimed))
        return self._look_s

    async def _read_receivers(self) -> None:
        """Read who is told; while the file is wrong, those who were told before still are."""
        try:
            self._receivers = await self._in_thread(self._read)
        except BasculeError as error:
            self._tell_fault("receivers", error)
        else:
            self._faults.pop("receivers", None)

    async def _claim(self) -> tuple[Claim, ...]:
        known = self._receivers.receivers
        new = [one.name for one in known if one.name not in self._met]
        if new:
            await self._in_thread(lambda: self._book.resume(new))
            self._met.update(new)
        room = {one.name: MOST_AT_ONCE - self._at_work[one.name] for one in known}
        return await self._in_thread(lambda: self._book.claim(known, room))

    async def _deliver(self, receiver: Receiver, claimed: Claim) -> None:
        try:
            body = encoded(claimed.event, self._receivers.source)
            answer = await self._poster.post(receiver, Parcel(uid=claimed.event.uid, body=body))
            await self._note(claimed, answer)
        except Exception as error:  # noqa: BLE001  process edge: its claim ends, it is sent again
            self._tell_fault("delivery", error)
        finally:
            self._at_work[claimed.receiver] -= 1

    async def _note(self, claimed: Claim, answer: Answer) -> None:
        name = claimed.receiver
        facts = {"receiver": name, "id": claimed.event.uid, "told": answer.told}
        if answer.is_taken:
            hastens = name in self._failing
            await self._in_thread(
                lambda: self._book.delivered(claimed, answer.told, hastens=hastens)
            )
            self._failing.discard(name)
            self._faults.pop("delivery", None)
            self._wake.set()
            log.info("event_delivered", type=claimed.event.type, **facts)
            return
        await self._note_failure(claimed, answer, facts)

    async def _note_failure(self, claimed: Claim, answer: Answer, facts: dict[str, str]) -> None:
        waited_s = (self._clock.utc_now() - claimed.since_utc).total_seconds()
        verdict = after_failure(
            answer,
            attempt_count=claimed.attempt_count,
            waited_s=waited_s,
            chance=random.random(),  # noqa: S311  it spreads attempts, and guards nothing
        )
        is_new = claimed.receiver not in self._failing
        self._failing.add(claimed.receiver)
        if isinstance(verdict, GivenUp):
            why = verdict.why
            await self._in_thread(lambda: self._book.given_up(claimed, why))
            log.warning("event_given_up", why=why, **facts)
            return
        pause_s = verdict.pause_s
        await self._in_thread(lambda: self._book.postponed(claimed, answer.told, pause_s))
        if is_new:
            log.warning("event_not_taken", again_s=round(pause_s, 1), **facts)

    async def _keep_books(self) -> None:
        """Count, and forget what is old: seldom."""
        now_s = self._clock.monotonic_s()
        if self._receivers.receivers and now_s - self._tallied_s >= TALLY_S:
            self._tallied_s = now_s
            self._tallies = await self._in_thread(self._book.tallies)
        if now_s - self._forgot_s >= FORGET_S:
            self._forgot_s = now_s
            await self._in_thread(self._book.forget_old)
            if "receivers" not in self._faults:  # else nobody knows whom the file would name
                named = [one.name for one in self._receivers.receivers]
                await self._in_thread(lambda: self._book.drop_unnamed(named))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _tell_fault(self, place: str, error: Exception) -> None:
        """Log a fault once, until something else is wrong there or all is well."""
        told = error.message if isinstance(error, BasculeError) else repr(error)
        if told != self._faults.get(place):
            is_known = isinstance(error, BasculeError)
            log.warning("events_not_delivered", error=told, exc_info=not is_known)
        self._faults[place] = told


def events_file_of(settings: Settings) -> Path:
    """Return where the settings say who is told."""
    return settings.events_file or settings.home / EVENTS_FILE


def courier_of(settings: Settings, registry: Registry, clock: Clock) -> Courier:
    """Build the courier of an instance. The file is read again when it has changed."""
    file = WatchedFile(events_file_of(settings))
    return Courier(OutboxBook(registry), HttpPoster(clock), file.read, clock)
