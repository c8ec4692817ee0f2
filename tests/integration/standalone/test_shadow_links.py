"""Shadow traffic as a controller starts it: pools of real workers, mirrors over them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from serving.clock import SystemClock
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.ports import Mirror, PoolSpec, WorkerState
from serving.settings import load_settings
from serving.standalone.adapter import LocalCluster
from serving.standalone.edges import OneEdge
from tests.fakes import models
from tests.fakes.worker_process import infer_body, version, wait_until

pytestmark = pytest.mark.anyio

LIVE, NEW = VersionKey("m", 1), VersionKey("m", 2)
MIRROR = Mirror(live=LIVE, candidate=2)
ROWS = np.full((2, 16), 1024.0, "<f4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A cluster with two pools, `s1` for the live version and `d2` for the candidate."""

    cluster: LocalCluster

    def worker(self, pool: str) -> WorkerState:
        """The pool's one worker."""
        (state,) = self.cluster.observe()[pool]
        return state

    def is_ready(self, pool: str, key: VersionKey) -> bool:
        """Whether a pool's worker serves a version."""
        state = self.worker(pool)
        hosted = state.versions.get(key)
        return state.state == "ready" and bool(hosted and hosted.state is VersionState.READY)

    def compared(self) -> ComparisonReport:
        """What is known of the one pair."""
        nothing = ComparisonReport(model="m", version=2, against=1)
        return next(iter(self.cluster.comparisons()), nothing)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for it, beside the loop."""
        await asyncio.to_thread(wait_until, is_so, "the cluster")

    async def ask(self, count: int) -> None:
        """Ask the live version so many times."""
        head, tail = infer_body({"x": ROWS})
        headers = {"inference-header-content-length": str(len(head))}
        connector = aiohttp.UnixConnector(path=self.worker("s1").address.socket)
        async with aiohttp.ClientSession(connector=connector) as session:
            for _ in range(count):
                async with session.post(
                    "http://w/v2/models/m/infer", data=head + tail, headers=headers
                ) as reply:
                    assert reply.status == 200

    async def compare(self, count: int) -> None:
        """Ask until so many copies were compared: one that comes too late is dropped."""
        asked = 0
        while (missing := count - self.compared().compared_calls) > 0:
            await self.ask(missing)
            asked += missing
            await self.until(lambda: self.fate_count() >= asked)  # noqa: B023  awaited

    def fate_count(self) -> int:
        """How many copies were compared or dropped."""
        seen = self.compared()
        return seen.compared_calls + seen.dropped_calls


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Running]:
    """Start both pools and wait for them."""
    settings = load_settings(home=home)
    for folder in (settings.run_dir / "w", settings.log_dir):
        folder.mkdir(parents=True)
    contents = {LIVE: models.tiny(), NEW: models.tiny_off(1024.0, 0.5)}
    specs = {
        key: version(home, key.model, content, number=key.version, max_batch_rows=16)
        for key, content in contents.items()
    }
    async with asyncio.TaskGroup() as group:
        cluster = LocalCluster(
            settings,
            "test",
            group=group,
            clock=SystemClock(),
            node="here",
            until_unrouted=OneEdge().until_unrouted,
        )
        run = Running(cluster=cluster)
        await cluster.ensure_pool(pool("s1", specs[LIVE]))
        await cluster.ensure_pool(pool("d2", specs[NEW]))
        await run.until(lambda: run.is_ready("s1", LIVE) and run.is_ready("d2", NEW))
        yield run
        await cluster.close(1.0)


def pool(name: str, spec: VersionSpec) -> PoolSpec:
    """A pool of one worker and one version."""
    return PoolSpec(pool=name, dedicated=True, replica_count=1, gpu_count=0, versions=(spec,))


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


async def test_a_mirror_outlives_both_workers(home: Path) -> None:
    """A worker that comes back is told again, and what was found before it died still counts."""
    async with running(home) as run:
        run.cluster.set_mirrors([MIRROR])
        await run.until(lambda: bool(run.cluster.comparisons()))
        await run.compare(3)
        # Each worker tells of its own: the one that copies may do so later.
        await run.until(lambda: run.compared().copied_calls == run.fate_count())
        known = run.compared()
        assert known.mismatched_rows == known.compared_rows == 6
        for name, key in (("d2", NEW), ("s1", LIVE)):
            restarts = run.worker(name).restart_count
            os.kill(run.worker(name).pid, signal.SIGKILL)
            await run.until(lambda: run.worker(name).restart_count > restarts)  # noqa: B023  awaited
            await run.until(lambda: run.is_ready(name, key))  # noqa: B023  awaited
        before = run.compared()
        assert (before.compared_calls, before.copied_calls) == (3, known.copied_calls)
        while run.compared().compared_calls == before.compared_calls:
            await run.ask(1)  # the worker may not have been told yet
        assert run.compared().mismatched_rows == run.compared().compared_rows


async def test_a_comparison_ends_with_its_mirror(home: Path) -> None:
    """Nothing is known of it any more, and it starts anew."""
    async with running(home) as run:
        run.cluster.set_mirrors([MIRROR])
        await run.until(lambda: bool(run.cluster.comparisons()))
        await run.compare(2)
        run.cluster.set_mirrors([])
        assert run.cluster.comparisons() == ()
        await run.ask(1)
        run.cluster.set_mirrors([MIRROR])
        await run.until(lambda: bool(run.cluster.comparisons()))
        assert run.compared().compared_calls == 0


async def test_a_pool_that_goes_takes_no_copies(home: Path) -> None:
    """The live workers are told when the candidate's are stopped."""
    async with running(home) as run:
        run.cluster.set_mirrors([MIRROR])
        await run.until(lambda: bool(run.cluster.comparisons()))
        await run.cluster.stop_pool("d2")
        await run.ask(2)
        assert run.compared().compared_calls == 0
