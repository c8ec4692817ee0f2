"""What every test on a GPU needs: a GPU, and a model in a file.

Nothing here, nor in these tests, imports `serving`: a node with a GPU has the engines, and perhaps
none of the server's packages. `tests/gpu/run_on_node.py` runs them there.
"""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtimes.catalogue import format_of, runtime_for
from runtimes.contract import LoadedModel, LoadRequest, TensorSpec
from runtimes.devices import Device
from runtimes.facts import GpuFacts
from runtimes.gpu_probe import SystemNvml, probe_gpus

NEEDED = {
    "test_gpu_onnx.py": ("onnxruntime",),
    "test_gpu_torch.py": ("torch",),
    "test_gpu_graphs.py": ("onnxruntime", "torch", "onnx"),
    "test_gpu_bare_loop.py": ("onnxruntime", "torch", "onnx"),
}
collect_ignore = [
    file for file, engines in NEEDED.items() if not all(map(importlib.util.find_spec, engines))
]

Load = Callable[..., LoadedModel]


def pytest_report_header() -> list[str]:
    """Say which tests are left out for want of an engine, and which GPUs there are."""
    seen = probe_gpus(SystemNvml())
    gpus = ", ".join(gpu.name for gpu in seen.gpus) or seen.problem
    return [f"gpus: {gpus}", *(f"left out: {file}, no engine" for file in collect_ignore)]


@pytest.fixture(autouse=True)
def gpu() -> GpuFacts:
    """The first GPU that can be used; without one the test is skipped, and says why."""
    seen = probe_gpus(SystemNvml())
    usable = [gpu for gpu in seen.gpus if not gpu.is_mig]
    if not usable:
        pytest.skip(f"needs an NVIDIA GPU: {seen.problem or 'it is cut into MIG instances'}")
    return usable[0]


@pytest.fixture
def device() -> Device:
    """The device of every test."""
    return Device("cuda", 0)


@pytest.fixture
def load(tmp_path: Path, device: Device) -> Iterator[Load]:
    """Return a function that writes a model file and loads it; models are closed at the end."""
    loaded: list[LoadedModel] = []

    def write_and_load(
        content: bytes,
        *,
        name: str = "model.onnx",
        on: Device = device,
        inputs: tuple[TensorSpec, ...] = (),
        outputs: tuple[TensorSpec, ...] = (),
        **settings: object,
    ) -> LoadedModel:
        file = tmp_path / name
        file.write_bytes(content)
        request = LoadRequest(
            file=file,
            device=on,
            threads=1,
            declared_inputs=inputs,
            declared_outputs=outputs,
            **settings,  # type: ignore[arg-type]  # fields of the request, by name
        )
        model = runtime_for(format_of(file)).load(request)
        loaded.append(model)
        return model

    yield write_and_load
    for model in loaded:
        model.close()
