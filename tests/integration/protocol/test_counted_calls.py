"""Statistics and metrics: what is counted, and that both say the same."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.fakes.protocol_server import Served, grpc_request, json_input, ones

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
COUNTERS = {
    "nv_inference_request_success": lambda s: s["inference_stats"]["success"]["count"],
    "nv_inference_count": lambda s: s["inference_count"],
    "nv_inference_exec_count": lambda s: s["execution_count"],
}
DURATIONS = {
    "nv_inference_request_duration_us": "success",
    "nv_inference_queue_duration_us": "queue",
    "nv_inference_compute_input_duration_us": "compute_input",
    "nv_inference_compute_infer_duration_us": "compute_infer",
    "nv_inference_compute_output_duration_us": "compute_output",
}
KEYS = {"name", "version", "last_inference", "inference_count", "execution_count",
        "inference_stats", "response_stats", "batch_stats", "memory_usage"}  # fmt: skip
PARTS = {"success", "fail", "queue", "compute_input", "compute_infer", "compute_output",
         "cache_hit", "cache_miss"}  # fmt: skip


def failures(served: Served, model: str) -> dict[str, float]:
    """The failure counter by reason."""
    name = "nv_inference_request_failure"
    return {reason: served.metric(name, model=model, reason=reason) for reason in REASONS}


def mixed_load(served: Served, model: str) -> int:
    """Send calls of 1 to 8 rows from several threads, over both protocols; return the rows."""
    sizes = [1, 2, 3, 8, 5, 1, 4, 8] * 4

    def ask(rows: int) -> None:
        x = np.ones((rows, 16), np.float32)
        assert served.infer(model, ones(rows)).status == 200
        assert served.stub.ModelInfer(grpc_request(model, ("x", x))).model_name == model

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, sizes))
    return 2 * sum(sizes)


@pytest.mark.parametrize("model", ["tiny", "pair"], ids=["one worker", "two workers"])
def test_the_equations_hold_after_a_mixed_load(served: Served, model: str) -> None:
    """Rows, executions and batches add up, over all workers of a version."""
    before = served.statistics(model)
    rows = mixed_load(served, model)
    after = served.statistics(model)
    batches = after["batch_stats"]
    parts = after["inference_stats"]

    assert after["inference_count"] == before["inference_count"] + rows
    assert parts["success"]["count"] == before["inference_stats"]["success"]["count"] + 64
    assert sum(b["compute_infer"]["count"] for b in batches) == after["execution_count"]
    assert (
        sum(b["batch_size"] * b["compute_infer"]["count"] for b in batches)
        == after["inference_count"]
    )
    assert after["execution_count"] <= parts["success"]["count"]
    assert parts["fail"] == before["inference_stats"]["fail"]
    waited_ns = sum(
        parts[part]["ns"] for part in ("queue", "compute_input", "compute_infer", "compute_output")
    )
    assert waited_ns <= parts["success"]["ns"]
    assert {
        part["count"] for name, part in parts.items() if name.startswith(("queue", "comp"))
    } == {parts["success"]["count"]}


def test_all_keys_are_there_as_numbers(served: Served) -> None:
    """perf_analyzer ends at a missing key; all numbers are JSON numbers."""
    told = served.statistics("tiny")
    counts: list[Any] = [told["last_inference"], told["inference_count"], told["execution_count"]]
    counts += [number for part in told["inference_stats"].values() for number in part.values()]

    assert KEYS >= set(told) >= KEYS - {"memory_usage"}
    assert set(told["inference_stats"]) == PARTS
    assert {type(number) for number in counts} == {int}


@pytest.mark.front_desk("statistics over gRPC")
def test_statistics_of_all_list_ready_versions(served: Served) -> None:
    """The call without a model has one entry for each version that can answer."""
    told = {(s["name"], s["version"]) for s in served.get("/v2/models/stats").json()["model_stats"]}

    assert {("tiny", "1"), ("choice", "1"), ("choice", "2")} <= told
    assert "broken" not in {name for name, _ in told}
    over_grpc = served.grpc.get_inference_statistics().model_stats
    assert {(s.name, s.version) for s in over_grpc} == told


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v2/models/nobody/stats", "requested model 'nobody' is not available"),
        (
            "/v2/models/tiny/versions/99/stats",
            "requested model version is not available for model 'tiny'",
        ),
    ],
)
def test_statistics_of_what_is_not_there(served: Served, path: str, text: str) -> None:
    """Triton's words for an unknown model and version."""
    assert served.get(path).refusal() == (400, text)


@pytest.mark.front_desk("metrics")
def test_a_failure_after_validation_has_one_reason(served: Served) -> None:
    """A failed run counts in `fail` and under one reason; a refused call under none."""
    x = json_input("x", "FP32", (1, 4), [1.0] * 4)
    bad_index = {"inputs": [x, json_input("index", "INT64", (1, 1), [9])]}
    bad_shape = {"inputs": [x, json_input("index", "INT64", (1, 2), [0, 0])]}
    reasons, told = failures(served, "picky"), served.statistics("picky")["inference_stats"]

    assert served.infer("picky", bad_shape).status == 400
    assert failures(served, "picky") == reasons
    assert served.infer("picky", bad_index).status == 400
    after = served.statistics("picky")["inference_stats"]

    assert after["fail"]["count"] == told["fail"]["count"] + 1
    assert after["success"] == told["success"]
    assert sum(failures(served, "picky").values()) == sum(reasons.values()) + 1
    assert sum(failures(served, "picky").values()) == after["fail"]["count"]


@pytest.mark.front_desk("metrics")
@pytest.mark.parametrize("model", ["tiny", "pair", "choice", "picky", "id_BF16"])
def test_metrics_say_what_statistics_say(served: Served, model: str) -> None:
    """The same counters under the names that dashboards know, by model and version."""
    served.infer("tiny", ones())
    for told in served.get(f"/v2/models/{model}/stats").json()["model_stats"]:
        labels = {"model": model, "version": told["version"]}
        for name, read in COUNTERS.items():
            assert served.metric(name, **labels) == read(told), name
        for name, part in DURATIONS.items():
            spent_us = told["inference_stats"][part]["ns"] / 1000
            assert served.metric(name, **labels) == pytest.approx(spent_us, abs=1 + 0.01 * spent_us)


@pytest.mark.front_desk("metrics")
def test_all_reasons_are_there_from_the_start(served: Served) -> None:
    """A dashboard finds each failure reason at 0, and a load's duration."""
    assert failures(served, "id_INT8") == dict.fromkeys(REASONS, 0)
    assert served.metric("nv_model_load_duration_secs", model="id_INT8", version="1") > 0
    assert served.metric("nv_inference_pending_request_count", model="id_INT8") == 0
    assert served.metric("nv_cpu_memory_total_bytes") > 0


@pytest.mark.front_desk("metrics")
@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_metrics_answer_get_only(served: Served, path: str) -> None:
    """The exporter has its content type; another method is refused."""
    import http.client  # noqa: PLC0415
    from contextlib import closing  # noqa: PLC0415

    with closing(http.client.HTTPConnection(served.instance.metrics)) as connection:
        connection.request("GET", path)
        reply = connection.getresponse()
        assert (reply.status, reply.getheader("content-type", "")[:10]) == (200, "text/plain")
        assert b"nv_inference_request_success{" in reply.read()
        connection.request("POST", path)
        assert connection.getresponse().status == 405
