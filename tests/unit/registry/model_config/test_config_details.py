"""Reshapes, labels, warm-up samples and engine options out of a configuration."""

import pytest

from runtimes.datatypes import Datatype
from runtimes.engine_options import EngineOptions
from runtimes.errors import InvalidArgumentError, UnsupportedError
from runtimes.reshape import Reshape
from serving.registry.model_config.parsing import parse_config
from serving.registry.version import LabelFile, ServingPolicy, WarmupInput, WarmupSample

WARMUP = """
model_warmup {
  name: "two rows" batch_size: 2 count: 3
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 16 ] random_data: true } }
  inputs { key: "t" value { data_type: TYPE_STRING dims: [ 1 ] input_data_file: "t.bin" } }
}
model_warmup { inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 16 ] zero_data: true } } }
"""


def parameter(name: str, value: int) -> str:
    """Write a parameter."""
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }} '


def policy(text: str) -> ServingPolicy:
    """Parse a configuration."""
    return parse_config(text, model="m").policy


def test_a_reshape_is_read_beside_the_dims() -> None:
    """Dims stay what callers see; the reshape is the model's own shape, which may be empty."""
    found = policy(
        "max_batch_size: 4 input { name: 'x' data_type: TYPE_FP32 dims: [ 1 ] reshape {} } "
        "output { name: 'y' data_type: TYPE_FP32 dims: [ -1, 2 ] reshape { shape: [ -1, 1, 2 ] } }"
    )

    assert found.inputs[0].shape == (1,)
    assert found.input_reshapes == (Reshape(name="x", dims=(1,), shape=()),)
    assert found.output_reshapes == (Reshape(name="y", dims=(-1, 2), shape=(-1, 1, 2)),)


def test_label_files_are_read() -> None:
    """An output's class names are a file of the model's folder."""
    text = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "l/y.txt" }'

    assert policy(text).labels == (LabelFile(output="y", file="l/y.txt"),)


def test_warmup_samples_are_read() -> None:
    """Batch size and count are 1 where they are not said, as they are for Triton."""
    text = WarmupInput(name="t", datatype=Datatype.BYTES, shape=(1,), source="file", file="t.bin")
    made = WarmupInput(name="x", datatype=Datatype.FP32, shape=(16,), source="random")
    zeros = WarmupInput(name="x", datatype=Datatype.FP32, shape=(16,))

    assert policy(WARMUP).warmups == (
        WarmupSample(name="two rows", rows=2, run_count=3, inputs=(text, made)),
        WarmupSample(name="(unnamed)", rows=1, run_count=1, inputs=(zeros,)),
    )


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", EngineOptions()),
        ("optimization { graph { level: -1 } }", EngineOptions(graph_level="basic")),
        ("optimization { graph { level: 1 } }", EngineOptions(graph_level="extended")),
        ("optimization { graph { level: 2 } }", EngineOptions(graph_level="none")),
        ("optimization { cuda { graphs: true } }", EngineOptions(cuda_graphs=True)),
        (
            parameter("execution_mode", 1) + parameter("inter_op_thread_count", 2),
            EngineOptions(runs_parallel=True, inter_op_threads=2),
        ),
        (
            parameter("enable_mem_arena", 0) + parameter("enable_mem_pattern", 1),
            EngineOptions(uses_arena=False, plans_memory=True),
        ),
    ],
)
def test_engine_options_have_the_names_of_triton(text: str, options: EngineOptions) -> None:
    """The graph level and the ONNX Runtime backend's parameters reach the engine."""
    assert policy(text).options == options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "input { name: 'x' data_type: 1 dims: [ 3 ] reshape { shape: [ 2 ] } }",
            "do not hold the same elements",
        ),
        ("input { name: 'x' data_type: 1 dims: [ 1 ] reshape { shape: [ 0 ] } }", "reshape [0]"),
        ("input { name: 'x' data_type: 1 dims: [ 4 ] format: FORMAT_NCHW }", "three dims"),
        ("output { name: 'y' data_type: 1 label_filename: '../y' }", "inside the model's folder"),
        ("output { name: 'y' data_type: 1 label_filename: '/etc/x' }", "inside the model's folder"),
        ("model_warmup { inputs { key: 'x' value { dims: [ 1 ] zero_data: true } } }", "data_type"),
        ("model_warmup { inputs { key: 'x' value { data_type: 1 } } }", "has no data"),
        (
            "model_warmup { inputs { key: 'x' value { data_type: 1 dims: -1 zero_data: true } } }",
            "sizes are expected",
        ),
        (
            "model_warmup { inputs { key: 'x' value { data_type: 1 input_data_file: '../x' } } }",
            "inside the model's folder",
        ),
        ("model_warmup { count: 4000000000 }", "at most 10000"),
        ("optimization { graph { level: 7 } }", "graph level is 7"),
        ("parameters { key: 'execution_mode' value { string_value: 'x' } }", "0 or 1"),
    ],
)
def test_what_cannot_be_done_is_said(text: str, words: str) -> None:
    """A wrong detail is refused with its name and what is expected."""
    with pytest.raises(InvalidArgumentError) as caught:
        policy(text)

    assert words in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "optimization { execution_accelerators { cpu_execution_accelerator { name: 'o' } } }",
        "runtime: 'model.py'",
    ],
)
def test_other_engines_are_refused(text: str) -> None:
    """What asks for an engine that is not here is refused by the field's name."""
    with pytest.raises(UnsupportedError, match=r"leave (them|runtime) out"):
        policy(text)


def test_files_by_gpu_are_for_gpus() -> None:
    """On the CPU the default file is served, as Triton does; on GPUs they are refused by name."""
    text = "cc_model_filenames { key: '9.0' value: 'hopper.onnx' }"

    assert policy(text).ignored == ()
    with pytest.raises(UnsupportedError, match="cc_model_filenames"):
        parse_config(text, model="m", gpu=True)


def test_what_nothing_acts_on_is_listed() -> None:
    """Every field without effect is named, and none that acts."""
    found = policy(
        WARMUP + "optimization { graph { level: 1 } priority: PRIORITY_MAX cuda { graphs: true "
        "busy_wait_events: true } } metric_tags { key: 'a' "
        "value: 'b' } parameters { key: 'x' value { string_value: 'y' } } "
        "instance_group { host_policy: 'h' gpus: [ 0, 1 ] }"
    )

    assert found.ignored == (
        "metric_tags",
        "optimization priority",
        "optimization cuda busy_wait_events",
        "parameters x",
        "instance_group host_policy",
        "instance_group gpus (which of them: their number counts)",
    )
