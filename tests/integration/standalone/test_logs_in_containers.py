"""`BASCULE_LOG_TO_STDERR`: all logs are on standard error, where those of containers are."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import tritonclient.http as triton_http

from serving.settings import inherited_environment
from tests.fakes.standalone_server import LIMIT_S, Server, command, free_ports, put_model


def test_every_process_is_heard_and_all_is_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controller, edge and workers, what a terminal would be told, and each call if asked for."""
    put_model(tmp_path / "models", "m")
    monkeypatch.setenv("BASCULE_LOG_TO_STDERR", "true")
    monkeypatch.setenv("BASCULE_ACCESS_LOG", "all")
    ports = free_ports(3)
    process = command(tmp_path / "home", ports, "--model-repository", str(tmp_path / "models"))
    server = Server(process, tmp_path / "home", ports)
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if f"http://127.0.0.1:{ports[2]}/metrics" in line:
                break
        assert server.answer("m")[1] == "1"
    finally:
        process.terminate()
        with process.stderr:
            lines += process.stderr.readlines()
        assert process.wait(LIMIT_S) == 0

    told = [json.loads(line) for line in lines]
    heard = {(line["process"], line["event"]) for line in told}
    assert {
        ("bascule", f"HTTP     http://127.0.0.1:{ports[0]}"),
        ("bascule", "worker_started"),
        ("bascule", "stopped"),
        ("haproxy", "request"),
        ("s1-0", "worker_listening"),
        ("s1-0", "worker_stopping"),
    } <= heard
    assert [line["status"] for line in told if line.get("path") == "/v2/models/m/infer"] == [200]


def full_pipe() -> tuple[int, int]:
    """Return a pipe, (where nobody reads, where nothing can be written without waiting)."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * 4096)
    os.set_blocking(writing, True)
    return reading, writing


def test_a_reader_who_does_not_read_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Neither a call nor the end: a container's log that is stuck is no reason to serve nothing."""
    put_model(tmp_path / "models", "m")
    ports = free_ports(3)
    flags = zip(("--http", "--grpc", "--metrics"), ports, strict=True)
    addresses = [part for flag, port in flags for part in (flag, f"127.0.0.1:{port}")]
    own = {"BASCULE_HOME": str(tmp_path / "home"), "BASCULE_LOG_TO_STDERR": "true"}
    reading, writing = full_pipe()
    bascule = str(Path(sys.executable).with_name("bascule"))
    process = subprocess.Popen(
        [bascule, "serve", "--model-repository", str(tmp_path / "models"), *addresses],
        env=inherited_environment() | own | {"BASCULE_ACCESS_LOG": "all"},
        stderr=writing,
        text=True,
    )
    os.close(writing)
    server = Server(process, tmp_path / "home", ports)

    def answers() -> bool:
        with suppress(OSError, triton_http.InferenceServerException):
            return server.answer("m")[1] == "1"
        return False

    try:
        server.until(answers, "it answers")
    finally:
        process.terminate()
        status = process.wait(LIMIT_S)
        os.close(reading)
    assert status == 0
