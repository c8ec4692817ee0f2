"""What the report of too many calls counts as good, and as a fault."""

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.instance import instance_at
from benchmarks.load_tools import LoadError, Measured
from benchmarks.overload import BOUND_S, REFUSED, Stage, page, stages
from serving.cli.load.open_loop import ANSWERED, Call

STAGE = Stage(
    share=1.5,
    rate=3.0,
    seconds=2.0,
    calls=[
        Call(status=ANSWERED, took_s=BOUND_S),
        Call(status=ANSWERED, took_s=3 * BOUND_S),
        Call(status=REFUSED, took_s=0.002, has_retry_after=True),
        Call(status=REFUSED, took_s=0.002),
        Call(status=0, took_s=30.0),
        Call(status=500, took_s=0.1),
    ],
    memory_bytes=(1 << 20, 2 << 20),
)


def test_an_answer_that_comes_late_is_not_good() -> None:
    """Goodput is what came in time; a latency is one of all answers."""
    assert STAGE.good_per_s() == 0.5
    assert STAGE.times_s(ANSWERED) == [BOUND_S, 3 * BOUND_S]


def test_a_refusal_says_when_to_come_back() -> None:
    """One that does not is a fault, as is anything but an answer or a refusal."""
    assert STAGE.faults() == 3
    assert "| 1.50 | 3 | 0 | 0.25 |" in page([STAGE])
    assert "| 2.0 | 2.0 | 3 | 1 → 2 |" in page([STAGE])


def test_refused_calls_are_no_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed loop with failures says nothing of how much can be answered."""
    broken = Measured(requests_per_s=9e3, p50_s=1e-3, p99_s=1e-3, failures="Non-2xx: 7")
    monkeypatch.setattr("benchmarks.overload.http_load", lambda *_: broken)
    instance = instance_at(tmp_path, http="127.0.0.1:1", grpc="127.0.0.1:2")
    options = Namespace(capacity_s=1.0, shares=[1.0], seconds=1.0)

    with pytest.raises(LoadError, match="Non-2xx: 7"):
        stages(instance, options, tmp_path)
