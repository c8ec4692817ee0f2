"""Finished segments go to another store, and stay within its bounds."""

from pathlib import Path

import fsspec
import pytest

from serving.predictions.folder import Bounds
from serving.predictions.moving import Mover
from serving.predictions.reading import Filter, PredictionReader

URL = "memory://log/of/this/test"
NOW_MS = 1_700_000_000_000


@pytest.fixture(autouse=True)
def empty_store() -> None:
    """Nothing is there."""
    store = fsspec.filesystem("memory")
    if store.exists("/log"):
        store.rm("/log", recursive=True)


def _segment(folder: Path, age_s: int, size: int = 100, end: str = ".seg") -> str:
    path = folder / f"{NOW_MS - age_s * 1000:013d}-w-1{end}"
    path.write_bytes(bytes(size))
    return path.name


def _there() -> set[str]:
    store = fsspec.filesystem("memory")
    return {Path(name).name for name in store.ls("/log/of/this/test", detail=False)}


def _mover(folder: Path, *, max_bytes: int = 1000, retention_s: float = 1e6) -> Mover:
    bounds = Bounds(max_bytes=max_bytes, segment_bytes=100, retention_s=retention_s)
    return Mover(folder, URL, bounds)


def test_finished_segments_are_moved(tmp_path: Path) -> None:
    """They are there and not here any more; one that is written stays; readers find both."""
    finished = _segment(tmp_path, 5)
    written = _segment(tmp_path, 1, end=".open")

    assert _mover(tmp_path).move(NOW_MS) == 1
    assert _there() == {finished}
    assert {path.name for path in tmp_path.glob("*-*")} == {written}
    reader = PredictionReader(str(tmp_path), URL)
    assert [segment.name for segment in reader.segments()] == [finished, written]
    assert list(reader.oldest(Filter())) == []


def test_the_store_stays_within_its_bounds(tmp_path: Path) -> None:
    """The oldest go first when there are too many bytes, and what is too old goes anyway."""
    names = [_segment(tmp_path, age_s) for age_s in (50, 40, 30, 20, 10)]
    _mover(tmp_path, max_bytes=300).move(NOW_MS)
    assert _there() == set(names[2:])

    newest = _segment(tmp_path, 1)
    _mover(tmp_path, retention_s=15).move(NOW_MS)
    assert _there() == {names[4], newest}


def test_what_was_written_before_the_clock_was_set_back_goes_first(tmp_path: Path) -> None:
    """Its name says that it is younger than now; what is too old goes all the same."""
    ahead = [_segment(tmp_path, -age_s) for age_s in (3000, 4000)]
    old, now = _segment(tmp_path, 90), _segment(tmp_path, 5)
    _mover(tmp_path, max_bytes=300).move(NOW_MS)
    assert _there() == {ahead[1], old, now}

    _segment(tmp_path, 4)
    _mover(tmp_path, retention_s=15).move(NOW_MS)
    assert old not in _there()


def test_nothing_to_move_asks_nobody(tmp_path: Path) -> None:
    """Without a finished segment the store is not even opened."""
    bounds = Bounds(max_bytes=1, segment_bytes=1, retention_s=1)

    assert Mover(tmp_path, "nosuchstore://x", bounds).move(NOW_MS) == 0


def test_old_segments_go_from_the_store_although_none_is_moved(tmp_path: Path) -> None:
    """Minutes after the last one was moved, what is too old by then goes."""
    _segment(tmp_path, 10)
    mover = _mover(tmp_path, retention_s=60)
    mover.move(NOW_MS)
    assert mover.move(NOW_MS + 100_000) == 0
    assert len(_there()) == 1
    mover.move(NOW_MS + 400_000)

    assert _there() == set()


def test_a_segment_that_is_moved_while_places_are_listed_is_read_once(tmp_path: Path) -> None:
    """It was open in the folder, and is finished in the store: its records are the same ones."""
    open_name = _segment(tmp_path, 10, end=".open")
    finished = _segment(tmp_path, 10)
    assert _mover(tmp_path).move(NOW_MS) == 1

    (found,) = PredictionReader(str(tmp_path), URL).segments()

    assert open_name.removesuffix(".open") == finished.removesuffix(".seg")
    assert found.name == finished
