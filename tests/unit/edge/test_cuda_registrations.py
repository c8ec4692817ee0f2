"""What of a registration of GPU memory is refused before a worker is asked."""

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.edge.cuda_regions import checked_region, decoded_handle
from serving.edge.node_gpus import node_gpus
from serving.wire.region_table import CudaRegion

GPUS = ("3", "1")


@given(
    length=st.integers(0, 130),
    device=st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 3),
    size=st.integers(0, 2**64 - 1) | st.integers(0, 2),
)
def test_only_what_can_be_meant_is_let_through(length: int, device: int, size: int) -> None:
    """64 bytes of a handle, one of the GPUs and at least a byte; every other one is refused."""
    asked = CudaRegion(name="r", handle=bytes(length), device=device, size_bytes=size, serial=1)
    is_good = length == 64 and 0 <= device < len(GPUS) and 1 <= size < 2**63
    try:
        assert checked_region(asked, GPUS) == asked
    except InvalidArgumentError:
        assert not is_good
    else:
        assert is_good


@given(st.binary(max_size=80))
def test_handles_come_as_base64(handle: bytes) -> None:
    """What a client encodes is decoded to the same bytes."""
    assert decoded_handle(base64.b64encode(handle).decode()) == handle


@given(st.text(max_size=8) | st.integers() | st.none())
def test_any_other_text_is_refused_or_bytes(text: object) -> None:
    """Nothing but an error of the caller comes of what is no base64."""
    with suppress(InvalidArgumentError):
        assert isinstance(decoded_handle(text), bytes)


@pytest.mark.parametrize("hidden", ["", "-1", "NoDevFiles"])
def test_hidden_gpus_are_none(hidden: str) -> None:
    """A machine whose GPUs are hidden has none to share."""
    assert node_gpus(hidden) == ()


def test_the_order_of_the_variable_counts() -> None:
    """Clients count GPUs as the server sees them."""
    assert node_gpus("3,1") == GPUS
