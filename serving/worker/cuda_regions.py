"""Regions on GPUs, in this process: opened by CUDA's handle, copied to and from host memory.

Runtimes take and give arrays in host memory, so what lies on a GPU is copied out when a call is
read and in when it is answered, whatever device the model is on. Memory of a GPU that this process
does not see is no fault of the registration: other workers may see it. A call that names it here is
refused.
"""

from collections.abc import Iterable

import structlog

from runtimes.cuda_ipc import CudaIpc, IpcMemory, open_cuda
from runtimes.errors import BasculeError, InvalidArgumentError
from serving.wire.region_table import CudaRegion
from serving.wire.regions import Buffer, RegionSpan, checked_offset

log = structlog.get_logger(__name__)


class OpenCudaRegion:
    """One region; its memory is open until `close`."""

    def __init__(
        self,
        region: CudaRegion,
        memory: IpcMemory | None,
        fault: str = "",
        *,
        is_elsewhere: bool = False,
    ) -> None:
        """Take opened memory over, or the reason why there is none."""
        self.region = region
        self.fault = fault
        self.is_elsewhere = is_elsewhere
        self._memory = memory

    def close(self) -> None:
        """Give the memory back. A failure is logged: nobody could do anything about it."""
        memory, self._memory = self._memory, None
        if memory is None:
            return
        try:
            memory.close()
        except BasculeError as error:
            log.warning("cuda_region_not_closed", region=self.region.name, error=error.message)

    def place(self, span: RegionSpan) -> int:
        """Return where a part begins.

        Raises:
            InvalidArgumentError: It is not within the region, or that is not open.
        """
        self._opened()
        return checked_offset(span, self.region.size_bytes)

    def read(self, span: RegionSpan) -> memoryview:
        """Copy a part out.

        Raises:
            InvalidArgumentError: It is not within the region, or that is not open.
            EngineError: CUDA cannot.
        """
        at = self.place(span)
        return self._opened().read(at, span.size_bytes).data.toreadonly()

    def write(self, span: RegionSpan, content: Buffer) -> None:
        """Copy bytes in.

        Raises:
            InvalidArgumentError: They do not fit into the region, or that is not open.
            EngineError: CUDA cannot.
        """
        at = self.place(span)
        self._opened().write(at, content)

    def _opened(self) -> IpcMemory:
        if self._memory is None:
            raise InvalidArgumentError(self.fault)
        return self._memory


class CudaOpener:
    """Opens regions; loads CUDA for the first one."""

    def __init__(self, served: str = "", given: str = "") -> None:
        """Open nothing yet.

        Args:
            served: The server's GPUs, separated by commas, in the order in which clients count.
            given: Those that this worker has for its models, in its own order; empty: it has none,
                and sees all of the server's.
        """
        self._served = served.split(",") if served else []
        self._seen = given.split(",") if given else self._served
        self._cuda: CudaIpc | None = None

    def open_all(self, regions: Iterable[CudaRegion]) -> dict[str, OpenCudaRegion]:
        """Open regions, each with its fault if that cannot be. For one thread at a time."""
        return {region.name: self._open(region) for region in regions}

    def _open(self, region: CudaRegion) -> OpenCudaRegion:
        if region.device >= len(self._served):
            return OpenCudaRegion(
                region, None, _failed(region, "this worker is told of no such GPU")
            )
        gpu = self._served[region.device]
        if gpu not in self._seen:
            fault = (
                f"CUDA shared memory region '{region.name}' is on GPU {region.device}, which the "
                "worker of this model does not see: use memory of the model's GPU"
            )
            return OpenCudaRegion(region, None, fault, is_elsewhere=True)
        try:
            return self._sized(region, self._loaded().open(region.handle, self._seen.index(gpu)))
        except BasculeError as error:
            return OpenCudaRegion(region, None, _failed(region, error.message))

    def _sized(self, region: CudaRegion, memory: IpcMemory) -> OpenCudaRegion:
        if region.size_bytes <= memory.size_bytes:
            return OpenCudaRegion(region, memory)
        fault = (
            f"invalid args (byte size {region.size_bytes}, and {memory.size_bytes} are allocated)"
        )
        memory.close()
        return OpenCudaRegion(region, None, _failed(region, fault))

    def _loaded(self) -> CudaIpc:
        if self._cuda is None:
            self._cuda = open_cuda()
        return self._cuda


def _failed(region: CudaRegion, why: str) -> str:
    return f"failed to register CUDA shared memory region '{region.name}': {why}"
