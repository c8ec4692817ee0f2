"""All trials of one version. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from serving.monitor.alarms.service_signs import Promise
from serving.monitor.drift.profile import Profile
from serving.monitor.selftest.contract_trials import Tensors, contract_trials
from serving.monitor.selftest.drift_trials import drift_trials
from serving.monitor.selftest.service_trials import service_trials, silence_trial
from serving.monitor.selftest.trial import DRIFT, Outcome, Trial
from serving.registry.version import ServedVersion, VersionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What is known of a version whose alarms are tried."""

    spec: VersionSpec
    served: ServedVersion | None
    """None: no worker has loaded it."""
    promise: Promise
    profile: Profile | None
    """What its rows are compared with; None: they are not watched for drift."""
    drift_trouble: str = ""
    """Why they cannot be, though they should."""
    rows_per_s: float
    """Rows that each worker watches for drift, at most."""
    now_s: float
    """In seconds since 1970."""


def version_trials(tried: Tried) -> Iterator[Trial]:
    """Try everything that is watched of a version."""
    spec, served = tried.spec, tried.served
    yield from service_trials(tried.promise)
    if spec.contract is not None and served is not None:
        tensors = Tensors(
            inputs=served.inputs, outputs=served.outputs, is_batched=served.max_batch_rows > 0
        )
        yield from contract_trials(spec.contract, tensors)
    if tried.profile is None or tried.drift_trouble:
        yield Trial(
            kind=DRIFT,
            alarm="drift",
            injected="nothing",
            outcome=Outcome.SILENT if tried.drift_trouble else Outcome.SKIPPED,
            told=tried.drift_trouble
            or "it has no reference (bascule drift learn, bascule pack --reference)",
        )
        return
    yield silence_trial(tried.rows_per_s)
    yield from drift_trials(tried.profile, f"{spec.model} v{spec.version}", tried.now_s)
