"""The controller's part in watching for drift: gathers, decides once a version, tells.

::

    workers' sums ──► merged ──► decided ──► alarms ──► outbox (receivers), file (next controller)

The work is done in a thread, one look at a time, so the controller's loop stays free.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from serving.clock import Clock
from serving.edge.control import Asked
from serving.errors import NotFoundError
from serving.ids import VersionKey
from serving.monitor.alarms.silence import Heard
from serving.monitor.drift.alarm_book import AlarmBook
from serving.monitor.drift.latch import RENOTIFY_S
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.stream import DriftReport
from serving.monitor.drift.view import Acknowledgement, DriftAlarm, VersionDrift, WatchState
from serving.monitor.drift.watched import Origin, WatchedVersion, learnt_words
from serving.monitor.drift_order import DriftOrder
from serving.registry.aliases import Author
from serving.registry.announcing.drift_book import DriftBook
from serving.registry.version import VersionSpec
from serving.rollout.drift.alarm_file import AlarmFile, KeptAlarms
from serving.rollout.drift.reference_file import ReferenceFile
from serving.rollout.looking import look_always
from serving.rollout.ports import Cluster

LOOK_S: Final = 1.0
ALARMS: Final = "alarms.json"
"""Where alarms outlive this process, beside learnt references."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Entry:
    """One version that is watched."""

    spec: VersionSpec
    file: ReferenceFile = field(default_factory=ReferenceFile)
    watched: WatchedVersion | None = None
    """None: it has no reference yet."""
    untaken: str = ""
    """Why it has none, though it should."""
    learnt_rows: int = 0

    @property
    def trouble(self) -> str:
        """Why it cannot be watched, or not by all of its workers."""
        return self.untaken if self.watched is None else self.watched.failure


class DriftWatch:
    """Watches every wanted version that has a reference."""

    def __init__(
        self,
        cluster: Cluster,
        wanted: Callable[[], Mapping[VersionKey, VersionSpec]],
        order: DriftOrder,
        book: DriftBook | None,
        clock: Clock,
    ) -> None:
        """Have seen nothing yet.

        Args:
            cluster: Whose workers report.
            wanted: Which versions there are.
            order: What is watched.
            book: Tells receivers, and the audit log; None: nobody is told.
            clock: Dates what is noticed.
        """
        self._cluster = cluster
        self._wanted = wanted
        self._order = order
        self._file = AlarmFile(Path(order.folder) / ALARMS)
        self._book = book
        self._clock = clock
        self._entries: dict[VersionKey, _Entry] = {}
        self._untold: list[tuple[VersionKey, DriftAlarm]] = []
        self._alone = asyncio.Lock()

    async def run(self) -> None:
        """Watch until cancelled."""
        await look_always(self.look, LOOK_S, "drift_not_watched")

    async def look(self) -> None:
        """Take in what workers report now, and tell what is news."""
        reports: dict[VersionKey, list[DriftReport]] = {}
        for workers in self._cluster.observe().values():
            for worker in workers:
                for report in worker.drift:
                    key = VersionKey(report.model, report.version)
                    reports.setdefault(key, []).append(report)
        wanted = {k: spec for k, spec in self._wanted().items() if self._order.is_watched(spec)}
        async with self._alone:
            await asyncio.to_thread(self._judge, wanted, reports)

    def heard(self) -> dict[VersionKey, Heard]:
        """Return what is heard of each version that is watched, or cannot be; others learn."""
        return {
            key: Heard(
                rows=0 if entry.watched is None else entry.watched.rows,
                trouble=entry.trouble,
                is_learnt=not entry.spec.reference,
            )
            for key, entry in tuple(self._entries.items())  # another thread follows
            if entry.watched is not None or entry.trouble
        }

    def profiles(self) -> dict[VersionKey, Profile]:
        """Return what the rows of each version that is watched are compared with."""
        return {
            key: entry.watched.profile
            for key, entry in tuple(self._entries.items())  # another thread follows
            if entry.watched is not None
        }

    async def view(self, model: str | None = None) -> tuple[VersionDrift, ...]:
        """Describe the versions that are watched, of a model or all."""
        async with self._alone:
            return await asyncio.to_thread(self._views, model)

    async def acknowledge(
        self, model: str, version: int | None, alarm: str, asked: Asked
    ) -> tuple[DriftAlarm, ...]:
        """Note that somebody has seen alarms of a model; return which.

        Raises:
            NotFoundError: It has no open alarm that nobody has seen, or none of that name.
        """
        async with self._alone:
            return await asyncio.to_thread(self._acknowledge, model, version, alarm, asked)

    def _judge(
        self,
        wanted: Mapping[VersionKey, VersionSpec],
        reports: Mapping[VersionKey, Sequence[DriftReport]],
    ) -> None:
        self._follow(wanted)
        now_s = self._now_s()
        for key, entry in self._entries.items():
            told = reports.get(key, ())
            if entry.watched is not None:
                for alarm in entry.watched.take(told, now_s):
                    text = alarm.text
                    log.warning("drift_alarm", version=str(key), feature=alarm.feature, text=text)
                    self._untold.append((key, alarm))
            else:
                entry.learnt_rows = max((one.learnt_rows for one in told), default=0)
                heard = next((one.trouble for one in told if one.trouble), "")
                entry.untaken = entry.untaken or heard
        self._tell()
        self._save()  # after it: an alarm may be told twice, but never be lost

    def _follow(self, wanted: Mapping[VersionKey, VersionSpec]) -> None:
        """Read the references that are not known; forget versions that are not wanted any more.

        One that cannot be read now may be mended, or reached, by the next look.
        """
        for key in self._entries.keys() - wanted.keys():
            del self._entries[key]
        for key, spec in wanted.items():
            entry = self._entries.get(key)
            if entry is None or entry.spec.digest != spec.digest:
                entry = _Entry(spec=spec)
            if entry.watched is None:
                before = entry.file.trouble
                self._entries[key] = entry = self._opened(spec, entry.file)
                if entry.untaken not in {"", before}:
                    log.warning("drift_reference_not_read", version=str(key), error=entry.untaken)

    def _opened(self, spec: VersionSpec, file: ReferenceFile) -> _Entry:
        reference = self._order.reference_of(spec)
        if reference is None:
            return _Entry(spec=spec)
        profile = file.read(reference, self._clock.monotonic_s())
        if profile is None:
            return _Entry(spec=spec, file=file, untaken=file.trouble)
        kept = self._file.of(spec.key, profile.digest)
        subject = f"{spec.model} v{spec.version}"
        said_s = spec.policy.drift.renotify_s
        book = AlarmBook(
            subject,
            renotify_s=RENOTIFY_S if said_s is None else said_s,
            alarms=kept.alarms,
            counts=kept.counts,
        )
        origin = Origin(
            name=reference.name if spec.reference else learnt_words(profile.baseline.rows),
            is_learnt=not spec.reference,
        )
        return _Entry(spec=spec, watched=WatchedVersion(profile, book, origin, spec.policy.drift))

    def _save(self) -> None:
        changed = {
            key: entry.watched
            for key, entry in self._entries.items()
            if entry.watched is not None and entry.watched.book.has_changed
        }
        if not changed:
            return
        self._file.save({key: _kept(key, watched) for key, watched in changed.items()})
        for watched in changed.values():
            watched.book.has_changed = False

    def _tell(self) -> None:
        """Tell receivers; what cannot be told now is told at the next look."""
        while self._untold:
            key, alarm = self._untold[0]
            if self._book is not None:
                self._book.tell(key, event_data(alarm))
            del self._untold[0]

    def _views(self, model: str | None) -> tuple[VersionDrift, ...]:
        now_s = self._now_s()
        found: list[VersionDrift] = []
        for key, entry in sorted(self._entries.items()):
            if model not in {None, key.model}:
                continue
            if entry.watched is None:
                found.append(self._without_reference(key, entry))
            else:
                found.append(entry.watched.view(key.model, key.version, now_s))
        return tuple(found)

    def _without_reference(self, key: VersionKey, entry: _Entry) -> VersionDrift:
        wanted = self._order.rows_to_learn(entry.spec)
        learns = f"{entry.learnt_rows:,} of the first {wanted:,} rows for a reference"
        return VersionDrift(
            model=key.model,
            version=key.version,
            state=WatchState.FAILED if entry.trouble else WatchState.LEARNING,
            reason=entry.trouble or learns,
            reference=Path(entry.spec.reference).name or learnt_words(wanted),
            rows=entry.learnt_rows,
        )

    def _acknowledge(
        self, model: str, version: int | None, alarm: str, asked: Asked
    ) -> tuple[DriftAlarm, ...]:
        said = Acknowledgement(who=asked.who, reason=asked.reason, at_s=self._now_s())
        found: list[DriftAlarm] = []
        for key, entry in sorted(self._entries.items()):
            if key.model != model or version not in {None, key.version} or entry.watched is None:
                continue
            seen = entry.watched.book.acknowledge(said, alarm)
            if seen and self._book is not None:
                named = ", ".join(f"{one.id} {one.feature}" for one in seen)
                self._book.acknowledged(key, named, Author(who=asked.who, reason=asked.reason))
            found.extend(seen)
        if not found:
            raise NotFoundError(
                f"'{model}' has no open alarm {f'{alarm!r} ' if alarm else ''}that nobody has "
                f"acknowledged: see bascule drift {model}"
            )
        self._save()
        return tuple(found)

    def _now_s(self) -> float:
        return self._clock.utc_now().timestamp()


def event_data(alarm: DriftAlarm) -> dict[str, object]:
    """Write an alarm as the data of an event."""
    return {
        "alarm": alarm.id,
        "severity": alarm.severity,
        "kind": alarm.kind,
        "feature": alarm.feature,
        "text": alarm.text,
        "first_row_time": alarm.since_s,
        "detected_time": alarm.at_s,
        "count": alarm.count,
        **{name: value for name, value in alarm.evidence.items() if name != "severity"},
    }


def _kept(key: VersionKey, watched: WatchedVersion) -> KeptAlarms:
    return KeptAlarms(
        model=key.model,
        version=key.version,
        monitor_digest=watched.profile.digest,
        alarms=watched.book.alarms,
        counts=dict(watched.book.counts),
    )
