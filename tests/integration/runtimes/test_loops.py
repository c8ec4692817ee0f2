"""A loaded model tells whether it has loops: then no run tells how long the next one takes."""

from collections.abc import Callable

import pytest

from runtimes.contract import LoadedModel, Looping, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.reshape import Reshape, reshaped
from tests.fakes import models, torch_models

Load = Callable[..., LoadedModel]
X = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1,))
Y = TensorSpec(name="OUTPUT__0", datatype=Datatype.FP32, shape=(-1,))


def has_loops(model: LoadedModel) -> bool:
    """Return what a model tells."""
    return isinstance(model, Looping) and model.has_loops


@pytest.mark.parametrize(("content", "loops"), [(models.slow(1), True), (models.tiny(), False)])
def test_of_onnx_models(load: Load, content: bytes, *, loops: bool) -> None:
    """ONNX's `Loop` takes as many turns as a tensor says."""
    assert has_loops(load(content)) == loops


@pytest.mark.parametrize(
    ("module", "loops"), [(torch_models.Counted(), True), (torch_models.Identity(), False)]
)
def test_of_torchscript_modules(load: Load, module: torch_models.nn.Module, *, loops: bool) -> None:
    """So may a loop of TorchScript."""
    content = torch_models.torchscript(module.eval())
    model = load(content, inputs=(X,), outputs=(Y,), name="model.pt")
    assert has_loops(model) == loops


def test_a_reshape_does_not_hide_it(load: Load) -> None:
    """A configuration's `reshape` stands around the model, and tells the same."""
    n = Reshape(name="n", dims=(1, 1), shape=(1,))
    assert has_loops(reshaped(load(models.slow(1)), [n], ()))
