"""Triton's ensemble_scheduling: what is read of it, and which steps can never work together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.registry.ensemble import LATEST, EnsembleStep, TensorLink, in_order, require_whole
from serving.registry.model_config.parsing import ModelConfiguration, parse_config
from tests.fakes.ensembles import step

TENSORS = """
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 2 ] }
"""


def text(*steps: str) -> str:
    """An ensemble's configuration."""
    return TENSORS + "ensemble_scheduling {" + "".join(f"step {{ {one} }}" for one in steps) + "}"


def one(model: str, read: str, write: str, more: str = "") -> str:
    """A step that reads one tensor and writes one."""
    return (
        f'model_name: "{model}" input_map {{ key: "i" value: "{read}" }} '
        f'output_map {{ key: "o" value: "{write}" }} {more}'
    )


def parse(config: str) -> ModelConfiguration:
    """Read a configuration of the model `e`."""
    return parse_config(config, model="e")


def test_steps_are_read() -> None:
    """Models, versions and maps; a version that is not said is the latest."""
    found = parse(text(one("a", "x", "h"), one("b", "h", "y", "model_version: 3")))
    assert found.format == "ensemble"
    assert found.policy.ensemble == (
        step("a", {"i": "x"}, {"o": "h"}),
        step("b", {"i": "h"}, {"o": "y"}, version=3),
    )
    assert parse(found.text).policy == found.policy


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (text(), "ensemble_scheduling has no step"),
        ('platform: "ensemble"', "platform 'ensemble' needs ensemble_scheduling"),
        (text(one("a", "x", "y")) + 'backend: "onnxruntime"', "an ensemble has no backend"),
        (text(one("a", "x", "y")).replace(TENSORS, ""), "must list its inputs and outputs"),
        (text(one("a", "x", "y")) + "instance_group { count: 2 }", "instance_group is not for"),
        (text(one("", "x", "y")), "step 1 names no model"),
        (text(one("e", "x", "y")), "step 1 is the ensemble itself"),
        (text(one("a", "x", "y", "model_version: -2")), "step 1 has model_version -2"),
        (text(one("a", "x", "y", 'model_namespace: "n"')), "model_namespace"),
        (text('model_name: "a" input_map { key: "i" value: "x" }'), "has no output_map"),
        (text(one("a", "x", "h"), one("b", "h", "z")), "output 'y' is written by no step"),
        (text(one("a", "q", "y")), "step 1 (model 'a') reads tensor 'q', which no step writes"),
        (
            text(one("a", "x", "y"), one("b", "x", "y")),
            "tensor 'y' is written by step 1 (model 'a') and by step 2 (model 'b')",
        ),
        (text(one("a", "x", "x")), "tensor 'x' is written by the caller and by step 1"),
        (
            text(one("a", "h", "y"), one("b", "y", "h"), one("c", "x", "z")),
            "wait for each other in a circle and none of them can begin: step 1 (model 'a'), step",
        ),
    ],
)
def test_what_cannot_work_is_refused(config: str, words: str) -> None:
    """The message names the step, the tensor and what is wrong."""
    with pytest.raises(BasculeError) as caught:
        parse(config)
    assert words in caught.value.message


def test_an_input_that_nobody_reads_is_refused() -> None:
    """It would be asked of every caller for nothing."""
    with pytest.raises(InvalidArgumentError, match="input 'z' is read by no step"):
        require_whole([step("a", {"i": "x"}, {"o": "y"})], ["x", "z"], ["y"])


@st.composite
def chains(draw: st.DrawFn) -> list[EnsembleStep]:
    """Steps of which each reads what earlier ones write, in any order of writing them down."""
    count = draw(st.integers(1, 8))
    steps = []
    for number in range(count):
        earlier = ["x", *(f"t{n}" for n in range(number))]
        read = draw(st.lists(st.sampled_from(earlier), min_size=1, max_size=3, unique=True))
        steps.append(
            step(f"m{number}", {f"i{n}": name for n, name in enumerate(read)}, {"o": f"t{number}"})
        )
    steps[0] = step("m0", {"i0": "x"}, {"o": "t0"})
    return draw(st.permutations(steps))


@given(chains())
def test_whatever_the_order_of_writing_each_step_comes_after_what_it_reads(
    steps: list[EnsembleStep],
) -> None:
    """Any directed graph without a circle is whole, and every step has its turn once."""
    require_whole(steps, ["x"], [f"t{len(steps) - 1}"])
    order = list(in_order(steps, ["x"]))
    assert sorted(order) == list(range(len(steps)))
    known = {"x"}
    for at in order:
        assert {link.shared for link in steps[at].inputs} <= known
        known |= {link.shared for link in steps[at].outputs}


@given(chains(), st.data())
def test_one_link_backwards_makes_a_circle(steps: list[EnsembleStep], data: st.DataObject) -> None:
    """A step that reads what itself, or a reader of it, writes can never begin."""
    at = data.draw(st.integers(0, len(steps) - 1))
    own = steps[at].outputs[0].shared
    steps[at] = EnsembleStep(
        model=steps[at].model,
        version=LATEST,
        inputs=(*steps[at].inputs, TensorLink(own="back", shared=own)),
        outputs=steps[at].outputs,
    )
    with pytest.raises(InvalidArgumentError, match="in a circle"):
        require_whole(steps, ["x"], [own])
