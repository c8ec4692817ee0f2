"""Ensembles among the loaded versions of a worker: who uses whom, and how one is put together."""

from collections.abc import Iterable, Mapping

from runtimes.errors import ModelLoadError
from serving.ids import VersionKey
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.ensemble import LATEST, EnsembleStep, step_name
from serving.registry.version import ServedVersion, VersionSpec
from serving.wire.call import CallSpec
from serving.wire.input_checks import InputChecks
from serving.wire.padding_fit import fit_padding
from serving.wire.v2_json import V2JsonCodec
from serving.wire.v2_proto import V2ProtoCodec
from serving.worker.cached_intake import CachedIntake
from serving.worker.ensemble_flow import BoundStep
from serving.worker.ensemble_intake import EnsembleIntake
from serving.worker.ensemble_plan import PlannedStep, plan_ensemble, served_ensemble
from serving.worker.intake import Intake
from serving.worker.loaded import LoadedVersion, Shop
from serving.worker.model_files import read_labels
from serving.worker.quality_gate import QualityGate, gate_for, look_of
from serving.worker.tap import TappedVersion

Loaded = Mapping[VersionKey, LoadedVersion]


def open_ensemble(
    shop: Shop, spec: VersionSpec, loaded: Loaded, before: LoadedVersion | None
) -> LoadedVersion:
    """Put an ensemble together from the versions that are loaded now.

    Args:
        shop: What all versions share.
        spec: The ensemble.
        loaded: The versions of this worker.
        before: Its form until now: its counters go on if only its steps' models changed.

    Raises:
        ModelLoadError: A step's model is not loaded, or does not fit; or the data contract is not
            one for the tensors.
    """
    steps = spec.policy.ensemble
    members = tuple(_member(number, step, loaded) for number, step in enumerate(steps, start=1))
    descriptions = [member.served for member in members]
    served = served_ensemble(spec, descriptions)
    plan = plan_ensemble(served, steps, descriptions)
    is_same = before is not None and before.spec.config_text == spec.config_text
    quality = _gate(shop, spec, served, before if is_same else None)
    statistics = StatisticsRecorder(spec.key, began_ns=shop.now_ns())
    if before and is_same:
        statistics = before.statistics
    call_spec = CallSpec(
        model=spec.model,
        version=spec.version,
        inputs=served.inputs,
        outputs=served.outputs,
        max_batch_rows=served.max_batch_rows,
        labels=read_labels(served.outputs, spec).names,
    )
    observers = shop.observers(TappedVersion(spec=spec, served=served, statistics=statistics))
    ensemble = EnsembleIntake(
        plan,
        [_bound(step, members[at]) for step, at in zip(plan.steps, plan.members, strict=True)],
        statistics=statistics,
        loop=shop.loop,
        now_ns=shop.now_ns,
        observers=observers,
        look=look_of(quality),
    )
    ensemble.is_private = shop.is_private(spec)
    intake: Intake = ensemble
    if spec.policy.response_cache and shop.cache.max_bytes:
        intake = CachedIntake(intake, shop.cache, statistics, shop.now_ns, observers)
    return LoadedVersion(
        spec=spec,
        served=served,
        model=None,
        json_codec=V2JsonCodec(call_spec, regions=shop.regions),
        proto_codec=V2ProtoCodec(call_spec, regions=shop.regions),
        batcher=intake,
        statistics=statistics,
        default_timeout_ns=0,
        quality=quality,
        prediction_names=shop.name_predictions(spec),
    )


def users_of(key: VersionKey, loaded: Loaded) -> list[VersionKey]:
    """Return the loaded ensembles that have a version as a step."""
    return [other for other, each in loaded.items() if key in _steps(each.spec, loaded)]


def first_to_unload(keys: Iterable[VersionKey], loaded: Loaded) -> VersionKey:
    """Choose one that no loaded ensemble uses; the first where each has a user that stays."""
    given = list(keys)
    return next((key for key in given if not users_of(key, loaded)), given[0])


def first_to_load(pending: Mapping[VersionKey, VersionSpec], loaded: Loaded) -> VersionKey:
    """Choose one whose steps' models have been loaded, or tried."""
    free = (
        key for key, spec in pending.items() if not _steps(spec, loaded) & pending.keys() - {key}
    )
    return next(free, next(iter(pending)))


def _gate(
    shop: Shop, spec: VersionSpec, served: ServedVersion, before: LoadedVersion | None
) -> QualityGate | None:
    """Go on with the gate and its counters while it means the same; else build one."""
    if (
        before is not None
        and before.spec.contract == spec.contract
        and _tensors(before.served) == _tensors(served)
    ):
        return before.quality
    return gate_for(spec, served, shop.utc_s)


def _tensors(served: ServedVersion) -> tuple[object, ...]:
    """Return what a contract is compiled for."""
    return served.inputs, served.outputs, served.max_batch_rows


def _steps(spec: VersionSpec, loaded: Loaded) -> set[VersionKey]:
    return {_key(step, loaded) for step in spec.policy.ensemble}


def _key(step: EnsembleStep, loaded: Loaded) -> VersionKey:
    """Return the version that a step means; the controller has said which, or it is the highest."""
    if step.version != LATEST:
        return VersionKey(step.model, step.version)
    here = [key.version for key in loaded if key.model == step.model]
    return VersionKey(step.model, max(here, default=0))


def _member(number: int, step: EnsembleStep, loaded: Loaded) -> LoadedVersion:
    member = loaded.get(_key(step, loaded))
    if member is None:
        raise ModelLoadError(f"{step_name(number, step)} is not ready: its model is not loaded")
    return member


def _bound(step: PlannedStep, member: LoadedVersion) -> BoundStep:
    served = member.served
    checks = InputChecks(
        CallSpec(
            model=member.spec.model,
            version=member.spec.version,
            inputs=served.inputs,
            outputs=served.outputs,
            max_batch_rows=served.max_batch_rows,
            padding=fit_padding(member.spec.policy.padding, served),
        )
    )
    return BoundStep(
        plan=step,
        intake=member.batcher,
        served=served,
        checks=checks,
        default_timeout_ns=member.default_timeout_ns,
    )
