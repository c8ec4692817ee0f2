"""The regions of a node, as its front desk tells them to its workers and writes them down. Pure."""

import msgspec


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A registered part of a POSIX shared-memory object."""

    name: str
    key: str
    offset: int
    size_bytes: int
    device: int
    """With `inode`, which object it was: another one of the same key is another region."""
    inode: int


class CudaRegion(msgspec.Struct, frozen=True, kw_only=True):
    """Registered memory of a client on a GPU."""

    name: str
    handle: bytes
    """CUDA's handle for other processes, 64 bytes."""
    device: int
    """Counts the GPUs that the server sees."""
    size_bytes: int
    serial: int
    """The table's revision when it came: the same handle registered again is another region."""


class RegionTable(msgspec.Struct, frozen=True, kw_only=True):
    """All of them; a later revision replaces an earlier one as a whole."""

    instance: str = ""
    revision: int = 0
    regions: tuple[Region, ...] = ()
    cuda: tuple[CudaRegion, ...] = ()
    """No two of either kind share a name."""


class RegionFault(msgspec.Struct, frozen=True, kw_only=True):
    """A region that a worker cannot open."""

    name: str
    reason: str
