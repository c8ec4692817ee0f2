"""A real stateful network, Silero's voice detector, as sequences: clients send audio only."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from benchmarks.models.real import fetch
from benchmarks.models.wheels import WheelCache
from tests.fakes.standalone_server import serving

CACHE: Final = Path("~/.cache/bascule-models").expanduser()
MODEL: Final = "silero_vad"
CONFIG: Final = """
sequence_batching {
  oldest { max_candidate_sequences: 16 }
  max_sequence_idle_microseconds: 60000000
  state { input_name: "state" output_name: "stateN" data_type: TYPE_FP32 dims: [2, 1, 128] }
}
"""
TONE: Final = 0.5 * np.sin(2 * np.pi * 200 * np.arange(512) / 16000).astype(np.float32)
FIRST: Final = np.concatenate([np.zeros(64, np.float32), TONE])
NEXT: Final = np.concatenate([TONE[-64:], TONE])
PROBABILITIES: Final = (0.105627, 0.290068)
"""Measured with ONNX Runtime alone, its state fed back by hand."""


def hear(
    client: triton_grpc.InferenceServerClient, sequence: str, chunk: np.ndarray, *, start: bool
) -> float:
    """Send a chunk of audio; return the probability that somebody speaks."""
    audio = triton_grpc.InferInput("input", [1, 576], "FP32")
    audio.set_data_from_numpy(chunk.reshape(1, 576))
    rate = triton_grpc.InferInput("sr", [], "INT64")
    rate.set_data_from_numpy(np.array(16000, np.int64))
    result = client.infer(MODEL, [audio, rate], sequence_id=sequence, sequence_start=start)
    return float(result.as_numpy("output")[0, 0])


@pytest.mark.long
def test_two_callers_are_heard_at_once(tmp_path: Path) -> None:
    """Each chunk is judged on what the same caller said before, and on nothing else."""
    models = tmp_path / "models"
    fetch(MODEL, models, WheelCache(CACHE))
    (models / MODEL / "config.pbtxt").write_text(CONFIG)
    with (
        serving(tmp_path / "b", "--model-repository", str(models)) as server,
        triton_grpc.InferenceServerClient(server.grpc) as client,
    ):
        heard = [
            (
                hear(client, "a", chunk, start=is_first),
                hear(client, "b", chunk, start=True),
            )
            for chunk, is_first in ((FIRST, True), (NEXT, False))
        ]
    in_sequence = [one for one, _ in heard]
    assert in_sequence == pytest.approx(PROBABILITIES, abs=2e-5)
    alone = [other for _, other in heard]
    assert alone[0] == pytest.approx(PROBABILITIES[0], abs=2e-5)
    assert alone[1] != pytest.approx(PROBABILITIES[1], abs=1e-3)
