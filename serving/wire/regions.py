"""Tensors in shared memory: where a request says that they lie, and who reads and writes them.

Pure: the codecs ask a `Regions` for the bytes; who opens files stands elsewhere. A tensor is copied
out of its region when all that is known of it fits, so no client can change what was checked.
"""

from typing import Final, Protocol

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError

Buffer = bytes | memoryview

REGION: Final = "shared_memory_region"
BYTE_SIZE: Final = "shared_memory_byte_size"
NO_SIZE: Final = -1
OFFSET: Final = "shared_memory_offset"


class RegionSpan(msgspec.Struct, frozen=True):
    """A part of a registered region."""

    region: str
    offset: int
    size_bytes: int


class Regions(Protocol):
    """The regions that clients have registered."""

    def check(self, span: RegionSpan) -> None:
        """Say whether there is such a part.

        Raises:
            NotFoundError: There is no such region.
            InvalidArgumentError: The part is not within it, or it cannot be opened.
        """

    def read(self, span: RegionSpan) -> Buffer:
        """Copy a part out of its region.

        Raises:
            NotFoundError: There is no such region.
            InvalidArgumentError: The part is not within it, or not any more.
        """

    def write(self, span: RegionSpan, content: Buffer) -> None:
        """Copy bytes to the begin of a part, which has room for them.

        Raises:
            NotFoundError: There is no such region.
            InvalidArgumentError: The part is not within it, or not any more.
        """


class NoRegions:
    """What a worker has whose clients may not share memory with it."""

    def check(self, span: RegionSpan) -> None:
        """Find nothing."""
        raise unknown_region(span.region)

    def read(self, span: RegionSpan) -> Buffer:
        """Find nothing."""
        raise unknown_region(span.region)

    def write(self, span: RegionSpan, content: Buffer) -> None:  # noqa: ARG002  the port's signature
        """Find nothing."""
        raise unknown_region(span.region)


class RegionTensor:
    """The data of an input that lies in a region."""

    __slots__ = ("regions", "span")

    def __init__(self, regions: Regions, span: RegionSpan) -> None:
        """Check that there is such a part; nothing is read yet."""
        regions.check(span)
        self.regions = regions
        self.span = span

    def __len__(self) -> int:
        """Its bytes."""
        return self.span.size_bytes

    def read(self) -> Buffer:
        """Copy it out."""
        return self.regions.read(self.span)


def unknown_region(name: str) -> NotFoundError:
    """Return the error of a region that nobody has registered."""
    return NotFoundError(f"Unable to find shared memory region: '{name[:256]}'")


def region_span(region: str, offset: int | None, size_bytes: int | None) -> RegionSpan:
    """Build a span from what a request says; without a size no check lets it pass.

    Raises:
        InvalidArgumentError: A number is negative.
    """
    if size_bytes is None:
        return RegionSpan(region, offset or 0, NO_SIZE)
    if size_bytes < 0 or (offset or 0) < 0:
        raise InvalidArgumentError(
            f"Invalid offset + byte size for shared memory region: '{region[:256]}' (got offset "
            f"{offset or 0} and byte size {size_bytes})"
        )
    return RegionSpan(region, offset or 0, size_bytes)


def checked_offset(span: RegionSpan, size_bytes: int) -> int:
    """Return where a part begins in its region.

    Args:
        span: The part.
        size_bytes: Of the region.

    Raises:
        InvalidArgumentError: It is not within the region, or says no size.
    """
    if span.size_bytes == NO_SIZE:
        raise missing_size()
    if span.offset > size_bytes:
        raise InvalidArgumentError(
            f"Invalid offset for shared memory region: '{span.region}' ({span.offset} of "
            f"{size_bytes} bytes)"
        )
    if span.offset + span.size_bytes > size_bytes:
        raise InvalidArgumentError(
            f"Invalid offset + byte size for shared memory region: '{span.region}' "
            f"({span.offset} + {span.size_bytes} of {size_bytes} bytes)"
        )
    return span.offset


def missing_size() -> InvalidArgumentError:
    """Return the error of a span without a size."""
    return InvalidArgumentError(
        f"Unable to parse '{BYTE_SIZE}': attempt to access non-existing object member '{BYTE_SIZE}'"
    )


def output_too_small(name: str, span: RegionSpan, needed_bytes: int) -> InvalidArgumentError:
    """Return the error of an output that does not fit where it shall go."""
    return InvalidArgumentError(
        f"shared memory size specified with the request for output '{name}' ({span.size_bytes} "
        f"bytes) should be at least {needed_bytes} bytes to hold the results"
    )
