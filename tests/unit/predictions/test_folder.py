"""Segments in a folder: room, age, and what dead writers leave."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.predictions.folder import Bounds, NoRoomError, SegmentFolder, created_ms
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


def test_a_full_room_is_no_room(tmp_path: Path) -> None:
    """Where open segments take all there may be, one more writer is refused."""
    clock, folder = Clock(), _folder(tmp_path, segments=2)
    writers = [_writer(folder, clock, f"w-{number}") for number in range(3)]
    for writer in writers[:2]:
        writer.write(1, encode_frame(2, b"a"))

    with pytest.raises(NoRoomError, match="BASCULE_PREDICTION_LOG_BYTES"):
        writers[2].write(1, encode_frame(2, b"a"))


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
