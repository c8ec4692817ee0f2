"""How cost grows: what a request is said to have cost, and beside what it is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.growth import idle, models
from benchmarks.growth.loading import point_of
from benchmarks.growth.point import Point
from benchmarks.load_tools import Measured


def test_what_was_spent_is_shared_among_all_requests_that_were_sent() -> None:
    """Those of the warm-up are among them, however much slower they were."""
    found = Measured(requests_per_s=100, p50_s=0.01, p99_s=0.02, sent_count=250)

    assert point_of(found, 5.0, series="s", size=1).cpu_s == pytest.approx(0.02)
    idle = Measured(requests_per_s=0, p50_s=0, p99_s=0, failures="Socket errors")
    assert point_of(idle, 5.0, series="s", size=1).cpu_s == 0


def test_each_instance_that_is_measured_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle ones would cost CPU time beside it; counts still take turns, round by round."""
    running: list[Path] = []
    measured: list[int] = []

    @contextmanager
    def started(repository: Path) -> Iterator[Path]:
        running.append(repository)
        yield repository
        running.remove(repository)

    def loaded(instance: Path, _: object, *, series: str, size: int) -> Point:
        assert running == [instance]
        measured.append(size)
        return Point(series=series, size=size, per_s=1, p50_s=1, p99_s=1)

    monkeypatch.setattr(models, "running_instance", started)
    monkeypatch.setattr(models, "loaded", loaded)

    assert len(list(models.measure([1, 2], rounds=2, seconds=1))) == 8
    assert measured == [1, 1, 2, 2, 1, 1, 2, 2]
    assert running == []


def test_idle_connections_fit_what_open_files_allow() -> None:
    """The busy ones have room beside them, and no count is measured twice."""
    assert idle.fitting([1, 1000, 10_000], 20_000) == (1, 1000, 10_000)
    assert idle.fitting([1, 1000, 10_000], 7_642) == (1, 1000, 7_500)
    assert idle.fitting([1, 1000, 10_000], 700) == (1, 500)
    assert idle.fitting([1, 1000], 300) == (1, 150)
