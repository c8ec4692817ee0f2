"""The response cache: bounded, by content, least recently used out; and what it counts."""

import contextlib
import gc
import weakref
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array
from runtimes.errors import EngineError
from serving.monitor.statistics import FailureReason
from serving.wire.call import InferCall
from serving.worker.cached_intake import CachedIntake
from serving.worker.queued import QueuedCall
from serving.worker.response_cache import CacheKey, ResponseCache, answer_bytes, call_digest
from tests.fakes.batching import Bench, HeldCall
from tests.fakes.ensembles import SumIntake


def call(shapes: tuple[tuple[int, ...] | None, ...], *tensors: object) -> InferCall:
    """A decoded call."""
    return InferCall(id="", rows=1, shapes=shapes, stack_key=(), tensors=tensors, outputs=())


def texts(*elements: str) -> Array:
    """A BYTES tensor."""
    return np.array(elements, dtype=object)


def key(number: int, owner: int = 1) -> CacheKey:
    """A key."""
    return CacheKey(owner, b"%d" % number)


class CachedBench(Bench):
    """A batcher with a cache in front."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        super().__init__()
        self.cache = ResponseCache(max_bytes)
        self.intake = CachedIntake(self.batcher, self.cache, self.statistics, self.loop.clock)

    def ask(self, *values: float) -> HeldCall:
        """Ask, and let everything come to its end."""
        asked = HeldCall(*values)
        self.intake.submit(asked)
        self.finish_all()
        return asked


class Hasty(SumIntake):
    """A model that answers, or fails, before a call has entered."""

    def __init__(self, error: EngineError | None = None, *, is_refusal: bool = False) -> None:
        super().__init__()
        self.error = error
        self.is_refusal = is_refusal

    def submit(self, item: QueuedCall) -> None:
        """Settle a call at once."""
        if self.is_refusal and self.error is not None:
            raise EngineError(self.error.message)
        super().submit(item)
        if self.error is None:
            self.answer()
        else:
            self.fail(self.error)


def test_the_second_of_two_equal_calls_runs_nothing() -> None:
    """It is answered at once with the same values, and one execution is counted."""
    bench = CachedBench()
    first = bench.ask(1.0, 2.0)
    second = HeldCall(1.0, 2.0)
    bench.intake.submit(second)
    assert second.result == first.result == [2.0, 4.0]
    assert bench.model.batches == [[1.0, 2.0]]


def test_other_values_are_another_call() -> None:
    """Content decides."""
    bench = CachedBench()
    assert [bench.ask(1.0).result, bench.ask(2.0).result] == [[2.0], [4.0]]


def test_hits_and_misses_are_counted_as_triton_does() -> None:
    """A hit is a success and no inference; compute is charged to calls that ran."""
    bench = CachedBench()
    bench.ask(1.0, 2.0)
    bench.ask(1.0, 2.0)
    bench.ask(3.0)
    counted = bench.counted()
    assert (counted.cache_hit.count, counted.cache_miss.count) == (1, 2)
    assert (counted.success.count, counted.queue.count, counted.compute_infer.count) == (3, 3, 2)
    assert (counted.inference_count, counted.execution_count) == (3, 2)
    assert counted.cache_hit.ns > 0
    assert counted.cache_miss.ns > 0
    assert counted.has_cache


def test_an_error_is_not_kept() -> None:
    """The next equal call is tried again."""
    bench = CachedBench()
    assert isinstance(bench.ask(-1.0).error, EngineError)
    assert isinstance(bench.ask(-1.0).error, EngineError)
    assert len(bench.model.batches) == 2
    assert bench.counted().failures[FailureReason.BACKEND] == 2


def test_a_cancelled_call_never_runs() -> None:
    """A client that leaves takes its waiting call with it, also behind a cache."""
    bench = CachedBench()
    gone = HeldCall(1.0)
    bench.intake.submit(gone)
    bench.intake.cancel(gone)
    bench.finish_all()
    assert gone.answer_count == 0
    assert gone.is_gone
    assert bench.model.batches == []
    assert bench.counted().failures[FailureReason.CANCELED] == 1


def test_a_call_that_is_answered_at_once_is_forgotten() -> None:
    """Also one that fails at once, or is refused: nothing of its body is held."""
    for kept in (Hasty(), Hasty(EngineError("no")), Hasty(EngineError("no"), is_refusal=True)):
        bench = CachedBench()
        intake = CachedIntake(kept, bench.cache, bench.statistics, bench.loop.clock)
        asked = HeldCall(1.0)
        gone = weakref.ref(asked)
        with contextlib.suppress(EngineError):
            intake.submit(asked)
        assert asked.answer_count == (0 if kept.is_refusal else 1)

        del asked
        gc.collect()

        assert gone() is None


def test_a_closed_version_leaves_nothing_and_another_ones_answers_stay() -> None:
    """Unloading gives the memory back; a reloaded version never sees old answers."""
    bench = CachedBench()
    bench.ask(1.0)
    other = CachedIntake(bench.batcher, bench.cache, bench.statistics, bench.loop.clock)
    other.submit(HeldCall(1.0))
    bench.finish_all()
    assert len(bench.model.batches) == 2
    bench.intake.close()
    assert len(bench.cache) == 1


def test_kept_outputs_do_not_keep_their_batch() -> None:
    """Outputs of a call are views of the batch's; what is kept is a copy that nobody changes."""
    cache = ResponseCache(1 << 20)
    batch = np.arange(1000.0)
    cache.put(key(1), [batch[:2]])
    (kept,) = cache.get(key(1)) or ()
    assert kept.base is None
    assert not kept.flags.writeable


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(call(((1, 4),), b"abcd"), call(((4, 1),), b"abcd"), id="shape"),
        pytest.param(call(((4,),), b"abcd"), call(((4,),), b"abce"), id="value"),
        pytest.param(
            call(((2,), (2,)), b"ab", b"cd"), call(((2,), (2,)), b"cd", b"ab"), id="order"
        ),
        pytest.param(call(((2,), None), b"ab", None), call((None, (2,)), None, b"ab"), id="which"),
        pytest.param(call(((2,),), texts("ab", "c")), call(((2,),), texts("a", "bc")), id="texts"),
    ],
)
def test_different_calls_have_different_digests(one: InferCall, other: InferCall) -> None:
    """Shapes, values, order, left-out inputs and the ends of strings all count."""
    assert call_digest(one) != call_digest(other)
    assert call_digest(one) == call_digest(one)


def test_a_digest_is_of_content_not_of_its_place() -> None:
    """A view of a body and bytes of their own are the same tensor."""
    body = memoryview(b"xxabcd")
    assert call_digest(call(((4,),), body[2:])) == call_digest(call(((4,),), b"abcd"))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 300)),
        st.tuples(st.just("get"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 1), st.just(0)),
    ),
    max_size=80,
)


@given(STEPS)
def test_the_bound_holds_and_the_longest_unused_goes(steps: list[tuple[str, int, int]]) -> None:
    """After any steps: within the bound, and exactly what a simple list of uses would keep."""
    cache = ResponseCache(4096)
    model: OrderedDict[CacheKey, int] = OrderedDict()
    for name, number, size in steps:
        entry = key(number, number % 2)
        if name == "put":
            cache.put(entry, [np.full(size, number, np.float64)])
            _put(model, entry, answer_bytes([np.empty(size)]), 4096)
        elif name == "get":
            found = cache.get(entry)
            assert (found is not None) == (entry in model)
            assert found is None or bool((found[0] == number).all())
            if entry in model:
                model.move_to_end(entry)
        else:
            cache.drop(number)
            model = OrderedDict((k, v) for k, v in model.items() if k.owner != number)
        assert cache.size_bytes == sum(model.values()) <= 4096
        assert len(cache) == len(model)


def _put(model: OrderedDict[CacheKey, int], entry: CacheKey, size: int, bound: int) -> None:
    if size > bound:
        return
    model.pop(entry, None)
    while sum(model.values()) + size > bound:
        model.popitem(last=False)
    model[entry] = size
