"""Data contracts on a real instance: through HAProxy, in /metrics, on the admin socket, by age."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from runtimes.preflight.waivers import Waiver
from serving.registry.store import Registry
from serving.registry.waivers import grant
from tests.fakes.ensemble_folders import AGAIN, PAIR, SUM_AND_DIFFERENCE, ensemble, pair
from tests.fakes.models import simple, tiny
from tests.fakes.standalone_server import Server, put_model, serving

ROWS = "max_batch_size: 8\n"
STRICT = "contract: 1\ninputs: {x: {max: 100, on_violation: reject}}\n"
OLD = "contract: 1\ntrained_until: 2020-01-01\nmax_age: {warn: 30d, block: 60d}\n"
AGING = "contract: 1\nreference: {collected_until: 2020-01-01}\nmax_age: {warn: 30d}\n"
OF_ENSEMBLE = "contract: 1\ninputs: {x: {max: 50, on_violation: flag}}\n"


@pytest.fixture(name="server", scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over models with contracts, and an ensemble with its own."""
    repository = tmp_path_factory.mktemp("r")
    for model, text in (("strict", STRICT), ("old", OLD), ("aging", AGING)):
        put_model(repository, model, content=tiny())
        (repository / model / "config.pbtxt").write_text(ROWS)
        (repository / model / "contract.yaml").write_text(text)
    for model in ("a", "b"):
        put_model(repository, model, content=simple())
        (repository / model / "config.pbtxt").write_text(PAIR)
    ensemble(repository, "e", pair(SUM_AND_DIFFERENCE, AGAIN))
    (repository / "e" / "contract.yaml").write_text(OF_ENSEMBLE)
    with serving(tmp_path_factory.mktemp("h"), "--model-repository", str(repository)) as server:
        yield server


def record(server: Server, model: str) -> dict[str, Any]:
    """What status says of a model's version."""
    versions: Any = server.admin("GET", "/v1/status")["versions"]
    (found,) = [version for version in versions if version["model"] == model]
    return dict(found)


def tensors(kind: Any, **arrays: np.ndarray[Any, Any]) -> list[Any]:  # noqa: ANN401  untyped clients
    """Inputs of a client."""
    names = {"f": "FP32", "i": "INT32"}
    given = [kind.InferInput(name, a.shape, names[a.dtype.kind]) for name, a in arrays.items()]
    for each, array in zip(given, arrays.values(), strict=True):
        each.set_data_from_numpy(array)
    return given


def test_refusals_come_through_the_edge_and_are_counted(server: Server) -> None:
    """On both wires; /metrics and the admin API have the same number, by rule."""
    bad = np.ones((2, 16), np.float32)
    bad[1, 3] = 1000
    says = "input 'x' row 1 is above the maximum 100: rule 'x.max' of the data contract of strict:1"
    with triton_http.InferenceServerClient(server.http) as http:
        with pytest.raises(InferenceServerException, match=says) as refused:
            http.infer("strict", tensors(triton_http, x=bad))
        assert refused.value.status() == "400"
    with triton_grpc.InferenceServerClient(server.grpc) as grpc:
        with pytest.raises(InferenceServerException, match=says) as told:
            grpc.infer("strict", tensors(triton_grpc, x=bad))
        assert told.value.status() == "StatusCode.INVALID_ARGUMENT"

    labels = 'model="strict",version="1",input="x",rule="x.max",action="reject"'
    lines = server.metrics().splitlines()
    assert f"bascule_contract_violations_total{{{labels}}} 2" in lines
    assert 'bascule_contract_rejected_requests_total{model="strict",version="1"} 2' in lines
    (quality,) = server.admin("GET", "/v1/models/strict/quality")
    report: Any = quality["report"]  # type: ignore[index]  # JSON
    assert [(rule["rule"], rule["row_count"]) for rule in report["rules"]] == [("x.max", 2)]


def test_an_ensemble_has_a_contract_of_its_own(server: Server) -> None:
    """About the tensors that its callers send; its steps go on as ever."""
    x, y = np.full((1, 16), 51, np.int32), np.ones((1, 16), np.int32)
    with triton_http.InferenceServerClient(server.http) as http:
        result = http.infer("e", tensors(triton_http, x=x, y=y))
        assert result.get_response()["parameters"] == {"bascule_flags": "x.max:0"}
        assert result.as_numpy("p").tolist() == [[102] * 16]
        (quality,) = server.admin("GET", "/v1/models/e/quality")
    report: Any = quality["report"]  # type: ignore[index]  # JSON
    assert report["violating_row_count"] == 1


def test_data_past_their_age_block_and_can_be_waived(server: Server) -> None:
    """BP-D02 keeps the version from loading until somebody allows it for a while."""
    assert record(server, "old")["state"] == "UNAVAILABLE"
    assert record(server, "old")["reason"].startswith("BP-D02 ")
    with Registry(server.home) as registry:
        until_utc = registry.clock.utc_now() + timedelta(days=1)
        grant(
            registry, Waiver(code="BP-D02", model="old", reason="r", by="ana", until_utc=until_utc)
        )
    server.admin("POST", "/v1/sync")

    assert record(server, "old")["state"] == "READY"
    series = 'bascule_model_training_age_seconds{model="old",version="1"} '
    assert any(line.startswith(series) for line in server.metrics().splitlines())


def test_data_that_grow_old_warn(server: Server) -> None:
    """The version serves, its findings say why to look, and a metric shows the age."""
    found = record(server, "aging")

    assert found["state"] == "READY"
    assert [(one["code"], one["severity"]) for one in found["findings"]] == [("BP-D02", "warning")]
    series = 'bascule_reference_age_seconds{model="aging",version="1"} '
    (line,) = [line for line in server.metrics().splitlines() if line.startswith(series)]
    assert float(line.removeprefix(series)) > timedelta(days=30).total_seconds()
