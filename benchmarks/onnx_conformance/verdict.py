"""What the engine alone makes of a case, and how two sets of outputs are compared.

The rule is that of ONNX's own backend tests: the same number of outputs, shapes and datatypes;
text equal; numbers within a relative tolerance of 1e-3 and an absolute one of 1e-7, NaN equal to
NaN. BF16 has a step of 2^-8, so two steps apart is near enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from benchmarks.onnx_conformance.cases import Array, Case, Tensor
from runtimes.contract import TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.onnx_runs import array_of, value_of

RELATIVE: Final = 1e-3
ABSOLUTE: Final = 1e-7
BF16_RELATIVE: Final = 2.0**-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the engine did with a case."""

    refusal: str = ""
    """Why it does not load the model; empty if it does."""
    problem: str = ""
    """Why it does not answer as expected; empty if it does."""
    answer: tuple[Array, ...] = ()


def ask_engine(case: Case) -> Verdict:
    """Load and run a case in this process, on one thread of the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    try:
        session = ort.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  the engine's errors have no base class
        return Verdict(refusal=str(error))
    try:
        answer = _run(session, case)
    except Exception as error:  # noqa: BLE001  as above
        return Verdict(problem=str(error))
    return Verdict(problem=difference(answer, case.outputs), answer=tuple(answer))


def difference(got: Sequence[Array], want: Sequence[Tensor]) -> str:
    """Say how an answer differs from what is expected; empty when it is near enough."""
    if len(got) != len(want):
        return f"{len(got)} outputs, {len(want)} expected"
    for array, tensor in zip(got, want, strict=True):
        expected = DTYPES[tensor.datatype]
        if array.dtype != expected or array.shape != tensor.value.shape:
            return (
                f"output '{tensor.name}': {array.dtype}{list(array.shape)}, expected "
                f"{expected}{list(tensor.value.shape)}"
            )
        if not _is_near(array, tensor):
            return f"output '{tensor.name}': values differ"
    return ""


def same_bits(got: Sequence[Array], want: Sequence[Array]) -> bool:
    """Tell whether the elements of two answers are the same, bit for bit."""
    return len(got) == len(want) and all(
        a.ravel().tolist() == b.ravel().tolist()
        if a.dtype == object
        else a.tobytes() == b.tobytes()
        for a, b in zip(got, want, strict=True)
    )


def _is_near(array: Array, tensor: Tensor) -> bool:
    if tensor.datatype is Datatype.BYTES:
        return bool(array.tolist() == tensor.value.tolist())
    got, want, relative = array, tensor.value, RELATIVE
    if tensor.datatype is Datatype.BF16:
        got, want = got.astype(np.float32), want.astype(np.float32)
        relative = BF16_RELATIVE
    return bool(np.allclose(got, want, rtol=relative, atol=ABSOLUTE, equal_nan=True))


def _run(session: Any, case: Case) -> list[Array]:
    names = [tensor.name for tensor in case.outputs]
    tensors = (*case.inputs, *case.outputs)
    if all(tensor.datatype is not Datatype.BF16 for tensor in tensors):
        feeds = {tensor.name: _text(tensor) for tensor in case.inputs}
        return [_bytes(value) for value in session.run(names, feeds)]
    values = {t.name: value_of(_spec(t), np.ascontiguousarray(t.value)) for t in case.inputs}
    found = session.run_with_ort_values(names, values)
    return [array_of(_spec(t), v) for t, v in zip(case.outputs, found, strict=True)]


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=tensor.value.shape)


def _text(tensor: Tensor) -> Array:
    if tensor.datatype is not Datatype.BYTES:
        return tensor.value
    return np.array([text.decode() for text in tensor.value.ravel()], object).reshape(
        tensor.value.shape
    )


def _bytes(value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "OUS":
        return array
    made = np.empty(array.size, object)
    made[:] = [text if isinstance(text, bytes) else str(text).encode() for text in array.ravel()]
    return made.reshape(array.shape)
