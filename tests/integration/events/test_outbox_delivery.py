"""Delivery of the outbox: in order, at least once, nothing invented, whatever fails or dies."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import NotFoundError
from serving.events.courier import Courier, Poster
from serving.events.outbox_book import KEPT_DAYS, LEASE_S, OutboxBook
from serving.events.receivers import Receiver, Receivers, Tally
from serving.events.retrying import GIVE_UP_S, LONGEST_ASKED_PAUSE_S
from serving.registry import catalog
from serving.registry.aliases import Author
from serving.registry.announcing.outbox import Announcement, announce, read_events
from serving.registry.store import Registry
from tests.fakes.poster import Fate, FatefulPoster

ANN = Author(who="ann", reason="again")
LIMIT_S = 90.0
LOOK_S = 0.005
NUMBERS = itertools.count(1)


class TickingClock:
    """A clock that moves a little whenever it is read."""

    def __init__(self) -> None:
        """Begin some day."""
        self.now_utc = datetime(2026, 1, 2, tzinfo=UTC)
        self.tick_s = 2.0

    def monotonic_s(self) -> float:
        """Seconds since it began."""
        return 0.0

    def utc_now(self) -> datetime:
        """The moment after the last one."""
        self.now_utc += timedelta(seconds=self.tick_s)
        return self.now_utc


@pytest.fixture(scope="module", name="clock")
def module_clock() -> TickingClock:
    """One for all tests: time goes on."""
    return TickingClock()


@pytest.fixture(scope="module", name="book")
def module_book(
    tmp_path_factory: pytest.TempPathFactory, clock: TickingClock
) -> Iterator[OutboxBook]:
    """One outbox for all tests; each has receivers of its own."""
    with Registry(tmp_path_factory.mktemp("home"), clock=clock) as registry:
        yield OutboxBook(registry)


@pytest.fixture(name="ops")
def known_receiver(book: OutboxBook) -> Receiver:
    """A receiver that is told of what comes from now on."""
    return known(book, "")


def known(book: OutboxBook, suffix: str) -> Receiver:
    """Make a receiver known."""
    name = f"r{next(NUMBERS)}{suffix}"
    receiver = Receiver(name=name, url="http://r", secret_file=None, secret_env="S")  # noqa: S106  a name
    assert book.claim([receiver], {}) == ()
    return receiver


def announced(book: OutboxBook, subject: str) -> str:
    """Record an event."""
    return book.tell(Announcement(kind="drift.alarm", subject=subject, data={"psi": 0.3}))


async def delivered(
    book: OutboxBook, poster: Poster, receivers: tuple[Receiver, ...], clock: TickingClock
) -> None:
    """Run couriers, a new one whenever one died, until no receiver waits for anything."""
    said = Receivers(receivers=receivers)
    async with asyncio.timeout(LIMIT_S):
        while waits(book, receivers):
            courier = Courier(book, poster, lambda: said, clock, look_s=0.0)
            life = asyncio.get_running_loop().create_task(courier.run())
            if isinstance(poster, FatefulPoster):
                poster.kill = life.cancel
            done = asyncio.get_running_loop().create_task(idle(book, receivers))
            await asyncio.wait((life, done), return_when=asyncio.FIRST_COMPLETED)
            for task in (life, done):
                task.cancel()
            await asyncio.wait((life, done))
            assert life.cancelled(), life.exception()


async def idle(book: OutboxBook, receivers: tuple[Receiver, ...]) -> None:
    """Return when no receiver waits for anything."""
    await until(lambda: not waits(book, receivers))


async def until(holds: Callable[[], object]) -> None:
    """Return when something holds that no other task tells."""
    never = asyncio.Event()
    while not holds():
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await never.wait()


def waits(book: OutboxBook, receivers: tuple[Receiver, ...]) -> bool:
    """Whether one of the receivers is to get something still."""
    tallies = book.tallies()
    return any(tallies.get(one.name, Tally(pending=1)).pending for one in receivers)


@settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    fates=st.lists(st.sampled_from(Fate), max_size=12),
    subjects=st.lists(st.sampled_from(["m/1", "m/2", "n/1"]), min_size=1, max_size=6),
)
def test_each_receiver_gets_each_event_in_the_order_of_its_subject(
    book: OutboxBook, clock: TickingClock, fates: list[Fate], subjects: list[str]
) -> None:
    """Repetitions apart, a receiver sees a subject's events as they were recorded, and all."""
    receivers = (known(book, "a"), known(book, "b"))
    poster = FatefulPoster(fates)
    recorded = [(subject, announced(book, subject)) for subject in subjects]

    asyncio.run(delivered(book, poster, receivers, clock))

    for one in receivers:
        mine = [came[1:] for came in poster.came if came[0] == one.name]
        for subject in set(subjects):
            firsts = list(dict.fromkeys(uid for about, uid in mine if about == subject))
            assert firsts == [uid for about, uid in recorded if about == subject]
        assert len(set(mine)) == len(recorded)


def test_a_receiver_that_was_away_for_ten_minutes_gets_everything(
    book: OutboxBook, clock: TickingClock, ops: Receiver
) -> None:
    """Each event comes when it is back, in the order of its subject.

    Perhaps twice: this clock runs past a lease while a slow machine writes that one was taken.
    """
    back_utc = clock.now_utc + timedelta(minutes=10)
    fates = iter(lambda: Fate.REFUSED if clock.now_utc < back_utc else Fate.TAKEN, None)
    recorded = [(subject, announced(book, subject)) for subject in ["m/1", "n/1"] * 4]
    poster = FatefulPoster(fates)

    asyncio.run(delivered(book, poster, (ops,), clock))

    came = list(dict.fromkeys((subject, uid) for _, subject, uid in poster.came))
    assert sorted(came, key=recorded.index) == recorded
    assert [one for one in came if one[0] == "m/1"] == recorded[::2]
    assert [one for one in came if one[0] == "n/1"] == recorded[1::2]


def test_a_subject_that_is_refused_holds_up_no_other(
    book: OutboxBook, clock: TickingClock, ops: Receiver
) -> None:
    """While the first subject's event is refused, the other's go on."""
    for subject in ("m/1", "m/1", "n/1", "n/1"):
        announced(book, subject)
    poster = FatefulPoster([Fate.REFUSED, Fate.TAKEN, Fate.REFUSED])

    asyncio.run(delivered(book, poster, (ops,), clock))

    assert next(subject for _, subject, _ in poster.came) == "n/1"
    assert book.tallies()[ops.name] == Tally(delivered=4)


def test_an_event_that_nobody_takes_is_dead_after_a_day_and_can_be_sent_again(
    book: OutboxBook, clock: TickingClock, ops: Receiver
) -> None:
    """It is tried for a day, is seen among the dead, lets the next one go, and comes when asked."""
    first, second = announced(book, "m/1"), announced(book, "m/1")
    book.claim([ops], {ops.name: 0})
    clock.now_utc += timedelta(seconds=GIVE_UP_S)
    poster = FatefulPoster([Fate.REFUSED])

    asyncio.run(delivered(book, poster, (ops,), clock))
    dead = [told.event.uid for told in book.dead() if told.deliveries[0].receiver == ops.name]
    before = [uid for _, _, uid in poster.came]
    book.redeliver(first[:8], ops.name, ANN)
    asyncio.run(delivered(book, poster, (ops,), clock))

    assert (dead, before) == ([first], [second])
    assert [uid for _, _, uid in poster.came] == [second, first]
    assert book.tallies()[ops.name] == Tally(delivered=2)


def test_what_was_given_up_is_sent_again_as_a_whole(
    book: OutboxBook, clock: TickingClock, ops: Receiver
) -> None:
    """All dead deliveries of a receiver are due again, and only its."""
    announced(book, "m/1")
    book.claim([ops], {ops.name: 0})
    clock.now_utc += timedelta(seconds=GIVE_UP_S)
    asyncio.run(delivered(book, FatefulPoster([Fate.REFUSED]), (ops,), clock))

    assert book.redeliver_dead("nobody", ANN) == 0
    assert book.redeliver_dead(ops.name, ANN) == 1
    assert book.tallies()[ops.name] == Tally(pending=1)


def test_two_couriers_never_send_the_same_event_at_once(
    book: OutboxBook, clock: TickingClock, ops: Receiver
) -> None:
    """Who claims an event has it until its lease ends; then another one may."""
    announced(book, "m/1")
    announced(book, "m/1")
    room = {ops.name: 9}
    first = book.claim([ops], room)
    second = book.claim([ops], room)
    clock.now_utc += timedelta(seconds=LEASE_S)
    third = book.claim([ops], room)

    assert [one.event for one in first] == [one.event for one in third]
    assert (len(first), second) == (1, ())
    assert third[0].attempt_count == 2


def test_a_late_note_changes_nothing(book: OutboxBook, clock: TickingClock, ops: Receiver) -> None:
    """Whoever lost its claim to another does not postpone what that one sends."""
    announced(book, "m/1")
    late = book.claim([ops], {ops.name: 1})[0]
    clock.now_utc += timedelta(seconds=LEASE_S)
    taken = book.claim([ops], {ops.name: 1})[0]
    book.delivered(taken, "yes", hastens=False)
    book.given_up(late, "no")

    assert book.tallies()[ops.name] == Tally(delivered=1)


def test_a_receiver_that_is_back_gets_all_at_once(book: OutboxBook, ops: Receiver) -> None:
    """What is postponed for hours is due when another event of the receiver was taken."""
    announced(book, "m/1")
    waits = book.claim([ops], {ops.name: 1})[0]
    book.postponed(waits, "no", 3000.0)
    announced(book, "n/1")
    taken = book.claim([ops], {ops.name: 1})[0]
    before = book.claim([ops], {ops.name: 1})
    book.delivered(taken, "yes", hastens=True)

    assert before == ()
    assert [one.event for one in book.claim([ops], {ops.name: 1})] == [waits.event]


def test_a_clock_that_is_set_back_keeps_no_event_waiting_until_it_has_caught_up(
    tmp_path: Path,
) -> None:
    """What was postponed, or claimed, by a clock that was a day ahead is due: nothing waits so."""
    clock = TickingClock()
    with Registry(tmp_path, clock=clock) as registry:
        book = OutboxBook(registry)
        ops = known(book, "")
        clock.now_utc += timedelta(days=1)
        announced(book, "m/1")
        announced(book, "n/1")
        postponed, claimed = book.claim([ops], {ops.name: 2})
        book.postponed(postponed, "no", 300.0)
        clock.now_utc -= timedelta(days=1)

        again = book.claim([ops], {ops.name: 2})
        book.postponed(again[0], "no", LONGEST_ASKED_PAUSE_S)

        assert [one.event for one in again] == [postponed.event, claimed.event]
        assert book.claim([ops], {ops.name: 2}) == ()


def test_a_receiver_gets_only_what_it_wants(book: OutboxBook, ops: Receiver) -> None:
    """Types and subjects are looked at when events are handed out."""
    picky = replace(ops, types=("dev.bascule.drift.*",), subjects=("n/*",))
    announced(book, "m/1")
    wanted = announced(book, "n/7")

    claims = book.claim([picky], {ops.name: 9})

    assert [one.event.uid for one in claims] == [wanted]


def test_a_broken_file_of_receivers_stops_nobody_who_was_told_before(
    book: OutboxBook, clock: TickingClock, ops: Receiver
) -> None:
    """The courier goes on with those that it knew."""
    said: list[Receivers | BasculeError] = [
        Receivers(receivers=(ops,)),
        InvalidArgumentError("events.yaml: no"),
    ]
    poster = FatefulPoster()

    def read() -> Receivers:
        found = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(found, BasculeError):
            raise found
        return found

    async def told() -> None:
        courier = Courier(book, poster, read, clock, look_s=0.0)
        life = asyncio.get_running_loop().create_task(courier.run())
        async with asyncio.timeout(LIMIT_S):
            await until(lambda: len(said) == 1)
            announced(book, "m/1")
            await idle(book, (ops,))
        life.cancel()
        await asyncio.wait((life,))

    asyncio.run(told())

    assert len(poster.came) == 1


def test_old_events_go_unless_somebody_waits(
    book: OutboxBook, clock: TickingClock, ops: Receiver
) -> None:
    """After some months an event is forgotten; one that is still to be delivered is not."""
    waits = announced(book, "old/1")
    book.claim([ops], {ops.name: 0})
    clock.now_utc += timedelta(days=KEPT_DAYS + 1)
    alone = replace(ops, name="nobody")
    gone = announced(book, "old/1")
    clock.now_utc += timedelta(days=KEPT_DAYS + 1)
    new = announced(book, "old/1")
    book.forget_old()

    assert [told.event.uid for told in book.read("old")] == [waits, new]
    assert gone not in {told.event.uid for told in book.read(limit=1000)}
    assert alone.name not in book.tallies()


def test_what_is_not_there_is_not_sent_again(book: OutboxBook, ops: Receiver) -> None:
    """An unknown id, one that is too short, and a receiver that was never to get it are named."""
    uid = announced(book, "m/1")
    with pytest.raises(NotFoundError, match="there is no event"):
        book.redeliver("ffffffff-0000", None, ANN)
    with pytest.raises(InvalidArgumentError, match="too short"):
        book.redeliver(uid[:2], None, ANN)
    with pytest.raises(NotFoundError, match=f"was not for '{ops.name}'"):
        book.redeliver(uid, ops.name, ANN)


def refused_change(uid: str) -> None:
    """End a change with an error, after its event was recorded."""
    raise NotFoundError(uid)


def test_an_event_is_there_exactly_if_its_change_is(tmp_path: Path) -> None:
    """A change that is undone takes its event with it; delivering raises no revision."""
    told = Announcement(kind="drift.alarm", subject="m/1", data={})
    with Registry(tmp_path / "home") as registry:
        database, now_utc = registry.database, registry.clock.utc_now()
        with pytest.raises(NotFoundError), database.changing() as connection:
            refused_change(announce(connection, told, now_utc))
        OutboxBook(registry).tell(told)
        with database.reading() as connection:
            assert len(read_events(connection)) == 1
            assert catalog.read_revision(connection) == 0
