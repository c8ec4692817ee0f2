"""Priorities in a real worker, as both wires carry them."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving.ids import VersionKey
from serving.registry.version import (
    LevelPolicy,
    PriorityPolicy,
    QueuePolicy,
    VersionSpec,
)
from serving.worker.recorder import suspects
from tests.fakes import models
from tests.fakes.worker_process import (
    Reply,
    WorkerProcess,
    infer_body,
    request,
    running_worker,
    version,
    wait_until,
)

SLOW = "/v2/models/slow/infer"
X = np.ones((1, 4), "<f4")
LEVELS = PriorityPolicy(
    level_count=2, default_level=2, special=((2, LevelPolicy(max_calls=1, default_timeout_s=30)),)
)


def call(priority: int, length: int = 1, client: str = "") -> bytes:
    """Build a call of the slow model; `length` says how long it takes."""
    head, tail = infer_body({"x": X, "n": np.array([length], np.int64)})
    document = json.loads(head)
    if priority:
        document["parameters"]["priority"] = priority
    text = json.dumps(document).encode()
    header = f"inference-header-content-length: {len(text)}"
    named = (f"X-Client: {client}",) if client else ()
    return request(SLOW, text + tail, headers=(header, *named))


@pytest.fixture(name="slow")
def slow_version(tmp_path: Path) -> VersionSpec:
    """A slow model with two levels."""
    return version(tmp_path, "slow", models.slow(), queue=QueuePolicy(priorities=LEVELS))


def queued(worker: WorkerProcess) -> int:
    """Rows that wait."""
    rows: int = worker.state()["queued_rows"]
    return rows


def test_a_call_of_level_one_is_answered_first(tmp_path: Path, slow: VersionSpec) -> None:
    """It came last; the one that named no level waits behind it, and a third finds no place."""
    with running_worker(tmp_path, "--recorder", str(tmp_path / "recorder")) as worker:
        worker.apply(slow)
        with worker.client() as busy, worker.client() as second, worker.client() as first:
            busy.send(call(1, length=12))
            wait_until(
                lambda: suspects(tmp_path / "recorder", [VersionKey("slow", 1)]) != (), "it runs"
            )
            second.send(call(0, length=12))
            wait_until(lambda: queued(worker) == 1, "the second waits")
            first.send(call(1))
            wait_until(lambda: queued(worker) == 2, "both wait")
            with worker.client() as third:
                refused: Reply = third.ask(call(7))
            assert refused.status == 503
            assert "1 of 1 calls of priority level 2 wait" in refused.json()["error"]
            assert busy.read().status == 200
            assert first.read().status == 200
            assert worker.statistics("slow")["inference_stats"]["success"]["count"] == 2
            assert second.read().status == 200


def test_clients_that_a_header_names_take_turns(tmp_path: Path) -> None:
    """One that comes after two waiting calls of another waits for one of them only."""
    fair = PriorityPolicy(level_count=1, default_level=1, client_header="x-client")
    slow = version(tmp_path, "slow", models.slow(), queue=QueuePolicy(priorities=fair))
    with running_worker(tmp_path, "--recorder", str(tmp_path / "recorder")) as worker:
        worker.apply(slow)
        with worker.client() as busy, worker.client() as second, worker.client() as third:
            busy.send(call(0, length=12, client="flood"))
            wait_until(
                lambda: suspects(tmp_path / "recorder", [VersionKey("slow", 1)]) != (), "it runs"
            )
            second.send(call(0, length=2, client="flood"))
            wait_until(lambda: queued(worker) == 1, "the second waits")
            third.send(call(0, length=12, client="flood"))
            wait_until(lambda: queued(worker) == 2, "both wait")
            with worker.client() as other:
                assert other.ask(call(0, client="other")).status == 200
                assert worker.statistics("slow")["inference_stats"]["success"]["count"] == 3
            assert [each.read().status for each in (busy, second, third)] == [200] * 3
