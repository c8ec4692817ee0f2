"""Memory on a GPU that another process owns: opened by its handle, read and written."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimes.cuda_ipc import CudaIpc, IpcMemory, open_cuda
from runtimes.errors import InvalidArgumentError

pytestmark = pytest.mark.gpu

OWNER = Path(__file__).with_name("cuda_owner.py")
SIZE_BYTES = 100_003
NEEDED = {"tritonclient": ("tritonclient", "cuda"), "runtime": ()}


class Owner:
    """The other process."""

    def __init__(self, way: str) -> None:
        """Start it; its memory is there when this returns."""
        self._process = subprocess.Popen(
            [sys.executable, str(OWNER), way, str(SIZE_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.handle = self._line()

    def found(self) -> bytes:
        """What it reads from its memory now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._line()

    def end(self) -> None:
        """Let it end."""
        self._process.communicate("\n", timeout=60)

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"it ended with status {self._process.wait(60)}"
        return bytes.fromhex(line)


@pytest.fixture
def cuda() -> CudaIpc:
    """The CUDA runtime of this node."""
    return open_cuda()


@pytest.fixture(params=NEEDED)
def owner(request: pytest.FixtureRequest) -> Iterator[Owner]:
    """A process that made memory with tritonclient's module, or with the runtime alone."""
    missing = [name for name in NEEDED[request.param] if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"needs packages: {missing}")
    started = Owner(request.param)
    yield started
    started.end()


@pytest.fixture
def memory(cuda: CudaIpc, owner: Owner) -> Iterator[IpcMemory]:
    """Its memory, opened here."""
    opened = cuda.open(owner.handle, 0)
    yield opened
    opened.close()


def test_bytes_go_both_ways(memory: IpcMemory, owner: Owner) -> None:
    """What the owner wrote is read here, and what is written here the owner reads."""
    content = bytes(index % 251 for index in range(SIZE_BYTES))
    assert memory.read(0, SIZE_BYTES).tobytes() == content
    assert memory.read(4099, 7).tobytes() == content[4099:4106]

    memory.write(SIZE_BYTES - 5, b"hello")
    memory.write(1, memoryview(b"\xff\xfe"))

    assert owner.found() == content[:1] + b"\xff\xfe" + content[3:-5] + b"hello"


def test_the_driver_tells_at_least_what_was_asked_for(memory: IpcMemory) -> None:
    """The bound is never less than the owner's size, and what is behind it is not touched."""
    assert memory.size_bytes >= SIZE_BYTES
    with pytest.raises(InvalidArgumentError, match="not within CUDA memory"):
        memory.read(memory.size_bytes - 1, 2)


def test_a_handle_of_nobody_is_refused(cuda: CudaIpc) -> None:
    """Any 64 bytes are an error with CUDA's words, and CUDA works on afterwards."""
    with pytest.raises(InvalidArgumentError, match="CUDA error"):
        cuda.open(bytes(64), 0)
    with pytest.raises(InvalidArgumentError, match="CUDA error"):
        cuda.open(bytes(64), 1000)
    assert cuda.device_count() >= 1


def test_memory_is_opened_again(cuda: CudaIpc, owner: Owner) -> None:
    """What was closed can be opened once more, as a client does that registers it again."""
    for _ in range(3):
        opened = cuda.open(owner.handle, 0)
        assert opened.read(1, 3).tobytes() == b"\1\2\3"
        opened.close()
