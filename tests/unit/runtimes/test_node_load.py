"""What the kernel counts of a node's load is read, and what it does not say is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.node_load import read_load, stalled_us, throttling_of, ticks_of

PRESSURE = (
    "some avg10=5.60 avg60=8.84 avg300=9.78 total=15982866405\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
)
STAT = "cpu  10 20 30 40 5 1 2 8 100 0\ncpu0 1 2 3\n"


@pytest.mark.parametrize(
    ("text", "total"),
    [
        pytest.param(PRESSURE, 15982866405, id="a whole file"),
        pytest.param("", None, id="no file"),
        pytest.param("some avg10=0.00\n", None, id="without a total"),
        pytest.param("some total=x\n", None, id="no number"),
    ],
)
def test_stalls_are_those_of_some_task(text: str, total: int | None) -> None:
    """The line `some` counts, in microseconds."""
    assert stalled_us(text) == total


def test_stolen_time_is_a_part_of_all() -> None:
    """A guest's ticks are in its user's already and are not counted twice."""
    assert ticks_of(STAT) == (116, 8)
    assert ticks_of("cpu 1 2 3") is None
    assert ticks_of("") is None


def test_the_quota_that_binds_most_counts() -> None:
    """Of the folders above a process; one without a quota has no periods."""
    files = {
        "/cpu.stat": "nr_periods 0\nnr_throttled 0\n",
        "a/cpu.stat": "usage_usec 5\nnr_periods 10\nnr_throttled 3\n",
        "a/b/cpu.stat": "nr_periods 20\nnr_throttled 1\n",
    }

    assert throttling_of("0::/a/b", lambda name: files.get(name, "")) == (10, 3)
    assert throttling_of("0::/", lambda name: files.get(name, "")) is None


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    """Whatever a kernel writes there, reading it ends nothing."""
    stalled_us(text)
    ticks_of(text)
    throttling_of("0::/", lambda _: text)


def test_this_node_can_be_read() -> None:
    """Linux tells its ticks everywhere."""
    assert read_load().ticks is not None
