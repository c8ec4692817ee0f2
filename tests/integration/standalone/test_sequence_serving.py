"""Stateful models behind a whole server: sequences over every client, and what ends them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_aio
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.fakes.lost_sequences import refusal_of
from tests.fakes.models import tiny
from tests.fakes.sequence_models import (
    ACCUMULATOR_CONFIG,
    HISTORY_CONFIG,
    accumulator,
    history,
)
from tests.fakes.standalone_server import Server, serving

LIMIT_S = 90.0
Step = Callable[..., float]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with both stateful models and a stateless one."""
    home = tmp_path_factory.mktemp("h")
    models = home / "models"
    put(models, "sums", accumulator(), ACCUMULATOR_CONFIG)
    put(models, "history", history(), HISTORY_CONFIG)
    put(models, "tiny", tiny(), "")
    with serving(home / "b", "--model-repository", str(models)) as running:
        yield running


def put(repository: Path, name: str, content: bytes, config: str) -> None:
    """Write a model with its configuration."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    (repository / name / "config.pbtxt").write_text(config)


def tensor(client: Any, value: float) -> Any:  # noqa: ANN401  tritonclient has no types
    """The input of a step."""
    x = client.InferInput("x", [1, 1], "FP32")
    x.set_data_from_numpy(np.array([[value]], np.float32))
    return x


def step_over(client: Any, kind: Any, model: str = "sums") -> Step:  # noqa: ANN401  as above
    """A function that takes one step of a sequence with a blocking client."""

    def step(sequence: int | str, value: float, *, start: bool = False, end: bool = False) -> float:
        flags = {"sequence_start": start, "sequence_end": end}
        result = client.infer(model, [tensor(kind, value)], sequence_id=sequence, **flags)
        return float(result.as_numpy("y")[0, 0])

    return step


@pytest.fixture(params=["http", "grpc"])
def step(request: pytest.FixtureRequest, server: Server) -> Iterator[Step]:
    """Steps over either wire."""
    if request.param == "http":
        with triton_http.InferenceServerClient(server.http) as client:
            yield step_over(client, triton_http)
    else:
        with triton_grpc.InferenceServerClient(server.grpc) as client:
            yield step_over(client, triton_grpc)


def test_each_sequence_has_its_own_state(step: Step) -> None:
    """Sums of sequences whose calls alternate do not mix; END ends one, START begins anew."""
    assert step(11, 1, start=True) == 1
    assert step(12, 10, start=True) == 10
    assert step(11, 2) == 3
    assert step(12, 20) == 30
    assert step(11, 4, end=True) == 7
    assert step(12, 5, start=True) == 5
    assert step(12, 5, end=True) == 10


def test_a_call_of_an_unknown_sequence_is_refused(step: Step) -> None:
    """Without START it is the client's mistake, in Triton's words; so is one after END."""
    with pytest.raises(InferenceServerException, match="must specify the START flag"):
        step(99, 1)
    step(98, 1, start=True, end=True)
    with pytest.raises(InferenceServerException, match=r"START flag.*has ended"):
        step(98, 1)


def test_a_call_without_a_sequence_is_refused(step: Step) -> None:
    """A model with sequences takes no call that names none."""
    with pytest.raises(InferenceServerException, match="non-zero or non-empty correlation ID"):
        step(0, 1)


def test_an_id_that_the_model_cannot_take_is_refused(step: Step) -> None:
    """Its CORRID input is a number: text is refused, with the remedy."""
    with pytest.raises(InferenceServerException, match="send a number"):
        step("seven", 1, start=True)


def test_ids_may_be_text_and_state_may_grow(server: Server) -> None:
    """A model without CORRID takes text; its state has another shape after every call."""
    with triton_http.InferenceServerClient(server.http) as client:
        step = step_over(client, triton_http, "history")
        first = [step("a", 0, start=True), step("a", 0), step("a", 0), step("a", 0, end=True)]
    assert first == [1, 2, 3, 4]


def test_metadata_shows_what_clients_send_and_get(server: Server) -> None:
    """Control and state tensors are no part of it; the configuration says sequence_batching."""
    with triton_http.InferenceServerClient(server.http) as client:
        facts = client.get_model_metadata("sums")
        config = client.get_model_config("sums")
    assert [one["name"] for one in facts["inputs"]] == ["x"]
    assert [one["name"] for one in facts["outputs"]] == ["y", "id"]
    assert config["sequence_batching"]["oldest"]["max_candidate_sequences"] == 4
    assert [one["name"] for one in config["input"]] == ["x"]
    assert "dynamic_batching" not in config


def test_sequences_run_on_one_stream(server: Server) -> None:
    """The blocking stream: 4 sequences of 25 steps at once, sent without waiting for replies."""
    results: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    got: dict[int, list[float]] = {1: [], 2: [], 3: [], 4: []}
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: results.put((result, error)))
        for number in range(25):
            for sequence in got:
                client.async_stream_infer(
                    "sums",
                    [tensor(triton_grpc, sequence)],
                    request_id=str(sequence),
                    sequence_id=sequence,
                    sequence_start=number == 0,
                    sequence_end=number == 24,
                    enable_empty_final_response=True,
                )
        for _ in range(100):
            result, error = results.get(timeout=LIMIT_S)
            assert error is None, error
            reply = result.get_response()
            assert reply.parameters["triton_final_response"].bool_param
            got[int(reply.id)].append(float(result.as_numpy("y")[0, 0]))
        client.stop_stream()
    assert got == {n: [n * float(k) for k in range(1, 26)] for n in got}


def test_a_stream_of_the_asynchronous_client(server: Server) -> None:
    """grpc.aio: pairs of result and error in the order of the calls; a refused one ends nothing."""

    async def calls() -> AsyncIterator[dict[str, Any]]:
        for number in range(6):
            yield {
                "model_name": "unknown" if number == 3 else "sums",
                "inputs": [tensor(triton_grpc, 1)],
                "request_id": f"r{number}",
                "sequence_id": 77,
                "sequence_start": number == 0,
                "sequence_end": number == 5,
            }

    async def converse() -> list[tuple[Any, Any]]:
        async with (
            asyncio.timeout(LIMIT_S),
            triton_aio.InferenceServerClient(server.grpc) as client,
        ):
            return [pair async for pair in client.stream_infer(calls())]

    pairs = asyncio.run(converse())
    sums = [None if error else float(result.as_numpy("y")[0, 0]) for result, error in pairs]
    assert sums == [1, 2, 3, None, 4, 5]
    assert "'unknown' is not found" in str(pairs[3][1])


def test_more_sequences_than_there_is_room_for_wait(server: Server) -> None:
    """The fifth sequence of a model that has room for four runs when another one ends."""
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        step = step_over(client, triton_grpc)
        for sequence in (21, 22, 23, 24):
            step(sequence, 1, start=True)
        answers: SimpleQueue[Any] = SimpleQueue()
        client.async_infer(
            "sums",
            [tensor(triton_grpc, 9)],
            lambda result, error: answers.put(error or float(result.as_numpy("y")[0, 0])),
            sequence_id=25,
            sequence_start=True,
            sequence_end=True,
        )
        for sequence in (21, 22, 23, 24):
            assert step(sequence, 1, end=True) == 2
        assert answers.get(timeout=LIMIT_S) == 9


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_calls_run(server: Server, compression: str) -> None:
    """Unary and on a stream, large and so small that grpc leaves them as they are."""
    results: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        for rows in (1, 50):
            x = triton_grpc.InferInput("x", [rows, 16], "FP32")
            x.set_data_from_numpy(np.zeros((rows, 16), np.float32))
            result = client.infer("tiny", [x], compression_algorithm=compression)
            assert result.as_numpy("y").shape == (rows, 4)
        client.start_stream(
            lambda result, error: results.put((result, error)), compression_algorithm=compression
        )
        client.async_stream_infer("tiny", [x])
        result, error = results.get(timeout=LIMIT_S)
        client.stop_stream()
    assert error is None
    assert result.as_numpy("y").shape == (50, 4)


def lone_step(server: Server, sequence: int) -> float:
    """Take a step on a connection of its own."""
    with triton_http.InferenceServerClient(server.http) as client:
        return step_over(client, triton_http)(sequence, 1)


def test_a_dead_worker_takes_its_sequences_with_it(server: Server) -> None:
    """After a kill the next call is told that the state is lost; it never runs on an empty one."""
    with triton_http.InferenceServerClient(server.http) as client:
        assert step_over(client, triton_http)(31, 1, start=True) == 1
    os.kill(server.worker_of("sums"), signal.SIGKILL)
    told = refusal_of(lambda: lone_step(server, 31))
    assert told.status() == "404"
    assert "the state of its sequences is lost" in str(told)
    with triton_http.InferenceServerClient(server.http) as client:
        assert step_over(client, triton_http)(31, 1, start=True, end=True) == 1


@pytest.mark.parametrize("kind", [triton_http, triton_grpc], ids=["http", "grpc"])
def test_a_client_cannot_pass_for_a_worker(server: Server, kind: Any) -> None:  # noqa: ANN401  as above
    """The header by which workers hand steps on means nothing from outside: no bare 421."""
    address = server.http if kind is triton_http else server.grpc
    spoofed = {"bascule-handed-on": "1"}
    with (
        kind.InferenceServerClient(address) as client,
        pytest.raises(InferenceServerException, match="must specify the START"),
    ):
        client.infer("sums", [tensor(kind, 1)], sequence_id=987_654, headers=spoofed)
