"""A pool that shall have fewer workers keeps those that serve."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from serving.clock import SystemClock
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.ports import PoolSpec, WorkerState
from serving.settings import load_settings
from serving.standalone.adapter import LocalCluster
from serving.standalone.edges import OneEdge
from tests.fakes import models
from tests.fakes.waiting import until
from tests.fakes.worker_process import version

pytestmark = pytest.mark.anyio


def workers(cluster: LocalCluster) -> Mapping[str, WorkerState]:
    """The one pool's workers, by name."""
    return {state.address.worker: state for state in cluster.observe()["d1"]}


def serving(cluster: LocalCluster) -> set[str]:
    """Those that have loaded the version."""
    return {
        name
        for name, state in workers(cluster).items()
        if any(said.state is VersionState.READY for said in state.versions.values())
    }


def kill_for_good(worker: WorkerState, spec: VersionSpec) -> None:
    """Kill a worker; when it has been restarted there is nothing to load."""
    Path(spec.file).unlink()
    os.kill(worker.pid, signal.SIGKILL)


async def comes_true(is_so: Callable[[], bool], what: str) -> None:
    """Wait for it, beside the loop."""
    await asyncio.to_thread(until, is_so, what)


async def test_the_one_that_serves_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The older one has died and cannot load its version again: it is the one that goes."""
    settings = load_settings(home=tmp_path_factory.mktemp("h"))  # short, for its sockets
    for folder in (settings.run_dir / "w", settings.log_dir):
        folder.mkdir(parents=True)
    spec = version(settings.home, "m", models.tiny(), max_batch_rows=16)
    pool = PoolSpec(
        pool="d1", dedicated=True, replica_count=2, gpu_count=0, versions=(spec,), scaled=True
    )
    async with asyncio.TaskGroup() as group:
        cluster = LocalCluster(
            settings,
            "test",
            group=group,
            clock=SystemClock(),
            node="here",
            until_unrouted=OneEdge().until_unrouted,
        )
        await cluster.ensure_pool(pool)
        await comes_true(lambda: serving(cluster) == {"d1-0", "d1-1"}, "both serve")
        kill_for_good(workers(cluster)["d1-0"], spec)
        await comes_true(lambda: serving(cluster) == {"d1-1"}, "one serves")

        await cluster.ensure_pool(replace(pool, replica_count=1))

        await comes_true(lambda: len(workers(cluster)) == 1, "one is left")
        assert serving(cluster) == {"d1-1"}
        await cluster.close(1.0)
