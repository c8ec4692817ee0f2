"""Ensembles on a real instance: answers on both wires, changing steps, reasons, statistics."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.fakes.ensemble_folders import (
    AGAIN,
    PAIR,
    SUM_AND_DIFFERENCE,
    ensemble,
    pair,
    step,
    tensor,
)
from tests.fakes.models import fail_on_demand, simple, tiny
from tests.fakes.standalone_server import LIMIT_S, Server, put_model, serving

X = np.arange(32, dtype=np.int32).reshape(2, 16)
Y = np.full((2, 16), 3, np.int32)


@pytest.fixture(name="repository", scope="module")
def filled_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and ensembles of them; some ensembles cannot work."""
    tmp_path = tmp_path_factory.mktemp("r")
    for model in ("a", "b"):
        put_model(tmp_path, model, content=simple())
        (tmp_path / model / "config.pbtxt").write_text(PAIR)
    put_model(tmp_path, "floats", content=tiny())
    put_model(tmp_path, "choosy", content=fail_on_demand())
    ensemble(tmp_path, "e", pair(SUM_AND_DIFFERENCE, AGAIN))
    ensemble(tmp_path, "wide", pair(SUM_AND_DIFFERENCE, AGAIN, rows=9))
    mixed = step("floats", {"x": "s"}, {"y": "p"})
    ensemble(tmp_path, "mixed", pair(SUM_AND_DIFFERENCE, mixed, AGAIN.replace('"p"', '"r"')))
    ensemble(
        tmp_path,
        "picky",
        f"max_batch_size: 8 input [ {tensor('v', 'FP32', 4)}, {tensor('at', 'INT64', 1)} ] "
        f"output [ {tensor('z', 'FP32', 1)} ] ensemble_scheduling {{ step [ "
        f"{step('choosy', {'x': 'v', 'index': 'at'}, {'y': 'z'})} ] }}",
    )
    ensemble(tmp_path, "lonely", pair(SUM_AND_DIFFERENCE, AGAIN.replace('"b"', '"nobody"')))
    return tmp_path


@pytest.fixture(name="server", scope="module")
def explicit_server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance in explicit mode that was told to load the ensemble alone."""
    arguments = ("--model-repository", str(repository), "--model-control-mode", "explicit")
    with serving(tmp_path_factory.mktemp("h"), *arguments, "--load-model", "e") as server:
        yield server


@pytest.fixture(name="http")
def open_http(server: Server) -> Iterator[Any]:
    """An HTTP client."""
    with triton_http.InferenceServerClient(server.http) as client:
        yield client


def ask(client: Any, module: Any = triton_http, model: str = "e") -> tuple[Any, Any]:  # noqa: ANN401
    """Infer with x and y; returns p and q."""
    names = ("x", "y") if model == "e" else ("INPUT0", "INPUT1")
    inputs = [module.InferInput(name, [2, 16], "INT32") for name in names]
    for each, values in zip(inputs, (X, Y), strict=True):
        each.set_data_from_numpy(values)
    result = client.infer(model, inputs)
    outputs = ("p", "q") if model == "e" else ("OUTPUT0", "OUTPUT1")
    return tuple(result.as_numpy(name) for name in outputs)  # type: ignore[return-value]


def counts(client: Any, model: str) -> dict[str, int]:  # noqa: ANN401
    """Return a model's counters."""
    (found,) = client.get_inference_statistics(model)["model_stats"]
    parts = {name: each["count"] for name, each in found["inference_stats"].items()}
    return {**parts, "rows": found["inference_count"], "runs": found["execution_count"]}


def test_an_ensemble_answers_on_both_wires(server: Server, http: Any) -> None:  # noqa: ANN401
    """Its models came with it, run in one worker with it, and answer on their own as well."""
    before = {model: counts(http, model) for model in "eab"}
    with triton_grpc.InferenceServerClient(server.grpc) as grpc:
        answers = [ask(http), ask(grpc, triton_grpc)]
        for p, q in answers:
            assert (p == 2 * X).all()
            assert (q == 2 * Y).all()
        total, _ = ask(http, model="a")
        assert (total == X + Y).all()
    assert len(server.worker_pids()) == 1
    more = {model: Counter(counts(http, model)) - Counter(before[model]) for model in "eab"}
    assert more["e"]["success"] == more["e"]["runs"] == 2
    assert more["e"]["rows"] == 4
    assert [more[model]["success"] for model in "ab"] == [3, 2]
    assert http.get_model_metadata("e")["platform"] == "ensemble"
    config = http.get_model_config("e")
    assert [one["model_name"] for one in config["ensemble_scheduling"]["step"]] == ["a", "b"]
    assert "dynamic_batching" not in config


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("wide", "the ensemble takes batches of 9 rows and step 1 (model 'a' version 1) only of 8"),
        (
            "mixed",
            "'p': step 2 (model 'floats' version 1) gives FP32 and the ensemble expects INT32",
        ),
        ("lonely", "step 2 (model 'nobody') is not ready: model 'nobody' does not exist"),
    ],
)
def test_an_ensemble_that_cannot_work_is_refused_with_the_reason(
    http: Any,  # noqa: ANN401
    model: str,
    reason: str,
) -> None:
    """The load fails, naming the step; the one that works goes on."""
    with pytest.raises(triton_http.InferenceServerException) as caught:
        http.load_model(model)
    assert f"failed to load '{model}'" in str(caught.value)
    assert reason in str(caught.value)
    assert (ask(http)[0] == 2 * X).all()
    http.unload_model(model)


def test_a_model_that_goes_takes_the_ensembles_readiness_with_it(http: Any) -> None:  # noqa: ANN401
    """The index has the reason; when the model is back, so is the ensemble."""
    http.unload_model("b")
    assert not http.is_model_ready("e")
    index = {one["name"]: one for one in http.get_model_repository_index()}
    assert index["e"]["state"] == "UNAVAILABLE"
    assert index["e"]["reason"] == "step 2 (model 'b') is not ready: model 'b' is not loaded"
    with pytest.raises(triton_http.InferenceServerException, match="'e' has no available versions"):
        ask(http)
    assert (ask(http, model="a")[0] == X + Y).all()
    http.load_model("b")
    http.load_model("e")
    assert (ask(http)[0] == 2 * X).all()


def test_an_ensemble_takes_its_models_with_it_if_told_to(http: Any) -> None:  # noqa: ANN401
    """`unload_dependents`; without it they stay."""
    http.unload_model("e")
    assert [http.is_model_ready(model) for model in ("e", "a", "b")] == [False, True, True]
    http.load_model("e")
    http.unload_model("e", unload_dependents=True)
    assert [http.is_model_ready(model) for model in ("e", "a", "b")] == [False, False, False]
    http.load_model("e")


def test_a_changed_model_is_used_after_its_load_and_no_call_is_lost(
    server: Server,
    http: Any,  # noqa: ANN401
    repository: Path,
) -> None:
    """Calls that began with the old model end with it; the ensemble's counters go on."""
    with load_on(server) as answers:
        while len(answers) < 50:
            assert not any(isinstance(each, Exception) for each in answers)
        swapped = simple().replace(b"OUTPUT0", b"OUTPUTx").replace(b"OUTPUT1", b"OUTPUT0")
        (repository / "b/1/model.onnx").write_bytes(swapped.replace(b"OUTPUTx", b"OUTPUT1"))
        http.load_model("b")
        p, q = ask(http)
    assert (p == 2 * Y).all()
    assert (q == 2 * X).all()
    assert {str(each) for each in answers} <= {"old", "new"}
    assert answers[-1] == "new"
    assert counts(http, "e")["success"] >= len(answers)


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_an_error_of_a_step_names_the_step(server: Server, http: Any, wire: str) -> None:  # noqa: ANN401
    """The caller reads which model of the ensemble refused, and the model's own words."""
    http.load_model("picky")
    before = [counts(http, model)["fail"] for model in ("picky", "choosy")]
    module = {"http": triton_http, "grpc": triton_grpc}[wire]
    address = {"http": server.http, "grpc": server.grpc}[wire]
    with module.InferenceServerClient(address) as client:
        inputs = [module.InferInput("v", [1, 4], "FP32"), module.InferInput("at", [1, 1], "INT64")]
        inputs[0].set_data_from_numpy(np.zeros((1, 4), np.float32))
        inputs[1].set_data_from_numpy(np.array([[9]]))
        with pytest.raises(
            Exception, match=r"ensemble step 1 \(model 'choosy' version 1\): "
        ) as told:
            client.infer("picky", inputs)
    assert "GatherElements" in str(told.value)
    after = [counts(http, model)["fail"] for model in ("picky", "choosy")]
    assert after == [count + 1 for count in before]


@contextmanager
def load_on(server: Server) -> Iterator[list[object]]:
    """Ask the ensemble without a pause; gives `old` or `new` for each answer, or an error."""
    stop, answers = Event(), []

    def call() -> None:
        with triton_http.InferenceServerClient(server.http) as client:
            while not stop.is_set():
                try:
                    p, q = ask(client)
                except triton_http.InferenceServerException as error:
                    answers.append(error)
                    continue
                is_old = (p == 2 * X).all() and (q == 2 * Y).all()
                is_new = (p == 2 * Y).all() and (q == 2 * X).all()
                answers.append("old" if is_old else "new" if is_new else "wrong")

    threads = [Thread(target=call) for _ in range(2)]
    for each in threads:
        each.start()
    try:
        yield answers
    finally:
        stop.set()
        for each in threads:
            each.join(LIMIT_S)
