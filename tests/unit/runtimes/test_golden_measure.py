"""Making golden samples, and finding the classes that they can be held to."""

from collections.abc import Sequence

import numpy as np
import pytest

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from runtimes.golden_measure import ELSEWHERE, Measured, feeds_for, measure
from runtimes.tolerance import BITWISE, Tolerance
from tests.fakes.function_model import FunctionModel

X = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 4))
Y = TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 4))
FEEDS = ((np.linspace(0.1, 1, 8, dtype=np.float32).reshape(2, 4),),)


def silent(_: str) -> None:
    """Say nothing."""


class Engine:
    """Loads models whose outputs differ by load, run, threads and rows, as much as it is told."""

    def __init__(
        self, *, run: float = 0, load: float = 0, threads: float = 0, alone: float = 0
    ) -> None:
        self.models: list[FunctionModel] = []
        self._run = run
        self._load = load
        self._threads = threads
        self._alone = alone

    def load(self, threads: int) -> FunctionModel:
        """Load a model; `threads` moves its outputs."""
        moved = self._load * len(self.models) + self._threads * (threads - 1)
        model = FunctionModel((X,), (Y,), lambda feeds: self._compute(feeds, moved, model))
        self.models.append(model)
        return model

    def _compute(
        self, feeds: Sequence[Array | None], moved: float, model: FunctionModel
    ) -> list[Array]:
        (x,) = feeds
        assert x is not None
        factor = 1 + moved + self._run * len(model.runs) + self._alone * (len(x) == 1)
        return [x * np.float32(factor)]


def measured(engine: Engine, *, has_batch: bool = True) -> Measured:
    """What is measured of an engine's model, with one thread."""
    return measure(engine.load, 1, FEEDS, has_batch=has_batch, say=silent)


def exact(found: Measured) -> dict[str, bool]:
    """Which changes left every output as it was."""
    return {item.what: item.is_exact for item in found.variations}


def test_a_model_that_repeats_itself_is_held_to_every_bit() -> None:
    """Where nothing moves, the class is bitwise here, and the usual one elsewhere."""
    found = measured(Engine())

    assert found.same_environment == (BITWISE,)
    assert found.other_environment == (ELSEWHERE,)
    assert exact(found) == {"repeat": True, "rows alone": True, "2 threads": True}


def test_threads_and_company_do_not_loosen_the_class_here() -> None:
    """What a fingerprint fixes does not count against it: runs alike are held to every bit."""
    found = measured(Engine(threads=1e-6, alone=1e-6))

    assert found.same_environment == (BITWISE,)
    assert exact(found) == {"repeat": True, "rows alone": False, "2 threads": False}


@pytest.mark.parametrize(
    ("engine", "allowed"),
    [
        (Engine(run=1e-6), Tolerance(kind="close", rtol=1e-4, atol=1e-6)),
        (Engine(load=2e-7), Tolerance(kind="ulp", ulp=16)),
        (Engine(run=0.5), Tolerance(kind="none")),
    ],
    ids=["runs", "loads", "wild"],
)
def test_a_model_that_varies_gets_a_class_with_a_margin(engine: Engine, allowed: Tolerance) -> None:
    """The class is one step looser than what held in five runs."""
    assert measured(engine).same_environment == (allowed,)


def test_elsewhere_is_no_stricter_than_here() -> None:
    """Where threads alone move outputs further than usual, another environment may do so, too."""
    found = measured(Engine(threads=5e-3))

    assert found.other_environment == (Tolerance(kind="close", rtol=1e-2, atol=1e-3),)


def test_every_model_is_closed() -> None:
    """Models are loaded one after the other, and none stays in memory."""
    engine = Engine()

    measured(engine)

    assert [model.is_closed for model in engine.models] == [True, True, True]


def test_without_a_batch_no_row_runs_alone() -> None:
    """Rows are taken apart only where the first dimension is the batch."""
    assert set(exact(measured(Engine(), has_batch=False))) == {"repeat", "2 threads"}


@pytest.mark.parametrize(
    ("most", "rows"),
    [(64, [1, 2, 8, 1]), (4, [1, 2, 4, 1]), (2, [1, 2, 1, 2]), (1, [1, 1, 1, 1])],
    ids=["many", "four", "two", "one"],
)
def test_made_up_samples_have_one_two_and_many_rows(most: int, rows: list[int]) -> None:
    """Samples come in several sizes, and then with other values."""
    model = Engine().load(1)

    made = feeds_for(model, model.inputs, count=4, max_batch_rows=most)

    arrays = [feeds[0] for feeds in made if feeds[0] is not None]
    assert [len(array) for array in arrays] == rows
    assert len({array.tobytes() for array in arrays}) == 4
    again = feeds_for(model, model.inputs, count=4, max_batch_rows=most)
    assert [array.tobytes() for array in arrays] == [
        feeds[0].tobytes() for feeds in again if feeds[0] is not None
    ]


def refuse(_: Sequence[Array | None]) -> list[Array]:
    """A model that takes nothing that can be made up."""
    raise InvalidArgumentError("length must be 7")


def test_a_model_that_refuses_made_up_inputs_says_why() -> None:
    """There are no samples then, and the model's own words are kept."""
    model = FunctionModel((X,), (Y,), refuse)

    with pytest.raises(InvalidArgumentError, match="length must be 7"):
        feeds_for(model, model.inputs, count=1, max_batch_rows=0)
