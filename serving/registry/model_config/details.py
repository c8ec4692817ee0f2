"""Fields of a model configuration that stand for themselves: reshapes, labels, warm-up, engine."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from protos.generated import model_config_pb2 as pb
from runtimes.datatypes import Datatype
from runtimes.engine_options import DEFAULT_OPTIONS, EngineOptions, GraphLevel
from runtimes.errors import InvalidArgumentError
from runtimes.reshape import Reshape, require_equal_sizes
from serving.ids import natural
from serving.registry.version import LabelFile, WarmupInput, WarmupSample

MAX_WARMUP_RUNS: Final = 10_000
MAX_WARMUPS: Final = 256
MAX_THREADS: Final = 1024
IMAGE_RANK: Final = 3
GRAPH_LEVELS: Final[dict[int, GraphLevel]] = {0: "all", -1: "basic", 1: "extended", 2: "none"}
SWITCHES: Final = {"0": False, "1": True, "false": False, "true": True}


def datatype_of(kind: pb.DataType, role: str, name: str) -> Datatype:
    """Return the datatype that a configuration names.

    Raises:
        InvalidArgumentError: It names none.
    """
    word = pb.DataType.Name(kind).removeprefix("TYPE_")
    if word == "INVALID":
        raise InvalidArgumentError(
            f"{role} '{name[:80]}' needs a data_type, as in data_type: TYPE_FP32"
        )
    return Datatype.BYTES if word == "STRING" else Datatype(word)


def reshapes_of(tensors: Sequence[pb.ModelInput] | Sequence[pb.ModelOutput]) -> tuple[Reshape, ...]:
    """Read which tensors the model itself has in another shape.

    Raises:
        InvalidArgumentError: The two shapes of one cannot hold the same elements.
    """
    found = tuple(
        Reshape(name=tensor.name, dims=tuple(tensor.dims), shape=tuple(tensor.reshape.shape))
        for tensor in tensors
        if tensor.HasField("reshape")
    )
    for one in found:
        if any(dim == 0 or dim < -1 for dim in one.shape):
            raise InvalidArgumentError(
                f"tensor '{one.name[:80]}' has reshape {list(one.shape)}: positive sizes, or -1 "
                "for free ones, are expected"
            )
        require_equal_sizes(one)
    return found


def check_image_formats(inputs: Sequence[pb.ModelInput]) -> None:
    """Refuse an image format for what cannot be an image; the format itself changes nothing.

    Raises:
        InvalidArgumentError: Such an input has not three dims.
    """
    for tensor in inputs:
        if tensor.format and len(tensor.dims) != IMAGE_RANK:
            kind = pb.ModelInput.Format.Name(tensor.format)
            raise InvalidArgumentError(
                f"input '{tensor.name[:80]}' has format {kind} and dims {list(tensor.dims)}: an "
                "image has three dims; correct them, or leave format out"
            )


def labels_of(outputs: Sequence[pb.ModelOutput]) -> tuple[LabelFile, ...]:
    """Read which outputs have class names.

    Raises:
        InvalidArgumentError: A file lies outside the model's folder.
    """
    return tuple(
        LabelFile(output=one.name, file=inner_path(one.label_filename, "label_filename"))
        for one in outputs
        if one.label_filename
    )


def warmups_of(message: pb.ModelConfig) -> tuple[WarmupSample, ...]:
    """Read the calls to make at load.

    Raises:
        InvalidArgumentError: A sample cannot be made.
    """
    if len(message.model_warmup) > MAX_WARMUPS:
        raise InvalidArgumentError(
            f"model_warmup has {len(message.model_warmup)} samples: at most {MAX_WARMUPS} are run"
        )
    return tuple(_warmup(sample) for sample in message.model_warmup)


def options_of(message: pb.ModelConfig) -> EngineOptions:
    """Read the engine's options, by the names that Triton's ONNX Runtime backend gives them.

    Raises:
        InvalidArgumentError: A value is none of those that exist.
    """
    level = message.optimization.graph.level
    if level not in GRAPH_LEVELS:
        raise InvalidArgumentError(
            f"optimization: graph level is {level}: -1 (basic), 1 (extended), 2 (none) or 0 (all) "
            "is expected"
        )
    usual = DEFAULT_OPTIONS
    return EngineOptions(
        graph_level=GRAPH_LEVELS[level],
        runs_parallel=switch_parameter(message, "execution_mode", is_on=usual.runs_parallel),
        inter_op_threads=count_parameter(
            message, "inter_op_thread_count", MAX_THREADS, usual.inter_op_threads
        ),
        uses_arena=switch_parameter(message, "enable_mem_arena", is_on=usual.uses_arena),
        plans_memory=switch_parameter(message, "enable_mem_pattern", is_on=usual.plans_memory),
        cuda_graphs=message.optimization.cuda.graphs,
    )


def count_parameter(message: pb.ModelConfig, name: str, most: int, default: int = 0) -> int:
    """Read a number out of the parameters.

    Raises:
        InvalidArgumentError: It is none, or too large.
    """
    if name not in message.parameters:
        return default
    text = message.parameters[name].string_value.strip()
    number = natural(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= most:
        raise InvalidArgumentError(
            f"parameters: {name} is '{text[:40]}': a number from 0 (automatic) to {most} is "
            "expected"
        )
    return number


def switch_parameter(message: pb.ModelConfig, name: str, *, is_on: bool) -> bool:
    """Read a switch out of the parameters.

    Raises:
        InvalidArgumentError: It is neither 0 nor 1.
    """
    if name not in message.parameters:
        return is_on
    text = message.parameters[name].string_value.strip().lower()
    if text not in SWITCHES:
        raise InvalidArgumentError(f"parameters: {name} is '{text[:40]}': 0 or 1 is expected")
    return SWITCHES[text]


def _warmup(sample: pb.ModelWarmup) -> WarmupSample:
    name = sample.name or "(unnamed)"
    if sample.count > MAX_WARMUP_RUNS:
        raise InvalidArgumentError(
            f"model_warmup '{name[:80]}': count is {sample.count}: at most {MAX_WARMUP_RUNS}"
        )
    return WarmupSample(
        name=name,
        rows=sample.batch_size or 1,
        run_count=sample.count or 1,
        inputs=tuple(_warmup_inputs(sample, name)),
    )


def _warmup_inputs(sample: pb.ModelWarmup, name: str) -> Iterator[WarmupInput]:
    for tensor in sorted(sample.inputs):
        given = sample.inputs[tensor]
        if any(dim < 0 for dim in given.dims):
            raise InvalidArgumentError(
                f"model_warmup '{name[:80]}': input '{tensor[:80]}' has dims {list(given.dims)}: "
                "sizes are expected, free ones too"
            )
        choice = given.WhichOneof("input_data_type")
        if choice is None:
            raise InvalidArgumentError(
                f"model_warmup '{name[:80]}': input '{tensor[:80]}' has no data: write zero_data: "
                "true, random_data: true or input_data_file"
            )
        file = given.input_data_file if choice == "input_data_file" else ""
        yield WarmupInput(
            name=tensor,
            datatype=datatype_of(given.data_type, f"model_warmup '{name[:80]}': input", tensor),
            shape=tuple(given.dims),
            source="file" if file else "random" if choice == "random_data" else "zeros",
            file=inner_path(file, "input_data_file") if file else "",
        )


def inner_path(path: str, field: str) -> str:
    """Return a path that stays in the model's folder.

    Raises:
        InvalidArgumentError: It does not.
    """
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\\" in path or "\0" in path or not parts:
        raise InvalidArgumentError(
            f"{field} '{path[:80]}' must be the path of a file inside the model's folder"
        )
    return path
