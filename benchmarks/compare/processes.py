"""A system's processes: start them, wait until they answer, ask what they cost, end them all."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psutil

from benchmarks.instance import end_process, until
from serving.settings import inherited_environment

START_LIMIT_S: Final = 120.0
STOP_LIMIT_S: Final = 20.0
LOOK_S: Final = 0.1
TAIL_LINES: Final = 12
OUTPUT: Final = "output.log"
VARIABLES: Final = MappingProxyType({"ORT_DISABLE_TELEMETRY": "1"})
"""All engines are silent, as Bascule's are."""
ROOT: Final = Path(__file__).parents[2]


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    is_ready: Callable[[], bool],
    variables: Mapping[str, str] | None = None,
) -> Iterator[psutil.Process]:
    """Run a command until the block ends; its children end with it.

    Raises:
        InstanceError: It did not become ready; with its last output.
    """
    log = folder / OUTPUT
    environment = {
        **inherited_environment(),
        **VARIABLES,
        "PYTHONPATH": str(ROOT),
        **(variables or {}),
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=folder
        )
    root = psutil.Process(process.pid)
    try:
        until(
            is_ready,
            START_LIMIT_S,
            f"{command[-1] if len(command) == 1 else ' '.join(command[:3])}: ready",
            is_alive=lambda: process.poll() is None,
            tell=lambda: _tail(log),
            look_s=LOOK_S,
        )
        yield root
    finally:
        _end(process, tree(root))


def tree(root: psutil.Process) -> list[psutil.Process]:
    """Return a process and all below it."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(processes: Sequence[psutil.Process]) -> dict[int, tuple[str, float]]:
    """Return what each process has spent on CPUs so far: its id, its name, seconds."""
    found = {}
    for process in processes:
        try:
            times = process.cpu_times()
            found[process.pid] = (role(process), times.user + times.system)
        except psutil.Error:
            continue  # it has ended meanwhile
    return found


def spent_s(
    before: Mapping[int, tuple[str, float]], after: Mapping[int, tuple[str, float]]
) -> dict[str, float]:
    """Return what was spent in between, by name."""
    spent: dict[str, float] = {}
    for pid, (name, seconds) in after.items():
        began_s = before.get(pid, (name, 0.0))[1]
        spent[name] = spent.get(name, 0.0) + seconds - began_s
    return spent


def role(process: psutil.Process) -> str:
    """Name a process for a table: what it does where it is ours, its own name otherwise."""
    words = process.cmdline()
    if "serving.worker" in words:
        return "worker"
    if words[1:2] and Path(words[1]).name == "bascule":
        return "controller and front desk"
    return str(process.name())


def _end(process: subprocess.Popen[bytes], all_of_it: Sequence[psutil.Process]) -> None:
    end_process(process, STOP_LIMIT_S)
    for child in all_of_it[1:]:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(all_of_it[1:], timeout=STOP_LIMIT_S)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
