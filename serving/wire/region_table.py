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


class RegionTable(msgspec.Struct, frozen=True, kw_only=True):
    """All of them; a later revision replaces an earlier one as a whole."""

    instance: str = ""
    revision: int = 0
    regions: tuple[Region, ...] = ()


class RegionFault(msgspec.Struct, frozen=True, kw_only=True):
    """A region that a worker cannot open."""

    name: str
    reason: str
