"""Calls for a version without a worker: they wait, not too many, and are told what fails."""

import asyncio
from dataclasses import dataclass, field

import pytest

from runtimes.errors import BasculeError
from serving.edge import sleepers
from serving.edge.control import Snapshot, VersionRecord
from serving.edge.drain import Drain
from serving.edge.routes import RouteTable, VersionRoute
from serving.edge.sleepers import Sleeper, Sleepers, sleeper_of
from serving.errors import DrainingError, NotReadyError, QueueFullError
from serving.ids import VersionKey
from serving.registry.version import VersionState

pytestmark = pytest.mark.anyio

KEY = VersionKey("m", 1)


def told(*, asleep: bool, state: VersionState = VersionState.READY, reason: str = "") -> Snapshot:
    """What the controller publishes of the version."""
    record = VersionRecord(model=KEY.model, version=KEY.version, state=state, reason=reason)
    routes = RouteTable(versions={KEY: VersionRoute("d1", asleep=asleep)})
    return Snapshot(routes=routes, versions={KEY: record})


@dataclass
class Bed:
    """A controller and the routes of one sleeping version."""

    snapshot: Snapshot = field(default_factory=lambda: told(asleep=True))
    woken: list[tuple[str, int]] = field(default_factory=list)
    failure: BasculeError | None = None
    silence: asyncio.Event | None = None
    """It answers when this is set; None: at once."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    drain: Drain = field(default_factory=Drain)

    def __post_init__(self) -> None:
        self.sleepers = Sleepers(self, lambda: self.snapshot, self.drain, max_calls=6)

    async def wake(self, model: str, version: int) -> None:
        """Remember it."""
        self.woken.append((model, version))
        self.asked.set()
        if self.silence is not None:
            await self.silence.wait()
        if self.failure is not None:
            raise self.failure

    async def publish(self, snapshot: Snapshot) -> None:
        """Let the edge obey another snapshot."""
        self.snapshot = snapshot
        await self.sleepers.hear()


async def test_calls_wait_until_the_version_is_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller is asked once for all of them, and their places are free again.

    Of what fell asleep again it is asked at once: who called then waited for two seconds more.
    """
    monkeypatch.setattr(sleepers, "AGAIN_S", 3600.0)
    bed = Bed()
    for _ in range(2):
        bed.asked.clear()
        bed.snapshot = told(asleep=True)
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            calls = [group.create_task(bed.sleepers.until_awake(Sleeper(KEY, 0))) for _ in range(3)]
            await bed.asked.wait()
            assert not any(call.done() for call in calls)
            await bed.publish(told(asleep=False))
    assert bed.woken == [("m", 1)] * 2


async def test_one_call_too_many_is_refused() -> None:
    """It was not executed, and may be sent again; those that wait go on, and so do others'."""
    bed = Bed()
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(bed.sleepers.until_awake(Sleeper(KEY, 0)))
        await bed.asked.wait()
        with pytest.raises(QueueFullError, match="3 calls wait"):
            await bed.sleepers.until_awake(Sleeper(KEY, 0))
        await bed.sleepers.until_awake(Sleeper(VersionKey("another", 1), 0))
        await bed.publish(told(asleep=False))


async def test_places_are_for_all_versions_together() -> None:
    """What waits for one is in nobody's way, what waits for many is bounded."""
    bed = Bed()
    keys = [VersionKey("m", number) for number in range(1, 8)]
    bed.snapshot = Snapshot(
        routes=RouteTable(versions={key: VersionRoute("d1", asleep=True) for key in keys})
    )
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        waiting = [group.create_task(bed.sleepers.until_awake(Sleeper(key, 0))) for key in keys[:6]]
        await bed.asked.wait()
        with pytest.raises(QueueFullError, match="6 for any"):
            await bed.sleepers.until_awake(Sleeper(keys[6], 0))
        await bed.publish(Snapshot())
    assert all(call.done() for call in waiting)


async def test_the_reason_is_told_when_it_cannot_start() -> None:
    """Those that wait hear it when it is known."""
    bed = Bed()
    failed = told(asleep=True, state=VersionState.UNAVAILABLE, reason="out of memory")
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        call = group.create_task(_refusal(bed))
        await bed.asked.wait()
        await bed.publish(failed)
    assert "not at ready state: out of memory; the call was not executed" in call.result()


async def test_a_controller_that_is_away_is_asked_again() -> None:
    """The call waits on; after the limit it is told that nothing came."""
    bed = Bed(failure=NotReadyError("the controller is restarting"))
    with pytest.raises(NotReadyError, match="no worker has started within"):
        await bed.sleepers.until_awake(Sleeper(KEY, 0), limit_s=0.05)
    assert bed.woken


async def test_calls_do_not_wait_for_a_server_that_goes() -> None:
    """Those that wait are told, and so are those that come later; their places are free."""
    bed = Bed()
    for _ in range(4):
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            calls = [group.create_task(_refusal(bed, DrainingError)) for _ in range(3)]
            await bed.asked.wait()
            bed.drain.begin()
        assert [call.result() for call in calls] == ["Server exiting"] * 3


async def test_a_version_that_is_awake_or_gone_lets_calls_on() -> None:
    """Nobody is asked: the edge has the answer."""
    bed = Bed(snapshot=Snapshot())
    await bed.sleepers.until_awake(Sleeper(KEY, 0))
    bed.snapshot = told(asleep=False)
    await bed.sleepers.until_awake(Sleeper(KEY, 0))
    assert not bed.woken


async def test_a_controller_that_does_not_answer_holds_no_call_back() -> None:
    """What counts is that the version is awake, or cannot be."""
    failed = told(asleep=True, state=VersionState.UNAVAILABLE, reason="out of memory")
    for news, message in ((told(asleep=False), ""), (failed, "out of memory")):
        bed = Bed(silence=asyncio.Event())
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            call = group.create_task(_refusal(bed) if message else _passage(bed))
            await bed.asked.wait()
            await bed.publish(news)
        assert message in call.result()


async def test_a_call_that_is_ahead_of_the_news_waits_for_a_worker() -> None:
    """HAProxy has the routes first: it went to sleep, as is not known here yet."""
    bed = Bed(snapshot=told(asleep=False))
    bed.sleepers.expect(told(asleep=True))
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        calls = [group.create_task(_passage(bed, waits)) for waits in range(2)]
        await bed.asked.wait()
        assert not any(call.done() for call in calls)
        await bed.publish(told(asleep=True))
        bed.sleepers.expect(told(asleep=False))
        await bed.publish(told(asleep=False))


async def test_a_call_that_comes_back_to_a_version_awake_goes_on() -> None:
    """At once: it slept when the call came, and has been woken since."""
    bed = Bed(snapshot=told(asleep=False))
    await bed.sleepers.until_awake(Sleeper(KEY, 1))
    assert not bed.woken


def test_headers_say_what_a_call_waits_for() -> None:
    """Names are percent-encoded; a call that has waited too often is refused."""
    headers: list[tuple[str, str | bytes]]
    headers = [("bascule-model", "50%25%20m"), ("bascule-version", "3"), ("host", "h")]
    made = sleeper_of(headers)
    assert made == Sleeper(VersionKey("50% m", 3), 0)
    assert sleeper_of([("bascule-version", "3")]) is None
    for number in ("9" * 5_000, "٣", "-3"):  # from a client, who may write anything
        assert sleeper_of([("bascule-model", "m"), ("bascule-version", number)]) is None
    for count in range(1, 5):
        made = sleeper_of([*headers, *made.woken.items()])
        assert made == Sleeper(VersionKey("50% m", 3), count)
    with pytest.raises(NotReadyError, match="ended 5 times while"):
        sleeper_of([*headers, *made.woken.items()])


async def _passage(bed: Bed, wait_count: int = 0) -> str:
    await bed.sleepers.until_awake(Sleeper(KEY, wait_count))
    return ""


async def _refusal(bed: Bed, kind: type[BasculeError] = NotReadyError) -> str:
    with pytest.raises(kind) as caught:
        await bed.sleepers.until_awake(Sleeper(KEY, 0))
    return caught.value.message
