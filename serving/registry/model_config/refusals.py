"""What of a model configuration is refused, because Bascule would serve it differently."""

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from protos.generated import model_config_pb2 as pb
from runtimes.errors import InvalidArgumentError, UnsupportedError

# Fields whose meaning Bascule cannot honour: a model that sets one is refused, with the reason.
UNSERVED_FIELDS: Final = {
    "batch_input": "generated batch inputs are not served",
    "batch_output": "batch outputs are not served",
    "model_operations": "custom operator libraries are native code and are not loaded",
    "model_repository_agents": "repository agents are not run",
}
UNSERVED_TENSOR_FIELDS: Final = {
    "allow_ragged_batch": "ragged batches are not served: pad the rows",
    "is_shape_tensor": "shape tensors are not served",
    "is_non_linear_format_io": "non-linear tensor formats are not served",
}
KNOWN_RUNTIMES: Final = frozenset({"libtriton_onnxruntime.so", "libtriton_pytorch.so"})
"""Triton's own libraries for the backends that are served: naming one asks for nothing else."""
ACCELERATORS: Final = (
    "execution_accelerators (TensorRT, OpenVINO, options of the CUDA provider) are not served: "
    "leave them out; what CUDA may do is said by a hardware profile"
)


def refuse_unserved(message: pb.ModelConfig) -> None:
    """Refuse what would be served differently from what was asked.

    Raises:
        UnsupportedError: The configuration sets such a field; the message names it and the remedy.
        InvalidArgumentError: A number in it stands for no word.
    """
    _refuse_unknown_words(message)
    for field, _ in message.ListFields():
        if field.name in UNSERVED_FIELDS:
            raise UnsupportedError(f"{field.name}: {UNSERVED_FIELDS[field.name]}")
    if message.model_transaction_policy.decoupled:
        raise UnsupportedError(
            "model_transaction_policy: decoupled models are not served: ONNX Runtime and "
            "TorchScript give one answer a call; take decoupled out if this model does, too"
        )
    _refuse_engines(message)
    tensors: Iterable[pb.ModelInput | pb.ModelOutput] = (*message.input, *message.output)
    for tensor in tensors:
        for field, _ in tensor.ListFields():
            if field.name in UNSERVED_TENSOR_FIELDS:
                reason = UNSERVED_TENSOR_FIELDS[field.name]
                raise UnsupportedError(f"tensor '{tensor.name[:80]}': {reason}")


def refuse_files_by_gpu(message: pb.ModelConfig) -> None:
    """Refuse, for a model on GPUs, one file for each compute capability.

    On the CPU the default file is the one to serve, for Triton as well.

    Raises:
        UnsupportedError: There are such files.
    """
    if message.cc_model_filenames:
        raise UnsupportedError(
            "cc_model_filenames: files by compute capability are not served on GPUs: name one file "
            "as default_model_filename"
        )


def _refuse_engines(message: pb.ModelConfig) -> None:
    if message.optimization.HasField("execution_accelerators"):
        raise UnsupportedError(f"optimization: {ACCELERATORS}")
    if message.runtime and message.runtime not in KNOWN_RUNTIMES:
        raise UnsupportedError(
            f"runtime '{message.runtime[:60]}' is not served: leave runtime out, and name the "
            "backend"
        )


def _refuse_unknown_words(message: pb.ModelConfig) -> None:
    """Refuse numbers that stand for no word: protobuf's text may have any, and keeps them."""
    for field, number, words in _numbers(message):
        if number not in words.values_by_number:
            raise InvalidArgumentError(
                f"{field} is {number}, which stands for nothing: one of "
                f"{', '.join(words.values_by_name)[:400]} is expected"
            )


def _numbers(message: Message) -> Iterator[tuple[str, int, EnumDescriptor]]:
    """Yield the numbers that stand for words, of a message and of all that is in it."""
    for field, value in message.ListFields():
        kind, each = field, value if field.is_repeated else [value]
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            kind, each = entry.fields_by_name["value"], value.values()
        if kind.enum_type is not None:
            for number in each:
                yield field.name, number, kind.enum_type
        elif kind.message_type is not None:
            for part in each:
                yield from _numbers(part)
