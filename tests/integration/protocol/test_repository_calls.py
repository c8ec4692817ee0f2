"""Repository, statistics and settings calls: what operators' tools do over the protocol."""

from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from tests.fakes.protocol_server import Served, ones, tensors
from tests.fakes.worker_process import wait_until

pytestmark = pytest.mark.front_desk("repository calls and settings")

X = np.ones((1, 16), np.float32)


def index_of(served: Served, body: object = b"") -> dict[str, dict[str, Any]]:
    """The index over HTTP, by model and version."""
    entries = served.ask("POST", "/v2/repository/index", body).json()
    return {f"{entry['name']}:{entry.get('version', '')}": entry for entry in entries}


def test_the_index_lists_every_model(served: Served) -> None:
    """Loaded ones with version and state, others by name; an empty body is enough."""
    index = index_of(served)

    assert index["tiny:1"] | {"state": "READY", "version": "1"} == index["tiny:1"]
    assert {"choice:1", "choice:2"} <= set(index)
    assert any(key.startswith("spare:") for key in index)
    over_grpc = {f"{m.name}:{m.version}" for m in served.grpc.get_model_repository_index().models}
    assert over_grpc == set(index)


def test_the_index_of_ready_models_has_no_others(served: Served) -> None:
    """`ready: true` leaves out what cannot answer; another type is told."""
    states = {entry["state"] for entry in index_of(served, {"ready": True}).values()}

    assert states == {"READY"}
    assert served.ask("POST", "/v2/repository/index", {"ready": "yes"}).refusal() == (
        400,
        "Invalid value for 'ready': expected a boolean",
    )


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_model_is_gone_when_unload_returns(served: Served, wire: str) -> None:
    """After load it answers; after unload it is not ready and calls say why, at once."""
    client, library = (served.http, triton_http) if wire == "http" else (served.grpc, triton_grpc)
    client.load_model("spare")
    assert client.is_model_ready("spare")
    assert client.infer("spare", tensors(library, ("x", X))).as_numpy("y").shape == (1, 4)

    client.unload_model("spare")

    assert not client.is_model_ready("spare")
    with pytest.raises(InferenceServerException) as caught:
        client.infer("spare", tensors(library, ("x", X)))
    assert caught.value.message() == (
        "Request for unknown model: 'spare' has no available versions"
    )
    wait_until(
        lambda: index_of(served)["spare:1"].get("reason") == "unloaded", "the index says unloaded"
    )
    client.unload_model("spare")


@pytest.mark.parametrize("model", ["broken", "nobody"])
def test_a_failed_load_says_so(served: Served, model: str) -> None:
    """Both clients read `failed to load`, with the model's name and no path of the server."""
    for client in served.clients:
        with pytest.raises(InferenceServerException) as caught:
            client.load_model(model)
        assert f"failed to load '{model}'" in caught.value.message()
        assert "/" not in caught.value.message().replace("model/", "")
    served.http.unload_model("broken")


def test_a_failed_reload_keeps_what_serves(served: Served) -> None:
    """A configuration that cannot be read is refused, and the model goes on as it was."""
    for client in served.clients:
        with pytest.raises(InferenceServerException, match="failed to load 'tiny'"):
            client.load_model("tiny", config="{garbage")
        assert client.is_model_ready("tiny")
    assert served.infer("tiny", ones()).status == 200


def test_named_repositories_are_not_supported(served: Served) -> None:
    """A repository's name in the path, or in the message, is told to be no feature."""
    text = "'repository_name' specification is not supported"
    for what in ("load", "unload"):
        reply = served.ask("POST", f"/v2/repository/other/models/tiny/{what}", b"{}")
        assert reply.refusal() == (501, text)
    named = {"repository_name": "other", "model_name": "tiny"}
    for call, request in (
        (served.stub.RepositoryIndex, pb.RepositoryIndexRequest(repository_name="other")),
        (served.stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(**named)),
        (served.stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(**named)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.details() == text


def test_trace_settings_have_their_keys_and_types(served: Served) -> None:
    """Values are strings; a POST of some changes those alone; null gives back the global one."""
    told = served.get("/v2/trace/setting").json()
    assert {key: type(value) for key, value in told.items()} == {
        "trace_level": list, "trace_rate": str, "trace_count": str, "log_frequency": str,
        "trace_file": str, "trace_mode": str,
    }  # fmt: skip

    changed = served.ask("POST", "/v2/models/tiny/trace/setting", {"trace_rate": "5"}).json()
    assert changed == told | {"trace_rate": "5"}
    assert served.get("/v2/trace/setting").json() == told
    over_grpc = served.grpc.get_trace_settings("tiny", as_json=True)["settings"]
    assert over_grpc["trace_rate"]["value"] == ["5"]
    cleared = served.ask("POST", "/v2/models/tiny/trace/setting", {"trace_rate": None}).json()
    assert cleared == told


def test_log_settings_have_their_keys_and_types(served: Served) -> None:
    """A POST of some changes those alone, over both protocols."""
    told = served.get("/v2/logging").json()
    assert {key: type(value) for key, value in told.items()} == {
        "log_file": str, "log_info": bool, "log_warning": bool, "log_error": bool,
        "log_verbose_level": int, "log_format": str,
    }  # fmt: skip

    changed = served.ask("POST", "/v2/logging", {"log_verbose_level": 2}).json()
    assert changed == told | {"log_verbose_level": 2}
    back = served.grpc.update_log_settings({"log_verbose_level": told["log_verbose_level"]})
    assert back.settings["log_verbose_level"].uint32_param == told["log_verbose_level"]
    assert served.get("/v2/logging").json() == told


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        (
            "/v2/trace/setting",
            {"trace_file": "/x"},
            (501, "trace file location can not be updated through network protocol"),
        ),
        (
            "/v2/logging",
            {"log_file": "/x"},
            (501, "log file location can not be updated through network protocol"),
        ),
        (
            "/v2/trace/setting",
            {"trace_rate": "x"},
            (400, "Unable to parse 'trace_rate', got: x"),
        ),
        (
            "/v2/models/nobody/trace/setting",
            {},
            (400, "Request for unknown model: 'nobody' is not found"),
        ),
    ],
    ids=["trace file", "log file", "trace rate", "unknown model"],
)
def test_settings_that_cannot_change_are_told(
    served: Served, path: str, body: object, refusal: tuple[int, str]
) -> None:
    """Locations of files are not for callers; values must parse; models must exist."""
    assert served.ask("POST", path, body).refusal() == refusal
