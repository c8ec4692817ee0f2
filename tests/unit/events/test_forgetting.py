"""What leaves the outbox, and that nothing new is lost with it."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.events.courier import FORGET_S, Courier
from serving.events.forgetting import UNNAMED
from serving.events.outbox_book import KEPT_DAYS, OutboxBook
from serving.events.receivers import Receiver, Receivers, Tally
from serving.events.retrying import GIVE_UP_S
from serving.registry.aliases import Author
from serving.registry.announcing.outbox import Announcement
from serving.registry.store import Registry
from tests.fakes.poster import FatefulPoster

OPS = Receiver(name="ops", url="http://r", secret_file=None, secret_env="S")  # noqa: S106  a name
QUARTER = timedelta(days=KEPT_DAYS + 1)
DAY = timedelta(seconds=GIVE_UP_S)


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        """Begin some day."""
        self.now_utc = datetime(2026, 1, 2, tzinfo=UTC)
        self._seconds = itertools.count(0, FORGET_S)

    def monotonic_s(self) -> float:
        """Seconds since it began; each time it is due to forget what is old."""
        return next(self._seconds)

    def utc_now(self) -> datetime:
        """The moment that it is set to."""
        return self.now_utc


@pytest.fixture(name="clock")
def standing_clock() -> SetClock:
    """What the outbox reads the time off."""
    return SetClock()


@pytest.fixture(name="book")
def book_that_ops_knows(tmp_path: Path, clock: SetClock) -> Iterator[OutboxBook]:
    """An outbox with a receiver that is told of what comes."""
    with Registry(tmp_path / "home", clock=clock) as registry:
        book = OutboxBook(registry)
        assert claimed(book) == []
        yield book


def announced(book: OutboxBook) -> str:
    """Record an event."""
    return book.tell(Announcement(kind="drift.alarm", subject="m/1", data={"psi": 0.3}))


def claimed(book: OutboxBook, receiver: Receiver = OPS) -> list[str]:
    """Take what is due to a receiver."""
    return [one.event.uid for one in book.claim([receiver], {receiver.name: 9})]


def delivered(book: OutboxBook) -> None:
    """Deliver what is due."""
    for one in book.claim([OPS], {OPS.name: 9}):
        book.delivered(one, "yes", hastens=False)


def test_after_a_quiet_quarter_new_events_are_told(book: OutboxBook, clock: SetClock) -> None:
    """Old events go, and no id comes a second time: receivers get what happens then."""
    for _ in range(3):
        announced(book)
        delivered(book)
    before = book.newest_id()
    clock.now_utc += QUARTER
    forgotten = book.forget_old()
    new = announced(book)

    assert (forgotten, book.newest_id()) == (2, before + 1)
    assert claimed(book) == [new]


def test_the_newest_goes_when_another_is_newer(book: OutboxBook, clock: SetClock) -> None:
    """Only one event is kept beyond its time."""
    announced(book)
    delivered(book)
    clock.now_utc += QUARTER

    assert book.forget_old() == 0
    new = announced(book)
    assert book.forget_old() == 1
    assert [told.event.uid for told in book.read()] == [new]


def test_what_a_removed_receiver_waits_for_is_given_up_after_a_day(
    book: OutboxBook, clock: SetClock
) -> None:
    """Until then it waits; afterwards it is dead, says why, and no longer kept for ever."""
    uid = announced(book)
    assert claimed(book) == [uid]
    assert book.drop_unnamed([]) == 0
    clock.now_utc += DAY
    assert book.drop_unnamed([OPS.name]) == 0
    assert book.drop_unnamed([]) == 1

    assert book.tallies() == {OPS.name: Tally(dead=1)}
    assert [told.deliveries[0].told for told in book.dead()] == [UNNAMED]
    clock.now_utc += QUARTER
    announced(book)
    assert book.forget_old() == 1


def test_a_receiver_that_is_named_again_soon_misses_nothing(
    book: OutboxBook, clock: SetClock
) -> None:
    """What came while it was not named is told when it is named again within a day."""
    clock.now_utc += 30 * DAY
    uid = announced(book)
    book.drop_unnamed([])

    assert claimed(book) == [uid]


def test_a_receiver_that_is_named_again_late_is_told_of_what_comes(
    book: OutboxBook, clock: SetClock
) -> None:
    """It is as one that was never known: months of events do not come at once."""
    announced(book)
    clock.now_utc += DAY
    book.drop_unnamed([])
    known_again = claimed(book)
    new = announced(book)

    assert (known_again, claimed(book)) == ([], [new])


def test_what_was_given_up_for_a_removed_receiver_can_be_sent_again(
    book: OutboxBook, clock: SetClock
) -> None:
    """It is asked for, and has a day again."""
    uid = announced(book)
    claimed(book)
    clock.now_utc += DAY
    book.drop_unnamed([])
    book.redeliver(uid, None, Author(who="ann", reason="again"))

    assert book.drop_unnamed([]) == 0
    assert claimed(book) == [uid]


async def looked_often(book: OutboxBook, read: Callable[[], Receivers], clock: SetClock) -> None:
    """Let a courier look some times."""
    enough = asyncio.Event()
    loop, looks = asyncio.get_running_loop(), itertools.count(1)

    def counted() -> Receivers:
        if next(looks) > 3:
            loop.call_soon_threadsafe(enough.set)
        return read()

    courier = Courier(book, FatefulPoster(), counted, clock, look_s=0.0)
    life = loop.create_task(courier.run())
    async with asyncio.timeout(90):
        await enough.wait()
    life.cancel()
    await asyncio.wait((life,))


def test_a_file_that_cannot_be_read_removes_nobody(book: OutboxBook, clock: SetClock) -> None:
    """Only a file that was read, and names a receiver no more, lets its events be given up."""

    def broken() -> Receivers:
        raise InvalidArgumentError("events.yaml: no")

    announced(book)
    claimed(book)
    clock.now_utc += DAY

    asyncio.run(looked_often(book, broken, clock))
    assert book.tallies()[OPS.name].pending == 1
    asyncio.run(looked_often(book, Receivers, clock))
    assert book.tallies()[OPS.name].dead == 1
