"""One child process: start it, notice its end, stop it. HAProxy and every worker live by this.

A child dies with its parent twice over: the kernel's parent-death signal, and end of file on its
standard input. The signal follows the *thread* that forked, so `Child.start` is called from the
event loop's thread and never from a pool's. Nothing of Python runs between fork and exec (threads
of gRPC may hold locks at that moment): `serving/supervise_launch.py` does the child's own
preparations after a first exec, and then becomes the real program under the same process id.

The end is noticed by a pidfd on the loop, which needs no SIGCHLD, works off the main thread, and
also works for processes that we did not start (`Child.adopt`).
"""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final, Self

from serving.errors import NotReadyError
from serving.settings import inherited_environment

LAUNCHER: Final = Path(__file__).with_name("supervise_launch.py")
MAX_LOG_BYTES: Final = 16 << 20
RAY_MARKERS: Final = frozenset({"RAY_RAYLET_PID", "RAY_JOB_ID", "RAY_WORKER_NICENESS"})
LEAN: Final = MappingProxyType({"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"})
"""No threads in children but those that compute for callers: engines have their own beside numpy's,
and ONNX Runtime would report to its maker. Whoever wants either sets the variable."""
INHERITED_FROM_RAY: Final = frozenset({"OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_PRELOAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """How to start a child."""

    name: str
    """For people: log lines and error texts."""
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log_file: Path
    """Gets standard output and error; kept as `<name>.1` when it has grown large."""
    dies_with_parent: bool = True
    """False for a child that the next supervisor adopts: it gets no pipe and no death signal."""
    listener: int | None = None
    """A descriptor that it inherits, under the same number; None: the first three only."""
    niceness: int = 0
    """How far it stands back for others at first; it ends that itself, where users may do so."""
    hears_sigterm: bool = True
    """False for a program that would end by it at once: who signals every process of an instance,
    as systemd may, means its supervisor. It begins with that signal ignored."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended; `returncode` is None where the kernel does not tell us (adopted)."""

    returncode: int | None

    @property
    def text(self) -> str:
        """Say it in words: `killed by signal 9`, `exit status 1`."""
        if self.returncode is None:
            return "ended, status unknown"
        if self.returncode < 0:
            return f"killed by signal {-self.returncode}"
        return f"exit status {self.returncode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How long to wait before the next start of a process that keeps ending."""

    first_pause_s: float = 0.1
    longest_pause_s: float = 10.0
    stable_s: float = 30.0
    """A run of at least this long forgives what was before."""

    def pause_s(self, quick_end_count: int) -> float:
        """Seconds to wait after that many quick ends in a row: none after the first, then more."""
        if quick_end_count <= 1:
            return 0.0
        return min(self.longest_pause_s, self.first_pause_s * 2.0 ** (quick_end_count - 2))


class Child:
    """A running process and, later, how it ended. Belongs to one event loop."""

    def __init__(
        self,
        name: str,
        pid: int,
        process: subprocess.Popen[bytes] | None = None,
        pidfd: int | None = None,
    ) -> None:
        """Watch a process; use `start` or `adopt`."""
        self.name = name
        self.pid = pid
        self._process = process
        self._pidfd = os.pidfd_open(pid) if pidfd is None else pidfd
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Exit] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._on_end)

    @classmethod
    def start(cls, spec: ChildSpec) -> Self:
        """Start a process. Call it from the loop's thread: the death signal follows the thread.

        Raises:
            NotReadyError: The program or its log file cannot be opened, or there are too many
                processes.
        """
        launch = (sys.executable, "-I", "-S", "-B", str(LAUNCHER))
        parent = str(os.getpid()) if spec.dies_with_parent else "-"
        ignored = "-" if spec.hears_sigterm else str(int(signal.SIGTERM))
        try:
            with open_log(spec.log_file) as log:
                process = subprocess.Popen(  # noqa: S603  our own programs only
                    (*launch, parent, str(spec.niceness), ignored, *spec.argv),
                    env=dict(spec.env),
                    stdin=subprocess.PIPE if spec.dies_with_parent else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=() if spec.listener is None else (spec.listener,),
                    start_new_session=True,  # Ctrl-C is for the parent, which stops in order
                )
        except OSError as error:
            raise NotReadyError(f"cannot start {spec.name}: {error}") from error
        return cls(spec.name, process.pid, process)

    @classmethod
    def adopt(cls, name: str, pid: int) -> Self | None:
        """Watch a process that somebody else started; None if it is gone."""
        try:
            return cls(name, pid)
        except ProcessLookupError:
            return None

    @property
    def ended(self) -> Exit | None:
        """How it ended; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> Exit:
        """Return when it has ended. Being cancelled leaves the process alone."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self._ended.done():
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def stop(self, grace_s: float, order: signal.Signals = signal.SIGTERM) -> Exit:
        """Ask it to end (by a signal that it hears), wait, then make it end (SIGKILL)."""
        self.send_signal(order)
        # No timeout's: in a task that is being cancelled CPython 3.11 raises no TimeoutError.
        await asyncio.wait((self._ended,), timeout=grace_s)
        self.send_signal(signal.SIGKILL)
        return await self.wait()

    def release(self) -> None:
        """Stop watching and leave the process alone: the next supervisor adopts it."""
        if self._process is not None:
            self._process.returncode = 0  # or Popen would complain that it still runs
        if not self._ended.done():
            self._close(Exit(None))

    def _on_end(self) -> None:
        """Note the end, which the loop has seen on the pidfd."""
        returncode = None if self._process is None else self._process.wait()
        self._close(Exit(returncode))

    def _close(self, ending: Exit) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._ended.set_result(ending)


def child_environment(home: Path, instance: str, **extra: str) -> dict[str, str]:
    """Build a child's environment: ours, less what Ray's processes hand down, plus our marks.

    Args:
        home: Becomes `BASCULE_HOME`.
        instance: Becomes `BASCULE_INSTANCE`; tells our processes from another instance's.
        extra: Further variables.
    """
    marks = {"BASCULE_HOME": str(home), "BASCULE_INSTANCE": instance}
    return LEAN | clean_environment(inherited_environment()) | marks | extra


def clean_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Leave out `RAY_*`, and inside a Ray process also what Ray set there on its own account."""
    dropped = INHERITED_FROM_RAY if RAY_MARKERS & inherited.keys() else frozenset()
    return {
        name: value
        for name, value in inherited.items()
        if not name.startswith("RAY_") and name not in dropped
    }


def is_running(pid: int) -> bool:
    """Whether a process of that id exists, ours or not."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def open_log(path: Path) -> BinaryIO:
    """Open a child's log to write at its end; a large one is put aside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")
