"""A pause of Python's garbage collector ends with its block, and with none that others began."""

import gc

import pytest

from serving.collector_pause import paused_collector


def test_nothing_is_collected_within_the_block() -> None:
    """Also when it fails, the collector works again afterwards."""

    def fail() -> None:
        with paused_collector():
            assert not gc.isenabled()
            raise ValueError("spoilt")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="spoilt"):
        fail()
    assert gc.isenabled()


def test_a_pause_within_a_pause_does_not_end_it() -> None:
    """Who began it ends it."""
    with paused_collector():
        with paused_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
