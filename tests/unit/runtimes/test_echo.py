"""The echo runtime."""

from pathlib import Path

import numpy as np
import pytest

from runtimes.contract import LoadRequest, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.devices import CPU
from runtimes.echo import EchoRuntime
from runtimes.errors import ModelLoadError


def spec(name: str, *shape: int, optional: bool = False) -> TensorSpec:
    """Make a tensor spec."""
    return TensorSpec(name=name, datatype=Datatype.FP32, shape=shape, optional=optional)


def request(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> LoadRequest:
    """Make a load request for these tensors."""
    return LoadRequest(
        file=Path("model.echo"),
        device=CPU,
        threads=1,
        declared_inputs=inputs,
        declared_outputs=outputs,
    )


def test_outputs_are_the_inputs() -> None:
    """Output i is input i, without a copy."""
    model = EchoRuntime().load(request((spec("x", -1), spec("z", 2)), (spec("y", -1),)))
    array = np.ones(3, np.float32)

    assert model.run([array, np.zeros(2, np.float32)])[0] is array
    assert [one.name for one in (*model.inputs, *model.outputs)] == ["x", "z", "y"]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((), ()),
        ((spec("x", 1),), (spec("y", 1), spec("z", 1))),
        ((spec("x", 1),), (spec("y", 2),)),
        ((spec("x", 1, optional=True),), (spec("y", 1),)),
    ],
    ids=["nothing", "more_outputs", "other_shape", "optional"],
)
def test_what_cannot_be_echoed_is_refused(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    """An output that is no copy of its input is refused at load."""
    with pytest.raises(ModelLoadError):
        EchoRuntime().load(request(inputs, outputs))
