"""A worker's TCP port is its own from its start, though it listens when it has loaded."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.cluster.reserved_port import reserve_port
from tests.fakes.worker_process import PATIENCE_S, RawClient, apply_request


def port_of(taken: socket.socket) -> int:
    """The port of a socket that is bound."""
    return int(taken.getsockname()[1])


@contextmanager
def started(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker that takes calls after its first apply; it is gone at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.worker", "--socket", str(folder / "w.sock"),
         "--control", str(folder / "w.ctl"), "--tcp", f"127.0.0.1:{port}"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def await_control(process: subprocess.Popen[bytes]) -> None:
    """Return when it listens for control."""
    assert process.stderr is not None
    events = (json.loads(line)["event"] for line in process.stderr)
    assert "worker_listening" in events


def take_calls(folder: Path) -> None:
    """Have it host nothing; return when it has done so."""
    with RawClient(str(folder / "w.ctl")) as client:
        assert client.ask(apply_request()).body == b"{}\n"


def test_a_port_is_reserved_for_one_worker_after_the_other(tmp_path: Path) -> None:
    """Nobody else gets it before, between and after them; each of them listens on it."""
    with reserve_port() as held:
        port = port_of(held)
        for _ in range(2):
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("", port))
            with started(tmp_path, port) as process:
                await_control(process)
                take_calls(tmp_path)
                RawClient(("127.0.0.1", port)).close()


def test_a_worker_has_its_port_before_it_listens(tmp_path: Path) -> None:
    """Calls that come before its first apply are refused, for others to take them."""
    with reserve_port() as held:
        port = port_of(held)
        with started(tmp_path, port) as process:
            await_control(process)
            held.close()
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
            with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
                caller.connect(("127.0.0.1", port))
            take_calls(tmp_path)
            RawClient(("127.0.0.1", port)).close()


def test_a_worker_without_its_port_ends_with_the_reason(tmp_path: Path) -> None:
    """It does so at once, so whoever started it sees why, and starts another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken, started(tmp_path, port_of(taken)) as one:
        assert one.wait(PATIENCE_S) == 1
        assert one.stderr is not None
        assert "cannot listen on 127.0.0.1" in one.stderr.read().decode()
