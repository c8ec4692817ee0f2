"""The controller's watch for drift: what cannot be watched is said, and tried again."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PosixPath

import pytest
from structlog.testing import capture_logs

from runtimes.errors import EngineError
from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.monitor.drift.block_sums import BlockSums
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.samples import drift_samples
from serving.monitor.drift.storage import to_bytes
from serving.monitor.drift.stream import DriftReport, RunningTotal
from serving.monitor.drift.view import VersionDrift, WatchState
from serving.monitor.drift_order import DriftOrder
from serving.registry.version import VersionSpec
from serving.rollout.drift.reference_file import LONGEST_PAUSE_S, ReferenceFile
from serving.rollout.drift.watch import DriftWatch
from serving.rollout.ports import WorkerState
from tests.fakes.cluster import version_spec
from tests.fakes.drift_rows import blocks_of, drawn_columns, learnt, numbers_of, with_numbers

KEY = VersionKey("m", 1)
PROFILE = learnt(1_000)


@dataclass
class Workers:
    """What `DriftWatch` asks of a cluster."""

    reports: tuple[DriftReport, ...] = ()

    def observe(self) -> Mapping[str, list[WorkerState]]:
        """One worker reports."""
        worker = WorkerState(
            address=WorkerAddress("a", "here", "/run/a.sock"),
            pool="d1",
            pid=1,
            state="ready",
            drift=self.reports,
        )
        return {"d1": [worker]}


@dataclass
class Book:
    """Remembers what is told; can be away."""

    told: list[VersionKey] = field(default_factory=list)
    is_away: bool = False

    def tell(self, key: VersionKey, data: Mapping[str, object]) -> None:
        """Take in an alarm."""
        del data
        if self.is_away:
            raise EngineError("the catalog is away")
        self.told.append(key)


class CountedPath(PosixPath):
    """Counts how often it is read."""

    read_count = 0

    def read_bytes(self) -> bytes:
        """Read it."""
        self.read_count += 1
        return super().read_bytes()


@dataclass(frozen=True, kw_only=True)
class OneReference(DriftOrder):
    """All versions have it."""

    path: Path

    def reference_of(self, spec: VersionSpec) -> Path:
        """Return this very path."""
        del spec
        return self.path


class StandingClock:
    """No time goes by."""

    def monotonic_s(self) -> float:
        """Seconds."""
        return 0.0

    def utc_now(self) -> datetime:
        """The same, as a date."""
        return datetime.fromtimestamp(0, UTC)


@dataclass
class Place:
    """A watch over one version that has a reference, or learns one."""

    file: Path
    is_learnt: bool = False
    workers: Workers = field(default_factory=Workers)
    book: Book = field(default_factory=Book)
    order: DriftOrder | None = None

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        spec = version_spec(KEY, reference="" if self.is_learnt else str(self.file))
        plain = DriftOrder(rows_per_s=1000.0, folder=str(self.file.parent), learn_rows=500)
        self.watch = DriftWatch(
            self.workers,  # type: ignore[arg-type]  # it asks for no more than that
            lambda: {KEY: spec},
            self.order or plain,
            self.book,  # type: ignore[arg-type]  # the same
            StandingClock(),
        )

    def look(self) -> VersionDrift:
        """Look once; return what is shown then."""

        async def looked() -> VersionDrift:
            await self.watch.look()
            (found,) = await self.watch.view()
            return found

        return asyncio.run(looked())


def report(profile: Profile, blocks: list[BlockSums]) -> DriftReport:
    """What a worker says that has counted these blocks."""
    total = RunningTotal("e")
    for number, block in enumerate(blocks):
        total.add(block, float(number))
    return DriftReport(
        model="m", version=1, digest=profile.digest, epoch="e", records=total.after(0)
    )


def test_a_reference_that_cannot_be_read_is_told_and_read_again(tmp_path: Path) -> None:
    """Gone or damaged, it is a trouble of the version; once it is there, rows are watched."""
    place = Place(tmp_path / "reference.drift")
    with capture_logs() as lines:
        gone, _ = place.look(), place.look()
        told = place.watch.heard()[KEY]
        place.file.write_bytes(b"nothing")
        damaged = place.look()
        place.file.write_bytes(to_bytes(PROFILE))
        mended = place.look()

    assert [one.state for one in (gone, damaged)] == [WatchState.FAILED] * 2
    assert (told.trouble, told.is_learnt) == (gone.reason, False)
    assert "No such file" in gone.reason
    assert mended.state is WatchState.WAITING
    assert place.watch.heard()[KEY].trouble == ""
    assert [line["event"] for line in lines] == ["drift_reference_not_read"] * 2


def test_a_damaged_reference_is_not_read_at_every_look(tmp_path: Path) -> None:
    """It may be large, on a slow disk, and says what it said; once it is another file, it is."""
    path = CountedPath(tmp_path / "reference.drift")
    order = OneReference(rows_per_s=1000.0, folder=str(tmp_path), path=path)
    place = Place(path, order=order)
    path.write_bytes(b"nothing")
    damaged = [place.look().state for _ in range(3)]
    count = path.read_count
    path.write_bytes(to_bytes(PROFILE))

    assert (damaged, count) == ([WatchState.FAILED] * 3, 1)
    assert place.look().state is WatchState.WAITING


def test_a_file_that_stays_as_it_is_is_read_after_longer_and_longer(tmp_path: Path) -> None:
    """A disk may be able to read it later; asked every second for an hour, it is read seldom."""
    path, file = CountedPath(tmp_path / "reference.drift"), ReferenceFile()
    path.write_bytes(b"nothing")
    counts = []
    for now_s in range(3_600):
        assert file.read(path, float(now_s)) is None
        counts.append(path.read_count)

    assert counts[:8] == [1, 1, 2, 2, 2, 2, 3, 3]
    assert counts[-1] - counts[-1 - int(LONGEST_PAUSE_S)] == 1


def test_a_file_that_was_changed_is_read_at_once(tmp_path: Path) -> None:
    """However long the pause is by then: it was not there, was damaged, and is mended."""
    path, file = CountedPath(tmp_path / "reference.drift"), ReferenceFile()
    gone = [file.read(path, now_s) for now_s in (0.0, 10.0, 20.0, 20.5)]
    path.write_bytes(b"nothing")
    damaged = [file.read(path, 21.0), file.read(path, 21.5)]
    path.write_bytes(to_bytes(PROFILE))
    found = file.read(path, 22.0)

    assert (gone, damaged, path.read_count) == ([None] * 4, [None] * 2, 5)
    assert found is not None
    assert file.trouble == ""


def test_what_a_worker_cannot_watch_is_a_trouble_until_it_is_over(tmp_path: Path) -> None:
    """It learns again then, which is no trouble."""
    place = Place(tmp_path / "none", is_learnt=True)
    place.workers.reports = (DriftReport(model="m", version=1, trouble="nothing to learn from"),)
    failed, told = place.look(), place.watch.heard()
    place.workers.reports = (DriftReport(model="m", version=1, learnt_rows=7),)
    again = place.look()

    assert (failed.state, failed.reason) == (WatchState.FAILED, "nothing to learn from")
    assert (told[KEY].trouble, told[KEY].is_learnt) == ("nothing to learn from", True)
    assert (again.state, again.rows) == (WatchState.LEARNING, 7)
    assert place.watch.heard() == {}


def test_a_reference_that_only_workers_cannot_use_is_a_trouble(tmp_path: Path) -> None:
    """The controller reads it: what the workers say counts all the same, until it is over."""
    place = Place(tmp_path / "reference.drift")
    place.file.write_bytes(to_bytes(PROFILE))
    place.workers.reports = (DriftReport(model="m", version=1, trouble="no input 'c'"),)
    failed, told = place.look(), place.watch.heard()[KEY]
    place.workers.reports = (report(PROFILE, []),)
    again = place.look()

    assert (failed.state, failed.reason) == (WatchState.FAILED, "no input 'c'")
    assert (told.trouble, told.is_learnt) == ("no input 'c'", False)
    assert (again.state, place.watch.heard()[KEY].trouble) == (WatchState.WAITING, "")


def test_one_worker_that_cannot_watch_is_told_of_while_others_do(tmp_path: Path) -> None:
    """What those count, and what was found in it, is there as before."""
    place = Place(tmp_path / "reference.drift")
    place.file.write_bytes(to_bytes(PROFILE))
    place.look()
    counting = report(PROFILE, blocks_of(PROFILE, drawn_columns(5, 640)))
    place.workers.reports = (counting, DriftReport(model="m", version=1, trouble="no input 'c'"))
    found, told = place.look(), place.watch.heard()[KEY]
    samples = {one.metric.name: one.value for one in drift_samples([found])}

    assert (found.state, found.rows, told.rows) == (WatchState.FAILED, 640, 640)
    assert told.trouble == "1 of 2 workers do not watch its rows: no input 'c'"
    assert (samples["bascule_drift_failed"], samples["bascule_drift_rows_total"]) == (1, 640)


def test_an_alarm_is_logged_once_while_receivers_cannot_be_told(tmp_path: Path) -> None:
    """It is told when the catalog is back."""
    place = Place(tmp_path / "reference.drift", book=Book(is_away=True))
    place.file.write_bytes(to_bytes(PROFILE))
    columns = drawn_columns(5, 640)
    moved = with_numbers(columns, "c", numbers_of(columns, "c") + 20)
    place.look()
    place.workers.reports = (report(PROFILE, blocks_of(PROFILE, moved)),)
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(EngineError):
                place.look()
        place.book.is_away = False
        place.look()

    logged = [line for line in lines if line["event"] == "drift_alarm"]
    assert len(logged) == len(place.book.told) > 0
