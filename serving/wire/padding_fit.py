"""Pure: what a configuration says of padding, brought together with a model's tensors."""

import math
from collections.abc import Sequence

import numpy as np

from runtimes.contract import TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import ModelLoadError
from serving.registry.bundles.compatibility import Interface
from serving.registry.policies.padding_policy import (
    AXES,
    BUCKETS,
    CUT_AXES,
    VALUES,
    PaddingPolicy,
    TensorAxis,
)
from serving.wire.padding import CutOutput, PaddedInput, Padding
from serving.wire.tensors import shape_text

BOOLS = {"0": 0, "1": 1, "false": 0, "true": 1}


def fit_padding(policy: PaddingPolicy | None, model: Interface) -> Padding | None:
    """Bind a policy to a model's tensors; None: nothing is padded.

    Args:
        policy: What the configuration says.
        model: The model, as calls see it.

    Raises:
        ModelLoadError: It does not fit them; the message names parameter, tensor and remedy.
    """
    if policy is None:
        return None
    if model.max_batch_rows < 1:
        raise ModelLoadError(
            f"parameters: {BUCKETS} pads calls that run together, and max_batch_size is "
            f"{model.max_batch_rows}: the model has no batch dimension; set max_batch_size if its "
            "calls may be joined, or leave padding out"
        )
    padded = _by_tensor(AXES, "input", policy.padded, model.inputs)
    cut = _by_tensor(CUT_AXES, "output", policy.cut, model.outputs)
    texts = {one.tensor: one.text for one in policy.values}
    return Padding(
        buckets=policy.buckets,
        inputs=tuple(
            PaddedInput(
                place=place,
                name=spec.name,
                axes=padded[spec.name],
                value=_value(spec, texts.get(spec.name, "0")),
            )
            for place, spec in enumerate(model.inputs)
            if spec.name in padded
        ),
        outputs=tuple(_output(spec, cut.get(spec.name, ())) for spec in model.outputs),
    )


def _by_tensor(
    parameter: str, role: str, axes: Sequence[TensorAxis], specs: Sequence[TensorSpec]
) -> dict[str, tuple[int, ...]]:
    """Return the axes of each tensor that is named."""
    known = {spec.name: spec for spec in specs}
    found: dict[str, tuple[int, ...]] = {}
    for one in axes:
        spec = known.get(one.tensor)
        if spec is None:
            raise ModelLoadError(
                f"parameters: {parameter} names {role} '{one.tensor[:80]}', which the model does "
                f"not have; its {role}s are {', '.join(known)}: correct the name"
            )
        _check_axis(parameter, role, one, spec)
        found[one.tensor] = (*found.get(one.tensor, ()), one.axis)
    return found


def _check_axis(parameter: str, role: str, one: TensorAxis, spec: TensorSpec) -> None:
    where = f"parameters: {parameter} has '{one.tensor[:80]}:{one.axis}', and {role}"
    if one.axis >= len(spec.shape):
        raise ModelLoadError(
            f"{where} '{spec.name}' has shape {shape_text(spec.shape)}: axes from 1 to "
            f"{len(spec.shape) - 1} are expected; 0 is the batch"
        )
    if spec.shape[one.axis] != -1:
        raise ModelLoadError(
            f"{where} '{spec.name}' has shape {shape_text(spec.shape)}: its axis {one.axis} is "
            f"fixed at {spec.shape[one.axis]}, and only a free one (-1) has a length"
        )
    if role == "input" and spec.datatype is Datatype.BYTES:
        raise ModelLoadError(f"{where} '{spec.name}' is BYTES: texts are not padded")


def _output(spec: TensorSpec, axes: tuple[int, ...]) -> CutOutput:
    """Refuse an output of which nobody knows how it follows the length."""
    for axis, size in enumerate(spec.shape):
        if axis and size == -1 and axis not in axes:
            raise ModelLoadError(
                f"parameters: {CUT_AXES} does not have '{spec.name}:{axis}', and output "
                f"'{spec.name}' has shape {shape_text(spec.shape)}: add it if its size is a call's "
                "length, else write its size into the dims of the configuration"
            )
    return CutOutput(name=spec.name, axes=axes, shape=spec.shape)


def _value(spec: TensorSpec, text: str) -> float:
    value = _read(spec.datatype, text)
    if value is None:
        raise ModelLoadError(
            f"parameters: {VALUES} has '{spec.name}:{text[:40]}', and input '{spec.name}' is "
            f"{spec.datatype}: a value of that datatype is expected"
        )
    return value


def _read(datatype: Datatype, text: str) -> float | None:
    """Return a value of a datatype; None: it is none."""
    if datatype is Datatype.BOOL:
        return BOOLS.get(text.lower())
    dtype = DTYPES[datatype]
    try:
        if dtype.kind in "iu":
            limits, whole = np.iinfo(dtype), int(text)
            return whole if limits.min <= whole <= limits.max else None
        value = float(text)
    except ValueError:
        return None
    with np.errstate(over="ignore"):
        is_kept = math.isinf(value) or bool(np.isfinite(np.asarray(value).astype(dtype)))
    return value if is_kept else None
