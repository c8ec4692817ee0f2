"""Observers of answered calls."""

from collections.abc import Sequence
from itertools import accumulate, takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.worker.executor import Ran
from serving.worker.log_queue import CallQueue, LoggedVersion, TakenBatch, TakenCall
from serving.worker.tap import EvenSampler, Turns
from tests.fakes.batching import Bench, HeldCall


class Seen:
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[float], list[list[float]]]] = []

    def take(self, ran: Ran, end_ns: int) -> None:
        """Keep the inputs and outputs of a batch."""
        assert end_ns > ran.split_ns
        inputs = [np.frombuffer(item.call.tensors[0], np.float32).tolist() for item in ran.batch]
        outputs = [each[0].ravel().tolist() for each in ran.outputs]
        self.batches.append(([value for row in inputs for value in row], outputs))


def test_an_observer_sees_each_answered_batch() -> None:
    """Whole, in order, once, with what each call got; a call that failed is not shown."""
    seen = Seen()
    bench = Bench(observers=(seen,))
    bench.submit(HeldCall(1, 2), HeldCall(3))
    bench.finish_all()
    bench.submit(HeldCall(4), HeldCall(-1), HeldCall(5))
    bench.finish_all()

    assert seen.batches[0] == ([1, 2, 3], [[2, 4], [6]])
    assert sorted(value for inputs, _ in seen.batches[1:] for value in inputs) == [4, 5]


@given(st.floats(1e-4, 1), st.integers(1, 3000))
def test_a_share_is_spread_evenly(share: float, count: int) -> None:
    """Of any number of calls in a row the share is chosen, give or take two calls."""
    chosen = len(chosen_of(EvenSampler(share), count))

    assert abs(chosen - share * count) <= 2 + np.log2(count)


@given(st.floats(1e-4, 1))
def test_chosen_are_the_multiples_that_fall_into_the_share(share: float) -> None:
    """Jumping from one chosen call to the next is as looking at each in turn."""
    golden, whole = 0x9E3779B97F4A7C15, 1 << 64
    limit = round(share * whole)
    expected = [i for i in range(2_000) if (i + 1) * golden % whole < limit]

    assert chosen_of(EvenSampler(share), 2_000) == expected


def test_all_are_all_and_the_rarest_come() -> None:
    """All is all; a share below one in a million is one in a million."""
    assert chosen_of(EvenSampler(1.0), 100) == list(range(100))
    assert 300_000 < EvenSampler(1e-30).skipped() < 3_000_000


def chosen_of(sampler: EvenSampler, count: int) -> list[int]:
    """Which of so many calls in a row are chosen."""
    places = accumulate(1 + sampler.skipped() for _ in range(count + 1))
    return [place - 1 for place in takewhile(lambda place: place <= count, places)]


@given(st.floats(0, 1), st.integers(1, 3000))
def test_every_stretch_of_calls_has_its_share(share: float, calls: int) -> None:
    """The number chosen of the first n is n times the share, within a few; and always the same."""
    one, other = Turns(share), Turns(share)
    chosen = [one.takes_next() for _ in range(calls)]

    assert chosen == [other.takes_next() for _ in range(calls)]
    assert sum(chosen) == pytest.approx(calls * share, abs=4)


def test_a_share_is_in_step_with_nothing() -> None:
    """Of every second, third or tenth call the same share is chosen as of all."""
    turns = Turns(0.1)
    chosen = [turns.takes_next() for _ in range(30_000)]
    for period in (2, 3, 10):
        for phase in range(period):
            part = chosen[phase::period]
            assert sum(part) == pytest.approx(len(part) / 10, abs=len(part) * 0.005)


def test_a_queue_keeps_its_bounds() -> None:
    """Calls and bytes are bounded together; what is done gives its room back."""
    queue = CallQueue(max_calls=3, max_bytes=100)

    assert queue.put(_batch(2, 10))
    assert not queue.put(_batch(2, 10))
    assert not queue.put(_batch(1, 91))
    assert queue.put(_batch(1, 90))
    first = queue.take(0.0)
    assert first is not None
    assert not queue.put(_batch(2, 1))
    queue.done(first)
    assert queue.put(_batch(2, 1))
    assert not queue.is_empty


def _batch(calls: int, held_bytes: int) -> TakenBatch:
    taken: Sequence[TakenCall] = [None] * calls  # type: ignore[list-item]  # nobody looks at them
    version: LoggedVersion = None  # type: ignore[assignment]  # likewise
    return TakenBatch(version, taken, 1, calls, calls, (0, 0, 0, 0), held_bytes)
