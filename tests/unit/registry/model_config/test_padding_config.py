"""What a model's configuration says of padding."""

import pytest

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.registry.model_config.parsing import parse_config
from serving.registry.policies.padding_policy import PaddingPolicy, PadValue, TensorAxis
from tests.fakes.padded_models import config_text, declared

SEQUENCES = "max_batch_size: 8 sequence_batching { }\n"
RESHAPED = (
    'max_batch_size: 8 input { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] '
    "reshape { shape: [ -1, 1 ] } }\n"
)
ENSEMBLE = (
    'platform: "ensemble" max_batch_size: 8 '
    'input { name: "x" data_type: TYPE_INT64 dims: [ -1 ] } '
    'output { name: "y" data_type: TYPE_INT64 dims: [ -1 ] } '
    'ensemble_scheduling { step { model_name: "a" model_version: -1 '
    'input_map { key: "i" value: "x" } output_map { key: "o" value: "y" } } }\n'
)


def test_buckets_axes_and_values_are_read() -> None:
    """Names may have colons and stand between spaces; nothing of it counts as ignored."""
    parameters = declared(
        "16, 32,128", "a:0:1, mask:2,mask:3", "last_hidden_state:1", pad_values="a:0:-1"
    )
    policy = parse_config(config_text(parameters), model="m").policy

    assert policy.padding == PaddingPolicy(
        buckets=(16, 32, 128),
        padded=(
            TensorAxis(tensor="a:0", axis=1),
            TensorAxis(tensor="mask", axis=2),
            TensorAxis(tensor="mask", axis=3),
        ),
        cut=(TensorAxis(tensor="last_hidden_state", axis=1),),
        values=(PadValue(tensor="a:0", text="-1"),),
    )
    assert policy.ignored == ()


def test_silence_pads_nothing() -> None:
    """A configuration without a word of it has no policy."""
    assert parse_config("", model="m").policy.padding is None


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (declared(buckets=""), "pad_buckets is missing or empty"),
        (declared(axes=""), "pad_axes is missing or empty"),
        (declared(axes=" , "), "pad_axes is missing or empty"),
        ({"pad_values": "x:1"}, "pad_buckets is missing or empty, and there is pad_values"),
        (declared(buckets="32,16"), "pad_buckets is '32,16': lengths from 1"),
        (declared(buckets="16,16"), "pad_buckets is '16,16': lengths from 1"),
        (declared(buckets="0,16"), "pad_buckets is '0,16': lengths from 1"),
        (declared(buckets="16,"), "pad_buckets is '16,': lengths from 1"),
        (declared(buckets="many"), "pad_buckets is 'many': lengths from 1"),
        (declared(axes="input_ids:0"), "pad_axes has 'input_ids:0': axis 0 is the batch"),
        (declared(axes="input_ids:x"), "pad_axes has 'input_ids:x': no axis"),
        (declared(axes="input_ids"), "pad_axes has 'input_ids': a tensor's name, a colon"),
        (declared(axes="a:1,a:1"), "pad_axes has 'a:1' twice"),
        (declared(cut="y:0"), "cut_axes has 'y:0': axis 0 is the batch"),
        (declared(pad_values="other:1"), "pad_values names 'other', which pad_axes does not"),
        (declared(pad_values="input_ids:1,input_ids:2"), "pad_values names 'input_ids' twice"),
    ],
)
def test_what_says_nothing_clear_is_refused(parameters: dict[str, str], says: str) -> None:
    """The error names the parameter and what came."""
    with pytest.raises(InvalidArgumentError) as caught:
        parse_config(config_text(parameters), model="m")
    assert f"parameters: {says}" in caught.value.message


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (SEQUENCES, "pad_buckets: steps of sequences are not padded"),
        (ENSEMBLE, "pad_buckets: an ensemble runs nothing itself"),
        (RESHAPED, "pad_axes names 'input_ids', which has a reshape"),
    ],
)
def test_where_nothing_can_be_padded_it_is_refused(more: str, says: str) -> None:
    """Sequences, ensembles, and tensors whose axes are others in the model."""
    with pytest.raises(UnsupportedError) as caught:
        parse_config(config_text(declared(), more), model="m")
    assert says in caught.value.message
