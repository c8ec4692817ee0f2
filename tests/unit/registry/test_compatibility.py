"""What a new version changes for callers."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.registry.bundles.compatibility import breaking, changes


@dataclass(frozen=True)
class Seen:
    """An interface: one input, one output, batches."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_rows: int = 8


def spec(
    name: str = "x",
    *shape: int,
    datatype: Datatype = Datatype.FP32,
    optional: bool = False,
) -> TensorSpec:
    """A tensor with a free batch dimension."""
    dims = (-1, *(shape or (4,)))
    return TensorSpec(name=name, datatype=datatype, shape=dims, optional=optional)


BEFORE = Seen(inputs=(spec("x"), spec("mask", 3, optional=True)), outputs=(spec("y", -1),))
X, MASK = BEFORE.inputs


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (replace(BEFORE, inputs=(spec("x2"), MASK)), "input 'x' is called 'x2' now"),
        (replace(BEFORE, inputs=(X,)), "input 'mask' is removed"),
        (replace(BEFORE, inputs=(X, MASK, spec("z", 9))), "input 'z' is new and required"),
        (
            replace(BEFORE, inputs=(spec("x", datatype=Datatype.INT64), MASK)),
            "input 'x' is INT64 instead of FP32",
        ),
        (replace(BEFORE, inputs=(X, spec("mask", 3))), "input 'mask' is required now"),
        (
            replace(BEFORE, inputs=(spec("x", 5), MASK)),
            "input 'x' has shape [-1,5] instead of [-1,4]",
        ),
        (
            replace(BEFORE, inputs=(spec("x", 4, 4), MASK)),
            "input 'x' has shape [-1,4,4] instead of [-1,4]",
        ),
        (replace(BEFORE, outputs=(spec("p", 2),)), "output 'y' is removed"),
        (replace(BEFORE, max_batch_rows=4), "batch takes at most 4 rows instead of at most 8 rows"),
    ],
)
def test_what_breaks_callers_is_told(after: Seen, told: str) -> None:
    """Every kind of break is found, and said with what was before."""
    assert told in [f"{one.subject} {one.text}" for one in breaking(BEFORE, after)]


@pytest.mark.parametrize(
    "after",
    [
        BEFORE,
        replace(BEFORE, inputs=(*BEFORE.inputs, spec("z", optional=True))),
        replace(BEFORE, inputs=(spec("x", -1), MASK)),
        replace(BEFORE, inputs=(replace(X, optional=True), MASK)),
        replace(BEFORE, outputs=(*BEFORE.outputs, spec("p"))),
        replace(BEFORE, outputs=(spec("y", 7),)),
        replace(BEFORE, max_batch_rows=16),
        replace(BEFORE, max_batch_rows=0),
    ],
    ids=["same", "optional", "wider", "not-required", "output", "fixed", "rows", "unbounded"],
)
def test_what_old_callers_survive_breaks_nothing(after: Seen) -> None:
    """Additions and widenings are changes, and break nobody."""
    assert breaking(BEFORE, after) == ()


def test_a_free_dimension_that_became_a_size_breaks_inputs_only() -> None:
    """An input that takes fewer shapes breaks callers; an output that has fewer does not."""
    wide = Seen(inputs=(spec("x", -1),), outputs=(spec("y", -1),))
    narrow = Seen(inputs=(spec("x", 4),), outputs=(spec("y", 4),))

    assert [one.subject for one in breaking(wide, narrow)] == ["input 'x'"]
    assert [one.subject for one in breaking(narrow, wide)] == ["output 'y'"]


TENSORS = st.lists(
    st.builds(
        TensorSpec,
        name=st.sampled_from("abc"),
        datatype=st.sampled_from((Datatype.FP32, Datatype.INT64)),
        shape=st.lists(st.sampled_from((-1, 2, 3)), max_size=3).map(tuple),
        optional=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda item: item.name,
).map(tuple)
SEEN = st.builds(Seen, inputs=TENSORS, outputs=TENSORS, max_batch_rows=st.sampled_from((0, 1, 8)))


@given(SEEN)
def test_nothing_changed_is_no_change(version: Seen) -> None:
    """A version compared with itself has no changes."""
    assert changes(version, version) == ()


@given(SEEN, SEEN)
def test_breaks_stand_first_and_both_ways_differ(one: Seen, other: Seen) -> None:
    """Breaks come first; two versions that differ show changes from both sides."""
    found = changes(one, other)

    assert [item.is_compatible for item in found] == sorted(i.is_compatible for i in found)
    assert bool(found) == bool(changes(other, one))
