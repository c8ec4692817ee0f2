"""gRPC methods of shared memory: status, register and unregister, of system and CUDA regions."""

from collections.abc import Awaitable, Callable
from typing import Any

from protos.generated import open_inference_pb2 as pb
from serving.edge.regions import RegionBook

Call = Callable[[Any, Any], Awaitable[Any]]


def region_calls(book: RegionBook) -> dict[str, Call]:
    """Return how each method is answered, by its name."""
    calls = _Calls(book)
    return {
        "SystemSharedMemoryStatus": calls.system_status,
        "SystemSharedMemoryRegister": calls.register_system,
        "SystemSharedMemoryUnregister": calls.unregister_system,
        "CudaSharedMemoryStatus": calls.cuda_status,
        "CudaSharedMemoryRegister": calls.register_cuda,
        "CudaSharedMemoryUnregister": calls.unregister_cuda,
    }


class _Calls:
    def __init__(self, book: RegionBook) -> None:
        self._book = book

    async def system_status(
        self, request: pb.SystemSharedMemoryStatusRequest, _: object
    ) -> pb.SystemSharedMemoryStatusResponse:
        status = pb.SystemSharedMemoryStatusResponse.RegionStatus
        return pb.SystemSharedMemoryStatusResponse(
            regions={
                region.name: status(
                    name=region.name,
                    key=region.key,
                    offset=region.offset,
                    byte_size=region.size_bytes,
                )
                for region in self._book.system_status(request.name or None)
            }
        )

    async def register_system(
        self, request: pb.SystemSharedMemoryRegisterRequest, _: object
    ) -> pb.SystemSharedMemoryRegisterResponse:
        await self._book.register_system(
            request.name, request.key, request.offset, request.byte_size
        )
        return pb.SystemSharedMemoryRegisterResponse()

    async def unregister_system(
        self, request: pb.SystemSharedMemoryUnregisterRequest, _: object
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        await self._book.unregister("system", request.name or None)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def cuda_status(
        self, request: pb.CudaSharedMemoryStatusRequest, _: object
    ) -> pb.CudaSharedMemoryStatusResponse:
        status = pb.CudaSharedMemoryStatusResponse.RegionStatus
        return pb.CudaSharedMemoryStatusResponse(
            regions={
                region.name: status(
                    name=region.name, device_id=region.device, byte_size=region.size_bytes
                )
                for region in self._book.cuda_status(request.name or None)
            }
        )

    async def register_cuda(
        self, request: pb.CudaSharedMemoryRegisterRequest, _: object
    ) -> pb.CudaSharedMemoryRegisterResponse:
        await self._book.register_cuda(
            request.name, request.raw_handle, request.device_id, request.byte_size
        )
        return pb.CudaSharedMemoryRegisterResponse()

    async def unregister_cuda(
        self, request: pb.CudaSharedMemoryUnregisterRequest, _: object
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        await self._book.unregister("cuda", request.name or None)
        return pb.CudaSharedMemoryUnregisterResponse()
