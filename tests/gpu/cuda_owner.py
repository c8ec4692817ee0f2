"""A process that owns memory on the first GPU, since CUDA opens no handle where it was made.

    python tests/gpu/cuda_owner.py tritonclient|runtime SIZE

Writes SIZE bytes 0, 1, 2, … into it and the handle to standard output, in hexadecimal digits; at a
line on standard input it writes the bytes that it finds by then, and ends.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from runtimes.cuda_ipc import HANDLE_BYTES, TO_DEVICE, TO_HOST, runtime_libraries


def start_bytes(size_bytes: int) -> np.ndarray:
    """What the memory begins with."""
    return (np.arange(size_bytes) % 251).astype(np.uint8)


def with_tritonclient(size_bytes: int) -> None:
    """Own it as a client of Triton does."""
    import base64  # noqa: PLC0415  this way only

    import tritonclient.utils.cuda_shared_memory as cuda_memory  # noqa: PLC0415  needs cuda-python

    region = cuda_memory.create_shared_memory_region("owned", size_bytes, 0)
    cuda_memory.set_shared_memory_region(region, [start_bytes(size_bytes)])
    say(base64.b64decode(cuda_memory.get_raw_handle(region)))
    found = cuda_memory.get_contents_as_numpy(region, np.uint8, [size_bytes])
    say(found.tobytes())
    cuda_memory.destroy_shared_memory_region(region)


def with_runtime(size_bytes: int) -> None:
    """Own it by the CUDA runtime alone."""
    cuda = first_runtime()
    pointer, handle = ctypes.c_void_p(), (ctypes.c_char * HANDLE_BYTES)()
    content = start_bytes(size_bytes)
    size = ctypes.c_size_t(size_bytes)
    must(cuda.cudaMalloc(ctypes.byref(pointer), size))
    host = ctypes.c_void_p(content.ctypes.data)
    must(cuda.cudaMemcpy(pointer, host, size, ctypes.c_int(TO_DEVICE)))
    must(cuda.cudaIpcGetMemHandle(handle, pointer))
    say(bytes(handle.raw))
    must(cuda.cudaMemcpy(host, pointer, size, ctypes.c_int(TO_HOST)))
    say(content.tobytes())


def first_runtime() -> ctypes.CDLL:
    """The first CUDA runtime that can be loaded and finds a device."""
    for name in runtime_libraries():
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        if found.cudaGetDeviceCount(ctypes.byref(ctypes.c_int())) == 0:
            return found
    sys.exit("no CUDA runtime")


def must(status: int) -> None:
    """End with CUDA's number if a call failed."""
    if status:
        sys.exit(f"CUDA error {status}")


def say(content: bytes) -> None:
    """Write bytes, and wait for a line."""
    sys.stdout.write(content.hex() + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    {"tritonclient": with_tritonclient, "runtime": with_runtime}[sys.argv[1]](int(sys.argv[2]))
