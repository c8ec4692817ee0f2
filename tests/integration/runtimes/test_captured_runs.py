"""Runs through the buffers and callables of CUDA graphs, with the CPU in the device's place.

Nothing is captured here: the engine runs anew each time. That captures are right is asked on GPUs
(`tests/gpu/test_gpu_graphs.py`), and by the model itself before it trusts one.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtimes.contract import Array, LoadRequest, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.devices import CPU
from runtimes.errors import EngineError, InvalidArgumentError
from runtimes.onnx_runs import BoundModel
from runtimes.onnxrt import OnnxRuntime, open_session
from runtimes.torch_runs import Callee, TorchModel
from runtimes.torch_schema import BoundInput
from runtimes.torch_tensors import HostPlacement
from tests.fakes import models

Bound = Callable[[bytes], BoundModel]
ROWS = [np.full((2, 16), value, np.float32) for value in range(6)]


@pytest.fixture
def bound(tmp_path: Path) -> Bound:
    """Return a function that loads an ONNX model as for CUDA with graphs."""

    def load_bound(content: bytes) -> BoundModel:
        file = tmp_path / "model.onnx"
        file.write_bytes(content)
        plain = OnnxRuntime().load(LoadRequest(file=file, device=CPU, threads=1))
        session = open_session(LoadRequest(file=file, device=CPU, threads=1))
        return BoundModel(session, plain.inputs, plain.outputs, CPU, graphs=True)

    return load_bound


def proven_count(model: BoundModel | TorchModel) -> int:
    """How many sets of shapes are replayed."""
    assert model.graphs is not None
    return model.graphs.proven_count


def test_replayed_runs_answer_as_plain_ones(bound: Bound) -> None:
    """Each its own inputs, and an answer stays what it was when the next one comes."""
    model = bound(models.tiny())
    answers = [model.run([x])[0] for x in ROWS]
    assert proven_count(model) == 1
    for x, answer in zip(ROWS, answers, strict=True):
        np.testing.assert_allclose(answer, x @ models.WEIGHT + models.BIAS, rtol=1e-5)


def test_an_optional_input_that_is_left_out_is_another_run(bound: Bound) -> None:
    """Nothing of the last run lingers in a buffer."""
    model = bound(models.optional_bias())
    bias = np.full(4, 10, np.float32)
    for x in ROWS:
        given, without = model.run([x, bias])[0], model.run([x, None])[0]
        np.testing.assert_allclose(given - without, np.full((2, 4), 10), rtol=1e-4)
    assert proven_count(model) == 2


def test_failures_are_told_as_those_of_plain_runs(bound: Bound) -> None:
    """And a closed model refuses."""
    model = bound(models.fail_on_demand())
    x = np.arange(4, dtype=np.float32)[None]
    for index in (0, 1, 2):
        model.run([x, np.array([[index]])])
    assert proven_count(model) == 1
    with pytest.raises(InvalidArgumentError, match="the model cannot run these inputs"):
        model.run([x, np.array([[9]])])
    assert model.run([x, np.array([[3]])])[0].tolist() == [[3]]
    model.close()
    with pytest.raises(EngineError, match="closed"):
        model.run([x, np.array([[0]])])


def test_bfloat16_has_no_graphs(bound: Bound) -> None:
    """Its buffers cannot be updated in place."""
    assert bound(models.identity(Datatype.BF16)).graphs is None


def test_a_module_is_replayed_by_what_captured_it() -> None:
    """Arguments and results take the same way as those of a plain run."""
    x, y = (TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 16)) for name in "xy")
    captured: list[Array] = []

    def capture(
        forward: Callable[..., object], arguments: list[object]
    ) -> Callable[[list[object]], object]:
        captured.append(np.asarray(arguments[0]))
        return lambda fresh: forward(*fresh)

    model = TorchModel(
        Callee(forward=lambda tensor: tensor + 1, defaults=[None]),
        (BoundInput(spec=x, position=0, kind="Tensor"),),
        ((0, y),),
        HostPlacement(copies_inputs=False, copies_outputs=False),
        (),
        capture,
    )
    for row in ROWS:
        np.testing.assert_array_equal(model.run([row])[0], row + 1)
    assert proven_count(model) == len(captured) == 1
