"""Steps and their models, compared before a call is taken."""

import pytest

from runtimes.datatypes import Datatype
from runtimes.errors import ModelLoadError
from serving.registry.version import ServedVersion
from serving.worker.ensemble_plan import plan_ensemble
from tests.fakes.ensembles import served, step, tensor

OUTER = served([tensor("x", -1, 4)], [tensor("y", -1, 2)])
FIRST = served([tensor("i", -1, 4)], [tensor("o", -1, -1)])
SECOND = served([tensor("i", -1, 3)], [tensor("o", -1, 2)])
STEPS = (step("a", {"i": "x"}, {"o": "h"}), step("b", {"i": "h"}, {"o": "y"}))


def plan(outer: ServedVersion = OUTER, *members: ServedVersion) -> None:
    """Bind the two steps."""
    plan_ensemble(outer, STEPS, members or (FIRST, SECOND))


def test_steps_that_fit_are_bound() -> None:
    """Free dimensions fit any size; slots and readers follow the graph."""
    found = plan_ensemble(OUTER, STEPS[::-1], (SECOND, FIRST))
    assert [one.name for one in found.steps] == ["step 2 (model 'a')", "step 1 (model 'b')"]
    assert (found.members, found.unfilled, found.output_slots) == ((1, 0), (1, 1), (2,))
    assert found.readers == ((0,), (1,), ())


@pytest.mark.parametrize(
    ("outer", "first", "second", "words"),
    [
        pytest.param(
            OUTER,
            FIRST,
            served([tensor("i", -1, 3, datatype=Datatype.INT32)], SECOND.outputs),
            "tensor 'h': step 1 (model 'a') gives FP32 and step 2 (model 'b') expects INT32",
            id="datatype between steps",
        ),
        pytest.param(
            OUTER,
            served(FIRST.inputs, [tensor("o", -1, 5)]),
            SECOND,
            "'h': step 1 (model 'a') gives shape [-1,5] and step 2 (model 'b') expects [-1,3]",
            id="shape between steps",
        ),
        pytest.param(
            served([tensor("x", -1, 9)], OUTER.outputs),
            FIRST,
            SECOND,
            "tensor 'x': the ensemble gives shape [-1,9] and step 1 (model 'a') expects [-1,4]",
            id="shape of an input",
        ),
        pytest.param(
            served(OUTER.inputs, [tensor("y", -1, 2, datatype=Datatype.FP64)]),
            FIRST,
            SECOND,
            "tensor 'y': step 2 (model 'b') gives FP32 and the ensemble expects FP64",
            id="datatype of an output",
        ),
        pytest.param(
            OUTER,
            served([tensor("i", 4)], [tensor("o", 3)], 0),
            SECOND,
            "takes batches of 8 rows and step 1 (model 'a') only of 0",
            id="a step without a batch",
        ),
        pytest.param(
            OUTER,
            served(FIRST.inputs, FIRST.outputs, 4),
            SECOND,
            "takes batches of 8 rows and step 1 (model 'a') only of 4",
            id="a step with smaller batches",
        ),
        pytest.param(
            OUTER,
            served([tensor("i", -1, 4), tensor("j")], FIRST.outputs),
            SECOND,
            "step 1 (model 'a') does not map input 'j', which its model needs",
            id="an input that is not mapped",
        ),
        pytest.param(
            OUTER,
            served([tensor("k", -1, 4)], FIRST.outputs),
            SECOND,
            "step 1 (model 'a') maps input 'i', which its model does not have: it has k",
            id="an unknown input",
        ),
        pytest.param(
            OUTER,
            FIRST,
            served(SECOND.inputs, [tensor("z", -1, 2)]),
            "step 2 (model 'b') maps output 'o', which its model does not have: it has z",
            id="an unknown output",
        ),
        pytest.param(
            served([tensor("x", -1, 4, optional=True)], OUTER.outputs),
            FIRST,
            SECOND,
            "input 'x' is optional and step 1 (model 'a') cannot do without it",
            id="an optional input",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(
    outer: ServedVersion, first: ServedVersion, second: ServedVersion, words: str
) -> None:
    """The message names step, tensor and what either side says."""
    with pytest.raises(ModelLoadError) as caught:
        plan(outer, first, second)
    assert words in caught.value.message


def test_an_ensemble_without_a_batch_may_use_models_with_one() -> None:
    """Its tensors are then the models' with the batch dimension written out."""
    plan(served([tensor("x", 2, 4)], [tensor("y", 2, 2)], 0))


def test_an_optional_input_need_not_be_mapped() -> None:
    """The model runs without it."""
    plan(OUTER, served([*FIRST.inputs, tensor("j", optional=True)], FIRST.outputs), SECOND)
