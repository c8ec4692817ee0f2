"""What the workers of a real instance say of their traffic, across a worker's death."""

import asyncio
import os
import signal

import pytest
from geventhttpclient.response import HTTPConnectionClosed
from tritonclient.utils import InferenceServerException

from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.monitor.traffic import Lives, deltas
from serving.registry.version import VersionState
from serving.rollout.ports import HostedVersion, WorkerState
from serving.rollout.traffic_asking import ask_all
from serving.worker.control import TrafficQuestion
from tests.fakes.standalone_server import Server, put_model, serving

KEY = VersionKey("counted", 1)
CALLS = 7


def look(server: Server, *, with_outputs: bool = False) -> Lives:
    """Ask the worker, as the controller does; empty if it was late."""
    worker = server.admin("GET", "/v1/status")["workers"][0]  # type: ignore[index]
    name = worker["worker"]
    state = WorkerState(
        address=WorkerAddress(name, "here", str(server.home / "run" / "w" / f"{name}.sock")),
        pool=worker["pool"],
        pid=worker["pid"],
        state=worker["state"],
        versions={KEY: HostedVersion(state=VersionState.READY)},
        restart_count=worker["restart_count"],
    )
    question = TrafficQuestion(keys=(KEY,), with_outputs=with_outputs)
    return asyncio.run(ask_all([state], question))


def heard(server: Server, *, with_outputs: bool = False) -> Lives:
    """Ask the worker until it answers in time."""
    while not (found := look(server, with_outputs=with_outputs)):
        pass
    return found


def test_traffic_is_counted_across_a_workers_death(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Calls count with their latencies and outputs; a worker that comes back is a new series."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, KEY.model)
    with serving(tmp_path_factory.mktemp("h"), "--model-repository", str(repository)) as server:
        server.until(lambda: _answers(server), "it serves")
        first = heard(server, with_outputs=True)
        for _ in range(CALLS):
            server.answer(KEY.model)
        second = heard(server)
        pid = server.worker_of(KEY.model)
        os.kill(pid, signal.SIGKILL)
        server.until(lambda: server.worker_of(KEY.model) not in {0, pid}, "it is back")
        server.until(lambda: _answers(server), "it serves again")
        third = heard(server)

    counted = deltas(first, second, watched_s=0)[KEY]
    assert counted.answered_count == sum(counted.latency_counts.values()) == CALLS
    assert counted.fault_count == 0
    assert sum(counted.outputs["y largest"].values()) == CALLS
    assert first.keys() == second.keys() != third.keys()
    assert 0 < deltas(second, third, watched_s=600)[KEY].answered_count < CALLS


def _answers(server: Server) -> bool:
    try:
        server.answer(KEY.model)
    except (InferenceServerException, HTTPConnectionClosed):
        return False
    return True
