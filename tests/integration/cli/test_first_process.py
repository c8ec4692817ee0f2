"""Process 1 of a container: its orphans are reaped, its signals and its exit status are right."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks.instance import until
from serving.cli import main as entry
from tests.fakes.standalone_server import LIMIT_S

# The kernel hands orphans to a subreaper as it does to process 1; no right is needed to be one.
BEGIN = """
import ctypes, os, signal, sys
from serving.cli.first_process import go_on_in_a_child
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
go_on_in_a_child()
"""
ORPHAN = """
reading, writing = os.pipe()
middle = os.fork()
if middle == 0:
    orphan = os.fork()
    if orphan == 0:
        os.close(writing)
        os.read(reading, 1)  # until nobody holds the other end
        os._exit(0)
    os.write(1, b"%d\\n" % orphan)
    os._exit(0)
os.waitpid(middle, 0)
sys.stdin.read(1)
os.close(writing)
signal.pause()
"""
TOLD = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("hears", flush=True)
signal.pause()
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


def kill_all_of(first: subprocess.Popen[str]) -> None:
    """Leave nothing behind of a process that did not end."""
    if first.poll() is None:
        for process in psutil.Process(first.pid).children(recursive=True):
            process.kill()
        first.kill()


@contextmanager
def started(program: str) -> Iterator[subprocess.Popen[str]]:
    """Start a first process whose child runs a program; it ends by itself, or with the test."""
    with subprocess.Popen(
        (sys.executable, "-c", BEGIN + program),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as first:
        try:
            yield first
            first.wait(LIMIT_S)
        finally:
            kill_all_of(first)


def test_an_orphan_that_ends_is_taken_off_the_table() -> None:
    """Or they would fill it: nobody else can wait for them."""
    with started(ORPHAN) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        orphan = psutil.Process(int(first.stdout.readline()))
        until(lambda: orphan.ppid() == first.pid, LIMIT_S, "the orphan is adopted")

        first.stdin.write("x")
        first.stdin.flush()

        until(lambda: not psutil.pid_exists(orphan.pid), LIMIT_S, "it is reaped")
        assert first.poll() is None
        first.terminate()
    assert first.returncode == 128 + signal.SIGTERM


def test_a_signal_reaches_the_program_whose_exit_status_it_has() -> None:
    """As if it were the process itself."""
    with started(TOLD) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "hears\n"
        first.terminate()

    assert first.returncode == 7


def test_a_program_that_is_killed_gives_the_status_that_shells_give() -> None:
    """The kernel lets no process 1 be killed by its own signal."""
    with started(KILLED) as first:
        pass

    assert first.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize(("pid", "is_first"), [(1, True), (77, False)])
def test_the_command_stays_behind_only_as_process_1(
    monkeypatch: pytest.MonkeyPatch, pid: int, *, is_first: bool
) -> None:
    """Elsewhere somebody else is."""
    forked = []
    monkeypatch.setattr(sys, "argv", ["bascule", "--version"])
    monkeypatch.setattr(os, "getpid", lambda: pid)
    monkeypatch.setattr(entry, "go_on_in_a_child", lambda: forked.append(pid))
    monkeypatch.setattr(entry, "unwind_when_told", lambda: None)

    with pytest.raises(SystemExit) as ended:
        entry.main()

    assert (ended.value.code, forked) == (0, [1] if is_first else [])
