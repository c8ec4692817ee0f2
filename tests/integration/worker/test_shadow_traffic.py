"""Shadow traffic between two real workers: what is found, and what clients never notice."""

import gzip
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.ids import VersionKey
from serving.monitor.traffic import TrafficCounters
from serving.worker.control import MirrorTable, TrafficQuestion
from tests.fakes import models
from tests.fakes.shadow_pair import ShadowPair, ask, running_pair, set_mirrors
from tests.fakes.worker_process import (
    RawClient,
    Reply,
    grpc_infer,
    infer,
    infer_body,
    request,
    version,
    wait_until,
)

X = np.arange(16, dtype="<f4")[None]
Y = (X @ models.WEIGHT + models.BIAS).ravel().tolist()
MARK = 1024.0
SAME = "/v2/models/same/infer"
HOSTED = {
    "same": (models.tiny(), models.tiny()),
    "off": (models.tiny(), models.tiny_off(MARK, 0.5)),
    "texts": (models.simple_string(), models.simple_string()),
    "narrow": (models.tiny(), models.nan_on_demand()),
    "lazy": (models.slow(steps=1), models.slow(steps=26_000)),
    "big": (models.wide(), models.wide()),
}


@contextmanager
def hosting_pair(folder: Path, *names: str) -> Iterator[ShadowPair]:
    """Start a pair; version 1 of each model is on one worker, version 2 on the other."""
    with running_pair(folder) as started:
        for number, worker in enumerate((started.live, started.candidate), start=1):
            lines = worker.apply(
                *(
                    version(
                        folder,
                        name,
                        HOSTED[name][number - 1],
                        number=number,
                        max_batch_rows=0 if name == "lazy" else 256,
                    )
                    for name in names
                )
            )
            assert {line["state"] for line in lines} == {"LOADING", "READY"}
        yield started


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShadowPair]:
    """A pair that hosts all models."""
    with hosting_pair(tmp_path_factory.mktemp("p"), *HOSTED) as started:
        yield started


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[ShadowPair]:
    """A pair of its own, for a test that takes its candidate away."""
    with hosting_pair(tmp_path, "same", "big") as started:
        yield started


def as_json(rows: np.ndarray, *, packed: bool = False) -> bytes:
    """An infer request that is all JSON."""
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}
    body = json.dumps({"id": "seven", "inputs": [tensor]}).encode()
    if packed:
        return request(SAME, gzip.compress(body), headers=("content-encoding: gzip",))
    return request(SAME, body)


def is_right(reply: Reply) -> bool:
    """Whether a client got what the live version gives for `X` as binary."""
    return reply.status == 200 and reply.floats() == Y


@pytest.mark.parametrize(
    "asked",
    [
        as_json(X),
        as_json(X, packed=True),
        infer(SAME, {"x": X}),
        grpc_infer("same", "x", X),
        request(SAME, X.tobytes(), headers=("inference-header-content-length: 0",)),
    ],
    ids=["json", "packed", "binary", "grpc", "raw"],
)
def test_equal_versions_agree(pair: ShadowPair, asked: bytes) -> None:
    """Whatever the wire, every row is compared and none differs."""
    pair.mirror("same")
    with pair.live.client() as client:
        for _ in range(20):
            assert client.ask(asked).status == 200
    report = pair.settled(20)
    assert (report.failed_calls, report.dropped_calls, report.failure) == (0, 0, "")
    assert (report.compared_rows, report.mismatched_rows) == (20, 0)
    assert report.outputs["y"].largest_absolute_error == 0.0
    assert report.worst == ()


def test_texts_are_compared(pair: ShadowPair) -> None:
    """BYTES outputs agree element by element."""
    pair.mirror("texts")
    numbers = {"name": "INPUT0", "shape": [1, 16], "datatype": "BYTES", "data": ["7"] * 16}
    other = {**numbers, "name": "INPUT1"}
    with pair.live.client() as client:
        names = client.ask(request("/v2/models/texts", method="GET")).json()["inputs"]
        body = json.dumps({"inputs": [numbers, other][: len(names)]}).encode()
        assert client.ask(request("/v2/models/texts/infer", body)).status == 200
    report = pair.settled(1)
    assert (report.compared_rows, report.mismatched_rows, report.failed_calls) == (1, 0, 0)


def test_wrong_rows_are_found(pair: ShadowPair) -> None:
    """1 % of the rows are off by 0.5: these rows are counted, measured and kept, no others."""
    pair.mirror("off")
    rows = np.zeros((100, 16), "<f4")
    rows[:, 0] = np.arange(100)
    rows[41, 0] = MARK
    head, tail = infer_body({"x": rows})
    with pair.live.client() as client:
        for _ in range(12):
            assert client.ask(infer("/v2/models/off/infer", {"x": rows})).status == 200
    report = pair.settled(12)
    assert (report.compared_rows, report.mismatched_rows, report.failed_calls) == (1200, 12, 0)
    output = report.outputs["y"]
    assert (output.mismatched_rows, output.largest_absolute_error) == (12, 0.5)
    assert {(worst.row, worst.output) for worst in report.worst} == {(41, "y")}
    assert len(report.worst) == 10
    worst = report.worst[0]
    assert worst.request_sha256 == sha256(head + tail).hexdigest()
    assert worst.inputs.startswith("x [0]: 1024.0, 0.0")
    assert worst.expected != worst.found


def test_an_operator_may_allow_more(pair: ShadowPair) -> None:
    """A tolerance given with the mirror stands in place of the bundle's."""
    pair.mirror("off", tolerance="atol:0.6")
    rows = np.full((3, 16), MARK, "<f4")
    with pair.live.client() as client:
        assert client.ask(infer("/v2/models/off/infer", {"x": rows})).status == 200
    report = pair.settled(1)
    assert (report.compared_rows, report.mismatched_rows) == (3, 0)
    assert report.outputs["y"].largest_absolute_error == 0.5


def test_what_the_candidate_refuses_is_a_failure(pair: ShadowPair) -> None:
    """Calls that only the live version can answer count by themselves, with the reason."""
    pair.mirror("narrow")
    with pair.live.client() as client:
        assert is_right(client.ask(infer("/v2/models/narrow/infer", {"x": X})))
    report = pair.settled(1)
    assert (report.failed_calls, report.compared_calls) == (1, 0)
    assert "x" in report.failure


def test_calls_answered_with_an_error_are_not_copied(pair: ShadowPair) -> None:
    """There is nothing to compare."""
    pair.mirror("same")
    with pair.live.client() as client:
        assert client.ask(infer(SAME, {"wrong": X})).status == 400
    assert pair.report().copied_calls == 0


def test_the_share_is_exact(pair: ShadowPair) -> None:
    """Of a hundred calls ten are copied, and always the same ones."""
    pair.mirror("same", share=1000)
    with pair.live.client() as client:
        for _ in range(100):
            assert is_right(client.ask(infer(SAME, {"x": X})))
    assert pair.settled(10).compared_calls == 10


def test_nothing_is_copied_when_the_table_is_empty(pair: ShadowPair) -> None:
    """Off means off, on both sides."""
    pair.mirror("same")
    for worker in (pair.live, pair.candidate):
        set_mirrors(worker, MirrorTable())
    with pair.live.client() as client:
        assert is_right(client.ask(infer(SAME, {"x": X})))
    assert [ask(worker) for worker in (pair.live, pair.candidate)] == [[], []]


def test_copies_come_by_tcp_with_the_key_only(pair: ShadowPair) -> None:
    """The candidate's port hides the route from those who do not know the table's key."""
    host, port = pair.candidate.address
    pair.mirror("same", target=f"{host}:{port}")
    with pair.live.client() as client:
        assert is_right(client.ask(infer(SAME, {"x": X})))
    assert pair.settled(1).compared_calls == 1
    with pair.candidate.client() as stranger:
        assert stranger.ask(request("/worker/shadow", b"")).status == 404
        assert stranger.ask(request("/worker/comparisons", method="GET")).status == 404
        wrong = ("bascule-shadow-key: guess",)
        assert stranger.ask(request("/worker/shadow", b"", headers=wrong)).status == 404


def test_a_broken_message_is_refused(pair: ShadowPair) -> None:
    """Bytes that are no copies are a caller's mistake."""
    with pair.candidate.local() as client:
        assert client.ask(request("/worker/shadow", b"\xff\xff\xff\x7f nonsense")).status == 400


def test_a_slow_candidate_is_waited_for_by_nobody(pair: ShadowPair) -> None:
    """The live version answers as ever; what does not fit the queue is dropped and counted."""
    pair.mirror("lazy")
    call = infer("/v2/models/lazy/infer", {"x": np.zeros((1, 4), "<f4"), "n": np.ones(1, "<i8")})
    asked = 0
    with pair.live.client() as client:
        while pair.report(pair.live).dropped_calls == 0:
            assert {client.ask(call).status for _ in range(100)} == {200}
            asked += 100
    assert pair.report(pair.live).copied_calls == asked


@pytest.mark.parametrize("ending", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "dies"])
def test_a_lost_candidate_costs_a_bounded_queue(lost: ShadowPair, ending: signal.Signals) -> None:
    """The candidate hangs or dies under load: all answers stay right, and memory stays bounded."""
    lost.mirror("big")
    rows = np.zeros((1, 262_144), "<f4")
    call = infer("/v2/models/big/infer", {"x": rows})
    with lost.live.client() as client:
        for _ in range(5):
            assert client.ask(call).status == 200
        wait_until(lambda: lost.report().compared_calls > 0, "a comparison")
        lost.candidate.process.send_signal(ending)
        before_bytes = lost.live.state()["rss_bytes"]
        replies = [client.ask(call) for _ in range(300)]
    assert {(reply.status, len(reply.floats())) for reply in replies} == {(200, 262_144)}
    assert lost.live.state()["rss_bytes"] < before_bytes + (100 << 20)
    assert lost.report(lost.live).dropped_calls >= 200
    with RawClient(lost.live.address) as client:
        assert is_right(client.ask(infer(SAME, {"x": X})))


def test_copies_are_no_traffic_of_the_candidate(pair: ShadowPair) -> None:
    """Its statistics have them, as it ran them; what guardrails see is what clients asked."""
    pair.mirror("narrow")
    with pair.live.client() as client:
        assert is_right(client.ask(infer("/v2/models/narrow/infer", {"x": X})))
    pair.settled(1)
    pair.mirror("off")
    ran = pair.candidate.statistics("off")["inference_count"]
    with pair.live.client() as client, pair.candidate.client() as own:
        for _ in range(5):
            assert client.ask(infer("/v2/models/off/infer", {"x": X})).status == 200
        assert own.ask(infer("/v2/models/off/infer", {"x": X})).status == 200
    pair.settled(5)
    assert pair.candidate.statistics("off")["inference_count"] == ran + 6
    question = TrafficQuestion(keys=(VersionKey("off", 2), VersionKey("narrow", 2)))
    with pair.candidate.local() as client:
        reply = client.ask(request("/worker/traffic", msgspec.json.encode(question)))
    counted = msgspec.json.decode(reply.body, type=list[TrafficCounters])
    assert {one.model: one.counted.call_count for one in counted} == {"off": 1, "narrow": 0}
