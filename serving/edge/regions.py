"""The node's table of shared-memory regions: registered here, known to every worker before a reply.

    register ─► checked, opened once ─► file written ─► every worker of the node told ─► reply

The file is for workers that are not there at this moment: they read it when their control channel
is open, so between the two no change is missed. A worker that cannot open a region, or is silent,
makes the registration fail as a whole.
"""

import asyncio
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.edge.routes import WorkerAddress
from serving.errors import AlreadyRegisteredError, NotFoundError, NotReadyError
from serving.local_http import LocalHttp
from serving.wire.region_table import Region, RegionFault, RegionTable

log = structlog.get_logger(__name__)

FOLDER: Final = Path("/dev/shm")  # noqa: S108  where the C library's shm_open opens
FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
TELL_LIMIT_S: Final = 5.0
MAX_REGIONS: Final = 1024
MAX_NAME_BYTES: Final = 255
SHARED_MEMORY_OFF: Final = (
    "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
)
CUDA_NOT_SERVED: Final = (
    "CUDA shared memory is not served: send tensors with the request, or in system shared memory"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPolicy:
    """Whether clients may share memory, and which."""

    is_on: bool = False
    prefixes: tuple[str, ...] = ("/",)
    """A key starts with one of them; `/` is before every key."""


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
        except (OSError, msgspec.MsgspecError):
            return
        if keep and table.instance == self._table.instance:
            self._table = table
        else:
            self._file.unlink(missing_ok=True)

    def status(self, kind: str, name: str | None) -> Sequence[Region]:
        """Return one region, or all; CUDA has none.

        Raises:
            NotFoundError: There is no such region of this kind.
        """
        if name is None:
            return self._table.regions if kind == "system" else ()
        found = self._find(name)
        if found is None:
            raise NotFoundError(f"Unable to find {kind} shared memory region: '{name[:256]}'")
        if kind != "system":
            raise NotFoundError(
                f"The region named '{name[:256]}' is registered as system shared memory, not CUDA "
                "shared memory"
            )
        return (found,)

    async def register_system(self, name: str, key: str, offset: int, size_bytes: int) -> None:
        """Make a region known to every worker of the node.

        Raises:
            UnsupportedError: Shared memory is off.
            AlreadyRegisteredError: The name is taken.
            InvalidArgumentError: The key is not allowed or cannot be opened, or its object is too
                short.
            NotReadyError: A worker did not take it in time; nothing is registered.
        """
        if not self.is_on:
            raise UnsupportedError(SHARED_MEMORY_OFF)
        async with self._lock:
            self._check_name(name)
            region = opened_region(name, self._checked_key(key), offset, size_bytes)
            await self._publish((*self._table.regions, region))
            try:
                _raise_fault(await self._tell(self._workers), name)
            except (InvalidArgumentError, NotReadyError):
                await self._publish(self._without(name))
                await self._tell_quietly()
                raise

    def refuse_cuda(self) -> None:
        """Say why a CUDA region cannot be registered.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(CUDA_NOT_SERVED if self.is_on else SHARED_MEMORY_OFF)

    async def unregister(self, kind: str, name: str | None) -> None:
        """Forget one region, or all of a kind; an unknown name succeeds."""
        if kind != "system" or not self._table.regions:
            return
        async with self._lock:
            left = () if name is None else self._without(name)
            if len(left) != len(self._table.regions):
                await self._publish(left)
                await self._tell_quietly()

    async def hear(self, workers: Iterable[WorkerAddress]) -> None:
        """Take the node's workers; those that are new know every region when this returns."""
        self._workers = tuple(workers)
        if self._table.revision:
            async with self._lock:
                await self._tell_quietly()

    async def _publish(self, regions: tuple[Region, ...]) -> None:
        self._table = RegionTable(
            instance=self._table.instance, revision=self._table.revision + 1, regions=regions
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

    def _find(self, name: str) -> Region | None:
        return next((region for region in self._table.regions if region.name == name), None)

    def _without(self, name: str) -> tuple[Region, ...]:
        return tuple(region for region in self._table.regions if region.name != name)

    def _check_name(self, name: str) -> None:
        if not name or len(name.encode(errors="replace")) > MAX_NAME_BYTES:
            raise InvalidArgumentError(
                f"name of a shared memory region: 1 to {MAX_NAME_BYTES} bytes expected, got "
                f"{len(name.encode(errors='replace'))}"
            )
        if self._find(name) is not None:
            raise AlreadyRegisteredError(f"shared memory region '{name}' already in manager")
        if len(self._table.regions) >= MAX_REGIONS:
            raise InvalidArgumentError(
                f"shared memory region '{name}': {MAX_REGIONS} of {MAX_REGIONS} regions are "
                "registered; unregister some"
            )

    def _checked_key(self, key: str) -> str:
        """Return a key in its usual spelling."""
        full = "/" + key.removeprefix("/")
        plain = full[1:]
        is_name = plain not in {"", ".", ".."} and not {"/", "\0"} & set(plain)
        if not is_name or len(plain.encode(errors="replace")) > MAX_NAME_BYTES:
            raise InvalidArgumentError(
                f"Unable to open shared memory region: '{key[:256]}': a key is '/' and a name "
                f"without slashes, of {MAX_NAME_BYTES} bytes at most"
            )
        if not full.startswith(self._policy.prefixes):
            raise InvalidArgumentError(
                f"Unable to open shared memory region: '{key}': this server takes keys that start "
                f"with {' or '.join(self._policy.prefixes)} (BASCULE_SHARED_MEMORY_PREFIXES)"
            )
        return full


def opened_region(name: str, key: str, offset: int, size_bytes: int) -> Region:
    """Open a key once, to see that it exists and is long enough.

    Raises:
        InvalidArgumentError: It cannot be opened, or is too short.
    """
    try:
        descriptor = os.open(FOLDER / key[1:], FLAGS)
    except OSError as error:
        raise InvalidArgumentError(
            f"Unable to open shared memory region: '{key}': {error.strerror}"
        ) from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidArgumentError(f"Unable to open shared memory region: '{key}': it is no object")
    if min(offset, size_bytes - 1) < 0 or offset + size_bytes > found.st_size:
        raise InvalidArgumentError(
            f"failed to register shared memory region '{name}': invalid args (offset {offset} and "
            f"byte size {size_bytes} in an object of {found.st_size} bytes)"
        )
    return Region(
        name=name,
        key=key,
        offset=offset,
        size_bytes=size_bytes,
        device=found.st_dev,
        inode=found.st_ino,
    )


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
