"""One instance per home, and free ports: told in one sentence before anything is started."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

import msgspec
import psutil

from serving.errors import AlreadyExistsError, NotReadyError
from serving.host_port import HostPort
from serving.settings import Settings, unusable_home

LOCK_FILE: Final = "instance.lock"
RECORD_FILE: Final = "instance.json"


class InstanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the running instance says of itself in `run/instance.json`."""

    pid: int
    instance: str
    http: str
    grpc: str
    metrics: str


@contextmanager
def sole_instance(settings: Settings, instance: str) -> Iterator[None]:
    """Hold a home's lock; it falls with the process, however that ends.

    Raises:
        AlreadyExistsError: An instance runs in this home.
        NotReadyError: The home cannot be written to.
    """
    with _lock(settings) as file:
        _claim(file, settings)
        _clear(settings)
        record = InstanceRecord(
            pid=os.getpid(),
            instance=instance,
            http=str(settings.http),
            grpc=str(settings.grpc),
            metrics=str(settings.metrics),
        )
        path = settings.run_dir / RECORD_FILE
        try:
            try:
                path.write_bytes(msgspec.json.encode(record))
            except OSError as error:  # a disk that is full: nothing of it is left
                raise unusable_home(settings, error) from error
            yield
        finally:
            path.unlink(missing_ok=True)
            _clear(settings)


def refuse_running(settings: Settings) -> None:
    """Refuse a home in which a standalone instance runs.

    Raises:
        AlreadyExistsError: One runs.
        NotReadyError: The home cannot be written to.
    """
    with _lock(settings) as file:
        _claim(file, settings)


def refuse_taken_ports(settings: Settings) -> None:
    """Refuse addresses that cannot be listened on.

    Raises:
        NotReadyError: One is in use, or is none of this machine's.
    """
    addresses = {"http": settings.http, "grpc": settings.grpc, "metrics": settings.metrics}
    if len(set(addresses.values())) < len(addresses):
        listed = ", ".join(f"--{flag} {address}" for flag, address in addresses.items())
        raise NotReadyError(f"three different addresses are needed, got {listed}")
    for flag, address in addresses.items():
        problem = _problem(address)
        if problem:
            raise NotReadyError(f"{problem}: choose another with --{flag} HOST:PORT")


def _lock(settings: Settings) -> BinaryIO:
    try:
        for folder in (settings.home, settings.run_dir, settings.run_dir / "w", settings.log_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return (settings.run_dir / LOCK_FILE).open("ab")
    except OSError as error:
        raise unusable_home(settings, error) from error


def _claim(file: BinaryIO, settings: Settings) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyExistsError(_running(settings)) from None


def _running(settings: Settings) -> str:
    remedy = "use it, end it, or set another BASCULE_HOME"
    try:
        text = (settings.run_dir / RECORD_FILE).read_bytes()
        record = msgspec.json.decode(text, type=InstanceRecord)
    except (OSError, UnicodeError, msgspec.DecodeError):
        return f"an instance already runs in {settings.home}: {remedy}"
    return (
        f"an instance already runs in {settings.home} (process {record.pid}, HTTP at "
        f"{record.http}): use it, end it with `kill {record.pid}`, or set another BASCULE_HOME"
    )


def _clear(settings: Settings) -> None:
    """Remove the workers' sockets and recorders: nobody listens there any more."""
    for path in (settings.run_dir / "w").iterdir():
        path.unlink(missing_ok=True)


def _problem(address: HostPort) -> str:
    """Say why an address cannot be listened on; empty if it can."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"{address} is in use{_holder(address.port)}"
        return f"cannot listen on {address}: {error.strerror or error}"
    return ""


def _holder(port: int) -> str:
    """Name the process that listens on a port, as far as we may know."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            is_listener = connection.status == psutil.CONN_LISTEN
            if is_listener and connection.laddr[1:] == (port,) and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""
