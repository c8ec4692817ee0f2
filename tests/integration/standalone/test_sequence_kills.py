"""Sequences under load while their worker is killed: every answer is right, or is an error."""

import os
import signal
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from tests.fakes.sequence_models import ACCUMULATOR_CONFIG, accumulator
from tests.fakes.standalone_server import LIMIT_S, Server, serving

KILLS = 4
CLIENTS = 6
STEPS = 20
FRESH_IDS = count(1)


class Caller:
    """A client that runs one sequence after the other and checks every sum."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self.right_count = 0
        self.wrong: list[tuple[int, float, float]] = []
        self.errors: list[InferenceServerException] = []
        self.thread = threading.Thread(target=self._run)

    def stop(self) -> None:
        """End with the sequence that is under way."""
        self._stop.set()
        self.thread.join(LIMIT_S)

    def _run(self) -> None:
        with triton_grpc.InferenceServerClient(self._server.grpc) as client:
            while not self._stop.is_set():
                try:
                    self._sequence(client, next(FRESH_IDS))
                except InferenceServerException as error:
                    self.errors.append(error)

    def _sequence(self, client: triton_grpc.InferenceServerClient, sequence: int) -> None:
        x = triton_grpc.InferInput("x", [1, 1], "FP32")
        for number in range(1, STEPS + 1):
            x.set_data_from_numpy(np.array([[number]], np.float32))
            result = client.infer(
                "sums",
                [x],
                sequence_id=sequence,
                sequence_start=number == 1,
                sequence_end=number == STEPS,
            )
            got, wanted = float(result.as_numpy("y")[0, 0]), number * (number + 1) / 2
            if (got, int(result.as_numpy("id")[0, 0])) == (wanted, sequence):
                self.right_count += 1
            else:
                self.wrong.append((sequence, wanted, got))


@pytest.mark.long
def test_no_step_is_answered_from_a_state_that_is_not_its_own(tmp_path: Path) -> None:
    """Kills cost the sequences that were under way, never a right answer; then all goes on."""
    folder = tmp_path / "models" / "sums"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(accumulator())
    config = ACCUMULATOR_CONFIG.replace("max_candidate_sequences: 4", "max_candidate_sequences: 64")
    (folder / "config.pbtxt").write_text(config)
    with serving(tmp_path / "b", "--model-repository", str(tmp_path / "models")) as server:
        callers = [Caller(server) for _ in range(CLIENTS)]
        for caller in callers:
            caller.thread.start()
        for _ in range(KILLS):
            before = sum(caller.right_count for caller in callers)
            server.until(
                lambda: sum(caller.right_count for caller in callers) > before + 200,  # noqa: B023  called at once
                "200 more right answers",
            )
            os.kill(server.worker_of("sums"), signal.SIGKILL)
        before = sum(caller.right_count for caller in callers)
        server.until(
            lambda: sum(caller.right_count for caller in callers) > before + 200,
            "right answers after the last kill",
        )
        for caller in callers:
            caller.stop()
    assert [wrong for caller in callers for wrong in caller.wrong] == []
    assert any(caller.errors for caller in callers)
