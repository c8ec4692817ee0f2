"""`bascule serve` with real processes: models over both wires, swings, crashes, ends, refusals."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.fakes.models import tiny
from tests.fakes.standalone_server import (
    LIMIT_S,
    Server,
    command,
    free_ports,
    put_model,
    serving,
)
from tests.fakes.waiting import until


@contextmanager
def load_on(server: Server, model: str) -> Iterator[list[str]]:
    """Call a model without a pause; gives the versions that answered, and failures."""
    stop, answers = Event(), []

    def call() -> None:
        with triton_http.InferenceServerClient(server.http) as client:
            x = triton_http.InferInput("x", [1, 16], "FP32")
            x.set_data_from_numpy(np.ones((1, 16), np.float32))
            while not stop.is_set():
                try:
                    reply = client.infer(model, [x]).get_response()
                    answers.append(reply["model_version"])
                except triton_http.InferenceServerException as error:
                    answers.append(str(error))

    thread = Thread(target=call)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join(LIMIT_S)


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


def test_two_models_over_both_wires(home: Path, tmp_path: Path) -> None:
    """Models of a folder answer over HTTP and gRPC, a bad one fails alone and says why."""
    for name in ("a", "b"):
        put_model(tmp_path, name)
    put_model(tmp_path, "bad", content=b"no model")
    with serving(home, "--model-repository", str(tmp_path)) as server:
        assert server.answer("a") == server.answer("b")
        with triton_grpc.InferenceServerClient(server.grpc) as client:
            x = triton_grpc.InferInput("x", [1, 16], "FP32")
            x.set_data_from_numpy(np.ones((1, 16), np.float32))
            assert client.infer("b", [x]).as_numpy("y")[0].tolist() == server.answer("b")[0]
            assert not client.is_server_ready()
        states = {v["model"]: v for v in server.admin("GET", "/v1/status")["versions"]}
        assert states["bad"]["state"] == "UNAVAILABLE"
        assert states["bad"]["reason"]
        assert {states["a"]["state"], states["b"]["state"]} == {"READY"}


def test_a_home_of_any_name(home: Path, tmp_path: Path) -> None:
    """What means something to a URL, a shell or HAProxy is a character of its path, no more."""
    odd = home / "ä 'b' \"c\" #;&|$x %41\n?d"
    odd.mkdir()
    put_model(tmp_path, "a")
    with serving(odd, "--model-repository", str(tmp_path)) as server:
        assert server.answer("a")[1] == "1"
    assert (odd / "registry" / "catalog.sqlite").is_file()


def test_a_terminal_that_is_gone_keeps_nobody_from_stopping(home: Path) -> None:
    """What cannot be said any more is not said: SIGTERM ends the instance all the same."""
    process = command(home, free_ports(3))
    server = Server(process, home, [])
    server.until_said("metrics")
    assert process.stderr is not None
    process.stderr.close()
    process.terminate()
    try:
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()


def test_a_killed_worker_comes_back(home: Path, tmp_path: Path) -> None:
    """A killed worker is restarted, and its models answer again."""
    put_model(tmp_path, "a")
    with serving(home, "--model-repository", str(tmp_path)) as server:
        first = server.worker_pids()["s1"]
        os.kill(first, signal.SIGKILL)

        def is_back() -> bool:
            with suppress(triton_http.InferenceServerException):
                return bool(server.answer("a"))
            return False

        until(is_back, "the model answers again")
        worker = server.admin("GET", "/v1/status")["workers"][0]
        assert worker["last_exit"] == "killed by signal 9"
        assert (worker["restart_count"], worker["pid"] != first) == (1, True)


def test_promote_under_load(home: Path, tmp_path: Path) -> None:
    """A swing fails no call, and calls begun after it are answered by the new version."""
    put_model(tmp_path, "a", 1)
    put_model(tmp_path, "a", 2)
    with serving(home, "--model-repository", str(tmp_path)) as server:
        with load_on(server, "a") as answers:
            for version in (1, 2, 1):
                server.admin("POST", "/v1/models/a/promote", {"version": version})
                assert server.answer("a")[1] == str(version)
        assert set(answers) <= {"1", "2"}
        assert server.answer("a", version="2")[1] == "2"


def test_load_and_unload_beside_others(home: Path, tmp_path: Path) -> None:
    """Loading and unloading a model fails no call of another one, and takes effect at once."""
    for name in ("a", "b"):
        put_model(tmp_path, name)
    explicit = ("--model-control-mode", "explicit", "--load-model", "a")
    with serving(home, "--model-repository", str(tmp_path), *explicit) as server:
        client = triton_http.InferenceServerClient(server.http)
        with load_on(server, "a") as answers:
            for _ in range(3):
                client.load_model("b")
                assert server.answer("b")[1] == "1"
                client.unload_model("b")
                assert not client.is_model_ready("b")
        client.close()
        assert set(answers) == {"1"}


def test_a_reload_fails_no_call(home: Path, tmp_path: Path) -> None:
    """A changed file in a polled repository is swapped in without a failed call."""
    put_model(tmp_path, "a")
    polled = ("--model-control-mode", "poll")
    with serving(home, "--model-repository", str(tmp_path), *polled) as server:
        with load_on(server, "a") as answers:
            put_model(tmp_path, "a2")
            fresh = tmp_path / "fresh.onnx"
            fresh.write_bytes(tiny())
            fresh.replace(tmp_path / "a" / "1" / "model.onnx")
            server.admin("POST", "/v1/sync")
            assert server.answer("a2")[1] == "1"
        assert set(answers) == {"1"}


def test_a_model_file_is_enough(home: Path, tmp_path: Path) -> None:
    """A path to a model file is served under the file's name."""
    (tmp_path / "mine.onnx").write_bytes(tiny())
    with serving(home, str(tmp_path / "mine.onnx")) as server:
        assert server.answer("mine")[1] == "1"


def test_sigterm_ends_everything(home: Path, tmp_path: Path) -> None:
    """SIGTERM ends the command with status 0, and leaves no process and no socket."""
    put_model(tmp_path, "a")
    with serving(home, "--model-repository", str(tmp_path)) as server:
        server.process.terminate()
        server.until_said("stopped")
        assert server.process.wait(LIMIT_S) == 0
        assert list((home / "run" / "w").iterdir()) == []


def test_a_killed_server_leaves_no_process(home: Path, tmp_path: Path) -> None:
    """When the command itself is killed, HAProxy and the workers die with it."""
    put_model(tmp_path, "a")
    with serving(home, "--model-repository", str(tmp_path)) as server:
        children = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
        _, alive = psutil.wait_procs(children, timeout=LIMIT_S)
        assert not alive
    with serving(home, "--model-repository", str(tmp_path)) as server:
        assert server.answer("a")[1] == "1"


def test_a_second_instance_is_refused(home: Path) -> None:
    """A second `serve` on the same home ends with one sentence that names the first."""
    with serving(home) as server:
        second = command(home, free_ports(3))
        _, said = second.communicate(timeout=LIMIT_S)
        assert second.returncode == 1
        assert f"process {server.process.pid}" in said
        assert len(said.splitlines()) == 1


def test_a_port_in_use_is_named(home: Path) -> None:
    """A port in use ends the command with one sentence, before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = command(home, [port, *free_ports(2)])
        _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert f"127.0.0.1:{port} is in use by process {os.getpid()}" in said
    assert "--http" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["nothing.onnx"], "neither a file nor a model", id="missing"),
        pytest.param(["--load-model", "a"], "--model-control-mode explicit", id="load"),
        pytest.param(["--model-control-mode", "poll"], "--model-repository", id="poll"),
        pytest.param(["--model-control-mode", "x"], "model_control_mode", id="mode"),
        pytest.param(["--model-repository", "/no/such/folder"], "does not exist", id="folder"),
    ],
)
def test_bad_arguments_are_told_in_one_sentence(
    home: Path, arguments: list[str], words: str
) -> None:
    """What cannot be served ends the command with status 1 and the reason."""
    process = command(home, free_ports(3), *arguments)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert words in said
    assert len(said.splitlines()) == 1
    assert not (home / "run" / "admin.sock").exists()
