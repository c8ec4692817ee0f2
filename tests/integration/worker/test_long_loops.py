"""A call that takes long does not keep others of its worker, however short its like were."""

import select
from pathlib import Path

import numpy as np

from tests.fakes.models import slow, tiny
from tests.fakes.worker_process import infer, running_worker, version

SHORT_CALLS = 64  # enough for their kind to be known as short
LONG_STEPS = 60_000


def steps(count: int) -> bytes:
    """Build a call of a model whose loop makes so many steps."""
    x, n = np.zeros((1, 4), np.float32), np.array([count], np.int64)
    return infer("/v2/models/looper/infer", {"x": x, "n": n})


def test_a_loop_that_turns_long_lets_others_be_answered(tmp_path: Path) -> None:
    """One shape's runs take as long as their values say: the others are answered meanwhile."""
    row = infer("/v2/models/tiny/infer", {"x": np.zeros((1, 16), np.float32)})
    with running_worker(tmp_path) as worker, worker.client() as looper, worker.client() as other:
        worker.apply(version(tmp_path, "looper", slow(1)), version(tmp_path, "tiny", tiny()))
        for _ in range(SHORT_CALLS):
            assert looper.ask(steps(1)).status == 200
        looper.send(steps(LONG_STEPS))
        for _ in range(4):
            assert other.ask(row).status == 200
        assert not select.select([looper.socket], [], [], 0)[0], "it kept the others waiting"
        assert looper.read().status == 200
