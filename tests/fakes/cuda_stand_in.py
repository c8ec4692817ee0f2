"""Memory of a GPU that there is not: a small CUDA in C, and what a client of it would do.

`tests/fakes/cuda_stand_in.c` says what it promises. It shows that bytes go the right way, that
handles, sizes and devices are checked, and what is closed. It cannot show what CUDA itself does.
"""

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes import shared_memory

SOURCE = Path(__file__).with_name("cuda_stand_in.c")
RUNTIME = "libcudart.so.13"
DRIVER = "libcuda.so.1"
HANDLE_BYTES = 64
GPU_BYTE = 48


def build(folder: Path) -> Path:
    """Compile the stand-in; without a C compiler the test is skipped. Gives the folder."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]
    subprocess.run([*command, str(folder / RUNTIME), str(SOURCE), "-lrt"], check=True)
    (folder / DRIVER).symlink_to(RUNTIME)  # one file: both have the same mappings
    return folder


def handle_of(key: str, gpu: int = 0) -> bytes:
    """What the owner of the memory gets from CUDA, and sends."""
    name = bytearray(key.encode().ljust(HANDLE_BYTES, b"\0"))
    name[GPU_BYTE] = gpu
    return bytes(name)


def encoded(handle: bytes) -> bytes:
    """The handle as tritonclient's module gives it."""
    return base64.b64encode(handle)


@contextmanager
def device_memory(size_bytes: int) -> Iterator[str]:
    """Memory of zeros; gives the key by which `shared_memory.put` and `get` reach it."""
    with shared_memory.shared_object(size_bytes, prefix="/bascule-gpu-") as key:
        yield key


def holds(pid: int, key: str) -> bool:
    """Whether a process has the memory open."""
    return f"{shared_memory.FOLDER}{key}" in Path(f"/proc/{pid}/maps").read_text()


def library_path(folder: Path) -> str:
    """What LD_LIBRARY_PATH must be, for a process that shall find the stand-in."""
    before = os.environ.get("LD_LIBRARY_PATH")  # noqa: TID251  a test's own process
    return f"{folder}:{before}" if before else str(folder)
