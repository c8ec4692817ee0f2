"""Memory of other processes by CUDA's handles, over a stand-in for CUDA."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimes.cuda_ipc import CudaIpc, open_cuda, runtime_libraries
from runtimes.errors import EngineError, InvalidArgumentError, UnsupportedError
from tests.fakes import cuda_stand_in, shared_memory
from tests.fakes.cuda_stand_in import device_memory, handle_of

SIZE_BYTES = 300
numbers = st.integers(-2, SIZE_BYTES + 2)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in."""
    return cuda_stand_in.build(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def cuda(libraries: Path, monkeypatch: pytest.MonkeyPatch) -> CudaIpc:
    """The stand-in with two GPUs, of which the second one is the node's first."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    return open_cuda(
        [str(libraries / cuda_stand_in.RUNTIME)], str(libraries / cuda_stand_in.DRIVER)
    )


@pytest.fixture
def key() -> Iterator[str]:
    """Memory on GPU 0."""
    with device_memory(SIZE_BYTES) as made:
        yield made


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=numbers, size=numbers)
def test_only_what_was_allocated_is_copied(cuda: CudaIpc, key: str, offset: int, size: int) -> None:
    """A part comes back as it was written, or is refused because it is not within the memory."""
    memory = cuda.open(handle_of(key), 1)
    content = bytes(index % 251 for index in range(max(size, 0)))
    try:
        memory.write(offset, content)
        found = memory.read(offset, size)
    except InvalidArgumentError:
        assert min(offset, size) < 0 or offset + size > SIZE_BYTES
    else:
        assert found.tobytes() == content
        assert shared_memory.get(key, size, offset) == content
    finally:
        memory.close()


def test_the_driver_tells_the_size(cuda: CudaIpc, key: str) -> None:
    """What the owner has allocated is known, whatever it says."""
    memory = cuda.open(handle_of(key), 1)
    assert memory.size_bytes == SIZE_BYTES
    memory.close()


def test_a_closed_memory_has_no_bytes(cuda: CudaIpc, key: str) -> None:
    """After close nothing is copied any more, and a second close does nothing."""
    memory = cuda.open(handle_of(key), 1)
    memory.close()
    memory.close()
    with pytest.raises(InvalidArgumentError, match="not within CUDA memory of 0 bytes"):
        memory.read(0, 1)


def test_cuda_says_why_it_opens_nothing(cuda: CudaIpc, key: str) -> None:
    """A handle of another device, of nobody, and a device that is not there are refused."""
    with pytest.raises(InvalidArgumentError, match=r"invalid resource handle \(CUDA error 400\)"):
        cuda.open(handle_of(key), 0)
    with pytest.raises(InvalidArgumentError, match="invalid argument"):
        cuda.open(handle_of("/bascule-gpu-none"), 1)
    with pytest.raises(InvalidArgumentError, match="invalid device ordinal"):
        cuda.open(handle_of(key), 2)


def test_a_failure_is_not_left_for_an_engine(cuda: CudaIpc, libraries: Path) -> None:
    """CUDA keeps a thread's last error until it is asked for; the next caller is not to find it."""
    import ctypes  # noqa: PLC0415  to look beside the code under test

    with pytest.raises(InvalidArgumentError):
        cuda.open(handle_of("/bascule-gpu-none"), 1)
    assert ctypes.CDLL(str(libraries / cuda_stand_in.RUNTIME)).cudaGetLastError() == 0


def test_a_copy_that_cuda_refuses_is_an_engine_error(cuda: CudaIpc, key: str) -> None:
    """What cannot happen to checked sizes is reported as CUDA's own failure."""
    cuda.open(handle_of(key), 1).close()
    with pytest.raises(EngineError, match="CUDA cannot copy: an illegal memory access"):
        cuda.copy(1, np.empty(4, np.uint8).ctypes.data, 4096, 4, 2)


def test_without_a_driver_nothing_is_loaded(libraries: Path) -> None:
    """The sentence names the library and what to do."""
    with pytest.raises(UnsupportedError, match=r"libnone\.so cannot be loaded.*install the driver"):
        open_cuda([str(libraries / cuda_stand_in.RUNTIME)], "libnone.so")


def test_without_a_runtime_the_remedy_is_named(libraries: Path) -> None:
    """None at all, and one that finds no device, are told apart."""
    driver = str(libraries / cuda_stand_in.DRIVER)
    with pytest.raises(UnsupportedError, match=r"none was found: install bascule\[gpu\]"):
        open_cuda(["libnone.so"], driver)


def test_a_runtime_that_finds_no_device_says_so(
    libraries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA's own words are in the sentence."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UnsupportedError, match="says: no CUDA-capable device is detected"):
        open_cuda([str(libraries / cuda_stand_in.RUNTIME)], str(libraries / cuda_stand_in.DRIVER))


def test_packages_are_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader's own libraries come first, then those that came with an engine."""
    file = tmp_path / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    names = list(runtime_libraries())
    assert names[:2] == ["libcudart.so.13", "libcudart.so.12"]
    assert str(file) in names[2:]
