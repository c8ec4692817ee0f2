"""Load requests with a configuration and files, through real processes and both clients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.fakes.models import garbage, no_batch, tiny
from tests.fakes.standalone_server import Server, put_model, serving

EXPLICIT = ("--model-control-mode", "explicit", "--load-model", "a")
ALLOWED = (*EXPLICIT, "--allow-load-overrides")


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


def http(server: Server) -> Any:  # noqa: ANN401  either client
    """The HTTP client."""
    return triton_http.InferenceServerClient(server.http)


def grpc(server: Server) -> Any:  # noqa: ANN401  either client
    """The gRPC client."""
    return triton_grpc.InferenceServerClient(server.grpc)


@pytest.mark.parametrize("connect", [http, grpc])
def test_an_override_is_served_and_shown(
    home: Path, tmp_path: Path, connect: Callable[[Server], Any]
) -> None:
    """It lives until the next load without; what fails leaves everything as it was."""
    put_model(tmp_path, "a")
    with serving(home, "--model-repository", str(tmp_path), *ALLOWED) as server:
        client, shown = connect(server), triton_http.InferenceServerClient(server.http)
        client.load_model("a", config='{"max_batch_size":"16"}')
        configured = shown.get_model_config("a")["max_batch_size"]
        with pytest.raises(triton_http.InferenceServerException, match="failed to load 'a'"):
            client.load_model("a", config="{}", files={"file:3/model.onnx": garbage()})
        kept = shown.get_model_config("a")["max_batch_size"]
        client.load_model(
            "a", config='{"max_batch_size": 0}', files={"file:2/model.onnx": no_batch()}
        )
        x = triton_http.InferInput("x", [16], "FP32")
        x.set_data_from_numpy(np.ones(16, np.float32))
        other = shown.infer("a", [x])
        client.load_model("a")
        back = server.answer("a")
        client.close()
        shown.close()

    assert (configured, kept) == (16, 16)
    assert other.get_response()["model_version"] == "2"
    assert back == (other.as_numpy("y").tolist(), "1")


def test_overrides_are_off_by_default(home: Path, tmp_path: Path) -> None:
    """Nobody brings files to a server whose operator has not said so."""
    put_model(tmp_path, "a")
    with serving(home, "--model-repository", str(tmp_path), *EXPLICIT) as server:
        for client in (http(server), grpc(server)):
            with pytest.raises(triton_http.InferenceServerException) as refusal:
                client.load_model("b", config="{}", files={"file:1/model.onnx": tiny()})
            client.close()
            assert "--allow-load-overrides" in refusal.value.message()
            assert refusal.value.status() in {"501", "StatusCode.UNIMPLEMENTED"}
