"""Carries rollouts out: looks, asks the machine for the next change, records it, makes edges obey.

One task for each rollout that has not ended. What it knows besides the catalog is only what it
compares; a controller that is started again begins to compare anew.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from runtimes.errors import BasculeError
from serving.clock import Clock
from serving.edge.control import Asked
from serving.errors import DrainingError, NotFoundError
from serving.ids import VersionKey
from serving.registry.aliases import Author
from serving.registry.rollouts.book import ENGINE, RolloutBook
from serving.registry.rollouts.forecast import Forecast
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import ENDED, Change, Order, Rollout, RolloutState
from serving.registry.version import VersionState
from serving.rollout.engine.evidence import COMPARED_STATES, Evidence, Look, workers_of
from serving.rollout.engine.guardrails import Ruling, Verdict
from serving.rollout.engine.kept import as_loaded, foreseen
from serving.rollout.engine.label_signs import LabelCounts
from serving.rollout.engine.machine import Readiness, Sight, next_change, ordered
from serving.rollout.engine.mirrors import compared_by, mirror_of
from serving.rollout.engine.served import has_sequences, is_obeyed, is_ready, live_of
from serving.rollout.interface_break import broken_by
from serving.rollout.label_watch import LabelWatch
from serving.rollout.loop import ControlLoop
from serving.rollout.ports import Cluster, Mirror

log = structlog.get_logger(__name__)

WINDOW_S: Final = 1.0
"""Between two looks at what versions have answered."""
LOOK_S: Final = 0.1
"""Between two looks at a rollout that waits for something."""
STEP_S: Final = 0.15
"""After a change: several in a row take a core from who answers calls (`benchmarks.swaps`)."""
NEWS_S: Final = 1.0
"""Between two looks for rollouts that another process has begun, or whose approvals are missing."""
AFTER_ERROR_S: Final = 1.0
NOTHING_COMPARED: Final = Verdict(ruling=Ruling.WATCHING, reason="")


class RolloutDriver:
    """Belongs to the controller's event loop."""

    def __init__(
        self,
        loop: ControlLoop,
        book: RolloutBook,
        cluster: Cluster,
        clock: Clock,
        labels: LabelWatch | None = None,
    ) -> None:
        """Remember the parts; `run` works.

        Args:
            loop: Makes changes take effect.
            book: Where rollouts are kept.
            cluster: Whose workers count what guardrails compare.
            clock: What waits are measured by.
            labels: Says how often versions were wrong; None: no prediction is logged.
        """
        self._cluster = cluster
        self._mirrors: dict[int, Mirror] = {}
        self._evidence: dict[int, Evidence] = {}
        self._broken: dict[int, str] = {}
        self._loop = loop
        self._book = book
        self._labels = labels
        self._clock = clock
        self._driven: set[int] = set()
        self._news = asyncio.Event()
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Take every rollout further until cancelled."""
        is_first = True
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                found = await self._active()
                if is_first and found is not None:
                    self._mirror_only(found)
                    is_first = False
                for rollout in [one for one in found or () if one.id not in self._driven]:
                    self._driven.add(rollout.id)
                    group.create_task(self._drive(rollout))
                await self._wait(self._news, NEWS_S)

    async def begin(
        self,
        key: VersionKey,
        live: int | None,
        plan: Plan,
        asked: Asked,
        forecast: Forecast | None = None,
    ) -> Rollout:
        """Record a rollout; it is carried out at once.

        Args:
            key: The version that traffic is to move to.
            live: What is live now.
            plan: How.
            asked: Who asks for it, and why.
            forecast: What is foreseen, for the record.

        Raises:
            AlreadyExistsError: The model has one that has not ended.
            InvalidArgumentError: The plan cannot work.
        """
        author = Author(who=asked.who, reason=asked.reason)
        told = "" if forecast is None else foreseen(forecast)
        rollout = await asyncio.to_thread(self._book.begin, key, live, plan, author, told)
        log.info("rollout_begun", rollout=rollout.id, version=str(key), strategy=plan.strategy)
        self._news.set()
        return rollout

    async def order(self, model: str, order: Order, asked: Asked) -> Rollout:
        """Do what an operator asks of a model's rollout; return when all edges obey.

        Raises:
            NotFoundError: No rollout of the model is under way.
            InvalidArgumentError: It makes no sense in the rollout's state.
        """
        while True:
            rollout = await self.active(model)
            old = rollout.from_version
            is_old_ready = old is None or is_ready(self._loop, VersionKey(model, old))
            can_serve = is_ready(self._loop, rollout.candidate)
            readiness = Readiness(old=is_old_ready, candidate=can_serve)
            change = ordered(rollout, order, asked.reason, readiness)
            evidence = self._evidence.get(rollout.id)
            if evidence is not None and change.state in COMPARED_STATES:
                change = replace(change, evidence=evidence.kept(change.state))
            after = await self._record(rollout, change, asked.who)
            if after is not None:
                return after

    def seen(self, number: int) -> str:
        """Say what the guardrails of a rollout that is under way see now; empty for another."""
        if number in self._broken:
            return self._broken[number]
        if number in self._driven and self._loop.trouble:
            return f"no change takes effect now, each is tried again: {self._loop.trouble}"
        evidence = self._evidence.get(number)
        return "" if evidence is None else evidence.told()

    def kept(self, rollout: Rollout) -> str:
        """Return what would go on record now; empty where nothing is compared."""
        evidence = self._evidence.get(rollout.id)
        is_compared = evidence is not None and rollout.state in COMPARED_STATES
        return evidence.kept(rollout.state) if evidence is not None and is_compared else ""

    async def active(self, model: str) -> Rollout:
        """Return the rollout of a model that is under way.

        Raises:
            NotFoundError: There is none.
        """
        found = await asyncio.to_thread(self._book.active, model)
        if not found:
            raise NotFoundError(
                f"no rollout of '{model}' is under way (bascule rollout history {model})"
            )
        return found[0]

    async def ended(self, number: int) -> Rollout:
        """Return a rollout when it has ended.

        Raises:
            NotFoundError: There is none of that number.
        """
        while True:
            rollout = await asyncio.to_thread(self._book.one, number)
            if rollout.state in ENDED:
                return rollout
            with suppress(TimeoutError):  # whoever records the end may be unable to tell
                async with asyncio.timeout(NEWS_S), self._changed:
                    await self._changed.wait()

    async def _active(self) -> tuple[Rollout, ...] | None:
        try:
            return await asyncio.to_thread(self._book.active)
        except Exception as error:  # as with a step: it must not end the controller
            is_known = isinstance(error, BasculeError)
            log.warning("rollouts_not_read", error=str(error), exc_info=not is_known)
            return None

    async def _drive(self, rollout: Rollout) -> None:
        """Take one rollout to its end."""
        await asyncio.sleep(STEP_S)
        while rollout.state not in ENDED:
            try:
                evidence = await self._evidence_of(rollout)
                rollout = await self._step(rollout, evidence)
            except DrainingError:
                return
            except Exception as error:  # noqa: BLE001  process edge: one must not end what serves
                rollout = await self._after_failure(rollout, error)
            else:
                self._broken.pop(rollout.id, None)
        try:
            self._mirror(rollout)
        except Exception:  # likewise
            log.exception("mirror_not_ended", rollout=rollout.id)
        self._driven.discard(rollout.id)
        self._evidence.pop(rollout.id, None)
        self._broken.pop(rollout.id, None)
        log.info("rollout_ended", rollout=rollout.id, state=rollout.state, reason=rollout.note)

    async def _after_failure(self, rollout: Rollout, error: Exception) -> Rollout:
        """Tell of a step that failed, wait, and return the rollout as it stands: it is repeated."""
        is_known = isinstance(error, BasculeError)
        log.warning(
            "rollout_step_failed", rollout=rollout.id, error=str(error), exc_info=not is_known
        )
        what = str(error) if is_known else f"the engine failed ({type(error).__name__}: {error})"
        self._broken[rollout.id] = (
            f"{what}: it is tried again every second; see the controller's log, or end it "
            f"(bascule rollout abort {rollout.model})"
        )
        await asyncio.sleep(AFTER_ERROR_S)
        try:
            return await asyncio.to_thread(self._book.one, rollout.id)
        except Exception:  # likewise; the next step says what is wrong
            log.exception("rollout_not_read", rollout=rollout.id)
            return rollout

    async def _evidence_of(self, rollout: Rollout) -> Evidence:
        """Return what was seen so far; after a start of the controller, what was kept of it."""
        if rollout.id not in self._evidence:
            _, transitions = await asyncio.to_thread(self._book.found, rollout.id)
            self._evidence[rollout.id] = Evidence(rollout, transitions)
        return self._evidence[rollout.id]

    async def _look(self, rollout: Rollout, evidence: Evidence) -> None:
        """Show the guardrails what happened since the last look, if it is time for one."""
        now_s = self._clock.monotonic_s()
        if not evidence.is_due(now_s, WINDOW_S):
            return
        shift = rollout.plan.guardrails.output_shift
        lives = await self._cluster.traffic(evidence.keys, with_outputs=shift)
        evidence.see(
            Look(
                at_s=now_s,
                lives=lives,
                workers=workers_of(self._cluster.observe(), rollout.candidate),
                compared=compared_by(self._cluster.comparisons(), rollout),
                elapsed_s=(self._clock.utc_now() - rollout.created_utc).total_seconds(),
                labels=await self._label_counts(rollout),
            )
        )

    async def _label_counts(self, rollout: Rollout) -> LabelCounts | None:
        """Count labelled requests in a thread: there may be a hundred thousand of them."""
        if self._labels is None or not rollout.plan.guardrails.label_loss:
            return None
        begun_s = rollout.created_utc.timestamp()
        return await asyncio.to_thread(
            self._labels.counts, rollout.candidate, rollout.from_version, begun_s
        )

    def _mirror_only(self, rollouts: Iterable[Rollout]) -> None:
        """Copy what these ask for and nothing else: workers may outlive a controller's orders."""
        found = {one.id: mirror_of(one) for one in rollouts}
        self._mirrors = {number: mirror for number, mirror in found.items() if mirror is not None}
        self._cluster.set_mirrors(tuple(self._mirrors.values()))

    def _mirror(self, rollout: Rollout) -> None:
        """Let calls be copied where the rollout compares answers, and no longer."""
        mirror = mirror_of(rollout)
        if mirror == self._mirrors.get(rollout.id):
            return
        mirrors = {number: one for number, one in self._mirrors.items() if number != rollout.id}
        if mirror is not None:
            mirrors[rollout.id] = mirror
        self._cluster.set_mirrors(tuple(mirrors.values()))
        self._mirrors = mirrors  # if that failed, it is tried again

    async def _step(self, rollout: Rollout, evidence: Evidence) -> Rollout:
        """Make the change that is due, or wait a little; return the rollout as it stands."""
        evidence.move(rollout)
        self._mirror(rollout)
        if rollout.state is not RolloutState.PENDING:  # nobody has anything to compare yet
            await self._look(rollout, evidence)
        sight = self._sight(rollout, evidence)
        change = next_change(rollout, sight, self._clock.utc_now())
        if change is not None:
            if rollout.state in COMPARED_STATES or change.state in COMPARED_STATES:
                change = replace(change, evidence=evidence.kept(change.state))
            elif change.state is RolloutState.VERIFYING:
                change = replace(change, evidence=as_loaded(self._loop.snapshot, rollout))
            after = await self._record(rollout, change, ENGINE)
            if after is not None:
                # Of what is compared, the next change says when edges obeyed.
                if after.state not in COMPARED_STATES | ENDED:
                    await asyncio.sleep(STEP_S)
                return after
        else:
            await asyncio.sleep(pause_s(rollout))
        return await asyncio.to_thread(self._book.one, rollout.id)

    async def _record(self, rollout: Rollout, change: Change, who: str) -> Rollout | None:
        """Record a change, and return when all edges obey what follows from it."""
        began = change.state is RolloutState.PREFLIGHT  # a failure of before is no verdict on now
        after = await self._loop.change(
            lambda: self._book.record(rollout, change, who),
            forget=rollout.model if began else None,
        )
        if after is not None:
            log.info(
                "rollout_changed",
                rollout=rollout.id,
                version=str(rollout.candidate),
                state=after.state,
                step=after.step,
                who=who,
                reason=change.reason,
            )
            async with self._changed:
                self._changed.notify_all()
        return after

    def _sight(self, rollout: Rollout, evidence: Evidence) -> Sight:
        verdict = evidence.verdict() if rollout.state in COMPARED_STATES else NOTHING_COMPARED
        snapshot, key = self._loop.snapshot, rollout.candidate
        record = snapshot.versions.get(key)
        failure = self._loop.failure(key)
        state = self._loop.usable_state(key)
        old = rollout.from_version
        served = state is VersionState.READY
        is_switched = rollout.state is RolloutState.SWITCHED and old is not None
        return Sight(
            live=live_of(self._loop, rollout.model),
            candidate=state if served or not failure else VersionState.UNAVAILABLE,
            candidate_reason=failure or (record.reason if record is not None else ""),
            is_old_ready=old is None or is_ready(self._loop, VersionKey(rollout.model, old)),
            is_obeyed=is_obeyed(snapshot, rollout),
            has_sequences=any(
                has_sequences(snapshot, VersionKey(rollout.model, number))
                for number in (rollout.to_version, old or 0)
            ),
            old_sequence_count=self._loop.sequence_count(VersionKey(rollout.model, old))
            if is_switched and old is not None
            else None,
            breaks=broken_by(snapshot, rollout.model, old, rollout.to_version) if served else "",
            missing_approval_count=rollout.missing_approval_count,
            ruling=verdict.ruling,
            ruling_reason=verdict.reason,
            call_count=evidence.call_count(),
        )

    async def _wait(self, event: asyncio.Event, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await event.wait()
        except TimeoutError:
            return


def pause_s(rollout: Rollout) -> float:
    """Return how long to wait before the next look: people approve, and edges hurry."""
    return NEWS_S if rollout.state is RolloutState.PENDING else LOOK_S
