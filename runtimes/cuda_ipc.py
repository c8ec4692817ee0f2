"""CUDA memory of other processes: opened by the handle that its owner made, copied from and to.

Calls the CUDA runtime (`libcudart`) directly, since no engine offers this. It is looked for as the
dynamic loader finds it, which is the one that an engine has loaded, and else in the packages that
engines bring along; the first that gets on with the driver is taken. Memory that is copied with a
wrong size would end CUDA for the whole process, so the driver is asked how much was allocated.

Copies go over a stream of their own: they do not wait for what models run, nor the reverse.
"""

import ctypes
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from runtimes.contract import Array
from runtimes.cuda_libraries import DRIVER_LIBRARY
from runtimes.errors import EngineError, InvalidArgumentError, UnsupportedError

HANDLE_BYTES: Final = 64
RUNTIME_LIBRARIES: Final = ("libcudart.so.13", "libcudart.so.12")
PACKAGED: Final = "nvidia/*/lib/libcudart.so.*"
LAZY_PEER_ACCESS: Final = 1
NON_BLOCKING: Final = 1
TO_DEVICE: Final = 1
TO_HOST: Final = 2


class _Handle(ctypes.Structure):
    """A `cudaIpcMemHandle_t`, which travels by value."""

    _fields_ = (("reserved", ctypes.c_char * HANDLE_BYTES),)


class CudaIpc:
    """The CUDA runtime of this process. Devices are numbered as this process sees them."""

    def __init__(self, runtime: ctypes.CDLL, driver: ctypes.CDLL) -> None:
        """Take the loaded libraries."""
        self._runtime = runtime
        self._driver = driver
        self._streams: dict[int, ctypes.c_void_p] = {}
        runtime.cudaGetErrorString.restype = ctypes.c_char_p
        runtime.cudaIpcOpenMemHandle.argtypes = (
            ctypes.POINTER(ctypes.c_void_p),
            _Handle,
            ctypes.c_uint,
        )
        runtime.cudaMemcpyAsync.argtypes = (
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_int,
            ctypes.c_void_p,
        )

    def device_count(self) -> int:
        """Count the devices that this process sees.

        Raises:
            UnsupportedError: The runtime cannot use the driver.
        """
        count = ctypes.c_int()
        problem = self._problem(self._runtime.cudaGetDeviceCount(ctypes.byref(count)))
        if problem:
            raise UnsupportedError(problem)
        return count.value

    def open(self, handle: bytes, device: int) -> "IpcMemory":
        """Open memory by the 64 bytes that its owner got from `cudaIpcGetMemHandle`.

        Raises:
            InvalidArgumentError: CUDA does not open it: it is gone, of another machine, or of this
                very process.
            EngineError: CUDA itself does not work.
        """
        pointer = ctypes.c_void_p()
        with self.on(device):
            if device not in self._streams:
                self._streams[device] = self._new_stream()
            given = _Handle.from_buffer_copy(handle)
            problem = self._problem(
                self._runtime.cudaIpcOpenMemHandle(
                    ctypes.byref(pointer), given, ctypes.c_uint(LAZY_PEER_ACCESS)
                )
            )
            if problem:
                raise InvalidArgumentError(problem)
            return IpcMemory(self, device, pointer, self._room(pointer))

    def copy(self, device: int, target: int, source: int, size_bytes: int, kind: int) -> None:
        """Copy between host and device, and wait until it is done.

        Raises:
            EngineError: CUDA cannot.
        """
        stream = self._streams[device]
        with self.on(device):
            self._must(
                self._runtime.cudaMemcpyAsync(target, source, size_bytes, kind, stream), "copy"
            )
            self._must(self._runtime.cudaStreamSynchronize(stream), "copy")

    def close(self, device: int, pointer: ctypes.c_void_p) -> None:
        """Give opened memory back.

        Raises:
            EngineError: CUDA cannot.
        """
        with self.on(device):
            self._must(self._runtime.cudaIpcCloseMemHandle(pointer), "close")

    @contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Make a device this thread's own for a block: an engine may have chosen another.

        Raises:
            InvalidArgumentError: There is no such device, or CUDA cannot start on it.
        """
        before = ctypes.c_int()
        self._must(self._runtime.cudaGetDevice(ctypes.byref(before)), "tell the device")
        problem = self._problem(self._runtime.cudaSetDevice(ctypes.c_int(device)))
        if problem:
            raise InvalidArgumentError(problem)
        try:
            yield
        finally:
            if before.value != device:
                self._runtime.cudaSetDevice(before)

    def _room(self, pointer: ctypes.c_void_p) -> int:
        """Return how many bytes there are from a pointer to the end of its allocation."""
        begin, size = ctypes.c_void_p(), ctypes.c_size_t()
        status = self._driver.cuMemGetAddressRange_v2(
            ctypes.byref(begin), ctypes.byref(size), pointer
        )
        if status:
            self._runtime.cudaIpcCloseMemHandle(pointer)
            raise InvalidArgumentError(f"the driver does not tell its size (error {status})")
        return (begin.value or 0) + size.value - (pointer.value or 0)

    def _new_stream(self) -> ctypes.c_void_p:
        stream = ctypes.c_void_p()
        self._must(
            self._runtime.cudaStreamCreateWithFlags(
                ctypes.byref(stream), ctypes.c_uint(NON_BLOCKING)
            ),
            "make a stream",
        )
        return stream

    def _must(self, status: int, what: str) -> None:
        problem = self._problem(status)
        if problem:
            raise EngineError(f"CUDA cannot {what}: {problem}")

    def _problem(self, status: int) -> str:
        """Return CUDA's words for a status; takes the error away from the next engine's call."""
        if not status:
            return ""
        self._runtime.cudaGetLastError()
        text: bytes = self._runtime.cudaGetErrorString(ctypes.c_int(status)) or b"unknown"
        return f"{text.decode(errors='replace')} (CUDA error {status})"


class IpcMemory:
    """Memory of another process on a device. For one thread at a time."""

    def __init__(
        self, cuda: CudaIpc, device: int, pointer: ctypes.c_void_p, size_bytes: int
    ) -> None:
        """Take an opened pointer over, with `size_bytes` behind it."""
        self.size_bytes = size_bytes
        self._cuda = cuda
        self._device = device
        self._pointer = pointer

    def read(self, offset: int, size_bytes: int) -> Array:
        """Copy a part out; shape (size_bytes,), UINT8.

        Raises:
            InvalidArgumentError: The part is not within the memory.
            EngineError: CUDA cannot copy.
        """
        at = self._address(offset, size_bytes)
        found = np.empty(size_bytes, np.uint8)
        if size_bytes:
            self._cuda.copy(self._device, found.ctypes.data, at, size_bytes, TO_HOST)
        return found

    def write(self, offset: int, content: bytes | memoryview) -> None:
        """Copy bytes in.

        Raises:
            InvalidArgumentError: They do not fit.
            EngineError: CUDA cannot copy.
        """
        size_bytes = len(content)
        at = self._address(offset, size_bytes)
        if size_bytes:
            source = np.frombuffer(content, np.uint8).ctypes.data
            self._cuda.copy(self._device, at, source, size_bytes, TO_DEVICE)

    def close(self) -> None:
        """Give it back; the owner keeps it.

        Raises:
            EngineError: CUDA cannot.
        """
        pointer, self._pointer = self._pointer, ctypes.c_void_p()
        self.size_bytes = 0
        if pointer.value is not None:
            self._cuda.close(self._device, pointer)

    def _address(self, offset: int, size_bytes: int) -> int:
        if min(offset, size_bytes) < 0 or offset + size_bytes > self.size_bytes:
            raise InvalidArgumentError(
                f"{size_bytes} bytes at {offset} are not within CUDA memory of "
                f"{self.size_bytes} bytes"
            )
        return (self._pointer.value or 0) + offset


def open_cuda(libraries: Iterable[str] | None = None, driver: str = DRIVER_LIBRARY) -> CudaIpc:
    """Load the CUDA runtime.

    Args:
        libraries: Where it is looked for, in order; `runtime_libraries()` if None.
        driver: The driver's library.

    Raises:
        UnsupportedError: There is no driver, no runtime, or none that gets on with the driver.
    """
    try:
        loaded_driver = ctypes.CDLL(driver)
    except OSError as error:
        raise UnsupportedError(
            f"the NVIDIA driver's {Path(driver).name} cannot be loaded here: install the driver, "
            "or let this machine's container see it"
        ) from error
    problem = "none was found"
    for library in runtime_libraries() if libraries is None else libraries:
        runtime = _loaded(library)
        if runtime is None:
            continue
        cuda = CudaIpc(runtime, loaded_driver)
        try:
            cuda.device_count()
        except UnsupportedError as error:
            problem = f"{Path(library).name} says: {error.message}"
        else:
            return cuda
    raise UnsupportedError(
        f"no CUDA runtime (libcudart) can be used here, {problem}: install bascule[gpu]"
    )


def runtime_libraries() -> Iterator[str]:
    """Return the names and files by which the CUDA runtime may be found."""
    yield from RUNTIME_LIBRARIES
    for folder in sys.path:
        yield from sorted(map(str, Path(folder).glob(PACKAGED)), reverse=True)


def _loaded(library: str) -> Any:  # noqa: ANN401  a CDLL, whose functions have no types
    try:
        return ctypes.CDLL(library)
    except OSError:
        return None  # it is not there, which is what was asked
