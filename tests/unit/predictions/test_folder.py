"""Segments in a folder: room, age, and what dead writers leave."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.predictions.folder import Bounds, FolderFullError, SegmentFolder, created_ms
from serving.predictions.segment import encode_frame, read_frames
from serving.predictions.writing import RecordTooLargeError, SegmentWriter

SEGMENT = 1000
SOURCE = encode_frame(1, b"source")


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now_ns = 10**18

    def __call__(self) -> int:
        """Nanoseconds; every look takes a millisecond, so that names differ."""
        self.now_ns += 1_000_000
        return self.now_ns


def _folder(path: Path, segments: int = 4, retention_s: float = 1e9) -> SegmentFolder:
    bounds = Bounds(max_bytes=segments * SEGMENT, segment_bytes=SEGMENT, retention_s=retention_s)
    return SegmentFolder(path, bounds)


def _writer(
    folder: SegmentFolder, clock: Callable[[], int], stem: str = "w-1", seal_s: float = 1e9
) -> SegmentWriter:
    writer = SegmentWriter(folder, stem, seal_s=seal_s, now_ns=clock)
    writer.put_source(1, SOURCE)
    return writer


def _finished(folder: Path, clock: Clock, *, size: int) -> Path:
    """Write a finished segment."""
    path = folder / f"{clock() // 1_000_000:013d}-other-1.seg"
    path.write_bytes(bytes(size))
    return path


def _heads(path: Path) -> list[bytes]:
    return [bytes(frame.head) for frame in read_frames(path.read_bytes())]


def test_the_log_stays_within_its_bound(tmp_path: Path) -> None:
    """However much is written by however many, the folder never has more, and keeps the newest."""
    clock, folder = Clock(), _folder(tmp_path)
    writers = [_writer(folder, clock, f"w-{number}") for number in range(2)]
    most = 0
    for count in range(200):
        writers[count % 2].write(1, encode_frame(2, b"%04d" % count, [bytes(150)]))
        most = max(most, sum(path.stat().st_size for path in tmp_path.glob("*-*")))
    kept = [head for path in sorted(tmp_path.glob("*-*")) for head in _heads(path)]

    assert most <= 4 * SEGMENT
    assert b"0199" in kept
    assert b"0000" not in kept
    assert all(_heads(path)[0] == b"source" for path in tmp_path.glob("*-*"))


def test_old_segments_go(tmp_path: Path) -> None:
    """What is older than the retention is removed when a segment begins."""
    clock, folder = Clock(), _folder(tmp_path, retention_s=60.0)
    writer = _writer(folder, clock)
    writer.write(1, encode_frame(2, b"old"))
    old = writer.seal()
    assert old is not None
    os.utime(old, (clock.now_ns / 1e9,) * 2)
    clock.now_ns += 61 * 10**9
    writer.write(1, encode_frame(2, b"new"))

    assert not old.exists()
    assert len(list(tmp_path.glob("*-*"))) == 1


def test_a_dead_writers_segment_is_finished(tmp_path: Path) -> None:
    """A segment whose writer is gone is taken over as it is; one that is written is left alone."""
    clock, folder = Clock(), _folder(tmp_path)
    alive = _writer(folder, clock, "alive")
    alive.write(1, encode_frame(2, b"a"))
    dead = tmp_path / f"{clock() // 1_000_000:013d}-dead-1.open"
    dead.write_bytes(b"".join(encode_frame(2, b"d"))[:-1])
    _writer(folder, clock, "other").write(1, encode_frame(2, b"o"))

    assert dead.with_suffix(".seg").exists()
    assert len(list(tmp_path.glob("*.open"))) == 2


def test_a_full_room_is_no_room_and_costs_nothing(tmp_path: Path) -> None:
    """Where others' open segments take all there may be, one more is refused; nothing goes."""
    clock, folder = Clock(), _folder(tmp_path, segments=2)
    writers = [_writer(folder, clock, f"w-{number}") for number in range(3)]
    for writer in writers[:2]:
        writer.write(1, encode_frame(2, b"a", [bytes(900)]))
    finished = _finished(tmp_path, clock, size=1)

    with pytest.raises(FolderFullError, match="BASCULE_PREDICTION_LOG_BYTES"):
        writers[2].write(1, encode_frame(2, b"a"))
    assert finished.exists()


def test_open_segments_count_as_large_as_they_are(tmp_path: Path) -> None:
    """Many writers of little leave finished segments alone, as there is room for all."""
    clock, folder = Clock(), _folder(tmp_path)
    finished = _finished(tmp_path, clock, size=100)
    writers = [_writer(folder, clock, f"w-{number}") for number in range(20)]
    for writer in writers:
        writer.write(1, encode_frame(2, b"a"))

    assert finished.exists()
    assert len(list(tmp_path.glob("*.open"))) == 20
    assert folder.take_removed() == []


def test_a_writer_gives_up_its_own_oldest_records(tmp_path: Path) -> None:
    """Where only its own segment is in the way, that one is finished and makes room."""
    clock, folder = Clock(), _folder(tmp_path, segments=1)
    writer = _writer(folder, clock)
    for number in range(50):
        writer.write(1, encode_frame(2, b"%02d" % number, [bytes(100)]))

    assert sum(path.stat().st_size for path in tmp_path.glob("*-*")) <= SEGMENT
    (path,) = tmp_path.glob("*.open")
    assert _heads(path)[-1] == b"49"


def test_what_goes_before_its_time_is_told_once(tmp_path: Path) -> None:
    """A segment that made room can still be read by whoever counts it; an old one is no loss."""
    clock, folder = Clock(), _folder(tmp_path, segments=1, retention_s=60.0)
    now_ms = clock() // 1_000_000
    old, young = (_finished(tmp_path, clock, size=SEGMENT) for _ in range(2))
    young.write_bytes(b"".join(encode_frame(2, b"young", [bytes(SEGMENT)])))
    os.utime(old, (now_ms / 1e3 - 61,) * 2)
    os.utime(young, (now_ms / 1e3,) * 2)
    with folder.locked():
        folder.make_room(now_ms)
    removed = folder.take_removed()

    assert not list(tmp_path.glob("*-*"))
    assert [one.name for one in removed] == [young.name]
    assert [bytes(frame.head) for frame in read_frames(removed[0].content)] == [b"young"]
    assert folder.take_removed() == []


def test_old_segments_go_although_nothing_begins(tmp_path: Path) -> None:
    """Bounds hold for a log that nobody writes any more; where there is none, none is made."""
    clock, folder = Clock(), _folder(tmp_path / "log", retention_s=60.0)
    folder.keep_bounds(0)
    assert not folder.path.exists()
    folder.path.mkdir()
    old = _finished(folder.path, clock, size=1)
    os.utime(old, (clock.now_ns / 1e9 - 61,) * 2)
    folder.keep_bounds(clock.now_ns // 1_000_000)

    assert not old.exists()


@pytest.mark.parametrize("end", [".seg", ".open"])
def test_others_may_be_faster(tmp_path: Path, end: str) -> None:
    """Segments that vanish between a look and the next are no error: they were moved, or sealed."""
    gone = _finished(tmp_path, Clock(), size=1).with_suffix(end)
    gone.unlink(missing_ok=True)
    gone.symlink_to(tmp_path / "nothing")
    folder = _folder(tmp_path)
    with folder.locked():
        folder.make_room(0, grown=1)

    assert folder.take_removed() == []


def test_a_segment_is_named_before_it_is_let_go(tmp_path: Path) -> None:
    """Nobody finds an open segment without its writer's lock while that one finishes it."""
    clock = Clock()
    seen: list[bool] = []

    class Watched(SegmentFolder):
        def finish(self, path: Path) -> Path:
            with path.open("rb") as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen.append(True)
            return super().finish(path)

    writer = _writer(Watched(tmp_path, _folder(tmp_path).bounds), clock)
    writer.write(1, encode_frame(2, b"a"))
    writer.seal()

    assert seen == [True]


def test_a_segment_that_cannot_be_cut_is_left(tmp_path: Path) -> None:
    """After a half record that stays, records go to another segment, so all of them can be read."""
    writer = _writer(_folder(tmp_path), Clock())
    writer.write(1, encode_frame(2, b"a"))
    (first,) = tmp_path.glob("*.open")
    links = Path("/proc/self/fd").iterdir()
    descriptor = next(int(link.name) for link in links if link.resolve() == first)
    held = os.dup(descriptor)
    reader = os.open(first, os.O_RDONLY)
    os.dup2(reader, descriptor)  # neither can it be written nor cut off any more
    os.close(reader)
    with pytest.raises(OSError, match=r"."):
        writer.write(1, encode_frame(2, b"lost"))
    os.close(held)
    writer.write(1, encode_frame(2, b"b"))
    sealed = writer.seal()

    assert sealed is not None
    assert _heads(sealed) == [b"source", b"b"]
    assert _heads(first.with_suffix(".seg")) == [b"source", b"a"]


def test_a_forgotten_source_is_gone(tmp_path: Path) -> None:
    """What was closed takes no memory; what was told anew is written again."""
    writer = _writer(_folder(tmp_path), Clock())
    writer.write(1, encode_frame(2, b"a"))
    writer.put_source(1, encode_frame(1, b"better"))
    writer.write(1, encode_frame(2, b"b"))
    writer.forget_source(1)
    with pytest.raises(KeyError):
        writer.write(1, encode_frame(2, b"c"))
    sealed = writer.seal()

    assert sealed is not None
    assert _heads(sealed) == [b"source", b"a", b"better", b"b"]


def test_a_batch_that_fits_no_segment_is_refused(tmp_path: Path) -> None:
    """It changes nothing of what is there."""
    writer = _writer(_folder(tmp_path), Clock())
    writer.write(1, encode_frame(2, b"a"))

    with pytest.raises(RecordTooLargeError):
        writer.write(1, encode_frame(2, b"b", [bytes(SEGMENT)]))
    sealed = writer.seal()
    assert sealed is not None
    assert _heads(sealed) == [b"source", b"a"]


def test_segments_are_finished_by_age(tmp_path: Path) -> None:
    """An old segment is finished although nothing comes; the next record begins another one."""
    clock = Clock()
    writer = _writer(_folder(tmp_path), clock, seal_s=5.0)
    writer.write(1, encode_frame(2, b"a"))
    assert writer.seal_if_old() is None
    clock.now_ns += 6 * 10**9
    sealed = writer.seal_if_old()
    writer.write(1, encode_frame(2, b"b"))

    assert sealed is not None
    assert created_ms(sealed.name) > 0
    assert _heads(sealed) == [b"source", b"a"]
    assert len(list(tmp_path.glob("*-*"))) == 2


def test_many_buffers_are_one_batch(tmp_path: Path) -> None:
    """More buffers than one system call takes are written in order."""
    folder = SegmentFolder(
        tmp_path, Bounds(max_bytes=1 << 24, segment_bytes=1 << 22, retention_s=1e9)
    )
    writer = _writer(folder, Clock())
    parts = [part for number in range(1500) for part in encode_frame(2, b"%04d" % number, [b"x"])]
    writer.write(1, parts)
    sealed = writer.seal()

    assert sealed is not None
    assert _heads(sealed)[1:] == [b"%04d" % number for number in range(1500)]


def test_other_names_are_no_segments() -> None:
    """Locks and foreign files have no time."""
    assert created_ms(".lock") == created_ms("1-a.txt") == created_ms("x-1.seg") == 0


def test_a_segment_that_somebody_removed_takes_no_more_records(tmp_path: Path) -> None:
    """What an open file without a name gets, nobody could read: the next record begins another."""
    place = tmp_path / "log"
    clock, folder = Clock(), _folder(place)
    writer = _writer(folder, clock)
    writer.write(1, encode_frame(2, b"before"))
    shutil.rmtree(place)

    for head in (b"first", b"second"):
        writer.write(1, encode_frame(2, head))

    (segment,) = place.glob("*-*")
    assert _heads(segment) == [b"source", b"first", b"second"]


def test_a_clock_that_was_set_back_begins_another_segment(tmp_path: Path) -> None:
    """Records are looked for in segments of their time: one that begins later hides them."""
    clock = Clock()
    writer = _writer(_folder(tmp_path), clock)
    writer.write(1, encode_frame(2, b"before"))
    clock.now_ns -= 20_000_000_000
    writer.write(1, encode_frame(2, b"a little before"))
    clock.now_ns -= 3_600_000_000_000
    writer.write(1, encode_frame(2, b"an hour before"))

    first, second = sorted(tmp_path.glob("*-*"))
    assert _heads(first) == [b"source", b"an hour before"]
    assert _heads(second) == [b"source", b"before", b"a little before"]
    assert created_ms(first.name) * 1_000_000 <= clock.now_ns


def test_what_was_written_before_the_clock_was_set_back_goes_first(tmp_path: Path) -> None:
    """Its name says that it is younger than now, and all that comes now would go in its place."""
    clock, folder = Clock(), _folder(tmp_path)
    ahead = [_finished(tmp_path, clock, size=SEGMENT) for _ in range(3)]
    clock.now_ns -= 3_600_000_000_000
    now = _finished(tmp_path, clock, size=SEGMENT)

    folder.make_room(clock() // 1_000_000, grown=SEGMENT)

    assert {*tmp_path.glob("*-*")} == {*ahead[1:], now}
