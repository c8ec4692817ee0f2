"""The model file of Triton's Python backend: ONNX Runtime with one thread, a batch in one run.

Triton loads it from the model's folder, where `model.onnx` lies beside it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as triton


class TritonPythonModel:
    """What the backend calls; the class's name is the backend's."""

    def initialize(self, _: dict[str, str]) -> None:
        """Load the model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        file = Path(__file__).with_name("model.onnx")
        self.session = ort.InferenceSession(str(file), options, ["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch: the rows of all requests in one run."""
        parts = [triton.get_input_tensor_by_name(one, "x").as_numpy() for one in requests]
        (y,) = self.session.run(None, {"x": parts[0] if len(parts) == 1 else np.concatenate(parts)})
        replies, at = [], 0
        for part in parts:
            tensor = triton.Tensor("y", y[at : at + len(part)])
            replies.append(triton.InferenceResponse([tensor]))
            at += len(part)
        return replies
