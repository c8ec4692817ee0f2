"""Loads a bundle's model once, on the CPU, to see what it is and whether its configuration fits."""

from dataclasses import dataclass, replace
from typing import Final

from runtimes.catalogue import runtime_for
from runtimes.contract import LoadRequest, TensorSpec
from runtimes.devices import CPU
from runtimes.errors import ModelLoadError
from serving.registry.bundle import Bundle
from serving.registry.triton_config import parse_config
from serving.registry.version import ServingPolicy

FREE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the engine says of a model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_rows: int | None
    """As configured; None: unsaid, found out when it is loaded."""
    notes: tuple[str, ...]

    def batch_text(self) -> str:
        """Return how rows are batched, in words."""
        if self.max_batch_rows is None:
            return "max_batch_size is not said: found out from the model when it is loaded"
        if self.max_batch_rows == 0:
            return "none: the model has no batch dimension"
        return f"up to {self.max_batch_rows} rows along the first dimension"


def inspect_bundle(bundle: Bundle) -> Inspection:
    """Load the model and compare it with its configuration.

    Raises:
        ModelLoadError: It does not load, or its configuration contradicts it.
        UnsupportedError: Its engine is not installed.
    """
    manifest = bundle.manifest
    policy = parse_config(manifest.config, model=manifest.name).policy
    model = runtime_for(manifest.format).load(
        LoadRequest(
            file=bundle.folder / manifest.model_file,
            device=CPU,
            threads=1,
            declared_inputs=_full(policy, policy.inputs),
            declared_outputs=_full(policy, policy.outputs),
        )
    )
    try:
        inputs, outputs = model.inputs, model.outputs
    finally:
        model.close()
    _compare("input", _full(policy, policy.inputs), inputs)
    _compare("output", _full(policy, policy.outputs), outputs)
    if policy.max_batch_rows:
        _check_batch_dimension(policy.max_batch_rows, inputs)
    return Inspection(
        inputs=inputs, outputs=outputs, max_batch_rows=policy.max_batch_rows, notes=_notes(outputs)
    )


def _full(policy: ServingPolicy, specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Return configured tensors with their batch dimension."""
    if not policy.max_batch_rows:
        return specs
    return tuple(replace(spec, shape=(FREE, *spec.shape)) for spec in specs)


def _compare(role: str, claimed: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...]) -> None:
    by_name = {spec.name: spec for spec in found}
    for claim in claimed:
        spec = by_name.get(claim.name)
        if spec is None:
            raise ModelLoadError(
                f"the configuration lists {role} '{claim.name}', and the model has "
                f"{', '.join(by_name) or 'none'}: correct the name"
            )
        if spec.datatype is not claim.datatype:
            raise ModelLoadError(
                f"the configuration says {claim.datatype} for {role} '{claim.name}', and the model "
                f"takes {spec.datatype}: correct data_type"
            )
        if not _fits(claim.shape, spec.shape):
            raise ModelLoadError(
                f"the configuration says shape {list(claim.shape)} for {role} '{claim.name}' (with "
                f"the batch), and the model says {list(spec.shape)}: correct dims or "
                "max_batch_size"
            )


def _fits(claimed: tuple[int, ...], found: tuple[int, ...]) -> bool:
    return len(claimed) == len(found) and all(
        FREE in pair or pair[0] == pair[1] for pair in zip(claimed, found, strict=True)
    )


def _check_batch_dimension(rows: int, inputs: tuple[TensorSpec, ...]) -> None:
    for spec in inputs:
        if not spec.shape or spec.shape[0] != FREE:
            raise ModelLoadError(
                f"max_batch_size is {rows}, and input '{spec.name}' has the fixed shape "
                f"{list(spec.shape)}, so rows cannot be put together: export the model with a free "
                "first dimension, or say max_batch_size: 0"
            )


def _notes(outputs: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    return tuple(
        f"output '{spec.name}' has no shape that is known before it runs"
        for spec in outputs
        if spec.shape and set(spec.shape) == {FREE} and len(spec.shape) > 1
    )
