"""The golden samples of a bundle: from the manifest's records to those that a runtime replays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError
from runtimes.golden import Sample, read_sample
from runtimes.tolerance import Tolerance
from serving.registry.bundles import manifest as stored
from serving.registry.bundles.manifest import Manifest
from serving.registry.environment import fingerprint
from serving.registry.version import GoldenSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Specs:
    """The tensors of a model, as its manifest lists them."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def specs_of(manifest: Manifest) -> Specs:
    """Return the model's tensors; empty where it was not inspected."""
    return Specs(inputs=_specs(manifest.inputs), outputs=_specs(manifest.outputs))


def tensors_of(specs: Sequence[TensorSpec]) -> tuple[stored.Tensor, ...]:
    """Return specs as the manifest stores them."""
    return tuple(
        stored.Tensor(
            name=spec.name, datatype=spec.datatype, shape=spec.shape, optional=spec.optional
        )
        for spec in specs
    )


def samples_of(folder: Path, manifest: Manifest) -> tuple[Sample, ...]:
    """Read a bundle's golden samples; none where it has none.

    Raises:
        InvalidArgumentError: A sample is damaged, or does not fit the manifest's tensors.
    """
    golden = manifest.golden
    if golden is None:
        return ()
    specs = specs_of(manifest)
    return tuple(read_sample(folder / path, specs) for path in golden.samples)


def tolerances_of(manifest: Manifest, *, same_environment: bool) -> tuple[Tolerance, ...]:
    """Return how far each output may be from its golden value, in the order of the outputs.

    Args:
        manifest: A manifest with golden samples.
        same_environment: This environment has the fingerprint that the samples were made in.

    Raises:
        InvalidArgumentError: There are no samples, or an output has no tolerance.
    """
    golden = manifest.golden
    if golden is None:
        raise InvalidArgumentError(f"{manifest.name}:{manifest.version} has no golden samples")
    by_name = {item.name: item for item in golden.outputs}
    found = []
    for output in manifest.outputs:
        item = by_name.get(output.name)
        if item is None:
            raise InvalidArgumentError(
                f"{manifest.name}:{manifest.version}: golden output '{output.name}' has no "
                "tolerance: pack it again"
            )
        found.append(item.same_environment if same_environment else item.other_environment)
    return tuple(from_stored(item) for item in found)


def golden_spec(manifest: Manifest) -> GoldenSpec | None:
    """Return what a worker replays; None where a bundle has no samples.

    Raises:
        InvalidArgumentError: An output has no tolerance.
    """
    if manifest.golden is None:
        return None
    specs = specs_of(manifest)
    packed = manifest.packed_on
    return GoldenSpec(
        samples=manifest.golden.samples,
        fingerprint=fingerprint(packed, manifest.format) if packed.cpu_model else "",
        inputs=specs.inputs,
        outputs=specs.outputs,
        same_environment=tolerances_of(manifest, same_environment=True),
        other_environment=tolerances_of(manifest, same_environment=False),
    )


def from_stored(found: stored.Tolerance) -> Tolerance:
    """Return a tolerance of a manifest as the runtimes know it."""
    return Tolerance(kind=found.kind, ulp=found.ulp, rtol=found.rtol, atol=found.atol)


def to_stored(found: Tolerance) -> stored.Tolerance:
    """Return a tolerance as a manifest stores it."""
    return stored.Tolerance(kind=found.kind, ulp=found.ulp, rtol=found.rtol, atol=found.atol)


def _specs(tensors: Sequence[stored.Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=item.name, datatype=item.datatype, shape=item.shape, optional=item.optional)
        for item in tensors
    )
