"""What is copied of a live version's calls, and what that may cost."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.monitor.comparison import Pair
from serving.worker.control import SHARE_SCALE, MirrorEntry
from serving.worker.shadow.message import (
    LiveCall,
    NamedOutput,
    OutputHead,
    RawRequest,
    encode_copy,
    live_call,
    read_copies,
    read_output,
)
from serving.worker.shadow.mirror import MirrorQueue, Room

PAIR = Pair("m", 2, 1)


def entry(share: int = SHARE_SCALE) -> MirrorEntry:
    """A mirror of `m`, version 1 for version 2."""
    return MirrorEntry(model="m", version=1, candidate=2, share=share, targets=("/run/w.sock",))


def answered(size: int = 8, output: Array | None = None) -> LiveCall:
    """An answered call with a request of so many bytes."""
    array = np.zeros((1, 2), np.float32) if output is None else output
    return live_call(RawRequest("json", bytes(size), 3), [NamedOutput("y", Datatype.FP32, array)])


def queue(share: int = SHARE_SCALE, max_calls: int = 4, max_bytes: int = 1000) -> MirrorQueue:
    """A small queue."""
    return MirrorQueue(entry(share), Room(max_bytes), max_calls)


def test_a_share_of_calls_is_copied() -> None:
    """A tenth of them, of ten thousandths."""
    some = queue(SHARE_SCALE // 10)
    for _ in range(500):
        some.offer(answered)
    assert some.report().copied_calls == pytest.approx(50, abs=3)


def test_a_full_queue_drops_and_counts() -> None:
    """More calls than it holds are not even looked at."""
    full = queue(max_calls=4)
    made = []
    for number in range(10):
        full.offer(lambda number=number: made.append(number) or answered())  # type: ignore[func-returns-value,misc]
    report = full.report()
    assert (report.copied_calls, report.dropped_calls, made) == (10, 6, [0, 1, 2, 3])
    assert report.pair == PAIR


def test_bytes_are_bounded_for_all_queues_together() -> None:
    """What two mirrors hold counts once for the process, whole batches of outputs included."""
    room = Room(1000)
    one, other = MirrorQueue(entry(), room), MirrorQueue(entry(), room)
    batch = np.zeros((200, 1), np.float32)
    one.offer(lambda: answered(8, batch[:1]))  # keeps all 800 bytes of its batch
    assert room.used_bytes == 808
    other.offer(lambda: answered(300))
    other.offer(lambda: answered(100))
    assert (one.report().dropped_calls, other.report().dropped_calls) == (0, 1)
    assert room.used_bytes == 916


def test_what_was_sent_gives_its_room_back() -> None:
    """Copies on their way count as held until their fate is known."""

    async def send() -> None:
        busy = queue(max_calls=2)
        busy.offer(answered)
        busy.offer(answered)
        taken = await busy.take()
        busy.offer(answered)
        assert (len(taken), busy.report().dropped_calls) == (2, 1)
        busy.release(taken, dropped=1)
        busy.offer(answered)
        assert (busy.report().copied_calls, busy.report().dropped_calls) == (4, 2)
        busy.drop_waiting()
        assert busy.report().dropped_calls == 3

    asyncio.run(send())


def test_what_is_lost_on_its_way_while_a_table_is_replaced_counts() -> None:
    """The mirror of the same pair that follows begins while it is still on its way."""

    async def replace() -> None:
        room = Room(1000)
        before, after = MirrorQueue(entry(), room), MirrorQueue(entry(), room)
        before.offer(answered)
        before.offer(answered)
        taken = await before.take()
        before.drop_waiting()
        after.keep_counts_of(before)
        after.offer(answered)
        before.release(taken, dropped=len(taken))
        assert (after.report().copied_calls, after.report().dropped_calls) == (3, 2)

    asyncio.run(replace())


def test_a_sender_waits_for_calls() -> None:
    """It sleeps while there are none, and gets the ones that came together as one message."""

    async def wait() -> int:
        lazy = queue()
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(lazy.take())
            await asyncio.sleep(0)
            lazy.offer(answered)
            lazy.offer(answered)
        return len(taking.result())

    assert asyncio.run(wait()) == 2


@given(
    st.lists(st.binary(max_size=50), min_size=1, max_size=4),
    st.sampled_from([Datatype.FP32, Datatype.BF16, Datatype.BOOL, Datatype.INT64]),
)
def test_copies_come_as_they_went(bodies: list[bytes], datatype: Datatype) -> None:
    """Every byte of request and outputs, in order."""
    array = np.arange(6).reshape(2, 3).astype(DTYPES[datatype])
    texts = np.array(["ä", b"\xff"], dtype=object)
    outputs = (NamedOutput("y", datatype, array), NamedOutput("t", Datatype.BYTES, texts))
    calls = [live_call(RawRequest("json", body, len(body)), outputs) for body in bodies]
    message = b"".join(part for call in calls for part in encode_copy(PAIR, call))
    copies = list(read_copies(message))
    assert [bytes(copy.request) for copy in copies] == bodies
    assert {copy.pair for copy in copies} == {PAIR}
    for copy in copies:
        first, second = map(read_output, copy.head.outputs, copy.outputs)
        assert (first.dtype, first.tolist()) == (array.dtype, array.tolist())
        assert second.tolist() == ["ä".encode(), b"\xff"]


@given(st.binary(max_size=80))
def test_no_bytes_break_the_reader(junk: bytes) -> None:
    """What is no message is refused in words."""
    whole = b"".join(encode_copy(PAIR, answered()))
    for message in (junk, whole + junk, whole[: len(junk)]):
        try:
            copies = list(read_copies(message))
        except InvalidArgumentError:
            continue
        assert all(copy.pair == PAIR for copy in copies)


def test_outputs_that_do_not_fill_their_shape_are_refused() -> None:
    """Numbers and texts."""
    for datatype, raw in ((Datatype.FP32, b"1234"), (Datatype.BYTES, b"\1\0\0\0a")):
        for shape in ((2,), (-1,), (0,)):
            with pytest.raises(InvalidArgumentError, match="tensor of shape"):
                read_output(OutputHead("y", datatype, shape, len(raw)), memoryview(raw))
