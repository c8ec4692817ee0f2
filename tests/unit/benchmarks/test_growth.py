"""How cost grows: what a request is said to have cost."""

import pytest

from benchmarks.growth.loading import point_of
from benchmarks.load_tools import Measured


def test_what_was_spent_is_shared_among_all_requests_that_were_sent() -> None:
    """Those of the warm-up are among them, however much slower they were."""
    found = Measured(requests_per_s=100, p50_s=0.01, p99_s=0.02, sent_count=250)

    assert point_of(found, 5.0, series="s", size=1).cpu_s == pytest.approx(0.02)
    idle = Measured(requests_per_s=0, p50_s=0, p99_s=0, failures="Socket errors")
    assert point_of(idle, 5.0, series="s", size=1).cpu_s == 0
