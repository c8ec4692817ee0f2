"""A terminal that is closed under `bascule serve`: calls in flight are finished, as by SIGTERM."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import psutil

from serving.settings import inherited_environment
from tests.fakes.models import slow, tiny
from tests.fakes.standalone_server import LIMIT_S, free_ports, put_model
from tests.fakes.waiting import until

ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0] * 4}
CALL = json.dumps(
    {"inputs": [ROW, {"name": "n", "shape": [1], "datatype": "INT64", "data": [100]}]}
)
QUEUED = re.compile(r'nv_inference_pending_request_count\{[^}]*model="lazy"[^}]*\} 1\b')


def take_terminal(*, hears_hangups: bool) -> None:
    """Make standard error the terminal of this session; as under nohup, hangups may be ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL if hears_hangups else signal.SIG_IGN)
    fcntl.ioctl(2, termios.TIOCSCTTY, 0)


@contextmanager
def in_a_terminal(
    home: Path, ports: list[int], repository: Path, *, hears_hangups: bool = True
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `bascule serve` in the foreground of a terminal of its own; give that one's other end."""
    ours, its = pty.openpty()
    flags = zip(("--http", "--grpc", "--metrics"), ports, strict=True)
    addresses = [part for flag, port in flags for part in (flag, f"127.0.0.1:{port}")]
    bascule = str(Path(sys.executable).with_name("bascule"))
    process = subprocess.Popen(
        [bascule, "serve", "--model-repository", str(repository), *addresses],
        env=inherited_environment() | {"BASCULE_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=its,
        start_new_session=True,
        preexec_fn=partial(take_terminal, hears_hangups=hears_hangups),  # noqa: PLW1509  no threads
    )
    os.close(its)
    started = psutil.Process(process.pid)
    try:
        yield process, ours
    finally:
        children = started.children(recursive=True) if process.poll() is None else []
        process.terminate()
        process.wait(LIMIT_S)
        assert not psutil.wait_procs(children, timeout=LIMIT_S)[1]


def asked(port: int, path: str, body: str | None = None) -> tuple[int, bytes]:
    """Ask once; without a body it is a GET."""
    connection = HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("POST" if body else "GET", path, body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def until_ready(port: int) -> None:
    """Wait until its models answer."""

    def is_ready() -> bool:
        return asked(port, "/v2/health/ready")[0] == 200

    until(is_ready, "it is ready", limit_s=LIMIT_S, excused=(OSError,))


def test_calls_in_flight_are_answered_when_the_terminal_closes(tmp_path: Path) -> None:
    """However often that is told: a shell that ends tells its jobs, and so does the kernel."""
    put_model(tmp_path / "models", "lazy", content=slow())
    (tmp_path / "models" / "lazy" / "config.pbtxt").write_text("max_batch_size: 0\n")
    ports = free_ports(3)
    with (
        ThreadPoolExecutor(2) as pool,
        in_a_terminal(tmp_path / "home", ports, tmp_path / "models") as (process, terminal),
    ):
        until_ready(ports[0])
        calls = [pool.submit(asked, ports[0], "/v2/models/lazy/infer", CALL) for _ in range(2)]

        def one_runs() -> object:
            return QUEUED.search(asked(ports[2], "/metrics")[1].decode())

        until(one_runs, "one call runs, the other one waits", limit_s=LIMIT_S)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)

        assert [call.result(LIMIT_S)[0] for call in calls] == [200, 200]
        assert process.wait(LIMIT_S) == 0


def test_who_asked_for_no_hangup_serves_on(tmp_path: Path) -> None:
    """As `nohup bascule serve` does: closing the terminal is no order then."""
    put_model(tmp_path / "models", "m", content=tiny())
    ports = free_ports(3)
    with in_a_terminal(tmp_path / "home", ports, tmp_path / "models", hears_hangups=False) as (
        process,
        terminal,
    ):
        until_ready(ports[0])
        os.close(terminal)
        process.send_signal(signal.SIGHUP)

        assert asked(ports[0], "/v2/health/ready")[0] == 200
        process.terminate()
        assert process.wait(LIMIT_S) == 0
