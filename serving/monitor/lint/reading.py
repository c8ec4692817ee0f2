"""Reads what watches a version off its bundle. Nothing is run, and nothing of it is trusted."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.encoding import ColumnReference
from serving.monitor.drift.number_codec import NumberReference
from serving.monitor.drift.pace import Pace
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.storage import from_bytes
from serving.monitor.drift.windows import WINDOWS
from serving.monitor.lint.subject import DriftReference, MonitoredVersion
from serving.registry.bundles.bundle import read_manifest
from serving.registry.bundles.manifest import Manifest, Tensor
from serving.registry.contracts.contract_file import judged_contract
from serving.registry.contracts.contract_fit import misfits
from serving.registry.contracts.kept_contract import bundle_contract
from serving.registry.model_config.parsing import parse_config
from serving.registry.policies.drift_policy import DEFAULT_DRIFT, DriftPolicy

MAX_REFERENCE_BYTES: Final = 1 << 30
ROWS: Final = frozenset({".csv", ".npz", ".parquet"})


def read_version(folder: Path, now_utc: datetime) -> MonitoredVersion:
    """Read a bundle.

    Args:
        folder: The bundle's.
        now_utc: What ages are counted to.

    Raises:
        BasculeError: It is no bundle, or its contract or configuration cannot be read.
    """
    manifest = read_manifest(folder)
    tensors = tuple(one.name for one in (*manifest.inputs, *manifest.outputs))
    found = MonitoredVersion(model=manifest.name, version=manifest.version, tensors=tensors)
    return _with_contract(_with_reference(found, folder, manifest), folder, manifest, now_utc)


def _with_contract(
    found: MonitoredVersion, folder: Path, manifest: Manifest, now_utc: datetime
) -> MonitoredVersion:
    contract = bundle_contract(folder, manifest)
    if contract is None:
        return found
    judged = judged_contract(contract, now_utc)
    is_known = bool(manifest.inputs or manifest.outputs)
    problems = (
        misfits(
            contract,
            [_spec(one) for one in manifest.inputs],
            [_spec(one) for one in manifest.outputs],
            is_batched=bool(manifest.max_batch_rows),
        )
        if is_known
        else []
    )
    return replace(
        found,
        contract=contract,
        contract_misfits=tuple(problems),
        ages_s={one.what: one.age_s for one in judged.ages},
        age_limits=judged.limits,
        reference_problem=found.reference_problem or _strange(manifest, contract.reference_sha256),
    )


def _strange(manifest: Manifest, wanted: str) -> str:
    """Say that the reference is not the one that the contract names, if it names one."""
    if not wanted or not manifest.reference_file:
        return ""
    listed = {file.path: file.sha256 for file in manifest.files}[manifest.reference_file]
    if listed == wanted:
        return ""
    return f"its sha256 is {listed[:12]}…, and the contract names {wanted[:12]}…"


def _with_reference(found: MonitoredVersion, folder: Path, manifest: Manifest) -> MonitoredVersion:
    policy = policy_of(manifest.name, manifest.config)
    if not manifest.reference_file or not policy.is_on:
        return found
    file = folder / manifest.reference_file
    try:
        with file.open("rb") as stream:
            profile = from_bytes(stream.read(MAX_REFERENCE_BYTES))
    except OSError as error:
        return replace(found, reference_problem=f"it cannot be read: {error.strerror}")
    except InvalidArgumentError as error:
        if file.suffix in ROWS:  # they are learnt from when somebody asks
            return found
        return replace(found, reference_problem=error.message)
    return replace(found, reference=reference_of(profile, policy))


def policy_of(model: str, config_text: str) -> DriftPolicy:
    """Return how a model's configuration wants its rows to be watched.

    Raises:
        InvalidArgumentError: The configuration is wrong.
    """
    return parse_config(config_text, model=model).policy.drift


def reference_of(profile: Profile, policy: DriftPolicy = DEFAULT_DRIFT) -> DriftReference:
    """Return what is judged of a profile, as a configuration wants it to be watched."""
    pace = Pace(profile, policy)
    return DriftReference(
        rows=profile.baseline.rows,
        tensors=tuple(sorted({one.tensor for one in profile.reductions})),
        constant_columns=tuple(one.name for one in profile.columns if _is_constant(one)),
        rows_between_false_alarms=pace.rows_between,
        window_rows=WINDOWS[0],
        seconds_between_false_alarms=pace.seconds_between,
    )


def _is_constant(column: ColumnReference) -> bool:
    if isinstance(column, NumberReference):
        return len(np.unique(column.cuts)) <= 1
    return len(column.levels) <= 1


def _spec(one: Tensor) -> TensorSpec:
    return TensorSpec(
        name=one.name, datatype=one.datatype, shape=tuple(one.shape), optional=one.optional
    )
