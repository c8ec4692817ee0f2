"""An instance of our own for a trial: free ports, a home that goes with it, one model."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtimes.errors import BasculeError
from serving.cli.admin_client import AdminClient, SilentInstanceError
from serving.edge.control import ClusterStatus
from serving.errors import NotReadyError
from serving.host_port import HostPort
from serving.registry.version import VersionState
from serving.settings import inherited_environment
from serving.supervise import Child, ChildSpec, clean_environment

LOOK_S: Final = 0.05
STOP_S: Final = 15.0
START_LIMIT_S: Final = 600.0
LOG_CHARACTERS: Final = 1000
KEPT: Final = frozenset({"BASCULE_HAPROXY", "BASCULE_HAPROXY_THREADS"})
"""Settings that a trial takes over; places, ports and logs are its own."""
SERVE: Final = "from serving.cli.main import main; main()"


class TrialError(BasculeError):
    """A trial's instance did not start, or its model is not ready; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Private:
    """A running instance with one version that is ready."""

    http: HostPort
    home: Path

    def memory_bytes(self) -> int:
        """Return what its workers take."""
        return sum(worker.rss_bytes for worker in _status(self.home).workers)


@asynccontextmanager
async def private_instance(
    arguments: Sequence[str], home: Path, profiles: Path
) -> AsyncIterator[Private]:
    """Serve what the arguments of `bascule serve` name until the block ends.

    Args:
        arguments: Of `bascule serve`, without addresses.
        home: Its folder of state; created.
        profiles: Hardware profiles that the operator wrote, if the folder is there.

    Raises:
        TrialError: It did not start, or its model cannot be loaded.
    """
    _prepare(home, profiles)
    http, grpc, metrics = (HostPort("127.0.0.1", port) for port in _free_ports(3))
    addresses = ("--http", str(http), "--grpc", str(grpc), "--metrics", str(metrics))
    child = Child.start(
        ChildSpec(
            name="bascule serve",
            argv=(sys.executable, "-c", SERVE, "serve", *arguments, *addresses),
            env=_environment(home),
            log_file=home / "serve.log",
        )
    )
    try:
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await _until_ready(child, home)
        except TimeoutError:
            raise TrialError(f"the model was not ready after {START_LIMIT_S:.0f} s") from None
        yield Private(http=http, home=home)
    finally:
        await child.stop(STOP_S)


def _prepare(home: Path, profiles: Path) -> None:
    home.mkdir()
    if profiles.is_dir():
        (home / "profiles").symlink_to(profiles)


async def _until_ready(child: Child, home: Path) -> None:
    while True:
        if child.ended is not None:
            said = (home / "serve.log").read_text(encoding="utf-8", errors="replace")
            said = said[-LOG_CHARACTERS:].strip()
            raise TrialError(f"the trial's instance ended ({child.ended.text}): {said}")
        try:
            status = await asyncio.to_thread(_status, home)
        except (NotReadyError, SilentInstanceError):
            status = None
        if status is not None:
            failed = [one for one in status.versions if one.state is VersionState.UNAVAILABLE]
            if failed:
                raise TrialError(f"{failed[0].key} cannot be loaded: {failed[0].reason}")
            if status.ready and status.versions:
                return
        await asyncio.sleep(LOOK_S)


def _status(home: Path) -> ClusterStatus:
    return AdminClient(home / "run" / "admin.sock").status()


def _environment(home: Path) -> dict[str, str]:
    ours = {
        name: value
        for name, value in clean_environment(inherited_environment()).items()
        if name in KEPT or not name.startswith("BASCULE_")
    }
    # A response cache would answer the same inputs without running the model.
    return ours | {"BASCULE_HOME": str(home), "BASCULE_CACHE_SIZE_BYTES": "0"}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
