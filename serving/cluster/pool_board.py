"""What pools' replicas have said, and what they shall hear: the controller's half of their channel.

Serve tells nobody where a replica's worker listens, and a handle cannot address all replicas of a
deployment. So replicas call the controller, again and again: what they report is also their
heartbeat, and the call is answered as soon as there is something new for them (long poll). Who has
not called for `SILENCE_S` is forgotten. The last worker of a pool is only no longer called ready
then: its replica is silent, which does not mean that it is, so it keeps its routes for longer and
HAProxy looks after it. All methods run on the controller's one event loop.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from serving.clock import Clock
from serving.cluster.attention import LOST_S, SILENCE_S, Attention
from serving.cluster.bell import Bell
from serving.edge.routes import RouteTable
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport, merge_comparisons
from serving.monitor.drift.stream import DriftReport, joined
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.mirroring import MirrorOrder, PoolPlace, mirror_orders
from serving.rollout.ports import HostedVersion, Mirror, PoolSpec, WorkerState
from serving.worker.control import TrafficQuestion

QUESTION_S: Final = 10.0
"""Counters are asked for every second or so; after so long nobody wants them any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOrder:
    """What the workers of a pool shall host from now on."""

    revision: int
    versions: tuple[VersionSpec, ...]
    mirrors: tuple[MirrorOrder, ...] | None = None
    """What they shall copy and compare; None: nobody has said it yet, what was said holds."""
    mirror_key: str = ""
    """What copies on their way to another node are recognised by."""
    question: TrafficQuestion | None = None
    """Which versions' counters their reports shall carry; None: of none."""


@dataclass(slots=True)
class _Pool:
    order: PoolOrder | None = None
    workers: dict[str, tuple[WorkerState, float]] = field(default_factory=dict)


class PoolBoard:
    """Orders for pools, and the workers that reported themselves."""

    def __init__(self, clock: Clock, *, first_revision: int) -> None:
        """Start empty.

        Args:
            clock: Tells who has been silent for too long.
            first_revision: Above every revision that an earlier controller gave out.
        """
        self._clock = clock
        self._attention = Attention(clock)
        self._revision = first_revision
        self._pools: dict[str, _Pool] = {}
        self._mirrors: tuple[Mirror, ...] | None = None
        self._mirror_key = secrets.token_urlsafe()
        self._questions: dict[VersionKey, tuple[float, bool]] = {}
        self._news_for_pools = Bell()
        self.news = Bell()
        """Rings when a worker reported something new, or was forgotten."""

    def order(self, pool: str, versions: tuple[VersionSpec, ...]) -> None:
        """Say what a pool's workers shall host; an unchanged order disturbs nobody."""
        entry = self._pools.setdefault(pool, _Pool())
        if entry.order is not None and entry.order.versions == versions:
            return
        mirrors = None if entry.order is None else entry.order.mirrors
        self._give(entry, versions, mirrors)
        self._place_mirrors()

    def recall(self, spec: PoolSpec, routes: RouteTable) -> None:
        """Take over a pool of an earlier controller, and the workers that its routes name.

        Until they report they count as silent, as if they had done so a moment ago: calls go on.
        """
        self.order(spec.pool, spec.versions)
        served = HostedVersion(state=VersionState.READY)  # in which form, they will tell
        hosted = {
            version.key: served
            for version in spec.versions
            if (route := routes.versions.get(version.key)) is not None and route.pool == spec.pool
        }
        heard_s = self._attention.now_s()
        for address in routes.pools.get(spec.pool, ()):
            state = WorkerState(
                address=address, pool=spec.pool, pid=0, state="silent", versions=hosted
            )
            self._pools[spec.pool].workers[address.worker] = (state, heard_s)

    def forget(self, pool: str) -> None:
        """Drop a pool that was stopped; late reports of its workers are ignored."""
        self._pools.pop(pool, None)
        self._place_mirrors()
        self.news.ring()

    def set_mirrors(self, mirrors: Sequence[Mirror]) -> None:
        """Say which calls are copied and compared from now on."""
        self._mirrors = tuple(mirrors)
        self._place_mirrors()

    def comparisons(self) -> Sequence[ComparisonReport]:
        """Return what is known of each pair that is compared."""
        return merge_comparisons(
            report
            for workers in self.observe().values()
            for state in workers
            for report in state.comparisons
        )

    def ask_traffic(self, question: TrafficQuestion) -> None:
        """Let the reports of those versions' workers carry their counters, for some time."""
        until_s = self._clock.monotonic_s() + QUESTION_S
        self._questions |= dict.fromkeys(question.keys, (until_s, question.with_outputs))
        self._hand_questions()

    def _hand_questions(self) -> None:
        """Tell every pool what is asked of it by now."""
        now_s = self._clock.monotonic_s()
        self._questions = {key: one for key, one in self._questions.items() if one[0] > now_s}
        for entry in self._pools.values():
            if entry.order is None:
                continue
            keys = tuple(v.key for v in entry.order.versions if v.key in self._questions)
            with_outputs = any(self._questions[key][1] for key in keys)
            asked = TrafficQuestion(keys=keys, with_outputs=with_outputs) if keys else None
            if entry.order.question != asked:
                self._revision += 1
                entry.order = replace(entry.order, revision=self._revision, question=asked)
                self._news_for_pools.ring()

    async def exchange(
        self, pool: str, state: WorkerState, known_revision: int, wait_s: float
    ) -> PoolOrder | None:
        """Take a worker's report; return the pool's order once it differs from the known one."""
        self._hear(pool, state)
        end_s = self._clock.monotonic_s() + wait_s
        while True:
            entry = self._pools.get(pool)
            if entry is not None and entry.order and entry.order.revision != known_revision:
                return entry.order
            left_s = end_s - self._clock.monotonic_s()
            if left_s <= 0:
                return None
            await self._news_for_pools.wait(left_s)

    def leave(self, pool: str, worker: str) -> None:
        """Forget one worker at once: it is about to end."""
        entry = self._pools.get(pool)
        if entry is not None and entry.workers.pop(worker, None) is not None:
            self._place_mirrors()
            self.news.ring()

    def observe(self) -> Mapping[str, Sequence[WorkerState]]:
        """Return the workers of every known pool, without those that are gone.

        One whose replica fell silent is `silent`: in the routes, and of no known load.
        """
        if self._questions:
            self._hand_questions()
        now_s = self._attention.now_s()
        for pool, entry in self._pools.items():
            for worker in _silent(entry.workers, now_s):
                self.leave(pool, worker)
        return {
            pool: tuple(
                state if at_s >= now_s - SILENCE_S else _unheard(state)
                for state, at_s in entry.workers.values()
            )
            for pool, entry in self._pools.items()
        }

    def _hear(self, pool: str, state: WorkerState) -> None:
        entry = self._pools.get(pool)
        if entry is None:
            return
        before = entry.workers.get(state.address.worker)
        if before is not None:  # of drift a report has only what is new
            known = (one for one in before[0].drift if _key(one) in state.versions)
            state = replace(state, drift=joined(tuple(known), state.drift))
        entry.workers[state.address.worker] = (state, self._attention.now_s())
        if before is None:
            self._place_mirrors()
        if before is None or _steady(before[0]) != _steady(state):
            self.news.ring()

    def _place_mirrors(self) -> None:
        """Tell the pools that have a part in it what is copied to which workers."""
        if self._mirrors is None:
            return
        places = {
            pool: PoolPlace(
                versions=frozenset(version.key for version in entry.order.versions),
                workers=tuple(state.address for state, _ in entry.workers.values()),
            )
            for pool, entry in self._pools.items()
            if entry.order is not None
        }
        for pool, place in places.items():
            entry = self._pools[pool]
            orders = mirror_orders(self._mirrors, places, place.versions)
            if entry.order is not None and entry.order.mirrors != orders:
                self._give(entry, entry.order.versions, orders)

    def _give(
        self,
        entry: _Pool,
        versions: tuple[VersionSpec, ...],
        mirrors: tuple[MirrorOrder, ...] | None,
    ) -> None:
        self._revision += 1
        entry.order = PoolOrder(
            revision=self._revision,
            versions=versions,
            mirrors=mirrors,
            mirror_key=self._mirror_key,
            question=None if entry.order is None else entry.order.question,
        )
        self._news_for_pools.ring()


def _silent(workers: Mapping[str, tuple[WorkerState, float]], now_s: float) -> Sequence[str]:
    serves = any(
        state.state == "ready" and at_s >= now_s - SILENCE_S for state, at_s in workers.values()
    )
    limit_s = SILENCE_S if serves else LOST_S
    return [worker for worker, (_, at_s) in workers.items() if at_s < now_s - limit_s]


def _unheard(state: WorkerState) -> WorkerState:
    return replace(state, state="silent", loads=())


def _key(report: DriftReport) -> VersionKey:
    return VersionKey(report.model, report.version)


def _steady(state: WorkerState) -> WorkerState:
    """The report without what always changes: memory and counters alone are no news."""
    return replace(state, rss_bytes=0, comparisons=(), traffic=(), drift=(), vitals=(), loads=())
