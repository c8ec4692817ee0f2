"""Bodies, stacking, admission, costs, the flight recorder: the small parts of the data path."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError, Code
from serving.errors import PayloadTooLargeError, QueueFullError, SlowRequestError
from serving.ids import VersionKey
from serving.wire.call import InferCall
from serving.worker.admission import QueueLimits, refusal
from serving.worker.body import (
    ALIGNMENT_BYTES,
    NS_PER_S,
    SLOW_S,
    SMALL_BYTES,
    Body,
    BodyRoom,
    open_body,
)
from serving.worker.recorder import LOOP_SLOT, FlightRecorder, suspects, version_tag
from serving.worker.run_costs import INLINE_NS, RunCosts
from serving.worker.stacking import OutputRowsError, Stacker
from tests.fakes.batching import HeldCall

KEY = VersionKey("model", 3)
ROOM = BodyRoom(1 << 30, lambda: 0)


class Refusals(list[BasculeError]):
    """What a sender was told; the body that is refused is released, as an exchange does."""

    body: Body

    def refuse(self, error: BasculeError) -> None:
        """Hear why the body is not wanted."""
        self.append(error)
        self.body.release()


SENDER = Refusals()
TEXT = TensorSpec(name="s", datatype=Datatype.BYTES, shape=(-1, 1))
NUMBER = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1))


@given(st.lists(st.binary(max_size=60), max_size=30))
def test_a_body_of_unknown_size_is_the_sum_of_its_pieces(pieces: list[bytes]) -> None:
    """Any split of the bytes gives the same body."""
    body = open_body(None, header_bytes=0, max_bytes=1 << 20, room=ROOM, sender=SENDER)
    for piece in pieces:
        body.add(piece)
    assert bytes(body.whole()) == b"".join(pieces)


def test_tiny_pieces_are_joined_now_and_then() -> None:
    """Thousands of one-byte chunks make one body."""
    body = open_body(None, header_bytes=0, max_bytes=1 << 20, room=ROOM, sender=SENDER)
    for place in range(5000):
        body.add(bytes([place % 251]))
    assert bytes(body.whole()) == bytes(place % 251 for place in range(5000))


@given(st.integers(0, 200), st.integers(1, 7))
def test_tensors_of_a_large_body_are_aligned(header_bytes: int, piece_count: int) -> None:
    """Whatever the header's size, the first tensor starts at a multiple of 64 bytes."""
    content = np.random.default_rng(header_bytes).bytes(SMALL_BYTES + 1)
    body = open_body(
        len(content), header_bytes=header_bytes, max_bytes=1 << 20, room=ROOM, sender=SENDER
    )
    step = len(content) // piece_count + 1
    for start in range(0, len(content), step):
        body.add(content[start : start + step])
    whole = body.whole()
    assert bytes(whole) == content
    address = np.frombuffer(whole, np.uint8).ctypes.data
    assert (address + header_bytes) % ALIGNMENT_BYTES == 0
    assert memoryview(whole).readonly


def test_an_announced_size_over_the_limit_takes_no_memory() -> None:
    """The refusal names both numbers and the setting."""
    limit = 2 * SMALL_BYTES
    with pytest.raises(PayloadTooLargeError, match=rf"least {limit + 1} bytes .* {limit} bytes"):
        open_body(limit + 1, header_bytes=0, max_bytes=limit, room=ROOM, sender=SENDER)


@pytest.mark.parametrize("size_bytes", [None, 4 * SMALL_BYTES], ids=["chunked", "announced"])
def test_large_bodies_share_a_room(size_bytes: int | None) -> None:
    """What has come counts, once it is more than a small body; one piece too many is refused."""
    room = BodyRoom(3 * SMALL_BYTES, lambda: 0)
    body = open_body(size_bytes, header_bytes=0, max_bytes=1 << 20, room=room, sender=SENDER)
    assert room.used_bytes == 0
    for _ in range(3):
        body.add(bytes(SMALL_BYTES))
    assert room.used_bytes == body.held_bytes == 3 * SMALL_BYTES
    with pytest.raises(QueueFullError, match=rf"{3 * SMALL_BYTES} of {3 * SMALL_BYTES} bytes"):
        body.add(b"x")
    body.release()
    assert room.used_bytes == 0


@pytest.mark.parametrize("size_bytes", [None, 4 * SMALL_BYTES], ids=["chunked", "announced"])
def test_bodies_that_trickle_in_keep_nobody_out(size_bytes: int | None) -> None:
    """Where there is no room, those that had their time go, the oldest first, and no others."""
    now_ns = 0
    room = BodyRoom(6 * SMALL_BYTES, lambda: now_ns)

    def opened() -> Refusals:
        sender = Refusals()
        sender.body = open_body(
            size_bytes, header_bytes=0, max_bytes=1 << 20, room=room, sender=sender
        )
        sender.body.add(bytes(2 * SMALL_BYTES))
        return sender

    first, second = opened(), opened()
    now_ns = 2 * NS_PER_S
    third = opened()
    now_ns = SLOW_S * NS_PER_S
    fourth = opened()
    assert room.used_bytes == 6 * SMALL_BYTES
    assert [type(error) for error in first] == [SlowRequestError]
    assert f"not whole after {SLOW_S} s, {2 * SMALL_BYTES} bytes of its body" in first[0].message
    with pytest.raises(SlowRequestError):
        second.body.add(b"x")
    second.body.release()
    opened()
    with pytest.raises(QueueFullError):
        opened()
    assert not any((second, third, fourth))


def test_a_single_call_is_not_copied() -> None:
    """The engine sees the client's own bytes."""
    call = HeldCall(1.0, 2.0)
    stacker = Stacker((NUMBER,), (NUMBER,), max_batch_rows=8)
    (feed,) = stacker.feeds([call], 2)
    assert feed is not None
    assert np.shares_memory(feed, np.frombuffer(call.call.tensors[0], np.uint8))
    assert not feed.flags.writeable


def test_a_tensor_at_an_odd_address_is_copied_once() -> None:
    """Engines get aligned memory."""
    raw = memoryview(b"\0" + np.float32([1, 2]).tobytes())[1:]
    call = InferCall(id="", rows=2, shapes=((2, 1),), stack_key=0, tensors=(raw,), outputs=())
    item = HeldCall(0.0)
    item.call = call
    (feed,) = Stacker((NUMBER,), (NUMBER,), max_batch_rows=8).feeds([item], 2)
    assert feed is not None
    assert feed.flags.aligned
    assert feed.ravel().tolist() == [1, 2]


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4), min_size=1))
def test_stacking_and_splitting_are_inverse(rows: list[list[float]]) -> None:
    """What goes in for a call comes out for it, and for nobody else."""
    calls = [HeldCall(*values) for values in rows]
    total = sum(map(len, rows))
    stacker = Stacker((NUMBER,), (NUMBER,), max_batch_rows=total)
    (feed,) = stacker.feeds(calls, total)
    assert feed is not None
    parts = stacker.split(calls, total, [feed])
    assert [part[0].ravel().tolist() for part in parts] == rows


def test_texts_and_empty_tensors_are_stacked() -> None:
    """BYTES arrays are concatenated; tensors without elements have no bytes to join."""
    items = [HeldCall(0.0), HeldCall(0.0)]
    for item, text in zip(items, ("a", "b"), strict=True):
        item.call = InferCall(
            id="",
            rows=1,
            shapes=((1, 1), (1, 0), None),
            stack_key=0,
            tensors=(np.array([[text]], object), b"", None),
            outputs=(),
        )
    stacker = Stacker((TEXT, NUMBER, NUMBER), (TEXT,), max_batch_rows=8)
    texts, empty, absent = stacker.feeds(items, 2)
    assert texts is not None
    assert texts.tolist() == [["a"], ["b"]]
    assert empty is not None
    assert empty.shape == (2, 0)
    assert absent is None
    texts, empty, absent = stacker.feeds(items[:1], 1)
    assert texts is items[0].call.tensors[0]
    assert empty is not None
    assert empty.shape == (1, 0)
    assert absent is None


@pytest.mark.parametrize("shape", [(), (1, 1), (3, 1)])
def test_outputs_that_cannot_be_split_are_refused(shape: tuple[int, ...]) -> None:
    """An output whose first dimension is not the batch never reaches a client."""
    calls = [HeldCall(1.0), HeldCall(2.0)]
    stacker = Stacker((NUMBER,), (NUMBER,), max_batch_rows=8)
    with pytest.raises(OutputRowsError, match="output 'x' has shape"):
        stacker.split(calls, 2, [np.zeros(shape, np.float32)])


def test_without_a_batch_dimension_any_shape_is_right() -> None:
    """Such a model runs one call at a time: there is nothing to split."""
    stacker = Stacker((NUMBER,), (NUMBER,), max_batch_rows=0)
    scalar = np.zeros((), np.float32)
    assert stacker.split([HeldCall(1.0)], 1, [scalar]) == [[scalar]]


@pytest.mark.parametrize(
    ("queued_rows", "rows", "queued_bytes", "call_bytes", "outcome"),
    [
        (0, 100, 0, 1, "enters"),
        (4, 4, 0, 1, "enters"),
        (4, 5, 0, 1, "refused"),
        (0, 1, 0, 999, "enters"),
        (0, 1, 60, 41, "refused"),
        (0, 1, 60, 40, "enters"),
    ],
)
def test_admission_counts_rows_and_bytes(
    queued_rows: int, rows: int, queued_bytes: int, call_bytes: int, outcome: str
) -> None:
    """A bound holds against what waits; the first call always enters."""
    limits = QueueLimits(max_rows=8, max_bytes=100)
    error = refusal(limits, queued_rows, rows, queued_bytes, call_bytes)
    assert ("enters" if error is None else "refused") == outcome
    assert error is None or error.code is Code.QUEUE_FULL


def test_one_outlier_does_not_make_a_short_run_long() -> None:
    """A run that was pre-empted counts as three times the average at most."""
    costs = RunCosts()
    costs.learn("kind", 1, 10_000)
    costs.learn("kind", 1, 50_000_000)
    assert costs.is_short("kind", 1)


def test_runs_of_mixed_lengths_tell_nothing_of_each_other() -> None:
    """However many were short, the next may be long: it never runs on the loop."""
    costs = RunCosts(mixes_lengths=True)
    for _ in range(100):
        costs.learn("kind", 1, 1000)
    assert not costs.is_short("kind", 1)
    assert costs.expected_ns("kind", 1) == RunCosts().expected_ns("kind", 1)
    assert costs.least_ns("kind", 1) == RunCosts().least_ns("kind", 1)


def test_a_run_of_a_second_keeps_its_kind_from_the_loop_for_as_long_again() -> None:
    """No pre-emption lasts so long: others like it may come, and threads cost no more than it."""
    costs = RunCosts()
    for cost_ns in (10_000, 10_000, 1_000_000_000):
        costs.learn("kind", 1, cost_ns)
    spent_ns = 0
    while not costs.is_short("kind", 1):
        costs.learn("kind", 1, 10_000)
        spent_ns += INLINE_NS
    assert spent_ns == 1_000_000_000


def test_what_has_loops_never_runs_on_the_loop() -> None:
    """However many were short; what they cost is known, and what is foreseen by it."""
    costs = RunCosts(has_loops=True)
    for _ in range(100):
        costs.learn("kind", 1, 10_000)
    assert not costs.is_short("kind", 1)
    assert costs.expected_ns("kind", 1) == 10_000


def test_runs_that_are_often_disturbed_stay_short() -> None:
    """On busy CPUs every third run is pre-empted: what it costs is what it costs undisturbed."""
    costs = RunCosts()
    for turn in range(300):
        costs.learn("kind", 1, 1_200_000 if turn % 3 == 0 else 100_000)
    assert costs.is_short("kind", 1)


@pytest.mark.parametrize("period", [2, 4])
def test_a_kind_with_long_runs_among_short_ones_is_long(period: int) -> None:
    """One text in four that takes 20 ms would stop the loop ten times a second."""
    costs = RunCosts()
    for turn in range(300):
        costs.learn("kind", 1, 20_000_000 if turn % period == 0 else 20_000)
    assert not costs.is_short("kind", 1)


def test_a_kind_that_became_slow_is_long_soon() -> None:
    """After a few runs."""
    costs = RunCosts()
    for _ in range(100):
        costs.learn("kind", 1, 20_000)
    for _ in range(5):
        costs.learn("kind", 1, 50_000_000)
    assert not costs.is_short("kind", 1)


def test_unknown_and_slower_kinds_are_long() -> None:
    """Rows count by powers of two; what was never measured may take for ever."""
    costs = RunCosts()
    costs.learn("kind", 4, 10_000)
    assert costs.is_short("kind", 7)
    assert not costs.is_short("kind", 8)
    assert not costs.is_short("other", 4)
    costs.learn("slow", 1, 2 * INLINE_NS)
    assert not costs.is_short("slow", 1)


def test_what_is_expected_follows_what_runs_take() -> None:
    """Of long runs, disturbed ones included; fewer rows are expected to take their share."""
    costs = RunCosts()
    assert costs.expected_ns("kind", 8) == costs.least_ns("kind", 8) == 0
    for turn in range(200):
        costs.learn("kind", 8, 12_000_000 if turn % 2 else 8_000_000)
    assert 9_500_000 < costs.expected_ns("kind", 8) < 10_500_000
    assert 8_000_000 <= costs.least_ns("kind", 8) < 9_000_000
    costs.learn("ragged", 12, 12_000_000)
    assert costs.expected_ns("ragged", 9) == 9_000_000
    assert costs.expected_ns("ragged", 15) == 12_000_000


def test_the_recorder_names_what_was_noted(tmp_path: Path) -> None:
    """Between begin and end, a reader of the file sees the version."""
    file = tmp_path / "recorder"
    with FlightRecorder(file) as recorder:
        note = recorder.note(KEY)
        note.begin(LOOP_SLOT)
        assert suspects(file, [VersionKey("other", 1), KEY]) == (KEY,)
        note.end(LOOP_SLOT)
        assert suspects(file, [KEY]) == ()


def test_a_new_worker_forgets_the_one_before(tmp_path: Path) -> None:
    """The file is cleared at the start; a missing one names nobody."""
    file = tmp_path / "recorder"
    assert suspects(file, [KEY]) == ()
    with FlightRecorder(file) as recorder:
        recorder.note(KEY).begin(LOOP_SLOT)
    assert suspects(file, [KEY]) == (KEY,)
    with FlightRecorder(file):
        assert suspects(file, [KEY]) == ()


def test_tags_are_never_empty() -> None:
    """0 means that nothing runs."""
    assert all(version_tag(VersionKey("m", number)) for number in range(1000))
