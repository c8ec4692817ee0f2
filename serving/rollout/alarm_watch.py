"""Watches calls and data of all versions for what people should know, and tells receivers of it.

::

    workers' vitals ──► per version: promises, contract, ages, silence ──► news ──► outbox

Reckoning and writing are done in a thread. What was told is in memory alone: a controller that
starts again tells what still stands once more.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from serving.clock import Clock
from serving.ids import VersionKey
from serving.monitor.alarms.latch import SignLatch, StandingAlarm
from serving.monitor.alarms.service_signs import Promise
from serving.monitor.alarms.sign import Sign
from serving.monitor.alarms.silence import Heard
from serving.monitor.alarms.vital_signs import VersionSigns
from serving.monitor.quality.report import QualityReport
from serving.monitor.traffic import (
    Lives,
    TrafficDelta,
    deltas,
    life_name,
    unanswered,
)
from serving.registry.announcing.alarm_book import AlarmBook
from serving.registry.version import VersionSpec
from serving.rollout.looking import look_always
from serving.rollout.ports import Cluster

LOOK_S: Final = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What workers said at one look."""

    lives: Lives = field(default_factory=dict)
    reports: Mapping[VersionKey, tuple[QualityReport, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedRows:
    """What the monitor of drift hears."""

    heard: Callable[[], Mapping[VersionKey, Heard]]
    """Of each version that it watches, or cannot watch."""
    rows_per_s: float
    """Rows that each worker watches, at most."""


class AlarmWatch:
    """One for each instance; belongs to the controller's loop."""

    def __init__(
        self,
        cluster: Cluster,
        wanted: Callable[[], Mapping[VersionKey, VersionSpec]],
        promise: Callable[[str], Promise],
        drift: WatchedRows,
        book: AlarmBook | None,
        clock: Clock,
    ) -> None:
        """Have seen nothing yet.

        Args:
            cluster: Whose workers are looked at.
            wanted: Which versions there are.
            promise: What callers of a model were promised.
            drift: What the monitor of drift has seen.
            book: Tells receivers; None: nobody is told.
            clock: Dates what is noticed.
        """
        self._cluster = cluster
        self._wanted = wanted
        self._promise = promise
        self._drift = drift
        self._book = book
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._lives: Lives = {}
        self._versions: dict[VersionKey, tuple[str, VersionSigns]] = {}
        self._latch = SignLatch()
        self._untold: list[tuple[VersionKey, Sign]] = []

    @property
    def standing(self) -> tuple[StandingAlarm, ...]:
        """What is wrong now."""
        return self._latch.standing

    async def run(self) -> None:
        """Watch until cancelled."""
        await look_always(self.look, LOOK_S, "alarms_not_watched")

    async def look(self) -> None:
        """Take in what workers say now, and tell what is news."""
        seen, wanted, heard = self._seen(), dict(self._wanted()), dict(self._drift.heard())
        await asyncio.to_thread(self._judge, seen, wanted, heard)

    def _seen(self) -> _Seen:
        workers = [one for pool in self._cluster.observe().values() for one in pool if one.vitals]
        lives = {
            life_name(one.address.worker, one.restart_count): tuple(
                each.traffic for each in one.vitals
            )
            for one in workers
        }
        reports: dict[VersionKey, tuple[QualityReport, ...]] = {}
        for each in (each for one in workers for each in one.vitals):
            if each.quality is not None:
                reports[each.key] = (*reports.get(each.key, ()), each.quality)
        return _Seen(lives=lives, reports=reports)

    def _judge(
        self,
        seen: _Seen,
        wanted: Mapping[VersionKey, VersionSpec],
        heard: Mapping[VersionKey, Heard],
    ) -> None:
        watched_s = self._clock.monotonic_s() - self._began_s
        came = deltas(self._lives, seen.lives, watched_s=watched_s)
        self._lives = {**unanswered(self._lives, seen.lives), **seen.lives}
        self._follow(wanted)
        now_s = self._clock.utc_now().timestamp()
        for key, (_, signs) in self._versions.items():
            found = signs.look(
                came.get(key, TrafficDelta()), seen.reports.get(key, ()), heard.get(key), now_s
            )
            for sign in self._latch.news(key, found, now_s):
                log.warning("alarm", version=str(key), kind=sign.kind, text=sign.text)
                self._untold.append((key, sign))
        self._latch.forget_settled(now_s)
        self._tell()

    def _follow(self, wanted: Mapping[VersionKey, VersionSpec]) -> None:
        now_s = self._clock.utc_now().timestamp()
        for key in self._versions.keys() - wanted.keys():
            del self._versions[key]
        for key, spec in wanted.items():
            known = self._versions.get(key)
            if known is None or known[0] != spec.digest:
                signs = VersionSigns(
                    self._promise(key.model),
                    spec.contract,
                    rows_per_s=self._drift.rows_per_s,
                    now_s=now_s,
                )
                self._versions[key] = (spec.digest, signs)

    def _tell(self) -> None:
        """Tell receivers; what cannot be told now is told at the next look."""
        while self._untold:
            key, sign = self._untold[0]
            if self._book is not None:
                self._book.announce(key, sign.kind, sign.to_json())
            del self._untold[0]
