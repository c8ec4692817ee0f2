"""Pure: a few cases that together show every kind of thing that a case can show."""

from collections.abc import Hashable, Iterable, Sequence
from math import prod
from typing import Final

import numpy as np

from benchmarks.onnx_conformance.cases import Case, Tensor
from runtimes.datatypes import Datatype

MANY_INPUTS: Final = 8
EXACT_BELOW: Final = 2**53
NEW_IR: Final = 14


def sample(cases: Sequence[Case]) -> list[Case]:
    """Take each case that shows something which none before it did."""
    seen: set[Hashable] = set()
    taken = []
    for case in sorted(cases, key=lambda case: -len(set(_kinds(case)))):
        kinds = set(_kinds(case))
        if kinds - seen:
            taken.append(case)
            seen |= kinds
    return sorted(taken, key=lambda case: case.name)


def _kinds(case: Case) -> Iterable[Hashable]:
    """Whatever may go wrong on a wire, by datatype and direction where that matters."""
    for role, tensors in (("in", case.inputs), ("out", case.outputs)):
        for tensor in tensors:
            yield from ((role, kind) for kind in _tensor_kinds(tensor))
        yield role, "count", min(len(tensors), MANY_INPUTS)
    yield from (("domain", domain) for domain, _ in case.opsets)
    yield "newer", case.ir_version >= NEW_IR
    yield "json", case.is_json


def _tensor_kinds(tensor: Tensor) -> Iterable[Hashable]:
    value, datatype = tensor.value, tensor.datatype
    yield datatype, "scalar" if not value.shape else "empty" if not value.size else "tensor"
    yield "rank", value.ndim
    yield "symbolic", tensor.declared is None or -1 in tensor.declared
    yield "zero", value.shape.count(0) if prod(value.shape) == 0 else 0
    if datatype is Datatype.BYTES:
        yield "no text", b"" in value.ravel().tolist()
        yield "not ASCII", any(not text.isascii() for text in value.ravel())
    elif value.dtype.kind == "f" or datatype is Datatype.BF16:
        yield "not finite", bool((~np.isfinite(value.astype(np.float64))).any())
    elif value.dtype.kind in "iu" and value.size:
        yield "beyond doubles", max(abs(int(value.min())), abs(int(value.max()))) > EXACT_BELOW
