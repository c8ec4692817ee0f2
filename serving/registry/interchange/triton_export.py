"""Writes a bundle as a model in Triton's layout, and lists what that layout cannot carry."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.errors import AlreadyExistsError
from serving.registry.bundles.bundle import Bundle, copy_file, sync_folder, write_file
from serving.registry.bundles.manifest import Lineage, Manifest, Tensor
from serving.registry.formats import format_named
from serving.registry.model_config.carry import (
    exported_config,
    label_files,
    same_config,
    shared_data,
)
from serving.registry.repository import CONFIG_FILE
from serving.registry.version import ServedVersion

TRITON_FORMATS: Final = frozenset({"onnx", "torchscript"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    model: str
    version: int
    folder: str
    """The version's."""
    config_file: str
    losses: tuple[str, ...]
    """What the bundle says and Triton's layout cannot, one line each."""


def export_triton(bundle: Bundle, served: ServedVersion, root: Path) -> Exported:
    """Write `root/MODEL/VERSION/…` and `root/MODEL/config.pbtxt`.

    Further versions of a model may be exported beside the first, with an equal configuration.

    Args:
        bundle: What to write, verified.
        served: What the model is: the manifest's tensors, or what an inspection showed.
        root: The repository's folder; created where it is missing.

    Raises:
        AlreadyExistsError: The version is there, or the model with another configuration.
        UnsupportedError: Triton has no backend for the format.
    """
    manifest = bundle.manifest
    if manifest.format not in TRITON_FORMATS:
        raise UnsupportedError(
            f"{manifest.name}:{manifest.version} is of format {manifest.format}, for which Triton "
            "has no backend of that file layout: export an ONNX or TorchScript version"
        )
    shared = _shared(manifest)
    config = exported_config(manifest.config, manifest.name, served)
    folder = root.absolute() / manifest.name
    target = folder / str(manifest.version)
    if target.exists():
        raise AlreadyExistsError(f"{target} exists: export to another folder with --output")
    folder.mkdir(parents=True, exist_ok=True)
    _write_config(folder / CONFIG_FILE, config, manifest.name)
    for path in shared:
        _copy_shared(bundle.folder / path, folder / path)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as place:
        staging = Path(place) / "version"
        staging.mkdir()
        for path in _carried(manifest, shared):
            copy_file(bundle.folder / path, staging / path, path)
        staging.rename(target)
    sync_folder(folder)
    return Exported(
        model=manifest.name,
        version=manifest.version,
        folder=str(target),
        config_file=str(folder / CONFIG_FILE),
        losses=tuple(losses_of(bundle)),
    )


def losses_of(bundle: Bundle) -> Iterator[str]:
    """Say what of a bundle Triton's layout has no place for."""
    manifest = bundle.manifest
    needs = manifest.requirements
    said = {
        "signature": bool(bundle.signers),
        "golden": manifest.golden is not None,
        "tolerance": manifest.golden is not None,
        "contract": bool(manifest.contract_file),
        "reference": bool(manifest.reference_file),
        "card": bool(manifest.card_file),
        "lineage": manifest.lineage != Lineage(),
        "profiles": bool(needs.profiles),
        "memory": bool(needs.memory_bytes or needs.gpu_memory_bytes),
        "lock": bool(needs.lock_file),
        "dependencies": bool(needs.dependencies),
        "deterministic": needs.deterministic,
        "licence": bool(manifest.licence),
        "notes": bool(manifest.notes),
        "packing": True,
    }
    yield from (f"{word}: {MEANINGS[word]}" for word, is_said in said.items() if is_said)


MEANINGS: Final = {
    "signature": "who vouches for the bundle",
    "golden": "samples with the outputs that they gave",
    "tolerance": "how far an output may be from its golden value",
    "contract": "what inputs must look like",
    "reference": "the profile of the training data",
    "card": "the model card",
    "lineage": "what the version came from",
    "profiles": "the hardware that it needs",
    "memory": "the memory that it took",
    "lock": "the packages that it pins",
    "dependencies": "what happens where they differ",
    "deterministic": "that it must run with deterministic algorithms",
    "licence": "the model's licence",
    "notes": "the notes for colleagues",
    "packing": "when it was packed, where, and with which packages",
}


def served_of(manifest: Manifest) -> ServedVersion | None:
    """Describe the model by its manifest; None where it was not inspected."""
    if manifest.max_batch_rows is None or not manifest.outputs:
        return None
    found = format_named(manifest.format)
    return ServedVersion(
        platform=found.platform,
        backend=found.backend,
        inputs=_specs(manifest.inputs),
        outputs=_specs(manifest.outputs),
        max_batch_rows=manifest.max_batch_rows,
        device="cpu",
        threads=1,
        load_s=0.0,
        run_s=0.0,
    )


def _specs(tensors: Sequence[Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=one.name, datatype=one.datatype, shape=one.shape, optional=one.optional)
        for one in tensors
    )


def _shared(manifest: Manifest) -> tuple[str, ...]:
    """The files that lie in Triton's model folder, for all versions: labels, data."""
    listed = {file.path for file in manifest.files}
    names = label_files(manifest.config, manifest.name)
    paths = (*names, *shared_data(manifest.config, manifest.name))
    return tuple(path for path in paths if path in listed)


def _carried(manifest: Manifest, shared: tuple[str, ...]) -> Iterator[str]:
    """The files that lie in Triton's version folder: the model, and what it reads beside it."""
    roles = {manifest.contract_file, manifest.reference_file, manifest.card_file}
    roles |= {manifest.requirements.lock_file, *shared}
    roles |= set(manifest.golden.samples) if manifest.golden else set()
    return (file.path for file in manifest.files if file.path not in roles)


def _write_config(file: Path, config: str, model: str) -> None:
    if not file.exists():
        write_file(file, config.encode())
        return
    try:
        is_same = same_config(file.read_text(encoding="utf-8"), config, model)
    except (InvalidArgumentError, UnicodeDecodeError):
        is_same = False
    if not is_same:
        raise AlreadyExistsError(
            f"{file} exists and says something else: Triton has one configuration for all versions "
            "of a model, so export this one to another folder with --output"
        )


def _copy_shared(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(source, target, target.name)
    elif target.read_bytes() != source.read_bytes():
        raise AlreadyExistsError(
            f"{target} exists with other content: export to another folder with --output"
        )
