"""What to try of a bundle or a model file: the request for its engine, and its golden samples."""

from pathlib import Path

from runtimes.contract import LoadRequest
from runtimes.devices import device
from runtimes.preflight.subject import Claims
from runtimes.threads import available_cpus, threads_for
from runtimes.trial_run import TrialOrder
from serving.registry.bundles.golden_samples import samples_of, tolerances_of
from serving.registry.bundles.manifest import Manifest


def order_of_file(
    file: Path, format_name: str, claims: Claims, *, may_execute: bool = False
) -> TrialOrder:
    """Return what to try of a model file.

    Args:
        file: The model file.
        format_name: Its format.
        claims: What its configuration says.
        may_execute: Loading may run code that it carries: its author is trusted.
    """
    return TrialOrder(
        format=format_name,
        request=LoadRequest(
            file=file,
            device=device(claims.device),
            threads=claims.threads or threads_for(available_cpus(), claims.replica_count),
            may_execute=may_execute,
        ),
        configured=claims.configured,
    )


def order_of_bundle(
    folder: Path, manifest: Manifest, claims: Claims, *, may_execute: bool = False
) -> TrialOrder:
    """Return what to try of a bundle, golden samples included.

    Raises:
        InvalidArgumentError: A golden sample is damaged, or an output has no tolerance.
    """
    file = folder / manifest.model_file
    plain = order_of_file(file, manifest.format, claims, may_execute=may_execute)
    samples = samples_of(folder, manifest)
    return TrialOrder(
        format=plain.format,
        request=plain.request,
        configured=plain.configured,
        samples=samples,
        tolerances=tolerances_of(manifest, same_environment=False) if samples else (),
    )
