"""Tensors whose shape on the wire is another than the model's own (Triton's `reshape`).

`dims` is what callers send and see, `shape` what the model takes and gives, both without the batch
dimension. The model is wrapped once at load; everything above it sees `dims` only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final

from runtimes.contract import Array, LoadedModel, Looping, Noted, Placed, TensorSpec
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError

FREE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape:
    """One tensor's two shapes. They hold equally many elements (`require_equal_sizes`)."""

    name: str
    dims: tuple[int, ...]
    shape: tuple[int, ...]


def require_equal_sizes(reshape: Reshape) -> None:
    """Refuse two shapes that cannot always hold the same elements.

    Free dimensions stand for each other in order, and what lies between two of them must be
    equally large in both: [2, 4, -1, 6] may become [8, -1, 1, 6].

    Raises:
        InvalidArgumentError: They differ.
    """
    if _trunks(reshape.dims) != _trunks(reshape.shape):
        raise InvalidArgumentError(
            f"tensor '{reshape.name[:80]}': dims {list(reshape.dims)} and reshape "
            f"{list(reshape.shape)} do not hold the same elements: make the sizes between free "
            "dimensions equal"
        )


def with_model_shapes(
    specs: Sequence[TensorSpec], reshapes: Sequence[Reshape]
) -> tuple[TensorSpec, ...]:
    """Return configured specs (without the batch) with the shapes that the model itself has."""
    shapes = {item.name: item.shape for item in reshapes}
    return tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in specs)


def with_wire_shapes(
    specs: Sequence[TensorSpec], reshapes: Sequence[Reshape]
) -> tuple[TensorSpec, ...]:
    """Return a model's full specs with the shapes that callers see.

    Raises:
        ModelLoadError: The model's own shape is not the one that the configuration names.
    """
    known = {item.name: item for item in reshapes}
    return tuple(_wire_spec(spec, known.get(spec.name)) for spec in specs)


def reshaped(
    model: LoadedModel, inputs: Sequence[Reshape], outputs: Sequence[Reshape]
) -> LoadedModel:
    """Return the model as callers see it; the same object where nothing is reshaped.

    Raises:
        ModelLoadError: The model's own shape is not the one that the configuration names.
    """
    if not inputs and not outputs:
        return model
    try:
        return _ReshapedModel(model, inputs, outputs)
    except ModelLoadError:
        model.close()
        raise


class _ReshapedModel:
    """A loaded model between two reshapes."""

    def __init__(
        self, model: LoadedModel, inputs: Sequence[Reshape], outputs: Sequence[Reshape]
    ) -> None:
        self._model = model
        self.inputs = with_wire_shapes(model.inputs, inputs)
        self.outputs = with_wire_shapes(model.outputs, outputs)
        self.notes = model.notes if isinstance(model, Noted) else ()
        self.has_loops = isinstance(model, Looping) and model.has_loops
        if isinstance(model, Placed):
            self.device, self.findings = model.device, model.findings
        self._fed = _targets(model.inputs, inputs)
        self._given = _targets(model.outputs, outputs)

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        fed = [
            array if item is None or array is None else _moved(array, item.dims, item.shape)
            for array, item in zip(feeds, self._fed, strict=True)
        ]
        return [
            array if item is None else _given_back(array, item)
            for array, item in zip(self._model.run(fed), self._given, strict=True)
        ]

    def close(self) -> None:
        self._model.close()


def _targets(specs: Sequence[TensorSpec], reshapes: Sequence[Reshape]) -> list[Reshape | None]:
    known = {item.name: item for item in reshapes}
    return [known.get(spec.name) for spec in specs]


def _moved(array: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Array:
    """Give an array, with or without a batch dimension, its other shape; no copy."""
    lead = array.ndim - len(before)
    own = array.shape[lead:]
    free = iter([size for size, dim in zip(own, before, strict=True) if dim == FREE])
    inner = [next(free) if dim == FREE else dim for dim in after]
    return array.reshape((*array.shape[:lead], *inner))


def _given_back(array: Array, item: Reshape) -> Array:
    try:
        return _moved(array, item.shape, item.dims)
    except ValueError as error:
        raise EngineError(
            f"output '{item.name}' came with shape {list(array.shape)}, which does not become dims "
            f"{list(item.dims)} from reshape {list(item.shape)}: correct the configuration"
        ) from error


def _wire_spec(spec: TensorSpec, item: Reshape | None) -> TensorSpec:
    if item is None:
        return spec
    if not spec.shape:  # a scalar, or a rank that the model does not state
        return replace(spec, shape=item.dims)
    lead = len(spec.shape) - len(item.shape)
    inner = spec.shape[lead:] if lead in (0, 1) else ()
    fits = lead in (0, 1) and all(
        FREE in (own, told) or own == told for own, told in zip(inner, item.shape, strict=True)
    )
    if not fits:
        raise ModelLoadError(
            f"tensor '{spec.name}': the configuration's reshape says {list(item.shape)}, and the "
            f"model has {list(spec.shape)}: write the model's shape, without the batch dimension, "
            "as reshape"
        )
    return replace(spec, shape=(*spec.shape[:lead], *item.dims))


def _trunks(shape: Sequence[int]) -> list[int]:
    """Return the sizes of what lies between free dimensions."""
    trunks: list[list[int]] = [[]]
    for dim in shape:
        if dim == FREE:
            trunks.append([])
        else:
            trunks[-1].append(dim)
    return [prod(trunk) for trunk in trunks]
