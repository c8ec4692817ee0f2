"""`serving.supervise` with real processes: started, watched, adopted, stopped, gone with us."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from serving.supervise import (
    LAUNCHER,
    Child,
    ChildSpec,
    RestartPolicy,
    clean_environment,
    is_running,
)
from tests.fakes.waiting import PATIENCE_S, while_others_work

pytestmark = pytest.mark.anyio
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(600)"
)


def child_spec(folder: Path, code: str, *, dies_with_parent: bool = True) -> ChildSpec:
    """A Python program as a child."""
    return ChildSpec(
        name="program",
        argv=(sys.executable, "-c", code),
        env=clean_environment(os.environ),  # noqa: TID251  a test's own processes
        log_file=folder / "program.log",
        dies_with_parent=dies_with_parent,
    )


async def has_said(file: Path, text: str) -> None:
    """Wait until a log has a text."""
    await while_others_work(lambda: file.exists() and text in file.read_text(), text)


async def test_end_is_told_in_words(tmp_path: Path) -> None:
    """A child's exit status becomes a sentence for status and logs."""
    child = Child.start(child_spec(tmp_path, "raise SystemExit(3)"))
    assert (await child.wait()).text == "exit status 3"
    assert child.ended is not None


async def test_kill_is_told_in_words(tmp_path: Path) -> None:
    """A killed child is reported with its signal's number."""
    child = Child.start(child_spec(tmp_path, SLEEPER))
    child.send_signal(signal.SIGKILL)
    assert (await child.wait()).text == "killed by signal 9"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may surely end a niceness again")
async def test_a_child_stands_back_where_it_may_end_that(tmp_path: Path) -> None:
    """A child that is given a niceness has it from its first instruction on."""
    code = "import os; raise SystemExit(os.getpriority(os.PRIO_PROCESS, 0))"
    spec = replace(child_spec(tmp_path, code), niceness=7)
    assert (await Child.start(spec).wait()).returncode == spec.niceness


async def test_nobody_stands_back_for_ever(tmp_path: Path) -> None:
    """Where the kernel lets nobody end a niceness, none is begun."""
    launch = f"{LAUNCHER.read_text()}\n"
    refusing = (
        "import os\nreal = os.setpriority\n"
        "def refuse(which, who, niceness):\n"
        "    if niceness < os.getpriority(which, who): raise PermissionError\n"
        "    real(which, who, niceness)\n"
        "os.setpriority = refuse\n"
    )
    program = tmp_path / "launch.py"
    program.write_text(refusing + launch)
    tell = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    before = os.getpriority(os.PRIO_PROCESS, 0)
    argv = (sys.executable, str(program), "-", "7", "-", sys.executable, "-c", tell)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)  # noqa: ASYNC221
    assert int(done.stdout) == before


async def test_missing_program_says_so_in_the_log(tmp_path: Path) -> None:
    """A program that does not exist ends the child, and the log names it."""
    spec = ChildSpec(
        name="nothing", argv=("/no/such/program",), env={}, log_file=tmp_path / "nothing.log"
    )
    assert (await Child.start(spec).wait()).text == "exit status 1"
    assert "cannot run /no/such/program" in spec.log_file.read_text()


async def test_stop_asks_then_insists(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed after the grace time."""
    spec = child_spec(tmp_path, STUBBORN)
    child = Child.start(spec)
    await has_said(spec.log_file, "up")
    assert (await child.stop(0.05)).text == "killed by signal 9"


async def test_whoever_is_cancelled_insists_too(tmp_path: Path) -> None:
    """A supervisor that goes because another part failed leaves no stubborn child behind."""
    spec = child_spec(tmp_path, STUBBORN)
    child = Child.start(spec)
    await has_said(spec.log_file, "up")

    async def supervise() -> None:
        try:
            await child.wait()
        finally:
            await child.stop(0.05)

    supervising = asyncio.ensure_future(supervise())
    await asyncio.sleep(0)
    supervising.cancel()
    await asyncio.wait((supervising,))
    assert child.ended is not None
    assert child.ended.text == "killed by signal 9"


async def test_an_adopted_process_is_watched_and_stopped() -> None:
    """A process that somebody else started is watched by its id and can be stopped."""
    other = subprocess.Popen(  # noqa: ASYNC220  not by way of Child, on purpose
        [sys.executable, "-c", SLEEPER], stdout=subprocess.DEVNULL
    )
    child = Child.adopt("other", other.pid)
    assert child is not None
    child.send_signal(signal.SIGTERM)
    assert (await child.wait()).text == "ended, status unknown"
    other.wait()
    assert Child.adopt("other", other.pid) is None
    assert not is_running(other.pid)


async def test_a_released_child_lives_on(tmp_path: Path) -> None:
    """A child that shall outlive its supervisor is released, and another adopts it."""
    spec = child_spec(tmp_path, SLEEPER, dies_with_parent=False)
    first = Child.start(spec)
    await has_said(spec.log_file, "up")
    first.release()
    second = Child.adopt("program", first.pid)
    assert second is not None
    assert second.ended is None
    await second.stop(5)


async def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """When the supervisor is killed, its child is gone as well."""
    code = f"""
import asyncio, sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from serving.supervise import Child, ChildSpec
async def main():
    child = Child.start(ChildSpec(name="c", argv=(sys.executable, "-c", {SLEEPER!r}), env={{}},
        log_file=Path({str(tmp_path / "grandchild.log")!r})))
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""
    spec = child_spec(tmp_path, code)
    parent = Child.start(spec)
    await has_said(tmp_path / "grandchild.log", "up")
    grandchild = Child.adopt("grandchild", int(spec.log_file.read_text()))
    assert grandchild is not None
    parent.send_signal(signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        await grandchild.wait()


@pytest.mark.parametrize(
    ("quick_end_count", "pause_s"), [(0, 0.0), (1, 0.0), (2, 0.1), (4, 0.4), (50, 10.0)]
)
def test_pauses_grow(quick_end_count: int, pause_s: float) -> None:
    """The first restart is immediate, later ones wait longer and longer, up to a bound."""
    assert RestartPolicy().pause_s(quick_end_count) == pytest.approx(pause_s)


def test_ray_leaves_no_trace_in_a_childs_environment() -> None:
    """Inside a Ray process its own settings are dropped; elsewhere a thread count is kept."""
    assert clean_environment({"RAY_JOB_ID": "1", "OMP_NUM_THREADS": "1", "A": "b"}) == {"A": "b"}
    assert clean_environment({"OMP_NUM_THREADS": "4"}) == {"OMP_NUM_THREADS": "4"}
