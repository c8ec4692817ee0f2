"""A real worker keeps what it answered, over both wires, and serves whatever becomes of its log."""

import fcntl
import json
import resource
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.registry.ensemble import EnsembleStep, TensorLink
from serving.registry.policies.log_policy import LogPolicy
from serving.registry.version import VersionSpec
from tests.fakes import models
from tests.fakes.logged_worker import PARAMETER, logged, logged_ids, logging_worker
from tests.fakes.worker_process import (
    Reply,
    WorkerProcess,
    grpc_infer,
    infer,
    request,
    version,
    wait_until,
)

TINY = "/v2/models/tiny/infer"
X = np.arange(16, dtype="<f4")[None]
Y = X @ models.WEIGHT + models.BIAS


def _with_log(spec: VersionSpec, policy: LogPolicy) -> VersionSpec:
    return replace(spec, policy=replace(spec.policy, log=policy))


def _id_of(reply: Reply) -> str:
    return str(reply.json()["parameters"][PARAMETER])


def test_every_answer_is_named_and_kept(tmp_path: Path) -> None:
    """Replies name their predictions on both wires, and the records have every bit of them.

    The name is a header and a parameter.
    """
    with logging_worker(tmp_path) as (worker, place), worker.client() as client:
        worker.apply(version(tmp_path, "tiny", models.tiny()))
        binary = client.ask(infer(TINY, {"x": X}, request_id="r1"))
        plain = client.ask(request(TINY, _as_json(X)))
        packed = client.ask(infer(TINY, {"x": X}, headers=("accept-encoding: gzip",)))
        by_grpc = client.ask(grpc_infer("tiny", "x", X))
        ids = [
            _id_of(binary),
            _id_of(plain),
            *(one.headers[PARAMETER] for one in (packed, by_grpc)),
        ]
        found = logged_ids(place, ids)

    assert binary.headers[PARAMETER] == ids[0]
    assert binary.floats() == plain.json()["outputs"][0]["data"] == Y.ravel().tolist()
    assert PARAMETER.encode() in by_grpc.body
    assert ids[3].encode() in by_grpc.body
    assert by_grpc.trailers["grpc-status"] == "0"
    assert {uuid.UUID(text).version for text in found} == {7}
    assert found.keys() == set(ids)
    first = found[ids[0]]
    assert (first.head.request_id, first.head.route, first.head.batch.rows) == ("r1", "chosen", 1)
    assert first.source.environment is not None
    assert first.source.served.fingerprint
    for prediction in found.values():
        np.testing.assert_array_equal(prediction.tensor("x"), X)
        np.testing.assert_array_equal(prediction.tensor("y", is_output=True), Y)


def test_a_model_says_what_is_kept_of_it(tmp_path: Path) -> None:
    """Nothing, a digest, or all but some tensors; a model without a log answers as ever."""
    quiet = _with_log(version(tmp_path, "quiet", models.tiny()), LogPolicy(rate=0.0))
    hashed = _with_log(version(tmp_path, "hashed", models.tiny()), LogPolicy(inputs="hash"))
    secret = version(tmp_path, "secret", models.identity(Datatype.FP32))
    hidden = _with_log(secret, LogPolicy(redacted=("INPUT0", "OUTPUT0")))
    with logging_worker(tmp_path) as (worker, place), worker.client() as client:
        worker.apply(quiet, hidden, hashed)
        unnamed = client.ask(infer("/v2/models/quiet/infer", {"x": X}))
        of_hidden = _id_of(client.ask(infer("/v2/models/secret/infer", {"INPUT0": X + 0.5})))
        of_hashed = _id_of(client.ask(infer("/v2/models/hashed/infer", {"x": X})))
        found = logged_ids(place, [of_hidden, of_hashed])
        written = b"".join(path.read_bytes() for path in place.glob("*-*"))
        counted = _logs(worker)

    assert "parameters" not in unnamed.json()
    assert PARAMETER not in unnamed.headers
    assert counted["quiet"] is None
    assert found.keys() == {of_hidden, of_hashed}
    assert [tensor.sha256 for tensor in found[of_hidden].head.inputs] == [""]
    assert [tensor.sha256 for tensor in found[of_hashed].head.inputs] == [
        sha256(X.tobytes()).hexdigest()
    ]
    assert (X + 0.5).tobytes() not in written
    assert X.tobytes() not in written


def test_what_an_ensemble_withholds_its_steps_withhold(tmp_path: Path) -> None:
    """Its own record lacks the bytes, and the model of its step logs nothing of such a call."""
    tiny = version(tmp_path, "tiny", models.tiny())
    only = EnsembleStep(
        model="tiny",
        version=1,
        inputs=(TensorLink(own="x", shared="secret"),),
        outputs=(TensorLink(own="y", shared="z"),),
    )
    policy = replace(
        tiny.policy,
        max_batch_rows=8,
        inputs=(TensorSpec(name="secret", datatype=Datatype.FP32, shape=(16,)),),
        outputs=(TensorSpec(name="z", datatype=Datatype.FP32, shape=(4,)),),
        ensemble=(only,),
        log=LogPolicy(redacted=("secret",)),
    )
    ensemble = replace(tiny, model="both", file="", policy=policy)
    with logging_worker(tmp_path) as (worker, place), worker.client() as client:
        worker.apply(tiny, ensemble)
        withheld = _id_of(client.ask(infer("/v2/models/both/infer", {"secret": X + 0.5})))
        open_call = _id_of(client.ask(infer(TINY, {"x": X})))
        found = logged_ids(place, [withheld, open_call])
        written = b"".join(path.read_bytes() for path in place.glob("*-*"))

    assert found.keys() == {withheld, open_call}
    assert X.tobytes() in written
    assert (X + 0.5).tobytes() not in written


def test_calls_of_one_batch_are_kept_with_their_places(tmp_path: Path) -> None:
    """Calls that ran together have one batch number, places that fill it, and their own rows."""
    sizes = [1, 3, 2, 1, 4, 2, 1, 2] * 3
    rng = np.random.default_rng(7)
    asked = [rng.random((size, 16), np.float32) for size in sizes]
    with logging_worker(tmp_path) as (worker, place), worker.client() as client:
        worker.apply(version(tmp_path, "tiny", models.tiny()))
        client.send(b"".join(infer(TINY, {"x": rows}) for rows in asked))
        ids = [_id_of(client.read()) for _ in asked]
        found = logged_ids(place, ids)
    for text, rows in zip(ids, asked, strict=True):
        np.testing.assert_array_equal(found[text].tensor("x"), rows)
    batches: dict[int, list[Any]] = {}
    for prediction in found.values():
        batches.setdefault(prediction.head.batch.number, []).append(prediction.head)

    assert max(len(heads) for heads in batches.values()) > 1
    for heads in batches.values():
        assert [head.batch.index for head in heads] == list(range(heads[0].batch.calls))
        assert sum(head.rows for head in heads) == heads[0].batch.rows
        assert [head.batch.first_row for head in heads] == [
            sum(other.rows for other in heads[:index]) for index in range(len(heads))
        ]


def test_a_killed_worker_leaves_a_readable_log(tmp_path: Path) -> None:
    """Killed while it writes, it leaves whole records; its successor takes its segment over."""
    spec = version(tmp_path, "tiny", models.tiny())
    with logging_worker(tmp_path) as (worker, place):
        worker.apply(spec)
        with worker.client() as client:
            asked = [client.ask(infer(TINY, {"x": X})) for _ in range(50)]
            logged_ids(place, [_id_of(reply) for reply in asked])
            client.send(infer(TINY, {"x": X}) * 200)
            worker.process.kill()
            worker.process.wait()
    before = logged(place)
    with logging_worker(tmp_path) as (worker, place), worker.client() as client:
        worker.apply(spec)
        again = _id_of(client.ask(infer(TINY, {"x": X})))
        after = logged_ids(place, [again])

    assert len(before) >= 50
    assert {found.head.id for found in before} < after.keys()
    assert len({found.source.pid for found in after.values()}) == 2


def test_a_full_disk_costs_records_and_no_answer(tmp_path: Path) -> None:
    """What cannot be written is counted while callers get their answers; later it goes on.

    Nothing that was cut off stays.
    """
    with logging_worker(tmp_path) as (worker, place), worker.client() as client:
        worker.apply(version(tmp_path, "tiny", models.tiny()))
        first = _id_of(client.ask(infer(TINY, {"x": X})))
        logged_ids(place, [first])
        (segment,) = place.glob("*.open")
        room = segment.stat().st_size + 100
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (room, -1))
        lost = [client.ask(infer(TINY, {"x": X})) for _ in range(20)]
        wait_until(lambda: _logs(worker)["tiny"]["write_failed"] == 20, "the losses are counted")
        size = segment.stat().st_size
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        answers = iter(lambda: _id_of(client.ask(infer(TINY, {"x": X}))), "")
        wait_until(lambda: bool(next(answers)) and len(logged(place)) > 1, "it writes again")

    assert {reply.status for reply in lost} == {200}
    assert size == room - 100


def test_a_writer_that_stands_still_costs_records_and_no_answer(tmp_path: Path) -> None:
    """While the writer hangs, calls are answered; what the queue cannot hold is counted as lost."""
    wide = np.zeros((1, 1 << 20), "<f4")
    place = tmp_path / "log"
    place.mkdir()
    with _held(place / ".lock"), logging_worker(tmp_path) as (worker, _):
        worker.apply(version(tmp_path, "echo", models.identity(Datatype.FP32)))
        with worker.client() as client:
            statuses = [
                client.ask(infer("/v2/models/echo/infer", {"INPUT0": wide})).status
                for _ in range(24)
            ]
        counted = _logs(worker)["echo"]

    assert statuses == [200] * 24
    assert counted["queue_full"] > 0
    assert counted["written"] == 0


def test_a_share_is_kept_evenly(tmp_path: Path) -> None:
    """At a rate of a quarter every fourth call is kept; those have names, and no others."""
    spec = _with_log(version(tmp_path, "tiny", models.tiny()), LogPolicy(rate=0.25))
    with logging_worker(tmp_path) as (worker, place), worker.client() as client:
        worker.apply(spec)
        replies = [client.ask(infer(TINY, {"x": X})) for _ in range(80)]
        wait_until(lambda: len(logged(place)) >= 20, "20 records")
        kept = {found.head.id for found in logged(place)}

    named = [_id_of(reply) for reply in replies if "parameters" in reply.json()]
    assert len(named) == 20
    assert kept == set(named)


def _as_json(rows: np.ndarray[Any, Any]) -> bytes:
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def _logs(worker: WorkerProcess) -> dict[str, Any]:
    with worker.local() as client:
        reply = client.ask(request("/worker/statistics", method="GET"))
    return {each["model"]: each["log"] for each in json.loads(reply.body)}


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep the lock of a log's folder, so that nobody can begin a segment."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
