"""A graph answers nobody until it has answered as the plain run, once on other inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import EngineError
from runtimes.proven_graphs import MAX_GRAPHS, Feeds, ProvenGraphs, Run


class Device:
    """Doubles its input, plainly or by graphs; counts both."""

    def __init__(self, fault: Callable[[Array, Array], Array] | None = None) -> None:
        """Take what a faulty graph makes of (the captured input, the input)."""
        self.plain_count = self.replay_count = self.capture_count = 0
        self._fault = fault
        self.graphs = ProvenGraphs(self._plain, self._capture)

    def _plain(self, feeds: Feeds) -> list[Array]:
        self.plain_count += 1
        return [_only(feeds) * 2]

    def _capture(self, feeds: Feeds, results: Sequence[Array]) -> Run:
        assert results[0].shape == _only(feeds).shape
        self.capture_count += 1
        captured = _only(feeds).copy()

        def replay(fed: Feeds) -> list[Array]:
            self.replay_count += 1
            x = _only(fed)
            return [x * 2 if self._fault is None else self._fault(captured, x)]

        return replay

    def ask(self, *values: float) -> list[float]:
        """Run one batch."""
        (found,) = self.graphs.run([np.asarray(values, np.float32)])
        answer: list[float] = found.tolist()
        return answer


def _only(feeds: Feeds) -> Array:
    (array,) = feeds
    assert array is not None
    return array


def test_shapes_that_come_again_are_replayed_once_proven() -> None:
    """Plain, plain with a capture, plain with a proof; then the graph alone."""
    device = Device()
    assert [device.ask(value) for value in (1, 2, 3, 4, 5)] == [[2], [4], [6], [8], [10]]
    assert (device.plain_count, device.capture_count) == (3, 1)
    assert device.replay_count == 4
    assert device.graphs.proven_count == 1


def test_the_same_inputs_prove_nothing() -> None:
    """A graph that reads no input would be right on them for ever."""
    device = Device()
    for _ in range(5):
        device.ask(1)
    assert device.graphs.proven_count == 0
    assert device.plain_count == 5


def test_nan_is_no_other_value() -> None:
    """A graph that reads no input would be right on it for ever, too."""
    device = Device(stale)
    for _ in range(5):
        assert np.isnan(device.ask(np.nan)).all()
    assert device.graphs.proven_count == 0
    assert device.ask(1) == [2]


def stale(captured: Array, _: Array) -> Array:
    """Answer what was asked at the capture."""
    return captured * 2


def wrong(_: Array, x: Array) -> Array:
    """Answer something else."""
    return x * 3


def failing(_: Array, x: Array) -> Array:
    """Fail."""
    raise EngineError(f"no graph for {x.tolist()}")


@pytest.mark.parametrize("fault", [stale, wrong, failing])
def test_a_graph_that_is_wrong_answers_nobody(
    fault: Callable[[Array, Array], Array], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody gets its answer or its error, and it is said once why there is no graph."""
    device = Device(fault)
    assert [device.ask(value) for value in range(6)] == [[2 * value] for value in range(6)]
    assert device.graphs.proven_count == 0
    assert len(caplog.records) == 1
    assert "no CUDA graph for inputs of shapes ((1,),)" in caplog.text


def test_an_input_that_a_graph_has_read_for_good_is_found_out() -> None:
    """A graph that reads the first input anew answers only with the second that it has seen."""
    replayed: list[float] = []

    def plain(feeds: Feeds) -> list[Array]:
        x, bound = feeds
        assert x is not None
        assert bound is not None
        return [np.minimum(x, bound)]

    def capture(feeds: Feeds, _: Sequence[Array]) -> Run:
        bound = feeds[1]
        assert bound is not None
        own = bound.copy()

        def replay(fed: Feeds) -> list[Array]:
            replayed.append(_only(fed[:1]).item())
            return plain([fed[0], own])

        return replay

    graphs = ProvenGraphs(plain, capture)
    asked = [(1, 5), (2, 5), (3, 5), (4, 5), (9, 7), (9, 5)]
    answers = [
        graphs.run([np.asarray([x], np.float32), np.asarray([bound], np.float32)])[0].item()
        for x, bound in asked
    ]

    assert answers == [1, 2, 3, 4, 7, 5]
    assert replayed == [2, 3, 4, 9]
    assert graphs.proven_count == 0


@pytest.mark.parametrize(
    ("dtype", "factor", "is_trusted"),
    [
        (np.dtype(np.int64), 1.0005, False),
        (np.dtype(np.float32), 1.0005, True),
        (np.dtype(np.float32), 1.005, False),
        (DTYPES[Datatype.BF16], 1.005, True),
        (DTYPES[Datatype.BF16], 1.05, False),
    ],
)
def test_only_rounding_is_forgiven(
    dtype: np.dtype[Any], factor: float, *, is_trusted: bool
) -> None:
    """A number of a class is right or wrong; one with a point may be rounded otherwise."""

    def plain(feeds: Feeds) -> list[Array]:
        return [_only(feeds).copy()]

    def capture(_: Feeds, __: Sequence[Array]) -> Run:
        return lambda fed: [(_only(fed).astype(np.float64) * factor).astype(dtype)]

    graphs = ProvenGraphs(plain, capture)
    for value in (10_000, 20_000, 30_000):
        graphs.run([np.asarray([value], dtype)])
    assert graphs.proven_count == is_trusted


def test_empty_inputs_have_no_graphs() -> None:
    """There is nothing to launch."""
    device = Device()
    assert [device.ask() for _ in range(4)] == [[]] * 4
    assert device.capture_count == 0


def test_graphs_are_bounded() -> None:
    """Each keeps memory on the device; what comes beyond is right all the same."""
    device = Device()
    for size in range(1, 3 * MAX_GRAPHS):
        for value in range(4):
            assert device.ask(*[value] * size) == [2 * value] * size
    assert device.graphs.proven_count == MAX_GRAPHS


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(-3, 3)), max_size=40))
def test_every_answer_is_that_of_its_own_inputs(calls: list[tuple[int, int]]) -> None:
    """Whatever shapes and values follow each other."""
    device = Device()
    for size, value in calls:
        assert device.ask(*[value] * size) == [2 * value] * size
