"""How many connections an edge holds."""

import pytest

from serving.edge.haproxy_process import MAX_CONNECTIONS, connections_within


@pytest.mark.parametrize("descriptor_count", [1_024, 4_096, 20_000, 1 << 20])
def test_each_connection_may_have_a_call(descriptor_count: int) -> None:
    """A call takes a second descriptor, to the worker: without it, its caller would get 503."""
    held = connections_within(descriptor_count)
    assert 2 * held < descriptor_count
    assert held >= min(MAX_CONNECTIONS, descriptor_count // 3)
