"""Clients that do not read large replies take a bounded part of a worker's memory."""

import socket
from pathlib import Path

import numpy as np

from tests.fakes.models import tiny, wide
from tests.fakes.worker_process import infer, running_worker, version

COLUMNS = 2 << 20
REPLY_BYTES = 4 * COLUMNS
"""Over what the kernel keeps for a connection, so that a part of it stays in the worker."""


def test_unread_replies_cost_others_no_more_than_a_refusal(tmp_path: Path) -> None:
    """Beyond the limit large ones are refused with 503, until they are read; small ones come."""
    row = infer("/v2/models/tiny/infer", {"x": np.zeros((1, 16), np.float32)})
    call = infer("/v2/models/wide/infer", {"x": np.zeros((1, COLUMNS), np.float32)})
    limit = ("--max-queue-bytes", str(REPLY_BYTES + REPLY_BYTES // 8))
    with (
        running_worker(tmp_path, *limit) as worker,
        worker.client(receive_bytes=1 << 16) as lazy,
        worker.client() as other,
    ):
        worker.apply(version(tmp_path, "wide", wide(COLUMNS)), version(tmp_path, "tiny", tiny()))
        lazy.send(call)
        assert lazy.socket.recv(1, socket.MSG_PEEK)
        refused = other.ask(call)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "bytes wait for clients that read slowly" in refused.json()["error"]
        assert worker.statistics("wide")["inference_stats"]["fail"]["count"] == 1
        assert other.ask(row).status == 200
        assert len(lazy.read().floats()) == COLUMNS
        assert len(other.ask(call).floats()) == COLUMNS
