"""Every rule of a data contract, with each action, over HTTP and gRPC, in a real worker."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from runtimes.contract import Array
from serving.ids import VersionKey
from serving.monitor.traffic import QualityCounts, TrafficCounters
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.contracts.data_contract import Action
from serving.registry.version import VersionSpec
from serving.worker.control import TrafficQuestion
from tests.fakes import models
from tests.fakes.contracts import CASES, RuleCase, about, numbers
from tests.fakes.grpc_stand_in import grpc_in_front_of
from tests.fakes.worker_process import WorkerProcess, request, running_worker, version

TRANSPORTS = ("http", "grpc")
NAMES = {name: f"m{place}" for place, name in enumerate(CASES)}
DRAFT = about("max: 120", more="status: draft\n").replace("ACTION", "reject")
ECHO = about("max: 120", more="echo_values: true\n").replace("ACTION", "reject")
STRICT = about("max: 120").replace("ACTION", "reject")


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    outputs: dict[str, Array]
    flags: str = ""
    status: str = "ok"
    message: str = ""


@dataclass(frozen=True)
class Bench:
    """A worker with a model for each rule and action, and a client of each kind."""

    worker: WorkerProcess
    http: over_http.InferenceServerClient
    grpc: over_grpc.InferenceServerClient

    def ask(
        self,
        transport: str,
        model: str,
        tensors: Mapping[str, Array],
        parameters: Mapping[str, Any] | None = None,
        request_id: str = "",
    ) -> Answer:
        """Call a model."""
        client: Any = self.http if transport == "http" else self.grpc
        kind: Any = over_http if transport == "http" else over_grpc
        inputs = []
        for name, array in tensors.items():
            given = kind.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
            given.set_data_from_numpy(array)
            inputs.append(given)
        try:
            result = client.infer(
                model, inputs, parameters=dict(parameters or {}), request_id=request_id
            )
        except InferenceServerException as error:
            return Answer({}, status=str(error.status()), message=error.message())
        told = result.get_response()
        if transport == "http":
            flags = told.get("parameters", {}).get("bascule_flags", "")
            names = [output["name"] for output in told["outputs"]]
        else:
            flags = told.parameters["bascule_flags"].string_param
            names = [output.name for output in told.outputs]
        return Answer({name: result.as_numpy(name) for name in names}, flags)

    def quality(self, model: str) -> dict[str, Any]:
        """What its contract has counted."""
        with self.worker.local() as client:
            counted = client.ask(request("/worker/statistics", method="GET")).json()
        return next(each["quality"] for each in counted if each["model"] == model)

    def counted(self, model: str) -> QualityCounts:
        """What guardrails are told."""
        question = msgspec.json.encode(TrafficQuestion(keys=(VersionKey(model, 1),)))
        with self.worker.local() as client:
            reply = client.ask(request("/worker/traffic", question))
        (found,) = msgspec.json.decode(reply.body, type=list[TrafficCounters])
        return found.counted.quality


def contracted(folder: Path, model: str, case: RuleCase, text: str) -> VersionSpec:
    """A model with a contract."""
    spec = version(folder, model, case.model, max_batch_rows=case.max_batch_rows)
    return replace(spec, contract=parse_contract(text.encode()))


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """One worker for all."""
    with tempfile.TemporaryDirectory(prefix="contracts-") as place:
        folder = Path(place)
        specs = [
            contracted(folder, f"{NAMES[name]}-{action}", case, text)
            for name, case in CASES.items()
            for action in Action
            if (text := case.contract.replace("ACTION", action))
        ]
        for model, text in (("draft", DRAFT), ("echo", ECHO), ("strict", STRICT)):
            specs.append(contracted(folder, model, CASES["max"], text))
        with running_worker(folder) as worker, grpc_in_front_of(worker.address) as grpc:
            assert {line["state"] for line in worker.apply(*specs)} == {"LOADING", "READY"}
            host, port = worker.address
            with (
                over_http.InferenceServerClient(f"{host}:{port}") as http,
                over_grpc.InferenceServerClient(grpc) as grpc_client,
            ):
                yield Bench(worker, http, grpc_client)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", CASES)
def test_what_breaks_no_rule_is_answered_as_ever(bench: Bench, name: str, transport: str) -> None:
    """Whatever its action, a rule that holds leaves no trace."""
    case = CASES[name]
    for action in Action:
        found = bench.ask(transport, f"{NAMES[name]}-{action}", case.good, case.good_parameters)

        assert (found.status, found.flags, found.message) == ("ok", "", "")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", CASES)
def test_reject_names_input_row_rule_and_limit(bench: Bench, name: str, transport: str) -> None:
    """400 and INVALID_ARGUMENT for a request, 500 and INTERNAL for an answer; never the value."""
    case, model = CASES[name], f"{NAMES[name]}-reject"

    found = bench.ask(transport, model, case.bad, case.bad_parameters)

    fault = {"http": "500", "grpc": "StatusCode.INTERNAL"}
    mistake = {"http": "400", "grpc": "StatusCode.INVALID_ARGUMENT"}
    assert found.status == (fault if case.is_answer else mistake)[transport], found
    assert case.says in found.message
    assert f"rule '{case.rule}' of the data contract of {model}:1" in found.message
    assert not case.hidden or case.hidden not in found.message


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", CASES)
def test_flag_answers_and_says_so(bench: Bench, name: str, transport: str) -> None:
    """The parameter `bascule_flags` has the rule and the rows; the outputs are those of `count`."""
    case, model = CASES[name], NAMES[name]

    found = bench.ask(transport, f"{model}-flag", case.bad, case.bad_parameters)
    counted = bench.ask(transport, f"{model}-count", case.bad, case.bad_parameters)

    assert (found.status, found.flags) == ("ok", f"{case.rule}:{case.rows}")
    assert (counted.status, counted.flags) == ("ok", "")
    for output, array in found.outputs.items():
        np.testing.assert_array_equal(array, counted.outputs[output])


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("name", CASES)
def test_each_broken_row_is_counted(bench: Bench, name: str, action: Action) -> None:
    """By rule and action, with the request's id and the row among the samples."""
    case, model = CASES[name], f"{NAMES[name]}-{action}"
    before = bench.quality(model)

    bench.ask("http", model, case.bad, case.bad_parameters, request_id="r-17")

    now = bench.quality(model)
    (rule,) = [one for one in now["rules"] if one["rule"] == case.rule]
    (old,) = [one for one in before["rules"] if one["rule"] == case.rule]
    rows = len(case.rows.split(","))
    assert rule["action"] == action
    assert rule["row_count"] - old["row_count"] == rows
    assert now["violating_row_count"] - before["violating_row_count"] == rows
    sample = rule["samples"][-1]
    assert (sample["request_id"], sample["value"]) == ("r-17", "")
    assert sample["row"] == int(case.rows.split(",")[-1])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_draft_refuses_nothing(bench: Bench, transport: str) -> None:
    """Its rules say reject; they are counted."""
    found = bench.ask(transport, "draft", numbers(1, 500, 3))

    assert (found.status, found.flags) == ("ok", "")
    (rule,) = bench.quality("draft")["rules"]
    assert (rule["action"], rule["row_count"] > 0) == ("count", True)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_value_is_shown_where_the_contract_says_so(bench: Bench, transport: str) -> None:
    """With `echo_values`, in the refusal and in the samples."""
    found = bench.ask(transport, "echo", numbers(1, 500.5, 3))

    assert "(it is 500.5)" in found.message
    (rule,) = bench.quality("echo")["rules"]
    assert rule["samples"][-1]["value"] == "500.5"


def test_a_bad_row_harms_nobody_else(bench: Bench) -> None:
    """Good and bad requests that wait at the same time: each gets what it would get alone."""
    futures = []
    for number in range(40):
        given = over_http.InferInput("INPUT0", (1, 1), "FP32")
        value = 500.0 if number % 2 else float(number)
        given.set_data_from_numpy(np.array([[value]], np.float32))
        futures.append(bench.http.async_infer("strict", [given]))
    for number, future in enumerate(futures):
        if number % 2:
            with pytest.raises(InferenceServerException, match="row 0 is above the maximum 120"):
                future.get_result()
        else:
            assert future.get_result().as_numpy("OUTPUT0").tolist() == [[float(number)]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_large_request_is_judged_like_any(bench: Bench, transport: str) -> None:
    """Beside the loop: its answer, and its refusal, are those of a small one."""
    large = np.ones((2, 300_000), np.float32)
    good = bench.ask(transport, "strict", {"INPUT0": large})
    np.testing.assert_array_equal(good.outputs["OUTPUT0"], large)

    large[1, 299_999] = 121
    found = bench.ask(transport, "strict", {"INPUT0": large})
    assert "input 'INPUT0' row 1 is above the maximum 120" in found.message


def test_missing_values_are_counted_by_how_they_are_missing(bench: Bench) -> None:
    """NaN, tokens, empty tensors, inputs that were left out: whatever the rules."""
    for name in ("nan", "token", "empty", "absent"):
        case, model = CASES[name], f"{NAMES[name]}-count"
        bench.ask("http", model, case.bad)
        missing = {one["kind"]: one["count"] for one in bench.quality(model)["missing"]}
        assert missing[name] > 0


def test_a_contract_for_another_model_keeps_it_from_loading(tmp_path: Path) -> None:
    """The version is UNAVAILABLE, and the reason names the rule."""
    spec = version(tmp_path, "other", models.tiny(), max_batch_rows=8)
    wrong = replace(spec, contract=parse_contract(STRICT.encode()))
    with running_worker(tmp_path) as worker:
        lines = worker.apply(wrong)

    assert lines[-1]["state"] == "UNAVAILABLE"
    assert "BP-D01 contract: INPUT0: the model has no input 'INPUT0'" in lines[-1]["reason"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("name", "expected"),
    [("max", (2, 1, 0, 0)), ("answer max", (2, 0, 2, 1))],
    ids=["input", "answer"],
)
def test_guardrails_are_told_of_requests(
    bench: Bench, name: str, expected: tuple[int, ...], transport: str
) -> None:
    """Judged and refused ones, and judged and broken answers where rules look at answers."""
    case, model = CASES[name], f"{NAMES[name]}-reject"
    before = bench.counted(model)
    bench.ask(transport, model, case.good, case.good_parameters)
    bench.ask(transport, model, case.bad, case.bad_parameters)

    found = bench.counted(model) - before

    assert expected == (
        found.judged_count,
        found.refused_count,
        found.answer_count,
        found.broken_count,
    )
