"""BentoML's service around one ONNX model, as its documentation shows it: JSON, batches."""

import os
from pathlib import Path
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import DType, Shape

from benchmarks.peers.bare_loop import open_session

Rows = Annotated[np.ndarray, DType("float32"), Shape((-1, 16))]


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Tiny:
    """One endpoint, whose calls BentoML puts together."""

    def __init__(self) -> None:
        self.session = open_session(Path(os.environ["TINY_FILE"]), threads=1)  # noqa: TID251  BentoML gives no other way

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)  # type: ignore[untyped-decorator]  # untyped here
    def infer(self, x: Rows) -> np.ndarray:
        """Run a batch."""
        y: np.ndarray[Any, Any] = self.session.run(None, {"x": x})[0]
        return y
