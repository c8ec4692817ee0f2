"""What running rollouts mean for routes. Pure."""

from collections.abc import Iterable, Mapping

from serving.registry.rollouts.record import WITH_CANDIDATE, Rollout, RolloutState
from serving.rollout.desired import Split


def splits_of(rollouts: Iterable[Rollout]) -> Mapping[str, Split]:
    """Return model → its candidate and share, for rollouts that have not switched.

    A candidate that is on its way out is named, too: it must not be what takes over for want of a
    better version.
    """
    return {
        rollout.model: Split(
            candidate=rollout.to_version,
            share=rollout.share,
            sticky_by=rollout.plan.sticky_by,
        )
        for rollout in rollouts
        if rollout.state in WITH_CANDIDATE or rollout.state is RolloutState.ROLLING_BACK
    }
