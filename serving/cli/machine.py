"""Checks of the machine itself: interpreter, limits, processors, memory, home and ports."""

import os
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from runtimes.gpu_probe import SystemNvml, probe_gpus
from runtimes.memory import cgroup_limit_bytes, free_memory_bytes
from runtimes.threads import available_cpus
from serving.cli.finding import Finding
from serving.cli.render import size_text
from serving.host_port import HostPort
from serving.settings import Settings

PYTHONS: Final = ((3, 11), (3, 14))
"""The first version that works, and the first that has not been tried."""
ENOUGH_FILES: Final = 4096
ENOUGH_MEMORY_BYTES: Final = 1 << 30
OTHERS_WRITE: Final = 0o022


def check_python() -> Iterator[Finding]:
    """Whether Bascule supports this Python."""
    text = f"{sys.version.split()[0]} at {sys.executable}"
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        yield Finding.ok("python", text)
    else:
        yield Finding.error("python", f"{text} is not supported", "use Python 3.11, 3.12 or 3.13")


def check_home(home: Path) -> Iterator[Finding]:
    """Whether state, sockets and logs can be written."""
    # The first use creates what is missing: until then the folder above it must let that happen.
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    try:
        with tempfile.TemporaryDirectory(dir=place) as inner, socket.socket(socket.AF_UNIX) as made:
            made.bind(str(Path(inner) / "s"))
    except OSError as error:
        yield Finding.error(
            "home", f"{home}: {error.strerror}", "set BASCULE_HOME to a folder of your own"
        )
        return
    if home.exists() and home.stat().st_mode & OTHERS_WRITE:
        yield Finding.warn("home", f"others may write to {home}", f"chmod go-w {home}")
    yield Finding.ok("home", str(home))


def check_limits() -> Iterator[Finding]:
    """Whether enough files and sockets may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft} open files ({hard} at most)"
    if 0 <= soft < ENOUGH_FILES:
        yield Finding.warn("limits", f"{text}: few connections", f"ulimit -n {ENOUGH_FILES * 16}")
    else:
        yield Finding.ok("limits", text)


def check_cpus() -> Iterator[Finding]:
    """How many CPUs this process may use, of how many."""
    usable, there = available_cpus(), os.cpu_count() or 1
    text = f"{usable} of {there} usable"
    if usable < 2:  # noqa: PLR2004  the edge and a worker each keep one busy
        yield Finding.warn("cpus", text, "give it 2 or more: edge and workers share this one")
    else:
        yield Finding.ok("cpus", text)


def check_memory() -> Iterator[Finding]:
    """How much memory is left, within the container's limit."""
    free, limit = free_memory_bytes(), cgroup_limit_bytes()
    text = f"{size_text(free)} free" + (f", limit {size_text(limit)}" if limit else "")
    if free < ENOUGH_MEMORY_BYTES:
        yield Finding.warn("memory", text, "give it 1 GB or more")
    else:
        yield Finding.ok("memory", text)


def check_gpus() -> Iterator[Finding]:
    """Which GPUs the driver shows."""
    found = probe_gpus(SystemNvml())
    names = ", ".join(gpu.name for gpu in found.gpus)
    driver = f"; driver {found.driver}, CUDA {found.driver_cuda}" if found.driver else ""
    yield Finding.ok("gpus", f"{names or f'none ({found.problem})'}{driver}")


def check_ports(settings: Settings, *, is_running: bool) -> Iterator[Finding]:
    """Whether the listeners' ports are free, or our instance's, or whose they are."""
    for name in ("http", "grpc", "metrics"):
        address: HostPort = getattr(settings, name)
        problem = _bind_problem(address)
        if problem is None or is_running:
            state = "free" if problem is None else "in use by the running instance"
            yield Finding.ok("ports", f"{name} {address} {state}")
        else:
            yield Finding.error(
                "ports",
                f"{name} {address}: {problem}{_owner(address.port)}",
                f"end that process, or choose another with --{name} or BASCULE_{name.upper()}",
            )


def _bind_problem(address: HostPort) -> str | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            return str(error.strerror or error)
    return None


def _owner(port: int) -> str:
    """Return who listens on a port, as far as this user may see it."""
    try:
        sockets = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return ""
    for item in sockets:
        is_there = item.status == psutil.CONN_LISTEN and tuple(item.laddr)[1:2] == (port,)
        if is_there and item.pid is not None:
            return f" by process {item.pid} ({_process_name(item.pid)})"
    return ""


def _process_name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "it has ended"
