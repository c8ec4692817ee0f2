"""What a rollout would take here: from the catalog, what is loaded, and what is free."""

from dataclasses import dataclass

from serving.edge.control import Snapshot
from serving.ids import VersionKey
from serving.registry.bundles.manifest import Requirements, parse_manifest
from serving.registry.catalog import RegisteredVersion
from serving.registry.model_config.parsing import parse_config
from serving.registry.rollouts.forecast import (
    Forecast,
    Need,
    Room,
    downtime,
    misfit,
    need_of,
    stages,
)
from serving.registry.rollouts.plan import Plan, QualityTest
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.interface_break import broken_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of the versions of a rollout."""

    old: Need | None
    new: Need | None
    room: Room | None
    missing: int
    data_quality: QualityTest = QualityTest.OFF


def forecast(
    key: VersionKey, live: int | None, plan: Plan, snapshot: Snapshot, known: Known
) -> Forecast:
    """Say what a rollout would do. Pure.

    Args:
        key: The candidate.
        live: What is live now.
        plan: How traffic shall move.
        snapshot: What is loaded.
        known: What both versions take, and what is free.
    """
    record = snapshot.versions.get(key)
    served = None if record is None else record.served
    is_loaded = record is not None and record.state is VersionState.READY
    load_s = 0.0 if served is None else served.load_s
    new = None if is_loaded else known.new
    passed = stages(plan, known.missing, load_s)
    return Forecast(
        model=key.model,
        from_version=live,
        to_version=key.version,
        strategy=plan.strategy,
        stages=passed,
        at_least_s=sum(stage.at_least_s for stage in passed),
        missing_approval_count=known.missing,
        breaks=broken_by(snapshot, key.model, live, key.version),
        old=known.old,
        new=new,
        room=known.room,
        misfit=misfit(plan, new, known.old, known.room),
        downtime=downtime(plan, load_s),
        data_quality=known.data_quality,
    )


def need_of_row(row: RegisteredVersion) -> Need:
    """Return what a version of the registry takes."""
    policy = parse_config(row.config, model=row.model).policy
    source = f"manifest of {row.model}:{row.version}"
    text = row.manifest_json.encode()
    needs = parse_manifest(text, source).requirements if text else Requirements()
    return need_of(
        row.size_bytes,
        needs.memory_bytes,
        needs.gpu_memory_bytes,
        is_cuda=policy.device != "cpu",
        replicas=policy.replica_count,
    )


def need_of_spec(spec: VersionSpec) -> Need:
    """Return what a version takes that is in no registry."""
    policy = spec.policy
    is_cuda = policy.device != "cpu"
    return need_of(spec.size_bytes, 0, 0, is_cuda=is_cuda, replicas=policy.replica_count)
