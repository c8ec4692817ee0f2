"""ONNX models with BF16 among their tensors, really run on the CPU."""

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from runtimes.contract import LoadedModel
from runtimes.datatypes import DTYPES, Datatype

Load = Callable[..., LoadedModel]


def passed_through() -> bytes:
    """Return a model two of whose outputs are its inputs themselves: x FP32 and b BF16."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])
    b = helper.make_tensor_value_info("b", TensorProto.BFLOAT16, ["N"])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x, b], [y, x, b])
    opsets = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=8
    ).SerializeToString()
    return content


def test_an_output_that_is_an_input_does_not_share_its_memory(load: Load) -> None:
    """A feed is nobody's after the run; what the answer says must stay."""
    model = load(passed_through())
    x, b = np.ones(3, np.float32), np.ones(3, DTYPES[Datatype.BF16])

    answers = model.run([x, b])

    assert not any(np.shares_memory(answer, feed) for answer in answers for feed in (x, b))
    x[:], b[:] = 7, 7
    assert [answer.tolist() for answer in answers] == [[-1] * 3, [1] * 3, [1] * 3]
