"""Cases as a model repository in Triton's layout, with or without tensors in the configuration."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.onnx_conformance.cases import Case, Tensor
from runtimes.datatypes import Datatype


def write_repository(folder: Path, cases: Iterable[Case], *, lists_tensors: bool = False) -> None:
    """Write `CASE/1/model.onnx` and `CASE/config.pbtxt` for each case.

    No case has a batch dimension. Where the configuration lists the tensors, a scalar has
    `dims: [ 1 ]` and a dimension of 0 is -1, since a configuration can say neither.
    """
    for case in cases:
        version = folder / case.name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(case.model)
        lines = [f'name: "{case.name}"', 'backend: "onnxruntime"', "max_batch_size: 0"]
        if lists_tensors:
            lines += [_entry("input", tensor) for tensor in case.inputs]
            lines += [_entry("output", tensor) for tensor in case.outputs]
        (version.parent / "config.pbtxt").write_text("\n".join(lines) + "\n")


def listed_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape that a configuration lists for a tensor."""
    shape = tensor.value.shape if tensor.declared is None else tensor.declared
    return tuple(size or -1 for size in shape) or (1,)


def as_listed(case: Case) -> Case:
    """Return a case as it travels where the configuration lists its scalars as `dims: [ 1 ]`."""
    return replace(
        case,
        inputs=tuple(_vector(tensor) for tensor in case.inputs),
        outputs=tuple(_vector(tensor) for tensor in case.outputs),
    )


def _vector(tensor: Tensor) -> Tensor:
    is_vector = listed_shape(tensor) == (1,) and not tensor.value.shape
    return replace(tensor, value=tensor.value.reshape(1)) if is_vector else tensor


def _entry(role: str, tensor: Tensor) -> str:
    kind = "STRING" if tensor.datatype is Datatype.BYTES else tensor.datatype.value
    dims = ", ".join(map(str, listed_shape(tensor)))
    return f'{role} [ {{ name: "{tensor.name}" data_type: TYPE_{kind} dims: [ {dims} ] }} ]'
