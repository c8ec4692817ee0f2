"""Runs a version's golden samples on the device that will serve it, before it takes a call.

In the very environment that made the samples their narrow tolerances decide; anywhere else the
bundle's word for "another environment" does: the widest difference that its owner accepts. Whether
results are those of the packing machine bit for bit, the note says.
"""

from collections.abc import Sequence
from pathlib import Path

from runtimes.contract import LoadedModel, TensorSpec
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError
from runtimes.golden import OutputReplay, compare_samples, read_sample
from serving.registry.version import VersionSpec

CODE = "BP-R01"


def replay_golden(model: LoadedModel, spec: VersionSpec, fingerprint: str) -> str:
    """Replay the samples and return what came of it, for people; empty where there are none.

    Args:
        model: The loaded model.
        spec: Its version.
        fingerprint: Of the environment that it runs in.

    Raises:
        ModelLoadError: An output is not within its tolerance and nobody waived that, or a sample
            does not run.
    """
    golden = spec.golden
    if golden is None:
        return ""
    given = _places("input", model.inputs, golden.inputs)
    places = _places("output", golden.outputs, model.outputs)
    try:
        samples = [read_sample(Path(spec.folder) / path, golden) for path in golden.samples]
        now = [model.run([sample.inputs[place] for place in given]) for sample in samples]
    except (InvalidArgumentError, EngineError) as error:
        raise ModelLoadError(
            f"{CODE} golden samples: {error.message}: pack the model again where it works"
        ) from error
    found = [[outputs[place] for place in places] for outputs in now]
    is_same = golden.fingerprint == fingerprint
    tolerances = golden.same_environment if is_same else golden.other_environment
    replays = compare_samples(golden.outputs, samples, found, tolerances)
    for item in replays:
        if not item.comparison.holds:
            where = " in the environment that it was packed in" if is_same else ""
            refusal = _refusal(item, where) + _precision_remedy(spec)
            if not golden.waiver:
                raise ModelLoadError(refusal)
            return f"{refusal} (waived {golden.waiver})"
    if all(item.comparison.is_exact for item in replays):
        return f"golden: {len(samples)} samples gave the packed outputs bit for bit"
    return f"golden: {len(samples)} samples within tolerance ({_largest(replays)})"


def _places(role: str, wanted: Sequence[TensorSpec], there: Sequence[TensorSpec]) -> list[int]:
    """Return where each wanted tensor stands among those that are there, by name."""
    names = [spec.name for spec in there]
    lacking = [spec.name for spec in wanted if spec.name not in names]
    if lacking:
        raise ModelLoadError(
            f"{CODE} {role} '{lacking[0]}': samples and configuration do not both have it: "
            "correct the configuration, or pack the model again with it"
        )
    return [names.index(spec.name) for spec in wanted]


def _refusal(item: OutputReplay, where: str) -> str:
    seen = item.comparison
    return (
        f"{CODE} output '{item.name}' of {item.sample}: {seen.reason} (largest difference "
        f"{seen.largest_abs:.3g}, {seen.different_count} of {seen.element_count} elements differ, "
        f"tolerance {item.tolerance}{where}): run `bascule reproduce` on it, and pack it again if "
        "this result is the right one"
    )


def _precision_remedy(spec: VersionSpec) -> str:
    """Say what allows the shorter products of TF32, if something does: the usual cause on GPUs."""
    policy = spec.policy
    if policy.precision != "tf32" or not policy.device.startswith("cuda"):
        return ""
    return (
        f"; hardware profile {policy.profile} allows TF32, whose products keep 10 bits: let the "
        "version list profile cuda, which forbids it, or pack it with a wider --tolerance"
    )


def _largest(replays: tuple[OutputReplay, ...]) -> str:
    item = max(replays, key=lambda one: one.comparison.largest_abs)
    return f"output '{item.name}' differs by up to {item.comparison.largest_abs:.3g}"
