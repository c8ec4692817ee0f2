"""What a worker watches: rows are chosen evenly, copied as they are, and counted exactly."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from runtimes.contract import Array
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.ids import VersionKey
from serving.monitor.drift.block_sums import total
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.storage import from_bytes, to_bytes
from serving.monitor.drift.stream import read
from serving.monitor.drift_order import DriftOrder
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.contracts.data_contract import DataContract, Watched
from serving.registry.version import VersionSpec
from serving.wire.call import InferCall
from serving.worker.drift.binding import Binding
from serving.worker.drift.monitor import DriftMonitor
from serving.worker.drift.sampler import RowSampler
from serving.worker.drift.sinks import Collected, Sums
from serving.worker.drift.version_watch import Plan, VersionWatch, plan_for
from serving.worker.executor import Ran
from serving.worker.tap import TappedVersion
from tests.fakes.batching import HeldCall
from tests.fakes.ensembles import served, tensor
from tests.fakes.waiting import until

SERVED = served(
    [
        tensor("x", -1, 2),
        tensor("word", -1, 1, datatype=Datatype.BYTES),
        tensor("extra", -1, 1, optional=True),
    ],
    [tensor("y", -1, 1)],
)
WORDS = ("red", "green")
SPEC = VersionSpec(
    model="m", version=1, file="f", format="onnx", size_bytes=1, digest="d", origin="test"
)


@cache
def _profile() -> Profile:
    rng = np.random.default_rng(1)
    rows = 400
    given: list[tuple[str, Role, Array]] = [
        ("x", Role.INPUT, rng.standard_normal((rows, 2)).astype(np.float32)),
        ("word", Role.INPUT, np.array(rng.choice(WORDS, (rows, 1)), object)),
        ("extra", Role.INPUT, rng.standard_normal((rows, 1)).astype(np.float32)),
        ("y", Role.OUTPUT, rng.standard_normal((rows, 1)).astype(np.float32)),
    ]
    tensors = [Tensor(name=name, role=role, values=values) for name, role, values in given]
    allowed = FalseAlarms(replicates=4, horizon_rows=500)
    return learn_tensors(tensors, is_ordered=True, allowed=allowed)


def _plan() -> Plan:
    return plan_for(Sums(_profile(), SERVED, None, "e"))


def _watch(plan: Plan, rate_per_s: float = 1e9) -> VersionWatch:
    watch = VersionWatch(SPEC, rate_per_s, draw=np.random.default_rng(7).random, now_ns=lambda: 0)
    watch.follow(plan)
    return watch


def _call(x: Array, words: Sequence[str], extra: Array | None) -> HeldCall:
    rows = len(x)
    held = HeldCall(*([0.0] * rows))
    texts = np.empty((rows, 1), object)
    texts[:, 0] = words
    held.call = InferCall(
        id="",
        rows=rows,
        shapes=((rows, 2), (rows, 1), None if extra is None else (rows, 1)),
        stack_key="k",
        tensors=(x.tobytes(), texts, None if extra is None else memoryview(extra.tobytes())),
        outputs=(),
    )
    return held


def _ran(calls: Sequence[HeldCall], outputs: Sequence[Array]) -> Ran:
    rows = sum(call.rows for call in calls)
    return Ran(calls, rows, [[one] for one in outputs], None, 0, 0, 0)


def test_rows_are_counted_as_they_were_asked_and_answered() -> None:
    """Numbers, NaN, texts, an optional input that was left out: as if encoded from the arrays."""
    rng = np.random.default_rng(2)
    plan = _plan()
    watch = _watch(plan)
    x = rng.standard_normal((200, 2)).astype(np.float32)
    x[3, 0], x[4, 1] = np.nan, np.inf
    words = [*rng.choice(WORDS, 198), "", "never seen before"]
    extra = rng.standard_normal((200, 1)).astype(np.float32)
    y = rng.standard_normal((200, 1)).astype(np.float32)
    for row in range(200):
        has_extra = row % 3 > 0
        part = slice(row, row + 1)
        call = _call(x[part], words[part], extra[part] if has_extra else None)
        watch.take(_ran([call], [y[part]]), 0)
    assert watch.count_waiting(lambda: 5.0)

    known = extra.astype(np.float64)
    known[::3] = np.nan
    tensors = {"x": x, "word": np.array(words, object)[:, None], "extra": known, "y": y}
    encoder = _profile().encoder
    encoded = encoder.encode(_profile().columns_of(tensors))
    expected = total(encoder.blocks(encoded, _profile().digest))
    assert isinstance(plan.sink, Sums)
    record = plan.sink.total.after(0)[-1]
    assert (record.rows, record.at_s) == (200, 5.0)
    np.testing.assert_array_equal(read(record.components), expected.components)
    np.testing.assert_array_equal(read(record.bins), expected.bins)


def test_a_large_request_counts_as_one_row_chosen_by_chance() -> None:
    """Who sends a hundred similar rows at once does not outvote a hundred callers."""
    plan = _plan()
    watch = _watch(plan)
    x = np.stack([np.arange(8), np.arange(8)], axis=1).astype(np.float32)
    y = np.arange(8, dtype=np.float32)[:, None]
    for _ in range(400):
        watch.take(_ran([_call(x, ["red"] * 8, None)], [y]), 0)
    values, _, rows = plan.ring.take(1000)

    assert rows == 400
    np.testing.assert_array_equal(values[0][:, 0], values[-1][:, 0])
    assert set(values[0][:, 0].tolist()) == set(range(8))


def test_a_row_of_another_size_is_missing_and_harms_nobody() -> None:
    """The engine takes free dimensions; what the reference does not know has no values here."""
    plan = _plan()
    watch = _watch(plan)
    call = _call(np.ones((1, 2), np.float32), ["red"], None)
    call.call = msgspec.structs.replace(call.call, tensors=(b"123", *call.call.tensors[1:]))
    watch.take(_ran([call], [np.ones((1, 3), np.float32)]), 0)
    _, is_there, _ = plan.ring.take(10)

    assert [bool(one[0]) for one in is_there] == [False, True, False, False]


def test_what_does_not_fit_is_skipped_and_counted() -> None:
    """The loop never waits for the thread, and rows that wait are whole."""
    plan = _plan()
    watch = _watch(plan)
    capacity = plan.ring.capacity
    call = _call(np.ones((1, 2), np.float32), ["red"], None)
    for _ in range(capacity + 5):
        watch.take(_ran([call], [np.ones((1, 1), np.float32)]), 0)

    assert watch.skipped_rows == 5
    assert plan.ring.waiting == capacity
    while watch.count_waiting(lambda: 1.0):
        pass
    watch.take(_ran([call], [np.ones((1, 1), np.float32)]), 0)
    assert plan.ring.waiting == 1
    assert watch.skipped_rows == 5


def test_copies_of_other_versions_calls_are_not_watched() -> None:
    """Shadow traffic is somebody else's."""
    plan = _plan()
    watch = _watch(plan)
    call = _call(np.ones((1, 2), np.float32), ["red"], None)
    call.is_copy = True
    watch.take(_ran([call], [np.ones((1, 1), np.float32)]), 0)

    assert plan.ring.waiting == 0


def test_calls_are_chosen_evenly_and_at_the_rate() -> None:
    """Of 100,000 calls in 10 s, 1,000 a second: every place in time and in step has its share."""
    sampler = RowSampler(1000.0, np.random.default_rng(3).random)
    chosen: list[int] = []
    place = 0
    while place < 100_000:
        now_ns = place * 100_000
        chosen.append(place)
        sampler.note(1, now_ns, now_ns)
        place += sampler.distance()
    late = np.array([one for one in chosen if one >= 10_000])
    per_second = np.bincount(late // 10_000)[1:]

    assert abs(len(late) - 9_000) < 450
    assert per_second.min() > 800
    assert (np.bincount(late % 10) > 700).all()


def test_costly_rows_are_chosen_less_often() -> None:
    """A copy of 100 us takes a hundredth of the loop's time at most: 100 rows a second."""
    sampler = RowSampler(1000.0, np.random.default_rng(3).random)
    count = place = 0
    while place < 50_000:
        begin_ns = place * 100_000
        sampler.note(1, begin_ns, begin_ns + 100_000)
        count += place >= 10_000
        place += sampler.distance()

    assert 300 < count < 500


def test_rows_that_are_costly_to_count_are_chosen_less_often() -> None:
    """At 100 us a row, 50 rows a second take the thread half a hundredth of a CPU."""
    sampler = RowSampler(1000.0, np.random.default_rng(3).random)
    sampler.counted_ns = 100_000.0

    assert 4 * 40 < _chosen_in_4_s(sampler) < 4 * 60


def test_some_rows_are_watched_whatever_they_cost() -> None:
    """Else a slow look would make the next one, of fewer rows, dearer still, down to none."""
    sampler = RowSampler(1000.0, np.random.default_rng(3).random)
    sampler.counted_ns = 1e9

    assert 4 * 14 < _chosen_in_4_s(sampler) < 4 * 26


def _chosen_in_4_s(sampler: RowSampler) -> int:
    """Of 10,000 calls a second, after one that the sampler has to adapt."""
    count = place = 0
    while place < 50_000:
        now_ns = place * 100_000
        sampler.note(1, now_ns, now_ns)
        count += place >= 10_000
        place += sampler.distance()
    return count


def test_what_counting_costs_reaches_the_choice() -> None:
    """The thread tells what it took for a row; a look that took longer moves that a little."""
    spent_ns = iter([0, 8_000_000, 10_000_000, 26_000_000])
    watch = VersionWatch(SPEC, 1e9, now_ns=lambda: 0, thread_ns=lambda: next(spent_ns))
    watch.follow(_plan())
    call = _call(np.ones((1, 2), np.float32), ["red"], None)
    costs_ns = []
    for _ in range(2):
        for _ in range(4):
            watch.take(_ran([call], [np.ones((1, 1), np.float32)]), 0)
        assert watch.count_waiting(lambda: 1.0)
        costs_ns.append(watch.row_cost_ns)

    assert costs_ns == pytest.approx([2_000_000, 2_400_000])


def test_a_rate_that_falls_is_followed() -> None:
    """After a burst, rare calls are all chosen again."""
    sampler = RowSampler(100.0, np.random.default_rng(3).random)
    for call in range(2000):
        sampler.note(1, call * 1000, call * 1000)
    assert sampler.share < 0.01
    sampler.note(1, 10**12, 10**12)
    sampler.note(1, 2 * 10**12, 2 * 10**12)

    assert sampler.share == 1.0


def test_columns_of_a_matrix_are_found_by_their_order_or_the_contracts_names() -> None:
    """A reference from a table fits the one matrix of the model that was trained on it."""
    rng = np.random.default_rng(1)
    tensors = [
        Tensor(name=name, role=Role.INPUT, values=rng.standard_normal(400)) for name in ("a", "b")
    ]
    profile = learn_tensors(
        tensors, is_ordered=True, allowed=FalseAlarms(replicates=4, horizon_rows=500)
    )
    version = served([tensor("x", -1, 2)], [tensor("y", -1, 1)])
    rows = [np.array([[1.0, 2.0]], np.float32)]
    there = [np.array([True])]
    swapped = DataContract(
        inputs=(
            Watched(name="a", tensor="x", column=1, rules=()),
            Watched(name="b", tensor="x", column=0, rules=()),
        )
    )

    by_order = Binding(profile, version, None).tensors(rows, there)
    by_name = Binding(profile, version, swapped).tensors(rows, there)
    assert [float(by_order[name][0, 0]) for name in ("a", "b")] == [1.0, 2.0]
    assert [float(by_name[name][0, 0]) for name in ("a", "b")] == [2.0, 1.0]
    with pytest.raises(InvalidArgumentError, match="has the input 'a', which the version has not"):
        Binding(profile, served([tensor("x", -1, 3)], []), None)


def test_a_worker_reads_references_and_reports_sums(tmp_path: Path) -> None:
    """What was heard is not told again; a reference that cannot be read is said, once loaded."""
    file = tmp_path / "reference.drift"
    file.write_bytes(to_bytes(_profile()))
    (tmp_path / "broken.drift").write_bytes(b"nothing")
    order = DriftOrder(rows_per_s=1e9, folder=str(tmp_path / "learnt"))
    monitor = DriftMonitor(order, lambda: 9.0)
    good, bad = (
        monitor.tap(
            TappedVersion(
                spec=replace(SPEC, version=version, reference=str(tmp_path / name)),
                served=SERVED,
                statistics=StatisticsRecorder(VersionKey("m", version)),
            )
        )
        for version, name in ((1, file.name), (2, "broken.drift"))
    )
    assert isinstance(good, VersionWatch)
    assert isinstance(bad, VersionWatch)
    until(lambda: good.plan and bad.trouble, "both were read")
    call = _call(np.ones((1, 2), np.float32), ["red"], None)
    for _ in range(100):
        good.take(_ran([call], [np.ones((1, 1), np.float32)]), 0)
    until(lambda: any(one.records for one in monitor.reports({})), "rows were counted")
    first, second = sorted(monitor.reports({}), key=lambda one: one.version)

    assert first.digest == _profile().digest
    assert first.records[-1].at_s == 9.0
    assert monitor.reports({first.epoch: first.records[-1].seq})[0].records == ()
    assert "cannot be read" in second.trouble
    assert monitor.close(10.0)
    assert (
        monitor.tap(
            TappedVersion(spec=SPEC, served=SERVED, statistics=StatisticsRecorder(SPEC.key))
        )
        is None
    )


def test_a_reference_that_can_be_read_later_is_watched_by_later(tmp_path: Path) -> None:
    """A file system that is away for a moment takes no version from the monitor."""
    file = tmp_path / "reference.drift"
    order = DriftOrder(rows_per_s=1e9, folder=str(tmp_path / "learnt"))
    monitor = DriftMonitor(order, lambda: 9.0)
    spec = replace(SPEC, reference=str(file))
    watch = monitor.tap(
        TappedVersion(spec=spec, served=SERVED, statistics=StatisticsRecorder(spec.key))
    )
    assert isinstance(watch, VersionWatch)
    until(lambda: watch.trouble, "it is not there")
    (tmp_path / "new").write_bytes(to_bytes(_profile()))
    (tmp_path / "new").replace(file)
    until(lambda: watch.plan, "it was read")

    assert "No such file" not in watch.trouble
    assert monitor.close(10.0)


def test_a_version_without_a_reference_learns_one_from_its_first_rows(tmp_path: Path) -> None:
    """In a process of its own; rows after that are counted by what was learnt, texts too."""
    order = DriftOrder(rows_per_s=1e9, folder=str(tmp_path), learn_rows=500)
    monitor = DriftMonitor(order, lambda: 9.0)
    watch = monitor.tap(
        TappedVersion(spec=SPEC, served=SERVED, statistics=StatisticsRecorder(SPEC.key))
    )
    assert isinstance(watch, VersionWatch)
    until(lambda: watch.plan, "rows are collected")
    rng = np.random.default_rng(4)
    for row in range(520):
        x = rng.standard_normal((1, 2)).astype(np.float32)
        call = _call(x, [WORDS[row % 2]], None)
        watch.take(_ran([call], [x[:, :1]]), 0)
    until(lambda: monitor.reports({})[0].digest or watch.trouble, "it was learnt")
    profile = from_bytes(order.learnt_file(SPEC).read_bytes())

    assert watch.trouble == ""
    assert monitor.reports({})[0].digest == profile.digest
    assert [column.name for column in profile.columns] == ["x[0]", "x[1]", "word", "y"]
    assert profile.baseline.rows == 500
    assert {path.name for path in tmp_path.iterdir()} == {order.learnt_file(SPEC).name, ".lock"}
    assert monitor.close(10.0)


def test_what_is_learnt_from_has_every_tensor_of_a_fixed_size() -> None:
    """A free dimension has no row of one size; an optional input that never came has no values."""
    free = served([tensor("x", -1, -1), tensor("z", -1, 3), tensor("o", -1, 1)], [])
    kept = Collected(free, 10)
    rows = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    absent = np.zeros((4, 1), np.float32)
    kept.take([rows, absent], [np.ones(4, bool), np.zeros(4, bool)], 0.0)

    (found,) = kept.tensors()
    assert (found.name, found.values.tolist()) == ("z", rows.tolist())
    assert (kept.rows, kept.is_full) == (4, False)
