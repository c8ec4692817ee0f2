"""Loading models that a test built in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.catalogue import format_of, runtime_for
from runtimes.contract import LoadedModel, LoadRequest, TensorSpec
from runtimes.devices import CPU

Load = Callable[..., LoadedModel]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that writes a model file and loads it on the CPU."""

    def write_and_load(
        content: bytes,
        *,
        inputs: tuple[TensorSpec, ...] = (),
        outputs: tuple[TensorSpec, ...] = (),
        name: str = "model.onnx",
    ) -> LoadedModel:
        file = tmp_path / name
        file.write_bytes(content)
        request = LoadRequest(
            file=file, device=CPU, threads=1, declared_inputs=inputs, declared_outputs=outputs
        )
        return runtime_for(format_of(file)).load(request)

    return write_and_load
