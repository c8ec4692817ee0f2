"""Pure: what a loaded model and its configuration together promise callers.

The model's own specs are the truth; the configuration may leave things out and may narrow free
dimensions. Where the two contradict each other the version is refused, naming both sides.

The batch dimension (`max_batch_rows`) comes from the configuration. Where it says nothing, a model
whose tensors all have a free first dimension is a *candidate*: only a run can show that its rows do
not touch each other (`runtimes.batch_proof`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from runtimes.contract import LoadedModel, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import ModelLoadError
from runtimes.reshape import Reshape, reshaped, with_model_shapes

DEFAULT_MAX_BATCH_ROWS: Final = 64
"""For a model that was shown to batch and whose configuration does not say how far."""

Role = Literal["input", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What a model's configuration says of its tensors.

    `inputs` and `outputs` are without the batch dimension (Triton's `dims`) and may be empty;
    `max_batch_rows` is None where the configuration does not say it, 0 for no batch dimension.
    """

    max_batch_rows: int | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    input_reshapes: tuple[Reshape, ...] = ()
    """Inputs that the model itself takes in another shape than their `dims`."""
    output_reshapes: tuple[Reshape, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What calls look like; specs are full shapes, one for each of the loaded model's, in order.

    Shapes have a leading -1 that stands for the batch exactly if `max_batch_rows` is at least 1.
    """

    max_batch_rows: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()
    """What was inferred, for people."""
    unproven: bool = False
    """The batch dimension is a guess from the shapes: prove it, or call `without_batch`."""

    def without_batch(self, note: str) -> "Signature":
        """Return the signature for calls that run one at a time, with the reason as a note."""
        return replace(self, max_batch_rows=0, unproven=False, notes=(*self.notes, note))

    def proven(self, note: str) -> "Signature":
        """Return the signature with its guess confirmed."""
        return replace(self, unproven=False, notes=(*self.notes, note))


def declared_inputs(configured: Configured) -> tuple[TensorSpec, ...]:
    """Return the configured inputs with the model's full shapes, as `LoadRequest` wants them."""
    own = with_model_shapes(configured.inputs, configured.input_reshapes)
    return _with_batch(own, configured.max_batch_rows)


def declared_outputs(configured: Configured) -> tuple[TensorSpec, ...]:
    """Return the configured outputs with the model's full shapes, as `LoadRequest` wants them."""
    own = with_model_shapes(configured.outputs, configured.output_reshapes)
    return _with_batch(own, configured.max_batch_rows)


def as_configured(model: LoadedModel, configured: Configured) -> LoadedModel:
    """Return a loaded model with the shapes that callers see; closed where that fails.

    Raises:
        ModelLoadError: A reshape does not fit the model.
    """
    return reshaped(model, configured.input_reshapes, configured.output_reshapes)


def read_signature(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    configured: Configured,
    *,
    default_max_batch_rows: int = DEFAULT_MAX_BATCH_ROWS,
) -> Signature:
    """Bring a loaded model's specs and its configuration together.

    Raises:
        ModelLoadError: They contradict each other; the message names the tensor, both sides and
            the remedy.
    """
    pairs = [*_paired("input", inputs, configured.inputs)]
    pairs += _paired("output", outputs, configured.outputs)
    rows = configured.max_batch_rows
    unproven = rows is None and _looks_batched(pairs)
    if rows is None:
        rows = default_max_batch_rows if unproven else 0
    settled = [_settle(pair, rows) for pair in pairs]
    return Signature(
        max_batch_rows=rows,
        inputs=tuple(settled[: len(inputs)]),
        outputs=tuple(settled[len(inputs) :]),
        notes=() if unproven or configured.max_batch_rows is not None else (_no_candidate(pairs),),
        unproven=unproven,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A tensor of the model, and the configured one of that name if there is one."""

    role: Role
    model: TensorSpec
    configured: TensorSpec | None


def _with_batch(specs: tuple[TensorSpec, ...], rows: int | None) -> tuple[TensorSpec, ...]:
    if not rows:
        return specs
    return tuple(replace(spec, shape=(-1, *spec.shape)) for spec in specs)


def _paired(
    role: Role, specs: Sequence[TensorSpec], configured: Sequence[TensorSpec]
) -> list[_Pair]:
    known = {spec.name for spec in specs}
    by_name: dict[str, TensorSpec] = {}
    for spec in configured:
        if spec.name in by_name:
            raise ModelLoadError(f"the configuration lists {role} '{spec.name}' twice: keep one")
        if spec.name not in known:
            raise ModelLoadError(
                f"the configuration lists {role} '{spec.name}', which the model does not have; "
                f"its {role}s are {', '.join(sorted(known)) or 'none'}: correct the name"
            )
        by_name[spec.name] = spec
    for spec in specs:
        if role == "input" and configured and spec.name not in by_name and not spec.optional:
            raise ModelLoadError(
                f"the model needs input '{spec.name}' ({spec.datatype} {list(spec.shape)}), which "
                "the configuration does not list: add it"
            )
    return [_Pair(role=role, model=spec, configured=by_name.get(spec.name)) for spec in specs]


def _looks_batched(pairs: Sequence[_Pair]) -> bool:
    """Tell whether every tensor has a free first dimension that the configuration leaves alone."""
    roles = {pair.role for pair in pairs}
    return roles == {"input", "output"} and all(_has_free_first(pair) for pair in pairs)


def _has_free_first(pair: _Pair) -> bool:
    free = pair.model.shape[:1] == (-1,)
    configured = pair.configured
    return free and (configured is None or len(configured.shape) + 1 == len(pair.model.shape))


def _no_candidate(pairs: Sequence[_Pair]) -> str:
    odd = next((pair for pair in pairs if not _has_free_first(pair)), None)
    if odd is None:
        return "no batch dimension: the model has no inputs or no outputs"
    listed = "" if odd.configured is None else f", dims {list(odd.configured.shape)}"
    return (
        f"no batch dimension: {odd.role} '{odd.model.name}' has shape {list(odd.model.shape)}"
        f"{listed}; say max_batch_size in the configuration if calls may be joined"
    )


def _settle(pair: _Pair, rows: int) -> TensorSpec:
    """Return one tensor's spec as callers see it."""
    model, configured = pair.model, pair.configured
    if configured is not None and configured.datatype is not model.datatype:
        word = "STRING" if model.datatype is Datatype.BYTES else model.datatype
        raise ModelLoadError(
            f"{pair.role} '{model.name}' is {model.datatype} in the model and "
            f"{configured.datatype} in the configuration: write data_type: TYPE_{word}"
        )
    _check_optional(pair)
    if configured is not None:  # what may be left out is asked for where it is not said
        model = replace(model, optional=configured.optional)
    if configured is None and not model.shape and rows:
        raise ModelLoadError(
            f"max_batch_size {rows} needs a batch dimension in every tensor, and {pair.role} "
            f"'{model.name}' is a scalar, or the model does not state its rank: list its dims in "
            "the configuration, or set max_batch_size 0"
        )
    if not model.shape:  # a scalar, or a rank that the model does not state: any shape is accepted
        stated = () if configured is None else configured.shape
        return replace(model, shape=(-1, *stated) if rows else stated)
    if rows:
        _check_first(pair, rows)
        if configured is None:
            return replace(model, shape=(-1, *model.shape[1:]))
        return replace(model, shape=(-1, *_narrowed(pair, configured.shape, model.shape[1:])))
    if configured is None:
        return model
    return replace(model, shape=_narrowed(pair, configured.shape, model.shape))


def _check_optional(pair: _Pair) -> None:
    """Refuse an input that callers might leave out and the model needs."""
    if pair.configured is None or not pair.configured.optional or pair.model.optional:
        return
    raise ModelLoadError(
        f"{pair.role} '{pair.model.name}' is optional in the configuration, and the model cannot "
        "run without it: leave optional out, or export the model with a default for it"
    )


def _check_first(pair: _Pair, rows: int) -> None:
    """Refuse a first dimension that cannot be any number of rows up to the maximum."""
    first = pair.model.shape[0]
    if first == -1 or first == rows == 1:
        return
    raise ModelLoadError(
        f"max_batch_size {rows} needs a free first dimension in every tensor, and {pair.role} "
        f"'{pair.model.name}' has shape {list(pair.model.shape)}: export the model with a free "
        "first dimension, or set max_batch_size 0 and write the full shape as dims"
    )


def _narrowed(pair: _Pair, dims: tuple[int, ...], model: tuple[int, ...]) -> tuple[int, ...]:
    """Return the dimensions that both sides allow.

    Raises:
        ModelLoadError: There are none.
    """
    if len(dims) != len(model) or any(
        -1 not in (told, own) and told != own for told, own in zip(dims, model, strict=True)
    ):
        batch = "after the batch dimension " if len(model) < len(pair.model.shape) else ""
        raise ModelLoadError(
            f"{pair.role} '{pair.model.name}': the configuration says dims {list(dims)}, the model "
            f"has {list(model)} {batch}(full shape {list(pair.model.shape)}): correct the dims or "
            "max_batch_size"
        )
    return tuple(own if told == -1 else told for told, own in zip(dims, model, strict=True))
