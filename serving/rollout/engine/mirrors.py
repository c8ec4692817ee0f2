"""Which calls are copied to a candidate, and what came of it. Pure."""

from collections.abc import Iterable

from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport, merge_comparisons
from serving.registry.rollouts.record import Rollout, RolloutState
from serving.rollout.engine.evidence import Compared
from serving.rollout.ports import Mirror


def mirror_of(rollout: Rollout) -> Mirror | None:
    """Return the mirror that a rollout asks for in its state; None: nothing is copied."""
    old, plan = rollout.from_version, rollout.plan
    share = {
        RolloutState.SHADOW: plan.shadow_share,
        RolloutState.CANARY: plan.compare_share if plan.guardrails.mismatch_share >= 0 else 0,
    }.get(rollout.state, 0)
    if old is None or share == 0:
        return None
    return Mirror(live=VersionKey(rollout.model, old), candidate=rollout.to_version, share=share)


def compared_by(reports: Iterable[ComparisonReport], rollout: Rollout) -> Compared:
    """Return what copies of a rollout's calls have shown, on all workers together.

    A call that only the live version could answer counts as one row that is off.
    """
    pair = (rollout.model, rollout.to_version, rollout.from_version)
    found = [one for one in reports if (one.model, one.version, one.against) == pair]
    failed = sum(one.failed_calls for one in found)
    return Compared(
        calls=sum(one.compared_calls for one in found),
        rows=sum(one.compared_rows for one in found) + failed,
        mismatched_rows=sum(one.mismatched_rows for one in found) + failed,
        largest_error=_largest(found),
        report=next(iter(merge_comparisons(found)), None),
    )


def _largest(reports: Iterable[ComparisonReport]) -> str:
    errors = [
        (difference.largest_absolute_error, name)
        for report in reports
        for name, difference in report.outputs.items()
        if difference.mismatched_rows
    ]
    failures = [report.failure for report in reports if report.failure]
    if not errors:
        return failures[0] if failures else ""
    error, name = max(errors)
    return f"output '{name}' is off by up to {error:.3g}"
