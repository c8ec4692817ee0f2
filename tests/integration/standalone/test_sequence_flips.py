"""Traffic moves to another version while sequences, streams and long calls are under way."""

import http.client
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.fakes.models import slow, tiny
from tests.fakes.sequence_models import ACCUMULATOR_CONFIG, accumulator
from tests.fakes.standalone_server import LIMIT_S, Server, put_model, serving

STEPS = 20
LONG_N = 30
"""1.5 s of work on one core."""
FRESH_IDS = itertools.count(1000)
Step = Callable[..., tuple[float, str]]
"""(id, value) → the sum, and the version that ran."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two versions of a model that sums, and of one without sequences."""
    home = tmp_path_factory.mktemp("h")
    with serving(home / "b", "--model-repository", str(models_in(home))) as running:
        yield running


def models_in(home: Path) -> Path:
    """Write the models; all versions are served."""
    models = home / "models"
    for version in (1, 2):
        put_model(models, "sums", version, content=accumulator())
        put_model(models, "tiny", version, content=tiny())
        put_model(models, "slow", version, content=slow())
    config = f"{ACCUMULATOR_CONFIG}\nversion_policy {{ all {{}} }}"
    # Room for all that these tests begin: some of them leave a sequence under way.
    config = config.replace("max_candidate_sequences: 4", "max_candidate_sequences: 64")
    (models / "sums" / "config.pbtxt").write_text(config)
    return models


def promote(server: Server, version: int, model: str = "sums") -> None:
    """Flip."""
    server.admin("POST", f"/v1/models/{model}/promote", {"version": version})


@contextmanager
def http_steps(server: Server) -> Iterator[Step]:
    """Steps over one kept HTTP connection."""
    with triton_http.InferenceServerClient(server.http) as client:
        yield _stepping(client, triton_http, lambda r: r.get_response()["model_version"])


@contextmanager
def grpc_steps(server: Server) -> Iterator[Step]:
    """Steps over one channel."""
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        yield _stepping(client, triton_grpc, lambda r: r.get_response().model_version)


def _stepping(client: Any, kind: Any, version_of: Callable[[Any], str]) -> Step:  # noqa: ANN401  tritonclient has no types
    def step(
        sequence: int | str,
        value: float,
        *,
        start: bool = False,
        end: bool = False,
        version: str = "",
    ) -> tuple[float, str]:
        x = kind.InferInput("x", [1, 1], "FP32")
        x.set_data_from_numpy(np.array([[value]], np.float32))
        flags = {"sequence_start": start, "sequence_end": end}
        result = client.infer(
            "sums", [x], sequence_id=sequence, timeout=None, model_version=version, **flags
        )
        return float(result.as_numpy("y")[0, 0]), version_of(result)

    return step


WIRES = pytest.mark.parametrize("wire", [http_steps, grpc_steps])
Wire = Callable[[Server], AbstractContextManager[Step]]


@WIRES
def test_a_sequence_ends_on_the_version_that_it_began_on(server: Server, wire: Wire) -> None:
    """Its sums are those of one that no flip interrupts; one that begins later is on the new."""
    old, new = next(FRESH_IDS), next(FRESH_IDS)
    promote(server, 1)
    with wire(server) as step:
        first = [step(old, n, start=n == 1) for n in range(1, STEPS // 2 + 1)]
        promote(server, 2)
        began = step(new, 100, start=True)
        rest = [step(old, n, end=n == STEPS) for n in range(STEPS // 2 + 1, STEPS + 1)]
        second = step(new, 1, end=True)
    assert [*first, *rest] == [(n * (n + 1) / 2, "1") for n in range(1, STEPS + 1)]
    assert [began, second] == [(100, "2"), (101, "2")]


@WIRES
def test_flips_back_and_forth_do_not_disturb_sequences(server: Server, wire: Wire) -> None:
    """Whichever version is live, each sequence goes on where it began."""
    one, two = next(FRESH_IDS), next(FRESH_IDS)
    promote(server, 1)
    with wire(server) as step:
        step(one, 1, start=True)
        promote(server, 2)
        step(two, 10, start=True)
        for round_number in range(2, 5):
            promote(server, 1 if round_number % 2 == 0 else 2)
            assert step(one, 1) == (round_number, "1")
            assert step(two, 10) == (10 * round_number, "2")


@WIRES
def test_an_id_that_begins_anew_ends_where_it_was(server: Server, wire: Wire) -> None:
    """After its END, a step of the id is refused: what it left behind before the flip is gone."""
    sequence = next(FRESH_IDS)
    promote(server, 1)
    with wire(server) as step:
        step(sequence, 1, start=True)
        promote(server, 2)
        assert step(sequence, 5, start=True) == (5, "2")
        assert step(sequence, 5, end=True) == (10, "2")

        def is_refused() -> bool:
            with pytest.raises(InferenceServerException, match="must specify the START"):
                step(sequence, 5)
            return True

        assert is_refused()
        promote(server, 1)
        assert is_refused()


@WIRES
def test_sequences_of_a_named_version_are_not_handed_on(server: Server, wire: Wire) -> None:
    """Neither does a call that names a version go elsewhere, nor does one find a named sequence."""
    named, routed = next(FRESH_IDS), next(FRESH_IDS)
    promote(server, 1)
    with wire(server) as step:
        step(named, 1, start=True, version="2")
        step(routed, 1, start=True)
        for sequence, version in ((named, ""), (routed, "2")):
            with pytest.raises(InferenceServerException, match="must specify the START"):
                step(sequence, 1, version=version)
        assert step(named, 1, version="2") == (2, "2")
        assert step(routed, 1) == (2, "1")


def test_a_stream_goes_on_with_its_sequence(server: Server) -> None:
    """Steps that are sent without waiting for replies keep their order across a flip."""
    sequence, replies = next(FRESH_IDS), SimpleQueue[Any]()
    promote(server, 1)
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: replies.put((result, error)))
        for n in range(1, 2 * STEPS + 1):
            x = triton_grpc.InferInput("x", [1, 1], "FP32")
            x.set_data_from_numpy(np.array([[n]], np.float32))
            client.async_stream_infer(
                "sums", [x], sequence_id=sequence, sequence_start=n == 1, sequence_end=False
            )
            if n == STEPS:
                got = [replies.get(timeout=LIMIT_S)]  # so it has begun
                promote(server, 2)
        got += [replies.get(timeout=LIMIT_S) for _ in range(2 * STEPS - 1)]
        client.stop_stream()
    assert [error for _, error in got if error] == []
    sums = [float(result.as_numpy("y")[0, 0]) for result, _ in got]
    assert sums == [n * (n + 1) / 2 for n in range(1, 2 * STEPS + 1)]
    assert {result.get_response().model_version for result, _ in got} == {"1"}


def test_the_next_call_of_an_open_connection_gets_the_new_version(server: Server) -> None:
    """Connections that are kept pin nobody to the version before."""
    x = {"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [1.0] * 16}
    body = json.dumps({"inputs": [x]})
    kept = http.client.HTTPConnection(server.http, timeout=LIMIT_S)
    x_grpc = triton_grpc.InferInput("x", [1, 16], "FP32")
    x_grpc.set_data_from_numpy(np.ones((1, 16), np.float32))
    with triton_grpc.InferenceServerClient(server.grpc) as channel:
        for version in (1, 2, 1, 2):
            promote(server, version, "tiny")
            kept.request("POST", "/v2/models/tiny/infer", body)
            assert json.loads(kept.getresponse().read())["model_version"] == str(version)
            result = channel.infer("tiny", [x_grpc])
            assert result.get_response().model_version == str(version)
    kept.close()


@pytest.mark.long
@pytest.mark.parametrize("gone", ["killed", "retired"])
@WIRES
def test_a_sequence_whose_worker_is_gone_is_told_so(
    tmp_path_factory: pytest.TempPathFactory, wire: Wire, gone: str
) -> None:
    """The next step is refused with 404, never answered from another state; START begins anew."""
    home = tmp_path_factory.mktemp("h")
    with (
        serving(home / "b", "--model-repository", str(models_in(home))) as server,
        wire(server) as step,
    ):
        promote(server, 1)
        assert step(5, 1, start=True) == (1, "1")
        pids = server.worker_pids()
        versions = server.admin("GET", "/v1/status")["versions"]
        assert isinstance(versions, list)
        pool = next(v["pool"] for v in versions if (v["model"], v["version"]) == ("sums", 1))
        promote(server, 2)
        assert step(5, 1) == (2, "1")
        if gone == "killed":
            os.kill(pids[pool], signal.SIGKILL)
        else:
            server.admin("POST", "/v1/models/sums/retire", {"version": 1})
        for _ in range(2):
            with pytest.raises(InferenceServerException) as refused:
                step(5, 1)
            assert refused.value.status() in {"404", "StatusCode.NOT_FOUND"}
            assert "start the sequence again" in refused.value.message()
        if gone == "killed":
            server.until(
                lambda: begins_anew(server, step), "it begins anew at a worker that is back"
            )
        assert step(5, 7, start=True) == (7, "2")
        assert step(5, 1) == (8, "2")


def begins_anew(server: Server, step: Step) -> bool:
    """Begin the lost sequence at version 1; say if it goes on there when 2 is live again."""
    try:
        promote(server, 1)
        step(5, 1, start=True)
        promote(server, 2)
        return step(5, 1) == (2, "1")
    except (AssertionError, InferenceServerException):
        return False  # its worker is still away, or has not yet been told of the other one


def test_a_share_of_the_calls_is_refused(server: Server) -> None:
    """A canary or an A/B test would split sequences; blue-green does not."""
    promote(server, 1)
    for strategy in ("canary", "ab"):
        body = {"version": 2, "strategy": strategy, "steps": [{"share_percent": 10}]}
        with pytest.raises(AssertionError, match="cannot be split call by call"):
            server.admin("POST", "/v1/models/sums/rollout", body)
    began = next(FRESH_IDS)
    with http_steps(server) as step:
        step(began, 1, start=True)
        body = {"version": 2, "bake_s": 0, "sequence_limit_s": 120}
        number = server.admin("POST", "/v1/models/sums/rollout", body)["id"]

        def state() -> str:
            report: Any = server.admin("GET", f"/v1/rollouts/{number}")
            return str(report["rollout"]["state"])

        server.until(lambda: state() == "SWITCHED", "the flip")
        assert step(began, 1) == (2, "1")
    server.admin("POST", "/v1/models/sums/rollout/skip-step", {})
    server.until(lambda: state() == "COMPLETE", "the end")


def test_calls_in_flight_end_on_the_version_that_they_began_on(server: Server) -> None:
    """Calls, a generate_stream and a gRPC stream that a flip overtakes; the next one is new."""
    lengths = (LONG_N, 2 * LONG_N, 4 * LONG_N)
    assert any(overtaken(server, length) for length in lengths), "no flip ever came in time"


def overtaken(server: Server, length: int) -> bool:
    """Let a flip overtake three calls that take so long; False: it came when all had ended."""
    promote(server, 1, "slow")
    generated: dict[str, Any] = {}
    replies: SimpleQueue[Any] = SimpleQueue()

    def generate() -> None:
        with closing(http.client.HTTPConnection(server.http, timeout=LIMIT_S)) as connection:
            text = json.dumps({"x": [1.0] * 4, "n": length})
            connection.request("POST", "/v2/models/slow/generate_stream", text)
            generated["text"] = connection.getresponse().read().decode()

    def called(repeats: int) -> Any:  # noqa: ANN401  tritonclient has no types
        with triton_grpc.InferenceServerClient(server.grpc) as client:
            return client.infer("slow", slow_inputs(repeats)).get_response().model_version

    with (
        ThreadPoolExecutor() as threads,
        triton_grpc.InferenceServerClient(server.grpc) as streaming,
    ):
        began = counted(server)
        call, stream = threads.submit(called, length), threads.submit(generate)
        streaming.start_stream(lambda result, error: replies.put((result, error)))
        streaming.async_stream_infer("slow", slow_inputs(length))
        pending = 'nv_inference_pending_request_count{model="slow",version="1"} 2'
        server.until(
            lambda: pending in server.metrics() or counted(server) > began, "one runs and two wait"
        )
        promote(server, 2, "slow")
        assert called(0) == "2"
        is_overtaken = counted(server) < began + 3
        assert call.result() == "1"
        stream.result()
        result, error = replies.get(timeout=LIMIT_S)
        streaming.stop_stream()
    assert error is None
    assert result.get_response().model_version == "1"
    assert '"model_version":"1"' in generated["text"]
    return is_overtaken


def counted(server: Server) -> int:
    """How many calls of the slow model's version 1 have ended."""
    with triton_http.InferenceServerClient(server.http) as client:
        (found,) = client.get_inference_statistics("slow", "1")["model_stats"]
    return int(found["inference_stats"]["success"]["count"])


def slow_inputs(repeats: int) -> list[Any]:
    """One row, and how long it takes."""
    x, n = triton_grpc.InferInput("x", [1, 4], "FP32"), triton_grpc.InferInput("n", [1], "INT64")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    n.set_data_from_numpy(np.array([repeats], np.int64))
    return [x, n]


@pytest.mark.long
def test_a_version_stays_for_its_sequences_when_another_takes_over(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The policy chooses a new version: the one before leaves after its last sequence."""
    home = tmp_path_factory.mktemp("h")
    models = home / "models"
    put_model(models, "sums", 1, content=accumulator())
    (models / "sums" / "config.pbtxt").write_text(ACCUMULATOR_CONFIG)
    explicit = ("--model-control-mode", "explicit", "--load-model", "sums")
    with (
        serving(home / "b", "--model-repository", str(models), *explicit) as server,
        triton_http.InferenceServerClient(server.http) as client,
        http_steps(server) as step,
    ):

        def ready() -> set[object]:
            versions: Any = server.admin("GET", "/v1/status")["versions"]
            return {one["version"] for one in versions if one["state"] == "READY"}

        assert step(5, 1, start=True) == (1, "1")
        put_model(models, "sums", 2, content=accumulator())
        (models / "sums" / "config.pbtxt").write_text(ACCUMULATOR_CONFIG)
        client.load_model("sums")
        assert step(6, 1, start=True) == (1, "2")
        for n in range(2, 5):
            assert step(5, 1) == (n, "1")
        assert ready() == {1, 2}
        assert step(5, 1, end=True) == (5, "1")
        server.until(lambda: ready() == {2}, "the one before has left")
