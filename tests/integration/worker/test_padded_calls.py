"""Calls of different lengths run together, and nobody notices: with an engine, and in workers."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import np_to_triton_dtype

from runtimes.catalogue import runtime_for
from runtimes.contract import Array, LoadedModel, LoadRequest
from runtimes.devices import CPU
from runtimes.signature import Configured, read_signature
from serving.ids import VersionKey
from serving.predictions.reading import Found, PredictionReader
from serving.predictions.replay import PredictionReplay, PredictionReplayer
from serving.predictions.shelf import Shelf
from serving.registry.bundles.reproduction import Verdict
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.ensemble import EnsembleStep, TensorLink
from serving.registry.policies.padding_policy import padding_policy
from serving.registry.version import ServingPolicy, VersionSpec
from serving.wire.padding_fit import fit_padding
from serving.worker.batch_plan import BatchLimits, next_batch
from serving.worker.executor import VersionRunner
from serving.worker.padded_stacking import PaddedStacker
from serving.worker.recorder import FIRST_THREAD_SLOT, FlightRecorder
from tests.fakes import models
from tests.fakes.batching import HeldCall
from tests.fakes.grpc_stand_in import grpc_in_front_of
from tests.fakes.logged_worker import PARAMETER, logged_ids, logging_worker
from tests.fakes.padded_models import (
    INPUTS,
    OUTPUTS,
    answer,
    checks_of,
    declared,
    decoded,
    padded_version,
    texts,
)
from tests.fakes.shadow_pair import running_pair
from tests.fakes.worker_process import Reply, WorkerProcess, infer, running_worker

NAMES = ("input_ids", "attention_mask", "last_hidden_state", "embedding")
INFER = "/v2/models/texts/infer"
LENGTHS = (3, 8, 5, 8, 1, 7, 2, 6)
TOGETHER = (
    f"max_batch_size: {len(LENGTHS)}\n"
    "dynamic_batching { max_queue_delay_microseconds: 60000000 }\n"
)
"""A batch runs as soon as all calls have come."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    """`masked_mean` in ONNX Runtime."""
    file = tmp_path_factory.mktemp("engine") / "model.onnx"
    file.write_bytes(models.masked_mean())
    model = runtime_for("onnx").load(LoadRequest(file=file, device=CPU, threads=1))
    yield model
    model.close()


SIZES = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 24), st.integers(0, 2**32 - 1)),
    min_size=1,
    max_size=12,
)
BUCKETS = st.sets(st.integers(1, 20), min_size=1, max_size=4).map(sorted)


@given(SIZES, BUCKETS)
def test_each_call_gets_what_it_gets_alone(
    engine: LoadedModel, sizes: list[tuple[int, int, int]], buckets: list[int]
) -> None:
    """Whatever lengths, rows, masks and buckets: bit for bit, with a model that has a mask."""
    signature = read_signature(engine.inputs, engine.outputs, Configured(max_batch_rows=64))
    parameters = declared(",".join(map(str, buckets)))
    padding = fit_padding(padding_policy(parameters), signature)
    assert padding is not None
    checks = checks_of(padding)
    waiting: list[HeldCall] = []
    alone: dict[HeldCall, Sequence[Array]] = {}
    for rows, length, seed in sizes:
        rng = np.random.default_rng(seed)
        arrays = list(texts(rng, rows, length).values())
        arrays[1] = rng.integers(0, 2, arrays[1].shape, np.int64)
        call = HeldCall(0.0)
        call.call = decoded(checks, arrays)
        call.rows, call.stack_key = rows, call.call.stack_key
        waiting.append(call)
        alone[call] = engine.run(arrays)
    stacker = PaddedStacker(signature.inputs, signature.outputs, max_batch_rows=64, padding=padding)
    note = FlightRecorder(None).note(VersionKey("texts", 1))
    runner = VersionRunner(engine, stacker, note, iter(range(10_000)).__next__)
    while waiting:
        plan = next_batch(waiting, BatchLimits(max_rows=64), 0)
        rows = sum(call.rows for call in plan.batch)
        (part,) = runner.run(plan.batch, rows, FIRST_THREAD_SLOT)
        for call, outputs in zip(part.batch, part.outputs, strict=True):
            for found, wanted in zip(outputs, alone.pop(call), strict=True):  # type: ignore[call-overload]
                np.testing.assert_array_equal(found, wanted)
        waiting = [call for call in waiting if call in alone]
    assert not alone


def _asked() -> list[dict[str, Array]]:
    rng = np.random.default_rng(11)
    return [texts(rng, 1, length) for length in LENGTHS]


def _ask(address: str, kind: Any, inputs: dict[str, Array], model: str) -> list[Array]:  # noqa: ANN401  two kinds
    given = []
    for name, array in inputs.items():
        one = kind.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        one.set_data_from_numpy(array)
        given.append(one)
    with kind.InferenceServerClient(address) as client:
        result = client.infer(model, given)
    return [result.as_numpy(name) for name in NAMES[2:]]


@dataclass(frozen=True)
class Clients:
    """Where clients of each kind ask; each call has a client of its own."""

    http: str
    grpc: str

    def ask_together(
        self, asked: Sequence[dict[str, Array]], model: str = "texts"
    ) -> list[list[Array]]:
        """Ask at once, every other call over gRPC."""
        kinds = ((self.http, over_http), (self.grpc, over_grpc))
        with ThreadPoolExecutor(len(asked)) as threads:
            futures = [
                threads.submit(_ask, *kinds[place % 2], inputs, model)
                for place, inputs in enumerate(asked)
            ]
            return [future.result() for future in futures]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker without versions."""
    with running_worker(tmp_path) as running:
        yield running


@pytest.fixture
def clients(worker: WorkerProcess) -> Iterator[Clients]:
    """Its clients."""
    host, port = worker.address
    with grpc_in_front_of(worker.address) as grpc:
        yield Clients(f"{host}:{port}", grpc)


def _apply(worker: WorkerProcess, *specs: VersionSpec) -> None:
    states = {(line["state"], line.get("reason", "")) for line in worker.apply(*specs)}
    assert states == {("LOADING", ""), ("READY", "")}


def _batches(worker: WorkerProcess, model: str = "texts") -> dict[int, int]:
    """Return how many batches of which size ran."""
    found = worker.statistics(model)["batch_stats"]
    return {int(one["batch_size"]): int(one["compute_infer"]["count"]) for one in found}


def _are_right(asked: Sequence[dict[str, Array]], got: Sequence[Sequence[Array]]) -> None:
    for inputs, outputs in zip(asked, got, strict=True):
        for found, wanted in zip(outputs, answer(inputs), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_lengths_of_both_wires_run_in_one_batch(
    worker: WorkerProcess, clients: Clients, tmp_path: Path
) -> None:
    """Eight calls of seven lengths, over HTTP and gRPC, are one execution; each gets its own."""
    _apply(worker, padded_version(tmp_path, more=TOGETHER))
    asked = _asked()

    got = clients.ask_together(asked)

    _are_right(asked, got)
    assert _batches(worker) == {len(LENGTHS): 1}


def test_lengths_that_differ_within_a_call_are_its_callers_mistake(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    """400, and the text names input, what came and what was expected."""
    _apply(worker, padded_version(tmp_path))
    inputs = {"input_ids": np.zeros((1, 4), "<i8"), "attention_mask": np.zeros((1, 2), "<i8")}
    with worker.client() as client:
        reply = client.ask(infer(INFER, inputs))

    assert reply.status == 400
    assert "input 'attention_mask'" in reply.json()["error"]
    assert "Expected 4 along axis 1, as input 'input_ids' has, got 2" in reply.json()["error"]


def test_what_does_not_fit_the_model_keeps_it_from_loading(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    """The reason names the parameter and the tensor."""
    spec = padded_version(tmp_path)
    wrong = padding_policy(declared(cut=""))
    (last,) = worker.apply(replace(spec, policy=replace(spec.policy, padding=wrong)))[-1:]

    assert last["state"] == "UNAVAILABLE"
    assert "cut_axes does not have 'last_hidden_state:1'" in last["reason"]


def test_a_data_contract_judges_what_was_asked_and_answered(
    worker: WorkerProcess, clients: Clients, tmp_path: Path
) -> None:
    """No element of padding breaks a rule, and a call that breaks one is refused by itself."""
    contract = parse_contract(
        b"contract: 1\n"
        b"inputs: {attention_mask: {min: 1, on_violation: reject}}\n"
        b"outputs: {last_hidden_state: {min: 0.25, on_violation: reject}}\n"
    )
    _apply(worker, replace(padded_version(tmp_path, more=TOGETHER), contract=contract))
    asked = _asked()
    bad = texts(np.random.default_rng(1), 1, 4)
    bad["attention_mask"][0, 2] = 0

    with worker.client() as client:
        refused = client.ask(infer(INFER, bad))
    got = clients.ask_together(asked)

    assert refused.status == 400
    assert "input 'attention_mask' row 0 is below the minimum 1" in refused.json()["error"]
    _are_right(asked, got)
    assert _batches(worker) == {len(LENGTHS): 1}


def test_kept_answers_have_their_own_length(
    worker: WorkerProcess, clients: Clients, tmp_path: Path
) -> None:
    """What ran in a padded batch is answered from the response cache as it was."""
    _apply(worker, padded_version(tmp_path, more=f"{TOGETHER}response_cache {{ enable: true }}\n"))
    asked = _asked()

    first = clients.ask_together(asked)
    again = clients.ask_together(asked)

    _are_right(asked, first)
    _are_right(asked, again)
    assert worker.statistics("texts")["inference_stats"]["cache_hit"]["count"] == len(LENGTHS)
    assert _batches(worker) == {len(LENGTHS): 1}


def test_steps_of_an_ensemble_are_padded_like_calls(
    worker: WorkerProcess, clients: Clients, tmp_path: Path
) -> None:
    """Steps of calls of different lengths run together in their model's queue."""
    step = padded_version(tmp_path, more=TOGETHER)
    links = {name: TensorLink(own=name, shared=name) for name in NAMES}
    only = EnsembleStep(
        model="texts",
        version=1,
        inputs=(links["input_ids"], links["attention_mask"]),
        outputs=(links["last_hidden_state"], links["embedding"]),
    )
    policy = ServingPolicy(
        max_batch_rows=8,
        inputs=tuple(replace(spec, shape=spec.shape[1:]) for spec in INPUTS),
        outputs=tuple(replace(spec, shape=spec.shape[1:]) for spec in OUTPUTS),
        ensemble=(only,),
    )
    _apply(worker, step, replace(step, model="both", file="", policy=policy))
    asked = _asked()

    got = clients.ask_together(asked, "both")

    _are_right(asked, got)
    assert _batches(worker) == {len(LENGTHS): 1}


def _replayed(found: Found) -> PredictionReplay:
    with Shelf() as shelf:
        return PredictionReplayer(
            shelf=shelf, locate=lambda _: None, may_execute=lambda _: False
        ).replay(found)


def _id_of(reply: Reply) -> str:
    return str(reply.json()["parameters"][PARAMETER])


def test_the_prediction_log_keeps_calls_and_replays_their_batch(tmp_path: Path) -> None:
    """Records have a call's own shapes; its batch is padded again as it was, even from one record.

    That holds where the records of longer calls are gone, too.
    """
    asked = _asked()
    with logging_worker(tmp_path) as (worker, place), worker.client() as client:
        _apply(worker, padded_version(tmp_path, more=TOGETHER))
        client.send(b"".join(infer(INFER, inputs) for inputs in asked))
        ids = [_id_of(client.read()) for _ in asked]
        kept = logged_ids(place, ids)
        assert worker.stop() == 0
    for name, inputs in zip(ids, asked, strict=True):
        for tensor, array in inputs.items():
            np.testing.assert_array_equal(kept[name].tensor(tensor), array)
        np.testing.assert_array_equal(
            kept[name].tensor("last_hidden_state", is_output=True), answer(inputs)[0]
        )
    found = [PredictionReader(str(place)).find(name) for name in ids]
    assert {one.prediction.head.batch.padded_length for one in found if one} == {8}
    for one in found:
        assert one is not None
        lone = replace(one, company=(one.prediction,))
        assert {_replayed(one).verdict, _replayed(lone).verdict} == {Verdict.EXACT}


@pytest.mark.parametrize("candidate_pads", [True, False])
def test_shadow_traffic_compares_calls_in_their_own_length(
    tmp_path: Path, *, candidate_pads: bool
) -> None:
    """A version that pads and its candidate agree, whether that pads, too, or runs them alone."""
    asked = _asked()
    candidate = padded_version(tmp_path, more=TOGETHER, number=2)
    if not candidate_pads:
        plain = padded_version(tmp_path, number=2)
        candidate = replace(plain, policy=replace(plain.policy, padding=None))
    with running_pair(tmp_path) as pair:
        _apply(pair.live, padded_version(tmp_path, more=TOGETHER))
        _apply(pair.candidate, candidate)
        pair.mirror("texts")
        with pair.live.client() as client:
            client.send(b"".join(infer(INFER, inputs) for inputs in asked))
            assert {client.read().status for _ in asked} == {200}
        report = pair.settled(len(asked))
        batches = _batches(pair.live), _batches(pair.candidate)

    assert (report.failed_calls, report.dropped_calls, report.failure) == (0, 0, "")
    assert (report.compared_rows, report.mismatched_rows) == (len(asked), 0)
    assert batches[0] == {len(asked): 1}
    assert (batches[1] == batches[0]) == candidate_pads
