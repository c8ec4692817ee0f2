"""A worker in an environment of its own comes back although somebody removed that meanwhile."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from serving.clock import SystemClock
from serving.edge.routes import WorkerAddress
from serving.environments.store import Environments
from serving.rollout.host import Patience, WorkerHost, WorkerLaunch
from serving.rollout.ports import WorkerState
from serving.rollout.worker_argv import worker_argv
from serving.rollout.worker_environment import environment_order
from serving.settings import load_settings
from serving.standalone.selection import file_version
from serving.supervise import ChildSpec, RestartPolicy, child_environment
from tests.fakes.models import tiny
from tests.fakes.waiting import PATIENCE_S
from tests.fakes.wheels import use_only, write_wheel

pytestmark = pytest.mark.anyio

PATIENCE = Patience(
    look_s=0.05, restart=RestartPolicy(first_pause_s=0.01, longest_pause_s=0.05), quick_end_count=50
)


class Isolated:
    """A host whose worker runs in the environment of a lock."""

    def __init__(self, home: Path, lock_file: Path) -> None:
        """Prepare it."""
        settings = load_settings(home=home)
        address = WorkerAddress("d1-0", "here", str(home / "w.sock"))
        recorder = home / "w.recorder"
        child = ChildSpec(
            name="worker",
            argv=worker_argv(settings, address, recorder),
            env=child_environment(home, "test"),
            log_file=home / "w.log",
        )
        launch = WorkerLaunch(
            address=address,
            pool="d1",
            child=child,
            recorder=recorder,
            environment=environment_order(settings, str(lock_file), child),
        )
        self._news = asyncio.Event()
        self.host = WorkerHost(
            launch, clock=SystemClock(), on_change=self._news.set, patience=PATIENCE
        )

    async def until(self, is_so: Callable[[WorkerState], bool]) -> WorkerState:
        """Wait until the worker is observed in a state."""
        async with asyncio.timeout(2 * PATIENCE_S):
            while not is_so(self.host.observe()):
                await self._news.wait()
                self._news.clear()
        return self.host.observe()


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


@pytest.fixture(name="wheels")
def only_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the one wheel that pip can reach."""
    use_only(tmp_path / "wheels", monkeypatch)
    write_wheel(tmp_path / "wheels", "one-a", "1")
    return tmp_path / "wheels"


@asynccontextmanager
async def running(home: Path, folder: Path) -> AsyncIterator[Isolated]:
    """Let a host work until the block ends."""
    (folder / "lock.txt").write_text("one-a==1\n")
    (folder / "a.onnx").write_bytes(tiny())
    isolated = Isolated(home, folder / "lock.txt")
    async with asyncio.TaskGroup() as group:
        group.create_task(isolated.host.run())
        isolated.host.set_versions((file_version(folder / "a.onnx", gpu=False),))
        yield isolated
        await isolated.host.stop(1.0)


def is_ready(worker: WorkerState) -> bool:
    """Whether its versions are loaded."""
    return worker.state == "ready"


@pytest.mark.usefixtures("wheels")
async def test_a_removed_environment_is_built_again(home: Path, tmp_path: Path) -> None:
    """The next worker starts in it, in place of ending again and again."""
    async with running(home, tmp_path) as it:
        first = await it.until(is_ready)
        (environment,) = Environments(home).listed()
        shutil.rmtree(environment.folder)
        os.kill(first.pid, signal.SIGKILL)

        second = await it.until(lambda worker: is_ready(worker) and worker.pid != first.pid)

        assert psutil.Process(second.pid).cmdline()[0] == str(environment.python)
        assert second.restart_count == 1


async def test_one_that_cannot_be_built_again_is_tried_again(
    home: Path, tmp_path: Path, wheels: Path
) -> None:
    """While no index has the package its reason is told; when one has it the worker is back."""
    wheel = wheels / "one_a-1-py3-none-any.whl"
    async with running(home, tmp_path) as it:
        first = await it.until(is_ready)
        (environment,) = Environments(home).listed()
        shutil.rmtree(environment.folder)
        wheel.rename(tmp_path / wheel.name)
        os.kill(first.pid, signal.SIGKILL)
        away = await it.until(lambda worker: "No matching distribution" in worker.last_exit)
        (tmp_path / wheel.name).rename(wheel)

        back = await it.until(is_ready)

        assert away.state == "restarting"
        assert back.pid not in {0, first.pid}
