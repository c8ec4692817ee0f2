"""Parts of shared-memory regions: what is within, and what no arithmetic can bring within."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.wire.region_table import Region, RegionTable
from serving.wire.regions import NoRegions, RegionSpan, region_span
from serving.worker.regions import OpenRegion, OpenRegions

numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**64), st.integers(2**62, 2**65))


def region(size_bytes: int, offset: int = 0) -> Region:
    """A region of an object that does not exist."""
    return Region(name="r", key="/r", offset=offset, size_bytes=size_bytes, device=0, inode=0)


@given(st.integers(1, 300), st.integers(0, 300), numbers, numbers)
def test_only_what_is_within_has_a_place(size: int, base: int, offset: int, length: int) -> None:
    """A part has a place exactly if its begin and its end are within the region."""
    opened = OpenRegion(region(size, base), -1)
    place = None
    with suppress(InvalidArgumentError):
        place = opened.place(RegionSpan("r", offset, length))
    assert place == (base + offset if offset + length <= size else None)


@given(st.integers(-(2**63), 2**63 - 1), st.none() | st.integers(-(2**63), 2**63 - 1))
def test_negative_numbers_are_refused(offset: int, size: int | None) -> None:
    """GRPC carries signed numbers; only those that can be meant become a part."""
    try:
        span = region_span("r", offset, size)
    except InvalidArgumentError:
        assert offset < 0 or (size or 0) < 0
    else:
        assert size is None or (span.offset, span.size_bytes) == (offset, size)


def test_nothing_is_known_without_a_table() -> None:
    """A name that nobody registered is not found, with shared memory on or off."""
    for regions in (NoRegions(), OpenRegions(1 << 20)):
        for use in (regions.check, regions.read):
            with pytest.raises(NotFoundError, match="Unable to find shared memory region: 'r'"):
                use(RegionSpan("r", 0, 4))
        with pytest.raises(NotFoundError, match="Unable to find shared memory region: 'r'"):
            regions.write(RegionSpan("r", 0, 4), b"abcd")


def test_a_region_that_cannot_be_opened_is_told() -> None:
    """The fault goes back to who told of it, and to every call that uses the region."""
    regions = OpenRegions(1 << 20)
    table = RegionTable(
        revision=2,
        regions=(
            Region(name="r", key="/bascule-test-none", offset=0, size_bytes=8, device=0, inode=0),
        ),
    )
    (fault,) = regions.replace(table)
    assert "Unable to open shared memory region: '/bascule-test-none'" in fault.reason
    with pytest.raises(InvalidArgumentError, match="Unable to open"):
        regions.check(RegionSpan("r", 0, 4))


def test_an_older_table_changes_nothing() -> None:
    """Tables may overtake each other on their way; the newest one counts."""
    regions = OpenRegions(1 << 20)
    regions.replace(RegionTable(revision=3))
    assert regions.replace(RegionTable(revision=2, regions=(region(8),))) == ()
    with pytest.raises(NotFoundError):
        regions.check(RegionSpan("r", 0, 4))
