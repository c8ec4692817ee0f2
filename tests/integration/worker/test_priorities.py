"""Priorities in a real worker, as both wires carry them."""

import json
from pathlib import Path

import numpy as np

from serving.registry.version import LevelPolicy, PriorityPolicy, QueuePolicy
from tests.fakes.held_worker import holding_worker
from tests.fakes.worker_process import Reply, WorkerProcess, infer_body, request, wait_until

SLOW = "/v2/models/slow/infer"
TENSORS = {"x": np.ones((1, 4), "<f4"), "n": np.ones(1, np.int64)}
LEVELS = PriorityPolicy(
    level_count=2, default_level=2, special=((2, LevelPolicy(max_calls=1, default_timeout_s=90)),)
)
FAIR = PriorityPolicy(level_count=1, default_level=1, client_header="x-client")


def call(priority: int, client: str = "") -> bytes:
    """Build a call of the model whose runs are held."""
    head, tail = infer_body(TENSORS)
    document = json.loads(head)
    if priority:
        document["parameters"]["priority"] = priority
    text = json.dumps(document).encode()
    header = f"inference-header-content-length: {len(text)}"
    named = (f"X-Client: {client}",) if client else ()
    return request(SLOW, text + tail, headers=(header, *named))


def queued(worker: WorkerProcess) -> int:
    """Rows that wait."""
    rows: int = worker.state()["queued_rows"]
    return rows


def answered(worker: WorkerProcess) -> int:
    """How many calls were answered."""
    count: int = worker.statistics("slow")["inference_stats"]["success"]["count"]
    return count


def test_a_call_of_level_one_is_answered_first(tmp_path: Path) -> None:
    """It came last; the one that named no level waits behind it, and a third finds no place."""
    with (
        holding_worker(tmp_path) as (worker, hold),
        worker.client() as busy,
        worker.client() as second,
        worker.client() as first,
    ):
        hold.host(queue=QueuePolicy(priorities=LEVELS))
        hold.occupy(busy, call(1))
        second.send(call(0))
        wait_until(lambda: queued(worker) == 1, "the second waits")
        first.send(call(1))
        wait_until(lambda: queued(worker) == 2, "both wait")
        with worker.client() as third:
            refused: Reply = third.ask(call(7))
        assert refused.status == 503
        assert "1 of 1 calls of priority level 2 wait" in refused.json()["error"]
        for _ in range(2):
            hold.let_end()
        assert busy.read().status == 200
        assert first.read().status == 200
        assert answered(worker) == 2
        hold.release()
        assert second.read().status == 200


def test_clients_that_a_header_names_take_turns(tmp_path: Path) -> None:
    """One that comes after two waiting calls of another waits for one of them only."""
    with (
        holding_worker(tmp_path) as (worker, hold),
        worker.client() as busy,
        worker.client() as second,
        worker.client() as third,
    ):
        hold.host(queue=QueuePolicy(priorities=FAIR))
        hold.occupy(busy, call(0, "flood"))
        second.send(call(0, "flood"))
        wait_until(lambda: queued(worker) == 1, "the second waits")
        third.send(call(0, "flood"))
        wait_until(lambda: queued(worker) == 2, "both wait")
        with worker.client() as other:
            other.send(call(0, "other"))
            wait_until(lambda: queued(worker) == 3, "all wait")
            for _ in range(3):
                hold.let_end()
            assert other.read().status == 200
            assert answered(worker) == 3
        hold.release()
        assert [each.read().status for each in (busy, second, third)] == [200] * 3
