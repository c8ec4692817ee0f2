"""Rollouts of a real registry over a cluster in memory: what ends them, and what must not."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sql

from serving.clock import SystemClock
from serving.edge.control import Asked, Snapshot
from serving.errors import AlreadyExistsError, NotFoundError, NotReadyError
from serving.ids import VersionKey
from serving.monitor.traffic import Lives
from serving.registry import catalog
from serving.registry.aliases import Author
from serving.registry.collection import Rules, collect
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.plan import Plan, Step, Strategy
from serving.registry.rollouts.record import Change, Order, Rollout, RolloutState
from serving.registry.schema import ROLLOUTS
from serving.registry.store import Registry
from serving.registry.version import VersionState
from serving.rollout.controller import Controller
from serving.rollout.driven import Ports
from serving.rollout.engine.driver import RolloutDriver
from serving.rollout.loop import ControlLoop
from serving.rollout.ports import Mirror
from serving.rollout.sources import Selection, Sources
from serving.settings import load_settings
from tests.fakes.bundles import make_bundle
from tests.fakes.cluster import FakeCluster, FakeEdges
from tests.fakes.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

State = RolloutState
M1, M2 = VersionKey("m", 1), VersionKey("m", 2)


class FaultyCluster(FakeCluster):
    """Fails so many looks at what workers have counted, with an error that nobody foresaw."""

    def __init__(self, fault_count: int = 0) -> None:
        """Advance by itself."""
        super().__init__(is_automatic=True)
        self.fault_count = fault_count
        self.was_told = asyncio.Event()

    def set_mirrors(self, mirrors: Sequence[Mirror]) -> None:
        """Take note that somebody said so."""
        super().set_mirrors(mirrors)
        self.was_told.set()

    async def traffic(self, keys: Collection[VersionKey], *, with_outputs: bool = False) -> Lives:
        """Fail, or tell what is counted."""
        if self.fault_count > 0:
            self.fault_count -= 1
            raise RuntimeError("nobody foresaw this")
        return await super().traffic(keys, with_outputs=with_outputs)


class FaultyEdges(FakeEdges):
    """Refuse every snapshot while there is a fault."""

    fault = ""

    async def publish(self, snapshot: Snapshot) -> None:
        """Fail, or obey."""
        if self.fault:
            raise OSError(self.fault)
        await super().publish(snapshot)


class LateBook(RolloutBook):
    """Somebody else ends a rollout between a look at it and whatever follows."""

    def one(self, number: int) -> Rollout:
        """Return it as it was just before."""
        seen = super().one(number)
        if seen.state is State.PENDING:
            self.record(seen, Change(state=State.FAILED), "ann")
        return seen


@dataclass
class Instance:
    """A controller over a registry with versions 1 (live) and 2."""

    registry: Registry
    cluster: FaultyCluster = field(default_factory=FaultyCluster)
    edges: FaultyEdges = field(init=False)
    controller: Controller = field(init=False)
    book: RolloutBook = field(init=False)

    def __post_init__(self) -> None:
        self.book = RolloutBook(self.registry)
        self.edges = FaultyEdges(self.cluster)
        ports = Ports(
            cluster=self.cluster,
            edges=self.edges,
            sources=Sources(self.registry, None, Selection()),
            clock=SystemClock(),
            rollouts=self.book,
        )
        settings = load_settings(home=Path("/home/somebody"))
        self.controller = Controller(ports, settings, mode="standalone")

    async def until(self, state: RolloutState) -> Rollout:
        """Wait for the latest rollout to stand somewhere."""
        await self.controller.loop.until(lambda: self.book.history("m")[0].state is state)
        return self.book.history("m")[0]

    async def moved_on(self) -> ControlLoop:
        """Have all traffic on version 2, and 1 unloaded."""
        await self.controller.start_rollout("m", 2, Plan(bake_s=0))
        await self.until(State.COMPLETE)
        loop = self.controller.loop
        await loop.until(lambda: M1 not in loop.desired.versions and loop.is_settled)
        return loop


@asynccontextmanager
async def running(instance: Instance) -> AsyncIterator[Instance]:
    """Let an instance work."""
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        await instance.controller.loop.start()
        loop = instance.controller.loop
        works = [group.create_task(loop.run())]
        await asyncio.sleep(0)
        works.append(group.create_task(instance.controller.run_rollouts()))
        await loop.until(lambda: loop.is_settled)
        yield instance
        for work in works:
            work.cancel()


@pytest.fixture(name="it")
def instance_with_two_versions(tmp_path: Path) -> Iterator[Instance]:
    """Versions 1, promoted, and 2."""
    with Registry(tmp_path / "home") as registry:
        for number in (1, 2):
            bundle = make_bundle(tmp_path / str(number), version=number, content=b"%d" % number)
            registry.push(bundle.folder, "ann")
        registry.pin_live("m", 1, "ann")
        yield Instance(registry)


async def test_an_error_that_nobody_foresaw_ends_no_controller(it: Instance) -> None:
    """The step is made again; the controller works on, and the rollout completes."""
    it.cluster.fault_count = 1
    async with running(it):
        await it.controller.start_rollout("m", 2, Plan(bake_s=0))
        await it.until(State.COMPLETE)
        assert it.cluster.fault_count == 0
        assert it.controller.loop.snapshot.routes.live["m"].version == 2


async def test_whoever_waits_for_an_end_hears_of_one_that_nobody_told(it: Instance) -> None:
    """It was recorded after the look and before the wait: the wait ends all the same."""
    book = LateBook(it.registry)
    driver = RolloutDriver(it.controller.loop, book, it.cluster, SystemClock())
    rollout = book.begin(M2, 1, Plan(), Author(who="ann"))
    async with asyncio.timeout(PATIENCE_S):
        assert (await driver.ended(rollout.id)).state is State.FAILED


async def test_mirrors_of_a_rollout_that_has_ended_do_not_outlive_a_controller(
    it: Instance,
) -> None:
    """Killed between the record of the end and the order: the next controller gives the order."""
    it.cluster.set_mirrors((Mirror(live=M1, candidate=2),))
    it.cluster.was_told.clear()
    async with running(it):
        await it.cluster.was_told.wait()
        assert it.cluster.mirrors == []


async def test_a_rollback_that_is_held_says_so(it: Instance) -> None:
    """The old version is away: nothing was rolled back, and nobody is told that it was."""
    async with running(it):
        await it.controller.start_rollout("m", 2, Plan(bake_s=600))
        await it.until(State.SWITCHED)
        with it.registry.database.changing() as connection:  # as by an instance of before
            catalog.archive(connection, "m", 1, it.registry.clock.utc_now())
        await it.controller.sync()
        with pytest.raises(NotReadyError, match="version 1 is not ready to take the traffic back"):
            await it.controller.rollback("m")
        assert it.registry.picture().pinned_live == {"m": 2}


async def test_a_second_rollback_waits_for_the_first(it: Instance) -> None:
    """Two people are in a hurry: both are told that version 1 is live, when it is."""
    async with running(it):
        loop = await it.moved_on()
        it.cluster.is_automatic = False
        first = asyncio.ensure_future(it.controller.rollback("m"))
        await it.until(State.LOADING)
        second = asyncio.ensure_future(it.controller.rollback("m"))
        for _ in range(30):  # looks at the catalog: enough for it to do harm
            await it.controller.rollouts("m")
        it.cluster.is_automatic = it.cluster.advance()
        ended = [await first, await second]
        assert [one.state for one in ended] == [State.COMPLETE] * 2
        assert ended[0].id == ended[1].id
        assert loop.snapshot.routes.live["m"].version == 1


async def test_two_rollbacks_at_the_same_moment_are_one(it: Instance) -> None:
    """Neither sees the other before it begins: both wait for the one that was recorded."""
    async with running(it):
        await it.controller.start_rollout("m", 2, Plan(bake_s=0))
        await it.until(State.COMPLETE)
        both = [asyncio.ensure_future(it.controller.rollback("m")) for _ in range(2)]
        first, second = [await one for one in both]
        assert first.id == second.id
        assert first.state is second.state is State.COMPLETE
        assert [one.plan.strategy for one in it.book.history("m")].count(Strategy.ROLLBACK) == 1


async def test_a_paused_rollback_is_told_to_whoever_asks_again(it: Instance) -> None:
    """Nobody waits for what does not go on."""
    async with running(it):
        await it.moved_on()
        it.cluster.is_automatic = False
        first = asyncio.ensure_future(it.controller.rollback("m"))
        await it.until(State.LOADING)
        await it.controller.order_rollout("m", Order.PAUSE)
        with pytest.raises(NotReadyError, match=r"is paused .* resume m"):
            await it.controller.rollback("m")
        await it.controller.order_rollout("m", Order.RESUME)
        it.cluster.is_automatic = it.cluster.advance()
        assert (await first).state is State.COMPLETE


async def test_a_return_that_was_cut_short_is_not_told_as_one(it: Instance) -> None:
    """Version 1 is away, and somebody lets the rollout end: nobody is told that 1 is live."""
    async with running(it):
        steps = (Step(share=100, hold_s=600),)
        plan = Plan(strategy=Strategy.CANARY, steps=steps)
        await it.controller.start_rollout("m", 2, plan)
        await it.until(State.CANARY)
        loop = it.controller.loop
        with it.registry.database.changing() as connection:  # as by an instance of before
            catalog.archive(connection, "m", 1, it.registry.clock.utc_now())
        await it.controller.sync()
        await loop.until(lambda: M1 not in loop.desired.versions and loop.is_settled)
        it.cluster.is_automatic = False
        back = asyncio.ensure_future(it.controller.rollback("m"))
        await it.until(State.ROLLING_BACK)
        await it.controller.order_rollout("m", Order.SKIP, Asked(who="ann", reason="disk is gone"))
        with pytest.raises(
            NotReadyError, match=r"version 1 does not have all calls .*disk is gone"
        ):
            await back


async def test_no_rollback_begins_to_a_version_that_is_gone(it: Instance) -> None:
    """Its files were collected: that is said at once, with a remedy, and nothing is recorded."""
    async with running(it):
        await it.moved_on()
        collect(it.registry, Rules(keep_days=0, takes_archived=True), "bob")
        with pytest.raises(NotFoundError, match=r"version 1 of 'm'.* is gone: .*promote m --to"):
            await it.controller.rollback("m")
        assert len(it.book.history("m")) == 1


@pytest.mark.parametrize("was_wanted", [True, False])
async def test_a_candidate_that_does_not_get_the_traffic_is_as_it_was(
    it: Instance, *, was_wanted: bool
) -> None:
    """Served before, by its number: it is served on. Archived before: it is archived again."""
    if not was_wanted:
        it.registry.unwant("m", 2, "ann")
    async with running(it):
        await it.controller.start_rollout("m", 2, Plan(bake_s=600))
        await it.until(State.SWITCHED)
        await it.controller.order_rollout("m", Order.ABORT)
        await it.until(State.ROLLED_BACK)
        loop = it.controller.loop
        state = VersionState.READY if was_wanted else VersionState.UNAVAILABLE
        await loop.until(lambda: loop.snapshot.versions[M2].state is state)
        assert loop.snapshot.routes.live["m"].version == 1
        assert {row.version for row in it.registry.versions("m") if row.wanted} == (
            {1, 2} if was_wanted else {1}
        )


async def test_an_abort_before_anything_was_done_archives_nothing(it: Instance) -> None:
    """A rollout that waits for approvals has asked for nothing yet."""
    rollout = it.book.begin(M2, 1, Plan(), Author(who="ann"))
    it.book.record(rollout, Change(state=State.FAILED, unwant=(2,)), "ann")
    assert [row.wanted for row in it.registry.versions("m")] == [True, True]


async def test_the_time_of_a_step_begins_anew_after_a_pause(it: Instance) -> None:
    """What was paused for longer than its limit is not overdue when it goes on."""
    rollout = it.book.begin(M2, 1, Plan(), Author(who="ann"))
    paused = it.book.record(rollout, Change(state=State.PENDING, is_paused=True), "ann")
    assert paused is not None
    assert paused.since_utc == rollout.since_utc
    resumed = it.book.record(paused, Change(state=State.PENDING), "ann")
    assert resumed is not None
    assert resumed.since_utc > rollout.since_utc


async def test_a_candidate_that_is_never_ready_ends_the_rollout(it: Instance) -> None:
    """Its limit is the plan's; the reason is on record."""
    it.cluster.is_automatic = False
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        await it.controller.loop.start()
        works = [group.create_task(it.controller.loop.run())]
        await asyncio.sleep(0)
        works.append(group.create_task(it.controller.run_rollouts()))
        it.book.begin(M2, 1, Plan(load_limit_s=1.0), Author(who="ann"))
        ended = await it.until(State.FAILED)
        assert "m:2 was not ready after 1 s" in ended.note
        for work in works:
            work.cancel()


async def test_nobody_takes_by_another_way_what_a_rollout_needs(it: Instance) -> None:
    """Archived, promoted or collected past the instance: refused with the rollout and a remedy."""
    it.registry.unwant("m", 2, "ann")
    rollout = it.book.begin(M2, 1, Plan(), Author(who="ann"))
    for version in (1, 2, None):
        with pytest.raises(AlreadyExistsError, match=f"rollout {rollout.id} moves 'm' .* abort m"):
            it.registry.unwant("m", version, "ann")
    with pytest.raises(AlreadyExistsError, match="abort m"):
        it.registry.pin_live("m", 2, "ann")
    assert not collect(it.registry, Rules(takes_archived=True, keep_days=0), "ann").versions
    it.book.record(rollout, Change(state=State.FAILED), "ann")
    it.registry.unwant("m", None, "ann")


async def test_a_rollout_does_not_begin_from_what_is_live_no_more(it: Instance) -> None:
    """Another process promoted after the instance had looked: whoever asks is told."""
    it.registry.pin_live("m", 2, "bob")
    with pytest.raises(AlreadyExistsError, match="version 2 of 'm' became live just now"):
        it.book.begin(VersionKey("m", 3), 1, Plan(), Author(who="ann"))


async def test_a_damaged_plan_ends_its_rollout_and_nothing_else(it: Instance) -> None:
    """The reason says what to do; the controller works on, and another rollout goes through."""
    rollout = it.book.begin(M2, 1, Plan(), Author(who="ann"))
    with it.registry.database.changing() as connection:
        connection.execute(sql.update(ROLLOUTS).values(plan='{"strategy": "cana'))
    async with running(it):
        ended = await it.until(State.FAILED)
        assert f"the plan of rollout {rollout.id} cannot be read from the catalog" in ended.note
        await it.controller.start_rollout("m", 2, Plan(bake_s=0))
        await it.until(State.COMPLETE)


async def test_what_keeps_failing_is_told_and_tried_again(it: Instance) -> None:
    """Edges that cannot be told, workers that cannot be asked: status says it, until it works."""
    it.cluster.fault_count = 10**6
    async with running(it):
        begun = await it.controller.start_rollout("m", 2, Plan(bake_s=0))
        async with asyncio.timeout(PATIENCE_S):
            while "nobody foresaw this" not in (await it.controller.rollout(begun.id)).seen:
                await it.controller.sync()
        it.cluster.fault_count = 0
        await it.until(State.COMPLETE)
        it.edges.fault = "no space left on device"
        back = asyncio.ensure_future(it.controller.rollback("m"))
        loop = it.controller.loop
        await loop.until(lambda: it.book.history("m")[0].plan.strategy is Strategy.ROLLBACK)
        await loop.until(lambda: bool(loop.trouble))
        number = it.book.history("m")[0].id
        assert it.edges.fault in (await it.controller.rollout(number)).seen
        it.edges.fault = ""
        assert (await back).state is State.COMPLETE
        assert not (await it.controller.rollout(number)).seen


async def test_no_version_that_a_rollout_needs_is_taken(it: Instance) -> None:
    """Neither of the two, nor all; after the end each may go."""
    async with running(it):
        await it.controller.start_rollout("m", 2, Plan(bake_s=600, keep_old=True))
        await it.until(State.SWITCHED)
        for version in (1, 2, None):
            with pytest.raises(AlreadyExistsError, match="rollout abort m"):
                await it.controller.retire("m", version)
        with pytest.raises(AlreadyExistsError, match="rollout abort m"):
            await it.controller.unload("m")
        await it.controller.order_rollout("m", Order.SKIP)
        await it.controller.retire("m", 1)
