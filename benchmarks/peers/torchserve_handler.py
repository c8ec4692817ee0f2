"""TorchServe's handler around one ONNX model: rows are raw bytes. Loaded by file, not imported."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort


class TinyHandler:
    """What TorchServe makes once in each of its workers."""

    def initialize(self, context: Any) -> None:
        """Load the model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        file = Path(context.system_properties["model_dir"]) / "model.onnx"
        self.session = ort.InferenceSession(str(file), options, ["CPUExecutionProvider"])

    def handle(self, requests: list[dict[str, Any]], _: Any) -> list[bytes]:
        """Answer a batch: a row each."""
        rows = [np.frombuffer(one["body"], np.float32) for one in requests]
        (y,) = self.session.run(None, {"x": np.stack(rows)})
        return [row.tobytes() for row in y]
