"""Which regions on GPUs a worker opens, and what it says of the others."""

import asyncio

import pytest

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.wire.region_table import CudaRegion, RegionTable
from serving.wire.regions import RegionSpan
from serving.worker.cuda_regions import CudaOpener
from serving.worker.regions import OpenRegions

SPAN = RegionSpan("r", 0, 4)


def table(device: int, revision: int = 1) -> RegionTable:
    """One region on a GPU."""
    region = CudaRegion(name="r", handle=bytes(64), device=device, size_bytes=8, serial=revision)
    return RegionTable(revision=revision, cuda=(region,))


def test_memory_of_another_gpu_is_no_fault() -> None:
    """Other workers may see it; a call that names it here is told which GPU it is on."""
    regions = OpenRegions(1 << 20, CudaOpener(served="0,1", given="1"))

    assert asyncio.run(regions.take(table(device=0))) == ()

    for use in (regions.check, regions.read):
        with pytest.raises(InvalidArgumentError, match="is on GPU 0, which the worker of this"):
            use(SPAN)
    with pytest.raises(InvalidArgumentError, match="use memory of the model's GPU"):
        regions.write(SPAN, b"abcd")


def test_a_gpu_that_nobody_told_of_is_a_fault() -> None:
    """The registration fails with the region's name."""
    regions = OpenRegions(1 << 20, CudaOpener())

    (fault,) = asyncio.run(regions.take(table(device=0)))

    assert fault.reason.startswith("failed to register CUDA shared memory region 'r'")


def test_an_older_table_changes_nothing() -> None:
    """Tables may overtake each other on their way while CUDA opens one; the newest one counts."""
    regions = OpenRegions(1 << 20, CudaOpener(served="0,1", given="1"))
    asyncio.run(regions.take(RegionTable(revision=3)))

    assert asyncio.run(regions.take(table(device=0, revision=2))) == ()

    with pytest.raises(NotFoundError):
        regions.check(SPAN)
