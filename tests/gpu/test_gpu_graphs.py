"""Runs that are captured as CUDA graphs answer as plain ones do, whatever comes between them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runtimes.contract import LoadedModel, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.devices import CPU
from runtimes.engine_options import EngineOptions
from runtimes.onnx_runs import BoundModel
from runtimes.torch_runs import TorchModel
from tests.fakes import gpu_models, torch_models

pytestmark = pytest.mark.gpu

Load = Callable[..., LoadedModel]
GRAPHS = EngineOptions(cuda_graphs=True)
SEEDS = range(8)


def agree(captured: Any, plain: LoadedModel, *shapes: tuple[int, ...]) -> None:  # noqa: ANN401  of either engine
    """Ask both, with shapes in turns; every set of shapes must have been proven."""
    for seed in SEEDS:
        for shape in shapes:
            x = gpu_models.random_floats(*shape, seed=seed)
            (here,), (there,) = captured.run([x]), plain.run([x])
            np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-4)
    assert captured.graphs.proven_count == len(shapes)


@pytest.mark.parametrize(
    ("content", "shapes"),
    [
        pytest.param(gpu_models.perceptron(), ((1, 64), (7, 64)), id="perceptron"),
        pytest.param(gpu_models.convolution(), ((1, 3, 8, 8), (2, 3, 16, 16)), id="convolution"),
    ],
)
def test_onnx_models(load: Load, content: bytes, shapes: tuple[tuple[int, ...], ...]) -> None:
    """On the device as on the CPU."""
    captured = load(content, options=GRAPHS)
    assert isinstance(captured, BoundModel)
    agree(captured, load(content, on=CPU, name="plain.onnx"), *shapes)


def test_torchscript(load: Load) -> None:
    """The same of the other engine."""
    specs = {
        "inputs": (TensorSpec(name="INPUT__0", datatype=Datatype.FP32, shape=(-1, 16)),),
        "outputs": (TensorSpec(name="OUTPUT__0", datatype=Datatype.FP32, shape=(-1, 4)),),
    }
    content = torch_models.tiny_ts()
    captured = load(content, name="model.pt", options=GRAPHS, **specs)
    assert isinstance(captured, TorchModel)
    agree(captured, load(content, name="plain.pt", on=CPU, **specs), (1, 16), (5, 16))
