"""A real instance logs what it answers; the commands list, reproduce and export it."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from serving.cli.main import main
from tests.fakes.logged_worker import PARAMETER, logged_ids
from tests.fakes.models import simple_string, tiny
from tests.fakes.standalone_server import Server, put_model, serving

VALUES = np.linspace(-3, 7, 32, dtype=np.float32).reshape(2, 16)
CACHED = "response_cache { enable: true }"


@pytest.fixture(scope="module", name="place")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the instance logs."""
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="module", name="server")
def logging_server(tmp_path_factory: pytest.TempPathFactory, place: Path) -> Iterator[Server]:
    """An instance with a model, one of texts and a cached one, all of which are logged."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, "tiny", content=tiny())
    put_model(repository, "texts", content=simple_string())
    put_model(repository, "cached", content=tiny())
    (repository / "cached" / "config.pbtxt").write_text(CACHED)
    flags = ("--model-repository", str(repository), "--prediction-log", str(place))
    with serving(tmp_path_factory.mktemp("h"), *flags) as server:
        yield server


def _asked(module: ModuleType, address: str, model: str = "tiny") -> str:
    """Ask as a real client and return the prediction's id, as that client sees it."""
    with module.InferenceServerClient(address) as client:
        tensor = module.InferInput("x", list(VALUES.shape), "FP32")
        tensor.set_data_from_numpy(VALUES)
        reply: Any = client.infer(model, [tensor]).get_response()
    if module is triton_grpc:
        return str(reply.parameters[PARAMETER].string_param)
    return str(reply["parameters"][PARAMETER])


def _texts(address: str) -> str:
    with triton_http.InferenceServerClient(address) as client:
        tensor = triton_http.InferInput("INPUT0", [1, 16], "BYTES")
        tensor.set_data_from_numpy(np.array([[str(n).encode() for n in range(16)]], object))
        return str(client.infer("texts", [tensor]).get_response()["parameters"][PARAMETER])


def test_what_real_clients_asked_comes_out_again(
    server: Server, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over HTTP and gRPC, numbers and texts, kept answers too: each is found and reproduced."""
    ids = [_asked(triton_http, server.http), _asked(triton_grpc, server.grpc)]
    ids += [_texts(server.http), _asked(triton_http, server.http, "cached")]
    ids += [_asked(triton_grpc, server.grpc, "cached")]
    found = logged_ids(place, ids)
    statuses, verdicts = [], []
    for each in ids:
        with pytest.raises(SystemExit) as ended:
            main(["reproduce", each, "--log", str(place), "--json"])
        statuses.append(ended.value.code)
        verdicts.append(json.loads(capsys.readouterr().out)["verdict"])
    main_of(["log", "list", "--log", str(place), "--json"])
    listed = json.loads(capsys.readouterr().out)
    main_of(["log", "show", ids[2], "--log", str(place)])
    shown = capsys.readouterr().out
    target = tmp_path / "train.npz"
    main_of(["log", "export", str(target), "--log", str(place), "--model", "tiny:1", "--json"])
    lineage = json.loads(capsys.readouterr().out)

    assert verdicts == ["EXACT"] * 5
    assert statuses == [0] * 5
    assert found[ids[4]].head.batch.number == 0
    assert {each["record"]["id"] for each in listed} == set(ids)
    assert "input INPUT0" in shown
    assert (lineage["predictions"], lineage["rows"]) == (2, 4)
    np.testing.assert_array_equal(np.load(target)["input.x"], np.concatenate([VALUES] * 2))
    counted = server.metrics()
    assert 'bascule_prediction_log_records_total{model="tiny",version="1"} 2' in counted
    assert 'bascule_prediction_log_lost_total{model="tiny",version="1",reason="queue_full"} 0' in (
        counted
    )


def main_of(arguments: list[str]) -> None:
    """Run a command that succeeds."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
