"""The node's table of shared-memory regions: registered here, known to every worker before a reply.

    register ─► checked, opened once ─► file written ─► every worker of the node told ─► reply

The file is for workers that are not there at this moment: they read it when their control channel
is open, so between the two no change is missed. A worker that cannot open a region, or is silent,
makes the registration fail as a whole. Regions on GPUs go the same way; the front desk
opens none of those.

Longer than most files: a table of two kinds of memory that share their names is one thing.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.edge.cuda_regions import CUDA_OFF, checked_region
from serving.edge.routes import WorkerAddress
from serving.edge.system_regions import MAX_NAME_BYTES, checked_key, opened_region
from serving.errors import AlreadyRegisteredError, NotFoundError, NotReadyError
from serving.local_http import LocalHttp
from serving.wire.region_table import CudaRegion, Region, RegionFault, RegionTable

log = structlog.get_logger(__name__)

TELL_LIMIT_S: Final = 20.0
"""A worker that opens its first memory on a GPU starts CUDA: seconds, on a cold node. One that
others keep from its processor is late, not gone."""
AnyRegion = TypeVar("AnyRegion", Region, CudaRegion)
MAX_REGIONS: Final = 1024
SHARED_MEMORY_OFF: Final = (
    "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPolicy:
    """Whether clients may share memory, and which."""

    is_on: bool = False
    prefixes: tuple[str, ...] = ("/",)
    """A key starts with one of them; `/` is before every key."""
    is_cuda_on: bool = False
    """Whether they may share memory on GPUs."""
    gpus: tuple[str, ...] = ()
    """Those of this node, as a client's device id counts them."""


class RegionBook:
    """The table, and its way to the workers. Belongs to one event loop."""

    def __init__(self, policy: RegionPolicy, file: Path, instance: str) -> None:
        """Begin without regions.

        Args:
            policy: What is allowed.
            file: Where workers read the table that come later.
            instance: Whose table it is.
        """
        self._policy = policy
        self._file = file
        self._table = RegionTable(instance=instance)
        self._lock = asyncio.Lock()
        self._told: dict[WorkerAddress, int] = {}
        self._workers: tuple[WorkerAddress, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether system shared memory is served."""
        return self._policy.is_on

    def recall(self, *, keep: bool) -> None:
        """Take over what this instance's last edge has left, or clear what another one has."""
        try:
            table = msgspec.json.decode(self._file.read_bytes(), type=RegionTable)
        except (OSError, UnicodeError, msgspec.MsgspecError):
            return
        if keep and table.instance == self._table.instance:
            self._table = table
        else:
            self._file.unlink(missing_ok=True)

    @property
    def is_cuda_on(self) -> bool:
        """Whether CUDA shared memory is served."""
        return self._policy.is_cuda_on

    def system_status(self, name: str | None) -> Sequence[Region]:
        """Return one region of system memory, or all.

        Raises:
            NotFoundError: There is no such region of this kind.
        """
        return self._status(self._table.regions, name, "system", "CUDA")

    def cuda_status(self, name: str | None) -> Sequence[CudaRegion]:
        """Return one region on a GPU, or all.

        Raises:
            NotFoundError: There is no such region of this kind.
        """
        return self._status(self._table.cuda, name, "CUDA", "system")

    async def register_system(self, name: str, key: str, offset: int, size_bytes: int) -> None:
        """Make a region known to every worker of the node.

        Raises:
            UnsupportedError: Shared memory is off.
            AlreadyRegisteredError: The name is taken.
            InvalidArgumentError: The key is not allowed or cannot be opened, or its object is too
                short.
            NotReadyError: A worker did not take it in time; nothing is registered.
        """
        self.check("system")
        async with self._lock:
            self._check_name(name)
            region = opened_region(
                name, checked_key(key, self._policy.prefixes), offset, size_bytes
            )
            await self._add(name, regions=(*self._table.regions, region))

    async def register_cuda(self, name: str, handle: bytes, device: int, size_bytes: int) -> None:
        """Make memory on a GPU known to every worker of the node.

        Raises:
            UnsupportedError: CUDA shared memory is off.
            AlreadyRegisteredError: The name is taken.
            InvalidArgumentError: A number or the handle cannot be meant, or a worker that sees the
                GPU cannot open it.
            NotReadyError: A worker did not take it in time; nothing is registered.
        """
        self.check("cuda")
        async with self._lock:
            self._check_name(name)
            asked = CudaRegion(
                name=name,
                handle=handle,
                device=device,
                size_bytes=size_bytes,
                serial=self._table.revision + 1,
            )
            region = checked_region(asked, self._policy.gpus)
            await self._add(name, cuda=(*self._table.cuda, region))

    def check(self, kind: str) -> None:
        """Say whether regions of a kind can be registered.

        Raises:
            UnsupportedError: It is off.
        """
        if kind == "cuda" and self.is_on and not self.is_cuda_on:
            raise UnsupportedError(CUDA_OFF)
        if not (self.is_cuda_on if kind == "cuda" else self.is_on):
            raise UnsupportedError(SHARED_MEMORY_OFF)

    async def unregister(self, kind: str, name: str | None) -> None:
        """Forget one region, or all of a kind; an unknown name succeeds."""
        async with self._lock:
            left = self._without(name, kind)
            if left != (self._table.regions, self._table.cuda):
                await self._publish(*left)
                await self._tell_quietly()

    async def hear(self, workers: Iterable[WorkerAddress]) -> None:
        """Take workers that get calls soon; those that are new know every region on return.

        All others stay until `route_only`: they get calls until the edge obeys.
        """
        self._workers = tuple({*self._workers, *workers})
        if self._table.revision:
            async with self._lock:
                await self._tell_quietly()

    def route_only(self, workers: Iterable[WorkerAddress]) -> None:
        """Only these workers get calls now: forget all others."""
        self._workers = tuple(workers)

    async def _add(
        self,
        name: str,
        regions: tuple[Region, ...] | None = None,
        cuda: tuple[CudaRegion, ...] | None = None,
    ) -> None:
        """Publish a table with one more region; take it back if a worker cannot open it."""
        table = self._table
        await self._publish(
            table.regions if regions is None else regions, table.cuda if cuda is None else cuda
        )
        try:
            _raise_fault(await self._tell(self._workers), name)
        except (InvalidArgumentError, NotReadyError):
            await self._publish(table.regions, table.cuda)
            await self._tell_quietly()
            raise

    async def _publish(self, regions: tuple[Region, ...], cuda: tuple[CudaRegion, ...]) -> None:
        self._table = RegionTable(
            instance=self._table.instance,
            revision=self._table.revision + 1,
            regions=regions,
            cuda=cuda,
        )
        await asyncio.to_thread(_write, self._file, msgspec.json.encode(self._table))

    async def _tell(self, workers: Iterable[WorkerAddress]) -> list[RegionFault]:
        """Hand the table to workers that lack it; those that are away will read the file."""
        table = self._table
        late = [worker for worker in workers if self._told.get(worker) != table.revision]
        self._told = {worker: self._told.get(worker, 0) for worker in self._workers}
        body = msgspec.json.encode(table)
        async with asyncio.TaskGroup() as group:
            asked = {worker: group.create_task(_hand_over(worker, body)) for worker in late}
        faults: list[RegionFault] = []
        for worker, task in asked.items():
            answer = task.result()
            if answer is None:
                raise NotReadyError(
                    f"worker {worker.worker} did not take the shared memory region within "
                    f"{TELL_LIMIT_S:.0f} s: try again"
                )
            faults += answer
            self._told[worker] = table.revision
        return faults

    async def _tell_quietly(self) -> None:
        try:
            await self._tell(self._workers)
        except NotReadyError as error:
            log.warning("regions_not_told", reason=error.message)

    def _status(
        self, regions: Sequence[AnyRegion], name: str | None, kind: str, other: str
    ) -> Sequence[AnyRegion]:
        if name is None:
            return regions
        found = [region for region in regions if region.name == name]
        if not found and self._has(name):
            raise NotFoundError(
                f"The region named '{name[:256]}' is registered as {other} shared memory, not "
                f"{kind} shared memory"
            )
        if not found:
            raise NotFoundError(
                f"Unable to find {kind.replace('CUDA', 'cuda')} shared memory region: "
                f"'{name[:256]}'"
            )
        return found

    def _all(self) -> tuple[Region | CudaRegion, ...]:
        return (*self._table.regions, *self._table.cuda)

    def _has(self, name: str) -> bool:
        return any(region.name == name for region in self._all())

    def _without(
        self, name: str | None, kind: str
    ) -> tuple[tuple[Region, ...], tuple[CudaRegion, ...]]:
        """Return what is left without a region of a kind, or without all of it."""
        regions, cuda = self._table.regions, self._table.cuda
        if kind == "system":
            return _others(regions, name), cuda
        return regions, _others(cuda, name)

    def _check_name(self, name: str) -> None:
        if not name or len(name.encode(errors="replace")) > MAX_NAME_BYTES:
            raise InvalidArgumentError(
                f"name of a shared memory region: 1 to {MAX_NAME_BYTES} bytes expected, got "
                f"{len(name.encode(errors='replace'))}"
            )
        if self._has(name):
            raise AlreadyRegisteredError(f"shared memory region '{name}' already in manager")
        if len(self._all()) >= MAX_REGIONS:
            raise InvalidArgumentError(
                f"shared memory region '{name}': {MAX_REGIONS} of {MAX_REGIONS} regions are "
                "registered; unregister some"
            )


def _others(regions: tuple[AnyRegion, ...], name: str | None) -> tuple[AnyRegion, ...]:
    return () if name is None else tuple(one for one in regions if one.name != name)


async def _hand_over(worker: WorkerAddress, body: bytes) -> list[RegionFault] | None:
    """Tell one worker; None: it is there and silent."""
    try:
        async with asyncio.timeout(TELL_LIMIT_S), LocalHttp(worker.control) as client:
            reply = await client.ask("POST", "/worker/regions", body, timeout_s=TELL_LIMIT_S + 1)
    except TimeoutError:
        return None
    except NotReadyError as error:
        log.info("worker_away", worker=worker.worker, reason=error.message)
        return []
    return msgspec.json.decode(reply.body, type=list[RegionFault])


def _raise_fault(faults: Iterable[RegionFault], name: str) -> None:
    for fault in faults:
        if fault.name == name:
            raise InvalidArgumentError(fault.reason)


def _write(file: Path, content: bytes) -> None:
    fresh = file.with_name(file.name + ".new")
    fresh.write_bytes(content)
    fresh.chmod(0o600)
    fresh.replace(file)
