"""How many connections an edge holds."""

import pytest

from serving.edge.haproxy_process import connections_within


@pytest.mark.parametrize(
    ("descriptor_count", "least"), [(20_000, 10_000), (1 << 20, 20_000), (1_024, 700), (64, 100)]
)
def test_idle_connections_fit(descriptor_count: int, least: int) -> None:
    """A connection without a call needs one descriptor: most of them may be connections."""
    assert connections_within(descriptor_count) >= least
