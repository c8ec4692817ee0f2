"""The contract that `bascule pack` drafts where none is given: of reference or golden rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.errors import BasculeError
from runtimes.golden import read_sample
from serving.cli.contract import draft_for
from serving.cli.data_rows import SUFFIXES, read_columns
from serving.monitor.quality.drafting import MIN_ROWS, Column, draft_contract
from serving.registry.bundles.bundle import write_file
from serving.registry.bundles.golden_samples import golden_spec, specs_of
from serving.registry.bundles.manifest import Manifest
from serving.registry.contracts.kept_contract import CONTRACT_FILE
from serving.registry.model_config.parsing import parse_config


def with_drafted_contract(folder: Path, manifest: Manifest) -> tuple[Manifest, str]:
    """Draft a contract for a bundle in the making, if it has none and there are rows to learn from.

    Args:
        folder: The bundle's.
        manifest: As it is so far.

    Returns:
        The manifest, and what is to be said; empty: nothing.
    """
    sequences = parse_config(manifest.config, model=manifest.name).policy.sequences
    if manifest.contract_file or (folder / CONTRACT_FILE).exists() or sequences is not None:
        return manifest, ""
    try:
        drafted = _from_reference(folder, manifest) or _from_golden(folder, manifest)
    except BasculeError as error:
        return manifest, f"no data contract was drafted: {error.message}"
    if drafted is None:
        return manifest, ""
    text, note = drafted
    write_file(folder / CONTRACT_FILE, text.encode())
    return manifest.model_copy(update={"contract_file": CONTRACT_FILE}), note


def _from_reference(folder: Path, manifest: Manifest) -> tuple[str, str] | None:
    file = folder / manifest.reference_file
    if not manifest.reference_file or file.suffix.lower() not in SUFFIXES:
        return None
    columns = read_columns(file)
    text = draft_for(specs_of(manifest).inputs, columns, file.name, manifest.name)
    return text, _note(len(next(iter(columns.values()))), "the reference")


def _from_golden(folder: Path, manifest: Manifest) -> tuple[str, str] | None:
    golden = golden_spec(manifest)
    if golden is None or manifest.golden is None or manifest.golden.generated:
        return None
    samples = [read_sample(folder / path, golden).inputs for path in golden.samples]
    columns = []
    for place, spec in enumerate(golden.inputs):
        values = _joined([sample[place] for sample in samples], spec, manifest)
        columns.append(
            Column(name=spec.name, values=values, datatype=spec.datatype, shape=spec.shape)
        )
    rows = max((len(column.values) for column in columns), default=0)
    return draft_contract(columns, "golden samples", manifest.name), _note(rows, "golden samples")


def _joined(arrays: Sequence[Array | None], spec: TensorSpec, manifest: Manifest) -> Array:
    """Put samples below each other; those of another shape than the first are left out."""
    there = [array for array in arrays if array is not None]
    rows = there if manifest.max_batch_rows else [array[np.newaxis] for array in there]
    alike = [array for array in rows if array.shape[1:] == rows[0].shape[1:]]
    if not alike:
        return np.empty((0, 1), object if spec.datatype == "BYTES" else np.float32)
    return np.concatenate(alike)


def _note(rows: int, source: str) -> str:
    text = f"contract.yaml was drafted from {source}, {rows} rows: a draft refuses nothing"
    if rows < MIN_ROWS:
        return f"{text}; for ranges and levels it needs {MIN_ROWS} rows"
    return text
