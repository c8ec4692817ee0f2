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
from serving.worker.handover import MAX_BEGUN_BYTES
from tests.fakes.worker_process import PATIENCE_S, RawClient, apply_request, request


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


def test_what_anybody_may_tell_is_read_up_to_its_limit(tmp_path: Path) -> None:
    """A body that announces a GiB is refused when a MiB of it has come."""
    head = b"POST /worker/begun HTTP/1.1\r\nhost: w\r\ncontent-length: 1073741824\r\n\r\n"
    begun = b'{"model":"m","worker":"w9","ids":[1]}'
    with reserve_port() as held:
        port = port_of(held)
        with started(tmp_path, port) as process:
            await_control(process)
            take_calls(tmp_path)
            with RawClient(("127.0.0.1", port)) as client:
                client.send(head + b" " * (MAX_BEGUN_BYTES + 1))
                reply = client.read()
            with RawClient(("127.0.0.1", port)) as client:
                sound = client.ask(request("/worker/begun", begun))
    assert (reply.status, sound.status) == (413, 200)
    assert f"{MAX_BEGUN_BYTES} are read" in reply.json()["error"]
