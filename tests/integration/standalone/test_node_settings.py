"""Trace and logging settings that clients change reach the workers."""

import json
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.fakes.standalone_server import Server, put_model, serving


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


def traces(file: Path) -> list[Any]:
    """Read a trace file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def worker_log(server: Server) -> str:
    """All that workers wrote."""
    logs = (server.home / "logs").glob("*.log")
    return "".join(file.read_text() for file in logs if file.name != "bascule.log")


def test_calls_are_traced_as_clients_ask(home: Path, tmp_path: Path) -> None:
    """Off at first; one of two after that, until it is cleared over the other transport."""
    put_model(tmp_path / "models", "a")
    file = tmp_path / "traces"
    flags = ("--model-repository", str(tmp_path / "models"), "--trace-file", str(file))
    with serving(home, *flags) as server:
        http = triton_http.InferenceServerClient(server.http)
        grpc = triton_grpc.InferenceServerClient(server.grpc)
        server.answer("a")
        before = traces(file)
        http.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "2"})
        for _ in range(4):
            server.answer("a")
        server.until(lambda: len(traces(file)) > 1, "two of four are written, after the replies")
        during = traces(file)
        grpc.update_trace_settings("a", settings={"trace_level": "OFF"})
        for _ in range(4):
            server.answer("a")
        after = traces(file)
        extensions = http.get_server_metadata()["extensions"]
        shown = grpc.get_trace_settings().settings["trace_file"].value
        http.close()
        grpc.close()

    assert (len(before), len(during), len(after)) == (0, 2, 2)
    assert {one["model_name"] for one in during} == {"a"}
    assert "trace" in extensions
    assert list(shown) == [str(file)]


def test_workers_write_what_clients_ask(home: Path, tmp_path: Path) -> None:
    """A worker that may not write warnings any more does not tell of a refused version."""
    put_model(tmp_path, "a")
    explicit = ("--model-control-mode", "explicit", "--load-model", "a")
    with serving(home, "--model-repository", str(tmp_path), *explicit) as server:
        client = triton_http.InferenceServerClient(server.http)
        client.update_log_settings({"log_warning": False, "log_info": False})
        put_model(tmp_path, "b")
        labels = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "none" }'
        (tmp_path / "b" / "config.pbtxt").write_text(f"max_batch_size: 4 {labels}")
        with pytest.raises(triton_http.InferenceServerException, match="label_filename"):
            client.load_model("b")
        quiet = "version_refused" in worker_log(server)
        client.update_log_settings({"log_warning": True})
        with pytest.raises(triton_http.InferenceServerException, match="label_filename"):
            client.load_model("b")
        loud = "version_refused" in worker_log(server)
        client.close()

    assert (quiet, loud) == (False, True)
