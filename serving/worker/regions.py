"""Shared-memory regions in this process: opened when the front desk says so, read and written.

A client may truncate or unlink its object at any time, and a touch of a mapped page behind the new
end would kill this process (SIGBUS). So nothing is mapped: bytes are copied by `preadv` and
`pwrite`, which fail politely, into memory of our own, where nobody changes them after they were
checked. That is the copy into the batch's place that a request over a socket costs as well.

Regions on GPUs (`serving.worker.cuda_regions`) stand in the same table and go the same ways.

A worker that comes back reads the table that the front desk has written, when its control channel
is open and before it takes calls: a later change reaches it there.
"""

import asyncio
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np
import structlog

from runtimes.errors import InvalidArgumentError
from serving.wire.region_table import CudaRegion, Region, RegionFault, RegionTable
from serving.wire.regions import Buffer, RegionSpan, checked_offset, unknown_region
from serving.worker.body import too_large
from serving.worker.cuda_regions import CudaOpener, OpenCudaRegion

log = structlog.get_logger(__name__)

FOLDER: Final = Path("/dev/shm")  # noqa: S108  where the C library's shm_open opens
NOTHING_OPENED: Final[Mapping[str, OpenCudaRegion]] = MappingProxyType({})
FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class OpenRegion:
    """One region; its file descriptor lives as long as this object."""

    is_elsewhere = False
    """A fault of it is one, since system memory is on every side of the machine."""

    def __init__(self, region: Region, descriptor: int, fault: str = "") -> None:
        """Take a descriptor over, or the reason why there is none."""
        self.region = region
        self.fault = fault
        self._descriptor = descriptor

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def place(self, span: RegionSpan) -> int:
        """Return where a part begins in the object.

        Raises:
            InvalidArgumentError: It is not within the region.
        """
        if self.fault:
            raise InvalidArgumentError(self.fault)
        return self.region.offset + checked_offset(span, self.region.size_bytes)

    def read(self, span: RegionSpan) -> memoryview:
        """Copy a part out.

        Raises:
            InvalidArgumentError: It is not within the region, or not any more.
        """
        at = self.place(span)
        self._check_size(at + span.size_bytes)  # before memory is taken
        view = np.empty(span.size_bytes, np.uint8).data
        done = 0
        while done < span.size_bytes:
            count = os.preadv(self._descriptor, [view[done:]], at + done)
            if count == 0:
                raise self._shrunk()
            done += count
        return view.toreadonly()

    def write(self, span: RegionSpan, content: Buffer) -> None:
        """Copy bytes in.

        Raises:
            InvalidArgumentError: They do not fit into the region, or not any more.
        """
        at = self.place(span)
        self._check_size(at + len(content))  # a write would make the object longer again
        left = memoryview(content)
        try:
            while left:
                count = os.pwrite(self._descriptor, left, at)
                left, at = left[count:], at + count
        except OSError as error:
            raise InvalidArgumentError(
                f"Unable to write to shared memory region: '{self.region.name}': {error.strerror}"
            ) from error

    def _check_size(self, end: int) -> None:
        if os.fstat(self._descriptor).st_size < end:
            raise self._shrunk()

    def _shrunk(self) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"Invalid offset + byte size for shared memory region: '{self.region.name}': its "
            "object has become shorter since it was registered"
        )


class OpenRegions:
    """Implements `serving.wire.regions.Regions`. Belongs to the loop's thread."""

    def __init__(self, max_bytes: int, cuda: CudaOpener | None = None) -> None:
        """Know none.

        Args:
            max_bytes: Of an input.
            cuda: Opens regions on GPUs.
        """
        self._max_bytes = max_bytes
        self._cuda = cuda or CudaOpener()
        self._open: dict[str, OpenRegion | OpenCudaRegion] = {}
        self._revision = -1
        self._lock = asyncio.Lock()

    def check(self, span: RegionSpan) -> None:
        """Say whether there is such a part."""
        self._found(span).place(span)

    def read(self, span: RegionSpan) -> Buffer:
        """Copy a part out of its region."""
        if span.size_bytes > self._max_bytes:
            raise too_large(span.size_bytes, self._max_bytes)
        return self._found(span).read(span)

    def write(self, span: RegionSpan, content: Buffer) -> None:
        """Copy bytes to the begin of a part."""
        self._found(span).write(span, content)

    def recall(self, file: Path) -> None:
        """Take the table that the front desk has written, if there is one."""
        try:
            self.replace(msgspec.json.decode(file.read_bytes(), type=RegionTable))
        except FileNotFoundError:
            return
        except (OSError, UnicodeError, msgspec.MsgspecError) as error:
            log.warning("regions_not_read", error=str(error))

    async def take(self, table: RegionTable) -> tuple[RegionFault, ...]:
        """Do as `replace`, and meanwhile keep the loop free: CUDA may take seconds to start."""
        if not table.cuda:
            return self.replace(table)
        async with self._lock:
            fresh = self._fresh(table) if table.revision > self._revision else []
            opened = await asyncio.to_thread(self._cuda.open_all, fresh)
            return self.replace(table, opened)

    def replace(
        self, table: RegionTable, opened: Mapping[str, OpenCudaRegion] = NOTHING_OPENED
    ) -> tuple[RegionFault, ...]:
        """Open what is new in a table and close what is not in it; an old table changes nothing.

        Args:
            table: The regions.
            opened: Regions on GPUs that were opened for it; the others are opened here.

        Returns:
            The regions of it that cannot be opened here.
        """
        if table.revision > self._revision:
            self._revision = table.revision
            wanted = {*table.regions, *table.cuda}
            for name, old in list(self._open.items()):
                if old.region not in wanted:
                    self._open.pop(name).close()
            for region in table.regions:
                if region.name not in self._open:
                    self._open[region.name] = open_region(region)
            self._open |= opened
            self._open |= self._cuda.open_all(self._fresh(table))
        else:
            for late in opened.values():
                late.close()
        return tuple(
            RegionFault(name=name, reason=found.fault)
            for name, found in self._open.items()
            if found.fault and not found.is_elsewhere
        )

    def _fresh(self, table: RegionTable) -> list[CudaRegion]:
        """Return the regions on GPUs that are not open yet."""
        known = {found.region for found in self._open.values()}
        return [region for region in table.cuda if region not in known]

    def _found(self, span: RegionSpan) -> OpenRegion | OpenCudaRegion:
        opened = self._open.get(span.region)
        if opened is None:
            raise unknown_region(span.region)
        return opened


def open_region(region: Region) -> OpenRegion:
    """Open the object that was registered, and no other one of its key."""
    try:
        descriptor = os.open(FOLDER / region.key.removeprefix("/"), FLAGS)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a name"
        return OpenRegion(region, -1, f"{_unable(region)}: {why}")
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) != (
        region.device,
        region.inode,
    ):
        os.close(descriptor)
        return OpenRegion(region, -1, f"{_unable(region)}: it is another object by now")
    return OpenRegion(region, descriptor)


def _unable(region: Region) -> str:
    return f"Unable to open shared memory region: '{region.key}' (region '{region.name}')"
