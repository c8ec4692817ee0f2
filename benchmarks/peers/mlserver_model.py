"""MLServer's runtime around one ONNX model: it has none for ONNX that could be installed."""

from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.bare_loop import open_session


class Tiny(MLModel):  # type: ignore[misc]  # untyped here
    """Decode, run, encode: with numpy's codec."""

    async def load(self) -> bool:
        """Load the model."""
        self.session = open_session(Path(self.settings.parameters.uri), threads=1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request, or a batch that MLServer has made of several."""
        x = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        (y,) = self.session.run(None, {"x": x})
        outputs = [NumpyCodec.encode_output("y", y)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
