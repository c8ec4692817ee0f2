"""`WorkerHost` with a real worker process: versions, a hang, a program that cannot run."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from serving.clock import SystemClock
from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.host import Patience, WorkerHost, WorkerLaunch
from serving.rollout.host_watch import HostWatch, Senses
from serving.rollout.loading_priority import LOADING_NICENESS, first_start
from serving.rollout.ports import WorkerState
from serving.rollout.worker_argv import worker_argv
from serving.settings import load_settings
from serving.standalone.selection import file_version
from serving.supervise import ChildSpec, RestartPolicy, child_environment
from tests.fakes.models import tiny
from tests.fakes.nvml import FakeNvml, fake_gpu
from tests.fakes.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

KEY = VersionKey("a", 1)
QUICK = Patience(
    look_s=0.02,
    quick_end_count=3,
    restart=RestartPolicy(first_pause_s=0.01, longest_pause_s=0.05),
    load_tries=10_000,
    reload=RestartPolicy(first_pause_s=0.01, longest_pause_s=0.05),
)


class Watched:
    """A host, and a way to wait for what it observes."""

    def __init__(
        self,
        home: Path,
        argv: tuple[str, ...] = (),
        watch: HostWatch | None = None,
        patience: Patience = QUICK,
    ) -> None:
        """Prepare a worker in a home; another program in its place if `argv` names one."""
        settings = load_settings(home=home)
        address = WorkerAddress("s1-0", "here", str(home / "w.sock"))
        recorder = home / "w.recorder"
        child = ChildSpec(
            name="worker",
            argv=argv or worker_argv(settings, address, recorder),
            env=child_environment(home, "test"),
            log_file=home / "w.log",
        )
        launch = WorkerLaunch(
            address=address, pool="s1", child=child, recorder=recorder, devices="0"
        )
        launch = replace(launch, relocated=lambda: replace(launch, devices="1"))
        self._news = asyncio.Event()
        self.host = WorkerHost(
            launch, clock=SystemClock(), on_change=self._news.set, patience=patience, watch=watch
        )

    async def until(self, is_so: Callable[[WorkerState], bool]) -> WorkerState:
        """Wait until the worker is observed in a state."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so(self.host.observe()):
                await self._news.wait()
                self._news.clear()
        return self.host.observe()


@asynccontextmanager
async def running(watched: Watched, *specs: VersionSpec) -> AsyncIterator[Watched]:
    """Let a host work until the block ends."""
    async with asyncio.TaskGroup() as group:
        group.create_task(watched.host.run())
        watched.host.set_versions(specs)
        yield watched
        await watched.host.stop(1.0)


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


@pytest.fixture(name="spec")
def tiny_spec(tmp_path: Path) -> VersionSpec:
    """A small model as a version."""
    (tmp_path / "a.onnx").write_bytes(tiny())
    return file_version(tmp_path / "a.onnx", gpu=False)


def is_ready(worker: WorkerState) -> bool:
    """Whether the first list was applied."""
    return worker.state == "ready"


def session_niceness(pid: int) -> int:
    """Return the niceness of a process's session; 0 where sessions have none."""
    file = Path(f"/proc/{pid}/autogroup")
    return int(file.read_text().split()[-1]) if file.exists() else 0


async def test_versions_come_and_go(home: Path, spec: VersionSpec) -> None:
    """A listed version becomes READY, one that is not listed any more is forgotten."""
    async with running(Watched(home), spec) as it:
        worker = await it.until(is_ready)
        assert worker.versions[KEY].state is VersionState.READY
        assert worker.rss_bytes > 0
        it.host.set_versions(())
        await it.until(lambda worker: KEY not in worker.versions)


async def test_a_worker_stands_back_while_it_loads_beside_another(
    home: Path, spec: VersionSpec
) -> None:
    """Beside one that serves it is started with a niceness, and no thread has one when it is ready.

    What a worker that ended has left behind is nobody: then there is no reason to stand back.
    """
    watched = Watched(home)
    child = ChildSpec(name="worker", argv=("worker",), env={}, log_file=home / "w.log")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(home / "other.sock"))
        assert first_start(child, home / "w.sock").niceness == 0
        other.listen()
        assert first_start(child, home / "w.sock").niceness == LOADING_NICENESS
        async with running(watched, spec) as it:
            worker = await it.until(is_ready)
            threads = map(int, os.listdir(f"/proc/{worker.pid}/task"))  # noqa: PTH208  ids, no paths
            assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {0}
            assert session_niceness(worker.pid) == 0


async def test_a_silent_worker_is_killed_and_replaced(home: Path, spec: VersionSpec) -> None:
    """A worker that hangs is killed, and the next one hosts the same versions."""
    async with running(Watched(home, patience=replace(QUICK, answer_s=1.0)), spec) as it:
        first = await it.until(is_ready)
        os.kill(first.pid, signal.SIGSTOP)
        worker = await it.until(lambda worker: is_ready(worker) and worker.pid != first.pid)
        assert worker.last_exit.startswith("killed by signal 9 (no answer for ")
        assert worker.versions[KEY].state is VersionState.READY


async def test_a_version_that_cannot_be_loaded_again_is_tried_again(
    home: Path, spec: VersionSpec
) -> None:
    """A file system that is away for a moment, when the worker is started again, costs no more."""
    file = Path(spec.file)
    async with running(Watched(home), spec) as it:
        first = await it.until(is_ready)
        aside = await asyncio.to_thread(file.rename, file.with_suffix(".aside"))
        os.kill(first.pid, signal.SIGKILL)
        failed = await it.until(lambda worker: worker.versions[KEY].is_retried)
        assert failed.versions[KEY].state is VersionState.UNAVAILABLE
        await asyncio.to_thread(aside.rename, file)
        worker = await it.until(lambda worker: worker.versions[KEY].state is VersionState.READY)
        assert worker.pid not in {0, first.pid}


async def test_a_worker_whose_gpu_fails_is_started_on_another(
    home: Path, spec: VersionSpec
) -> None:
    """It is killed, its end names the error, and the next one stays: its GPU works."""
    gpus = [fake_gpu(DeviceGetUUID=f"GPU-{number}") for number in range(2)]
    nvml = FakeNvml(gpus)
    watch = HostWatch(SystemClock(), senses=Senses(nvml=nvml))
    watch.look()
    watch.look()
    assert watch.gpus is not None
    async with running(Watched(home, watch=watch), spec) as it:
        first = await it.until(is_ready)
        nvml.xids.append((gpus[0], 79))
        watch.gpus.hear()
        worker = await it.until(lambda worker: is_ready(worker) and worker.pid != first.pid)
    assert (first.devices, worker.devices) == ("0", "1")
    assert worker.last_exit == (
        "killed by signal 9 (GPU-0 reported Xid 79 (GPU has fallen off the bus))"
    )
    assert worker.surroundings is not None
    assert [error.xid for error in worker.surroundings.gpu_errors] == [79]


async def test_a_program_that_cannot_run_fails(home: Path, spec: VersionSpec) -> None:
    """After some quick ends in a row the worker counts as failed, and the ending is told."""
    argv = (sys.executable, "-c", "raise SystemExit(7)")
    async with running(Watched(home, argv), spec) as it:
        worker = await it.until(lambda worker: worker.state == "failed")
        assert worker.last_exit == "exit status 7, see its log w.log"
        assert worker.versions[KEY].state is VersionState.LOADING


async def test_a_host_that_was_cancelled_keeps_nobody_waiting(
    home: Path, spec: VersionSpec
) -> None:
    """When another part of the process fails, its tasks are cancelled before workers are ended."""
    watched = Watched(home)
    watched.host.set_versions((spec,))
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        task = group.create_task(watched.host.run())
        worker = await watched.until(is_ready)
        task.cancel()
        await watched.host.stop(1.0)
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)
