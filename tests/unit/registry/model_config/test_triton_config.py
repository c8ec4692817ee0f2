"""Configurations: what is read, what is refused, and that nothing else is ever raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError, InvalidArgumentError, UnsupportedError
from serving.registry.model_config.parsing import VersionChoice, parse_config
from serving.registry.version import Isolation, QueuePolicy, ServingPolicy

FULL = """
name: "m"
backend: "onnxruntime"
max_batch_size: 16
input [
  { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "bias" data_type: TYPE_STRING dims: [ 2, 3 ] optional: true }
]
output { name: "y" data_type: TYPE_BF16 dims: [ 4 ] }
dynamic_batching {
  preferred_batch_size: [ 8, 4 ]
  max_queue_delay_microseconds: 500
  default_queue_policy { max_queue_size: 100 default_timeout_microseconds: 2000000 }
}
instance_group { kind: KIND_CPU count: 2 }
parameters { key: "intra_op_thread_count" value { string_value: "3" } }
parameters { key: "isolation" value { string_value: "shared" } }
"""


def test_every_setting_is_read() -> None:
    """A full configuration becomes the policy that it describes, in our units."""
    found = parse_config(FULL, model="m")

    assert found.format == "onnx"
    assert found.policy == ServingPolicy(
        max_batch_rows=16,
        inputs=(
            TensorSpec(name="ids", datatype=Datatype.INT64, shape=(-1,)),
            TensorSpec(name="bias", datatype=Datatype.BYTES, shape=(2, 3), optional=True),
        ),
        outputs=(TensorSpec(name="y", datatype=Datatype.BF16, shape=(4,)),),
        queue=QueuePolicy(
            preferred_batch_rows=(4, 8),
            max_queue_delay_s=0.0005,
            max_queue_rows=0,
            max_queue_calls=100,
            default_timeout_s=2.0,
        ),
        replica_count=2,
        device="cpu",
        threads=3,
        isolation=Isolation.SHARED,
    )


def test_no_text_says_nothing() -> None:
    """Without a configuration the model itself is the authority."""
    assert parse_config("", model="m").policy == ServingPolicy()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        pytest.param("", None, id="absent"),
        pytest.param("max_batch_size: 0", 0, id="explicit-zero"),
        pytest.param("max_batch_size:0", 0, id="no-space"),
        pytest.param("# max_batch_size: 0", None, id="in-a-comment"),
        pytest.param('default_model_filename: "max_batch_size: 0"', None, id="in-a-string"),
        pytest.param("max_batch_size: 7", 7, id="a-number"),
    ],
)
def test_an_explicit_zero_is_told_from_silence(text: str, rows: int | None) -> None:
    """`max_batch_size: 0` forbids batching; leaving it out leaves it to the model."""
    assert parse_config(text, model="m").policy.max_batch_rows == rows


@pytest.mark.parametrize("text", [FULL, "", "max_batch_size: 0", "version_policy { all {} }"])
def test_the_canonical_text_says_the_same(text: str) -> None:
    """Reading the canonical text gives the same configuration, itself included."""
    first = parse_config(text, model="m")

    assert parse_config(first.text, model="m") == first


@pytest.mark.parametrize(
    ("text", "gpu", "device"),
    [
        pytest.param("", False, "cpu", id="unsaid-on-cpu"),
        pytest.param("", True, "cuda", id="unsaid-on-gpu"),
        pytest.param("instance_group {}", True, "cuda", id="auto-on-gpu"),
        pytest.param("instance_group {}", False, "cpu", id="auto-on-cpu"),
        pytest.param("instance_group { kind: KIND_CPU }", True, "cpu", id="cpu-on-gpu"),
        pytest.param("instance_group { kind: KIND_GPU }", False, "cuda", id="gpu-never-silent"),
    ],
)
def test_kind_chooses_the_device(text: str, device: str, *, gpu: bool) -> None:
    """KIND_AUTO and silence follow the node; KIND_GPU never falls back to the CPU."""
    assert parse_config(text, model="m", gpu=gpu).policy.device == device


@pytest.mark.parametrize(
    ("text", "may_use_cpu"),
    [
        pytest.param("", True, id="unsaid"),
        pytest.param("instance_group { kind: KIND_AUTO }", True, id="auto"),
        pytest.param("instance_group { gpus: [ 0 ] }", False, id="a GPU is named"),
        pytest.param("instance_group { kind: KIND_GPU }", False, id="KIND_GPU"),
        pytest.param("instance_group { kind: KIND_CPU }", False, id="KIND_CPU"),
    ],
)
def test_only_a_device_that_was_left_open_may_become_the_cpu(
    text: str,
    may_use_cpu: bool,  # noqa: FBT001  a case
) -> None:
    """On a node with a GPU: who asks for one by name gets it or is refused."""
    assert parse_config(text, model="m", gpu=True).policy.may_use_cpu is may_use_cpu


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        pytest.param("", VersionChoice(latest=1), id="default"),
        pytest.param("version_policy { latest { num_versions: 3 } }", VersionChoice(latest=3)),
        pytest.param("version_policy { latest {} }", VersionChoice(latest=1), id="empty-latest"),
        pytest.param("version_policy { all {} }", VersionChoice(latest=None), id="all"),
        pytest.param(
            "version_policy { specific { versions: [ 4, 2 ] } }",
            VersionChoice(specific=(2, 4)),
            id="specific",
        ),
    ],
)
def test_the_version_policy_is_read(text: str, choice: VersionChoice) -> None:
    """Which versions are served follows the version policy."""
    assert parse_config(text, model="m").versions == choice


@pytest.mark.parametrize(
    ("text", "format_name"),
    [
        ('backend: "onnxruntime"', "onnx"),
        ('platform: "onnxruntime_onnx"', "onnx"),
        ('backend: "pytorch"', "torchscript"),
        ('platform: "pytorch_libtorch"', "torchscript"),
        ('backend: "onnxruntime" platform: "onnxruntime_onnx"', "onnx"),
    ],
)
def test_backend_and_platform_name_the_format(text: str, format_name: str) -> None:
    """Triton's names of backend and platform both choose the format."""
    assert parse_config(text, model="m").format == format_name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('backend: "python"', "backend 'python' is not served: supported are onnxruntime"),
        ('input { name: "x" data_type: TYPE_FP32 allow_ragged_batch: true }', "ragged"),
        ("model_transaction_policy { decoupled: true }", "decoupled"),
        ("instance_group [ { kind: KIND_CPU }, { kind: KIND_GPU } ]", "both CPU and GPU"),
        ('model_operations { op_library_filename: "x.so" }', "native code"),
    ],
)
def test_what_is_not_served_is_refused_by_name(text: str, words: str) -> None:
    """A model that asks for more than Bascule does is refused, not served differently."""
    with pytest.raises(UnsupportedError) as caught:
        parse_config(text, model="m", source="m/config.pbtxt")

    assert caught.value.message.startswith("m/config.pbtxt")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name: "n"', "its name is 'n' and the model's is 'm'"),
        ("\n\nmax_batch: 3", "line 3"),
        ("input { name: 'x' ", "Expected"),
        ("max_batch_size: -1", "max_batch_size is -1"),
        ("max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }", "between 1 and"),
        ("input { data_type: TYPE_FP32 }", "no name"),
        ("input { name: 'x' }", "needs a data_type"),
        ("input { name: 'x' data_type: TYPE_FP32 dims: [ 0 ] }", "0 in dims"),
        ("instance_group { count: 1000 }", "1 to 256"),
        ("default_model_filename: '../x'", "name of a file"),
        ("parameters { key: 'intra_op_thread_count' value { string_value: 'a' } }", "a number"),
        (
            "parameters { key: 'intra_op_thread_count' value { string_value: '0000000004096' } }",
            "a number from 0 (automatic) to 1024",
        ),
        ("parameters { key: 'isolation' value { string_value: 'x' } }", "auto, dedicated"),
        ("input { name: 'x' data_type: 1 } input { name: 'x' data_type: 1 }", "twice"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    """A wrong configuration is refused with the file and what was wrong in it."""
    with pytest.raises(InvalidArgumentError) as caught:
        parse_config(text, model="m", source="m/config.pbtxt")

    assert caught.value.message.startswith("m/config.pbtxt")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("input { name: 'x' data_type: 99 dims: [ 1 ] }", "data_type"),
        ("input { name: 'x' data_type: TYPE_FP32 dims: [ 1, 2, 3 ] format: 9 }", "format"),
        ("instance_group { kind: 7 }", "kind"),
        (
            "model_warmup { inputs { key: 'x' value { data_type: 99 zero_data: true } } }",
            "data_type",
        ),
        ("sequence_batching { control_input { name: 'a' control { kind: 9 } } }", "kind"),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value { timeout_action: 5 } } }",
            "time",
        ),
    ],
)
def test_a_number_that_stands_for_nothing_is_refused(text: str, field: str) -> None:
    """Protobuf's text lets it pass, wherever it stands."""
    with pytest.raises(InvalidArgumentError, match=rf"{field}\w* is \d+, which stands for nothing"):
        parse_config(text, model="m")


WORDS = st.sampled_from(
    ["name", "input", "max_batch_size", "dims", ":", "{", "}", "[", "]", "'", '"', "-1", "#", "\n"]
)


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=30).map(" ".join)))
def test_no_text_raises_outside_the_tree(text: str) -> None:
    """Any text at all is either read or refused with one of our errors."""
    try:
        parse_config(text, model="m")
    except BasculeError as error:
        assert error.message  # noqa: PT017  any of two classes, or none


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batchsize: 8", 'named "max_batchsize"; did you mean max_batch_size?'),
        ('input { nam: "x" }', 'named "nam"; did you mean name?'),
        ("nothing_like_it: 1", 'no field named "nothing_like_it".'),
    ],
)
def test_a_field_that_is_spelt_wrongly_is_told_the_right_one(text: str, words: str) -> None:
    """The nearest field of that message, if one is near."""
    with pytest.raises(InvalidArgumentError) as refused:
        parse_config(text, model="m")

    assert refused.value.message.endswith(words)
