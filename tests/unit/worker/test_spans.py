"""Which calls are traced, and what becomes of those that cannot be."""

import threading

import pytest

from serving.errors import QueueFullError
from serving.ids import VersionKey
from serving.worker.executor import Ran
from serving.worker.spans import MAX_WAITING, CallSpans, CallTrace, SpanThread
from tests.fakes.batching import HeldCall
from tests.fakes.waiting import until

KEY = VersionKey("m", 1)
TRACED = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Asked(HeldCall):
    """A call with headers."""

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        """Come with these."""
        super().__init__(1.0)
        self.headers = headers
        self.enqueued_ns = 5


def picked(headers: dict[bytes, bytes], share: float) -> list[CallTrace]:
    """Return what is traced of one call."""
    found: list[CallTrace] = []
    call = Asked(headers)
    ran = Ran((call,), 1, ((),), None, 10, 20, 30)
    CallSpans(KEY, share, found.append).take(ran, 40)
    return found


@pytest.mark.parametrize("flags", [b"01", b"03", b"ff"])
def test_a_sampled_context_is_followed(flags: bytes) -> None:
    """Whatever share begins traces of its own."""
    (call,) = picked({b"traceparent": TRACED[:-2] + flags, b"tracestate": b"a=b"}, 0.0)
    assert (call.came_ns, call.moments_ns, call.state) == (5, (10, 20, 30, 40), "a=b")


@pytest.mark.parametrize("flags", [b"00", b"02", b"fe"])
def test_a_context_that_is_not_sampled_is_obeyed(flags: bytes) -> None:
    """Even if all other calls are traced."""
    assert picked({b"traceparent": TRACED[:-2] + flags}, 1.0) == []


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 1)])
def test_a_share_of_the_others_begins_a_trace(share: float, count: int) -> None:
    """None at all is a share as well."""
    assert len(picked({}, share)) == count


class Maker:
    """Makes nothing while it is held."""

    def __init__(self) -> None:
        """Be held."""
        self.calls: list[CallTrace] = []
        self.is_free = threading.Event()
        self.is_closed = False

    def make(self, call: CallTrace) -> None:
        """Take a call; the first one cannot be made."""
        self.is_free.wait(60)
        self.calls.append(call)
        if len(self.calls) == 1:
            raise ValueError("a broken trace context")

    def close(self) -> None:
        """Take note."""
        self.is_closed = True


def test_serving_does_not_wait_for_traces(capfd: pytest.CaptureFixture[str]) -> None:
    """What does not fit the queue is dropped; what cannot be made does not end the thread."""
    maker = Maker()
    thread = SpanThread(1.0, lambda: maker)
    (call,) = picked({}, 1.0)
    for _ in range(MAX_WAITING + 100):
        thread._put(call)  # noqa: SLF001  as the observers do

    maker.is_free.set()
    until(lambda: len(maker.calls) >= MAX_WAITING, "all that fitted is made")

    assert thread.close(30)
    assert maker.is_closed
    assert len(maker.calls) <= MAX_WAITING + 1
    capfd.readouterr()


def test_a_failed_call_is_traced_with_its_error() -> None:
    """As far as it came: here it was not decoded, so neither model nor id is known."""
    maker = Maker()
    maker.is_free.set()
    thread = SpanThread(0.0, lambda: maker)

    thread.failed(Asked({b"traceparent": TRACED}), QueueFullError("full"))
    thread.failed(Asked({}), QueueFullError("nobody traces it"))

    assert thread.close(30)
    (call,) = maker.calls
    assert (call.error, call.code, call.model, call.came_ns) == ("full", "QUEUE_FULL", "", 5)
    assert len(call.moments_ns) == 1
