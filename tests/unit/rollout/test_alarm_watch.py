"""Who watches over calls: all workers' calls are one, news is told once, and never lost."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from runtimes.errors import EngineError
from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.monitor.alarms.service_signs import Promise
from serving.monitor.alarms.silence import Heard
from serving.monitor.traffic import TrafficCounters, TrafficDelta
from serving.monitor.vitals import VersionVitals
from serving.rollout.alarm_watch import AlarmWatch, WatchedRows
from serving.rollout.ports import WorkerState
from tests.fakes.cluster import version_spec

KEY = VersionKey("m", 1)
STRICT = Promise(availability=0.999, threshold_s=0.1, fast_share=0.99)


@dataclass
class Clock:
    """A clock that a test moves."""

    at_s: float = 0.0

    def monotonic_s(self) -> float:
        """Seconds."""
        return self.at_s

    def utc_now(self) -> datetime:
        """The same, as a date."""
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.at_s)


@dataclass
class Workers:
    """What `AlarmWatch` asks of a cluster."""

    faults: dict[str, int] = field(default_factory=dict)
    age_s: float = 0.0
    """How long they have hosted the version."""

    def observe(self) -> Mapping[str, list[WorkerState]]:
        """Each worker has counted some faults."""
        return {"d1": [_worker(name, count, self.age_s) for name, count in self.faults.items()]}


@dataclass
class Book:
    """Remembers what is told; can be away."""

    told: list[tuple[VersionKey, str, str]] = field(default_factory=list)
    is_away: bool = False

    def announce(self, key: VersionKey, kind: str, data: Mapping[str, object]) -> None:
        """Take in an alarm."""
        if self.is_away:
            raise EngineError("the catalog is away")
        self.told.append((key, kind, str(data["alarm"])))


def _worker(name: str, faults: int, age_s: float) -> WorkerState:
    counters = TrafficCounters(
        model="m",
        version=1,
        began_ns=1,
        age_s=age_s,
        counted=TrafficDelta(fault_count=faults),
    )
    return WorkerState(
        address=WorkerAddress(name, "here", f"/run/{name}.sock"),
        pool="d1",
        pid=1,
        state="ready",
        vitals=(VersionVitals(traffic=counters),),
    )


def looked(
    workers: Workers, book: Book, clock: Clock, heard: Mapping[VersionKey, Heard] | None = None
) -> AlarmWatch:
    """A watch over one version."""
    return AlarmWatch(
        workers,  # type: ignore[arg-type]  # it asks for no more than that
        lambda: {KEY: version_spec(KEY)},
        lambda _: STRICT,
        WatchedRows(heard=lambda: heard or {}, rows_per_s=1000.0),
        book,  # type: ignore[arg-type]  # the same
        clock,
    )


def look(watch: AlarmWatch, clock: Clock, workers: Workers, **faults: int) -> None:
    """Look again after five seconds."""
    clock.at_s += 5
    workers.faults.update(faults)
    asyncio.run(watch.look())


def test_two_workers_faults_are_one_alarm_and_told_once() -> None:
    """Six faults of each are over the least number that rings, together; later ones are no news."""
    workers, book, clock = Workers(), Book(), Clock()
    watch = looked(workers, book, clock)
    look(watch, clock, workers, a=6)
    assert book.told == []
    look(watch, clock, workers, b=6)
    look(watch, clock, workers, a=60, b=60)
    assert book.told == [(KEY, "slo.burn", "availability")]
    assert [one.sign.name for one in watch.standing] == ["availability"]


def test_an_alarm_that_could_not_be_told_is_told_when_the_catalog_is_back() -> None:
    """A look that fails loses nothing, and the log has each alarm once, however long it is away."""
    workers, book, clock = Workers(), Book(is_away=True), Clock()
    watch = looked(workers, book, clock)
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(EngineError):
                look(watch, clock, workers, a=20)
        book.is_away = False
        look(watch, clock, workers)
    assert book.told == [(KEY, "slo.burn", "availability")]
    assert [line["event"] for line in lines] == ["alarm"]


def test_a_version_that_nobody_can_watch_for_drift_is_an_alarm() -> None:
    """Its reference cannot be read: receivers hear of it, though no call comes."""
    workers, book, clock = Workers(), Book(), Clock()
    watch = looked(workers, book, clock, {KEY: Heard(trouble="it is damaged")})
    for _ in range(20):
        look(watch, clock, workers)
    assert book.told == [(KEY, "monitor.silent", "drift")]


def test_a_restarted_controller_counts_nothing_that_was_before_it() -> None:
    """Faults of an hour ago, in a worker that lived on, are history."""
    workers, book, clock = Workers(), Book(), Clock(at_s=1_000.0)
    watch = looked(workers, book, clock)
    workers.age_s = 3_600.0
    look(watch, clock, workers, a=500)
    assert watch.standing == ()
