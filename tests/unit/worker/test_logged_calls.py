"""What the loop hands to the prediction log, what its writer is told, and what is counted."""

import fcntl
import gc
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from runtimes.contract import Array
from runtimes.datatypes import Datatype
from serving.ids import VersionKey
from serving.monitor.log_counts import LogTally
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.predictions.folder import Bounds, SegmentFolder
from serving.predictions.ids import PredictionIds
from serving.predictions.order import LogOrder
from serving.predictions.record import PredictionHead, Source, encode_source, read_predictions
from serving.predictions.removed import count_predictions
from serving.predictions.writing import SegmentWriter
from serving.registry.policies.log_policy import LogPolicy
from serving.registry.version import ServingPolicy, VersionSpec
from serving.wire.tensors import array_bytes
from serving.worker import log_sources
from serving.worker.cached_intake import CachedIntake
from serving.worker.log_encoding import encode_batch
from serving.worker.log_queue import CallQueue, LoggedVersion, TakenBatch
from serving.worker.log_sources import LogSources
from serving.worker.log_writer import WriterThread
from serving.worker.own_environment import OwnEnvironment
from serving.worker.prediction_log import PredictionLog, VersionLog
from serving.worker.queued import QueuedCall
from serving.worker.response_cache import ResponseCache
from serving.worker.tap import TappedVersion, answered_alone
from tests.fakes.batching import HeldCall
from tests.fakes.ensembles import served, step, tensor
from tests.unit.worker.test_ensemble_flow import Stage

SERVED = served([tensor("x")], [tensor("y")])
ONE = np.ones((1, 1), np.float32)
WAIT_S = 10.0


def _spec(folder: Path, policy: LogPolicy | None = None) -> VersionSpec:
    file = folder / "model.onnx"
    file.write_bytes(b"weights")
    return VersionSpec(
        model="m",
        version=1,
        format="onnx",
        file=str(file),
        size_bytes=7,
        digest="d",
        origin="repository",
        policy=ServingPolicy(log=policy or LogPolicy()),
    )


def _source(spec: VersionSpec) -> Source:
    return Source(
        number=1,
        worker="w",
        pid=1,
        spec=spec,
        served=SERVED,
        environment=None,
        policy=LogPolicy(),
    )


def _taken(policy: LogPolicy, call: QueuedCall, outputs: list[Array]) -> TakenBatch | None:
    """What the log of a version takes of one answered call."""
    queue = CallQueue()
    version = LoggedVersion(1, SERVED, policy, LogTally())
    taps = VersionLog(version, queue, PredictionIds(lambda: 1), 1.0)
    call.enqueued_ns = 1
    taps.take(answered_alone(call, outputs, 5), 6)
    return queue.take(0.0) if queue.waiting_calls else None


def _batch(policy: LogPolicy = LogPolicy(), **parameters: str) -> TakenBatch:  # noqa: B008  frozen
    held = HeldCall(1.0)
    held.call = msgspec.structs.replace(held.call, parameters=parameters or None)
    batch = _taken(policy, held, [ONE])
    assert batch is not None
    return batch


def _head(policy: LogPolicy, folder: Path, **parameters: str) -> PredictionHead:
    parts = [*encode_source(_source(_spec(folder))), *encode_batch(_batch(policy, **parameters), 0)]
    (found,) = read_predictions(b"".join(parts), "test")
    return found.head


def _writer(folder: Path, stem: str = "w-1") -> SegmentWriter:
    bounds = Bounds(max_bytes=1 << 20, segment_bytes=1 << 18, retention_s=1e9)
    return SegmentWriter(SegmentFolder(folder, bounds), stem, seal_s=1e9, now_ns=lambda: 10**18)


@pytest.mark.parametrize("policy", [LogPolicy(inputs="hash"), LogPolicy(inputs="none")])
def test_parameters_are_kept_where_inputs_are(tmp_path: Path, policy: LogPolicy) -> None:
    """Callers write what they like into parameters, so they are kept as inputs are, or not."""
    assert _head(policy, tmp_path, prompt="secret").parameters is None
    assert _head(LogPolicy(), tmp_path).parameters is None
    assert _head(LogPolicy(), tmp_path, prompt="p").parameters == {"prompt": "p"}


def test_parameters_are_redacted_by_name(tmp_path: Path) -> None:
    """Those that the configuration names are left out."""
    head = _head(LogPolicy(redacted=("prompt",)), tmp_path, prompt="secret", top="1")

    assert head.parameters == {"top": "1"}


def test_texts_count_with_their_length() -> None:
    """What waits for the writer is bounded in memory, whatever the outputs and inputs are."""
    text = "a" * 1_000_000
    texts = np.array([[text]], object)
    batch = _taken(LogPolicy(), HeldCall(1.0), [texts.reshape(1)])
    stage = Stage(step("a", {"i0": "x"}, {"o": "y"}), datatype=Datatype.BYTES)
    asked = HeldCall(1.0)
    asked.call = msgspec.structs.replace(asked.call, tensors=(texts,), shapes=((1, 1),))
    stage.intake.submit(asked)
    (waiting,) = stage.models[0].waiting

    assert waiting.size_bytes > 1_000_000
    assert batch is not None
    assert batch.held_bytes > 1_000_000
    assert array_bytes(texts) > 1_000_000
    assert array_bytes(ONE) == 4


def test_steps_of_an_ensemble_that_withholds_are_not_logged() -> None:
    """Their own models log nothing of it, also below another ensemble; others' calls are kept."""
    for is_private in (False, True):
        stage = Stage(step("a", {"i0": "x"}, {"o": "y"}))
        stage.intake.is_private = is_private
        stage.ask(1.0)
        (call,) = stage.models[0].waiting
        inner = Stage(step("a", {"i0": "x"}, {"o": "y"}))
        inner.intake.submit(call)
        (below,) = inner.models[0].waiting

        assert (_taken(LogPolicy(), call, [ONE]) is None) is is_private
        assert (_taken(LogPolicy(), below, [ONE]) is None) is is_private


@pytest.mark.parametrize("is_private", [False, True])
def test_a_cache_between_two_ensembles_hides_nothing_of_that(is_private: bool) -> None:  # noqa: FBT001  a case
    """What waits in a caller's place is as private as the caller."""
    outer = Stage(step("inner", {"i0": "x"}, {"o": "y"}))
    outer.intake.is_private = is_private
    inner = Stage(step("a", {"i0": "x"}, {"o": "y"}))
    recorder = StatisticsRecorder(VersionKey("inner", 1))
    cached = CachedIntake(inner.intake, ResponseCache(1 << 20), recorder, inner.loop.clock)
    outer.ask(1.0)

    cached.submit(outer.models[0].waiting[0])

    (below,) = inner.models[0].waiting
    assert (_taken(LogPolicy(), below, [ONE]) is None) is is_private


def test_an_ensemble_withholds_what_it_does_not_keep_whole(tmp_path: Path) -> None:
    """Its own rules hold for its steps, too: what is not kept whole is not kept of them at all."""
    log = _log(tmp_path)
    whole = [LogPolicy(), LogPolicy(rate=0.5, inputs="full")]
    less = [LogPolicy(rate=0.0), LogPolicy(inputs="none"), LogPolicy(inputs="hash")]
    redacting = LogPolicy(redacted=("x",))

    assert not any(log.is_private(_spec(tmp_path, policy)) for policy in whole)
    assert all(log.is_private(_spec(tmp_path, policy)) for policy in (*less, redacting))
    assert log.close(WAIT_S)


def test_calls_that_are_lost_at_the_end_are_told(tmp_path: Path) -> None:
    """A stop waits for the writer for a limited time; what it leaves in the queue is logged."""
    place = tmp_path / "log"
    place.mkdir()
    with (place / ".lock").open("w") as lock, capture_logs() as told:
        fcntl.flock(lock, fcntl.LOCK_EX)
        queue, tally = CallQueue(), LogTally()
        sources = LogSources()
        sources.add(_source(_spec(tmp_path)), tally)
        thread = WriterThread(LogOrder(folder=str(place)), queue, sources, lambda: 1, _Ticks())
        thread.start("w-1")
        version = LoggedVersion(1, SERVED, LogPolicy(), tally)
        call = HeldCall(1.0)
        call.enqueued_ns = 1
        taps = VersionLog(version, queue, PredictionIds(lambda: 1), 1.0)
        taps.take(answered_alone(call, [ONE], 5), 6)
        has_ended = thread.close(0.01)

    assert not has_ended
    assert [(one["event"], one["calls"]) for one in told] == [("prediction_log_lost_at_end", 1)]


def test_many_writers_are_told(tmp_path: Path) -> None:
    """A room that is shared by as many processes as it has segments is warned of, once."""
    place = tmp_path / "log"
    others = [_writer(place, f"o-{number}") for number in range(16)]
    for other in others:
        other.put_source(1, encode_source(_source(_spec(tmp_path))))
        other.write(1, encode_batch(_batch(), 0))
    order = LogOrder(folder=str(place), max_bytes=1 << 20)
    with capture_logs() as told:
        thread = WriterThread(order, CallQueue(), LogSources(), lambda: 1, _Ticks())
        thread.start("w-1")
        assert thread.close(WAIT_S)

    crowded = [one["writers"] for one in told if one["event"] == "prediction_log_is_crowded"]
    assert crowded == [16]


def test_files_are_read_beside_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are written while files are read; as soon as they are, records say what they are."""
    monkeypatch.setattr(log_sources, "READ_S", 0.0)
    sources, writer = LogSources(), _writer(tmp_path / "log")
    sources.add(_source(_spec(tmp_path)), LogTally())
    _write(sources, writer)
    threading.Thread(target=sources.read_always, daemon=True).start()
    monkeypatch.setattr(log_sources, "READ_S", WAIT_S)
    sources.wait_until_read(1, WAIT_S)
    _write(sources, writer)
    _write(sources, writer)
    sealed = writer.seal()

    assert sealed is not None
    found = list(read_predictions(sealed.read_bytes(), "test"))
    assert [len(one.source.files) for one in found] == [0, 1, 1]


@pytest.mark.parametrize("broken", [OSError, RuntimeError])
def test_files_that_cannot_be_read_cost_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: type[Exception]
) -> None:
    """Whatever goes wrong with the files, the version's records are written without them."""

    def fail(_: Source) -> Source:
        raise broken

    monkeypatch.setattr(log_sources, "with_files", fail)
    sources, writer = LogSources(), _writer(tmp_path / "log")
    sources.add(_source(_spec(tmp_path)), LogTally())
    threading.Thread(target=sources.read_always, daemon=True).start()
    _write(sources, writer)
    _write(sources, writer)
    sealed = writer.seal()

    assert sealed is not None
    assert len(list(read_predictions(sealed.read_bytes(), "test"))) == 2


def test_a_version_that_was_unloaded_is_forgotten(tmp_path: Path) -> None:
    """A process that loads for ever keeps nothing of what it has unloaded."""
    log = _log(tmp_path)
    spec = _spec(tmp_path)
    statistics = StatisticsRecorder(spec.key)
    observer = log.tap(TappedVersion(spec=spec, served=SERVED, statistics=statistics))
    before = list(log._sources.tallies(spec.key))  # noqa: SLF001  nothing else shows it
    writer = _writer(tmp_path / "other")
    assert log.close(WAIT_S)
    log._sources.forget(writer)  # noqa: SLF001
    known = list(log._sources.tallies(spec.key))  # noqa: SLF001
    del observer
    gc.collect()
    log._sources.forget(writer)  # noqa: SLF001

    assert len(before) <= len(known) == 1
    assert list(log._sources.tallies(spec.key)) == []  # noqa: SLF001


def test_what_goes_early_is_counted_by_version(tmp_path: Path) -> None:
    """The metric of a version says how many of its records made room for newer ones."""
    order = LogOrder(folder=str(tmp_path / "log"), max_bytes=1 << 20)
    queue, sources, tally = CallQueue(), LogSources(), LogTally()
    sources.add(_source(_spec(tmp_path)), tally)
    wide = np.zeros((1, 5000), np.float32)
    thread = WriterThread(order, queue, sources, lambda: 1, _Ticks())
    thread.start("w-1")
    version = LoggedVersion(1, SERVED, LogPolicy(), tally)
    taps = VersionLog(version, queue, PredictionIds(lambda: 1), 1.0)
    for _ in range(200):
        call = HeldCall(1.0)
        call.enqueued_ns = 1
        taps.take(answered_alone(call, [wide], 5), 6)
    assert thread.close(WAIT_S)
    left = [count_predictions(path.read_bytes()) for path in (tmp_path / "log").glob("*-*")]

    assert tally.written == 200
    assert tally.removed > 0
    assert tally.removed + sum(one[VersionKey("m", 1)] for one in left) == 200
    assert tally.counts().lost()["removed"] == tally.removed


class _Ticks:
    """Nanoseconds since 1970; every look takes a millisecond, so that names differ."""

    def __init__(self) -> None:
        self.now_ns = 10**15

    def __call__(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns


def _log(folder: Path) -> PredictionLog:
    return PredictionLog(
        LogOrder(folder=str(folder / "log")),
        "w",
        1,
        own=OwnEnvironment(None),
        now_ns=lambda: 1,
        unix_ns=_Ticks(),
    )


def _write(sources: LogSources, writer: SegmentWriter) -> None:
    sources.tell(writer, 1)
    writer.write(1, encode_batch(_batch(), 0))


def test_the_writer_hurries_when_much_waits() -> None:
    """Also for what finds no room any more: it waits for the writer, who lingers."""
    queue = CallQueue(max_calls=4_096, max_bytes=100)
    batch = msgspec.structs.replace(_batch(), held_bytes=24)

    assert queue.put(batch)
    assert not queue.hurry.is_set()
    assert queue.put(batch)
    assert queue.hurry.is_set()
    queue.hurry.clear()
    assert not queue.put(msgspec.structs.replace(batch, held_bytes=60))
    assert queue.hurry.is_set()
